"""The effective configuration as YAML: every default filled in, secrets hidden, in the shape of the file.

What it gives reads as a configuration again, and means the same but for the values that were masked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import groupby
from typing import Any, ClassVar

import yaml
from pydantic import TypeAdapter

from monitor.config import confidential
from monitor.config.document import CORE_TAG, PLAIN, is_plain_text
from monitor.config.models import listen_text
from monitor.config.settings import ChannelSettings, CheckSettings, ServiceSettings, Settings
from monitor.config.zones import zone
from monitor.core.agreement import duration_text, write_terms
from monitor.core.instant import to_datetime
from monitor.core.terms import Subscription, Terms
from probes.expect import Body, Expect, Matcher
from probes.extract import Source
from probes.secret import MASK
from probes.transaction import Spec, Step

_WIDTH = 110


def explain(settings: Settings) -> str:
    """The effective configuration as YAML text."""
    return yaml.dump(effective(settings), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def effective(settings: Settings) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "store": confidential.shown_text(settings.store_as_written or settings.store),
        "retention": duration_text(settings.retention_us),
        "location": {"id": settings.location, "controls": [confidential.shown_text(c) for c in settings.controls]},
        "web": _web(settings),
        "metrics": {"expose_money": settings.expose_money},
        "incidents": {
            "quiet": duration_text(settings.opening.quiet_us),
            "failures_after": duration_text(settings.opening.failures_after_us),
            "latency_after": duration_text(settings.opening.latency_after_us),
        },
        "messages": {
            "recover_after": duration_text(settings.manners.recover_after_us),
            "remind": {priority.value: duration_text(us) for priority, us in settings.manners.remind_us.items()},
            "blind_after": duration_text(settings.manners.blind_after_us),
            "before_maintenance": duration_text(settings.manners.before_maintenance_us),
            "before_deadline": duration_text(settings.manners.before_deadline_us),
        },
        "channels": {channel.id: _channel(channel) for channel in settings.channels},
        "provider": settings.provider.model_dump(mode="json", exclude_none=True),
        **_sealing(settings),
        "contracts": _contracts(settings),
        "services": {service.id: _service(service) for service in settings.services},
        "partners": _partners(settings),
    }


def _channel(channel: ChannelSettings) -> dict[str, Any]:
    """A channel with its addresses masked: most of them hold a token."""
    written = channel.model.model_dump(mode="json", by_alias=True, exclude_none=True)
    inner = written.get(channel.kind or "", {})
    for name in ("url", "urls"):
        if name in inner:
            held = inner[name]
            inner[name] = _masked_url(held) if isinstance(held, str) else [_masked_url(url) for url in held]
    if "headers" in inner:
        inner["headers"] = confidential.hidden(inner["headers"])
    shown: dict[str, Any] = confidential.shown(written)
    return shown


def _masked_url(url: str) -> str:
    scheme, mark, _rest = url.partition("://")
    return url if url.startswith("${") else f"{scheme}{mark}{MASK}"


def _web(settings: Settings) -> dict[str, Any]:
    stated = {} if settings.web_file is None else {"config_file": settings.web_file}
    return {"listen": listen_text(settings.listen), **stated}


def _sealing(settings: Settings) -> dict[str, Any]:
    found = {"key": settings.signing_key, "origin": settings.origin}
    stated = {name: value for name, value in found.items() if value is not None}
    return {"sealing": stated} if stated else {}


def _contracts(settings: Settings) -> dict[str, Any]:
    versions = groupby(settings.terms, key=lambda terms: terms.contract)
    return {contract: {"terms": [_terms(terms) for terms in group]} for contract, group in versions}


def _terms(terms: Terms) -> dict[str, Any]:
    written = write_terms(terms)
    if written["objective"] is None:
        del written["objective"]
    return {"effective_from": _day(terms.effective_from_us, terms.zone)} | written


def _day(at_us: int, zone_name: str) -> str:
    return to_datetime(at_us, zone(zone_name)).date().isoformat()


def _service(service: ServiceSettings) -> dict[str, Any]:
    return {
        "name": service.name,
        "interval": duration_text(service.interval_us),
        "timeout": duration_text(service.timeout_us),
        "stale_after": duration_text(service.stale_after_us),
        "checks": {check.id: _check(check) for check in service.checks},
    }


def _check(check: CheckSettings) -> dict[str, Any]:
    own = {"name": check.name, "network": check.network.value, "sla": check.sla, "attempts": check.attempts}
    own["timeout"] = duration_text(check.timeout_us)
    if not check.sla:
        own["interval"] = duration_text(check.interval_us)
    return own | _transaction(check.transaction)


def _transaction(spec: Spec) -> dict[str, Any]:
    first = spec.steps[0]
    if len(spec.steps) == 1 and not spec.finally_ and first.name == first.kind:
        return _step(first)
    written: dict[str, Any] = {"steps": [{"name": step.name} | _step(step) for step in spec.steps]}
    if spec.finally_:
        written["finally"] = [{"name": step.name} | _step(step) for step in spec.finally_]
    return written


def _step(step: Step) -> dict[str, Any]:
    written = {step.kind: confidential.shown(_settings(step.spec))}
    expected = _expect(step.expect)
    if expected:
        written["expect"] = expected
    if step.extract:
        written["extract"] = {name: _source(source) for name, source in step.extract.items()}
    return written


def _settings(spec: Any) -> dict[str, Any]:  # noqa: ANN401 - the settings of any kind
    """A kind's settings in the units and words of the file, without what is empty by default."""
    return _without_empty(spec, TypeAdapter(type(spec)).dump_python(spec, mode="json"))


def _without_empty(spec: Any, written: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - as above
    kept: dict[str, Any] = {}
    for key, value in written.items():
        held = getattr(spec, key)
        if value in (None, {}, [], "") and held == _default(spec.__dataclass_fields__[key]):
            continue
        if dataclasses.is_dataclass(held) and isinstance(value, dict):
            kept[key] = _without_empty(held, value)
        elif isinstance(held, tuple) and held and dataclasses.is_dataclass(held[0]):
            kept[key] = [_without_empty(part, item) for part, item in zip(held, value, strict=True)]
        else:
            kept[key] = value
    return kept


def _default(field: dataclasses.Field[Any]) -> Any:  # noqa: ANN401 - a setting's value
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _expect(expect: Expect) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if expect.status is not None:
        ranges = [_status(low, high) for low, high in expect.status]
        written["status"] = ranges if len(ranges) > 1 else ranges[0]
    if expect.headers:
        written["headers"] = {name: _wish(name, matcher) for name, matcher in expect.headers.items()}
    if expect.body is not None:
        written["body"] = dict(_body(expect.body))
    if expect.json:
        written["json"] = {path: _wish(path, matcher) for path, matcher in expect.json.items()}
    for name, bound in (("time", expect.time), ("size", expect.size)):
        if bound is not None:
            written[name] = bound.text
    return written


def _status(low: int, high: int) -> int | str:
    if low == high:
        return low
    return f"{low // 100}xx" if low % 100 == 0 and high == low + 99 else f"{low}-{high}"


def _body(body: Body) -> Iterator[tuple[str, list[str]]]:
    for key in ("contains", "not_contains", "matches"):
        texts = getattr(body, key)
        if texts:
            yield key, [confidential.shown_text(text) for text in texts]


def _wish(name: str, matcher: Matcher) -> Any:  # noqa: ANN401 - a literal, or a mapping of wishes
    wishes = {key: getattr(matcher, key) for key in Matcher.__dataclass_fields__ if key in matcher.given}
    for key in ("equals", "matches"):
        if key in wishes:
            hide = confidential.hidden if confidential.is_credential(name) else confidential.shown
            wishes[key] = hide(wishes[key])
    return wishes["equals"] if set(wishes) == {"equals"} and not isinstance(wishes["equals"], Mapping) else wishes


def _source(source: Source) -> str | dict[str, str]:
    return source.where if source.kind == "json" else {source.kind: source.where}


def _partners(settings: Settings) -> dict[str, Any]:
    partners: dict[str, Any] = {}
    zones = {terms.contract: terms.zone for terms in settings.terms}
    names = dict(settings.partner_names)
    by_service = groupby(settings.subscriptions, key=lambda s: (s.partner, s.service))
    contacts = {
        partner: [contact.model_dump(mode="json", exclude_none=True) for contact in of]
        for partner, of in settings.contacts
    }
    for (partner, service), group in by_service:
        steps = list(group)
        contract = steps[0].contract
        about = {"name": names[partner], "contacts": contacts.get(partner, []), "contract": contract, "services": {}}
        written = partners.setdefault(partner, about)
        written["services"][service] = _subscribed(steps, zones[contract])
    return partners


def _subscribed(steps: list[Subscription], zone_name: str) -> dict[str, Any]:
    fees = [f"{step.fee.currency} {step.fee.amount}" for step in steps]
    written: dict[str, Any] = {"fee": fees[0]}
    if steps[0].from_us is not None:
        starts = [_day(step.from_us, zone_name) for step in steps if step.from_us is not None]
        written["fee"] = [{"from": day, "amount": fee} for day, fee in zip(starts, fees, strict=True)]
    if steps[-1].until_us is not None:
        written["until"] = _day(steps[-1].until_us, zone_name)
    return written


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(f"{CORE_TAG}str", text, style=None if is_plain_text(text) else '"')


def _number(dumper: yaml.SafeDumper, number: float) -> yaml.ScalarNode:
    text = format(Decimal(repr(number)), "f")
    return dumper.represent_scalar(f"{CORE_TAG}float", text if "." in text else f"{text}.0")


class _Dumper(yaml.SafeDumper):
    """Writes what our own reader reads back: its idea of a number or a flag is not YAML 1.1's."""

    yaml_implicit_resolvers: Any = {  # noqa: RUF012 - the base's type
        None: [(f"{CORE_TAG}{kind}", pattern) for kind, pattern in PLAIN.items()],
    }
    yaml_representers: ClassVar[dict[Any, Any]] = yaml.SafeDumper.yaml_representers | {str: _text, float: _number}

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - PyYAML's signature
        """Always: the reader refuses them."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - as above
        """Lists stand to the right of their key."""
        super().increase_indent(flow, indentless=False)

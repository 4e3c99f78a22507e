"""From a file to settings: everything that is wrong at once, each with its place, and what was meant."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from monitor.config.channels import read_channel
from monitor.config.confidential import scrubbed
from monitor.config.document import Document, read
from monitor.config.holidays import business_clock, names
from monitor.config.models import (
    CheckModel,
    Contract,
    Location,
    MessagesModel,
    Partner,
    Root,
    Service,
    TermsModel,
)
from monitor.config.problems import ConfigError, Path, Problem, unknown
from monitor.config.settings import ChannelSettings, CheckSettings, ServiceSettings, Settings, stale_after_us
from monitor.config.trust_files import missing_files
from monitor.config.webfile import read_web
from monitor.config.wording import faults
from monitor.config.zones import ZoneError, zone
from monitor.core.agreement import check_share
from monitor.core.calendar import CalendarError, Hours, day_start_us, first_open_us
from monitor.core.instant import DAY_US, SECOND_US, format_seconds
from monitor.core.priority import AGREED_LEVELS, AGREED_TARGETS, Level, Priority, Target
from monitor.core.terms import CreditBase, Subscription, Terms, TermsError, Tier, check_tiers
from monitor.messages.links import Links
from monitor.messages.routing import Manners
from monitor.notify import LOG
from monitor.opening import Opening
from monitor.plan import budget_us
from monitor.web.tls import Web
from probes.secret import SecretError, lookup
from probes.template import Reference
from probes.template import parse as parse_template
from probes.transaction import Spec, SpecError, finally_budget_ns, parse

CHANNELS = (LOG,)
OWN_KEYS = frozenset(CheckModel.model_fields)
MIN_INTERVAL_US = SECOND_US
MAX_INTERVAL_US = DAY_US
MIN_CONTROLS = 3
_WEEKDAYS = {"mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6, "sun": 7}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """An accepted configuration, and what an operator should look at all the same.

    `faults` are what is wrong with channels: `check` refuses the file for them, the daemon starts, as a way to tell
    somebody that is broken must not cost the measurement.
    """

    settings: Settings
    warnings: tuple[Problem, ...]
    faults: tuple[Problem, ...] = ()


def load(path: File, *, shown: str | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """The settings in a file; ConfigError with every problem. `shown` names the file in messages.

    References to secrets must resolve in `environment` (default: the process's), but stay references.
    """
    document = read(path, shown or str(path))
    known = os.environ if environment is None else environment
    return _Loader(document, path.resolve().parent, known).load()


class _Loader:
    def __init__(self, document: Document, base: File, environment: Mapping[str, str]) -> None:
        self._document = document
        self._base = base
        self._environment = environment
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._faults: list[Problem] = []

    def load(self) -> Loaded:
        data = self._document.data
        if not isinstance(data, dict):
            self._say((), "a configuration is a mapping with location, contracts and services; see: jaga init")
            raise ConfigError([*self._problems, *self._document.problems])
        self._problems += self._document.problems
        self._references(data, ())
        self._names(data)
        specs = self._transactions(data)
        for path, message in missing_files(data.get("services"), ("services",)):
            self._warn(path, message)
        root = self._validated(data)
        if root is None:
            self._parts(data, specs)
            raise ConfigError(self._problems)
        settings = Settings(
            base=self._base,
            store=self._store(root.store),
            store_as_written=root.store,
            retention_us=root.retention,
            location=root.location.id,
            controls=self._controls(root.location),
            listen=root.web.listen,
            expose_money=root.metrics.expose_money,
            signing_key=root.sealing.key,
            origin=root.sealing.origin,
            web_file=root.web.config_file,
            web=self._web(root.web.config_file),
            terms=tuple(terms for id_, contract in root.contracts.items() for terms in self._terms(id_, contract)),
            services=tuple(
                self._service(id_, service, specs, controls=bool(root.location.controls))
                for id_, service in root.services.items()
            ),
            subscriptions=tuple(s for id_, partner in root.partners.items() for s in self._partner(id_, partner, root)),
            partner_names=tuple((id_, partner.name or id_) for id_, partner in root.partners.items()),
            opening=Opening(
                quiet_us=root.incidents.quiet,
                failures_after_us=root.incidents.failures_after,
                latency_after_us=root.incidents.latency_after,
                baseline=root.incidents.baseline.policy(),
            ),
            manners=_manners(root.messages, root.web.external_url),
            channels=tuple(self._channel(id_, written, root) for id_, written in root.channels.items()),
            provider=root.provider,
            contacts=tuple((id_, partner.contacts) for id_, partner in root.partners.items()),
        )
        self._credit_bases(root)
        if self._problems:
            raise ConfigError(self._problems)
        return Loaded(settings=settings, warnings=tuple(sorted(self._warnings)), faults=tuple(sorted(self._faults)))

    def _say(self, path: Path, message: str, *, key: bool = False) -> None:
        told = scrubbed(message, self._document.value_at(path), path)
        faults = self._faults if path[:1] == ("channels",) and len(path) > 1 else self._problems
        faults.append(self._document.problem(path, told, key=key))

    def _warn(self, path: Path, message: str) -> None:
        self._warnings.append(self._document.problem(path, message))

    def _references(self, value: Any, path: Path) -> None:  # noqa: ANN401 - plain YAML data
        """Every `${…}` in a text must resolve now, so that nobody learns of it at three in the morning."""
        if isinstance(value, dict):
            for key, item in value.items():
                self._references(item, (*path, key))
        elif isinstance(value, list):
            for n, item in enumerate(value):
                self._references(item, (*path, n))
        elif isinstance(value, str) and "${" in value:
            try:
                for part in parse_template(value):
                    if isinstance(part, Reference):
                        lookup(part.name, self._environment)
            except SecretError as error:
                self._say(path, str(error))
            except ValueError:
                pass  # a malformed mark is said by the kind whose text it is

    def _store(self, text: str) -> str:
        """The ledger's address with its references looked up. What stands within a server's address is taken as it is,
        whatever letters it has; an address that is one reference is as it must be written.
        """
        try:
            parts = parse_template(text)
            values = [lookup(p.name, self._environment) if isinstance(p, Reference) else str(p) for p in parts]
        except SecretError:
            return text  # said already, as every reference that does not resolve
        except ValueError as error:
            self._say(("store",), str(error))
            return text
        if len(parts) == 1:
            (address,) = values
        else:
            server = values[0].startswith("postgresql://")
            pairs = zip(parts, values, strict=True)
            address = "".join(quote(v, safe="") if server and isinstance(p, Reference) else v for p, v in pairs)
        if not address.startswith(("sqlite:///", "postgresql://")):
            self._say(("store",), "what it refers to is no sqlite:///path and no postgresql://…")
        return address

    def _validated(self, data: dict[str, Any]) -> Root | None:
        """The file's models. Checks are judged for themselves, as their keys are the probes'."""
        try:
            return Root.model_validate(data)
        except ValidationError as error:
            for path, message, at_key in faults(error, Root):
                self._say(path, message, key=at_key)
            return None

    def _web(self, file: str | None) -> Web:
        """What the web configuration says; its problems are told with its own places."""
        if file is None:
            return Web()
        path = self._base / file
        try:
            return read_web(path, os.path.relpath(path) if path.exists() else str(path))
        except ConfigError as error:
            self._problems += error.problems
            return Web()

    def _names(self, data: dict[str, Any]) -> None:
        """What partners name must be there; said of the plain data, so that other mistakes hide none of it."""
        contracts, services = (_mapping(data.get(key)) for key in ("contracts", "services"))
        for id_, partner in _mapping(data.get("partners")).items():
            path: Path = ("partners", id_)
            contract = _mapping(partner).get("contract")
            if isinstance(contract, str) and contract not in contracts:
                self._say((*path, "contract"), f"{contract!r}: {unknown(contract, contracts, 'contract')}")
            for service in _mapping(_mapping(partner).get("services")):
                if service not in services:
                    self._say((*path, "services", service), unknown(str(service), services, "service"), key=True)

    def _parts(self, data: dict[str, Any], specs: dict[tuple[str, str], tuple[Spec, CheckModel]]) -> None:
        """Judge the contracts and services that are whole in a file that is not: everything wrong is said at once."""
        for id_, written in _mapping(data.get("contracts")).items():
            with suppress(ValidationError):
                list(self._terms(id_, Contract.model_validate(written)))
        for id_, written in _mapping(data.get("services")).items():
            with suppress(ValidationError):
                self._service(id_, Service.model_validate(written), specs, controls=False)

    def _transactions(self, data: dict[str, Any]) -> dict[tuple[str, str], tuple[Spec, CheckModel]]:
        """Every check that can be read at all, by service and check."""
        found: dict[tuple[str, str], tuple[Spec, CheckModel]] = {}
        services = data.get("services")
        for service, body in services.items() if isinstance(services, dict) else ():
            checks = body.get("checks") if isinstance(body, dict) else None
            for check, written in checks.items() if isinstance(checks, dict) else ():
                read_ = self._check(written, ("services", service, "checks", check))
                if read_ is not None:
                    found[service, check] = read_
        return found

    def _check(self, written: Any, path: Path) -> tuple[Spec, CheckModel] | None:  # noqa: ANN401 - plain YAML data
        spec: Spec | None = None
        own: CheckModel | None = None
        try:
            transaction = written
            if isinstance(written, dict):
                transaction = {key: value for key, value in written.items() if key not in OWN_KEYS}
            spec = parse(transaction, also=OWN_KEYS)
        except SpecError as error:
            for problem in error.problems:
                full = (*path, *problem.path)
                self._say(full, problem.message, key="unknown key" in problem.message)
        try:
            mine = (
                {key: value for key, value in written.items() if key in OWN_KEYS} if isinstance(written, dict) else {}
            )
            own = CheckModel.model_validate(mine)
        except ValidationError as error:
            for inner, message, at_key in faults(error, CheckModel):
                self._say((*path, *inner), message, key=at_key)
        return None if spec is None or own is None else (spec, own)

    def _controls(self, location: Location) -> tuple[str, ...]:
        path = ("location", "controls")
        if not location.controls:
            self._warn(
                ("location",),
                "no controls: nothing proves this location's own network, so its faults count as the service's; "
                f"name at least {MIN_CONTROLS} independent targets",
            )
        elif len(location.controls) < MIN_CONTROLS:
            self._say(
                path, f"{len(location.controls)} controls: none, or at least {MIN_CONTROLS}, so that a majority can say"
            )
        if len(set(location.controls)) < len(location.controls):
            self._say(path, "the same control twice is no second witness")
        return location.controls

    def _terms(self, id_: str, contract: Contract) -> Iterator[Terms]:
        days = [version.effective_from for version in contract.terms]
        for n, version in enumerate(contract.terms):
            path: Path = ("contracts", id_, "terms", n)
            if n and days[n] <= days[n - 1]:
                self._say((*path, "effective_from"), "versions come in the order of their days, each day once")
            terms = self._version(id_, version, path)
            if terms is not None:
                yield terms

    def _version(self, id_: str, version: TermsModel, path: Path) -> Terms | None:
        tiers = tuple(Tier(below=tier.below, credit=tier.credit) for tier in version.credits)
        hours = self._hours(version, (*path, "hours"))
        try:
            check_tiers(tiers, version.guarantee)
        except TermsError as error:
            self._say((*path, "credits"), str(error))
        if version.holidays not in names():
            self._say((*path, "holidays"), unknown(version.holidays, names(), "table of holidays"))
        if version.claim_within % DAY_US:
            self._say((*path, "claim_within"), "is counted in whole days, such as 30d")
        try:
            there = zone(version.timezone)
        except ZoneError as error:
            self._say((*path, "timezone"), str(error))
            return None
        terms = Terms(
            contract=id_,
            effective_from_us=day_start_us(version.effective_from, there),
            zone=version.timezone,
            guarantee=version.guarantee,
            objective=version.objective,
            tiers=tiers,
            maintenance_notice_us=version.maintenance_notice,
            claim_within_days=version.claim_within // DAY_US,
            grace_us=version.grace,
            credit_base=version.credit_base or CreditBase.TOTAL,
            hours=hours,
            holidays=version.holidays,
            collective_leave=version.collective_leave,
            priorities={**AGREED_TARGETS, **self._targets(version, (*path, "priorities"))},
            levels={**AGREED_LEVELS, **self._levels(version, (*path, "levels"))},
        )
        if version.holidays in names():
            try:
                first_open_us(terms.effective_from_us, business_clock(terms, there))
            except CalendarError as error:  # no clock would ever run (CONTRACT 2.8)
                self._say((*path, "hours"), str(error))
        return terms

    def _levels(self, version: TermsModel, path: Path) -> dict[int, Level]:
        known = [*CHANNELS, *_mapping(self._document.data.get("channels"))]
        for number, level in version.levels.items():
            for n, channel in enumerate(level.channels):
                if channel not in known:
                    self._say((*path, number, "channels", n), unknown(channel, known, "channel"))
        return {
            int(number): Level(owners=level.owners, channels=level.channels) for number, level in version.levels.items()
        }

    def _targets(self, version: TermsModel, path: Path) -> dict[Priority, Target]:
        found: dict[Priority, Target] = {}
        for name, target in version.priorities.items():
            try:
                check_share(target.escalate_at)
            except TermsError as error:
                self._say((*path, name, "escalate_at"), str(error))
            found[Priority(name)] = Target(
                response_us=target.response,
                resolution_us=target.resolution,
                hours=target.hours,
                escalate_at=target.escalate_at,
                level_2_after_us=target.level_2_after,
                level_3_after_us=target.level_3_after,
            )
        return found

    def _hours(self, version: TermsModel, path: Path) -> Hours:
        try:
            return Hours(
                weekdays=tuple(sorted({_WEEKDAYS[day] for day in version.hours.days})),
                open_minute=version.hours.open,
                close_minute=version.hours.close,
            )
        except CalendarError as error:
            self._say(path, str(error))
            return Hours()

    def _service(
        self,
        id_: str,
        service: Service,
        specs: dict[tuple[str, str], tuple[Spec, CheckModel]],
        *,
        controls: bool,
    ) -> ServiceSettings:
        path: Path = ("services", id_)
        if not MIN_INTERVAL_US <= service.interval <= MAX_INTERVAL_US:
            self._say((*path, "interval"), "an interval lies between 1s and 24h")
        stale_us = stale_after_us(service.stale_after, service.interval, service.timeout)
        if stale_us <= service.interval:
            self._say((*path, "stale_after"), "a run must hold for longer than the interval, or every gap is unknown")
        checks = tuple(
            self._check_settings(id_, check, service, *specs[id_, check], controls=controls)
            for check in service.checks
            if (id_, check) in specs
        )
        if len(checks) == len(service.checks) and not any(check.sla for check in checks):
            self._warn((*path, "checks"), "no check counts for the SLA: the service is unknown all the time")
        return ServiceSettings(
            id=id_,
            name=service.name or id_,
            interval_us=service.interval,
            timeout_us=service.timeout,
            stale_after_us=stale_us,
            checks=checks,
        )

    def _check_settings(
        self,
        service_id: str,
        id_: str,
        service: Service,
        spec: Spec,
        own: CheckModel,
        *,
        controls: bool,
    ) -> CheckSettings:
        path: Path = ("services", service_id, "checks", id_)
        if own.sla and own.interval is not None:
            self._say((*path, "interval"), "SLA checks share the service's interval; only sla: false may have its own")
        interval_us = service.interval if own.interval is None else own.interval
        timeout_us = service.timeout if own.timeout is None else own.timeout
        finally_us = finally_budget_ns(timeout_us * 1000) // 1000 if spec.finally_ else 0
        needed_us = budget_us(
            attempts=own.attempts,
            timeout_us=timeout_us,
            finally_us=finally_us,
            controls=controls,
        )
        if needed_us > interval_us:
            extra = f" and {format_seconds(finally_us)} s of finally" if finally_us else ""
            rest = " and the controls" if controls else ""
            self._say(
                path,
                f"{own.attempts} attempts of {format_seconds(timeout_us)} s{extra}{rest} take up to "
                f"{format_seconds(needed_us)} s and do not fit the interval of {format_seconds(interval_us)} s: "
                "shorten timeout, take fewer attempts, or lengthen interval",
            )
        return CheckSettings(
            id=id_,
            transaction=spec,
            name=own.name or id_,
            network=own.network,
            sla=own.sla,
            attempts=own.attempts,
            timeout_us=timeout_us,
            interval_us=interval_us,
        )

    def _partner(self, id_: str, partner: Partner, root: Root) -> Iterator[Subscription]:
        path: Path = ("partners", id_)
        contract = root.contracts.get(partner.contract)
        if contract is None:
            return
        try:
            there = zone(contract.terms[-1].timezone)
        except ZoneError:
            return  # said at the terms
        for service, subscribed in partner.services.items():
            inner: Path = (*path, "services", service)
            if service not in root.services:
                continue
            until_us = None if subscribed.until is None else day_start_us(subscribed.until, there)
            if not isinstance(subscribed.fee, tuple):
                yield Subscription(
                    partner=id_,
                    service=service,
                    contract=partner.contract,
                    fee=subscribed.fee,
                    until_us=until_us,
                )
                continue
            starts = [day_start_us(step.from_, there) for step in subscribed.fee]
            if not starts or starts != sorted(set(starts)):
                self._say(
                    (*inner, "fee"), "fees come in the order of their days, each day once, and there is at least one"
                )
                continue
            ends = [*starts[1:], until_us]
            for step, from_us, end_us in zip(subscribed.fee, starts, ends, strict=True):
                yield Subscription(
                    partner=id_,
                    service=service,
                    contract=partner.contract,
                    fee=step.amount,
                    from_us=from_us,
                    until_us=end_us,
                )

    def _channel(self, id_: str, written: dict[str, Any], root: Root) -> ChannelSettings:
        """A channel; what is wrong with it is said at its place and kept as its fault."""
        path: Path = ("channels", id_)
        model, found = read_channel(id_, written, root)
        for inner, message, at_key in found:
            self._say((*path, *inner), message, key=at_key)
        mine = [fault.message for fault in self._faults if fault.path[:2] == path]
        return ChannelSettings(id=id_, model=model, fault="; ".join(mine) or None)

    def _credit_bases(self, root: Root) -> None:
        """With several services it must be stated what a credit is a share of (CONTRACT 2.6)."""
        for id_, partner in root.partners.items():
            contract = root.contracts.get(partner.contract)
            if contract is None or len(partner.services) < 2:  # noqa: PLR2004 - several
                continue
            for n, version in enumerate(contract.terms):
                if version.credit_base is None:
                    self._say(
                        ("contracts", partner.contract, "terms", n),
                        f"partner {id_} has several services: state credit_base: total or credit_base: service",
                    )


def _manners(model: MessagesModel, page: str | None) -> Manners:
    standard = Manners()
    return Manners(
        recover_after_us=model.recover_after,
        remind_us={**standard.remind_us, **{Priority(name): after_us for name, after_us in model.remind.items()}},
        blind_after_us=model.blind_after,
        before_maintenance_us=model.before_maintenance,
        before_deadline_us=model.before_deadline,
        links=Links(page=page, runbooks=model.runbooks),
    )


def _mapping(value: Any) -> dict[Any, Any]:  # noqa: ANN401 - plain YAML data
    """The value where it is a mapping; nothing where it is something else, which the models say."""
    return value if isinstance(value, dict) else {}

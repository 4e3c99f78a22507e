"""Golden months: from a case that a lawyer can read to the lines of an interchange file and the statement wanted.

A case gives the month, what the service did (`down` and `unknown` spans; the rest is up), further evidence and facts as
in INTERFACES, and under `statements` the fields of each partner's statement by their path. Times are WIB. What a
case does not say is usual: one check `login` seen from `jkt-1`, partner acme with a fee of IDR 12500000, terms of the
agreement, computed ten days after the month's end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from monitor.core.calendar import Month, month_span
from monitor.core.instant import DAY_US, SECOND_US, format_instant_us
from monitor.core.span import Span, subtract
from tests.core.examples import WIB, at

FOLDER = Path(__file__).parent / "months"
TERMS = {
    "timezone": "Asia/Jakarta",
    "guarantee": "95%",
    "objective": "99.9%",
    "credits": [
        {"below": "95%", "credit": "10%"},
        {"below": "90%", "credit": "25%"},
        {"below": "85%", "credit": "50%"},
    ],
    "maintenance_notice": "48h",
    "claim_within": "30d",
}
TIMES = frozenset({"at", "start", "end", "from", "to", "until", "effective_from"})
KNOWN = frozenset(
    {"about", "clause", "month", "now", "checks", "locations", "services", "down", "unknown", "failing", "runs"}
    | {"facts", "subscriptions", "terms", "statements"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A golden month: the lines to import, when it is computed, and the statement fields wanted by partner/service."""

    name: str
    month: Month
    now_us: int
    lines: tuple[Mapping[str, Any], ...]
    statements: Mapping[str, Mapping[str, str]]

    def file(self) -> bytes:
        """The interchange file."""
        return b"".join(json.dumps(line).encode() + b"\n" for line in self.lines)


def cases() -> list[Case]:
    """Every golden month, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.yaml"))]


def read(path: Path) -> Case:
    # The base loader: every scalar stays the text that stands there, dates and numbers too.
    written: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), yaml.CBaseLoader)  # noqa: S506 - gives text only
    assert set(written) <= KNOWN, f"{path.name}: {set(written) - KNOWN} unknown"
    month = Month.parse(written["month"])
    period = month_span(month, WIB)
    now_us = instant(written["now"]) if "now" in written else period.end_us + 10 * DAY_US
    around = Span(period.start_us - DAY_US, min(period.end_us + DAY_US, now_us))
    return Case(
        name=path.stem,
        month=month,
        now_us=now_us,
        lines=tuple(_lines(written, around)),
        statements=written["statements"],
    )


def instant(text: str) -> int:
    """`2026-04-10 22:00:00` in WIB, or with its own offset."""
    return at(text.replace(" ", "T"))


def span(text: str) -> Span:
    """`2026-04-10 22:00:00 .. 2026-04-11 02:00:00`."""
    start, end = text.split(" .. ")
    return Span(instant(start), instant(end))


def _lines(written: Mapping[str, Any], around: Span) -> Iterable[dict[str, Any]]:
    yield {"type": "header", "format": "jaga-ledger/1"}
    yield from _agreement(written)
    services = written.get("services", "portal").split()
    for service in services:
        if not _said(written, "checks"):
            yield _list(service, written.get("checks", "login").split(), around.start_us)
        yield from _history(written, service, around)
    for line in written.get("runs", ()):
        yield from _runs(line)
    for fact in written.get("facts", ()):
        yield _fact(fact)


def _said(written: Mapping[str, Any], kind: str) -> bool:
    return any(fact["type"] == kind for fact in written.get("facts", ()))


def _agreement(written: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for version in written.get("terms", [{}]):
        since = instant(version.get("effective_from", "2020-01-01 00:00:00"))
        own = {name: value for name, value in version.items() if name != "effective_from"}
        yield {
            "type": "terms",
            "contract": "mitra",
            "effective_from": format_instant_us(since, WIB),
            "terms": TERMS | own,
        }
    for entry in written.get("subscriptions", [{"partner": "acme"}]):
        usual = {"type": "subscription", "service": "portal", "contract": "mitra", "fee": "12500000"}
        whole = usual | _fact(entry)
        yield whole | {"fee": {"currency": "IDR", "amount": whole["fee"]}}


def _list(service: str, checks: Iterable[str], at_us: int) -> dict[str, Any]:
    return {
        "type": "checks",
        "service": service,
        "at": format_instant_us(at_us, WIB),
        "interval_s": 60,
        "timeout_s": 10,
        "stale_after_s": 190,
        "checks": [_check(name) for name in checks],
    }


def _check(name: str) -> dict[str, str]:
    """`db:internal` or `web`."""
    name, _colon, network = name.partition(":")
    return {"id": name, "network": network or "public"}


def _history(written: Mapping[str, Any], service: str, around: Span) -> Iterable[dict[str, Any]]:
    """Stated spans: `down` fails every check of portal, `failing` those named (`silent` ones say nothing), `unknown`
    says nothing of any; the rest passes.
    """
    down, failing = (written.get("down", ()), written.get("failing", {})) if service == "portal" else ((), {})
    for check in (name.partition(":")[0] for name in written.get("checks", "login").split()):
        for location in written.get("locations", "jkt-1").split():
            own = [text for key in (check, f"{check}@{location}") for text in failing.get(key, ())]
            quiet = [text.removeprefix("silent ") for text in own if text.startswith("silent ")]
            silent = [span(text) for text in (*written.get("unknown", ()), *quiet)]
            fail = subtract([span(text) for text in (*down, *own) if not text.startswith("silent ")], silent)
            for outcome, parts in (("fail", fail), ("pass", subtract([around], [*fail, *silent]))):
                for part in parts:
                    yield {
                        "type": "spans",
                        "service": service,
                        "check": check,
                        "location": location,
                        "from": format_instant_us(part.start_us, WIB),
                        "to": format_instant_us(part.end_us, WIB),
                        "outcome": outcome,
                    }


def _runs(line: str) -> Iterable[dict[str, Any]]:
    """`login@jkt-1 every 60 s: 2026-04-10 10:00:00 .. 2026-04-10 10:10:00 fail`, or a single `login@jkt-1: … pass`.

    Each takes a moment, or as long as is said: `login@jkt-1 every 60 s taking 30 s: …`.
    """
    who, when = line.split(": ", 1)
    who, _taking, duration = who.partition(" taking ")
    source, _every, step = who.partition(" every ")
    check, _at, location = source.partition("@")
    times, outcome = when.rsplit(" ", 1)
    if step:
        within = span(times)
        stamps = range(within.start_us, within.end_us, int(step.removesuffix(" s")) * SECOND_US)
    else:
        stamps = range(instant(times), instant(times) + 1)
    for stamp in stamps:
        yield {
            "type": "run",
            "service": "portal",
            "check": check,
            "location": location or "jkt-1",
            "at": format_instant_us(stamp, WIB),
            "outcome": outcome,
            "duration_us": int(duration.removesuffix(" s") or 0) * SECOND_US,
        }


def _fact(written: Mapping[str, Any]) -> dict[str, Any]:
    """A line of INTERFACES with its times written out; lists of ids stand as words, the service is portal."""
    line: dict[str, Any] = dict(written)
    for name in TIMES & set(line):
        line[name] = format_instant_us(instant(line[name]), WIB)
    if line.get("type") == "checks":
        line = _list("portal", line["checks"].split(), instant(written["at"])) | {
            name: int(value) for name, value in line.items() if name.endswith("_s")
        }
    elif line.get("type") in {"maintenance", "exclusion"}:
        line["services"] = line.get("services", "portal").split()
        line["partners"] = line["partners"].split() if "partners" in line else None
    elif line.get("type") in {"adjudication", "annulment", "claim"}:
        line.setdefault("service", "portal")
    return line


def field(statement: Mapping[str, Any], path: str) -> str:
    """The value at `downtime.seconds`, `excluded.m-1.seconds`, `outages.0.peak_failing`, as the JSON shows it."""
    value: Any = statement
    for step in path.split("."):
        value = _item(value, step) if isinstance(value, list) else value[step]
    return value if isinstance(value, str) else json.dumps(value)


def _item(values: list[Any], step: str) -> Any:  # noqa: ANN401 - a part of a JSON document
    if step == "count":
        return len(values)
    if step.isdigit():
        return values[int(step)]
    (found,) = [value for value in values if value["id"] == step]
    return found

"""Incidents as they are shown: the board sorted by time left, one incident's timeline, and what a statement says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from monitor.core.entry import Entry
from monitor.core.fact import Outage
from monitor.core.incident import Phase, State
from monitor.core.incident_clocks import ClockState, Reading
from monitor.core.incident_fact import Incident, IncidentEvent
from monitor.core.instant import format_instant, format_seconds
from monitor.core.priority import ClockName
from monitor.core.span import Span
from monitor.core.wire import write_fact
from monitor.ledger.incidents import Counter, IncidentBook
from monitor.ledger.record import Basis, Record
from monitor.storage.personal import PersonalFiles


@dataclass(frozen=True, slots=True)
class Desk:
    """All incidents of a record at an instant."""

    record: Record
    basis: Basis
    now_us: int
    book: IncidentBook
    counter: Counter

    @staticmethod
    def of(record: Record, basis: Basis, now_us: int) -> Desk:
        """The incidents of a record."""
        counter = Counter(record.agreements, record.book, basis)
        return Desk(record, basis, now_us, IncidentBook.of(record.entries), counter)

    def readings(self, state: State) -> tuple[Reading, ...]:
        """The clocks of an incident now."""
        return self.counter.readings(state, self.now_us)

    def zone(self, state: State) -> tzinfo:
        """The zone in which an incident is told: that of the terms its first clocks go by."""
        pair, start_us = state.pairs[0]
        return self.basis.zone(self.counter.terms(pair, state.service, start_us).zone)


def board(desk: Desk, *, closed: bool = False) -> list[dict[str, Any]]:
    """The incidents that are not closed (or all), the one whose time runs out first on top.

    `left_seconds` is until the next due instant of a clock that nothing has stopped; negative once it ran out.
    """
    found = []
    for state in desk.book.states.values():
        if state.phase is Phase.CLOSED and not closed:
            continue
        readings = desk.readings(state)
        pressing = min((r for r in readings if r.open), key=lambda r: r.due_us, default=None)
        found.append((pressing is None, pressing.due_us if pressing else 0, _row(desk, state, pressing)))
    return [row for _none, _due_us, row in sorted(found, key=lambda entry: (*entry[:2], entry[2]["id"]))]


def _row(desk: Desk, state: State, pressing: Reading | None) -> dict[str, Any]:
    zone = desk.zone(state)
    clock = None
    if pressing is not None:
        clock = {
            "clock": pressing.clock.value,
            "of": pressing.pair or "internal",
            "state": pressing.state.value,
            "due": format_instant(pressing.due_us, zone),
            "left_seconds": _signed_seconds(pressing.due_us - desk.now_us),
            "provisional": pressing.provisional,
        }
    return {
        "id": state.id,
        "priority": state.priority.value,
        "service": state.service,
        "phase": state.phase.value,
        "level": state.level,
        "assignee": state.assignee,
        "partners": list(state.partners),
        "missing": list(state.missing),
        "closing_proposed": state.well_since_us is not None,
        "next": clock,
        "summary": state.summary,
    }


def timeline(desk: Desk, id_: str, files: PersonalFiles | None = None) -> dict[str, Any] | None:
    """One incident with its clocks and everything that happened, in the order of its record; None if there is none.

    With the personal files the reporters are told whose identities were not erased.
    """
    state = desk.book.states.get(id_)
    if state is None:
        return None
    zone, readings = desk.zone(state), desk.readings(state)
    pressing = min((r for r in readings if r.open), key=lambda r: r.due_us, default=None)
    events = desk.book.events[id_]
    return {
        **_row(desk, state, pressing),
        "cause": state.cause.value,
        "opened": format_instant(state.opened_us, zone),
        "outages": _outages(desk, state, zone),
        "clocks": [clock_document(reading, zone) for reading in readings],
        "events": [_event(entry, zone, files) for entry in events],
    }


def clock_document(reading: Reading, zone: tzinfo) -> dict[str, Any]:
    """One clock as JSON: its promise, what is used of it, and how it stands."""
    return {
        "of": reading.pair or "internal",
        "clock": reading.clock.value,
        "state": reading.state.value,
        "start": format_instant(reading.start_us, zone),
        "target_seconds": format_seconds(reading.target_us),
        "used_seconds": format_seconds(reading.used_us),
        "due": format_instant(reading.due_us, zone),
        "done": None if reading.done_us is None else format_instant(reading.done_us, zone),
        "provisional": reading.provisional,
    }


def _event(entry: Entry, zone: tzinfo, files: PersonalFiles | None) -> dict[str, Any]:
    fact = entry.fact
    assert isinstance(fact, Incident), "the events of an incident"
    written = {name: value for name, value in write_fact(fact).items() if name not in {"type", "id"}}
    told = {"at": format_instant(fact.at_us, zone), "recorded_at": format_instant(entry.recorded_at_us, zone)}
    if fact.due_us is not None:
        told["due"] = format_instant(fact.due_us, zone)
    if fact.found_us is not None:
        told["found"] = format_instant(fact.found_us, zone)
    identity = None if files is None or fact.reporter is None else files.read(fact.reporter)
    known = {} if identity is None else {"reported_by": dict(identity.data)}
    return written | told | known


def _outages(desk: Desk, state: State, zone: tzinfo) -> list[dict[str, Any]]:
    """The outages an incident belongs to, as the detector first found them."""
    ends: dict[str, dict[str, Any]] = {}
    for entry in desk.record.entries:
        fact = entry.fact
        if isinstance(fact, Outage) and fact.id in state.outages:
            ends[fact.id] = {
                "id": fact.id,
                "start": format_instant(fact.start_us, zone),
                "end": None if fact.end_us is None else format_instant(fact.end_us, zone),
            }
    return [ends.get(outage, {"id": outage, "start": None, "end": None}) for outage in state.outages]


def contractual(
    record: Record, basis: Basis, partner: str, service: str, period: Span, as_of_us: int, zone: tzinfo
) -> list[dict[str, Any]]:
    """The incidents of a partner's statement: those it reported whose clocks ran at some time of the period, with their
    own clocks alone (CONTRACT 1.3). The monitor's own incidents are no part of it.
    """
    if not any(isinstance(entry.fact, Incident) for entry in record.entries):
        return []
    desk = Desk.of(record, basis, as_of_us)
    found = []
    for state in desk.book.states.values():
        start_us = dict(state.pairs).get(partner)
        if state.service != service or start_us is None or start_us >= period.end_us:
            continue
        readings = [reading for reading in desk.readings(state) if reading.pair == partner]
        if all(reading.done_us is not None and reading.done_us < period.start_us for reading in readings):
            continue
        found.append(_stated(state, start_us, readings, zone))
    return found


def _stated(state: State, start_us: int, readings: Iterable[Reading], zone: tzinfo) -> dict[str, Any]:
    clocks = {reading.clock: clock_document(reading, zone) for reading in readings}
    for clock in clocks.values():
        del clock["of"], clock["clock"]
    return {
        "id": state.id,
        "priority": state.priority.value,
        "summary": state.summary,
        "phase": state.phase.value,
        "level": state.level,
        "reported": format_instant(start_us, zone),
        "outages": list(state.outages),
        "response": clocks.get(ClockName.RESPONSE),
        "resolution": clocks.get(ClockName.RESOLUTION),
    }


def review(record: Record, basis: Basis, partner: str, service: str, period: Span, as_of_us: int) -> dict[str, Any]:
    """A partner's incidents over a period (the yearly review, CONTRACT 7.1): how many were reported at each priority,
    and how many of their clocks were met, breached, or still run.
    """
    desk = Desk.of(record, basis, as_of_us)
    counted: dict[str, dict[str, Any]] = {}
    for state in desk.book.states.values():
        start_us = dict(state.pairs).get(partner)
        if state.service != service or start_us is None or not period.contains(start_us):
            continue
        row = counted.setdefault(
            state.priority.value,
            {"reported": 0, "escalated": 0, **{clock.value: _tally() for clock in ClockName}},
        )
        row["reported"] += 1
        row["escalated"] += state.level > 1
        for reading in desk.readings(state):
            if reading.pair == partner:
                row[reading.clock.value][reading.state.value] += 1
    return dict(sorted(counted.items()))


def _tally() -> dict[str, int]:
    return dict.fromkeys((state.value for state in ClockState), 0)


def of_outages(record: Record) -> Mapping[str, str]:
    """The incident of each outage."""
    book = IncidentBook.of(record.entries)
    return {outage: state.id for state in book.states.values() for outage in state.outages}


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """A timeline as text, one line an event."""
    next_ = document["next"]
    yield f"{document['id']} {document['priority']} {document['service']}: {document['summary']}"
    yield f"  {document['phase']}, level {document['level']}, opened {document['opened']} ({document['cause']})"
    if document["missing"]:
        yield f"  missing of the report: {', '.join(document['missing'])}"
    if document["closing_proposed"]:
        yield "  the service is well again: closing is proposed"
    for outage in document["outages"]:
        yield f"  outage {outage['id']}: {outage['start']} to {outage['end'] or 'now'}"
    for clock in document["clocks"]:
        done = f", done {clock['done']}" if clock["done"] else ""
        estimated = " (provisional)" if clock["provisional"] else ""
        yield f"  {clock['of']} {clock['clock']}: {clock['state']}, due {clock['due']}{estimated}{done}"
    if next_ is not None:
        yield f"  next: {next_['of']} {next_['clock']} in {next_['left_seconds']} s"
    yield ""
    for event in document["events"]:
        yield f"  {event['at']}  {event['event']}{_details(event)}"


def _details(event: Mapping[str, Any]) -> str:
    """What an event says, in one line."""
    parts: list[str] = []
    if event["event"] == IncidentEvent.ESCALATED.value:
        parts.append(f"to level {event['level']}: {', '.join(event['owners'])} ({event['reason'].replace('_', ' ')}")
        parts[-1] += f", due {event['due']})" if event["due"] != event["at"] else ")"
    named = {"partner": "for ", "clock": "", "priority": "", "assignee": "to ", "channel": "through ", "outage": ""}
    parts += [said + str(event[name]) for name, said in named.items() if event.get(name) is not None]
    parts += [f"since {event['found']}"] if event.get("found") else []
    parts += [str(event["note"])] if event.get("note") else []
    parts += [f"{name}: {text}" for name, text in event.get("pieces", {}).items()]
    if event.get("missing"):
        parts.append(f"missing {', '.join(event['missing'])}")
    parts += [f"attached {one['name']} ({one['media_type']}, {one['digest']})" for one in event.get("attachments", ())]
    parts += [f"reported by {', '.join(event['reported_by'].values())}"] if "reported_by" in event else []
    if event.get("by"):
        parts.append(f"by {event['by']}")
    return "".join(f"; {part}" if number else f" {part}" for number, part in enumerate(parts))


def _signed_seconds(length_us: int) -> str:
    return format_seconds(length_us) if length_us >= 0 else f"-{format_seconds(-length_us)}"

"""Closing a month and restating it: a close entry with the digest of the statement it issues (CONTRACT 2.7).

A month closes once. Restating makes version n+1 from the ledger as it then stands; version n stays as it was issued.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from monitor.core.availability import floor_text
from monitor.core.calendar import Month, month_of
from monitor.core.fact import (
    Adjudication,
    Annulment,
    ChecksAdopted,
    Close,
    Exclusion,
    Fact,
    Maintenance,
    MaintenanceCancelled,
    MaintenanceFinished,
    Notice,
    Reversal,
)
from monitor.core.incident_fact import Incident
from monitor.core.month import why_not_closed
from monitor.core.span import Span
from monitor.ledger.ground import Ground, contract_zone, ground_now, inputs_of
from monitor.ledger.incidents import IncidentBook
from monitor.ledger.month import Months, closed_grounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The close to record, and the statement it issues. Recorded only if the head is still `entries` and `head`."""

    fact: Close
    document: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotClosed:
    """Why a month does not close."""

    month: str
    partner: str
    service: str
    reason: str


def close(months: Months, month: Month, partner: str, service: str, *, by: str, tz_version: str) -> Closed | NotClosed:
    """Close a month for a partner and service at `months.now_us`, or say why not."""
    ground = ground_now(months.record, months.basis, month, partner, service)
    if ground is None:
        return NotClosed(month=str(month), partner=partner, service=service, reason="there is no subscription in it")
    if months.record.closes(partner, service, str(month)):
        return _not(ground, "it is closed; restate it to make a new version")
    why = why_not_closed(months.figures_of(ground), months.now_us)
    if why is not None:
        return _not(ground, why)
    return _issue(months, ground, by=by, tz_version=tz_version)


def restate(
    months: Months,
    month: Month,
    partner: str,
    service: str,
    *,
    by: str,
    reason: str,
    tz_version: str,
) -> Closed | NotClosed:
    """Make the next version of a closed month from the ledger as it stands, with reason and change in credit."""
    closes = months.record.closes(partner, service, str(month))
    if not closes:
        return NotClosed(month=str(month), partner=partner, service=service, reason="it was never closed: close it")
    entry, last = closes[-1]
    before = months.ground(month, partner, service)
    assert before is not None, "a closed month has its ground"
    ground = _as_it_stands(months, before)
    if not reason.strip():
        return _not(ground, "a restatement needs its reason")
    figures = months.figures_of(ground)
    why = why_not_closed(figures, months.now_us)
    if why is not None:
        return _not(ground, why)
    delta = figures.credit.amount - months.figures_of(before).credit.amount
    ground = replace(
        ground,
        restates={"version": last.version, "reason": reason, "by": by, "credit_delta": format(delta, "f")},
    )
    changes = [e.seq for e in months.record.entries if e.seq > entry.seq and _changes(months, e.fact, ground)]
    return _issue(months, ground, by=by, tz_version=tz_version, version=last.version + 1, changes=changes)


def _issue(
    months: Months,
    ground: Ground,
    *,
    by: str,
    tz_version: str,
    version: int = 1,
    changes: Sequence[int] = (),
) -> Closed:
    arrival = months.reader.last_arrival()
    issued = replace(ground, version=version, issued_us=months.now_us, arrival=arrival)
    statement = months.statement(issued)
    inputs = inputs_of(ground, tz_version=tz_version, arrival=arrival)
    if statement.document["incidents"]:
        inputs["incidents"] = statement.document["incidents"]
    restates = ground.restates or {}
    fact = Close(
        partner=ground.partner,
        service=ground.service,
        month=str(ground.month),
        version=version,
        digest=statement.document["digest"],
        at_us=months.now_us,
        inputs=inputs | ({"changes": list(changes)} if version > 1 else {}),
        by=by,
        reason=restates.get("reason"),
        credit_delta=restates.get("credit_delta"),
    )
    return Closed(fact=fact, document=statement.document)


def _not(ground: Ground, reason: str) -> NotClosed:
    return NotClosed(month=str(ground.month), partner=ground.partner, service=ground.service, reason=reason)


def is_decision(fact: Fact) -> bool:
    """Whether a fact can change a month's figures."""
    return isinstance(
        fact,
        Maintenance
        | Notice
        | MaintenanceFinished
        | MaintenanceCancelled
        | Exclusion
        | Reversal
        | Adjudication
        | Annulment
        | ChecksAdopted
        | Incident,
    )


def closable(months: Months) -> Iterable[tuple[Month, str, str]]:
    """Every ended month with evidence or decisions that is not closed yet, oldest first, of every partner and service.

    It reaches back to the month in which the service's first check list came into force, no further than a year.
    """
    record = months.record
    for partner, service in record.agreements.pairs():
        zone_name = contract_zone(record, partner, service)
        lists = record.lists.get(service, [])
        if zone_name is None or not lists:
            continue
        zone = months.basis.zone(zone_name)
        running = month_of(months.now_us, zone)
        first = max(month_of(lists[0].at_us, zone), Month(running.year - 1, running.month))
        month = first
        while month < running:
            if not record.closes(partner, service, str(month)):
                yield month, partner, service
            month = month.next()


def due(months: Months) -> list[tuple[Month, str, str]]:
    """The months that may close at `months.now_us`."""
    found: list[tuple[Month, str, str]] = []
    for month, partner, service in closable(months):
        figures = months.figures(month, partner, service)
        if figures is not None and why_not_closed(figures, months.now_us) is None:
            found.append((month, partner, service))
    return found


def touched_months(months: Months, decided: Sequence[Fact]) -> list[str]:
    """The closed months (`2026-04/acme/portal`) that the facts would change."""
    return sorted(
        f"{ground.month}/{ground.partner}/{ground.service}"
        for ground in closed_grounds(months.record)
        if any(_concerns(months, fact, ground) for fact in decided)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A closed month whose figures the ledger would now give otherwise: what a restatement of it would change."""

    statement: str
    version: int
    availability: tuple[str, str]
    credit_delta: str


def proposed(months: Months) -> list[Proposed]:
    """The restatements that decisions and late evidence since the closes have opened (CONTRACT 2.7), by month."""
    found: list[Proposed] = []
    for closed in sorted(closed_grounds(months.record), key=lambda g: (g.month, g.partner, g.service)):
        issued = months.figures_of(closed)
        now = months.figures_of(_as_it_stands(months, closed))
        if issued.account != replace(now.account, as_of_us=issued.account.as_of_us):
            found.append(
                Proposed(
                    statement=f"{closed.month}/{closed.partner}/{closed.service}",
                    version=closed.version,
                    availability=(floor_text(issued.availability), floor_text(now.availability)),
                    credit_delta=format(now.credit.amount - issued.credit.amount, "f"),
                ),
            )
    return found


def _as_it_stands(months: Months, closed: Ground) -> Ground:
    """A closed month on the ledger as it now stands. Terms, fee and names stay those of the first close: a restatement
    corrects facts, not the agreement.
    """
    now = replace(closed, record=months.record, arrival=None, issued_us=None, restates=None, version=0, digest=None)
    return replace(now, incidents=None)


def _changes(months: Months, fact: Fact, ground: Ground) -> bool:
    """Whether a fact recorded since a close can have changed its month."""
    if isinstance(fact, ChecksAdopted):
        return fact.list.service == ground.service and fact.at_us < ground.period.end_us
    return is_decision(fact) and _concerns(months, fact, ground)


def _concerns(months: Months, fact: Fact, ground: Ground) -> bool:
    reached = reach(months, fact)
    if reached is None:
        return False
    span, services, partners = reached
    ours = ground.service in services and (partners is None or ground.partner in partners)
    return ours and span.overlaps(ground.period)


def reach(months: Months, fact: Fact) -> tuple[Span, Sequence[str], Sequence[str] | None] | None:
    """The time, services and partners (None: all) that a decision speaks of; None where it changes no figure."""
    book = months.record.book
    match fact:
        case Maintenance() | Exclusion():
            return fact.span, fact.services, fact.partners
        case Adjudication() | Annulment():
            return fact.span, (fact.service,), None
        case Notice() | MaintenanceFinished() | MaintenanceCancelled():
            window = book.windows.get(fact.maintenance)
            return None if window is None else (window.fact.span, window.fact.services, window.fact.partners)
        case Reversal():
            undone = book.decision(fact.of)
            return None if undone is None else reach(months, undone)
        case Incident():
            return _reach_of_incident(months, fact)
        case _:
            return None


def _reach_of_incident(months: Months, fact: Incident) -> tuple[Span, Sequence[str], Sequence[str] | None] | None:
    """An event moves the clocks of the partners that reported the incident, from its instant on."""
    at = Span(fact.at_us, fact.at_us + 1)
    if fact.service is not None:
        return None if fact.partner is None else (at, (fact.service,), (fact.partner,))
    state = IncidentBook.of(months.record.entries).states.get(fact.id)
    partners = {fact.partner, *(state.partners if state is not None else ())} - {None}
    return (at, (state.service,), sorted(map(str, partners))) if state is not None and partners else None

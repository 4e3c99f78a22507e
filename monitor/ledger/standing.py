"""How the services stand now: what the status verb, the pages, the live view and the metrics show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.core.calendar import Month, month_of
from monitor.core.check import CheckList, list_in_force
from monitor.core.exclusion import Window, rejection
from monitor.core.fact import Outage
from monitor.core.incident import Phase
from monitor.core.instant import DAY_US
from monitor.core.month import Figures
from monitor.core.span import Span
from monitor.core.verdict import Standing, Verdict, VerdictSpan, judge, merged, standing
from monitor.ledger.ground import contract_zone, notice_needed_us
from monitor.ledger.incidents import IncidentBook
from monitor.ledger.month import Months

LOOK_BACK_US = 40 * DAY_US


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowStanding:
    """A maintenance window of a service that runs or comes, and whether it qualifies for every partner.

    `rejected` maps a partner to why it does not qualify for it as the record stands, `notice_by_us` to the last instant
    at which a notice to it is early enough (CONTRACT 2.5.2), where that is still to come and it has had none.
    """

    id: str
    span: Span
    summary: str
    running: bool
    rejected: tuple[tuple[str, str], ...]
    notice_by_us: tuple[tuple[str, int], ...] = ()

    @property
    def qualifies_for_all(self) -> bool:
        """Whether every subscribed partner it covers had its notice."""
        return not self.rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentStanding:
    """An incident of a service that is not closed, and the outages it belongs to."""

    id: str
    priority: str
    phase: str
    level: int
    outages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStanding:
    """A service at an instant, with its open outage, its windows and the months of its partners."""

    service: str
    name: str
    at_us: int
    standing: Standing
    checks: CheckList | None
    outage_start_us: int | None
    incidents: tuple[IncidentStanding, ...] = ()
    windows: tuple[WindowStanding, ...]
    current: tuple[Figures, ...]
    previous: tuple[Figures, ...]

    @property
    def in_maintenance(self) -> bool:
        """Whether a window that qualifies for every partner is running, whatever the verdict."""
        return any(window.running and window.qualifies_for_all for window in self.windows)


def standings(months: Months, services: tuple[str, ...] | None = None) -> tuple[ServiceStanding, ...]:
    """Every service that has a check list or a subscription (or those named), as it stands at `months.now_us`."""
    record = months.record
    if services is None:
        months.read_ahead()
    known = {*record.lists, *(service for _partner, service in record.agreements.pairs())}
    book = IncidentBook.of(record.entries)
    partners: dict[str, list[str]] = {}
    for partner, of in record.agreements.pairs():
        partners.setdefault(of, []).append(partner)
    names = dict(record.agreements.service_names)
    return tuple(
        _standing_of(months, book, service, names.get(service, service), partners.get(service, []))
        for service in sorted(known)
        if services is None or service in services
    )


def _standing_of(
    months: Months, book: IncidentBook, service: str, name: str, partners: Sequence[str]
) -> ServiceStanding:
    record, now_us = months.record, months.now_us
    lists = record.lists.get(service, [])
    evidence = months.spans(service, Span(now_us, now_us + 1))
    now = standing(lists, evidence, now_us)
    figures = [(partner, month) for partner in partners for month in [_month_now(months, partner, service)] if month]
    current = [months.figures(month, partner, service) for partner, month in figures]
    previous = [months.figures(month.previous(), partner, service) for partner, month in figures]
    return ServiceStanding(
        service=service,
        name=name,
        at_us=now_us,
        standing=now,
        checks=list_in_force(lists, now_us),
        outage_start_us=_outage_start(months, service) if now.verdict is Verdict.DOWN else None,
        incidents=tuple(
            IncidentStanding(
                id=state.id,
                priority=state.priority.value,
                phase=state.phase.value,
                level=state.level,
                outages=state.outages,
            )
            for state in book.states.values()
            if state.service == service and state.phase is not Phase.CLOSED
        ),
        windows=tuple(
            _window_standing(months, window, service)
            for window in record.book.windows.values()
            if service in window.fact.services and window.ends_us > now_us and not window.cancelled_in_time
        ),
        current=tuple(entry for entry in current if entry is not None),
        previous=tuple(entry for entry in previous if entry is not None),
    )


def _month_now(months: Months, partner: str, service: str) -> Month | None:
    """The running month in the zone of the contract under which a partner has the service; None without terms."""
    zone = contract_zone(months.record, partner, service)
    return month_of(months.now_us, months.basis.zone(zone)) if zone else None


def _outage_start(months: Months, service: str) -> int:
    """When the outage that holds now began, looking back from now in growing steps."""
    lists, now_us = months.record.lists.get(service, []), months.now_us
    reach_us = DAY_US
    while True:
        within = Span(now_us - reach_us, now_us + 1)
        last: VerdictSpan = merged(judge(lists, months.spans(service, within), within))[-1]
        if last.start_us > within.start_us or reach_us >= LOOK_BACK_US:
            return last.start_us
        reach_us *= 2


def _window_standing(months: Months, window: Window, service: str) -> WindowStanding:
    rejected: list[tuple[str, str]] = []
    notice_by_us: list[tuple[str, int]] = []
    for partner, of in months.record.agreements.pairs():
        if of != service or not window.covers(partner, service):
            continue
        notice_us = notice_needed_us(months.record, months.basis, partner, service, window.fact.start_us)
        why = None if notice_us is None else rejection(window, partner, notice_us)
        if notice_us is None or why is None:
            continue
        rejected.append((partner, why))
        by_us = window.fact.start_us - notice_us
        if window.notice_us(partner) is None and months.now_us <= by_us and window.fact.end_us > window.fact.start_us:
            notice_by_us.append((partner, by_us))
    return WindowStanding(
        id=window.fact.id,
        span=Span(window.fact.start_us, window.ends_us),
        summary=window.fact.summary,
        running=window.fact.start_us <= months.now_us < window.ends_us,
        rejected=tuple(rejected),
        notice_by_us=tuple(notice_by_us),
    )


def outages_of(months: Months, service: str) -> list[Outage]:
    """The outages as first detected, in the order of their record."""
    facts = (entry.fact for entry in months.record.entries)
    return [fact for fact in facts if isinstance(fact, Outage) and fact.service == service]

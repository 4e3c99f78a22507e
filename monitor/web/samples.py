"""The ledger's figures as the metrics have them: standings in, samples out. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from monitor.core.calendar import Month
from monitor.core.fact import ExclusionReason
from monitor.core.instant import parse_instant
from monitor.core.month import ClaimStatus, Figures
from monitor.core.span import Span, intersect, measure_us, subtract
from monitor.core.terms import HUNDRED, Terms, percent_text
from monitor.core.verdict import Rule
from monitor.ledger.month import Months
from monitor.ledger.standing import ServiceStanding, WindowStanding
from monitor.telemetry.snapshot import (
    AgreementSample,
    MonthSample,
    PeriodSample,
    ServiceSample,
    ServiceTotals,
    StatementSample,
)

ADJUDICATED = "adjudicated"
STATEMENT_MONTHS = 13
"""How many closed months have series: a year, and the one that is compared with it."""

_NO_TOTALS = ServiceTotals()


def service_samples(
    standings: Sequence[ServiceStanding],
    totals: Mapping[str, ServiceTotals],
) -> tuple[ServiceSample, ...]:
    """Each service now, with what the detector counted for it (by service id)."""
    return tuple(_service(standing, totals.get(standing.service, _NO_TOTALS)) for standing in standings)


def month_samples(months: Months, standings: Sequence[ServiceStanding]) -> tuple[MonthSample, ...]:
    """The running and the previous month of every partner and service."""
    return tuple(_month(months, figures, period) for figures, period in _figures(standings))


class StatementSamples:
    """The newest closed months of every partner and service. A version never changes: each is computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str, int], StatementSample] = {}

    def of(self, months: Months) -> tuple[StatementSample, ...]:
        """As the ledger stands; what left the list is forgotten."""
        newest: dict[tuple[str, str, str, int], StatementSample] = {}
        for partner, service in months.record.agreements.pairs():
            closed = sorted(month for p, s, month in months.record.closed if (p, s) == (partner, service))
            for month in closed[-STATEMENT_MONTHS:]:
                key = (partner, service, month, len(months.record.closes(partner, service, month)))
                newest[key] = self._known.get(key) or _statement(months, partner, service, month)
        self._known = newest
        return tuple(newest.values())


def _statement(months: Months, partner: str, service: str, month: str) -> StatementSample:
    figures = months.figures(Month.parse(month), partner, service)
    assert figures is not None, "a closed month has figures"
    return StatementSample(
        partner=partner,
        service=service,
        month=month,
        availability=figures.account.availability / HUNDRED,
        downtime_us=figures.account.down_us,
        credit=Fraction(figures.credit.percent) / HUNDRED,
    )


def agreement_samples(standings: Sequence[ServiceStanding]) -> tuple[AgreementSample, ...]:
    """What each partner was promised, by the terms of the running month."""
    promised: dict[int, _Promised] = {}
    for figures, period in _figures(standings):
        if period == "current" and id(figures.terms) not in promised:
            promised[id(figures.terms)] = _promised(figures.terms)
    return tuple(
        AgreementSample(
            partner=figures.partner,
            service=figures.service,
            contract=figures.terms.contract,
            currency=figures.subscription.fee.currency,
            objective=promised[id(figures.terms)].objective,
            tiers=promised[id(figures.terms)].tiers,
        )
        for figures, period in _figures(standings)
        if period == "current"
    )


class _Promised(NamedTuple):
    objective: Fraction | None
    tiers: tuple[tuple[str, Fraction], ...]


def _promised(terms: Terms) -> _Promised:
    """Terms as shares of 1: the same for a thousand subscriptions to one contract."""
    return _Promised(
        objective=None if terms.objective is None else terms.objective / HUNDRED,
        tiers=tuple((percent_text(tier.credit), tier.below / HUNDRED) for tier in terms.tiers),
    )


def period_samples(standings: Sequence[ServiceStanding]) -> tuple[PeriodSample, ...]:
    """Which months `current` and `previous` are under each contract."""
    found = {
        (figures.terms.contract, period): PeriodSample(
            contract=figures.terms.contract,
            period=period,
            month=str(figures.month),
            zone=figures.terms.zone,
            start_us=figures.account.period.start_us,
            end_us=figures.account.period.end_us,
        )
        for figures, period in _figures(standings)
    }
    return tuple(found.values())


def _figures(standings: Sequence[ServiceStanding]) -> Iterator[tuple[Figures, str]]:
    for standing in standings:
        for figures in standing.current:
            yield figures, "current"
        for figures in standing.previous:
            yield figures, "previous"


def _service(found: ServiceStanding, totals: ServiceTotals) -> ServiceSample:
    now = found.standing
    valid = [window for window in found.windows if window.qualifies_for_all]
    shown = _window(found.windows)
    return ServiceSample(
        service=found.service,
        name=found.name,
        verdict=now.verdict.value,
        failing=len(now.failing),
        unknown=len(now.unknown),
        total=now.total,
        totals=totals,
        outage_start_us=found.outage_start_us,
        in_maintenance=found.in_maintenance,
        maintenance_active=any(window.running for window in valid),
        window_us=None if shown is None else (shown.start_us, shown.end_us),
    )


def _window(windows: Sequence[WindowStanding]) -> Span | None:
    """The running window, else the next one."""
    ordered = sorted(windows, key=lambda window: (not window.running, window.span))
    return ordered[0].span if ordered else None


def _month(months: Months, figures: Figures, period: str) -> MonthSample:
    account, terms, credit = figures.account, figures.terms, figures.credit
    budget_us = None if terms.objective is None else (1 - terms.objective / HUNDRED) * account.total_us
    # Without a credit there is nothing to claim; with one, the statement says whether it still can be.
    claim_open, deadline_us = _claim(months, figures) if figures.earns else (False, None)
    return MonthSample(
        partner=figures.partner,
        service=figures.service,
        period=period,
        availability=account.to_date / HUNDRED,
        best_case=account.availability / HUNDRED,
        elapsed_us=account.elapsed_us,
        downtime_us=_downtime(months, figures),
        excluded_us=_excluded(figures),
        unknown_us=account.unknown_us,
        outages=sum(1 for outage in account.outages if outage.counted_us),
        credit=Fraction(credit.percent) / HUNDRED,
        budget_us=budget_us,
        budget_left_us=None if budget_us is None else budget_us - account.down_us,
        credit_amount=credit.amount,
        fee=credit.fee.amount,
        claim_deadline_us=deadline_us,
        claim_open=claim_open,
        finalized=bool(months.record.closes(figures.partner, figures.service, str(figures.month))),
    )


def _downtime(months: Months, figures: Figures) -> dict[str, int]:
    """The counted downtime by the rule of CONTRACT 2.3 that made it; what no rule did, a ruling did."""
    _evidence, verdicts = months.sweep(figures.service, figures.account.period)
    left = figures.account.counted
    found: dict[str, int] = {}
    for rule in Rule:
        part = intersect(left, (verdict.span for verdict in verdicts if verdict.rule is rule))
        found[rule.value] = measure_us(part)
        left = subtract(left, part)
    return {**found, ADJUDICATED: measure_us(left)}


def _excluded(figures: Figures) -> dict[str, int]:
    found = dict.fromkeys((reason.value for reason in ExclusionReason), 0)
    for share in figures.account.shares:
        found[share.excluded.reason.value] += share.seconds_us
    return found


def _claim(months: Months, figures: Figures) -> tuple[bool, int]:
    """Whether a claim can still be filed, and its deadline, by the statement."""
    (statement,) = months.statements(figures.month, figures.partner, figures.service)
    claim = statement.document["claim"]
    return claim["status"] == ClaimStatus.OPEN, parse_instant(claim["deadline"])

"""What a message says: its fields, from the record as it stands. Texts of targets are cut and made safe on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from monitor.core.availability import floor_text
from monitor.core.calendar import Month
from monitor.core.exclusion import Window
from monitor.core.fact import Close
from monitor.core.incident import State
from monitor.core.instant import format_instant, format_seconds
from monitor.core.month import Figures
from monitor.core.run import Outcome
from monitor.core.terms import percent_text
from monitor.ledger.incidents import Counter
from monitor.ledger.month import Months
from monitor.ledger.record import Basis, RecordKeeper
from monitor.ledger.standing import standings
from monitor.storage import Reader

Fields = Mapping[str, Any]
ZONE = "Asia/Jakarta"
"""The zone that messages are written in where no contract says one."""


@dataclass(slots=True)
class Telling:
    """The fields of messages at one instant. What costs a sweep over a month is done when the first message asks."""

    reader: Reader
    basis: Basis
    counter: Counter
    at_us: int
    record: RecordKeeper
    _months: Months | None = None
    _zones: dict[str, str] = field(default_factory=dict)

    @property
    def months(self) -> Months:
        """The ledger as it stands."""
        if self._months is None:
            self._months = Months(self.reader, self.basis, self.at_us, self.record.read)
        return self._months

    def zone_of(self, service: str) -> str:
        """The zone of the newest terms under which anybody has the service."""
        if service not in self._zones:
            agreements = self.counter.agreements
            contracts = {s.contract for s in agreements.subscriptions if s.service == service}
            zones = [terms.zone for terms in agreements.terms if terms.contract in contracts]
            self._zones[service] = zones[-1] if zones else ZONE
        return self._zones[service]

    def instant(self, at_us: int, zone: str) -> str:
        """An instant as the fields have it."""
        return format_instant(at_us, self.basis.zone(zone))

    def trouble(self, service: str, since_us: int, until_us: int | None = None) -> dict[str, Any]:
        """Which service, since when, for how long."""
        zone = self.zone_of(service)
        return {
            "service": service,
            "service_name": self.counter.agreements.service_name(service),
            "zone": zone,
            "since": self.instant(since_us, zone),
            "until": None if until_us is None else self.instant(until_us, zone),
            "duration": format_seconds((self.at_us if until_us is None else until_us) - since_us),
        }

    def evidence(self, service: str, peak: tuple[int, int] | None) -> dict[str, Any]:
        """How many checks fail, where, and why: from the newest run of each check and location."""
        runs = self.reader.latest_runs(service)
        failing = [run for run in runs if run.outcome is Outcome.FAIL]
        locations = {run.location for run in runs}
        first = min(failing, key=lambda run: run.start_us, default=None)
        return {
            "failing": None if peak is None else f"{peak[0]}/{peak[1]}",
            "where": f"{len({run.location for run in failing})}/{len(locations)}" if locations else None,
            "why": sorted({run.reason for run in failing if run.reason}),
            "step": None if first is None else f"{first.check}: {first.step}" if first.step else first.check,
            "error": None if first is None else first.message,
        }

    def excluded(self, service: str, since_us: int, until_us: int) -> dict[str, Any]:
        """How much of an outage is excluded for every partner, as far as that is decided, and how much counts."""
        whole_us = until_us - since_us
        taken_us = sum(
            max(0, min(span.end_us, until_us) - max(span.start_us, since_us))
            for span in self.counter.excluded(None, service)
        )
        return {"counted": format_seconds(whole_us - taken_us), "excluded": format_seconds(taken_us)}

    def effects(self, service: str) -> dict[str, Any]:
        """What it does to the month of each partner."""
        found = standings(self.months, (service,))
        return {"effects": [_effect(figures) for standing in found for figures in standing.current]}

    def incident(self, state: State | None) -> dict[str, Any]:
        """The incident of it, with its deadlines as far as its clocks run."""
        if state is None:
            return {}
        zone = self.zone_of(state.service)
        due = {
            f"{reading.clock.value}_due": self.instant(reading.due_us, zone)
            for reading in reversed(self.counter.readings(state, self.at_us))
            if reading.open
        }
        return {"incident": state.id, "priority": state.priority.value, **due}

    def window(self, window: Window) -> dict[str, Any]:
        """A maintenance window, or what is left of it."""
        fact = window.fact
        zone = self.zone_of(fact.services[0])
        names = [self.counter.agreements.service_name(service) for service in fact.services]
        return {
            "maintenance": fact.id,
            "extends": fact.extends,
            "services": names,
            "zone": zone,
            "start": self.instant(fact.start_us, zone),
            "end": self.instant(fact.end_us, zone),
            "summary": fact.summary,
        }

    def statement(self, close: Close) -> tuple[dict[str, Any], Fraction, int]:
        """A closed month's figures, the share of the fee that is owed (0 where it earns nothing), and the deadline of
        its claim.
        """
        ground = self.months.ground(Month.parse(close.month), close.partner, close.service)
        assert ground is not None, "a month that was closed has its ground"
        figures = self.months.figures_of(ground)
        zone = ground.terms.zone
        deadline_us = self.months.claim_deadline_us(ground)
        credit = figures.credit
        said = {
            "service": close.service,
            "service_name": ground.service_name,
            "partner_name": ground.partner_name,
            "zone": zone,
            "month": close.month,
            "version": close.version,
            "availability": floor_text(figures.availability),
            "guarantee": percent_text(ground.terms.guarantee),
            "digest": close.digest,
        }
        if figures.earns:
            said |= {
                "credit_percent": percent_text(credit.percent),
                "credit_amount": str(credit.amount),
                "currency": credit.fee.currency,
                "credit": percent_text(credit.percent),
                "deadline": self.instant(deadline_us, zone),
            }
        return said, credit.percent if figures.earns else Fraction(0), deadline_us

    def claimed(self, month: str, partner: str, service: str) -> bool:
        """Whether a month's credit was claimed."""
        ground = self.months.ground(Month.parse(month), partner, service)
        return ground is None or bool(self.months.claims(ground))


def covered(window: Window, pairs: Iterable[tuple[str, str]]) -> Sequence[str]:
    """The partners that a window is announced to."""
    return sorted({partner for partner, service in pairs if window.covers(partner, service)})


def _effect(figures: Figures) -> dict[str, Any]:
    """The best case, and how much downtime is left before the next tier; none left where one is certain."""
    best = figures.availability
    said = {
        "month": str(figures.month),
        "partner": figures.partner,
        "best_case": floor_text(best),
        "guarantee": percent_text(figures.terms.guarantee),
    }
    ahead = [tier for tier in figures.terms.tiers if best >= tier.below]
    if figures.credit.percent or not ahead:
        return {**said, "credit": percent_text(figures.credit.percent)}
    left = (best - ahead[0].below) * figures.account.total_us / 100
    return {**said, "credit": percent_text(ahead[0].credit), "left": format_seconds(int(left))}

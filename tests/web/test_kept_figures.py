"""What is carried on from scrape to scrape against what is read anew each time: the same figures at every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitor.core.check import Check, CheckList
from monitor.core.fact import ChecksAdopted, ExclusionReason, Ruling
from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from monitor.core.run import Outcome, Run
from monitor.core.span import Span
from monitor.core.terms import Agreements, Fee, Subscription
from monitor.core.verdict import judge
from monitor.ledger import command as ask
from monitor.ledger.kept import PERIODS, FigureKeeper
from monitor.ledger.month import Months
from monitor.ledger.record import RecordKeeper
from monitor.ledger.standing import ServiceStanding, standings
from monitor.telemetry.exposition import Exposition
from monitor.telemetry.snapshot import LAG_BOUNDS_US, DaemonSample, Histogram, Snapshot
from monitor.web import samples
from tests.core.examples import terms
from tests.ledger.keeping import APRIL, END, START, Keeper, kept

STEP_US = 20 * MINUTE_US
SERVICES, CHECKS = ("portal", "api"), ("a", "b", "c")
PARTNERS = ("acme", "beta")
AGREEMENTS = Agreements(
    terms=(terms(),),
    subscriptions=tuple(
        Subscription(partner=partner, service=service, contract="mitra", fee=Fee(currency="IDR", amount=Decimal(100)))
        for partner in PARTNERS
        for service in SERVICES
    ),
)


@dataclass(slots=True)
class Reading:
    """Readings of one ledger that go on from each other."""

    keeper: Keeper
    record: RecordKeeper = field(default_factory=RecordKeeper)
    figures: FigureKeeper = field(default_factory=FigureKeeper)
    statements: samples.StatementSamples = field(default_factory=samples.StatementSamples)

    def carried_on(self) -> tuple[Months, tuple[ServiceStanding, ...]]:
        keeper = self.keeper
        months = Months(keeper.store, keeper.basis, keeper.now_us, self.record.read, self.figures)
        return months, standings(months)

    def anew(self) -> tuple[Months, tuple[ServiceStanding, ...]]:
        months = self.keeper.months()
        return months, standings(months)

    def snapshot(self) -> Snapshot:
        return self.shown(*self.carried_on())

    def shown(self, months: Months, found: tuple[ServiceStanding, ...]) -> Snapshot:
        return Snapshot(
            daemon=DaemonSample(
                version="0",
                revision="",
                python_version="3",
                ready=True,
                runs_in_flight=0,
                scheduler_lag=Histogram(LAG_BOUNDS_US).tally(),
            ),
            services=samples.service_samples(found, {}),
            months=samples.month_samples(months, found),
            statements=self.statements.of(months),
            agreements=samples.agreement_samples(found),
            periods=samples.period_samples(found),
        )

    def agree(self) -> None:
        """Every figure, carried on and anew."""
        carried, fresh = self.carried_on(), self.anew()
        assert carried[1] == fresh[1]
        assert self.shown(*carried) == self.shown(*fresh)


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    """Two services with three checks each, watched from two days before the end of April."""
    with kept(tmp_path, AGREEMENTS) as keeper:
        keeper.now_us = END - 2 * DAY_US
        adopt(keeper, CHECKS)
        yield Reading(keeper)


def adopt(keeper: Keeper, checks: tuple[str, ...]) -> None:
    for service in SERVICES:
        adopted = CheckList(
            service=service,
            at_us=keeper.now_us,
            interval_us=STEP_US,
            timeout_us=10 * SECOND_US,
            stale_after_us=50 * MINUTE_US,
            checks=tuple(Check(id=name) for name in checks),
        )
        keeper.put(facts=[ChecksAdopted(list=adopted)])


def run(service: str, check: str, start_us: int, outcome: Outcome, location: str = "jkt-1") -> Run:
    return Run(
        service=service,
        check=check,
        location=location,
        start_us=start_us,
        outcome=outcome,
        reason="timeout" if outcome is Outcome.FAIL else None,
    )


def decision(keeper: Keeper, step: int) -> ask.Command | None:
    """What is decided after a step: of every kind that moves a figure."""

    def back(steps: int) -> int:
        return keeper.now_us - steps * STEP_US

    third_party = ExclusionReason.THIRD_PARTY
    match step:
        case 3:
            told = ask.Notified(partner="acme", at_us=keeper.now_us, evidence="a letter")
            return ask.AnnounceMaintenance(
                services=("portal",),
                summary="disks",
                id="m-1",
                notified=(told,),
                start_us=keeper.now_us + 50 * HOUR_US,
                end_us=keeper.now_us + 54 * HOUR_US,
            )
        case 40:
            return ask.Exclude(
                reason=third_party, services=("portal",), evidence="e", id="x-1", start_us=back(30), end_us=back(10)
            )
        case 70:
            return ask.Exclude(
                reason=third_party,
                services=SERVICES,
                partners=("acme",),
                evidence="e",
                id="x-2",
                start_us=back(60),
                end_us=back(10),
            )
        case 80:
            return ask.Adjudicate(
                service="api",
                verdict=Ruling.DOWN,
                evidence="e",
                id="j-1",
                start_us=END - 5 * DAY_US,
                end_us=END - 4 * DAY_US,
            )
        case 90 | 150:
            service, check = ("portal", "a") if step == 90 else ("api", "b")
            return ask.Annul(
                service=service,
                check=check,
                location="jkt-1",
                note="ours",
                id=f"n-{step}",
                start_us=back(60),
                end_us=back(20),
            )
        case 120:
            return ask.Reverse(of="x-1", note="wrong")
    return None


def played(reading: Reading, steps: int) -> Iterator[int]:
    """Two days and a half: outages, silences, late runs, another location, decisions, a change of the check lists."""
    keeper, random = reading.keeper, Random(20261125)
    down = dict.fromkeys(SERVICES, 0)
    late: list[Run] = []
    for step in range(steps):
        stamp_us = keeper.now_us
        for service in SERVICES:
            if random.random() < 0.1:
                down[service] = random.randint(1, 9)
            down[service] -= down[service] > 0
            silent = random.random() < 0.08
            runs = [
                run(service, check, stamp_us + 1, Outcome.FAIL if down[service] and check != "c" else Outcome.PASS)
                for check in (*CHECKS, "d")
            ]
            if random.random() < 0.1:
                runs.append(run(service, "a", stamp_us + 2, random.choice(list(Outcome)), "sby-1"))
            if silent:
                late += runs
            else:
                keeper.put(runs=runs)
        if late and random.random() < 0.2:
            keeper.put(runs=late)
            late = []
        if step == 100:
            adopt(keeper, ("a", "b", "c", "d"))
        decided = decision(keeper, step)
        if decided is not None:
            keeper.given(decided)
        keeper.now_us = stamp_us + STEP_US
        yield step


@pytest.mark.slow
def test_two_days_across_the_end_of_a_month_give_the_same_figures_as_a_fresh_reading(reading: Reading) -> None:
    with patch("monitor.ledger.kept.judge", wraps=judge) as judging:
        for step in played(reading, 180):
            reading.agree()
            if step % 10 == 0:  # time passes and nothing comes
                reading.keeper.now_us += SECOND_US
                reading.agree()
    (_, found) = reading.anew()
    assert {str(figures.month) for one in found for figures in one.current} == {"2026-05"}
    for figures in ([f for one in found for f in one.current], [f for one in found for f in one.previous]):
        assert sum(of.account.down_us for of in figures) > 0, "a story without downtime proves nothing"
    assert judging.call_count < 4 * 198, "of four sweeps a step not all were made"


def test_a_closed_month_is_carried_on_and_its_restatement_is_not_missed(reading: Reading) -> None:
    keeper = reading.keeper
    for _ in played(reading, 160):
        pass
    keeper.now_us = END + 5 * DAY_US
    for days, ruling in ((Span(0, 10), Ruling.DOWN), (Span(10, 28), Ruling.UP)):
        keeper.given(
            ask.Adjudicate(
                service="portal",
                verdict=ruling,
                evidence="e",
                start_us=START + days.start_us * DAY_US,
                end_us=START + days.end_us * DAY_US,
            )
        )
    reading.agree()
    for partner in PARTNERS:
        keeper.given(ask.CloseMonth(partner=partner, service="portal", month="2026-04"))
        reading.agree()
    with patch.object(Months, "ground", side_effect=AssertionError("it was computed before")) as asked:
        months = Months(keeper.store, keeper.basis, keeper.now_us, reading.record.read, reading.figures)
        closed = months.figures(APRIL, "acme", "portal")
    assert closed is not None
    asked.assert_not_called()
    span = Span(START, END)
    keeper.given(
        ask.Exclude(
            reason=ExclusionReason.THIRD_PARTY,
            services=("portal",),
            evidence="the cloud's own report",
            id="x-9",
            start_us=span.start_us,
            end_us=span.end_us,
        ),
        over_closed=True,
    )
    reading.agree()
    keeper.given(ask.CloseMonth(partner="acme", service="portal", month="2026-04", restate_reason="the report"))
    reading.agree()
    keeper.now_us += 40 * DAY_US  # the claim's deadline, and the month after
    reading.agree()


async def test_a_month_rolls_over_in_one_exposition_at_midnight_of_the_contract(reading: Reading) -> None:
    """00:00:00 WIB, which is 17:00:00 UTC: until then nothing of May, from then on everything."""
    for _ in played(reading, 143):
        pass
    pages: dict[int, dict[tuple[str, ...], float]] = {}
    for at_us in (END - 1, END, END + SECOND_US):
        reading.keeper.now_us = at_us
        body, _ = await Exposition(reading.snapshot, now_ns=lambda: 0).render("")
        pages[at_us] = {
            (sample.name, *(text for _, text in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }
    before, at, after = pages.values()

    def months(page: dict[tuple[str, ...], float]) -> set[tuple[str, ...]]:
        return {key[2:4] for key in page if key[0] == "sla_ledger_period_info"}

    assert months(before) == {("2026-04", "current"), ("2026-03", "previous")}
    assert months(at) == months(after) == {("2026-05", "current"), ("2026-04", "previous")}
    for partner in PARTNERS:
        for service in SERVICES:
            of = (partner, "current", service), (partner, "previous", service)
            for name in ("sla_ledger_elapsed_seconds", "sla_ledger_outages", "sla_ledger_best_case_availability_ratio"):
                april = before[name, *of[0]]
                assert at[name, *of[1]] == pytest.approx(april, abs=1e-6), "all of April moves at once"
            assert at["sla_ledger_elapsed_seconds", *of[0]] == 0
            assert after["sla_ledger_elapsed_seconds", *of[0]] == 1
            assert at["sla_ledger_best_case_availability_ratio", *of[0]] == 1
    assert at["sla_ledger_period_start_timestamp_seconds", "mitra", "current"] == END / SECOND_US


def test_what_is_kept_is_bounded() -> None:
    keeper = FigureKeeper()
    for number in range(50):
        period = Span(number * DAY_US, (number + 1) * DAY_US)
        keeper.verdicts("portal", period, [], {}, period)
    assert len(keeper._swept["portal"]) == PERIODS


def test_shares_of_a_contract_are_exact(reading: Reading) -> None:
    _, found = reading.carried_on()
    for sample in samples.agreement_samples(found):
        assert sample.objective == Fraction("0.999")
        assert sample.tiers[0] == ("10", Fraction(95, 100))

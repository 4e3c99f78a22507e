"""From committed runs to facts and totals, over a real ledger; crashes between any two of its transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from monitor.core.check import Check, CheckList
from monitor.core.fact import Annulment, ChecksAdopted, Fact, Maintenance, Notice, Outage
from monitor.core.run import Origin, Outcome, OutcomeSpan, Run, SourceKey, StepRecord
from monitor.core.span import Span
from monitor.core.terms import Agreements, Fee, Subscription, Terms, Tier
from monitor.detector import IDLE_US, Detector, outage_id
from monitor.storage import Committed, Unit
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore

SECOND = 1_000_000
# Short, so that the marks kept every 60 s do not hide what is written with the facts themselves.
MINUTE = 6 * SECOND
START_US = 1_775_000_000 * SECOND
STALE_US = 20 * SECOND
TERMS = Terms(
    contract="mitra",
    effective_from_us=0,
    maintenance_notice_us=10 * MINUTE,
    tiers=(Tier(below=Fraction(95), credit=Fraction(10)),),
)
AGREEMENTS = Agreements(
    terms=(TERMS,),
    subscriptions=(
        Subscription(partner="acme", service="portal", contract="mitra", fee=Fee(currency="IDR", amount=Decimal(1))),
    ),
)


def adopted(*checks: str, at_us: int = START_US) -> ChecksAdopted:
    return ChecksAdopted(
        list=CheckList(
            service="portal",
            at_us=at_us,
            interval_us=MINUTE,
            timeout_us=5 * SECOND,
            stale_after_us=STALE_US,
            checks=tuple(Check(id=check) for check in checks),
        )
    )


def run_at(minute: float, outcome: Outcome = Outcome.PASS, check: str = "login", **more: Any) -> Run:  # noqa: ANN401 - fields of Run
    return Run(
        service="portal",
        check=check,
        location="jkt-1",
        start_us=START_US + round(minute * MINUTE),
        outcome=outcome,
        reason="connect" if outcome is Outcome.FAIL else None,
        **{"duration_us": 1000, **more},
    )


class Bench:
    """A store, a detector, and the writer between them; `crash` forgets what was not committed."""

    def __init__(self, folder: Path, at_us: int = START_US) -> None:
        self.path = folder / "ledger.db"
        self.store: SqlStore = open_store(self.path)
        self.owed: Unit | None = None
        self.start(at_us)

    def start(self, at_us: int) -> None:
        self.owed = None
        self.detector = Detector(self.store, AGREEMENTS)
        self.detector.open(at_us)

    def crash(self, at_us: int) -> None:
        self.store.close()
        self.store = open_store(self.path)
        self.start(at_us)

    def write(
        self, at_minute: float, *runs: Run, facts: tuple[Fact, ...] = (), open_since: Mapping[str, int] | None = None
    ) -> None:
        """One turn of the recorder."""
        at_us = START_US + round(at_minute * MINUTE)
        owed = self.owed
        committed: Committed | None = None
        if runs or facts or owed is not None:
            committed = self.store.commit(
                Unit(
                    recorded_at_us=at_us,
                    runs=runs,
                    facts=(*(owed.facts if owed else ()), *facts),
                    spans=owed.spans if owed else (),
                    marks=owed.marks if owed else {},
                )
            )
        self.owed = self.detector.take(committed, at_us, open_since or {})

    def settle(self, at_minute: float) -> None:
        """Turns until nothing is owed."""
        self.write(at_minute)
        while self.owed is not None:
            self.write(at_minute)

    def outages(self) -> list[Outage]:
        return [entry.fact for entry in self.store.entries() if isinstance(entry.fact, Outage)]

    def spans(self, check: str = "login") -> list[OutcomeSpan]:
        return self.store.spans_of(SourceKey("portal", check, "jkt-1"), Span(0, 2**53))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.write(0, facts=(adopted("login"),))
    yield bench
    bench.store.close()


def at(minute: float) -> int:
    return START_US + round(minute * MINUTE)


def test_an_outage_is_told_when_it_opens_and_when_it_closes(bench: Bench) -> None:
    for minute in range(1, 4):
        bench.write(minute, run_at(minute))
    for minute in range(4, 7):
        bench.write(minute, run_at(minute, Outcome.FAIL))
    bench.settle(6.1)
    (opened,) = bench.outages()
    assert opened == Outage(
        id=outage_id("portal", at(4)),
        service="portal",
        start_us=at(4),
        end_us=None,
        at_us=opened.at_us,
        failing="1/1",
    )
    bench.write(7.1, run_at(7))
    bench.settle(7.2)
    _opened, closed = bench.outages()
    assert (closed.id, closed.start_us, closed.end_us) == (opened.id, at(4), at(7))
    totals = bench.detector.totals("portal", at(7.2))
    assert totals.outages == 1
    assert totals.downtime_us == {"majority": 3 * MINUTE}
    assert totals.unknown_us == MINUTE, "before the first run"
    assert totals.observed_us + totals.unknown_us == bench.detector.watches["portal"].settled_us - START_US
    assert bench.spans() == [
        OutcomeSpan(at(1), at(4), Outcome.PASS),
        OutcomeSpan(at(4), at(7), Outcome.FAIL),
        OutcomeSpan(at(7), at(7) + STALE_US, Outcome.PASS),
    ]


def test_silence_ends_an_outage_in_unknown(bench: Bench) -> None:
    bench.write(1, run_at(1, Outcome.FAIL))
    bench.settle(2)
    assert len(bench.outages()) == 1
    bench.settle(30)
    assert bench.outages()[-1].end_us == at(1) + STALE_US
    totals = bench.detector.totals("portal", at(30))
    assert totals.downtime_us == {"majority": STALE_US}
    assert totals.unknown_us == 29 * MINUTE - STALE_US + MINUTE


def test_nothing_is_judged_while_evidence_is_still_to_come(bench: Bench) -> None:
    bench.write(1, run_at(1))
    bench.write(2, run_at(2, Outcome.FAIL), open_since={"portal": at(1.5)})
    assert bench.detector.watches["portal"].settled_us == at(1.5)
    assert not bench.outages()
    bench.settle(3)
    assert [fact.start_us for fact in bench.outages()] == [at(2)]


def test_a_service_is_judged_when_its_evidence_says_something_else_and_else_now_and_then(bench: Bench) -> None:
    watch = bench.detector.watches["portal"]
    turns = (
        (1.0, Outcome.PASS, 1.0),
        (1.05, Outcome.PASS, 1.05),  # the first was learnt at the very instant up to which it was judged
        (1.1, Outcome.PASS, 1.05),
        (1.15, Outcome.FAIL, 1.15),
        (1.2, Outcome.FAIL, 1.2),
        (1.25, Outcome.FAIL, 1.2),
        (1.3, Outcome.INCONCLUSIVE, 1.3),
        (1.35, Outcome.INCONCLUSIVE, 1.35),
        (1.4, Outcome.INCONCLUSIVE, 1.35),
        (2.3, Outcome.INCONCLUSIVE, 2.3),  # nothing new for more than IDLE_US
    )
    for minute, outcome, settled in turns:
        bench.write(minute, run_at(minute, outcome))
        assert watch.settled_us == at(settled), minute
    bench.settle(2.4)
    assert [(fact.start_us, fact.end_us) for fact in bench.outages()] == [(at(1.15), None), (at(1.15), at(1.3))]


def test_of_many_services_without_news_a_turn_judges_its_share(tmp_path: Path) -> None:
    services = [f"s{number}" for number in range(40)]
    bench = Bench(tmp_path)
    own = adopted("login")
    bench.write(0, facts=tuple(replace(own, list=replace(own.list, service=service)) for service in services))
    bench.write(0.1, *(replace(run_at(0.1), service=service) for service in services))
    while bench.owed is not None or len({watch.settled_us for watch in bench.detector.watches.values()}) > 1:
        bench.settle(0.2)
    watches, judged = bench.detector.watches, []
    for turn in range(1, 60):  # of a quarter of a second each, for 15 s
        before = {service: watch.settled_us for service, watch in watches.items()}
        bench.write(0.2 + turn / 24)
        judged.append(sum(watch.settled_us > before[service] for service, watch in watches.items()))
        behind_us = at(0.2 + turn / 24) - min(watch.settled_us for watch in watches.values())
        assert behind_us <= 2 * IDLE_US, turn
    assert max(judged) <= 2, "a twentieth of them"
    assert sum(judged) == 2 * len(services), "each every five seconds, from the fifth on"
    bench.write(0.2 + 60 / 24 + 1)  # after six seconds in which there was no turn
    assert {watch.settled_us for watch in watches.values()} == {at(0.2 + 60 / 24 + 1)}
    bench.store.close()


def test_what_was_learnt_while_evidence_was_still_to_come_is_judged_once_it_has_come(bench: Bench) -> None:
    bench.write(1, run_at(1))
    bench.write(1.3, run_at(1.3, Outcome.FAIL), open_since={"portal": at(1.25)})
    bench.write(1.4, run_at(1.4, Outcome.FAIL), open_since={"portal": at(1.3)})
    bench.settle(1.5)
    assert [fact.start_us for fact in bench.outages()] == [at(1.3)]


def test_evidence_that_becomes_stale_is_noticed_at_once(bench: Bench) -> None:
    bench.write(1, run_at(1, Outcome.FAIL))
    for second in range(20):
        bench.settle(1 + second / 6)
    assert [fact.end_us for fact in bench.outages()] == [None]
    bench.settle(1 + 20.1 / 6)
    assert [fact.end_us for fact in bench.outages()] == [None, at(1) + STALE_US]


def test_late_evidence_corrects_the_spans_and_not_what_was_first_found(bench: Bench) -> None:
    bench.write(1, run_at(1, Outcome.FAIL))
    bench.write(4, run_at(4))
    bench.settle(4.5)
    before = bench.detector.totals("portal", at(4.5))
    bench.write(5, run_at(2))
    bench.settle(5.1)
    assert bench.spans()[0] == OutcomeSpan(at(1), at(2), Outcome.FAIL)
    assert bench.detector.totals("portal", at(5.1)).downtime_us == before.downtime_us
    assert [fact.end_us for fact in bench.outages()] == [None, at(4)]


@pytest.mark.parametrize("lost_at", range(1, 9))
def test_a_crash_before_any_of_its_units_is_written_repeats_nothing_and_loses_nothing(
    tmp_path: Path, lost_at: int
) -> None:
    """Runs are durable, what follows from them is not yet: the crash comes exactly there."""
    bench = Bench(tmp_path)
    bench.write(0, facts=(adopted("login"),))
    for minute in range(1, 9):
        bench.write(minute, run_at(minute, Outcome.FAIL if 3 <= minute < 6 else Outcome.PASS))
        if minute == lost_at:
            bench.crash(at(minute + 0.1))
    bench.settle(9)
    assert [(fact.start_us, fact.end_us) for fact in bench.outages()] == [(at(3), None), (at(3), at(6))]
    assert bench.spans() == [
        OutcomeSpan(at(1), at(3), Outcome.PASS),
        OutcomeSpan(at(3), at(6), Outcome.FAIL),
        OutcomeSpan(at(6), at(8) + STALE_US, Outcome.PASS),
    ]
    totals = bench.detector.totals("portal", at(9))
    assert (totals.outages, totals.downtime_us, totals.unknown_us) == (1, {"majority": 3 * MINUTE}, MINUTE)
    held = bench.detector.counts[SourceKey("portal", "login", "jkt-1")]
    assert (held.attempts, held.failures) == (8, {"connect": 3})
    bench.store.close()


def test_a_list_adopted_just_before_a_crash_acts_after_it(bench: Bench) -> None:
    bench.write(1, run_at(1))
    bench.settle(1.1)
    later = ChecksAdopted(list=replace(adopted("login", at_us=at(1.5)).list, stale_after_us=9 * SECOND))
    bench.store.commit(Unit(recorded_at_us=at(1.5), facts=[later]))
    bench.store.commit(Unit(recorded_at_us=at(2), runs=[run_at(2)]))
    bench.crash(at(2.1))
    bench.settle(9)
    assert bench.spans() == [OutcomeSpan(at(1), at(2) + 9 * SECOND, Outcome.PASS)]


def test_a_decision_recorded_just_before_a_crash_acts_after_it(bench: Bench) -> None:
    for minute in range(1, 6):
        bench.write(minute, run_at(minute, Outcome.FAIL))
    bench.settle(5.1)
    annulment = Annulment(
        id="a-1", service="portal", check="login", location="jkt-1", start_us=at(2), end_us=at(4), at_us=at(6)
    )
    bench.store.commit(Unit(recorded_at_us=at(6), facts=[annulment]))
    bench.crash(at(6.1))
    bench.settle(9)
    assert bench.spans() == [
        OutcomeSpan(at(1), at(2), Outcome.FAIL),
        OutcomeSpan(at(4), at(5) + STALE_US, Outcome.FAIL),
    ]


def test_how_far_it_got_is_written_with_what_follows(bench: Bench) -> None:
    bench.write(1, run_at(1))
    assert bench.store.mark("cursor")["arrival"] == 0
    bench.settle(1.1)
    assert bench.store.mark("cursor") == {"arrival": 1, "seq": 1}


def test_time_in_a_window_that_qualifies_is_counted_as_excluded(bench: Bench) -> None:
    window = Maintenance(
        id="m-1", services=("portal",), start_us=at(20), end_us=at(25), at_us=at(1), partners=None, summary="upgrade"
    )
    late = Maintenance(id="m-2", services=("portal",), start_us=at(25), end_us=at(27), at_us=at(24))
    bench.write(1, run_at(1), facts=(window, Notice(maintenance="m-1", partner="acme", at_us=at(1), channel="email")))
    for minute in range(2, 30):
        bench.write(minute, run_at(minute, Outcome.FAIL if 18 <= minute < 28 else Outcome.PASS))
    bench.write(30, facts=(late,))
    bench.settle(30.1)
    totals = bench.detector.totals("portal", at(30.1))
    assert totals.excluded_us == {"maintenance": 5 * MINUTE}
    assert totals.downtime_us == {"majority": 5 * MINUTE}
    assert totals.maintenance_rejected == {"notice_late": 0, "notice_missing": 1}


def test_counters_count_slots_and_survive_restarts(bench: Bench) -> None:
    step = StepRecord(name="get", duration_us=5, failed_assertions=("get.status",), cert_not_after_s=99)
    bench.write(1, run_at(1, slot_us=at(1)))
    bench.write(2, run_at(2, Outcome.FAIL, slot_us=at(2), steps=(step,)), run_at(2.1, Outcome.FAIL, slot_us=at(2)))
    bench.write(3, run_at(3, Outcome.INCONCLUSIVE, slot_us=at(3)))
    for at_us in (at(3.1), at(3.2)):
        bench.crash(at_us)
        held = bench.detector.counts[SourceKey("portal", "login", "jkt-1")]
        assert (held.attempts, held.failures, held.inconclusive) == (2, {"connect": 1}, {"internal": 1})
        assert held.assertions == {"get.status": 1}
        assert held.durations.counts[0] == 2
        assert held.success is False
        assert held.cert_not_after_s == 99
        assert held.last is not None
        assert held.last.start_us == at(3)


def test_an_evaluation_that_breaks_is_counted_and_made_good(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write(1, run_at(1))
    bench.settle(1.1)

    def broken(*_args: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as planted:
        planted.setattr("monitor.detector.watch.judge", broken)
        bench.write(2, run_at(2, Outcome.FAIL))
        assert bench.owed is None
        assert bench.detector.stats.failures == 1
    bench.write(3, run_at(3, Outcome.FAIL))
    bench.settle(3.1)
    assert bench.detector.stats.failures == 1
    assert [fact.start_us for fact in bench.outages()] == [at(2)]
    assert bench.spans()[-1] == OutcomeSpan(at(2), at(3) + STALE_US, Outcome.FAIL)
    assert bench.detector.counts[SourceKey("portal", "login", "jkt-1")].attempts == 3


def test_an_imported_history_is_derived_once_and_opens_no_outage(tmp_path: Path) -> None:
    store = open_store(tmp_path / "ledger.db")
    old = [run_at(minute, Outcome.FAIL, origin=Origin.IMPORTED) for minute in range(1, 5)]
    store.commit(Unit(recorded_at_us=at(60), facts=[adopted("login")], runs=old, origin=Origin.IMPORTED))
    store.close()
    bench = Bench(tmp_path, at(60))
    bench.settle(60.1)
    assert bench.spans() == [OutcomeSpan(at(1), at(4) + STALE_US, Outcome.FAIL)]
    assert not bench.outages()
    bench.store.close()


def test_a_retired_service_is_not_unknown_but_absent(bench: Bench) -> None:
    bench.write(1, run_at(1), facts=(adopted(at_us=at(2)),))
    bench.settle(90)
    totals = bench.detector.totals("portal", at(90))
    assert totals.unknown_us == MINUTE
    assert totals.observed_us == MINUTE

"""Incidents that the monitor opens by itself, and escalations in time, over a real ledger; crashes between any two of
its transactions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitor.core.baseline import Pace, Policy
from monitor.core.fact import ClockStep, Fact, Maintenance, Notice
from monitor.core.incident import Phase, State
from monitor.core.incident_fact import Cause, Incident, IncidentEvent
from monitor.core.instant import HOUR_US
from monitor.core.run import Outcome, Run
from monitor.detector import Detector
from monitor.detector.incidents import IncidentWatch
from monitor.ledger.incidents import IncidentBook
from monitor.ledger.pace import SPEAKS_US, degraded, paces, state_mark
from monitor.ledger.record import Basis
from monitor.opening import Opening
from monitor.storage import Unit
from tests.detector.test_detector import AGREEMENTS, MINUTE, START_US, Bench, adopted, run_at

FAIL = Outcome.FAIL
# Short, as the minutes of these tests are.
OPENING = Opening(quiet_us=10 * MINUTE, failures_after_us=5 * MINUTE, latency_after_us=5 * MINUTE)
BASIS = Basis(agreements=AGREEMENTS, zone=ZoneInfo, software="jaga test")


class IncidentBench(Bench):
    """A detector that watches incidents; what it owes goes with its messages into the next transaction."""

    def start(self, at_us: int) -> None:
        self.owed = None
        watch = IncidentWatch(BASIS, OPENING)
        self.detector = Detector(self.store, AGREEMENTS, incidents=watch)
        self.detector.open(at_us)

    def write(self, at_minute: float, *runs: Run, facts: tuple[Fact, ...] = (), **more: Any) -> None:  # noqa: ANN401
        at_us = START_US + round(at_minute * MINUTE)
        owed, committed = self.owed, None
        if runs or facts or owed is not None:
            committed = self.store.commit(
                Unit(
                    recorded_at_us=at_us,
                    runs=runs,
                    facts=(*(owed.facts if owed else ()), *facts),
                    spans=owed.spans if owed else (),
                    marks=owed.marks if owed else {},
                    outbox=owed.outbox if owed else (),
                )
            )
        self.owed = self.detector.take(committed, at_us, more.get("open_since") or {})
        assert not self.detector.stats.failures

    def goes(self, first: int, last: int, *failing: str, every: float = 1) -> None:
        """From minute to minute: all pass but those named."""
        for minute in range(first, last):
            runs = [
                run_at(minute * every, FAIL if check in failing else Outcome.PASS, check) for check in ("login", "pay")
            ]
            self.write(minute * every, *runs)
        self.settle(last * every)

    def states(self) -> dict[str, State]:
        return IncidentBook.of(self.store.entries()).states

    def told(self) -> list[str]:
        return [entry.fact.event.value for entry in self.store.entries() if isinstance(entry.fact, Incident)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[IncidentBench]:
    bench = IncidentBench(tmp_path)
    bench.write(0, facts=(adopted("login", "pay"),))
    yield bench
    bench.store.close()


def test_a_service_that_goes_down_opens_a_p1_and_closing_is_proposed_when_it_is_up(bench: IncidentBench) -> None:
    bench.goes(0, 3)
    assert bench.states() == {}
    bench.goes(3, 8, "login", "pay")
    (state,) = bench.states().values()
    (outage,) = bench.outages()
    assert (state.cause, state.priority.value, state.outages) == (Cause.OUTAGE, "P1", (outage.id,))
    assert (state.pairs[0][0], state.level, state.found_us) == (None, 1, outage.start_us)
    assert [row.kind for row in bench.store.outbox(10)] == ["escalation"]
    bench.goes(8, 12)
    (state,) = bench.states().values()
    assert state.phase is Phase.REPORTED, "only a person closes"
    assert state.well_since_us == START_US + 8 * MINUTE
    assert bench.told() == ["opened", "escalated", "restored"]


def test_a_flap_within_the_quiet_time_is_the_same_incident_and_a_later_one_is_not(bench: IncidentBench) -> None:
    bench.goes(0, 3, "login", "pay")
    bench.goes(3, 6)
    bench.goes(6, 9, "login", "pay")
    bench.goes(9, 12)
    (state,) = bench.states().values()
    assert len(state.outages) == len([o for o in bench.outages() if o.end_us is None]) == 2
    assert bench.told() == ["opened", "escalated", "restored", "linked", "restored"]
    bench.goes(12, 30)
    bench.goes(30, 33, "login", "pay")
    assert list(bench.states()) == ["i-1", "i-2"]


def test_a_flap_reopens_what_people_had_closed(bench: IncidentBench) -> None:
    bench.goes(0, 3, "login", "pay")
    bench.goes(3, 6)
    done = [
        Incident(id="i-1", event=event, at_us=START_US + 6 * MINUTE)
        for event in (IncidentEvent.FIXED, IncidentEvent.CLOSED)
    ]
    bench.write(6, facts=tuple(done))
    bench.goes(7, 10, "login", "pay")
    (state,) = bench.states().values()
    assert (state.phase, len(state.outages)) == (Phase.REOPENED, 2)
    assert bench.told()[-2:] == ["reopened", "linked"]


def test_what_was_closed_without_a_recovery_is_not_reopened(bench: IncidentBench) -> None:
    bench.goes(0, 3, "login", "pay")
    at_us = START_US + 3 * MINUTE
    done = [Incident(id="i-1", event=event, at_us=at_us) for event in (IncidentEvent.FIXED, IncidentEvent.CLOSED)]
    bench.write(3, facts=tuple(done))
    bench.goes(4, 6, "login", "pay")  # the same outage goes on: it has its incident
    assert list(bench.states()) == ["i-1"]
    bench.goes(6, 9)
    bench.goes(9, 12, "login", "pay")
    assert list(bench.states()) == ["i-1", "i-2"]


def window(first: float, last: float, *, told: float = -60) -> tuple[Fact, ...]:
    """Maintenance over some minutes, of which the partner was told at a minute."""
    fact = Maintenance(
        id="m-1",
        services=("portal",),
        start_us=START_US + round(first * MINUTE),
        end_us=START_US + round(last * MINUTE),
        at_us=START_US,
    )
    notice = Notice(
        maintenance="m-1", partner="acme", at_us=START_US + round(told * MINUTE), channel="letter", evidence="it"
    )
    return fact, notice


def test_no_incident_inside_a_window_that_qualifies_but_one_when_it_is_down_after_it(bench: IncidentBench) -> None:
    bench.write(0, facts=window(2, 8))
    bench.goes(0, 3)
    bench.goes(3, 7, "login", "pay")
    assert bench.states() == {}
    bench.goes(7, 10, "login", "pay")
    (state,) = bench.states().values()
    assert state.opened_us >= START_US + 8 * MINUTE
    assert state.outages == (bench.outages()[0].id,)


def test_a_window_without_notice_in_time_excuses_nothing(bench: IncidentBench) -> None:
    bench.write(0, facts=window(2, 8, told=1))
    bench.goes(0, 3)
    bench.goes(3, 6, "login", "pay")
    assert list(bench.states()) == ["i-1"]


def test_failures_at_one_half_that_last_open_a_p2_and_shorter_ones_nothing(bench: IncidentBench) -> None:
    bench.goes(0, 4, "pay")
    bench.goes(4, 6)
    assert bench.states() == {}
    bench.goes(6, 13, "pay")
    (state,) = bench.states().values()
    assert (state.cause, state.priority.value, state.outages) == (Cause.FAILURES, "P2", ())
    bench.goes(13, 20, "pay")
    assert bench.told() == ["opened", "escalated"], "one incident, however long it lasts"
    bench.goes(20, 23)
    assert bench.states()["i-1"].well_since_us == START_US + 20 * MINUTE
    bench.goes(23, 31, "pay")
    assert bench.told()[-1] == "linked"


def test_no_p2_beside_the_p1_of_an_outage_that_goes_on_in_part(bench: IncidentBench) -> None:
    bench.goes(0, 3, "login", "pay")
    assert bench.states()["i-1"].cause is Cause.OUTAGE
    bench.goes(3, 12, "pay")
    assert bench.states()["i-1"].well_since_us is not None, "half of the checks are no outage"
    assert [state.cause for state in bench.states().values()] == [Cause.OUTAGE, Cause.FAILURES]


def answers(bench: IncidentBench, first: int, last: int, duration_us: int, every: int = 1) -> None:
    for minute in range(first, last, every):
        bench.write(minute, *(run_at(minute, check=check, duration_us=duration_us) for check in ("login", "pay")))
    bench.settle(last)


def test_latency_above_its_baseline_that_lasts_opens_a_p2(bench: IncidentBench) -> None:
    answers(bench, 0, 3000, 100_000, every=100)  # five hours, one sample in ten minutes
    bench.crash(START_US + 3000 * MINUTE)  # the baseline is kept
    bench.write(3000)
    answers(bench, 3001, 3004, 290_000)
    answers(bench, 3004, 3006, 310_000)
    answers(bench, 3006, 3008, 100_000)  # two slow answers are none
    answers(bench, 3010, 3014, 310_000)
    assert bench.states() == {}
    answers(bench, 3014, 3018, 310_000)
    (state,) = bench.states().values()
    assert (state.cause, state.priority.value) == (Cause.LATENCY, "P2")
    assert state.found_us == START_US + 3010 * MINUTE
    answers(bench, 3018, 3024, 100_000)
    assert bench.states()["i-1"].well_since_us is not None


def test_the_record_says_which_check_is_degraded_as_soon_as_it_is(bench: IncidentBench) -> None:
    source = run_at(0).source
    answers(bench, 0, 3000, 100_000, every=100)
    assert degraded(bench.store, START_US + 3000 * MINUTE) == {}
    answers(bench, 3000, 3002, 310_000)
    assert degraded(bench.store, START_US + 3002 * MINUTE) == {}
    answers(bench, 3002, 3003, 320_000)
    at_us = START_US + 3003 * MINUTE
    standing = degraded(bench.store, at_us)[source]
    assert (standing.since_us, standing.at_us) == (START_US + 3000 * MINUTE, START_US + 3002 * MINUTE)
    assert (standing.duration_us, standing.usual_us, standing.samples) == (320_000, 100_000, 27), (
        "the present hour is not in it"
    )
    answers(bench, 3003, 3004, 330_000)
    assert degraded(bench.store, at_us)[source].duration_us == 330_000, "the latest answer, though nothing changed"
    assert degraded(bench.store, at_us, "other") == {}
    assert degraded(bench.store, START_US + 3003 * MINUTE + SPEAKS_US) != {}
    assert degraded(bench.store, START_US + 3004 * MINUTE + SPEAKS_US) == {}, "what was long ago says nothing of now"
    bench.write(3005, run_at(3005, FAIL, duration_us=1))
    assert degraded(bench.store, at_us)[source].duration_us == 320_000, "a failure took no time: the answer last kept"
    answers(bench, 3006, 3009, 100_000)
    assert degraded(bench.store, START_US + 3009 * MINUTE) == {}
    assert paces(bench.store, bench.store.latest_runs())[source].pace is Pace.NORMAL


def test_a_restart_while_answers_are_slow_is_no_recovery(bench: IncidentBench) -> None:
    answers(bench, 0, 3000, 100_000, every=100)
    answers(bench, 3000, 3008, 310_000)
    assert bench.told()[0] == "opened"
    before = bench.told()
    bench.crash(START_US + 3008 * MINUTE)
    bench.settle(3009)
    answers(bench, 3010, 3012, 310_000)
    assert bench.told() == before
    assert bench.states()["i-1"].well_since_us is None


def test_a_state_that_cannot_be_read_is_none(bench: IncidentBench) -> None:
    answers(bench, 0, 3000, 100_000, every=100)
    answers(bench, 3000, 3004, 310_000)
    at_us = START_US + 3004 * MINUTE
    assert len(degraded(bench.store, at_us)) == 2
    unreadable: tuple[object, ...] = ([], {"pace": "hasty"}, {"pace": "degraded"})
    for damaged in unreadable:
        bench.store.commit(Unit(recorded_at_us=at_us, marks={state_mark(run_at(0).source): damaged}))
        assert len(degraded(bench.store, at_us)) == 1


def test_what_is_much_slower_is_configured_and_a_reload_changes_it(bench: IncidentBench) -> None:
    watch = bench.detector.incidents
    assert watch is not None
    answers(bench, 0, 3000, 100_000, every=100)
    bench.detector.incidents = replace(watch, opening=replace(OPENING, baseline=Policy(factor=5, by_hour=False)))
    answers(bench, 3000, 3010, 490_000)
    assert bench.states() == {}
    answers(bench, 3010, 3020, 510_000)
    (state,) = bench.states().values()
    assert "more than 5 times as long as usual" in state.summary


def test_a_baseline_that_cannot_be_read_begins_anew(bench: IncidentBench) -> None:
    answers(bench, 0, 3000, 100_000, every=100)
    mark = "pace/portal/login/jkt-1"
    assert bench.store.mark(mark)["baseline"]
    bench.store.commit(Unit(recorded_at_us=START_US + 3000 * MINUTE, marks={mark: {"baseline": "AAAA"}}))
    bench.crash(START_US + 3000 * MINUTE)
    assert bench.detector.incidents is not None
    source = run_at(0).source
    assert bench.detector.incidents.paces.baselines[source].level_us(START_US + 3000 * MINUTE) is None
    answers(bench, 3000, 3010, 900_000)
    assert bench.detector.incidents.paces.slow(START_US + 9000 * MINUTE) == {}


def test_a_clock_that_was_put_back_stops_nothing(bench: IncidentBench) -> None:
    bench.goes(50, 53, "login", "pay")
    assert bench.states()["i-1"].opened_us > START_US + 50 * MINUTE
    step = ClockStep(at_us=START_US + 20 * MINUTE, delta_us=-33 * MINUTE)
    bench.write(20, facts=(step,))
    bench.goes(21, 27)
    assert bench.states()["i-1"].well_since_us is not None
    bench.goes(27, 30, "login", "pay")
    assert bench.told()[:3] == ["opened", "escalated", "restored"]


# Escalations in time


def hours(bench: IncidentBench, last: int, first: int = 1) -> None:
    """Time passes by quarters of an hour, nothing but failures comes."""
    for quarter in range(first * 4, last * 4 + 1):
        minute = quarter * HOUR_US / 4 / MINUTE
        bench.write(minute, run_at(minute, FAIL, "login"), run_at(minute, FAIL, "pay"))
    bench.settle(last * HOUR_US / MINUTE)


def down_for_ever(bench: IncidentBench) -> None:
    bench.goes(0, 2, "login", "pay")


def test_a_p1_without_workaround_is_escalated_at_4_and_8_hours_once_each(bench: IncidentBench) -> None:
    down_for_ever(bench)
    hours(bench, 12)
    state = next(iter(bench.states().values()))
    assert [(r.level, r.due_us - state.opened_us) for r in state.reached] == [
        (1, 0),
        (2, 4 * HOUR_US),
        (3, 8 * HOUR_US),
    ]
    assert [row.payload["to"] for row in bench.store.outbox(10)] == [
        "technical-support",
        "escalation-manager",
        "management",
    ]


def test_a_restart_that_slept_through_an_act_makes_it_at_once_with_the_true_time(bench: IncidentBench) -> None:
    down_for_ever(bench)
    state = bench.states()["i-1"]
    bench.crash(state.opened_us + 5 * HOUR_US)
    bench.settle(5 * HOUR_US / MINUTE + 1)
    (level_2,) = [reached for reached in bench.states()["i-1"].reached if reached.level == 2]
    assert level_2.due_us == state.opened_us + 4 * HOUR_US
    assert level_2.at_us == START_US + 5 * HOUR_US + MINUTE


def test_a_crash_after_any_transaction_loses_no_act_and_repeats_none(tmp_path: Path) -> None:
    """The whole story with a crash after each transaction in turn, each time on a ledger of its own."""
    undisturbed = story(tmp_path / "whole", None)
    crashes = 0
    for number in range(1, 200):
        found = story(tmp_path / f"crash-{number}", number)
        assert found == undisturbed, number
        crashes = number
        if (tmp_path / f"crash-{number}" / "through").exists():
            break
    assert crashes > 15


def story(folder: Path, crash_after: int | None) -> list[tuple[str, int | None]]:
    """Down, 9 hours, up: what was told, with the levels; every act has exactly one message."""
    folder.mkdir()
    bench = IncidentBench(folder)
    turns = 0

    def turn(minute: float, *runs: Run, facts: tuple[Fact, ...] = ()) -> None:
        nonlocal turns
        bench.write(minute, *runs, facts=facts)
        turns += 1
        if turns == crash_after:
            bench.crash(START_US + round(minute * MINUTE))

    turn(0, facts=(adopted("login", "pay"),))
    for minute in (0, 1, 2399, 2401, 4799, 4801, 5400):
        turn(minute, run_at(minute, FAIL, "login"), run_at(minute, FAIL, "pay"))
        turn(minute + 0.2)
        turn(minute + 0.4)
    for minute in range(6000, 6003):
        turn(minute, run_at(minute, Outcome.PASS, "login"), run_at(minute, Outcome.PASS, "pay"))
    bench.settle(6004)
    told = [(e.fact.event.value, e.fact.level) for e in bench.store.entries() if isinstance(e.fact, Incident)]
    keys = [row.key for row in bench.store.outbox(100)]
    acts = [(event, level) for event, level in told if event == "escalated"]
    assert len(keys) == len(set(keys)) == len(acts)
    if crash_after is not None and turns < crash_after:
        (folder / "through").touch()
    bench.store.close()
    return told


def test_a_watch_kept_by_an_earlier_version_is_read(tmp_path: Path) -> None:
    bench = IncidentBench(tmp_path)
    bench.write(0, facts=(adopted("login", "pay"),))
    bench.goes(0, 4)
    bench.crash(START_US + 4 * MINUTE)  # a start keeps the marks
    kept = bench.store.mark("watch/portal")
    old = {name: value for name, value in kept.items() if not name.endswith("since_us")}
    bench.store.commit(Unit(recorded_at_us=START_US + 5 * MINUTE, marks={"watch/portal": old}))
    bench.crash(START_US + 5 * MINUTE)
    assert bench.detector.watches["portal"].up_since_us is None
    bench.goes(5, 8, "login", "pay")
    assert list(bench.states()) == ["i-1"]
    bench.store.close()

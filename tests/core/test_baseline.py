"""The baseline of a check: a rolling median that is kept cheaply, against one that keeps everything."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.baseline import SLOT_US, Baseline, Pace, Policy, response_us
from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US
from monitor.core.run import Outcome, Run

T0 = 20_000 * DAY_US
QUICK = Policy(window_days=2, runs=2, min_samples=3)


@dataclass
class Naive:
    """Keeps every run for ever and counts the first of each slot; knows nothing of rings or caches."""

    policy: Policy
    runs: list[tuple[int, int]] = field(default_factory=list)

    def level_us(self, at_us: int) -> int | None:
        hour = at_us // HOUR_US
        first: dict[int, int] = {}
        for run_us, duration_us in self.runs:
            first.setdefault(run_us // SLOT_US, min(max(duration_us, 1), 2**32 - 1))
        by_hour = [(slot * SLOT_US // HOUR_US, duration_us) for slot, duration_us in first.items()]
        recent = [(h, d) for h, d in by_hour if hour - self.policy.window_days * 24 <= h < hour]
        groups = [[d for h, d in recent if (hour - h) % 24 == 0], [d for _, d in recent]]
        for group in groups if self.policy.by_hour else groups[1:]:
            if len(group) >= self.policy.min_samples:
                return int(statistics.median(group))
        return None


def filled(policy: Policy, *, hours: int, duration_us: int = 100) -> Baseline:
    baseline = Baseline(policy)
    for minute in range(0, hours * 60, 10):
        baseline.take(T0 + minute * MINUTE_US, duration_us)
    return baseline


steps = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 30), st.integers(30, 600), st.integers(600, 5 * 1440)),  # minutes to the next run
        st.one_of(st.integers(0, 1000), st.integers(0, 2**33)),
    ),
    min_size=1,
    max_size=200,
)


@given(steps, st.integers(1, 3), st.integers(1, 8), st.booleans())
def test_the_level_is_the_naive_median(
    moves: list[tuple[int, int]], window_days: int, min_samples: int, by_hour: bool
) -> None:
    policy = Policy(window_days=window_days, min_samples=min_samples, by_hour=by_hour)
    baseline, naive, at_us = Baseline(policy), Naive(policy), T0
    for minutes, duration_us in moves:
        at_us += minutes * MINUTE_US
        assert baseline.take(at_us, duration_us).baseline_us == naive.level_us(at_us)
        naive.runs.append((at_us, duration_us))


@given(steps, st.integers(0, 200))
def test_a_dump_loads_as_the_same_baseline(moves: list[tuple[int, int]], cut: int) -> None:
    baseline, at_us = Baseline(QUICK), T0
    other = baseline
    for index, (minutes, duration_us) in enumerate(moves):
        at_us += minutes * MINUTE_US
        if index == cut:
            other = Baseline.load(baseline.dump(), QUICK)
        judged = baseline.take(at_us, duration_us)
        assert other is baseline or other.take(at_us, duration_us) == judged
    assert other.dump() == baseline.dump()


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=300))
def test_a_run_each_ten_minutes_loses_nothing(durations_us: list[int]) -> None:
    baseline = Baseline(Policy(window_days=7, min_samples=1))
    for index, duration_us in enumerate(durations_us):
        baseline.take(T0 + index * SLOT_US, duration_us)
    hour = (len(durations_us) - 1) // 6
    same_hour = [d for index, d in enumerate(durations_us) if index // 6 != hour and (hour - index // 6) % 24 == 0]
    wanted = same_hour or durations_us[: hour * 6]
    assert baseline.level_us(T0 + hour * HOUR_US) == (int(statistics.median(wanted)) if wanted else None)


def test_the_hour_of_the_day_has_its_own_baseline() -> None:
    baseline = Baseline(Policy(min_samples=6))
    for hour in range(7 * 24):
        for slot in range(6):
            baseline.take(T0 + hour * HOUR_US + slot * SLOT_US, 900 if hour % 24 == 3 else 100)
    assert baseline.level_us(T0 + 7 * DAY_US + 3 * HOUR_US) == 900
    assert baseline.level_us(T0 + 7 * DAY_US + 4 * HOUR_US) == 100


def test_an_hour_does_not_excuse_itself() -> None:
    baseline = filled(QUICK, hours=2)
    paces = [baseline.take(T0 + 2 * HOUR_US + second * 1_000_000, 500).pace for second in range(0, 3600, 60)]
    assert paces[0] is Pace.NORMAL
    assert set(paces[1:]) == {Pace.DEGRADED}


def test_degraded_after_some_runs_in_a_row_and_back_after_as_many() -> None:
    baseline = filled(Policy(window_days=2, runs=3, min_samples=3), hours=2)
    at_us = T0 + 2 * HOUR_US
    seen = [
        baseline.take(at_us + i, 301 if slow else 300) for i, slow in enumerate([1, 1, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0])
    ]
    assert [judged.slow for judged in seen] == [True, True, False, True, True, True, *[False] * 2, True, *[False] * 3]
    assert [index for index, judged in enumerate(seen) if judged.changed] == [5, 11]
    assert (seen[5].pace, seen[5].since_us) == (Pace.DEGRADED, at_us + 3)
    assert (seen[11].pace, seen[11].since_us) == (Pace.NORMAL, at_us + 9)
    assert all((judged.baseline_us, judged.samples) == (100, 12) for judged in seen)


def test_the_first_usual_run_makes_it_normal_and_slow_ones_need_their_row() -> None:
    normal, slow = Baseline(QUICK), Baseline(QUICK)
    for minute in (0, 10, 20):
        assert normal.take(T0 + minute * MINUTE_US, 100) == (Pace.UNKNOWN, 0, False, False, None, 0)
        slow.take(T0 + minute * MINUTE_US, 100)
    assert normal.take(T0 + HOUR_US, 300) == (Pace.NORMAL, T0 + HOUR_US, True, False, 100, 3)
    assert slow.take(T0 + HOUR_US, 301) == (Pace.UNKNOWN, 0, False, True, 100, 3)
    assert slow.take(T0 + HOUR_US + 1, 301) == (Pace.DEGRADED, T0 + HOUR_US, True, True, 100, 3)


def test_nothing_is_known_after_a_long_silence() -> None:
    baseline = filled(QUICK, hours=3)
    assert baseline.pace is Pace.NORMAL
    later_us = T0 + 5 * DAY_US
    assert baseline.take(later_us, 10**6) == (Pace.UNKNOWN, later_us, True, False, None, 0)
    assert baseline.take(later_us + 1, 10**6) == (Pace.UNKNOWN, later_us, False, False, None, 0)


def test_a_late_run_fills_a_gap_and_displaces_nothing() -> None:
    baseline = Baseline(Policy(window_days=1, min_samples=1))
    baseline.take(T0 + 2 * HOUR_US, 700)
    baseline.take(T0 + 2 * HOUR_US + MINUTE_US, 100)  # the second of its slot
    baseline.take(T0, 900)
    baseline.take(T0 - 3 * DAY_US, 5)  # older than anything that is kept
    assert baseline.level_us(T0 + 3 * HOUR_US) == 800
    assert baseline.level_us(T0 + HOUR_US) == 900


def test_before_the_epoch_nothing_is_kept_and_nothing_breaks() -> None:
    baseline = Baseline(Policy(window_days=1, min_samples=1))
    assert baseline.take(5, 10).baseline_us is None
    assert baseline.take(HOUR_US, 10).baseline_us == 10


def test_what_is_kept_is_bounded() -> None:
    baseline = filled(Policy(), hours=24 * 30)
    assert len(baseline.dump()) <= 4 * 1024 + 64


def test_another_window_keeps_what_fits_in_it() -> None:
    week = filled(Policy(), hours=7 * 24, duration_us=100)
    for slot in range(24 * 6):
        week.take(T0 + 7 * DAY_US + slot * SLOT_US, 200)
    now_us = T0 + 8 * DAY_US
    day = Baseline.load(week.dump(), Policy(window_days=1, min_samples=6))
    assert (week.level_us(now_us), day.level_us(now_us)) == (100, 200)
    assert day.pace is week.pace


@pytest.mark.parametrize(
    "data",
    [b"", b"\x01", b"\x02" * 2000, Baseline(QUICK).dump() + b"x", b"\x01\x02\x09" + Baseline(QUICK).dump()[3:]],
)
def test_a_damaged_dump_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no baseline"):
        Baseline.load(data, QUICK)


@pytest.mark.parametrize(
    "wrong",
    [{"window_days": 0}, {"window_days": 32}, {"factor": 1}, {"runs": 0}, {"runs": 101}, {"min_samples": 0}],
)
def test_a_policy_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        Policy(**wrong)


def run(**changes: object) -> Run:
    given_: dict[str, object] = {
        "service": "portal",
        "check": "login",
        "location": "jkt-1",
        "start_us": T0,
        "outcome": Outcome.PASS,
        "duration_us": 80_000,
    }
    return Run(**(given_ | changes))  # type: ignore[arg-type]


def test_only_undisturbed_passes_of_one_attempt_say_how_long_the_service_takes() -> None:
    assert response_us(run()) == 80_000
    assert response_us(run(attempts=2)) is None
    assert response_us(run(tainted=True)) is None
    assert response_us(run(outcome=Outcome.FAIL, reason="timeout")) is None
    assert response_us(run(outcome=Outcome.INCONCLUSIVE, reason="late")) is None

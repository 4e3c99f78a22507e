"""The wall clock steps under the composed daemon (F11, F13): no second made or lost, nothing down, nothing believed
that the kernel does not vouch for. Virtual time and a real ledger; test_faketime.py does it to a real process.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.app.daemon import Daemon
from monitor.app.timekeeping import STEADY_US, WHY
from monitor.clock import Sync, Timer
from monitor.config import zone
from monitor.core.calendar import Month
from monitor.core.fact import ClockStep, Outage
from monitor.core.month import Figures
from monitor.core.run import Outcome, Run, SourceKey
from monitor.core.span import Span
from monitor.core.terms import Agreements
from monitor.ledger.month import Months
from monitor.ledger.record import Basis
from monitor.ledger.verify import verify
from monitor.storage import StoreError
from monitor.storage.sqlite import open_reader
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import (
    DAY,
    HOUR,
    MINUTE,
    PARTNER,
    SECOND,
    SERVICE,
    START_US,
    SUBSCRIPTION,
    TERMS,
    World,
)

APRIL, MAY = Month(2026, 4), Month(2026, 5)
MAY_US = START_US + 30 * DAY
YEAR_2098_US = 72 * 365 * DAY


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def figures(folder: Path, month: Month, now_us: int) -> Figures:
    reader = open_reader(folder / "ledger.db")
    agreements = Agreements(terms=(TERMS,), subscriptions=(SUBSCRIPTION,))
    try:
        found = Months(reader, Basis(agreements=agreements, zone=zone, software="test"), now_us)
        answer = found.figures(month, PARTNER, SERVICE)
        assert answer is not None
        return answer
    finally:
        reader.close()


def record(folder: Path) -> tuple[list[Run], list[ClockStep]]:
    reader = open_reader(folder / "ledger.db")
    try:
        assert verify(reader).holds
        runs = list(reader.runs(SourceKey(SERVICE, "c0", "jkt-1"), Span(0, 2**53)))
        return runs, [entry.fact for entry in reader.entries() if isinstance(entry.fact, ClockStep)]
    finally:
        reader.close()


def void(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.reason == "conflict"]


@pytest.mark.parametrize("around_the_months_end", [False, True])
@pytest.mark.parametrize("delta_s", [61, -61, 3600, -7200])
def test_a_step_makes_and_loses_no_second(
    tmp_path: Path, loop: VirtualLoop, delta_s: int, *, around_the_months_end: bool
) -> None:
    delta_us = delta_s * SECOND
    # Half of the step on either side of the edge.
    start_us = MAY_US - 130 * MINUTE - delta_us // 2 if around_the_months_end else START_US
    world = World.make(tmp_path, loop, start_us, checks=1)
    at_us = start_us + 130 * MINUTE + 20 * SECOND
    lived_us = 260 * MINUTE

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(at_us)
        world.clock.step(delta_us)
        await world.clock.wait_until(at_us + SECOND)
        await world.clock.wait_until(start_us + lived_us + delta_us)
        await daemon.stop()

    world.play(story)
    runs, steps = record(tmp_path)
    assert [step.delta_us for step in steps] == [delta_us]
    now_us = world.clock.now_us()
    assert now_us - start_us == pytest.approx(lived_us + delta_us, abs=10 * SECOND)
    accounts = [figures(tmp_path, month, now_us).account for month in (APRIL, MAY)[: 1 + around_the_months_end]]
    assert sum(account.down_us for account in accounts) == 0
    before_us = start_us - START_US
    unknown_us = sum(account.unknown_us for account in accounts) - before_us
    elapsed_us = sum(account.elapsed_us for account in accounts)
    assert elapsed_us == now_us - START_US, "the calendar has as many seconds as ever"
    # What is unknown is what the step jumped over, or what was lived twice; and the moment before the first run.
    jumped_us = delta_us - world.stale_after_us if delta_us > 0 else 0
    assert max(0, jumped_us) <= unknown_us <= abs(delta_us) + world.stale_after_us + MINUTE
    later = [run for run in void(runs) if run.start_us > steps[0].at_us]
    assert len(later) == len(void(runs))
    assert len(later) == pytest.approx(max(0, -delta_us) / MINUTE, abs=1), "what was stamped by the wrong clock is void"


def test_a_run_under_way_while_the_clock_is_put_back_is_void_too(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1)
    world.target.hang = frozenset({0})

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 10 * MINUTE + 2 * SECOND)
        world.clock.step(-HOUR)
        await world.clock.wait_until(START_US - 45 * MINUTE)
        await daemon.stop()

    world.play(story)
    runs, (step,) = record(tmp_path)
    later = [run for run in runs if run.start_us > step.at_us + 20 * MINUTE]
    assert later
    assert {run.outcome for run in later} == {Outcome.INCONCLUSIVE}
    assert WHY in {run.message for run in later}, "the one that was under way was recorded void at once"


def test_a_jump_to_2098_is_not_believed_and_said_loudly(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + HOUR)
        with capture_logs() as logs:
            world.clock.step(YEAR_2098_US)
            await world.clock.wait_until(START_US + HOUR + 2 * SECOND)
            assert "it is not believed" in str(daemon.not_ready())
            assert "not believed" in str((await daemon.views.status())["clock"])
            assert daemon.views.snapshot().daemon.clock_offset_us == YEAR_2098_US
            await world.clock.wait_until(START_US + 2 * HOUR)
            world.clock.step(-YEAR_2098_US)
            await world.clock.wait_until(START_US + 2 * HOUR + 2 * SECOND)
            assert daemon.ready
        said = [line["event"] for line in logs if str(line["event"]).startswith("wall clock")]
        assert said == ["wall clock not believed", "wall clock believed again"]
        await world.clock.wait_until(START_US + 3 * HOUR)
        await daemon.stop()

    world.play(story)
    runs, steps = record(tmp_path)
    assert not steps
    assert not void(runs)
    assert max(run.start_us for run in runs) <= START_US + 3 * HOUR
    account = figures(tmp_path, APRIL, world.clock.now_us()).account
    assert (account.down_us, account.unknown_us <= MINUTE) == (0, True)


def test_of_2098_vouched_for_by_mistake_no_month_closes_and_nothing_counts(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1)
    world.clock.vouched = True

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 19 * MINUTE + 50 * SECOND)
        world.clock.step(YEAR_2098_US)
        await world.clock.wait_until(START_US + 25 * MINUTE + YEAR_2098_US)
        world.clock.step(-YEAR_2098_US)
        await asyncio.sleep(2)
        assert daemon.ready
        assert not daemon.timekeeper.steady()
        await world.clock.wait_until(START_US + HOUR)
        assert daemon.timekeeper.steady()
        await daemon.stop()

    world.play(story)
    runs, steps = record(tmp_path)
    assert [step.delta_us for step in steps] == [YEAR_2098_US, -YEAR_2098_US]
    late = [run for run in runs if run.start_us > START_US + DAY]
    assert late == void(runs) != []
    reader = open_reader(tmp_path / "ledger.db")
    assert not list(reader.entries(types=("close",))), f"none within {STEADY_US} us of a step"
    reader.close()
    account = figures(tmp_path, APRIL, START_US + HOUR).account
    assert account.down_us == 0
    assert account.unknown_us <= 6 * MINUTE


@contextmanager
def store_held(daemon: Daemon, folder: Path) -> Iterator[None]:
    """Somebody else holds the ledger's lock: each commit of the daemon fails at once."""
    daemon.store._writer.raw_connection().cursor().execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_a_step_while_the_store_fails_is_recorded_afterwards_and_voids_no_more(
    tmp_path: Path, loop: VirtualLoop
) -> None:
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + HOUR + 30 * SECOND)
        with store_held(daemon, tmp_path):
            world.clock.step(-30 * MINUTE)
            await asyncio.sleep(50)
            assert daemon.not_ready() is not None
        await world.clock.wait_until(START_US + 2 * HOUR)
        await daemon.stop()

    world.play(story)
    runs, (step,) = record(tmp_path)
    # Of the thirty the first was lived again before the step could be recorded, on virtual time to the microsecond.
    assert [run.start_us for run in void(runs)] == [START_US + number * MINUTE for number in range(32, 61)]
    assert step.delta_us == -30 * MINUTE


def test_what_ends_between_two_steps_that_wait_for_the_store_is_void_by_the_second(
    tmp_path: Path, loop: VirtualLoop
) -> None:
    """It ended after the first, so that one spares it; but the second puts back the clock that stamped it."""
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 10 * MINUTE + 30 * SECOND)
        with store_held(daemon, tmp_path):
            world.clock.step(HOUR)
            await asyncio.sleep(3 * 60)
            world.clock.step(-2 * HOUR)
            await asyncio.sleep(50)
        await asyncio.sleep(10 * 60)
        await daemon.stop()

    world.play(story)
    runs, steps = record(tmp_path)
    assert sorted(step.delta_us for step in steps) == [-2 * HOUR, HOUR]
    ahead = [run for run in runs if run.start_us >= START_US + HOUR]
    assert len(ahead) >= 3
    assert all(run in void(runs) for run in ahead)


def test_outages_of_a_time_that_is_lived_again_are_told_and_its_seconds_counted_once(
    tmp_path: Path, loop: VirtualLoop
) -> None:
    """The clock goes an hour back in an outage; the next one comes before the old time is reached again."""
    world = World.make(tmp_path, loop, checks=3)
    paths = frozenset({0, 1, 2})
    world.target.script = [(START_US + 115 * MINUTE, START_US + 125 * MINUTE, paths)]
    chance, exactly = random.Random(3), world.clock.call_at

    def a_little_late(at_us: int, callback: Callable[[], None]) -> Timer:
        """On virtual time runs would start in the very microseconds of those of the hour before, and be the same."""
        return exactly(at_us + chance.randrange(10_000), callback)

    world.clock.call_at = a_little_late  # type: ignore[method-assign]

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 2 * HOUR + 10 * SECOND)
        world.target.script = [(START_US + 80 * MINUTE, START_US + 90 * MINUTE, paths)]
        world.clock.step(-HOUR - 7 * SECOND)
        await asyncio.sleep(45 * 60)
        assert world.clock.now_us() < START_US + 110 * MINUTE
        told = [entry.fact for entry in daemon.store.entries() if isinstance(entry.fact, Outage)]
        assert [outage.end_us is not None for outage in told] == [False, True] * (len(told) // 2)
        future, *again = told[1::2]
        assert future.end_us == future.start_us, "it began in a time that was not"
        # Between the runs of this hour stand the void ones of the other, and an inconclusive run ends what was before.
        assert again
        for outage in again:
            assert START_US + 80 * MINUTE <= outage.start_us < (outage.end_us or 0) <= START_US + 91 * MINUTE
        await asyncio.sleep(60 * 60)
        totals = daemon.detector.totals(SERVICE, world.clock.now_us())
        lived_us = world.clock.now_us() - START_US
        assert totals.observed_us + totals.unknown_us <= lived_us, "no second counts twice"
        await daemon.stop()

    world.play(story)
    account = figures(tmp_path, APRIL, world.clock.now_us()).account
    assert 0 < account.down_us <= 11 * MINUTE, "the outage of the void hour counts for nothing"


def test_a_clock_behind_the_ledger_at_the_start(tmp_path: Path, loop: VirtualLoop) -> None:
    """An hour is a step like any other; years are refused, unless the kernel vouches for the clock."""
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 2 * HOUR + SECOND)
        await daemon.stop()

    world.play(story)

    def again(start_us: int, *, synchronised: bool | None = None) -> None:
        later_loop = VirtualLoop()
        later = World.make(tmp_path, later_loop, start_us, checks=1)

        async def start(later: World) -> None:
            daemon = await later.daemon(sync=Sync(synchronised=synchronised))
            await later.clock.wait_until(later.clock.now_us() + 10 * MINUTE)
            await daemon.stop()

        try:
            later.play(start)
        finally:
            later_loop.close()

    before = record(tmp_path)
    for wrong_us in (START_US - 2 * DAY, START_US - 20 * 365 * DAY, START_US + YEAR_2098_US):
        with pytest.raises(StoreError, match="let it synchronise"):
            again(wrong_us, synchronised=False)
        assert record(tmp_path) == before, "nothing was changed"
    again(START_US + HOUR, synchronised=False)
    runs, (step,) = record(tmp_path)
    assert step.delta_us == pytest.approx(-HOUR, abs=2 * SECOND)
    assert len(void(runs)) == 60
    assert figures(tmp_path, APRIL, START_US + 3 * HOUR).account.down_us == 0
    again(START_US - 2 * DAY, synchronised=True)
    assert len(record(tmp_path)[1]) == 2


def test_what_the_kernel_says_is_shown_and_an_unkept_clock_is_warned_of(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        for sync, warned in ((Sync(synchronised=False), True), (Sync(synchronised=True, offset_us=-1500), False)):
            with capture_logs() as logs:
                daemon = await world.daemon(sync=sync)
            assert ("system clock not synchronised" in [line["event"] for line in logs]) is warned
            status: Any = await daemon.views.status()
            assert status["clock"] == {"synchronised": sync.synchronised, "in_doubt": None}
            metrics = daemon.views.snapshot().daemon
            assert metrics.clock_offset_us == sync.offset_us
            await daemon.stop()

    world.play(story)

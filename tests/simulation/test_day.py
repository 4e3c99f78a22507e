"""The composed daemon through days in seconds, judged by an oracle that never sees the evaluator (FAULTS, rule 6)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from monitor.config import zone
from monitor.core.calendar import Month
from monitor.core.fact import Outage
from monitor.core.span import Span, measure_us
from monitor.core.terms import Agreements
from monitor.ledger.month import Months, Statement
from monitor.ledger.record import Basis
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
    crash,
)

APRIL = Month(2026, 4)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def statement(folder: Path, now_us: int) -> Statement:
    reader = open_reader(folder / "ledger.db")
    agreements = Agreements(terms=(TERMS,), subscriptions=(SUBSCRIPTION,))
    try:
        basis = Basis(agreements=agreements, zone=zone, software="jaga test")
        (found,) = Months(reader, basis, now_us).statements(APRIL, partner=PARTNER, service=SERVICE)
        return found
    finally:
        reader.close()


def outages(folder: Path) -> list[Outage]:
    reader = open_reader(folder / "ledger.db")
    try:
        return [entry.fact for entry in reader.entries() if isinstance(entry.fact, Outage)]
    finally:
        reader.close()


def scripted(seed: int, days: int, checks: int) -> list[tuple[int, int, frozenset[int]]]:
    """Faults of one, of some and of all checks, of 2 to 90 minutes, some overlapping."""
    random = Random(seed)
    script = []
    at_us = START_US + 10 * MINUTE
    while at_us < START_US + days * DAY - 3 * HOUR:
        length_us = random.randrange(2 * MINUTE, 90 * MINUTE)
        script.append((at_us, at_us + length_us, frozenset(random.sample(range(checks), random.randint(1, checks)))))
        at_us += random.randrange(30 * MINUTE, 5 * HOUR)
    return script


def truly_down(script: list[tuple[int, int, frozenset[int]]], checks: int, until_us: int) -> list[Span]:
    """When more than half of the paths were broken, by the script alone."""
    edges = sorted({START_US, until_us, *(edge for start, end, _paths in script for edge in (start, end))})
    spans: list[Span] = []
    for start_us, end_us in pairwise(edges):
        broken = frozenset().union(*(paths for start, end, paths in script if start <= start_us < end))
        if 2 * len(broken) > checks:
            if spans and spans[-1].end_us == start_us:
                spans[-1] = Span(spans[-1].start_us, end_us)
            else:
                spans.append(Span(start_us, end_us))
    return spans


def assert_found(found: Statement, truth: list[Span], interval_us: int) -> None:
    """Every outage is there with each edge off by an interval at most, and nothing else is down."""
    down = [outage.span for outage in found.figures.account.outages]
    assert len(down) == len(truth)
    for ours, theirs in zip(down, truth, strict=True):
        assert theirs.start_us <= ours.start_us <= theirs.start_us + interval_us
        assert theirs.end_us <= ours.end_us <= theirs.end_us + interval_us
    assert found.figures.account.down_us == measure_us(down)


@pytest.mark.slow
def test_a_day_with_a_script_of_faults(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=4, interval_us=2 * MINUTE)
    world.target.script = scripted(1, 1, world.checks)
    end_us = START_US + DAY

    async def story(world: World) -> None:
        daemon = await world.daemon()
        assert daemon.ready
        await world.clock.wait_until(end_us)
        await daemon.stop()

    world.play(story)
    found = statement(tmp_path, world.clock.now_us())
    assert_found(found, truly_down(list(world.target.script), world.checks, end_us), world.interval_us)
    account = found.figures.account
    assert account.unknown_us <= world.interval_us, "unknown is the time before the first runs, and nothing else"
    assert world.target.requests >= world.checks * (DAY // world.interval_us - 1)
    facts = outages(tmp_path)
    assert [fact.end_us is None for fact in facts] == [True, False] * len(account.outages)
    assert [(fact.start_us, fact.end_us) for fact in facts[1::2]] == [outage.span for outage in account.outages]


@pytest.mark.parametrize("seed", range(2))
def test_a_crash_in_the_middle_gives_the_same_month(tmp_path: Path, loop: VirtualLoop, seed: int) -> None:
    """Two worlds with the same script; in one the daemon is killed at random and started again within an interval."""
    hours = 3
    ends_us = START_US + hours * HOUR
    script = [
        (START_US + 20 * MINUTE, START_US + 50 * MINUTE, frozenset({0, 1})),
        (START_US + 70 * MINUTE, START_US + 100 * MINUTE, frozenset({1})),
        (START_US + 110 * MINUTE, START_US + 150 * MINUTE, frozenset({0, 1, 2})),
    ]
    random = Random(seed)
    kills = sorted(START_US + random.randrange(10 * MINUTE, hours * HOUR - 10 * MINUTE) for _ in range(4))

    async def story(world: World) -> None:
        daemon = await world.daemon()
        for at_us in kills if world.folder.name == "killed" else ():
            await world.clock.wait_until(at_us + random.randrange(SECOND))
            await crash(daemon)
            await world.clock.wait_until(world.clock.now_us() + random.randrange(10 * SECOND))
            daemon = await world.daemon()
        await world.clock.wait_until(ends_us)
        await daemon.stop()

    found = []
    for name in ("steady", "killed"):
        (tmp_path / name).mkdir()
        world_loop = VirtualLoop()
        world = World.make(tmp_path / name, world_loop, checks=3)
        world.target.script = script
        world.play(story)
        found.append(statement(tmp_path / name, ends_us))
        world_loop.close()
    steady, killed = (entry.figures.account for entry in found)
    # A slot that a dead process missed shifts an edge by an interval at most, and is never down by itself.
    assert len(steady.outages) == len(killed.outages) == 2
    for ours, theirs in zip(killed.outages, steady.outages, strict=True):
        assert abs(ours.span.start_us - theirs.span.start_us) <= MINUTE
        assert abs(ours.span.end_us - theirs.span.end_us) <= MINUTE
    assert killed.unknown_us == steady.unknown_us, "a gap shorter than stale_after is no gap"
    facts = outages(tmp_path / "killed")
    assert [fact.end_us is None for fact in facts] == [True, False, True, False], "after a crash nothing is repeated"
    assert [(fact.start_us, fact.end_us) for fact in facts[1::2]] == [outage.span for outage in killed.outages]


def test_the_time_of_a_dead_daemon_is_unknown_less_staleness_and_never_down(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + HOUR)
        await crash(daemon)
        await world.clock.wait_until(START_US + 6 * HOUR)
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 7 * HOUR)
        totals = daemon.detector.totals(SERVICE, world.clock.now_us())
        await daemon.stop()
        account = statement(tmp_path, world.clock.now_us()).figures.account
        stale_us = world.stale_after_us
        # The last run before the crash was at most an interval old, the first one after it comes within an interval.
        assert 5 * HOUR - stale_us <= account.unknown_us <= 5 * HOUR - stale_us + 2 * MINUTE
        assert account.down_us == 0
        assert abs(totals.unknown_us - account.unknown_us) <= MINUTE, "the detector saw the same"

    world.play(story)


def test_a_stop_in_the_middle_of_an_outage_keeps_it_one_outage(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=3)
    world.target.script = [(START_US + 10 * MINUTE, START_US + 40 * MINUTE, frozenset({0, 1, 2}))]

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 20 * MINUTE - 5 * SECOND)  # no run is due then
        before = daemon.detector.totals(SERVICE, world.clock.now_us())
        await daemon.stop()
        await world.clock.wait_until(START_US + 21 * MINUTE - 5 * SECOND)
        daemon = await world.daemon()
        after = daemon.detector.totals(SERVICE, world.clock.now_us())
        assert (after.outages, after.observed_us) >= (before.outages, before.observed_us), "totals go on"
        assert 0 <= after.downtime_us["majority"] - before.downtime_us["majority"] <= 66 * SECOND
        counts = {source.check: held.attempts for source, held in daemon.detector.counts.items()}
        assert all(attempts in {19, 20} for attempts in counts.values())
        await world.clock.wait_until(START_US + HOUR)
        await daemon.stop()

    world.play(story)
    facts = outages(tmp_path)
    assert [fact.end_us is None for fact in facts] == [True, False]
    assert len(statement(tmp_path, START_US + HOUR).figures.account.outages) == 1


def test_a_hanging_check_disturbs_no_other(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=3)
    world.target.hang = frozenset({1})

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + HOUR)
        assert daemon.scheduler.stats.late == 0
        await daemon.stop()
        counts = {source.check: held for source, held in daemon.detector.counts.items()}
        assert counts["c1"].failures["timeout"] >= 59
        assert counts["c0"].failures == counts["c2"].failures == {}
        assert counts["c0"].attempts >= 59

    world.play(story)
    assert statement(tmp_path, world.clock.now_us()).figures.account.down_us == 0


@pytest.mark.parametrize("stall_s", [6, 300])
def test_a_stall_of_the_process_is_never_downtime(tmp_path: Path, loop: VirtualLoop, stall_s: int) -> None:
    """F8 on virtual time: the loop stands still with runs in flight, again and again."""
    world = World.make(tmp_path, loop, checks=6, interval_us=30 * SECOND, timeout_us=3 * SECOND)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        for number in range(1, 4):
            await world.clock.wait_until(START_US + number * 15 * MINUTE + number * 5 * SECOND + 500)
            loop.jump(stall_s)
        await world.clock.wait_until(START_US + HOUR + 10 * MINUTE)
        totals = daemon.detector.totals(SERVICE, world.clock.now_us())
        assert totals.downtime_us == {}
        await daemon.stop()
        failures = sum(held.failures.total() for held in daemon.detector.counts.values())
        assert failures == 0
        if stall_s > 30:
            late = sum(held.inconclusive["late"] for held in daemon.detector.counts.values())
            assert late > 0, "slots that came due meanwhile are on record"

    world.play(story)
    assert statement(tmp_path, world.clock.now_us()).figures.account.down_us == 0


def test_a_suspended_machine_is_unknown_less_staleness(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + HOUR + 30 * SECOND)
        world.clock.suspend(2 * HOUR)
        await world.clock.wait_until(START_US + 4 * HOUR)
        await daemon.stop()
        account = statement(tmp_path, world.clock.now_us()).figures.account
        stale_us = world.stale_after_us
        assert account.down_us == 0
        assert 2 * HOUR - stale_us - MINUTE <= account.unknown_us <= 2 * HOUR - stale_us + 2 * MINUTE

    world.play(story)


@pytest.mark.parametrize("delta_s", [61, -61, 3600])
def test_a_step_of_the_wall_clock_is_a_fact_and_the_schedule_goes_on(
    tmp_path: Path, loop: VirtualLoop, delta_s: int
) -> None:
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 10 * MINUTE)
        requests = world.target.requests
        world.clock.step(delta_s * SECOND)
        begun_ns = world.clock.now_ns()
        await world.clock.wait_until(world.clock.now_us() + 10 * MINUTE + max(0, delta_s) * SECOND)
        lasted_s = (world.clock.now_ns() - begun_ns) / 1e9
        assert world.target.requests - requests >= lasted_s // 60 - 1
        await daemon.stop()

    world.play(story)
    reader = open_reader(tmp_path / "ledger.db")
    steps = [entry.fact for entry in reader.entries(types=("clock_step",))]
    reader.close()
    assert [getattr(step, "delta_us", None) for step in steps] == [delta_s * SECOND]
    assert statement(tmp_path, world.clock.now_us()).figures.account.down_us == 0


def test_without_faults_no_second_is_down(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=2, interval_us=30 * SECOND)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 2 * HOUR)
        totals = daemon.detector.totals(SERVICE, world.clock.now_us())
        assert totals.downtime_us == {}
        assert totals.outages == 0
        assert totals.observed_us + totals.unknown_us >= 2 * HOUR - 6 * SECOND
        await daemon.stop()

    world.play(story)
    assert statement(tmp_path, world.clock.now_us()).figures.account.down_us == 0

"""Slots: anchored, staggered, never early, one run each; lateness by our own fault is told, nothing else is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator

import pytest

from monitor.plan import Plan
from monitor.scheduler import MAX_LATE_BURST, TOGETHER_US, Scheduled, Scheduler, phase, staggered
from monitor.underway import Over
from probes import transaction
from tests.simulation.loop import SimulatedClock, VirtualLoop
from tests.simulation.world import in_step

SECOND = 1_000_000
START_US = 1_775_000_007 * SECOND  # 7 s after a multiple of ten


def plan(check: str, interval_s: int = 10, *, service: str = "portal", sla: bool = True) -> Plan:
    return Plan(
        service=service,
        check=check,
        transaction=transaction.Spec(steps=()),
        interval_us=interval_s * SECOND,
        timeout_us=2 * SECOND,
        sla=sla,
    )


class Bench:
    """A scheduler on virtual time, and what it started and told: (check, slot, started) in seconds from START_US."""

    def __init__(self, loop: VirtualLoop, *, max_in_flight: int = 1024) -> None:
        self.loop = loop
        self.clock = SimulatedClock(loop, START_US)
        self.begun: list[tuple[str, float, float]] = []
        self.told: list[tuple[str, float]] = []
        self.takes_s: Callable[[Plan], float] = lambda _plan: 0.1
        self.execute: Callable[[Plan, int, Callable[[], bool]], Coroutine[None, None, None]] = self._execute
        self.scheduler = Scheduler(self.clock, begin=self._begin, late=self._late, max_in_flight=max_in_flight)

    def _begin(self, plan: Plan, slot_us: int, begins: Callable[[], bool], over: Over) -> asyncio.Task[None]:
        run = asyncio.get_running_loop().create_task(self.execute(plan, slot_us, begins))
        run.add_done_callback(lambda run: over(None if run.cancelled() else run.exception()))
        return run

    async def _execute(self, plan: Plan, slot_us: int, begins: Callable[[], bool]) -> None:
        if not begins():
            return
        self.begun.append((plan.check, self._s(slot_us), self._s(self.clock.now_us())))
        await asyncio.sleep(self.takes_s(plan))

    def _late(self, plan: Plan, slot_us: int) -> None:
        self.told.append((plan.check, self._s(slot_us)))

    @staticmethod
    def _s(at_us: int) -> float:
        return (at_us - START_US) / SECOND

    def play(self, story: Coroutine[None, None, None]) -> None:
        async def run() -> None:
            running = asyncio.create_task(self.scheduler.run())
            await asyncio.sleep(0)
            await story
            self.scheduler.stop()
            await running
            await self.scheduler.drain()

        self.loop.run_until_complete(run())

    async def until(self, at_s: float) -> None:
        await self.clock.wait_until(START_US + round(at_s * SECOND))

    def stall(self, for_s: float) -> None:
        """Our process stands still: time passes and nothing is done."""
        self.loop.jump(for_s)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_checks_of_a_service_share_its_interval_evenly_in_their_order() -> None:
    scheduled = in_step([plan("a"), plan("b"), plan("x", 7, sla=False), plan("c"), plan("o", service="other")])
    assert [(s.plan.check, s.offset_us) for s in scheduled] == [
        ("a", 0),
        ("b", 3_333_333),
        ("x", 0),
        ("c", 6_666_666),
        ("o", 0),
    ]


def test_services_of_one_interval_do_not_start_together_and_keep_their_phase() -> None:
    plans = [plan(f"c{n}", service=f"s{service}") for service in range(100) for n in range(2)]
    places = {(s.plan.service, s.plan.check): s.offset_us for s in staggered(plans)}
    for service in range(100):
        first, second = places[f"s{service}", "c0"], places[f"s{service}", "c1"]
        assert 0 <= first < 5 * SECOND
        assert first % TOGETHER_US == 0, "a few at a time share a wake-up"
        assert second - first == 5 * SECOND
    # Evenly over the time that is theirs: in each of ten parts some services, in none more than a quarter of them.
    parts = Counter(places[f"s{service}", "c0"] * 10 // (5 * SECOND) for service in range(100))
    assert set(parts) == set(range(10))
    assert max(parts.values()) <= 25
    # Of the id alone: whoever else is there, in any order, after a restart, and on another machine.
    again = {(s.plan.service, s.plan.check): s.offset_us for s in staggered(plans[-50:-30])}
    assert again == {key: places[key] for key in again}
    assert phase("portal", True, below=10**7) == 9_525_000
    assert phase("portal", False, below=10**7) != phase("portal", True, below=10**7)
    assert phase("portal", True, below=1) == 0


def test_slots_are_anchored_to_the_epoch_and_every_one_is_run_once(loop: VirtualLoop) -> None:
    bench = Bench(loop)

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a"), plan("b")]))
        await bench.until(34)

    bench.play(story())
    assert bench.begun == [
        ("a", 3, 3),
        ("b", 8, 8),
        ("a", 13, 13),
        ("b", 18, 18),
        ("a", 23, 23),
        ("b", 28, 28),
        ("a", 33, 33),
    ]
    assert all(started >= slot for _check, slot, started in bench.begun)
    assert sum(bench.scheduler.stats.lag.counts) == 7
    assert not bench.told


def test_a_slot_on_the_very_instant_of_the_start_is_run(loop: VirtualLoop) -> None:
    bench = Bench(loop)

    async def story() -> None:
        await bench.until(3)
        bench.scheduler.replace(in_step([plan("a")]))
        await bench.until(4)

    bench.play(story())
    assert bench.begun == [("a", 3, 3)]


@pytest.mark.parametrize(("stall_s", "started"), [(4.0, True), (4.9, True), (5.1, False), (9.0, False)])
def test_late_is_what_cannot_start_within_half_the_interval(loop: VirtualLoop, stall_s: float, started: bool) -> None:
    bench = Bench(loop)

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a")]))
        await bench.until(3 - 0.000_001)
        bench.stall(stall_s + 0.000_001)
        await bench.until(12.9)

    bench.play(story())
    assert [(check, slot) for check, slot, _at in bench.begun] == ([("a", 3)] if started else [])
    assert bench.told == ([] if started else [("a", 3)])


def test_a_stall_of_some_intervals_is_late_for_the_newest_slots_and_the_schedule_goes_on(loop: VirtualLoop) -> None:
    bench = Bench(loop)

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a"), plan("b")]))
        await bench.until(9)
        bench.stall(65)  # to 74: a was due at 13, 23, … 73, b at 18, … 68
        await bench.until(79)

    bench.play(story())
    assert [slot for check, slot in bench.told if check == "a"] == [43, 53, 63]
    # The newest slot of b is six seconds old at the end of the stall: too late as well.
    assert [slot for check, slot in bench.told if check == "b"] == [38, 48, 58, 68]
    assert len(bench.told) == 2 * MAX_LATE_BURST + 1
    assert bench.begun[2:] == [("a", 73, 74), ("b", 78, 78)]


def test_a_short_stall_tells_every_missed_slot(loop: VirtualLoop) -> None:
    bench = Bench(loop)

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a")]))
        await bench.until(2)
        bench.stall(22)  # to 24: due at 3, 13 and 23
        await bench.until(25)

    bench.play(story())
    assert bench.told == [("a", 3), ("a", 13)]
    assert bench.begun == [("a", 23, 24)]


def test_a_run_that_overruns_is_never_late(loop: VirtualLoop) -> None:
    bench = Bench(loop)
    bench.takes_s = lambda plan: 12.0 if plan.check == "slow" else 0.1

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("slow"), plan("quick")]))
        await bench.until(30)

    bench.play(story())
    # Slot 13 waits for the run of slot 3 until 15; slot 23 for that until 27.
    assert [entry for entry in bench.begun if entry[0] == "slow"] == [
        ("slow", 3, 3),
        ("slow", 13, 15),
        ("slow", 23, 27),
    ]
    assert [slot for check, slot, _at in bench.begun if check == "quick"] == [8, 18, 28]
    assert not bench.told


def test_a_slot_held_by_its_own_previous_run_for_too_long_is_skipped_and_counted(loop: VirtualLoop) -> None:
    bench = Bench(loop)
    bench.takes_s = lambda _plan: 16.0

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a")]))
        await bench.until(34)

    bench.play(story())
    assert [slot for _check, slot, _at in bench.begun] == [3, 23]
    assert bench.scheduler.stats.overruns["portal", "a"] == 1
    assert not bench.told


def test_what_waits_for_a_free_place_too_long_is_late_by_our_own_fault(loop: VirtualLoop) -> None:
    bench = Bench(loop, max_in_flight=1)
    bench.takes_s = lambda _plan: 8.0

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a"), plan("b", service="other")]))
        await bench.until(10)
        assert bench.scheduler.in_flight == 1
        await bench.until(12)

    bench.play(story())
    assert bench.begun == [("a", 3, 3)]
    assert bench.told == [("b", 3)]


def test_every_service_knows_since_when_it_has_runs_open(loop: VirtualLoop) -> None:
    bench = Bench(loop)
    bench.takes_s = lambda _plan: 4.0

    async def story() -> None:
        apart = plan("x", 4, service="apart", sla=False)  # it counts for nothing, so nobody waits for it
        bench.scheduler.replace(in_step([plan("a"), plan("b"), plan("o", service="other"), apart]))
        assert bench.scheduler.open_since() == {}
        await bench.until(4)
        assert bench.scheduler.open_since() == {"portal": START_US + 3 * SECOND, "other": START_US + 3 * SECOND}
        await bench.until(7.5)
        assert bench.scheduler.open_since() == {}
        bench.stall(1)
        assert bench.scheduler.open_since() == {"portal": START_US + 8 * SECOND}, "due, though not started yet"

    bench.play(story())


def test_runs_that_wait_for_their_own_or_for_a_free_place_are_open_too(loop: VirtualLoop) -> None:
    bench = Bench(loop, max_in_flight=1)
    bench.takes_s = lambda _plan: 11.0

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a"), plan("b", service="other"), plan("c", 30, service="third")]))
        await bench.until(3)
        assert bench.scheduler.open_since() == dict.fromkeys(("portal", "other", "third"), START_US + 3 * SECOND)
        await bench.until(13.5)
        since = bench.scheduler.open_since()
        assert since["portal"] == START_US + 3 * SECOND, "under way, and its next slot waits for it"
        assert since["other"] == START_US + 13 * SECOND, "the slot before was given up, this one waits for a place"
        assert since["third"] == START_US + 3 * SECOND

    bench.play(story())


def test_many_slots_that_are_due_are_all_open_and_those_that_are_not_are_none(loop: VirtualLoop) -> None:
    bench = Bench(loop)

    async def story() -> None:
        services = [plan("a", 10 + number, service=f"s{number}") for number in range(40)]
        bench.scheduler.replace(staggered(services))
        await bench.until(0)
        entries = bench.scheduler._entries.values()
        due = {entry.scheduled.plan.service: entry.next_us for entry in entries}
        bench.stall(20)
        now_us = bench.clock.now_us()
        expected = {service: slot_us for service, slot_us in due.items() if slot_us <= now_us}
        assert 0 < len(expected) < len(services)
        assert bench.scheduler.open_since() == expected

    bench.play(story())


def test_a_reload_leaves_unchanged_checks_alone_and_gives_no_gap_longer_than_an_interval(loop: VirtualLoop) -> None:
    bench = Bench(loop)

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a"), plan("b"), plan("o", service="other")]))
        await bench.until(16)
        bench.scheduler.replace(in_step([plan("a"), plan("new"), plan("b"), plan("o", service="other")]))
        await bench.until(50)

    bench.play(story())
    starts = {check: [slot for name, slot, _at in bench.begun if name == check] for check in ("a", "b", "new", "o")}
    assert starts["a"] == starts["o"] == [3, 13, 23, 33, 43]
    assert starts["new"] == [16.333333, 26.333333, 36.333333, 46.333333]
    # b was due at 8 and next at 18; its new place is 9.666666, first at 19.666666: the old slot is kept once.
    assert starts["b"][:2] == [8, 18]
    gaps = [later - earlier for earlier, later in zip(starts["b"], starts["b"][1:], strict=False)]
    assert max(gaps) <= 10
    assert not bench.told


def test_a_removed_check_is_not_started_again(loop: VirtualLoop) -> None:
    bench = Bench(loop)

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a"), plan("b")]))
        await bench.until(9)
        bench.scheduler.replace(in_step([plan("a")]))
        await bench.until(30)

    bench.play(story())
    assert [check for check, _slot, _at in bench.begun] == ["a", "b", "a", "a"]


@pytest.mark.parametrize("delta_s", [61, -61, 3600, -7200])
def test_after_a_step_of_the_clock_the_schedule_goes_on_at_once(loop: VirtualLoop, delta_s: int) -> None:
    bench = Bench(loop)

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a")]))
        await bench.until(4)
        bench.clock.step(delta_s * SECOND)
        assert bench.clock.take_step() is not None
        bench.scheduler.rebase()
        await asyncio.sleep(9.9)

    bench.play(story())
    assert [check for check, _slot, _at in bench.begun] == ["a", "a"]
    assert not bench.told, "no slot was missed: no time was lost"


def test_stopping_starts_nothing_more_and_lets_runs_finish(loop: VirtualLoop) -> None:
    bench = Bench(loop)
    finished: list[str] = []

    async def execute(plan: Plan, _slot_us: int, _begins: Callable[[], bool]) -> None:
        await asyncio.sleep(3)
        finished.append(plan.check)

    bench.execute = execute

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a"), plan("b")]))
        await bench.until(8.5)
        assert bench.scheduler.in_flight == 1

    bench.play(story())
    assert finished == ["a", "b"]
    assert bench.loop.time() < 12


def test_abandoned_runs_end_at_once(loop: VirtualLoop) -> None:
    bench = Bench(loop)
    bench.takes_s = lambda _plan: 1000.0

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("a")]))
        await bench.until(4)
        bench.scheduler.abandon()

    bench.play(story())
    assert bench.loop.time() < 5


def test_a_run_that_breaks_is_reported_and_disturbs_nobody(loop: VirtualLoop) -> None:
    bench = Bench(loop)
    reported: list[str] = []
    loop.set_exception_handler(lambda _loop, context: reported.append(context["message"]))
    steady = bench._execute

    async def execute(plan: Plan, slot_us: int, begins: Callable[[], bool]) -> None:
        if plan.check == "broken":
            raise RuntimeError("a fault of the program")
        await steady(plan, slot_us, begins)

    bench.execute = execute

    async def story() -> None:
        bench.scheduler.replace(in_step([plan("broken"), plan("fine")]))
        await bench.until(30)

    bench.play(story())
    assert [slot for _check, slot, _at in bench.begun] == [8, 18, 28]
    assert reported == ["run of portal/broken broke"] * 3


@pytest.mark.parametrize("at_s", [-0.5, 0, 0.000_001, 3.333_332, 3.333_333, 3.333_334, 9.999_999])
def test_the_first_slot_is_never_in_the_past_and_at_most_an_interval_away(at_s: float) -> None:
    scheduled = Scheduled(plan=plan("a"), offset_us=3_333_333)
    at_us = 1_775_000_000 * SECOND + round(at_s * SECOND)
    slot_us = scheduled.slot_at_or_after(at_us)
    assert at_us <= slot_us < at_us + 10 * SECOND
    assert (slot_us - 3_333_333) % (10 * SECOND) == 0
    assert scheduled.slot_after(slot_us) == slot_us + 10 * SECOND


def test_how_far_behind_it_is_says_whether_the_schedule_goes_on(loop: VirtualLoop) -> None:
    """What the watchdog goes by: a schedule that is served is never behind, one that nobody serves more and more."""
    bench = Bench(loop)
    assert bench.scheduler.behind_us() == 0
    bench.takes_s = lambda _plan: 30.0  # runs that hang are the target's doing
    bench.scheduler.replace(in_step([plan("a")]))  # due at 3 s, 13 s, …

    async def story() -> None:
        await bench.until(25)
        assert bench.scheduler.behind_us() == 0

    bench.play(story())
    bench.scheduler.replace(in_step([plan("a")]))
    bench.stall(60)
    assert bench.scheduler.behind_us() > 50 * SECOND

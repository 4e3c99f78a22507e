"""Says when: each check in its slots, anchored to the epoch, never early, one run a slot (DESIGN, Time base).

A slot is `k * interval + phase + i * interval // N` for the i-th of a service's N checks. The phase lies below
`interval // N` and is made of the service's id, so that services of one interval do not start together; it is the same
on every machine and across restarts. What cannot start in time by our own fault is told as late; what its own previous
run holds up is skipped.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from monitor.clock import Clock, Timer
from monitor.core.instant import SECOND_US
from monitor.plan import Plan
from monitor.telemetry.snapshot import LAG_BOUNDS_US, Histogram

MAX_LATENESS_US = 5 * SECOND_US
"""A run starts at most this late, or half its interval; then its slot is `inconclusive(late)`. Half an interval keeps
the edges of an outage known to one and a half intervals however busy the machine is."""

MAX_IN_FLIGHT = 1024
"""How many runs go on at once. A check has at most one, so this binds only above 1,024 checks that all hang."""

MAX_LATE_BURST = 3
"""How many late slots of one check a stall leaves on record beside the newest. For slots further back the process did
not run: nobody invents a run for them (CONTRACT 2.1.4), and the outcome before the stall ends by staleness."""

TOGETHER_US = 25_000
"""Services begin at whole multiples of this: a few checks share a wake-up. One check at a time costs twice the CPU, as
each finds the caches cold, and fifty at a time wait for each other (docs/performance.md).
"""

OVERRUN = "overrun"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A check and its place within the interval."""

    plan: Plan
    offset_us: int
    max_lateness_us: int = field(init=False)
    """The latest start after a slot."""

    def __post_init__(self) -> None:
        """Asked at every start, so made once."""
        object.__setattr__(self, "max_lateness_us", min(self.plan.interval_us // 2, MAX_LATENESS_US))

    def slot_at_or_after(self, at_us: int) -> int:
        """The first slot not before the instant."""
        return -((self.offset_us - at_us) // self.plan.interval_us) * self.plan.interval_us + self.offset_us

    def slot_after(self, at_us: int) -> int:
        """The first slot after the instant."""
        return self.slot_at_or_after(at_us + 1)


def staggered(plans: Sequence[Plan]) -> tuple[Scheduled, ...]:
    """Each check's place: those of a service that count share its interval evenly in the order given, the others of a
    service do so among themselves (CONTRACT 2.1.6); each service begins at a phase of its own.
    """
    counts = Counter((plan.service, plan.sla) for plan in plans)
    seen: Counter[tuple[str, bool]] = Counter()
    scheduled: list[Scheduled] = []
    for plan in plans:
        group = (plan.service, plan.sla)
        phase_us = phase(*group, below=max(1, plan.interval_us // counts[group]))
        offset_us = phase_us + seen[group] * plan.interval_us // counts[group]
        scheduled.append(Scheduled(plan=plan, offset_us=offset_us))
        seen[group] += 1
    return tuple(scheduled)


def phase(service: str, sla: bool, *, below: int) -> int:  # noqa: FBT001 - of a group of checks
    """Where in its time a service begins: from its id alone, evenly over `[0, below)` for many services, in steps of
    TOGETHER_US.
    """
    digest = hashlib.blake2b(f"{service}\0{sla:d}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % below // TOGETHER_US * TOGETHER_US


@dataclass(slots=True)
class SchedulerStats:
    """What telemetry reads: how late runs start, and what was not started, by (service, check)."""

    lag: Histogram = field(default_factory=lambda: Histogram(LAG_BOUNDS_US))
    overruns: Counter[tuple[str, str]] = field(default_factory=Counter)
    late: int = 0
    last_start_us: int | None = None


class Running(Protocol):
    """A run that was begun."""

    def cancel(self) -> object:
        """End it without a result."""


class Begin(Protocol):
    """Begins a run and sees it through. Once the loop gets to it, it asks `begins()`, and does nothing where that is
    false; `over` is called once in any case, after `begin` has returned, with the fault of the program that ended it.
    """

    def __call__(
        self, plan: Plan, slot_us: int, begins: Callable[[], bool], over: Callable[[BaseException | None], None], /
    ) -> Running:
        """The run."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A check on the schedule: its next slot, the run under way, and the slot that waits for its turn."""

    scheduled: Scheduled
    next_us: int
    running: Running | None = None
    running_slot_us: int = 0
    waiting_us: int | None = None
    held_by_itself: bool = False
    queued: bool = False


class Scheduler:
    """Starts runs by `begin`. `late` takes a slot that was not started."""

    def __init__(
        self,
        clock: Clock,
        *,
        begin: Begin,
        late: Callable[[Plan, int], None],
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> None:
        self.stats = SchedulerStats()
        self._clock = clock
        self._begin_run = begin
        self._late = late
        self._max_in_flight = max_in_flight
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._heap: list[tuple[int, int, _Entry]] = []
        self._count = 0
        self._queue: deque[_Entry] = deque()
        self._running: set[_Entry] = set()
        self._timer: Timer | None = None
        self._turning: asyncio.Future[None] | None = None  # until `stop`
        self._drained: asyncio.Future[None] | None = None
        self._stopping = False

    @property
    def in_flight(self) -> int:
        """How many runs are under way."""
        return len(self._running)

    def behind_us(self) -> int:
        """For how long the earliest slot has been due without having been started, told late or put aside; 0 while the
        schedule goes on.
        """
        return max(0, self._clock.now_us() - self._heap[0][0]) if self._heap else 0

    def replace(self, schedule: Iterable[Scheduled]) -> None:
        """Take a new set of checks. One whose interval and place did not change keeps its slots; a check that moves
        makes its next slot of the old grid, if that comes first, so that no gap is longer than an interval.
        """
        now_us = self._clock.now_us()
        gone = self._entries
        self._entries = {}
        for scheduled in schedule:
            key = (scheduled.plan.service, scheduled.plan.check)
            assert key not in self._entries, f"{key} is scheduled twice"
            first_us = scheduled.slot_at_or_after(now_us)
            entry = gone.pop(key, None)
            if entry is None:
                entry = _Entry(scheduled, first_us)
            else:
                entry.next_us = min(entry.next_us, first_us)
                entry.scheduled = scheduled
            self._entries[key] = entry
        for entry in gone.values():
            entry.waiting_us = None
        self._rebuild()

    def rebase(self) -> None:
        """The clock was corrected: go on with the slots from now on. What lies between was nobody's to run."""
        now_us = self._clock.now_us()
        for entry in self._entries.values():
            entry.next_us = entry.scheduled.slot_at_or_after(now_us)
        self._rebuild()

    async def run(self) -> None:
        """Start what is due, slot after slot, until `stop`."""
        if self._stopping:
            return
        self._turning = asyncio.get_running_loop().create_future()
        self._turn()
        try:
            await self._turning
        finally:
            self._turning = None
            self._set_no_timer()

    def stop(self) -> None:
        """Start nothing any more; runs under way go on to their end."""
        self._stopping = True
        self._queue.clear()
        for entry in self._entries.values():
            entry.waiting_us = None
        if self._turning is not None and not self._turning.done():
            self._turning.set_result(None)

    async def drain(self) -> None:
        """Wait for the runs under way; each ends by its own deadline."""
        while self._running:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def abandon(self) -> None:
        """Cancel the runs under way: their slots stay nobody's."""
        for entry in list(self._running):
            if entry.running is not None:
                entry.running.cancel()

    def open_since(self) -> dict[str, int]:
        """For each service with slots of SLA checks that are due and not answered yet, the earliest of them.

        Before that instant nothing more that counts will come from this process.
        """
        earliest: dict[str, int] = {}

        def note(entry: _Entry, slot_us: int) -> None:
            plan = entry.scheduled.plan
            if plan.sla:
                earliest[plan.service] = min(earliest.get(plan.service, slot_us), slot_us)

        for entry in self._running:
            note(entry, entry.running_slot_us)
            if entry.waiting_us is not None:
                note(entry, entry.waiting_us)
        for entry in self._queue:
            if entry.waiting_us is not None:
                note(entry, entry.waiting_us)
        if not self._stopping:
            for slot_us, entry in self._due(self._clock.now_us()):
                note(entry, slot_us)
        return earliest

    def _due(self, now_us: int) -> Iterator[tuple[int, _Entry]]:
        """Every slot that is due and was not begun: most often none. Below one that is not due nothing in the heap is,
        so the others are not looked at; thousands, four times a second, would hold up the loop.
        """
        heap, places = self._heap, [0]
        while places:
            place = places.pop()
            if place < len(heap) and heap[place][0] <= now_us:
                yield heap[place][0], heap[place][2]
                places += (2 * place + 1, 2 * place + 2)

    def _rebuild(self) -> None:
        self._heap = [(entry.next_us, number, entry) for number, entry in enumerate(self._entries.values())]
        self._count = len(self._heap)
        heapq.heapify(self._heap)
        if self._turning is not None:
            # By the clock, not at once: whoever changes the schedule is not to wait for what is due.
            self._set_timer(self._clock.now_us())

    def _turn(self) -> None:
        """Start what is due, and come back when the next slot is. What breaks here ends `run`, which is begun again."""
        self._timer = None
        turning = self._turning
        if turning is None or turning.done():
            return
        try:
            self._start_due()
            if self._heap:
                self._set_timer(self._heap[0][0])
        except Exception as error:  # noqa: BLE001 - it goes to whoever runs the schedule
            turning.set_exception(error)

    def _set_timer(self, at_us: int) -> None:
        self._set_no_timer()
        self._timer = self._clock.call_at(at_us, self._turn)

    def _set_no_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start_due(self) -> None:
        now_us = self._clock.now_us()
        heap = self._heap
        while heap and heap[0][0] <= now_us and not self._stopping:
            slot_us, _number, entry = heap[0]
            newest_us, entry.next_us = self._pass_over(entry, slot_us, now_us)
            self._count += 1
            heapq.heapreplace(heap, (entry.next_us, self._count, entry))
            self._begin(entry, newest_us, now_us)

    def _pass_over(self, entry: _Entry, slot_us: int, now_us: int) -> tuple[int, int]:
        """The newest slot that is due, and the one after it. Those before it came due while nothing was started, and
        are late.
        """
        second_us = entry.scheduled.slot_after(slot_us)
        if second_us > now_us:
            return slot_us, second_us
        interval_us = entry.scheduled.plan.interval_us
        newest_us = second_us + (now_us - second_us) // interval_us * interval_us
        after = range(second_us, newest_us, interval_us)
        recent = after[-MAX_LATE_BURST:]
        for missed_us in recent if len(after) >= MAX_LATE_BURST else (slot_us, *recent):
            self._tell_late(entry.scheduled.plan, missed_us)
        return newest_us, newest_us + interval_us

    def _begin(self, entry: _Entry, slot_us: int, now_us: int) -> None:
        if entry.waiting_us is not None:
            self._give_up(entry)
        if entry.running is None and len(self._running) < self._max_in_flight:
            self._launch(entry, slot_us, now_us)
            return
        entry.waiting_us = slot_us
        entry.held_by_itself = entry.running is not None
        if not entry.held_by_itself and not entry.queued:
            entry.queued = True
            self._queue.append(entry)

    def _launch(self, entry: _Entry, slot_us: int, now_us: int) -> None:
        if now_us - slot_us > entry.scheduled.max_lateness_us:
            entry.waiting_us = slot_us
            self._give_up(entry)
            return
        entry.waiting_us = None
        entry.running_slot_us = slot_us
        self._running.add(entry)
        begins = partial(self._begins, entry.scheduled, slot_us)
        entry.running = self._begin_run(entry.scheduled.plan, slot_us, begins, partial(self._finished, entry))

    def _begins(self, scheduled: Scheduled, slot_us: int) -> bool:
        """Whether a run begins, now that the loop got to it: on an overloaded one that alone may be too late."""
        lateness_us = self._clock.now_us() - slot_us
        if lateness_us > scheduled.max_lateness_us:
            self._tell_late(scheduled.plan, slot_us)
            return False
        self.stats.lag.observe(max(0, lateness_us))
        self.stats.last_start_us = slot_us + lateness_us
        return True

    def _finished(self, entry: _Entry, error: BaseException | None) -> None:
        self._running.remove(entry)
        entry.running = None
        if error is not None:
            # A run maps every fault of a probe; what still escapes is a fault of the program.
            plan = entry.scheduled.plan
            context = {"message": f"run of {plan.service}/{plan.check} broke", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        if entry.waiting_us is not None:
            self._launch(entry, entry.waiting_us, self._clock.now_us())
            entry.held_by_itself = False
        while self._queue and len(self._running) < self._max_in_flight:
            waiting = self._queue.popleft()
            waiting.queued = False
            if waiting.waiting_us is not None and waiting.running is None:
                self._launch(waiting, waiting.waiting_us, self._clock.now_us())
        if not self._running and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _give_up(self, entry: _Entry) -> None:
        """The slot that waits cannot start any more."""
        slot_us, entry.waiting_us = entry.waiting_us, None
        assert slot_us is not None
        if entry.held_by_itself:
            self.stats.overruns[entry.scheduled.plan.service, entry.scheduled.plan.check] += 1
        else:
            self._tell_late(entry.scheduled.plan, slot_us)
        entry.held_by_itself = False

    def _tell_late(self, plan: Plan, slot_us: int) -> None:
        self.stats.late += 1
        self._late(plan, slot_us)

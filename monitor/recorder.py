"""The point of no return: runs are made durable before anybody acts on them, by one writer, in batches.

Everything that is written goes through here in one order: runs, decisions, and what the detector derived of what was
committed before (it rides in the next unit). While the store fails nothing is lost but by the buffer's bound, and that
loss is itself recorded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import structlog

from monitor.clock import Clock, Timer
from monitor.core.instant import SECOND_US, format_instant
from monitor.core.run import Run
from monitor.storage import Committed, Store, StoreError, Unit

T = TypeVar("T")

EVERY_US = 250_000
"""A run waits at most this long for others to share its transaction."""

TICK_US = 5 * SECOND_US
"""Time passes for the detector at least this often, also when nothing is written."""

BUFFER_RUNS = 50_000
"""How many runs are held while the store fails, more than eight minutes of 100 a second; then the oldest go, and the
gap is recorded."""

UNIT_RUNS = 5_000
"""The largest transaction."""

RETRY_US = 250_000
MAX_RETRY_US = 5 * SECOND_US
SAY_AGAIN_US = 60 * SECOND_US
UNANSWERED_US = 20 * SECOND_US
"""A store that says nothing for so long fails, though no attempt has: longer than any lock is waited for."""

GAPS_MARK = "gaps"
MAX_GAPS = 1_000

_log = structlog.get_logger("jaga.recorder")


Submit = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Does a call where the store is spoken to, in order: in a thread of its own, or at once in a simulation."""


React = Callable[[Committed | None, int, Mapping[str, int]], Unit | None]
"""What follows from a committed unit (None: from the passing of time), called where the store is spoken to.

It is given the instant, and for services with evidence still to come the instant before which there is none left. Its
answer is written with the next unit, before the next call.
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """Runs that were dropped because the store failed for longer than the buffer holds, and between which stamps."""

    runs: int
    from_us: int
    to_us: int

    def document(self) -> dict[str, int]:
        """As it is recorded."""
        return {"runs": self.runs, "from_us": self.from_us, "to_us": self.to_us}


@dataclass(slots=True)
class RecorderStats:
    """What telemetry reads. `failing_since_us` is None while the store takes what it is given."""

    committed_runs: int = 0
    commits: int = 0
    write_failures: int = 0
    dropped_runs: int = 0
    failing_since_us: int | None = None
    last_error: StoreError | None = None


@dataclass(frozen=True, slots=True)
class _Ask:
    """Somebody's own unit, made from the store as it stands when its turn comes."""

    make: Callable[[Store], tuple[Unit | None, Any]]
    answer: asyncio.Future[Any]


class Recorder:
    """Takes runs and decisions, commits them, and tells `on_committed` (on the loop) what was committed.

    `resume` says, before the next `react`, that it has to begin again where the record says it got to.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        submit: Submit,
        react: React,
        resume: Callable[[], None] = lambda: None,
        open_since: Callable[[], Mapping[str, int]] = dict,
        on_committed: Callable[[Committed], None] = lambda _committed: None,
        buffer_runs: int = BUFFER_RUNS,
    ) -> None:
        self.stats = RecorderStats()
        self._store = store
        self._clock = clock
        self._submit = submit
        self._react = react
        self._resume = resume
        self._open = open_since
        self._on_committed = on_committed
        self._buffer_runs = buffer_runs
        self._buffer: deque[Run] = deque()
        self._writing: Sequence[Run] = ()
        self._asks: deque[_Ask] = deque()
        self._gap: Gap | None = None
        self._owed: Unit | None = None  # this and the next touched only where the store is spoken to
        self._in_doubt = False
        self._work = asyncio.Event()
        self._timer: Timer | None = None
        self._timer_due_ns = 0
        self._wakes = False  # soon enough for a run that is accepted now
        self._retry_us = 0
        self._said_us = 0
        self._stopping = False

    @property
    def failing(self) -> bool:
        """Whether the store refused what it was last given."""
        return self.stats.failing_since_us is not None

    @property
    def pending(self) -> int:
        """Runs accepted and not durable yet."""
        return len(self._buffer) + len(self._writing)

    def accept(self, run: Run) -> None:
        """Take a run; it is durable within a quarter of a second, or as soon as the store is back."""
        self._buffer.append(run)
        if self.pending > self._buffer_runs and len(self._buffer) > 1:
            self._drop(self._buffer.popleft())
        if not self._wakes:  # for the first of a batch: its time is before that of the others
            self._wakes = True
            self._wake_within(EVERY_US)

    async def ask(self, make: Callable[[Store], tuple[Unit | None, T]]) -> T:
        """Write the unit that `make` answers from the store as it stands then, with nobody writing in between; the
        second of its answers once the unit is durable. Raises StoreError when it is not, and whatever `make` raises.
        """
        ask = _Ask(make, asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        self._work.set()
        answer: T = await ask.answer
        return answer

    async def run(self) -> None:
        """Write until `stop`, and then what is left."""
        self._wake_within(TICK_US)
        while True:
            await self._work.wait()
            self._work.clear()
            self._wakes = False
            done = await self._write_all()
            if self._stopping:
                if done or self.failing:
                    break
                self._work.set()
            else:
                self._wake_within(TICK_US if done else EVERY_US)
        if self.pending:
            _log.error("runs lost at stop", runs=self.pending, error=str(self.stats.last_error))
        self._refuse_asks()

    def stop(self) -> None:
        """Write what is left and end. While the store fails, one more attempt is made."""
        self._stopping = True
        self._work.set()

    def _wake_within(self, delay_us: int) -> None:
        """See to it that the writer wakes in this time, or earlier as set before; a retry has its pause."""
        if self.failing:
            delay_us = max(delay_us, self._retry_us)
        due_ns = self._clock.now_ns() + delay_us * 1000
        if self._timer is not None:
            if self._timer_due_ns <= due_ns:
                return
            self._timer.cancel()
        self._timer_due_ns = due_ns
        self._timer = self._clock.call_after(delay_us, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._work.set()

    async def _write_all(self) -> bool:
        """Write what there is; whether nothing is left, neither of ours nor of what follows from it."""
        try:
            owing = await self._write_runs()
            while self._asks:
                owing = await self._write_ask(self._asks.popleft())
        except StoreError as error:
            self._failed(error)
            self._refuse_asks(error)
            return False
        return not owing and not self._buffer

    async def _write_runs(self) -> bool:
        runs = tuple(islice(self._buffer, UNIT_RUNS))
        for _run in runs:
            self._buffer.popleft()
        gap, self._gap = self._gap, None
        self._writing = runs
        at_us, open_since = self._clock.now_us(), self._open_since()
        try:
            committed, owing = await self._answered(lambda: self._commit_runs(runs, gap, at_us, open_since))
        except BaseException:
            # What is given twice is there once: a run is known by its key.
            self._buffer.extendleft(reversed(runs))
            self._gap = _joined(gap, self._gap)
            raise
        finally:
            self._writing = ()
        if committed is not None:
            self._recovered()
            if gap is not None:
                _log.warning("gap recorded", runs=gap.runs, from_us=gap.from_us, to_us=gap.to_us)
            self._on_committed(committed)
        return bool(owing)

    async def _write_ask(self, ask: _Ask) -> bool:
        at_us, open_since = self._clock.now_us(), self._open_since()
        try:
            answer, done, owing = await self._answered(lambda: self._commit_ask(ask, at_us, open_since))
        except StoreError as error:
            _settle(ask.answer, error)
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to the one who asked, and goes there whole
            _settle(ask.answer, error)
            return True
        if done:
            self._recovered()
        for committed in done:
            self._on_committed(committed)
        if not ask.answer.done():
            ask.answer.set_result(answer)
        return bool(owing)

    async def _answered(self, call: Callable[[], T]) -> T:
        """The store's answer; that it is long in coming is told meanwhile."""
        timer = self._clock.call_after(UNANSWERED_US, self._unanswered)
        try:
            answer: T = await self._submit(call)
        finally:
            timer.cancel()
        return answer

    # Where the store is spoken to.

    def _commit_runs(
        self, runs: Sequence[Run], gap: Gap | None, at_us: int, open_since: Mapping[str, int]
    ) -> tuple[Committed | None, bool]:
        if not runs and gap is None and self._owed is None and not self._in_doubt:
            committed = None
        else:
            marks = {} if gap is None else {GAPS_MARK: self._gaps_with(gap)}
            committed = self._commit(Unit(recorded_at_us=at_us, runs=runs, marks=marks))
        self._owed = self._react(committed, at_us, open_since)
        return committed, self._owed is not None

    def _commit_ask(self, ask: _Ask, at_us: int, open_since: Mapping[str, int]) -> tuple[Any, list[Committed], bool]:
        """What is owed is written first: who asks sees a store in step with its runs, and only its own facts follow."""
        done: list[Committed] = []
        while self._owed is not None:
            done.append(self._commit(Unit(recorded_at_us=at_us)))
            self._owed = self._react(done[-1], at_us, open_since)
        unit, answer = ask.make(self._store)
        if unit is not None:
            done.append(self._commit(unit))
            self._owed = self._react(done[-1], at_us, open_since)
        return answer, done, self._owed is not None

    def _commit(self, unit: Unit) -> Committed:
        """One transaction for a unit and what is owed from the units before it.

        Where it fails, whether it was written is not known: the answer alone may be lost. What is given again is then
        nothing fresh, and what is owed may be there. So what follows is derived anew, from the record.
        """
        try:
            committed = self._store.commit(unit if self._owed is None else _together(self._owed, unit))
        except StoreError:
            self._in_doubt = True
            raise
        finally:
            self._owed = None
        if self._in_doubt:
            self._in_doubt = False
            self._resume()
        self.stats.commits += 1
        self.stats.committed_runs += len(unit.runs)
        return committed

    def _gaps_with(self, gap: Gap) -> list[Any]:
        known = self._store.mark(GAPS_MARK) or []
        return [*known, gap.document()][-MAX_GAPS:]

    # On the loop again.

    def _open_since(self) -> dict[str, int]:
        """Before these instants no evidence is still to come: not from runs under way, nor from the buffer."""
        earliest = dict(self._open())
        for run in self._buffer:
            earliest[run.service] = min(earliest.get(run.service, run.start_us), run.start_us)
        return earliest

    def _drop(self, run: Run) -> None:
        if self._gap is None:
            _log.error("runs dropped", held_runs=self.pending, first=format_instant(run.start_us))
        self.stats.dropped_runs += 1
        self._gap = _joined(self._gap, Gap(runs=1, from_us=run.start_us, to_us=run.start_us))

    def _failed(self, error: StoreError) -> None:
        now_us = self._clock.now_us()
        self._retry_us = min(self._retry_us * 2 or RETRY_US, MAX_RETRY_US)
        self.stats.write_failures += 1
        self.stats.last_error = error
        if self.stats.failing_since_us is None:
            self.stats.failing_since_us = now_us
            self._said_us = now_us - SAY_AGAIN_US
        if now_us - self._said_us >= SAY_AGAIN_US:
            self._said_us = now_us
            since = format_instant(self.stats.failing_since_us)
            _log.error("store failing", error=str(error), since=since, held_runs=self.pending)

    def _unanswered(self) -> None:
        if self.stats.failing_since_us is None:
            self.stats.failing_since_us = self._clock.now_us() - UNANSWERED_US
            since = format_instant(self.stats.failing_since_us)
            _log.error("store does not answer", since=since, held_runs=self.pending)

    def _recovered(self) -> None:
        if self.stats.failing_since_us is not None:
            _log.warning("store recovered", failed_since=format_instant(self.stats.failing_since_us))
        self.stats.failing_since_us = self.stats.last_error = None
        self._retry_us = 0

    def _refuse_asks(self, error: StoreError | None = None) -> None:
        """Whoever asks is told at once: a decision is not held back to be made later."""
        refusal = error or StoreError("commit to", "the ledger", "the daemon is stopping", "try again once it runs")
        while self._asks:
            _settle(self._asks.popleft().answer, refusal)


def _joined(first: Gap | None, second: Gap | None) -> Gap | None:
    if first is None or second is None:
        return first or second
    runs = first.runs + second.runs
    return Gap(runs, min(first.from_us, second.from_us), max(first.to_us, second.to_us))


def _settle(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _together(owed: Unit, unit: Unit) -> Unit:
    """One unit of two, what was owed first."""
    return replace(
        unit,
        facts=(*owed.facts, *unit.facts),
        spans=(*owed.spans, *unit.spans),
        marks={**owed.marks, **unit.marks},
        outbox=(*owed.outbox, *unit.outbox),
    )

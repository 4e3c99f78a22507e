"""One run while it goes on: a first attempt, which is all there is of most runs, and what follows on one that failed.

What most runs do is done in one task and one turn of the loop: nobody waits for a first attempt in a task of his own,
no future is made for its end, and one timer serves the guards of all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, NamedTuple, Protocol

import probes
from monitor.clock import Clock, Timer
from monitor.controls import forget
from monitor.core.run import Outcome, Run
from monitor.plan import GUARD_US, Plan, longest_us
from probes import InconclusiveReason, Result

Over = Callable[[BaseException | None], None]
"""Called once when a run is over: with the fault of the program that ended it, if one did."""

_NEVER = 1 << 63


class Attempt(NamedTuple):
    """One attempt as judged: what it says, after our own faults were taken out of it."""

    outcome: Outcome
    reason: str | None
    result: Result


class Attempts(Protocol):
    """What a run asks of its runner."""

    async def answer(self, plan: Plan) -> Result:
        """What one attempt's probe says, begun now."""

    def judged(self, result: Result, begun_ns: int) -> Attempt:
        """What an attempt that began then says, after our own faults were taken out of it."""

    async def guarded(self, plan: Plan, task: asyncio.Task[Result], waits_us: Sequence[int]) -> Result:
        """The probe's answer, or that it ignored its deadline and was cut off."""

    async def rest(self, plan: Plan, attempts: list[Attempt]) -> int:
        """The attempts that are left, appended; the instant at which they ended."""

    def record(self, plan: Plan, attempts: Sequence[Attempt], *, start_us: int, slot_us: int, duration_us: int) -> Run:
        """The run that the attempts make."""

    def abandon(self, task: asyncio.Task[Any]) -> None:
        """Wait no more for a task that was cancelled."""


class Guards:
    """Rings for each run whose first attempt is overdue; one timer, set for the first of them."""

    __slots__ = ("_due_ns", "_timer", "_watched", "clock")

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._watched: dict[Underway, int] = {}
        self._timer: Timer | None = None
        self._due_ns = _NEVER

    def watch(self, run: Underway, at_ns: int, now_ns: int) -> None:
        """Call `overdue` of a run at an instant of the monotonic clock, never before, unless it is forgotten first."""
        self._watched[run] = at_ns
        if at_ns < self._due_ns:
            self._set(at_ns, now_ns)

    def forget(self, run: Underway) -> None:
        """Do not ring for it any more; nothing if it rang."""
        self._watched.pop(run, None)

    def _set(self, at_ns: int, now_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due_ns = at_ns
        self._timer = self.clock.call_after(max(1, -((now_ns - at_ns) // 1000)), self._ring)

    def _ring(self) -> None:
        self._timer, self._due_ns = None, _NEVER
        now_ns = self.clock.now_ns()
        for run in [run for run, at_ns in self._watched.items() if at_ns <= now_ns]:
            del self._watched[run]
            run.overdue()
        if self._watched:
            self._set(min(self._watched.values()), now_ns)


class Underway:
    """One run under way. Awaiting it waits for its end; a fault of the program that ended it is raised there."""

    __slots__ = (
        "_begins",
        "_begun_ns",
        "_ended",
        "_error",
        "_future",
        "_guards",
        "_is_over",
        "_others_wait",
        "_over",
        "_plan",
        "_runner",
        "_slot_us",
        "_start_us",
        "_task",
    )

    def __init__(
        self,
        runner: Attempts,
        guards: Guards,
        plan: Plan,
        slot_us: int,
        begins: Callable[[], bool],
        ended: Callable[[Run, int], None],
        over: Over,
    ) -> None:
        self._runner, self._guards, self._plan, self._slot_us = runner, guards, plan, slot_us
        self._begins, self._ended, self._over = begins, ended, over
        self._start_us = self._begun_ns = 0
        self._is_over = self._others_wait = False
        self._error: BaseException | None = None
        self._future: asyncio.Future[None] | None = None
        self._task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(self._first())

    def cancel(self) -> None:
        """End it without a run; nothing if it is over."""
        if not self._is_over:
            self._finish(None, cancelled=True)
            self._task.cancel()
            self._runner.abandon(self._task)

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is over; cancelling that cancels the run."""
        if self._is_over:
            if self._error is not None:
                raise self._error
            return
        self._future = asyncio.get_running_loop().create_future()
        try:
            yield from self._future
        finally:
            self.cancel()

    async def _first(self) -> Result:
        """The first attempt, and the whole run where that passes; what it says is for whoever waits if overdue."""
        try:
            if not self._begins():
                self._finish(None)
                return internal("nothing was begun")
            clock, plan = self._guards.clock, self._plan
            self._start_us, self._begun_ns = clock.now_us(), clock.now_ns()
            self._guards.watch(self, self._begun_ns + longest_us(plan) * 1000, self._begun_ns)
            try:
                result = await self._runner.answer(plan)
            except asyncio.CancelledError:
                if self._is_over or self._others_wait:
                    raise
                result = internal("the probe cancelled itself")
            end_ns = clock.now_ns()
            if self._is_over or self._others_wait:
                return result
            attempts = [self._runner.judged(result, self._begun_ns)]
            if attempts[0].outcome is Outcome.PASS:
                self._end(attempts, end_ns)
            else:
                self._guards.forget(self)
                self._wait_for(self._others(attempts))
        except Exception as error:  # noqa: BLE001 - a fault of the program goes to whoever began the run
            self._finish(error)
            return internal("the run broke")
        return result

    def overdue(self) -> None:
        """The first attempt should have ended long ago: from here on somebody waits for it."""
        self._others_wait = True
        self._wait_for(self._overdue_first(self._task))

    async def _overdue_first(self, first: asyncio.Task[Result]) -> None:
        # A second time, as after a stall the guard may ring before the probe had its own grace turn.
        result = await self._runner.guarded(self._plan, first, (GUARD_US,))
        await self._others([self._runner.judged(result, self._begun_ns)])

    async def _others(self, attempts: list[Attempt]) -> None:
        end_ns = await self._runner.rest(self._plan, attempts)
        if not self._is_over:
            self._end(attempts, end_ns)

    def _wait_for(self, story: Coroutine[None, None, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(story)
        self._task.add_done_callback(self._others_ended)

    def _others_ended(self, task: asyncio.Task[None]) -> None:
        if self._is_over:
            forget(task)
        elif task.cancelled():
            self._finish(None, cancelled=True)
        else:
            self._finish(task.exception() or RuntimeError("a run ended without its end"))

    def _end(self, attempts: Sequence[Attempt], end_ns: int) -> None:
        duration_us = max(0, end_ns - self._begun_ns) // 1000
        run = self._runner.record(
            self._plan, attempts, start_us=self._start_us, slot_us=self._slot_us, duration_us=duration_us
        )
        self._ended(run, self._begun_ns)
        self._finish(None)

    def _finish(self, error: BaseException | None, *, cancelled: bool = False) -> None:
        if self._is_over:
            return
        self._is_over, self._error = True, error
        self._guards.forget(self)
        if self._future is not None and not self._future.done():
            if cancelled:
                self._future.cancel()
            elif error is None:
                self._future.set_result(None)
            else:
                self._future.set_exception(error)
        self._over(error)


def internal(message: str) -> Result:
    """An attempt that says nothing of its target, by a fault of our own."""
    return Result(outcome=probes.Outcome.INCONCLUSIVE, reason=InconclusiveReason.INTERNAL, message=message)

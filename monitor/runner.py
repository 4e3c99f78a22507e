"""From a due slot to exactly one Run: attempts, confirmation, controls, deadlines, whose fault it was (CONTRACT 2.1).

A fault of ours is never a failure of theirs: a run fails only after the probe failed, the controls answered, the
confirming probe failed, and the controls answered again (FAULTS, rule 1). A crash, a hang or a stall is inconclusive
with its reason. This is the only place that turns a probe's `Result` into the ledger's `Run`.
"""

from __future__ import annotations

import asyncio
import errno
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import probes
from monitor.clock import Clock
from monitor.controls import Control, Controls, Ground, forget, pause
from monitor.core.instant import SECOND_US
from monitor.core.run import Outcome, Run, StepRecord
from monitor.plan import GUARD_US, Plan, longest_us
from monitor.underway import Attempt, Guards, Over, Underway, internal
from probes import FailReason, InconclusiveReason, Result, transaction

ASKED_ANEW_US = SECOND_US + SECOND_US // 5
"""After a failure in which nobody was heard, the confirmation ends no earlier than this after the controls were found.
The kernel asks a link once a second who has an address: of one that it did not find while our own link was down,
nothing is known before it has asked again, and whoever's time-out is shorter would confirm our own fault."""

MAX_MESSAGE = 1000
MAX_ABANDONED = 1000

T = TypeVar("T")

_OURS = {
    probes.Outcome.PASS: Outcome.PASS,
    probes.Outcome.FAIL: Outcome.FAIL,
    probes.Outcome.INCONCLUSIVE: Outcome.INCONCLUSIVE,
}

_PHASES = {phase: phase.value for phase in probes.Phase}


@dataclass(slots=True)
class RunnerStats:
    """What telemetry reads: probes that had to be cut off."""

    cut_off: int = 0


class Runner:
    """Runs checks from one location.

    `stood_still(from_ns, to_ns)` says whether our loop stopped for a while between two instants of the monotonic clock:
    then what an attempt measured of time proves nothing.
    """

    def __init__(
        self,
        *,
        location: str,
        clock: Clock,
        network: probes.Network,
        secret: Callable[[str], str],
        controls: Sequence[Control] = (),
        stood_still: Callable[[int, int], bool] = lambda _from_ns, _to_ns: False,
    ) -> None:
        self.location = location
        self.stats = RunnerStats()
        self._clock = clock
        self._network = network
        self._secret = secret
        self.controls = Controls(controls, clock=clock, network=network, secret=secret)
        self._stood_still = stood_still
        self._guards = Guards(clock)
        self._abandoned: set[asyncio.Task[Result]] = set()

    async def run(self, plan: Plan, slot_us: int) -> Run:
        """The run of a slot. Never raises but CancelledError."""
        ended: list[Run] = []
        await self.begin(plan, slot_us, ended=lambda run, _begun_ns: ended.append(run))
        return ended[0]

    def begin(
        self,
        plan: Plan,
        slot_us: int,
        *,
        begins: Callable[[], bool] = lambda: True,
        ended: Callable[[Run, int], None],
        over: Over = lambda _error: None,
    ) -> Underway:
        """Begin the run of a slot.

        `begins` is asked once the loop gets to it: on an overloaded one that alone may be too late, and then there is
        no run. `ended` is given the run and the monotonic instant of its beginning; `over` is called once, whatever
        became of it, with the fault of the program that ended it, if one did.
        """
        return Underway(self, self._guards, plan, slot_us, begins, ended, over)

    def late(self, plan: Plan, slot_us: int) -> Run:
        """The run of a slot that could not start in time by our own fault (CONTRACT 2.1.4), stamped with its slot."""
        return Run(
            service=plan.service,
            check=plan.check,
            location=self.location,
            start_us=slot_us,
            slot_us=slot_us,
            outcome=Outcome.INCONCLUSIVE,
            reason=InconclusiveReason.LATE.value,
            attempts=0,
        )

    async def probe_once(self, plan: Plan) -> Result:
        """One attempt with everything it showed, for `jaga probe`. Never raises but CancelledError."""
        return (await self._attempt(plan)).result

    async def _confirmed(self, plan: Plan, attempts: Sequence[Attempt]) -> Attempt:
        """The last attempt; a fail stands only when an attempt before it failed too and the controls are still good."""
        last = attempts[-1]
        if last.outcome is not Outcome.FAIL:
            return last
        doubts = [earlier for earlier in attempts if earlier.outcome is not Outcome.FAIL]
        if plan.attempts > 1 and len(attempts) - len(doubts) < 2:  # noqa: PLR2004 - a failure and its confirmation
            return Attempt(Outcome.INCONCLUSIVE, doubts[-1].reason, last.result)
        doubt = _doubt(last, await self._ground())
        return _void(last, doubt) if doubt else last

    async def rest(self, plan: Plan, attempts: list[Attempt]) -> int:
        """The attempts that are left and what confirms the last of them, appended; the instant at which they ended."""
        while not attempts or (len(attempts) < plan.attempts and attempts[-1].outcome is not Outcome.PASS):
            is_last = len(attempts) == plan.attempts - 1
            if is_last and _failed(attempts) and (doubt := await self._doubt_before(plan, attempts[-1])):
                attempts[-1] = _void(attempts[-1], doubt)
                break
            attempts.append(await self._attempt(plan))
        end_ns = self._clock.now_ns()
        attempts[-1] = await self._confirmed(plan, attempts)
        return end_ns

    async def _attempt(self, plan: Plan) -> Attempt:
        begun_ns = self._clock.now_ns()
        task = asyncio.ensure_future(self.answer(plan))
        return self.judged(await self.guarded(plan, task, (longest_us(plan), GUARD_US)), begun_ns)

    async def answer(self, plan: Plan) -> Result:
        """What one attempt's probe says, begun now. What it raises says whose fault it was: SystemExit too is a crash,
        of the probe alone.
        """
        try:
            now_ns = self._clock.now_ns
            deadline_ns = now_ns() + plan.timeout_us * 1000
            ctx = probes.Context(now_ns, deadline_ns, self._network, self._secret, self._clock.now_us)
            return await transaction.run(plan.transaction, ctx)
        except probes.ProbeError as error:
            return Result(outcome=probes.Outcome.FAIL, reason=error.reason, message=error.message)
        except probes.OwnFault as error:
            return Result(outcome=probes.Outcome.INCONCLUSIVE, reason=error.reason, message=error.message)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a probe does wrong is ours (CONTRACT 2.1.1)
            return internal(_describe(error))

    def judged(self, result: Result, begun_ns: int) -> Attempt:
        """What an attempt that began then says, after our own faults were taken out of it."""
        attempt = Attempt(_OURS[result.outcome], result.reason.value if result.reason else None, result)
        if self._spoilt(result, begun_ns):
            return _void(attempt, InconclusiveReason.STALLED)
        return attempt

    def _spoilt(self, result: Result, begun_ns: int) -> bool:
        """Whether a failure that rests on time was measured while our own loop stood still (FAULTS, rule 2)."""
        if result.outcome is probes.Outcome.PASS:
            return False
        slow = any(assertion.endswith(".time") for step in result.steps for assertion in step.failed_assertions)
        if result.reason is not FailReason.TIMEOUT and not slow:
            return False
        return result.tainted or self._stood_still(begun_ns, self._clock.now_ns())

    async def guarded(self, plan: Plan, task: asyncio.Task[Result], waits_us: Sequence[int]) -> Result:
        """The probe's answer, or that it ignored its deadline and was cut off. It runs in a task of its own, as one
        that does not even heed its cancellation must not hold the schedule.
        """
        try:
            for wait_us in waits_us:
                await asyncio.wait([task], timeout=wait_us / 1e6)
                if task.done():
                    return _outcome_of(task)
            task.cancel()
            await asyncio.wait([task], timeout=GUARD_US / 1e6)
        finally:
            if not task.done():
                task.cancel()
                self.abandon(task)
        self.stats.cut_off += 1
        return internal(f"the probe of {plan.check} ignored its deadline and was cut off")

    def abandon(self, task: asyncio.Task[Any]) -> None:
        """Wait no more for a task that was cancelled."""
        if len(self._abandoned) < MAX_ABANDONED:
            self._abandoned.add(task)  # the loop itself keeps no reference
            task.add_done_callback(self._abandoned.discard)
        task.add_done_callback(forget)

    async def _ground(self) -> Ground | None:
        """What the controls say now; None for a location without any."""
        return await self.controls.ask() if self.controls else None

    async def _doubt_before(self, plan: Plan, failure: Attempt) -> InconclusiveReason | None:
        """Why a failure need not be confirmed; None when the confirmation may begin, at once. What breaks in our own
        network between the controls' answer and the confirmation is seen by neither bracket.
        """
        ground = await self._ground()
        if ground is None:
            return None
        if doubt := _doubt(failure, ground):
            return doubt
        # The confirmation of a silence lasts until the kernel has asked once more for whom it did not find.
        early_us = (ground.found_ns - self._clock.now_ns()) // 1000 + ASKED_ANEW_US - plan.timeout_us
        if early_us <= 0 or not _was_silence(failure):
            return None
        await pause(self._clock, early_us)
        return _doubt(failure, await self._ground())

    def record(self, plan: Plan, attempts: Sequence[Attempt], *, start_us: int, slot_us: int, duration_us: int) -> Run:
        """The run that the attempts make."""
        last = attempts[-1]
        return Run(
            service=plan.service,
            check=plan.check,
            location=self.location,
            start_us=start_us,
            slot_us=slot_us,
            outcome=last.outcome,
            reason=last.reason,
            duration_us=max(0, duration_us),
            attempts=len(attempts),
            step=last.result.step,
            message=None if last.result.message is None else last.result.message[:MAX_MESSAGE],
            tainted=any(attempt.result.tainted for attempt in attempts),
            steps=tuple([_step(trace) for trace in last.result.steps]),
        )


def _doubt(failure: Attempt, ground: Ground | None) -> InconclusiveReason | None:
    """Why a failure proves nothing of the target: our own network does not work, or our own resolver, where the target
    has a name. A resolver that lies is a resolver that does not work.
    """
    if ground is None:
        return None
    asked_for_a_name = failure.reason == FailReason.DNS or probes.Phase.RESOLVE in failure.result.phases_ns
    trusted = ground.network and (ground.names or not asked_for_a_name)
    return None if trusted else ground.blame


def _was_silence(failure: Attempt) -> bool:
    """Whether nobody may have been heard: no connection was made, and no word came."""
    phases = failure.result.steps[-1].phases_ns.keys() if failure.result.steps else frozenset()
    connected = probes.Phase.CONNECT in phases and len(phases - {probes.Phase.RESOLVE}) > 1
    return failure.reason in {FailReason.TIMEOUT, FailReason.CONNECT} and not connected


def _failed(attempts: Sequence[Attempt]) -> bool:
    return bool(attempts) and attempts[-1].outcome is Outcome.FAIL


def _void(attempt: Attempt, reason: InconclusiveReason) -> Attempt:
    return Attempt(Outcome.INCONCLUSIVE, reason.value, attempt.result)


def _outcome_of(task: asyncio.Task[T]) -> T | Result:
    return internal("the probe cancelled itself") if task.cancelled() else task.result()


def _describe(error: BaseException) -> str:
    """What broke and where, in words that cannot hold a secret: never the exception's own text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else ""
    number = errno.errorcode.get(error.errno, "") if isinstance(error, OSError) and error.errno else ""
    return f"the probe broke: {type(error).__name__}{' ' + number if number else ''}{where}"[:MAX_MESSAGE]


def _step(trace: probes.StepTrace) -> StepRecord:
    return StepRecord(
        name=trace.name,
        duration_us=trace.duration_ns // 1000,
        phases_us=tuple([(_PHASES[phase], spent_ns // 1000) for phase, spent_ns in trace.phases_ns.items()]),
        target=trace.target,
        http_status=trace.http_status,
        cert_not_after_s=trace.cert_not_after_s,
        failed_assertions=trace.failed_assertions,
        error=trace.error,
        final=trace.final,
    )

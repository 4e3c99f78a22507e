"""One attempt at a transaction: its steps in order, what they showed, and the steps of `finally`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

from probes import (
    PASS,
    Context,
    FailReason,
    InconclusiveReason,
    Notes,
    Outcome,
    OwnFault,
    Phase,
    ProbeError,
    Result,
    StepTrace,
    load,
    template,
)
from probes._answer import Answer
from probes._judge import Failed, Judge, shown
from probes._steps import Spec, Step, finally_budget_ns
from probes.extract import extract
from probes.secret import MASK, Scrubber

LATE_NS = 100_000_000
_NOTHING: dict[str, Any] = {}
_NO_PHASES: dict[Phase, int] = {}
_MAX_MESSAGE = 1_000
_PROVED_BY_WORDS = frozenset({FailReason.HTTP_STATUS, FailReason.ASSERTION, FailReason.SCRIPT})


async def run(spec: Spec, ctx: Context) -> Result:
    """One attempt. Exceptions but ProbeError and OwnFault pass through: they are INTERNAL, the caller says so."""
    attempt = _Attempt(spec, ctx)
    ending: _Ending | None = None
    step = spec.steps[0]
    try:
        for step in spec.steps:  # up to the first that fails
            await attempt.take(step)
    except ProbeError as failure:
        ending = attempt.failed(failure.reason, failure.message)
    except OwnFault as fault:
        ending = attempt.inconclusive(fault.reason, fault.message)
    except _Failure as failure:
        ending = attempt.unmet(step, failure.failed)
    except asyncio.CancelledError:
        raise
    except BaseException:
        await attempt.finals()
        raise
    phases_ns, facts, tainted = attempt.phases_ns, attempt.facts, ctx.tainted
    if spec.finally_:
        await attempt.finals()
    if ending is None:
        return Result(PASS, None, None, None, phases_ns, facts, tuple(attempt.traces), tainted)
    return Result(
        outcome=ending.outcome,
        reason=ending.reason,
        step=step.name,
        message=ending.message,
        phases_ns=phases_ns,
        facts=facts,
        steps=tuple(attempt.traces),
        tainted=tainted,
    )


class _Ending(NamedTuple):
    """How an attempt ended that did not pass."""

    outcome: Outcome
    reason: FailReason | InconclusiveReason
    message: str


class _Failure(Exception):  # noqa: N818 - carries the failed assertions up to the trace
    def __init__(self, failed: list[Failed]) -> None:
        super().__init__(failed)
        self.failed = failed


class _Attempt:
    """One attempt under way: its traces, its scrubber, the sum of its phases."""

    __slots__ = ("_ctx", "_scrubber", "_spec", "_timeout_ns", "facts", "phases_ns", "traces")

    def __init__(self, spec: Spec, ctx: Context) -> None:
        self._spec, self._ctx = spec, ctx
        self._timeout_ns = ctx.deadline_ns - ctx.now_ns() if spec.finally_ else 0
        self._scrubber = scrubber = Scrubber(ctx.secret)
        ctx.secret = scrubber.lookup
        ctx.confide = scrubber.remember
        self.phases_ns: Mapping[Phase, int] = _NO_PHASES
        self.facts: dict[str, Any] = {}
        self.traces: list[StepTrace] = []

    def unmet(self, step: Step, failed: list[Failed]) -> _Ending:
        first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        if first.id == f"{step.name}.time" and self._ctx.tainted:
            return self.inconclusive(InconclusiveReason.STALLED, first.message)
        return self.failed(first.reason, first.message + more)

    def failed(self, reason: FailReason, message: str) -> _Ending:
        if self._ctx.tainted and reason not in _PROVED_BY_WORDS:
            return self.inconclusive(InconclusiveReason.STALLED, f"the monitor itself stood still: {message}")
        return _Ending(Outcome.FAIL, reason, self._clean(message))

    def inconclusive(self, reason: InconclusiveReason, message: str) -> _Ending:
        return _Ending(Outcome.INCONCLUSIVE, reason, self._clean(message))

    def _clean(self, message: str) -> str:
        clean = "".join(c if c.isprintable() else " " for c in self._scrubber.scrub(message))
        return clean if len(clean) <= _MAX_MESSAGE else clean[:_MAX_MESSAGE] + "…"

    async def take(self, step: Step, *, final: bool = False) -> None:
        """Probe, judge, extract; the trace is written whatever happens."""
        ctx = self._ctx
        if self.traces:  # the first step has those that the context was made with
            ctx.phases_ns, ctx.notes = {}, Notes()
        kind = load(step.kind)
        start_ns = ctx.now_ns()
        end_ns = 0
        trouble: tuple[str, tuple[str, ...]] | None = None
        extracted = _NOTHING
        watch = None if step.expect.time is None else _TimeWatch(step.expect.time.limit, ctx, start_ns)
        try:
            if start_ns >= ctx.deadline_ns:
                self._refuse_to_begin(start_ns)
            facts = (await kind.probe(step.spec, ctx)).facts
            end_ns = ctx.now_ns()
            if watch is not None:
                watch.stop()
            self.facts = facts
            facts["duration_ns"] = end_ns - start_ns
            if step.extract or not step.expect.plainly_met(facts):
                extracted = await self._examine(step, facts)
                ctx.variables.update(extracted)
        except (ProbeError, OwnFault) as error:
            trouble = error.message, ()
            raise
        except _Failure as failure:
            trouble = failure.failed[0].message, tuple(f.id for f in failure.failed)
            raise
        finally:
            if watch is not None:
                watch.stop()
            duration_ns = (end_ns or ctx.now_ns()) - start_ns
            phases_ns = ctx.phases_ns
            target, notes = kind.target(step.spec), ctx.notes
            trace = StepTrace(
                step.name, step.kind, duration_ns, phases_ns, target, notes.http_status, notes.cert_not_after_s
            )
            if trouble or extracted or final or notes.redirects:
                trace = self._told(trace, trouble, extracted, final=final)
            self.traces.append(trace)
            # Nobody adds to the phases of a step that is over.
            self.phases_ns = _sum(self.phases_ns, phases_ns) if self.phases_ns else phases_ns

    def _refuse_to_begin(self, now_ns: int) -> NoReturn:
        """No step begins after the deadline; one missed by far, with nothing waiting on it, is our own stall."""
        self._ctx.tainted = self._ctx.tainted or now_ns - self._ctx.deadline_ns > LATE_NS
        raise ProbeError(FailReason.TIMEOUT, "no time was left to begin")

    async def _examine(self, step: Step, facts: dict[str, Any]) -> dict[str, Any]:
        ctx = self._ctx
        if step.expect.certificate is not None:
            facts |= {
                "chain": ctx.notes.chain,
                "cert_not_after_s": ctx.notes.cert_not_after_s,
                "wall_us": ctx.wall_us(),
            }
        answer = Answer(facts)
        judge = Judge(step.name, answer, template.Expander(ctx.secret, ctx.variables), self._scrubber.scrub)
        await judge.judge(step.expect)
        if judge.failed:
            raise _Failure(judge.failed)
        values = await extract(step.extract, answer)
        for name in values.keys() & self._spec.confidential:
            self._scrubber.remember(template.as_text(values[name]))
        return values

    def _told(
        self,
        trace: StepTrace,
        trouble: tuple[str, tuple[str, ...]] | None,
        extracted: Mapping[str, Any],
        *,
        final: bool,
    ) -> StepTrace:
        """A trace with what is not to be said of most steps."""
        return replace(
            trace,
            failed_assertions=trouble[1] if trouble else (),
            error=self._clean(trouble[0]) if trouble else None,
            final=final,
            redirects=tuple(map(self._clean, self._ctx.notes.redirects)),
            extracted={name: self._show(name, value) for name, value in extracted.items()},
        )

    def _show(self, name: str, value: Any) -> str:  # noqa: ANN401 - a JSON value
        return MASK if name in self._spec.confidential else shown(template.as_text(value), self._scrubber.scrub)

    async def finals(self) -> None:
        """The steps of `finally`, on time of their own; nothing in them ends or changes the attempt."""
        if not self._spec.finally_:
            return
        self._ctx.deadline_ns = self._ctx.now_ns() + finally_budget_ns(max(self._timeout_ns, 0))
        for step in self._spec.finally_:
            missing = sorted(step.variables - self._ctx.variables.keys())
            if missing:
                self._skip(step, f"skipped: {', '.join(missing)} was never extracted")
                continue
            await self._ended_by_nothing(step)

    async def _ended_by_nothing(self, step: Step) -> None:
        try:
            await self.take(step, final=True)
        except (ProbeError, OwnFault, _Failure):
            return  # it stands in the trace

    def _skip(self, step: Step, why: str) -> None:
        self._ctx.phases_ns, self._ctx.notes = {}, Notes()
        trace = StepTrace(step.name, step.kind, 0, target=load(step.kind).target(step.spec))
        self.traces.append(self._told(trace, (why, ()), {}, final=True))


def _sum(some_ns: Mapping[Phase, int], more_ns: Mapping[Phase, int]) -> dict[Phase, int]:
    return {phase: some_ns.get(phase, 0) + more_ns.get(phase, 0) for phase in {**some_ns, **more_ns}}


class _TimeWatch:
    """Looks at the clock when a step's `time` limit ends: if that look comes late, the loop stood still meanwhile."""

    __slots__ = ("_at_ns", "_ctx", "_timer")

    def __init__(self, limit_us: int, ctx: Context, start_ns: int) -> None:
        self._ctx = ctx
        self._at_ns = start_ns + limit_us * 1_000
        loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = loop.call_later(limit_us / 1e6, self._look)

    def _look(self) -> None:
        self._timer = None
        self._taint()

    def _taint(self) -> None:
        if self._ctx.now_ns() - self._at_ns > LATE_NS:
            self._ctx.tainted = True

    def stop(self) -> None:
        """The step is over. A look that is overdue never came: the loop stood still up to now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._taint()

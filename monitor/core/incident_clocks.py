"""The clocks of an incident, and the escalations that time makes due on them (CONTRACT 1.3, 2.1, 2.8, 4.1, 4.2).

Each pair has a response and a resolution clock. The partner's pair starts at its valid report and is the contract; the
internal one starts when the monitor opens the incident. Nothing here is kept: every instant is computed from the facts,
so that a later decision moves it, and an act that was made stays made.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from monitor.core.calendar import AlwaysOpen, Clock, due_us, elapsed_us
from monitor.core.incident import Act, Pair, State
from monitor.core.incident_fact import EscalationReason
from monitor.core.priority import AGREED_LEVELS, AGREED_TARGETS, ClockName, Level, Priority, Served, Target
from monitor.core.span import Span, union

_AROUND = AlwaysOpen()


class ClockState(enum.StrEnum):
    """How a clock stands. `met` and `breached` are final until the incident is reopened."""

    RUNNING = "running"
    PAUSED = "paused"
    MET = "met"
    BREACHED = "breached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """What one pair is counted by: targets, the business clock, and what is excluded for whom it belongs to."""

    business: Clock
    targets: Mapping[Priority, Target] = field(default_factory=lambda: AGREED_TARGETS)
    levels: Mapping[int, Level] = field(default_factory=lambda: AGREED_LEVELS)
    excluded: tuple[Span, ...] = ()


Countings = Mapping[Pair, Counting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One clock at one instant. `due_us` supposes that it is not paused again, nor its pause any longer.

    `provisional`: the due instant rests on a date whose holiday is not decreed yet.
    """

    pair: Pair
    clock: ClockName
    start_us: int
    target_us: int
    used_us: int
    due_us: int
    done_us: int | None
    state: ClockState
    provisional: bool

    @property
    def open(self) -> bool:
        """Whether nothing has stopped it yet."""
        return self.done_us is None


class _Leg(NamedTuple):
    """A stretch at one priority, up to the next change (None: the last): what it promises (None: nothing is counted),
    and what was used before it.
    """

    start_us: int
    end_us: int | None
    target: Target
    promised_us: int | None
    clock: Clock
    used_us: int

    def reached_us(self, threshold_us: int, holes: tuple[Span, ...]) -> int:
        """When so much is used, if the stretch lasts so long."""
        return due_us(self.start_us, threshold_us, self.clock, holes, used_us=self.used_us)


class _Course(NamedTuple):
    """All that a clock's instants follow from."""

    legs: tuple[_Leg, ...]
    holes: tuple[Span, ...]
    done_us: int | None


def readings(state: State, countings: Countings, now_us: int) -> tuple[Reading, ...]:
    """Every clock of an incident at `now_us`, in the order of its pairs, response first."""
    found = (
        _reading(state, pair, start_us, name, countings[pair], now_us)
        for pair, start_us in state.pairs
        for name in ClockName
    )
    return tuple(reading for reading in found if reading is not None)


def owed(state: State, countings: Countings, now_us: int) -> tuple[Act, ...]:
    """The escalations that are due by `now_us` and not made, by level, each with the earliest clock that made it due.

    What came due before the impact was removed stays owed after it.
    """
    return tuple(act for act in _upcoming(state, countings, now_us) if act.due_us <= now_us)


def next_act_us(state: State, countings: Countings, now_us: int) -> int | None:
    """The next instant after `now_us` at which an escalation becomes due if nothing changes; None if none will."""
    later = (act.due_us for act in _upcoming(state, countings, now_us) if act.due_us > now_us)
    return min(later, default=None)


def _upcoming(state: State, countings: Countings, now_us: int) -> Iterator[Act]:
    """The first act of each level that was not reached."""
    acts = [
        act for pair, start_us in state.pairs for act in _escalations(state, pair, start_us, countings[pair], now_us)
    ]
    for level in (2, 3):
        ours = [act for act in acts if act.level == level]
        if ours and not state.reached_level(level):
            yield min(ours, key=lambda act: (act.due_us, act.pair or "", act.reason))


def _escalations(state: State, pair: Pair, start_us: int, counting: Counting, now_us: int) -> Iterable[Act]:
    """When the resolution clock of a pair makes each level due; nothing where it was stopped before.

    Each stretch is asked for itself: what a decision about the past makes due before a change of priority is owed.
    """
    # A pause that still holds does so at `now_us` too: what was used up before it is no act within it.
    course = _course(state, pair, start_us, ClockName.RESOLUTION, counting, now_us + 1)
    for leg in course.legs:
        for level, reason, threshold_us in _thresholds(leg):
            at_us = _while_unresolved(state, leg.reached_us(threshold_us, course.holes))
            ends_us = [end for end in (leg.end_us, course.done_us) if end is not None]
            if at_us is not None and at_us < min(ends_us, default=at_us + 1):
                yield Act(level, reason, at_us, pair, ClockName.RESOLUTION)


def _thresholds(leg: _Leg) -> Iterator[tuple[int, EscalationReason, int]]:
    """What of the resolution time makes which level due, and why."""
    if leg.promised_us is None:
        return
    share = leg.target.escalate_at / 100
    yield 2, EscalationReason.SHARE_USED, -(-leg.promised_us * share.numerator // share.denominator)
    if leg.target.level_2_after_us is not None:
        yield 2, EscalationReason.NO_WORKAROUND, leg.target.level_2_after_us
    if leg.target.level_3_after_us is not None:
        yield 3, EscalationReason.UNRESOLVED, leg.target.level_3_after_us


def _while_unresolved(state: State, at_us: int) -> int | None:
    """The instant, or where the impact was removed just then, the one at which it came back; None if it did not."""
    for stop in state.stops:
        if stop.start_us == at_us:
            return stop.end_us
    return at_us


def _reading(
    state: State, pair: Pair, start_us: int, name: ClockName, counting: Counting, now_us: int
) -> Reading | None:
    course = _course(state, pair, start_us, name, counting, now_us)
    last = course.legs[-1]
    if last.promised_us is None:
        return None
    due = last.reached_us(last.promised_us, course.holes)
    done_us = course.done_us
    until_us = now_us if done_us is None else done_us
    return Reading(
        pair=pair,
        clock=name,
        start_us=start_us,
        target_us=last.promised_us,
        used_us=last.used_us + elapsed_us(last.start_us, until_us, last.clock, course.holes),
        due_us=due,
        done_us=done_us,
        state=_standing(state, pair, name, counting, done_us, due, now_us),
        provisional=any(
            leg.clock.provisional(leg.start_us, due if leg.end_us is None else leg.end_us, course.holes)
            for leg in course.legs
            if leg.promised_us is not None
        ),
    )


def _standing(
    state: State, pair: Pair, name: ClockName, counting: Counting, done_us: int | None, due: int, now_us: int
) -> ClockState:
    if done_us is not None:
        return ClockState.MET if done_us <= due else ClockState.BREACHED
    if now_us > due:
        return ClockState.BREACHED
    waiting = any(pause.pair == pair and pause.clock in {None, name} and pause.end_us is None for pause in state.pauses)
    excluded = name is ClockName.RESOLUTION and any(span.contains(now_us) for span in counting.excluded)
    well = pair is None and state.well_since_us is not None
    return ClockState.PAUSED if waiting or excluded or well else ClockState.RUNNING


def _course(state: State, pair: Pair, start_us: int, name: ClockName, counting: Counting, now_us: int) -> _Course:
    done_us = _done_us(state, name)
    if done_us is not None:
        done_us = max(done_us, start_us)
    holes = _holes(state, pair, name, counting, done_us, now_us)
    return _Course(tuple(_legs(state, start_us, name, counting, done_us, holes)), holes, done_us)


def _done_us(state: State, name: ClockName) -> int | None:
    """What stopped a clock: acknowledgement and assignment (or else the close); or the removal of the impact."""
    if name is ClockName.RESPONSE:
        if state.acknowledged_us is None or state.assigned_us is None:
            return state.closed_us
        return max(state.acknowledged_us, state.assigned_us)
    last = state.stops[-1] if state.stops else None
    return last.start_us if last is not None and last.end_us is None else None


def _legs(
    state: State, start_us: int, name: ClockName, counting: Counting, done_us: int | None, holes: tuple[Span, ...]
) -> Iterator[_Leg]:
    """The stretches of the clock's life, each counted on its own hours. What came after it stopped is not one."""
    at_start = [priority for since_us, priority in state.priorities if since_us <= start_us]
    changes = [
        (since_us, priority)
        for since_us, priority in state.priorities[1:]
        if since_us > start_us and (done_us is None or since_us < done_us)
    ]
    stretches = [(start_us, at_start[-1] if at_start else state.priorities[0][1]), *changes]
    ends = [*(since_us for since_us, _priority in changes), None]
    used_us = 0
    for (since_us, priority), end_us in zip(stretches, ends, strict=True):
        target = counting.targets[priority]
        promised_us = target.response_us if name is ClockName.RESPONSE else target.resolution_us
        clock = _AROUND if target.hours is Served.AROUND else counting.business
        yield _Leg(since_us, end_us, target, promised_us, clock, used_us)
        if promised_us is not None and end_us is not None:
            used_us += elapsed_us(since_us, end_us, clock, holes)


def _holes(
    state: State, pair: Pair, name: ClockName, counting: Counting, done_us: int | None, now_us: int
) -> tuple[Span, ...]:
    """What is taken off a clock: waiting for the partner, exclusions (resolution only), time without the impact."""
    spans = [
        Span(pause.start_us, now_us if pause.end_us is None else pause.end_us)
        for pause in state.pauses
        if pause.pair == pair and pause.clock in {None, name}
    ]
    if pair is None:
        spans += [Span(stop.start_us, now_us if stop.end_us is None else stop.end_us) for stop in state.restored]
    if name is ClockName.RESOLUTION:
        spans += counting.excluded
        spans += [Span(stop.start_us, stop.end_us) for stop in state.stops if stop.end_us is not None]
    if done_us is not None:
        spans = [Span(span.start_us, min(span.end_us, done_us)) for span in spans]
    return union(spans)

"""An incident's life as a state machine: which event may follow which, and what each leaves behind (CONTRACT 1.3, 4.2).

`step` folds one fact. What an event makes necessary by itself comes out as acts with their reasons; what time makes
necessary is told by `incident_clocks`. A fact that cannot follow is answered by why, and the same answer refuses a
command and ignores an imported line.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from monitor.core.incident_fact import Cause, EscalationReason, Incident, IncidentEvent
from monitor.core.instant import format_instant
from monitor.core.priority import ClockName, Priority

Pair = str | None
"""Whose pair of clocks: a partner's contractual one, or None for the internal one."""


class Phase(enum.StrEnum):
    """Where an incident stands."""

    REPORTED = "reported"
    ACKNOWLEDGED = "acknowledged"
    ASSIGNED = "assigned"
    WORKAROUND = "workaround"
    FIXED = "fixed"
    CLOSED = "closed"
    REOPENED = "reopened"


# The whole machine: from a phase by an event to the next phase. What is not here is refused.
MOVES: Mapping[Phase, Mapping[IncidentEvent, Phase]] = MappingProxyType(
    {
        Phase.REPORTED: {
            IncidentEvent.ACKNOWLEDGED: Phase.ACKNOWLEDGED,
            IncidentEvent.ASSIGNED: Phase.ASSIGNED,
            IncidentEvent.WORKAROUND: Phase.WORKAROUND,
            IncidentEvent.FIXED: Phase.FIXED,
        },
        Phase.ACKNOWLEDGED: {
            IncidentEvent.ASSIGNED: Phase.ASSIGNED,
            IncidentEvent.WORKAROUND: Phase.WORKAROUND,
            IncidentEvent.FIXED: Phase.FIXED,
        },
        Phase.ASSIGNED: {
            IncidentEvent.ACKNOWLEDGED: Phase.ASSIGNED,
            IncidentEvent.ASSIGNED: Phase.ASSIGNED,
            IncidentEvent.WORKAROUND: Phase.WORKAROUND,
            IncidentEvent.FIXED: Phase.FIXED,
        },
        Phase.WORKAROUND: {
            IncidentEvent.ACKNOWLEDGED: Phase.WORKAROUND,
            IncidentEvent.ASSIGNED: Phase.WORKAROUND,
            IncidentEvent.FIXED: Phase.FIXED,
            IncidentEvent.REOPENED: Phase.REOPENED,
            IncidentEvent.CLOSED: Phase.CLOSED,
        },
        Phase.FIXED: {
            IncidentEvent.ACKNOWLEDGED: Phase.FIXED,
            IncidentEvent.ASSIGNED: Phase.FIXED,
            IncidentEvent.REOPENED: Phase.REOPENED,
            IncidentEvent.CLOSED: Phase.CLOSED,
        },
        Phase.CLOSED: {
            IncidentEvent.REOPENED: Phase.REOPENED,
        },
        Phase.REOPENED: {
            IncidentEvent.ACKNOWLEDGED: Phase.REOPENED,
            IncidentEvent.ASSIGNED: Phase.REOPENED,
            IncidentEvent.WORKAROUND: Phase.WORKAROUND,
            IncidentEvent.FIXED: Phase.FIXED,
        },
    },
)
# Events that move no phase, and happen in any that is not closed.
ASIDE = frozenset(
    {
        IncidentEvent.REPORTED,
        IncidentEvent.SUPPLIED,
        IncidentEvent.ASKED,
        IncidentEvent.PAUSED,
        IncidentEvent.RESUMED,
        IncidentEvent.PRIORITY,
        IncidentEvent.LINKED,
        IncidentEvent.RESTORED,
        IncidentEvent.REQUESTED,
        IncidentEvent.ESCALATED,
        IncidentEvent.PLAN,
        IncidentEvent.CALL,
    },
)
# An act that was slept through is made up for after the close; a plan may be late too.
EVEN_CLOSED = frozenset({IncidentEvent.ESCALATED, IncidentEvent.PLAN, IncidentEvent.CALL, IncidentEvent.SUPPLIED})
RESOLVED = frozenset({Phase.WORKAROUND, Phase.FIXED, Phase.CLOSED})


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which a pair's clock (None: both) waits for the partner; `end_us` None while it does."""

    pair: Pair
    clock: ClockName | None
    start_us: int
    end_us: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """The impact was gone from `start_us` until the incident was reopened (None: it was not)."""

    start_us: int
    end_us: int | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """A level that was escalated to: when it was due, when the act was made, and why."""

    level: int
    due_us: int
    at_us: int
    reason: EscalationReason
    pair: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """An incident after some of its facts. `pairs` are (whose, from when); `priorities` (from when, which)."""

    id: str
    service: str
    summary: str
    cause: Cause
    opened_us: int
    phase: Phase
    pairs: tuple[tuple[Pair, int], ...]
    priorities: tuple[tuple[int, Priority], ...]
    found_us: int
    outages: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    acknowledged_us: int | None = None
    assigned_us: int | None = None
    assignee: str | None = None
    closed_us: int | None = None
    stops: tuple[Stop, ...] = ()
    pauses: tuple[Pause, ...] = ()
    restored: tuple[Stop, ...] = ()
    reached: tuple[Reached, ...] = ()
    last_us: int = 0

    @property
    def priority(self) -> Priority:
        """The one in force."""
        return self.priorities[-1][1]

    @property
    def level(self) -> int:
        """The highest level reached; 0 before the first."""
        return max((reached.level for reached in self.reached), default=0)

    @property
    def resolved(self) -> bool:
        """Whether a workaround or a fix removed the impact, and it has not come back."""
        return self.phase in RESOLVED

    @property
    def well_since_us(self) -> int | None:
        """Since when the monitor sees the service well again: closing is proposed. None while it does not."""
        last = self.restored[-1] if self.restored else None
        return last.start_us if last is not None and last.end_us is None else None

    @property
    def partners(self) -> tuple[str, ...]:
        """The partners that reported it."""
        return tuple(pair for pair, _start_us in self.pairs if pair is not None)

    def reached_level(self, level: int) -> bool:
        """Whether that level was escalated to."""
        return any(reached.level == level for reached in self.reached)


class Act(NamedTuple):
    """What has to be done: escalate to a level, why, since when it is due, and by whose clock."""

    level: int
    reason: EscalationReason
    due_us: int
    pair: Pair
    clock: ClockName | None = None
    note: str | None = None


class Step(NamedTuple):
    """What a fact leads to."""

    state: State
    acts: tuple[Act, ...] = ()


@dataclass(frozen=True, slots=True)
class Illegal:
    """Why a fact cannot follow."""

    reason: str


def step(state: State | None, fact: Incident) -> Step | Illegal:
    """The state after a fact and the acts it calls for, or why it cannot follow. None is before the opening."""
    if state is None:
        if fact.event is not IncidentEvent.OPENED:
            return Illegal(f"there is no incident {fact.id}")
        return _opened(fact)
    why = _why_not(state, fact)
    if why is not None:
        return Illegal(why)
    phase = MOVES[state.phase].get(fact.event, state.phase)
    moved = replace(_EFFECTS[fact.event](state, fact), phase=phase, last_us=max(state.last_us, fact.at_us))
    return Step(moved, tuple(_acts(state, fact)))


def fold(facts: Iterable[Incident]) -> dict[str, State]:
    """The incidents of facts in their order; what cannot follow is left out."""
    states: dict[str, State] = {}
    for fact in facts:
        found = step(states.get(fact.id), fact)
        if isinstance(found, Step):
            states[fact.id] = found.state
    return states


def _opened(fact: Incident) -> Step:
    assert fact.service is not None, "an opening names its service"
    assert fact.priority is not None, "an opening has its priority"
    assert fact.cause is not None, "an opening has its cause"
    state = State(
        id=fact.id,
        service=fact.service,
        summary=fact.summary or "",
        cause=fact.cause,
        opened_us=fact.at_us,
        phase=Phase.REPORTED,
        pairs=((fact.partner, fact.at_us),),
        priorities=((fact.at_us, fact.priority),),
        found_us=fact.at_us if fact.found_us is None else fact.found_us,
        outages=() if fact.outage is None else (fact.outage,),
        missing=fact.missing,
        last_us=fact.at_us,
    )
    return Step(state, (Act(1, EscalationReason.OPENED, fact.at_us, fact.partner),))


def _acts(state: State, fact: Incident) -> Iterable[Act]:
    """A request leads to its level, unless that was reached: then the request itself is all there is to tell."""
    if fact.event is IncidentEvent.REQUESTED:
        assert fact.level is not None, "a request names its level"
        assert fact.reason is not None, "a request has its reason"
        if not state.reached_level(fact.level):
            yield Act(fact.level, fact.reason, fact.at_us, fact.partner, None, fact.note)


# Whether an event may follow.


def _why_not(state: State, fact: Incident) -> str | None:
    if fact.event is IncidentEvent.OPENED:
        return f"{state.id} is open already"
    if not _may(state.phase, fact.event):
        allowed = ", ".join(event.value for event in MOVES[state.phase])
        return f"{state.id} is {state.phase.value}: it cannot be {fact.event.value}; it can be {allowed}"
    if fact.at_us < state.opened_us and fact.event is not IncidentEvent.REPORTED:
        return f"{format_instant(fact.at_us)} lies before the incident, which began {format_instant(state.opened_us)}"
    guard = _GUARDS.get(fact.event)
    return None if guard is None else guard(state, fact)


def _may(phase: Phase, event: IncidentEvent) -> bool:
    if event in ASIDE:
        return phase is not Phase.CLOSED or event in EVEN_CLOSED
    return event in MOVES[phase]


def _once(state: State, _fact: Incident) -> str | None:
    known_us = state.acknowledged_us
    return None if known_us is None else f"{state.id} was acknowledged at {format_instant(known_us)}"


def _not_before_reopening(state: State, fact: Incident) -> str | None:
    """A workaround or a fix comes after the last time the impact came back, and a fix after the workaround."""
    last = state.stops[-1] if state.stops else None
    since_us = None if last is None else last.start_us if last.end_us is None else last.end_us
    if since_us is not None and fact.at_us < since_us:
        return f"{format_instant(fact.at_us)} lies before {format_instant(since_us)}, when its impact last changed"
    return None


def _paused_once(state: State, fact: Incident) -> str | None:
    if fact.partner not in dict(state.pairs):
        return _no_pair(state, fact.partner)
    if any(_same_clock(pause, fact) and pause.end_us is None for pause in state.pauses):
        return f"that clock of {state.id} is paused already"
    return None


def _is_paused(state: State, fact: Incident) -> str | None:
    waiting = [pause for pause in state.pauses if _same_clock(pause, fact) and pause.end_us is None]
    if not waiting:
        return f"no such clock of {state.id} is paused"
    first_us = max(pause.start_us for pause in waiting)
    if fact.at_us < first_us:
        return f"{format_instant(fact.at_us)} lies before the pause, which began {format_instant(first_us)}"
    return None


def _new_priority(state: State, fact: Incident) -> str | None:
    since_us, held = state.priorities[-1]
    if fact.priority is held:
        return f"{state.id} is {held.value} already"
    if fact.at_us < since_us:
        return f"{format_instant(fact.at_us)} lies before {format_instant(since_us)}, when it became {held.value}"
    return None


def _new_partner(state: State, fact: Incident) -> str | None:
    known = dict(state.pairs)
    if fact.partner in known:
        return f"{fact.partner} reported {state.id} at {format_instant(known[fact.partner])}"
    return None


def _known_pair(state: State, fact: Incident) -> str | None:
    return None if fact.partner is None or fact.partner in dict(state.pairs) else _no_pair(state, fact.partner)


def _new_level(state: State, fact: Incident) -> str | None:
    assert fact.level is not None, "an escalation has its level"
    return f"level {fact.level} of {state.id} was reached" if state.reached_level(fact.level) else None


def _well(state: State, _fact: Incident) -> str | None:
    return None if state.well_since_us is None else f"{state.id} is proposed for closing already"


def _no_pair(state: State, pair: Pair) -> str:
    known = ", ".join(sorted(state.partners)) or "none"
    whose = "no internal clocks" if pair is None else f"no report of {pair}"
    return f"{state.id} has {whose}; partners that reported it: {known}"


def _same_clock(pause: Pause, fact: Incident) -> bool:
    """Whether a pause and an event speak of the same pair, and of the same clock or of all."""
    return pause.pair == fact.partner and (None in {pause.clock, fact.clock} or pause.clock is fact.clock)


_GUARDS: Mapping[IncidentEvent, Callable[[State, Incident], str | None]] = MappingProxyType(
    {
        IncidentEvent.ACKNOWLEDGED: _once,
        IncidentEvent.WORKAROUND: _not_before_reopening,
        IncidentEvent.FIXED: _not_before_reopening,
        IncidentEvent.REOPENED: _not_before_reopening,
        IncidentEvent.CLOSED: _not_before_reopening,
        IncidentEvent.PAUSED: _paused_once,
        IncidentEvent.RESUMED: _is_paused,
        IncidentEvent.PRIORITY: _new_priority,
        IncidentEvent.REPORTED: _new_partner,
        IncidentEvent.REQUESTED: _known_pair,
        IncidentEvent.ESCALATED: _new_level,
        IncidentEvent.RESTORED: _well,
    },
)


# What an event leaves behind.


def _nothing(state: State, _fact: Incident) -> State:
    return state


def _acknowledged(state: State, fact: Incident) -> State:
    return replace(state, acknowledged_us=fact.at_us)


def _assigned(state: State, fact: Incident) -> State:
    """The first assignment answers the report; a later one hands the work over."""
    first_us = fact.at_us if state.assigned_us is None else min(state.assigned_us, fact.at_us)
    return replace(state, assigned_us=first_us, assignee=fact.assignee)


def _stopped(state: State, fact: Incident) -> State:
    """The impact is gone: the first of a workaround and a fix says since when."""
    if state.stops and state.stops[-1].end_us is None:
        return state
    return replace(state, stops=(*state.stops, Stop(fact.at_us)))


def _closed(state: State, fact: Incident) -> State:
    return replace(state, closed_us=fact.at_us)


def _reopened(state: State, fact: Incident) -> State:
    *before, last = state.stops
    return replace(
        state,
        stops=(*before, replace(last, end_us=fact.at_us)),
        closed_us=None,
        restored=_ended(state.restored, fact.at_us),
    )


def _paused(state: State, fact: Incident) -> State:
    return replace(state, pauses=(*state.pauses, Pause(fact.partner, fact.clock, fact.at_us)))


def _resumed(state: State, fact: Incident) -> State:
    ended = (
        replace(pause, end_us=fact.at_us) if pause.end_us is None and _same_clock(pause, fact) else pause
        for pause in state.pauses
    )
    return replace(state, pauses=tuple(ended))


def _reprioritised(state: State, fact: Incident) -> State:
    assert fact.priority is not None, "a change has its priority"
    return replace(state, priorities=(*state.priorities, (fact.at_us, fact.priority)))


def _linked(state: State, fact: Incident) -> State:
    """The trouble is back: what was proposed for closing is not any more."""
    outages = state.outages if fact.outage in {None, *state.outages} else (*state.outages, str(fact.outage))
    since_us = fact.at_us if fact.found_us is None else fact.found_us
    return replace(state, outages=outages, restored=_ended(state.restored, since_us))


def _restored(state: State, fact: Incident) -> State:
    since_us = fact.at_us if fact.found_us is None else fact.found_us
    return replace(state, restored=(*state.restored, Stop(since_us)))


def _also_reported(state: State, fact: Incident) -> State:
    missing = (*state.missing, *(piece for piece in fact.missing if piece not in state.missing))
    return replace(state, pairs=(*state.pairs, (fact.partner, fact.at_us)), missing=missing)


def _supplied(state: State, fact: Incident) -> State:
    missing = tuple(piece for piece in state.missing if piece not in fact.pieces)
    return replace(state, missing=missing)


def _escalated(state: State, fact: Incident) -> State:
    assert fact.level is not None, "an escalation has its level"
    assert fact.reason is not None, "an escalation has its reason"
    due_us = fact.at_us if fact.due_us is None else fact.due_us
    return replace(state, reached=(*state.reached, Reached(fact.level, due_us, fact.at_us, fact.reason, fact.partner)))


def _ended(stops: tuple[Stop, ...], at_us: int) -> tuple[Stop, ...]:
    return tuple(replace(stop, end_us=at_us) if stop.end_us is None else stop for stop in stops)


_EFFECTS: Mapping[IncidentEvent, Callable[[State, Incident], State]] = MappingProxyType(
    {
        **dict.fromkeys(ASIDE, _nothing),
        IncidentEvent.ACKNOWLEDGED: _acknowledged,
        IncidentEvent.ASSIGNED: _assigned,
        IncidentEvent.WORKAROUND: _stopped,
        IncidentEvent.FIXED: _stopped,
        IncidentEvent.CLOSED: _closed,
        IncidentEvent.REOPENED: _reopened,
        IncidentEvent.PAUSED: _paused,
        IncidentEvent.RESUMED: _resumed,
        IncidentEvent.PRIORITY: _reprioritised,
        IncidentEvent.LINKED: _linked,
        IncidentEvent.RESTORED: _restored,
        IncidentEvent.REPORTED: _also_reported,
        IncidentEvent.SUPPLIED: _supplied,
        IncidentEvent.ESCALATED: _escalated,
    },
)

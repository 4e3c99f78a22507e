"""A naive judge of incidents: it walks through time in quarters of an hour, and counts them one by one.

It knows no due instants, legs or unions of pauses. At each step it asks whether a clock runs, and adds the step if so;
an escalation is due at the first step at which enough was counted while the impact is there. When something is decided
about the past, it walks the whole way again with what is known then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from monitor.core.incident_fact import Incident, IncidentEvent
from monitor.core.priority import Priority

STEP_S = 900
HOUR_S = 3600
SECOND_US = 1_000_000
JAKARTA = ZoneInfo("Asia/Jakarta")
HORIZON_S = 60 * 24 * HOUR_S

# Response, resolution and whether around the clock, from the agreement; then what makes a level due, by used seconds.
PROMISED = {
    Priority.P1: (HOUR_S, 8 * HOUR_S, True),
    Priority.P2: (4 * HOUR_S, 24 * HOUR_S, False),
    Priority.P3: (8 * HOUR_S, None, False),
}
ESCALATES = {
    Priority.P1: ((2, 4 * HOUR_S), (2, 6 * HOUR_S), (3, 8 * HOUR_S)),
    Priority.P2: ((2, 18 * HOUR_S),),
    Priority.P3: (),
}
Pair = str | None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """For one partner or (None) for all, known from one second and taken back at another."""

    partner: Pair
    start_s: int
    end_s: int
    known_s: int
    reversed_s: int | None = None

    def known(self, now_s: int) -> bool:
        return self.known_s <= now_s and (self.reversed_s is None or now_s < self.reversed_s)

    def holds(self, pair: Pair, second: int) -> bool:
        return self.partner in {None, pair} and self.start_s <= second < self.end_s


@dataclass(slots=True)
class Oracle:
    """One incident as it stands at `now_s`, when `go` has walked there."""

    free: frozenset[date]
    exclusions: Sequence[Exclusion]
    facts: list[Incident] = field(default_factory=list)
    now_s: int = 0
    escalated: dict[int, int] = field(default_factory=dict)  # level -> when it was due
    _open: dict[int, bool] = field(default_factory=dict)

    def take(self, fact: Incident) -> None:
        """A fact happens, at its second; what time made due before it is noticed first."""
        self.go(_second(fact) - STEP_S)
        self.facts.append(fact)

    def go(self, until_s: int) -> None:
        """Time passes up to and including a second."""
        begun = [fact for fact in self.facts if fact.event is IncidentEvent.OPENED]
        if not begun:
            return
        # Between two changes of what is known one walk tells all; a change is looked at when it comes.
        news = {e for x in self.exclusions for e in _edges(x)}
        for stop_s in sorted({*(s for s in news if self.now_s < s <= until_s), until_s}):
            for edge_s in (stop_s - STEP_S, stop_s):
                if edge_s >= self.now_s:
                    self.now_s = edge_s
                    self._notice(self._walk(edge_s))

    def used_s(self, pair: Pair, clock: str) -> int:
        """What a clock has used by now."""
        return self._walk(self.now_s).used[pair, clock]

    def done_s(self, pair: Pair, clock: str) -> int | None:
        """Since when a clock is stopped; None while it is not."""
        return self._walk(self.now_s).done.get((pair, clock))

    def due_s(self, pair: Pair, clock: str) -> int | None:
        """When the promise runs out, if every pause ended now and nothing else came; None where there is no promise."""
        return self._walk(self.now_s, beyond=(pair, clock)).due

    def _notice(self, walk: _Walk) -> None:
        for level, due_s in walk.reached.items():
            self.escalated.setdefault(level, due_s)

    def _walk(self, until_s: int, beyond: tuple[Pair, str] | None = None) -> _Walk:
        walk = _Walk(self, [x for x in self.exclusions if x.known(self.now_s)], beyond)
        walk.go(until_s)
        return walk

    def opens(self, second: int) -> bool:
        if second not in self._open:
            local = datetime.fromtimestamp(second, UTC).astimezone(JAKARTA)
            self._open[second] = local.isoweekday() < 6 and local.date() not in self.free and 9 <= local.hour < 17
        return self._open[second]


@dataclass(slots=True)
class _Walk:
    """One walk from the beginning."""

    oracle: Oracle
    exclusions: list[Exclusion]
    beyond: tuple[Pair, str] | None
    priority: Priority = Priority.P3
    pairs: list[Pair] = field(default_factory=list)
    used: dict[tuple[Pair, str], int] = field(default_factory=dict)
    done: dict[tuple[Pair, str], int] = field(default_factory=dict)
    waiting: set[tuple[Pair, str]] = field(default_factory=set)
    acknowledged: bool = False
    assigned: bool = False
    gone: bool = False
    well: bool = False
    reached: dict[int, int] = field(default_factory=dict)
    due: int | None = None
    _ran_since_change: set[tuple[Pair, str]] = field(default_factory=set)
    _full: set[tuple[Pair, str, int]] = field(default_factory=set)

    def go(self, until_s: int) -> None:
        facts = sorted(self.oracle.facts, key=_second)  # those of one second stay in the order of their record
        second, number = _second(facts[0]), 0
        while second <= until_s:
            while number < len(facts) and _second(facts[number]) <= second:
                self._apply(facts[number], second)
                number += 1
            self._step(second, counts=second < until_s)
            second += STEP_S
        if self.beyond is not None and self.due is None:
            self.waiting.clear()
            self.well = False
            if self._promise(self.beyond[1]) is not None:
                self._hypothetically(until_s)

    def _hypothetically(self, second: int) -> None:
        """Nothing comes any more."""
        last = second + HORIZON_S
        while self.due is None and second < last:
            self._step(second)
            second += STEP_S

    def _step(self, second: int, *, counts: bool = True) -> None:
        for pair in self.pairs:
            for clock in ("response", "resolution"):
                key, runs = (pair, clock), self._runs(pair, clock, second)
                if runs:
                    self._ran_since_change.add(key)
                promise = self._promise(clock)
                if promise is not None and self.due is None and self.beyond == key and self._has(key, promise, runs):
                    self.due = second
                if clock == "resolution" and not self.gone and promise is not None:
                    for level, threshold in ESCALATES[self.priority]:
                        if self._has(key, threshold, runs):
                            self.reached.setdefault(level, second)
                if runs and counts:
                    self.used[key] += STEP_S

    def _has(self, key: tuple[Pair, str], threshold: int, runs: bool) -> bool:
        """Enough is used, and (after a change of priority that found it so) the clock has run again."""
        enough = self.used[key] >= threshold
        return enough and ((*key, threshold) not in self._full or key in self._ran_since_change or runs)

    def _promise(self, clock: str) -> int | None:
        response, resolution, _around = PROMISED[self.priority]
        return response if clock == "response" else resolution

    def _runs(self, pair: Pair, clock: str, second: int) -> bool:
        if (pair, clock) in self.done or (pair, clock) in self.waiting or (pair is None and self.well):
            return False
        if self._promise(clock) is None or not (PROMISED[self.priority][2] or self.oracle.opens(second)):
            return False
        return clock == "response" or not any(x.holds(pair, second) for x in self.exclusions)

    def _apply(self, fact: Incident, second: int) -> None:  # noqa: C901, PLR0912 - one branch an event
        match fact.event:
            case IncidentEvent.OPENED | IncidentEvent.REPORTED:
                self.priority = fact.priority or self.priority
                self.pairs.append(fact.partner)
                self.used |= {(fact.partner, "response"): 0, (fact.partner, "resolution"): 0}
            case IncidentEvent.ACKNOWLEDGED:
                self.acknowledged = True
            case IncidentEvent.ASSIGNED:
                self.assigned = True
            case IncidentEvent.WORKAROUND | IncidentEvent.FIXED:
                self.gone = True
            case IncidentEvent.REOPENED:
                self.gone = self.well = False
                self.done = {key: at for key, at in self.done.items() if key[1] == "response"}
            case IncidentEvent.PAUSED:
                self.waiting |= set(_clocks(fact))
            case IncidentEvent.RESUMED:
                self.waiting -= set(_clocks(fact))
            case IncidentEvent.PRIORITY:
                assert fact.priority is not None
                self.priority = fact.priority
                # What is full already is due once the clock runs on the new hours.
                self._ran_since_change = set()
                thresholds = [promise for promise in PROMISED[self.priority][:2] if promise is not None]
                thresholds += [threshold for _level, threshold in ESCALATES[self.priority]]
                self._full = {(*key, t) for key, used in self.used.items() for t in thresholds if used >= t}
                self.due = None
            case IncidentEvent.RESTORED:
                self.well = True
            case IncidentEvent.LINKED:
                self.well = False
            case _:
                pass
        for pair in self.pairs:
            if self.acknowledged and self.assigned:
                self.done.setdefault((pair, "response"), second)
            if self.gone:
                self.done.setdefault((pair, "resolution"), second)


def _clocks(fact: Incident) -> Iterable[tuple[Pair, str]]:
    return (
        (fact.partner, name) for name in (("response", "resolution") if fact.clock is None else (fact.clock.value,))
    )


def _edges(exclusion: Exclusion) -> Iterable[int]:
    """When what is known of an exclusion changes."""
    return (exclusion.known_s,) if exclusion.reversed_s is None else (exclusion.known_s, exclusion.reversed_s)


def _second(fact: Incident) -> int:
    return fact.at_us // SECOND_US

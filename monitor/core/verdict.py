"""The verdict of a service: each check by majority over locations, the service by more than half (CONTRACT 2.2, 2.3).

All comparisons are on integers. The sweep walks the changes only, so its cost grows with changes, not with runs.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from monitor.core.check import CheckList, Network, list_in_force
from monitor.core.run import Outcome, OutcomeSpan, SourceKey
from monitor.core.span import Span


class Verdict(enum.StrEnum):
    """What the ledger says of a service over a span; hashed for ever, and never an outcome of a probe."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


class Rule(enum.StrEnum):
    """Which sentence of CONTRACT 5.1 made a service DOWN."""

    MAJORITY = "majority"
    UNREACHABLE = "unreachable"


class Tally(NamedTuple):
    """How many checks say what at an instant: all of them, and those over the public internet.

    `internal` is how many checks are not public: the second rule speaks only where there are any.
    """

    failing: int = 0
    unknown: int = 0
    total: int = 0
    public_failing: int = 0
    public_unknown: int = 0
    public_total: int = 0

    @property
    def internal(self) -> int:
        """Checks from inside the provider's network."""
        return self.total - self.public_total


class VerdictSpan(NamedTuple):
    """Over `[start_us, end_us)` the verdict and the counts behind it did not change."""

    start_us: int
    end_us: int
    verdict: Verdict
    failing: int
    unknown: int
    total: int
    rule: Rule | None = None

    @property
    def span(self) -> Span:
        """Its time."""
        return Span(self.start_us, self.end_us)


def check_verdict(failing: int, passing: int) -> Outcome | None:
    """A check's state from how many locations say fail and pass; None without evidence. A tie is no failure."""
    if failing + passing == 0:
        return None
    return Outcome.FAIL if 2 * failing > failing + passing else Outcome.PASS


def by_majority(tally: Tally) -> Verdict:
    """More than half fail: DOWN iff 2*fail > N; UP iff 2*(fail + unknown) <= N; else UNKNOWN. N = 0 is UNKNOWN."""
    if tally.total == 0:
        return Verdict.UNKNOWN
    if 2 * tally.failing > tally.total:
        return Verdict.DOWN
    if 2 * (tally.failing + tally.unknown) <= tally.total:
        return Verdict.UP
    return Verdict.UNKNOWN


def by_reach(tally: Tally) -> Verdict:
    """Not reachable at all, over the public checks, where some check is internal; UP where the rule says nothing."""
    if tally.internal == 0 or tally.public_total == 0:
        return Verdict.UP
    if tally.public_failing == tally.public_total:
        return Verdict.DOWN
    if tally.public_failing + tally.public_unknown == tally.public_total:
        return Verdict.UNKNOWN
    return Verdict.UP


def service_verdict(tally: Tally) -> tuple[Verdict, Rule | None]:
    """DOWN if either rule says DOWN, UP if both say UP, else UNKNOWN; and the rule that made it DOWN."""
    majority, reach = by_majority(tally), by_reach(tally)
    if majority is Verdict.DOWN:
        return Verdict.DOWN, Rule.MAJORITY
    if reach is Verdict.DOWN:
        return Verdict.DOWN, Rule.UNREACHABLE
    if majority is Verdict.UP and reach is Verdict.UP:
        return Verdict.UP, None
    return Verdict.UNKNOWN, None


Evidence = Mapping[SourceKey, Sequence[OutcomeSpan]]


def judge(lists: Sequence[CheckList], evidence: Evidence, within: Span) -> list[VerdictSpan]:
    """The verdicts of one service over `within`: contiguous spans that cover it exactly, merged where nothing changed.

    `lists` are its check lists ordered by their instants; `evidence` its sources' outcome spans (those of checks that
    are not in force do not count). Time before the first list has no checks and is UNKNOWN.
    """
    spans: list[VerdictSpan] = []
    for in_force, part in _regimes(lists, within):
        for span in _sweep(in_force, evidence, part):
            if spans and spans[-1][2:] == span[2:]:
                spans[-1] = spans[-1]._replace(end_us=span.end_us)
            else:
                spans.append(span)
    return spans


def _regimes(lists: Sequence[CheckList], within: Span) -> Iterable[tuple[CheckList | None, Span]]:
    """`within` cut at the instants at which the list changes, each part with the list in force."""
    edges = sorted({entry.at_us for entry in lists if within.start_us < entry.at_us < within.end_us})
    starts = [within.start_us, *edges]
    for start_us, end_us in zip(starts, [*edges, within.end_us], strict=True):
        if end_us > start_us:
            yield list_in_force(lists, start_us), Span(start_us, end_us)


def _sweep(in_force: CheckList | None, evidence: Evidence, within: Span) -> Iterable[VerdictSpan]:
    """One list's regime: walk the edges of its checks' spans in time, keeping the counts."""
    if in_force is None or not in_force.checks:
        yield VerdictSpan(within.start_us, within.end_us, Verdict.UNKNOWN, 0, 0, 0)
        return
    counts = _Counts(in_force)
    edges = _edges(counts.index, evidence, within)
    at_us = within.start_us
    position = 0
    while at_us < within.end_us:
        while position < len(edges) and edges[position][0] <= at_us:
            _at, check, failing, passing = edges[position]
            counts.shift(check, failing, passing)
            position += 1
        until_us = edges[position][0] if position < len(edges) else within.end_us
        tally = counts.tally()
        verdict, rule = service_verdict(tally)
        yield VerdictSpan(at_us, until_us, verdict, tally.failing, tally.unknown, tally.total, rule)
        at_us = until_us


def _edges(index: Mapping[str, int], evidence: Evidence, within: Span) -> list[tuple[int, int, int, int]]:
    """(instant, check, change of failing locations, change of passing ones), in time, clipped to `within`."""
    edges: list[tuple[int, int, int, int]] = []
    for source, spans in evidence.items():
        check = index.get(source.check)
        if check is None:
            continue
        for start_us, end_us, outcome in spans:
            start, end = max(start_us, within.start_us), min(end_us, within.end_us)
            if start < end:
                failing, passing = (1, 0) if outcome is Outcome.FAIL else (0, 1)
                edges.append((start, check, failing, passing))
                if end < within.end_us:
                    edges.append((end, check, -failing, -passing))
    edges.sort()
    return edges


class _Counts:
    """How many locations say what of each check, and how many checks say what, kept by differences."""

    def __init__(self, in_force: CheckList) -> None:
        self.index = {check.id: number for number, check in enumerate(in_force.checks)}
        self._public = [check.network is Network.PUBLIC for check in in_force.checks]
        self._failing = [0] * len(self._public)
        self._passing = [0] * len(self._public)
        self._fail = self._unknown = self._public_fail = self._public_unknown = 0
        self._unknown = len(self._public)
        self._public_unknown = sum(self._public)
        self._public_total = sum(self._public)

    def shift(self, check: int, failing: int, passing: int) -> None:
        """Some locations of a check changed what they say."""
        self._count(check, -1)
        self._failing[check] += failing
        self._passing[check] += passing
        self._count(check, +1)

    def _count(self, check: int, by: int) -> None:
        state = check_verdict(self._failing[check], self._passing[check])
        public = by if self._public[check] else 0
        if state is Outcome.FAIL:
            self._fail += by
            self._public_fail += public
        elif state is None:
            self._unknown += by
            self._public_unknown += public

    def tally(self) -> Tally:
        """The counts as they stand."""
        return Tally(
            self._fail,
            self._unknown,
            len(self._public),
            self._public_fail,
            self._public_unknown,
            self._public_total,
        )


def merged(spans: Iterable[VerdictSpan]) -> list[VerdictSpan]:
    """Consecutive equal verdicts as one span, with the highest failing count seen in it (CONTRACT 2.3, last line)."""
    joined: list[VerdictSpan] = []
    for span in spans:
        last = joined[-1] if joined else None
        if last is not None and last.verdict is span.verdict and last.end_us == span.start_us:
            worse = span if _share(span) > _share(last) else last
            joined[-1] = worse._replace(start_us=last.start_us, end_us=span.end_us, rule=last.rule)
        else:
            joined.append(span)
    return joined


def _share(span: VerdictSpan) -> tuple[int, int]:
    """Orders spans by the share of failing checks, on integers of a common base."""
    return (span.failing * 1_000_000 // span.total if span.total else 0, span.failing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A service at an instant: the verdict, which checks say what, and why in one sentence."""

    verdict: Verdict
    rule: Rule | None
    failing: tuple[str, ...]
    unknown: tuple[str, ...]
    passing: tuple[str, ...]
    why: str

    @property
    def total(self) -> int:
        """How many SLA checks are in force."""
        return len(self.failing) + len(self.unknown) + len(self.passing)


def standing(lists: Sequence[CheckList], evidence: Evidence, at_us: int) -> Standing:
    """How the service stands at one instant, by the same rules as `judge`."""
    in_force = list_in_force(lists, at_us)
    states: dict[str, list[int]] = {check.id: [0, 0] for check in in_force.checks} if in_force else {}
    for source, spans in evidence.items():
        if source.check in states:
            for span in spans:
                if span.start_us <= at_us < span.end_us:
                    states[source.check][0 if span.outcome is Outcome.FAIL else 1] += 1
    by_state: dict[Outcome | None, list[str]] = {Outcome.FAIL: [], Outcome.PASS: [], None: []}
    for check, (failing, passing) in states.items():
        by_state[check_verdict(failing, passing)].append(check)
    public = {check.id for check in in_force.checks if check.network is Network.PUBLIC} if in_force else set()
    tally = Tally(
        len(by_state[Outcome.FAIL]),
        len(by_state[None]),
        len(states),
        len(public.intersection(by_state[Outcome.FAIL])),
        len(public.intersection(by_state[None])),
        len(public),
    )
    verdict, rule = service_verdict(tally)
    return Standing(
        verdict=verdict,
        rule=rule,
        failing=tuple(by_state[Outcome.FAIL]),
        unknown=tuple(by_state[None]),
        passing=tuple(by_state[Outcome.PASS]),
        why=_why(verdict, rule, tally),
    )


def _why(verdict: Verdict, rule: Rule | None, tally: Tally) -> str:
    """The sentence that a reader checks the verdict by."""
    if tally.total == 0:
        return "no SLA check is in force"
    said = f"{tally.failing} of {tally.total} checks fail"
    if tally.unknown:
        said += f", {tally.unknown} without evidence"
    if rule is Rule.UNREACHABLE:
        return f"{said}; all {tally.public_total} public checks fail: not reachable from the internet"
    if verdict is Verdict.DOWN:
        return f"{said}; more than half: down"
    if verdict is Verdict.UNKNOWN:
        return f"{said}; too few know to tell"
    if 2 * tally.failing == tally.total:
        return f"{said}; exactly half is not downtime, more than half would be"
    return f"{said}; more than half needed to be down"

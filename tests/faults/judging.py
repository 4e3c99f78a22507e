"""The judge of a record that was killed over and over.

It sees the target's requests, what the dead had acknowledged, and the ledger. It never sees the evaluator: what a
service was at an instant it works out from the runs by CONTRACT 2.2 and 2.3, instant by instant.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monitor.core.fact import ChecksAdopted, Outage
from monitor.core.run import Outcome, OutcomeSpan, Run, SourceKey
from monitor.core.span import Span
from monitor.core.verdict import Verdict, judge
from monitor.detector import COUNTS_MARK
from monitor.ledger.evidence import check_lists
from monitor.ledger.verify import verify
from monitor.storage.reading import SqlReader
from monitor.storage.sqlite import open_reader, open_store

SERVICES, CHECKS = 4, 3
INTERVAL_US, STALE_US = 1_000_000, 3_400_000
SAMPLE_US = 100_000


class FoundOutError(AssertionError):
    """The record is not what was promised."""


@dataclass(slots=True)
class Life:
    """What one life said before it ended."""

    acknowledged: list[tuple[str, str, int, str]] = field(default_factory=list)
    ready_s: float | None = None
    code: int | None = None


class Judge:
    """Remembers what was acknowledged and what every closed instant was, and holds the record to it."""

    def __init__(self, path: Path, requests: Callable[[], int], chance: random.Random) -> None:
        self._path = path
        self._requests = requests
        self._chance = chance
        self._acknowledged: dict[tuple[str, str, int], str] = {}
        self._closed_us = 0
        self._was: dict[tuple[str, int], Verdict] = {}
        self.runs = 0
        self.unknown_us = 0

    @property
    def acknowledged(self) -> int:
        return len(self._acknowledged)

    def take(self, life: Life, *, whole: bool = False) -> None:
        """A life ended: judge the record as the next one will find it, and again as its owner."""
        for service, check, start_us, outcome in life.acknowledged:
            self._acknowledged[service, check, start_us] = outcome
        if not self._path.exists():
            return demand(not self._acknowledged, "runs were acknowledged and there is no ledger")
        runs: list[Run] = []
        # As the next process finds it: the dead one left a write-ahead log behind.
        for opening in (open_reader, open_store) if whole else (open_reader,):
            reader = opening(self._path)
            try:
                runs = self._judge(reader, derived=life.ready_s is not None, whole=whole)
            finally:
                reader.close()
        if runs:
            # Whoever is dead runs nothing any more: all until its last run is closed for ever. What it had no time to
            # derive of that is derived by the next life.
            self._closed_us = max(run.start_us for run in runs)
        return None

    def _judge(self, reader: SqlReader, *, derived: bool, whole: bool) -> list[Run]:
        runs = [run for _arrival, run in reader.runs_after(0, 10_000_000)]
        self._nothing_lost_nothing_doubled(runs)
        self._counters_are_views(reader)
        demand(verify(reader).holds, "the chain does not hold")
        instants = self._instants(runs, whole=whole)
        seen = _seen(runs)
        truth = {(service, at): _verdict(seen, service, at) for service in _services(runs) for at in instants}
        for key, verdict in truth.items():
            before = self._was.setdefault(key, verdict)
            demand(before is verdict, f"a closed instant was {before} and is {verdict}: {key}")
        if derived:
            self._derived_is_the_truth(reader, runs, truth)
        _outages_are_told_once(reader)
        return runs

    def _nothing_lost_nothing_doubled(self, runs: Sequence[Run]) -> None:
        there = {(run.service, run.check, run.start_us): run.outcome.value for run in runs}
        lost = {key: outcome for key, outcome in self._acknowledged.items() if there.get(key) != outcome}
        demand(not lost, f"acknowledged and not there: {lost}")
        slots = Counter((run.service, run.check, run.slot_us) for run in runs)
        doubled = {slot: count for slot, count in slots.items() if count > 1}
        demand(not doubled, f"slots with two runs: {doubled}")
        # A connection that a busy machine let time out may never have come to the target's own count.
        sent = [run for run in runs if run.outcome is not Outcome.INCONCLUSIVE and run.reason != "timeout"]
        attempts = sum(run.attempts for run in sent)
        demand(attempts <= self._requests(), f"{attempts} requests on record, {self._requests()} were made")
        self.runs = len(runs)

    def _counters_are_views(self, reader: SqlReader) -> None:
        kept = reader.mark(COUNTS_MARK)
        if kept is None:
            return
        counted = Counter((run.service, run.check) for arrival, run in reader.runs_after(0, 10_000_000)
                          if arrival <= kept["arrival"])  # fmt: skip
        told = {(service, check): counts["attempts"] + sum(counts["inconclusive"].values())
                for service, check, _location, counts in kept["sources"]}  # fmt: skip
        told = {source: count for source, count in told.items() if count}
        demand(told == dict(counted), f"counters say {told}, the runs are {dict(counted)}")

    def _instants(self, runs: Sequence[Run], *, whole: bool) -> list[int]:
        if not runs or not self._closed_us:
            return []
        first = min(run.start_us for run in runs)
        if whole:
            return list(range(first, self._closed_us, SAMPLE_US))
        recent = range(max(first, self._closed_us - 20 * INTERVAL_US), self._closed_us, SAMPLE_US)
        return [*recent, *(self._chance.randrange(first, self._closed_us + 1) for _ in range(100))]

    def _derived_is_the_truth(
        self, reader: SqlReader, runs: Sequence[Run], truth: dict[tuple[str, int], Verdict]
    ) -> None:
        lists = check_lists(entry.fact for entry in reader.entries(types=(ChecksAdopted.TYPE,)))
        within = Span(min((run.start_us for run in runs), default=0), self._closed_us + 1)
        instants, seen = sorted({at_us for _service, at_us in truth}), _seen(runs)
        for service in _services(runs):
            spans = reader.spans(service, within)
            for source, stored in spans.items():
                _spans_are_what_the_runs_say(source, stored, seen, instants)
            verdicts = judge(lists[service], spans, within)
            starts = [span.start_us for span in verdicts]
            for (of, at_us), expected in truth.items():
                if of == service:
                    said = verdicts[bisect_right(starts, at_us) - 1].verdict
                    demand(said is expected, f"{service} was {expected} at {at_us} by its runs, the spans say {said}")
            self.unknown_us = sum(span.span.length_us for span in verdicts if span.verdict is Verdict.UNKNOWN)


def demand(holds: object, otherwise: str) -> None:
    if not holds:
        raise FoundOutError(otherwise)


def _services(runs: Iterable[Run]) -> list[str]:
    return sorted({run.service for run in runs})


Seen = dict[tuple[str, str], tuple[list[int], list[Outcome]]]


def _seen(runs: Sequence[Run]) -> Seen:
    found: Seen = {}
    for run in sorted(runs, key=lambda run: run.start_us):
        starts, outcomes = found.setdefault((run.service, run.check), ([], []))
        starts.append(run.start_us)
        outcomes.append(run.outcome)
    return found


def _verdict(seen: Seen, service: str, at_us: int) -> Verdict:
    """CONTRACT 2.2 and 2.3 for one instant, word by word: one location, every check public."""
    said = [_said(seen, service, f"c{check}", at_us) for check in range(CHECKS)]
    failing, unknown = said.count(Outcome.FAIL), said.count(Outcome.INCONCLUSIVE)
    if 2 * failing > CHECKS:
        return Verdict.DOWN
    return Verdict.UP if 2 * (failing + unknown) <= CHECKS else Verdict.UNKNOWN


def _said(seen: Seen, service: str, check: str, at_us: int) -> Outcome:
    """What a check's runs say of one instant; inconclusive where none is fresh."""
    starts, outcomes = seen.get((service, check), ([], []))
    last = bisect_right(starts, at_us) - 1
    return Outcome.INCONCLUSIVE if last < 0 or at_us >= starts[last] + STALE_US else outcomes[last]


def _spans_are_what_the_runs_say(
    source: SourceKey, stored: Sequence[OutcomeSpan], seen: Seen, instants: Iterable[int]
) -> None:
    """Of each check by itself: what one of them lost is mostly outvoted in the verdict of its service."""
    starts = [span.start_us for span in stored]
    for at_us in instants:
        last = bisect_right(starts, at_us) - 1
        holds = last >= 0 and at_us < stored[last].end_us
        said = stored[last].outcome if holds else Outcome.INCONCLUSIVE
        expected = _said(seen, source.service, source.check, at_us)
        demand(said is expected, f"{source} was {expected} at {at_us} by its runs, its spans say {said}")


def _outages_are_told_once(reader: SqlReader) -> None:
    told: dict[str, list[bool]] = {}
    for entry in reader.entries(types=(Outage.TYPE,)):
        assert isinstance(entry.fact, Outage)
        told.setdefault(entry.fact.id, []).append(entry.fact.end_us is not None)
    wrong = {outage: ends for outage, ends in told.items() if ends not in ([False], [False, True])}
    demand(not wrong, f"outages told otherwise than begun once and ended once: {wrong}")

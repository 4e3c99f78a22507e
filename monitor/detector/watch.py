"""One service under watch: verdicts as time settles in, outage facts and totals out. Each instant is judged once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.core.check import CheckList, list_in_force
from monitor.core.exclusion import Excluded
from monitor.core.fact import Outage
from monitor.core.instant import to_datetime
from monitor.core.span import Span, intersect, measure_us, subtract, union
from monitor.core.verdict import Evidence, Rule, Verdict, VerdictSpan, judge
from monitor.telemetry.snapshot import ServiceTotals


@dataclass(slots=True)
class OpenOutage:
    """An outage that goes on: when it began, and the worst of it so far as (failing, total)."""

    start_us: int
    peak: tuple[int, int]


@dataclass(slots=True)
class Watch:
    """What was found of a service up to `settled_us`. Never corrected afterwards: corrections are the ledger's.

    Since when it is UP, since when some checks fail and it is not DOWN, since when it is UP and none does, since
    when it is UNKNOWN; None where that is not so.

    Time is counted up to `counted_us`, which is later where the clock was put back: that time is judged anew, so that
    its outages are told, and counted once.
    """

    service: str
    settled_us: int
    outage: OpenOutage | None = None
    up_since_us: int | None = None
    failing_since_us: int | None = None
    clean_since_us: int | None = None
    unknown_since_us: int | None = None
    outages: int = 0
    observed_us: int = 0
    unknown_us: int = 0
    downtime_us: Counter[str] = field(default_factory=Counter)
    excluded_us: Counter[str] = field(default_factory=Counter)
    counted_us: int = 0

    def rewind(self, to_us: int, at_us: int) -> list[Outage]:
        """The clock was put back to `to_us`: judge from there again. An outage that began later began in a time that
        was not, and ends where it began; the answer is its fact.
        """
        if to_us >= self.settled_us:
            return []
        self.counted_us = max(self.counted_us, self.settled_us)
        self.settled_us = to_us
        self.up_since_us = _before(self.up_since_us, to_us)
        self.failing_since_us = _before(self.failing_since_us, to_us)
        self.clean_since_us = _before(self.clean_since_us, to_us)
        if self.outage is None or self.outage.start_us < to_us:
            return []
        ended = self._fact(at_us, self.outage.start_us)
        self.outage = None
        return [ended]

    def advance(
        self,
        lists: Sequence[CheckList],
        evidence: Evidence,
        until_us: int,
        excluded: Sequence[Excluded],
        at_us: int,
    ) -> list[Outage]:
        """Judge `[settled_us, until_us)` and answer the outages that opened or closed in it, recorded at `at_us`."""
        if until_us <= self.settled_us:
            return []
        facts: list[Outage] = []
        for span in judge(lists, evidence, Span(self.settled_us, until_us)):
            facts += self._edge(span, at_us)
            self._note(span)
            watched = _watched(lists, span)
            unknown = watched and span.verdict is Verdict.UNKNOWN
            self.unknown_since_us = _since(self.unknown_since_us, span, holds=unknown)
            if watched:
                self._count(span, excluded)
        self.settled_us = until_us
        return facts

    def totals(self, rejected: Mapping[str, int]) -> ServiceTotals:
        """As telemetry shows them."""
        return ServiceTotals(
            outages=self.outages,
            observed_us=self.observed_us,
            downtime_us=dict(self.downtime_us),
            excluded_us=dict(self.excluded_us),
            unknown_us=self.unknown_us,
            maintenance_rejected=rejected,
        )

    def document(self) -> dict[str, Any]:
        """As it is kept over restarts."""
        outage = None if self.outage is None else {"start_us": self.outage.start_us, "peak": list(self.outage.peak)}
        return {
            "settled_us": self.settled_us,
            "counted_us": self.counted_us,
            "outage": outage,
            "up_since_us": self.up_since_us,
            "failing_since_us": self.failing_since_us,
            "clean_since_us": self.clean_since_us,
            "unknown_since_us": self.unknown_since_us,
            "outages": self.outages,
            "observed_us": self.observed_us,
            "unknown_us": self.unknown_us,
            "downtime_us": dict(self.downtime_us),
            "excluded_us": dict(self.excluded_us),
        }

    @staticmethod
    def of(service: str, document: Mapping[str, Any]) -> Watch:
        """The watch that `document` was written of."""
        outage = document["outage"]
        return Watch(
            service,
            document["settled_us"],
            None if outage is None else OpenOutage(outage["start_us"], tuple(outage["peak"])),
            document.get("up_since_us"),  # what an earlier version kept says nothing of these
            document.get("failing_since_us"),
            document.get("clean_since_us"),
            document.get("unknown_since_us"),
            document["outages"],
            document["observed_us"],
            document["unknown_us"],
            Counter(document["downtime_us"]),
            Counter(document["excluded_us"]),
            document.get("counted_us", 0),
        )

    def _edge(self, span: VerdictSpan, at_us: int) -> Iterable[Outage]:
        down = span.verdict is Verdict.DOWN
        if down and self.outage is None:
            self.outage = OpenOutage(span.start_us, (span.failing, span.total))
            self.outages += 1
            yield self._fact(at_us, None)
        elif down and self.outage is not None:
            self.outage.peak = max(self.outage.peak, (span.failing, span.total), key=_share)
        elif self.outage is not None:
            yield self._fact(at_us, span.start_us)
            self.outage = None

    def _note(self, span: VerdictSpan) -> None:
        up, failing = span.verdict is Verdict.UP, span.failing > 0
        self.up_since_us = _since(self.up_since_us, span, holds=up)
        self.failing_since_us = _since(self.failing_since_us, span, holds=failing and span.verdict is not Verdict.DOWN)
        self.clean_since_us = _since(self.clean_since_us, span, holds=up and not failing)

    def _fact(self, at_us: int, end_us: int | None) -> Outage:
        assert self.outage is not None, "an outage is under way"
        failing, total = self.outage.peak
        return Outage(
            id=outage_id(self.service, self.outage.start_us),
            service=self.service,
            start_us=self.outage.start_us,
            end_us=end_us,
            at_us=at_us,
            failing=f"{failing}/{total}",
        )

    def _count(self, span: VerdictSpan, excluded: Sequence[Excluded]) -> None:
        span = span._replace(start_us=max(span.start_us, min(self.counted_us, span.end_us)))
        length_us = span.end_us - span.start_us
        if span.verdict is Verdict.UNKNOWN:
            self.unknown_us += length_us
            return
        self.observed_us += length_us
        if span.verdict is Verdict.DOWN:
            rest: Sequence[Span] = [span.span]
            for entry in excluded:
                self.excluded_us[entry.reason.value] += measure_us(intersect(rest, [entry.span]))
                rest = subtract(rest, [entry.span])
            self.downtime_us[(span.rule or Rule.MAJORITY).value] += measure_us(rest)


def outage_id(service: str, start_us: int) -> str:
    """The outage's id: of its service and start alone, so that finding it again finds the same."""
    return f"o-{service}-{to_datetime(start_us):%Y%m%dT%H%M%S.%fZ}"


def excluded_for_all(by_partner: Sequence[Sequence[Excluded]]) -> tuple[Excluded, ...]:
    """What is excluded for every partner of a service, named as for the first of them; nothing without partners."""
    if not by_partner:
        return ()
    first, *others = by_partner
    parts: list[Excluded] = []
    for entry in first:
        shared = union([entry.span])
        for other in others:
            shared = intersect(shared, [theirs.span for theirs in other])
        parts += [entry._replace(span=span) for span in shared]
    return tuple(parts)


def _watched(lists: Sequence[CheckList], span: VerdictSpan) -> bool:
    """Whether any check was in force: a service that was retired, or is not watched yet, is not unknown but absent."""
    in_force = list_in_force(lists, span.start_us)
    return in_force is not None and bool(in_force.checks)


def _before(since_us: int | None, to_us: int) -> int | None:
    """An instant, unless it lies in a time that was not."""
    return since_us if since_us is not None and since_us <= to_us else None


def _since(known_us: int | None, span: VerdictSpan, *, holds: bool) -> int | None:
    """Since when something holds that did up to the span, or not."""
    if not holds:
        return None
    return span.start_us if known_us is None else known_us


def _share(peak: tuple[int, int]) -> tuple[int, int]:
    failing, total = peak
    return (failing * 1_000_000 // total if total else 0, failing)

"""What is carried on from one reading of the figures to the next: sweeps whose evidence says the same, closed months.

The evidence is read each time. A sweep is taken from before only where that evidence is the same up to then and every
span that held then still holds, so that the verdicts are the same too and the last one merely lasts longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from monitor.core.check import CheckList
from monitor.core.month import Figures
from monitor.core.run import OutcomeSpan, SourceKey
from monitor.core.span import Span
from monitor.core.verdict import VerdictSpan, judge

Evidence = Mapping[SourceKey, Sequence[OutcomeSpan]]

PERIODS = 8
"""How many periods of a service are kept: this month and the one before it, in four zones."""

CLOSED_MONTHS = 4
"""How many closed months of a partner and service are kept."""

K = TypeVar("K")
V = TypeVar("V")


class Swept(NamedTuple):
    """A sweep of a service, and what it rests on."""

    until: Span
    lists: Sequence[CheckList]
    evidence: Evidence
    verdicts: list[VerdictSpan]


class FigureKeeper:
    """Bounded by the services and subscriptions of the ledger. Several threads may read at a time."""

    def __init__(self) -> None:
        self._swept: dict[str, dict[Span, Swept]] = {}
        self._closed: dict[tuple[str, str], dict[tuple[str, int], Figures]] = {}

    def verdicts(
        self, service: str, period: Span, lists: Sequence[CheckList], evidence: Evidence, until: Span
    ) -> list[VerdictSpan]:
        """What `judge` makes of the evidence over `until`, the elapsed part of a period."""
        kept = self._swept.setdefault(service, {})
        before = kept.get(period)
        found = None if before is None else _lasting(before, lists, evidence, until)
        verdicts = judge(lists, evidence, until) if found is None else found
        _keep(kept, period, Swept(until, lists, evidence, verdicts), PERIODS)
        return verdicts

    def closed(self, partner: str, service: str, month: str, version: int) -> Figures | None:
        """The figures of a version, if they were computed before: a version never changes (CONTRACT 2.7)."""
        return self._closed.get((partner, service), {}).get((month, version))

    def close(self, figures: Figures, version: int) -> None:
        """Keep the figures of a version."""
        kept = self._closed.setdefault((figures.partner, figures.service), {})
        _keep(kept, (str(figures.month), version), figures, CLOSED_MONTHS)


def _keep(kept: dict[K, V], key: K, value: V, most: int) -> None:
    """The newest of a bounded number."""
    kept.pop(key, None)
    kept[key] = value
    for old in list(kept)[:-most]:
        kept.pop(old, None)


def _lasting(before: Swept, lists: Sequence[CheckList], evidence: Evidence, until: Span) -> list[VerdictSpan] | None:
    """The verdicts of before, the last one up to now; None where anything else may have happened."""
    then_us, now_us = before.until.end_us, until.end_us
    if not before.verdicts or now_us < then_us or before.until.start_us != until.start_us or before.lists != lists:
        return None
    if any(then_us <= entry.at_us < now_us for entry in lists):
        return None
    if before.evidence.keys() != evidence.keys():
        return None
    if not all(_same(spans, evidence[source], then_us, now_us) for source, spans in before.evidence.items()):
        return None
    return [*before.verdicts[:-1], before.verdicts[-1]._replace(end_us=now_us)]


def _same(then: Sequence[OutcomeSpan], now: Sequence[OutcomeSpan], then_us: int, now_us: int) -> bool:
    """Whether a source says the same: nothing new began, and nothing ended between then and now."""
    if len(then) != len(now) or then[:-1] != now[:-1]:
        return False
    last, lasts = then[-1], now[-1]
    if (last.start_us, last.outcome) != (lasts.start_us, lasts.outcome):
        return False
    if last.end_us < then_us:
        return lasts.end_us == last.end_us
    return lasts.end_us >= now_us

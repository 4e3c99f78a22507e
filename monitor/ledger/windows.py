"""The windows and exclusions that touch a statement's month, as the record of its version holds them: when each lies,
when it was announced or decided, and whether it qualifies. What a report shows beside the statement's figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from monitor.core.exclusion import excluded_for
from monitor.core.fact import ExclusionReason
from monitor.core.instant import format_instant
from monitor.core.span import Span
from monitor.ledger.month import Months, Statement


def windows_of(months: Months, statement: Statement) -> list[dict[str, Any]]:
    """Each window or exclusion that covers the statement's partner and service in its month, by its start.

    `announced` is the partner's notice for a window (null: there was none), the time of the decision for an exclusion.
    """
    ground = statement.ground
    book, zone = ground.record.book, months.basis.zone(ground.terms.zone)
    excluded, rejected = excluded_for(book, ground.partner, ground.service, ground.terms.maintenance_notice_us)
    qualifying = {entry.id: entry.span for entry in excluded}
    spans = {entry.id: entry.span for entry in rejected} | qualifying

    def found() -> Iterator[tuple[str, str, int | None]]:
        for window in book.windows.values():
            yield window.fact.id, ExclusionReason.MAINTENANCE.value, window.notice_us(ground.partner)
        for recorded in book.exclusions.values():
            yield recorded.fact.id, recorded.fact.reason.value, recorded.recorded_us

    listed = [
        (spans[name], name, reason, told_us)
        for name, reason, told_us in found()
        if name in spans and _touches(spans[name], ground.period)
    ]
    return [
        {
            "id": name,
            "reason": reason,
            "start": format_instant(span.start_us, zone),
            "end": format_instant(span.end_us, zone),
            "announced": None if told_us is None else format_instant(told_us, zone),
            "qualifies": name in qualifying,
        }
        for span, name, reason, told_us in sorted(listed, key=lambda entry: entry[:2])
    ]


def _touches(span: Span, period: Span) -> bool:
    return span.overlaps(period) or period.contains(span.start_us)

"""Questions, and parts of them, written once: those that a month's statements ask many times cost more to build than to
run.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, Table, bindparam, func, select

from monitor.core.run import Outcome
from monitor.core.span import Span
from monitor.storage.cold import EXPIRED, segments_query
from monitor.storage.rows import RUN_COLUMNS
from monitor.storage.schema import RUNS, SEGMENTS, SOURCES, SPANS

SOURCE_COLUMNS = (SOURCES.c.service, SOURCES.c.check, SOURCES.c.location)
"""What names a source."""


def stamped(table: Table, service: str, within: Span) -> tuple[ColumnElement[bool], ...]:
    """That a row of a table of runs is stamped in the span, and its source (joined) is the service's and counts."""
    at = table.c.start_us
    return SOURCES.c.service == service, SOURCES.c.counts == 1, at >= within.start_us, at < within.end_us


def _spans() -> Select[Any]:
    """(service, check, location, start, end, outcome) of the spans that overlap [`first`, `last`), by source.

    Derived spans of a source are disjoint: only the last one that starts before can reach into the span.
    """
    before = SPANS.alias()
    first: BindParameter[int] = bindparam("first")
    last: BindParameter[int] = bindparam("last")
    reaching = (
        select(func.max(before.c.start_us))
        .where(before.c.source == SOURCES.c.id, before.c.start_us <= first)
        .correlate(SOURCES)
        .scalar_subquery()
    )
    return (
        select(*SOURCE_COLUMNS, SPANS.c.start_us, SPANS.c.end_us, SPANS.c.outcome)
        .select_from(SOURCES)
        .join(SPANS, SPANS.c.source == SOURCES.c.id)
        .where(
            SOURCES.c.counts == 1,
            SPANS.c.start_us >= func.coalesce(reaching, first),
            SPANS.c.start_us < last,
            SPANS.c.end_us > first,
        )
        .order_by(*SOURCE_COLUMNS, SPANS.c.start_us)
    )


def _first_failure() -> Select[Any]:
    """The earliest failing run of the source with the id `held` stamped in [`first`, `last`)."""
    return (
        select(*(RUNS.c[name] for name in RUN_COLUMNS))
        .where(
            RUNS.c.source == bindparam("held"),
            RUNS.c.start_us >= bindparam("first"),
            RUNS.c.start_us < bindparam("last"),
            RUNS.c.outcome == Outcome.FAIL.value,
        )
        .order_by(RUNS.c.start_us)
        .limit(1)
    )


def _expired_of_service() -> Select[Any]:
    """The segments of a `service` whose runs have expired, of hours that start between `after` and `before`."""
    return segments_query(bodies=False).where(
        SEGMENTS.c.service == bindparam("service"),
        SEGMENTS.c.hour_us > bindparam("after"),
        SEGMENTS.c.hour_us < bindparam("before"),
        SEGMENTS.c.state == EXPIRED,
    )


SPANS_OF_ALL = _spans()
SPANS_OF_SERVICE = SPANS_OF_ALL.where(SOURCES.c.service == bindparam("service"))
FIRST_FAILURE = _first_failure()
EXPIRED_OF_SERVICE = _expired_of_service()

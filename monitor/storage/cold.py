"""Runs whose rows went: their segments as queries, and the hours of a service decoded as they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import LargeBinary, Row, Select, func, select

from monitor.core.body import Arrived
from monitor.core.chain import digest
from monitor.core.instant import HOUR_US
from monitor.core.run import SourceKey
from monitor.core.segment import Segment, SegmentError, SegmentKey, hour_of, read_runs
from monitor.core.span import Span
from monitor.storage import SealedSegment, StoreError
from monitor.storage.schema import PACKS, SEGMENTS

HOT, COLD, EXPIRED = 0, 1, 2
# How many sources of how many hours are kept decoded: a few megabytes.
CACHED = 256
# Hours that are read at once.
PAGE_HOURS = 24

_META = (
    SEGMENTS.c.id,
    SEGMENTS.c.service,
    SEGMENTS.c.hour_us,
    SEGMENTS.c.number,
    SEGMENTS.c.seq,
    SEGMENTS.c.runs,
    SEGMENTS.c.state,
    SEGMENTS.c.first_arrival,
    SEGMENTS.c.last_arrival,
    SEGMENTS.c.through,
    SEGMENTS.c.head,
    SEGMENTS.c.body_digest,
)
# Where it stands by itself, or its part of a pack.
_BODY = func.coalesce(
    SEGMENTS.c.body,
    func.substr(PACKS.c.data, SEGMENTS.c.body_at + 1, SEGMENTS.c.body_size, type_=LargeBinary),
).label("body")
_WITH_BODIES = select(*_META, _BODY).select_from(SEGMENTS.outerjoin(PACKS, PACKS.c.id == SEGMENTS.c.pack))


def hours_query(service: str, within: Span, states: Sequence[int], *, latest_first: bool = False) -> Select[Any]:
    """The starts of a service's sealed hours that share time with a span, a page of them."""
    order = SEGMENTS.c.hour_us.desc() if latest_first else SEGMENTS.c.hour_us
    return (
        select(SEGMENTS.c.hour_us)
        .distinct()
        .where(
            SEGMENTS.c.service == service,
            SEGMENTS.c.hour_us > within.start_us - HOUR_US,
            SEGMENTS.c.hour_us < within.end_us,
            SEGMENTS.c.state.in_(states),
        )
        .order_by(order)
        .limit(PAGE_HOURS)
    )


def segments_query(*, bodies: bool = True) -> Select[Any]:
    """Segments by hour, service and number."""
    query = _WITH_BODIES if bodies else select(*_META)
    return query.order_by(SEGMENTS.c.hour_us, SEGMENTS.c.service, SEGMENTS.c.number)


def of_hours(service: str, hours: Sequence[int]) -> Select[Any]:
    """The segments of a service's hours."""
    return segments_query().where(SEGMENTS.c.service == service, SEGMENTS.c.hour_us.in_(hours))


def read_segment(row: Row[Any]) -> SealedSegment:
    """The segment of a row."""
    body = row._mapping.get("body")  # noqa: SLF001 - the public face of a row's columns
    return SealedSegment(
        segment=Segment(
            key=SegmentKey(row.service, row.hour_us, row.number),
            runs=row.runs,
            head=row.head,
            body=body,
            body_digest=row.body_digest or (digest(body) if body is not None else ""),
        ),
        seq=row.seq,
        first_arrival=row.first_arrival,
        last_arrival=row.last_arrival,
        through=row.through,
        hot=row.state == HOT,
        expired=row.state == EXPIRED,
    )


class Decoded:
    """Runs of segments by source, the latest used kept. What a segment holds never changes."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, SourceKey | None], list[Arrived]] = OrderedDict()

    def runs(self, row: Row[Any], source: SourceKey | None, *, target: str) -> list[Arrived]:
        """The runs of a segment's row, of one source or of all; StoreError where its bytes are none."""
        key = (row.id, source)
        found = self._held.get(key)
        if found is None:
            found = self._held[key] = decode(row, source, target=target)
            if len(self._held) > CACHED:
                self._held.popitem(last=False)
        return found

    def within(self, rows: Iterable[Row[Any]], source: SourceKey | None, within: Span, *, target: str) -> list[Arrived]:
        """The runs of segments stamped in the span: of a key that several hold, the one of the last."""
        held = {
            one.run.key: one
            for row in rows
            for one in self.runs(row, source, target=target)
            if within.contains(one.run.start_us)
        }
        return sorted(held.values(), key=lambda one: one.run.start_us)


def decode(row: Row[Any], source: SourceKey | None, *, target: str) -> list[Arrived]:
    """The runs of a segment's row, of one source or of all; none once they have expired. StoreError where its bytes
    are no segment.
    """
    if row.state == EXPIRED:
        return []
    try:
        return read_runs(read_segment(row).segment, source)
    except SegmentError as error:
        cause = f"the segment of {row.service} sealed by entry {row.seq} (number {row.number}): {error}"
        hint = "run jaga ledger verify: it names every segment that was changed"
        raise StoreError("read", target, cause, hint) from error


def hours_of(starts: Iterable[int]) -> list[int]:
    """The hours in which instants lie."""
    return sorted({hour_of(at_us) for at_us in starts})

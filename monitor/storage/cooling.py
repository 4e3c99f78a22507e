"""Within the transaction of a unit: hours are sealed beside their rows, their rows go, their runs expire; and runs that
are given again are looked up where they went.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from monitor.core.entry import Entry
from monitor.core.fact import Sealed
from monitor.core.instant import HOUR_US
from monitor.core.run import Run
from monitor.core.segment import hour_of
from monitor.core.span import Span
from monitor.storage import Unit
from monitor.storage.cold import COLD, EXPIRED, HOT, Decoded, hours_of, of_hours, read_segment, segments_query
from monitor.storage.questions import stamped
from monitor.storage.schema import CONTESTED, ENTRIES, PACKS, RUNS, SEGMENTS, SOURCES

PACK_BYTES = 32 * 1024
"""Bodies sealed together fill a pack up to here: enough to fill its pages, little enough to be read for one of them."""


class Cooling:
    """The segments of one transaction. `until_us`: no row stamped at or after it has gone."""

    def __init__(self, connection: Connection, target: str) -> None:
        self.until_us = 0
        self._connection = connection
        self._target = target
        self._decoded = Decoded()
        self._seqs: dict[int, int] = {}
        self._expired: set[tuple[str, int]] = set()

    # Runs that come again.

    def sealed_of(self, runs: Sequence[Run]) -> list[tuple[Run, int, int]]:
        """The runs with the keys of those given whose rows went, as they were sealed: (run, arrival, segment's id)."""
        late = [run for run in runs if run.start_us < self.until_us]
        if not late:
            return []
        found = []
        keys = {run.key for run in late}
        for service in sorted({run.service for run in late}):
            starts = [run.start_us for run in late if run.service == service]
            for row in self._rows(service, hours_of(starts)):
                found += [
                    (held.run, held.arrival, row.id)
                    for source in sorted({run.source for run in late if run.service == service})
                    for held in self._decoded.runs(row, source, target=self._target)
                    if held.run.key in keys and not held.contested
                ]
        return found

    @property
    def expired_any(self) -> bool:
        """Whether `has_expired` is true of any run of those that `sealed_of` was asked for."""
        return bool(self._expired)

    def has_expired(self, run: Run) -> bool:
        """Whether a run belongs to an hour whose runs have expired. Asked after `sealed_of`."""
        return (run.service, hour_of(run.start_us)) in self._expired

    def sealed_at_us(self, segment_id: int) -> int:
        """When a run of the segment had been recorded at the latest: the instant of the entry that sealed it."""
        query = select(ENTRIES.c.recorded_at_us).where(ENTRIES.c.seq == self._seqs[segment_id])
        return int(self._connection.execute(query).scalar_one())

    def cool_again(self, warm: dict[int, int]) -> None:
        """Take away the rows that were put back, but for those that became contested: these stay rows."""
        if not warm:
            return
        arrivals = sorted(warm)
        alike = set(
            self._connection.execute(
                select(RUNS.c.arrival).where(RUNS.c.arrival.in_(arrivals), RUNS.c.contested == 0)
            ).scalars()
        )
        self._connection.execute(delete(RUNS).where(RUNS.c.arrival.in_(sorted(alike))))
        for arrival in arrivals:
            if arrival not in alike:
                self._count_gone(warm[arrival], -1)

    def _rows(self, service: str, hours: Sequence[int]) -> list[Row[Any]]:
        rows = [row for row in self._connection.execute(of_hours(service, hours)) if row.state != HOT]
        self._seqs |= {row.id: row.seq for row in rows}
        self._expired |= {(service, row.hour_us) for row in rows if row.state == EXPIRED}
        return [row for row in rows if row.state == COLD]

    # What a unit asks for.

    def write(self, unit: Unit, entries: Iterable[Entry]) -> None:
        """Segments first, then the hours whose rows go, then those whose runs expire."""
        sealed = {entry.fact.hour_us: entry.seq for entry in entries if isinstance(entry.fact, Sealed)}
        self._insert(unit, sealed)
        for service, hour_us in unit.cooled:
            self._cool(service, hour_us)
        for service, hour_us in unit.expired:
            self._expire(service, hour_us)

    def _insert(self, unit: Unit, sealed: dict[int, int]) -> None:
        places = self._packed([held.segment.body for held in unit.segments])
        for held, (pack, at, body) in zip(unit.segments, places, strict=True):
            segment = held.segment
            gone = segment.body is None
            self._connection.execute(
                insert(SEGMENTS).values(
                    service=segment.key.service,
                    hour_us=segment.key.hour_us,
                    number=segment.key.number,
                    seq=sealed[segment.key.hour_us] if held.seq is None else held.seq,
                    runs=segment.runs,
                    state=EXPIRED if gone else HOT if held.hot else COLD,
                    gone=0 if held.hot or gone else segment.runs,
                    first_arrival=held.first_arrival,
                    last_arrival=held.last_arrival,
                    through=held.through,
                    head=segment.head,
                    body=body,
                    pack=pack,
                    body_at=at,
                    body_size=None if pack is None or segment.body is None else len(segment.body),
                    body_digest=segment.body_digest if gone else None,
                )
            )
            if not held.hot:
                self.until_us = max(self.until_us, segment.key.hour_us + HOUR_US)

    def _packed(self, bodies: Sequence[bytes | None]) -> list[tuple[int | None, int | None, bytes | None]]:
        """Of each body its pack and its place in it, or itself: bodies that are alone in their pack need none."""
        found: list[tuple[int | None, int | None, bytes | None]] = [(None, None, body) for body in bodies]
        waiting: list[int] = []
        for number, body in enumerate(bodies):
            if body is not None:
                waiting.append(number)
            size = sum(len(bodies[held] or b"") for held in waiting)
            if len(waiting) > 1 and (size >= PACK_BYTES or number == len(bodies) - 1):
                data = b"".join(bodies[held] or b"" for held in waiting)
                pack = self._connection.execute(insert(PACKS).values(data=data).returning(PACKS.c.id)).scalar_one()
                at = 0
                for held in waiting:
                    found[held] = (pack, at, None)
                    at += len(bodies[held] or b"")
            if size >= PACK_BYTES:
                waiting = []
        return found

    def _cool(self, service: str, hour_us: int) -> None:
        """Rows go that a segment holds, but for contested ones and the newest of each source, which is asked for often
        and says where a source stands without opening a segment.
        """
        query = segments_query(bodies=False).where(SEGMENTS.c.service == service, SEGMENTS.c.hour_us == hour_us)
        rows = list(self._connection.execute(query))
        through = max((row.through for row in rows), default=0)
        for source in self._connection.execute(
            select(SOURCES.c.id).where(SOURCES.c.service == service, SOURCES.c.counts == 1)
        ).scalars():
            newest = select(func.max(RUNS.c.start_us)).where(RUNS.c.source == source).scalar_subquery()
            gone = self._connection.execute(
                delete(RUNS).where(
                    RUNS.c.source == source,
                    RUNS.c.start_us >= hour_us,
                    RUNS.c.start_us < hour_us + HOUR_US,
                    RUNS.c.arrival + 0 <= through,
                    RUNS.c.contested == 0,
                    RUNS.c.start_us < newest,
                )
            ).rowcount
            if gone:
                self._count_gone(rows[0].id, gone)
        states = {row.id for row in rows if row.state == HOT}
        self._connection.execute(update(SEGMENTS).where(SEGMENTS.c.id.in_(states)).values(state=COLD))
        self.until_us = max(self.until_us, hour_us + HOUR_US)

    def _expire(self, service: str, hour_us: int) -> None:
        """The runs go for good, contested ones with all that was given for them."""
        query = segments_query().where(SEGMENTS.c.service == service, SEGMENTS.c.hour_us == hour_us)
        for row in self._connection.execute(query).all():
            digest_text = read_segment(row).segment.body_digest
            values = {"state": EXPIRED, "body": None, "pack": None, "gone": 0, "body_digest": digest_text}
            packed = select(SEGMENTS.c.pack).where(SEGMENTS.c.id == row.id)
            pack = self._connection.execute(packed).scalar_one()
            self._connection.execute(update(SEGMENTS).where(SEGMENTS.c.id == row.id).values(values))
            if pack is not None:
                # The last one out takes the pack along.
                left = select(SEGMENTS.c.id).where(SEGMENTS.c.pack == pack).exists()
                self._connection.execute(delete(PACKS).where(PACKS.c.id == pack, ~left))
        ours = select(SOURCES.c.id).where(SOURCES.c.service == service, SOURCES.c.counts == 1)
        for table in (RUNS, CONTESTED):
            self._connection.execute(
                delete(table).where(
                    table.c.source.in_(ours), table.c.start_us >= hour_us, table.c.start_us < hour_us + HOUR_US
                )
            )

    def count_gone(self) -> None:
        """After a move: of hours with rows beside their segments, how many of the runs are no rows."""
        hour = (RUNS.c.start_us - RUNS.c.start_us % HOUR_US).label("hour_us")
        query = (
            select(SOURCES.c.service, hour)
            .distinct()
            .join(RUNS, RUNS.c.source == SOURCES.c.id)
            .where(SOURCES.c.counts == 1)
        )
        for service, hour_us in self._connection.execute(query).all():
            segments = self._rows(service, [int(hour_us)])
            keys = {held.run.key for row in segments for held in self._decoded.runs(row, None, target=self._target)}
            beside = self._connection.execute(
                select(SOURCES.c.check, SOURCES.c.location, RUNS.c.start_us)
                .join(RUNS, RUNS.c.source == SOURCES.c.id)
                .where(*stamped(RUNS, service, Span(hour_us, hour_us + HOUR_US)))
            )
            left = len(keys - {(service, *row) for row in beside})
            for row in segments:
                values = {"gone": left if row is segments[0] else 0}
                self._connection.execute(update(SEGMENTS).where(SEGMENTS.c.id == row.id).values(values))

    def _count_gone(self, segment_id: int, rows: int) -> None:
        counted = update(SEGMENTS).where(SEGMENTS.c.id == segment_id).values(gone=SEGMENTS.c.gone + rows)
        self._connection.execute(counted)

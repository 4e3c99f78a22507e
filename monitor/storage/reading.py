"""What is asked of a store, as queries: each answer from one committed state, in pages held briefly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, func, select, tuple_

from monitor.core.entry import Entry, Head, open_entry
from monitor.core.fact import Sealed
from monitor.core.instant import HOUR_US, format_instant
from monitor.core.run import Origin, Outcome, OutcomeSpan, SourceKey, StatedSpan
from monitor.core.segment import Piece, Segment, SegmentError, read_pieces, root_of
from monitor.core.span import Span
from monitor.core.wire import FactError
from monitor.storage import Acknowledged, Counts, OutboxRow, SealedSegment, StoreError, Waiting
from monitor.storage.asking import PAGE_ROWS, in_one_state
from monitor.storage.checksum import wrong_rows
from monitor.storage.cold import (
    HOT,
    PAGE_HOURS,
    read_segment,
    segments_query,
)
from monitor.storage.errors import mapped
from monitor.storage.questions import EXPIRED_OF_SERVICE, SOURCE_COLUMNS, SPANS_OF_ALL, SPANS_OF_SERVICE
from monitor.storage.runs import RunReader
from monitor.storage.schema import ENTRIES, LEDGER, MARKS, OUTBOX, RUNS, SEGMENTS, SOURCES, SPANS, STATED

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}

_ENTRY = (
    ENTRIES.c.seq,
    ENTRIES.c.type,
    ENTRIES.c.origin,
    ENTRIES.c.recorded_at_us,
    ENTRIES.c.epoch,
    ENTRIES.c.prev,
    ENTRIES.c.hash,
    ENTRIES.c.data,
)

# The daemon asks it each second, mostly for nothing: making the statement costs more than running it.
_WAITING = select(OUTBOX.c.channel, func.count(), func.min(OUTBOX.c.at_us)).group_by(OUTBOX.c.channel)


class SqlReader(RunReader):
    """A store open for reading: `monitor.storage.Reader` over an engine, or over one connection within a snapshot."""

    @contextmanager
    def snapshot(self) -> Iterator[SqlReader]:
        """A reader whose answers all come from one committed state, for as long as the block lasts."""
        if self._bound is not None:
            yield self
            return
        assert not self._closed, "the store was closed"
        with mapped("read", self.target):
            connection = self._engine.connect().execution_options(**self._backend.snapshot_options)
        with connection:
            frozen = SqlReader(self._engine, self._backend, bound=connection, sources=self._ids, decoded=self._decoded)
            frozen.head()  # the first read is what freezes the state
            yield frozen

    def head(self) -> Head:
        """The end of the chain."""
        row = self._row(select(LEDGER.c.seq, LEDGER.c.hash, LEDGER.c.epoch, LEDGER.c.recorded_at_us))
        assert row is not None, "a store without its ledger row was opened"
        return Head(**row)

    def first_own_entry(self) -> int | None:
        """The seq of the first entry that this ledger or an agent made; None while all are imported."""
        row = self._row(select(LEDGER.c.first_own_seq))
        return None if row is None else row["first_own_seq"]

    def entries(self, *, after: int = 0, types: Sequence[str] | None = None) -> Iterator[Entry]:
        """Entries with seq > after, in order, of the given types only (None: all)."""
        for seq, _, _, recorded_at_us, _, _, _, data in self._entry_rows(after, types):
            try:
                yield open_entry(orjson.loads(data), data=data, recorded_at_us=recorded_at_us)
            except (ValueError, KeyError, FactError) as error:
                cause = f"the bytes of entry {seq} are no entry"
                hint = "run jaga ledger verify: it names every entry that was changed"
                raise StoreError("read", self.target, cause, hint) from error

    def raw_entries(self, *, after: int = 0) -> Iterator[tuple[Mapping[str, Any], bytes]]:
        """(columns, stored bytes) in order, unparsed: what verification compares."""
        names = [column.name for column in _ENTRY]
        for row in self._entry_rows(after, None):
            yield dict(zip(names, row, strict=True)), row[-1]

    def kept(self, source: SourceKey, within: Span) -> Iterator[Piece]:
        """What the expired hours of a source said, pieces that start in the span, by start."""
        asked = {"service": source.service, "after": within.start_us - HOUR_US, "before": within.end_us}
        newest = {row.hour_us: row for row in self._tuples(EXPIRED_OF_SERVICE, asked)}
        for _, row in sorted(newest.items()):
            pieces = self._pieces(read_segment(row)).get(source, [])
            yield from (piece for piece in pieces if within.contains(piece.start_us))

    def _pieces(self, sealed: SealedSegment) -> dict[SourceKey, list[Piece]]:
        try:
            return read_pieces(sealed.segment.key, sealed.segment.head)
        except SegmentError as error:
            cause = f"the segment of {sealed.segment.key.service} sealed by entry {sealed.seq}: {error}"
            hint = "run jaga ledger verify: it names every segment that was changed"
            raise StoreError("read", self.target, cause, hint) from error

    def segments(
        self, service: str | None = None, *, within: Span | None = None, hot: bool | None = None, bodies: bool = True
    ) -> Iterator[SealedSegment]:
        """Segments by hour, service and number; `bodies` False leaves out those, which is cheap."""
        query = segments_query(bodies=bodies).limit(PAGE_HOURS if bodies else PAGE_ROWS)
        if service is not None:
            query = query.where(SEGMENTS.c.service == service)
        if within is not None:
            query = query.where(SEGMENTS.c.hour_us > within.start_us - HOUR_US, SEGMENTS.c.hour_us < within.end_us)
        if hot is not None:
            query = query.where((SEGMENTS.c.state == HOT) if hot else (SEGMENTS.c.state != HOT))
        after = tuple_(SEGMENTS.c.hour_us, SEGMENTS.c.service, SEGMENTS.c.number)
        place: tuple[int, str, int] | None = None
        while rows := self._tuples(query if place is None else query.where(after > place)):
            for row in rows:
                yield read_segment(row)
            place = (row.hour_us, row.service, row.number)

    def stated(self, source: SourceKey, within: Span, *, disputed: bool = False) -> Iterator[StatedSpan]:
        """Stated spans of a source that overlap the span, by start, end and outcome."""
        overlapping = (STATED.c.start_us < within.end_us, STATED.c.end_us > within.start_us)
        yield from (span for span, _ in self._stated(source, *overlapping, disputed=disputed))

    def stated_rows(self, source: SourceKey, *, disputed: bool = False) -> Iterator[tuple[StatedSpan, int]]:
        """Every stated span of a source by start, end and outcome, each with the instant of its recording."""
        return self._stated(source, disputed=disputed)

    def _stated(
        self, source: SourceKey, *where: ColumnElement[bool], disputed: bool
    ) -> Iterator[tuple[StatedSpan, int]]:
        held = self._source_id(source, disputed=disputed)
        if held is None:
            return
        order = (STATED.c.start_us, STATED.c.end_us, STATED.c.outcome)
        query = select(*order, STATED.c.recorded_at_us).where(STATED.c.source == held, *where).order_by(*order)
        for start_us, end_us, outcome, recorded_at_us in self._tuples(query):
            span = StatedSpan(**source._asdict(), start_us=start_us, end_us=end_us, outcome=Outcome(outcome))
            yield span, recorded_at_us

    def sources(self, service: str | None = None, *, disputed: bool = False) -> list[SourceKey]:
        """Every source with evidence, sorted."""
        query = select(*SOURCE_COLUMNS).where(SOURCES.c.counts == (0 if disputed else 1))
        if service is not None:
            query = query.where(SOURCES.c.service == service)
        return sorted(SourceKey(*row) for row in self._tuples(query))

    def spans(self, service: str, within: Span) -> dict[SourceKey, list[OutcomeSpan]]:
        """Derived outcome spans that overlap the span (unclipped), by source, by start."""
        return self._spans(SPANS_OF_SERVICE, within, {"service": service}).get(service, {})

    def spans_by_service(self, within: Span) -> dict[str, dict[SourceKey, list[OutcomeSpan]]]:
        """The same for every service that has any there, in one question."""
        return self._spans(SPANS_OF_ALL, within, {})

    def _spans(
        self, query: Select[Any], within: Span, asked: Mapping[str, str]
    ) -> dict[str, dict[SourceKey, list[OutcomeSpan]]]:
        found: dict[str, dict[SourceKey, list[OutcomeSpan]]] = {}
        if within.end_us <= within.start_us:
            return found
        source: tuple[str, str, str] | None = None
        spans: list[OutcomeSpan] = []
        rows = self._tuples(query, {**asked, "first": within.start_us, "last": within.end_us})
        for service, check, location, start_us, end_us, outcome in rows:
            if (service, check, location) != source:
                source, spans = SourceKey(service, check, location), []
                found.setdefault(service, {})[source] = spans
            spans.append(OutcomeSpan(start_us, end_us, _OUTCOMES[outcome]))
        return found

    def spans_of(self, source: SourceKey, within: Span) -> list[OutcomeSpan]:
        """The same for one source."""
        held = self._source_id(source)
        if held is None or within.end_us <= within.start_us:
            return []
        # Derived spans of a source are disjoint: only the last one that starts before can reach into the span.
        before = SPANS.alias()
        reaching = select(func.max(before.c.start_us)).where(
            before.c.source == held, before.c.start_us <= within.start_us
        )
        query = (
            select(SPANS.c.start_us, SPANS.c.end_us, SPANS.c.outcome)
            .where(
                SPANS.c.source == held,
                SPANS.c.start_us >= func.coalesce(reaching.scalar_subquery(), within.start_us),
                SPANS.c.start_us < within.end_us,
                SPANS.c.end_us > within.start_us,
            )
            .order_by(SPANS.c.start_us)
        )
        return [OutcomeSpan(start_us, end_us, Outcome(outcome)) for start_us, end_us, outcome in self._tuples(query)]

    @in_one_state
    def ends(self, service: str, from_us: int) -> dict[SourceKey, tuple[int | None, list[OutcomeSpan]]]:
        """Of every source of a service the stamp of its newest evidence, and its spans that end after the instant."""
        newest = {run.source: run.start_us for run in self.latest_runs(service)}
        stated = (
            select(*SOURCE_COLUMNS, func.max(STATED.c.start_us))
            .join(STATED, STATED.c.source == SOURCES.c.id)
            .where(SOURCES.c.service == service, SOURCES.c.counts == 1)
            .group_by(*SOURCE_COLUMNS)
        )
        for *named, start_us in self._tuples(stated):
            newest[SourceKey(*named)] = max(start_us, newest.get(SourceKey(*named), start_us))
        before = SPANS.alias()
        reaching = select(func.max(before.c.start_us)).where(
            before.c.source == SOURCES.c.id, before.c.start_us <= from_us
        )
        query = (
            select(*SOURCE_COLUMNS, SPANS.c.start_us, SPANS.c.end_us, SPANS.c.outcome)
            .join(SPANS, SPANS.c.source == SOURCES.c.id)
            .where(
                SOURCES.c.service == service,
                SOURCES.c.counts == 1,
                SPANS.c.start_us >= func.coalesce(reaching.correlate(SOURCES).scalar_subquery(), from_us),
                SPANS.c.end_us > from_us,
            )
            .order_by(SPANS.c.source, SPANS.c.start_us)
        )
        spans: dict[SourceKey, list[OutcomeSpan]] = {}
        for *named, start_us, end_us, outcome in self._tuples(query):
            spans.setdefault(SourceKey(*named), []).append(OutcomeSpan(start_us, end_us, Outcome(outcome)))
        return {source: (newest.get(source), spans.get(source, [])) for source in self.sources(service)}

    def mark(self, name: str) -> Any:  # noqa: ANN401 - a JSON document
        """The named document, None if there is none."""
        row = self._row(select(MARKS.c.value).where(MARKS.c.name == name))
        return None if row is None else orjson.loads(row["value"])

    def outbox(self, limit: int, *, channel: str | None = None) -> list[OutboxRow]:
        """Up to `limit` messages that wait to be delivered (by one channel), in the order in which they were queued."""
        query = select(OUTBOX.c.key, OUTBOX.c.channel, OUTBOX.c.kind, OUTBOX.c.payload, OUTBOX.c.at_us)
        if channel is not None:
            query = query.where(OUTBOX.c.channel == channel)
        return [
            OutboxRow(key=key, channel=name, kind=kind, payload=orjson.loads(payload), at_us=at_us)
            for key, name, kind, payload, at_us in self._tuples(query.order_by(OUTBOX.c.id).limit(limit))
        ]

    def outbox_waiting(self) -> dict[str, Waiting]:
        """What waits, by channel: a channel with nothing has no place."""
        return {channel: Waiting(count, oldest_us) for channel, count, oldest_us in self._tuples(_WAITING)}

    def marks(self, prefix: str = "") -> dict[str, bytes]:
        """All documents (whose names begin so), as JSON, by name."""
        query = select(MARKS.c.name, MARKS.c.value).order_by(MARKS.c.name)
        if prefix:
            query = query.where(MARKS.c.name.startswith(prefix, autoescape=True))
        return {name: bytes(value) for name, value in self._tuples(query)}

    def counts(self) -> Counts:
        """How much there is."""
        tables = (ENTRIES, RUNS, STATED, SPANS, OUTBOX, SEGMENTS)
        counted = [select(func.count()).select_from(table).scalar_subquery().label(table.name) for table in tables]
        gone = select(func.coalesce(func.sum(SEGMENTS.c.gone), 0)).scalar_subquery().label("gone")
        with self._connect() as connection:
            row = dict(
                connection.execute(select(*counted, gone, LEDGER.c.schema_version.label("schema"))).mappings().one()
            )
            row["runs"] += int(row.pop("gone"))
            return Counts(**row, size_bytes=self._backend.size_bytes(connection))

    def size_bytes(self) -> int:
        """How large it is, known without reading it."""
        with self._connect() as connection:
            return self._backend.size_bytes(connection)

    def acknowledged(self) -> Acknowledged | None:
        """What the owner last acknowledged, as kept outside the store; None where nothing is kept."""
        return self._backend.acknowledged()

    def damage(self, pause: Callable[[], None] | None = None) -> Iterator[str]:
        """What the store finds wrong with what it holds: pages, indexes, and rows that disagree with their sums."""
        pause = pause or _go_on
        with self._connect() as connection:
            yield from self._backend.damage(connection, pause)
            yield from wrong_rows(connection, pause)
            last = connection.execute(select(func.max(RUNS.c.arrival))).scalar() or 0
        yield from self._wrong_segments(pause)
        if last > self.last_arrival():
            yield f"ledger: run {last} arrived, the ledger knows of {self.last_arrival()}"

    def _wrong_segments(self, pause: Callable[[], None]) -> Iterator[str]:
        """Segments that are not what their entries sealed, or that are gone."""
        leaves: dict[int, list[Segment]] = {}
        for held in self.segments():
            pause()
            assert held.seq is not None, "a segment that is kept was sealed"
            # Its leaf is all that is compared, and small.
            leaves.setdefault(held.seq, []).append(held.segment.expired())
        # One that was imported tells of another ledger's segments.
        entries = (entry for entry in self.entries(types=(Sealed.TYPE,)) if entry.origin is not Origin.IMPORTED)
        sealed = {entry.seq: entry.fact for entry in entries}
        for seq in sorted(leaves.keys() - sealed.keys()):
            yield f"segments: {len(leaves[seq])} say that entry {seq} sealed them, which seals nothing"
        for seq, fact in sealed.items():
            assert isinstance(fact, Sealed), "only those were asked for"
            if root_of(leaves.get(seq, ())) != fact.root:
                hour = format_instant(fact.hour_us)
                yield f"segments: those of {hour} are not what entry {seq} sealed: one was changed, added or is gone"

    def _entry_rows(self, after: int, types: Sequence[str] | None) -> Iterator[Any]:
        query = select(*_ENTRY).order_by(ENTRIES.c.seq).limit(PAGE_ROWS)
        if types is not None:
            query = query.where(ENTRIES.c.type.in_(types))
        while True:
            page = self._tuples(query.where(ENTRIES.c.seq > after))
            yield from page
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]


def _go_on() -> None:
    """For who has nothing to interrupt."""

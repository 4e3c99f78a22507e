"""What is asked of a store, as queries: each answer from one committed state, in pages held briefly."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, Select, and_, func, select, tuple_

from monitor.core.body import Arrived
from monitor.core.entry import Entry, Head, open_entry
from monitor.core.fact import Sealed
from monitor.core.instant import HOUR_US, format_instant
from monitor.core.run import Origin, Outcome, OutcomeSpan, Run, SourceKey, StatedSpan
from monitor.core.segment import Piece, Segment, SegmentError, hour_of, read_pieces, root_of
from monitor.core.span import Span
from monitor.core.wire import FactError
from monitor.storage import Acknowledged, Counts, OutboxRow, SealedSegment, StoredRun, StoreError, Waiting
from monitor.storage.checksum import wrong_rows
from monitor.storage.cold import (
    COLD,
    EXPIRED,
    HOT,
    PAGE_HOURS,
    Decoded,
    hours_query,
    of_hours,
    read_segment,
    segments_query,
)
from monitor.storage.errors import mapped
from monitor.storage.questions import EXPIRED_OF_SERVICE, FIRST_FAILURE, SPANS_OF_ALL, SPANS_OF_SERVICE
from monitor.storage.rows import RUN_COLUMNS, content_row, read_run
from monitor.storage.schema import CONTESTED, ENTRIES, LEDGER, MARKS, OUTBOX, RUNS, SEGMENTS, SOURCES, SPANS, STATED

PAGE_ROWS = 1000

P = ParamSpec("P")
T = TypeVar("T")

# Service, check, location, disputed -> the id of the source's row. Ids are for ever, so what is known stays true.
SourceIds = dict[tuple[str, str, str, bool], int]

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_EVER = Span(-(2**62), 2**62)

_RUN = tuple(RUNS.c[name] for name in RUN_COLUMNS)
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What the two engines do differently for a reader: how to say what it is, its size, and one frozen state."""

    name: str
    target: str
    size_bytes: Callable[[Connection], int]
    acknowledged: Callable[[], Acknowledged | None] = lambda: None
    damage: Callable[[Connection, Callable[[], None]], Iterator[str]] = lambda _connection, _pause: iter(())
    snapshot_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _in_one_state(ask: Callable[Concatenate[SqlReader, P], T]) -> Callable[Concatenate[SqlReader, P], T]:
    """Rows and segments from one state: a row that went in between would be in neither."""

    @functools.wraps(ask)
    def asked(self: SqlReader, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.snapshot() as frozen:
            return ask(frozen, *args, **kwargs)

    return asked


class SqlReader:
    """A store open for reading: `monitor.storage.Reader` over an engine, or over one connection within a snapshot."""

    def __init__(
        self,
        engine: Engine,
        backend: Backend,
        *,
        bound: Connection | None = None,
        sources: SourceIds | None = None,
        decoded: Decoded | None = None,
    ) -> None:
        self._engine = engine
        self._backend = backend
        self._bound = bound
        self._closed = False
        self._ids: SourceIds = {} if sources is None else sources
        self._decoded = decoded or Decoded()

    @property
    def engine_name(self) -> str:
        """The engine and its version, such as `SQLite 3.40.1`: logged at start and exported."""
        return self._backend.name

    @property
    def target(self) -> str:
        """The store's address without secrets, for messages."""
        return self._backend.target

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

    @_in_one_state
    def runs_after(self, arrival: int, limit: int) -> list[tuple[int, Run]]:
        """Up to `limit` runs that arrived after the arrival number, in arrival order, with their numbers."""
        query = (
            select(*_RUN, *_source_columns())
            .join(SOURCES, SOURCES.c.id == RUNS.c.source)
            .where(RUNS.c.arrival > arrival, SOURCES.c.counts == 1)
            .order_by(RUNS.c.arrival)
            .limit(limit)
        )
        found = {row[0]: _joined_run(row) for row in self._tuples(query)}
        self._add_cold_after(arrival, limit, found)
        return sorted(found.items())[:limit]

    def _add_cold_after(self, arrival: int, limit: int, found: dict[int, Run]) -> None:
        query = (
            segments_query()
            .where(SEGMENTS.c.state == COLD, SEGMENTS.c.last_arrival > arrival)
            .order_by(None)
            .order_by(SEGMENTS.c.first_arrival, SEGMENTS.c.id)
        )
        taken = 0
        while rows := self._tuples(query.limit(PAGE_HOURS).offset(taken)):
            for row in rows:
                if len(found) >= limit and row.first_arrival > sorted(found)[limit - 1]:
                    return
                hour = Span(row.hour_us, row.hour_us + HOUR_US)
                superseded = self._contested_keys(row.service, hour)
                for held in self._decoded.runs(row, None, target=self.target):
                    if held.arrival > arrival and held.run.key not in superseded:
                        found[held.arrival] = held.run
            taken += len(rows)

    def _contested_keys(self, service: str, within: Span) -> set[tuple[str, str, str, int]]:
        """Keys that hold two contents: what they read is a row, whatever a segment held."""
        query = (
            select(*_source_columns(), CONTESTED.c.start_us)
            .join(SOURCES, SOURCES.c.id == CONTESTED.c.source)
            .where(
                SOURCES.c.service == service,
                SOURCES.c.counts == 1,
                CONTESTED.c.start_us >= within.start_us,
                CONTESTED.c.start_us < within.end_us,
            )
        )
        return {(row[0], row[1], row[2], row[3]) for row in self._tuples(query)}

    def runs(self, source: SourceKey, within: Span, *, disputed: bool = False) -> Iterator[Run]:
        """Runs of a source stamped in the span, by start; a contested one reads as inconclusive(conflict)."""
        held = self._source_id(source, disputed=disputed)
        if held is not None:
            for page, _ in self._pages(held, source, within, sealed=not disputed):
                yield from page.values()

    def runs_known(self, source: SourceKey, within: Span, arrival: int) -> Iterator[Run]:
        """Runs of a source stamped in the span as they were known when `arrival` was the last to have arrived."""
        held = self._source_id(source)
        if held is None:
            return
        for known, span in self._pages(held, source, within, sealed=True, arrival=arrival):
            # Asked after the page: a run that becomes contested in between is then in either or both, never in neither.
            former = {run.start_us: run for run in self._contested_since(source, held, span, arrival)}
            whole = known | former
            for start_us in sorted(whole):
                yield whole[start_us]

    def _contested_since(self, source: SourceKey, held: int, within: Span, arrival: int) -> Iterator[Run]:
        query = (
            select(CONTESTED.c.start_us, CONTESTED.c.origin, CONTESTED.c.content)
            .join(RUNS, and_(RUNS.c.source == CONTESTED.c.source, RUNS.c.start_us == CONTESTED.c.start_us))
            .where(
                CONTESTED.c.source == held,
                CONTESTED.c.start_us >= within.start_us,
                CONTESTED.c.start_us < within.end_us,
                CONTESTED.c.arrival <= arrival,
                RUNS.c.arrival > arrival,
            )
        )
        for start_us, origin, data in self._tuples(query):
            yield read_run(content_row(data, source=held, start_us=start_us, origin=origin), source)

    @_in_one_state
    def arrived_after(self, service: str, within: Span, arrival: int) -> bool:
        """Whether any run of a service stamped in the span arrived (or became contested) after the number."""
        query = (
            select(RUNS.c.source)
            .join(SOURCES, SOURCES.c.id == RUNS.c.source)
            .where(
                SOURCES.c.service == service,
                SOURCES.c.counts == 1,
                RUNS.c.start_us >= within.start_us,
                RUNS.c.start_us < within.end_us,
                RUNS.c.arrival + 0 > arrival,
            )
        )
        return bool(self._tuples(query.limit(1))) or self._cold_arrived_after(service, within, arrival)

    def _cold_arrived_after(self, service: str, within: Span, arrival: int) -> bool:
        query = segments_query().where(
            SEGMENTS.c.service == service,
            SEGMENTS.c.hour_us > within.start_us - HOUR_US,
            SEGMENTS.c.hour_us < within.end_us,
            SEGMENTS.c.last_arrival > arrival,
            SEGMENTS.c.state != HOT,
        )
        for row in self._tuples(query):
            whole = within.start_us <= row.hour_us and row.hour_us + HOUR_US <= within.end_us
            # Where the runs have gone nothing can be told apart: what comes of it is computed from what stays.
            if whole or row.state == EXPIRED:
                return True
            held = self._decoded.within([row], None, within, target=self.target)
            if any(one.arrival > arrival for one in held):
                return True
        return False

    def last_arrival(self) -> int:
        """The number of the last run that arrived; 0 while there is none."""
        return int(self._tuples(select(LEDGER.c.arrival))[0][0])

    def run_before(self, source: SourceKey, at_us: int) -> Run | None:
        """The latest run of a source stamped before the instant."""
        # The newest of a source is always a row: most ask for that one.
        newest = self._one_run(source, lambda query: query.order_by(RUNS.c.start_us.desc()))
        if newest is None or newest.start_us < at_us:
            return newest
        return self._run_before(source, at_us)

    @_in_one_state
    def _run_before(self, source: SourceKey, at_us: int) -> Run | None:
        row = self._one_run(source, lambda query: query.where(RUNS.c.start_us < at_us).order_by(RUNS.c.start_us.desc()))
        # A run whose row went is stamped before the latest row, but for the hour of that one.
        within = Span(hour_of(row.start_us) if row else _EVER.start_us, at_us)
        sealed = next(self._cold(source, within, latest_first=True), None)
        return max(filter(None, (sealed, row)), key=lambda run: run.start_us, default=None)

    @_in_one_state
    def run_after(self, source: SourceKey, at_us: int) -> Run | None:
        """The earliest run of a source stamped after the instant."""
        row = self._one_run(source, lambda query: query.where(RUNS.c.start_us > at_us).order_by(RUNS.c.start_us))
        return next(self._cold(source, Span(at_us + 1, row.start_us if row else _EVER.end_us)), row)

    def _cold(self, source: SourceKey, within: Span, *, latest_first: bool = False) -> Iterator[Run]:
        """The runs of a source stamped in the span whose rows went, by start or the other way round."""
        while within.end_us > within.start_us:
            hours = self._scalars(hours_query(source.service, within, (COLD,), latest_first=latest_first))
            if not hours:
                return
            first, last = min(hours), max(hours) + HOUR_US
            page = Span(first, last).clip(within)
            found = self._cold_in(source, page, sorted(hours))
            yield from (held.run for held in (reversed(found) if latest_first else found))
            within = Span(within.start_us, page.start_us) if latest_first else Span(page.end_us, within.end_us)

    def _cold_in(self, source: SourceKey, within: Span, hours: Sequence[int]) -> list[Arrived]:
        """The runs of a source stamped in the span whose rows went, of these hours; contested ones are rows."""
        if not hours:
            return []
        rows = [row for row in self._tuples(of_hours(source.service, hours)) if row.state == COLD]
        found = self._decoded.within(rows, source, within, target=self.target)
        superseded = self._contested_keys(source.service, within) if found else set()
        return [held for held in found if held.run.key not in superseded]

    def latest_runs(self, service: str | None = None) -> list[Run]:
        """The latest run of each source, by source."""
        newest = (
            select(func.max(RUNS.c.start_us)).where(RUNS.c.source == SOURCES.c.id).correlate(SOURCES).scalar_subquery()
        )
        query = (
            select(*_RUN, *_source_columns())
            .select_from(SOURCES)
            .join(RUNS, and_(RUNS.c.source == SOURCES.c.id, RUNS.c.start_us == newest))
            .where(SOURCES.c.counts == 1)
        )
        if service is not None:
            query = query.where(SOURCES.c.service == service)
        return sorted((_joined_run(row) for row in self._tuples(query)), key=lambda run: run.source)

    @_in_one_state
    def first_failure(self, source: SourceKey, within: Span) -> Run | None:
        """The earliest failing run of a source stamped in the span."""
        held = self._source_id(source)
        asked = {"held": held, "first": within.start_us, "last": within.end_us}
        rows = self._tuples(FIRST_FAILURE, asked) if held is not None else []
        row = read_run(rows[0], source) if rows else None
        earlier = Span(within.start_us, row.start_us if row else within.end_us)
        return next((run for run in self._cold(source, earlier) if run.outcome is Outcome.FAIL), row)

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

    def arrived_in(self, service: str, hour_us: int) -> list[Arrived]:
        """The rows of a service's runs stamped in an hour, as they stand."""
        query = (
            select(*_RUN, *_source_columns())
            .join(SOURCES, SOURCES.c.id == RUNS.c.source)
            .where(
                SOURCES.c.service == service,
                SOURCES.c.counts == 1,
                RUNS.c.start_us >= hour_us,
                RUNS.c.start_us < hour_us + HOUR_US,
            )
        )
        return [Arrived(row[0], _joined_run(row), bool(row[14])) for row in self._tuples(query)]

    def unsealed_hours(self, *, after_us: int, before_us: int, arrival: int) -> list[tuple[str, int]]:
        """The hours (service, start) with runs that may be in no segment, in order."""
        hour = (RUNS.c.start_us - RUNS.c.start_us % HOUR_US).label("hour_us")
        query = (
            select(SOURCES.c.service, hour)
            .distinct()
            .join(RUNS, RUNS.c.source == SOURCES.c.id)
            .where(SOURCES.c.counts == 1)
        )
        fresh = query.where(RUNS.c.start_us >= after_us, RUNS.c.start_us < before_us)
        late = query.where(RUNS.c.arrival > arrival, RUNS.c.start_us < min(after_us, before_us))
        found = {(row[0], int(row[1])) for part in (fresh, late) for row in self._tuples(part)}
        return sorted(found, key=lambda held: (held[1], held[0]))

    def rows(self, source: SourceKey, *, disputed: bool = False) -> Iterator[StoredRun]:
        """What is held of a source as rows, by start."""
        held = self._source_id(source, disputed=disputed)
        start_us = _EVER.start_us
        while held is not None:
            query = self._runs_of(held).where(RUNS.c.start_us >= start_us).order_by(RUNS.c.start_us).limit(PAGE_ROWS)
            page = self._tuples(query)
            for row in page:
                contents = self._contents(held, row[2]) if row[14] else ()
                arrived = Arrived(row[0], read_run(row, source), bool(row[14]))
                yield StoredRun(arrived=arrived, recorded_at_us=row[13], contents=contents)
            if len(page) < PAGE_ROWS:
                return
            start_us = page[-1][2] + 1

    def _contents(self, held: int, start_us: int) -> tuple[tuple[str, int | None, str, int, str], ...]:
        columns = (CONTESTED.c.digest, CONTESTED.c.arrival, CONTESTED.c.origin, CONTESTED.c.recorded_at_us)
        query = (
            select(*columns, CONTESTED.c.content)
            .where(CONTESTED.c.source == held, CONTESTED.c.start_us == start_us)
            .order_by(CONTESTED.c.digest)
        )
        return tuple((*row[:4], bytes(row[4]).decode()) for row in self._tuples(query))

    def first_row_us(self, *, after_us: int) -> int | None:
        """The earliest stamp of a run held as a row, at or after the instant."""
        first = (
            select(func.min(RUNS.c.start_us))
            .where(RUNS.c.source == SOURCES.c.id, RUNS.c.start_us >= after_us)
            .correlate(SOURCES)
            .scalar_subquery()
        )
        found = [at_us for at_us in self._scalars(select(first).where(SOURCES.c.counts == 1)) if at_us is not None]
        return min(found, default=None)

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
        query = select(*_source_columns()).where(SOURCES.c.counts == (0 if disputed else 1))
        if service is not None:
            query = query.where(SOURCES.c.service == service)
        return sorted(SourceKey(*row) for row in self._tuples(query))

    def spans(self, service: str, within: Span) -> dict[SourceKey, list[OutcomeSpan]]:
        """Derived outcome spans that overlap the span (unclipped), by source, by start."""
        found: dict[SourceKey, list[OutcomeSpan]] = {}
        if within.end_us <= within.start_us:
            return found
        asked = {"service": service, "first": within.start_us, "last": within.end_us}
        for _service, check, location, start_us, end_us, outcome in self._tuples(SPANS_OF_SERVICE, asked):
            spans = found.setdefault(SourceKey(service, check, location), [])
            spans.append(OutcomeSpan(start_us, end_us, _OUTCOMES[outcome]))
        return found

    def spans_by_service(self, within: Span) -> dict[str, dict[SourceKey, list[OutcomeSpan]]]:
        """The same for every service that has any there, in one question."""
        found: dict[str, dict[SourceKey, list[OutcomeSpan]]] = {}
        if within.end_us <= within.start_us:
            return found
        asked = {"first": within.start_us, "last": within.end_us}
        source: tuple[str, str, str] | None = None
        spans: list[OutcomeSpan] = []
        for service, check, location, start_us, end_us, outcome in self._tuples(SPANS_OF_ALL, asked):
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

    @_in_one_state
    def ends(self, service: str, from_us: int) -> dict[SourceKey, tuple[int | None, list[OutcomeSpan]]]:
        """Of every source of a service the stamp of its newest evidence, and its spans that end after the instant."""
        newest = {run.source: run.start_us for run in self.latest_runs(service)}
        stated = (
            select(*_source_columns(), func.max(STATED.c.start_us))
            .join(STATED, STATED.c.source == SOURCES.c.id)
            .where(SOURCES.c.service == service, SOURCES.c.counts == 1)
            .group_by(*_source_columns())
        )
        for *named, start_us in self._tuples(stated):
            newest[SourceKey(*named)] = max(start_us, newest.get(SourceKey(*named), start_us))
        before = SPANS.alias()
        reaching = select(func.max(before.c.start_us)).where(
            before.c.source == SOURCES.c.id, before.c.start_us <= from_us
        )
        query = (
            select(*_source_columns(), SPANS.c.start_us, SPANS.c.end_us, SPANS.c.outcome)
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

    def contested(self, source: SourceKey, start_us: int) -> list[dict[str, Any]]:
        """Every content that was given for a contested key, in no order of arrival; empty for any other."""
        held = self._source_id(source)
        query = (
            select(CONTESTED.c.origin, CONTESTED.c.content)
            .where(CONTESTED.c.source == held, CONTESTED.c.start_us == start_us)
            .order_by(CONTESTED.c.digest)
        )
        return [orjson.loads(data) | {"origin": origin} for origin, data in self._tuples(query)]

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

    def marks(self) -> dict[str, bytes]:
        """All documents, as JSON."""
        query = select(MARKS.c.name, MARKS.c.value).order_by(MARKS.c.name)
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

    def close(self) -> None:
        """Let go of the store; further calls are faults of the program."""
        self._closed = True
        self._engine.dispose()

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        assert not self._closed, "the store was closed"
        with mapped("read", self.target):
            if self._bound is not None:
                yield self._bound
            else:
                with self._engine.connect() as connection:
                    yield connection

    def _tuples(self, query: Select[Any], asked: Mapping[str, Any] | None = None) -> list[Any]:
        with self._connect() as connection:
            return list(connection.execute(query, asked).all())

    def _scalars(self, query: Select[Any]) -> list[Any]:
        return [row[0] for row in self._tuples(query)]

    def _row(self, query: Select[Any]) -> RowMapping | None:
        with self._connect() as connection:
            return connection.execute(query).mappings().first()

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

    def _source_id(self, source: SourceKey, *, disputed: bool = False) -> int | None:
        known = self._ids.get((*source, disputed))
        if known is None:
            matches = (SOURCES.c[name] == value for name, value in source._asdict().items())
            row = self._row(select(SOURCES.c.id).where(*matches, SOURCES.c.counts == (0 if disputed else 1)))
            if row is None:
                return None
            known = self._ids[*source, disputed] = row["id"]
        return known

    def _pages(
        self, held: int, source: SourceKey, within: Span, *, sealed: bool, arrival: int | None = None
    ) -> Iterator[tuple[dict[int, Run], Span]]:
        """One source's runs stamped in the span by their starts, in order, and the part of it that a page covers; with
        `arrival`, those that had arrived by then as they stand now.
        """
        start_us = within.start_us
        while start_us < within.end_us:
            page, end_us = self._page(held, source, Span(start_us, within.end_us), sealed=sealed, arrival=arrival)
            yield page, Span(start_us, end_us)
            start_us = end_us

    @_in_one_state
    def _page(
        self, held: int, source: SourceKey, within: Span, *, sealed: bool, arrival: int | None
    ) -> tuple[dict[int, Run], int]:
        hours = self._scalars(hours_query(source.service, within, (COLD,))) if sealed else []
        end_us = min(hours[-1] + HOUR_US, within.end_us) if len(hours) == PAGE_HOURS else within.end_us
        narrow = self._runs_of(held).where(RUNS.c.start_us >= within.start_us, RUNS.c.start_us < end_us)
        if arrival is not None:
            # `arrival + 0`: the index by start is the one to walk, not the one by arrival.
            narrow = narrow.where(RUNS.c.arrival + 0 <= arrival)
        rows = self._tuples(narrow.order_by(RUNS.c.start_us).limit(PAGE_ROWS))
        if len(rows) == PAGE_ROWS:
            end_us = rows[-1][2] + 1
        cold = self._cold_in(source, Span(within.start_us, end_us), [hour for hour in hours if hour < end_us])
        found = {one.run.start_us: one.run for one in cold if arrival is None or one.arrival <= arrival}
        found |= {row[2]: read_run(row, source) for row in rows}
        return (dict(sorted(found.items())) if cold else found), end_us

    def _runs_of(self, held: int) -> Select[Any]:
        return select(*_RUN).where(RUNS.c.source == held)

    def _one_run(self, source: SourceKey, narrow: Callable[[Select[Any]], Select[Any]]) -> Run | None:
        held = self._source_id(source)
        if held is None:
            return None
        rows = self._tuples(narrow(self._runs_of(held)).limit(1))
        return read_run(rows[0], source) if rows else None


def _source_columns() -> tuple[Any, ...]:
    return (SOURCES.c.service, SOURCES.c.check, SOURCES.c.location)


def _joined_run(row: Any) -> Run:  # noqa: ANN401 - a row of RUN_COLUMNS, then the source's three
    return read_run(row[:15], SourceKey(*row[15:]))


def _go_on() -> None:
    """For who has nothing to interrupt."""

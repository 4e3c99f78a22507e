"""What is asked of a store, as queries: each answer from one committed state, in pages held briefly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, RowMapping, Select, and_, func, select
from sqlalchemy.orm import aliased

from monitor.core.entry import Entry, Head, open_entry
from monitor.core.run import Outcome, OutcomeSpan, Run, SourceKey, StatedSpan
from monitor.core.span import Span
from monitor.core.wire import FactError
from monitor.storage import Counts, OutboxRow, StoreError, Waiting
from monitor.storage.errors import mapped
from monitor.storage.rows import RUN_COLUMNS, content_row, read_run
from monitor.storage.schema import CONTESTED, ENTRIES, LEDGER, MARKS, OUTBOX, RUNS, SOURCES, SPANS, STATED

PAGE_ROWS = 1000

# Service, check, location, disputed -> the id of the source's row. Ids are for ever, so what is known stays true.
SourceIds = dict[tuple[str, str, str, bool], int]

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What the two engines do differently for a reader: how to say what it is, its size, and one frozen state."""

    name: str
    target: str
    size_bytes: Callable[[Connection], int]
    snapshot_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class SqlReader:
    """A store open for reading: `monitor.storage.Reader` over an engine, or over one connection within a snapshot."""

    def __init__(
        self,
        engine: Engine,
        backend: Backend,
        *,
        bound: Connection | None = None,
        sources: SourceIds | None = None,
    ) -> None:
        self._engine = engine
        self._backend = backend
        self._bound = bound
        self._closed = False
        self._ids: SourceIds = {} if sources is None else sources

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
            frozen = SqlReader(self._engine, self._backend, bound=connection, sources=self._ids)
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

    def runs_after(self, arrival: int, limit: int) -> list[tuple[int, Run]]:
        """Up to `limit` runs that arrived after the arrival number, in arrival order, with their numbers."""
        query = (
            select(*_RUN, *_source_columns())
            .join(SOURCES, SOURCES.c.id == RUNS.c.source)
            .where(RUNS.c.arrival > arrival, SOURCES.c.counts == 1)
            .order_by(RUNS.c.arrival)
            .limit(limit)
        )
        return [(row[0], _joined_run(row)) for row in self._tuples(query)]

    def runs(self, source: SourceKey, within: Span, *, disputed: bool = False) -> Iterator[Run]:
        """Runs of a source stamped in the span, by start; a contested one reads as inconclusive(conflict)."""
        held = self._source_id(source, disputed=disputed)
        if held is not None:
            for page, _ in self._pages(self._runs_of(held), within):
                for row in page:
                    yield read_run(row, source)

    def runs_known(self, source: SourceKey, within: Span, arrival: int) -> Iterator[Run]:
        """Runs of a source stamped in the span as they were known when `arrival` was the last to have arrived."""
        held = self._source_id(source)
        if held is None:
            return
        # `arrival + 0`: the index by start is the one to walk, not the one by arrival.
        for page, span in self._pages(self._runs_of(held).where(RUNS.c.arrival + 0 <= arrival), within):
            known = {row[2]: read_run(row, source) for row in page}
            # Asked after the page: a run that becomes contested in between is then in either or both, never in neither.
            known |= {run.start_us: run for run in self._contested_since(source, held, span, arrival)}
            for start_us in sorted(known):
                yield known[start_us]

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
        return bool(self._tuples(query.limit(1)))

    def last_arrival(self) -> int:
        """The number of the last run that arrived; 0 while there is none."""
        return int(self._tuples(select(LEDGER.c.arrival))[0][0])

    def run_before(self, source: SourceKey, at_us: int) -> Run | None:
        """The latest run of a source stamped before the instant."""
        return self._one_run(
            source, lambda query: query.where(RUNS.c.start_us < at_us).order_by(RUNS.c.start_us.desc())
        )

    def run_after(self, source: SourceKey, at_us: int) -> Run | None:
        """The earliest run of a source stamped after the instant."""
        return self._one_run(source, lambda query: query.where(RUNS.c.start_us > at_us).order_by(RUNS.c.start_us))

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

    def first_failure(self, source: SourceKey, within: Span) -> Run | None:
        """The earliest failing run of a source stamped in the span."""
        return self._one_run(
            source,
            lambda query: query.where(
                RUNS.c.start_us >= within.start_us,
                RUNS.c.start_us < within.end_us,
                RUNS.c.outcome == Outcome.FAIL.value,
            ).order_by(RUNS.c.start_us),
        )

    def stated(self, source: SourceKey, within: Span, *, disputed: bool = False) -> Iterator[StatedSpan]:
        """Stated spans of a source that overlap the span, by start, end and outcome."""
        held = self._source_id(source, disputed=disputed)
        if held is None:
            return
        order = (STATED.c.start_us, STATED.c.end_us, STATED.c.outcome)
        query = (
            select(*order)
            .where(STATED.c.source == held, STATED.c.start_us < within.end_us, STATED.c.end_us > within.start_us)
            .order_by(*order)
        )
        for start_us, end_us, outcome in self._tuples(query):
            yield StatedSpan(**source._asdict(), start_us=start_us, end_us=end_us, outcome=Outcome(outcome))

    def sources(self, service: str | None = None, *, disputed: bool = False) -> list[SourceKey]:
        """Every source with evidence, sorted."""
        query = select(*_source_columns()).where(SOURCES.c.counts == (0 if disputed else 1))
        if service is not None:
            query = query.where(SOURCES.c.service == service)
        return sorted(SourceKey(*row) for row in self._tuples(query))

    def spans(self, service: str, within: Span) -> dict[SourceKey, list[OutcomeSpan]]:
        """Derived outcome spans that overlap the span (unclipped), by source, by start."""
        with self.snapshot() as frozen:
            found = {source: frozen.spans_of(source, within) for source in frozen.sources(service)}
        return {source: spans for source, spans in found.items() if spans}

    def spans_of(self, source: SourceKey, within: Span) -> list[OutcomeSpan]:
        """The same for one source."""
        held = self._source_id(source)
        if held is None or within.end_us <= within.start_us:
            return []
        # Derived spans of a source are disjoint: only the last one that starts before can reach into the span.
        before = aliased(SPANS)
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
        query = select(OUTBOX.c.channel, func.count(), func.min(OUTBOX.c.at_us)).group_by(OUTBOX.c.channel)
        return {channel: Waiting(count, oldest_us) for channel, count, oldest_us in self._tuples(query)}

    def counts(self) -> Counts:
        """How much there is."""
        tables = (ENTRIES, RUNS, STATED, SPANS, OUTBOX)
        counted = [select(func.count()).select_from(table).scalar_subquery().label(table.name) for table in tables]
        with self._connect() as connection:
            row = connection.execute(select(*counted, LEDGER.c.schema_version.label("schema"))).mappings().one()
            return Counts(**row, size_bytes=self._backend.size_bytes(connection))

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

    def _tuples(self, query: Select[Any]) -> list[Any]:
        with self._connect() as connection:
            return list(connection.execute(query).all())

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

    def _pages(self, query: Select[Any], within: Span) -> Iterator[tuple[list[Any], Span]]:
        """The rows of a query over one source's runs stamped in the span, by start, and the part that a page covers."""
        start_us = within.start_us
        while True:
            narrow = query.where(RUNS.c.start_us >= start_us, RUNS.c.start_us < within.end_us)
            page = self._tuples(narrow.order_by(RUNS.c.start_us).limit(PAGE_ROWS))
            full = len(page) == PAGE_ROWS
            end_us = page[-1][2] + 1 if full else within.end_us
            yield page, Span(start_us, end_us)
            if not full:
                return
            start_us = end_us

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

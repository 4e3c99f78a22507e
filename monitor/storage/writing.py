"""The one transaction of a unit: runs, stated spans, sealed facts, derived spans, marks and outbox, or none of it.

The row of `ledger` is locked first: it holds the head and the last arrival number, so that on PostgreSQL writers take
turns and numbers appear in the order in which they were committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Connection,
    Dialect,
    Engine,
    Insert,
    Update,
    and_,
    column,
    delete,
    insert,
    select,
    update,
    values,
)
from sqlalchemy.dialects import postgresql, sqlite

from monitor.core.entry import Entry, Head, head_after, seal
from monitor.core.run import Origin, OutcomeSpan, Run, RunKey, SourceKey, StatedSpan
from monitor.storage import (
    Acknowledged,
    Committed,
    HeadMovedError,
    OutboxRow,
    SealedSegment,
    SpanChange,
    StoreDamagedError,
    StoredRun,
    StoreMisusedError,
    Unit,
)
from monitor.storage.checksum import checksum
from monitor.storage.cooling import PACK_BYTES, Cooling
from monitor.storage.errors import mapped
from monitor.storage.reading import Backend, SourceIds, SqlReader
from monitor.storage.rows import RUN_COLUMNS, RunRow, content, contested_row, run_row, same_said
from monitor.storage.schema import CONTESTED, ENTRIES, LEDGER, MARKS, OUTBOX, RUNS, SEGMENTS, SOURCES, SPANS, STATED

KEYS_PER_QUERY = 400


class SqlStore(SqlReader):
    """A store opened by its owner: `monitor.storage.Store` over one writing connection and an engine of readers."""

    def __init__(
        self,
        writer: Engine,
        readers: Engine,
        backend: Backend,
        *,
        release: Callable[[], None],
        acknowledge: Callable[[Acknowledged], None] = lambda _acknowledged: None,
    ) -> None:
        super().__init__(readers, backend)
        self._writer = writer
        self._release = release
        self._acknowledge = acknowledge
        self._refusal: str | None = None
        self._statements = Statements(writer.dialect)
        self._turn = threading.Lock()

    def commit(self, unit: Unit) -> Committed:
        """Make a unit durable in one transaction (fsynced), or raise StoreError and change nothing."""
        with self._transaction("commit to") as work:
            committed = work.write(unit)
        head = committed.head
        self._acknowledge(Acknowledged(seq=head.seq, hash=head.hash, arrival=committed.last_arrival))
        return committed

    def refuse_writes(self, why: str) -> None:
        """From here on nothing is written: every commit is a StoreDamagedError with this reason. Reads go on."""
        self._refusal = why

    @contextmanager
    def moving(self, now_us: int) -> Iterator[SqlMover]:
        """A block in which an empty store is filled, all of it or nothing; StoreMisusedError where it is not empty."""
        with self._transaction("move a ledger into") as work:
            work.lock()
            mover = SqlMover(work, SqlReader(self._writer, self._backend, bound=work.connection), now_us)
            mover.expect_empty(self.target)
            yield mover
        head = self.head()
        self._acknowledge(Acknowledged(seq=head.seq, hash=head.hash, arrival=self.last_arrival()))

    def permit_writes(self) -> None:
        """Write again, whatever was found: for the one entry that says so."""
        self._refusal = None

    def rewrite_spans(self, source: SourceKey, spans: Iterable[OutcomeSpan]) -> None:
        """Replace all derived spans of a source: for imports and rebuilds."""
        with self._transaction("rewrite the spans in") as work:
            work.rewrite_spans(source, tuple(spans))

    def close(self) -> None:
        """Let go of the store, readers first, so that the last to leave is the one that may tidy up."""
        super().close()
        self._writer.dispose()
        self._release()

    @contextmanager
    def _transaction(self, operation: str) -> Iterator[_Transaction]:
        # A closed engine would connect again by itself, without the owner's lock.
        assert not self._closed, "the store was closed"
        if self._refusal is not None:
            hint = "keep the files, run jaga ledger verify, restore a backup and compare"
            raise StoreDamagedError(operation, self.target, f"read-only: {self._refusal}", hint)
        new_sources: SourceIds = {}
        # One connection, whichever threads commit: they take turns.
        with self._turn, mapped(operation, self.target), self._writer.begin() as connection:
            yield _Transaction(connection, self._statements, self._ids, new_sources, target=self.target)
        self._ids.update(new_sources)


LEDGER_COLUMNS = ("arrival", "seq", "hash", "epoch", "recorded_at_us", "first_own_seq", "cold_until_us")
"""Where the ledger stands, as its row says it."""


class Statements:
    """The statements of every batch, compiled once for an engine and bound by position, which drivers run fastest."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        runs, stated, spans, marks, outbox, contested, sources = (
            _insert(dialect, table) for table in (RUNS, STATED, SPANS, MARKS, OUTBOX, CONTESTED, SOURCES)
        )
        self.insert_run = self._compiled(
            runs.on_conflict_do_nothing(index_elements=["source", "start_us"]),
            (*RUN_COLUMNS, "crc"),
        )
        self.insert_stated = self._compiled(
            stated.on_conflict_do_nothing(),
            ("source", "start_us", "end_us", "outcome", "recorded_at_us", "crc"),
        )
        self.insert_contested = self._compiled(
            contested.on_conflict_do_nothing(),
            ("source", "start_us", "digest", "arrival", "origin", "recorded_at_us", "content", "crc"),
        )
        self.upsert_span = self._compiled(
            spans.on_conflict_do_update(
                index_elements=["source", "start_us"],
                set_={name: spans.excluded[name] for name in ("end_us", "outcome", "crc")},
            ),
            ("source", "start_us", "end_us", "outcome", "crc"),
        )
        self.upsert_mark = self._compiled(
            marks.on_conflict_do_update(
                index_elements=["name"],
                set_={name: marks.excluded[name] for name in ("value", "recorded_at_us", "crc")},
            ),
            ("name", "value", "recorded_at_us", "crc"),
        )
        self.insert_outbox = self._compiled(
            outbox.on_conflict_do_nothing(index_elements=["key"]),
            ("key", "channel", "kind", "payload", "at_us"),
        )
        self.insert_entry = self._compiled(
            insert(ENTRIES),
            ("seq", "type", "origin", "recorded_at_us", "epoch", "prev", "hash", "data", "crc"),
        )
        self.insert_source = sources.on_conflict_do_nothing()
        stands = select(*(LEDGER.c[name] for name in LEDGER_COLUMNS)).with_for_update()
        self.lock_ledger = str(stands.compile(dialect=dialect))
        self.save_ledger = self._compiled(update(LEDGER), (*LEDGER_COLUMNS, "crc"))

    def _compiled(self, statement: Insert | Update, columns: tuple[str, ...]) -> str:
        compiled = statement.compile(dialect=self.dialect, column_keys=list(columns))
        assert tuple(getattr(compiled, "positiontup", ())) == columns, "the parameters of a batch are bound by position"
        return str(compiled)


class _Transaction:
    """One transaction at work: what it needs to know of the ledger, and the steps of writing a unit."""

    def __init__(
        self,
        connection: Connection,
        statements: Statements,
        known_sources: SourceIds,
        new_sources: SourceIds,
        *,
        target: str,
    ) -> None:
        self._connection = connection.execution_options(preserve_rowcount=True)
        self._statements = statements
        self._known_sources = known_sources
        self._new_sources = new_sources
        self._target = target
        self._head = Head()
        self._arrival = 0
        self._first_own_seq: int | None = None
        self._cooling = Cooling(self._connection, target)

    def lock(self) -> None:
        """Take the write lock and learn where the ledger stands."""
        row = self._connection.exec_driver_sql(self._statements.lock_ledger).one()
        self._arrival, seq, hash_, epoch, recorded_at_us, self._first_own_seq, self._cooling.until_us = row
        self._head = Head(seq=seq, hash=hash_, epoch=epoch, recorded_at_us=recorded_at_us)

    @property
    def connection(self) -> Connection:
        """What it writes through."""
        return self._connection

    def move_entry(self, entry: Entry) -> None:
        """An entry as it was sealed elsewhere."""
        self._many(self._statements.insert_entry, [(*_columns(entry), entry.data, checksum(_columns(entry)))])
        self._head = head_after(entry)
        if entry.origin is not Origin.IMPORTED and self._first_own_seq is None:
            self._first_own_seq = entry.seq

    def move_segments(self, sealed: Sequence[SealedSegment], now_us: int) -> None:
        """Segments that were sealed elsewhere, into one pack."""
        self._cooling.write(Unit(recorded_at_us=now_us, segments=sealed), ())

    def move_run(self, held: StoredRun, *, disputed: bool) -> None:
        """A run as a row, and what was given for it."""
        run, arrival, contested = held.arrived.run, held.arrived.arrival, held.arrived.contested
        source = self.source_id(run.source, disputed=disputed)
        row = run_row(run, arrival=arrival, source=source, recorded_at_us=held.recorded_at_us)
        self._many(self._statements.insert_run, _summed([(*row[:-1], int(contested))]))
        self._many(
            self._statements.insert_contested,
            _summed(
                (source, run.start_us, digest, former, origin, recorded_at_us, content.encode())
                for digest, former, origin, recorded_at_us, content in held.contents
            ),
        )

    def move_stated(self, span: StatedSpan, recorded_at_us: int, *, disputed: bool) -> None:
        """A stated span."""
        source = self.source_id(span.source, disputed=disputed)
        row = (source, span.start_us, span.end_us, span.outcome.value, recorded_at_us)
        self._many(self._statements.insert_stated, _summed([row]))

    def queue(self, rows: Iterable[OutboxRow]) -> None:
        """Messages that are to be delivered."""
        self._many(
            self._statements.insert_outbox,
            [(row.key, row.channel, row.kind, orjson.dumps(row.payload), row.at_us) for row in rows],
        )

    def move_mark(self, name: str, value: bytes, now_us: int) -> None:
        """A document."""
        self._many(self._statements.upsert_mark, _summed([(name, value, now_us)]))

    def finish_move(self, arrival: int) -> None:
        """Sources that are in segments alone get their place, and the ledger its row."""
        self._cooling.count_gone()
        self._arrival = arrival
        self._save()

    def is_empty(self) -> bool:
        """Whether the store holds nothing at all."""
        tables = (ENTRIES, RUNS, STATED, SEGMENTS, MARKS, OUTBOX)
        return not any(self._connection.execute(select(table).limit(1)).first() for table in tables)

    def write(self, unit: Unit) -> Committed:
        """All of a unit."""
        self.lock()
        self._expect(unit.expected_head)
        warm = self._warm(unit.runs)
        counted, disputed = self._apart(unit.runs, unit)
        fresh, contested = self._write_runs(counted, unit.recorded_at_us, disputed=False)
        kept = len(self._write_disputed(disputed, unit.recorded_at_us))
        self._cooling.cool_again(warm)
        stated, kept_stated = self._write_stated(unit)
        entries = self._write_facts(unit)
        self._cooling.write(unit, entries)
        self._change_spans(unit.spans)
        self._many(
            self._statements.upsert_mark,
            _summed((name, orjson.dumps(value), unit.recorded_at_us) for name, value in unit.marks.items()),
        )
        self.queue(unit.outbox)
        for first in range(0, len(unit.delivered), KEYS_PER_QUERY):
            keys = unit.delivered[first : first + KEYS_PER_QUERY]
            self._connection.execute(delete(OUTBOX).where(OUTBOX.c.key.in_(keys)))
        self._save()
        return Committed(
            head=self._head,
            entries=entries,
            fresh=tuple(fresh),
            contested=tuple(contested),
            fresh_stated=stated,
            disputed=kept + kept_stated,
            last_arrival=self._arrival,
        )

    def source_id(self, source: SourceKey, *, disputed: bool) -> int:
        """The id of a source, made if it is new."""
        key = (*source, disputed)
        held = self._known_sources.get(key) or self._new_sources.get(key)
        if held is None:
            values = source._asdict() | {"counts": 0 if disputed else 1}
            self._connection.execute(self._statements.insert_source, values)
            matches = (SOURCES.c[name] == value for name, value in values.items())
            held = self._connection.execute(select(SOURCES.c.id).where(*matches)).scalar_one()
            crc = checksum((held, *values.values()))
            self._connection.execute(update(SOURCES).where(SOURCES.c.id == held).values(crc=crc))
            self._new_sources[key] = held
        return held

    def rewrite_spans(self, source: SourceKey, spans: Sequence[OutcomeSpan]) -> None:
        """All derived spans of a source, in place of those that are there."""
        self.lock()
        held = self.source_id(source, disputed=False)
        self._connection.execute(delete(SPANS).where(SPANS.c.source == held))
        self._write_spans(_span_row(held, span) for span in spans)

    def _write_spans(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Derived spans, inserted or overwritten by their source and start."""
        self._many(self._statements.upsert_span, _summed(rows))

    def _expect(self, head: Head | None) -> None:
        if head is not None and (head.seq, head.hash) != (self._head.seq, self._head.hash):
            cause = f"the ledger stands at entry {self._head.seq}, entry {head.seq} was expected"
            raise HeadMovedError(
                "commit to", self._target, cause, "somebody else wrote in between; read again and retry"
            )

    def _apart(self, runs: Sequence[Run], unit: Unit) -> tuple[Sequence[Run], Sequence[Run]]:
        """The runs that count, and those kept for dispute: imports count only while all entries are imported, and of an
        hour whose runs have expired nothing can be compared any more.
        """
        if unit.disputed:
            return (), runs
        late = {id(run) for run in runs if self._cooling.has_expired(run)} if self._cooling.expired_any else set()
        if self._first_own_seq is not None:
            late |= {id(run) for run in runs if run.origin is Origin.IMPORTED}
        if not late:
            return runs, ()
        return [run for run in runs if id(run) not in late], [run for run in runs if id(run) in late]

    def _warm(self, runs: Sequence[Run]) -> dict[int, int]:
        """Put the rows back whose runs are given again, so that they are compared; arrival number -> segment's id."""
        held = self._cooling.sealed_of(runs)
        if not held:
            return {}
        sources = {run.source: self._known(run.source) for run, _, _ in held}
        keys = {(sources[run.source] or 0, run.start_us): (run, arrival, at) for run, arrival, at in held}
        there = self._there(list(keys))
        missing = {key: found for key, found in keys.items() if key not in there}
        rows = [
            run_row(run, arrival=arrival, source=key[0], recorded_at_us=self._cooling.sealed_at_us(at))
            for key, (run, arrival, at) in missing.items()
        ]
        self._many(self._statements.insert_run, _summed(rows))
        return {arrival: at for _, arrival, at in missing.values()}

    def _write_runs(
        self, runs: Sequence[Run], recorded_at_us: int, *, disputed: bool
    ) -> tuple[Sequence[Run], list[RunKey]]:
        if not runs:
            return (), []
        before = self._arrival
        rows = self._rows(runs, recorded_at_us, disputed=disputed)
        self._arrival += len(rows)
        if self._many(self._statements.insert_run, _summed(rows)) == len(rows):
            return runs, []
        query = select(RUNS.c.arrival).where(RUNS.c.arrival > before)
        written = set(self._connection.execute(query).scalars())
        # Numbers of what was there already are given out again: the same once more changes nothing.
        self._arrival = max(written, default=before)
        repeated = [(run, row) for run, row in zip(runs, rows, strict=True) if row[0] not in written]
        contested = self._settle(repeated)
        lost = set(contested)
        fresh = [run for run, row in zip(runs, rows, strict=True) if row[0] in written and run.key not in lost]
        return fresh, contested

    def _rows(self, runs: Sequence[Run], recorded_at_us: int, *, disputed: bool) -> list[RunRow]:
        # The hot loop of the recorder: one dictionary look-up and one tuple a run.
        known = self._known_sources
        rows = []
        for arrival, run in enumerate(runs, self._arrival + 1):
            held = known.get((run.service, run.check, run.location, disputed))
            if held is None:
                held = self.source_id(run.source, disputed=disputed)
            rows.append(run_row(run, arrival=arrival, source=held, recorded_at_us=recorded_at_us))
        return rows

    def _settle(self, repeated: Sequence[tuple[Run, RunRow]]) -> list[RunKey]:
        """Compare runs whose key was there already; a key with another content becomes contested."""
        there = self._there([(row[1], row[2]) for _, row in repeated])
        contested: list[RunKey] = []
        for run, row in repeated:
            key = (row[1], row[2])
            held = there[key]
            if same_said(held, row):
                continue
            origins = (held[12], row[12])
            if held[14]:
                self._keep_contents((row, None))
                there[key] = self._replace(held, contested_row(held, arrival=held[0], origins=origins))
            else:
                self._keep_contents((held, held[0]), (row, None))
                self._arrival += 1
                there[key] = self._replace(held, contested_row(held, arrival=self._arrival, origins=origins))
                contested.append(run.key)
        return contested

    def _there(self, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], RunRow]:
        """The rows that stand at these (source, start)."""
        found: dict[tuple[int, int], RunRow] = {}
        for first in range(0, len(keys), KEYS_PER_QUERY):
            # A join on the keys: written as a list of pairs, SQLite would walk the whole index.
            wanted = (
                values(column("source", BigInteger), column("start_us", BigInteger), name="given")
                .data(keys[first : first + KEYS_PER_QUERY])
                .cte("wanted")
            )
            query = select(*(RUNS.c[name] for name in RUN_COLUMNS)).select_from(
                wanted.join(RUNS, and_(RUNS.c.source == wanted.c.source, RUNS.c.start_us == wanted.c.start_us)),
            )
            found |= {(row[1], row[2]): tuple(row) for row in self._connection.execute(query)}
        return found

    def _keep_contents(self, *contents: tuple[RunRow, int | None]) -> None:
        kept = []
        for row, arrival in contents:
            digest, data = content(row)
            kept.append((row[1], row[2], digest, arrival, row[12], row[13], data))
        self._many(self._statements.insert_contested, _summed(kept))

    def _replace(self, held: RunRow, row: RunRow) -> RunRow:
        values = dict(zip(RUN_COLUMNS, row, strict=True)) | {"crc": checksum(row)}
        self._connection.execute(update(RUNS).where(RUNS.c.arrival == held[0]).values(values))
        return row

    def _write_disputed(self, runs: Sequence[Run], recorded_at_us: int) -> Sequence[Run]:
        """Keep late imports beside the record, but for those that the record holds already."""
        counted = [(run, (self._known(run.source), run.start_us)) for run in runs]
        there = self._there([(held, start_us) for _, (held, start_us) in counted if held is not None])
        rest = []
        for run, (held, start_us) in counted:
            same = held is not None and (held, start_us) in there
            row = run_row(run, arrival=0, source=held or 0, recorded_at_us=recorded_at_us)
            if not (same and held is not None and same_said(there[held, start_us], row)):
                rest.append(run)
        return self._write_runs(rest, recorded_at_us, disputed=True)[0]

    def _known(self, source: SourceKey) -> int | None:
        held = self._known_sources.get((*source, False))
        if held is None:
            matches = (SOURCES.c[name] == value for name, value in source._asdict().items())
            held = self._connection.execute(select(SOURCES.c.id).where(*matches, SOURCES.c.counts == 1)).scalar()
        return held

    def _write_stated(self, unit: Unit) -> tuple[int, int]:
        """How many stated spans were new, and how many of those were kept for dispute."""
        if not unit.stated:
            return 0, 0
        disputed = unit.disputed or self._first_own_seq is not None
        stated = [span for span in unit.stated if not (disputed and self._is_stated(span))]
        rows = [
            (
                self.source_id(span.source, disputed=disputed),
                span.start_us,
                span.end_us,
                span.outcome.value,
                unit.recorded_at_us,
            )
            for span in stated
        ]
        new = self._many(self._statements.insert_stated, _summed(rows))
        return (0, new) if disputed else (new, 0)

    def _is_stated(self, span: StatedSpan) -> bool:
        held = self._known(span.source)
        query = select(STATED.c.source).where(
            STATED.c.source == held,
            STATED.c.start_us == span.start_us,
            STATED.c.end_us == span.end_us,
            STATED.c.outcome == span.outcome.value,
        )
        return held is not None and self._connection.execute(query).first() is not None

    def _write_facts(self, unit: Unit) -> tuple[Entry, ...]:
        entries = []
        for fact in unit.facts:
            entry = seal(fact, head=self._head, origin=unit.origin, now_us=unit.recorded_at_us)
            self._head = head_after(entry)
            entries.append(entry)
        if entries and unit.origin is not Origin.IMPORTED and self._first_own_seq is None:
            self._first_own_seq = entries[0].seq
        self._many(
            self._statements.insert_entry,
            [(*_columns(entry), entry.data, checksum(_columns(entry))) for entry in entries],
        )
        return tuple(entries)

    def _change_spans(self, changes: Sequence[SpanChange]) -> None:
        """Each change in turn. What is only written, as that of most sources is, goes in one batch."""
        rows: list[tuple[Any, ...]] = []
        for change in changes:
            held = self.source_id(change.source, disputed=False)
            if change.deleted:
                self._write_spans(rows)
                rows = []
            for first in range(0, len(change.deleted), KEYS_PER_QUERY):
                starts = change.deleted[first : first + KEYS_PER_QUERY]
                self._connection.execute(delete(SPANS).where(SPANS.c.source == held, SPANS.c.start_us.in_(starts)))
            rows += [_span_row(held, span) for span in change.written]
        self._write_spans(rows)

    def _save(self) -> None:
        head = self._head
        stands = (head.seq, head.hash, head.epoch, head.recorded_at_us, self._first_own_seq, self._cooling.until_us)
        row = (self._arrival, *stands)
        self._connection.exec_driver_sql(self._statements.save_ledger, (*row, checksum((1, *row))))

    def _many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run a compiled statement for many rows; how many rows it changed."""
        if not rows:
            return 0
        return self._connection.exec_driver_sql(statement, list(rows)).rowcount


class SqlMover:
    """Fills an empty store (`monitor.storage.Mover`)."""

    def __init__(self, work: _Transaction, reader: SqlReader, now_us: int) -> None:
        self._work = work
        self._reader = reader
        self._now_us = now_us
        self._waiting: list[SealedSegment] = []

    def expect_empty(self, target: str) -> None:
        """StoreMisusedError where the store holds anything."""
        if not self._work.is_empty():
            hint = "name a new one with --store; without --move a file is taken in as history"
            raise StoreMisusedError("move a ledger into", target, "it is not empty", hint)

    def entry(self, entry: Entry) -> None:
        """The next entry."""
        self._work.move_entry(entry)

    def segment(self, sealed: SealedSegment) -> None:
        """A segment; `seq` names the entry that sealed it. As many as fill a pack are written together."""
        self._waiting.append(sealed)
        if sum(len(held.segment.body or b"") for held in self._waiting) >= PACK_BYTES:
            self._write_waiting()

    def _write_waiting(self) -> None:
        self._work.move_segments(self._waiting, self._now_us)
        self._waiting = []

    def run(self, run: StoredRun, *, disputed: bool) -> None:
        """A run as a row."""
        self._work.move_run(run, disputed=disputed)

    def stated(self, span: StatedSpan, *, disputed: bool, recorded_at_us: int | None = None) -> None:
        """A stated span."""
        at_us = self._now_us if recorded_at_us is None else recorded_at_us
        self._work.move_stated(span, at_us, disputed=disputed)

    def message(self, row: OutboxRow) -> None:
        """A message that waits."""
        self._work.queue([row])

    def mark(self, name: str, value: bytes) -> None:
        """A document."""
        self._work.move_mark(name, value, self._now_us)

    def finish(self, arrival: int) -> SqlReader:
        """After the last; the answer reads what was moved."""
        self._write_waiting()
        self._work.finish_move(arrival)
        return self._reader


def _summed(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with their check sums behind."""
    return [(*row, checksum(row)) for row in rows]


def _span_row(held: int, span: OutcomeSpan) -> tuple[int | str, ...]:
    return held, span.start_us, span.end_us, span.outcome.value


def _columns(entry: Entry) -> tuple[int | str, ...]:
    """What stands beside an entry's bytes."""
    return entry.seq, entry.type, entry.origin.value, entry.recorded_at_us, entry.epoch, entry.prev, entry.hash


def _insert(dialect: Dialect, table: Any) -> Any:  # noqa: ANN401 - the two dialects' inserts share what is used here
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect.name](table)

"""The one transaction of a unit: runs, stated spans, sealed facts, derived spans, marks and outbox, or none of it.

The row of `ledger` is locked first: it holds the head and the last arrival number, so that on PostgreSQL writers take
turns and numbers appear in the order in which they were committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Connection,
    and_,
    column,
    delete,
    select,
    update,
    values,
)

from monitor.core.entry import Entry, Head, head_after, seal
from monitor.core.run import Origin, OutcomeSpan, Run, RunKey, SourceKey, StatedSpan
from monitor.storage import (
    Committed,
    HeadMovedError,
    OutboxRow,
    SpanChange,
    Unit,
)
from monitor.storage.asking import SourceIds
from monitor.storage.checksum import checksum
from monitor.storage.cooling import Cooling
from monitor.storage.rows import RUN_COLUMNS, RunRow, content, contested_row, run_row, same_said
from monitor.storage.schema import OUTBOX, RUNS, SOURCES, SPANS, STATED
from monitor.storage.statements import Statements

KEYS_PER_QUERY = 400


class Transaction:
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
        self.connection = connection.execution_options(preserve_rowcount=True)
        self.statements = statements
        self._known_sources = known_sources
        self._new_sources = new_sources
        self.target = target
        self.head = Head()
        self.arrival = 0
        self.first_own_seq: int | None = None
        self.cooling = Cooling(self.connection, target)

    def lock(self) -> None:
        """Take the write lock and learn where the ledger stands."""
        row = self.connection.exec_driver_sql(self.statements.lock_ledger).one()
        self.arrival, seq, hash_, epoch, recorded_at_us, self.first_own_seq, self.cooling.until_us = row
        self.head = Head(seq=seq, hash=hash_, epoch=epoch, recorded_at_us=recorded_at_us)

    def queue(self, rows: Iterable[OutboxRow]) -> None:
        """Messages that are to be delivered."""
        self.many(
            self.statements.insert_outbox,
            [(row.key, row.channel, row.kind, orjson.dumps(row.payload), row.at_us) for row in rows],
        )

    def write(self, unit: Unit) -> Committed:
        """All of a unit."""
        self.lock()
        self._expect(unit.expected_head)
        warm = self._warm(unit.runs)
        counted, disputed = self._apart(unit.runs, unit)
        fresh, contested = self._write_runs(counted, unit.recorded_at_us, disputed=False)
        kept = len(self._write_disputed(disputed, unit.recorded_at_us))
        self.cooling.cool_again(warm)
        stated, kept_stated = self._write_stated(unit)
        entries = self._write_facts(unit)
        self.cooling.write(unit, entries)
        self._change_spans(unit.spans)
        self.many(
            self.statements.upsert_mark,
            summed((name, orjson.dumps(value), unit.recorded_at_us) for name, value in unit.marks.items()),
        )
        self.queue(unit.outbox)
        for first in range(0, len(unit.delivered), KEYS_PER_QUERY):
            keys = unit.delivered[first : first + KEYS_PER_QUERY]
            self.connection.execute(delete(OUTBOX).where(OUTBOX.c.key.in_(keys)))
        self.save()
        return Committed(
            head=self.head,
            entries=entries,
            fresh=tuple(fresh),
            contested=tuple(contested),
            fresh_stated=stated,
            disputed=kept + kept_stated,
            last_arrival=self.arrival,
        )

    def source_id(self, source: SourceKey, *, disputed: bool) -> int:
        """The id of a source, made if it is new."""
        key = (*source, disputed)
        held = self._known_sources.get(key) or self._new_sources.get(key)
        if held is None:
            values = source._asdict() | {"counts": 0 if disputed else 1}
            self.connection.execute(self.statements.insert_source, values)
            matches = (SOURCES.c[name] == value for name, value in values.items())
            held = self.connection.execute(select(SOURCES.c.id).where(*matches)).scalar_one()
            crc = checksum((held, *values.values()))
            self.connection.execute(update(SOURCES).where(SOURCES.c.id == held).values(crc=crc))
            self._new_sources[key] = held
        return held

    def rewrite_spans(self, source: SourceKey, spans: Sequence[OutcomeSpan]) -> None:
        """All derived spans of a source, in place of those that are there."""
        self.lock()
        held = self.source_id(source, disputed=False)
        self.connection.execute(delete(SPANS).where(SPANS.c.source == held))
        self._write_spans(_span_row(held, span) for span in spans)

    def _write_spans(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Derived spans, inserted or overwritten by their source and start."""
        self.many(self.statements.upsert_span, summed(rows))

    def _expect(self, head: Head | None) -> None:
        if head is not None and (head.seq, head.hash) != (self.head.seq, self.head.hash):
            cause = f"the ledger stands at entry {self.head.seq}, entry {head.seq} was expected"
            raise HeadMovedError(
                "commit to", self.target, cause, "somebody else wrote in between; read again and retry"
            )

    def _apart(self, runs: Sequence[Run], unit: Unit) -> tuple[Sequence[Run], Sequence[Run]]:
        """The runs that count, and those kept for dispute: imports count only while all entries are imported, and of an
        hour whose runs have expired nothing can be compared any more.
        """
        if unit.disputed:
            return (), runs
        late = {id(run) for run in runs if self.cooling.has_expired(run)} if self.cooling.expired_any else set()
        if self.first_own_seq is not None:
            late |= {id(run) for run in runs if run.origin is Origin.IMPORTED}
        if not late:
            return runs, ()
        return [run for run in runs if id(run) not in late], [run for run in runs if id(run) in late]

    def _warm(self, runs: Sequence[Run]) -> dict[int, int]:
        """Put the rows back whose runs are given again, so that they are compared; arrival number -> segment's id."""
        held = self.cooling.sealed_of(runs)
        if not held:
            return {}
        sources = {run.source: self._known(run.source) for run, _, _ in held}
        keys = {(sources[run.source] or 0, run.start_us): (run, arrival, at) for run, arrival, at in held}
        there = self._there(list(keys))
        missing = {key: found for key, found in keys.items() if key not in there}
        rows = [
            run_row(run, arrival=arrival, source=key[0], recorded_at_us=self.cooling.sealed_at_us(at))
            for key, (run, arrival, at) in missing.items()
        ]
        self.many(self.statements.insert_run, summed(rows))
        return {arrival: at for _, arrival, at in missing.values()}

    def _write_runs(
        self, runs: Sequence[Run], recorded_at_us: int, *, disputed: bool
    ) -> tuple[Sequence[Run], list[RunKey]]:
        if not runs:
            return (), []
        before = self.arrival
        rows = self._rows(runs, recorded_at_us, disputed=disputed)
        self.arrival += len(rows)
        if self.many(self.statements.insert_run, summed(rows)) == len(rows):
            return runs, []
        query = select(RUNS.c.arrival).where(RUNS.c.arrival > before)
        written = set(self.connection.execute(query).scalars())
        # Numbers of what was there already are given out again: the same once more changes nothing.
        self.arrival = max(written, default=before)
        repeated = [(run, row) for run, row in zip(runs, rows, strict=True) if row[0] not in written]
        contested = self._settle(repeated)
        lost = set(contested)
        fresh = [run for run, row in zip(runs, rows, strict=True) if row[0] in written and run.key not in lost]
        return fresh, contested

    def _rows(self, runs: Sequence[Run], recorded_at_us: int, *, disputed: bool) -> list[RunRow]:
        # The hot loop of the recorder: one dictionary look-up and one tuple a run.
        known = self._known_sources
        rows = []
        for arrival, run in enumerate(runs, self.arrival + 1):
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
                self.arrival += 1
                there[key] = self._replace(held, contested_row(held, arrival=self.arrival, origins=origins))
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
            found |= {(row[1], row[2]): tuple(row) for row in self.connection.execute(query)}
        return found

    def _keep_contents(self, *contents: tuple[RunRow, int | None]) -> None:
        kept = []
        for row, arrival in contents:
            digest, data = content(row)
            kept.append((row[1], row[2], digest, arrival, row[12], row[13], data))
        self.many(self.statements.insert_contested, summed(kept))

    def _replace(self, held: RunRow, row: RunRow) -> RunRow:
        values = dict(zip(RUN_COLUMNS, row, strict=True)) | {"crc": checksum(row)}
        self.connection.execute(update(RUNS).where(RUNS.c.arrival == held[0]).values(values))
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
            held = self.connection.execute(select(SOURCES.c.id).where(*matches, SOURCES.c.counts == 1)).scalar()
        return held

    def _write_stated(self, unit: Unit) -> tuple[int, int]:
        """How many stated spans were new, and how many of those were kept for dispute."""
        if not unit.stated:
            return 0, 0
        disputed = unit.disputed or self.first_own_seq is not None
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
        new = self.many(self.statements.insert_stated, summed(rows))
        return (0, new) if disputed else (new, 0)

    def _is_stated(self, span: StatedSpan) -> bool:
        held = self._known(span.source)
        query = select(STATED.c.source).where(
            STATED.c.source == held,
            STATED.c.start_us == span.start_us,
            STATED.c.end_us == span.end_us,
            STATED.c.outcome == span.outcome.value,
        )
        return held is not None and self.connection.execute(query).first() is not None

    def _write_facts(self, unit: Unit) -> tuple[Entry, ...]:
        entries = []
        for fact in unit.facts:
            entry = seal(fact, head=self.head, origin=unit.origin, now_us=unit.recorded_at_us)
            self.head = head_after(entry)
            entries.append(entry)
        if entries and unit.origin is not Origin.IMPORTED and self.first_own_seq is None:
            self.first_own_seq = entries[0].seq
        self.many(
            self.statements.insert_entry,
            [(*columns_of(entry), entry.data, checksum(columns_of(entry))) for entry in entries],
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
                self.connection.execute(delete(SPANS).where(SPANS.c.source == held, SPANS.c.start_us.in_(starts)))
            rows += [_span_row(held, span) for span in change.written]
        self._write_spans(rows)

    def save(self) -> None:
        """The ledger's row, as it stands now."""
        head = self.head
        stands = (head.seq, head.hash, head.epoch, head.recorded_at_us, self.first_own_seq, self.cooling.until_us)
        row = (self.arrival, *stands)
        self.connection.exec_driver_sql(self.statements.save_ledger, (*row, checksum((1, *row))))

    def many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run a compiled statement for many rows; how many rows it changed."""
        if not rows:
            return 0
        return self.connection.exec_driver_sql(statement, list(rows)).rowcount


def summed(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with their check sums behind."""
    return [(*row, checksum(row)) for row in rows]


def _span_row(held: int, span: OutcomeSpan) -> tuple[int | str, ...]:
    return held, span.start_us, span.end_us, span.outcome.value


def columns_of(entry: Entry) -> tuple[int | str, ...]:
    """What stands beside an entry's bytes."""
    return entry.seq, entry.type, entry.origin.value, entry.recorded_at_us, entry.epoch, entry.prev, entry.hash

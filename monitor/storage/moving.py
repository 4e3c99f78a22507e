"""The one transaction in which an empty store takes a whole ledger as what it is."""

from __future__ import annotations

from sqlalchemy import select

from monitor.core.entry import Entry, head_after
from monitor.core.run import Origin, StatedSpan
from monitor.storage import OutboxRow, SealedSegment, StoredRun, StoreMisusedError, Unit
from monitor.storage.checksum import checksum
from monitor.storage.cooling import PACK_BYTES
from monitor.storage.reading import SqlReader
from monitor.storage.rows import run_row
from monitor.storage.schema import ENTRIES, MARKS, OUTBOX, RUNS, SEGMENTS, STATED
from monitor.storage.transaction import Transaction, columns_of, summed


class SqlMover(Transaction):
    """Fills an empty store (`monitor.storage.Mover`)."""

    _reader: SqlReader
    _now_us: int
    _waiting: list[SealedSegment]

    def begin(self, reader: SqlReader, now_us: int) -> None:
        """Lock the store; StoreMisusedError where it holds anything. `reader` reads what is moved."""
        self._reader, self._now_us, self._waiting = reader, now_us, []
        self.lock()
        tables = (ENTRIES, RUNS, STATED, SEGMENTS, MARKS, OUTBOX)
        if any(self.connection.execute(select(table).limit(1)).first() for table in tables):
            hint = "name a new one with --store; without --move a file is taken in as history"
            raise StoreMisusedError("move a ledger into", self.target, "it is not empty", hint)

    def entry(self, entry: Entry) -> None:
        """The next entry, as it was sealed elsewhere."""
        columns = columns_of(entry)
        self.many(self.statements.insert_entry, [(*columns, entry.data, checksum(columns))])
        self.head = head_after(entry)
        if entry.origin is not Origin.IMPORTED and self.first_own_seq is None:
            self.first_own_seq = entry.seq

    def segment(self, sealed: SealedSegment) -> None:
        """A segment; `seq` names the entry that sealed it. As many as fill a pack are written together."""
        self._waiting.append(sealed)
        if sum(len(held.segment.body or b"") for held in self._waiting) >= PACK_BYTES:
            self._write_waiting()

    def _write_waiting(self) -> None:
        self.cooling.write(Unit(recorded_at_us=self._now_us, segments=self._waiting), ())
        self._waiting = []

    def run(self, run: StoredRun, *, disputed: bool) -> None:
        """A run as a row, and what was given for it."""
        of, arrival, contested = run.arrived.run, run.arrived.arrival, run.arrived.contested
        source = self.source_id(of.source, disputed=disputed)
        row = run_row(of, arrival=arrival, source=source, recorded_at_us=run.recorded_at_us)
        self.many(self.statements.insert_run, summed([(*row[:-1], int(contested))]))
        self.many(
            self.statements.insert_contested,
            summed(
                (source, of.start_us, digest, former, origin, recorded_at_us, content.encode())
                for digest, former, origin, recorded_at_us, content in run.contents
            ),
        )

    def stated(self, span: StatedSpan, *, disputed: bool, recorded_at_us: int | None = None) -> None:
        """A stated span."""
        at_us = self._now_us if recorded_at_us is None else recorded_at_us
        source = self.source_id(span.source, disputed=disputed)
        row = (source, span.start_us, span.end_us, span.outcome.value, at_us)
        self.many(self.statements.insert_stated, summed([row]))

    def message(self, row: OutboxRow) -> None:
        """A message that waits."""
        self.queue([row])

    def mark(self, name: str, value: bytes) -> None:
        """A document."""
        self.many(self.statements.upsert_mark, summed([(name, value, self._now_us)]))

    def finish(self, arrival: int) -> SqlReader:
        """After the last: sources that are in segments alone get their place, and the ledger its row. The answer reads
        what was moved.
        """
        self._write_waiting()
        self.cooling.count_gone()
        self.arrival = arrival
        self.save()
        return self._reader

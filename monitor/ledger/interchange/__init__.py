"""The ledger as a file and back: `jaga-ledger/1`, JSON Lines (INTERFACES, docs/interchange.md).

An export is the header, then every entry in its order, the segments, the evidence that is in none by source and start,
evidence kept for dispute last (marked `"counts":false`), and the store's own marks. Decision lines carry `entry`, their
place in the chain of the ledger they come from. A plain import seals facts anew, as imported: it checks `entry` and
reports how many lines had one, no more; of segments it takes the runs. `move` takes an export as what it is.

An import is checked whole before anything is written, then written in one transaction of facts and a few of evidence.
If it is cut short it is simply repeated: what stands already changes nothing.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import orjson

from monitor.core import fact as facts
from monitor.core.entry import Entry, Head
from monitor.core.instant import format_instant_us
from monitor.core.run import Origin, Run, SourceKey, StatedSpan
from monitor.core.segment import hour_of
from monitor.core.span import Span
from monitor.core.wire import write_fact, write_place, write_spans
from monitor.ledger.interchange.carried import END, MARK, SEGMENT, write_file, write_message, write_row, write_sealed
from monitor.ledger.interchange.incoming import (
    HEADER,
    ImportRefusedError,
    Incoming,
    Item,
    Known,
    Problem,
    batches,
    imported_runs,
    read_item,
)
from monitor.ledger.interchange.lines import parse_line
from monitor.storage import Committed, Reader, SealedSegment, Store, StoredRun, Unit
from monitor.storage.beside import BesideFiles

# The mark that stands while imported evidence may be there without its derived spans. Whoever opens a ledger that holds
# it rebuilds all of them first.
UNFINISHED_IMPORT = "import.unfinished"

ALWAYS = Span(-(2**60), 2**60)

# (phase: "check", "write", "rebuild" or "export"; done; of how many): bytes of the file, or entries for an export.
Progress = Callable[[str, int, int], None]
Rebuild = Callable[[Store, Iterable[SourceKey]], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export wrote. `disputed` are lines of evidence that counts for nothing."""

    entries: int
    runs: int
    stated: int
    disputed: int
    head: Head
    segments: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did. `counts` is false where the ledger already held entries of its own: then everything was kept
    as dispute evidence and counts for nothing.

    `facts`, `runs`, `stated` and `disputed` were new, `known_*` stood already. `contested` runs now hold two contents.
    `placed` lines carried an `entry` of another ledger; of these `formerly_disputed` counted for nothing there.
    `expired` segments had no runs any more: what they said is nothing that can be imported.
    """

    counts: bool
    lines: int
    facts: int = 0
    known_facts: int = 0
    runs: int = 0
    stated: int = 0
    disputed: int = 0
    known_evidence: int = 0
    contested: int = 0
    placed: int = 0
    formerly_disputed: int = 0
    expired: int = 0
    head: Head = field(default_factory=Head)


def export(
    reader: Reader, out: BinaryIO, *, beside: BesideFiles | None = None, progress: Progress | None = None
) -> ExportReport:
    """Write the whole ledger as it stands at one moment; the same ledger gives the same bytes. With `beside` also what
    only a move needs and a partner must not see: messages that wait, attachments and personal data.

    Two ledgers that took in the same file differ in what is not hashed: `entry.recorded_at`, and `stored` of runs.
    """
    with reader.snapshot() as frozen:
        head = frozen.head()
        write_line(out, HEADER)
        for number, entry in enumerate(frozen.entries(), 1):
            write_line(out, decision_line(entry))
            if progress is not None:
                progress("export", number, head.seq)
        sealed = _write_segments(frozen, out)
        runs, stated = _write_evidence(frozen, out, sealed, disputed=False)
        disputed = sum(_write_evidence(frozen, out, Through(), disputed=True))
        for name, value in frozen.marks().items():
            if name != UNFINISHED_IMPORT:
                write_line(out, {"type": MARK, "name": name, "value": value.decode()})
        more = 0 if beside is None else _write_more(frozen, out, beside)
        end = {
            "type": END,
            "entries": head.seq,
            "head": head.hash,
            "segments": sealed.segments,
            "rows": runs + stated + disputed,
            "arrival": frozen.last_arrival(),
        }
        write_line(out, end if beside is None else end | {"more": more})
    return ExportReport(
        entries=head.seq,
        runs=runs + sealed.runs,
        stated=stated,
        disputed=disputed,
        head=head,
        segments=sealed.segments,
    )


@dataclass(slots=True)
class Through:
    """What the segments of an export hold: of each service and hour what had arrived by a number."""

    segments: int = 0
    runs: int = 0
    hours: dict[tuple[str, int], int] = field(default_factory=dict)

    def take(self, sealed: SealedSegment) -> None:
        """One more segment."""
        key = sealed.segment.key
        self.segments += 1
        self.runs += sealed.segment.runs
        self.hours[key.service, key.hour_us] = max(sealed.through, self.hours.get((key.service, key.hour_us), 0))

    def holds(self, held: StoredRun) -> bool:
        """Whether a row's run is in a segment."""
        run = held.arrived.run
        return held.arrived.arrival <= self.hours.get((run.service, hour_of(run.start_us)), 0)


def _write_more(reader: Reader, out: BinaryIO, beside: BesideFiles) -> int:
    """The lines that a move alone reads; how many."""
    written = 0
    for row in reader.outbox(sys.maxsize):
        write_line(out, write_message(row))
        written += 1
    for name in beside.names():
        data = beside.read(name)
        for line in () if data is None else write_file(name, data):
            write_line(out, line)
            written += 1
    return written


def _write_segments(reader: Reader, out: BinaryIO) -> Through:
    through = Through()
    for sealed in reader.segments():
        through.take(sealed)
        write_line(out, write_sealed(sealed))
    return through


def decision_line(entry: Entry) -> dict[str, Any]:
    """The line of an entry: its fact, and its place in the chain."""
    stored: dict[str, Any] = orjson.loads(entry.data)["fact"]
    written = write_fact(entry.fact)
    # In the order of INTERFACES; content is the stored one in any case.
    ordered = written if written == stored else {"type": stored["type"], **stored}
    return ordered | {"entry": write_place(entry)}


def _write_evidence(reader: Reader, out: BinaryIO, sealed: Through, *, disputed: bool) -> tuple[int, int]:
    """Rows and stated spans. A row that is in a segment is written where more than the segment is known of it: it holds
    two contents, or is the newest of its source, which stays a row.
    """
    mark = {"counts": False} if disputed else {}
    newest = {run.key for run in reader.latest_runs()}
    runs = stated = 0
    for source in reader.sources(disputed=disputed):
        for held in reader.rows(source, disputed=disputed):
            whole = held.arrived.contested or disputed or held.arrived.run.key in newest
            if whole or not sealed.holds(held):
                write_line(out, write_row(held) | mark)
                runs += 1
        for span, recorded_at_us in reader.stated_rows(source, disputed=disputed):
            stored = {"stored": {"recorded_at": format_instant_us(recorded_at_us)}}
            write_line(out, write_spans(span) | stored | mark)
            stated += 1
    return runs, stated


def write_line(out: BinaryIO, line: dict[str, Any]) -> None:
    """One line."""
    out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def import_(
    store: Store,
    source: BinaryIO,
    *,
    now_us: int,
    rebuild: Rebuild,
    holiday_tables: Collection[str] | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Take the facts and evidence of a file into the ledger, as imported; the same file again changes nothing.

    Raises ImportRefusedError, naming lines, before anything is written; HeadMovedError where another writer got in
    between; StoreError. `rebuild` derives the outcome spans of the sources it is given. `holiday_tables` are those that
    imported terms may name (None: any).
    """
    with twice(source) as file:
        return _Import(store, file, now_us, holiday_tables, progress).run(rebuild)


class _Import:
    """One import: the check of the whole file, then its writing."""

    def __init__(
        self,
        store: Store,
        file: BinaryIO,
        now_us: int,
        holiday_tables: Collection[str] | None,
        progress: Progress | None,
    ) -> None:
        self._store = store
        self._file = file
        self._now_us = now_us
        self._holiday_tables = holiday_tables
        self._progress = progress
        self._size = file.seek(0, io.SEEK_END)
        self._batches: list[bytes] = []

    def run(self, rebuild: Rebuild) -> ImportReport:
        """Check, write, rebuild."""
        head = self._store.head()
        counts = self._store.first_own_entry() is None
        unfinished = bool(self._store.mark(UNFINISHED_IMPORT))
        incoming, lines = self._check()
        report = ImportReport(
            counts=counts,
            lines=lines,
            facts=len(incoming.facts),
            known_facts=incoming.known_facts,
            placed=incoming.placed,
            formerly_disputed=incoming.formerly_disputed,
            expired=incoming.expired,
        )
        marks = {UNFINISHED_IMPORT: True} if counts else {}
        self._commit(facts=incoming.facts, marks=marks, expected_head=head)
        report = self._write_evidence(report)
        if counts:
            if unfinished or report.facts or report.runs or report.stated or report.contested:
                self._rebuild(rebuild, self._touched(incoming, unfinished=unfinished))
            self._commit(marks={UNFINISHED_IMPORT: None})
        return replace(
            report,
            known_evidence=incoming.evidence - report.runs - report.stated - report.disputed,
            head=self._store.head(),
        )

    def _check(self) -> tuple[Incoming, int]:
        incoming = Incoming(Known.of(self._store), self._now_us, self._holiday_tables)
        lines = done = 0
        for batch in self._read():
            self._batches.append(_digest(batch))
            for number, line in batch:
                incoming.take(number, line)
                done += len(line)
                lines = number
            self._tell("check", done)
        incoming.finish()
        return incoming, lines

    def _write_evidence(self, report: ImportReport) -> ImportReport:
        done = 0
        for batch, checked in zip(self._read(), self._batches, strict=False):
            if _digest(batch) != checked:
                message = "the file changed while it was imported; the lines before stand, import it again"
                raise ImportRefusedError((Problem(batch[0][0], message),), more=False)
            items = [item for number, line in batch if (item := _item(number, line)) is not None]
            for disputed in (False, True):
                report = self._write_items(
                    [item for item in items if item.counts is not disputed], report, disputed=disputed
                )
            done += sum(len(line) for _, line in batch)
            self._tell("write", done)
        return report

    def _write_items(self, items: list[Item], report: ImportReport, *, disputed: bool) -> ImportReport:
        runs = [item.content for item in items if isinstance(item.content, Run)]
        for item in items:
            if isinstance(item.content, SealedSegment):
                runs += imported_runs(item.content)
        stated = [item.content for item in items if isinstance(item.content, StatedSpan)]
        if not runs and not stated:
            return report
        committed = self._commit(runs=runs, stated=stated, disputed=disputed)
        return replace(
            report,
            runs=report.runs + len(committed.fresh),
            stated=report.stated + committed.fresh_stated,
            disputed=report.disputed + committed.disputed,
            contested=report.contested + len(committed.contested),
        )

    def _touched(self, incoming: Incoming, *, unfinished: bool) -> set[SourceKey]:
        """The sources whose derived spans the file may have changed."""
        acting = (facts.ChecksAdopted, facts.Annulment, facts.Reversal)
        if unfinished or any(isinstance(fact, acting) for fact in incoming.facts):
            return incoming.sources | set(self._store.sources())
        return incoming.sources

    def _rebuild(self, rebuild: Rebuild, sources: set[SourceKey]) -> None:
        self._tell("rebuild", 0)
        rebuild(self._store, sorted(sources))
        self._tell("rebuild", self._size)

    def _commit(self, **parts: Any) -> Committed:  # noqa: ANN401 - the parts of a Unit
        return self._store.commit(Unit(recorded_at_us=self._now_us, origin=Origin.IMPORTED, **parts))

    def _read(self) -> Iterator[list[tuple[int, bytes]]]:
        self._file.seek(0)
        return batches(self._file)

    def _tell(self, phase: str, done: int) -> None:
        if self._progress is not None:
            self._progress(phase, done, self._size)


def _item(number: int, line: bytes) -> Item | None:
    """The evidence of a line that was found good; None for facts, which are written already, and empty lines."""
    written = parse_line(line, first=number == 1)
    if written is None or written["type"] not in {"run", "spans", SEGMENT}:
        return None
    return read_item(written)


def _digest(batch: list[tuple[int, bytes]]) -> bytes:
    return hashlib.sha256(b"".join(line for _, line in batch)).digest()


@contextmanager
def twice(source: BinaryIO) -> Iterator[BinaryIO]:
    """The source where it can be read twice, else a copy that can."""
    if source.seekable():
        yield source
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(source, copy)
        yield copy

"""Takes a whole export into an empty store as what it is: the same entries, hashes, times, origins and arrivals.

Everything is checked on the way and once more at the end, and all of it is one transaction: a file that was cut, edited
or put together from two is refused by its line, and the store is as empty as it was.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from monitor.core.chain import GENESIS, canonical
from monitor.core.checkpoint import Checks
from monitor.core.entry import Entry, open_entry
from monitor.core.fact import Sealed
from monitor.core.run import Origin, Run, StatedSpan
from monitor.core.segment import Segment, root_of
from monitor.core.wire import FactError, read_place
from monitor.ledger.interchange import UNFINISHED_IMPORT, Progress, Rebuild, twice
from monitor.ledger.interchange.carried import END, FILE, MARK, MESSAGE, Parts, read_message
from monitor.ledger.interchange.incoming import HEADER, ImportRefusedError, Problem, numbered, read_item
from monitor.ledger.interchange.lines import LineError, parse_line
from monitor.ledger.verify import verify
from monitor.storage import Mover, Reader, SealedSegment, Store, Unit
from monitor.storage.beside import BesideError, BesideFiles

TELL_EVERY = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveReport:
    """What was moved. `runs` are those in segments and those that are rows; some are both. `messages` wait to be
    delivered, `files` stand beside the ledger.
    """

    entries: int
    segments: int
    runs: int
    stated: int
    head: str
    messages: int = 0
    files: int = 0


def move(
    store: Store,
    source: BinaryIO,
    *,
    now_us: int,
    rebuild: Rebuild,
    beside: BesideFiles | None = None,
    checks: Checks | None = None,
    progress: Progress | None = None,
) -> MoveReport:
    """Fill an empty store from an export. StoreError where it is not empty; ImportRefusedError, naming the line, where
    the file is not whole or does not hold together. `checks` verify the signatures of its checkpoints, `beside` is
    where attachments and personal data go: what a refused move put there is named by its digest and does no harm.
    """
    with twice(source) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        with store.moving(now_us) as mover:
            moving = _Move(mover, beside)
            done = 0
            for number, line in numbered(file):
                moving.take(number, line)
                done += len(line)
                if progress is not None and number % TELL_EVERY == 0:
                    progress("move", done, size)
            reader = moving.finish()
            _verify(reader, checks, moving.line)
            # Whoever opens the store before the spans are derived derives them.
            mover.mark(UNFINISHED_IMPORT, b"true")
    rebuild(store, store.sources())
    store.commit(Unit(recorded_at_us=now_us, marks={UNFINISHED_IMPORT: None}))
    return moving.report()


def _verify(reader: Reader, checks: Checks | None, line: int) -> None:
    found = verify(reader, checks=checks)
    if not found.holds:
        told = tuple(Problem(line, f"the moved ledger does not verify: {problem}") for problem in found.problems)
        raise ImportRefusedError(told, more=found.more)


_COUNTED = ("segments", "rows", "runs", "stated", "messages", "files", "more")


@dataclass(slots=True)
class _Move:
    """What a move has seen so far."""

    mover: Mover
    beside: BesideFiles | None = None
    line: int = 0
    _parts: Parts = field(default_factory=Parts)
    _seq: int = 0
    _hash: str = GENESIS
    _sealed: dict[int, tuple[int, Sealed]] = field(default_factory=dict)
    _segments: dict[int, list[Segment]] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    _end: Mapping[str, Any] | None = None

    def take(self, number: int, line: bytes) -> None:
        """The next line; ImportRefusedError where it does not follow from those before."""
        self.line = number
        try:
            written = parse_line(line, first=number == 1)
            if written is not None:
                self._take(written)
        except (LineError, FactError) as error:
            raise ImportRefusedError((Problem(number, str(error)),), more=True) from error

    def finish(self) -> Reader:
        """After the last line: whether the file was whole."""
        try:
            return self._finish()
        except FactError as error:
            raise ImportRefusedError((Problem(self.line, str(error)),), more=False) from error

    def report(self) -> MoveReport:
        """What was moved."""
        counts = self._counts
        return MoveReport(
            entries=self._seq,
            segments=counts["segments"],
            runs=counts["runs"],
            stated=counts["stated"],
            head=self._hash,
            messages=counts["messages"],
            files=counts["files"],
        )

    def _take(self, written: dict[str, Any]) -> None:
        if self.line == 1:
            if written != HEADER:
                raise FactError("is no header of a whole export")
            return
        if self._end is not None:
            raise FactError("comes after the end of the export")
        kind = written.get("type")
        if kind == END:
            self._end = written
        elif kind == MARK:
            self.mover.mark(str(written.get("name")), str(written.get("value")).encode())
        elif kind == MESSAGE:
            self.mover.message(read_message(written))
            self._count("messages", "more")
        elif kind == FILE:
            self._take_file(written)
        elif "entry" in written:
            self._take_entry(written)
        else:
            self._take_evidence(written)

    def _take_entry(self, written: dict[str, Any]) -> None:
        place = read_place(written.pop("entry"))
        body: dict[str, Any] = {
            "seq": place["seq"],
            "prev": place["prev"],
            "epoch": place["epoch"],
            "origin": place["origin"].value,
            "fact": written,
        }
        if place["origin"] is not Origin.IMPORTED:
            body["recorded_at_us"] = place["recorded_at_us"]
        entry = open_entry(body, data=canonical(body), recorded_at_us=place["recorded_at_us"])
        self._check_place(entry, place)
        if isinstance(entry.fact, Sealed) and entry.origin is not Origin.IMPORTED:
            self._sealed[entry.seq] = (self.line, entry.fact)
        self.mover.entry(entry)

    def _check_place(self, entry: Entry, place: Mapping[str, Any]) -> None:
        if entry.seq != self._seq + 1:
            msg = f"is entry {entry.seq}, {self._seq + 1} was to follow: lines are gone or out of their order"
            raise FactError(msg)
        if entry.hash != place["hash"]:
            msg = f"entry {entry.seq} hashes to {entry.hash}, its line says {place['hash']}: it was changed"
            raise FactError(msg)
        if entry.prev != self._hash:
            msg = f"entry {entry.seq} follows {entry.prev}, the one before it hashes to {self._hash}"
            raise FactError(msg)
        self._seq, self._hash = entry.seq, entry.hash

    def _take_evidence(self, written: dict[str, Any]) -> None:
        item = read_item(written)
        content = item.content
        if isinstance(content, SealedSegment):
            self._take_segment(content)
        elif isinstance(content, Run):
            if item.stored is None:
                raise FactError("is a run without its place in the store: this is no whole export")
            self.mover.run(item.stored, disputed=not item.counts)
            self._count("rows", "runs")
        elif isinstance(content, StatedSpan):
            self.mover.stated(content, disputed=not item.counts, recorded_at_us=item.recorded_at_us)
            self._count("rows", "stated")
        else:
            raise FactError("is a decision without its place in the chain: this is no whole export")

    def _take_segment(self, sealed: SealedSegment) -> None:
        assert sealed.seq is not None, "a segment's line names its entry"
        if sealed.seq not in self._sealed:
            msg = f"is a segment sealed by entry {sealed.seq}, which seals nothing"
            raise FactError(msg)
        # The root is over leaves; of what was read before no more is kept.
        self._segments.setdefault(sealed.seq, []).append(sealed.segment.expired())
        self.mover.segment(sealed)
        self._count("segments")
        self._counts["runs"] += sealed.segment.runs

    def _take_file(self, written: dict[str, Any]) -> None:
        self._count("more")
        whole = self._parts.take(written)
        if whole is None:
            return
        if self.beside is None:
            raise FactError("is a file beside the ledger, and there is no place for it here")
        try:
            self.beside.put(*whole)
        except BesideError as error:
            raise FactError(str(error)) from error
        self._count("files")

    def _count(self, *names: str) -> None:
        for name in names:
            self._counts[name] += 1

    def _finish(self) -> Reader:
        end = self._end
        if end is None:
            raise FactError("the file ends here without its last line: it was cut off")
        for seq, (line, fact) in self._sealed.items():
            segments = self._segments.get(seq, [])
            if len(segments) != fact.segments or root_of(segments) != fact.root:
                self.line = line
                raise FactError("seals other segments than those in the file: one was changed, or is missing")
        said = {name: end.get(name, 0) for name in ("entries", "head", "segments", "rows", "more")}
        counts = self._counts
        found = {"entries": self._seq, "head": self._hash, "segments": counts["segments"], "rows": counts["rows"]}
        found["more"] = counts["more"]
        if said != found:
            wrong = ", ".join(f"{name} {found[name]}, not {said[name]}" for name in found if found[name] != said[name])
            msg = f"the file holds {wrong}: lines are missing"
            raise FactError(msg)
        arrival = end.get("arrival")
        if not isinstance(arrival, int):
            raise FactError('"arrival" is no number')
        return self.mover.finish(arrival)

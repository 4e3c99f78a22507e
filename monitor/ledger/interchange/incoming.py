"""What an interchange file says, checked line by line and as a whole, against itself and the ledger, before any of it
is written (INTERFACES, `jaga-ledger/1`).

Maintenance, exclusions, adjudications and annulments share one space of ids: a reversal names its decision by id alone.
An outage has its own (one id for its opening and one for its end), a close is known by partner, service, month and
version. Facts without an id are the same fact when their content is the same.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from monitor.core import fact as facts
from monitor.core.agreement import read_terms
from monitor.core.chain import canonical
from monitor.core.fact import Fact
from monitor.core.incident import Illegal, State, step
from monitor.core.incident_fact import Delivery, Incident, IncidentEvent
from monitor.core.instant import format_instant
from monitor.core.run import Origin, Run, SourceKey, StatedSpan
from monitor.core.segment import SegmentError, read_runs
from monitor.core.terms import TermsError
from monitor.core.wire import MAX_INTEGER, FactError, read_fact, read_place, read_run, read_spans, write_fact
from monitor.ledger.interchange.carried import (
    END,
    FILE,
    MARK,
    MESSAGE,
    SEGMENT,
    as_imported,
    read_recorded,
    read_row,
    read_sealed,
)
from monitor.ledger.interchange.lines import MAX_LINE_BYTES, LineError, parse_line
from monitor.storage import Reader, SealedSegment, StoredRun

FORMAT = "jaga-ledger/1"
HEADER = {"type": "header", "format": FORMAT}
MAX_PROBLEMS = 20
# Lines that are written, and found unchanged since they were checked, together.
BATCH_LINES = 5000
BATCH_BYTES = 16 * 2**20

_REVERSIBLE = ("exclusion", "adjudication", "annulment")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with which line."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class ImportRefusedError(ValueError):
    """The file cannot be imported; nothing of it was. `problems` name their lines; `more`: the search stopped there."""

    def __init__(self, problems: tuple[Problem, ...], *, more: bool) -> None:
        super().__init__("\n".join([*map(str, problems), *(["… and perhaps more"] if more else [])]))
        self.problems = problems
        self.more = more


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A line's content: a fact, a run, a stated span or a segment; what `counts` not is kept for dispute alone.

    `place` is where a fact stood in its ledger, `stored` how a run stood in its store, `recorded_at_us` when a stated
    span was taken into it.
    """

    content: Fact | Run | StatedSpan | SealedSegment
    counts: bool = True
    place: Mapping[str, Any] | None = None
    stored: StoredRun | None = None
    recorded_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class _Reference:
    line: int
    name: str
    of: str
    kinds: tuple[str, ...]


@dataclass(slots=True)
class Known:
    """The facts that stand already, in the ledger or on earlier lines: their contents, and where each id is."""

    contents: set[bytes] = field(default_factory=set)
    ids: dict[tuple[object, ...], tuple[bytes, str]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    incidents: dict[str, State] = field(default_factory=dict)

    @staticmethod
    def of(reader: Reader) -> Known:
        """What a ledger holds."""
        known = Known()
        for entry in reader.entries():
            # The stored form, not a new one: what is compared is what was sealed.
            stored = orjson.loads(entry.data)["fact"]
            known.add(entry.fact, content_digest(stored), f"entry {entry.seq} of the ledger")
            known.follow(entry.fact)
        return known

    def add(self, fact: Fact, content: bytes, where: str) -> None:
        """One more fact that stands."""
        self.contents.add(content)
        key = identity(fact)
        if key is not None:
            self.ids.setdefault(key, (content, where))
        if isinstance(fact, _DECISIONS):
            self.kinds.setdefault(fact.id, fact.TYPE)

    def follow(self, fact: Fact) -> str | None:
        """Why an event of an incident cannot follow those before it; None where it can, or for any other fact."""
        if not isinstance(fact, Incident):
            return None
        found = step(self.incidents.get(fact.id), fact)
        if isinstance(found, Illegal):
            return found.reason
        self.incidents[fact.id] = found.state
        return None

    def expect(self, written: Mapping[str, Any] | None) -> None:
        """A decision that could not be read: what refers to it is not wrong for that."""
        given, kind = (written or {}).get("id"), (written or {}).get("type")
        if isinstance(given, str) and isinstance(kind, str) and kind in {shape.TYPE for shape in _DECISIONS}:
            self.kinds.setdefault(given, kind)

    def clash(self, fact: Fact, content: bytes) -> str | None:
        """Where the fact's id stands with another content."""
        key = identity(fact)
        held = None if key is None else self.ids.get(key)
        return None if held is None or held[0] == content else held[1]


_DECISIONS = (facts.Maintenance, facts.Exclusion, facts.Adjudication, facts.Annulment)


def identity(fact: Fact) -> tuple[object, ...] | None:
    """What makes two facts the same one; None where their content alone does."""
    match fact:
        case facts.Maintenance() | facts.Exclusion() | facts.Adjudication() | facts.Annulment():
            return ("decision", fact.id)
        case facts.Outage():
            return ("outage", fact.id, fact.end_us is None)
        case Incident() if fact.event is IncidentEvent.OPENED:
            return ("incident", fact.id)
        case Delivery():
            return ("delivery", fact.key)
        case facts.Close():
            return ("close", fact.partner, fact.service, fact.month, fact.version)
        case _:
            return None


def content_digest(written: Mapping[str, Any]) -> bytes:
    """The digest of a written fact, whatever the order of its fields."""
    return hashlib.sha256(canonical(written)).digest()


def read_item(written: dict[str, Any]) -> Item:
    """The item of a line's object; FactError says what is wrong with it."""
    kind = written.get("type")
    if kind == "run" or kind == "spans":  # noqa: PLR1714 - of any type, even one that cannot be hashed
        counts = written.pop("counts", True)
        if not isinstance(counts, bool):
            msg = '"counts" is neither true nor false; false marks evidence that is kept for dispute alone'
            raise FactError(msg)
        stored = written.pop("stored", None)
        if kind == "spans":
            recorded_at_us = None if stored is None else read_recorded(stored)
            return Item(content=read_spans(written), counts=counts, recorded_at_us=recorded_at_us)
        run = read_run(written, origin=Origin.IMPORTED)
        return Item(content=run, counts=counts, stored=None if stored is None else read_row(run, stored))
    if kind == SEGMENT:
        return Item(content=read_sealed(written))
    place = written.pop("entry", None)
    try:
        fact = read_fact(written)
        _check_terms(fact)
        _check_dates(fact)
        return Item(content=fact, place=None if place is None else read_place(place))
    except FactError as error:
        if "type" not in written:
            raise FactError('field "type" is missing') from error
        raise


def imported_runs(sealed: SealedSegment) -> list[Run]:
    """The runs of a segment as a plain import takes them, none once they expired; FactError where they are none."""
    if sealed.expired:
        return []
    try:
        return [as_imported(held.run) for held in read_runs(sealed.segment)]
    except SegmentError as error:
        raise FactError(str(error)) from error


def _check_terms(fact: Fact) -> None:
    """Refuse terms that no month could be judged by: once on record they could not be taken back."""
    if not isinstance(fact, facts.TermsAdopted):
        return
    try:
        ZoneInfo(read_terms(fact.contract, fact.effective_from_us, fact.terms).zone)
    except TermsError as error:
        raise FactError(str(error)) from error
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        zone = fact.terms.get("timezone")
        raise FactError(f"terms of {fact.contract}: {zone!r} is no time zone such as Asia/Jakarta") from error


def _check_dates(fact: Fact) -> None:
    """Refuse an agreement from or until an instant that no close could record: its integers lie below 2^53."""
    if isinstance(fact, facts.TermsAdopted):
        stated = {"effective_from": fact.effective_from_us}
    elif isinstance(fact, facts.Subscribed):
        stated = {name: at for name, at in (("from", fact.from_us), ("until", fact.until_us)) if at is not None}
    else:
        return
    for name, at_us in stated.items():
        if abs(at_us) > MAX_INTEGER:
            raise FactError(
                f'"{name}" {format_instant(at_us)} lies outside the years 1684 to 2255 that the record counts'
            )


def numbered(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers; of a line beyond the limit the start alone, which is too long as well."""
    number = 0
    while line := source.readline(MAX_LINE_BYTES + 2):
        number += 1
        yield number, line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = source.readline(MAX_LINE_BYTES + 2)
            if not line:
                return


def batches(source: BinaryIO) -> Iterator[list[tuple[int, bytes]]]:
    """The numbered lines in batches, bounded by their number and their bytes."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, line in numbered(source):
        batch.append((number, line))
        size += len(line)
        if len(batch) >= BATCH_LINES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class Incoming:
    """The check of a whole file: `take` each line, then `finish`; ImportRefusedError once there are problems enough."""

    def __init__(self, known: Known, now_us: int, holiday_tables: Collection[str] | None = None) -> None:
        self.facts: list[Fact] = []
        self.known_facts = 0
        self.evidence = 0
        self.placed = 0
        self.formerly_disputed = 0
        self.expired = 0
        self.sources: set[SourceKey] = set()
        self._known = known
        self._now_us = now_us
        self._holiday_tables = holiday_tables
        self._problems: list[Problem] = []
        self._references: list[_Reference] = []
        self._header = False
        self._last_line = 0
        self._own_seq: int | None = None
        self._imported_seqs: list[int] = []

    def take(self, number: int, line: bytes) -> None:
        """One line."""
        self._last_line = number
        written, wrong = None, None
        try:
            written = parse_line(line, first=number == 1)
            if written is not None:
                self._take(number, written)
        except (LineError, FactError) as error:
            wrong = str(error)
        if wrong is not None:
            self._known.expect(written)
            self._problem(number, wrong)

    def finish(self) -> None:
        """After the last line: what only the whole file can tell."""
        if not self._header:
            self._problem(self._last_line or 1, f"the file holds no header; its first line is {_shown(HEADER)}")
        for reference in self._references:
            self._resolve(reference)
        if self._problems:
            raise ImportRefusedError(tuple(self._problems), more=False)
        if self._own_seq is not None:
            self.formerly_disputed = sum(seq > self._own_seq for seq in self._imported_seqs)

    def _take(self, number: int, written: dict[str, Any]) -> None:
        if written.get("type") == "header":
            self._take_header(number, written)
            return
        if not self._header:
            self._header = True  # told once
            self._problem(number, f"comes before the header; the first line is {_shown(HEADER)}")
        if written.get("type") in [MARK, MESSAGE, FILE, END]:
            return  # of the store it comes from: for a move alone
        item = read_item(written)
        if isinstance(item.content, SealedSegment):
            self._take_segment(number, item.content)
            return
        self._check_dates(number, item.content)
        self._check_holidays(number, item.content)
        if isinstance(item.content, Run | StatedSpan):
            self.evidence += 1
            if item.counts:
                self.sources.add(item.content.source)
            return
        self._take_fact(number, item.content)
        if item.place is not None:
            self._take_place(item.place)

    def _check_holidays(self, number: int, content: object) -> None:
        """Terms by a table of holidays that nobody has could be neither judged by nor taken back."""
        tables = self._holiday_tables
        if not isinstance(content, facts.TermsAdopted) or tables is None:
            return
        name = content.terms.get("holidays")
        if name is not None and name not in tables:
            there = ", ".join(sorted(tables))
            self._problem(number, f"terms of {content.contract}: {name!r} is no table of holidays; there are {there}")

    def _take_segment(self, number: int, sealed: SealedSegment) -> None:
        runs = imported_runs(sealed)
        self.expired += sealed.expired
        self.evidence += len(runs)
        self.sources |= {run.source for run in runs}
        if len(runs) != (0 if sealed.expired else sealed.segment.runs):
            self._problem(number, f'holds {len(runs)} runs, "runs" says {sealed.segment.runs}')
        for run in runs[-1:]:
            self._check_dates(number, run)

    def _take_header(self, number: int, written: dict[str, Any]) -> None:
        if self._header:
            self._problem(number, "is a second header, or one that is not the first line")
        self._header = True
        if written.get("format") != FORMAT:
            self._problem(number, f'"format" is {str(written.get("format"))[:60]!r}, this program reads {FORMAT!r}')
        for name in sorted(set(written) - set(HEADER)):
            self._problem(number, f'field "{name[:60]}" is unknown in the header')

    def _take_fact(self, number: int, fact: Fact) -> None:
        content = content_digest(write_fact(fact))
        elsewhere = self._known.clash(fact, content)
        if elsewhere is not None:
            self._problem(number, _clash_text(fact, elsewhere))
            return
        if content in self._known.contents:
            self.known_facts += 1
        else:
            why_not = self._known.follow(fact)
            if why_not is not None:
                self._problem(number, why_not)
            self.facts.append(fact)
        self._known.add(fact, content, f"line {number}")
        self._references += _references(number, fact)

    def _take_place(self, place: Mapping[str, Any]) -> None:
        self.placed += 1
        if place["origin"] is Origin.IMPORTED:
            self._imported_seqs.append(place["seq"])
        elif self._own_seq is None or place["seq"] < self._own_seq:
            self._own_seq = place["seq"]

    def _check_dates(self, number: int, content: Fact | Run | StatedSpan) -> None:
        match content:
            case Run():
                name, at_us = "at", content.start_us
            case StatedSpan():
                name, at_us = "to", content.end_us
            case facts.TermsAdopted() | facts.Subscribed():
                return
            case _:
                name, at_us = "at", content.at_us
        if at_us > self._now_us:
            now = format_instant(self._now_us)
            self._problem(
                number, f'"{name}" {format_instant(at_us)} is after now, {now}: the record holds what has happened'
            )

    def _resolve(self, reference: _Reference) -> None:
        kind = self._known.kinds.get(reference.of)
        if kind in reference.kinds:
            return
        if kind is None:
            near = difflib.get_close_matches(reference.of, self._known.kinds, n=1)
            meant = f'; did you mean "{near[0]}"?' if near else ""
            wanted = " or ".join(reference.kinds)
            message = f"names {reference.of!r}, which is no {wanted} of this file or the ledger{meant}"
        elif kind == facts.Maintenance.TYPE:
            message = f"names {reference.of!r}, a maintenance: it is cancelled or finished, not reversed"
        else:
            message = f"names {reference.of!r}, which is an {kind}, expected a maintenance"
        self._problem(reference.line, f'"{reference.name}" {message}')

    def _problem(self, line: int, message: str) -> None:
        self._problems.append(Problem(line, message))
        if len(self._problems) >= MAX_PROBLEMS:
            raise ImportRefusedError(tuple(self._problems), more=True)


def _references(line: int, fact: Fact) -> Iterable[_Reference]:
    match fact:
        case facts.Notice() | facts.MaintenanceFinished() | facts.MaintenanceCancelled():
            return (_Reference(line, "maintenance", fact.maintenance, ("maintenance",)),)
        case facts.Maintenance() if fact.extends is not None:
            return (_Reference(line, "extends", fact.extends, ("maintenance",)),)
        case facts.Reversal():
            return (_Reference(line, "of", fact.of, _REVERSIBLE),)
        case _:
            return ()


def _clash_text(fact: Fact, elsewhere: str) -> str:
    if isinstance(fact, facts.Close):
        which = f"version {fact.version} of {fact.month} for {fact.partner}, {fact.service}"
        return f"closes {which} with other content than {elsewhere}"
    if isinstance(fact, facts.Outage | Incident):
        return f'"id" {fact.id!r} stands with other content at {elsewhere}'
    if isinstance(fact, Delivery):
        return f'"key" {fact.key!r} stands with other content at {elsewhere}'
    shared = "maintenance, exclusions, adjudications and annulments share their ids"
    assert isinstance(fact, _DECISIONS), "only facts with an identity can clash"
    return f'"id" {fact.id!r} stands with other content at {elsewhere}; one id is one decision ({shared})'


def _shown(value: object) -> str:
    return orjson.dumps(value).decode()

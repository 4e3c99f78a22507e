"""The decisions of a ledger read once: facts, book, check lists and agreements, up to an entry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from monitor.core.agreement import adopted
from monitor.core.calendar import Calendar, Clock
from monitor.core.chain import GENESIS
from monitor.core.check import CheckList
from monitor.core.entry import Entry
from monitor.core.exclusion import Book
from monitor.core.fact import CheckpointSigned, ChecksAdopted, Close
from monitor.core.run import Origin
from monitor.core.terms import Agreements, Terms
from monitor.ledger.evidence import check_lists
from monitor.storage import Reader


def _without_holidays(terms: Terms, zone: tzinfo) -> Clock:
    """The business clock where no holiday tables are at hand."""
    return Calendar(zone=zone, hours=terms.hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What figures need from outside the record: the configured agreements, the zones, and who computes.

    `zone` gives the tzinfo of an IANA name; `holidays` says which holiday table a contract goes by, in words;
    `business` is the business clock of terms in their zone.
    """

    agreements: Agreements
    zone: Callable[[str], tzinfo]
    software: str
    holidays: Callable[[str], str] = str
    business: Callable[[Terms, tzinfo], Clock] = _without_holidays


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The counted decisions of a ledger up to an entry. `closed` holds the closes by partner, service and month,
    `imported_at` the instants of the check lists of each service that were imported.
    """

    entries: tuple[Entry, ...]
    book: Book
    lists: dict[str, list[CheckList]]
    agreements: Agreements
    closed: Mapping[tuple[str, str, str], Sequence[tuple[Entry, Close]]]
    imported_at: Mapping[str, frozenset[int]]

    @property
    def size(self) -> int:
        """How many entries it rests on."""
        return self.entries[-1].seq if self.entries else 0

    @property
    def head(self) -> str:
        """The hash of the last of them."""
        return self.entries[-1].hash if self.entries else GENESIS

    def closes(self, partner: str, service: str, month: str) -> list[tuple[Entry, Close]]:
        """The closes of a month in the order of their versions."""
        return list(self.closed.get((partner, service, month), ()))

    def all_closes(self) -> list[tuple[Entry, Close]]:
        """Every close this ledger made, in order. One that was imported closes nothing here."""
        return sorted((found for of_month in self.closed.values() for found in of_month), key=lambda pair: pair[0].seq)

    @property
    def checkpoint(self) -> str | None:
        """The newest checkpoint that this ledger signed, as its note: what goes out with statements and notices."""
        for entry in reversed(self.entries):
            if isinstance(entry.fact, CheckpointSigned) and entry.origin is not Origin.IMPORTED:
                return entry.fact.note
        return None


def read_record(reader: Reader, configured: Agreements, *, before_seq: int | None = None) -> Record:
    """The record as it stands, or as it stood before an entry (CONTRACT 2.7: a version is computed only from those)."""
    entries = [entry for entry in reader.entries() if before_seq is None or entry.seq < before_seq]
    return record_of(entries, configured)


class RecordKeeper:
    """The record of one ledger, carried on from reading to reading: entries are only ever appended, so only new ones
    are read, and the record is folded anew only when there are some. May be asked from several threads, and by readers
    that are frozen at an earlier state than others: each gets the record of its own.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._configured: Agreements | None = None
        self._record: Record | None = None
        self._one_at_a_time = threading.Lock()

    def read(self, reader: Reader, configured: Agreements) -> Record:
        """The record as it stands, as `read_record` gives it."""
        with self._one_at_a_time:
            fresh = list(reader.entries(after=self._entries[-1].seq if self._entries else 0))
            if not fresh and self._entries and (head := reader.head()).seq < self._entries[-1].seq:
                return record_of([entry for entry in self._entries if entry.seq <= head.seq], configured)
            if self._record is None or fresh or configured is not self._configured:
                self._entries += fresh
                self._configured = configured
                self._record = record_of(self._entries, configured)
            return self._record


def record_of(entries: Sequence[Entry], configured: Agreements) -> Record:
    """The record of entries in their order. Imports that came after the ledger's own facts do not count."""
    book = Book.of(entries)
    counted = tuple(e for e in entries if e.origin is not Origin.IMPORTED or _counts(e, book))
    return Record(
        entries=tuple(entries),
        book=book,
        lists=check_lists(entry.fact for entry in counted),
        agreements=adopted((entry.fact for entry in counted), configured),
        closed=_closed(entries),
        imported_at=_imported_at(entries),
    )


def _closed(entries: Iterable[Entry]) -> dict[tuple[str, str, str], list[tuple[Entry, Close]]]:
    found: dict[tuple[str, str, str], list[tuple[Entry, Close]]] = {}
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, Close) and entry.origin is not Origin.IMPORTED:
            found.setdefault((fact.partner, fact.service, fact.month), []).append((entry, fact))
    return found


def _imported_at(entries: Iterable[Entry]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for entry in entries:
        if isinstance(entry.fact, ChecksAdopted) and entry.origin is Origin.IMPORTED:
            found.setdefault(entry.fact.list.service, set()).add(entry.fact.at_us)
    return {service: frozenset(instants) for service, instants in found.items()}


def _counts(entry: Entry, book: Book) -> bool:
    return book.first_own_seq is None or entry.seq < book.first_own_seq

"""The messages of a ledger: from what was recorded and from the passing of time to rows of the outbox.

What the detector itself records carries its messages in the same transaction. A decision that a verb recorded is told
by the next turn, whose cursor stands in the same transaction as its messages: after a crash nothing is told twice and
nothing is left out. Damping is here and nowhere else: it holds messages back and touches no figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.core.entry import Entry
from monitor.core.fact import Fact
from monitor.core.run import Origin
from monitor.detector.desk import Desk
from monitor.detector.journal import Journal
from monitor.detector.telling import Telling
from monitor.detector.watch import Watch
from monitor.ledger.incidents import Counter, IncidentBook
from monitor.ledger.record import Basis, RecordKeeper
from monitor.messages.routing import Manners
from monitor.notify import Alert, Quiet
from monitor.storage import OutboxRow, Reader

MARK = "messages/herald"


@dataclass(slots=True)
class Herald:
    """The messages of a ledger. `turn` answers what is to be queued; `alerts` is what is wrong as of the last turn,
    `quiet` the maintenance in which alerts may be silent.
    """

    basis: Basis
    journal: Journal = field(default_factory=Journal)
    manners: Manners = field(default_factory=Manners)
    alerts: tuple[Alert, ...] = ()
    quiet: tuple[Quiet, ...] = ()
    record: RecordKeeper = field(default_factory=RecordKeeper)
    _news: list[Entry] = field(default_factory=list)

    def open(self, reader: Reader) -> None:
        """Go on where the last transaction left off; a ledger that never told anything begins with what comes."""
        kept = reader.mark(MARK)
        self._news = []
        if kept is None:
            self.journal.seq, self.journal.changed = reader.head().seq, True
            return
        self.journal.load(kept)
        self.take(reader.entries(after=self.journal.seq))

    def take(self, entries: Iterable[Entry]) -> None:
        """Take in what was committed."""
        for entry in entries:
            if entry.seq > self.journal.seq:
                self.journal.seq, self.journal.changed = entry.seq, True
                self._news.append(entry)

    def turn(
        self,
        watches: Mapping[str, Watch],
        found: Sequence[Fact],
        incidents: IncidentBook,
        counter: Counter,
        reader: Reader,
        at_us: int,
    ) -> tuple[list[OutboxRow], dict[str, Any]]:
        """The messages that follow at `at_us`: from the facts just `found`, from decisions, and from time."""
        journal = self.journal
        telling = Telling(reader, self.basis, counter, at_us, self.record)
        desk = Desk(journal, self.manners, watches, found, incidents, counter, telling, at_us)
        for entry in self._news:
            if entry.origin is not Origin.IMPORTED:
                desk.decided(entry.fact)
        self._news = []
        for fact in found:
            desk.found_fact(fact)
        desk.time()
        self.alerts, self.quiet = tuple(desk.active()), tuple(desk.quiet())
        rows, changed = journal.rows, journal.changed or bool(journal.rows)
        journal.rows, journal.changed = [], False
        return rows, {MARK: journal.document()} if changed else {}

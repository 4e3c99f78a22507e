"""A ledger kept through the product's own doors, and what it hands out for the audit to judge."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from monitor import audit
from monitor.core.calendar import Month
from monitor.core.run import Outcome, Run
from monitor.core.terms import Agreements
from monitor.core.wire import read_fact
from monitor.ledger.act import Order, act
from monitor.ledger.command import CloseMonth
from monitor.ledger.evidence import Evidence, rebuild
from monitor.ledger.interchange import export, import_
from monitor.ledger.interchange.partial import export_partial
from monitor.ledger.month import Months
from monitor.ledger.record import Basis
from monitor.storage import Store, Unit
from monitor.storage.opening import open_store
from tests.audit.worlds import HOUR, World

BASIS = Basis(agreements=Agreements(), zone=ZoneInfo, software="jaga test")
Line = Mapping[str, Any]
Document = dict[str, Any]


class Books:
    """A store with a clock that stands at `now_us`."""

    def __init__(self, store: Store, folder: Path, now_us: int, basis: Basis = BASIS) -> None:
        self.store, self.folder, self.now_us, self.basis = store, folder, now_us, basis

    def take(self, lines: Iterable[Line]) -> None:
        """Import."""
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        import_(self.store, io.BytesIO(data), now_us=self.now_us, rebuild=rebuild)

    def record(self, line: Line) -> None:
        """A fact of the ledger's own."""
        self._commit(Unit(recorded_at_us=self.now_us, facts=[read_fact(line)]))

    def runs(self, told: Iterable[tuple[str, int, str]]) -> None:
        """Runs of portal's own from jkt-1: check, start, outcome."""
        found = [
            Run(service="portal", check=check, location="jkt-1", start_us=at_us, outcome=Outcome(outcome))
            for check, at_us, outcome in told
        ]
        self._commit(Unit(recorded_at_us=self.now_us, runs=found))

    def _commit(self, unit: Unit) -> None:
        evidence = Evidence(self.store)
        committed = self.store.commit(unit)
        self.store.commit(Unit(recorded_at_us=unit.recorded_at_us, spans=evidence.apply(committed)))

    def statements(self, month: str) -> list[Document]:
        """As `statement --format json` writes them."""
        found = Months(self.store, self.basis, self.now_us).statements(Month.parse(month))
        written: list[Document] = json.loads(json.dumps([entry.document for entry in found]))
        return written

    def close(self, month: str, reason: str | None = None) -> None:
        """Close what may close; with a reason, restate."""
        for document in self.statements(month):
            partner, service = document["partner"]["id"], document["service"]["id"]
            wanted = CloseMonth(partner=partner, service=service, month=month, restate_reason=reason)
            self.now_us += 1
            order = Order(
                command=wanted, by="sari", now_us=self.now_us, tz_version="2026a", over_closed=reason is not None
            )
            act(self.store, self.basis, order)

    def export(self) -> Path:
        """As `ledger export` writes it."""
        path = self.folder / "export.jsonl"
        with path.open("wb") as out:
            export(self.store, out)
        return path

    def audited(self, documents: Iterable[Document], *, running: bool = False) -> list[str]:
        """What the audit finds wrong in statements, by the export of this moment."""
        ledger = audit.read_ledger(self.export())
        found = list(ledger.broken)
        for document in documents:
            answer = audit.audit(ledger, document, now=self.now_us if running else None)
            found += [f"{answer.name}: {difference}" for difference in answer.differences]
        return found

    def audited_in_part(self, documents: Iterable[Document], *, running: bool = False) -> list[str]:
        """The same by what each statement's partner alone is given."""
        found: list[str] = []
        for document in documents:
            path = self.folder / "part.jsonl"
            with path.open("wb") as out:
                export_partial(self.store, out, document["partner"]["id"], configured=self.basis.agreements)
            ledger = audit.read_ledger(path)
            answer = audit.audit(ledger, document, now=self.now_us if running else None)
            found += [*ledger.broken, *(f"{answer.name}: {difference}" for difference in answer.differences)]
        return found


@contextmanager
def books(folder: Path, now_us: int, lines: Sequence[Line] = ()) -> Iterator[Books]:
    """Books in a folder, with a file imported."""
    store = open_store("sqlite:///ledger.db", base=folder)
    try:
        found = Books(store, folder, now_us)
        if lines:
            found.take(lines)
        yield found
    finally:
        store.close()


def through_a_life(kept: Books, given: World, judge: Callable[[str, list[dict[str, Any]]], None]) -> None:
    """Judge a world's statements as imported, with own facts, closed, disputed, restated; and version 1 again."""
    month = f"{given.year}-{given.month:02d}"
    judge("imported", kept.statements(month))
    for at_us, line in given.later:
        kept.now_us = max(kept.now_us, at_us)
        kept.record(line)
    judge("with facts of its own", kept.statements(month))
    kept.now_us += HOUR
    kept.close(month)
    first = kept.statements(month)
    judge("closed", first)
    for at_us, line in given.after_close:
        kept.now_us = max(kept.now_us, at_us)
        kept.record(line)
    judge("with later facts", kept.statements(month))
    kept.close(month, "new evidence")
    judge("restated", kept.statements(month))
    judge("the first version, by a later export", first)

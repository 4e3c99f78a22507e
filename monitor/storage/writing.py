"""A store as its owner has it: one writing connection, whose transactions take turns, beside an engine of readers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import (
    Engine,
)

from monitor.core.run import OutcomeSpan, SourceKey
from monitor.storage import (
    Acknowledged,
    Committed,
    StoreDamagedError,
    Unit,
)
from monitor.storage.asking import Backend, SourceIds
from monitor.storage.errors import mapped
from monitor.storage.moving import SqlMover
from monitor.storage.reading import SqlReader
from monitor.storage.statements import Statements
from monitor.storage.transaction import Transaction

Work = TypeVar("Work", bound=Transaction)


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
        with self._transaction("commit to", Transaction) as work:
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
        with self._transaction("move a ledger into", SqlMover) as work:
            work.begin(SqlReader(self._writer, self._backend, bound=work.connection), now_us)
            yield work
        head = self.head()
        self._acknowledge(Acknowledged(seq=head.seq, hash=head.hash, arrival=self.last_arrival()))

    def permit_writes(self) -> None:
        """Write again, whatever was found: for the one entry that says so."""
        self._refusal = None

    def rewrite_spans(self, source: SourceKey, spans: Iterable[OutcomeSpan]) -> None:
        """Replace all derived spans of a source: for imports and rebuilds."""
        with self._transaction("rewrite the spans in", Transaction) as work:
            work.rewrite_spans(source, tuple(spans))

    def close(self) -> None:
        """Let go of the store, readers first, so that the last to leave is the one that may tidy up."""
        super().close()
        self._writer.dispose()
        self._release()

    @contextmanager
    def _transaction(self, operation: str, kind: type[Work]) -> Iterator[Work]:
        # A closed engine would connect again by itself, without the owner's lock.
        assert not self._closed, "the store was closed"
        if self._refusal is not None:
            hint = "keep the files, run jaga ledger verify, restore a backup and compare"
            raise StoreDamagedError(operation, self.target, f"read-only: {self._refusal}", hint)
        new_sources: SourceIds = {}
        # One connection, whichever threads commit: they take turns.
        with self._turn, mapped(operation, self.target), self._writer.begin() as connection:
            yield kind(connection, self._statements, self._ids, new_sources, target=self.target)
        self._ids.update(new_sources)

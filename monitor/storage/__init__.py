"""The seam of a store: it appends and reads, in transactions; arithmetic lives in the core.

Methods are synchronous. One process owns a store for writing, through one connection; readers open it read-only beside
the owner. `commit` is ONE transaction: either all of a unit is durable when it returns, or none of it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from monitor.core.entry import Entry, Head
from monitor.core.fact import Fact
from monitor.core.run import Origin, OutcomeSpan, Run, RunKey, SourceKey, StatedSpan
from monitor.core.span import Span


class StoreError(Exception):
    """The store could not do it: operation, object, cause and hint, ready for an operator (exit code 3)."""

    def __init__(self, operation: str, target: str, cause: str, hint: str) -> None:
        super().__init__(f"{operation} {target}: {cause} ({hint})")
        self.operation = operation
        self.target = target
        self.cause = cause
        self.hint = hint


class StoreOwnedError(StoreError):
    """Another process owns the store; `owner` names it (pid and host). Exit code 2."""

    def __init__(self, operation: str, target: str, owner: str) -> None:
        super().__init__(operation, target, f"owned by {owner}", "stop it, or speak to it through its control socket")
        self.owner = owner


class HeadMovedError(StoreError):
    """The head was not the expected one: somebody else wrote. Nothing was committed; read again and retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanChange:
    """Derived outcome spans of one source to write: starts to delete, then spans to insert or overwrite by start."""

    source: SourceKey
    deleted: tuple[int, ...] = ()
    written: tuple[OutcomeSpan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """A message to deliver, queued in the transaction of the fact it tells. `key` is its idempotency key."""

    key: str
    channel: str
    kind: str
    payload: Mapping[str, Any]
    at_us: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages wait for a channel, and since when the oldest does."""

    count: int
    oldest_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What one transaction writes. `marks` are small named JSON documents (cursors, totals), replaced whole.

    `recorded_at_us` stamps runs, entries and marks. `expected_head` guards entries (HeadMovedError); None skips the
    guard, for an owner that alone writes. `disputed` evidence is kept and counts for nothing, whatever its origin.
    `delivered` are keys of messages that leave the outbox.
    """

    recorded_at_us: int
    runs: Sequence[Run] = ()
    stated: Sequence[StatedSpan] = ()
    disputed: bool = False
    facts: Sequence[Fact] = ()
    origin: Origin = Origin.OWN
    spans: Sequence[SpanChange] = ()
    marks: Mapping[str, Any] = field(default_factory=dict)
    outbox: Sequence[OutboxRow] = ()
    delivered: Sequence[str] = ()
    expected_head: Head | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What a committed unit did. `fresh` are the runs that were not there before, in their order; `contested` the keys
    that became contested by it: they hold two different contents and are inconclusive(conflict). `disputed` counts the
    runs and stated spans newly kept as dispute evidence. The rest were repetitions.
    """

    head: Head
    entries: tuple[Entry, ...] = ()
    fresh: tuple[Run, ...] = ()
    contested: tuple[RunKey, ...] = ()
    fresh_stated: int = 0
    disputed: int = 0
    last_arrival: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much a store holds, for `ledger stats`."""

    entries: int
    runs: int
    stated: int
    spans: int
    outbox: int
    size_bytes: int
    schema: int


class Reader(Protocol):
    """What may be asked of a store.

    Each question sees one committed state; several questions that must see the same one go through `snapshot`.
    Evidence imported after the ledger had entries of its own counts for nothing: it is left out everywhere but where
    `disputed` asks for it alone.
    """

    def snapshot(self) -> AbstractContextManager[Reader]:
        """A reader whose answers all come from one committed state, for as long as the block lasts."""

    def head(self) -> Head:
        """The end of the chain."""

    def entries(self, *, after: int = 0, types: Sequence[str] | None = None) -> Iterator[Entry]:
        """Entries with seq > after, in order, of the given types only (None: all)."""

    def first_own_entry(self) -> int | None:
        """The seq of the first entry that this ledger or an agent made, None while all are imported. Imported entries
        after it count for nothing (INTERFACES, interchange).
        """

    def raw_entries(self, *, after: int = 0) -> Iterator[tuple[Mapping[str, Any], bytes]]:
        """(columns, stored bytes) in order, unparsed: what verification compares. Columns: seq, type, origin,
        recorded_at_us, epoch, prev, hash.
        """

    def runs_after(self, arrival: int, limit: int) -> list[tuple[int, Run]]:
        """Up to `limit` runs that arrived after the arrival number, in arrival order, with their numbers. A run that
        became contested arrives again.
        """

    def runs(self, source: SourceKey, within: Span, *, disputed: bool = False) -> Iterator[Run]:
        """Runs of a source stamped in the span, by start; a contested one reads as inconclusive(conflict)."""

    def run_before(self, source: SourceKey, at_us: int) -> Run | None:
        """The latest run of a source stamped before the instant."""

    def run_after(self, source: SourceKey, at_us: int) -> Run | None:
        """The earliest run of a source stamped after the instant."""

    def latest_runs(self, service: str | None = None) -> list[Run]:
        """The latest run of each source."""

    def runs_known(self, source: SourceKey, within: Span, arrival: int) -> Iterator[Run]:
        """Runs of a source stamped in the span as they were known when `arrival` was the last to have arrived: later
        ones are left out, and one that became contested later reads as it did before.
        """

    def arrived_after(self, service: str, within: Span, arrival: int) -> bool:
        """Whether any run of a service stamped in the span arrived (or became contested) after the number."""

    def last_arrival(self) -> int:
        """The number of the last run that arrived; 0 while there is none."""

    def first_failure(self, source: SourceKey, within: Span) -> Run | None:
        """The earliest failing run of a source stamped in the span."""

    def stated(self, source: SourceKey, within: Span, *, disputed: bool = False) -> Iterator[StatedSpan]:
        """Stated spans of a source that overlap the span, by start."""

    def sources(self, service: str | None = None, *, disputed: bool = False) -> list[SourceKey]:
        """Every source with evidence, sorted."""

    def spans(self, service: str, within: Span) -> dict[SourceKey, list[OutcomeSpan]]:
        """Derived outcome spans that overlap the span (unclipped), by source, by start."""

    def spans_of(self, source: SourceKey, within: Span) -> list[OutcomeSpan]:
        """The same for one source."""

    def mark(self, name: str) -> Any:  # noqa: ANN401 - a JSON document
        """The named document, None if there is none."""

    def outbox(self, limit: int, *, channel: str | None = None) -> list[OutboxRow]:
        """Up to `limit` messages that wait to be delivered (by one channel), in the order in which they were queued."""

    def outbox_waiting(self) -> dict[str, Waiting]:
        """What waits, by channel: a channel with nothing has no place."""

    def counts(self) -> Counts:
        """How much there is."""

    def close(self) -> None:
        """Let go of the store; further calls are faults of the program."""


class Store(Reader, Protocol):
    """A store opened by its owner."""

    def commit(self, unit: Unit) -> Committed:
        """Make a unit durable in one transaction (fsynced), or raise StoreError and change nothing.

        Runs: the same key with the same content changes nothing, with other content it becomes contested. Stated
        spans: the same again changes nothing. Facts are sealed after the head in their order. Imported evidence that
        arrives once the ledger holds entries of its own is kept as disputed.
        """

    def rewrite_spans(self, source: SourceKey, spans: Iterable[OutcomeSpan]) -> None:
        """Replace all derived spans of a source: for imports and rebuilds."""

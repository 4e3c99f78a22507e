"""The seam of a store: it appends and reads, in transactions; arithmetic lives in the core.

Methods are synchronous. One process owns a store for writing, through one connection; readers open it read-only beside
the owner. `commit` is ONE transaction: either all of a unit is durable when it returns, or none of it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from monitor.core.body import Arrived
from monitor.core.entry import Entry, Head
from monitor.core.fact import Fact
from monitor.core.run import Origin, OutcomeSpan, Run, RunKey, SourceKey, StatedSpan
from monitor.core.segment import Piece, Segment
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


class StoreMisusedError(StoreError):
    """What was asked of a store cannot be, however often it is tried: an address of none, a move into one that is not
    empty. Exit code 2.
    """


class StoreDamagedError(StoreError):
    """What the store holds is damaged: it is read as far as it can be, and nothing is written or repaired."""


class NewerSchemaError(StoreError):
    """The store was written by a newer version of the program. Exit code 2: starting again would not help."""

    def __init__(self, target: str, version: int, newest: int) -> None:
        cause = f"its schema is version {version}, this program knows up to {newest}"
        super().__init__("open", target, cause, "upgrade the program; nothing was changed")


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
class SealedSegment:
    """A segment as a store keeps it: sealed by entry `seq` (None: by the unit's own `sealed` fact of its hour).

    Its runs arrived under numbers from `first_arrival` to `last_arrival`; those of its hour that arrived after
    `through` are in none of the segments so far. `hot` says whether its runs are there as rows too, `expired` whether
    they are nowhere any more.
    """

    segment: Segment
    first_arrival: int
    last_arrival: int
    through: int
    seq: int | None = None
    hot: bool = True
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run as a row: when it was recorded, and for a contested key every content that was given for it, as the store
    keeps them: (digest, arrival or None, origin, instant of recording, JSON).
    """

    arrived: Arrived
    recorded_at_us: int
    contents: tuple[tuple[str, int | None, str, int, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What one transaction writes. `marks` are small named JSON documents (cursors, totals), replaced whole.

    `recorded_at_us` stamps runs, entries and marks. `expected_head` guards entries (HeadMovedError); None skips the
    guard, for an owner that alone writes. `disputed` evidence is kept and counts for nothing, whatever its origin.
    `delivered` are keys of messages that leave the outbox.

    `segments` are sealed beside their rows. Of the hours (service, start) in `cooled` the rows go, and the segments
    answer for them; of those in `expired` the runs go for good, and what the hour said stays.
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
    segments: Sequence[SealedSegment] = ()
    cooled: Sequence[tuple[str, int]] = ()
    expired: Sequence[tuple[str, int]] = ()
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
    segments: int
    size_bytes: int
    schema: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """What was once answered "it is durable" for: entry `seq` with this hash, and this arrival number."""

    seq: int
    hash: str
    arrival: int

    def contradicted_by(self, reader: Reader) -> Iterator[str]:
        """Where a store holds less than that, or something else: an older state was put back, or its end was lost."""
        head, arrival = reader.head(), reader.last_arrival()
        if head.seq < self.seq:
            yield f"entry {self.seq} was acknowledged, the ledger ends at {head.seq}: an older state, or a lost end"
        elif self.seq:
            columns = next(iter(reader.raw_entries(after=self.seq - 1)), ({"seq": None, "hash": None}, b""))[0]
            if (columns["seq"], columns["hash"]) != (self.seq, self.hash):
                yield f"entry {self.seq} was acknowledged with hash {self.hash}, the ledger holds another"
        if arrival < self.arrival:
            yield f"run {self.arrival} was acknowledged, the last that arrived is {arrival}: runs were lost"


def contradiction(reader: Reader) -> str | None:
    """How a store holds less than, or other than, what was acknowledged for it; None where it does not, or no one kept
    it. A store too damaged to say is a contradiction too.
    """
    acknowledged = reader.acknowledged()
    if acknowledged is None:
        return None
    try:
        return next(acknowledged.contradicted_by(reader), None)
    except StoreDamagedError as error:
        return str(error)


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

    def stated_rows(self, source: SourceKey, *, disputed: bool = False) -> Iterator[tuple[StatedSpan, int]]:
        """Every stated span of a source by start, each with the instant of its recording."""

    def sources(self, service: str | None = None, *, disputed: bool = False) -> list[SourceKey]:
        """Every source with evidence, sorted."""

    def spans(self, service: str, within: Span) -> dict[SourceKey, list[OutcomeSpan]]:
        """Derived outcome spans that overlap the span (unclipped), by source, by start."""

    def spans_by_service(self, within: Span) -> dict[str, dict[SourceKey, list[OutcomeSpan]]]:
        """The same for every service that has any there, in one question."""

    def spans_of(self, source: SourceKey, within: Span) -> list[OutcomeSpan]:
        """The same for one source."""

    def kept(self, source: SourceKey, within: Span) -> Iterator[Piece]:
        """What the expired hours of a source said, pieces that start in the span, by start."""

    def arrived_in(self, service: str, hour_us: int) -> list[Arrived]:
        """The rows of a service's runs stamped in an hour, as they stand."""

    def unsealed_hours(self, *, after_us: int, before_us: int, arrival: int) -> list[tuple[str, int]]:
        """The hours (service, start) with runs in no segment: all that lie in `[after_us, before_us)`, and those before
        in which runs arrived after the number. Both instants are edges of hours.
        """

    def rows(self, source: SourceKey, *, disputed: bool = False) -> Iterator[StoredRun]:
        """What is held of a source as rows, by start."""

    def first_row_us(self, *, after_us: int) -> int | None:
        """The earliest stamp of a run held as a row, at or after the instant."""

    def segments(
        self, service: str | None = None, *, within: Span | None = None, hot: bool | None = None, bodies: bool = True
    ) -> Iterator[SealedSegment]:
        """Segments by hour, service and number; `bodies` False leaves out those, which is cheap."""

    def ends(self, service: str, from_us: int) -> dict[SourceKey, tuple[int | None, list[OutcomeSpan]]]:
        """Of every source of a service the stamp of its newest evidence (None: there is none), and its derived spans
        that end after the instant.
        """

    def mark(self, name: str) -> Any:  # noqa: ANN401 - a JSON document
        """The named document, None if there is none."""

    def outbox(self, limit: int, *, channel: str | None = None) -> list[OutboxRow]:
        """Up to `limit` messages that wait to be delivered (by one channel), in the order in which they were queued."""

    def outbox_waiting(self) -> dict[str, Waiting]:
        """What waits, by channel: a channel with nothing has no place."""

    def marks(self, prefix: str = "") -> dict[str, bytes]:
        """All documents (whose names begin so), as JSON, by name."""

    def counts(self) -> Counts:
        """How much there is."""

    def size_bytes(self) -> int:
        """How large it is, known without reading it."""

    def acknowledged(self) -> Acknowledged | None:
        """What the owner last acknowledged, as kept outside the store; None where nothing is kept."""

    def damage(self, pause: Callable[[], None] | None = None) -> Iterator[str]:
        """What the store finds wrong with what it holds, in words: pages and indexes, and rows that disagree with their
        check sums. It reads everything. `pause` is called often, also while an engine looks by itself: what it raises
        ends the search.
        """

    def close(self) -> None:
        """Let go of the store; further calls are faults of the program."""


class Mover(Protocol):
    """Fills an empty store with what another one held, as it held it, in one transaction."""

    def entry(self, entry: Entry) -> None:
        """The next entry."""

    def segment(self, sealed: SealedSegment) -> None:
        """A segment; `seq` names the entry that sealed it."""

    def run(self, run: StoredRun, *, disputed: bool) -> None:
        """A run as a row."""

    def stated(self, span: StatedSpan, *, disputed: bool, recorded_at_us: int | None = None) -> None:
        """A stated span; of one whose recording is not known it is the move itself."""

    def message(self, row: OutboxRow) -> None:
        """A message that waits."""

    def mark(self, name: str, value: bytes) -> None:
        """A document."""

    def finish(self, arrival: int) -> Reader:
        """After the last: `arrival` is the last number that was given out. The answer reads what was moved; an error
        raised from here on still leaves the store empty.
        """


class Store(Reader, Protocol):
    """A store opened by its owner."""

    def commit(self, unit: Unit) -> Committed:
        """Make a unit durable in one transaction (fsynced), or raise StoreError and change nothing.

        Runs: the same key with the same content changes nothing, with other content it becomes contested. Stated
        spans: the same again changes nothing. Facts are sealed after the head in their order. Imported evidence that
        arrives once the ledger holds entries of its own is kept as disputed.
        """

    def refuse_writes(self, why: str) -> None:
        """From here on nothing is written: every commit is a StoreDamagedError with this reason. Reads go on."""

    def moving(self, now_us: int) -> AbstractContextManager[Mover]:
        """A block in which an empty store is filled, all of it or nothing; StoreMisusedError where it is not empty."""

    def permit_writes(self) -> None:
        """Write again, whatever was found: for the one entry that says so."""

    def rewrite_spans(self, source: SourceKey, spans: Iterable[OutcomeSpan]) -> None:
        """Replace all derived spans of a source: for imports and rebuilds."""

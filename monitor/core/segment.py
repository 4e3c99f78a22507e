"""A segment: the runs of one service stamped in one hour, in a few bytes each, and what they said when.

It has two parts, each committed to by its own digest (docs/interchange.md, "Segments"). The *head* holds what the runs
of the hour said, as pieces, and the first run behind each failing piece: it is kept for ever. The *body* holds every
run exactly and goes when its time is over. Texts that repeat are written once, as shapes; numbers are columns.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from monitor.core.body import Arrived, read_body, write_body
from monitor.core.chain import canonical, digest
from monitor.core.columns import ColumnReader, unzigzag, varint, zigzag
from monitor.core.instant import HOUR_US, SECOND_US
from monitor.core.merkle import Frontier, leaf_hash
from monitor.core.run import Origin, Outcome, Run, SourceKey
from monitor.core.texts import deflated, inflated


class SegmentError(ValueError):
    """Bytes that are no segment; the message says why."""


class Piece(NamedTuple):
    """What the runs of one source and hour said: `outcome` from `start_us` until `end_us`, or until the first run of a
    later hour; inconclusive ends what came before and has no length.

    `first` is the run with which a failing piece begins, None for the others.
    """

    start_us: int
    end_us: int
    outcome: Outcome
    first: Run | None = None


class SegmentKey(NamedTuple):
    """Which segment: `number` 0 holds what was there when the hour was sealed, later ones what came late."""

    service: str
    hour_us: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment. `body` is None once its runs have gone; what is committed to by `leaf` stays."""

    key: SegmentKey
    runs: int
    head: bytes
    body: bytes | None
    body_digest: str

    def leaf(self) -> bytes:
        """The bytes of its leaf in the Merkle tree of its `sealed` entry."""
        return canonical(
            {
                "service": self.key.service,
                "hour_us": self.key.hour_us,
                "n": self.key.number,
                "runs": self.runs,
                "head": digest(self.head),
                "body": self.body_digest,
            }
        )

    def expired(self) -> Segment:
        """The same without its runs."""
        return replace(self, body=None)


def root_of(segments: Iterable[Segment]) -> str:
    """The Merkle root of the segments that one entry seals, by service and number."""
    tree = Frontier()
    for segment in sorted(segments, key=lambda held: held.key):
        tree.append(leaf_hash(segment.leaf()))
    return "sha256:" + tree.root().hex()


def hour_of(at_us: int) -> int:
    """The start of the hour (UTC) in which an instant lies."""
    return at_us - at_us % HOUR_US


def write_segment(key: SegmentKey, runs: Iterable[Arrived], pieces: Mapping[SourceKey, Sequence[Piece]]) -> Segment:
    """The segment of these runs, each stamped in the hour. `pieces` are what all runs of the hour said by source."""
    ordered = sorted(runs, key=lambda held: (held.run.source, held.run.start_us))
    by_source: dict[SourceKey, list[Arrived]] = {}
    for held in ordered:
        by_source.setdefault(held.run.source, []).append(held)
    body = write_body(key.hour_us, by_source, [(source.check, source.location) for source in sorted(pieces)])
    return Segment(
        key=key,
        runs=len(ordered),
        head=_write_head(key, pieces),
        body=body,
        body_digest=digest(body),
    )


def read_runs(segment: Segment, of: SourceKey | None = None) -> list[Arrived]:
    """Its runs (of one source, or all), by source and start; SegmentError where its body is none, or has gone."""
    if segment.body is None:
        raise SegmentError("its runs have gone")
    key, head = segment.key, segment.head
    try:
        return list(read_body(key.service, key.hour_us, segment.body, of, lambda: _named(head)))
    except (KeyError, ValueError, TypeError, IndexError, zlib.error) as error:
        msg = f"its body cannot be read: {error}"
        raise SegmentError(msg) from error


def read_pieces(key: SegmentKey, head: bytes) -> dict[SourceKey, list[Piece]]:
    """What the runs of its hour said, by source; SegmentError where the head is none."""
    try:
        return dict(_read_head(key, head))
    except (KeyError, ValueError, TypeError, IndexError, zlib.error) as error:
        msg = f"its head cannot be read: {error}"
        raise SegmentError(msg) from error


# The head: texts, then for each piece its start, counted from the end of the one before (the first: from the hour), and
# its length, each as whole seconds and what is left in microseconds.

# No raw DEFLATE begins with this byte: its kind of block is reserved. Heads of the first version are nothing else.
_NUMBERED = 7


def _write_head(key: SegmentKey, pieces: Mapping[SourceKey, Sequence[Piece]]) -> bytes:
    ordered = sorted(pieces.items())
    texts = deflated(
        [[source.check, source.location, [_write_piece(piece) for piece in found]] for source, found in ordered]
    )
    numbers = []
    for _, found in ordered:
        before_us = key.hour_us
        for piece in found:
            for length_us in (piece.start_us - before_us, piece.end_us - piece.start_us):
                seconds = (length_us + SECOND_US // 2) // SECOND_US
                numbers += [seconds, length_us - seconds * SECOND_US]
            before_us = piece.end_us
    return b"".join([bytes([_NUMBERED]), varint(len(texts)), texts, *[varint(zigzag(number)) for number in numbers]])


def _write_piece(piece: Piece) -> list[Any]:
    first = piece.first
    if first is None:
        return [piece.outcome.value]
    said = [first.duration_us, first.attempts, first.reason, first.step, first.message, first.origin.value]
    return [piece.outcome.value, said]


def _read_texts(head: bytes) -> tuple[list[list[Any]], ColumnReader | None]:
    """The texts of a head, and its numbers, which those of the first version have not."""
    if head[:1] != bytes([_NUMBERED]):
        return inflated(head, dictionary=False), None
    reader = ColumnReader(head[1:])
    return inflated(reader.bytes(reader.varint()), dictionary=True), reader


def _named(head: bytes) -> list[tuple[str, str]]:
    return [(check, location) for check, location, _ in _read_texts(head)[0]]


def _read_head(key: SegmentKey, head: bytes) -> Iterator[tuple[SourceKey, list[Piece]]]:
    texts, reader = _read_texts(head)
    for check, location, written in texts:
        source, found, before_us = SourceKey(key.service, check, location), [], key.hour_us
        for outcome, *rest in written:
            if reader is None:
                start_us, length_us, first = key.hour_us + rest[0], rest[1], rest[2:]
            else:
                start_us, length_us, first = before_us + _read_length(reader), _read_length(reader), rest
            before_us = start_us + length_us
            found.append(_read_piece(source, Outcome(outcome), start_us, before_us, *first))
        yield source, found
    if reader is not None and reader.rest:
        raise SegmentError("bytes follow its last piece")


def _read_length(reader: ColumnReader) -> int:
    return unzigzag(reader.varint()) * SECOND_US + unzigzag(reader.varint())


def _read_piece(
    source: SourceKey, outcome: Outcome, start_us: int, end_us: int, first: list[Any] | None = None
) -> Piece:
    if first is None:
        return Piece(start_us, end_us, outcome)
    duration_us, attempts, reason, step, message, origin = first
    run = Run(
        **source._asdict(),
        start_us=start_us,
        outcome=outcome,
        duration_us=duration_us,
        attempts=attempts,
        reason=reason,
        step=step,
        message=message,
        origin=Origin(origin),
    )
    return Piece(start_us, end_us, outcome, run)

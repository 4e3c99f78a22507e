"""A segment: the runs of one service stamped in one hour, in a few bytes each, and what they said when.

It has two parts, each committed to by its own digest (docs/interchange.md, "Segments"). The *head* holds what the runs
of the hour said, as pieces, and the first run behind each failing piece: it is kept for ever. The *body* holds every
run exactly and goes when its time is over. Texts that repeat are written once, as shapes; numbers are columns.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, NamedTuple

from monitor.core.chain import canonical, digest
from monitor.core.columns import ColumnError, ColumnReader, varint, write_column
from monitor.core.instant import HOUR_US
from monitor.core.merkle import Frontier, leaf_hash
from monitor.core.run import Origin, Outcome, Run, SourceKey, StepRecord

FORMAT = 1
MAX_TEXTS_BYTES = 64 * 2**20
MAX_RUNS = 2**20


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


class Arrived(NamedTuple):
    """A run as the store holds it: under its arrival number, and whether its key holds two contents."""

    arrival: int
    run: Run
    contested: bool = False


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
    body = _write_body(key, by_source)
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
    try:
        return list(_read_body(segment.key, segment.body, of))
    except (ColumnError, KeyError, ValueError, TypeError, IndexError, zlib.error) as error:
        msg = f"its body cannot be read: {error}"
        raise SegmentError(msg) from error


def read_pieces(key: SegmentKey, head: bytes) -> dict[SourceKey, list[Piece]]:
    """What the runs of its hour said, by source; SegmentError where the head is none."""
    try:
        return {
            source: [_read_piece(key, source, *written) for written in pieces]
            for check, location, pieces in _inflated(head)
            for source in (SourceKey(key.service, check, location),)
        }
    except (KeyError, ValueError, TypeError, IndexError, zlib.error) as error:
        msg = f"its head cannot be read: {error}"
        raise SegmentError(msg) from error


# The head.


def _write_head(key: SegmentKey, pieces: Mapping[SourceKey, Sequence[Piece]]) -> bytes:
    written = [
        [source.check, source.location, [_write_piece(key, piece) for piece in found]]
        for source, found in sorted(pieces.items())
    ]
    return _deflated(written)


def _write_piece(key: SegmentKey, piece: Piece) -> list[Any]:
    written = [piece.outcome.value, piece.start_us - key.hour_us, piece.end_us - piece.start_us]
    first = piece.first
    if first is None:
        return written
    return [*written, [first.duration_us, first.attempts, first.reason, first.step, first.message, first.origin.value]]


def _read_piece(
    key: SegmentKey, source: SourceKey, outcome: str, at_us: int, length_us: int, first: list[Any] | None = None
) -> Piece:
    start_us = key.hour_us + at_us
    if first is None:
        return Piece(start_us, start_us + length_us, Outcome(outcome))
    duration_us, attempts, reason, step, message, origin = first
    run = Run(
        **source._asdict(),
        start_us=start_us,
        outcome=Outcome(outcome),
        duration_us=duration_us,
        attempts=attempts,
        reason=reason,
        step=step,
        message=message,
        origin=Origin(origin),
    )
    return Piece(start_us, start_us + length_us, Outcome(outcome), run)


# The body: shapes, then the columns of each source.


def _write_body(key: SegmentKey, by_source: Mapping[SourceKey, Sequence[Arrived]]) -> bytes:
    shapes: dict[str, int] = {}
    written: list[list[Any]] = []
    columns: list[bytes] = []
    sources = []
    for source, held in by_source.items():
        numbers = []
        for one in held:
            shape = _shape(one)
            number = shapes.setdefault(json.dumps(shape), len(shapes))
            if number == len(written):
                written.append(shape)
            numbers.append(number)
        columns.append(b"".join(_write_source(key, held, numbers, written)))
        sources.append([source.check, source.location, len(held), len(columns[-1])])
    texts = _deflated([sources, written])
    return b"".join([bytes([FORMAT]), varint(len(texts)), texts, *columns])


def _shape(held: Arrived) -> list[Any]:
    """What is not a number of a run: most runs of a source have the same."""
    run = held.run
    return [
        run.outcome.value,
        run.attempts,
        run.reason,
        run.step,
        run.message,
        int(run.tainted),
        run.origin.value,
        int(held.contested),
        int(run.slot_us is not None),
        [
            [
                step.name,
                step.target,
                step.http_status,
                step.cert_not_after_s,
                list(step.failed_assertions),
                step.error,
                int(step.final),
                [phase for phase, _ in step.phases_us],
            ]
            for step in run.steps
        ],
    ]


_SLOTTED, _STEPS, _PHASES = 8, 9, 7


def _write_source(
    key: SegmentKey, held: Sequence[Arrived], numbers: Sequence[int], shapes: Sequence[list[Any]]
) -> Iterator[bytes]:
    yield write_column(numbers)
    slots = [one.run.slot_us for one in held if one.run.slot_us is not None]
    yield write_column(_differences(slots, key.hour_us))
    lateness, before_us = [], key.hour_us
    for one in held:
        run = one.run
        lateness.append(run.start_us - (before_us if run.slot_us is None else run.slot_us))
        before_us = run.start_us
    yield write_column(lateness)
    yield write_column([one.run.duration_us for one in held])
    yield write_column(_differences([one.arrival for one in held], 0))
    for number in sorted(set(numbers)):
        alike = [one.run for one, of in zip(held, numbers, strict=True) if of == number]
        yield from _write_steps(alike, shapes[number])


def _write_steps(runs: Sequence[Run], shape: list[Any]) -> Iterator[bytes]:
    """The first step's length as what it leaves of its run's, a last phase as what all of them leave of their step's:
    what is left is small.
    """
    for place, step in enumerate(shape[_STEPS]):
        steps = [run.steps[place] for run in runs]
        lengths = [one.duration_us for one in steps]
        yield write_column(_less([run.duration_us for run in runs], lengths) if place == 0 else lengths)
        last = len(step[_PHASES]) - 1
        for phase in range(last):
            yield write_column([one.phases_us[phase][1] for one in steps])
        if last >= 0:
            yield write_column(_less(lengths, [sum([length for _, length in one.phases_us]) for one in steps]))


def _differences(values: Sequence[int], before: int) -> list[int]:
    return [value - earlier for value, earlier in zip(values, [before, *values], strict=False)]


def _less(whole: Sequence[int], parts: Sequence[int]) -> list[int]:
    return [one - other for one, other in zip(whole, parts, strict=True)]


def _read_body(key: SegmentKey, body: bytes, of: SourceKey | None) -> Iterator[Arrived]:
    reader = ColumnReader(body)
    if reader.bytes(1) != bytes([FORMAT]):
        raise SegmentError("its format is unknown")
    sources, shapes = _inflated(reader.bytes(reader.varint()))
    for check, location, count, size in sources:
        source, columns = SourceKey(key.service, check, location), ColumnReader(reader.bytes(size))
        if not 0 <= count <= MAX_RUNS:
            raise SegmentError("it says to hold more runs than a segment can")
        if of in {None, source}:
            yield from _read_source(key, source, count, shapes, columns)
            if columns.rest:
                raise SegmentError("bytes follow the columns of a source")
    if reader.rest:
        raise SegmentError("bytes follow its last column")


def _read_source(
    key: SegmentKey, source: SourceKey, count: int, shapes: Sequence[list[Any]], reader: ColumnReader
) -> Iterator[Arrived]:
    numbers = reader.column(count)
    slots = accumulate(reader.column(sum(shapes[number][_SLOTTED] for number in numbers)), initial=key.hour_us)
    next(slots)
    lateness, durations, arrivals = reader.column(count), reader.column(count), accumulate(reader.column(count))
    steps: dict[int, Iterator[tuple[StepRecord, ...]]] = {}
    for number in sorted(set(numbers)):
        alike = [duration for duration, of in zip(durations, numbers, strict=True) if of == number]
        steps[number] = iter(_read_steps(alike, shapes[number][_STEPS], reader))
    start_us = key.hour_us
    for number, late_us, duration_us, arrival in zip(numbers, lateness, durations, arrivals, strict=True):
        outcome, attempts, reason, step, message, tainted, origin, contested, slotted, _ = shapes[number]
        slot_us = next(slots) if slotted else None
        start_us = late_us + (start_us if slot_us is None else slot_us)
        run = Run(
            service=source.service,
            check=source.check,
            location=source.location,
            start_us=start_us,
            outcome=Outcome(outcome),
            duration_us=duration_us,
            attempts=attempts,
            slot_us=slot_us,
            reason=reason,
            step=step,
            message=message,
            tainted=bool(tainted),
            steps=next(steps[number]),
            origin=Origin(origin),
        )
        yield Arrived(arrival, run, bool(contested))


def _read_steps(
    durations: Sequence[int], shape: Sequence[list[Any]], reader: ColumnReader
) -> list[tuple[StepRecord, ...]]:
    """The steps of runs alike, run by run."""
    by_step = []
    for place, (name, target, status, expiry, failed, error, final, phases) in enumerate(shape):
        written = reader.column(len(durations))
        lengths = _less(durations, written) if place == 0 else written
        columns = [reader.column(len(durations)) for _ in phases]
        if phases:
            known, left = columns[:-1], columns[-1]
            columns[-1] = [one - rest - sum(others) for one, rest, *others in zip(lengths, left, *known, strict=True)]
        by_step.append(
            [
                StepRecord(
                    name=name,
                    duration_us=length,
                    phases_us=tuple(zip(phases, values, strict=True)),
                    target=target,
                    http_status=status,
                    cert_not_after_s=expiry,
                    failed_assertions=tuple(failed),
                    error=error,
                    final=bool(final),
                )
                for length, *values in zip(lengths, *columns, strict=True)
            ]
        )
    return list(zip(*by_step, strict=True)) if by_step else [()] * len(durations)


def _deflated(value: object) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(json.dumps(value, separators=(",", ":")).encode()) + packer.flush()


def _inflated(data: bytes) -> Any:  # noqa: ANN401 - a JSON value
    packer = zlib.decompressobj(-15)
    text = packer.decompress(data, MAX_TEXTS_BYTES)
    if not packer.eof or packer.unused_data:
        raise SegmentError("its texts end early, or are too long")
    return json.loads(text)

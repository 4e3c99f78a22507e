"""The body of a segment: its runs exactly, as shapes and columns (docs/interchange.md, "Segments").

Two versions are read. The second writes the noise of columns by histograms that all sources of a segment share, counts
slots in steps of their grid, and says of an arrival how far it is from where its end lets expect it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import gcd
from typing import Any, NamedTuple

from monitor.core.columns import (
    MOST_HISTOGRAMS,
    ColumnReader,
    middle_of,
    unzigzag,
    varint,
    write_by,
    write_column,
    write_histogram,
    zigzag,
)
from monitor.core.histogram import Histogram, fitting
from monitor.core.run import Origin, Outcome, Run, SourceKey, StepRecord
from monitor.core.texts import deflated, inflated

PLAIN, COUNTED = 1, 2
MAX_RUNS = 2**20


class BodyError(ValueError):
    """Bytes that are no body; the message says why."""


class Arrived(NamedTuple):
    """A run as the store holds it: under its arrival number, and whether its key holds two contents."""

    arrival: int
    run: Run
    contested: bool = False


# What runs have in common.


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


# Writing.

Kind = tuple[str, ...]
"""Which columns scatter alike: those of one kind share a histogram."""


@dataclass(slots=True)
class _Columns:
    """What is written of a source: bytes as they are, and columns that may be written by a histogram."""

    parts: list[bytes | tuple[Kind, list[int], bytes]] = field(default_factory=list)

    def number(self, value: int) -> None:
        self.parts.append(varint(zigzag(value)))

    def plain(self, values: Sequence[int]) -> None:
        self.parts.append(write_column(values))

    def noise(self, values: list[int], *kind: str) -> None:
        self.parts.append((kind, values, write_column(values)))

    def written(self, histograms: Mapping[Kind, tuple[int, Histogram]]) -> bytes:
        out = []
        for part in self.parts:
            if isinstance(part, bytes):
                out.append(part)
                continue
            kind, values, column = part
            if kind in histograms and values:
                number, histogram = histograms[kind]
                shared = write_by(histogram, number, values)
                column = column if shared is None or len(column) <= len(shared) else shared
            out.append(column)
        return b"".join(out)


def write_body(
    hour_us: int, by_source: Mapping[SourceKey, Sequence[Arrived]], named: Sequence[tuple[str, str]]
) -> bytes:
    """The body of an hour's runs, by source and start. The head beside it has `named` the checks and locations already:
    where the runs are of these, they are not written again.
    """
    shapes: dict[str, int] = {}
    written: list[list[Any]] = []
    numbered: dict[SourceKey, list[int]] = {}
    for source, held in by_source.items():
        numbers = numbered[source] = []
        for one in held:
            shape = _shape(one)
            number = shapes.setdefault(json.dumps(shape), len(shapes))
            if number == len(written):
                written.append(shape)
            numbers.append(number)
    everyone = [one for held in by_source.values() for one in held]
    slots = [one.run.slot_us - hour_us for one in everyone if one.run.slot_us is not None]
    first, grid_us = min((one.arrival for one in everyone), default=0), gcd(*slots)
    columns = []
    for source, held in by_source.items():
        columns.append(_Columns())
        _write_source(columns[-1], held, numbered[source], written, (hour_us, first, grid_us))
    histograms = _shared(columns)
    data = [one.written(histograms) for one in columns]
    sources = [(source.check, source.location) for source in by_source]
    texts = deflated([len(sources) if sources == list(named) else sources, written])
    shared = [write_histogram(histogram) for _, histogram in histograms.values()]
    front = [bytes([COUNTED]), varint(len(texts)), texts, varint(len(shared)), *shared, varint(first), varint(grid_us)]
    front += [write_column([len(held) for held in by_source.values()]), write_column([len(one) for one in data])]
    return b"".join([*front, *data])


def _shared(columns: Sequence[_Columns]) -> dict[Kind, tuple[int, Histogram]]:
    """By kind the histogram that makes its columns shorter than they are by themselves, itself counted."""
    by_kind: dict[Kind, list[list[int]]] = {}
    alone: dict[Kind, int] = {}
    for one in columns:
        for part in one.parts:
            if not isinstance(part, bytes) and len(set(part[1])) > 1:
                by_kind.setdefault(part[0], []).append(part[1])
                alone[part[0]] = alone.get(part[0], 0) + len(part[2])
    found: dict[Kind, tuple[int, Histogram]] = {}
    for kind, alike in by_kind.items():
        middles = [middle_of(values) for values in alike]
        fit = fitting(alike, middles) if len(found) < MOST_HISTOGRAMS else None
        # With the form and the length of each column, and what a histogram begins with.
        beside = 2 * len(alike) + 5
        if fit is not None and fit[1] / 8 + beside < alone[kind]:
            found[kind] = len(found), fit[0]
    return found


def _write_source(
    out: _Columns,
    held: Sequence[Arrived],
    numbers: Sequence[int],
    shapes: Sequence[list[Any]],
    against: tuple[int, int, int],
) -> None:
    hour_us, first, grid_us = against
    if len(shapes) > 1:
        out.plain(numbers)
    slots = [(one.run.slot_us - hour_us) // (grid_us or 1) for one in held if one.run.slot_us is not None]
    if slots:
        out.number(slots[0])
        out.plain(_differences(slots[1:], slots[0]))
    lateness, before_us = [], hour_us
    for one in held:
        run = one.run
        lateness.append(run.start_us - (before_us if run.slot_us is None else run.slot_us))
        before_us = run.start_us
    durations = [one.run.duration_us for one in held]
    out.noise(lateness, "lateness")
    out.noise(durations, "duration")
    arrivals = [one.arrival - first for one in held]
    places = _places(lateness, durations)
    spread = _spread(arrivals, places)
    out.number(arrivals[0])
    out.number(spread)
    later = _differences(arrivals[1:], arrivals[0])
    out.noise(_less(later, _expected(places, spread)), "arrival")
    for number in sorted(set(numbers)):
        alike = [one.run for one, of in zip(held, numbers, strict=True) if of == number]
        _write_steps(out, alike, shapes[number])


def _places(lateness: Sequence[int], durations: Sequence[int]) -> list[int]:
    """Of each run how many of the source ended sooner after their slots."""
    ends = [late + duration for late, duration in zip(lateness, durations, strict=True)]
    places = [0] * len(ends)
    for place, number in enumerate(sorted(range(len(ends)), key=ends.__getitem__)):
        places[number] = place
    return places


def _expected(places: Sequence[int], spread: int) -> list[int]:
    """How much further from the one before a run arrives than others, of those behind the first: who ends later after
    the slot lets others go first, `spread` of them between the quickest and the slowest.
    """
    return [spread * moved // len(places) for moved in _differences(places[1:], places[0])]


def _spread(arrivals: Sequence[int], places: Sequence[int]) -> int:
    """The spread that explains most, by least squares."""
    later, moved = _differences(arrivals[1:], arrivals[0]), _differences(places[1:], places[0])
    squares = sum([one * one for one in moved])
    if not squares:
        return 0
    middle = middle_of(later)
    return len(places) * sum([one * (other - middle) for one, other in zip(moved, later, strict=True)]) // squares


def _write_steps(out: _Columns, runs: Sequence[Run], shape: list[Any]) -> None:
    """The first step's length as what it leaves of its run's, a last phase as what all of them leave of their step's:
    what is left is small.
    """
    for place, step in enumerate(shape[_STEPS]):
        steps = [run.steps[place] for run in runs]
        lengths = [one.duration_us for one in steps]
        if place == 0:
            out.noise(_less([run.duration_us for run in runs], lengths), "beside the step")
        else:
            out.noise(lengths, "step", step[0])
        *known, last = step[_PHASES] or [None]
        for number, phase in enumerate(known):
            out.noise([one.phases_us[number][1] for one in steps], "phase", phase)
        if last is not None:
            left = _less(lengths, [sum([length for _, length in one.phases_us]) for one in steps])
            out.noise(left, "beside the phases")


def _differences(values: Sequence[int], before: int) -> list[int]:
    return [value - earlier for value, earlier in zip(values, [before, *values], strict=False)]


def _less(whole: Sequence[int], parts: Sequence[int]) -> list[int]:
    return [one - other for one, other in zip(whole, parts, strict=True)]


# Reading.


@dataclass(slots=True)
class _Front:
    """What all sources of a body share."""

    version: int
    hour_us: int
    shapes: Sequence[list[Any]]
    histograms: Sequence[Histogram] = ()
    first: int = 0
    grid_us: int = 1


def read_body(
    service: str, hour_us: int, body: bytes, of: SourceKey | None, named: Callable[[], Sequence[tuple[str, str]]]
) -> Iterator[Arrived]:
    """The runs of a body, of one source or all; the head beside it has `named` checks and locations. BodyError, or what
    else there is to say of bytes that are none.
    """
    reader = ColumnReader(body)
    version = reader.bytes(1)[0]
    if version not in {PLAIN, COUNTED}:
        raise BodyError("its format is unknown")
    sources, shapes = inflated(reader.bytes(reader.varint()), dictionary=version == COUNTED)
    front = _Front(version, hour_us, shapes)
    if version == COUNTED:
        sources = _read_front(front, sources, reader, named)
    for check, location, count, size in sources:
        source, columns = SourceKey(service, check, location), ColumnReader(reader.bytes(size))
        if not 0 <= count <= MAX_RUNS:
            raise BodyError("it says to hold more runs than a segment can")
        if of in {None, source}:
            yield from _read_source(source, count, front, columns)
            if columns.rest:
                raise BodyError("bytes follow the columns of a source")
    if reader.rest:
        raise BodyError("bytes follow its last column")


def _read_front(
    front: _Front,
    sources: int | list[list[str]],
    reader: ColumnReader,
    named: Callable[[], Sequence[tuple[str, str]]],
) -> list[tuple[str, str, int, int]]:
    """What stands before the columns of the sources; (check, location, runs, bytes) of each."""
    known = named() if isinstance(sources, int) else sources
    if isinstance(sources, int) and len(known) != sources:
        raise BodyError("it has other sources than its head")
    front.histograms = [reader.histogram() for _ in range(_few(reader.varint()))]
    front.first, front.grid_us = reader.varint(), reader.varint()
    counts, sizes = reader.column(len(known)), reader.column(len(known))
    return [(check, location, count, size) for (check, location), count, size in zip(known, counts, sizes, strict=True)]


def _few(histograms: int) -> int:
    if histograms > MOST_HISTOGRAMS:
        raise BodyError("it says to hold more histograms than columns can name")
    return histograms


def _read_source(source: SourceKey, count: int, front: _Front, reader: ColumnReader) -> Iterator[Arrived]:
    shapes, histograms = front.shapes, front.histograms
    alone = front.version == COUNTED and len(shapes) == 1
    numbers = [0] * count if alone else reader.column(count)
    slotted = sum(shapes[number][_SLOTTED] for number in numbers)
    slots = _read_slots(slotted, front, reader)
    lateness, durations = reader.column(count, histograms), reader.column(count, histograms)
    if front.version == COUNTED and count:
        first, spread = unzigzag(reader.varint()), unzigzag(reader.varint())
        expected = _expected(_places(lateness, durations), spread)
        arrivals = accumulate(
            map(int.__add__, expected, reader.column(count - 1, histograms)), initial=front.first + first
        )
    else:
        arrivals = accumulate(reader.column(count))
    steps: dict[int, Iterator[tuple[StepRecord, ...]]] = {}
    for number in sorted(set(numbers)):
        alike = [duration for duration, of in zip(durations, numbers, strict=True) if of == number]
        steps[number] = iter(_read_steps(alike, shapes[number][_STEPS], reader, histograms))
    start_us = front.hour_us
    for number, late_us, duration_us, arrival in zip(numbers, lateness, durations, arrivals, strict=True):
        outcome, attempts, reason, step, message, tainted, origin, contested, has_slot, _ = shapes[number]
        slot_us = next(slots) if has_slot else None
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


def _read_slots(count: int, front: _Front, reader: ColumnReader) -> Iterator[int]:
    if front.version == PLAIN or not count:
        slots = accumulate(reader.column(count))
    else:
        first = unzigzag(reader.varint())
        slots = accumulate(reader.column(count - 1), initial=first)
    return (front.hour_us + slot * front.grid_us for slot in slots)


def _read_steps(
    durations: Sequence[int], shape: Sequence[list[Any]], reader: ColumnReader, histograms: Sequence[Histogram]
) -> list[tuple[StepRecord, ...]]:
    """The steps of runs alike, run by run."""
    by_step = []
    for place, (name, target, status, expiry, failed, error, final, phases) in enumerate(shape):
        written = reader.column(len(durations), histograms)
        lengths = _less(durations, written) if place == 0 else written
        columns = [reader.column(len(durations), histograms) for _ in phases]
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

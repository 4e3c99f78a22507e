"""Seals closed hours: their runs into segments, and one entry an hour with the Merkle root over them.

What a segment holds is fixed by what had arrived when it was made (`through`). Runs that come later make another
segment of their hour, sealed by another entry. Once an hour is old its rows go, and the segments answer for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from monitor.core.body import Arrived
from monitor.core.check import CheckList
from monitor.core.evidence import pieces
from monitor.core.exclusion import Book
from monitor.core.fact import Sealed
from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US
from monitor.core.run import SourceKey
from monitor.core.segment import Piece, SegmentKey, hour_of, root_of, write_segment
from monitor.core.span import Span
from monitor.ledger.evidence import check_lists
from monitor.storage import Reader, SealedSegment, Unit

SETTLE_US = 5 * MINUTE_US
"""How long after its end an hour is sealed: what comes later is late."""

HOT_US = 2 * DAY_US
"""How long the rows of an hour stay beside its segments."""

SEALED_MARK = "sealed"
SEGMENT_RUNS = 20_000
"""More runs of a service and hour than this make several segments: each stays one line of an export."""

CHUNK_US = DAY_US
COOLED_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Due:
    """Hours to seal, each with the services that have runs in it, up to `until_us`; `mark` stands when all are."""

    hours: tuple[tuple[int, tuple[str, ...]], ...]
    mark: Mapping[str, int] | None


def due(reader: Reader, now_us: int) -> Due:
    """What is to seal now, a day's hours at most; an empty answer without a mark: nothing, until time passes."""
    with reader.snapshot() as frozen:
        mark = frozen.mark(SEALED_MARK)
        arrival = frozen.last_arrival()
        closed_us = hour_of(now_us - SETTLE_US)
        after_us = _start(frozen, mark, closed_us)
        before_us = min(closed_us, after_us + CHUNK_US)
        known = 0 if mark is None else mark["arrival"]
        found = frozen.unsealed_hours(after_us=after_us, before_us=before_us, arrival=known)
        hours = tuple((hour, tuple(service for service, _ in of)) for hour, of in groupby(found, lambda pair: pair[1]))
        reached = {"until_us": max(after_us, before_us), "arrival": arrival}
        return Due(hours, None if reached == mark or not (hours or before_us > after_us) else reached)


def _start(reader: Reader, mark: Mapping[str, int] | None, closed_us: int) -> int:
    """The first hour that was never looked at, later ones without any run left out."""
    until_us = -(2**62) if mark is None else mark["until_us"]
    first_us = reader.first_row_us(after_us=until_us)
    return max(until_us, closed_us) if first_us is None else min(hour_of(first_us), closed_us)


@dataclass(slots=True)
class Sealer:
    """Makes the units that seal hours, by the decisions that stand in the reader when it is made."""

    reader: Reader
    _book: Book = field(init=False)
    _lists: dict[str, list[CheckList]] = field(init=False)

    def __post_init__(self) -> None:
        """Read the decisions."""
        entries = list(self.reader.entries(types=("checks", "annulment", "reversal")))
        self._book = Book.of(entries)
        self._lists = check_lists(entry.fact for entry in entries)

    def seal(self, hour_us: int, services: Iterable[str], now_us: int) -> Unit | None:
        """The unit that seals what is in no segment of an hour yet; None where there is nothing."""
        with self.reader.snapshot() as frozen:
            through = frozen.last_arrival()
            segments = [
                segment
                for service in sorted(services)
                for segment in self._of_service(frozen, service, hour_us, through)
            ]
        if not segments:
            return None
        sealed = Sealed(
            hour_us=hour_us,
            segments=len(segments),
            runs=sum(held.segment.runs for held in segments),
            root=root_of(held.segment for held in segments),
            at_us=now_us,
        )
        return Unit(recorded_at_us=now_us, facts=(sealed,), segments=segments)

    def _of_service(self, reader: Reader, service: str, hour_us: int, through: int) -> Iterator[SealedSegment]:
        earlier = [
            held
            for held in reader.segments(service, within=Span(hour_us, hour_us + HOUR_US), bodies=False)
            if held.segment.key.hour_us == hour_us
        ]
        known = max((held.through for held in earlier), default=0)
        fresh = [held for held in reader.arrived_in(service, hour_us) if held.arrival > known]
        if not fresh:
            return
        fresh.sort(key=lambda held: (held.run.source, held.run.start_us))
        parts = [fresh[first : first + SEGMENT_RUNS] for first in range(0, len(fresh), SEGMENT_RUNS)]
        said = self._pieces(reader, service, hour_us, whole=None if earlier else fresh)
        for number, part in enumerate(parts, len(earlier)):
            key = SegmentKey(service, hour_us, number)
            # The last one speaks for the hour.
            segment = write_segment(key, part, said if part is parts[-1] else {})
            arrivals = [held.arrival for held in part]
            yield SealedSegment(
                segment=segment, first_arrival=min(arrivals), last_arrival=max(arrivals), through=through
            )

    def _pieces(
        self, reader: Reader, service: str, hour_us: int, *, whole: Sequence[Arrived] | None
    ) -> dict[SourceKey, list[Piece]]:
        """What all runs of the hour said; `whole` are they, where they are at hand."""
        lists = self._lists.get(service, ())
        if whole is not None:
            runs = {source: [held.run for held in of] for source, of in groupby(whole, lambda held: held.run.source)}
        else:
            within = Span(hour_us, hour_us + HOUR_US)
            runs = {source: list(reader.runs(source, within)) for source in reader.sources(service)}
        return {source: pieces(of, lists, self._book.annulled(source)) for source, of in sorted(runs.items()) if of}


def cool(reader: Reader, now_us: int, *, hot_us: int = HOT_US) -> Unit | None:
    """The unit by which the rows of old sealed hours go, a bounded number of them; None where there are none."""
    before = Span(-(2**62), hour_of(now_us - hot_us))
    cooled: dict[tuple[str, int], None] = {}
    for held in reader.segments(within=before, hot=True, bodies=False):
        cooled[held.segment.key.service, held.segment.key.hour_us] = None
        if len(cooled) >= COOLED_AT_ONCE:
            break
    return Unit(recorded_at_us=now_us, cooled=tuple(cooled)) if cooled else None

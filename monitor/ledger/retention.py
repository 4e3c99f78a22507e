"""Which sealed hours may lose their runs: old ones of closed months, whose pieces say what every version rests on.

What stays is the head of each segment: what the runs said, and the failure each outage began with. A statement is
recomputed from it to the same digest; where that would not be so, the runs stay, however old.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from monitor.core.calendar import month_of
from monitor.core.evidence import pieces
from monitor.core.instant import DAY_US, HOUR_US
from monitor.core.run import SourceKey
from monitor.core.segment import Piece, hour_of, read_pieces
from monitor.core.span import Span
from monitor.ledger.ground import Ground, contract_zone, ground_now, ground_of
from monitor.ledger.month import Months
from monitor.ledger.record import Record
from monitor.storage import SealedSegment, Unit

RETENTION_US = 400 * DAY_US
"""The claim window, and more than a year for a dispute."""

EXPIRED_AT_ONCE = 50


def expire(months: Months, retention_us: int = RETENTION_US, *, at_once: int = EXPIRED_AT_ONCE) -> Unit | None:
    """The unit by which the runs of old hours go, a bounded number of them; None where none may."""
    before = Span(-(2**62), months.now_us - retention_us)
    if not before.length_us:
        return None
    hours: dict[tuple[str, int], SealedSegment] = {}
    for held in months.reader.segments(within=before, hot=False, bodies=False):
        key = held.segment.key
        if not held.expired and key.hour_us + HOUR_US <= before.end_us:
            # Of an hour's segments the last one speaks for it.
            hours[key.service, key.hour_us] = held
    judge = _Judge(months)
    found = []
    for (service, hour_us), last in sorted(hours.items(), key=lambda item: (item[0][1], item[0][0])):
        if judge.may_go(service, hour_us, last):
            found.append((service, hour_us))
            if len(found) >= at_once:
                break
    return Unit(recorded_at_us=months.now_us, expired=tuple(found)) if found else None


@dataclass(slots=True)
class _Judge:
    """Says of an hour whether its runs may go, by the closes of its months."""

    months: Months
    _grounds: dict[str, list[Ground]] = field(init=False)
    _newest_us: dict[str, Mapping[SourceKey, int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Read every closed version once."""
        record = self.months.record
        found: defaultdict[str, list[Ground]] = defaultdict(list)
        for entry, close in record.all_closes():
            found[close.service].append(ground_of(record, entry, close, latest=False))
        self._grounds = dict(found)

    def may_go(self, service: str, hour_us: int, last: SealedSegment) -> bool:
        """Whether nothing is left to decide on an hour, and nothing of what was decided needs its runs."""
        lists = self.months.record.lists.get(service, [])
        reached = Span(hour_us, hour_us + HOUR_US + max((entry.stale_after_us for entry in lists), default=0))
        reader = self.months.reader
        sources = reader.sources(service)
        if not self._is_closed(service, reached) or self._holds_newest(service, sources, reached):
            return False
        if any(True for source in sources for _ in reader.stated(source, reached)):
            return False
        said = {source: _bare(found) for source, found in read_pieces(last.segment.key, last.segment.head).items()}
        grounds = [ground for ground in self._grounds.get(service, []) if ground.period.overlaps(reached)]
        versions = [(self.months.record, None), *((ground.record, ground.arrival) for ground in grounds)]
        return all(self._said(service, hour_us, record, arrival) == said for record, arrival in versions)

    def _is_closed(self, service: str, reached: Span) -> bool:
        """Whether every month that the hour can reach into is closed, for everybody who has the service."""
        record, basis = self.months.record, self.months.basis
        for partner, of in record.agreements.pairs():
            zone_name = contract_zone(record, partner, of)
            if of != service or zone_name is None:
                continue
            zone = basis.zone(zone_name)
            for month in {month_of(at_us, zone) for at_us in reached}:
                subscribed = ground_now(record, basis, month, partner, of) is not None
                if subscribed and not record.closes(partner, of, str(month)):
                    return False
        return True

    def _holds_newest(self, service: str, sources: Iterable[SourceKey], reached: Span) -> bool:
        """Whether a source's newest run lies in the hour: it says where the source stands."""
        if service not in self._newest_us:
            self._newest_us[service] = {run.source: run.start_us for run in self.months.reader.latest_runs(service)}
        newest = self._newest_us[service]
        return any(hour_of(newest[source]) == reached.start_us for source in sources if source in newest)

    def _said(
        self, service: str, hour_us: int, record: Record, arrival: int | None
    ) -> dict[SourceKey, list[tuple[object, ...]]]:
        """What the hour's runs say by a record, as they were known then."""
        within = Span(hour_us, hour_us + HOUR_US)
        lists = record.lists.get(service, [])
        reader = self.months.reader
        found = {}
        for source in reader.sources(service):
            runs = reader.runs(source, within) if arrival is None else reader.runs_known(source, within, arrival)
            said = pieces(runs, lists, record.book.annulled(source))
            if said:
                found[source] = _bare(said)
        return found


def _bare(found: Sequence[Piece]) -> list[tuple[object, ...]]:
    """Pieces as the head of a segment keeps them: of the first run its content, not its steps."""
    return [
        (piece.start_us, piece.end_us, piece.outcome, None if (run := piece.first) is None else run.key)
        for piece in found
    ]


def gone(months: Months, ground: Ground) -> Iterator[Span]:
    """The hours of a month whose runs have expired: what they said stands for them."""
    for held in months.reader.segments(ground.service, within=ground.period, hot=False, bodies=False):
        if held.expired:
            yield Span(held.segment.key.hour_us, held.segment.key.hour_us + HOUR_US)

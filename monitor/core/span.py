"""Half-open spans of time and the set algebra on them: union, intersection, difference, measure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """`[start_us, end_us)` in microseconds UTC. Empty when the end is not after the start."""

    start_us: int
    end_us: int

    @property
    def length_us(self) -> int:
        """Its measure; 0 when empty."""
        return max(0, self.end_us - self.start_us)

    def clip(self, to: Span) -> Span:
        """The part of it inside `to`, possibly empty."""
        return Span(max(self.start_us, to.start_us), min(self.end_us, to.end_us))

    def overlaps(self, other: Span) -> bool:
        """Whether the two share any time at all."""
        return max(self.start_us, other.start_us) < min(self.end_us, other.end_us)

    def contains(self, at_us: int) -> bool:
        """Whether the instant lies inside, the end excluded."""
        return self.start_us <= at_us < self.end_us


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same set of instants as disjoint, ordered, maximal spans: overlaps are merged, never summed."""
    merged: list[Span] = []
    for span in sorted(s for s in spans if s.end_us > s.start_us):
        if merged and span.start_us <= merged[-1].end_us:
            if span.end_us > merged[-1].end_us:
                merged[-1] = Span(merged[-1].start_us, span.end_us)
        else:
            merged.append(Span(*span))
    return tuple(merged)


def intersect(left: Iterable[Span], right: Iterable[Span]) -> tuple[Span, ...]:
    """The instants in both sets."""
    ours, theirs = union(left), union(right)
    shared: list[Span] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        part = ours[i].clip(theirs[j])
        if part.end_us > part.start_us:
            shared.append(part)
        if ours[i].end_us < theirs[j].end_us:
            i += 1
        else:
            j += 1
    return tuple(shared)


def subtract(left: Iterable[Span], right: Iterable[Span]) -> tuple[Span, ...]:
    """The instants of `left` that are not in `right`."""
    holes = union(right)
    rest: list[Span] = []
    first = 0
    for span in union(left):
        at = span.start_us
        while first < len(holes) and holes[first].end_us <= at:
            first += 1
        for hole in holes[first:]:
            if hole.start_us >= span.end_us:
                break
            if hole.start_us > at:
                rest.append(Span(at, hole.start_us))
            at = max(at, hole.end_us)
        if at < span.end_us:
            rest.append(Span(at, span.end_us))
    return tuple(rest)


def measure_us(spans: Iterable[Span]) -> int:
    """The length of the set: the measure of the union, whatever overlaps."""
    return sum(span.end_us - span.start_us for span in union(spans))

"""Numbers that scatter alike, written as one long number: each takes the room that its rarity asks for.

What is counted are classes: how far a number lies from the middle, by octaves and parts of them. Where a number lies in
its class is written in bits, the class by asymmetric numeral systems (https://arxiv.org/abs/1311.2540), which needs no
power of two as Rice's code does, and no bits at an end. Whole numbers of Python are the state, so blocks are short.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from math import log2
from typing import Self

MOST_PARTS = 3
"""An octave has two to the power of this many parts at most."""
MOST_BITS = 64
MOST_SIZE = 15
_STEADY = 3


class HistogramError(ValueError):
    """Numbers that are no histogram, or a block that was not written with it; the message says why."""


def class_of(value: int, parts: int) -> tuple[int, int, int]:
    """The class of a distance from the middle, how many bits say where in it, and these bits. Below the middle classes
    are counted from -1 downwards.
    """
    far = value if value >= 0 else -value - 1
    bits = max(0, far.bit_length() - 1 - parts)
    number = (bits << parts) + (far >> bits)
    return number if value >= 0 else -number - 1, bits, far & ((1 << bits) - 1)


def bounds_of(number: int, parts: int) -> tuple[int, int]:
    """The distance of a class that is nearest to the middle, without its sign, and how many bits say where in it."""
    far = number if number >= 0 else -number - 1
    bits = max(0, (far >> parts) - 1)
    return (far - (bits << parts)) << bits, bits


def weight_of(size: int) -> int:
    """How often a class of a size is taken to occur: 0, 1, 2, 3, 4, 6, 8, 12, 16 and so on, two to an octave."""
    return size if size < _STEADY else (2 + (size & 1)) << (size // 2 - 1)


@lru_cache(maxsize=1024)
def _size_of(count: int, scale: float) -> int:
    """The size whose weight is nearest to the `scale`th part of a count that is not 0."""
    return min(range(1, MOST_SIZE + 1), key=lambda size: abs(log2(weight_of(size) * scale / count)))


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often the classes from `first` on occur, by sizes (`weight_of`), around `base`: or around middles that the
    columns have of their `own`, near it. HistogramError where it is none.
    """

    base: int
    own: bool
    parts: int
    first: int
    sizes: tuple[int, ...]
    counts: list[int] = field(init=False, repr=False, compare=False)
    _below: list[int] = field(init=False, repr=False, compare=False)
    _classes: list[tuple[int, int, bool]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what is none; lay out the classes."""
        most = (MOST_BITS + 1 - self.parts) << self.parts
        last = self.first + len(self.sizes)
        if not 0 <= self.parts <= MOST_PARTS or not -most <= self.first <= last <= most:
            raise HistogramError("a histogram has classes that no number is of")
        if not (any(self.sizes) and 0 <= min(self.sizes) <= max(self.sizes) <= MOST_SIZE):
            raise HistogramError("a histogram does not count")
        counts = [weight_of(size) for size in self.sizes]
        classes = [(*bounds_of(number, self.parts), number < 0) for number in range(self.first, last)]
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "_below", list(accumulate(counts, initial=0)))
        object.__setattr__(self, "_classes", classes)

    @classmethod
    def of(cls, base: int, parts: int, counted: Counter[int], *, own: bool) -> Self:
        """From classes counted: the commonest has the largest size, or its own where that is smaller."""
        first, last = min(counted), max(counted)
        scale = max(1.0, max(counted.values()) / weight_of(MOST_SIZE))
        sizes = [_size_of(counted[one], scale) if one in counted else 0 for one in range(first, last + 1)]
        return cls(base, own, parts, first, tuple(sizes))

    def cost(self, counted: Counter[int]) -> float:
        """The bits that so many numbers of these classes take, without those that say where in their class."""
        whole = log2(self._below[-1])
        return sum(times * (whole - log2(self.counts[one - self.first])) for one, times in counted.items())

    def pack(self, distances: Sequence[int]) -> int | None:
        """Distances from the middle as one number; None where one is of a class that does not occur."""
        state, whole, below, counts, first = 0, self._below[-1], self._below, self.counts, self.first
        for value in reversed(distances):
            number, bits, low = class_of(value, self.parts)
            place = number - first
            count = counts[place] if 0 <= place < len(counts) else 0
            if not count:
                return None
            around, rest = divmod(state << bits | low, count)
            state = around * whole + rest + below[place]
        return state

    def unpack(self, state: int, length: int) -> list[int]:
        """So many distances; HistogramError where something is left."""
        whole, below, counts, classes = self._below[-1], self._below, self.counts, self._classes
        found = []
        for _ in range(length):
            state, rest = divmod(state, whole)
            place = bisect_right(below, rest) - 1
            state = state * counts[place] + rest - below[place]
            nearest, bits, under = classes[place]
            far = nearest + (state & ((1 << bits) - 1))
            state >>= bits
            found.append(-far - 1 if under else far)
        if state:
            raise HistogramError("a block holds more than its numbers")
        return found


def fitting(columns: Sequence[Sequence[int]], middles: Sequence[int]) -> tuple[Histogram, float] | None:
    """The histogram with which columns are shortest, each around its middle, and the bits that they take; None where
    there is nothing to count, or a number is too long to be.
    """
    base = sorted(middles)[len(middles) // 2]
    own = [value - middle for column, middle in zip(columns, middles, strict=True) for value in column]
    if not own or max(map(abs, [*own, *middles])).bit_length() > MOST_BITS - 2:
        return None
    # What the middles take, by the varints of their distances.
    middle_bits = sum([8 * (1 + (2 * abs(middle - base)).bit_length() // 7) for middle in middles])
    found: list[tuple[float, int, Histogram]] = []
    for around, bits in ((own, middle_bits), ([value - base for column in columns for value in column], 0)):
        for parts in range(MOST_PARTS):
            classes = [class_of(value, parts) for value in around]
            counted = Counter([number for number, _, _ in classes])
            inside = bits + sum([bits for _, bits, _ in classes])
            histogram = Histogram.of(base, parts, counted, own=around is own)
            # A size takes four bits.
            found.append((inside + 4 * len(histogram.sizes) + histogram.cost(counted), len(found), histogram))
    cost, _, histogram = min(found, key=lambda one: one[:2])
    return histogram, cost

"""Columns of whole numbers as bytes and back: each in the shortest of its forms (docs/interchange.md, "Segments").

Stamps and durations are noise around something that hardly changes, so each column says what it varies around. The rest
is written by a histogram that several columns share, or is Rice-coded: https://en.wikipedia.org/wiki/Golomb_coding.
Numbers that repeat are counted instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from monitor.core.histogram import Histogram, HistogramError

_ALIKE, _RICE, _REPEATED, _BY_HISTOGRAM = 0, 1, 2, 3
MOST_HISTOGRAMS = 256 - _BY_HISTOGRAM
# So many numbers of a histogram make one: long enough for its ends to cost little, short enough to be divided quickly.
_BLOCK = 128
# A quotient this long is not written in ones: the number follows whole.
_ESCAPE = 16
_WHOLE_BITS = 64


class ColumnError(ValueError):
    """Bytes that are no columns; the message says why."""


def zigzag(value: int) -> int:
    """Signed to unsigned, small to small: 0, -1, 1, -2 to 0, 1, 2, 3."""
    return value * 2 if value >= 0 else -value * 2 - 1


def unzigzag(value: int) -> int:
    """Back again."""
    return -(value + 1) // 2 if value & 1 else value // 2


def varint(value: int) -> bytes:
    """An unsigned number in groups of seven bits, the lowest first, the high bit of a byte says that more follow."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def write_column(values: Sequence[int]) -> bytes:
    """The column; how many numbers it has is not in it."""
    if not values:
        return b""
    runs = [(value, sum(1 for _ in same)) for value, same in groupby(values)]
    if len(runs) == 1:
        return bytes([_ALIKE]) + varint(zigzag(values[0]))
    repeated = b"".join([varint(zigzag(value)) + varint(times) for value, times in runs[: len(values) // 2 + 1]])
    rice = _write_rice(values)
    if len(runs) <= len(values) // 2 + 1 and len(repeated) <= len(rice):
        return bytes([_REPEATED]) + repeated
    return bytes([_RICE]) + rice


def middle_of(values: Sequence[int]) -> int:
    """What a column varies around: its median, the upper one of two."""
    return sorted(values)[len(values) // 2]


def write_by(histogram: Histogram, number: int, values: Sequence[int]) -> bytes | None:
    """The column by the histogram of a number; None where it is too narrow for it."""
    middle = middle_of(values) if histogram.own else histogram.base
    written = [bytes([_BY_HISTOGRAM + number])]
    if histogram.own:
        written.append(varint(zigzag(middle - histogram.base)))
    for at in range(0, len(values), _BLOCK):
        packed = histogram.pack([value - middle for value in values[at : at + _BLOCK]])
        if packed is None:
            return None
        size = (packed.bit_length() + 7) // 8
        written += (varint(size), packed.to_bytes(size, "big"))
    return b"".join(written)


def write_histogram(histogram: Histogram) -> bytes:
    """A histogram, for the columns that name it."""
    form = histogram.parts * 2 + histogram.own
    numbers = (zigzag(histogram.base), form, zigzag(histogram.first), len(histogram.sizes))
    digits = "".join([f"{size:x}" for size in histogram.sizes])
    return b"".join([varint(number) for number in numbers]) + bytes.fromhex(digits + "0" * (len(digits) % 2))


def _write_rice(values: Sequence[int]) -> bytes:
    middle = middle_of(values)
    rest = [zigzag(value - middle) for value in values]
    bits = _best_bits(rest)
    written = "".join([_rice(value, bits) for value in rest])
    padded = written + "0" * (-len(written) % 8)
    return varint(zigzag(middle)) + bytes([bits]) + int(padded, 2).to_bytes(len(padded) // 8, "big")


def _best_bits(rest: Sequence[int]) -> int:
    """The number of low bits with which the column is shortest: near the logarithm of the mean, found by trying."""
    around = max(1, sorted(rest)[len(rest) // 2]).bit_length()
    return min(range(max(0, around - 3), around + 3), key=lambda bits: _rice_length(rest, bits))


def _rice_length(rest: Sequence[int], bits: int) -> int:
    return sum([(q + 1 + bits) if (q := value >> bits) < _ESCAPE else _ESCAPE + _WHOLE_BITS for value in rest])


def _rice(value: int, bits: int) -> str:
    quotient = value >> bits
    if quotient >= _ESCAPE:
        return "1" * _ESCAPE + format(value, f"0{_WHOLE_BITS}b")
    low = format(value & ((1 << bits) - 1), f"0{bits}b") if bits else ""
    return "1" * quotient + "0" + low


class ColumnReader:
    """Reads varints and columns off bytes, in the order in which they were written. ColumnError where they end early
    or are no columns.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at

    def varint(self) -> int:
        """The next unsigned number."""
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the last group
                return value
            shift += 7
            if shift > _WHOLE_BITS:
                raise ColumnError("a number has more than 64 bits")

    def bytes(self, length: int) -> bytes:
        """The next bytes as they are."""
        if not 0 <= length <= self.rest:
            raise ColumnError("the bytes end early")
        self._at += length
        return self._data[self._at - length : self._at]

    def histogram(self) -> Histogram:
        """The next histogram."""
        base, form, first, classes = unzigzag(self.varint()), self.varint(), unzigzag(self.varint()), self.varint()
        digits = self.bytes((classes + 1) // 2).hex()
        if digits[classes:].strip("0"):
            raise ColumnError("a histogram has half a byte too much")
        try:
            return Histogram(base, bool(form & 1), form >> 1, first, tuple([int(one, 16) for one in digits[:classes]]))
        except HistogramError as error:
            raise ColumnError(str(error)) from None

    def column(self, length: int, histograms: Sequence[Histogram] = ()) -> list[int]:
        """The next column, of so many numbers, some written by one of these histograms."""
        if not length:
            return []
        form = self._byte()
        if form == _ALIKE:
            return [unzigzag(self.varint())] * length
        if form == _REPEATED:
            return self._repeated(length)
        if form == _RICE:
            return self._rice(length)
        if form - _BY_HISTOGRAM < len(histograms):
            return self._by_histogram(length, histograms[form - _BY_HISTOGRAM])
        msg = f"{form} is no form of a column"
        raise ColumnError(msg)

    def _byte(self) -> int:
        return self.bytes(1)[0]

    def _repeated(self, length: int) -> list[int]:
        values: list[int] = []
        while len(values) < length:
            value, times = unzigzag(self.varint()), self.varint()
            if not 0 < times <= length - len(values):
                raise ColumnError("a column repeats a number too often")
            values += [value] * times
        return values

    def _by_histogram(self, length: int, histogram: Histogram) -> list[int]:
        middle = histogram.base + (unzigzag(self.varint()) if histogram.own else 0)
        values: list[int] = []
        for at in range(0, length, _BLOCK):
            packed = int.from_bytes(self.bytes(self.varint()), "big")
            try:
                values += histogram.unpack(packed, min(_BLOCK, length - at))
            except HistogramError as error:
                raise ColumnError(str(error)) from None
        return [middle + value for value in values]

    def _rice(self, length: int) -> list[int]:
        middle, bits = unzigzag(self.varint()), self._byte()
        if bits > _WHOLE_BITS:
            raise ColumnError("a column has more than 64 low bits")
        # No column of this length is longer; what follows it belongs to the next one.
        there = self._data[self._at : self._at + (length * (_ESCAPE + 1 + _WHOLE_BITS) + 7) // 8]
        written = format(int.from_bytes(there, "big"), f"0{len(there) * 8}b") if there else ""
        values: list[int] = []
        at = 0
        for _ in range(length):
            end = written.find("0", at, at + _ESCAPE)
            first, size = (at + _ESCAPE, _WHOLE_BITS) if end < 0 else (end + 1, bits)
            if first + size > len(written):
                raise ColumnError("the bytes end early")
            low = int(written[first : first + size], 2) if size else 0
            values.append(middle + unzigzag(low if end < 0 else (end - at) << bits | low))
            at = first + size
        self._at += (at + 7) // 8
        return values

"""Columns of numbers: what is written is read, in few bytes, and bytes that are no columns are refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.core.columns import (
    ColumnError,
    ColumnReader,
    middle_of,
    unzigzag,
    varint,
    write_by,
    write_column,
    write_histogram,
    zigzag,
)
from monitor.core.histogram import MOST_BITS, Histogram, HistogramError, bounds_of, class_of, fitting, weight_of

NUMBERS = st.integers(-(2**61), 2**61)


@given(st.lists(st.one_of(st.just(7), st.integers(-100, 100), NUMBERS)))
@example([0])
@example([-1, -1, -1])
@example([5, 5, 5, 5, 6])
@example([0, 2**61])
@example([-(2**61), 2**61])
def test_what_is_written_is_read(values: list[int]) -> None:
    reader = ColumnReader(write_column(values) + b"rest")
    assert reader.column(len(values)) == values
    assert reader.bytes(4) == b"rest"
    assert reader.rest == 0


@given(NUMBERS)
def test_signed_numbers_go_through_unsigned_ones(value: int) -> None:
    assert unzigzag(zigzag(value)) == value
    assert ColumnReader(varint(zigzag(value))).varint() == zigzag(value)


def test_numbers_that_repeat_are_counted() -> None:
    assert len(write_column([60_000_000] * 1000)) <= 6
    assert len(write_column([1] + [60_000_000] * 999)) <= 10


def test_noise_costs_little_more_than_its_entropy() -> None:
    chance = random.Random(1)
    values = [1_000_000 + chance.randrange(1024) for _ in range(1000)]
    assert len(write_column(values)) * 8 / 1000 < 10 + 1.2


def test_one_outlier_does_not_make_a_column_long() -> None:
    chance = random.Random(2)
    values = [chance.randrange(64) for _ in range(200)]
    assert len(write_column([*values, 10_000_000])) < len(write_column(values)) + 14


@pytest.mark.parametrize(
    ("data", "length", "why"),
    [
        (b"", 1, "end early"),
        (b"\x07", 1, "7 is no form"),
        (b"\x00", 1, "end early"),
        (b"\x00\x80", 1, "end early"),
        (b"\x00" + b"\xff" * 11, 1, "more than 64 bits"),
        (b"\x02\x00\x05", 4, "too often"),
        (b"\x02\x00\x00", 4, "too often"),
        (b"\x01\x00\x41", 2, "more than 64 low bits"),
        (b"\x01\x00\x04", 2, "end early"),
        (b"\x01\x00\x08\x00", 2, "end early"),
        (b"\x01\x00\x00\xff\xff\x00", 2, "end early"),
    ],
)
def test_bytes_that_are_no_column_are_refused(data: bytes, length: int, why: str) -> None:
    with pytest.raises(ColumnError, match=why):
        ColumnReader(data).column(length)


# By a histogram.


@given(st.lists(st.lists(st.one_of(st.integers(-100, 100), st.integers(-(2**60), 2**60)), min_size=1), min_size=1))
def test_what_a_histogram_was_made_of_is_read_by_it(columns: list[list[int]]) -> None:
    fit = fitting(columns, [middle_of(values) for values in columns])
    assert fit is not None
    written = [write_by(fit[0], 0, values) for values in columns]
    reader = ColumnReader(write_histogram(fit[0]) + b"".join(column or b"none" for column in written) + b"rest")
    histogram = reader.histogram()
    assert histogram == fit[0]
    assert [reader.column(len(values), [histogram]) for values in columns] == columns
    assert reader.bytes(4) == b"rest"
    assert reader.rest == 0


@pytest.mark.parametrize("own", [False, True])
def test_a_column_with_a_number_of_no_class_of_the_histogram_is_not_written_by_it(own: bool) -> None:
    histogram = Histogram(base=0, own=own, parts=0, first=0, sizes=(1, 1, 1))  # 0; 1; 2 and 3 from the middle
    assert write_by(histogram, 0, [0, 0, 0, 1, 3]) is not None
    assert write_by(histogram, 0, [0, 0, 0, 0, 4]) is None


@given(st.integers(-(2**MOST_BITS) + 1, 2**MOST_BITS - 1), st.integers(0, 3))
def test_every_number_is_of_one_class(value: int, parts: int) -> None:
    number, bits, low = class_of(value, parts)
    nearest, left = bounds_of(number, parts)
    assert left == bits
    assert 0 <= low < 1 << bits
    assert nearest + low == (value if value >= 0 else -value - 1)
    assert (number < 0) == (value < 0)


def test_weights_grow_by_two_an_octave() -> None:
    assert [weight_of(size) for size in range(16)] == [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192]


def test_a_long_tail_costs_little_more_than_its_entropy() -> None:
    """Nine of ten numbers in 7 bits, one in 14: 0.9 x 7 + 0.1 x 14 + 0.47 bits each, where Rice's code takes more."""
    chance = random.Random(3)
    values = [chance.randrange(2**14) if chance.random() < 0.1 else chance.randrange(2**7) for _ in range(2000)]
    fit = fitting([values], [middle_of(values)])
    assert fit is not None
    written = write_by(fit[0], 0, values)
    assert written is not None
    assert len(written) * 8 / 2000 < 8.2 + 0.4
    assert len(write_column(values)) > len(written) * 1.1


def test_a_number_of_a_class_that_was_not_counted_is_no_column_of_it() -> None:
    fit = fitting([[1, 2, 3, 4] * 10], [2])
    assert fit is not None
    assert write_by(fit[0], 0, [1, 2, 3, 1000]) is None


def test_numbers_too_long_are_counted_in_no_histogram() -> None:
    assert fitting([[0, 2**63]], [0]) is None
    assert fitting([[]], [0]) is None


@pytest.mark.parametrize(
    ("parts", "first", "sizes"),
    [(4, 0, (1,)), (0, -66, (1,)), (0, 0, (1,) * 66), (0, 0, (0, 0)), (0, 0, ()), (0, 0, (16,)), (0, 0, (-1, 3))],
)
def test_what_is_no_histogram_is_refused(parts: int, first: int, sizes: tuple[int, ...]) -> None:
    with pytest.raises(HistogramError):
        Histogram(0, True, parts, first, sizes)


HALVES = Histogram(0, False, 0, 0, (1, 1))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x03", "end early"),
        (b"\x03\x02\x00", "end early"),
        (b"\x03\x01\x08", "more than its numbers"),
        (b"\x04\x01\x00", "4 is no form"),
    ],
)
def test_a_block_that_is_none_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ColumnError, match=why):
        ColumnReader(data).column(3, [HALVES])
    assert ColumnReader(b"\x03\x01\x05").column(3, [HALVES]) == [1, 0, 1]


@pytest.mark.parametrize("data", [b"\0\0\0\x04\x11", b"\0\0\0\x01\x11", b"\0\x08\0\x01\x10", b"\0\0\0\x02\0"])
def test_bytes_that_are_no_histogram_are_refused(data: bytes) -> None:
    with pytest.raises(ColumnError):
        ColumnReader(data).histogram()

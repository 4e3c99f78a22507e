"""Columns of numbers: what is written is read, in few bytes, and bytes that are no columns are refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.core.columns import ColumnError, ColumnReader, unzigzag, varint, write_column, zigzag

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

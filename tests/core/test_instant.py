"""Instants and their written form: nothing is rounded, nothing is guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.instant import (
    DAY_US,
    HOUR_US,
    InstantError,
    format_hms,
    format_instant,
    format_instant_us,
    format_seconds,
    from_datetime,
    parse_instant,
    to_datetime,
)

JAKARTA = ZoneInfo("Asia/Jakarta")
# From year 2 to 9998: every zone can write them.
instants = st.integers(-62_000_000_000_000_000, 253_300_000_000_000_000)
zones = st.sampled_from(["UTC", "Asia/Jakarta", "America/St_Johns", "Asia/Kathmandu"]).map(ZoneInfo)
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "at_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T07:00:00+07:00", 0),
        ("1969-12-31T19:00:00-05:00", 0),
        ("1970-01-01t00:00:01z", 1_000_000),
        ("1970-01-01 00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.000001+00:00", 1),
        ("1970-01-01T00:00:00.000001000Z", 1),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-04-01T00:00:00+07:00", 1_774_976_400_000_000),
        ("1970-01-01T05:45:00+05:45", 0),
        ("1970-01-01T23:59:00+23:59", 0),
    ],
)
def test_parse(text: str, at_us: int) -> None:
    assert parse_instant(text) == at_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-04-01",
        "2026-04-01T00:00:00",  # no offset
        "2026-04-01T00:00+07:00",  # no seconds
        "2026-04-01T00:00:00+0700",
        "2026-04-01T00:00:00.Z",
        "2026-04-01T00:00:00.1234567Z",  # nothing is rounded
        "2026-4-1T00:00:00Z",
        " 2026-04-01T00:00:00Z",
        "2026-04-01T00:00:00Z\n",
        "2026-04-01T00:00:00Z+07:00",
        "٢٠٢٦-04-01T00:00:00Z",  # digits, but not of RFC 3339
    ],
)
def test_what_has_another_shape_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InstantError, match=r"is no instant; expected RFC 3339 with an offset, such as 2026-04-01T"):
        parse_instant(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-04-01T24:00:00Z",
        "2026-04-01T00:60:00Z",
        "2026-06-30T23:59:60Z",  # a leap second has no microsecond of its own
        "2026-04-01T00:00:00+24:00",
        "2026-04-01T00:00:00+07:60",
        "0001-01-01T00:00:00+07:00",
        "9999-12-31T23:59:59-07:00",
        "0000-01-01T00:00:00Z",
    ],
)
def test_what_is_out_of_range_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(InstantError) as refusal:
        parse_instant(text)
    assert str(refusal.value).startswith(f"{text!r} is no instant: ")


def test_an_instant_error_is_a_value_error() -> None:
    assert issubclass(InstantError, ValueError)


@given(instants, offsets)
def test_what_is_written_is_read_back(at_us: int, zone: timezone) -> None:
    assert parse_instant(format_instant(at_us, zone)) == at_us
    assert parse_instant(format_instant_us(at_us, zone)) == at_us


@given(instants, zones)
def test_the_zone_changes_the_writing_never_the_instant(at_us: int, zone: ZoneInfo) -> None:
    assert from_datetime(to_datetime(at_us, zone)) == at_us == from_datetime(to_datetime(at_us))
    assert to_datetime(at_us, zone).tzinfo is zone


@given(instants)
def test_datetimes_agree_with_plain_counting(at_us: int) -> None:
    assert to_datetime(at_us) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)


def test_a_datetime_without_a_zone_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="needs a zone"):
        from_datetime(datetime(2026, 4, 1))  # noqa: DTZ001 - what is refused


def test_written_forms() -> None:
    at_us = parse_instant("2026-04-01T00:00:00+07:00")
    assert format_instant(at_us) == "2026-03-31T17:00:00+00:00"
    assert format_instant(at_us, JAKARTA) == "2026-04-01T00:00:00+07:00"
    assert format_instant(at_us + 1, JAKARTA) == "2026-04-01T00:00:00.000001+07:00"
    assert format_instant_us(at_us) == "2026-03-31T17:00:00.000000+00:00"
    assert format_instant_us(at_us + 500_000, JAKARTA) == "2026-04-01T00:00:00.500000+07:00"


@pytest.mark.parametrize(
    ("duration_us", "text"),
    [
        (0, "0.000000"),
        (1, "0.000001"),
        (-1, "-0.000001"),
        (2_700_000_000, "2700.000000"),
        (-1_500_000, "-1.500000"),
        (129_600_000_001, "129600.000001"),
    ],
)
def test_seconds(duration_us: int, text: str) -> None:
    assert format_seconds(duration_us) == text


@given(st.integers(-(1 << 53), 1 << 53))
def test_seconds_lose_nothing(duration_us: int) -> None:
    text = format_seconds(duration_us)
    assert int(text.replace(".", "")) == duration_us
    assert text[-7] == "."


@pytest.mark.parametrize(
    ("duration_us", "text"),
    [
        (0, "00:00:00"),
        (2 * DAY_US - 1_000_000, "47:59:59"),
        (2 * DAY_US - 1, "47:59:59.999999"),
        (100 * HOUR_US + 61_000_000, "100:01:01"),
        (1, "00:00:00.000001"),
        (-HOUR_US, "01:00:00"),  # the sentence around it says whether it is early or late
    ],
)
def test_hours_minutes_seconds(duration_us: int, text: str) -> None:
    assert format_hms(duration_us) == text

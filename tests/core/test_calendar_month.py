"""Months and days in a zone: where they start when the clock skips or repeats midnight, and the claim deadline."""

from __future__ import annotations

from datetime import date, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.calendar import (
    Month,
    MonthError,
    claim_deadline_us,
    day_start_us,
    days,
    deadline_from_us,
    month_of,
    month_span,
)
from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US, format_instant, parse_instant, to_datetime
from monitor.core.span import Span, measure_us

JAKARTA = ZoneInfo("Asia/Jakarta")
ZONES = sorted(available_timezones())
YEARS = (1995, 2009, 2011, *range(2024, 2032))

months = st.builds(Month, st.integers(1901, 2253), st.integers(1, 12))
zones = st.sampled_from(ZONES).map(ZoneInfo)


def is_first_instant(day: date, at_us: int, zone: tzinfo) -> bool:
    """The oracle: the date is reached at the instant and was never reached in the 30 hours before, minute by minute
    where the clock was changed.
    """
    here, before = to_datetime(at_us, zone), to_datetime(at_us - 30 * HOUR_US, zone)
    if here.date() < day or to_datetime(at_us - 1, zone).date() >= day:
        return False
    if here.utcoffset() == before.utcoffset():
        return True
    return all(to_datetime(at_us - n * MINUTE_US, zone).date() < day for n in range(1, 30 * 60))


def test_a_month_is_written_as_it_is_parsed() -> None:
    assert Month.parse("2026-04") == Month(2026, 4)
    assert str(Month(2026, 4)) == f"{Month(2026, 4)}" == "2026-04"


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-4", "2026-04-01", "26-04", "2026/04", " 2026-04", "2026-04\n", "x", "-2026-04", "٢٠٢٦-٠٤"],
)
def test_what_is_no_month_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(MonthError, match=r"is no month; expected YYYY-MM, such as 2026-04"):
        Month.parse(text)


@pytest.mark.parametrize("text", ["2026-00", "2026-13", "1899-12", "2255-01"])
def test_a_month_out_of_range_is_refused_with_the_range(text: str) -> None:
    with pytest.raises(MonthError, match=r"expected years 1900 to 2254 and months 1 to 12"):
        Month.parse(text)


def test_a_month_error_is_a_value_error() -> None:
    assert issubclass(MonthError, ValueError)


@given(months)
def test_next_and_previous_undo_each_other_and_keep_the_order(month: Month) -> None:
    assert month.next().previous() == month.previous().next() == month
    assert month.previous() < month < month.next()
    assert month.next().first_day() == month.last_day() + timedelta(days=1)
    assert Month.parse(str(month)) == month


def test_the_year_turns() -> None:
    assert Month(2026, 12).next() == Month(2027, 1)
    assert Month(2027, 1).previous() == Month(2026, 12)
    assert Month(2026, 4).next() == Month(2026, 5)
    assert Month(2026, 4).previous() == Month(2026, 3)
    assert Month(2028, 2).last_day() == date(2028, 2, 29)


def test_april_2026_in_jakarta_has_43200_minutes() -> None:
    april = month_span(Month(2026, 4), JAKARTA)
    assert april == Span(parse_instant("2026-04-01T00:00:00+07:00"), parse_instant("2026-05-01T00:00:00+07:00"))
    assert april.length_us == 43_200 * MINUTE_US


@pytest.mark.parametrize(
    ("zone", "month", "start", "hours"),
    [
        # 1 October 2023 00:00 was skipped: the month began at 01:00.
        ("America/Asuncion", Month(2023, 10), "2023-10-01T01:00:00-03:00", 31 * 24 - 1),
        # 1 November 2026 00:00 comes twice: the first one starts the month.
        ("America/Havana", Month(2026, 11), "2026-11-01T00:00:00-04:00", 30 * 24 + 1),
        # At 00:01 on 1 November 2009 the clock went back to 23:01 on 31 October: November had begun.
        ("America/St_Johns", Month(2009, 11), "2009-11-01T00:00:00-02:30", 30 * 24 + 1),
        # Samoa left 30 December 2011 out.
        ("Pacific/Apia", Month(2011, 12), "2011-12-01T00:00:00-10:00", 30 * 24),
        ("Europe/Berlin", Month(2026, 3), "2026-03-01T00:00:00+01:00", 31 * 24 - 1),
        ("Europe/Berlin", Month(2026, 10), "2026-10-01T00:00:00+02:00", 31 * 24 + 1),
    ],
)
def test_months_where_the_clock_is_changed(zone: str, month: Month, start: str, hours: int) -> None:
    span = month_span(month, ZoneInfo(zone))
    assert format_instant(span.start_us, ZoneInfo(zone)) == start
    assert span.length_us == hours * HOUR_US


def test_a_day_whose_midnight_is_inside_a_skipped_hour_starts_at_the_change() -> None:
    # Toronto, 30 March 1919, 23:30 became 00:30 of the 31st.
    toronto = ZoneInfo("America/Toronto")
    start_us = day_start_us(date(1919, 3, 31), toronto)
    assert format_instant(start_us, toronto) == "1919-03-31T00:30:00-04:00"
    assert to_datetime(start_us - 1, toronto).date() == date(1919, 3, 30)


def test_the_hour_that_reads_the_old_month_again_belongs_to_the_new_one() -> None:
    st_johns = ZoneInfo("America/St_Johns")
    again_us = parse_instant("2009-10-31T23:30:00-03:30")
    assert to_datetime(again_us, st_johns).month == 10
    assert month_of(again_us, st_johns) == Month(2009, 11)
    assert month_span(Month(2009, 11), st_johns).contains(again_us)


def test_a_date_that_was_skipped_is_no_day_of_the_month() -> None:
    apia = ZoneInfo("Pacific/Apia")
    listed = days(Month(2011, 12), apia)
    assert [day.day for day, _ in listed] == [n for n in range(1, 32) if n != 30]
    assert all(span.length_us == DAY_US for _, span in listed)
    assert day_start_us(date(2011, 12, 30), apia) == day_start_us(date(2011, 12, 31), apia)


def test_every_month_edge_in_every_zone_is_the_first_instant_of_the_month() -> None:
    for name in ZONES:
        zone = ZoneInfo(name)
        for year in YEARS:
            month = Month(year, 1)
            while month.year == year:
                span = month_span(month, zone)
                assert is_first_instant(month.first_day(), span.start_us, zone), (name, month)
                assert month_of(span.start_us, zone) == month, (name, month)
                assert month_of(span.start_us - 1, zone) == month.previous(), (name, month)
                month = month.next()


@given(months, zones)
def test_days_cut_the_month_without_gap_or_overlap(month: Month, zone: ZoneInfo) -> None:
    span = month_span(month, zone)
    cut = [part for _, part in days(month, zone)]
    assert cut[0].start_us == span.start_us
    assert cut[-1].end_us == span.end_us
    assert all(left.end_us == right.start_us for left, right in pairwise(cut))
    assert measure_us(cut) == span.length_us
    assert month_span(month.next(), zone).start_us == span.end_us


@given(months, zones, st.data())
def test_a_day_starts_when_its_date_is_first_reached(month: Month, zone: ZoneInfo, data: st.DataObject) -> None:
    day, span = data.draw(st.sampled_from(days(month, zone)))
    assert is_first_instant(day, span.start_us, zone)


@given(st.integers(0, (1 << 53) - 400 * DAY_US), zones)
def test_an_instant_lies_in_its_month(at_us: int, zone: ZoneInfo) -> None:
    assert month_span(month_of(at_us, zone), zone).contains(at_us)


def test_an_instant_after_the_last_month_has_none() -> None:
    with pytest.raises(MonthError):
        month_of(parse_instant("2255-01-01T00:00:00+07:00"), JAKARTA)


@pytest.mark.parametrize(
    ("month", "within_days", "deadline"),
    [
        ("2026-01", 30, "2026-03-03T00:00:00+07:00"),  # through 2 March: the contract's own example
        ("2028-01", 30, "2028-03-02T00:00:00+07:00"),  # the leap day is one of the thirty
        ("2026-12", 30, "2027-01-31T00:00:00+07:00"),
        ("2026-04", 0, "2026-05-01T00:00:00+07:00"),
        ("2026-04", 400, "2027-06-05T00:00:00+07:00"),
    ],
)
def test_a_claim_is_late_from_the_end_of_the_last_day(month: str, within_days: int, deadline: str) -> None:
    assert format_instant(claim_deadline_us(Month.parse(month), within_days, JAKARTA), JAKARTA) == deadline


def test_the_deadline_counts_days_of_the_zone_not_of_24_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    deadline_us = claim_deadline_us(Month(2026, 2), 30, berlin)
    assert format_instant(deadline_us, berlin) == "2026-03-31T00:00:00+02:00"
    assert deadline_us - month_span(Month(2026, 2), berlin).end_us == 30 * DAY_US - HOUR_US


@pytest.mark.parametrize(
    ("issued", "within_days", "deadline"),
    [
        ("2026-05-20T00:00:00+07:00", 30, "2026-06-20T00:00:00+07:00"),  # through 19 June
        ("2026-05-20T23:59:59.999999+07:00", 30, "2026-06-20T00:00:00+07:00"),  # the day counts, not the hour
        ("2026-05-19T17:00:00+00:00", 30, "2026-06-20T00:00:00+07:00"),  # the zone's day, not the day in UTC
        ("2028-02-28T12:00:00+07:00", 1, "2028-03-01T00:00:00+07:00"),
        ("2026-12-31T12:00:00+07:00", 0, "2027-01-01T00:00:00+07:00"),
    ],
)
def test_a_period_from_an_issue_ends_with_its_last_day(issued: str, within_days: int, deadline: str) -> None:
    assert format_instant(deadline_from_us(parse_instant(issued), within_days, JAKARTA), JAKARTA) == deadline


def test_a_negative_claim_period_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError):
        claim_deadline_us(Month(2026, 4), -1, JAKARTA)

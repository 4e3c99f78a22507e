"""The shipped holiday tables: against an independent library, with their decrees, estimates marked."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import holidays as library
import pytest

from monitor.config.holidays import business_clock, table
from monitor.core.instant import HOUR_US, parse_instant
from monitor.core.terms import Terms

YEARS = (2025, 2026, 2027)
JAKARTA = ZoneInfo("Asia/Jakarta")


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize(("kind", "category"), [("national", "public"), ("collective_leave", "government")])
def test_the_table_has_the_dates_that_the_library_has(year: int, kind: str, category: str) -> None:
    theirs = library.country_holidays("ID", years=year, categories=category)
    ours = getattr(table("id", (year,)), kind)
    assert set(ours) == set(theirs)


@pytest.mark.parametrize("year", YEARS)
def test_every_year_names_its_decree(year: int) -> None:
    found = table("id", (year,))
    assert found.decrees
    assert all(number and "/" in number for decree in found.decrees for number in decree.numbers)


def test_estimates_are_dates_of_2027_and_make_what_is_counted_over_them_provisional() -> None:
    found = table("id", YEARS)
    assert found.unconfirmed
    assert {day.year for day in found.unconfirmed} == {2027}
    clock = business_clock(Terms(contract="mitra", effective_from_us=0), JAKARTA)
    (first, *_more) = sorted(day for day in found.unconfirmed if day.isoweekday() <= 5 and day in found.national)
    noon = parse_instant(f"{first.isoformat()}T12:00:00+07:00")
    assert clock.provisional(noon, noon + HOUR_US)
    sure = parse_instant("2026-04-06T12:00:00+07:00")
    assert not clock.provisional(sure, sure + HOUR_US)
    unwritten = parse_instant("2031-04-07T12:00:00+07:00")
    assert clock.provisional(unwritten, unwritten + HOUR_US), "a year without a table is an estimate as a whole"


def test_collective_leave_counts_only_where_the_terms_say_so() -> None:
    leave = next(day for day in table("id", (2026,)).collective_leave if day.isoweekday() <= 5)
    for flag in (False, True):
        clock = business_clock(Terms(contract="mitra", effective_from_us=0, collective_leave=flag), JAKARTA)
        assert (clock.free_day(leave) is not None) is flag
    assert date(2026, 1, 1) in table("id", (2026,)).national

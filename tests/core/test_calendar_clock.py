"""The business clock (CONTRACT 2.8): the shared cases, a naive oracle that counts second by second, and the edges."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import holidays as holiday_library
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.core.calendar import (
    AlwaysOpen,
    Calendar,
    CalendarError,
    Clock,
    Hours,
    Leg,
    carried_us,
    due_us,
    elapsed_us,
    escalate_75_us,
    first_open_us,
)
from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_instant, parse_instant
from monitor.core.span import Span, measure_us, union

JAKARTA = ZoneInfo("Asia/Jakarta")
AROUND = AlwaysOpen()
CASES: list[dict[str, Any]] = json.loads(
    Path(__file__).parent.with_name("cases").joinpath("business_clock.json").read_text(encoding="utf-8"),
)["cases"]


def dates_of(*categories: str) -> dict[date, str]:
    return dict(holiday_library.country_holidays("ID", years=(2026, 2027), categories=categories))


@cache
def indonesia(*, collective_leave: bool = False) -> Calendar:
    return Calendar(
        zone=JAKARTA,
        holidays=dates_of("public"),
        collective_leave=dates_of("government"),
        use_collective_leave=collective_leave,
    )


def at(text: str) -> int:
    """An instant of April 2026 in Jakarta: `07 10:00` is Tuesday."""
    return parse_instant(f"2026-04-{text[:2]}T{text[3:]}:00+07:00")


def wib(at_us: int) -> str:
    return format_instant(at_us, JAKARTA)


# The shared cases


@pytest.fixture(params=["Asia/Jakarta", "America/New_York", "Pacific/Apia", "UTC"])
def process_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process's own zone, which must not matter."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("process_zone")
@pytest.mark.parametrize("leave", ["national", "national_plus_cuti_bersama"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(case: dict[str, Any], leave: str) -> None:
    business = indonesia(collective_leave=leave != "national")
    clock: Clock = AROUND if case["clock"] == "24x7" else business
    start_us, target_us = parse_instant(case["start"]), case["target_minutes"] * MINUTE_US
    pauses = [Span(parse_instant(pause["start"]), parse_instant(pause["end"])) for pause in case["pauses"]]

    due = due_us(start_us, target_us, clock, pauses)
    escalate = escalate_75_us(start_us, target_us, clock, pauses)

    assert {"due": wib(due), "escalate_75": wib(escalate)} == case["expected"][leave]
    assert elapsed_us(start_us, due, clock, pauses) == target_us


def test_every_case_was_read() -> None:
    assert len(CASES) == 13


# The oracle


@dataclass(frozen=True, kw_only=True)
class World:
    """A start, a calendar and pauses, all on whole seconds."""

    calendar: Calendar
    start_s: int
    target_s: int
    pauses: tuple[Span, ...]


class Naive:
    """Asks the zone's clock minute by minute whether it is open, and counts seconds one by one."""

    def __init__(self, calendar: Calendar | None, pauses: Sequence[Span]) -> None:
        self._calendar = calendar
        self._paused = {s for span in pauses for s in range(span.start_us // SECOND_US, span.end_us // SECOND_US)}
        self._minutes: dict[int, bool] = {}

    def is_open(self, second: int) -> bool:
        minute = second // 60
        if minute not in self._minutes:
            self._minutes[minute] = self._calendar is None or self._reads_open(minute, self._calendar)
        return self._minutes[minute]

    def runs(self, second: int) -> bool:
        return self.is_open(second) and second not in self._paused

    def due(self, start: int, target: int, used: int = 0) -> int:
        second = start
        while True:
            if self.runs(second):
                if used >= target:
                    return second
                used += 1
                if used >= target:
                    return second + 1
            second += 1

    def elapsed(self, start: int, end: int) -> int:
        return sum(self.runs(second) for second in range(start, end))

    @staticmethod
    def _reads_open(minute: int, calendar: Calendar) -> bool:
        local = datetime.fromtimestamp(minute * 60, UTC).astimezone(calendar.zone)
        hours, day = calendar.hours, local.date()
        free = day in calendar.holidays or (calendar.use_collective_leave and day in calendar.collective_leave)
        inside = hours.open_minute <= local.hour * 60 + local.minute < hours.close_minute
        return local.isoweekday() in hours.weekdays and not free and inside


# Places and the days around which worlds are built: some of them when the clock is changed.
SCENES = [
    ("Asia/Jakarta", date(2026, 4, 2)),
    ("UTC", date(2026, 12, 30)),
    ("America/New_York", date(2026, 3, 7)),
    ("America/New_York", date(2026, 10, 31)),
    ("America/Havana", date(2026, 10, 31)),
    ("America/St_Johns", date(2009, 10, 31)),
    ("America/Asuncion", date(2023, 9, 30)),
    ("Australia/Lord_Howe", date(2026, 4, 4)),
    ("Australia/Lord_Howe", date(2026, 10, 3)),
    ("Asia/Kathmandu", date(2026, 2, 27)),
    ("Pacific/Apia", date(2011, 12, 28)),
]
MINUTES = st.integers(0, 24 * 60) | st.sampled_from([0, 1, 60, 90, 120, 150, 180, 23 * 60, 1440])


@st.composite
def worlds(draw: st.DrawFn) -> World:
    zone, first = draw(st.sampled_from(SCENES))
    open_minute, close_minute = sorted((draw(MINUTES), draw(MINUTES)))
    assume(close_minute - open_minute >= 10)
    near = st.integers(-1, 4).map(lambda n: first + timedelta(days=n))
    holidays, leave = (dict.fromkeys(draw(st.lists(near, max_size=2)), name) for name in ("holiday", "leave"))
    calendar = Calendar(
        zone=ZoneInfo(zone),
        hours=Hours(
            weekdays=draw(st.sampled_from([(1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6, 7), (7, 1, 2)])),
            open_minute=open_minute,
            close_minute=close_minute,
        ),
        holidays=holidays,
        collective_leave=leave,
        use_collective_leave=draw(st.booleans()),
    )
    midnight_s = int(datetime(first.year, first.month, first.day, tzinfo=calendar.zone).timestamp())
    start_s = midnight_s + draw(st.integers(0, 2 * 86_400))
    pauses = draw(st.lists(st.tuples(st.integers(-7200, 2 * 86_400), st.integers(0, 36_000)), max_size=3))
    return World(
        calendar=calendar,
        start_s=start_s,
        target_s=draw(st.integers(0, 2 * (close_minute - open_minute) * 60)),
        pauses=tuple(Span((start_s + a) * SECOND_US, (start_s + a + n) * SECOND_US) for a, n in pauses),
    )


@settings(max_examples=80)
@given(worlds(), st.booleans())
def test_due_escalation_and_elapsed_agree_with_counting_seconds(world: World, around: bool) -> None:
    clock: Clock = AROUND if around else world.calendar
    naive = Naive(None if around else world.calendar, world.pauses)
    start_us, target_us = world.start_s * SECOND_US, world.target_s * SECOND_US

    due = due_us(start_us, target_us, clock, world.pauses)

    assert due == naive.due(world.start_s, world.target_s) * SECOND_US
    assert elapsed_us(start_us, due, clock, world.pauses) == target_us
    assert elapsed_us(start_us, due - 1, clock, world.pauses) == max(0, target_us - 1)
    if world.target_s % 4 == 0:
        escalate = escalate_75_us(start_us, target_us, clock, world.pauses)
        assert escalate == naive.due(world.start_s, world.target_s * 3 // 4) * SECOND_US
        assert escalate <= due


@settings(max_examples=60)
@given(worlds(), st.lists(st.tuples(st.integers(0, 86_400), st.booleans()), min_size=1, max_size=3))
def test_a_change_of_priority_keeps_the_time_used(world: World, changes: list[tuple[int, bool]]) -> None:
    naive = {around: Naive(None if around else world.calendar, world.pauses) for around in (True, False)}
    begins = list(accumulate((after_s for after_s, _ in changes), initial=world.start_s))
    kinds = [False, *(around for _, around in changes)]
    legs = [
        Leg(begin * SECOND_US, AROUND if around else world.calendar)
        for begin, around in zip(begins, kinds, strict=True)
    ]
    used_s = sum(
        naive[around].elapsed(begin, end) for (begin, end), around in zip(pairwise(begins), kinds[:-1], strict=True)
    )

    last = legs[-1]
    used = carried_us(legs[:-1], last.start_us, world.pauses)
    assert used == used_s * SECOND_US
    due = due_us(last.start_us, world.target_s * SECOND_US, last.clock, world.pauses, used_us=used)
    assert due == naive[kinds[-1]].due(begins[-1], world.target_s, used_s) * SECOND_US
    assert carried_us(legs, due, world.pauses) == max(used, world.target_s * SECOND_US)


@settings(max_examples=100)
@given(worlds(), st.integers(-3, 6))
def test_provisional_is_exactly_what_a_change_of_the_date_would_move(world: World, offset: int) -> None:
    calendar = replace(world.calendar, hours=replace(world.calendar.hours, open_minute=1, close_minute=1439))
    start_us, target_us = world.start_s * SECOND_US, world.target_s * SECOND_US
    day = datetime.fromtimestamp(world.start_s, UTC).astimezone(calendar.zone).date() + timedelta(days=offset)
    estimate = replace(calendar, unconfirmed=frozenset({day}))
    free = {name: text for name, text in calendar.holidays.items() if name != day}
    leave = {name: text for name, text in calendar.collective_leave.items() if name != day}
    if calendar.free_day(day) is None:
        free[day] = "free after all"
    other = replace(calendar, holidays=free, collective_leave=leave)

    due = due_us(start_us, target_us, calendar, world.pauses)

    moves = due_us(start_us, target_us, other, world.pauses) != due
    ignored = not calendar.use_collective_leave and day in calendar.collective_leave and day not in calendar.holidays
    assert estimate.provisional(start_us, due, world.pauses) == (moves and not ignored)
    assert not calendar.provisional(start_us, due, world.pauses)


@given(worlds(), st.integers(0, 5 * DAY_US), st.integers(0, 5 * DAY_US))
def test_open_time_is_the_same_however_it_is_cut(world: World, a_us: int, b_us: int) -> None:
    start_us = world.start_s * SECOND_US
    first, last = sorted((start_us + a_us, start_us + b_us))
    whole = world.calendar.open_spans(Span(start_us, last))
    parts = world.calendar.open_spans(Span(start_us, first)) + world.calendar.open_spans(Span(first, last))
    assert union(whole) == whole == union(parts)
    assert measure_us(parts) == measure_us(whole)


# Edges


def test_open_spans_are_the_hours_of_working_days_clipped() -> None:
    within = Span(at("02 16:00"), at("06 10:00"))  # Thursday to Monday, Good Friday between
    assert indonesia().open_spans(within) == (
        Span(at("02 16:00"), at("02 17:00")),
        Span(at("06 09:00"), at("06 10:00")),
    )
    assert AROUND.open_spans(within) == (within,)


def test_nothing_is_open_inside_an_empty_span() -> None:
    empty = Span(at("07 10:00"), at("07 10:00"))
    assert indonesia().open_spans(empty) == AROUND.open_spans(empty) == ()
    assert elapsed_us(at("07 10:00"), at("07 09:00"), indonesia()) == 0


@pytest.mark.parametrize(
    ("start", "target_us", "due"),
    [
        ("07 10:00", 0, "2026-04-07T10:00:00+07:00"),
        ("07 17:00", 0, "2026-04-08T09:00:00+07:00"),  # half-open: at 17:00 it is closed
        ("02 17:00", 0, "2026-04-06T09:00:00+07:00"),
        ("07 16:59", MINUTE_US, "2026-04-07T17:00:00+07:00"),
        ("07 16:59", MINUTE_US + 1, "2026-04-08T09:00:00.000001+07:00"),
        ("07 08:00", 1, "2026-04-07T09:00:00.000001+07:00"),
    ],
)
def test_due_at_the_edges_of_the_hours(start: str, target_us: int, due: str) -> None:
    assert wib(due_us(at(start), target_us, indonesia())) == due


def test_a_target_of_zero_waits_for_the_pause_to_end_too() -> None:
    pauses = [Span(at("07 08:00"), at("07 11:00")), Span(at("07 10:00"), at("07 11:30"))]
    assert wib(due_us(at("07 10:00"), 0, indonesia(), pauses)) == "2026-04-07T11:30:00+07:00"


def test_overlapping_pauses_are_taken_off_once() -> None:
    pauses = [Span(at("07 10:00"), at("07 12:00")), Span(at("07 11:00"), at("07 13:00"))]
    assert wib(due_us(at("07 09:00"), 4 * HOUR_US, indonesia(), pauses)) == "2026-04-07T16:00:00+07:00"
    assert elapsed_us(at("07 09:00"), at("07 14:00"), indonesia(), iter(pauses)) == 2 * HOUR_US


@pytest.mark.parametrize(
    ("target_us", "three_quarters_us"),
    [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 6), (8, 6)],
)
def test_three_quarters_are_exact_and_never_early(target_us: int, three_quarters_us: int) -> None:
    start_us = at("07 10:00")
    assert escalate_75_us(start_us, target_us, indonesia()) == start_us + three_quarters_us
    assert three_quarters_us * 4 >= target_us * 3


def test_a_target_already_used_up_is_due_at_the_change_or_the_next_opening() -> None:
    assert due_us(at("07 10:00"), HOUR_US, indonesia(), used_us=2 * HOUR_US) == at("07 10:00")
    assert due_us(at("07 20:00"), HOUR_US, indonesia(), used_us=2 * HOUR_US) == at("08 09:00")
    assert due_us(at("07 20:00"), HOUR_US, AROUND, used_us=HOUR_US) == at("07 20:00")
    assert escalate_75_us(at("07 10:00"), 4 * HOUR_US, indonesia(), used_us=2 * HOUR_US) == at("07 11:00")


def test_from_p2_to_p1_the_business_time_used_is_kept() -> None:
    # P2 on Monday at 15:00, P1 on Tuesday at 08:00: two business hours are used, six of P1's eight are left.
    legs = [Leg(at("06 15:00"), indonesia()), Leg(at("07 08:00"), AROUND)]
    used = carried_us(legs[:1], at("07 08:00"))
    assert used == 2 * HOUR_US
    assert due_us(at("07 08:00"), 8 * HOUR_US, AROUND, used_us=used) == at("07 14:00")
    assert escalate_75_us(at("07 08:00"), 8 * HOUR_US, AROUND, used_us=used) == at("07 12:00")
    assert carried_us(legs, at("07 10:00")) == 4 * HOUR_US
    assert carried_us(legs, at("06 16:00")) == HOUR_US  # asked about an instant before the change
    assert carried_us([], at("06 16:00")) == 0


def test_the_repeated_hour_counts_twice_and_the_skipped_hour_never() -> None:
    night = Calendar(
        zone=ZoneInfo("America/New_York"),
        hours=Hours(weekdays=(7,), open_minute=60, close_minute=150),  # Sundays 01:00-02:30
    )
    # 1 November 2026: 01:00-02:00 passes twice, 02:00-02:30 once.
    assert night.open_spans(_day_of("2026-11-01T00:00:00-04:00")) == (
        Span(parse_instant("2026-11-01T01:00:00-04:00"), parse_instant("2026-11-01T02:30:00-05:00")),
    )
    # 8 March 2026: the clock jumps from 02:00 to 03:00.
    assert night.open_spans(_day_of("2026-03-08T00:00:00-05:00")) == (
        Span(parse_instant("2026-03-08T01:00:00-05:00"), parse_instant("2026-03-08T03:00:00-04:00")),
    )
    # Only the middle of the repeated hour: two spans.
    short = replace(night, hours=Hours(weekdays=(7,), open_minute=70, close_minute=80))
    assert short.open_spans(_day_of("2026-11-01T00:00:00-04:00")) == (
        Span(parse_instant("2026-11-01T01:10:00-04:00"), parse_instant("2026-11-01T01:20:00-04:00")),
        Span(parse_instant("2026-11-01T01:10:00-05:00"), parse_instant("2026-11-01T01:20:00-05:00")),
    )
    # Only the middle of the skipped hour: none.
    lost = replace(night, hours=Hours(weekdays=(7,), open_minute=130, close_minute=140))
    assert lost.open_spans(_day_of("2026-03-08T00:00:00-05:00")) == ()


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2009-11-01T00:00:30-02:30", "2009-11-01T02:00:00-03:30"),  # starts on a date that is then left again
        ("2009-10-31T23:50:00-02:30", "2009-10-31T23:30:00-03:30"),  # a date in between that neither edge reads
    ],
)
def test_a_date_that_is_read_again_after_midnight_is_not_forgotten(start: str, end: str) -> None:
    whole_days = Hours(weekdays=(1, 2, 3, 4, 5, 6, 7), open_minute=0, close_minute=1440)
    within = Span(parse_instant(start), parse_instant(end))
    assert Calendar(zone=ZoneInfo("America/St_Johns"), hours=whole_days).open_spans(within) == (within,)


def _day_of(midnight: str) -> Span:
    start_us = parse_instant(midnight)
    return Span(start_us, start_us + DAY_US)


def test_free_days_are_named_and_collective_leave_only_where_it_counts() -> None:
    calendar = Calendar(
        zone=JAKARTA,
        holidays={date(2026, 4, 3): "Wafat Yesus Kristus"},
        collective_leave={date(2026, 4, 6): "Cuti bersama"},
    )
    assert calendar.free_day(date(2026, 4, 3)) == "Wafat Yesus Kristus"
    assert calendar.free_day(date(2026, 4, 6)) is None
    assert replace(calendar, use_collective_leave=True).free_day(date(2026, 4, 6)) == "Cuti bersama"
    assert calendar.free_day(date(2026, 4, 7)) is None


@pytest.mark.parametrize(
    ("unconfirmed", "start", "due", "expected"),
    [
        ((3,), "02 15:00", "06 11:00", True),  # the holiday between
        ((4,), "02 15:00", "06 11:00", False),  # a Saturday: no working day either way
        ((2,), "02 15:00", "06 11:00", True),  # a working day that may become a holiday
        ((6,), "02 15:00", "06 11:00", True),
        ((7,), "02 15:00", "06 11:00", False),  # after the due instant
        ((2,), "02 17:00", "06 11:00", False),  # over before the start
        ((8,), "07 10:00", "09 10:00", False),  # collective leave that does not count
    ],
)
def test_provisional(unconfirmed: tuple[int, ...], start: str, due: str, expected: bool) -> None:
    calendar = Calendar(
        zone=JAKARTA,
        holidays={date(2026, 4, 3): "Wafat Yesus Kristus"},
        collective_leave={date(2026, 4, 8): "Cuti bersama"},
        unconfirmed=frozenset(date(2026, 4, day) for day in unconfirmed),
    )
    assert calendar.provisional(at(start), at(due)) is expected
    assert not AROUND.provisional(at(start), at(due))


def test_collective_leave_that_counts_makes_provisional_and_a_pause_over_the_date_does_not() -> None:
    calendar = Calendar(
        zone=JAKARTA,
        collective_leave={date(2026, 4, 8): "Cuti bersama"},
        use_collective_leave=True,
        unconfirmed=frozenset({date(2026, 4, 8)}),
    )
    assert calendar.provisional(at("07 10:00"), at("09 10:00"))
    assert not calendar.provisional(at("07 10:00"), at("09 10:00"), [Span(at("08 00:00"), at("09 00:00"))])


# What is refused


def closed_for(days: int) -> Calendar:
    """Nothing but free days from 1 January 2026, then one working day after the other, 09:00-17:00."""
    free = {date(2026, 1, 1) + timedelta(days=n): "free" for n in range(days)}
    return Calendar(zone=JAKARTA, hours=Hours(weekdays=(1, 2, 3, 4, 5, 6, 7)), holidays=free)


def test_366_days_without_open_time_are_an_error_and_a_microsecond_less_is_none() -> None:
    opening_us = parse_instant("2027-01-02T09:00:00+07:00")
    assert first_open_us(opening_us - 366 * DAY_US + 1, closed_for(366)) == opening_us
    with pytest.raises(CalendarError, match=r"no open time in the 366 days from 2026-01-01T02:00:00\+00:00"):
        first_open_us(opening_us - 366 * DAY_US, closed_for(366))


def test_a_year_without_open_time_further_on_is_an_error_too() -> None:
    start_us = parse_instant("2025-12-30T16:00:00+07:00")
    assert due_us(start_us, 9 * HOUR_US, closed_for(400)) == parse_instant("2025-12-31T17:00:00+07:00")
    with pytest.raises(CalendarError, match="366 days from 2025-12-31T10:00:00"):
        due_us(start_us, 9 * HOUR_US + 1, closed_for(400))


@pytest.mark.parametrize("hours", [Hours(weekdays=()), Hours(open_minute=540, close_minute=540)])
def test_hours_that_never_open_are_an_error(hours: Hours) -> None:
    with pytest.raises(CalendarError, match="no open time"):
        first_open_us(at("07 10:00"), Calendar(zone=JAKARTA, hours=hours))


@pytest.mark.parametrize(("opens", "closes"), [(-1, 60), (600, 540), (0, 1441)])
def test_hours_that_no_clock_shows_are_refused(opens: int, closes: int) -> None:
    with pytest.raises(CalendarError, match="expected 0 <= open <= close <= 1440"):
        Hours(open_minute=opens, close_minute=closes)


@pytest.mark.parametrize("weekday", [0, 8])
def test_weekdays_that_do_not_exist_are_refused(weekday: int) -> None:
    with pytest.raises(CalendarError, match="from 1 \\(Monday\\) to 7 \\(Sunday\\)"):
        Hours(weekdays=(1, weekday))


def test_a_pause_without_end_is_an_error_not_a_loop() -> None:
    with pytest.raises(CalendarError, match="a target of 01:00:00 is not reached by 2255-06-05"):
        due_us(at("07 10:00"), HOUR_US, AROUND, [Span(at("07 10:00"), 1 << 60)])


def test_negative_targets_and_legs_out_of_order_are_broken_invariants() -> None:
    with pytest.raises(AssertionError):
        due_us(at("07 10:00"), -1, AROUND)
    with pytest.raises(AssertionError):
        due_us(at("07 10:00"), 1, AROUND, used_us=-1)
    with pytest.raises(AssertionError):
        carried_us([Leg(2, AROUND), Leg(1, AROUND)], 3)

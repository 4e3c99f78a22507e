"""Calendar time: the months a figure is made for, and the business clock that counts open time only (CONTRACT 2.6-2.8).

Every edge of a day or a month is *the first instant at which the local date has been reached*. That is midnight, but
where a clock change skips it (then the change itself), or repeats it (then the first of the two). So days and months
cut time without gap or overlap in any zone, and an hour that reads "31 October" again belongs to November.

Everything here is told its zone and its holidays; nothing asks a database or the process.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Protocol

from monitor.core.instant import DAY_US, format_hms, format_instant, from_datetime, to_datetime
from monitor.core.span import Span, measure_us, subtract, union

FIRST_YEAR = 1900
LAST_YEAR = 2254  # the record's integers end in 2255: 2^53 microseconds (DESIGN, "Entry")

_ONE_DAY = timedelta(days=1)
_DAY_MINUTES = 24 * 60
_WEEK_US = 7 * DAY_US
_LONGEST_CLOSED_US = 366 * DAY_US
_HORIZON_US = 1 << 53
_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
_MONTHS = 12


class MonthError(ValueError):
    """A text or a year and a number that are no month; the message says what was expected."""


class CalendarError(ValueError):
    """Hours that no clock shows, a calendar that never opens, a target out of reach: wrong configuration."""


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month, ordered in time. Which instants it covers depends on a zone: `month_span`."""

    year: int
    month: int

    def __post_init__(self) -> None:
        if not FIRST_YEAR <= self.year <= LAST_YEAR or not 1 <= self.month <= _MONTHS:
            raise MonthError(
                f"year {self.year}, month {self.month} is no month; "
                f"expected years {FIRST_YEAR} to {LAST_YEAR} and months 1 to 12",
            )

    @classmethod
    def parse(cls, text: str) -> Month:
        """The month written as `2026-04`; MonthError otherwise."""
        match = _MONTH.fullmatch(text)
        if match is None:
            raise MonthError(f"{text!r} is no month; expected YYYY-MM, such as 2026-04")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    def next(self) -> Month:
        """The month after it."""
        return Month(self.year + 1, 1) if self.month == _MONTHS else Month(self.year, self.month + 1)

    def previous(self) -> Month:
        """The month before it."""
        return Month(self.year - 1, _MONTHS) if self.month == 1 else Month(self.year, self.month - 1)

    def first_day(self) -> date:
        """Its first date."""
        return date(self.year, self.month, 1)

    def last_day(self) -> date:
        """Its last date."""
        return _after(self) - _ONE_DAY


def month_span(month: Month, zone: tzinfo) -> Span:
    """The instants of a calendar month in `zone`: T of CONTRACT 2.6 is its length, clock changes included."""
    return Span(day_start_us(month.first_day(), zone), day_start_us(_after(month), zone))


def month_of(at_us: int, zone: tzinfo) -> Month:
    """The month whose `month_span` contains the instant; MonthError outside the years that have months."""
    local = to_datetime(at_us, zone)
    month = Month(local.year, local.month)
    # A clock put back over midnight reads the old month again after the new one has begun.
    return month.next() if at_us >= day_start_us(_after(month), zone) else month


def days(month: Month, zone: tzinfo) -> list[tuple[date, Span]]:
    """The days of the month with their instants: they cut `month_span` exactly. A date the zone skipped is left out."""
    dates = [month.first_day() + timedelta(days=n) for n in range((_after(month) - month.first_day()).days)]
    edges = [*(day_start_us(day, zone) for day in dates), day_start_us(_after(month), zone)]
    cut = zip(dates, edges[:-1], edges[1:], strict=True)
    return [(day, Span(start_us, end_us)) for day, start_us, end_us in cut if end_us > start_us]


def claim_deadline_us(month: Month, within_days: int, zone: tzinfo) -> int:
    """The instant from which a claim for `month` is late (exclusive; CONTRACT 2.7).

    In time is up to the end of the `within_days`-th day after the month's last day: January 2026 with 30 days through
    2 March, so 2026-03-03T00:00:00+07:00 in Jakarta.
    """
    assert within_days >= 0, "a claim period is not negative"
    return day_start_us(_after(month) + timedelta(days=within_days), zone)


def deadline_from_us(at_us: int, within_days: int, zone: tzinfo) -> int:
    """The instant from which a claim is late (exclusive) whose period runs from an issue: the end of the
    `within_days`-th day after the day of `at_us`.
    """
    return day_start_us(to_datetime(at_us, zone).date() + timedelta(days=within_days + 1), zone)


def day_start_us(day: date, zone: tzinfo) -> int:
    """The first instant at which the local date has reached `day`: the start of the day, in microseconds UTC."""
    midnight = datetime.combine(day, time.min)
    at_us = _reading_us(midnight, zone)  # where midnight comes twice, the first one
    if to_datetime(at_us, zone).replace(tzinfo=None) == midnight:
        return at_us
    # Skipped: read with the offset after the change, midnight lies before the change; with the one before it, not.
    return _change_us(_reading_us(midnight, zone, fold=1), at_us, zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Business hours on working days: ISO weekdays (1 Monday) and the half-open opening, minutes after midnight.

    Raises CalendarError for what no clock shows. No weekdays, or an opening without length, is a calendar that never
    opens: the clocks refuse it (`first_open_us`).
    """

    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5)
    open_minute: int = 9 * 60
    close_minute: int = 17 * 60

    def __post_init__(self) -> None:
        if not 0 <= self.open_minute <= self.close_minute <= _DAY_MINUTES:
            raise CalendarError(
                f"hours from minute {self.open_minute} to {self.close_minute} are none of one day; "
                "expected 0 <= open <= close <= 1440",
            )
        if not set(self.weekdays) <= set(range(1, 8)):
            raise CalendarError(f"weekdays {self.weekdays} are none; expected numbers from 1 (Monday) to 7 (Sunday)")


class Clock(Protocol):
    """What a target is counted on: business hours (`Calendar`) or the whole week (`AlwaysOpen`)."""

    def open_spans(self, within: Span) -> tuple[Span, ...]:
        """The open time inside `within`: disjoint, ordered, half-open; pauses are not its affair."""

    def provisional(self, start_us: int, due_us: int, pauses: Iterable[Span] = ()) -> bool:
        """Whether a due instant rests on a date whose status is an estimate."""


@dataclass(frozen=True, slots=True)
class AlwaysOpen:
    """The 24x7 clock."""

    def open_spans(self, within: Span) -> tuple[Span, ...]:
        """All of it."""
        return union([within])

    def provisional(self, start_us: int, due_us: int, pauses: Iterable[Span] = ()) -> bool:  # noqa: ARG002 - of the seam
        """Never: holidays do not matter to it."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Business hours in a zone, less public holidays and, where the terms say so, collective leave (CONTRACT 1.3, 2.8).

    `holidays` and `collective_leave` give names by date. `unconfirmed` are the dates whose status is an estimate, be
    they in a table or not (as the working days of a year that has no table yet).

    An instant is open when the zone's clock then reads a time inside the hours on a working day: half-open
    [09:00, 17:00). Where a clock change repeats a part of the hours both passes are open; a part it skips is not there.
    """

    zone: tzinfo
    hours: Hours = field(default_factory=Hours)
    holidays: Mapping[date, str] = field(default_factory=dict)
    collective_leave: Mapping[date, str] = field(default_factory=dict)
    use_collective_leave: bool = False
    unconfirmed: Container[date] = frozenset()

    def free_day(self, day: date) -> str | None:
        """The name of the holiday (or of the collective leave, where it counts) on that date; None on any other."""
        if day in self.holidays:
            return self.holidays[day]
        return self.collective_leave.get(day) if self.use_collective_leave else None

    def open_spans(self, within: Span) -> tuple[Span, ...]:
        """The open time inside `within`: disjoint, ordered, half-open."""
        return self._hours_of(self._dates(within, working=True), within)

    def provisional(self, start_us: int, due_us: int, pauses: Iterable[Span] = ()) -> bool:
        """Whether a due instant rests on an estimated date: its status, if it changed, would move the instant.

        So it does when the hours of such a date, open or not, fall between the start and the due instant (included)
        outside the pauses.
        """
        counted = Span(start_us, due_us + 1)
        return bool(subtract(self._hours_of(self._dates(counted, working=False), counted), pauses))

    def _dates(self, within: Span, *, working: bool) -> Iterator[date]:
        """The dates with hours that may reach into `within`: the working days, or else those of uncertain status.

        One date more on each side: a clock put back over midnight reads it again.
        """
        day = to_datetime(within.start_us, self.zone).date() - _ONE_DAY
        last = to_datetime(within.end_us, self.zone).date() + _ONE_DAY
        while day <= last:
            if day.isoweekday() in self.hours.weekdays and (
                self.free_day(day) is None if working else self._is_estimate(day)
            ):
                yield day
            day += _ONE_DAY

    def _is_estimate(self, day: date) -> bool:
        """Whether the date's status is uncertain and matters: collective leave that is not used does not."""
        ignored = not self.use_collective_leave and day in self.collective_leave and day not in self.holidays
        return day in self.unconfirmed and not ignored

    def _hours_of(self, dates: Iterable[date], within: Span) -> tuple[Span, ...]:
        """The business hours of the given dates, clipped."""
        opening = timedelta(minutes=self.hours.open_minute)
        closing = timedelta(minutes=self.hours.close_minute)
        midnights = (datetime.combine(day, time.min) for day in dates)
        parts = (part for at in midnights for part in _reading_spans(at + opening, at + closing, self.zone))
        return union(part.clip(within) for part in parts)


@dataclass(frozen=True, slots=True)
class Leg:
    """A stretch of an incident's life on one clock: it lasts until the next leg starts (a change of priority)."""

    start_us: int
    clock: Clock


def due_us(start_us: int, target_us: int, clock: Clock, pauses: Iterable[Span] = (), *, used_us: int = 0) -> int:
    """The earliest instant at which `used_us` plus the running time since `start_us` reaches the target (CONTRACT 2.8).

    Running time is open time outside the union of the pauses. Never before the clock first runs at or after the start,
    not even for a target of 0 or one already used up. A target reached at closing time is due at the closing instant.
    A pause that has not ended is handed in up to the instant that is asked about.

    Raises CalendarError when the clock has no open time in 366 days, or the target is not reached by 2255.
    """
    assert target_us >= 0, "a target is not negative"
    assert used_us >= 0, "used time is not negative"
    rest_us = max(0, target_us - used_us)
    for span in _running(start_us, clock, union(pauses)):
        if span.length_us >= rest_us:
            return span.start_us + rest_us
        rest_us -= span.length_us
    raise CalendarError(f"a target of {format_hms(target_us)} is not reached by {format_instant(_HORIZON_US)}")


def escalate_75_us(
    start_us: int,
    target_us: int,
    clock: Clock,
    pauses: Iterable[Span] = (),
    *,
    used_us: int = 0,
) -> int:
    """The due instant of three quarters of the target on the same clock (CONTRACT 2.8, 4.1); errors as `due_us`.

    Three quarters are exact: where they are no whole microsecond, the first one at which they have passed.
    """
    return due_us(start_us, -(-target_us * 3 // 4), clock, pauses, used_us=used_us)


def elapsed_us(start_us: int, at_us: int, clock: Clock, pauses: Iterable[Span] = ()) -> int:
    """The running time in `[start_us, at_us)`: open, and outside the union of the pauses. 0 before the start."""
    if at_us <= start_us:
        return 0
    return measure_us(subtract(clock.open_spans(Span(start_us, at_us)), pauses))


def carried_us(legs: Sequence[Leg], at_us: int, pauses: Iterable[Span] = ()) -> int:
    """The time used up to `at_us` over changes of priority, each leg counted on its own clock (CONTRACT 2.8).

    Legs are in time order. What the last leg takes over is `carried_us(legs[:-1], legs[-1].start_us)`: the `used_us` of
    its `due_us` and `escalate_75_us`.
    """
    starts = [leg.start_us for leg in legs]
    assert starts == sorted(starts), "legs are in time order"
    holes = union(pauses)
    stretches = zip(legs, [*starts[1:], at_us], strict=False)  # without legs there is one end and nothing to end
    return sum(elapsed_us(leg.start_us, min(end_us, at_us), leg.clock, holes) for leg, end_us in stretches)


def first_open_us(at_us: int, clock: Clock) -> int:
    """The first open instant at or after `at_us`; CalendarError when there is none in 366 days (CONTRACT 2.8)."""
    return due_us(at_us, 0, clock)


def _running(start_us: int, clock: Clock, pauses: tuple[Span, ...]) -> Iterator[Span]:
    """The spans in which the clock runs, from the start on, asked for a week at a time."""
    at_us = closed_us = start_us
    while at_us < _HORIZON_US:
        week = Span(at_us, at_us + _WEEK_US)
        opened = clock.open_spans(week)
        if (opened[0].start_us if opened else week.end_us) - closed_us >= _LONGEST_CLOSED_US:
            raise CalendarError(f"the calendar has no open time in the 366 days from {format_instant(closed_us)}")
        if opened:
            closed_us = opened[-1].end_us
        yield from subtract(opened, pauses)
        at_us = week.end_us


def _reading_spans(first: datetime, last: datetime, zone: tzinfo) -> tuple[Span, ...]:
    """The instants at which the zone's clock reads a time in `[first, last)`; one span but where a change falls in."""
    low_us = min(_reading_us(first, zone), _reading_us(first, zone, fold=1))
    high_us = max(_reading_us(last, zone), _reading_us(last, zone, fold=1))
    before_us, after_us = _offset_us(low_us, zone), _offset_us(high_us, zone)
    if before_us == after_us:
        return (Span(low_us, high_us),)
    change_us = _change_us(low_us, high_us, zone)
    opening_us, closing_us = _reading_us(first, UTC), _reading_us(last, UTC)
    return (
        Span(opening_us - before_us, min(closing_us - before_us, change_us)),
        Span(max(opening_us - after_us, change_us), closing_us - after_us),
    )


def _after(month: Month) -> date:
    """The first date after the month."""
    return date(month.year + month.month // _MONTHS, month.month % _MONTHS + 1, 1)


def _reading_us(reading: datetime, zone: tzinfo, fold: int = 0) -> int:
    """The instant of a naive local reading, with PEP 495's meaning of `fold` where it is ambiguous or skipped."""
    return from_datetime(reading.replace(tzinfo=zone, fold=fold))


def _offset_us(at_us: int, zone: tzinfo) -> int:
    """How far the zone's clock is ahead of UTC at the instant."""
    return from_datetime(to_datetime(at_us, zone).replace(tzinfo=UTC)) - at_us


def _change_us(before_us: int, after_us: int, zone: tzinfo) -> int:
    """The first instant in `(before_us, after_us]` whose UTC offset is not the one at `before_us`, by bisection.

    The two offsets differ, and the span is short enough to hold one change.
    """
    offset_us = _offset_us(before_us, zone)
    assert offset_us != _offset_us(after_us, zone), "no clock change between the two"
    while after_us - before_us > 1:
        middle_us = (before_us + after_us) // 2
        if _offset_us(middle_us, zone) == offset_us:
            before_us = middle_us
        else:
            after_us = middle_us
    return after_us

"""A month's account: clipping, the union of exclusions, rulings on unknown time, exact shares (CONTRACT 2.4-2.6)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pytest

from monitor.core.availability import Account, account, elapsed_span, floor_text, percent, rule_on, share_out
from monitor.core.calendar import Month, days, month_span
from monitor.core.exclusion import Excluded, Recorded
from monitor.core.fact import Adjudication, ExclusionReason, Ruling
from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US
from monitor.core.span import Span
from monitor.core.verdict import Verdict, VerdictSpan
from tests.core.examples import WIB, at, span

APRIL = month_span(Month(2026, 4), WIB)
UP, DOWN, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN


def verdicts(*known: tuple[Span, Verdict], within: Span = APRIL) -> list[VerdictSpan]:
    """These spans, UP between them."""
    found, reached = [], within.start_us
    for part, verdict in known:
        if part.start_us > reached:
            found.append(VerdictSpan(reached, part.start_us, UP, 0, 0, 4))
        found.append(VerdictSpan(part.start_us, part.end_us, verdict, 3 if verdict is DOWN else 0, 0, 4))
        reached = part.end_us
    if reached < within.end_us:
        found.append(VerdictSpan(reached, within.end_us, UP, 0, 0, 4))
    return found


def excluded(name: str, part: Span, recorded_us: int = 0) -> Excluded:
    return Excluded(recorded_us, name, ExclusionReason.THIRD_PARTY, part)


def ruling(
    name: str, part: Span, verdict: Ruling, seq: int = 1, recorded_us: int | None = None
) -> Recorded[Adjudication]:
    fact = Adjudication(id=name, service="portal", start_us=part.start_us, end_us=part.end_us, verdict=verdict, at_us=0)
    return Recorded(fact=fact, recorded_us=seq if recorded_us is None else recorded_us, seq=seq)


def april(
    *known: tuple[Span, Verdict],
    off: Sequence[Excluded] = (),
    rulings: Sequence[Recorded[Adjudication]] = (),
    agreed: Sequence[str] = (),
) -> Account:
    return account(verdicts(*known), APRIL, APRIL.end_us, off, rulings, agreed)


def minutes(number: int) -> int:
    return number * MINUTE_US


# The worked figures of CONTRACT 2.10.


@pytest.mark.parametrize(
    ("month", "down_us", "printed"),
    [
        (Month(2026, 4), minutes(2160), "95.000000"),
        (Month(2026, 4), minutes(2160) + 1, "94.999999"),
        (Month(2026, 4), minutes(2160) - 1, "95.000000"),
        (Month(2026, 2), minutes(2050), "94.915674"),
        (Month(2028, 2), minutes(2050), "95.090996"),
    ],
)
def test_worked_months(month: Month, down_us: int, printed: str) -> None:
    period = month_span(month, WIB)
    down = Span(period.start_us, period.start_us + down_us)
    found = account(verdicts((down, DOWN), within=period), period, period.end_us, ())
    assert floor_text(found.availability) == printed
    assert found.availability == Fraction(100 * (period.length_us - down_us), period.length_us)


def test_months_have_28_to_31_days_and_february_29_in_a_leap_year() -> None:
    lengths = [month_span(Month(year, month), WIB).length_us // DAY_US for year, month in ((2026, 2), (2028, 2))]
    assert lengths == [28, 29]
    assert APRIL.length_us == minutes(43_200)


def test_an_outage_over_the_month_s_edge_is_clipped() -> None:
    night = span("2026-01-31T20:00:00", "2026-02-01T03:30:00")
    january, february = month_span(Month(2026, 1), WIB), month_span(Month(2026, 2), WIB)
    both = verdicts((night, DOWN), within=Span(january.start_us, february.end_us))
    assert account(both, january, january.end_us, ()).down_us == minutes(240)
    assert account(both, february, february.end_us, ()).down_us == minutes(210)


def test_the_denominator_is_not_reduced_by_maintenance() -> None:
    down = Span(APRIL.start_us, APRIL.start_us + minutes(2160))
    window = excluded("m-1", span("2026-04-20T00:00:00", "2026-04-20T10:00:00"))
    assert april((down, DOWN), off=[window]).availability == 95


def test_a_window_takes_only_its_part_of_the_outage() -> None:
    outage = span("2026-04-10T22:00:00", "2026-04-11T02:00:00")
    window = excluded("m-1", span("2026-04-10T23:00:00", "2026-04-11T01:00:00"))
    found = april((outage, DOWN), off=[window])
    assert (found.observed_us, found.down_us, found.excluded_us) == (4 * HOUR_US, 2 * HOUR_US, 2 * HOUR_US)
    assert april((outage, DOWN)).down_us == 4 * HOUR_US


def test_an_overrun_counts() -> None:
    outage = span("2026-04-11T01:30:00", "2026-04-11T03:45:00")
    window = excluded("m-1", span("2026-04-11T01:00:00", "2026-04-11T03:00:00"))
    assert april((outage, DOWN), off=[window]).down_us == 2700 * 10**6


def test_unknown_time_is_carried_as_the_worst_case() -> None:
    down = Span(APRIL.start_us, APRIL.start_us + minutes(2100))
    dark = span("2026-04-05T00:00:00", "2026-04-05T01:40:00")
    found = april((down, DOWN), (dark, UNKNOWN))
    assert floor_text(found.availability) == "95.138888"
    assert floor_text(found.worst_case) == "94.907407"
    assert found.coverage == Fraction(100 * (43_200 - 100), 43_200)


# Exclusions.


def test_overlaps_are_never_summed_and_named_by_the_earliest_recorded_then_by_id() -> None:
    outage = Span(0, 100)
    off = [excluded("x-2", Span(10, 40), 5), excluded("x-1", Span(30, 60), 5), excluded("m-1", Span(35, 90), 4)]
    shares = {share.excluded.id: share.spans for share in share_out([outage], off)}
    assert shares == {"m-1": (Span(35, 90),), "x-1": (Span(30, 35),), "x-2": (Span(10, 30),)}
    assert sum(share.seconds_us for share in share_out([outage], off)) == 80


def test_excluded_time_over_up_time_changes_nothing() -> None:
    outage = span("2026-04-10T22:00:00", "2026-04-10T23:00:00")
    window = excluded("m-1", span("2026-04-10T23:00:00", "2026-04-11T01:00:00"))
    found = april((outage, DOWN), off=[window])
    assert found.down_us == HOUR_US
    assert [(share.excluded.id, share.seconds_us) for share in found.shares] == [("m-1", 0)]


def test_decisions_that_do_not_touch_the_month_are_not_listed() -> None:
    assert april(off=[excluded("m-1", Span(APRIL.end_us, APRIL.end_us + 9))]).shares == ()
    assert len(april(off=[excluded("m-1", Span(APRIL.end_us - 1, APRIL.end_us + 9))]).shares) == 1


def test_unknown_time_under_an_exclusion_is_not_in_the_worst_case() -> None:
    dark = span("2026-04-05T00:00:00", "2026-04-05T02:00:00")
    found = april((dark, UNKNOWN), off=[excluded("m-1", span("2026-04-05T01:00:00", "2026-04-05T03:00:00"))])
    assert found.worst_case == percent(APRIL.length_us - HOUR_US, APRIL.length_us)
    assert found.unknown_us == 2 * HOUR_US


# Rulings.

DARK = span("2026-04-05T00:00:00", "2026-04-05T04:00:00")
EARLY, LATE = Span(DARK.start_us, DARK.start_us + HOUR_US), Span(DARK.start_us + HOUR_US, DARK.end_us)


def test_a_ruling_turns_unknown_time_into_up_or_down() -> None:
    found = april((DARK, UNKNOWN), rulings=[ruling("j-1", EARLY, Ruling.UP, 1), ruling("j-2", LATE, Ruling.DOWN, 2)])
    assert (found.unknown_us, found.down_us) == (0, 3 * HOUR_US)
    assert found.worst_case == found.availability
    assert [outage.peak_failing for outage in found.outages] == [0]


def test_down_by_a_ruling_can_be_excluded_too() -> None:
    found = april((DARK, UNKNOWN), off=[excluded("x-1", EARLY)], rulings=[ruling("j-1", DARK, Ruling.DOWN)])
    assert (found.down_us, found.excluded_us) == (3 * HOUR_US, HOUR_US)


def test_a_ruling_speaks_only_for_unknown_time() -> None:
    found = april((EARLY, DOWN), (LATE, UNKNOWN), rulings=[ruling("j-1", DARK, Ruling.UP)])
    assert (found.down_us, found.unknown_us) == (HOUR_US, 0)
    whole = april(rulings=[ruling("j-1", DARK, Ruling.DOWN)])
    assert whole.down_us == 0


def test_of_overlapping_rulings_the_last_recorded_holds() -> None:
    first, last = ruling("j-1", DARK, Ruling.UP, 1), ruling("j-2", EARLY, Ruling.DOWN, 2)
    for order in ([first, last], [last, first]):
        ruled = rule_on([DARK], order, ())
        assert (ruled.up, ruled.down) == ((LATE,), (EARLY,))


def test_imported_rulings_count_by_what_they_say_of_themselves() -> None:
    """In the file j-2 stands first, but it was made later."""
    made_later = ruling("j-2", EARLY, Ruling.DOWN, seq=1, recorded_us=200)
    made_first = ruling("j-1", DARK, Ruling.UP, seq=2, recorded_us=100)
    assert rule_on([DARK], [made_later, made_first], ()).down == (EARLY,)
    at_once = ruling("j-3", DARK, Ruling.UP, seq=3, recorded_us=200)
    assert rule_on([DARK], [made_later, at_once], ()).down == ()


def test_unknown_with_consent_leaves_the_worst_case_and_stays_unknown() -> None:
    agreed = april((DARK, UNKNOWN), rulings=[ruling("j-1", DARK, Ruling.UNKNOWN)], agreed=["j-1"])
    assert agreed.unknown_us == 4 * HOUR_US
    assert agreed.worst_case == 100
    assert agreed.coverage < 100
    alone = april((DARK, UNKNOWN), rulings=[ruling("j-1", DARK, Ruling.UNKNOWN)])
    assert alone.worst_case == percent(APRIL.length_us - 4 * HOUR_US, APRIL.length_us)


def test_a_later_ruling_without_consent_takes_the_consent_back() -> None:
    rulings = [ruling("j-1", DARK, Ruling.UNKNOWN, 1), ruling("j-2", EARLY, Ruling.UNKNOWN, 2)]
    assert rule_on([DARK], rulings, ["j-1"]).agreed_unknown == (LATE,)


# Time that has passed, outages, days.


def test_a_month_in_progress() -> None:
    noon = at("2026-04-16T00:00:00")
    outage = span("2026-04-10T00:00:00", "2026-04-10T12:00:00")
    found = account(verdicts((outage, DOWN)), APRIL, noon, ())
    assert found.elapsed_us == 15 * DAY_US
    assert found.availability == Fraction(100 * (30 * 24 - 12), 30 * 24)
    assert found.to_date == Fraction(100 * (15 * 24 - 12), 15 * 24)
    assert found.up_us == 15 * DAY_US - 12 * HOUR_US


def test_before_the_month_nothing_has_passed() -> None:
    found = account([], APRIL, APRIL.start_us - 1, ())
    assert found.elapsed_us == 0
    assert found.availability == found.to_date == found.coverage == 100
    assert elapsed_span(APRIL, APRIL.end_us + 5) == APRIL


@pytest.mark.parametrize(("now", "is_open"), [("02:59:59", True), ("03:00:00", True), ("03:00:01", False)])
def test_an_outage_is_open_while_it_reaches_to_now(now: str, is_open: bool) -> None:
    outage = span("2026-04-10T01:00:00", "2026-04-10T03:00:00")
    found = account(verdicts((outage, DOWN)), APRIL, at(f"2026-04-10T{now}"), ())
    assert [entry.open for entry in found.outages] == [is_open]


def test_an_outage_that_reaches_the_month_s_end_is_ended_by_it() -> None:
    outage = span("2026-04-30T23:00:00", "2026-05-01T03:00:00")
    within = Span(APRIL.start_us, outage.end_us)
    found = account(verdicts((outage, DOWN), within=within), APRIL, outage.end_us, ())
    assert [(o.span.end_us, o.open) for o in found.outages] == [(APRIL.end_us, False)]


def test_an_outage_knows_its_worst_and_its_own_exclusions() -> None:
    first, second = (
        span("2026-04-10T01:00:00", "2026-04-10T02:00:00"),
        span("2026-04-10T02:00:00", "2026-04-10T03:00:00"),
    )
    known = verdicts((first, DOWN), (second, DOWN))
    known[2] = known[2]._replace(failing=4)
    other = span("2026-04-12T00:00:00", "2026-04-12T01:00:00")
    off = [excluded("x-1", second, 1), excluded("x-2", other, 2)]
    (found,) = account(known, APRIL, APRIL.end_us, off).outages
    assert (found.span.length_us, found.counted_us) == (2 * HOUR_US, HOUR_US)
    assert (found.peak_failing, found.peak_total) == (4, 4)
    assert [share.excluded.id for share in found.shares] == ["x-1"]


def test_the_month_is_the_sum_of_its_days() -> None:
    outages = [(span("2026-04-03T22:00:00", "2026-04-06T05:00:00"), DOWN)]
    outages.append((span("2026-04-29T23:59:59.999999", "2026-04-30T00:00:00.000001"), DOWN))
    off = [excluded("m-1", span("2026-04-04T12:00:00", "2026-04-05T12:00:00"))]
    whole = april(*outages, off=off)
    daily = [account(verdicts(*outages), day, day.end_us, off).down_us for _date, day in days(Month(2026, 4), WIB)]
    assert sum(daily) == whole.down_us == 31 * HOUR_US + 2
    assert len(daily) == 30


@pytest.mark.parametrize(
    ("share", "printed"),
    [
        (Fraction(100), "100.000000"),
        (Fraction(0), "0.000000"),
        (Fraction(94_999_999_999, 10**9), "94.999999"),
        (Fraction(1, 3), "0.333333"),
        (Fraction(2, 3), "0.666666"),
        (Fraction(-1, 3), "-0.333334"),  # floored, also below nothing
    ],
)
def test_a_printed_share_is_floored(share: Fraction, printed: str) -> None:
    assert floor_text(share) == printed


def test_other_numbers_of_decimals() -> None:
    assert floor_text(Fraction(94_999_999, 10**6), 2) == "94.99"

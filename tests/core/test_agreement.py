"""The written form of terms, and which terms and fee a month goes by (CONTRACT 2.6, 7.2)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.agreement import (
    adopted,
    duration_text,
    parse_clock,
    parse_duration,
    parse_percent,
    read_terms,
    subscription_of_month,
    terms_of_month,
    write_terms,
)
from monitor.core.calendar import Hours, Month, month_span
from monitor.core.fact import Claim, Subscribed, TermsAdopted
from monitor.core.instant import DAY_US, HOUR_US
from monitor.core.priority import AGREED_LEVELS, AGREED_TARGETS, Level, Priority, Served, Target
from monitor.core.terms import Agreements, CreditBase, Subscription, Terms, TermsError, Tier
from tests.core.examples import TIERS, WIB, at, rupiah

JANUARY, APRIL, MAY = at("2026-01-01T00:00:00"), at("2026-04-01T00:00:00"), at("2026-05-01T00:00:00")
PERIOD = month_span(Month(2026, 4), WIB)
WRITTEN: dict[str, Any] = {
    "timezone": "Asia/Makassar",
    "guarantee": "99.5%",
    "objective": "99.95%",
    "credits": [{"below": "99.5%", "credit": "10%"}, {"below": "90%", "credit": "25%"}],
    "maintenance_notice": "72h",
    "claim_within": "45d",
    "grace": "36h",
    "credit_base": "service",
    "hours": {"days": ["mon", "tue", "sat"], "open": "08:30", "close": "24:00"},
    "holidays": "none",
    "collective_leave": True,
    "priorities": {
        "P1": {
            "response": "30m",
            "resolution": "4h",
            "hours": "24x7",
            "escalate_at": "50%",
            "level_2_after": "1h",
            "level_3_after": "2h",
        },
        "P2": {
            "response": "4h",
            "resolution": "24h",
            "hours": "business",
            "escalate_at": "75%",
            "level_2_after": None,
            "level_3_after": None,
        },
        "P3": {
            "response": "8h",
            "resolution": None,
            "hours": "business",
            "escalate_at": "75%",
            "level_2_after": None,
            "level_3_after": None,
        },
    },
    "levels": {
        "1": {"owners": ["helpdesk", "duty"], "channels": ["log"]},
        "2": {"owners": ["escalation-manager"], "channels": ["log"]},
        "3": {"owners": ["management"], "channels": ["log"]},
    },
}
READ = Terms(
    contract="mitra",
    effective_from_us=JANUARY,
    zone="Asia/Makassar",
    guarantee=Fraction("99.5"),
    objective=Fraction("99.95"),
    tiers=(Tier(below=Fraction("99.5"), credit=Fraction(10)), Tier(below=Fraction(90), credit=Fraction(25))),
    maintenance_notice_us=72 * HOUR_US,
    claim_within_days=45,
    grace_us=36 * HOUR_US,
    credit_base=CreditBase.SERVICE,
    hours=Hours(weekdays=(1, 2, 6), open_minute=8 * 60 + 30, close_minute=24 * 60),
    holidays="none",
    collective_leave=True,
    priorities={
        **AGREED_TARGETS,
        Priority.P1: Target(
            response_us=HOUR_US // 2,
            resolution_us=4 * HOUR_US,
            hours=Served.AROUND,
            escalate_at=Fraction(50),
            level_2_after_us=HOUR_US,
            level_3_after_us=2 * HOUR_US,
        ),
    },
    levels={**AGREED_LEVELS, 1: Level(owners=("helpdesk", "duty"))},
)


def test_terms_are_read_as_they_are_written() -> None:
    assert read_terms("mitra", JANUARY, WRITTEN) == READ
    assert write_terms(READ) == WRITTEN


def test_what_is_left_out_has_its_default() -> None:
    assert read_terms("mitra", JANUARY, {}) == Terms(contract="mitra", effective_from_us=JANUARY)
    assert read_terms("mitra", JANUARY, {"objective": None}).objective is None
    short = {"response": "1h", "hours": "business"}
    (held,) = {read_terms("mitra", JANUARY, {"priorities": {"P3": short}}).priorities[Priority.P3]}
    assert (held.resolution_us, held.escalate_at) == (None, Fraction(75))
    assert read_terms("mitra", JANUARY, {"levels": {"2": {"owners": ["x"]}}}).levels[2].channels == ("log",)


def test_every_value_of_terms_is_written() -> None:
    plain = Terms(contract="mitra", effective_from_us=JANUARY, tiers=TIERS)
    assert read_terms("mitra", JANUARY, write_terms(plain)) == plain
    assert write_terms(plain)["objective"] is None
    assert write_terms(plain)["maintenance_notice"] == "48h"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("guaranty", "95%", '"guaranty" is unknown'),
        ("timezone", 7, "expected a time zone"),
        ("guarantee", 95, 'did you mean "95%"'),
        ("guarantee", "101%", "no percentage"),
        ("objective", "high", "no percentage"),
        ("credits", {}, "a list of tiers"),
        ("credits", ["10%"], "is no tier"),
        ("credits", [{"below": "95%"}], "is no tier"),
        ("credits", [{"below": "90%", "credit": "10%"}], "leave a hole"),
        ("credits", [{"below": "95%", "credit": "10%"}, {"below": "95%", "credit": "25%"}], "overlap"),
        ("maintenance_notice", 48, "is no duration"),
        ("maintenance_notice", "48", "is no duration"),
        ("claim_within", "36h", "whole days"),
        ("grace", "3 d", "is no duration"),
        ("credit_base", "sum", "expected total or service"),
        ("credit_base", ["total"], "expected total or service"),
        ("hours", "09:00-17:00", "expected"),
        ("hours", {"days": ["mon"], "open": "09:00"}, "expected"),
        ("hours", {"days": [], "open": "09:00", "close": "17:00"}, "days are []"),
        ("hours", {"days": "mon", "open": "09:00", "close": "17:00"}, "days are 'mon'"),
        ("hours", {"days": ["monday"], "open": "09:00", "close": "17:00"}, "expected some of mon"),
        ("hours", {"days": ["mon"], "open": "17:00", "close": "09:00"}, "not after they open"),
        ("hours", {"days": ["mon"], "open": "09:00", "close": "09:00"}, "not after they open"),
        ("hours", {"days": ["mon"], "open": "9:00", "close": "17:00"}, "no time of day"),
        ("hours", {"days": ["mon"], "open": "09:00", "close": "24:30"}, "no time of day"),
        ("holidays", None, "the name of a holiday table"),
        ("collective_leave", "yes", "expected true or false"),
        ("priorities", [], "no mapping by P1, P2, P3"),
        ("priorities", {"P4": {}}, "'P4' is not a priority"),
        ("priorities", {"P1": {"response": "1h"}}, "at least response and hours"),
        ("priorities", {"P1": {"response": "1h", "hours": "always"}}, "at least response and hours"),
        ("priorities", {"P1": {"response": "1", "hours": "24x7"}}, "is no duration"),
        ("priorities", {"P1": {"response": "1h", "hours": "24x7", "escalate_at": "0%"}}, "before the incident"),
        ("priorities", {"P1": {"response": "1h", "hours": "24x7", "escalate": "75%"}}, "not a key of a target"),
        ("levels", {"4": {}}, "'4' is not a level"),
        ("levels", {"1": {"owners": []}}, "expected owners and channels"),
        ("levels", {"1": {"channels": ["log"]}}, "expected owners and channels"),
        ("levels", {"1": {"owners": [""]}}, "expected owners and channels"),
        ("levels", {"1": {"owners": ["x"], "channels": "log"}}, "expected owners and channels"),
        ("levels", {"1": {"owners": ["x"], "phone": "1"}}, "not a key of a level"),
    ],
)
def test_terms_that_cannot_be_read_are_refused_with_the_contract_and_what_was_meant(
    key: str, value: object, said: str
) -> None:
    with pytest.raises(TermsError, match=r"^terms of mitra: ") as caught:
        read_terms("mitra", JANUARY, {key: value})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "duration_us"),
    [("800ms", 800_000), ("10s", 10_000_000), ("5m", 300_000_000), ("48h", 48 * HOUR_US), ("30d", 30 * DAY_US)],
)
def test_durations_have_a_unit(text: str, duration_us: int) -> None:
    assert parse_duration(text) == duration_us


@given(st.integers(0, 10**9))
def test_a_written_duration_reads_as_itself(milliseconds: int) -> None:
    assert parse_duration(duration_text(milliseconds * 1000)) == milliseconds * 1000


def test_what_is_finer_than_a_millisecond_cannot_be_written() -> None:
    assert duration_text(0) == "0h"
    with pytest.raises(TermsError, match="no whole number of milliseconds"):
        duration_text(1)


@pytest.mark.parametrize(
    "text", ["", "95", "95 %", "+95%", "1e2%", "95,5%", "100.1%", None, 95.0, True, "\uff19\uff15%"]
)
def test_what_is_no_percentage(text: object) -> None:
    with pytest.raises(TermsError, match="no percentage"):
        parse_percent(text)


def test_times_of_day() -> None:
    assert [parse_clock(text) for text in ("00:00", "09:00", "23:59", "24:00")] == [0, 540, 1439, 1440]
    with pytest.raises(TermsError, match="no time of day"):
        parse_clock(900)


# What is in force.


def terms(effective_from_us: int, guarantee: int = 95, contract: str = "mitra") -> Terms:
    return Terms(contract=contract, effective_from_us=effective_from_us, guarantee=Fraction(guarantee))


def adopting(effective_from_us: int, guarantee: int, contract: str = "mitra") -> TermsAdopted:
    written = {"guarantee": f"{guarantee}%"}
    return TermsAdopted(contract=contract, effective_from_us=effective_from_us, terms=written)


def subscribed(amount: int, from_us: int | None = None, until_us: int | None = None) -> Subscription:
    return Subscription(
        partner="acme", service="portal", contract="mitra", fee=rupiah(amount), from_us=from_us, until_us=until_us
    )


def test_adopted_terms_hold_from_their_first_instant_the_configured_ones_before() -> None:
    configured = Agreements(terms=(terms(JANUARY, 90), terms(MAY, 91), terms(JANUARY, 80, "other")))
    found = adopted([adopting(APRIL, 95), Claim(partner="a", service="p", month="2026-04", at_us=0)], configured)
    assert [(t.contract, t.guarantee) for t in found.terms] == [
        ("mitra", Fraction(90)),
        ("other", Fraction(80)),
        ("mitra", Fraction(95)),
    ]


def test_without_adopted_terms_the_configuration_s_apply() -> None:
    configured = Agreements(terms=(terms(JANUARY),), subscriptions=(subscribed(1),))
    assert adopted([], configured) == configured


def test_an_adopted_subscription_takes_the_place_of_the_configured_one() -> None:
    fact = Subscribed(partner="acme", service="portal", contract="mitra", fee=rupiah(7), from_us=JANUARY)
    other = Subscription(partner="beta", service="portal", contract="mitra", fee=rupiah(3))
    found = adopted([fact], Agreements(subscriptions=(subscribed(1), other)))
    assert [(s.partner, s.fee.amount) for s in found.subscriptions] == [("beta", Decimal(3)), ("acme", Decimal(7))]


def fee_of_april(*subscriptions: Subscription) -> Decimal | None:
    found = subscription_of_month(Agreements(subscriptions=subscriptions), "acme", "portal", PERIOD)
    return found.fee.amount if found else None


def test_the_fee_is_that_of_the_month_s_first_instant() -> None:
    assert fee_of_april(subscribed(1, None, APRIL), subscribed(2, APRIL, None)) == 2
    assert fee_of_april(subscribed(1, None, APRIL + 1), subscribed(2, APRIL + 1, None)) == 1


def test_a_subscription_begun_within_the_month_gives_its_first_fee() -> None:
    first, second = subscribed(1, APRIL + DAY_US, APRIL + 2 * DAY_US), subscribed(2, APRIL + 2 * DAY_US)
    assert fee_of_april(second, first) == 1


def test_there_is_none_for_a_month_wholly_outside_a_subscription() -> None:
    assert fee_of_april(subscribed(1, None, APRIL)) is None
    assert fee_of_april(subscribed(1, MAY, None)) is None
    assert fee_of_april() is None
    assert fee_of_april(subscribed(1, MAY - 1, None)) == 1


def guarantee_of_april(*versions: Terms) -> Fraction | None:
    found = terms_of_month(Agreements(terms=versions), "mitra", PERIOD)
    return found.guarantee if found else None


def test_a_month_is_judged_by_the_terms_in_force_at_its_start() -> None:
    assert guarantee_of_april(terms(JANUARY, 90), terms(APRIL, 95), terms(APRIL + 1, 99)) == 95
    assert guarantee_of_april(terms(JANUARY, 90), terms(APRIL + 1, 99)) == 90


def test_the_first_terms_may_come_into_force_within_the_month() -> None:
    assert guarantee_of_april(terms(APRIL + 9, 91), terms(APRIL + 5, 92), terms(MAY, 93)) == 92
    assert guarantee_of_april(terms(MAY, 93)) is None
    assert guarantee_of_april(terms(JANUARY, 90, "other")) is None

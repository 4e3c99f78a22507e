"""Terms, fees and subscriptions: which tiers are refused, and what is in force when (CONTRACT 2.6, 7.2)."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.core.calendar import Hours
from monitor.core.instant import DAY_US, HOUR_US, parse_instant
from monitor.core.terms import (
    Agreements,
    CreditBase,
    Fee,
    Subscription,
    Terms,
    TermsError,
    Tier,
    check_tiers,
    percent_text,
    terms_in_force,
)

GUARANTEE = Fraction(95)
FEE = Fee(currency="IDR", amount=Decimal(5_000_000))
JANUARY, FEBRUARY, MARCH = (parse_instant(f"2026-{month:02d}-01T00:00:00+07:00") for month in (1, 2, 3))


def tiers(*pairs: tuple[object, object]) -> list[Tier]:
    return [Tier(below=Fraction(str(below)), credit=Fraction(str(credit))) for below, credit in pairs]


def terms(contract: str, effective_from_us: int, guarantee: Fraction = GUARANTEE) -> Terms:
    return Terms(contract=contract, effective_from_us=effective_from_us, guarantee=guarantee)


def subscription(partner: str, service: str, from_us: int | None = None, until_us: int | None = None) -> Subscription:
    return Subscription(
        partner=partner,
        service=service,
        contract="standard",
        fee=FEE,
        from_us=from_us,
        until_us=until_us,
    )


def test_terms_start_from_the_agreement_s_own_figures() -> None:
    agreed = Terms(contract="standard", effective_from_us=JANUARY)
    assert agreed.guarantee == Fraction(95)
    assert agreed.objective is None
    assert agreed.zone == "Asia/Jakarta"
    assert agreed.maintenance_notice_us == 48 * HOUR_US
    assert agreed.claim_within_days == 30
    assert agreed.grace_us == 3 * DAY_US
    assert agreed.credit_base is CreditBase.TOTAL
    assert agreed.hours == Hours(weekdays=(1, 2, 3, 4, 5), open_minute=9 * 60, close_minute=17 * 60)
    assert not agreed.collective_leave


def test_terms_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        terms("standard", JANUARY).guarantee = Fraction(90)  # type: ignore[misc]


@pytest.mark.parametrize(
    "accepted",
    [
        [],
        tiers((95, 10)),
        tiers((95, 10), (90, 25), (85, 50)),
        tiers((95, 10), (90, 10)),
        tiers((95, 0), ("0.001", 100)),
    ],
)
def test_tiers_that_can_be_judged_by(accepted: list[Tier]) -> None:
    check_tiers(accepted, GUARANTEE)


def test_a_guarantee_of_everything_may_have_tiers() -> None:
    check_tiers(tiers((100, 10)), Fraction(100))


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (tiers((0, 10)), r"tier below 0: bounds lie in \(0, 100\], credits in \[0, 100\]"),
        (tiers((-5, 10)), "tier below -5: bounds lie"),
        (tiers(("100.5", 10)), r"tier below 100\.5: bounds lie"),
        (tiers((95, -1)), "tier below 95: bounds lie"),
        (tiers((95, "100.1")), "tier below 95: bounds lie"),
        (tiers((95, 10), (90, 200)), "tier below 90: bounds lie"),
        (tiers((95, 10), (95, 25)), "tiers overlap: below 95 stands after below 95"),
        (tiers((90, 10), (95, 25)), "tiers overlap: below 95 stands after below 90"),
        (tiers((95, 25), (90, 10)), "tier below 90 pays less than the one above it"),
        (tiers((90, 10), (85, 25)), "tiers leave a hole: the highest is below 90, the guarantee is 95"),
        (tiers(("99.9", 10), (90, 25)), r"the highest is below 99\.9, the guarantee is 95"),
    ],
)
def test_tiers_that_cannot_be_judged_by_are_refused_with_the_bound(refused: list[Tier], message: str) -> None:
    with pytest.raises(TermsError, match=message):
        check_tiers(refused, GUARANTEE)


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 100)), min_size=1, max_size=5))
def test_accepted_tiers_give_every_availability_under_the_guarantee_one_credit(pairs: list[tuple[int, int]]) -> None:
    drawn = tiers(*pairs)
    bounds, credits_ = [tier.below for tier in drawn], [tier.credit for tier in drawn]
    sound = bounds == sorted(set(bounds), reverse=True) and credits_ == sorted(credits_)
    if sound:
        check_tiers(drawn, bounds[0])
    else:
        with pytest.raises(TermsError):
            check_tiers(drawn, bounds[0])


@pytest.mark.parametrize(
    ("percent", "text"),
    [
        (Fraction(95), "95"),
        (Fraction(100), "100"),
        (Fraction(0), "0"),
        (Fraction("99.9"), "99.9"),
        (Fraction("99.999"), "99.999"),
        (Fraction("0.05"), "0.05"),
        (Fraction("0.0000001"), "0.0000001"),  # never 1E-7
        (Fraction(-5, 2), "-2.5"),
        (Fraction(200, 3), "200/3"),
    ],
)
def test_percentages_read_as_in_a_contract(percent: Fraction, text: str) -> None:
    assert percent_text(percent) == text


@given(st.decimals(-1000, 1000, places=9) | st.integers(-1000, 1000).map(Decimal))
def test_a_written_percentage_is_exact(percent: Decimal) -> None:
    text = percent_text(Fraction(percent))
    assert Fraction(text) == Fraction(percent)
    assert "." not in text or text[-1] not in "0."


@given(st.fractions())
@example(Fraction(10**28 + 1))
@example(Fraction(-1, 8))
def test_any_fraction_is_written_exactly(percent: Fraction) -> None:
    assert Fraction(percent_text(percent.limit_denominator(10**6))) == percent.limit_denominator(10**6)


def test_a_fee_knows_the_unit_its_currency_is_paid_in() -> None:
    assert FEE.unit == Decimal(1)
    assert Fee(currency="JPY", amount=Decimal(1)).unit == Decimal(1)
    assert str(Fee(currency="USD", amount=Decimal(1)).unit) == "0.01"


def test_the_version_in_force_is_the_latest_that_has_begun() -> None:
    first, second = terms("standard", JANUARY), terms("standard", MARCH, guarantee=Fraction(99))
    other = terms("gold", FEBRUARY)
    for versions in ([first, second, other], [other, second, first]):
        assert terms_in_force(versions, "standard", JANUARY - 1) is None
        assert terms_in_force(versions, "standard", JANUARY) is first
        assert terms_in_force(versions, "standard", MARCH - 1) is first
        assert terms_in_force(versions, "standard", MARCH) is second
        assert terms_in_force(versions, "gold", MARCH) is other
        assert terms_in_force(versions, "silver", MARCH) is None


def test_of_two_versions_of_one_instant_the_later_recorded_holds() -> None:
    first, correction = terms("standard", JANUARY), terms("standard", JANUARY, guarantee=Fraction(99))
    assert terms_in_force(iter([first, correction]), "standard", JANUARY) is correction
    assert terms_in_force([correction, first], "standard", JANUARY) is first


def test_names_are_shown_where_there_are_any() -> None:
    agreements = Agreements(
        service_names=(("core", "Core API"),),
        partner_names=(("mitra-a", "PT Mitra A"),),
    )
    assert agreements.service_name("core") == "Core API"
    assert agreements.service_name("portal") == "portal"
    assert agreements.partner_name("mitra-a") == "PT Mitra A"
    assert agreements.partner_name("core") == "core"


def test_a_subscription_is_in_force_from_its_start_until_before_its_end() -> None:
    agreements = Agreements(subscriptions=(subscription("a", "core", JANUARY, MARCH),))
    assert agreements.subscription("a", "core", JANUARY - 1) is None
    assert agreements.subscription("a", "core", JANUARY) is agreements.subscriptions[0]
    assert agreements.subscription("a", "core", MARCH - 1) is agreements.subscriptions[0]
    assert agreements.subscription("a", "core", MARCH) is None
    assert agreements.subscription("b", "core", JANUARY) is None
    assert agreements.subscription("a", "portal", JANUARY) is None


def test_a_subscription_without_bounds_is_always_in_force_and_the_last_one_holds() -> None:
    always, dearer = subscription("a", "core"), subscription("a", "core", FEBRUARY)
    agreements = Agreements(subscriptions=(always, dearer))
    assert agreements.subscription("a", "core", 0) is always
    assert agreements.subscription("a", "core", FEBRUARY) is dearer
    assert Agreements(subscriptions=(dearer, always)).subscription("a", "core", FEBRUARY) is always


def test_pairs_name_each_partner_and_service_once() -> None:
    agreements = Agreements(
        subscriptions=(
            subscription("b", "core"),
            subscription("a", "portal"),
            subscription("a", "core", None, FEBRUARY),
            subscription("a", "core", FEBRUARY),
        ),
    )
    assert agreements.pairs() == (("a", "core"), ("a", "portal"), ("b", "core"))
    assert Agreements().pairs() == ()

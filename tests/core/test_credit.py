"""From an exact availability to whole rupiah: tiers are half-open, rounding is half-up (CONTRACT 2.6)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from monitor.core.credit import credit_of, credit_percent, share_of, tier_of
from monitor.core.terms import Fee
from tests.core.examples import TIERS, rupiah

TINY = Fraction(100, 30 * 86_400 * 10**6)  # one microsecond of a month of 30 days, in percent


@pytest.mark.parametrize(
    ("availability", "percent"),
    [
        (Fraction(100), 0),
        (95 + TINY, 0),
        (Fraction(95), 0),  # exactly 95 earns nothing
        (95 - TINY, 10),
        (90 + TINY, 10),
        (Fraction(90), 10),  # exactly 90 is still the first tier
        (90 - TINY, 25),
        (Fraction(85), 25),
        (85 - TINY, 50),
        (Fraction(0), 50),
    ],
)
def test_the_tiers_at_their_bounds(availability: Fraction, percent: int) -> None:
    assert credit_percent(availability, TIERS) == percent


def test_a_tier_is_named_by_its_bound() -> None:
    assert tier_of(Fraction(95), TIERS) is None
    assert tier_of(Fraction(89), TIERS) is TIERS[1]
    assert credit_percent(Fraction(0), ()) == 0


@pytest.mark.parametrize(
    ("fee", "percent", "amount"),
    [
        (12_500_000, Fraction(10), "1250000"),
        (5, Fraction(10), "1"),  # half a rupiah goes up
        (15, Fraction(10), "2"),  # and not to the even one
        (4, Fraction(10), "0"),
        (25, Fraction(10), "3"),
        (2, Fraction(25), "1"),
        (1, Fraction(25), "0"),
        (1, Fraction(50), "1"),
        (3, Fraction(50), "2"),
        (0, Fraction(50), "0"),
        (10**15 + 5, Fraction(10), "100000000000001"),
        (999_999_999_999_999, Fraction(1, 3), "3333333333333"),
    ],
)
def test_a_credit_is_rounded_half_up_to_whole_rupiah(fee: int, percent: Fraction, amount: str) -> None:
    assert format(share_of(rupiah(fee), percent), "f") == amount


@pytest.mark.parametrize(
    ("currency", "fee", "amount"),
    [
        ("USD", "10.05", "1.01"),
        ("USD", "10.04", "1.00"),
        ("JPY", "105", "11"),
        ("XYZ", "0.05", "0.01"),
        ("KWD", "1.005", "0.101"),
        ("KWD", "1.004", "0.100"),
        ("CLP", "5", "1"),
        ("XPF", "4", "0"),
    ],
)
def test_other_currencies_round_to_their_own_unit(currency: str, fee: str, amount: str) -> None:
    assert format(share_of(Fee(currency=currency, amount=Decimal(fee)), Fraction(10)), "f") == amount


def test_a_credit_says_what_it_is_a_share_of() -> None:
    credit = credit_of(Fraction(89), TIERS, rupiah(12_500_000))
    assert (credit.percent, credit.fee, credit.amount) == (Fraction(25), rupiah(12_500_000), Decimal(3_125_000))
    assert credit_of(Fraction(99), TIERS, rupiah(1)).amount == 0

"""From an availability to an amount of money (CONTRACT 2.6). Exact fractions and decimals; nothing is a float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from monitor.core.terms import HUNDRED, Fee, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What is owed: `percent` of `fee`, rounded half-up to the currency's unit."""

    percent: Fraction
    fee: Fee
    amount: Decimal


def tier_of(availability: Fraction, tiers: Sequence[Tier]) -> Tier | None:
    """The tier an exact availability (percent) falls into, None at or above the highest bound.

    Half-open: availability < bound belongs to the tier, down to the next bound, which is in it. `tiers` are ordered
    from the highest bound to the lowest.
    """
    found: Tier | None = None
    for tier in tiers:
        if availability < tier.below:
            found = tier
    return found


def credit_percent(availability: Fraction, tiers: Sequence[Tier]) -> Fraction:
    """The share of the fee owed, in percent; 0 where no tier applies."""
    tier = tier_of(availability, tiers)
    return tier.credit if tier else Fraction(0)


def credit_of(availability: Fraction, tiers: Sequence[Tier], fee: Fee) -> Credit:
    """The credit on `fee` for a month of this availability."""
    owed = credit_percent(availability, tiers)
    return Credit(percent=owed, fee=fee, amount=share_of(fee, owed))


def share_of(fee: Fee, share: Fraction) -> Decimal:
    """`share` percent of the fee, rounded half-up to the currency's unit (IDR: 1)."""
    exact = Fraction(fee.amount) * share / HUNDRED / Fraction(fee.unit)
    units = (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
    return Decimal(units) * fee.unit

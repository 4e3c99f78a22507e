"""Terms of the agreement, subscriptions and fees, and which of them are in force (CONTRACT 2.6, 7.2)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from monitor.core.calendar import Hours
from monitor.core.instant import DAY_US, HOUR_US
from monitor.core.priority import AGREED_LEVELS, AGREED_TARGETS, Level, Priority, Target

HUNDRED = Fraction(100)
# ISO 4217 where a currency has no hundredths, and the rupiah, which the contract counts in whole ones (CONTRACT 2.6).
CURRENCY_UNITS = {
    **dict.fromkeys(("CLP", "IDR", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), Decimal(1)),
    **dict.fromkeys(("BIF", "DJF", "GNF", "KMF", "RWF"), Decimal(1)),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), Decimal("0.001")),
}
DEFAULT_UNIT = Decimal("0.01")


class CreditBase(enum.StrEnum):
    """What the credit is a share of: the partner's total monthly fee, or each service's own."""

    TOTAL = "total"
    SERVICE = "service"


class TermsError(ValueError):
    """Terms that cannot be judged by: tiers that overlap or leave a hole, a share out of range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Availability under `below` (percent) earns `credit` (percent of the fee), down to the next tier."""

    below: Fraction
    credit: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One version of an agreement's terms, in force from `effective_from_us`.

    `priorities` are the targets of incidents, `levels` whom an escalation is addressed to (CONTRACT 2.1, 4.2).
    Percentages are exact fractions of 100. `tiers` are ordered from the highest `below` to the lowest. `zone` is the
    IANA name of the contract's time zone. `grace_us` is how long after a month's end it may close.
    """

    contract: str
    effective_from_us: int
    zone: str = "Asia/Jakarta"
    guarantee: Fraction = Fraction(95)
    objective: Fraction | None = None
    tiers: tuple[Tier, ...] = ()
    maintenance_notice_us: int = 48 * HOUR_US
    claim_within_days: int = 30
    grace_us: int = 3 * DAY_US
    credit_base: CreditBase = CreditBase.TOTAL
    hours: Hours = field(default_factory=Hours)
    holidays: str = "id"
    collective_leave: bool = False
    priorities: Mapping[Priority, Target] = field(default_factory=lambda: AGREED_TARGETS)
    levels: Mapping[int, Level] = field(default_factory=lambda: AGREED_LEVELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fee:
    """A monthly fee: never an amount without its currency."""

    currency: str
    amount: Decimal

    @property
    def unit(self) -> Decimal:
        """The smallest amount the currency is paid in; a credit is rounded to it."""
        return CURRENCY_UNITS.get(self.currency, DEFAULT_UNIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A partner's subscription of a service under a contract, at a fee, over `[from_us, until_us)`.

    None stands for always and for ever. A change of the fee is a subscription of its own from that instant.
    """

    partner: str
    service: str
    contract: str
    fee: Fee
    from_us: int | None = None
    until_us: int | None = None


def check_tiers(tiers: Sequence[Tier], guarantee: Fraction) -> None:
    """Refuse tiers that overlap, leave a hole under the guarantee, or pay less for worse (CONTRACT 2.6).

    Written as `below` bounds, tiers cannot overlap but by repeating a bound; the hole to refuse is one between the
    guarantee and the highest bound. Raises TermsError naming the bound.
    """
    for tier in tiers:
        if not 0 < tier.below <= HUNDRED or not 0 <= tier.credit <= HUNDRED:
            msg = f"tier below {percent_text(tier.below)}: bounds lie in (0, 100], credits in [0, 100]"
            raise TermsError(msg)
    for upper, lower in pairwise(tiers):
        if lower.below >= upper.below:
            msg = f"tiers overlap: below {percent_text(lower.below)} stands after below {percent_text(upper.below)}"
            raise TermsError(msg)
        if lower.credit < upper.credit:
            msg = f"tier below {percent_text(lower.below)} pays less than the one above it"
            raise TermsError(msg)
    if tiers and tiers[0].below != guarantee:
        msg = (
            f"tiers leave a hole: the highest is below {percent_text(tiers[0].below)}, "
            f"the guarantee is {percent_text(guarantee)}"
        )
        raise TermsError(msg)


def percent_text(percent: Fraction) -> str:
    """An exact percentage as written in a contract: 95, 99.9, 99.999; a fraction where it has no finite decimals."""
    denominator, places = percent.denominator, 0
    for prime in (2, 5):
        power = 0
        while denominator % prime == 0:
            denominator //= prime
            power += 1
        places = max(places, power)
    if denominator != 1:
        return f"{percent.numerator}/{percent.denominator}"
    # As many decimals as it has, by whole numbers: a Decimal would round what is longer than its context.
    digits = str(abs(percent.numerator) * 10**places // percent.denominator).rjust(places + 1, "0")
    whole, decimals = digits[: len(digits) - places], digits[len(digits) - places :]
    sign = "-" if percent < 0 else ""
    return f"{sign}{whole}.{decimals}" if places else f"{sign}{whole}"


def terms_in_force(versions: Iterable[Terms], contract: str, at_us: int) -> Terms | None:
    """The version of `contract` in force at `at_us`: the one with the latest effective instant not after it.

    Of two with one effective instant the later in the sequence holds. None where none is in force yet.
    """
    best: Terms | None = None
    for terms in versions:
        applies = terms.contract == contract and terms.effective_from_us <= at_us
        if applies and (best is None or terms.effective_from_us >= best.effective_from_us):
            best = terms
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreements:
    """Everything the figures need to know of who owes what to whom: adopted facts, or the configuration's where
    the ledger holds none. Names are for display only.
    """

    terms: tuple[Terms, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    service_names: tuple[tuple[str, str], ...] = ()
    partner_names: tuple[tuple[str, str], ...] = ()
    _by_pair: dict[tuple[str, str], tuple[Subscription, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the subscriptions by what is asked of them: a thousand services ask each for its own."""
        found: dict[tuple[str, str], tuple[Subscription, ...]] = {}
        for entry in self.subscriptions:
            pair = (entry.partner, entry.service)
            found[pair] = (*found.get(pair, ()), entry)
        object.__setattr__(self, "_by_pair", dict(sorted(found.items())))

    def service_name(self, service: str) -> str:
        """The display name, or the id where there is none."""
        return dict(self.service_names).get(service, service)

    def partner_name(self, partner: str) -> str:
        """The display name, or the id where there is none."""
        return dict(self.partner_names).get(partner, partner)

    def subscription(self, partner: str, service: str, at_us: int) -> Subscription | None:
        """The subscription in force at `at_us`; of several the last in the sequence."""
        found: Subscription | None = None
        for entry in self.subscribed(partner, service):
            begun = entry.from_us is None or entry.from_us <= at_us
            if begun and (entry.until_us is None or at_us < entry.until_us):
                found = entry
        return found

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every (partner, service) that was ever subscribed, sorted."""
        return tuple(self._by_pair)

    def subscribed(self, partner: str, service: str) -> tuple[Subscription, ...]:
        """Every subscription of a partner to a service, in their sequence."""
        return self._by_pair.get((partner, service), ())

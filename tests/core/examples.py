"""The agreement's own figures and small builders that the tests of the core share."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from monitor.core.instant import parse_instant
from monitor.core.span import Span
from monitor.core.terms import Fee, Subscription, Terms, Tier

WIB = ZoneInfo("Asia/Jakarta")
TIERS = (
    Tier(below=Fraction(95), credit=Fraction(10)),
    Tier(below=Fraction(90), credit=Fraction(25)),
    Tier(below=Fraction(85), credit=Fraction(50)),
)


def at(text: str) -> int:
    """The instant of `2026-04-01T00:00:00`, in WIB where no offset is given."""
    return parse_instant(text if text[-6] in "+-" or text.endswith("Z") else text + "+07:00")


def span(start: str, end: str) -> Span:
    return Span(at(start), at(end))


def rupiah(amount: int | str) -> Fee:
    return Fee(currency="IDR", amount=Decimal(amount))


def terms(objective: str | None = "99.9") -> Terms:
    return Terms(
        contract="mitra",
        effective_from_us=at("2020-01-01T00:00:00"),
        tiers=TIERS,
        objective=None if objective is None else Fraction(objective),
    )


def subscription(fee: Fee | None = None) -> Subscription:
    return Subscription(partner="acme", service="portal", contract="mitra", fee=fee or rupiah(12_500_000))

"""A partner's credit over all its services: the contract's credit base (CONTRACT 2.6)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from monitor.core.availability import account
from monitor.core.calendar import Month, month_span
from monitor.core.creditnote import note_parts
from monitor.core.instant import HOUR_US
from monitor.core.month import Figures
from monitor.core.terms import CreditBase, Fee
from monitor.core.verdict import Verdict, VerdictSpan
from tests.core.examples import WIB, rupiah, subscription, terms

APRIL = month_span(Month(2026, 4), WIB)


def figures(service: str, down_hours: int, fee: Fee, base: CreditBase, contract: str = "mitra") -> Figures:
    edge_us = APRIL.start_us + down_hours * HOUR_US
    verdicts = [
        VerdictSpan(APRIL.start_us, edge_us, Verdict.DOWN, 1, 0, 1),
        VerdictSpan(edge_us, APRIL.end_us, Verdict.UP, 0, 0, 1),
    ]
    return Figures(
        month=Month(2026, 4),
        partner="acme",
        service=service,
        terms=replace(terms(), credit_base=base, contract=contract),
        subscription=replace(subscription(fee), service=service, contract=contract),
        account=account(verdicts, APRIL, APRIL.end_us, ()),
        rejected=(),
    )


def test_total_takes_the_highest_tier_once_on_the_sum_of_the_fees() -> None:
    portal = figures("portal", 37, rupiah(10_000_005), CreditBase.TOTAL)  # 94.861111 %: 10 %
    api = figures("api", 80, rupiah(5_000_000), CreditBase.TOTAL)  # 88.888888 %: 25 %
    docs = figures("docs", 0, rupiah(1_000_000), CreditBase.TOTAL)
    (part,) = note_parts([portal, api, docs])
    assert (part.base, part.percent) == (CreditBase.TOTAL, Fraction(25))
    assert part.fee == rupiah(16_000_005)
    assert part.amount == Decimal(4_000_001)  # 4,000,001.25
    assert part.lines == (portal, api, docs)


def test_service_adds_up_what_each_earns_by_itself() -> None:
    portal = figures("portal", 37, rupiah(10_000_005), CreditBase.SERVICE)
    api = figures("api", 80, rupiah(5_000_000), CreditBase.SERVICE)
    docs = figures("docs", 0, rupiah(1_000_000), CreditBase.SERVICE)
    (part,) = note_parts([portal, api, docs])
    assert (part.base, part.percent) == (CreditBase.SERVICE, None)
    assert part.amount == Decimal(1_000_001 + 1_250_000)  # 1,000,000.5 half-up, and a quarter of five million
    assert part.fee == rupiah(16_000_005)


def test_contracts_and_currencies_are_not_mixed() -> None:
    dollars = Fee(currency="USD", amount=Decimal("100.10"))
    parts = note_parts(
        [
            figures("portal", 37, rupiah(1000), CreditBase.TOTAL),
            figures("api", 200, dollars, CreditBase.TOTAL),
            figures("docs", 37, rupiah(500), CreditBase.SERVICE, contract="addendum"),
        ],
    )
    assert [(part.contract, part.fee.currency, part.amount) for part in parts] == [
        ("addendum", "IDR", Decimal(50)),
        ("mitra", "IDR", Decimal(100)),
        ("mitra", "USD", Decimal("50.05")),
    ]


def test_of_no_services_there_is_no_part() -> None:
    assert note_parts([]) == ()

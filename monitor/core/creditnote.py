"""What a partner is credited for a month over all its services: the contract's `credit_base` (CONTRACT 2.6).

`total` takes the highest tier among the services once, on the sum of their fees; `service` each service's own tier on
its own fee. Services under different contracts, or with fees in different currencies, make parts of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from monitor.core.credit import Credit, share_of
from monitor.core.month import Figures
from monitor.core.terms import CreditBase, Fee


@dataclass(frozen=True, slots=True, kw_only=True)
class NotePart:
    """The services of one contract in one currency, and what is credited for them.

    `percent` is the share of `fee` owed under `total`; None under `service`, where each line has its own.
    """

    contract: str
    base: CreditBase
    fee: Fee
    percent: Fraction | None
    amount: Decimal
    lines: tuple[Figures, ...]


def note_parts(months: Iterable[Figures]) -> tuple[NotePart, ...]:
    """The parts of a partner's credit note for a month, from the figures of its services, ordered by contract."""
    together: dict[tuple[str, str], list[Figures]] = {}
    for figures in months:
        together.setdefault((figures.terms.contract, figures.subscription.fee.currency), []).append(figures)
    return tuple(_part(lines) for _key, lines in sorted(together.items(), key=lambda item: item[0]))


def _part(lines: Sequence[Figures]) -> NotePart:
    owed = [figures.credit for figures in lines]
    fee = Fee(currency=owed[0].fee.currency, amount=sum((credit.fee.amount for credit in owed), Decimal(0)))
    base = lines[0].terms.credit_base
    percent = max(credit.percent for credit in owed) if base is CreditBase.TOTAL else None
    return NotePart(
        contract=lines[0].terms.contract,
        base=base,
        fee=fee,
        percent=percent,
        amount=_own(owed) if percent is None else share_of(fee, percent),
        lines=tuple(lines),
    )


def _own(owed: Sequence[Credit]) -> Decimal:
    """Each service's credit, already rounded, added up."""
    return sum((credit.amount for credit in owed), Decimal(0))

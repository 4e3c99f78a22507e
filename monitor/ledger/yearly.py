"""The yearly review of the agreement (SLA 7.1): every month of a year for each partner and service, and their sums.

Each month is its newest statement; months that have not begun, or lie outside a subscription, are not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from monitor.core.availability import floor_text, percent
from monitor.core.calendar import Month
from monitor.core.instant import format_seconds
from monitor.core.span import Span
from monitor.core.terms import percent_text
from monitor.ledger.incidents.view import review
from monitor.ledger.month import Months, Statement

SCHEMA = "jaga-yearly/1"
_MONTHS = 12

# (months read, months in all)
Progress = Callable[[int, int], None]


def yearly(
    months: Months,
    year: int,
    partner: str | None = None,
    service: str | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The review of `year`, of all partners and services or of those named, as one JSON object."""
    by_pair: dict[tuple[str, str], list[Statement]] = {}
    for number in range(1, _MONTHS + 1):
        for statement in _begun(months, Month(year, number), partner, service):
            key = (statement.figures.partner, statement.figures.service)
            by_pair.setdefault(key, []).append(statement)
        if progress is not None:
            progress(number, _MONTHS)
    return {
        "schema": SCHEMA,
        "year": year,
        "reviews": [
            _review(months, statements) for _pair, statements in sorted(by_pair.items(), key=lambda item: item[0])
        ],
    }


def _begun(months: Months, month: Month, partner: str | None, service: str | None) -> Iterator[Statement]:
    for statement in months.statements(month, partner, service):
        if statement.figures.account.period.start_us < months.now_us:
            yield statement


def _review(months: Months, statements: Sequence[Statement]) -> dict[str, Any]:
    first = statements[0].document
    begun, last = statements[0].ground, statements[-1].ground
    year = Span(begun.period.start_us, last.period.end_us)
    return {
        "partner": first["partner"],
        "service": first["service"],
        "months": [_month(statement) for statement in statements],
        "year": _sums(statements),
        "excluded": _excluded(statements),
        "incidents": review(months.record, months.basis, begun.partner, begun.service, year, months.now_us),
        "terms": _terms(statements),
    }


def _month(statement: Statement) -> dict[str, Any]:
    document = statement.document
    taken = ("version", "status", "worst_case", "coverage", "downtime", "guarantee", "objective", "credit", "restates")
    return {
        "month": document["period"]["month"],
        "statement": document["statement"],
        "availability": {"percent": document["availability"]["percent"]},
        **{name: document[name] for name in taken},
        "outages": len(document["outages"]),
        "claim": document["claim"]["status"],
        "digest": document["digest"],
    }


def _sums(statements: Sequence[Statement]) -> dict[str, Any]:
    """The year as a whole, for information: the agreement judges months."""
    accounts = [statement.figures.account for statement in statements]
    total_us, down_us = sum(a.total_us for a in accounts), sum(a.down_us for a in accounts)
    credited: dict[str, Decimal] = {}
    for statement in statements:
        credit = statement.figures.credit
        credited[credit.fee.currency] = credited.get(credit.fee.currency, Decimal(0)) + credit.amount
    return {
        "months": len(statements),
        "missed": sum(not statement.figures.guarantee_met for statement in statements),
        "availability": {"percent": floor_text(percent(total_us - down_us, total_us))},
        "downtime": {
            "seconds": format_seconds(down_us),
            "excluded_seconds": format_seconds(sum(a.excluded_us for a in accounts)),
        },
        "unknown_seconds": format_seconds(sum(a.unknown_us for a in accounts)),
        "outages": sum(len(a.outages) for a in accounts),
        "longest_outage_seconds": format_seconds(
            max((outage.span.length_us for a in accounts for outage in a.outages), default=0),
        ),
        "credits": [{"currency": name, "amount": format(amount, "f")} for name, amount in sorted(credited.items())],
    }


def _excluded(statements: Sequence[Statement]) -> list[dict[str, str]]:
    """Excluded time by reason, over the year."""
    by_reason: Counter[str] = Counter()
    for statement in statements:
        for share in statement.figures.account.shares:
            by_reason[share.excluded.reason.value] += share.seconds_us
    return [{"reason": name, "seconds": format_seconds(us)} for name, us in sorted(by_reason.items()) if us]


def _terms(statements: Sequence[Statement]) -> list[dict[str, Any]]:
    """The versions of the terms that months of the year were judged by."""
    seen = {(s.document["contract"]["id"], s.document["contract"]["effective_from"]): s for s in statements}
    return [
        {
            "contract": contract,
            "effective_from": since,
            "guarantee": percent_text(statement.figures.terms.guarantee),
        }
        for (contract, since), statement in seen.items()
    ]

"""A partner's credit note for a month as one JSON object: what its services' statements earn together (CONTRACT 2.6).

The note is a view of the statements it names by their digests; it is final once all of them are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitor.core.availability import floor_text
from monitor.core.calendar import Month
from monitor.core.creditnote import NotePart, note_parts
from monitor.core.month import Status
from monitor.core.terms import percent_text
from monitor.ledger.month import Statement

SCHEMA = "jaga-credit-note/1"


def credit_note(month: Month, partner: str, statements: Sequence[Statement]) -> dict[str, Any]:
    """The note over a partner's statements of a month, at least one."""
    assert statements, "a note is over statements"
    by_service = {statement.figures.service: statement for statement in statements}
    final = all(statement.document["status"] == Status.FINAL for statement in statements)
    return {
        "schema": SCHEMA,
        "note": f"{month}/{partner}",
        "month": str(month),
        "partner": statements[0].document["partner"],
        "status": (Status.FINAL if final else Status.PROVISIONAL).value,
        "parts": [_part(part, by_service) for part in note_parts(s.figures for s in statements)],
    }


def _part(part: NotePart, by_service: dict[str, Statement]) -> dict[str, Any]:
    return {
        "contract": part.contract,
        "credit_base": part.base.value,
        "percent": None if part.percent is None else percent_text(part.percent),
        "fee": {"currency": part.fee.currency, "amount": format(part.fee.amount, "f")},
        "amount": format(part.amount, "f"),
        "lines": [_line(by_service[figures.service]) for figures in part.lines],
    }


def _line(statement: Statement) -> dict[str, Any]:
    document, figures = statement.document, statement.figures
    return {
        "statement": document["statement"],
        "version": document["version"],
        "status": document["status"],
        "digest": document["digest"],
        "service": document["service"],
        "availability": {"percent": floor_text(figures.availability)},
        "credit": document["credit"],
        "claim": document["claim"],
    }

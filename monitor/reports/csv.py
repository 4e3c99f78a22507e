"""Statements as one CSV table, a row a statement: ISO instants and decimal points, for spreadsheets and programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from monitor.reports import Document

BOM = "\ufeff"
# A cell that begins with one of these is a formula to a spreadsheet, whoever wrote the name in it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_COLUMNS: tuple[tuple[str, Callable[[Document], object]], ...] = (
    ("statement", lambda doc: doc["statement"]),
    ("version", lambda doc: doc["version"]),
    ("status", lambda doc: doc["status"]),
    ("month", lambda doc: doc["period"]["month"]),
    ("timezone", lambda doc: doc["period"]["timezone"]),
    ("start", lambda doc: doc["period"]["start"]),
    ("end", lambda doc: doc["period"]["end"]),
    ("partner_id", lambda doc: doc["partner"]["id"]),
    ("partner_name", lambda doc: doc["partner"]["name"]),
    ("service_id", lambda doc: doc["service"]["id"]),
    ("service_name", lambda doc: doc["service"]["name"]),
    ("contract_id", lambda doc: doc["contract"]["id"]),
    ("total_seconds", lambda doc: doc["period"]["seconds"]),
    ("downtime_seconds", lambda doc: doc["downtime"]["seconds"]),
    ("excluded_seconds", lambda doc: doc["downtime"]["excluded_seconds"]),
    ("observed_seconds", lambda doc: doc["downtime"]["observed_seconds"]),
    ("unknown_seconds", lambda doc: doc["coverage"]["unknown_seconds"]),
    ("availability_percent", lambda doc: doc["availability"]["percent"]),
    ("worst_case_percent", lambda doc: doc["worst_case"]["percent"]),
    ("coverage_percent", lambda doc: doc["coverage"]["percent"]),
    ("outages", lambda doc: len(doc["outages"])),
    ("guarantee_percent", lambda doc: doc["guarantee"]["percent"]),
    ("guarantee_met", lambda doc: _yes(doc["guarantee"]["met"])),
    ("objective_percent", lambda doc: doc["objective"]["percent"] if doc["objective"] else ""),
    ("objective_met", lambda doc: _yes(doc["objective"]["met"]) if doc["objective"] else ""),
    ("credit_percent", lambda doc: doc["credit"]["percent"]),
    ("currency", lambda doc: doc["credit"]["fee"]["currency"]),
    ("fee", lambda doc: doc["credit"]["fee"]["amount"]),
    ("credit", lambda doc: doc["credit"]["amount"]),
    ("claim_status", lambda doc: doc["claim"]["status"]),
    ("claim_deadline", lambda doc: doc["claim"]["deadline"]),
    ("imported", lambda doc: _yes(doc["imported"])),
    ("issued_at", lambda doc: doc["issued_at"] or ""),
    ("digest", lambda doc: doc["digest"] or ""),
)


def table(documents: Sequence[Document], *, delimiter: str = ",") -> str:
    """The table with its heading, with a byte order mark so that Excel reads it; `;` suits its Indonesian setting."""
    out = io.StringIO()
    out.write(BOM)
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow([name for name, _value in _COLUMNS])
    for document in documents:
        writer.writerow([_plain(value(document)) for _name, value in _COLUMNS])
    return out.getvalue()


def _plain(value: object) -> str:
    written = str(value)
    return f"'{written}" if written.startswith(_FORMULA) else written


def _yes(value: object) -> str:
    return "yes" if value else "no"

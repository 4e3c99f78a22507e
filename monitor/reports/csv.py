"""Statements as CSV, a row a statement, and their outages, a row each: ISO instants and decimal points."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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


_OUTAGE_COLUMNS: tuple[tuple[str, Callable[[Document, Mapping[str, Any]], object]], ...] = (
    ("statement", lambda doc, _outage: doc["statement"]),
    ("version", lambda doc, _outage: doc["version"]),
    ("partner_id", lambda doc, _outage: doc["partner"]["id"]),
    ("service_id", lambda doc, _outage: doc["service"]["id"]),
    ("start", lambda _doc, outage: outage["start"]),
    ("end", lambda _doc, outage: outage["end"] or ""),
    ("seconds", lambda _doc, outage: outage["seconds"]),
    ("counted_seconds", lambda _doc, outage: outage["counted_seconds"]),
    ("excluded_by", lambda _doc, outage: " ".join(dict.fromkeys(part["id"] for part in outage["excluded"]))),
    ("reasons", lambda _doc, outage: " ".join(dict.fromkeys(part["reason"] for part in outage["excluded"]))),
    ("peak_failing", lambda _doc, outage: f"{outage['peak_failing']} checks"),
    ("first_failure", lambda _doc, outage: outage["first_failure"] or ""),
)


def outages(documents: Sequence[Document], *, delimiter: str = ",") -> str:
    """The outages of the statements, a row each, in the same form as `table`."""
    rows = [
        [_plain(value(document, outage)) for _name, value in _OUTAGE_COLUMNS]
        for document in documents
        for outage in document["outages"]
    ]
    return _written([name for name, _value in _OUTAGE_COLUMNS], rows, delimiter)


def table(documents: Sequence[Document], *, delimiter: str = ",") -> str:
    """The table with its heading, with a byte order mark so that Excel reads it; `;` suits its Indonesian setting."""
    rows = [[_plain(value(document)) for _name, value in _COLUMNS] for document in documents]
    return _written([name for name, _value in _COLUMNS], rows, delimiter)


def _written(heading: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str) -> str:
    out = io.StringIO()
    out.write(BOM)
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(heading)
    writer.writerows(rows)
    return out.getvalue()


def _plain(value: object) -> str:
    written = str(value)
    return f"'{written}" if written.startswith(_FORMULA) else written


def _yes(value: object) -> str:
    return "yes" if value else "no"

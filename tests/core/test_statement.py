"""The statement: the promised order, decimal strings, and a digest over what is not a view of today (INTERFACES)."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from monitor.core.availability import account
from monitor.core.calendar import Month, month_span
from monitor.core.exclusion import Excluded, Rejected
from monitor.core.fact import ExclusionReason
from monitor.core.month import Figures, Status
from monitor.core.statement import SCHEMA, Setting, digest_of, document
from monitor.core.terms import CreditBase
from monitor.core.verdict import Verdict, VerdictSpan
from tests.core.examples import WIB, at, span, subscription, terms

APRIL = month_span(Month(2026, 4), WIB)
OUTAGE = span("2026-04-10T22:00:00", "2026-04-11T02:00:00")
WINDOW = Excluded(1, "m-1", ExclusionReason.MAINTENANCE, span("2026-04-10T23:00:00", "2026-04-11T01:00:00"))


def figures(as_of_us: int = APRIL.end_us, objective: str | None = "99.9") -> Figures:
    verdicts = [
        VerdictSpan(APRIL.start_us, OUTAGE.start_us, Verdict.UP, 0, 0, 4),
        VerdictSpan(OUTAGE.start_us, OUTAGE.end_us, Verdict.DOWN, 3, 0, 4),
        VerdictSpan(OUTAGE.end_us, APRIL.end_us, Verdict.UP, 0, 0, 4),
    ]
    return Figures(
        month=Month(2026, 4),
        partner="acme",
        service="portal",
        terms=terms(objective),
        subscription=subscription(),
        account=account(verdicts, APRIL, as_of_us, [WINDOW]),
        rejected=(Rejected("m-2", "notice 47:59:59 before start, 48:00:00 needed", WINDOW.span),),
    )


SETTING = Setting(
    partner_name="Yayasan Acme",
    service_name="Portal and API",
    zone=WIB,
    version=1,
    status=Status.PROVISIONAL,
    claim="none",
    claim_filed_us=None,
    claim_deadline_us=at("2026-05-31T00:00:00"),
    decisions=({"type": "reversal", "of": "x-1"},),
    imported=True,
    issued_us=None,
    checkpoint=None,
    restates=None,
    incidents=(),
    check_lists=({"at": "2026-01-01T00:00:00+07:00"},),
    locations=("jkt-1", "sby-1"),
    software="jaga 0.1",
    holidays="id 2026",
    entries=7,
    head="sha256:ab",
    first_failures=("login at jkt-1: timeout",),
)
FINAL = replace(SETTING, status=Status.FINAL, issued_us=at("2026-05-04T00:00:00"))

# Copied from INTERFACES, "Statement", field by field.
ORDER = {
    "": [
        "schema", "statement", "version", "status", "partner", "service", "contract", "period", "availability",
        "worst_case", "coverage", "downtime", "excluded", "rejected", "outages", "guarantee", "objective", "credit",
        "claim", "decisions", "imported", "issued_at", "checkpoint", "restates", "incidents", "method", "ledger",
        "digest",
    ],
    "partner": ["id", "name"],
    "service": ["id", "name"],
    "contract": ["id", "effective_from"],
    "period": ["month", "timezone", "start", "end", "seconds"],
    "availability": ["percent", "numerator_us", "denominator_us"],
    "worst_case": ["percent"],
    "coverage": ["percent", "unknown_seconds"],
    "downtime": ["seconds", "excluded_seconds", "observed_seconds"],
    "guarantee": ["percent", "met"],
    "objective": ["percent", "met"],
    "credit": ["percent", "fee", "amount"],
    "claim": ["deadline", "status", "filed_at"],
    "method": ["rule", "checks", "locations", "software", "holidays"],
    "ledger": ["entries", "head"],
}  # fmt: skip


def test_the_fields_stand_in_the_promised_order() -> None:
    found = document(figures(), SETTING)
    for name, fields in ORDER.items():
        assert list(found[name] if name else found) == fields
    assert list(found["outages"][0]) == [
        "start", "end", "seconds", "counted_seconds", "excluded", "peak_failing", "first_failure",
    ]  # fmt: skip
    assert list(found["excluded"][0]) == ["reason", "id", "seconds"]
    assert list(found["rejected"][0]) == ["id", "why"]


def test_the_figures_as_printed() -> None:
    found = document(figures(), SETTING)
    assert found["schema"] == SCHEMA == "jaga-statement/1"
    assert found["statement"] == "2026-04/acme/portal"
    assert found["period"] == {
        "month": "2026-04",
        "timezone": "Asia/Jakarta",
        "start": "2026-04-01T00:00:00+07:00",
        "end": "2026-05-01T00:00:00+07:00",
        "seconds": "2592000.000000",
    }
    assert found["downtime"] == {
        "seconds": "7200.000000",
        "excluded_seconds": "7200.000000",
        "observed_seconds": "14400.000000",
    }
    assert found["availability"] == {
        "percent": "99.722222",
        "numerator_us": "2584800000000",
        "denominator_us": "2592000000000",
    }
    assert found["excluded"] == [{"reason": "maintenance", "id": "m-1", "seconds": "7200.000000"}]
    assert found["outages"] == [
        {
            "start": "2026-04-10T22:00:00+07:00",
            "end": "2026-04-11T02:00:00+07:00",
            "seconds": "14400.000000",
            "counted_seconds": "7200.000000",
            "excluded": [
                {
                    "reason": "maintenance",
                    "id": "m-1",
                    "start": "2026-04-10T23:00:00+07:00",
                    "end": "2026-04-11T01:00:00+07:00",
                }
            ],
            "peak_failing": "3/4",
            "first_failure": "login at jkt-1: timeout",
        }
    ]
    assert found["guarantee"] == {"percent": "95", "met": True}
    assert found["objective"] == {"percent": "99.9", "met": False}
    assert found["credit"] == {"percent": "0", "fee": {"currency": "IDR", "amount": "12500000"}, "amount": "0"}
    assert found["claim"] == {"deadline": "2026-05-31T00:00:00+07:00", "status": "none", "filed_at": None}


def test_no_figure_is_a_json_number_with_a_point() -> None:
    def walk(value: object) -> None:
        assert not isinstance(value, float)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(item)

    walk(json.loads(json.dumps(document(figures(), FINAL))))


def test_an_outage_that_goes_on_has_no_end() -> None:
    running = document(figures(as_of_us=at("2026-04-11T00:00:00")), SETTING)
    assert running["outages"][0]["end"] is None
    assert running["outages"][0]["seconds"] == "7200.000000"


def test_without_an_objective_there_is_none() -> None:
    found = document(figures(objective=None), SETTING)
    assert found["objective"] is None
    assert "objective" not in found["method"]["rule"]
    assert "objective of 99.9 %" in document(figures(), SETTING)["method"]["rule"]


@pytest.mark.parametrize(
    ("notice_us", "printed"),
    [(48 * 3600 * 10**6, "48 h"), (10 * 10**6, "10 s"), (90 * 60 * 10**6, "5400 s"), (1_500_000, "1.5 s")],
)
def test_the_method_prints_the_notice_of_the_terms(notice_us: int, printed: str) -> None:
    month = figures()
    month = replace(month, terms=replace(month.terms, maintenance_notice_us=notice_us))
    assert f"notice of {printed} or more" in document(month, SETTING)["method"]["rule"]


def test_the_method_prints_what_the_credit_is_a_share_of() -> None:
    month = figures()
    single = replace(month, terms=replace(month.terms, credit_base=CreditBase.SERVICE))
    assert "each service's tier applies to its own fee" in document(single, SETTING)["method"]["rule"]
    assert "the highest tier applies once" in document(month, SETTING)["method"]["rule"]


def test_a_provisional_statement_has_no_digest() -> None:
    assert document(figures(), SETTING)["digest"] is None
    assert document(figures(), replace(SETTING, status=Status.NEEDS_ADJUDICATION))["digest"] is None


@pytest.mark.parametrize(
    "view", [{"status": Status.SUPERSEDED}, {"claim": "filed"}, {"claim_filed_us": at("2026-05-05T00:00:00")}]
)
def test_views_of_today_do_not_touch_the_digest(view: dict[str, Any]) -> None:
    issued = document(figures(), FINAL)
    assert issued["digest"] == digest_of(issued)
    assert issued["digest"].startswith("sha256:")
    assert document(figures(), replace(FINAL, **view))["digest"] == issued["digest"]


def test_everything_else_does() -> None:
    issued = document(figures(), FINAL)
    for name in issued:
        changed = copy.deepcopy(issued)
        changed[name] = {"deadline": "x"} if name == "claim" else "other"
        same = digest_of(changed) == issued["digest"]
        assert same is (name in {"digest", "status"}), name


def test_the_digest_does_not_depend_on_the_order_of_the_fields() -> None:
    issued = document(figures(), FINAL)
    assert digest_of(dict(reversed(issued.items()))) == issued["digest"]


def test_a_restatement_names_what_it_restates() -> None:
    restates = {"version": 1, "reason": "late evidence", "by": "sari", "credit_delta": "-1250000"}
    found = document(figures(), replace(FINAL, version=2, restates=restates))
    assert found["restates"] == restates
    assert found["version"] == 2


def test_credit_figures_follow_the_exact_fraction_not_the_printed_one() -> None:
    """36 hours and a microsecond print as 94.999999, which rounding would make 95."""
    down = VerdictSpan(APRIL.start_us, APRIL.start_us + 36 * 3600 * 10**6 + 1, Verdict.DOWN, 4, 0, 4)
    up = VerdictSpan(down.end_us, APRIL.end_us, Verdict.UP, 0, 0, 4)
    month = replace(figures(), account=account([down, up], APRIL, APRIL.end_us, ()))
    found = document(month, SETTING)
    assert month.availability == Fraction(2462399999999, 25920000000)
    assert found["availability"]["percent"] == "94.999999"
    assert found["credit"] == {"percent": "10", "fee": {"currency": "IDR", "amount": "12500000"}, "amount": "1250000"}

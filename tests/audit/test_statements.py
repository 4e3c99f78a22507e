"""The audit and the product, each on its own, about the same months: golden ones, worked cases, random worlds."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor import audit
from monitor.core.calendar import Month, month_span
from monitor.core.span import Span
from monitor.core.terms import CURRENCY_UNITS
from tests.audit.books import books, through_a_life
from tests.audit.worlds import DAY, world
from tests.cases import reading
from tests.core.examples import WIB
from tests.ledger import test_cases as worked


@pytest.mark.parametrize("case", reading.cases(), ids=lambda case: case.name)
def test_a_golden_month_open_and_closed(case: reading.Case, tmp_path: Path) -> None:
    with books(tmp_path, case.now_us, case.lines) as kept:
        documents = kept.statements(str(case.month))
        assert len(documents) == len(case.statements)
        assert kept.audited(documents, running=True) == kept.audited_in_part(documents, running=True) == []
        kept.close(str(case.month))
        closed = kept.statements(str(case.month))
        assert kept.audited(closed, running=True) == kept.audited_in_part(closed, running=True) == []
        for document in documents:
            name = f"{document['partner']['id']}/{document['service']['id']}"
            assert {path: reading.field(document, path) for path in case.statements[name]} == case.statements[name]


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(case["input"], id=case["name"]) for case in worked.CONTRACT if case["kind"] == kind]


@pytest.mark.parametrize("given", of_kind("ledger_month"))
def test_a_worked_month(given: Mapping[str, Any], tmp_path: Path) -> None:
    period = month_span(Month.parse(given["month"]), WIB)
    lines = worked.history(period, worked.spans(given["down"]), worked.spans(given["unknown"]))
    for number, window in enumerate(given["maintenance"]):
        lines += worked.maintenance(f"m-{number}", window["start"], window["end"], window["notice_at"])
        for more, longer in enumerate(window.get("extensions", ())):
            lines += worked.maintenance(
                f"e-{more}", longer["from"], longer["end"], longer["announced_at"], f"m-{number}"
            )
    for number, decision in enumerate(given["exclusions"]):
        fact = {"type": "exclusion", "id": f"x-{number}", "reason": decision["reason"], "services": ["portal"]}
        times = {name: decision[name] + "+07:00" for name in ("start", "end")} | {"at": decision["end"] + "+07:00"}
        lines.append(fact | {"partners": None} | times)
    with books(tmp_path, period.end_us + 10 * DAY, [*worked.agreement(), *lines]) as kept:
        assert kept.audited(kept.statements(given["month"])) == []


@pytest.mark.parametrize("given", of_kind("month_total"))
def test_a_worked_total(given: Mapping[str, Any], tmp_path: Path) -> None:
    period = month_span(Month.parse(given["month"]), WIB)
    lines = worked.history(period, [Span(period.start_us, period.start_us + given["down_us"])])
    with books(tmp_path, period.end_us + 10 * DAY, [*worked.agreement(), *lines]) as kept:
        assert kept.audited(kept.statements(given["month"])) == []


@pytest.mark.parametrize(
    "case", [case for case in worked.CONTRACT if case["kind"] == "verdict"], ids=lambda c: c["name"]
)
def test_a_worked_verdict(case: Mapping[str, Any]) -> None:
    said = [word for word, times in case["input"].items() for _number in range(times)]
    says = {f"c{number}": word for number, word in enumerate(said)}
    assert audit.verdict_of(says, dict.fromkeys(says, "public")).upper() == case["expected"]["verdict"]


@pytest.mark.parametrize(
    "case", [case for case in worked.CONTRACT if case["kind"] == "multi_location"], ids=lambda case: case["name"]
)
def test_a_worked_matrix_of_locations(case: Mapping[str, Any]) -> None:
    said: dict[tuple[str, str], list[tuple[int, int, str]]] = {
        (check, f"l{number}"): [] if word == "lost" else [(0, 10, word)]
        for check, row in case["input"]["matrix"].items()
        for number, word in enumerate(row)
    }
    evidence = audit.Evidence(said, stated=False)
    checks = {check: "public" for check, _location in said}
    says = {check: audit.check_says(evidence, check, 5) for check in checks}
    assert audit.verdict_of(says, checks).upper() == case["expected"]["verdict"]


@pytest.mark.parametrize(
    "case", [case for case in worked.CONTRACT if case["kind"] == "claim_deadline"], ids=lambda case: case["name"]
)
def test_a_worked_deadline(case: Mapping[str, Any]) -> None:
    zone = audit.zone_of("Asia/Jakarta")
    end = audit.month_span(case["input"]["month"], zone)[1]
    assert audit.shown(audit.claim_deadline(end - 1, zone, "30d"), zone) == case["expected"]["deadline_exclusive"]


# Of the first forty, twelve in which little is told often and much is decided.
@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [1, 6, 7, 9, 10, 15, 20, 24, 28, 32, 34, 38])
def test_a_random_world(seed: int, tmp_path: Path) -> None:
    given = world(seed)
    with books(tmp_path, given.now_us, given.lines) as kept:

        def judge(stage: str, documents: list[dict[str, Any]]) -> None:
            assert kept.audited(documents) == [], f"world {seed}, {stage}"
            assert kept.audited_in_part(documents) == [], f"world {seed}, {stage}, by the partner's part"

        through_a_life(kept, given, judge)


def test_both_know_the_same_units_of_money() -> None:
    """One of them rounding where the other does not is a difference that nobody caused."""
    assert {currency: Decimal(1).scaleb(-places) for currency, places in audit.PLACES.items()} == CURRENCY_UNITS

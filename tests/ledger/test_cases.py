"""The worked cases of the contract and the golden months, through import, a real store and the statements."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitor.core.availability import floor_text
from monitor.core.calendar import Month, month_span
from monitor.core.credit import credit_percent
from monitor.core.instant import DAY_US, format_instant_us
from monitor.core.month import Status
from monitor.core.span import Span, subtract
from monitor.core.terms import Agreements
from monitor.ledger.evidence import rebuild
from monitor.ledger.explain import explain
from monitor.ledger.interchange import import_
from monitor.ledger.month import Months, Statement
from monitor.ledger.record import Basis
from monitor.storage import Store
from monitor.storage.opening import open_store
from tests.cases import reading
from tests.core.examples import TIERS, WIB, at

BASIS = Basis(agreements=Agreements(), zone=ZoneInfo, software="jaga test")
CONTRACT = json.loads((Path(reading.__file__).with_name("contract.json")).read_text(encoding="utf-8"))["cases"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store("sqlite:///ledger.db", base=tmp_path)
    yield opened
    opened.close()


def taken_in(store: Store, lines: Iterable[Mapping[str, Any]], now_us: int) -> Months:
    file = io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    report = import_(store, file, now_us=now_us, rebuild=rebuild)
    assert report.counts
    return Months(store, BASIS, now_us)


def shown(statement: Statement) -> str:
    return f"{statement.ground.partner}/{statement.ground.service}"


# Golden months.


@pytest.mark.parametrize("case", reading.cases(), ids=lambda case: case.name)
def test_golden_month(store: Store, case: reading.Case) -> None:
    statements = {shown(entry): entry for entry in taken_in(store, case.lines, case.now_us).statements(case.month)}
    assert sorted(statements) == sorted(case.statements)
    for name, wanted in case.statements.items():
        found = {path: reading.field(statements[name].document, path) for path in wanted}
        assert found == wanted
        lines = "\n".join(explain(statements[name], WIB))
        assert f"= {statements[name].document['availability']['percent']} %" in lines


def test_there_are_enough_golden_months_and_each_says_its_clause() -> None:
    assert len(reading.cases()) >= 40
    for path in reading.FOLDER.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith(("# CONTRACT ", "# A reading of CONTRACT ")), path.name


def test_a_golden_month_can_fail(tmp_path: Path) -> None:
    """The loader reads what stands there: another figure in the case is another figure wanted."""
    text = (reading.FOLDER / "tier_exactly_95.yaml").read_text(encoding="utf-8")
    changed = tmp_path / "changed.yaml"
    changed.write_text(text.replace("12:00:00]", "12:00:01]"), encoding="utf-8")
    store = open_store("sqlite:///ledger.db", base=tmp_path)
    case = reading.read(changed)
    (statement,) = taken_in(store, case.lines, case.now_us).statements(case.month)
    store.close()
    wanted = case.statements["acme/portal"]
    assert {path: reading.field(statement.document, path) for path in wanted} != wanted


@pytest.mark.parametrize(
    "name", ["overlap_named_by_the_earliest_recorded", "adjudications_overlap", "extension_in_time"]
)
def test_the_order_of_an_imported_file_changes_no_figure(name: str, tmp_path: Path) -> None:
    case = reading.read(reading.FOLDER / f"{name}.yaml")
    figures = []
    for seed in range(3):
        header, *lines = case.lines
        random.Random(seed).shuffle(lines)
        store = open_store(f"sqlite:///{seed}.db", base=tmp_path)
        months = taken_in(store, [header, *lines], case.now_us)
        documents = [entry.document for entry in months.statements(case.month)]
        figures.append([{k: v for k, v in document.items() if k != "ledger"} for document in documents])
        store.close()
    assert figures[0] == figures[1] == figures[2]


def test_the_same_file_into_two_ledgers_gives_the_same_statements(tmp_path: Path) -> None:
    case = reading.read(reading.FOLDER / "extension_in_time.yaml")
    documents = []
    for number in range(2):
        store = open_store(f"sqlite:///{number}.db", base=tmp_path)
        months = taken_in(store, case.lines, case.now_us + number)
        documents.append([entry.document for entry in months.statements(case.month)])
        store.close()
    assert documents[0] == documents[1]


# contract.json.


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(case["input"], case["expected"], id=case["name"]) for case in CONTRACT if case["kind"] == kind]


def test_every_kind_of_worked_case_is_run() -> None:
    kinds = {case["kind"] for case in CONTRACT}
    assert kinds == {"month_total", "ledger_month", "verdict", "spans", "multi_location", "claim_deadline"}


def agreement() -> list[dict[str, Any]]:
    since = format_instant_us(at("2020-01-01T00:00:00"), WIB)
    fee = {"currency": "IDR", "amount": "12500000"}
    return [
        {"type": "header", "format": "jaga-ledger/1"},
        {"type": "terms", "contract": "mitra", "effective_from": since, "terms": reading.TERMS},
        {"type": "subscription", "partner": "acme", "service": "portal", "contract": "mitra", "fee": fee},
    ]


def check_list(at_us: int, checks: Iterable[str], stale_after_s: int = 190) -> dict[str, Any]:
    return {
        "type": "checks",
        "service": "portal",
        "at": format_instant_us(at_us, WIB),
        "interval_s": 60,
        "timeout_s": 10,
        "stale_after_s": stale_after_s,
        "checks": [{"id": name, "network": "public"} for name in checks],
    }


def stated(part: Span, outcome: str, check: str = "login", location: str = "jkt-1") -> dict[str, Any]:
    return {
        "type": "spans",
        "service": "portal",
        "check": check,
        "location": location,
        "from": format_instant_us(part.start_us, WIB),
        "to": format_instant_us(part.end_us, WIB),
        "outcome": outcome,
    }


def history(period: Span, down: Iterable[Span], unknown: Iterable[Span] = ()) -> list[dict[str, Any]]:
    down = subtract(down, ())
    passing = subtract([Span(period.start_us - DAY_US, period.end_us + DAY_US)], [*down, *unknown])
    found = [check_list(period.start_us - DAY_US, ["login"])]
    found += [stated(part, "fail") for part in down]
    return found + [stated(part, "pass") for part in passing]


def spans(written: Iterable[Mapping[str, str]]) -> list[Span]:
    return [Span(at(entry["start"]), at(entry["end"])) for entry in written]


def statement_of(store: Store, month: Month, lines: Iterable[Mapping[str, Any]]) -> Statement:
    now_us = month_span(month, WIB).end_us + 10 * DAY_US
    (found,) = taken_in(store, [*agreement(), *lines], now_us).statements(month)
    return found


@pytest.mark.parametrize(("given", "wanted"), of_kind("month_total"))
def test_month_total(store: Store, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    month = Month.parse(given["month"])
    period = month_span(month, WIB)
    down = Span(period.start_us, period.start_us + given["down_us"])
    found = statement_of(store, month, history(period, [down]))
    numerator, denominator = (int(number) for number in wanted["percent_exact"].split("/"))
    assert found.figures.availability.as_integer_ratio() == (numerator, denominator)
    assert found.document["availability"]["percent"] == wanted["percent_floor6"]
    assert found.document["credit"]["percent"] == str(wanted["credit_tier"])
    if "total_minutes" in wanted:
        assert found.figures.account.total_us == wanted["total_minutes"] * 60 * 10**6


@pytest.mark.parametrize(("given", "wanted"), of_kind("ledger_month"))
def test_ledger_month(store: Store, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    month = Month.parse(given["month"])
    lines = history(month_span(month, WIB), spans(given["down"]), spans(given["unknown"]))
    for number, window in enumerate(given["maintenance"]):
        lines += maintenance(f"m-{number}", window["start"], window["end"], window["notice_at"])
        for more, longer in enumerate(window.get("extensions", ())):
            lines += maintenance(f"e-{more}", longer["from"], longer["end"], longer["announced_at"], f"m-{number}")
    for number, decision in enumerate(given["exclusions"]):
        lines.append(
            {
                "type": "exclusion",
                "id": f"x-{number}",
                "reason": decision["reason"],
                "services": ["portal"],
                "partners": None,
                "start": decision["start"] + "+07:00",
                "end": decision["end"] + "+07:00",
                "at": decision["end"] + "+07:00",
            }
        )
    found = statement_of(store, month, lines)
    document = found.document
    printed = {
        "down_seconds": document["downtime"]["seconds"],
        "raw_down_seconds": document["downtime"]["observed_seconds"],
        "unknown_seconds": document["coverage"]["unknown_seconds"],
    }
    for name, seconds in printed.items():
        if name in wanted:
            assert seconds == f"{wanted[name]}.000000"
    others = {
        "percent_floor6": document["availability"]["percent"],
        "percent_exact": "/".join(str(n) for n in found.figures.availability.as_integer_ratio()),
        "credit_tier": int(document["credit"]["percent"]),
        "worst_percent_floor6": document["worst_case"]["percent"],
        "worst_tier": credit_percent(found.figures.account.worst_case, TIERS),
        "needs_adjudication": document["status"] == Status.NEEDS_ADJUDICATION,
    }
    assert {name: others[name] for name in others if name in wanted} == {n: wanted[n] for n in others if n in wanted}
    assert set(wanted) <= {*printed, *others}
    assert document["imported"] is True


def maintenance(name: str, start: str, end: str, told: str, extends: str | None = None) -> list[dict[str, Any]]:
    window: dict[str, Any] = {
        "type": "maintenance",
        "id": name,
        "services": ["portal"],
        "partners": None,
        "start": start + "+07:00",
        "end": end + "+07:00",
        "at": told + "+07:00",
        "summary": "work",
    }
    if extends:
        window["extends"] = extends
    notice = {"type": "notice", "maintenance": name, "partner": "acme", "at": told + "+07:00", "channel": "email"}
    return [window, notice]


NOON = Span(at("2026-04-10T12:00:00"), at("2026-04-10T13:00:00"))


def verdict_at_noon(store: Store, lines: list[dict[str, Any]]) -> str:
    months = taken_in(store, [*agreement(), *lines], NOON.end_us)
    _evidence, verdicts = months.sweep("portal", NOON)
    assert len({span.verdict for span in verdicts}) == 1
    return verdicts[0].verdict.value.upper()


@pytest.mark.parametrize(("given", "wanted"), of_kind("verdict"))
def test_verdict(store: Store, given: Mapping[str, int], wanted: Mapping[str, str]) -> None:
    names = [f"c{number}" for number in range(sum(given.values()))]
    said = ["fail"] * given["fail"] + ["pass"] * given["pass"]
    lines = [check_list(NOON.start_us - DAY_US, names)]
    lines += [stated(NOON, outcome, name) for name, outcome in zip(names, said, strict=False)]
    assert verdict_at_noon(store, lines) == wanted["verdict"]


@pytest.mark.parametrize(("given", "wanted"), of_kind("multi_location"))
def test_multi_location(store: Store, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    lines = [check_list(NOON.start_us - DAY_US, given["matrix"])]
    for check, row in given["matrix"].items():
        lines += [stated(NOON, said, check, f"l{n}") for n, said in enumerate(row) if said != "lost"]
    assert verdict_at_noon(store, lines) == wanted["verdict"]
    pooled = [said for row in given["matrix"].values() for said in row if said != "lost"]
    if "pooled_verdict" in wanted:  # what counting all runs alike would have said
        assert wanted["pooled_verdict"] == ("DOWN" if 2 * pooled.count("fail") > len(pooled) else "UP")


@pytest.mark.parametrize(("given", "wanted"), of_kind("spans"))
@pytest.mark.parametrize("order", [1, -1])
def test_spans(store: Store, given: Mapping[str, Any], wanted: Mapping[str, Any], order: int) -> None:
    window = Span(*(at(text) for text in given["window"]))
    lines: list[dict[str, Any]] = []
    for name, check in given["checks"].items():
        lines.append(check_list(window.start_us - DAY_US, given["checks"], check["stale_s"]))
        lines += [
            {
                "type": "run",
                "service": "portal",
                "check": name,
                "location": "jkt-1",
                "at": run["t"] + "+07:00",
                "outcome": run["result"],
            }
            for run in check["runs"][::order]
        ]
    months = taken_in(store, [*agreement(), *lines], window.end_us)
    _evidence, verdicts = months.sweep("portal", window)
    seconds = dict.fromkeys(("up", "down", "unknown"), 0)
    for span in verdicts:
        seconds[span.verdict.value] += (span.end_us - span.start_us) // 10**6
    assert [span.verdict.value.upper() for span in verdicts] == wanted["verdicts"]
    assert {f"{name}_seconds": amount for name, amount in seconds.items()} == {
        name: amount for name, amount in wanted.items() if name.endswith("_seconds")
    }


@pytest.mark.parametrize(("given", "wanted"), of_kind("claim_deadline"))
def test_claim_deadline(store: Store, given: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    month = Month.parse(given["month"])
    found = statement_of(store, month, history(month_span(month, WIB), []))
    assert found.document["claim"]["deadline"] == wanted["deadline_exclusive"]
    assert wanted["last_day"] < wanted["deadline_exclusive"][:10]


def test_the_printed_figure_is_floored_and_not_rounded_to_four_places() -> None:
    (case,) = [case for case in CONTRACT if case["name"] == "exact_95_plus_1us"]
    assert case["expected"]["percent_half_up4"] == "95.0000"
    numerator, denominator = (int(number) for number in case["expected"]["percent_exact"].split("/"))
    assert floor_text(Fraction(numerator, denominator), 4) == "94.9999"

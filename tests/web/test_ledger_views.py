"""Status document and metric samples from a real ledger: what they show is what the statement says."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitor.core.calendar import Month
from monitor.core.fact import Maintenance, Notice
from monitor.core.instant import HOUR_US, format_instant, parse_instant
from monitor.core.terms import Agreements, Fee, Subscription, Terms, Tier
from monitor.ledger.evidence import rebuild
from monitor.ledger.interchange import import_
from monitor.ledger.month import Months
from monitor.ledger.record import Basis
from monitor.ledger.standing import standings
from monitor.storage import Store, Unit, opening
from monitor.telemetry.snapshot import ServiceTotals
from monitor.web.samples import agreement_samples, month_samples, period_samples, service_samples
from monitor.web.status import status_document

NOW_US = parse_instant("2026-04-03T12:00:00+07:00")
AGREEMENTS = Agreements(
    terms=(
        Terms(
            contract="mitra",
            effective_from_us=parse_instant("2026-01-01T00:00:00+07:00"),
            guarantee=Fraction(95),
            objective=Fraction("99.9"),
            tiers=(Tier(below=Fraction(95), credit=Fraction(10)), Tier(below=Fraction(90), credit=Fraction(25))),
        ),
    ),
    subscriptions=(
        Subscription(
            partner="acme",
            service="portal",
            contract="mitra",
            fee=Fee(currency="IDR", amount=Decimal(12_500_000)),
        ),
    ),
    service_names=(("portal", "Portal and API"),),
)
LEDGER: list[dict[str, Any]] = [
    {"type": "header", "format": "jaga-ledger/1"},
    {
        "type": "checks",
        "service": "portal",
        "at": "2026-03-01T00:00:00+07:00",
        "interval_s": 60,
        "timeout_s": 10,
        "stale_after_s": 190,
        "checks": [{"id": "a", "network": "public"}, {"id": "b", "network": "public"}],
    },
    {
        "type": "maintenance",
        "id": "m-1",
        "services": ["portal"],
        "partners": None,
        "start": "2026-04-03T11:30:00+07:00",
        "end": "2026-04-03T13:00:00+07:00",
        "at": "2026-03-20T00:00:00+07:00",
        "summary": "upgrade",
    },
    *(
        {
            "type": "spans",
            "service": "portal",
            "check": check,
            "location": "jkt-1",
            "from": start,
            "to": end,
            "outcome": outcome,
        }
        for check in ("a", "b")
        for start, end, outcome in (
            ("2026-03-01T00:00:00+07:00", "2026-04-03T10:00:00+07:00", "pass"),
            ("2026-04-03T10:00:00+07:00", "2026-04-03T13:00:00+07:00", "fail"),
        )
    ),
]


def _zone(name: str) -> tzinfo:
    return ZoneInfo(name)


def _store(folder: Path, ledger: list[dict[str, Any]]) -> Store:
    opened = opening.open_store("sqlite:///ledger.db", base=folder)
    lines = b"".join(json.dumps(line).encode() + b"\n" for line in ledger)
    import_(opened, io.BytesIO(lines), now_us=NOW_US + 2 * HOUR_US, rebuild=rebuild)
    return opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = _store(tmp_path, LEDGER)
    yield opened
    opened.close()


@pytest.fixture
def months(store: Store) -> Months:
    return Months(store, Basis(agreements=AGREEMENTS, zone=_zone, software="jaga test"), NOW_US)


def test_status_says_what_the_statement_says(months: Months) -> None:
    document = status_document(standings(months), NOW_US, {})
    (service,) = document["services"]
    (statement,) = months.statements(Month(2026, 4))
    assert service["verdict"] == "down"
    assert service["failing"] == ["a", "b"]
    assert service["outage"] == {"start": "2026-04-03T03:00:00+00:00", "seconds": "7200.000000"}
    assert service["maintenance"][0]["running"]
    assert service["maintenance"][0]["qualifies"]
    (month,) = service["months"]
    assert month["best_case"] == statement.document["availability"]["percent"]
    assert month["downtime_seconds"] == statement.document["downtime"]["seconds"] == "5400.000000"
    assert month["excluded_seconds"] == "1800.000000"
    assert month["objective"] == {"percent": "99.9", "met": False}
    json.dumps(document)


def test_status_has_no_money(months: Months) -> None:
    assert "12500000" not in json.dumps(status_document(standings(months), NOW_US, {}))


def test_samples_say_what_the_statement_says(months: Months) -> None:
    found = standings(months)
    (service,) = service_samples(found, {"portal": ServiceTotals(outages=7)})
    assert (service.verdict, service.failing, service.total, service.totals.outages) == ("down", 2, 2, 7)
    assert service.in_maintenance
    assert service.maintenance_active
    assert service.window_us == (
        parse_instant("2026-04-03T11:30:00+07:00"),
        parse_instant("2026-04-03T13:00:00+07:00"),
    )
    samples = {sample.period: sample for sample in month_samples(months, found)}
    current, previous = samples["current"], samples["previous"]
    assert current.downtime_us == {"majority": 5_400_000_000, "unreachable": 0, "adjudicated": 0}
    assert current.excluded_us["maintenance"] == 1_800_000_000
    assert current.best_case == 1 - Fraction(5400, 30 * 86_400)
    assert current.budget_us == Fraction(30 * 86_400 * 1_000_000, 1000)
    assert current.budget_left_us == Fraction(2592 - 5400) * 1_000_000
    assert (current.outages, current.credit) == (1, Fraction(0))
    assert current.claim_deadline_us is None
    assert not current.claim_open
    assert previous.best_case == 1
    assert not previous.finalized


def test_agreements_and_periods(months: Months) -> None:
    found = standings(months)
    (agreement,) = agreement_samples(found)
    assert agreement.tiers == (("10", Fraction(95, 100)), ("25", Fraction(90, 100)))
    assert agreement.objective == Fraction(999, 1000)
    periods = {sample.period: (sample.month, sample.zone) for sample in period_samples(found)}
    assert periods == {"current": ("2026-04", "Asia/Jakarta"), "previous": ("2026-03", "Asia/Jakarta")}


def test_credit_and_claim_in_the_samples(store: Store) -> None:
    late_us = parse_instant("2026-04-03T12:00:00+07:00")
    tight = Terms(
        contract="mitra",
        effective_from_us=0,
        guarantee=Fraction("99.999"),
        tiers=(Tier(below=Fraction("99.999"), credit=Fraction(10)),),
    )
    basis = Basis(
        agreements=Agreements(terms=(tight,), subscriptions=AGREEMENTS.subscriptions),
        zone=_zone,
        software="jaga test",
    )
    months = Months(store, basis, late_us)
    current = next(sample for sample in month_samples(months, standings(months)) if sample.period == "current")
    assert current.credit == Fraction(1, 10)
    assert current.credit_amount == Decimal(1_250_000)
    assert current.claim_deadline_us == parse_instant("2026-05-31T00:00:00+07:00")
    assert current.claim_open
    assert current.budget_us is None


def test_a_window_whose_notice_may_still_come_says_until_when(tmp_path: Path) -> None:
    store = _store(tmp_path, LEDGER)
    by_us = NOW_US + 3 * HOUR_US
    start_us = by_us + 48 * HOUR_US
    window = Maintenance(
        id="m-9", services=("portal",), start_us=start_us, end_us=start_us + HOUR_US, at_us=NOW_US, summary="upgrade"
    )
    now_us = NOW_US + 2 * HOUR_US
    store.commit(Unit(recorded_at_us=now_us, facts=[window]))

    def shown(at_us: int) -> dict[str, Any]:
        found = standings(Months(store, Basis(agreements=AGREEMENTS, zone=_zone, software="jaga test"), at_us))
        return next(w for w in status_document(found, at_us, {})["services"][0]["maintenance"] if w["id"] == "m-9")

    exactly = shown(by_us)
    assert not exactly["qualifies"]
    assert exactly["notice_by"] == {"acme": format_instant(by_us)}, "48 h before the start is in time"
    assert shown(by_us + 1)["notice_by"] == {}, "a microsecond later it is not"
    assert "no notice to acme on record" in shown(by_us + 1)["rejected"]["acme"]
    store.commit(
        Unit(recorded_at_us=now_us, facts=[Notice(maintenance="m-9", partner="acme", at_us=now_us, channel="x")])
    )
    assert (shown(now_us)["qualifies"], shown(now_us)["notice_by"]) == (True, {})
    store.close()


def test_a_window_announced_too_late_is_shown_and_excludes_nothing(tmp_path: Path) -> None:
    late = [{**line, "at": "2026-04-03T00:00:00+07:00"} if line["type"] == "maintenance" else line for line in LEDGER]
    store = _store(tmp_path, late)
    months = Months(store, Basis(agreements=AGREEMENTS, zone=_zone, software="jaga test"), NOW_US)
    found = standings(months)
    (service,) = service_samples(found, {})
    assert not service.in_maintenance
    assert not service.maintenance_active
    assert service.window_us is not None
    (window,) = status_document(found, NOW_US, {})["services"][0]["maintenance"]
    assert not window["qualifies"]
    assert "48:00:00 needed" in window["rejected"]["acme"]
    assert window["notice_by"] == {}, "its notice came, too late: another changes nothing"
    current = next(sample for sample in month_samples(months, found) if sample.period == "current")
    assert current.downtime_us["majority"] == 7_200_000_000
    store.close()

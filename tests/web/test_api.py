"""What the API answers and records, over real connections and a real ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from monitor.core.baseline import Pace
from monitor.core.calendar import Month
from monitor.core.instant import MINUTE_US, format_instant
from monitor.core.run import Outcome, Run, StepRecord
from monitor.ledger.month import Months
from monitor.ledger.pace import SPEAKS_US, PaceStanding, state_mark
from monitor.storage import Unit
from monitor.web import writing
from monitor.web.bodies import MAX_TEXT
from monitor.web.pages import BODY_LIMIT_BYTES
from monitor.web.tokens import Scope
from tests.web.conftest import Api

WINDOW: dict[str, Any] = {
    "services": ["portal"],
    "start": "2026-04-20T23:00:00+07:00",
    "end": "2026-04-21T01:00:00+07:00",
    "summary": "database upgrade",
}
SPAN = {
    "reason": "third_party",
    "services": ["portal"],
    "start": "2026-04-10T00:00:00+07:00",
    "end": "2026-04-11T12:00:00+07:00",
    "evidence": "report 4711 of the data centre",
}


def entries(api: Api) -> list[str]:
    return [entry.type for entry in api.desk.store.entries()]


async def test_statements_are_those_of_the_ledger(api: Api, admin: str) -> None:
    status, found = await api.ask("GET", "/api/v1/statements?month=2026-04", admin)
    assert status == 200
    months = Months(api.desk.store, api.desk.basis, api.desk.at_us)
    assert found == [statement.document for statement in months.statements(Month(2026, 4))]
    assert {one["partner"]["id"] for one in found} == {"acme", "bumi"}


async def test_a_partner_sees_its_own_statements_and_no_others(api: Api) -> None:
    text = api.desk.token(Scope.STATEMENTS, Scope.READ, partner="acme")
    status, found = await api.ask("GET", "/api/v1/statements?month=2026-04", text)
    assert status == 200
    assert [one["partner"]["id"] for one in found] == ["acme"]
    assert "7000001" not in json.dumps(found), "nothing of another partner's fee"
    status, told = await api.ask("GET", "/api/v1/statements?month=2026-04&partner=bumi", text)
    assert (status, "is for acme" in told["detail"]) == (403, True)
    assert (await api.ask("GET", "/api/v1/services/billing", text))[0] == 403
    assert (await api.ask("GET", "/api/v1/outages?service=billing", text))[0] == 403
    assert (await api.ask("GET", "/probe?target=billing/a", text))[0] == 403
    assert (await api.ask("GET", "/probe?target=nothing/a", text))[0] == 403, "what is there is not told either"
    status, service = await api.ask("GET", "/api/v1/services/portal", text)
    assert status == 200
    assert {month["partner"] for month in service["months"]} == {"acme"}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("month=2026-4", 400),
        ("month=2026-13", 400),
        ("month=2026-04&version=0", 400),
        ("month=2026-04&version=1e3", 400),
        ("month=2026-04&version=%C2%B2", 400),
        ("month=2026-04&partner=", 400),
        ("month=2026-04&version=1", 404),
        ("month=2026-04&partner=nobody", 200),
    ],
)
async def test_what_is_asked_for_wrongly_is_said(api: Api, admin: str, query: str, status: int) -> None:
    assert (await api.ask("GET", f"/api/v1/statements?{query}", admin))[0] == status


async def test_a_service_shows_its_standing_and_runs_without_money(api: Api, admin: str) -> None:
    status, found = await api.ask("GET", "/api/v1/services/portal", admin)
    assert status == 200
    assert (found["id"], found["verdict"], found["total"]) == ("portal", "unknown", 1)
    assert "12500000" not in json.dumps(found)
    assert (await api.ask("GET", "/api/v1/services/nothing", admin))[0] == 404


async def test_a_service_shows_what_is_usual_for_each_check(api: Api, admin: str) -> None:
    now_us = api.desk.at_us
    standing = PaceStanding(
        pace=Pace.DEGRADED,
        since_us=now_us - 9 * MINUTE_US,
        at_us=now_us - 5 * MINUTE_US,
        duration_us=500_000,
        usual_us=100_000,
        samples=42,
    )
    runs = [
        Run(
            service="portal",
            check=check,
            location="jkt-1",
            start_us=now_us - MINUTE_US,
            outcome=Outcome.PASS,
            duration_us=600_000,
        )
        for check in ("slow", "young")
    ]
    marks = {state_mark(runs[0].source): standing.document()}
    api.desk.store.commit(Unit(recorded_at_us=now_us, runs=runs, marks=marks))
    since = format_instant(standing.since_us)
    _status, found = await api.ask("GET", "/api/v1/services/portal", admin)
    assert found["degraded"] == [
        {
            "check": "slow",
            "location": "jkt-1",
            "since": since,
            "duration_seconds": "0.600000",
            "usual_seconds": "0.100000",
            "usual_runs": 42,
        }
    ]
    shown = {run["check"]: run["pace"] for run in found["runs"]}
    assert shown["slow"] == {"state": "degraded", "since": since, "usual_seconds": "0.100000", "usual_runs": 42}
    assert shown["young"] == {"state": "unknown", "since": None, "usual_seconds": None, "usual_runs": 0}
    api.desk.at_us += SPEAKS_US
    _status, found = await api.ask("GET", "/api/v1/services/portal", admin)
    assert found["degraded"] == []
    shown = {run["check"]: run["pace"] for run in found["runs"]}
    assert shown["slow"] == {"state": "unknown", "since": None, "usual_seconds": "0.100000", "usual_runs": 42}


async def test_a_window_is_announced_extended_noticed_and_cancelled(api: Api) -> None:
    text = api.desk.token(Scope.MAINTENANCE, id_="ops-desk")
    status, effects = await api.ask("POST", "/api/v1/maintenance?preview=true", text, json=WINDOW)
    assert (status, effects) == (200, {"effects": []})
    assert "maintenance" not in entries(api)

    status, done = await api.ask("POST", "/api/v1/maintenance", text, json=WINDOW)
    assert status == 201
    (window,) = done["recorded"]
    assert (window["id"], window["by"], window["summary"]) == ("m-1", "ops-desk", "database upgrade")

    longer = {"end": "2026-04-21T03:00:00+07:00", "summary": "takes longer"}
    status, done = await api.ask("POST", "/api/v1/maintenance/m-1/extend", text, json=longer)
    assert status == 201
    assert (done["recorded"][0]["extends"], done["recorded"][0]["by"]) == ("m-1", "ops-desk")
    assert (await api.ask("POST", "/api/v1/maintenance/m-9/extend", text, json=longer))[0] == 404

    notice = {"partner": "acme", "at": "2026-04-15T08:00:00+07:00", "evidence": "mail 4711", "channel": "email"}
    assert (await api.ask("POST", "/api/v1/maintenance/m-1/notices", text, json=notice))[0] == 201
    assert (await api.ask("POST", "/api/v1/maintenance/m-1/cancel", text, json={}))[0] == 201
    status, told = await api.ask("POST", "/api/v1/maintenance/m-1/finish", text, json={})
    assert status == 409, "it was cancelled"
    assert told["detail"]
    assert [kind for kind in entries(api) if "maint" in kind or kind == "notice"] == [
        "maintenance",
        "maintenance",
        "notice",
        "maintenance_cancelled",
    ]


async def test_an_exclusion_changes_the_month_as_its_preview_said(api: Api) -> None:
    text = api.desk.token(Scope.EXCLUSIONS, id_="auditor")
    reader = api.desk.token(Scope.STATEMENTS)

    async def availability() -> str:
        _status, found = await api.ask("GET", "/api/v1/statements?month=2026-04&partner=acme", reader)
        return str(found[0]["availability"]["percent"])

    before = await availability()
    status, preview = await api.ask("POST", "/api/v1/exclusions?preview=true", text, json=SPAN)
    assert status == 200
    (effect,) = preview["effects"]
    assert (effect["statement"], effect["availability_before"]) == ("2026-04/acme/portal", f"{before} %")
    assert await availability() == before

    status, done = await api.ask("POST", "/api/v1/exclusions", text, json=SPAN)
    assert status == 201
    assert done["recorded"][0]["by"] == "auditor"
    assert f"{await availability()} %" == effect["availability_after"]

    name = done["recorded"][0]["id"]
    note = {"note": "the data centre withdrew its report"}
    assert (await api.ask("POST", f"/api/v1/exclusions/{name}/reverse", text, json=note))[0] == 201
    assert await availability() == before
    assert (await api.ask("POST", f"/api/v1/exclusions/{name}/reverse", text, json=note))[0] == 409
    assert (await api.ask("POST", "/api/v1/exclusions/j-1/reverse", text, json=note))[0] == 404


async def test_a_partner_claims_for_itself_only(api: Api) -> None:
    text = api.desk.token(Scope.CLAIMS, partner="acme", id_="acme-desk")
    claim = {"partner": "acme", "service": "portal", "month": "2026-03"}
    status, done = await api.ask("POST", "/api/v1/claims", text, json=claim)
    assert status == 201
    assert (done["recorded"][0]["type"], done["recorded"][0]["by"]) == ("claim", "acme-desk")
    foreign = {"partner": "bumi", "service": "billing", "month": "2026-04"}
    assert (await api.ask("POST", "/api/v1/claims", text, json=foreign))[0] == 403
    status, told = await api.ask("POST", "/api/v1/claims", text, json={**claim, "month": "2025-01"})
    assert status == 409
    assert told["detail"]


REPORT: dict[str, Any] = {
    "service": "portal",
    "priority": "P1",
    "summary": "orders fail",
    "partner": "acme",
    "reporter": {"name": "Rina Wulandari", "email": "rina@acme.example"},
    "pieces": {"expected": "an order number", "actual": "error 500"},
}


async def test_an_incident_is_opened_and_worked_on_and_its_reporter_stays_beside_the_chain(api: Api) -> None:
    text = api.desk.token(Scope.INCIDENTS, id_="desk-1")
    assert (await api.ask("POST", "/api/v1/incidents?preview=true", text, json=REPORT))[0] == 200
    assert list(api.desk.persons.kept()) == []
    status, done = await api.ask("POST", "/api/v1/incidents", text, json=REPORT)
    assert status == 201
    name = done["recorded"][0]["id"]
    assert "rina" not in json.dumps(done).lower()
    (reference,) = api.desk.persons.kept()
    assert reference in json.dumps(done)
    for verb, body in (
        ("ack", {}),
        ("assign", {"assignee": "dewi"}),
        ("supply", {"pieces": {"steps": "log in, then order"}}),
        ("pause", {"note": "waiting for the log", "partner": "acme"}),
        ("resume", {"partner": "acme"}),
        ("priority", {"priority": "P2", "note": "one region only"}),
        ("escalate", {"reason": "stalled_progress", "note": "no news for an hour", "partner": "acme"}),
        ("plan", {"note": "roll back, then patch"}),
        ("call", {"note": "at 14:00"}),
        ("workaround", {"note": "traffic moved"}),
        ("fix", {"note": "release 4.2.1"}),
        ("close", {}),
        ("reopen", {"note": "it is back"}),
    ):
        api.desk.at_us += 1_000_000
        status, done = await api.ask("POST", f"/api/v1/incidents/{name}/{verb}", text, json=body)
        assert status == 201, (verb, done)
        assert done["recorded"][0]["by"] == "desk-1"


async def test_a_report_that_is_refused_leaves_nobody_s_data(api: Api, admin: str) -> None:
    nameless = {**REPORT, "reporter": {"email": "rina@acme.example"}}
    status, told = await api.ask("POST", "/api/v1/incidents", admin, json=nameless)
    assert (status, "needs its reporter" in told["detail"]) == (409, True)
    assert list(api.desk.persons.kept()) == []
    assert (await api.ask("POST", "/api/v1/incidents/i-9/ack", admin, json={}))[0] == 409
    assert (await api.ask("POST", "/api/v1/incidents", admin, json={**REPORT, "reporter": {"age": "7"}}))[0] == 400


async def test_reloading_says_why_the_old_configuration_holds(api: Api, admin: str) -> None:
    assert await api.ask("POST", "/-/reload", admin) == (200, {"reloaded": True, "kept_while_not_up": ["billing"]})
    api.desk.why_not_reloaded = "the old configuration holds: no"
    status, told = await api.ask("POST", "/-/reload", admin)
    assert (status, told["detail"]) == (409, "the old configuration holds: no")
    assert (await api.ask("GET", "/-/reload", admin))[0] == 405
    assert api.desk.reloads == 2


async def test_nothing_is_read_or_decided_before_it_is_ready(api: Api, admin: str) -> None:
    api.not_ready.append("the ledger is being replayed")
    for method, path, more in (
        ("GET", "/api/v1/statements?month=2026-04", {}),
        ("POST", "/api/v1/maintenance", {"json": WINDOW}),
    ):
        status, told = await api.ask(method, path, admin, **more)
        assert (status, "replayed" in told["detail"]) == (503, True)
    assert (await api.ask("POST", "/-/reload", admin))[0] == 200


# Bodies.


def _nested(depth: int) -> bytes:
    return b'{"services":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"{}", 400),
        (json.dumps({**WINDOW, "summary": float("nan")}).encode(), 400),
        (json.dumps(WINDOW).replace('"database upgrade"', "Infinity").encode(), 400),
        (_nested(30_000), 400),
        (_nested(100_000), 413),
        (b'{"start":' + b"1" * 50_000 + b"}", 400),
        (json.dumps({**WINDOW, "more": 1}).encode(), 400),
        (json.dumps({**WINDOW, "start": 1_776_700_000}).encode(), 400),
        (json.dumps({**WINDOW, "start": "2026-04-20T23:00:00"}).encode(), 400),
        (json.dumps({**WINDOW, "start": "9999-12-31T23:59:59-23:59"}).encode(), 400),
        (json.dumps({**WINDOW, "services": []}).encode(), 400),
        (json.dumps({**WINDOW, "services": "portal"}).encode(), 400),
        (json.dumps({**WINDOW, "services": ["portal"] * 101}).encode(), 400),
        (json.dumps({**WINDOW, "services": ["../etc/passwd"]}).encode(), 400),
        (json.dumps({**WINDOW, "services": ["nothing"]}).encode(), 409),
        (json.dumps({**WINDOW, "summary": "a" * (MAX_TEXT + 1)}).encode(), 400),
        (json.dumps({**WINDOW, "summary": "bell \x07"}).encode(), 400),
        (json.dumps({**WINDOW, "summary": " "}).encode(), 400),
        (b'{"summary": "\xff"}', 400),
        (b'{"summary": "\\ud800"}', 400),
        (json.dumps({**WINDOW, "summary": "a" * BODY_LIMIT_BYTES}).encode(), 413),
    ],
)
async def test_a_body_that_is_no_good_is_refused_and_records_nothing(
    api: Api, admin: str, raw: bytes, status: int
) -> None:
    before = entries(api)
    headers = {"Content-Type": "application/json"}
    found, told = await api.ask("POST", "/api/v1/maintenance", admin, data=raw, headers=headers)
    assert found == status
    assert len(told["detail"]) < 4000
    assert entries(api) == before
    assert (await api.ask("GET", "/-/healthy"))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "multipart/form-data; boundary=x"},
    ],
)
async def test_a_body_of_another_kind_is_415(api: Api, admin: str, headers: dict[str, str]) -> None:
    raw = json.dumps(WINDOW).encode()
    assert (await api.ask("POST", "/api/v1/maintenance", admin, data=raw, headers=headers))[0] == 415
    assert "maintenance" not in entries(api)


async def _endless(chunk: bytes, sent: list[int]) -> AsyncIterator[bytes]:
    while True:
        sent.append(len(chunk))
        yield chunk


async def test_a_body_without_end_is_413_after_what_is_allowed(api: Api, admin: str) -> None:
    sent: list[int] = []
    headers = {"Authorization": f"Bearer {admin}", "Content-Type": "application/json"}
    try:
        async with api.http.post("/api/v1/maintenance", data=_endless(b"a" * 16_384, sent), headers=headers) as answer:
            assert answer.status == 413
    except OSError:
        pass  # the connection may be closed before the answer is seen
    assert "maintenance" not in entries(api)
    assert (await api.ask("GET", "/-/healthy"))[0] == 200


async def test_a_body_that_does_not_come_is_408(api: Api, admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "BODY_WITHIN_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.listening.port)
    head = f"POST /api/v1/maintenance HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\n"
    writer.write(f'{head}Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{{"services"'.encode())
    async with asyncio.timeout(30):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    writer.close()
    await writer.wait_closed()


# /probe.

RUN = Run(
    service="portal",
    check="a",
    location="jkt-1",
    start_us=1,
    outcome=Outcome.FAIL,
    reason="http_status",
    duration_us=250_000,
    steps=(
        StepRecord(
            name="get",
            duration_us=200_000,
            phases_us=(("resolve", 1000), ("connect", 2000), ("tls", 3000), ("processing", 4000), ("transfer", 5000)),
            http_status=503,
            cert_not_after_s=1_800_000_000,
        ),
        StepRecord(
            name="clean up", duration_us=50_000, phases_us=(("resolve", 9_000_000),), http_status=204, final=True
        ),
    ),
)


async def test_the_probe_speaks_the_blackbox_exporter_s_names(api: Api, admin: str) -> None:
    api.desk.runs["portal", "a"] = RUN
    status, text = await api.ask("GET", "/probe?target=portal/a", admin)
    assert status == 200
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert {name: float(value) for name, value in lines.items()} == {
        "probe_success": 0,
        "probe_duration_seconds": 0.25,
        "probe_dns_lookup_time_seconds": 0.001,
        "probe_ssl_earliest_cert_expiry": 1_800_000_000,
        "probe_http_status_code": 503,
        "probe_http_ssl": 1,
        'probe_http_duration_seconds{phase="resolve"}': 0.001,
        'probe_http_duration_seconds{phase="connect"}': 0.002,
        'probe_http_duration_seconds{phase="tls"}': 0.003,
        'probe_http_duration_seconds{phase="processing"}': 0.004,
        'probe_http_duration_seconds{phase="transfer"}': 0.005,
    }


async def test_the_probe_tells_nothing_where_nothing_is_known(api: Api, admin: str) -> None:
    api.desk.runs["portal", "a"] = None
    assert (await api.ask("GET", "/probe?target=portal/a", admin))[0] == 503
    api.desk.runs["portal", "a"] = Run(
        service="portal", check="a", location="j", start_us=1, outcome=Outcome.INCONCLUSIVE, reason="late"
    )
    status, told = await api.ask("GET", "/probe?target=portal/a", admin)
    assert (status, "late" in told["detail"]) == (503, True)
    assert (await api.ask("GET", "/probe?target=portal/b", admin))[0] == 404
    for target in ("", "portal", "portal/", "/a"):
        assert (await api.ask("GET", f"/probe?target={target}", admin))[0] == 400

"""Who may what: every route of the router against every kind of credential, by a table that is written out here."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.core.run import Outcome, Run
from monitor.web import peers
from monitor.web.pages import _RULES
from monitor.web.routes import ROUTES, Route
from monitor.web.tokens import Scope
from tests.web.conftest import Api

# Method and path: the scope, and whether a partner's token may (for its own). None is public. INTERFACES, "HTTP".
RULES: dict[tuple[str, str], tuple[str | None, bool]] = {
    ("GET", "/"): (None, False),
    ("GET", "/-/healthy"): (None, False),
    ("GET", "/-/ready"): (None, False),
    ("GET", "/metrics"): (None, False),
    ("GET", "/api/v1/status"): (None, False),
    ("GET", "/api/v1/checkpoint"): (None, False),
    ("GET", "/api/v1/openapi.json"): (None, False),
    ("GET", "/api/v1/statements"): ("statements", True),
    ("GET", "/api/v1/services/{id}"): ("read", True),
    ("GET", "/api/v1/outages"): ("read", True),
    ("GET", "/probe"): ("read", True),
    ("POST", "/-/reload"): ("admin", False),
    ("POST", "/api/v1/maintenance"): ("maintenance", False),
    ("POST", "/api/v1/maintenance/{id}/extend"): ("maintenance", False),
    ("POST", "/api/v1/maintenance/{id}/cancel"): ("maintenance", False),
    ("POST", "/api/v1/maintenance/{id}/finish"): ("maintenance", False),
    ("POST", "/api/v1/maintenance/{id}/notices"): ("maintenance", False),
    ("POST", "/api/v1/exclusions"): ("exclusions", False),
    ("POST", "/api/v1/exclusions/{id}/reverse"): ("exclusions", False),
    ("POST", "/api/v1/claims"): ("claims", True),
    ("POST", "/api/v1/incidents"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/supply"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/ack"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/assign"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/workaround"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/fix"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/close"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/reopen"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/pause"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/resume"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/priority"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/escalate"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/plan"): ("incidents", False),
    ("POST", "/api/v1/incidents/{id}/call"): ("incidents", False),
}

# A request of each route that its rule lets pass and that then does what it is for.
WINDOW = {
    "services": ["portal"],
    "start": "2026-04-20T23:00:00+07:00",
    "end": "2026-04-21T01:00:00+07:00",
    "summary": "upgrade",
}
QUERIES: dict[str, dict[str, str]] = {
    "/api/v1/statements": {"month": "2026-04", "partner": "acme"},
    "/api/v1/outages": {"service": "portal"},
    "/probe": {"target": "portal/a"},
}
CLAIM = {"partner": "acme", "service": "portal", "month": "2026-04"}


def served(api: Api) -> dict[tuple[str, str], web.AbstractRoute]:
    """What the router really holds, HEAD left out: it is GET without a body, and tried beside it."""
    app = api.listening.runner.app
    return {
        (route.method, route.resource.canonical): route
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


async def test_every_route_of_the_router_has_the_rule_that_is_written_here(api: Api) -> None:
    found = {key: (None if key not in _RULES else (_RULES[key].scope, _RULES[key].partners)) for key in served(api)}
    assert found == RULES


def test_the_table_of_the_document_is_the_router_s(project_root: Path) -> None:
    row = re.compile(r"\| `(GET|POST)` \| `([^`]+)` \| (?:(public)|`([a-z]+)`(, a partner's for its own)?) \| (.+) \|")
    text = (project_root / "docs" / "api.md").read_text(encoding="utf-8")
    told = {
        (found[1], found[2]): (found[4], bool(found[5])) for found in map(row.fullmatch, text.splitlines()) if found
    }
    assert told == RULES


def credentials(api: Api) -> dict[str, str | None]:
    """Every kind of credential, by what it is."""
    desk = api.desk
    made: dict[str, str | None] = {"none": None, "wrong": "jaga_" + "A" * 43, "empty": "", "no token": "\u00fc" * 30}
    made["expired"] = desk.token(Scope.ADMIN, id_="old", expires_us=desk.at_us + 1)
    made["revoked"] = desk.token(Scope.ADMIN, id_="gone")
    desk.tokens.revoke("gone", now_us=desk.at_us)
    made |= {scope.value: desk.token(scope, id_=scope.value) for scope in Scope}
    for partner in ("acme", "bumi"):
        for scope in (Scope.READ, Scope.STATEMENTS, Scope.CLAIMS):
            made[f"{partner} {scope}"] = desk.token(scope, partner=partner, id_=f"{partner}-{scope}")
    desk.at_us += 1
    return made


def expected(route: Route, kind: str) -> int | None:
    """401 or 403, or None where the rule lets it pass. A foreign partner is told from the own one by its name here."""
    scope, partners = RULES[route.method, route.path]
    if scope is None:
        return None
    if kind in {"none", "wrong", "empty", "no token", "expired", "revoked"}:
        return 401
    partner, _space, has = kind.rpartition(" ")
    if has not in {scope, "admin"}:
        return 403
    if not partner:
        return None
    return None if partners and partner == "acme" else 403


async def test_each_route_with_each_credential(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.listening.guard._failures, "take", lambda _peer: True)
    monkeypatch.setattr(api.listening.runner.app[_requests(api)], "take", lambda _peer: True)
    api.desk.runs["portal", "a"] = Run(
        service="portal", check="a", location="jkt-1", start_us=api.desk.at_us, outcome=Outcome.PASS
    )
    made = credentials(api)
    for route in ROUTES:
        for kind, token in made.items():
            methods = [route.method, *(["HEAD"] if route.method == "GET" else [])]
            for method in methods:
                status = await _status(api, route, method, token)
                wanted = expected(route, kind)
                assert (status == wanted) if wanted else (status not in {401, 403}), (method, route.path, kind, status)


def _requests(api: Api) -> Any:  # noqa: ANN401 - a key of the application
    return next(key for key in api.listening.runner.app if "requests" in str(key))


async def _status(api: Api, route: Route, method: str, token: str | None) -> int:
    body = CLAIM if route.path.endswith("claims") else WINDOW
    more: dict[str, Any] = {"json": body} if method == "POST" else {"params": QUERIES.get(route.path, {})}
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    path = route.path.replace("{id}", "portal")
    async with api.http.request(method, path, headers=headers, **more) as answer:
        if method != "HEAD" and answer.status in {401, 403}:
            assert answer.content_type == "application/problem+json"
            challenge = answer.headers.get("WWW-Authenticate", "")
            assert challenge.startswith("Bearer") or "is for" in await answer.text()
        return answer.status


async def test_a_route_without_a_rule_is_closed(api: Api, admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(_RULES, ("GET", "/api/v1/status"))
    status, told = await api.ask("GET", "/api/v1/status", admin)
    assert status == 403
    assert "no rule" in told["detail"]


async def test_an_unknown_path_is_404_whoever_asks(api: Api, admin: str) -> None:
    for token in (None, "jaga_wrong", admin):
        for path in ("/api/v1/nothing", "/api/v1/statements/", "/API/v1/status", "/api/v2/status"):
            assert (await api.ask("GET", path, token))[0] == 404
    assert (await api.ask("GET", "/-/reload"))[0] == 405
    assert (await api.ask("DELETE", "/api/v1/statements"))[0] == 405


async def test_a_revoked_token_is_refused_at_the_next_request(api: Api) -> None:
    text = api.desk.token(Scope.READ, id_="brief")
    assert (await api.ask("GET", "/api/v1/outages", text))[0] == 200
    api.desk.tokens.revoke("brief", now_us=api.desk.at_us)
    status, told = await api.ask("GET", "/api/v1/outages", text)
    assert (status, told["detail"]) == (401, "token brief is revoked")


async def test_a_token_in_the_query_is_no_token(api: Api, admin: str) -> None:
    assert (await api.ask("GET", f"/api/v1/outages?token={admin}&access_token={admin}"))[0] == 401


async def test_guessing_is_429_and_locks_nobody_out(api: Api, admin: str) -> None:
    api.listening.guard._failures._now_s = lambda: 0.0  # however long they take, nothing is forgiven meanwhile
    statuses = [(await api.ask("GET", "/api/v1/outages", f"jaga_{n}"))[0] for n in range(int(peers.FAILURES) + 5)]
    assert statuses[: int(peers.FAILURES)] == [401] * int(peers.FAILURES)
    assert statuses[-1] == 429
    assert (await api.ask("GET", "/api/v1/outages", admin))[0] == 200


async def test_tokens_that_cannot_be_read_open_nothing(api: Api, admin: str) -> None:
    api.desk.tokens.file.chmod(0o640)
    status, told = await api.ask("GET", "/api/v1/outages", admin)
    assert status == 503
    assert str(api.desk.tokens.file) not in told["detail"]
    assert (await api.ask("GET", "/metrics"))[0] == 200


async def test_who_asks_too_often_is_told_so_and_may_ask_again(api: Api) -> None:
    allowance = api.listening.runner.app[_requests(api)]
    clock = {"s": asyncio.get_running_loop().time()}
    allowance._now_s = lambda: clock["s"]
    statuses = {(await api.ask("GET", "/-/healthy"))[0] for _ in range(int(peers.BURST))}
    assert statuses == {200}
    status, _told = await api.ask("GET", "/-/healthy")
    assert status == 429
    clock["s"] += 1
    assert (await api.ask("GET", "/-/healthy"))[0] == 200


def test_peers_that_are_silent_are_forgotten() -> None:
    allowance = peers.Allowance(1, 2, lambda: 0.0)
    for n in range(peers.MAX_PEERS + 10):
        assert allowance.take(f"10.0.{n // 256}.{n % 256}")
    assert len(allowance._left) == peers.MAX_PEERS


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        (("192.0.2.7", 80), "192.0.2.7"),
        (("::ffff:192.0.2.7", 80, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3::9", 80, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 80, 0, 2), "fe80::/64"),
        (None, "unknown"),
    ],
)
def test_a_peer_is_an_address_or_a_network(address: object, peer: str) -> None:
    assert peers.peer_of(address) == peer


def test_the_gate_keeps_room_for_others() -> None:
    gate = peers.Gate(4)
    assert [gate.enter("a") for _ in range(3)] == [True, True, False]
    assert [gate.enter(peer) for peer in ("b", "c", "d")] == [True, True, False]
    gate.leave("a")
    assert gate.enter("d")
    assert gate.inside == 4

"""The description of the API: made of the routes, valid, and true of what the listener really answers."""

from __future__ import annotations

import asyncio

import pytest
from schemathesis.specs.openapi.checks import ignored_auth

from monitor.core.run import Outcome, Run
from monitor.web.openapi import document
from monitor.web.routes import ROUTES
from monitor.web.tokens import Scope
from tests.web.conftest import Api
from tests.web.fuzzing import CONFORMANCE, Caller, fuzz

EXAMPLES = 25
"""Requests of each operation and kind; more of them find more, and take longer."""

CHECKS = (*CONFORMANCE, ignored_auth)


async def test_it_is_public_and_describes_every_route(api: Api) -> None:
    status, found = await api.ask("GET", "/api/v1/openapi.json")
    assert status == 200
    assert found == document(ROUTES, "0.1.0")
    told = {(method.upper(), path) for path, item in found["paths"].items() for method in item}
    assert told == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        operation = found["paths"][route.path][route.method.lower()]
        assert bool(operation["security"]) == (route.rule.scope is not None)
        assert operation.get("x-scope") == (None if route.rule.scope is None else route.rule.scope.value)
    assert len({route.name for route in ROUTES}) == len(ROUTES)


@pytest.mark.slow
async def test_the_listener_answers_as_it_is_described(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (key for key in api.listening.runner.app if "requests" in str(key)):
        monkeypatch.setattr(api.listening.runner.app[key], "take", lambda _peer: True)
    monkeypatch.setattr(api.listening.guard._failures, "take", lambda _peer: True)
    api.desk.runs["portal", "a"] = Run(service="portal", check="a", location="j", start_us=1, outcome=Outcome.PASS)
    monkeypatch.setattr(api.desk, "latest", lambda service, check: api.desk.runs[service, check])
    token = api.desk.token(Scope.ADMIN, id_="fuzz")
    described = document(ROUTES, "0.1.0")
    broken = await asyncio.to_thread(
        fuzz, described, Caller(api.listening.url, token), examples=EXAMPLES, checks=CHECKS
    )
    assert broken == []

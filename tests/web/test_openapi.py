"""The description of the API: made of the routes, valid, and true of what the listener really answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
)

from monitor.core.run import Outcome, Run
from monitor.web.openapi import document
from monitor.web.routes import ROUTES
from monitor.web.tokens import Scope
from tests.web.conftest import Api

EXAMPLES = 25
"""Requests of each operation and kind; more of them find more, and take longer."""

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    ignored_auth,
)


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
    broken = await asyncio.to_thread(_fuzz, described, api.listening.url, token)
    assert broken == []


def _fuzz(described: dict[str, Any], url: str, token: str) -> list[str]:
    """Requests that fit the description and such that do not, of each operation; what was not as it says."""
    schema = schemathesis.openapi.from_dict(described)
    headers = {"Authorization": f"Bearer {token}"}
    broken: list[str] = []
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), "the description can be read"
        operation = found.ok()
        tried += _try(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), url, headers, broken)
        if operation.query or operation.body or operation.path_parameters:
            tried += _try(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), url, headers, broken)
    assert tried >= len(ROUTES), "nothing was tried"
    return broken


def _try(strategy: Any, url: str, headers: dict[str, str], broken: list[str]) -> int:  # noqa: ANN401 - hypothesis'
    count = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def run(case: Any) -> None:  # noqa: ANN401
        nonlocal count
        count += 1
        response = case.call(base_url=url, headers=headers, timeout=30)
        try:
            case.validate_response(response, checks=CHECKS)
        except BaseException as error:  # noqa: BLE001 - told with the request that showed it
            broken.append(f"{case.method} {case.path} {response.status_code}: {str(error)[:1500]}")

    run()
    return count

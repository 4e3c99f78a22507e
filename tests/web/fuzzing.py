"""Requests that fit the description of the API and such that do not, and whether what comes back is as it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from monitor.web.routes import ROUTES

CONFORMANCE = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
WITHIN_S = 30.0


class _From(HTTPAdapter):
    """Connections from one address of the loopback."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the base's
        super().init_poolmanager(*arguments, **options, source_address=(self._address, 0))


@dataclass
class Caller:
    """Who asks a listener. With `peers` the requests come from so many addresses in turn: one alone is slowed down."""

    url: str
    token: str
    peers: int = 0
    _sessions: list[requests.Session] = field(default_factory=list)
    _turn: Any = field(default_factory=count)

    def __post_init__(self) -> None:
        for number in range(self.peers):
            session = requests.Session()
            session.mount("http://", _From(f"127.0.1.{number + 1}"))
            self._sessions.append(session)

    def ask(self, case: Any) -> Any:  # noqa: ANN401 - schemathesis' case and response
        session = self._sessions[next(self._turn) % self.peers] if self.peers else None
        headers = {"Authorization": f"Bearer {self.token}"}
        return case.call(base_url=self.url, headers=headers, timeout=WITHIN_S, session=session)

    def close(self) -> None:
        for session in self._sessions:
            session.close()


def fuzz(described: dict[str, Any], caller: Caller, *, examples: int, checks: Sequence[Any]) -> list[str]:
    """Ask of each operation; what was not as it is described."""
    schema = schemathesis.openapi.from_dict(described)
    broken: list[str] = []
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), "the description can be read"
        operation = found.ok()
        modes = [GenerationMode.POSITIVE]
        if operation.query or operation.body or operation.path_parameters:
            modes.append(GenerationMode.NEGATIVE)
        for mode in modes:
            tried += _try(operation.as_strategy(generation_mode=mode), caller, examples, checks, broken)
    caller.close()
    assert tried >= len(ROUTES), "nothing was tried"
    return broken


def _try(strategy: Any, caller: Caller, examples: int, checks: Sequence[Any], broken: list[str]) -> int:  # noqa: ANN401 - hypothesis'
    tried = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def run(case: Any) -> None:  # noqa: ANN401
        nonlocal tried
        tried += 1
        response = caller.ask(case)
        try:
            case.validate_response(response, checks=list(checks))
        except BaseException as error:  # noqa: BLE001 - told with the request that showed it
            broken.append(f"{case.method} {case.path} {response.status_code}: {str(error)[:1500]}")

    run()
    return tried

"""Silences of Alertmanager (API v2) for maintenance that qualifies, on one peer: leased, so that what nobody renews
ends by itself within a few minutes, also where the daemon died in the middle of a window.

They cover the alerts about a service being down or impaired and no other: never those about the monitor, the ledger,
money or clocks. Facts of the API: Alertmanager 0.25, `api/v2/openapi.yaml` and `silence/silence.go: canUpdate` (an
active silence keeps its id while its matchers and its start are the same).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from monitor.core.instant import format_instant, parse_instant
from monitor.notify import DeliveryError, Quiet
from monitor.notify._http import post

QUIETED = ("JagaServiceDegraded", "JagaServiceDown", "SlaServiceDegraded", "SlaServiceDown")
"""The alerts that a window silences."""

_HEADERS = {"Content-Type": "application/json", "User-Agent": "jaga"}
_GONE = frozenset({404, 410})

Key = tuple[str, int]
"""Of a window: its service and its start. An extension that goes on without a gap is the same window."""


@dataclass(slots=True)
class _Held:
    """A silence of ours: its id, its start as the peer has it, and until when it is leased."""

    id: str
    start_us: int
    lease_us: int


@dataclass(slots=True)
class Silences:
    """The silences of one peer, whose address is `url`, each leased for `lease_us` at a time."""

    lease_us: int
    _held: dict[Key, _Held] = field(default_factory=dict)

    async def sync(self, url: str, quiet: Sequence[Quiet], now_us: int) -> None:
        """Make, prolong and end them, so that what is silent is `quiet`; DeliveryError where the peer refuses."""
        wanted = {(window.service, window.start_us): window for window in quiet}
        over = [self._end(url, key, now_us) for key in self._held if key not in wanted]
        leased = [self._lease(url, key, window, now_us) for key, window in wanted.items()]
        refused: DeliveryError | None = None
        for asked in (*over, *leased):
            try:
                await asked
            except DeliveryError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    async def _lease(self, url: str, key: Key, window: Quiet, now_us: int) -> None:
        held = self._held.get(key)
        start_us = max(window.start_us, now_us) if held is None else held.start_us
        end_us = min(window.end_us, max(start_us, now_us) + self.lease_us)
        body: dict[str, Any] = {
            "matchers": [
                {"name": "sla_service", "value": window.service, "isRegex": False, "isEqual": True},
                {"name": "alertname", "value": "|".join(QUIETED), "isRegex": True, "isEqual": True},
            ],
            "startsAt": format_instant(start_us),
            "endsAt": format_instant(end_us),
            "createdBy": "jaga",
            "comment": f"maintenance of {window.service} until {format_instant(window.end_us)}; renewed while it lasts",
        }
        if held is not None:
            body["id"] = held.id
        try:
            answer = await post(f"{url}/api/v2/silences", orjson.dumps(body), _HEADERS)
        except DeliveryError:
            # The peer may have forgotten it, or know another start: the next statement makes a new one.
            self._held.pop(key, None)
            raise
        id_ = _field(answer.text, "silenceID")
        if held is None or held.id != id_:
            start_us = await self._start_us(url, id_)
        self._held[key] = _Held(id_, start_us, end_us)

    async def _start_us(self, url: str, id_: str) -> int:
        """When a silence begins by the peer's clock: one that should have begun already begins when it arrives."""
        answer = await post(f"{url}/api/v2/silence/{id_}", b"", _HEADERS, method="GET")
        return parse_instant(_field(answer.text, "startsAt"))

    async def _end(self, url: str, key: Key, now_us: int) -> None:
        """Its window is over, finished or cancelled. One whose lease is over has ended by itself."""
        held = self._held[key]
        if now_us < held.lease_us:
            await post(f"{url}/api/v2/silence/{held.id}", b"", _HEADERS, method="DELETE", also_taken=_GONE)
        del self._held[key]


def _field(text: str, name: str) -> str:
    """A text of a JSON answer; DeliveryError where it has none."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    value = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(value, str):
        raise DeliveryError(f"its answer has no {name}", retryable=True)
    return value

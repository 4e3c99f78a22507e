"""Alertmanager (API v2) as a level: everything that is wrong is stated again and again, to every peer.

An alert lives as long as it is repeated (`endsAt` = now + 4 intervals: three repetitions may be lost). What is over is
said to be over for 15 minutes, so that a peer that was away learns of it too. Labels are stable, as they are the
identity of an alert; figures stand in annotations. Facts of the API: Alertmanager 0.25, `api/v2/openapi.yaml`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from monitor.core.instant import MINUTE_US, format_instant
from monitor.notify import Alert, DeliveryError, Quiet, Secret
from monitor.notify._http import post
from monitor.notify._silences import Silences

ENDS_AFTER = 4
RESOLVED_FOR_US = 15 * MINUTE_US
PATH = "/api/v2/alerts"
NOTHING = b"[]"
PARTLY_TAKEN = frozenset({400})
"""The answer to a batch with a bad alert in it; its good alerts are in force all the same."""

Identity = tuple[tuple[str, str], ...]


@dataclass(slots=True, kw_only=True)
class AlertmanagerLevel:
    """States alerts to all of `urls`, to be called every `every_us`. `labels` are added to those of each alert.

    With `quiet` also the silences of maintenance, by the same lease; a peer that refuses one has not taken it all.
    """

    urls: Sequence[str] = field(repr=False)
    every_us: int
    look_up: Secret
    labels: Mapping[str, str] = field(default_factory=dict)
    quiet: Callable[[], Sequence[Quiet]] | None = None
    _silences: dict[str, Silences] = field(default_factory=dict)
    _stated: dict[Identity, Alert] = field(default_factory=dict)
    _over: dict[Identity, tuple[Alert, int]] = field(default_factory=dict)

    async def sync(self, active: Sequence[Alert], now_us: int) -> None:
        """State what is wrong, and what no longer is; DeliveryError where not one peer took it."""
        self._turn(active, now_us)
        body = orjson.dumps([self._written(*stated, now_us) for stated in self._all()])
        answers = await asyncio.gather(*(self._tell(url, body, now_us) for url in self.urls), return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        for error in errors:
            if not isinstance(error, DeliveryError):
                raise error
        if len(errors) == len(answers):
            raise DeliveryError("no peer took it: " + "; ".join(map(str, errors)), retryable=True)

    def _turn(self, active: Sequence[Alert], now_us: int) -> None:
        now = {alert.identity: alert for alert in active}
        for identity, alert in self._stated.items():
            if identity not in now:
                self._over[identity] = (alert, now_us)
        self._stated = now
        self._over = {
            identity: (alert, ended_us)
            for identity, (alert, ended_us) in self._over.items()
            if identity not in now and now_us - ended_us < RESOLVED_FOR_US
        }

    def _all(self) -> list[tuple[Alert, int | None]]:
        return [*((alert, None) for alert in self._stated.values()), *self._over.values()]

    def _written(self, alert: Alert, ended_us: int | None, now_us: int) -> dict[str, Any]:
        ends_us = now_us + ENDS_AFTER * self.every_us if ended_us is None else ended_us
        return {
            "labels": {**self.labels, **alert.labels},
            "annotations": dict(alert.annotations),
            "startsAt": format_instant(alert.since_us),
            "endsAt": format_instant(ends_us),
        }

    async def _tell(self, url: str, body: bytes, now_us: int) -> None:
        try:
            peer = self.look_up(url).rstrip("/")
        except LookupError as error:
            raise DeliveryError(str(error), retryable=False) from None
        if body != NOTHING:
            headers = {"Content-Type": "application/json", "User-Agent": "jaga"}
            await post(peer + PATH, body, headers, also_taken=PARTLY_TAKEN)
        if self.quiet is not None:
            silences = self._silences.setdefault(url, Silences(ENDS_AFTER * self.every_us))
            await silences.sync(peer, self.quiet(), now_us)

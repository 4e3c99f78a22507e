"""A run's HTTP steps as an HTTP Archive (HAR 1.2), for the tools that draw one.

Addresses stand as the configuration writes them, marks unreplaced and without a query: nothing in an archive is secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.core.instant import to_datetime
from probes import Phase, Result, StepTrace
from probes.transaction import Spec

_NOT_KNOWN = -1


def archive(spec: Spec, result: Result, *, started_us: int, version: str) -> dict[str, Any]:
    """The archive of a run that started at `started_us`; steps that speak no HTTP or never went out are left out."""
    settings = {step.name: step.spec for step in (*spec.steps, *spec.finally_) if step.kind == "http"}
    entries: list[dict[str, Any]] = []
    at_us = started_us
    for step in result.steps:
        if step.name in settings and step.phases_ns:
            entries.append(_entry(step, settings[step.name], at_us))
        at_us += step.duration_ns // 1000
    creator = {"name": "jaga", "version": version}
    return {"log": {"version": "1.2", "creator": creator, "pages": [], "entries": entries}}


def _entry(step: StepTrace, settings: Any, at_us: int) -> dict[str, Any]:  # noqa: ANN401 - the settings of http
    unknown = {
        "cookies": [],
        "headers": [],
        "headersSize": _NOT_KNOWN,
        "bodySize": _NOT_KNOWN,
        "httpVersion": "HTTP/1.1",
    }
    bare = settings.url.partition("#")[0].partition("?")[0]
    return {
        "startedDateTime": to_datetime(at_us).isoformat(timespec="milliseconds"),
        "time": _ms(step.duration_ns),
        "request": unknown | {"method": settings.method, "url": bare, "queryString": []},
        "response": unknown
        | {
            "status": step.http_status or 0,
            "statusText": "",
            "content": {"size": _NOT_KNOWN, "mimeType": ""},
            "redirectURL": step.redirects[-1] if step.redirects else "",
        },
        "cache": {},
        "timings": _timings(step.phases_ns),
        "comment": step.name if step.error is None else f"{step.name}: {step.error}",
    }


def _timings(phases_ns: Mapping[Phase, int]) -> dict[str, float]:
    """The phases in milliseconds, -1 for one there was not; `connect` holds `ssl`, as the format has it."""
    ssl_ns = phases_ns.get(Phase.TLS)
    connect_ns = phases_ns.get(Phase.CONNECT)
    whole_ns = None if connect_ns is None else connect_ns + (ssl_ns or 0)
    return {
        "blocked": _NOT_KNOWN,
        "dns": _ms(phases_ns.get(Phase.RESOLVE)),
        "connect": _ms(whole_ns),
        "ssl": _ms(ssl_ns),
        "send": 0,
        "wait": max(0, _ms(phases_ns.get(Phase.PROCESSING))),
        "receive": max(0, _ms(phases_ns.get(Phase.TRANSFER))),
    }


def _ms(spent_ns: int | None) -> float:
    return _NOT_KNOWN if spent_ns is None else round(spent_ns / 1e6, 3)

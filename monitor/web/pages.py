"""The daemon's pages: metrics, health, status as JSON, a landing page. It shows what it is handed, computing nothing.

Everything served here is public (INTERFACES, HTTP): there is nothing that writes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from aiohttp import web

from monitor.storage import StoreError
from monitor.web.landing import Landing

BODY_LIMIT_BYTES = 64 * 1024
HEADER_LIMIT_BYTES = 8190
ANSWER_WITHIN_S = 10.0
KEEPALIVE_S = 75.0
SHUTDOWN_S = 2.0

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What the pages show. `not_ready` gives the reason while the daemon is not ready, else None; `unreadable` the one
    while the ledger cannot be read yet either (None: whenever it is not ready): a store that takes nothing is read.

    `metrics` takes the request's Accept header and gives the exposition with its content type; `status` gives the
    document of `monitor.web.status`. `damage` says why the ledger is only read, None while it is sound; what can be
    read is shown then too. `checkpoint` is the newest signed one, None before the first.
    """

    version: str
    not_ready: Callable[[], str | None]
    metrics: Callable[[str], Awaitable[tuple[bytes, str]]]
    status: Callable[[], Awaitable[Mapping[str, Any]]]
    damage: Callable[[], str | None] = lambda: None
    checkpoint: Callable[[], str | None] = lambda: None
    unreadable: Callable[[], str | None] | None = None

    def why_unreadable(self) -> str | None:
        """Why the status cannot be shown, None if it can."""
        return (self.unreadable or self.not_ready)()


_HANDED = web.AppKey("handed", Handed)
_LANDING = web.AppKey("landing", Landing)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(handed: Handed) -> web.Application:
    """The application with its routes; unknown paths are 404, every error is a problem document (RFC 9457)."""
    app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[_secured, _problems, _in_time])
    app[_HANDED] = handed
    app[_LANDING] = Landing()
    app.add_routes(
        [
            web.get("/", _landing),
            web.get("/-/healthy", _healthy),
            web.get("/-/ready", _ready),
            web.get("/metrics", _metrics),
            web.get("/api/v1/status", _status),
            web.get("/api/v1/checkpoint", _checkpoint),
        ],
    )
    return app


@dataclass(slots=True, kw_only=True)
class Listening:
    """The pages, served at `host:port` until `stop`."""

    host: str
    port: int
    runner: web.AppRunner

    @property
    def url(self) -> str:
        """Where a browser finds them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def stop(self) -> None:
        """Close the port; requests under way have SHUTDOWN_S to finish."""
        await self.runner.cleanup()


async def listen(handed: Handed, host: str, port: int) -> Listening:
    """Serve on `host:port` (0: any free port); OSError where it cannot be bound."""
    runner = web.AppRunner(
        make_app(handed),
        access_log=None,
        handle_signals=False,
        keepalive_timeout=KEEPALIVE_S,
        max_line_size=HEADER_LIMIT_BYTES,
        max_field_size=HEADER_LIMIT_BYTES,
        shutdown_timeout=SHUTDOWN_S,
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        cause = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"listen on {host}:{port}: {cause} (web.listen names another)") from error
    bound = runner.addresses[0]
    return Listening(host=bound[0], port=bound[1], runner=runner)


@web.middleware
async def _secured(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every answer says what a browser may do with it: nothing, but for the page's own style."""
    answer = await handler(request)
    answer.headers.update(_SECURITY_HEADERS)
    answer.headers.setdefault("Content-Security-Policy", _NOTHING)
    return answer


@web.middleware
async def _problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Errors as problem documents; what went wrong inside is logged, and not shown."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        kept = {name: value for name, value in error.headers.items() if name == "Allow"}
        return _problem(HTTPStatus(error.status), _detail(error), kept)
    except TimeoutError:
        _log.error("page timed out", path=request.path, within_s=ANSWER_WITHIN_S)
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, f"no answer within {ANSWER_WITHIN_S:g} s", {})
    except Exception:  # noqa: BLE001 - whatever a page does, the daemon goes on; the log has the traceback
        _log.exception("page failed", path=request.path)
        return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the log tells more", {})


@web.middleware
async def _in_time(request: web.Request, handler: _Handler) -> web.StreamResponse:
    async with asyncio.timeout(ANSWER_WITHIN_S):
        return await handler(request)


def _detail(error: web.HTTPException) -> str:
    if error.status == HTTPStatus.NOT_FOUND:
        return "there is no such page; / lists those there are"
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"this page answers {error.headers.get('Allow', 'GET')}"
    return error.reason


def _problem(status: HTTPStatus, detail: str, headers: Mapping[str, str]) -> web.Response:
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return web.Response(
        body=orjson.dumps(body),
        status=status.value,
        content_type="application/problem+json",
        headers=headers,
    )


async def _landing(request: web.Request) -> web.Response:
    handed, landing = request.app[_HANDED], request.app[_LANDING]
    reason = handed.not_ready()
    status = None if handed.why_unreadable() or handed.damage() else await handed.status()
    text = landing.render(version=handed.version, not_ready=reason, status=status, checkpoint=handed.checkpoint())
    return web.Response(
        text=text,
        content_type="text/html",
        headers={"Content-Security-Policy": landing.policy},
    )


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="healthy\n")


async def _ready(request: web.Request) -> web.Response:
    reason = request.app[_HANDED].not_ready()
    if reason is None:
        return web.Response(text="ready\n")
    return web.Response(text=f"not ready: {reason}\n", status=HTTPStatus.SERVICE_UNAVAILABLE)


async def _metrics(request: web.Request) -> web.Response:
    body, content_type = await request.app[_HANDED].metrics(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


async def _status(request: web.Request) -> web.Response:
    handed = request.app[_HANDED]
    reason = handed.why_unreadable()
    if reason is not None and handed.damage() is None:
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {reason}", {})
    try:
        document = await handed.status()
    except StoreError as error:
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the record cannot be read: {error.cause}", {})
    return web.Response(body=orjson.dumps(document), content_type="application/json")


async def _checkpoint(request: web.Request) -> web.Response:
    """The newest signed checkpoint, as its note (C2SP tlog-checkpoint)."""
    note = request.app[_HANDED].checkpoint()
    if note is None:
        return _problem(HTTPStatus.NOT_FOUND, "no checkpoint has been signed yet", {})
    return web.Response(text=note, content_type="text/plain")

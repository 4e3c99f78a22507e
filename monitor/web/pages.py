"""The listener: one application of the table of routes, behind a guard, behind limits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
import structlog
from aiohttp import web

from monitor.storage import StoreError
from monitor.web import openapi
from monitor.web.access import Guard, Rule
from monitor.web.connections import BACKLOG, Connection
from monitor.web.desk import DESK, Desk
from monitor.web.landing import Landing
from monitor.web.passwords import Passwords
from monitor.web.peers import BURST, REQUESTS_PER_S, Allowance, Gate, most_connections
from monitor.web.problems import ProblemError, problem
from monitor.web.public import DESCRIPTION, HANDED, LANDING, Handed
from monitor.web.routes import ROUTES
from monitor.web.tls import Web

BODY_LIMIT_BYTES = 64 * 1024
ANSWER_WITHIN_S = 10.0
SHUTDOWN_S = 2.0

_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "interest-cohort=()",
    "Cache-Control": "no-store",
    "Server": "jaga",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_HSTS = "max-age=31536000"

_GUARD = web.AppKey("guard", Guard)
_REQUESTS = web.AppKey("requests", Allowance)
_RULES = {(route.method, route.path): route.rule for route in ROUTES}

_log = structlog.get_logger()

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(handed: Handed, desk: Desk, guard: Guard, now_s: Callable[[], float]) -> web.Application:
    """The application with its routes; unknown paths are 404, every error is a problem document (RFC 9457)."""
    middlewares = [_secured, _problems, _limited, _guarded, _in_time]
    app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=middlewares)
    app[HANDED], app[DESK], app[LANDING], app[_GUARD] = handed, desk, Landing(), guard
    app[_REQUESTS] = Allowance(REQUESTS_PER_S, BURST, now_s)
    app[DESCRIPTION] = orjson.dumps(openapi.document(ROUTES, handed.version))
    app.add_routes([web.route(route.method, route.path, route.handler) for route in ROUTES])
    app.add_routes([web.head(route.path, route.handler) for route in ROUTES if route.method == "GET"])
    return app


@dataclass(slots=True, kw_only=True)
class Listening:
    """The pages, served at `host:port` until `stop`."""

    host: str
    port: int
    runner: web.AppRunner
    server: asyncio.Server
    guard: Guard
    config: Web
    context: ssl.SSLContext | None
    gate: Gate = field(repr=False)

    @property
    def url(self) -> str:
        """Where a browser finds them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.context is None else 'https'}://{host}:{self.port}"

    def secure(self, config: Web) -> None:
        """Take other users and a renewed certificate; TlsError where the certificate is no good, and nothing changes.

        Whether TLS is spoken, and what clients must show, stays as it is until the daemon is started anew.
        """
        if self.context is not None and config.tls is not None:
            config.tls.context()  # whole or not at all: another context tries it first
            config.tls.renew(self.context)
        before, self.guard.passwords = self.guard.passwords, Passwords(config.users) if config.users else None
        if before is not None:
            before.close()

    async def stop(self) -> None:
        """Close the port; requests under way have SHUTDOWN_S to finish."""
        self.server.close()
        await self.runner.cleanup()
        if self.guard.passwords is not None:
            self.guard.passwords.close()


async def listen(handed: Handed, desk: Desk, host: str, port: int, config: Web | None = None) -> Listening:
    """Serve on `host:port` (0: any free port); OSError where it cannot be bound, TlsError without a certificate."""
    loop, config = asyncio.get_running_loop(), config or Web()
    context = None if config.tls is None else config.tls.context()
    gate = Gate(most_connections())
    async with _serving(handed, desk, config) as (runner, guard):
        served = runner.server
        assert served is not None, "it was set up"

        def connection() -> Connection:
            return Connection(served, gate=gate, tls=context, loop=loop)

        try:
            server = await loop.create_server(connection, host, port, backlog=BACKLOG)
        except OSError as error:
            cause = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(error.errno, f"listen on {host}:{port}: {cause} (web.listen names another)") from error
    bound = server.sockets[0].getsockname()
    return Listening(
        host=bound[0],
        port=bound[1],
        runner=runner,
        server=server,
        guard=guard,
        config=config,
        context=context,
        gate=gate,
    )


@contextlib.asynccontextmanager
async def _serving(handed: Handed, desk: Desk, config: Web) -> AsyncIterator[tuple[web.AppRunner, Guard]]:
    """The application set up; undone where it comes to nothing."""
    loop = asyncio.get_running_loop()
    passwords = Passwords(config.users) if config.users else None
    guard = Guard(desk.tokens, passwords, now_us=desk.now_us, now_s=loop.time)
    runner = web.AppRunner(
        make_app(handed, desk, guard, loop.time),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=SHUTDOWN_S,
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        yield runner, guard
    except BaseException:
        await runner.cleanup()
        if passwords is not None:
            passwords.close()
        raise


def _peer(request: web.Request) -> str:
    connection = request.protocol
    return connection.peer if isinstance(connection, Connection) else "unknown"


@web.middleware
async def _secured(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every answer says what a browser may do with it: nothing, but for the page's own style."""
    answer = await handler(request)
    answer.headers.update(_SECURITY_HEADERS)
    answer.headers.setdefault("Content-Security-Policy", _NOTHING)
    if request.secure:
        answer.headers["Strict-Transport-Security"] = _HSTS
    return answer


@web.middleware
async def _problems(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Errors as problem documents; what went wrong inside is logged, and not shown."""
    try:
        return await handler(request)
    except ProblemError as error:
        return problem(error.status, error.detail, error.headers)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        kept = {name: value for name, value in error.headers.items() if name == "Allow"}
        return problem(HTTPStatus(error.status), _detail(error), kept)
    except TimeoutError:
        _log.error("page timed out", path=request.path, within_s=ANSWER_WITHIN_S)
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"no answer within {ANSWER_WITHIN_S:g} s")
    except StoreError as error:
        _log.error("page without the store", path=request.path, error=str(error))
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the record cannot be used: {error.cause}")
    except Exception:  # noqa: BLE001 - whatever a page does, the daemon goes on; the log has the traceback
        _log.exception("page failed", path=request.path)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the log tells more")


@web.middleware
async def _limited(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """A request of a peer that asks too often, or with a body that is too long, is not looked at."""
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.exchange_begins()
    allowance = request.app[_REQUESTS]
    if not allowance.take(_peer(request)):
        wait = {"Retry-After": str(allowance.retry_after_s)}
        raise ProblemError(HTTPStatus.TOO_MANY_REQUESTS, f"more than {REQUESTS_PER_S:g} requests a second", wait)
    if (request.content_length or 0) > BODY_LIMIT_BYTES:
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LONG)
    return await handler(request)


@web.middleware
async def _guarded(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Nothing passes without a rule, but for what there is no route for: that is 404 or 405."""
    await request.app[_GUARD].admit(request, _rule(request), _peer(request))
    if request.match_info.http_exception is None and _rule(request) is None:
        raise ProblemError(HTTPStatus.FORBIDDEN, "there is no rule for this, so it is closed")
    handed = request.app[HANDED]
    rule = _rule(request)
    if rule is not None and rule.scope is not None and request.path != "/-/reload":
        reason = handed.why_unreadable()
        if reason is not None and handed.damage() is None:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {reason}")
    return await handler(request)


@web.middleware
async def _in_time(request: web.Request, handler: _Handler) -> web.StreamResponse:
    async with asyncio.timeout(ANSWER_WITHIN_S):
        return await handler(request)


def _rule(request: web.Request) -> Rule | None:
    resource = request.match_info.route.resource
    method = "GET" if request.method == "HEAD" else request.method
    return None if resource is None else _RULES.get((method, resource.canonical))


_TOO_LONG = f"a body has at most {BODY_LIMIT_BYTES} bytes"


def _detail(error: web.HTTPException) -> str:
    if error.status == HTTPStatus.NOT_FOUND:
        return "there is no such page; /api/v1/openapi.json lists those there are"
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"this page answers {error.headers.get('Allow', 'GET')}"
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return _TOO_LONG
    return error.reason

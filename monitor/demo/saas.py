"""The sample SaaS: log in, list servers, create and delete orders, and a control URL that breaks it.

A real aiohttp application on a loopback port. `POST /control {"mode": …}` sets how much of it works; the four functions
that can break are log in, servers, orders and health. Alone: `python -m monitor.demo.saas --port 8080`.
"""

from __future__ import annotations

import argparse
import asyncio
import enum
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

USER = "demo"
PASSWORD = "rahasia"  # noqa: S105 - the sample's published password, it protects nothing
SLOW_S = 5.0
MAX_ORDERS = 1000
MAX_TOKENS = 1000
_BODY_LIMIT_BYTES = 16 * 1024
_SERVERS = (
    {"id": "srv-1", "region": "jakarta", "state": "running"},
    {"id": "srv-2", "region": "surabaya", "state": "running"},
)


class Mode(enum.StrEnum):
    """How much of the sample works."""

    HEALTHY = "healthy"
    HALF = "half"
    MOST = "most"
    ALL = "all"
    SLOW = "slow"


class Function(enum.StrEnum):
    """What a customer does with it."""

    LOGIN = "login"
    SERVERS = "servers"
    ORDERS = "orders"
    HEALTH = "health"


BROKEN: dict[Mode, frozenset[Function]] = {
    Mode.HEALTHY: frozenset(),
    Mode.HALF: frozenset({Function.SERVERS, Function.ORDERS}),
    Mode.MOST: frozenset({Function.SERVERS, Function.ORDERS, Function.HEALTH}),
    Mode.ALL: frozenset(Function),
    Mode.SLOW: frozenset(),
}


@dataclass(slots=True)
class Saas:
    """The sample's state: its mode, the tokens it gave out, the orders it holds. Oldest go first at the bounds."""

    mode: Mode = Mode.HEALTHY
    tokens: dict[str, None] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def set_mode(self, mode: Mode) -> None:
        """Break or mend it; requests held back by the slow mode go on at once."""
        self.mode = mode
        self._changed.set()
        self._changed = asyncio.Event()

    async def hold_back(self) -> None:
        """In slow mode, keep a request for SLOW_S, or until the mode changes."""
        if self.mode is Mode.SLOW:
            try:
                await asyncio.wait_for(self._changed.wait(), SLOW_S)
            except TimeoutError:
                return

    def fails(self, function: Function) -> bool:
        """Whether the function is broken in the present mode."""
        return function in BROKEN[self.mode]

    def remember_token(self) -> str:
        """A new token."""
        token = secrets.token_hex(16)
        self.tokens[token] = None
        if len(self.tokens) > MAX_TOKENS:
            del self.tokens[next(iter(self.tokens))]
        return token

    def add_order(self, sku: str) -> dict[str, Any]:
        """A new order."""
        order = {"id": f"ord-{secrets.token_hex(6)}", "sku": sku, "state": "created"}
        self.orders[order["id"]] = order
        if len(self.orders) > MAX_ORDERS:
            del self.orders[next(iter(self.orders))]
        return order


_SAAS = web.AppKey("saas", Saas)


def make_app(saas: Saas) -> web.Application:
    """The application around `saas`."""
    app = web.Application(client_max_size=_BODY_LIMIT_BYTES, middlewares=[_in_slow_mode])
    app[_SAAS] = saas
    app.add_routes(
        [
            web.get("/health", _health),
            web.post("/login", _log_in),
            web.get("/servers", _servers),
            web.post("/orders", _create_order),
            web.delete("/orders/{id}", _delete_order),
            web.get("/control", _mode),
            web.post("/control", _control),
        ],
    )
    return app


@dataclass(slots=True, kw_only=True)
class Serving:
    """The sample, listening at `url` until `stop`."""

    saas: Saas
    url: str
    runner: web.AppRunner

    async def stop(self) -> None:
        """Close the port; held-back requests are let go first."""
        self.saas.set_mode(Mode.HEALTHY)
        await self.runner.cleanup()


async def serve(port: int = 0, host: str = "127.0.0.1") -> Serving:
    """Listen on `port` (0: any free one); OSError where the port is taken."""
    saas = Saas()
    runner = web.AppRunner(make_app(saas), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    bound = runner.addresses[0][1]
    return Serving(saas=saas, url=f"http://{host}:{bound}", runner=runner)


@web.middleware
async def _in_slow_mode(request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's Handler
    if request.path != "/control":
        await request.app[_SAAS].hold_back()
    answer: web.StreamResponse = await handler(request)
    return answer


async def _health(request: web.Request) -> web.Response:
    if request.app[_SAAS].fails(Function.HEALTH):
        return web.json_response({"status": "degraded", "database": "unreachable"}, status=503)
    return web.json_response({"status": "ok"})


async def _log_in(request: web.Request) -> web.Response:
    saas = request.app[_SAAS]
    if saas.fails(Function.LOGIN):
        return web.json_response({"error": "the identity service does not answer"}, status=503)
    body = await _json_object(request)
    if (body.get("user"), body.get("password")) != (USER, PASSWORD):
        return web.json_response({"error": "wrong user or password"}, status=401)
    return web.json_response({"token": saas.remember_token()})


async def _servers(request: web.Request) -> web.Response:
    saas = request.app[_SAAS]
    _require_token(request)
    # Broken in the way a status code alone does not show: it answers, with nothing in it.
    servers = [] if saas.fails(Function.SERVERS) else list(_SERVERS)
    return web.json_response({"servers": servers})


async def _create_order(request: web.Request) -> web.Response:
    saas = request.app[_SAAS]
    _require_token(request)
    if saas.fails(Function.ORDERS):
        return web.json_response({"error": "the order queue is full"}, status=500)
    body = await _json_object(request)
    sku = body.get("sku")
    if not isinstance(sku, str) or not sku:
        return web.json_response({"error": "an order needs a sku"}, status=422)
    return web.json_response(saas.add_order(sku), status=201)


async def _delete_order(request: web.Request) -> web.Response:
    saas = request.app[_SAAS]
    _require_token(request)
    gone = saas.orders.pop(request.match_info["id"], None)
    return web.Response(status=204 if gone else 404)


async def _mode(request: web.Request) -> web.Response:
    saas = request.app[_SAAS]
    return web.json_response({"mode": saas.mode, "broken": sorted(BROKEN[saas.mode]), "modes": list(Mode)})


async def _control(request: web.Request) -> web.Response:
    body = await _json_object(request)
    try:
        mode = Mode(str(body.get("mode")))
    except ValueError:
        return web.json_response({"error": f"mode is one of {', '.join(Mode)}"}, status=422)
    request.app[_SAAS].set_mode(mode)
    return await _mode(request)


def _require_token(request: web.Request) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or token not in request.app[_SAAS].tokens:
        raise web.HTTPUnauthorized(text='{"error": "log in first"}', content_type="application/json")


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text='{"error": "no JSON"}', content_type="application/json") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text='{"error": "no JSON object"}', content_type="application/json")
    return body


async def _serve_alone(port: int, host: str) -> None:
    serving = await serve(port, host)
    print(json.dumps({"url": serving.url, "control": f"{serving.url}/control"}), flush=True)  # noqa: T201 - its answer
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await serving.stop()


def main() -> None:
    """Serve the sample alone until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    try:
        asyncio.run(_serve_alone(arguments.port, arguments.host))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()

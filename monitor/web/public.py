"""What everybody may see: page, health, metrics, how the services stand, the newest checkpoint, the API's description.

It shows what it is handed, computing nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from monitor.storage import StoreError
from monitor.web.landing import Landing
from monitor.web.problems import problem

PIECE_BYTES = 64 * 1024


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
        """Why nothing of the ledger can be shown, None where it can."""
        return (self.unreadable or self.not_ready)()


HANDED = web.AppKey("handed", Handed)
LANDING = web.AppKey("landing", Landing)
DESCRIPTION = web.AppKey("description", bytes)


async def landing(request: web.Request) -> web.Response:
    """The page for people."""
    handed, page = request.app[HANDED], request.app[LANDING]
    reason = handed.not_ready()
    found = None if handed.why_unreadable() or handed.damage() else await handed.status()
    text = page.render(version=handed.version, not_ready=reason, status=found, checkpoint=handed.checkpoint())
    return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": page.policy})


async def healthy(_request: web.Request) -> web.Response:
    """It answers."""
    return web.Response(text="healthy\n")


async def ready(request: web.Request) -> web.Response:
    """Ready, or 503 with the reason."""
    reason = request.app[HANDED].not_ready()
    if reason is None:
        return web.Response(text="ready\n")
    return web.Response(text=f"not ready: {reason}\n", status=HTTPStatus.SERVICE_UNAVAILABLE)


async def metrics(request: web.Request) -> web.Response:
    """The exposition in the format that is asked for."""
    body, content_type = await request.app[HANDED].metrics(request.headers.get("Accept", ""))
    return web.Response(body=_pieces(body), headers={"Content-Type": content_type, "Content-Length": str(len(body))})


async def _pieces(body: bytes) -> AsyncIterator[memoryview]:
    """A page of megabytes, a turn of the loop after each piece: sent at once its copies would hold everything else."""
    view = memoryview(body)
    for start in range(0, len(body), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]
        await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop, which takes no time


async def status(request: web.Request) -> web.Response:
    """The status document."""
    handed = request.app[HANDED]
    reason = handed.why_unreadable()
    if reason is not None and handed.damage() is None:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {reason}")
    try:
        document = await handed.status()
    except StoreError as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the record cannot be read: {error.cause}")
    return web.Response(body=orjson.dumps(document), content_type="application/json")


async def checkpoint(request: web.Request) -> web.Response:
    """The newest signed checkpoint, as its note (C2SP tlog-checkpoint)."""
    note = request.app[HANDED].checkpoint()
    if note is None:
        return problem(HTTPStatus.NOT_FOUND, "no checkpoint has been signed yet")
    return web.Response(text=note, content_type="text/plain")


async def openapi(request: web.Request) -> web.Response:
    """The description of the API."""
    return web.Response(body=request.app[DESCRIPTION], content_type="application/json")

"""Connections of the pages: how many, how long a request may take to come and an answer to be taken, and TLS.

aiohttp waits for a request's headers and for a slow reader as long as they like. Here both have their time, so that
whoever is slow holds a descriptor for seconds only; the TLS handshake counts too.
"""

from __future__ import annotations

import asyncio
import ssl
from http import HTTPStatus
from typing import cast

from aiohttp import web

from monitor.web.peers import Gate, peer_of
from monitor.web.problems import CONTENT_TYPE, problem, problem_bytes

HEADER_LIMIT_BYTES = 8190
MAX_HEADERS = 64
REQUEST_WITHIN_S = 10.0
"""How long the TLS handshake may take, and the headers of a request from their first byte (of the connection) on."""

EXCHANGE_WITHIN_S = 60.0
"""How long a request may take with its body, its answer, and the reading of it."""

KEEPALIVE_S = 75.0
LINGER_S = 1.0
"""How long an unread body is thrown away before the connection is closed, so that the answer to it is seen."""

BACKLOG = 64

_TOO_SLOW = problem_bytes(HTTPStatus.REQUEST_TIMEOUT, f"no whole request within {REQUEST_WITHIN_S:g} s")
_TOO_MANY = problem_bytes(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections; close some, or come back later")


class Connection(web.RequestHandler):
    """One connection, from its admission at the gate until it is lost."""

    __slots__ = ("_draining", "_gate", "_lost", "_peer", "_starting", "_timer", "_tls", "_wire")

    def __init__(
        self,
        server: web.Server,
        *,
        gate: Gate,
        tls: ssl.SSLContext | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=KEEPALIVE_S,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's way to say: none
            max_line_size=HEADER_LIMIT_BYTES,
            max_field_size=HEADER_LIMIT_BYTES,
            max_headers=MAX_HEADERS,
            lingering_time=LINGER_S,
            auto_decompress=False,
        )
        self._gate = gate
        self._tls = tls
        self._peer: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._starting: asyncio.Task[None] | None = None
        self._lost = False
        self._draining = False
        self._wire: asyncio.Transport | None = None

    @property
    def peer(self) -> str:
        """Who is at the other end."""
        return self._peer or "unknown"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, or close it at once."""
        raw = cast("asyncio.Transport", transport)
        peer = peer_of(raw.get_extra_info("peername"))
        if not self._gate.enter(peer):
            if self._tls is None:
                raw.write(_bare(HTTPStatus.SERVICE_UNAVAILABLE, _TOO_MANY))
            raw.close()
            return
        self._peer = peer
        if self._tls is None:
            self._opened(raw)
        else:
            raw.pause_reading()
            self._starting = self._loop.create_task(self._start_tls(raw, self._tls), name="TLS handshake")

    async def _start_tls(self, raw: asyncio.Transport, context: ssl.SSLContext) -> None:
        try:
            secured = await self._loop.start_tls(
                raw,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=REQUEST_WITHIN_S,
            )
        except (OSError, TimeoutError, asyncio.CancelledError):
            self._leave()
            return
        if self._lost or secured is None:
            return
        self._opened(secured)

    def _opened(self, transport: asyncio.Transport) -> None:
        self._wire = transport
        self._within(REQUEST_WITHIN_S)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone, and its place is free."""
        self._lost = True
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A first byte begins the time of its request."""
        if self._draining and not self._unread():
            self._stop_timer()
        if self._timer is None:
            self._within(REQUEST_WITHIN_S)
        super().data_received(data)

    def exchange_begins(self) -> None:
        """The headers are there: the request and its answer have their time now."""
        self._within(EXCHANGE_WITHIN_S)

    async def finish_response(
        self,
        request: web.BaseRequest,
        resp: web.StreamResponse,
        start_time: float | None,
    ) -> tuple[web.StreamResponse, bool]:
        """Write the answer. Once it is taken, the connection may be idle for as long as aiohttp keeps it alive."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            if self._unread():  # aiohttp does not wait for the last of it, so its time goes on
                self._draining = True
            else:
                self._stop_timer()

    def _unread(self) -> bool:
        return self._wire is not None and self._wire.get_write_buffer_size() > 0

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may quote what was sent
    ) -> web.StreamResponse:
        """The answer to what is no request at all, or broke outside of any page."""
        found = HTTPStatus(status)
        if found >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log_exception("Error handling request", exc_info=exc)
        answer = problem(found, "this is no HTTP request that can be read" if found < 500 else "the log tells more")  # noqa: PLR2004
        answer.force_close()
        return answer

    def _within(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._draining = False

    def _too_slow(self) -> None:
        draining, self._timer, self._draining = self._draining, None, False
        if self._wire is None or (draining and not self._unread()):
            return
        if self._unread() or self._current_request is not None:
            self._wire.abort()  # it does not take its answer: what is buffered for it goes
        elif self.transport is not None:
            self._wire.write(_bare(HTTPStatus.REQUEST_TIMEOUT, _TOO_SLOW))
            self.force_close()

    def _leave(self) -> None:
        self._stop_timer()
        if self._peer is not None:
            self._gate.leave(self._peer)
            self._peer = None


def _bare(status: HTTPStatus, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {CONTENT_TYPE}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body

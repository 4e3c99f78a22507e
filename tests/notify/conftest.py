"""Real receivers: an HTTP server that answers as it is told, and a mail server with and without STARTTLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message as Mail
from email.policy import default
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from monitor.notify import Message


def message(key: str = "o-1/down/hook", **changed: Any) -> Message:  # noqa: ANN401 - fields of Message
    values: dict[str, Any] = {
        "key": key,
        "kind": "down",
        "to": "operators",
        "payload": {"service": "portal", "since": "2026-04-01T07:00:00+07:00"},
        "subject": "DOWN: Portal since 07:00",
        "text": "DOWN: Portal since 07:00\nWhy: timeout\n",
        "severity": "page",
    }
    return Message(**(values | changed))


@dataclass
class HttpReceiver:
    """Answers each request as `answer` says, and keeps what came."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = "taken"
    hang: bool = False
    reset: bool = False
    came: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.came.append((request.method, request.path, dict(request.headers), await request.read()))
        if self.hang:
            await asyncio.get_running_loop().create_future()
        if self.reset:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=self.status, headers=self.headers, text=self.body)


@pytest.fixture
async def make_receiver() -> AsyncIterator[Callable[[], Any]]:
    runners: list[web.AppRunner] = []

    async def make() -> HttpReceiver:
        receiver = HttpReceiver()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", receiver.answer)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        runners.append(runner)
        return receiver

    yield make
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def receiver(make_receiver: Callable[[], Any]) -> HttpReceiver:
    made: HttpReceiver = await make_receiver()
    return made


@dataclass
class MailServer:
    """A real SMTP server, aiosmtpd, in a thread of its own. `answer` is what it says to a mail."""

    port: int = 0
    answer: str = "250 2.0.0 Ok: queued as 4711"
    refused: set[str] = field(default_factory=set)
    mails: list[tuple[Envelope, Mail]] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and parameters
        self, server: object, session: Session, envelope: Envelope, address: str, options: object
    ) -> str:
        if address in self.refused:
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: object, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        assert isinstance(envelope.content, bytes)
        self.mails.append((envelope, message_from_bytes(envelope.content, policy=default)))
        self.over_tls.append(session.ssl is not None)
        return self.answer

    def authenticate(self, server: object, session: object, envelope: object, how: str, data: object) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"right", handled=False)


class _Anywhere(Controller):
    """A controller on a port that the system chooses."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def start_mail(authority: trustme.CA) -> Iterator[Callable[..., MailServer]]:
    running: list[Controller] = []

    def start(*, tls: bool = False, login: bool = False) -> MailServer:
        server = MailServer()
        options: dict[str, Any] = {}
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("localhost").configure_cert(context)
            options |= {"tls_context": context, "require_starttls": True}
        if login:
            options |= {"authenticator": server.authenticate, "auth_required": True, "auth_require_tls": tls}
        controller = _Anywhere(server, hostname="127.0.0.1", port=0, ready_timeout=30.0, **options)
        controller.start()
        running.append(controller)
        server.port = controller.port
        return server

    yield start
    for controller in running:
        controller.stop()

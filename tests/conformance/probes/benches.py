"""One bench for each kind of probe: a real server in each of the moods that the suite asks about, and a check for it.

A kind joins the suite by adding its bench to BENCHES. `moods` are handlers of an accepted TCP connection (or of a
datagram); `reasons` is what a probe must say of each mood.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme

from probes import FailReason, Phase
from tests.conformance.probes import namespace
from tests.probes.asking import nobody_listens

CANARY = "c4n4ry-p4ssw0rd"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Datagram = Callable[[bytes], list[bytes]]


def saying(*pieces: bytes, first: int = 1) -> Handler:
    """Waits for something (if `first`), says this, and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if first:
            await reader.read(first)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return handle


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Takes everything and says nothing."""
    while await reader.read(1 << 16):
        pass


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes something and resets."""
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def dripping(text: bytes) -> Handler:
    """Says something endless, one byte at a time."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        while True:
            for byte in text:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0.02)

    return handle


def flooding(head: bytes, piece: bytes = b"x" * 65_536) -> Handler:
    """Says `head`, then `piece` for ever."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return handle


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A kind under test. `check(port, secret)` is the check's mapping with `secret` somewhere in what is sent."""

    kind: str
    check: Callable[[int, str], Mapping[str, Any]]
    reasons: Mapping[str, FailReason]
    moods: Mapping[str, Any] = field(default_factory=dict)
    datagrams: Mapping[str, Datagram] = field(default_factory=dict)
    phases: frozenset[Phase] = frozenset({Phase.CONNECT, Phase.PROCESSING})
    target: Callable[[int], str] = lambda port: f"127.0.0.1:{port}"
    context: ssl.SSLContext | None = None  # of the good mood

    @asynccontextmanager
    async def serving(self, mood: str) -> AsyncIterator[int]:
        """The port of a server in a mood; of nobody for `refused`."""
        if mood == "refused":
            with nobody_listens(socket.SOCK_DGRAM if self.datagrams else socket.SOCK_STREAM) as port:
                yield port
        elif self.datagrams:
            async with _datagrams(self.datagrams[mood]) as port:
                yield port
        else:
            async with _streams(self.moods[mood], self.context if mood == "good" else None) as port:
                yield port


@asynccontextmanager
async def _streams(handler: Handler, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the probe went away, or the bench is over
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Answering(asyncio.DatagramProtocol):
    def __init__(self, answer: Datagram) -> None:
        self._answer = answer
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        for message in self._answer(data):
            self._transport.sendto(message, addr)


@asynccontextmanager
async def _datagrams(answer: Datagram) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Answering(answer), ("127.0.0.1", 0))
    yield transport.get_extra_info("sockname")[1]
    transport.close()


HTTP = Bench(
    kind="http",
    check=lambda port, secret: {"http": {"post": f"http://127.0.0.1:{port}/", "bearer": secret, "json": {"k": secret}}},
    reasons={
        "garbage": FailReason.PROTOCOL,
        "huge": FailReason.PROTOCOL,
        "reset": FailReason.PROTOCOL,
        "truncated": FailReason.PROTOCOL,
    },
    moods={
        "good": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        "silence": silence,
        "drip": dripping(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000),
        "garbage": saying(bytes(range(256))),
        "huge": flooding(b"HTTP/1.1 200 OK\r\n\r\n"),
        "reset": reset,
        "truncated": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"),
    },
    phases=frozenset({Phase.CONNECT, Phase.PROCESSING, Phase.TRANSFER}),
)

TCP = Bench(
    kind="tcp",
    check=lambda port, secret: {
        "tcp": {"connect": f"127.0.0.1:{port}", "dialogue": [{"send": f"LOGIN {secret}\r\n"}, {"expect": "^welcome"}]}
    },
    reasons={
        "garbage": FailReason.ASSERTION,
        "huge": FailReason.PROTOCOL,
        "reset": FailReason.PROTOCOL,
        "truncated": FailReason.ASSERTION,
    },
    moods={
        "good": saying(b"welcome home\r\n"),
        "silence": silence,
        "drip": dripping(b"wait "),
        "garbage": saying(bytes(range(256))),
        "huge": flooding(b""),
        "reset": reset,
        "truncated": saying(b"welc"),
    },
)


def _server_context() -> ssl.SSLContext:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


TLS = Bench(
    kind="tls",
    check=lambda port, _: {  # it sends nothing that could be secret
        "tls": {
            "connect": f"127.0.0.1:{port}",
            "tls": {"verify": False, "why_unverified": "a throw-away authority"},
            "alpn": ["h2"],
        }
    },
    reasons={
        "garbage": FailReason.TLS,
        "huge": FailReason.TLS,
        "reset": FailReason.TLS,
        "truncated": FailReason.TLS,
    },
    moods={
        "good": silence,
        "silence": silence,
        "drip": dripping(b"\x16\x03\x03\x3f\xff" + b"\x02" * 16_000),
        "garbage": saying(bytes(range(256))),
        "huge": flooding(b""),
        "reset": reset,
        "truncated": saying(b"\x16\x03\x03\x00\x7a\x02"),
    },
    phases=frozenset({Phase.CONNECT, Phase.TLS}),
    context=_server_context(),
)


def _dns_answer(query: bytes, *, flags: int = 0x8580, extra: bytes = b"") -> bytes:
    """A reply with one A record, 192.0.2.7."""
    end = query.index(b"\0", 12) + 5
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes((192, 0, 2, 7))
    return query[:2] + struct.pack(">HHHHH", flags, 1, 1, 0, 0) + query[12:end] + record + extra


def _dns_check(port: int, secret: str, *, tcp: bool = False) -> Mapping[str, Any]:
    return {
        "dns": {"query": f"{secret}.example.id", "server": f"127.0.0.1:{port}", "tcp": tcp},
        "expect": {"json": {"$.records[0].data": "192.0.2.7", "$.rcode": "NOERROR"}},
    }


async def _dns_over_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    (length,) = struct.unpack(">H", await reader.readexactly(2))
    reply = _dns_answer(await reader.readexactly(length))
    writer.write(struct.pack(">H", len(reply)) + reply)


DNS_UDP = Bench(
    kind="dns",
    check=_dns_check,
    reasons={
        "garbage": FailReason.PROTOCOL,
        "huge": FailReason.PROTOCOL,
        "truncated": FailReason.PROTOCOL,
    },
    phases=frozenset({Phase.PROCESSING}),
    datagrams={
        "good": lambda query: [b"stray", _dns_answer(query)],
        "silence": lambda _: [],
        "drip": lambda query: [bytes((byte,)) for byte in query],
        "garbage": lambda query: [query[:2] + bytes(range(200))],
        "huge": lambda query: [query[:2] + b"\xff" * 60_000],
        "truncated": lambda query: [_dns_answer(query)[:-2]],
    },
)

DNS_TCP = Bench(
    kind="dns",
    check=lambda port, secret: _dns_check(port, secret, tcp=True),
    reasons={
        "garbage": FailReason.PROTOCOL,
        "huge": FailReason.PROTOCOL,
        "reset": FailReason.PROTOCOL,
        "truncated": FailReason.PROTOCOL,
    },
    moods={
        "good": _dns_over_tcp,
        "silence": silence,
        "drip": dripping(b"\xff"),
        "garbage": saying(b"\0\xff" + bytes(range(255)), first=2),
        "huge": flooding(b""),
        "reset": reset,
        "truncated": saying(b"\0\xff\0"),
    },
)

ADDRESSES = {
    "good": "127.0.0.1",
    "refused": namespace.REFUSING,
    "silence": "192.0.2.1",
    "foreign": "192.0.2.2",
    "garbage": "192.0.2.3",
    "huge": "192.0.2.4",
    "truncated": "192.0.2.5",
    "drip": "192.0.2.6",
    "lies": "192.0.2.7",
}
_NUMBERS = list(ADDRESSES)
_SHORT = slice(8, 23)  # a byte less of the payload than tells an echo from others


def _next(message: bytes) -> int:
    return (int.from_bytes(message[6:8], "big") + 1) % 65_536


ECHOES: Mapping[str, namespace.Answer] = {
    ADDRESSES["foreign"]: lambda _, m: [
        namespace.reply(m, payload=bytes(len(m) - 8)),
        namespace.reply(m, sequence=_next(m)),
        namespace.icmp(0, 0, b""),
        namespace.icmp(8, 0, m[4:]),
        namespace.icmp(13, 0, m[4:]),
    ],
    ADDRESSES["garbage"]: lambda _, m: [bytes(range(200)), m[:4], b"", namespace.reply(m, payload=bytes(range(200)))],
    ADDRESSES["huge"]: lambda _, m: [namespace.icmp(0, 0, m[4:8] + b"x" * 60_000)],
    ADDRESSES["truncated"]: lambda _, m: [namespace.icmp(0, 0, m[4 : 8 + n]) for n in range(16)],
    ADDRESSES["drip"]: lambda _, m: [namespace.reply(m, payload=m[_SHORT])] * 50,
    # That it leads nowhere, said of somebody else's request, or of none.
    ADDRESSES["lies"]: lambda head, m: [
        *namespace.unreachable(3, sequence=_next(m))(head, m),
        *namespace.unreachable(3, quoted=4)(head, m),
        *namespace.unreachable(3)(head, m[:8] + bytes(len(m) - 8)),
        *namespace.unreachable(3)(head[:16] + bytes((192, 0, 2, 77)), m),
    ],
}


@dataclass(frozen=True, kw_only=True)
class Echoing(Bench):
    """The peer of `icmp` is a kernel, this machine's own in a network namespace; instead of a port, a mood's number."""

    unprivileged: bool

    @functools.cached_property
    def network(self) -> namespace.Namespace:
        return namespace.Namespace(ECHOES, unprivileged=self.unprivileged)

    @asynccontextmanager
    async def serving(self, mood: str) -> AsyncIterator[int]:
        problem = namespace.missing()
        if problem:
            pytest.skip(problem)
        with self.network.entered():
            yield _NUMBERS.index(mood)


def _echoing(*, unprivileged: bool) -> Echoing:
    return Echoing(
        kind="icmp",
        check=lambda number, _: {
            "icmp": {"ping": ADDRESSES[_NUMBERS[number]]}
        },  # it sends nothing that could be secret
        reasons={},
        moods=dict.fromkeys(mood for mood in ADDRESSES if mood != "refused"),
        phases=frozenset({Phase.PROCESSING}),
        target=lambda number: ADDRESSES[_NUMBERS[number]],
        unprivileged=unprivileged,
    )


ICMP, ICMP_RAW = _echoing(unprivileged=True), _echoing(unprivileged=False)

BENCHES = {
    "http": HTTP,
    "tcp": TCP,
    "tls": TLS,
    "dns-udp": DNS_UDP,
    "dns-tcp": DNS_TCP,
    "icmp": ICMP,
    "icmp-raw": ICMP_RAW,
}

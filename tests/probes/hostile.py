"""A server that behaves as badly as a target can: one behaviour for each path, on a loop in a thread of its own.

`Hostile()` is a context manager; `url("gzip_bomb")` is where a behaviour lives. Every behaviour ends when its peer goes
away or the server is closed, and none keeps more than one prepared payload in memory. `/good` answers properly, for
the probe that runs beside. Behaviours have been collected from FAULTS 2.D and from the advisories named there.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import threading
import types
import zlib
from collections.abc import Awaitable, Callable
from typing import Self

OK = b"HTTP/1.1 200 OK\r\n"
_PIECE = b"x" * 65_536

Behaviour = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One accepted connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    async def say(self, *pieces: bytes) -> None:
        """Send, waiting for the peer to read."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def say_for_ever(self, piece: bytes) -> None:
        """The same again and again, until the peer goes away."""
        while True:
            await self.say(piece)

    async def until_gone(self) -> None:
        """Say nothing more."""
        while await self.reader.read(65_536):
            pass

    def reset(self) -> None:
        """End with a RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def fixed(*pieces: bytes) -> Behaviour:
    """Says this and closes."""

    async def behave(peer: Peer) -> None:
        await peer.say(*pieces)

    return behave


def stalling(*pieces: bytes) -> Behaviour:
    """Says this and nothing more, without closing."""

    async def behave(peer: Peer) -> None:
        await peer.say(*pieces)
        await peer.until_gone()

    return behave


def endless(head: bytes, piece: bytes) -> Behaviour:
    """Says `head`, then `piece` for ever."""

    async def behave(peer: Peer) -> None:
        await peer.say(head)
        await peer.say_for_ever(piece)

    return behave


async def reset(peer: Peer) -> None:
    """Reads the request and resets the connection."""
    peer.reset()


async def reset_in_body(peer: Peer) -> None:
    """Resets when half of the body is out."""
    await peer.say(OK + b"Content-Length: 10\r\n\r\nhello")
    peer.reset()


async def slow_drip(peer: Peer) -> None:
    """A proper answer, one byte every 50 ms."""
    for byte in OK + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000:
        await peer.say(bytes((byte,)))
        await asyncio.sleep(0.05)


def bomb(wbits: int, encoding: bytes, size: int = 512 << 20) -> Behaviour:
    """`size` bytes of nothing, compressed a thousand times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    zeros = bytes(1 << 20)
    packed = b"".join(packer.compress(zeros) for _ in range(size >> 20)) + packer.flush()
    length = str(len(packed)).encode()
    return fixed(OK + b"Content-Encoding: " + encoding + b"\r\nContent-Length: " + length + b"\r\n\r\n", packed)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIPPED = OK + b"Content-Encoding: gzip\r\n"
_GZIP = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
EMPTY_GZIP = gzip.compress(b"") * 1000
HELLO_GZIP = _GZIP.compress(b"hello") + _GZIP.flush()


def catalogue() -> dict[str, Behaviour]:
    """All behaviours by the name of their path."""
    return {
        "good": fixed(OK + b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"),
        "garbage": fixed(b"\x16\x03\x01\x00\xff" + bytes(range(256))),
        "frame": stalling(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
        "ssh": fixed(b"SSH-2.0-OpenSSH_9.2\r\n"),
        "silence": stalling(),
        "half_a_head": stalling(OK + b"Content-"),
        "stalled_body": stalling(OK + b"Content-Length: 10\r\n\r\nhel"),
        "closes": fixed(),
        "reset": reset,
        "reset_in_body": reset_in_body,
        "slow_drip": slow_drip,
        "truncated": fixed(OK + b"Content-Length: 100\r\n\r\nhello"),
        "truncated_head": fixed(OK + b"Content-Len"),
        "truncated_chunks": fixed(CHUNKED + b"5\r\nhello\r\n"),
        "truncated_gzip": fixed(GZIPPED + b"\r\n" + HELLO_GZIP[:-6]),
        "broken_gzip": fixed(GZIPPED + b"\r\nthis is no gzip at all"),
        "gzip_and_more": fixed(GZIPPED + b"\r\n" + HELLO_GZIP + b"<script>"),
        "endless_body": endless(OK + b"\r\n", _PIECE),
        "endless_chunks": endless(CHUNKED, b"10000\r\n" + _PIECE + b"\r\n"),
        "million_chunks": fixed(CHUNKED, b"1\r\nx\r\n" * 1_000_000, b"0\r\n\r\n"),
        "gzip_bomb": bomb(zlib.MAX_WBITS | 16, b"gzip"),
        "deflate_bomb": bomb(zlib.MAX_WBITS, b"deflate", 64 << 20),
        "gzip_chunk_bomb": endless(
            GZIPPED + b"Transfer-Encoding: chunked\r\n\r\n", b"a\r\n" + HELLO_GZIP[:10] + b"\r\n"
        ),
        "endless_headers": endless(OK, b"X-Header: y\r\n"),
        "endless_header": endless(OK + b"X-Header: ", _PIECE),
        "endless_reason": endless(b"HTTP/1.1 200 ", _PIECE),
        "many_headers": fixed(OK + b"X-H: y\r\n" * 300 + b"Content-Length: 0\r\n\r\n"),
        "endless_trailers": endless(CHUNKED + b"5\r\nhello\r\n0\r\n", b"X-Trailer: y\r\n"),
        "endless_extension": endless(CHUNKED + b"5;", _PIECE),
        "endless_interim": endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        "length_and_chunks": fixed(
            OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
        "chunks_and_length": fixed(
            OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
        "two_lengths": fixed(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        "negative_length": fixed(OK + b"Content-Length: -5\r\n\r\nhello"),
        "giant_length": fixed(OK + b"Content-Length: 99999999999999999999\r\n\r\nhello"),
        "gzip_transfer": fixed(OK + b"Transfer-Encoding: gzip\r\n\r\nhello"),
        "brotli": fixed(OK + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nhello"),
        "bad_chunk": fixed(CHUNKED + b"zz\r\nhello\r\n"),
        "giant_chunk": fixed(CHUNKED + b"fffffffffffffffff\r\nhello"),
        "switches": fixed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nhello"),
        "bad_status": fixed(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        "folded_for_ever": endless(OK + b"X-A: b", b"\r\n \r\n c"),
        "empty_parts": endless(GZIPPED + b"\r\n", EMPTY_GZIP),
        "folded": fixed(OK + b" X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
        "redirect_loop": fixed(b"HTTP/1.1 302 Found\r\nLocation: /redirect_loop\r\nContent-Length: 0\r\n\r\n"),
        "to_file": fixed(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"),
        "to_javascript": fixed(b"HTTP/1.1 302 Found\r\nLocation: javascript:alert(1)\r\nContent-Length: 0\r\n\r\n"),
        "to_nowhere": fixed(b"HTTP/1.1 302 Found\r\nLocation: http://\r\nContent-Length: 0\r\n\r\n"),
        "to_bad_port": fixed(b"HTTP/1.1 302 Found\r\nLocation: http://a:99999/\r\nContent-Length: 0\r\n\r\n"),
        "to_metadata": fixed(
            b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n"
        ),
    }


class Hostile:
    """The server; a context manager. `requests` are the request lines it has read."""

    def __init__(self) -> None:
        self._catalogue = catalogue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="hostile")
        self._serving = threading.Event()
        self._stop: asyncio.Event | None = None
        self._peers: set[asyncio.Task[None]] = set()
        self.port = 0
        self.requests: list[str] = []

    def url(self, behaviour: str) -> str:
        assert behaviour in self._catalogue, behaviour
        return f"http://127.0.0.1:{self.port}/{behaviour}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._serving.wait(120), "the hostile server did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(120)
        assert not self._thread.is_alive(), "the hostile server did not stop"

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 16)
        self.port = server.sockets[0].getsockname()[1]
        self._serving.set()
        await self._stop.wait()
        server.close()
        for task in self._peers:
            task.cancel()
        await asyncio.gather(*self._peers, return_exceptions=True)
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._peers.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n", 1)[0].decode()
            self.requests.append(line)
            await self._catalogue[line.split(" ")[1].partition("?")[0].lstrip("/")](Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the peer went away, or the server stops: what a behaviour ends with
        finally:
            self._peers.discard(task)
            writer.close()

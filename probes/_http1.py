"""One HTTP/1.1 exchange on an open connection: the request's bytes out, one bounded response in.

httptools (llhttp) parses. Everything that a hostile peer could make endless has a bound: the head, the framing between
two pieces of body, interim responses, the body after decompression; time is the connection's deadline. Anything that is
no well-formed response is ProbeError(PROTOCOL) with what was wrong.
"""

from __future__ import annotations

import operator
import re
import zlib
from typing import Any, TypeVar

import httptools

from probes import Context, FailReason, InconclusiveReason, OwnFault, Phase, ProbeError, Stream
from probes._head import Mending
from probes._poller import give_way
from probes._stream import READ_BYTES

MAX_FRAMING = 65_536  # bytes without one of body: the head, trailers, chunk extensions
MAX_HEADERS = 256
MAX_INTERIM = 8
MAX_MEMBERS = 1024  # of a gzip stream (RFC 1952, 2.2)
CODINGS = ("gzip", "deflate", "identity")
_SLICE = 256 * 1024  # of decompressed body, between two turns of the loop
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_GZIP = zlib.MAX_WBITS | 16
_GZIP_BEGINS = b"\x1f"
_ACCEPTED = re.compile(rb"\r\naccept-encoding:([^\r]*)", re.IGNORECASE)

_T = TypeVar("_T", bytes, bytearray)
_PROCESSING, _TRANSFER = Phase.PROCESSING, Phase.TRANSFER  # looking a member up is dear in Python 3.11
_NAME = operator.itemgetter(0)

Headers = list[tuple[bytes, bytes]]


class Response:
    """A whole response. `headers` are as sent, in order; `body` is decompressed."""

    __slots__ = ("_names", "body", "headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self._names = b""  # of all headers, in lower case
        self.body = b""

    def has(self, name: bytes) -> bool:
        """Whether there is a header `name` (lower case)."""
        return self.header(name) is not None

    def header(self, name: bytes) -> str | None:
        """The first value of the header `name` (lower case), or None."""
        if self._names.find(name) < 0:  # of most there is none; `in` would make an error first, and throw it away
            return None
        for key, value in self.headers:
            if len(key) == len(name) and key.lower() == name:
                return value.decode("latin-1")
        return None


def _broken(message: str) -> ProbeError:
    return ProbeError(FailReason.PROTOCOL, message)


class _Reader(Response):
    """A response as it comes in: the parser's callbacks and what they have seen of it."""

    __slots__ = (
        "_has_body",
        "_kept",
        "complete",
        "early",
        "framing",
        "heard",
        "interim",
        "parser",
        "pieces",
        "started",
    )

    on_message_begin = on_status = on_chunk_header = on_chunk_complete = None  # asked for by the parser

    def __init__(self, has_body: bool) -> None:  # noqa: FBT001 - by name, it would cost more than all else here
        self.status = self.framing = self.interim = 0
        self._kept = self.headers = []  # trailers are kept elsewhere
        self.body = self._names = self.early = b""  # the last: pieces of a head that is not whole yet
        self.pieces: list[bytes] = []  # of the body as it came, not yet taken
        self._has_body = has_body
        self.complete = self.started = self.heard = False
        self.parser: Any = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._kept.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = status = self.parser.get_status_code()
        headers = self.headers
        if len(headers) > MAX_HEADERS:
            raise _broken(f"over {MAX_HEADERS} headers")
        if status >= 200:  # noqa: PLR2004 - below are interim responses
            self.started = True
            self.complete = not self._has_body
            self._names = b"\n".join(map(_NAME, headers)).lower()
            self._kept = []
            return
        self.interim += 1
        headers.clear()

    def on_body(self, piece: bytes) -> None:
        if piece:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self.complete = self.started

    def feed(self, data: bytes) -> None:
        """One piece off the wire; ProbeError(PROTOCOL) when it breaks the protocol or a bound."""
        self.heard = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise _broken("the server switched protocols, which was not asked for") from None
        except httptools.HttpParserError as error:
            if not self.complete:  # what follows a complete response is nobody's
                self._mend(data, error)
                return
        if len(self._kept) > MAX_HEADERS:
            raise _broken(f"over {MAX_HEADERS} headers")
        if self.complete:
            return
        if not self.started:
            self.early += data
        self.framing = 0 if self.pieces else self.framing + len(data)
        if self.framing > MAX_FRAMING:
            raise _broken(f"over {MAX_FRAMING} bytes of {'framing' if self.started else 'headers'} without any body")
        if self.interim > MAX_INTERIM:
            raise _broken(f"over {MAX_INTERIM} interim responses")

    def _mend(self, data: bytes, error: httptools.HttpParserError) -> None:
        """Read the head once more, by one that knows old forms; ProbeError(PROTOCOL) where nothing helps."""
        ours = error.__context__  # what a callback raised comes out of the parser wrapped
        if isinstance(ours, ProbeError):
            raise ours from None
        data, self.early = self.early + data, b""
        if self.started or isinstance(self.parser, Mending) or b"\n" not in data:
            raise _broken(f"malformed response: {_said(error)}") from None
        self.parser = Mending(self)
        self.headers.clear()
        self.framing = self.interim = 0
        self.feed(data)

    def ends_with_the_connection(self) -> bool:
        """True if the response says neither how long it is nor that it comes in chunks (RFC 9112, 6.3)."""
        return self.started and not (self.has(b"content-length") or self.has(b"transfer-encoding"))

    def check_encoding(self) -> None:
        """No transfer coding but chunked: no other was asked for."""
        coding = self.header(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != "chunked":
            raise _broken(f"transfer-encoding {coding[:40]!r} was not asked for")


def _said(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:200]


class _Body:
    """Decodes the body that answers `request` and keeps at most `limit` bytes of it."""

    __slots__ = ("_decoder", "_ended", "_first", "_is_gzip", "_limit", "_members", "_request", "data")

    def __init__(self, limit: int, request: bytes) -> None:
        self._limit, self._request = limit, request
        self._decoder: zlib._Decompress | None = None
        self._first = True
        self._is_gzip = self._ended = False
        self._members = 1
        self.data = bytearray()

    async def take(self, pieces: list[bytes], response: Response) -> None:
        """Add pieces off the wire; ProbeError(PROTOCOL) over the limit or when they do not decompress."""
        if self._first:
            self._first = False
            if response.has(b"content-encoding"):
                self._choose(_codings(response.headers), pieces[0])
        if self._decoder is None:
            self.data += b"".join(pieces)
            self._check()
            return
        await self._inflate(self._decoder, b"".join(pieces))

    def _choose(self, codings: list[str], start: bytes) -> None:
        match codings:
            case []:
                return
            case ["gzip" | "x-gzip"]:
                self._decoder, self._is_gzip = zlib.decompressobj(_GZIP_OR_ZLIB), start[:1] == _GZIP_BEGINS
            case ["deflate"]:  # zlib's format by the RFC, the bare one by old habit; a zlib header is 0x?8
                self._decoder = zlib.decompressobj(zlib.MAX_WBITS if start[0] & 0x0F == 8 else -zlib.MAX_WBITS)  # noqa: PLR2004 - the method "deflate"
            case _:
                raise _cannot_decode(codings, self._request)

    async def _inflate(self, decoder: zlib._Decompress, data: bytes) -> None:
        while data:
            if self._ended:
                decoder = self._decoder = self._next_member(data)
            try:
                out = decoder.decompress(data, min(_SLICE, self._limit + 1 - len(self.data)))
            except zlib.error:
                raise _broken("the body does not decompress") from None
            self.data += out
            self._check()
            self._ended = decoder.eof
            data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            if data:
                await give_way()

    def _next_member(self, data: bytes) -> zlib._Decompress:
        if not self._is_gzip or data[:1] != _GZIP_BEGINS:
            raise _broken("the compressed body has bytes after its end")
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise _broken(f"the compressed body has over {MAX_MEMBERS} parts")
        return zlib.decompressobj(_GZIP)

    def _check(self) -> None:
        _bounded(self.data, self._limit)

    def finish(self) -> bytes:
        """The whole body; ProbeError(PROTOCOL) if its compression breaks off."""
        if self._decoder is not None and not self._ended:
            self.data += self._decoder.flush()
            self._check()
            if not self._decoder.eof:
                raise _broken("the compressed body breaks off")
        return bytes(self.data)


def _codings(headers: Headers) -> list[str]:
    """The codings of a body in the order in which they were applied; `identity` is none."""
    values = b",".join(value for name, value in headers if name.lower() == b"content-encoding").decode("latin-1")
    named = (item.strip().lower() for item in values.split(","))
    return [name for name in named if name not in {"", "identity"}]


def _cannot_decode(codings: list[str], request: bytes) -> ProbeError | OwnFault:
    """Whose fault it is: the check's, where it asked for what cannot be decoded by a header of its own."""
    said = ", ".join(codings)[:40]
    can = f"{', '.join(CODINGS[:-1])} and {CODINGS[-1]} are, one at a time"
    found = _ACCEPTED.search(request.partition(b"\r\n\r\n")[0])
    accepted = {item.partition(";")[0].strip().lower() for item in found[1].decode().split(",")} if found else set()
    if all(coding in accepted for coding in codings):
        wish = f"the check asks for content-encoding {said!r}"
        return OwnFault(InconclusiveReason.INTERNAL, f"{wish}, which is not supported: {can}")
    return _broken(f"content-encoding {said!r} is not supported: {can}")


def readable_size(size: int) -> str:
    """A size in bytes as it is written in the settings."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size % factor == 0 and size:
            return f"{size // factor} {unit}"
    return f"{size} bytes"


async def exchange(stream: Stream, ctx: Context, request: bytes, has_body: bool, max_body: int) -> Response:  # noqa: FBT001 - as above
    """Send `request`, read its response. `has_body` is false for HEAD. Times the phases processing and transfer."""
    now_ns = ctx.now_ns
    start_ns = now_ns()
    first_ns = end_ns = 0
    last_ns = start_ns  # nothing came before it was asked for
    reader = _Reader(has_body)
    body: _Body | None = None
    try:
        await stream.send(request)
        while True:
            data = await stream.receive(READ_BYTES)
            came_ns = now_ns() - stream.queued_ns
            last_ns = max(last_ns, came_ns)
            first_ns = first_ns or last_ns
            if not data:
                _end(reader)
                break
            started = reader.started
            reader.feed(data)
            if not started and reader.started:
                ctx.notes.http_status = reader.status
                reader.check_encoding()
            if reader.pieces:
                if reader.complete and body is None and not reader.has(b"content-encoding"):
                    reader.body = _bounded(b"".join(reader.pieces), max_body)
                    break
                if body is None:
                    body = _Body(max_body, request)
                pieces, reader.pieces = reader.pieces, []
                await body.take(pieces, reader)
            if reader.complete:
                break
        if body is not None:
            reader.body = body.finish()
        end_ns = last_ns
        return reader
    finally:
        reader.parser = None  # a circle, which would be left to the garbage collector
        end_ns = end_ns or now_ns()
        first_ns = first_ns or end_ns
        ctx.add_phase(_PROCESSING, first_ns - start_ns)
        ctx.add_phase(_TRANSFER, end_ns - first_ns)


def _bounded(body: _T, limit: int) -> _T:
    if len(body) > limit:
        raise _broken(f"body over {readable_size(limit)}")
    return body


def _end(reader: _Reader) -> None:
    """The connection ended: the end of the body only if nothing else marks that."""
    if reader.ends_with_the_connection():
        return
    if not reader.heard:
        raise _broken("the server closed the connection without an answer")
    raise _broken(f"the connection closed in the middle of the {'body' if reader.started else 'headers'}")


def request_bytes(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """A request as it goes on the wire. Nothing in the head may hold a control character: the caller has checked."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

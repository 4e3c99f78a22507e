"""The exchange over an in-memory stream: however the bytes are cut, whatever they are."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import time
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probes import Context, FailReason, InconclusiveReason, OwnFault, ProbeError, TlsPolicy
from probes._http1 import MAX_MEMBERS, Response, exchange, readable_size
from probes._net import LiveNetwork


class Canned:
    """A `Stream` that gives these pieces and then ends."""

    peer = "127.0.0.1"
    tls_version = None
    alpn = None
    queued_ns = 0

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.sent = b""

    async def send(self, data: bytes) -> None:
        self.sent += data

    async def receive(self, limit: int) -> bytes:
        return self._pieces.pop(0)[:limit] if self._pieces else b""

    async def start_tls(self, server_name: str, policy: TlsPolicy) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


def read(*pieces: bytes, has_body: bool = True, max_body: int = 1000, request: bytes = b"") -> Response:
    ctx = Context(now_ns=time.monotonic_ns, deadline_ns=0, network=LiveNetwork(), secret=str)
    return asyncio.run(exchange(Canned(pieces), ctx, request, has_body=has_body, max_body=max_body))


def zipped(*members: bytes, coding: bytes = b"gzip") -> bytes:
    body = b"".join(map(gzip.compress, members))
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body)) + body


PACKED = zlib.compress(b"hello " * 20)
WHOLE: dict[str, bytes] = {
    "length": b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: u\r\n\r\n",
    "to the end": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "packed": b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(PACKED) + PACKED,
    "interim": b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 C\r\n"
    b"Content-Length: 1\r\n\r\nh",
    "old line ends": b"HTTP/1.1 200 OK\nA: b\r\nContent-Length: 5\n\nhello",
    "folded": b"HTTP/1.1 103 E\r\nA: b\r\n c\r\n\r\nHTTP/1.1 200 OK\r\nA: b \r\n \t\r\n\tc\r\n"
    b"Content-Length:\n 5\r\n\r\nhello",
    "in parts": zipped(b"hel", b"", b"lo"),
    "nothing": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("name", WHOLE)
@given(cuts=st.lists(st.integers(0, 200), max_size=8))
@settings(max_examples=60)
@example(cuts=list(range(200)))
def test_it_does_not_matter_how_the_bytes_are_cut(name: str, cuts: list[int]) -> None:
    whole = WHOLE[name]
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
    got, at_once = read(*pieces), read(whole)
    assert (got.status, got.headers, got.body) == (at_once.status, at_once.headers, at_once.body)
    assert got.body.startswith(b"h") or name == "nothing"


@pytest.mark.parametrize("name", [name for name in WHOLE if name not in {"to the end", "nothing"}])
def test_a_response_cut_short_anywhere_is_broken(name: str) -> None:
    whole = WHOLE[name]
    for end in range(len(whole)):
        with pytest.raises(ProbeError) as raised:
            read(whole[:end])
        assert raised.value.reason is FailReason.PROTOCOL


@given(
    st.sampled_from(sorted(WHOLE.values())), st.lists(st.tuples(st.integers(0, 150), st.binary(max_size=4)), max_size=6)
)
@settings(max_examples=500)
def test_any_bytes_are_a_response_or_a_protocol_failure(whole: bytes, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(whole)
    for at, patch in changes:
        data[at : at + len(patch)] = patch
    answer: Response | ProbeError
    try:
        answer = read(bytes(data))
    except ProbeError as error:
        answer = error
    if isinstance(answer, ProbeError):
        assert answer.reason is FailReason.PROTOCOL
        assert answer.message
    else:
        assert 200 <= answer.status <= 999
        assert len(answer.body) <= 1000


@given(st.binary(max_size=200))
def test_noise_is_no_response(noise: bytes) -> None:
    with contextlib.suppress(ProbeError):
        read(noise)
        assert noise.startswith(b"HTTP/")


def test_the_body_ends_exactly_at_its_limit() -> None:
    assert len(read(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000).body) == 1000
    packed = zlib.compress(b"x" * 1000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n"
    assert len(read(head + packed).body) == 1000
    for over in (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001, head + zlib.compress(b"x" * 1001)):
        with pytest.raises(ProbeError, match="body over 1000 bytes"):
            read(over)


def test_head_ends_with_its_headers() -> None:
    response = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", has_body=False)
    assert (response.status, response.body, response.header(b"content-length")) == (200, b"", "5")


def test_what_follows_a_complete_response_is_nobodys() -> None:
    assert read(WHOLE["length"] + b"garbage \xff").body == b"hello"


def test_what_old_servers_write_is_read_as_it_is_meant() -> None:
    """RFC 9112: a client replaces a fold by spaces (5.2), and may take LF alone for the end of a line (2.2)."""
    assert read(WHOLE["old line ends"]).headers == [(b"A", b"b"), (b"Content-Length", b"5")]
    assert read(WHOLE["folded"]).headers == [(b"A", b"b   c"), (b"Content-Length", b"5")]
    assert read(WHOLE["folded"]).body == b"hello"
    long = b"HTTP/1.1 200 OK\r\nA: b\r\n " + b"c" * 40_000
    assert read(long, b"\r\nContent-Length: 5\r\n\r\nhello").headers[0] == (b"A", b"b " + b"c" * 40_000)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b" A: b\r\n", "space after start line"),  # the status line goes on in no other
        (b"A: b\n c\x01\r\n", "header value char"),
        (b"A: b\n c\rd\r\n", "expected LF"),
        (b"A: b\r\n c\r\nContent-Length: 1\r\n", "Content-Length"),
        (b"A : b\n", "header token"),
    ],
)
def test_what_is_mended_is_no_looser_than_any_other(head: bytes, words: str) -> None:
    with pytest.raises(ProbeError, match=words):
        read(b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: 5\r\n\r\nhello")


@pytest.mark.parametrize(
    "codings", [b"gzip", b"x-gzip", b"identity, gzip", b"GZIP ,", b"identity\r\nContent-Encoding: gzip"]
)
def test_the_members_of_a_gzip_stream_are_one_text(codings: bytes) -> None:
    """RFC 1952, 2.2; and `identity` in a list of codings is none."""
    assert read(zipped(b"hel", b"lo", coding=codings)).body == b"hello"


def test_the_parts_of_a_gzip_stream_are_bounded() -> None:
    assert read(zipped(*[b""] * (MAX_MEMBERS - 1), b"hello")).body == b"hello"
    with pytest.raises(ProbeError, match="over 1024 parts"):
        read(zipped(*[b""] * (MAX_MEMBERS + 1)))
    with pytest.raises(ProbeError, match="body over 1000 bytes"):
        read(zipped(b"x" * 600, b"x" * 600))
    with pytest.raises(ProbeError, match="bytes after its end"):
        read(b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\n\r\n" + PACKED + PACKED)


@pytest.mark.parametrize("codings", ["br", "gzip, gzip"])
def test_a_coding_that_cannot_be_decoded_is_the_fault_of_whoever_asked_for_it(codings: str) -> None:
    answer = zipped(b"hello", coding=codings.encode())
    can = "gzip, deflate and identity are, one at a time"
    with pytest.raises(ProbeError, match=f"^content-encoding '{codings}' is not supported: {can}$"):
        read(answer, request=b"GET / HTTP/1.1\r\nAccept-Encoding: deflate\r\n\r\naccept-encoding: br, gzip")
    with pytest.raises(OwnFault, match=f"^the check asks for content-encoding '{codings}', .*{can}$") as raised:
        read(answer, request=b"GET / HTTP/1.1\r\naccept-encoding: gzip;q=0.5, BR\r\n\r\n")
    assert raised.value.reason is InconclusiveReason.INTERNAL


def test_sizes_read_as_they_are_written() -> None:
    assert [readable_size(n) for n in (1 << 20, 3 << 10, 1000)] == ["1 MiB", "3 KiB", "1000 bytes"]

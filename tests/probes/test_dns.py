"""DNS: every record type decoded, every lie noticed, a truncated answer asked for again over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import FailReason, Outcome, _dns_codec, dns
from probes._dns_codec import MalformedError, decode, encode_name, question
from probes._net import LiveNetwork
from tests.probes.asking import ask

IDENT = b"\xab\xcd"
ASKED = question("a.example.id", "A", recursive=True)
QUERY = IDENT + ASKED.rest
END = QUERY.index(b"\0", 12) + 5


def reply(*records: bytes, flags: int = 0x8180, ident: bytes = IDENT, asked: bytes = QUERY) -> bytes:
    end = asked.index(b"\0", 12) + 5
    return ident + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + asked[12:end] + b"".join(records)


def record(kind: str | int, data: bytes, name: bytes = b"\xc0\x0c") -> bytes:
    number = _dns_codec.TYPES[kind] if isinstance(kind, str) else kind
    return name + struct.pack(">HHIH", number, 1, 300, len(data)) + data


NAME = encode_name("mx.example.id")
RECORDS: list[tuple[str | int, bytes, str]] = [
    ("A", bytes((192, 0, 2, 7)), "192.0.2.7"),
    ("AAAA", ipaddress.ip_address("2001:db8::7").packed, "2001:db8::7"),
    ("CNAME", NAME, "mx.example.id."),
    ("NS", b"\x02ns\xc0\x0c", "ns.a.example.id."),
    ("PTR", NAME, "mx.example.id."),
    ("MX", b"\0\x0a" + NAME, "10 mx.example.id."),
    ("SRV", struct.pack(">HHH", 1, 2, 5060) + NAME, "1 2 5060 mx.example.id."),
    ("SOA", NAME + NAME + struct.pack(">IIIII", 1, 2, 3, 4, 5), "mx.example.id. mx.example.id. 1 2 3 4 5"),
    ("TXT", b"\x05v=spf\x02 1", "v=spf 1"),
    ("CAA", b"\0\x05issueletsencrypt.org", '0 issue "letsencrypt.org"'),
    (65_000, b"\x01\xff", "01ff"),
]


@pytest.mark.parametrize(("kind", "data", "text"), RECORDS)
def test_records_read_as_in_a_zone_file(kind: str | int, data: bytes, text: str) -> None:
    (found,) = decode(reply(record(kind, data)), IDENT, ASKED).records
    assert (found.data, found.ttl_s, found.name) == (text, 300, "a.example.id.")
    assert found.type == (kind if isinstance(kind, str) else "TYPE65000")


def test_the_query_is_what_rfc_1035_says() -> None:
    assert QUERY[:12] == bytes.fromhex("abcd 0100 0001 0000 0000 0001".replace(" ", ""))
    assert QUERY[12:END] == b"\x01a\x07example\x02id\0\0\x01\0\x01"
    assert question(".", "NS", recursive=False).rest[:2] == b"\0\0"
    assert encode_name("bücher.id") == b"\x0dxn--bcher-kva\x02id\0"
    for bad in ("a..b", "x" * 64 + ".id", ".".join(["a" * 60] * 5)):
        with pytest.raises(ValueError, match=r"is no DNS name|label"):
            encode_name(bad)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"", "breaks off"),
        (QUERY, "not the answer"),
        (reply(ident=b"\0\0"), "not the answer"),
        (reply(asked=IDENT + question("b.example.id", "A", recursive=True).rest), "another question"),
        (reply(asked=IDENT + question("a.example.id", "MX", recursive=True).rest), "another question"),
        (reply(record("A", b"\x01\x02\x03")), "wrong length"),
        (reply(record("A", bytes(4)))[:-1], "breaks off"),
        (reply(record("CNAME", b"\xff\xff")), "points forwards"),
        (reply(record("CNAME", b"\x41ab")), "unknown kind"),
        (reply(record("A", bytes(4), name=struct.pack(">H", 0xC000 | END))), "points forwards"),
        (reply(record("TXT", b"x", name=b"\xc0" + bytes((END + 1,)))), "points forwards"),
        (reply(record("A", bytes(4)))[:4] + b"\0\0\0\x01\0\0\0\0" + record("A", bytes(4)), "points forwards"),
    ],
)
def test_lies_are_noticed(message: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        decode(message, IDENT, ASKED)


def test_a_name_is_what_its_pointer_leads_to() -> None:
    """An alias and its addresses: the first record is the question's, the others are its target's."""
    target = b"\x03WWW" + struct.pack(">H", 0xC000 | QUERY.index(b"\x07example"))
    to_target = struct.pack(">H", 0xC000 | END + 12)
    address = record("A", bytes(4), name=to_target)
    message = reply(record("CNAME", target), address, address, record("A", bytes(4)))
    echoed_in_capitals = message[:12] + message[12:END].upper() + message[END:]
    for answer in (message, echoed_in_capitals):
        found = decode(answer, IDENT, ASKED).records
        assert [r.name for r in found] == ["a.example.id.", "www.example.id.", "www.example.id.", "a.example.id."]
        assert found[0].data == "www.example.id."


def test_names_that_begin_alike_are_told_apart() -> None:
    alike = (record("A", bytes(4), name=b"\x01b" + rest) for rest in (b"\xc0\x0c", b"\0", b"\x01c\0"))
    assert [r.name for r in decode(reply(*alike), IDENT, ASKED).records] == ["b.a.example.id.", "b.", "b.c."]


@given(st.binary(max_size=300), st.integers(0, 60))
def test_any_bytes_are_an_answer_or_malformed(noise: bytes, keep: int) -> None:
    message = reply(record("MX", b"\0\x0a" + NAME))[:keep] + noise
    with contextlib.suppress(MalformedError):
        decode(message, IDENT, ASKED)


@given(
    rcode=st.sampled_from([*_dns_codec.RCODES.values(), "RCODE9"]),
    authoritative=st.booleans(),
    records=st.lists(
        st.builds(
            _dns_codec.Record,
            st.text(),
            st.sampled_from([*_dns_codec.TYPES, "TYPE9"]),
            st.integers(0, 2**32 - 1),
            st.text(),
        ),
        max_size=3,
    ),
)
def test_the_body_is_the_answer_as_json(rcode: str, authoritative: bool, records: list[_dns_codec.Record]) -> None:
    answer = _dns_codec.Reply(rcode, False, authoritative, tuple(records))
    shown = [{"name": r.name, "type": r.type, "ttl": r.ttl_s, "data": r.data} for r in records]
    wanted = {"rcode": rcode, "authoritative": authoritative, "records": shown}
    assert dns.body(answer) == json.dumps(wanted).encode()


@asynccontextmanager
async def serving(flags: int, *, tcp_flags: int = 0x8180, tcp: bool = True) -> AsyncIterator[int]:
    """A server on one port for UDP and TCP, each with its own flags."""
    address = record("A", bytes((192, 0, 2, 7)))

    class Udp(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
            self.transport.sendto(reply(address, flags=flags, ident=data[:2], asked=data), addr)

    async def over_tcp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = (await reader.readexactly(2)) and await reader.readuntil(b"example\x02id\0\0\x01\0\x01")
        message = reply(address, address, flags=tcp_flags, ident=data[:2], asked=data)
        writer.write(struct.pack(">H", len(message)) + message)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(over_tcp, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Udp, ("127.0.0.1", port))
    if not tcp:
        server.close()
    yield port
    transport.close()
    server.close()


def check(port: int, **more: object) -> dict[str, Any]:
    return {"dns": {"query": "a.example.id", "server": f"127.0.0.1:{port}"} | more}


async def test_a_truncated_answer_is_asked_for_again_over_tcp(network: LiveNetwork) -> None:
    async with serving(0x8380) as port:
        result = await ask(network, check(port))
    assert result.facts["records"] == ("192.0.2.7", "192.0.2.7")
    async with serving(0x8380, tcp=False) as port:
        result = await ask(network, check(port))
    assert result.reason is FailReason.CONNECT


async def test_the_rcode_is_expected(network: LiveNetwork) -> None:
    async with serving(0x8183) as port:
        fails = await ask(network, check(port))
        wanted = await ask(network, check(port, rcode="NXDOMAIN"))
    assert (fails.outcome, fails.reason) == (Outcome.FAIL, FailReason.ASSERTION)
    assert fails.message == "expected NOERROR, 127.0.0.1 answered NXDOMAIN"
    assert wanted.outcome is Outcome.PASS


async def test_records_are_expected_and_extracted(network: LiveNetwork) -> None:
    async with serving(0x8180) as port:
        step = check(port) | {"name": "a", "extract": {"address": "$.records[0].data"}}
        step["expect"] = {"json": {"$.records[*].type": "A", "$.records[?@.ttl < 60]": {"exists": False}}}
        result = await ask(network, {"steps": [step]})
    assert result.outcome is Outcome.PASS, result.message
    assert result.steps[0].extracted == {"address": "192.0.2.7"}

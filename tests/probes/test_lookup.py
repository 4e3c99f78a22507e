"""A resolver that the configuration names: asked really, believed only where it answers, blamed where it does not."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from probes import FailReason, InconclusiveReason, Outcome
from probes._net import LiveNetwork
from probes.transaction import SpecError, parse
from tests.probes.asking import SECOND_NS, ask, in_virtual_time, listening, nobody_listens

Answering = Callable[[bytes, int], bytes | None]


def rcode(number: int, *addresses: str, truncated: bool = False) -> Answering:
    """Answers A questions with these addresses."""

    def answer(query: bytes, kind: int) -> bytes:
        records = addresses if kind == 1 else ()
        flags = 0x8180 | number | (0x0200 if truncated else 0)
        head = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0)
        body = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address) for address in records
        )
        return head + query[12 : query.index(b"\0", 12) + 5] + body

    return answer


@asynccontextmanager
async def name_server(answer: Answering) -> AsyncIterator[tuple[int, list[int]]]:
    """The port of a server, and the types that it was asked for."""
    asked: list[int] = []

    class Udp(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
            (kind,) = struct.unpack_from(">H", data, data.index(b"\0", 12) + 1)
            asked.append(kind)
            message = answer(data, kind)
            if message is not None:
                self.transport.sendto(message, addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Udp, ("127.0.0.1", 0))
    yield transport.get_extra_info("sockname")[1], asked
    transport.close()


@asynccontextmanager
async def greeter() -> AsyncIterator[int]:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        writer.close()

    async with listening(greet) as port:
        yield port


def greeting(port: int, resolver: int, **more: object) -> dict[str, Any]:
    return {
        "tcp": {
            "connect": f"greeter.test:{port}",
            "dialogue": [{"expect": "hello"}],
            "resolver": f"127.0.0.1:{resolver}",
        }
        | more
    }


async def test_a_name_is_asked_of_the_resolver_that_is_named(network: LiveNetwork) -> None:
    async with greeter() as port, name_server(rcode(0, "127.0.0.1")) as (resolver, asked):
        result = await ask(network, greeting(port, resolver))
        assert result.outcome is Outcome.PASS, result.message
        assert sorted(asked) == [1, 28]
        assert result.phases_ns.keys() == {"resolve", "connect", "processing"}
        assert (await ask(network, greeting(port, resolver, family="ipv4"))).outcome is Outcome.PASS
        assert sorted(asked) == [1, 1, 28]
        assert (
            await ask(network, greeting(port, resolver, resolve={"greeter.test": "127.0.0.1"}))
        ).outcome is Outcome.PASS
        assert len(asked) == 3, "what resolve says is asked of nobody"


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (rcode(3), FailReason.DNS, "the name greeter.test does not exist, says 127.0.0.1:"),
        (rcode(0), FailReason.DNS, "has no A and no AAAA record"),
        (rcode(2), InconclusiveReason.OWN_RESOLVER, "it answered SERVFAIL"),
        (rcode(5), InconclusiveReason.OWN_RESOLVER, "it answered REFUSED"),
        (rcode(0, truncated=True), InconclusiveReason.OWN_RESOLVER, "too long for a datagram"),
        (lambda query, _kind: query[:2] + b"\xff" * 20, InconclusiveReason.OWN_RESOLVER, "resolving greeter.test by"),
        (lambda _query, _kind: None, InconclusiveReason.OWN_RESOLVER, "time ran out"),
        (rcode(0, "169.254.169.254"), InconclusiveReason.INTERNAL, "refused"),
    ],
)
async def test_whose_fault_it_is(
    network: LiveNetwork, answer: Answering, reason: FailReason | InconclusiveReason, words: str
) -> None:
    async with name_server(answer) as (resolver, _asked):
        result = await ask(network, greeting(1, resolver), timeout_s=0.6 if words == "time ran out" else 60)
    assert result.reason is reason, result.message
    assert words in (result.message or "")
    assert network.open_connections == 0


def test_a_lost_question_is_asked_again() -> None:
    good, seen = rcode(0, "127.0.0.1"), set[int]()

    def forgetful(query: bytes, kind: int) -> bytes | None:
        if kind not in seen:
            seen.add(kind)
            return None
        return good(query, kind)

    async def story(network: LiveNetwork) -> list[int]:
        async with greeter() as port, name_server(forgetful) as (resolver, asked):
            result = await ask(network, greeting(port, resolver), timeout_s=20)
            assert result.outcome is Outcome.PASS, result.message
            assert 10 * SECOND_NS <= result.steps[0].duration_ns < 11 * SECOND_NS, "half of the time was waited"
        return sorted(asked)

    assert in_virtual_time(story) == [1, 1, 28, 28]


async def test_nobody_at_the_resolver_is_our_own_fault(network: LiveNetwork) -> None:
    with nobody_listens(socket.SOCK_DGRAM) as port:
        result = await ask(network, greeting(1, port))
    assert result.reason is InconclusiveReason.OWN_RESOLVER, result.message


@pytest.mark.parametrize("kind", ["http", "tcp", "tls", "dns", "icmp"])
def test_every_kind_takes_a_resolver_by_its_address(kind: str) -> None:
    settings: dict[str, dict[str, Any]] = {
        "http": {"get": "http://a.test/"},
        "tcp": {"connect": "a.test:1"},
        "tls": {"connect": "a.test:1"},
        "dns": {"query": "b.test", "server": "ns.test"},
        "icmp": {"ping": "a.test"},
    }
    step = parse({kind: settings[kind] | {"resolver": "192.0.2.53"}}).steps[0]
    assert step.spec.route.resolver == "192.0.2.53:53"
    assert (
        parse({kind: settings[kind] | {"resolver": "2001:db8::1"}}).steps[0].spec.route.resolver == "[2001:db8::1]:53"
    )
    for wrong in ("ns.test", "${NS}", "169.254.169.254", "192.0.2.53:0"):
        with pytest.raises(SpecError):
            parse({kind: settings[kind] | {"resolver": wrong}})


def only_a(address: str, *, aaaa: Answering) -> Answering:
    good = rcode(0, address)
    return lambda query, kind: good(query, kind) if kind == 1 else aaaa(query, kind)


@pytest.mark.parametrize(
    "aaaa", [rcode(2), rcode(4), lambda _query, _kind: None], ids=["SERVFAIL", "NOTIMP", "silence"]
)
def test_a_name_server_that_knows_no_aaaa_hides_no_ipv4_address(aaaa: Answering) -> None:
    async def story(network: LiveNetwork) -> int:
        async with greeter() as port, name_server(only_a("127.0.0.1", aaaa=aaaa)) as (resolver, _asked):
            result = await ask(network, greeting(port, resolver), timeout_s=20)
            assert result.outcome is Outcome.PASS, result.message
            return result.steps[0].duration_ns

    assert in_virtual_time(story) < SECOND_NS


def test_a_name_without_ipv4_addresses_waits_for_those_of_ipv6() -> None:
    async def story(network: LiveNetwork) -> None:
        async with name_server(only_a("127.0.0.1", aaaa=rcode(2))) as (resolver, _asked):
            result = await ask(network, greeting(1, resolver, family="ipv6"))
            assert result.reason is InconclusiveReason.OWN_RESOLVER, result.message
        no_a: Answering = lambda query, kind: rcode(0)(query, kind) if kind == 1 else None  # noqa: E731 - a name server
        async with name_server(no_a) as (resolver, _asked):
            result = await ask(network, greeting(1, resolver))
            assert result.reason is InconclusiveReason.OWN_RESOLVER, result.message

    in_virtual_time(story)

"""ICMP echoes against this machine's own kernel; without the right to send them, a fault of ours that says so."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import time

import pytest

from probes import FailReason, InconclusiveReason, Outcome, Phase
from probes._icmp import checksum
from probes._net import LiveNetwork
from probes.transaction import SpecError, parse
from tests.conformance.probes import namespace
from tests.probes.asking import ask, ask_in_time, open_descriptors


def may_ping() -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
        except PermissionError:
            continue
        return True
    return False


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "b\u00fccher.test"])
async def test_the_kernel_answers(host: str, network: LiveNetwork) -> None:
    settings = {"ping": host, "count": 3, "size": 64, "resolve": {"b\u00fccher.test": "127.0.0.1"}}
    step = {"name": "ping", "icmp": settings, "expect": {"json": {"$.received": 3}}}
    result = await ask(network, {"steps": [step]})
    if not may_ping():
        assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, InconclusiveReason.INTERNAL)
        assert "ping_group_range" in (result.message or "")
        return
    assert result.outcome is Outcome.PASS, result.message
    assert len(result.facts["rtt_us"]) == 3
    (trace,) = result.steps
    assert set(trace.phases_ns) == {Phase.PROCESSING}
    assert trace.target == host


async def test_without_the_right_it_is_our_own_fault(network: LiveNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(family: int, kind: int, proto: int) -> socket.SocketType:
        if not proto:
            return real(family, kind, proto)
        raise PermissionError(1, "words")

    real = socket.SocketType
    before = open_descriptors()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "SocketType", refuse)
        result = await ask(network, {"icmp": {"ping": "127.0.0.1"}})
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, InconclusiveReason.INTERNAL)
    assert "CAP_NET_RAW" in (result.message or "")
    network.close()
    assert open_descriptors() == before


@pytest.fixture(params=[True, False], ids=["unprivileged", "raw"], scope="module")
def isolated(request: pytest.FixtureRequest) -> namespace.Namespace:
    problem = namespace.missing()
    if problem:
        pytest.skip(problem)
    return namespace.Namespace(
        {"192.0.2.9": namespace.unreachable(1), "192.0.2.10": namespace.unreachable(13, quoted=8)},
        unprivileged=request.param,
    )


def ping(host: str, **more: object) -> dict[str, object]:
    return {"icmp": {"ping": host, **more}}


async def test_one_socket_a_family_serves_everybody(isolated: namespace.Namespace, network: LiveNetwork) -> None:
    """Each hears what is said to it alone: answers, refusals, silence."""
    with isolated.entered():
        await ask(network, ping("127.0.0.1"))
        await ask(network, ping("::1"))
        before = open_descriptors()
        asked = [("127.0.0.1", None), (namespace.REFUSING, FailReason.CONNECT), ("::1", None)] * 20
        answers = asyncio.gather(*(ask(network, ping(host, count=3, size=1400)) for host, _ in asked))
        silent = await ask_in_time(network, ping("192.0.2.1"), timeout_s=0.3)
        results = await answers
        assert open_descriptors() == before
    assert silent.reason is FailReason.TIMEOUT
    assert [result.reason for result in results] == [reason for _, reason in asked]
    assert {len(result.facts["rtt_us"]) for result in results if result.outcome is Outcome.PASS} == {3}


@pytest.mark.parametrize(("host", "words"), [("192.0.2.9", "no route to host"), ("192.0.2.10", "no route to host")])
async def test_who_says_that_it_leads_nowhere_is_heard_at_once(
    host: str, words: str, isolated: namespace.Namespace, network: LiveNetwork
) -> None:
    with isolated.entered():
        result = await ask(network, ping(host), timeout_s=30)
        forgiven = await ask(network, ping(host, count=3, lost=2), timeout_s=30)
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.CONNECT)
    assert result.message == f"{host}: {words}"
    assert forgiven.reason is FailReason.CONNECT, "more were refused than may be lost"


async def test_a_round_trip_does_not_wait_for_our_loop(isolated: namespace.Namespace, network: LiveNetwork) -> None:
    """What the kernel itself needs on a busy machine may be long now and then, what waits for our loop always is."""
    longest_us: list[int] = []
    while min(longest_us, default=300_000) >= 100_000 and len(longest_us) < 20:
        with isolated.entered():
            task = asyncio.create_task(ask(network, ping("127.0.0.1")))
            await asyncio.sleep(0)  # it has begun, and waits
            assert network.open_connections == 1
            time.sleep(0.3)  # noqa: ASYNC251 - the fault itself
            result = await task
        assert result.steps[0].duration_ns > 300_000_000
        longest_us.append(max(result.facts["rtt_us"]))
    assert min(longest_us) < 100_000


async def test_the_echoes_of_others_do_not_even_wake_us(isolated: namespace.Namespace, network: LiveNetwork) -> None:
    other = LiveNetwork()
    with isolated.entered():
        for host in ("127.0.0.1", "::1"):
            assert (await ask(network, ping(host))).outcome is Outcome.PASS
            silent = [shared._sock for shared in network._icmp.values()]
            results = await asyncio.gather(*(ask(other, ping(host)) for _ in range(20)))
            assert {result.outcome for result in results} == {Outcome.PASS}
            for sock in silent:
                with pytest.raises(BlockingIOError):
                    sock.recv(2048)
    other.close()


async def test_it_leaves_from_the_address_it_is_told(isolated: namespace.Namespace, network: LiveNetwork) -> None:
    with isolated.entered():
        from_ours = await ask(network, ping("127.0.0.1", source="127.0.0.9"))
        from_nowhere = await ask(network, ping("127.0.0.1", source="198.51.100.7"))
        from_six = await ask(network, ping("::1", source="::1"))
    assert from_ours.outcome is Outcome.PASS, from_ours.message
    assert from_six.outcome is Outcome.PASS, from_six.message
    assert (from_nowhere.outcome, from_nowhere.reason) == (Outcome.INCONCLUSIVE, InconclusiveReason.OWN_NETWORK)


async def test_without_a_route_it_is_our_own_network(isolated: namespace.Namespace, network: LiveNetwork) -> None:
    with isolated.entered():
        result = await ask(network, ping("198.51.100.7"))
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, InconclusiveReason.OWN_NETWORK)


async def test_replies_that_we_had_no_room_for_are_not_missing(
    isolated: namespace.Namespace, network: LiveNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probes._icmp._RECEIVE_BYTES", 1)
    with isolated.entered():
        result = await ask(network, ping("127.0.0.1", count=20, size=1400), timeout_s=0.3)
        silence = await ask_in_time(network, ping("192.0.2.1"), timeout_s=0.3)
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, InconclusiveReason.STALLED)
    assert (silence.outcome, silence.reason) == (Outcome.FAIL, FailReason.TIMEOUT)


@pytest.mark.parametrize("size", [16, 17, 56, 1400])
def test_the_checksum_adds_up(size: int) -> None:
    """RFC 1071: the sum over a message with its checksum in place is all ones."""
    message = b"\x08\0\0\0\x12\x34\0\x07" + (bytes(range(256)) * 6)[:size]
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    padded = message + b"\0" * (len(message) % 2)
    total = sum(int.from_bytes(padded[at : at + 2], "big") for at in range(0, len(padded), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_the_checksum_of_all_ones_is_none_of_all_zeros() -> None:
    assert checksum(b"\xff\xff") == 0
    assert checksum(b"\xff\xff\0\x01") == 0xFFFE


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ping": "a.test:80"}, "no host"),
        ({"ping": "http://a.test/"}, "no host"),
        ({"ping": "169.254.169.254"}, "cloud metadata"),
        ({"ping": "a.test", "count": 21}, "from 1 to 20"),
        ({"ping": "a.test", "count": 2, "lost": 2}, "answered by silence"),
        ({"ping": "a.test", "size": 8}, "from 16 to 1400"),
    ],
)
def test_mistakes_are_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse({"icmp": settings})
    assert words in raised.value.problems[0].message
    assert dataclasses.is_dataclass(raised.value.problems[0])

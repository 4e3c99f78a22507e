"""ICMP echoes against this machine's own kernel; without the right to send them, a fault of ours that says so."""

from __future__ import annotations

import dataclasses
import socket

import pytest

from probes import InconclusiveReason, Outcome, Phase
from probes._icmp import checksum
from probes._net import LiveNetwork
from probes.transaction import SpecError, parse
from tests.probes.asking import ask, open_descriptors


def may_ping() -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
        except PermissionError:
            continue
        return True
    return False


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_kernel_answers(host: str, network: LiveNetwork) -> None:
    step = {"name": "ping", "icmp": {"ping": host, "count": 3, "size": 64}, "expect": {"json": {"$.received": 3}}}
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
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(1, "words")

    before = open_descriptors()
    with monkeypatch.context() as patched:
        patched.setattr(socket, "SocketType", refuse)
        result = await ask(network, {"icmp": {"ping": "127.0.0.1"}})
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, InconclusiveReason.INTERNAL)
    assert "CAP_NET_RAW" in (result.message or "")
    network.close()
    assert open_descriptors() == before


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

"""A target may answer whatever it likes: it is classified, it costs little, and nobody else notices."""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import time

import pytest

from probes import FailReason, InconclusiveReason, Outcome, OwnFault
from probes._answer import Answer
from probes._judge import Judge
from probes._net import LiveNetwork
from probes.template import Expander
from probes.transaction import parse
from tests.probes.asking import (
    ask,
    ask_in_time,
    descriptors_fall_to,
    open_descriptors,
    reset_peak,
    resident_bytes,
    turns,
)
from tests.probes.hostile import Hostile, catalogue

PROTOCOL, TIMEOUT = FailReason.PROTOCOL, FailReason.TIMEOUT

CASES = {
    "garbage": (PROTOCOL, "malformed response"),
    "frame": (PROTOCOL, "malformed response"),  # with no end of a line to wait for
    "ssh": (PROTOCOL, "malformed response"),
    "silence": (TIMEOUT, "waiting for 127.0.0.1"),
    "half_a_head": (TIMEOUT, "waiting for 127.0.0.1"),
    "stalled_body": (TIMEOUT, "waiting for 127.0.0.1"),
    "closes": (PROTOCOL, "without an answer"),
    "reset": (PROTOCOL, "connection reset by peer"),
    "reset_in_body": (PROTOCOL, "connection reset by peer"),
    "slow_drip": (TIMEOUT, "waiting for 127.0.0.1"),
    "truncated": (PROTOCOL, "closed in the middle of the body"),
    "truncated_head": (PROTOCOL, "closed in the middle of the headers"),
    "truncated_chunks": (PROTOCOL, "closed in the middle of the body"),
    "truncated_gzip": (PROTOCOL, "compressed body breaks off"),
    "broken_gzip": (PROTOCOL, "does not decompress"),
    "gzip_and_more": (PROTOCOL, "bytes after its end"),
    "endless_body": (PROTOCOL, "body over 1 MiB"),
    "endless_chunks": (PROTOCOL, "body over 1 MiB"),
    "gzip_bomb": (PROTOCOL, "body over 1 MiB"),
    "deflate_bomb": (PROTOCOL, "body over 1 MiB"),
    "gzip_chunk_bomb": (PROTOCOL, "does not decompress"),
    "endless_headers": (PROTOCOL, "over 256 headers"),
    "endless_header": (PROTOCOL, "bytes of headers"),
    "endless_reason": (PROTOCOL, "bytes of headers"),
    "many_headers": (PROTOCOL, "over 256 headers"),
    "endless_trailers": (PROTOCOL, "over 256 headers"),
    "endless_extension": (PROTOCOL, "bytes of framing"),
    "endless_interim": (PROTOCOL, "interim responses"),
    "length_and_chunks": (PROTOCOL, "malformed response"),
    "chunks_and_length": (PROTOCOL, "malformed response"),
    "two_lengths": (PROTOCOL, "malformed response"),
    "negative_length": (PROTOCOL, "malformed response"),
    "giant_length": (PROTOCOL, "malformed response"),
    "gzip_transfer": (PROTOCOL, "transfer-encoding 'gzip' was not asked for"),
    "brotli": (PROTOCOL, "content-encoding 'br' is not supported"),
    "bad_chunk": (PROTOCOL, "malformed response"),
    "giant_chunk": (PROTOCOL, "malformed response"),
    "switches": (PROTOCOL, "switched protocols"),
    "bad_status": (PROTOCOL, "malformed response"),
    "folded_for_ever": (PROTOCOL, "bytes of headers"),
    "empty_parts": (PROTOCOL, "over 1024 parts"),
    "folded": (PROTOCOL, "malformed response"),
    "redirect_loop": (PROTOCOL, "more than 5 redirects"),
    "to_file": (PROTOCOL, "scheme 'file'"),
    "to_javascript": (PROTOCOL, "scheme 'javascript'"),
    "to_nowhere": (PROTOCOL, "names no host"),
    "to_bad_port": (PROTOCOL, "no URL"),
}
HARMLESS = {"good", "million_chunks"}
OWN = {"to_metadata"}


def test_every_behaviour_has_its_case() -> None:
    assert set(catalogue()) == set(CASES) | HARMLESS | OWN


@pytest.mark.parametrize("behaviour", CASES)
async def test_each_behaviour_is_a_classified_failure(behaviour: str, hostile: Hostile, network: LiveNetwork) -> None:
    reason, words = CASES[behaviour]
    descriptors = open_descriptors()
    check = {"http": {"get": hostile.url(behaviour)}}
    result = await (
        ask_in_time(network, check, timeout_s=0.8) if reason is TIMEOUT else ask(network, check, timeout_s=60)
    )
    assert (result.outcome, result.reason) == (Outcome.FAIL, reason), result.message
    assert words in (result.message or "")
    assert result.step == "http"
    assert not result.tainted
    network.close()
    assert await descriptors_fall_to(descriptors)


async def test_a_redirect_to_cloud_metadata_is_never_followed(hostile: Hostile, network: LiveNetwork) -> None:
    """From a private address, so that only the rule about metadata can stop it."""
    result = await ask(network, {"http": {"get": hostile.url("to_metadata")}})
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, InconclusiveReason.INTERNAL)
    assert "cloud metadata" in (result.message or "")


@pytest.fixture(scope="module")
def held_s() -> float:
    """How much CPU time one turn of the loop may take here: three times what reading the dearest body in one go costs,
    which is the largest piece of work that is not cut up. It is 50 ms where a core reads that body in 17.
    """
    spent_s = []
    for _ in range(5):
        gc.collect()
        gc.disable()
        begun_s = time.thread_time()
        json.loads(BODIES["many small arrays"])
        spent_s.append(time.thread_time() - begun_s)
        gc.enable()
    return 3 * statistics.median(spent_s)


async def test_a_million_one_byte_chunks_are_a_body_of_a_million_bytes(
    hostile: Hostile, network: LiveNetwork, held_s: float
) -> None:
    with turns() as watch:
        check = {"http": {"get": hostile.url("million_chunks")}, "expect": {"size": ">= 1MB"}}
        result = await ask(network, check, timeout_s=60)
    assert result.outcome is Outcome.PASS, result.message
    assert result.facts["size"] == 1_000_000
    assert watch.longest_s < held_s


async def test_nothing_hostile_holds_the_loop_or_the_memory(
    hostile: Hostile, network: LiveNetwork, held_s: float
) -> None:
    await ask(network, {"http": {"get": hostile.url("good")}})
    for behaviour in sorted(set(CASES) - {"slow_drip", "silence", "half_a_head", "stalled_body"}):
        before = resident_bytes()
        reset_peak()
        with turns() as watch:
            await ask(network, {"http": {"get": hostile.url(behaviour)}})
        assert watch.longest_s < held_s, behaviour
        # The server lives in this process: what it sends and buffers counts too.
        assert resident_bytes(peak=True) - before < 5 << 20, behaviour


async def test_a_good_probe_beside_all_of_them_is_not_disturbed(hostile: Hostile, network: LiveNetwork) -> None:
    async def good() -> list[Outcome]:
        check = {"http": {"get": hostile.url("good")}, "expect": {"body": {"contains": "hello"}}}
        return [(await ask(network, check, timeout_s=10)).outcome for _ in range(100)]

    hostiles = [ask(network, {"http": {"get": hostile.url(name)}}, timeout_s=1) for name in CASES]
    beside = asyncio.create_task(good())
    failures = await asyncio.gather(*hostiles)
    answers = await beside
    assert answers == [Outcome.PASS] * 100
    unclassified = [failure for failure in failures if failure.outcome is not Outcome.FAIL and not failure.tainted]
    assert not unclassified


MIB = 1 << 20
BODIES = {
    "many small arrays": b"[" + b"[]," * (MIB // 3 - 10) + b"[]]",
    "many small objects": b"[" + b'{"a":1},' * (MIB // 8 - 10) + b"0]",
    "deep": b"[" * MIB,
    "many elements": b"<a></a>" * (MIB // 7 - 10),
    "deep elements": b"<a>" * (MIB // 3 - 10),
    "many attributes": b"<a " + b"b=c " * (MIB // 4 - 10) + b">",
    "long text": b"x" * MIB,
    "noise": bytes(range(256)) * (MIB // 256),
}
WISHES: dict[str, dict[str, object]] = {
    "json": {"json": {"$[*].a": 1}},
    "schema": {"schema": {"type": "array", "items": {"type": "object", "required": ["b"]}}},
    "xpath": {"xpath": {"count(//a)": 3, "//a/@b": "d"}},
    "css": {"css": {"a > a": "x"}},
    "body": {"body": {"contains": "never", "matches": "(x+x+)+y"}},
}


@pytest.mark.parametrize("wish", WISHES)
async def test_no_hostile_body_holds_the_loop_whatever_is_asked_of_it(wish: str, held_s: float) -> None:
    step = parse({"http": {"get": "http://a.test/"}, "expect": WISHES[wish]}).steps[0]

    async def judged(body: bytes) -> None:
        facts = {"status": 200, "headers": [], "body": body, "size": len(body), "duration_ns": 1}
        judge = Judge("s", Answer(facts), Expander(str, {}), lambda text: text)
        try:
            await judge.judge(step.expect)
        except OwnFault:
            return  # the pattern took too long: said, and nobody waited for it

    await judged(b"[]")  # loads what it needs
    for name, body in BODIES.items():
        with turns() as watch:
            await judged(body)
        assert watch.longest_s < held_s, name

"""The event loop changes no result: every kind in every mood says the same on uvloop as on the standard library's."""

from __future__ import annotations

import asyncio
import time

import pytest

from probes import FailReason, Outcome, Result
from probes._net import LiveNetwork
from tests.conformance.probes.benches import BENCHES, Bench
from tests.conformance.probes.test_kinds import ask_in_time

uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed: the tests on it are left out")

MOODS = [(name, mood) for name, bench in BENCHES.items() for mood in (*(bench.moods or bench.datagrams), "refused")]


async def said(bench: Bench, mood: str) -> tuple[type, Result, int, int]:
    """On which loop, the answer, what it left open, and how late it was in ns if it was a time-out."""
    wanted = bench.reasons.get(mood, FailReason.TIMEOUT)
    timeout_s = 0.4 if wanted is FailReason.TIMEOUT and mood not in {"good", "refused"} else 60
    network = LiveNetwork()
    async with bench.serving(mood) as port:
        begun_ns = time.monotonic_ns()
        result = await ask_in_time(bench, port, network, timeout_s=timeout_s)
        late_ns = time.monotonic_ns() - begun_ns - int(timeout_s * 1e9)
    left = network.open_connections
    network.close()
    return type(asyncio.get_running_loop()), result, left, late_ns


def shown(result: Result) -> tuple[object, ...]:
    """What does not depend on ports and times."""
    (step,) = result.steps
    words = (result.message or "").replace(step.target, "TARGET").replace(step.target.partition(":")[0], "HOST")
    return result.outcome, result.reason, result.step, words, sorted(step.phases_ns), step.failed_assertions


@pytest.mark.parametrize(("name", "mood"), MOODS)
def test_results_are_equal(name: str, mood: str) -> None:
    bench = BENCHES[name]
    with asyncio.Runner() as runner:
        _, here, _, _ = runner.run(said(bench, mood))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop, there, left, late_ns = runner.run(said(bench, mood))
    assert issubclass(loop, uvloop.Loop)
    assert shown(here) == shown(there)
    assert left == 0
    if there.reason is FailReason.TIMEOUT:
        assert late_ns >= 0, "never early"
    assert (there.outcome is Outcome.PASS) == (mood == "good")

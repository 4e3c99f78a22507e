"""What every kind of probe promises, whatever it speaks: part of the seam, run against a real server for each kind."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator

import pytest

from probes import Context, FailReason, InconclusiveReason, Outcome, Result, kinds, load
from probes._net import LiveNetwork
from probes.expect import KEYS
from probes.transaction import parse, run
from tests.conformance.probes.benches import BENCHES, CANARY, Bench
from tests.probes.asking import descriptors_fall_to, open_descriptors
from tests.simulation.loop import VirtualLoop

SECOND_NS = 1_000_000_000
MOODS = [(name, mood) for name, bench in BENCHES.items() for mood in (bench.moods or bench.datagrams) if mood != "good"]


@pytest.fixture
async def network() -> AsyncIterator[LiveNetwork]:
    live = LiveNetwork()
    yield live
    assert live.open_connections == 0, "a probe left a connection open"
    live.close()
    assert len(asyncio.all_tasks()) <= 2, "a probe left a task behind"


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest) -> Bench:
    return BENCHES[request.param]


async def ask(bench: Bench, port: int, network: LiveNetwork, *, timeout_s: float = 10, secret: str = "none") -> Result:
    ctx = Context(
        now_ns=time.monotonic_ns,
        deadline_ns=time.monotonic_ns() + int(timeout_s * SECOND_NS),
        network=network,
        secret=lambda _: CANARY,
    )
    return await run(parse(bench.check(port, secret)), ctx)


async def ask_in_time(bench: Bench, port: int, network: LiveNetwork, *, timeout_s: float) -> Result:
    """As `ask`, and again where our own loop stood still meanwhile: such an attempt proves nothing about time."""
    while True:
        result = await ask(bench, port, network, timeout_s=timeout_s)
        if not result.tainted:
            return result


def test_every_kind_has_a_bench_and_the_shape_of_the_seam() -> None:
    assert {bench.kind for bench in BENCHES.values()} == set(kinds())
    for kind in kinds():
        module = load(kind)
        assert dataclasses.is_dataclass(module.Spec)
        assert asyncio.iscoroutinefunction(module.probe)
        assert set(KEYS) >= module.EXPECTS
        assert module.__doc__ is not None


async def test_success(bench: Bench, network: LiveNetwork) -> None:
    async with bench.serving("good") as port:
        result = await ask(bench, port, network)
        assert result.outcome is Outcome.PASS, result.message
        assert (result.reason, result.message, result.step) == (None, None, None)
        (step,) = result.steps
        assert (step.kind, step.target) == (bench.kind, bench.target(port))
        assert result.facts["duration_ns"] <= step.duration_ns


# The kernel says how long a connection took; what the loop waited for its turn is in no phase. On a loaded machine that
# may be much, but not each time; and the first loads what it needs.
WAITING_NS = 50_000_000


async def test_phases_add_up(bench: Bench, network: LiveNetwork) -> None:
    waited_ns: list[int] = []
    async with bench.serving("good") as port:
        while min(waited_ns, default=WAITING_NS) >= WAITING_NS and len(waited_ns) < 50:
            (step,) = (await ask(bench, port, network)).steps
            assert set(step.phases_ns) == bench.phases
            waited_ns.append(step.duration_ns - sum(step.phases_ns.values()))
    assert 0 <= min(waited_ns) < WAITING_NS


async def test_refusal(bench: Bench, network: LiveNetwork) -> None:
    async with bench.serving("refused") as port:
        result = await ask(bench, port, network)
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.CONNECT)
    assert "connection refused" in (result.message or "")


@pytest.mark.parametrize(("name", "mood"), MOODS)
async def test_each_mood_is_classified(name: str, mood: str, network: LiveNetwork) -> None:
    bench = BENCHES[name]
    wanted = bench.reasons.get(mood, FailReason.TIMEOUT)
    async with bench.serving(mood) as port:
        result = await ask_in_time(bench, port, network, timeout_s=0.4 if wanted is FailReason.TIMEOUT else 60)
    assert (result.outcome, result.reason) == (Outcome.FAIL, wanted), result.message
    assert result.step == result.steps[0].name
    assert result.message == result.steps[0].error


@pytest.mark.parametrize(("name", "mood"), MOODS)
async def test_a_secret_shows_nowhere(name: str, mood: str, network: LiveNetwork) -> None:
    async with BENCHES[name].serving(mood) as port:
        result = await ask(BENCHES[name], port, network, timeout_s=0.3, secret="${PROBE_SECRET}")
    assert CANARY not in repr(dataclasses.replace(result, facts={}))


async def test_a_time_out_is_never_early(bench: Bench, network: LiveNetwork) -> None:
    """Never early. How late is the machine's doing, too: the next test shows what is ours."""
    async with bench.serving("silence") as port:
        start_ns = time.monotonic_ns()
        result = await ask(bench, port, network, timeout_s=0.2)
        assert time.monotonic_ns() - start_ns >= SECOND_NS // 5
    assert result.reason in {FailReason.TIMEOUT, InconclusiveReason.STALLED}


def test_a_time_out_is_exact_on_a_virtual_clock(bench: Bench) -> None:
    """An hour of silence takes no time at all, and ends on the very instant: nothing rounds, nothing polls."""
    loop = VirtualLoop()
    try:
        spent_ns, result, left = loop.run_until_complete(_an_hour_of_silence(bench, loop))
    finally:
        loop.close()
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.TIMEOUT), result.message
    assert 0 <= spent_ns - 3600 * SECOND_NS < SECOND_NS // 100
    assert left == 0


async def _an_hour_of_silence(bench: Bench, loop: VirtualLoop) -> tuple[int, Result, int]:
    live = LiveNetwork()
    async with bench.serving("silence") as port:
        start_ns = loop.time_ns()
        ctx = Context(
            now_ns=loop.time_ns,
            deadline_ns=start_ns + 3600 * SECOND_NS,
            network=live,
            secret=lambda _: CANARY,
        )
        result = await run(parse(bench.check(port, "none")), ctx)
        spent_ns = loop.time_ns() - start_ns
    left = live.open_connections
    live.close()
    return spent_ns, result, left


async def test_descriptors_come_back(bench: Bench, network: LiveNetwork) -> None:
    """Whatever ends a probe: an answer, a refusal, a time-out, a broken answer."""
    moods = ["good", "refused", *(mood for name, mood in MOODS if BENCHES[name] is bench)]
    for mood in ("good", "refused"):  # everything that is opened once is open
        async with bench.serving(mood) as port:
            await ask(bench, port, network)
    before = open_descriptors()
    for mood in moods:
        async with bench.serving(mood) as port:
            await asyncio.gather(*(ask(bench, port, network, timeout_s=0.1) for _ in range(5)))
    assert await descriptors_fall_to(before)


async def test_cancelling_leaves_nothing(bench: Bench, network: LiveNetwork) -> None:
    async with bench.serving("silence") as port:
        tasks = [asyncio.create_task(ask(bench, port, network)) for _ in range(20)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    assert network.open_connections == 0


async def test_many_at_once_do_not_disturb_each_other(bench: Bench, network: LiveNetwork) -> None:
    async with bench.serving("good") as good, bench.serving("silence") as silent:
        stuck = [asyncio.create_task(ask(bench, silent, network, timeout_s=1.5)) for _ in range(20)]
        fine = await asyncio.gather(*(ask(bench, good, network, timeout_s=10) for _ in range(50)))
        hung = await asyncio.gather(*stuck)
    assert {result.outcome for result in fine} == {Outcome.PASS}
    assert all(result.reason is FailReason.TIMEOUT or result.tainted for result in hung)

"""One run a slot: attempts, confirmation, controls; and whose fault it was."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import ModuleType
from typing import Any, TypeVar

import pytest

import probes
from monitor.clock import live_clock
from monitor.controls import (
    CONTROL_EVERY_US,
    CONTROL_SPACING_US,
    CONTROL_TIMEOUT_US,
    Control,
    Ground,
    parse_control,
)
from monitor.core.run import Outcome, Run
from monitor.plan import Plan, budget_us
from monitor.runner import Runner
from probes import transaction
from probes._net import LiveNetwork
from tests.probes.asking import nobody_listens
from tests.simulation.loop import SimulatedClock, VirtualLoop

SECOND = 1_000_000
START_US = 1_775_000_000 * SECOND
T = TypeVar("T")


def scripted(faulty: ModuleType, *script: str, attempts: int = 2, timeout_s: float = 2) -> Plan:
    step = transaction.Step(name="look", kind="faulty", spec=faulty.Spec(script))
    return Plan(
        service="portal",
        check="login",
        transaction=transaction.Spec(steps=(step,)),
        interval_us=10 * SECOND,
        timeout_us=round(timeout_s * SECOND),
        attempts=attempts,
    )


class Bench:
    """A runner on virtual time."""

    def __init__(self, loop: VirtualLoop, **options: Any) -> None:  # noqa: ANN401 - the runner's own
        self.loop = loop
        self.network = LiveNetwork()
        self.runner = Runner(
            location="jkt-1",
            clock=SimulatedClock(loop, START_US),
            network=self.network,
            secret=lambda name: name,
            **options,
        )

    def run(self, plan: Plan) -> Run:
        return self.do(self.runner.run(plan, START_US - 1000))

    def do(self, story: Coroutine[None, None, T]) -> T:
        try:
            return self.loop.run_until_complete(asyncio.wait_for(story, 3600))
        finally:
            self.network.close()


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def said(run: Run) -> tuple[str, str | None, int]:
    return run.outcome.value, run.reason, run.attempts


@pytest.mark.parametrize(
    ("script", "attempts", "expected"),
    [
        (("pass",), 2, ("pass", None, 1)),
        (("fail", "pass"), 2, ("pass", None, 2)),
        (("fail", "fail"), 2, ("fail", "connect", 2)),
        (("fail",), 1, ("fail", "connect", 1)),
        (("fail", "timeout"), 2, ("fail", "timeout", 2)),
        (("fail", "fail", "pass"), 3, ("pass", None, 3)),
        (("fail", "fail", "fail"), 3, ("fail", "connect", 3)),
        # A single failure is not confirmed: whatever kept the other attempt from seeing was ours.
        (("own", "fail"), 2, ("inconclusive", "own_resolver", 2)),
        (("fail", "own"), 2, ("inconclusive", "own_resolver", 2)),
        (("own", "fail", "fail"), 3, ("fail", "connect", 3)),
        (("own", "pass"), 2, ("pass", None, 2)),
        (("own",), 2, ("inconclusive", "own_resolver", 2)),
        (("stalled",), 2, ("inconclusive", "stalled", 2)),
        (("crash",), 2, ("inconclusive", "internal", 2)),
        (("exit",), 2, ("inconclusive", "internal", 2)),
        (("oserror",), 2, ("inconclusive", "internal", 2)),
        (("nothing",), 2, ("inconclusive", "internal", 2)),
        (("cancel",), 2, ("inconclusive", "internal", 2)),
        (("crash", "pass"), 2, ("pass", None, 2)),
        (("crash", "fail"), 2, ("inconclusive", "internal", 2)),
    ],
)
def test_the_outcome_of_a_run_from_its_attempts(
    loop: VirtualLoop,
    faulty: ModuleType,
    script: tuple[str, ...],
    attempts: int,
    expected: tuple[str, str | None, int],
) -> None:
    run = Bench(loop).run(scripted(faulty, *script, attempts=attempts))
    assert said(run) == expected
    assert (run.service, run.check, run.location) == ("portal", "login", "jkt-1")
    assert (run.start_us, run.slot_us) == (START_US, START_US - 1000)


def test_a_crash_is_told_without_what_it_held(loop: VirtualLoop, faulty: ModuleType) -> None:
    for word, wanted in (("crash", "KeyError"), ("oserror", "OSError EMFILE")):
        faulty.__dict__.update(attempts=0)
        run = Bench(loop).run(scripted(faulty, word))
        assert run.message is not None
        assert wanted in run.message
        assert "faulty_kind.py:" in run.message
        assert "s3cret" not in repr(run)


def test_a_probe_that_ignores_its_deadline_is_cut_off_and_is_ours(loop: VirtualLoop, faulty: ModuleType) -> None:
    bench = Bench(loop)
    run = bench.run(scripted(faulty, "hang", attempts=1, timeout_s=2))
    assert said(run) == ("inconclusive", "internal", 1)
    assert 2 * SECOND < run.duration_us <= 5 * SECOND
    assert bench.runner.stats.cut_off == 1


def test_even_one_that_does_not_heed_its_cancellation(loop: VirtualLoop, faulty: ModuleType) -> None:
    bench = Bench(loop)
    run = bench.run(scripted(faulty, "stubborn", attempts=1, timeout_s=2))
    assert said(run) == ("inconclusive", "internal", 1)
    assert run.duration_us <= 6 * SECOND
    assert faulty.cancelled >= 1
    # The task is still there, held by nothing but the runner's bounded set.
    assert len(bench.runner._abandoned) == 1
    (left,) = bench.runner._abandoned
    coroutine = left.get_coro()
    assert coroutine is not None
    bench.runner._abandoned.clear()
    left._log_destroy_pending = False  # type: ignore[attr-defined]
    del left, coroutine
    gc.collect()


def test_a_cancelled_run_passes_it_on_and_cancels_its_probe(loop: VirtualLoop, faulty: ModuleType) -> None:
    bench = Bench(loop)

    async def story() -> None:
        task = asyncio.create_task(bench.runner.run(scripted(faulty, "hang"), START_US))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) <= 2, "the probe's task is gone"

    bench.do(story())


def test_no_run_where_it_is_too_late_to_begin_and_one_task_where_it_begins(
    loop: VirtualLoop, faulty: ModuleType
) -> None:
    bench, ended = Bench(loop), []

    async def story() -> None:
        beside = len(asyncio.all_tasks())
        begun = bench.runner.begin(
            scripted(faulty, "pass"), START_US, begins=lambda: True, ended=lambda *run: ended.append(run)
        )
        assert len(asyncio.all_tasks()) - beside == 1, "nobody waits for a first attempt in a task of his own"
        await begun
        await bench.runner.begin(
            scripted(faulty, "pass"), START_US, begins=lambda: False, ended=lambda *run: ended.append(run)
        )

    bench.do(story())
    assert [(run.outcome, begun_ns) for run, begun_ns in ended] == [(Outcome.PASS, 0)]
    assert faulty.attempts == 1


def test_what_breaks_beside_a_run_goes_to_whoever_began_it(loop: VirtualLoop, faulty: ModuleType) -> None:
    bench = Bench(loop)

    def refuses(_run: Run, _begun_ns: int) -> None:
        raise RuntimeError("a fault of the program")

    async def begun(plan: Plan) -> None:
        await bench.runner.begin(plan, START_US, ended=refuses)

    for word in ("pass", "fail"):
        with pytest.raises(RuntimeError, match="a fault of the program"):
            bench.do(begun(scripted(faulty, word)))


def test_a_timeout_while_our_own_loop_stood_still_is_stalled(loop: VirtualLoop, faulty: ModuleType) -> None:
    asked: list[int] = []

    def stood_still(from_ns: int, to_ns: int) -> bool:
        asked.append(to_ns - from_ns)
        return True

    assert said(Bench(loop, stood_still=stood_still).run(scripted(faulty, "timeout"))) == ("inconclusive", "stalled", 2)
    assert len(asked) == 2
    faulty.__dict__.update(attempts=0)
    # What needs no clock to be seen stands.
    assert said(Bench(loop, stood_still=stood_still).run(scripted(faulty, "fail"))) == ("fail", "connect", 2)


def test_a_late_slot_is_stamped_with_itself(loop: VirtualLoop, faulty: ModuleType) -> None:
    run = Bench(loop).runner.late(scripted(faulty), 12345)
    assert said(run) == ("inconclusive", "late", 0)
    assert (run.start_us, run.slot_us) == (12345, 12345)


def test_probe_once_is_one_attempt_with_all_it_showed(loop: VirtualLoop, faulty: ModuleType) -> None:
    bench = Bench(loop)
    result = bench.do(bench.runner.probe_once(scripted(faulty, "fail")))
    assert (result.outcome.value, str(result.reason), result.step) == ("fail", "connect", "look")
    assert [trace.name for trace in result.steps] == ["look"]
    assert faulty.attempts == 1


# Controls: real listeners on the loopback, and real refusals.


@contextmanager
def listeners(count: int) -> Iterator[list[socket.socket]]:
    opened = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(count)]
    try:
        yield opened
    finally:
        for listener in opened:
            listener.close()


def control_of(listener: socket.socket) -> Control:
    host, port = listener.getsockname()
    return parse_control(f"tcp://{host}:{port}")


@pytest.mark.parametrize(("good", "expected"), [(3, "fail"), (2, "fail"), (1, "inconclusive"), (0, "inconclusive")])
def test_a_fail_needs_a_majority_of_the_controls(
    loop: VirtualLoop, faulty: ModuleType, good: int, expected: str
) -> None:
    with listeners(3) as opened:
        controls = [control_of(listener) for listener in opened]
        for listener in opened[good:]:
            listener.close()
        bench = Bench(loop, controls=controls)
        run = bench.run(scripted(faulty, "fail"))
    assert run.outcome.value == expected
    assert run.reason == ("connect" if expected == "fail" else "own_network")
    assert sum(bench.runner.controls.answered.values()) == good
    # Without a network of our own to trust, the confirmation is not even made.
    assert run.attempts == (2 if expected == "fail" else 1)


def test_a_pass_asks_no_control(loop: VirtualLoop, faulty: ModuleType) -> None:
    with listeners(3) as opened:
        bench = Bench(loop, controls=[control_of(listener) for listener in opened])
        assert bench.run(scripted(faulty, "pass")).outcome is Outcome.PASS
        assert bench.runner.controls.answered == {}


def test_the_controls_must_still_answer_after_the_confirmation(loop: VirtualLoop, faulty: ModuleType) -> None:
    """FAULTS, rule 1: an uplink that breaks during the confirmation is not the target's failure."""
    with listeners(3) as opened:
        bench = Bench(loop, controls=[control_of(listener) for listener in opened])
        real = faulty.probe

        async def breaks_our_network(spec: object, ctx: probes.Context) -> probes.Result:
            if faulty.attempts == 1:
                for listener in opened:
                    listener.close()
            result: probes.Result = await real(spec, ctx)
            return result

        faulty.__dict__.update(probe=breaks_our_network)
        try:
            run = bench.run(scripted(faulty, "fail"))
        finally:
            faulty.__dict__.update(probe=real)
    assert said(run) == ("inconclusive", "own_network", 2)


def test_a_network_that_broke_while_the_confirmation_waited_is_our_own(loop: VirtualLoop, faulty: ModuleType) -> None:
    """The confirmation of a silence begins later than the controls answered: they are asked once more right before."""
    controls = [Control(name=f"c{n}:1", host=f"192.0.2.{n}", port=1) for n in range(3)]
    bench = Bench(loop, controls=controls)

    async def reaches(_control: Control) -> int:
        if 0.5 < loop.time() < 1.2:
            raise probes.ProbeError(probes.FailReason.CONNECT, "our uplink is down")
        return loop.time_ns()

    bench.runner.controls._reaches = reaches  # type: ignore[method-assign,assignment]
    real = faulty.probe

    async def takes_its_time(spec: object, ctx: probes.Context) -> probes.Result:
        await asyncio.sleep(0.3)
        result: probes.Result = await real(spec, ctx)
        return result

    faulty.__dict__.update(probe=takes_its_time)
    try:
        run = bench.run(scripted(faulty, "timeout", timeout_s=0.4))
    finally:
        faulty.__dict__.update(probe=real)
    assert said(run) == ("inconclusive", "own_network", 1)


def test_a_wide_outage_asks_the_controls_in_rounds_and_no_answer_is_older_than_its_question(
    loop: VirtualLoop, faulty: ModuleType
) -> None:
    with listeners(3) as opened:
        bench = Bench(loop, controls=[control_of(listener) for listener in opened])
        rounds: list[int] = []
        ask = bench.runner.controls._round

        async def counted() -> Ground:
            rounds.append(loop.time_ns())
            return await ask()

        bench.runner.controls._round = counted  # type: ignore[method-assign]

        async def story() -> list[Run]:
            plan = scripted(faulty, "fail")
            return await asyncio.gather(*(bench.runner.run(plan, START_US) for _ in range(200)))

        runs = bench.do(story())
    assert {run.outcome for run in runs} == {Outcome.FAIL}
    assert len(rounds) == 2, "one before all confirmations, one after them"
    assert max(run.duration_us for run in runs) <= CONTROL_SPACING_US + CONTROL_TIMEOUT_US


def test_the_controls_are_asked_on_a_schedule_of_their_own(loop: VirtualLoop) -> None:
    with listeners(3) as opened:
        bench = Bench(loop, controls=[control_of(listener) for listener in opened])
        seen: list[int] = []

        async def story() -> None:
            watch = asyncio.create_task(bench.runner.controls.watch())
            for _ in range(2):
                await asyncio.sleep(CONTROL_EVERY_US * 0.8 / 1e6)
                seen.append(sum(bench.runner.controls.answered.values()))
                opened[0].close()
            watch.cancel()
            await asyncio.wait([watch])

        bench.do(story())
    assert seen == [3, 2]


def test_without_controls_there_is_nothing_to_watch(loop: VirtualLoop) -> None:
    Bench(loop).do(asyncio.wait_for(Bench(loop).runner.controls.watch(), 1))


def test_control_addresses() -> None:
    assert parse_control("tcp://192.0.2.1:53") == Control(name="192.0.2.1:53", host="192.0.2.1", port=53)
    assert parse_control("https://one.example") == Control(
        name="one.example:443", host="one.example", port=443, tls=True
    )
    for wrong in ("tcp://192.0.2.1", "http://x", "192.0.2.1:53", "tcp://:53", ""):
        with pytest.raises(ValueError, match="control target"):
            parse_control(wrong)


def test_the_budget_of_a_run() -> None:
    assert budget_us(attempts=2, timeout_us=SECOND, controls=False) == 2 * SECOND
    assert budget_us(attempts=2, timeout_us=SECOND, finally_us=100, controls=False) == 2 * SECOND + 200
    with_controls = 2 * SECOND + 2 * (CONTROL_SPACING_US + CONTROL_TIMEOUT_US)
    assert budget_us(attempts=2, timeout_us=SECOND, controls=True) == with_controls


# The real network, the real loop.


@asynccontextmanager
async def live_runner(controls: Sequence[Control] = (), **network_options: Any) -> AsyncIterator[Runner]:  # noqa: ANN401 - the network's own
    clock, network = live_clock(asyncio.get_running_loop()), LiveNetwork(**network_options)
    try:
        yield Runner(location="jkt-1", clock=clock, network=network, secret=lambda name: name, controls=controls)
    finally:
        network.close()
        clock.close()


@pytest.mark.parametrize(
    ("names_good", "failure", "expected"),
    [
        (2, "dns", "dns"),
        (1, "dns", "own_resolver"),
        (0, "dns", "own_resolver"),
        (1, "refused by name", "own_resolver"),
        (0, "refused by address", "connect"),
    ],
)
async def test_a_resolver_that_lies_is_our_own_fault(
    monkeypatch: pytest.MonkeyPatch, faulty: ModuleType, names_good: int, failure: str, expected: str
) -> None:
    """The controls by address answer throughout; of three that have names, so many are found (FAULTS 2.A)."""
    with listeners(7) as opened:
        known = {f"control-{n}.test" for n in range(names_good)}

        def resolver(host: str, port: int, _family: int, _kind: int) -> list[tuple[Any, Any, Any, str, Any]]:
            if host not in known:
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        by_name = [parse_control(f"tcp://control-{n}.test:{opened[n].getsockname()[1]}") for n in range(3)]

        async def fails(_spec: object, ctx: probes.Context) -> probes.Result:
            if failure == "dns":
                raise probes.ProbeError(probes.FailReason.DNS, "no such name")
            if failure == "refused by name":
                ctx.add_phase(probes.Phase.RESOLVE, 1)
            raise probes.ProbeError(probes.FailReason.CONNECT, "refused")

        monkeypatch.setitem(faulty.__dict__, "probe", fails)
        controls = [*by_name, *map(control_of, opened[3:])]
        async with live_runner(controls, getaddrinfo=resolver) as runner:
            run = await runner.run(scripted(faulty, "fail"), START_US)
    assert (run.outcome is Outcome.FAIL) == (expected != "own_resolver")
    assert run.reason == expected


def http_plan(url: str, *, timeout_s: float = 2, attempts: int = 2) -> Plan:
    return Plan(
        service="portal",
        check="page",
        transaction=transaction.parse({"http": {"get": url}}),
        interval_us=60 * SECOND,
        timeout_us=round(timeout_s * SECOND),
        attempts=attempts,
    )


async def test_a_refused_connection_fails_after_its_confirmation() -> None:
    with nobody_listens() as port:
        async with live_runner() as runner:
            run = await runner.run(http_plan(f"http://127.0.0.1:{port}/"), START_US)
    assert said(run) == ("fail", "connect", 2)
    assert run.steps[0].target == f"127.0.0.1:{port}"


def test_silence_is_a_timeout_on_time(loop: VirtualLoop) -> None:
    with listeners(1) as opened:
        port = opened[0].getsockname()[1]
        run = Bench(loop).run(http_plan(f"http://127.0.0.1:{port}/", timeout_s=0.3))
    assert said(run) == ("fail", "timeout", 2)
    assert 600_000 <= run.duration_us < 610_000

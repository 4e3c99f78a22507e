"""F9, F36: a blocking call in the loop, no descriptors left. No second of it is theirs."""

from __future__ import annotations

import asyncio
import itertools
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from monitor.clock import wall_us
from monitor.core.fact import Outage
from monitor.core.run import Outcome, Run
from monitor.scheduler import phase
from monitor.storage.sqlite import open_reader
from tests.app.conftest import SERVE, WITHIN_S, Target, configuration, daemon
from tests.app.test_process import all_runs, until_recorded

BLOCKING = '''
"""Blocks the whole loop for `seconds`, once, as soon as the other probes are said to be under way."""

import asyncio, time
from dataclasses import dataclass
from pathlib import Path
from probes import Outcome, Result

EXPECTS = frozenset()


@dataclass(frozen=True)
class Spec:
    seconds: float
    folder: str


def target(spec):
    return "127.0.0.1:1"


async def probe(spec, ctx):
    under_way, blocks = Path(spec.folder, "under way"), Path(spec.folder, "blocks")
    if not blocks.exists():
        while not under_way.exists():
            await asyncio.sleep(0.01)
        blocks.touch()
        time.sleep(spec.seconds)
    return Result(outcome=Outcome.PASS)
'''


async def until(folder: Path, what: str, enough: Callable[[list[Run]], bool]) -> list[Run]:
    ends = time.monotonic() + WITHIN_S
    while not enough(found := all_runs(folder)):
        assert time.monotonic() < ends, f"not within {WITHIN_S} s: {what}"
        await asyncio.sleep(0.05)
    return found


def of_one_phase(count: int, *, interval_us: int, in_us: int) -> list[str]:
    """Ids of services that all begin within half a second, about so long from now: their phase is made of their id.
    Of the last of them, the checks that do not count begin then too.
    """
    wanted_us = wall_us() + in_us

    def fits(id_: str, *groups: bool) -> bool:
        return all((phase(id_, sla, below=interval_us) - wanted_us) % interval_us < 500_000 for sla in groups)

    named = [f"s{number}" for number in range(500 * count)]
    last = next(id_ for id_ in named if fits(id_, True, False))
    return [*itertools.islice((id_ for id_ in named if fits(id_, True) and id_ != last), count - 1), last]


def outages(folder: Path) -> list[Outage]:
    reader = open_reader(folder / "ledger.db")
    try:
        return [entry.fact for entry in reader.entries(types=("outage",)) if isinstance(entry.fact, Outage)]
    finally:
        reader.close()


@pytest.mark.slow
async def test_a_stopped_process_with_a_hundred_probes_in_flight_invents_no_failure(
    tmp_path: Path, target: Target
) -> None:
    """F8, really: SIGSTOP for longer than the time-out. Plain asyncio time-outs fail 100 of 100 (FAULTS 2.A)."""
    target.let_go.clear()
    ids = of_one_phase(100, interval_us=25_000_000, in_us=10_000_000)
    path = configuration(tmp_path, target, services=ids, interval="25s", timeout="8s")
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent, ExitStack() as held:
        silent.setblocking(False)
        text = path.read_text(encoding="utf-8")
        for n in range(90, 100):
            text = text.replace(f"{target.url}/{n}-0", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        path.write_text(text, encoding="utf-8")
        async with daemon(path) as process:
            for _ in range(10):
                taken, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(silent), WITHIN_S)
                held.enter_context(taken)
            await target.until_waiting(90)
            process.process.send_signal(signal.SIGSTOP)
            target.let_go.set()
            await asyncio.sleep(9)
            process.process.send_signal(signal.SIGCONT)
            runs = await until_recorded(tmp_path, 100)
            process.process.send_signal(signal.SIGTERM)
            assert await process.exit_code() == 0
    mute = [run for run in runs if run.service in ids[90:]]
    answered = [run for run in runs if run not in mute]
    assert {run.outcome for run in answered} <= {Outcome.PASS, Outcome.INCONCLUSIVE}
    assert {run.reason for run in answered} <= {None, "stalled", "late"}
    assert [run.outcome for run in answered] == [Outcome.PASS] * 90, "what had arrived meanwhile was read"
    assert all(run.tainted for run in answered if run.reason == "stalled")
    # Whom nobody heard of was not heard for nine seconds of ours: that proves nothing, in whatever order it was read.
    assert {run.outcome for run in mute} == {Outcome.INCONCLUSIVE}
    assert {run.reason for run in mute} <= {"stalled", "late"}
    assert any(run.tainted for run in mute)
    assert outages(tmp_path) == []
    told = [line["for_ms"] for line in process.log if line.get("event") == "the whole process stood still"]
    assert len([ms for ms in told if isinstance(ms, int) and 8_000 < ms < 60_000]) == 1, told
    assert not [line for line in process.log if line.get("event") == "the event loop stands still"]


@pytest.mark.slow
async def test_a_blocking_call_with_a_hundred_probes_in_flight_invents_no_failure(
    tmp_path: Path, target: Target
) -> None:
    site = tmp_path / "site"
    info = site / "blocking_kind-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "blocking_kind.py").write_text(BLOCKING, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: blocking-kind\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[jaga.probes]\nblocking = blocking_kind\n", encoding="utf-8")
    target.let_go.clear()
    ids = of_one_phase(100, interval_us=25_000_000, in_us=10_000_000)
    path = configuration(tmp_path, target, services=ids, interval="25s", timeout="8s")
    text = path.read_text(encoding="utf-8")
    check = f'      hog: {{sla: false, blocking: {{seconds: 9, folder: "{tmp_path}"}}}}\n'
    path.write_text(text.replace("partners:", f"{check}partners:"), encoding="utf-8")
    async with daemon(path, PYTHONPATH=f"{SERVE.parents[2]}:{site}") as process:
        await target.until_waiting(100)
        (tmp_path / "under way").touch()
        await until(tmp_path, "blocks", lambda _: (tmp_path / "blocks").exists())
        target.let_go.set()
        runs = await until_recorded(tmp_path, 101)
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    assert {run.outcome for run in all_runs(tmp_path)} <= {Outcome.PASS, Outcome.INCONCLUSIVE}
    assert {run.reason for run in runs} <= {None, "stalled", "late"}
    passed = sum(run.outcome is Outcome.PASS for run in runs if run.check != "hog")
    assert passed == 100, "what had arrived meanwhile was read"
    assert outages(tmp_path) == []
    told = [str(line["frames"]) for line in process.log if line.get("event") == "the event loop stands still"]
    assert len([frames for frames in told if "blocking_kind.py" in frames]) == 1, told


async def test_without_descriptors_the_fault_is_our_own_and_the_record_goes_on(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target, checks=20)
    async with daemon(path) as process:
        await process.event("ready")
        await until(tmp_path, "three pass", lambda runs: len({run.check for run in runs if run.outcome == "pass"}) >= 3)
        pid = process.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # No number is left below the limit, whatever is closed meanwhile.
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
        blind = await until(
            tmp_path,
            "three cannot look",
            lambda runs: len({run.check for run in runs if run.reason == "internal"}) >= 3,
        )
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        count = len(blind)
        await until(
            tmp_path,
            "three pass again",
            lambda runs: len({run.check for run in runs[count:] if run.outcome == "pass"}) >= 3,
        )
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    runs = all_runs(tmp_path)
    assert not [run for run in runs if run.outcome is Outcome.FAIL]
    busy = {"stalled", "late"}  # what a loaded machine adds by itself
    assert {run.reason for run in runs if run.outcome is Outcome.INCONCLUSIVE} - busy == {"internal"}
    assert outages(tmp_path) == []

"""F9, F36: a blocking call in the loop, no descriptors left. No second of it is theirs."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.core.fact import Outage
from monitor.core.run import Outcome, Run
from monitor.storage.sqlite import open_reader
from tests.app.conftest import SERVE, WITHIN_S, Target, configuration, daemon
from tests.app.test_process import all_runs, until_recorded

BLOCKING = '''
"""Blocks the whole loop for `seconds`, once, when the other probes are under way."""

import asyncio, time
from dataclasses import dataclass
from pathlib import Path
from probes import Outcome, Result

EXPECTS = frozenset()


@dataclass(frozen=True)
class Spec:
    seconds: float
    once: str


def target(spec):
    return "127.0.0.1:1"


async def probe(spec, ctx):
    if not Path(spec.once).exists():
        Path(spec.once).touch()
        await asyncio.sleep(0.2)
        time.sleep(spec.seconds)
    return Result(outcome=Outcome.PASS)
'''


async def until(folder: Path, what: str, enough: Callable[[list[Run]], bool]) -> list[Run]:
    ends = time.monotonic() + WITHIN_S
    while not enough(found := all_runs(folder)):
        assert time.monotonic() < ends, f"not within {WITHIN_S} s: {what}"
        await asyncio.sleep(0.05)
    return found


def outages(folder: Path) -> list[Outage]:
    reader = open_reader(folder / "ledger.db")
    try:
        return [entry.fact for entry in reader.entries(types=("outage",)) if isinstance(entry.fact, Outage)]
    finally:
        reader.close()


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
    target.delay_s = 0.4
    path = configuration(tmp_path, target, services=100, interval="12s", timeout="3s")
    text = path.read_text(encoding="utf-8")
    check = f'      hog: {{sla: false, blocking: {{seconds: 6, once: "{tmp_path}/blocked"}}}}\n'
    path.write_text(text.replace("partners:", f"{check}partners:"), encoding="utf-8")
    async with daemon(path, PYTHONPATH=f"{SERVE.parents[2]}:{site}") as process:
        await process.event("ready")
        runs = await until_recorded(tmp_path, 101)
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    assert (tmp_path / "blocked").exists()
    assert {run.outcome for run in all_runs(tmp_path)} <= {Outcome.PASS, Outcome.INCONCLUSIVE}
    assert {run.reason for run in runs} <= {None, "stalled", "late"}
    assert sum(run.outcome is Outcome.PASS for run in runs) >= 90, "what had arrived meanwhile was read"
    assert outages(tmp_path) == []
    (told,) = [line for line in process.log if line.get("event") == "the event loop stands still"]
    assert "blocking_kind.py" in str(told["frames"])


async def test_without_descriptors_the_fault_is_our_own_and_the_record_goes_on(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target, checks=3)
    async with daemon(path) as process:
        await process.event("ready")
        await until(tmp_path, "three pass", lambda runs: len({run.check for run in runs if run.outcome == "pass"}) == 3)
        pid = process.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        held = sum(1 for _ in os.scandir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(held, before[0]), before[1]))
        blind = await until(
            tmp_path,
            "three cannot look",
            lambda runs: len({run.check for run in runs if run.outcome is Outcome.INCONCLUSIVE}) == 3,
        )
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        count = len(blind)
        await until(
            tmp_path,
            "three pass again",
            lambda runs: len({run.check for run in runs[count:] if run.outcome == "pass"}) == 3,
        )
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    runs = all_runs(tmp_path)
    assert not [run for run in runs if run.outcome is Outcome.FAIL]
    busy = {"stalled", "late"}  # what a loaded machine adds by itself
    assert {run.reason for run in runs if run.outcome is Outcome.INCONCLUSIVE} - busy == {"internal"}
    assert outages(tmp_path) == []

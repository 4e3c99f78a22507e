"""The wall clock of a real daemon process steps (F11): libfaketime, with the monotonic clocks left alone."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from monitor.core.fact import ClockStep
from monitor.core.run import Outcome, Run
from monitor.ledger.verify import verify
from monitor.storage.sqlite import open_reader
from tests.app.conftest import WITHIN_S, Process, Target, configuration, daemon

pytestmark = [
    pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def library() -> str:
    """What `faketime` itself preloads, in its form for programs with threads."""
    command = ["faketime", "-m", "-f", "+0", "sh", "-c", "echo $LD_PRELOAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


class Wall:
    """The wall clock that the daemon sees: an offset to the machine's own, changed while it runs."""

    def __init__(self, folder: Path, library: str) -> None:
        self._file = folder / "faketime"
        self.environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.set(0)

    def set(self, offset_s: int) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+d}\n", encoding="ascii")
        fresh.rename(self._file)


def record(folder: Path) -> tuple[list[Run], list[ClockStep]]:
    reader = open_reader(folder / "ledger.db")
    try:
        assert verify(reader).holds
        runs = [run for _arrival, run in reader.runs_after(0, 100_000)]
        return runs, [entry.fact for entry in reader.entries() if isinstance(entry.fact, ClockStep)]
    finally:
        reader.close()


async def until_runs(folder: Path, count: int) -> None:
    ends = time.monotonic() + WITHIN_S
    while len(record(folder)[0]) < count:
        assert time.monotonic() < ends, f"fewer than {count} runs within {WITHIN_S} s"
        await asyncio.sleep(0.1)


async def events(process: Process, name: str, count: int) -> None:
    async with asyncio.timeout(WITHIN_S), process.grown:
        await process.grown.wait_for(lambda: sum(line.get("event") == name for line in process.log) >= count)


async def stop(process: Process) -> None:
    process.process.send_signal(signal.SIGTERM)
    assert await process.exit_code() == 0


async def test_steps_of_a_real_clock_are_facts_and_cost_no_run(tmp_path: Path, target: Target, library: str) -> None:
    wall = Wall(tmp_path, library)
    checks, interval_s = 40, 10
    path = configuration(tmp_path, target, checks=checks, interval=f"{interval_s}s")
    offsets_s = (61, 0, 3600, -3600)
    begun = time.monotonic()
    async with daemon(path, **wall.environment) as process:
        await process.event("ready")
        await until_runs(tmp_path, 6)
        for number, offset_s in enumerate(offsets_s, 1):
            wall.set(offset_s)
            await events(process, "wall clock stepped", number)
            await until_runs(tmp_path, len(record(tmp_path)[0]) + 8)
        lived_s = time.monotonic() - begun
        await stop(process)
    runs, steps = record(tmp_path)
    assert [round(step.delta_us / 1e6) for step in steps] == [61, -61, 3600, -7200]
    assert {run.outcome for run in runs} <= {Outcome.PASS, Outcome.INCONCLUSIVE}, "nobody is blamed for our clock"
    asked = [run for run in runs if run.reason in {None, "conflict"}]
    assert len(asked) <= target.requests, "no run was made up"
    # A step may bring each check's next slot forward once.
    assert len(runs) <= checks * (lived_s / interval_s + 1 + len(offsets_s)), "no slot was made up"
    void = [run for run in runs if run.reason == "conflict"]
    assert len(void) >= 8, "what was stamped by a clock put back since is void"
    good = [run.start_us for run in runs if run.outcome is Outcome.PASS]
    assert max(good) <= time.time_ns() // 1000, "and nothing of the future counts"


async def test_a_real_jump_to_2098_is_not_believed_and_closes_nothing(
    tmp_path: Path, target: Target, library: str
) -> None:
    wall = Wall(tmp_path, library)
    path = configuration(tmp_path, target, checks=20)
    years_s = int(datetime(2098, 1, 1, tzinfo=UTC).timestamp() - time.time())
    async with daemon(path, **wall.environment) as process:
        await process.event("ready")
        await until_runs(tmp_path, 2)
        wall.set(years_s)
        line = await process.event("wall clock not believed")
        assert "not synchronised" in str(line["why"])
        await until_runs(tmp_path, 6)
        wall.set(0)
        await process.event("wall clock believed again")
        await until_runs(tmp_path, 8)
        await stop(process)
    runs, steps = record(tmp_path)
    assert not steps
    assert {run.outcome for run in runs} <= {Outcome.PASS, Outcome.INCONCLUSIVE}
    assert max(run.start_us for run in runs) <= time.time_ns() // 1000


async def test_a_start_by_a_clock_of_long_ago_is_refused_and_one_by_a_clock_a_little_behind_is_told(
    tmp_path: Path, target: Target, library: str
) -> None:
    wall = Wall(tmp_path, library)
    path = configuration(tmp_path, target, checks=20)
    async with daemon(path, **wall.environment) as process:
        assert (await process.event("system clock not synchronised"))["level"] == "warning"
        await process.event("ready")
        await until_runs(tmp_path, 3)
        await stop(process)
    before = record(tmp_path)
    wall.set(-10 * 365 * 86_400)
    async with daemon(path, **wall.environment) as process:
        assert await process.exit_code() != 0
        assert "let it synchronise" in " ".join(str(line["event"]) for line in process.log)
    assert record(tmp_path) == before
    wall.set(-3600)
    async with daemon(path, **wall.environment) as process:
        await process.event("clock behind the ledger")
        await until_runs(tmp_path, 6)
        await stop(process)
    runs, (step,) = record(tmp_path)
    assert step.delta_us == pytest.approx(-3600 * 1_000_000, abs=60_000_000)
    conclusive = [run for run in before[0] if run.outcome is not Outcome.INCONCLUSIVE]
    assert sum(run.reason == "conflict" for run in runs) == len(conclusive)

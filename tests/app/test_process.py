"""The daemon as a process: signals, kill -9, a stop of the whole process, two daemons on one ledger."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from monitor.core.run import Outcome, Run, RunKey
from monitor.storage.sqlite import open_reader
from tests.app.conftest import WITHIN_S, Process, Target, configuration, daemon


def all_runs(folder: Path) -> list[Run]:
    reader = open_reader(folder / "ledger.db")
    try:
        return [run for _arrival, run in reader.runs_after(0, 1_000_000)]
    finally:
        reader.close()


async def page(process: Process, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(await process.pages() + path) as answer:
        return answer.status, await answer.text()


async def until_recorded(folder: Path, count: int, checks: int = 1) -> list[Run]:
    """Runs as another process sees them, at least so many, of so many checks: these are acknowledged, on disk."""
    ends = time.monotonic() + WITHIN_S
    while time.monotonic() < ends:
        found = all_runs(folder)
        if len(found) >= count and len({run.check for run in found}) >= checks:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"fewer than {count} runs within {WITHIN_S} s")


async def until_shown(process: Process, line: str) -> None:
    """The metrics have the line; they are rendered at most once a second."""
    ends = time.monotonic() + WITHIN_S
    while line not in (await page(process, "/metrics"))[1]:
        assert time.monotonic() < ends, f"no {line!r} within {WITHIN_S} s"
        await asyncio.sleep(0.1)


async def test_it_watches_shows_itself_and_ends_on_sigterm(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target, checks=3)
    async with daemon(path) as process:
        await process.event("ready")
        await until_recorded(tmp_path, 6)
        assert await page(process, "/-/ready") == (200, "ready\n")
        status, metrics = await page(process, "/metrics")
        assert status == 200
        assert "sla_ready 1.0" in metrics
        assert 'sla_check_success{check="c2",location="here-1",sla_service="s0"} 1.0' in metrics
        status, document = await page(process, "/api/v1/status")
        assert status == 200
        assert '"verdict":"up"' in document
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    runs = all_runs(tmp_path)
    assert {run.outcome for run in runs} == {Outcome.PASS}
    assert len(runs) == target.requests, "every request that was made is on record, and none twice"


async def test_runs_under_way_finish_and_are_recorded_before_it_ends(tmp_path: Path, target: Target) -> None:
    target.delay_s = 1.0
    path = configuration(tmp_path, target, interval="5s", timeout="2s")
    async with daemon(path) as process:
        await target.until_waiting(1)
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    (run,) = all_runs(tmp_path)
    assert run.outcome is Outcome.PASS
    assert run.duration_us >= 1_000_000


async def test_a_second_signal_does_not_wait(tmp_path: Path, target: Target) -> None:
    target.delay_s = 60.0
    path = configuration(tmp_path, target, services=5, interval="60s", timeout="20s")
    # Services start their first checks together, on the minute: the wait for it would be the longest part of the test.
    path.write_text(path.read_text(encoding="utf-8").replace("60s", "10s").replace("20s", "4900ms"), encoding="utf-8")
    async with daemon(path) as process:
        await target.until_waiting(5)
        begun = time.monotonic()
        process.process.send_signal(signal.SIGINT)
        await process.event("stopping")
        process.process.send_signal(signal.SIGINT)
        assert await process.exit_code() == 0
        assert time.monotonic() - begun < 4


@pytest.mark.slow
async def test_kill_9_loses_no_acknowledged_run_and_doubles_none(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target, services=4, checks=5)
    acknowledged: dict[RunKey, Run] = {}
    for cycle in range(4):
        async with daemon(path) as process:
            await process.event("ready")
            await until_recorded(tmp_path, len(acknowledged) + 10 + 7 * cycle)
            acknowledged = {run.key: run for run in all_runs(tmp_path)}
            process.process.send_signal(signal.SIGKILL)
            assert await process.exit_code() == -signal.SIGKILL
        there = all_runs(tmp_path)
        keys = [run.key for run in there]
        assert len(keys) == len(set(keys))
        found = {run.key: run for run in there}
        assert all(found[key].same_content(run) for key, run in acknowledged.items())
        assert len(there) <= target.requests
    async with daemon(path) as process:
        await process.event("ready")
        _status, metrics = await page(process, "/metrics")
        counted = sum(
            float(line.rsplit(" ", 1)[1])
            for line in metrics.splitlines()
            if line.startswith("sla_check_attempts_total{")
        )
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    assert len(acknowledged) <= counted <= len(all_runs(tmp_path)), "counters are views of the ledger"
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_stopped_process_with_a_hundred_probes_in_flight_invents_no_failure(
    tmp_path: Path, target: Target
) -> None:
    """F8, really: SIGSTOP for longer than the time-out. Plain asyncio time-outs fail 100 of 100 (FAULTS 2.A)."""
    target.delay_s = 1.5  # of six hundred services, each at its own phase of 6 s, a hundred and fifty wait at a time
    path = configuration(tmp_path, target, services=600, interval="6s", timeout="2500ms")
    async with daemon(path) as process:
        await target.until_waiting(100)
        process.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3.2)
        process.process.send_signal(signal.SIGCONT)
        runs = await until_recorded(tmp_path, 150)
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    assert {run.outcome for run in runs} <= {Outcome.PASS, Outcome.INCONCLUSIVE}
    assert not [run for run in all_runs(tmp_path) if run.outcome is Outcome.FAIL]
    assert sum(run.outcome is Outcome.PASS for run in runs) >= 90, "what had arrived meanwhile was read"


async def test_sighup_reads_the_file_again_and_a_broken_one_changes_nothing(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target, checks=1)
    async with daemon(path) as process:
        await process.event("ready")
        await until_recorded(tmp_path, 2)
        good = configuration(tmp_path, target, checks=3).read_text(encoding="utf-8")
        path.write_text("services: no\n", encoding="utf-8")
        process.process.send_signal(signal.SIGHUP)
        await process.event("configuration not reloaded")
        await until_shown(process, "sla_config_last_reload_successful 0.0")
        path.write_text(good, encoding="utf-8")
        for _ in range(100):
            process.process.send_signal(signal.SIGHUP)
        await process.event("configuration reloaded")
        await until_recorded(tmp_path, 3, checks=3)
        await until_shown(process, "sla_config_last_reload_successful 1.0")
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0


async def test_two_daemons_on_one_ledger_the_second_is_refused(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target)
    async with daemon(path) as first:
        await first.event("ready")
        async with daemon(path) as second:
            assert await second.exit_code() != 0
        said = " ".join(str(line["event"]) for line in second.log)
        assert "StoreOwnedError" in said
        assert f"pid {first.process.pid}" in said
        assert (await page(first, "/-/ready"))[0] == 200


async def test_a_port_that_is_taken_leaves_nothing_behind(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target)
    taken = urlsplit(target.url).netloc
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("127.0.0.1:0", taken), encoding="utf-8")
    async with daemon(path) as process:
        assert await process.exit_code() != 0
    path.write_text(text, encoding="utf-8")
    async with daemon(path) as process:
        await process.event("ready")


@pytest.mark.parametrize("event", ["configuration adopted", "ready"])
async def test_a_signal_while_it_starts_ends_it_cleanly(tmp_path: Path, target: Target, event: str) -> None:
    path = configuration(tmp_path, target)
    async with daemon(path) as process:
        await process.event(event)
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0

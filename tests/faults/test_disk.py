"""The store fails under a real daemon (F21-F23): a full disk, a limit on file size, a right lost, a foreign lock.

Each time: nothing acknowledged that is not there, not ready and loud, reads served, nobody blamed; and when the fault
is over the same process goes on with every run it holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from monitor.core.fact import Outage
from monitor.core.run import Outcome, Run, RunKey
from monitor.ledger.verify import verify
from monitor.storage.sqlite import open_reader
from tests.app.conftest import WITHIN_S, Process, Target, configuration, daemon

LOUD_S = 60

pytestmark = pytest.mark.slow

Fault = Callable[[Path, int], AbstractContextManager[None]]


def _mounts() -> bool:
    return os.geteuid() == 0 and shutil.which("mount") is not None


@contextmanager
def full_disk(folder: Path, _pid: int) -> Iterator[None]:
    """Every free block of the file system is taken by somebody else's file."""
    ballast = folder / "ballast"
    left = 1
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while left:
            left = file.write(bytes(4096))
    assert os.statvfs(folder).f_bavail == 0
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def file_size_limit(folder: Path, pid: int) -> Iterator[None]:
    """No file of the process may grow (RLIMIT_FSIZE): SQLite sees a write that fails."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def right_lost(folder: Path, _pid: int) -> Iterator[None]:
    """The files may not be written any more, not even through descriptors that are open (`chattr +i`)."""
    files = [str(folder / name) for name in ("ledger.db", "ledger.db-wal")]
    subprocess.run(["chattr", "+i", *files], check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=True, timeout=30)


@contextmanager
def foreign_lock(folder: Path, _pid: int) -> Iterator[None]:
    """Another process holds the write lock, as a forgotten shell does."""
    program = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n"
        "c.execute('BEGIN IMMEDIATE')\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(folder / "ledger.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.communicate()


FAULTS: dict[str, tuple[Fault, str]] = {
    "full disk": (full_disk, "SQLITE_FULL"),
    "file size limit": (file_size_limit, "SQLITE_IOERR"),
    "right lost": (right_lost, "SQLITE_"),
    "foreign lock": (foreign_lock, "SQLITE_BUSY"),
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not _mounts():
        pytest.skip("only root may mount a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)], check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True, timeout=30)


def runs_of(folder: Path) -> list[Run]:
    reader = open_reader(folder / "ledger.db")
    try:
        return [run for _arrival, run in reader.runs_after(0, 100_000)]
    finally:
        reader.close()


async def asked(process: Process, path: str) -> tuple[int, str]:
    timeout = aiohttp.ClientTimeout(total=WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(await process.pages() + path) as answer:
        return answer.status, await answer.text()


@asynccontextmanager
async def broken(fault: AbstractContextManager[None]) -> AsyncIterator[None]:
    """The fault as long as the block runs; made and mended off the loop, which goes on serving the target: one that is
    held up by a `chattr` on a busy disk fails in earnest.
    """
    await asyncio.to_thread(fault.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(fault.__exit__, None, None, None)


async def until(what: str, holds: Callable[[], Awaitable[bool]], within_s: float = LOUD_S) -> None:
    ends = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < ends, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("name", FAULTS)
async def test_while_the_store_fails_nothing_is_promised_and_nothing_is_lost(
    tmp_path: Path, target: Target, name: str, request: pytest.FixtureRequest
) -> None:
    make, said = FAULTS[name]
    folder = request.getfixturevalue("disk") if name == "full disk" else tmp_path
    if name == "right lost" and not _right_can_be_lost(folder):
        pytest.skip("only root on a file system with immutable files can take a right from an open file")
    path = configuration(tmp_path, target, services=2, checks=15)
    path.write_text(path.read_text().replace("sqlite:///ledger.db", f"sqlite:///{folder}/ledger.db"))

    async def ready(status: int) -> bool:
        return (await asked(process, "/-/ready"))[0] == status

    async def enough() -> bool:
        return len(await asyncio.to_thread(runs_of, folder)) >= 12

    async with daemon(path) as process:
        await process.event("ready")
        await until("some runs", enough)
        async with broken(make(folder, process.process.pid)):
            begun = time.monotonic()
            await until("not ready", lambda: ready(503))
            assert time.monotonic() - begun < LOUD_S
            line = await process.event("store failing")
            assert line["level"] == "error"
            assert said in str(line["error"])
            acknowledged = {run.key: run for run in await asyncio.to_thread(runs_of, folder)}
            await _reads_are_served(process)
            there = {run.key for run in await asyncio.to_thread(runs_of, folder)}
            assert there == set(acknowledged), "nothing new is shown as being there"
        await until("ready again", lambda: ready(200))
        await process.event("store recovered")
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    _nothing_is_lost(folder, acknowledged, target.requests)


async def test_somebody_reads_for_long_and_another_vacuums_beside_a_running_daemon(
    tmp_path: Path, target: Target
) -> None:
    """An analyst's shell that keeps a transaction open holds the WAL; a VACUUM rewrites the file (F23). Neither costs a
    run or a verdict.
    """
    path = configuration(tmp_path, target, services=2, checks=15)
    wal = tmp_path / "ledger.db-wal"

    async def enough(count: int) -> bool:
        return len(await asyncio.to_thread(runs_of, tmp_path)) >= count

    async with daemon(path) as process:
        await process.event("ready")
        await until("some runs", lambda: enough(12))
        reader = sqlite3.connect(f"file:{tmp_path}/ledger.db?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        (seen,) = reader.execute("SELECT count(*) FROM runs").fetchone()
        await until("runs while somebody reads", lambda: enough(seen + 12))
        assert reader.execute("SELECT count(*) FROM runs").fetchone() == (seen,), "the reader's own moment"
        reader.close()
        await asyncio.to_thread(vacuumed, tmp_path / "ledger.db")
        there = len(runs_of(tmp_path))
        await until("runs after the VACUUM", lambda: enough(there + 12))
        assert (await asked(process, "/-/ready"))[0] == 200
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    assert not wal.exists(), "a clean end leaves one file"
    _nothing_is_lost(tmp_path, {run.key: run for run in runs_of(tmp_path)}, target.requests)


def vacuumed(database: Path) -> None:
    """As somebody would who wants the file smaller: again where the daemon is just writing."""
    with sqlite3.connect(database, isolation_level=None, timeout=30) as somebody:
        somebody.execute("VACUUM")
    somebody.close()


def every_request_is_on_record(runs: list[Run], requests: int) -> None:
    """What the target was asked is there, however late, and no slot has two runs."""
    assert sum(run.attempts for run in runs if run.reason != "late") >= requests
    slots = [(run.service, run.check, run.slot_us) for run in runs]
    assert len(slots) == len(set(slots))


async def _reads_are_served(process: Process) -> None:
    """Metrics and status answer, and say that the store fails; the verdict is of what is on disk. What failed first may
    have been what followed from runs that are there: the next run is the first that is held.
    """

    async def held() -> bool:
        return bool(json.loads((await asked(process, "/api/v1/status"))[1])["record"]["held_runs"])

    await until("runs are held", held)
    status, metrics = await asked(process, "/metrics")
    assert status == 200
    failures = next(line for line in metrics.splitlines() if line.startswith("sla_ledger_write_failures_total "))
    assert float(failures.rsplit(" ", 1)[1]) >= 1
    status, text = await asked(process, "/api/v1/status")
    assert status == 200
    document = json.loads(text)
    assert {service["verdict"] for service in document["services"]} <= {"up", "unknown"}
    assert document["record"]["failing_since"]
    status, text = await asked(process, "/")
    assert (status, "Not ready: the store fails since" in text, "S0" in text) == (200, True, True)


def _nothing_is_lost(folder: Path, acknowledged: dict[RunKey, Run], requests: int) -> None:
    reader = open_reader(folder / "ledger.db")
    try:
        assert verify(reader).holds
        assert not [entry for entry in reader.entries() if isinstance(entry.fact, Outage)]
    finally:
        reader.close()
    there = {run.key: run for run in runs_of(folder)}
    assert all(there[key].same_content(run) for key, run in acknowledged.items())
    assert not [run for run in there.values() if run.outcome is Outcome.FAIL], "no verdict from a store error"
    every_request_is_on_record(list(there.values()), requests)
    with sqlite3.connect(folder / "ledger.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def _right_can_be_lost(folder: Path) -> bool:
    if os.geteuid() != 0 or shutil.which("chattr") is None:
        return False
    probe = folder / "probe"
    with probe.open("wb", buffering=0) as file:
        if subprocess.run(["chattr", "+i", str(probe)], check=False, capture_output=True, timeout=30).returncode:
            return False
        try:
            file.write(b"x")
        except PermissionError:
            return True
        finally:
            subprocess.run(["chattr", "-i", str(probe)], check=True, timeout=30)
    return False


async def test_a_daemon_does_not_start_on_a_read_only_disk_and_readers_still_read(
    tmp_path: Path, target: Target, disk: Path
) -> None:
    path = configuration(tmp_path, target, checks=20)
    path.write_text(path.read_text().replace("sqlite:///ledger.db", f"sqlite:///{disk}/ledger.db"))

    async def enough() -> bool:
        return len(runs_of(disk)) >= 2

    async with daemon(path) as process:
        await process.event("ready")
        await until("some runs", enough)
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    before = runs_of(disk)
    remount(disk, "ro")
    async with daemon(path) as process:
        assert await process.exit_code() != 0
        told = " ".join(str(line["event"]) for line in process.log)
        assert "StoreError" in told
        assert "Read-only file system" in told
    assert runs_of(disk) == before
    remount(disk, "rw")
    async with daemon(path) as process:
        await process.event("ready")

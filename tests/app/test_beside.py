"""What reaches a running daemon from beside it: backups, and whatever else is thrown at its control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.app.backup import Backups
from monitor.control import MAX_BYTES, NAME, ask
from monitor.ledger.verify import verify
from monitor.storage.beside import BesideFiles, packed_names
from monitor.storage.sqlite import open_reader, open_store
from tests.app.conftest import WITHIN_S, Process, Target, configuration, daemon

JAGA = Path(sys.executable).with_name("jaga")


async def jaga(path: Path, *arguments: str | Path) -> tuple[int, str, str]:
    """A verb for the daemon of a configuration: exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        JAGA, "--config", path, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
    return process.returncode or 0, out.decode(), err.decode()


def held(path: Path) -> tuple[int, int]:
    """Entries and runs of a ledger that verifies."""
    reader = open_reader(path)
    try:
        assert verify(reader).holds
        return reader.head().seq, reader.counts().runs
    finally:
        reader.close()


def decisions(path: Path) -> list[str]:
    """The types of the entries, but for those that the daemon makes by itself with time, at a full hour for one."""
    own = {"key", "checkpoint", "sealed", "outage", "incident", "delivery", "close", "clock_step"}
    reader = open_reader(path)
    try:
        return [entry.type for entry in reader.entries() if entry.type not in own]
    finally:
        reader.close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def until_runs(path: Path, more_than: int) -> None:
    ends = time.monotonic() + WITHIN_S
    while held(path)[1] <= more_than:
        assert time.monotonic() < ends, f"not more than {more_than} runs within {WITHIN_S} s"
        await asyncio.sleep(0.1)


async def test_a_backup_while_it_watches_restores_and_goes_on(tmp_path: Path, target: Target) -> None:
    path, ledger, kept = configuration(tmp_path, target, checks=20), tmp_path / "ledger.db", tmp_path / "kept.db"
    async with daemon(path) as process:
        await process.event("ready")
        await until_runs(ledger, 2)
        code, out, err = await jaga(path, "backup", kept)
        assert (code, err) == (0, "")
        assert out.startswith(f"backed up to {kept}: ")
        written = await process.event("backup written")
        assert (written["path"], written["size_bytes"]) == (str(kept), kept.stat().st_size)
        entries, runs = held(kept)
        assert runs > 2
        await until_runs(ledger, runs)

        code, _, err = await jaga(path, "backup", kept)
        assert code == 2
        assert "is there already and is not overwritten" in err
        code, _, err = await jaga(path, "backup", tmp_path / "nowhere" / "kept.db")
        assert code == 2
        assert "is no folder that the owner of the ledger sees" in err
        code, _, err = await jaga(path, "restore", kept)
        assert code == 2
        assert f"owned by pid {process.process.pid}" in err
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    assert not [name for name in names(tmp_path) if ".partial" in name or ".restoring" in name]

    code, _, err = await jaga(path, "restore", kept)
    assert code == 1
    assert "runs that the backup does not" in err
    code, out, err = await jaga(path, "restore", kept, "--accept-loss", "--note", "a drill")
    assert code == 0, err
    assert held(ledger) == (entries + 1, runs)
    async with daemon(path) as process:
        await process.event("ready")
        await until_runs(ledger, runs)


async def test_a_backup_by_the_daemon_leaves_personal_data_out_where_it_is_asked_to(
    tmp_path: Path, target: Target
) -> None:
    path = configuration(tmp_path, target)
    files = BesideFiles.of(tmp_path / "ledger.db")
    async with daemon(path) as process:
        await process.event("ready")
        picture = tmp_path / "shot.png"
        picture.write_bytes(b"\x89PNG\r\n\x1a\n" + b"orders fail")
        code, _, err = await jaga(
            path, "incident", "open", "s0", "--priority", "P1", "--summary", "orders fail", "--actual", "error 500",
            "--partner", "acme", "--name", "Rina", "--email", "rina@example.id", "--phone", "+62 21 5550100",
            "--attach", picture,
        )  # fmt: skip
        assert code == 0, err
        assert sorted(name.partition("/")[0] for name in files.names()) == ["attachments", "personal"]
        whole, without = tmp_path / "whole.db", tmp_path / "without.db"
        assert (await jaga(path, "backup", whole))[0] == 0
        code, out, err = await jaga(path, "backup", without, "--without-personal")
        assert code == 0, err
        assert "with 1 attachment" in out
        assert "not in it: personal/" in err
    assert packed_names(whole) == list(files.names())
    assert packed_names(without) == [name for name in files.names() if name.startswith("attachments/")]
    assert b"rina@example.id" not in without.read_bytes()
    assert held(without)[0] > 0


async def test_a_backup_that_is_under_way_when_the_daemon_stops_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "ledger.db")
    gate = asyncio.Event()

    async def after_the_gate(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the daemon's
        await gate.wait()
        return await asyncio.to_thread(call)

    backups = Backups(tmp_path / "ledger.db", run=after_the_gate)
    with pytest.raises(ValueError, match="no backup was begun"):
        await backups.state()
    with pytest.raises(ValueError, match="name an absolute path"):
        backups.begin(Path("kept.db"))
    backups.begin(tmp_path / "kept.db")
    with pytest.raises(ValueError, match="a backup is under way"):
        backups.begin(tmp_path / "again.db")
    assert await backups.state() == {"done": 0, "total": 0}
    stopping = asyncio.create_task(backups.stop())
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait_for(stopping, WITHIN_S)
    assert "stopped before the backup was whole" in (await backups.state())["error"]
    store.close()
    assert {name.removeprefix("ledger.db") for name in names(tmp_path)} <= {"", ".lock", "-wal", "-shm", "-mark"}


async def say(folder: Path, said: bytes) -> bytes:
    """Send bytes to the control socket; the answer, empty where it hangs up."""
    reader, writer = await asyncio.open_unix_connection(str(folder / NAME))
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(said)
            await writer.drain()
            writer.write_eof()
            return await asyncio.wait_for(reader.read(), WITHIN_S)
        return b""
    finally:
        writer.close()


GARBAGE = [
    b"",
    b"\n",
    b"\0" * 1000,
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"\xff\xfe{\n",
    b"[]\n",
    b"null\n",
    b'{"do":"close everything"}\n',
    b'{"do":null}\n',
    b'{"do":"decide"}\n',
    b'{"do":"decide","command":{"verb":"exclude add"}}\n',
    b'{"do":"decide","command":{"verb":"drop table"}}\n',
    b'{"do":"decide","command":{"verb":"claim file","partner":1,"service":2,"month":3},"by":4}\n',
    b'{"do":"backup"}\n',
    b'{"do":"backup","path":""}\n',
    b'{"do":"backup","path":"relative"}\n',
    b'{"do":"backup","path":"/tmp/\\u0000x"}\n',
    b'{"do":"backup","path":["/tmp/x"]}\n',
    b'{"do":"backup state"}\n',
    b"{" * 100_000 + b"\n",
    b"x" * (MAX_BYTES + 4096),
]


async def answers(folder: Path, process: Process) -> None:
    answer = await asyncio.to_thread(ask, folder, {"do": "ping"})
    assert answer == {"pid": process.process.pid, "not_ready": None}


async def test_garbage_at_the_socket_is_refused_and_changes_nothing(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target)
    async with daemon(path) as process:
        await process.event("ready")
        before = decisions(tmp_path / "ledger.db")
        for garbage in GARBAGE:
            answer = await say(tmp_path, garbage)
            if answer:
                assert set(json.loads(answer)) == {"error"}
            await answers(tmp_path, process)
        assert decisions(tmp_path / "ledger.db") == before
        assert not [line for line in process.log if line.get("event") == "control request failed"]


async def test_a_thousand_connections_do_not_keep_it_from_watching(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target, checks=20)
    async with daemon(path) as process:
        await process.event("ready")
        held_open: list[socket.socket] = []
        try:
            for _ in range(1000):
                silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                silent.setblocking(False)
                held_open.append(silent)
                with contextlib.suppress(BlockingIOError):  # the queue is full: this one is refused
                    silent.connect(str(tmp_path / NAME))
            before = held(tmp_path / "ledger.db")[1]
            await until_runs(tmp_path / "ledger.db", before + 1)
        finally:
            for silent in held_open:
                silent.close()
        await answers(tmp_path, process)
        assert (await jaga(path, "status"))[0] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_can_neither_ask_nor_read(tmp_path: Path, target: Target) -> None:
    path = configuration(tmp_path, target)
    for parent in [tmp_path, *tmp_path.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    async with daemon(path) as process:
        await process.event("ready")
        code = "import socket,sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        other = await asyncio.create_subprocess_exec(
            "/usr/bin/python3", "-c", code, str(tmp_path / NAME), stderr=asyncio.subprocess.PIPE, user="nobody"
        )
        _, err = await asyncio.wait_for(other.communicate(), WITHIN_S)
        assert other.returncode == 1
        assert b"PermissionError" in err
        await answers(tmp_path, process)

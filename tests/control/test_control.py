"""The control socket: one line in, one line out, for the daemon's own user, whatever comes in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from monitor.control import BACKLOG, MAX_BYTES, NAME, ControlError, NobodyThereError, Server, ask


async def _echo(request: Mapping[str, Any], login: str) -> dict[str, Any]:
    if "bad" in request:
        raise ValueError("bad is not good")
    return {"request": dict(request), "login": login}


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    server = Server(tmp_path, _echo)
    await server.start()
    yield tmp_path
    await server.stop()
    assert not (tmp_path / NAME).exists()


async def asked(folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    return await asyncio.to_thread(ask, folder, request)


async def test_a_request_is_answered_and_names_who_asks(folder: Path) -> None:
    answer = await asked(folder, {"do": "ping"})
    assert answer == {"request": {"do": "ping"}, "login": "root" if os.geteuid() == 0 else answer["login"]}
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600


async def test_the_askers_fault_is_said(folder: Path) -> None:
    assert await asked(folder, {"bad": 1}) == {"error": "bad is not good"}


@pytest.mark.parametrize("garbage", [b"\n", b"{\n", b"\xff\xfe\n", b"[1]\n", b"[" * 100_000 + b"\n", b"nonsense"])
async def test_garbage_is_answered_or_dropped_and_the_next_is_served(folder: Path, garbage: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(folder / NAME))
    writer.write(garbage)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    assert "error" in json.loads(answer)
    assert (await asked(folder, {"do": "ping"}))["request"] == {"do": "ping"}


async def test_a_line_over_the_limit_is_dropped(folder: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(folder / NAME))
    writer.write(b"x" * (MAX_BYTES + 1024))
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(writer.drain(), 60)
        assert await asyncio.wait_for(reader.read(), 60) == b""
    writer.close()
    assert (await asked(folder, {"do": "ping"}))["request"] == {"do": "ping"}


async def test_a_thousand_connections_that_say_nothing_leave_it_serving(folder: Path) -> None:
    held: list[socket.socket] = []
    try:
        for _ in range(1000):
            silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            silent.setblocking(False)
            held.append(silent)
            try:
                silent.connect(str(folder / NAME))
            except BlockingIOError:
                break
            if len(held) % BACKLOG == 0:
                await asyncio.sleep(0)
    finally:
        for silent in held:
            silent.close()
    assert (await asked(folder, {"do": "ping"}))["request"] == {"do": "ping"}


async def test_nobody_there_is_told_apart_from_no_answer(tmp_path: Path) -> None:
    with pytest.raises(NobodyThereError, match="no daemon listens"):
        await asked(tmp_path, {})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(str(tmp_path / NAME))
        with pytest.raises(NobodyThereError):
            await asked(tmp_path, {})
        deaf.listen()
        accepted = asyncio.to_thread(_accept_and_close, deaf)
        with pytest.raises(ControlError, match="did not answer"):
            await asyncio.gather(asked(tmp_path, {}), accepted)


def _accept_and_close(deaf: socket.socket) -> None:
    deaf.accept()[0].close()


async def test_a_socket_left_by_a_dead_daemon_is_replaced_also_under_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    at = os.open(folder, os.O_PATH)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(f"/proc/self/fd/{at}/{NAME}")
    os.close(at)
    server = Server(folder, _echo)
    await server.start()
    assert (await asked(folder, {"n": 1}))["request"] == {"n": 1}
    await server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_is_refused(folder: Path) -> None:
    (folder / NAME).chmod(0o777)
    for parent in [folder, *folder.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    code = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'{}\\n'); "
        "print(s.recv(4096).decode())"
    )
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", "-c", code, str(folder / NAME), stdout=asyncio.subprocess.PIPE, user="nobody"
    )
    out, _err = await asyncio.wait_for(process.communicate(), 60)
    assert json.loads(out) == {"error": "the daemon listens to its own user and to root only"}

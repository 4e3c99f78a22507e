"""The control socket: how a verb reaches the daemon that owns the ledger (DESIGN rule 9).

A Unix socket beside the ledger, for the daemon's own user (and root) only. One request is one line of JSON, one answer
is one line, then the connection ends. Whoever asks is known by the kernel's word, not by his own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

NAME = "control.sock"
MAX_BYTES = 256 * 1024
"""The longest request and the longest answer; longer ones are refused."""

MAX_CONNECTIONS = 16
"""How many are served at a time; the rest wait in the kernel's queue, and are refused beyond it."""

BACKLOG = 64
REQUEST_S = 5.0
ANSWER_S = 60
_LONGEST_PATH = 100
_CREDENTIALS = struct.Struct("3i")
_TIMEVAL = struct.Struct("ll")

Handle = Callable[[Mapping[str, Any], str], Awaitable[dict[str, Any]]]

_log = structlog.get_logger("jaga.control")


class ControlError(Exception):
    """The daemon could not be asked, or did not answer; says what to do."""


class NobodyThereError(ControlError):
    """No daemon listens at the socket."""


class Server:
    """Serves requests with `handle(request, login) -> answer`; a ValueError of it is the asker's fault."""

    def __init__(self, folder: Path, handle: Handle) -> None:
        self._folder = folder
        self._handle = handle
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. A socket left by a dead daemon is replaced: the ledger's lock says that nobody else lives."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            _bind(listening, self._folder)
            self._server = await asyncio.start_unix_server(
                self._accepted,
                sock=listening,
                limit=MAX_BYTES,
                backlog=BACKLOG,
            )
        except OSError as error:
            listening.close()
            raise ControlError(f"cannot listen at {self._folder / NAME}: {error.strerror}") from error

    async def stop(self) -> None:
        """Answer what was asked, then listen no more."""
        if self._server is None:
            return
        self._server.close()
        if self._serving:
            await asyncio.wait(self._serving)
        (self._folder / NAME).unlink(missing_ok=True)
        self._server = None

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by its task"
        self._serving.add(task)
        try:
            async with self._slots:
                await self._serve(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            _log.info("control connection dropped", why=type(error).__name__)
        finally:
            self._serving.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_S):
            line = await reader.readline()  # a line over the limit is a ValueError
        uid = _peer(writer)
        if uid not in {0, os.geteuid()}:
            _log.warning("control request refused", uid=uid)
            answer: dict[str, Any] = {"error": "the daemon listens to its own user and to root only"}
        else:
            answer = await self._answer(line, _login(uid))
        writer.write(json.dumps(answer).encode() + b"\n")
        async with asyncio.timeout(REQUEST_S):
            await writer.drain()

    async def _answer(self, line: bytes, login: str) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"error": "the request is no line of JSON"}
        if not isinstance(request, dict):
            return {"error": "the request is no JSON object"}
        try:
            return await self._handle(request, login)
        except ValueError as error:
            return {"error": str(error)}
        except Exception:  # noqa: BLE001 - whatever it was, the asker gets an answer and the log the cause
            _log.exception("control request failed", do=request.get("do"))
            return {"error": "the daemon failed at this request; its log says why"}


def ask(folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """The daemon's answer to a request; NobodyThereError where none listens, ControlError where it does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        # The kernel's own time-outs: a connect that Python times waits for no place in a full queue.
        for bound in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            asking.setsockopt(socket.SOL_SOCKET, bound, _TIMEVAL.pack(int(ANSWER_S), 0))
        try:
            with _reachable(folder) as path:
                asking.connect(path)
            asking.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_line(asking))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NobodyThereError(f"no daemon listens at {folder / NAME}") from error
        except PermissionError as error:
            raise ControlError(
                f"{folder / NAME} belongs to another user: ask as the daemon's user, or as root"
            ) from error
        except BlockingIOError as error:
            raise ControlError(f"the daemon at {folder / NAME} did not answer within {ANSWER_S:g} s") from error
        except (OSError, ValueError) as error:
            raise ControlError(f"the daemon at {folder / NAME} did not answer: {error}") from error
    if not isinstance(answer, dict):
        raise ControlError(f"the daemon at {folder / NAME} answered no JSON object")
    return answer


def _bind(listening: socket.socket, folder: Path) -> None:
    with _reachable(folder) as path:
        Path(path).unlink(missing_ok=True)
        listening.bind(path)
        Path(path).chmod(0o600)


def _line(asking: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        part = asking.recv(65536)
        if not part:
            raise ValueError("it closed the connection")
        received += part
        if len(received) > MAX_BYTES:
            raise ValueError("its answer is too long")
    return received


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    """A path of the socket short enough for the kernel: by way of the folder's descriptor where it must be."""
    path = str(folder / NAME)
    if len(path.encode()) <= _LONGEST_PATH:
        yield path
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


def _peer(writer: asyncio.StreamWriter) -> int:
    """The user id of whoever is at the other end, as the kernel knows it."""
    connection = writer.get_extra_info("socket")
    held = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(held)
    return int(uid)


def _login(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"

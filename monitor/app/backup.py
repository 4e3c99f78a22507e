"""Backups that a running daemon makes of its own ledger, one at a time, in a thread beside all else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from monitor.storage import StoreError
from monitor.storage.backup import BackupError, back_up

WAIT_S = 0.5
"""How long `state` waits for the end before it tells how far it is: whoever asks again and again needs no pause."""

_log = structlog.get_logger("jaga.app")


class _CalledOffError(Exception):
    """The daemon stops: what was copied so far is dropped."""


class Backups:
    """The backups of one ledger. `run` carries out what takes its time, off the loop."""

    def __init__(self, database: Path, *, run: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        self._database = database
        self._run = run
        self._task: asyncio.Task[dict[str, Any]] | None = None
        self._pages = (0, 0)
        self._called_off = False

    def begin(self, to: Path, *, personal: bool = True) -> None:
        """Begin to copy the ledger to `to`; ValueError while another copy is under way, or if `to` is relative."""
        if self._task is not None and not self._task.done():
            msg = "a backup is under way: wait for it"
            raise ValueError(msg)
        if not to.is_absolute():
            msg = f"{to} is relative to nothing that the daemon knows: name an absolute path"
            raise ValueError(msg)
        self._pages = (0, 0)
        self._task = asyncio.get_running_loop().create_task(self._made(to, personal=personal), name="backup")

    async def state(self) -> dict[str, Any]:
        """How far it is (`done` of `total` pages) or, when it has ended, its `size_bytes`, why it was `refused`, or the
        `error`; ValueError where none was begun.
        """
        if self._task is None:
            msg = "no backup was begun"
            raise ValueError(msg)
        await asyncio.wait([self._task], timeout=WAIT_S)
        if self._task.done():
            return self._task.result()
        done, total = self._pages
        return {"done": done, "total": total}

    async def stop(self) -> None:
        """Call off what is under way; it leaves nothing behind."""
        self._called_off = True
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _made(self, to: Path, *, personal: bool) -> dict[str, Any]:
        try:
            size_bytes = await self._run(lambda: back_up(self._database, to, personal=personal, progress=self._moved))
        except BackupError as error:
            return {"refused": str(error)}
        except _CalledOffError:
            _log.error("backup failed", path=str(to), error="the daemon was stopped")
            return {"error": "the daemon was stopped before the backup was whole; nothing is left of it"}
        except StoreError as error:
            _log.error("backup failed", path=str(to), error=str(error))
            return {"error": str(error)}
        _log.info("backup written", path=str(to), size_bytes=size_bytes)
        return {"size_bytes": size_bytes}

    def _moved(self, done: int, total: int) -> None:
        self._pages = (done, total)
        if self._called_off:
            raise _CalledOffError

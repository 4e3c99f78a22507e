"""The owner of a SQLite ledger: one process holds an exclusive lock on a file beside it, whose content names who."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from monitor.storage import StoreError, StoreOwnedError


def lock_path(database: Path) -> Path:
    """The lock's file, which stays: removing it would let two processes lock two different files."""
    return database.with_name(database.name + ".lock")


class OwnerLock:
    """Held from construction to `release`; the kernel lets go of it when the process ends, however it ends.

    Raises StoreOwnedError naming the owner where another process holds it, StoreError where the file cannot be made.
    """

    def __init__(self, database: Path) -> None:
        path = lock_path(database)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            cause = f"{path.name} beside it cannot be made: {error.strerror}"
            raise StoreError(
                "open", str(database), cause, "give the daemon's user the right to write its folder"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except BlockingIOError as error:
            owner = _owner(self._file)
            os.close(self._file)
            raise StoreOwnedError("open", str(database), owner) from error
        except OSError as error:
            os.close(self._file)
            cause = f"{path.name} beside it cannot be written: {error.strerror}"
            raise StoreError("open", str(database), cause, "free space, or see the rights on the folder") from error

    def release(self) -> None:
        """Let another process own the ledger. The content goes with the lock, so that nobody reads a stale owner."""
        held, self._file = self._file, -1
        if held >= 0:
            os.ftruncate(held, 0)
            os.close(held)


def owner_of(database: Path) -> str | None:
    """Who owns the ledger now (`pid 123 on host`), None for nobody."""
    try:
        file = os.open(lock_path(database), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(file)
    else:
        return None
    finally:
        os.close(file)


def _owner(file: int) -> str:
    return os.pread(file, 200, 0).decode("utf-8", "replace").strip() or "another process"

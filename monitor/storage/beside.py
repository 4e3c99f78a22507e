"""The files beside a ledger, attachments and personal data, on their way: into a backup and out of it, or as lines of a
move. Each is named by its digest: what was changed on the way is told, what is there already is left alone, and what is
damaged there is replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from monitor.core.personal import REFERENCE
from monitor.storage import StoreError, attachments
from monitor.storage.durable import sync_folder
from monitor.storage.errors import mapped
from monitor.storage.personal import opened

ATTACHMENTS, PERSONAL = "attachments", "personal"
_HEX = re.compile("[0-9a-f]{64}")
_HINT = "see that the folder is a local disk with space, and belongs to the daemon's user"

# Of a backup alone: a ledger in use has no such table.
_MAKE = "CREATE TABLE beside (name TEXT NOT NULL PRIMARY KEY, data BLOB NOT NULL)"


class BesideError(ValueError):
    """Bytes that are not what their name says; the message says which."""


@dataclass(frozen=True, slots=True)
class BesideFiles:
    """Where the files of one ledger are. A file's name is its kind, a slash and its digest."""

    attachments: Path
    personal: Path

    @staticmethod
    def of(database: Path) -> BesideFiles:
        """The files beside a SQLite ledger."""
        return BesideFiles(database.parent / attachments.FOLDER, database.with_suffix(".personal"))

    def names(self) -> Iterator[str]:
        """What is there, by name."""
        for kind, folder in ((ATTACHMENTS, self.attachments), (PERSONAL, self.personal)):
            found = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
            yield from (f"{kind}/{name}" for name in found if _HEX.fullmatch(name))

    def read(self, name: str) -> bytes | None:
        """What is under a name; None where it was erased in between. StoreError."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError("read", str(self._path(name)), str(error.strerror), _HINT) from error

    def put(self, name: str, data: bytes) -> bool:
        """Keep what another ledger had, durable when this returns; whether it was written: a file that is there already
        is left alone, unless it is not what its name says. BesideError where the bytes are not those of the name,
        StoreError where they cannot be kept.
        """
        check(name, data)
        path = self._path(name)
        if self._is_whole(name):
            return False
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _give(path.parent, like=path.parent.parent)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            _give(Path(out.name), like=path.parent)
            Path(out.name).replace(path)
            for folder in (path.parent, path.parent.parent):
                sync_folder(folder)
        except OSError as error:
            raise StoreError("keep", str(path), str(error.strerror), _HINT) from error
        return True

    def _is_whole(self, name: str) -> bool:
        held = self.read(name)
        if held is None:
            return False
        try:
            check(name, held)
        except BesideError:
            return False
        return True

    def _path(self, name: str) -> Path:
        kind, _, digest = name.partition("/")
        return (self.attachments if kind == ATTACHMENTS else self.personal) / digest


def check(name: str, data: bytes) -> None:
    """BesideError where bytes are not what their name says."""
    kind, _, digest = name.partition("/")
    if kind not in {ATTACHMENTS, PERSONAL} or not _HEX.fullmatch(digest):
        raise BesideError(f"{name[:100]!r} is no name of an attachment or of personal data")
    if kind == ATTACHMENTS:
        held = hashlib.sha256(data).hexdigest() == digest
    else:
        found = opened(data)
        held = found is not None and found.reference == reference_of(name)
    if not held:
        raise BesideError(f"{name} is not what its name says: it was changed")


def reference_of(name: str) -> str | None:
    """The reference by which entries speak of a file of personal data, None for an attachment."""
    kind, _, digest = name.partition("/")
    reference = f"{PERSONAL}:{digest}"
    return reference if kind == PERSONAL and REFERENCE.fullmatch(reference) else None


# In a backup.


def pack(backup: Path, files: BesideFiles, *, personal: bool) -> None:
    """Put the files that are there into a backup. Those that its entries speak of were there before it was copied."""
    with mapped("back up to", str(backup)), contextlib.closing(_opened(backup)) as connection:
        connection.execute("BEGIN")
        connection.execute(_MAKE)
        for name in files.names():
            data = files.read(name) if personal or reference_of(name) is None else None
            if data is not None:
                connection.execute("INSERT INTO beside VALUES (?, ?)", (name, data))
        connection.execute("COMMIT")


def packed(backup: Path) -> Iterator[tuple[str, bytes]]:
    """The files in a backup; none in one of an earlier version."""
    with contextlib.closing(_opened(backup, mode="ro")) as connection:
        if _has_files(connection):
            for name, data in connection.execute("SELECT name, data FROM beside ORDER BY name"):
                yield str(name), bytes(data)


def packed_names(backup: Path) -> list[str]:
    """Their names alone: the files may be large."""
    with contextlib.closing(_opened(backup, mode="ro")) as connection:
        query = "SELECT name FROM beside ORDER BY name"
        return [str(name) for (name,) in connection.execute(query)] if _has_files(connection) else []


def erase(backup: Path, reference: str) -> bool:
    """Take personal data out of a backup for good; whether it was there. StoreError."""
    with mapped("erase personal data in", str(backup)), contextlib.closing(_opened(backup)) as connection:
        if not _has_files(connection):
            return False
        name = reference.replace(":", "/")
        gone = connection.execute("DELETE FROM beside WHERE name = ?", (name,)).rowcount
        if gone:
            connection.execute("VACUUM")
    return bool(gone)


def take_out(backup: Path) -> None:
    """What is left when the files stand beside it: the ledger alone."""
    with mapped("restore", str(backup)), contextlib.closing(_opened(backup)) as connection:
        if _has_files(connection):
            connection.execute("DROP TABLE beside")
            connection.execute("VACUUM")


def _has_files(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'beside'").fetchone() is not None


def _opened(backup: Path, *, mode: str = "rw") -> sqlite3.Connection:
    connection = sqlite3.connect(f"{backup.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    for pragma in ("synchronous = FULL", "secure_delete = ON", "trusted_schema = OFF", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _give(path: Path, *, like: Path) -> None:
    """Root restores for the daemon's user."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(path, owner.st_uid, owner.st_gid)

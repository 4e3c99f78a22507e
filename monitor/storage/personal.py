"""Personal data as files beside the ledger, one a reference: what is erased is gone, not overwritten later.

A row of a database lives on in its log and its free pages. A file is written whole and synced before the entry that
refers to it, and removed after the entry that says so; what a crash leaves in between is found by verify.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from monitor.core.personal import REFERENCE, SALT_BYTES, Personal
from monitor.storage import StoreError
from monitor.storage.durable import sync_folder

MAX_BYTES = 16 * 1024
"""The most that is kept of one person for one purpose."""

_HINT = "see that the folder exists, is a local disk with space, and belongs to the daemon's user"


def opened(written: bytes) -> Personal | None:
    """The data of a file's bytes; None where they are none."""
    try:
        held = orjson.loads(written)
        return Personal(held["kind"], held["data"], bytes.fromhex(held["salt"]))
    except (ValueError, KeyError, TypeError, AssertionError):
        return None


class PersonalFiles:
    """The files of one ledger, readable by their owner alone. The folder is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, kind: str, data: Mapping[str, Any]) -> str:
        """Keep data, durable when this returns; the reference for the entry that is to follow. StoreError."""
        found = Personal(kind, data, secrets.token_bytes(SALT_BYTES))
        written = orjson.dumps({"kind": kind, "data": dict(data), "salt": found.salt.hex()})
        if len(written) > MAX_BYTES:
            cause = f"{len(written)} bytes, the limit is {MAX_BYTES}"
            raise StoreError("keep personal data in", str(self._folder), cause, "shorten its texts")
        file = self._file(found.reference)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(written)
                out.flush()
                os.fsync(out.fileno())
            sync_folder(self._folder)
        except OSError as error:
            raise StoreError("keep personal data in", str(self._folder), str(error.strerror), _HINT) from error
        return found.reference

    def read(self, reference: str) -> Personal | None:
        """The data of a reference, None where it was erased or never was. StoreError where it is not what was kept."""
        try:
            with self._file(reference).open("rb") as source:
                found = opened(source.read(MAX_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError("read personal data in", str(self._folder), str(error.strerror), _HINT) from error
        if found is not None and found.reference == reference:
            return found
        hint = "restore it from a backup, or erase it: the chain stands without it"
        raise StoreError("read personal data in", str(self._folder), f"{reference} is not what was recorded", hint)

    def erase(self, reference: str) -> bool:
        """Remove data for good; whether it was there. Its entry must be durable before."""
        try:
            self._file(reference).unlink()
            sync_folder(self._folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError("erase personal data in", str(self._folder), str(error.strerror), _HINT) from error
        return True

    def kept(self) -> Iterator[str]:
        """The references of everything that is there."""
        names = sorted(file.name for file in self._folder.iterdir()) if self._folder.is_dir() else []
        yield from (reference for name in names if REFERENCE.fullmatch(reference := f"personal:{name}"))

    def _file(self, reference: str) -> Path:
        assert REFERENCE.fullmatch(reference), "a reference is checked where it comes in"
        return self._folder / reference.partition(":")[2]

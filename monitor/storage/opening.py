"""From the address under `store:` to an open store: `sqlite:///file` or `postgresql://…`."""

from __future__ import annotations

import difflib
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from monitor.storage import StoreMisusedError, postgresql, sqlite
from monitor.storage.beside import BesideFiles
from monitor.storage.personal import PersonalFiles
from monitor.storage.reading import SqlReader
from monitor.storage.writing import SqlStore

_EXAMPLES = "write sqlite:///folder/ledger.db, sqlite:////absolute/ledger.db or postgresql://user@host/database"
_SCHEMES = ("sqlite", "postgresql")


def open_store(url: str, *, base: Path) -> SqlStore:
    """Own the store for writing. A relative SQLite path is relative to `base`, the configuration file's folder.

    Raises StoreOwnedError where another process owns it, StoreMisusedError where the address is none,
    StoreError where it cannot be opened.
    """
    parsed = _parse(url)
    if parsed.drivername == "sqlite":
        return sqlite.open_store(_path(parsed, base))
    return postgresql.open_store(parsed)


def open_reader(url: str, *, base: Path) -> SqlReader:
    """Read the store, beside its owner if there is one; StoreError where there is nothing to read."""
    parsed = _parse(url)
    if parsed.drivername == "sqlite":
        return sqlite.open_reader(_path(parsed, base))
    return postgresql.open_reader(parsed)


def sqlite_path(url: str, *, base: Path) -> Path | None:
    """The file of a SQLite store, None for other stores: beside it lie the owner's lock and the control socket."""
    parsed = _parse(url)
    return _path(parsed, base) if parsed.drivername == "sqlite" else None


def personal_files(url: str, *, base: Path) -> PersonalFiles:
    """The personal data of a store: in a folder beside its file, or in `base` for a store that is none."""
    file = sqlite_path(url, base=base)
    return PersonalFiles(base / "ledger.personal" if file is None else file.with_suffix(".personal"))


def beside_files(url: str, *, base: Path) -> BesideFiles:
    """The attachments and personal data of a store: beside its file, or in `base` for a store that is none."""
    file = sqlite_path(url, base=base)
    return BesideFiles.of(base / "ledger.db" if file is None else file)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The text itself is not shown: it may hold a password.
        raise StoreMisusedError("open", "the store", "its address cannot be read", _EXAMPLES) from error
    if parsed.drivername == "postgres":
        parsed = parsed.set(drivername="postgresql")
    if parsed.drivername not in _SCHEMES:
        near = difflib.get_close_matches(parsed.drivername, _SCHEMES, n=1)
        meant = f'; did you mean "{near[0]}"?' if near else ""
        raise StoreMisusedError("open", "the store", f'"{parsed.drivername}" is no kind of store{meant}', _EXAMPLES)
    return parsed


def _path(url: URL, base: Path) -> Path:
    if not url.database or url.database == ":memory:" or url.host:
        raise StoreMisusedError("open", "the store", "its address names no file", _EXAMPLES)
    if url.query:
        raise StoreMisusedError("open", "the store", f'option "{next(iter(url.query))}" is unknown', _EXAMPLES)
    return (base / url.database).resolve()

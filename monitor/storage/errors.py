"""From what a database driver raises to a StoreError: operation, object, cause and hint, mapped once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from monitor.storage import StoreDamagedError, StoreError

_DAMAGED_SQLITE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""SQLITE_ERROR too: our own statements are right, so a table or column that is not there was there before."""

_RETRY = "it is tried again; nothing was changed"

# By primary result code (https://www.sqlite.org/rescode.html): cause, hint.
_SQLITE = {
    sqlite3.SQLITE_PERM: ("permission denied", "give the daemon's user the right to read and write there"),
    sqlite3.SQLITE_BUSY: ("locked by another program", "close the program that holds the database; " + _RETRY),
    sqlite3.SQLITE_LOCKED: ("locked by another connection", _RETRY),
    sqlite3.SQLITE_NOMEM: ("out of memory", "free memory; " + _RETRY),
    sqlite3.SQLITE_READONLY: (
        "it may only be read",
        "give the daemon's user the right to write the file and its folder",
    ),
    sqlite3.SQLITE_IOERR: (
        "reading or writing the disk failed",
        "see that the disk has space, no limit on file size applies and the disk is sound; " + _RETRY,
    ),
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged",
        "stop the daemon, keep the file, restore a backup and compare; nothing is repaired in silence",
    ),
    sqlite3.SQLITE_FULL: ("the disk is full", "free space; " + _RETRY),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "see that the folder exists and its user may read and write there",
    ),
    sqlite3.SQLITE_NOTADB: ("the file is no SQLite database", 'name another file under "store"'),
    sqlite3.SQLITE_TOOBIG: ("a value is too large", "report this: a value was not bounded where it came in"),
}

# By SQLSTATE, exactly or by its class of two characters (PostgreSQL appendix A).
_POSTGRESQL = {
    "08": ("the server cannot be reached", "see that it runs and that host and port are right; " + _RETRY),
    "28": ("the server refused the login", 'see the user and password in "store"'),
    "3D": ("there is no such database", "create it: createdb with the name in the store's address"),
    "53100": ("the server's disk is full", "free space there; " + _RETRY),
    "53300": ("the server takes no more connections", "raise its max_connections or close others; " + _RETRY),
    "53": ("the server is short of resources", _RETRY),
    "57014": ("the server took too long", "see what else runs there; " + _RETRY),
    "57": ("the server is shutting down or starting", _RETRY),
    "25006": ("the server may only be read", "it is a standby or set to read only: name the primary"),
    "42501": ("permission denied", "grant the store's user all rights on its schema"),
    "55P03": ("locked by another program", "close the session that holds the lock; " + _RETRY),
    "40": ("another session got in between", _RETRY),
    "58": ("the server's disk failed", "see the server's log"),
    "XX": ("the server found damaged data", "see the server's log; restore a backup and compare"),
}


@contextmanager
def mapped(operation: str, target: str) -> Iterator[None]:
    """Whatever the driver raises inside becomes a StoreError; faults of the program pass unchanged."""
    try:
        yield
    except DBAPIError as error:
        if _is_fault_of_ours(error):
            raise
        raise store_error(operation, target, error.orig) from error
    except PoolTimeoutError as error:
        raise StoreError(operation, target, "every connection is in use", _RETRY) from error
    except sqlite3.Error as error:
        raise store_error(operation, target, error) from error
    except SQLAlchemyError:
        raise


def _is_fault_of_ours(error: DBAPIError) -> bool:
    name = type(error.orig).__name__
    return name in {"ProgrammingError", "InterfaceError"} and getattr(error.orig, "sqlstate", None) is None


def store_error(operation: str, target: str, original: BaseException | None) -> StoreError:
    """The StoreError of a driver's exception, by its code."""
    if isinstance(original, sqlite3.Error):
        cause, hint = _sqlite(original)
        code = getattr(original, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        damaged = code & 0xFF in _DAMAGED_SQLITE
    else:
        cause, hint = _postgresql(original)
        damaged = (getattr(original, "sqlstate", None) or "").startswith("XX")
    return (StoreDamagedError if damaged else StoreError)(operation, target, cause, hint)


def _sqlite(error: sqlite3.Error) -> tuple[str, str]:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    cause, hint = _SQLITE.get(code & 0xFF, (str(error), "report this with the version of the program"))
    return f"{cause} ({name})", hint


def _postgresql(error: BaseException | None) -> tuple[str, str]:
    state = getattr(error, "sqlstate", None) or _state_of_a_refused_connection(error)
    found = _POSTGRESQL.get(state) or _POSTGRESQL.get(state[:2])
    if found is None:
        return f"{type(error).__name__} ({state})", "see the server's log; report this with the version of the program"
    return f"{found[0]} (SQLSTATE {state})", found[1]


def _state_of_a_refused_connection(error: BaseException | None) -> str:
    """What the server said before there was a session: libpq gives the text alone, without its SQLSTATE."""
    text = str(error)
    if "does not exist" in text and "database" in text:
        return "3D000"
    if "password" in text or "pg_hba" in text or "role" in text:
        return "28000"
    if "too many clients" in text or "connection slots" in text:
        return "53300"
    if "starting up" in text or "shutting down" in text:
        return "57P03"
    return "08006"

"""A ledger in one SQLite file: who may write it, how durable a commit is, and how readers stay out of the way.

WAL with `synchronous=FULL` (FAULTS rule 3). SQLite up to 3.51.2 can damage a WAL that two connections write or
checkpoint at once (FAULTS rule 4): one connection of one process, the holder of the lock, writes and checkpoints;
readers open the file `mode=ro`, which makes both impossible for them.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, QueuePool, StaticPool, create_engine, event

from monitor.storage import StoreError, contradiction
from monitor.storage.asking import Backend
from monitor.storage.errors import mapped
from monitor.storage.owner import OwnerLock
from monitor.storage.reading import SqlReader
from monitor.storage.setup import accept, make_or_accept, migrate
from monitor.storage.watermark import Watermark, read_watermark
from monitor.storage.writing import SqlStore

BUSY_TIMEOUT_MS = 5_000
READERS = 4
POOL_TIMEOUT_S = 30
MAX_DAMAGE = 100
# Of SQLite's virtual machine, between two looks at whether a search is still wanted: some milliseconds.
STEPS = 100_000
# Beyond this the WAL is cut back after a checkpoint.
WAL_LIMIT_BYTES = 64 * 2**20

# From this version on a second writing connection could not damage the WAL; the one-writer rule holds on all.
WAL_SAFE_VERSION = (3, 51, 3)

_READER_PRAGMAS = ("query_only = ON", "wal_autocheckpoint = 0", "mmap_size = 0", "trusted_schema = OFF")
_WRITER_PRAGMAS = (
    "synchronous = FULL",
    "mmap_size = 0",
    "trusted_schema = OFF",
    f"journal_size_limit = {WAL_LIMIT_BYTES}",
)


def open_store(path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> SqlStore:
    """Own the ledger at `path`, making folder and file where there are none.

    Raises StoreOwnedError where another process owns it, StoreError where it cannot be opened or is not ours.
    """
    make_folder(path)
    lock = OwnerLock(path)
    try:
        _check_writable(path)
        writer = _engine(path, "rwc", _set_up_writer(path, busy_timeout_ms), begin="BEGIN IMMEDIATE", one=True)
        with mapped("open", str(path)):
            migrate(writer, str(path), copy=partial(_copy, writer, path), lock=lambda _connection: None)
            with writer.begin() as connection:
                make_or_accept(connection, str(path))
        readers = _engine(path, "ro", _set_up_reader(busy_timeout_ms), begin="BEGIN", one=False)
    except BaseException:
        lock.release()
        raise
    mark = Watermark(path)

    def release() -> None:
        mark.close()
        lock.release()

    store = SqlStore(writer, readers, _backend(path), release=release, acknowledge=mark.write)
    why = contradiction(store)
    if why is not None:
        # The next commit would move the mark, and nobody would ever know.
        store.refuse_writes(why)
    return store


def open_reader(path: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> SqlReader:
    """Read the ledger at `path` beside its owner, if it has one; StoreError where there is none to read."""
    if not path.exists():
        hint = "start the daemon once, or import a ledger; see that --config or --store names the right one"
        raise StoreError("open", str(path), "there is no ledger", hint)
    readers = _engine(path, "ro", _set_up_reader(busy_timeout_ms), begin="BEGIN", one=False)
    with mapped("open", str(path)), readers.connect() as connection:
        accept(connection, str(path))
    return SqlReader(readers, _backend(path))


def copy_path(path: Path, version: int) -> Path:
    """Where the ledger as it was under an older schema is kept, until its owner removes it."""
    return path.with_name(f"{path.name}.schema-{version}")


def _copy(writer: Engine, path: Path, version: int) -> str:
    """A whole copy beside the ledger, there under its name only once it is on disk."""
    try:
        return str(_copied(writer, path, copy_path(path, version)))
    except OSError as error:
        cause = f"no copy of it can be made: {error.strerror}"
        raise StoreError("migrate", str(path), cause, "see the rights on its folder, and the space there") from error


def _copied(writer: Engine, path: Path, kept: Path) -> Path:
    partial_copy = kept.with_name(kept.name + ".partial")
    partial_copy.unlink(missing_ok=True)
    held = writer.raw_connection()
    try:
        held.cursor().execute("VACUUM INTO ?", (str(partial_copy),))
    finally:
        held.close()
    with partial_copy.open("rb") as copied:
        os.fsync(copied.fileno())
    partial_copy.replace(kept)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return kept


def make_folder(path: Path) -> None:
    """Make the folder of a ledger, where there is none; StoreError where that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        hint = "make the folder, or give the daemon's user the right to"
        cause = f"its folder {path.parent} cannot be made: {error.strerror}"
        raise StoreError("open", str(path), cause, hint) from error


def _check_writable(path: Path) -> None:
    # SQLite opens such a file for reading in silence, and begins reading transactions where writing ones are asked for.
    if path.is_file() and not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise StoreError("open", str(path), "it may only be read", "give the daemon's user the right to write the file")


def _engine(path: Path, mode: str, set_up: Callable[[sqlite3.Connection], None], *, begin: str, one: bool) -> Engine:
    pool: dict[str, Any] = (
        {"poolclass": StaticPool}
        if one
        else {"poolclass": QueuePool, "pool_size": READERS, "max_overflow": 0, "pool_timeout": POOL_TIMEOUT_S}
    )

    def connect() -> sqlite3.Connection:
        # Transactions are begun by hand (isolation_level None): only so is data definition transactional too.
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine("sqlite://", creator=connect, **pool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _set_up_writer(path: Path, busy_timeout_ms: int) -> Callable[[sqlite3.Connection], None]:
    def set_up(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            cause = f"its file system allows no write-ahead log (journal mode {mode})"
            raise StoreError("open", str(path), cause, "put the ledger on a local disk, not on a network share")
        for pragma in _WRITER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return set_up


def _set_up_reader(busy_timeout_ms: int) -> Callable[[sqlite3.Connection], None]:
    def set_up(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
        for pragma in _READER_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    return set_up


def _backend(path: Path) -> Backend:
    def size_bytes(_: Connection) -> int:
        files = (path, path.with_name(path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    return Backend(
        name=f"SQLite {sqlite3.sqlite_version}",
        target=str(path),
        size_bytes=size_bytes,
        acknowledged=lambda: read_watermark(path),
        damage=_damage,
    )


def _damage(connection: Connection, pause: Callable[[], None]) -> Iterator[str]:
    with _interrupted_by(connection, pause):
        # Not quick_check: an index that disagrees with its table answers wrongly too.
        for (said,) in connection.exec_driver_sql(f"PRAGMA integrity_check({MAX_DAMAGE})"):
            if said != "ok":
                yield f"SQLite: {said}"


@contextmanager
def _interrupted_by(connection: Connection, pause: Callable[[], None]) -> Iterator[None]:
    """Call `pause` while SQLite works; what that raises ends the statement, and is raised."""
    raised: list[BaseException] = []

    def go_on() -> bool:
        try:
            pause()
        except BaseException as error:  # noqa: BLE001 - raised again below: SQLite would swallow it
            raised.append(error)
        return bool(raised)

    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection), "the engine speaks to SQLite"
    driver.set_progress_handler(go_on, STEPS)
    try:
        yield
    except Exception:
        if raised:
            raise raised[0] from None
        raise
    finally:
        driver.set_progress_handler(None, 0)

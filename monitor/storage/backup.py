"""A copy of a SQLite ledger in one file of its own, made beside its writer; and a copy put in the ledger's place.

The copy is SQLite's online backup over a connection that can only read and holds one committed state from the first
page to the last (https://www.sqlite.org/backup.html): commits go on meanwhile and none of them is in it, the one writer
alone checkpoints (FAULTS rule 4), and the WAL grows by what is written until the copy is done.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from monitor.storage import StoreError
from monitor.storage.beside import BesideFiles, pack
from monitor.storage.durable import sync_file, sync_folder
from monitor.storage.errors import mapped
from monitor.storage.owner import OwnerLock
from monitor.storage.watermark import mark_path

PAGES_PER_STEP = 512
"""Between steps the progress is told, and a copy may be called off."""

PARTIAL = ".partial"
STAGED = ".restoring"
_SQLITES = ("-wal", "-shm", "-journal")
RESERVED = (*_SQLITES, STAGED, ".lock", "-mark")
"""What the ledger's own name may be followed by: such a file is no place for a backup."""

_MAGIC = b"SQLite format 3\0"
# What a file system says that knows no second name for a file.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})

# (pages copied, pages in all)
Progress = Callable[[int, int], None]


class BackupError(Exception):
    """It cannot be backed up to, or restored from, what was named; the message says why and what to do instead."""


def back_up_as_owner(database: Path, to: Path, *, personal: bool = True, progress: Progress | None = None) -> int:
    """`back_up` by a process that takes the ledger for as long; StoreOwnedError where another one has it."""
    _require(database)
    with owned(database):
        return back_up(database, to, personal=personal, progress=progress)


def back_up(database: Path, to: Path, *, personal: bool = True, progress: Progress | None = None) -> int:
    """Copy the ledger of `database`, for its owner, to the new file `to`: its size in bytes, once it is durable. The
    attachments beside the ledger go into the same file, and so does the personal data unless `personal` is false.

    It appears whole or not at all: until then it is `to.….partial` beside it, which a killed process leaves behind.
    What `progress` raises calls it off. BackupError where `to` exists or its folder does not, StoreError where either
    file cannot be read or written.
    """
    _require(database)
    _refuse_existing(to)
    if to.name.startswith(database.name) and to.name.removeprefix(database.name) in RESERVED:
        raise BackupError(f"{to}: that name belongs to the ledger {database.name} itself; choose another one")
    if not to.parent.is_dir():
        raise BackupError(f"{to.parent} is no folder that the owner of the ledger sees: make it, or name another place")
    with _partial(to) as partial:
        _copy(database, partial, progress)
        pack(partial, BesideFiles.of(database), personal=personal)
        sync_file(partial)
        size_bytes = partial.stat().st_size
        try:
            os.link(partial, to)
        except FileExistsError:
            _refuse_existing(to)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise _failed("back up to", to, error) from error
            _refuse_existing(to)
            partial.rename(to)
    sync_folder(to.parent)
    return size_bytes


def stage(backup: Path, database: Path, *, progress: Progress | None = None) -> Path:
    """Copy a backup to a file beside the ledger that it will replace; what a killed restore left there goes first."""
    try:
        magic = _magic(backup)
    except OSError as error:
        raise BackupError(f"{backup} cannot be read: {error.strerror}") from error
    if magic != _MAGIC:
        raise BackupError(f"{backup} is no SQLite file, so no backup; jaga ledger import reads exports")
    staged = database.with_name(database.name + STAGED)
    discard(staged)
    try:
        _copy(backup, staged, progress)
        _refuse_empty(staged, backup)
    except BaseException:
        discard(staged)
        raise
    return staged


def discard(staged: Path) -> None:
    """Remove what was staged and all that lies with it: its log, its lock, a copy made before a migration."""
    for path in staged.parent.iterdir():
        if path.name.startswith(staged.name):
            path.unlink()


def put_in_place(staged: Path, database: Path, *, stamp: str, also: Sequence[Path] = ()) -> Path | None:
    """Make the staged file the ledger, for the holder of its lock; where the present one is now, None if there is none.

    The ledger's name is at every instant that of the present file or of the new one. The present one keeps a name of
    its own, `….before-restore-<stamp>`, and so do the mark of its last commit and the files of `also`. StoreError where
    somebody still reads it: what its WAL holds must go along.
    """
    _give_to_the_owner_of(database, staged)
    aside = _set_aside(database, stamp) if database.exists() else None
    mark = mark_path(database)
    names = {mark: _free(mark, stamp) if aside is None else mark_path(aside)} | {
        path: _free(path, stamp) for path in also
    }
    for path, name in names.items():
        if path.exists():
            path.replace(name)
    staged.replace(database)
    sync_folder(database.parent)
    discard(staged)
    return aside


@contextlib.contextmanager
def owned(database: Path) -> Iterator[None]:
    """Own the ledger's place, whether there is a ledger or not; StoreOwnedError while another process does."""
    lock = OwnerLock(database)
    try:
        yield
    finally:
        lock.release()


def _copy(database: Path, to: Path, progress: Progress | None) -> None:
    def told(_status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    with (
        mapped("copy", f"{database} to {to}"),
        contextlib.closing(_open(database)) as source,
        contextlib.closing(sqlite3.connect(to, isolation_level=None)) as target,
    ):
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the first read is what freezes the state
        target.execute("PRAGMA synchronous = FULL")
        source.backup(target, pages=PAGES_PER_STEP, progress=told)
        # A file that stands alone: with the header of a WAL it could not be read where nothing can be written.
        target.execute("PRAGMA journal_mode = DELETE")
    sync_file(to)


def _refuse_empty(staged: Path, backup: Path) -> None:
    """A database without tables is no backup: opened by an owner, a ledger would be made in it."""
    with mapped("read", str(backup)), contextlib.closing(_open(staged)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise BackupError(f"{backup} is an empty database, no backup")


def _open(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, isolation_level=None)
    for pragma in ("busy_timeout = 5000", "query_only = ON", "mmap_size = 0", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextlib.contextmanager
def _partial(to: Path) -> Iterator[Path]:
    """A file beside `to` that nobody else has, for its user alone; gone afterwards, unless it was renamed."""
    try:
        file, name = tempfile.mkstemp(prefix=f"{to.name}.", suffix=PARTIAL, dir=to.parent)
    except OSError as error:
        raise _failed("back up to", to, error) from error
    os.close(file)
    partial = Path(name)
    try:
        yield partial
    finally:
        for path in (partial, *_beside(partial)):
            path.unlink(missing_ok=True)


def _give_to_the_owner_of(database: Path, staged: Path) -> None:
    """Root restores for the daemon's user: whose the present ledger is, or else the folder."""
    like = database.stat() if database.exists() else database.parent.stat()
    if database.exists():
        staged.chmod(stat.S_IMODE(like.st_mode))
    if os.geteuid() == 0:
        os.chown(staged, like.st_uid, like.st_gid)


def _set_aside(database: Path, stamp: str) -> Path:
    """Give the present ledger a second name, so that it is there when its first one is taken."""
    aside = _free(database, stamp)
    _fold_wal(database)
    # What is left belongs to a file that could not be opened: it goes along; beside the new one it would destroy that.
    left = [path for path in _beside(database) if path.exists()]
    for path in (database, *left):
        _second_name(path, aside.with_name(aside.name + path.name.removeprefix(database.name)))
    sync_folder(database.parent)
    for path in left:
        path.unlink()
    return aside


def _free(path: Path, stamp: str) -> Path:
    """The name under which a file is set aside: by the second of the restore, and a number where that is taken."""
    name = f"{path.name}.before-restore-{stamp}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(free for free in map(path.with_name, names) if not os.path.lexists(free))


def _fold_wal(database: Path) -> None:
    """Write what is in the WAL of a ledger into its file, for the holder of its lock.

    Only where the file can be read: opening a damaged one for writing would cost it its WAL, as of another file.
    """
    try:
        if _magic(database) != _MAGIC:
            return
        with contextlib.closing(_open(database)) as reader:
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as writer:
            writer.execute("PRAGMA synchronous = FULL")
            busy = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error:
        return
    if busy:
        hint = "wait until jaga verbs that read it have ended; nothing was changed"
        raise StoreError("set aside", str(database), "another program still reads it", hint)


def _second_name(path: Path, name: Path) -> None:
    try:
        os.link(path, name)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise _failed("set aside", path, error) from error
        shutil.copy2(path, name)
        with name.open("rb") as file:
            os.fsync(file.fileno())


def _beside(database: Path) -> tuple[Path, ...]:
    """The files that SQLite keeps beside a database."""
    return tuple(database.with_name(database.name + end) for end in _SQLITES)


def _magic(database: Path) -> bytes:
    with database.open("rb") as file:
        return file.read(len(_MAGIC))


def _require(database: Path) -> None:
    if not database.is_file():
        hint = "see that --config or --store names the right one"
        raise StoreError("back up", str(database), "there is no ledger", hint)


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise BackupError(f"{path} is there already and is not overwritten: name another one, or move it away")


def _failed(operation: str, path: Path, error: OSError) -> StoreError:
    hint = f"see what rights and space uid {os.geteuid()} has there; nothing was changed"
    return StoreError(operation, str(path), error.strerror or str(error), hint)

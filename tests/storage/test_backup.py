"""Copies of a SQLite ledger: of one committed state, whole or not there, and never over anything."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.core.run import SourceKey
from monitor.core.span import Span
from monitor.ledger.verify import verify
from monitor.storage import Reader, StoreError, StoreOwnedError, backup
from monitor.storage.backup import BackupError, back_up, back_up_as_owner, put_in_place, stage
from monitor.storage.sqlite import open_reader, open_store
from monitor.storage.writing import SqlStore
from tests.storage.writer import RUNS_A_UNIT, unit

UNITS = 60


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger of UNITS units; no owner."""
    path = tmp_path / "ledger.db"
    store = open_store(path)
    commit(store, range(UNITS))
    store.close()
    return path


def commit(store: SqlStore, numbers: range) -> None:
    for number in numbers:
        store.commit(unit(number))


def holds_whole_units(reader: Reader) -> int:
    """How many units are in it, all of each."""
    units = int(reader.mark("unit")) + 1
    runs = list(reader.runs(SourceKey("portal", "login", "jkt-1"), Span(0, 2**60)))
    assert [run.start_us for run in runs] == list(range(units * RUNS_A_UNIT))
    assert reader.head().seq == (units - 1) // 3 + 1
    assert verify(reader).holds
    return units


def units_in(path: Path) -> int:
    reader = open_reader(path)
    try:
        return holds_whole_units(reader)
    finally:
        reader.close()


def names(folder: Path) -> set[str]:
    """What is in the folder, but for the mark and the empty files that any reader leaves beside a ledger."""
    return {path.name for path in folder.iterdir()} - {"ledger.db-wal", "ledger.db-shm", "ledger.db-mark"}


def in_a_child(work: Callable[[], object]) -> int:
    """Do it in a process of its own; its wait status."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the child must not run the rest of the tests
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def test_it_is_one_committed_state_while_the_writer_goes_on(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "PAGES_PER_STEP", 1)
    store = open_store(ledger)
    steps: list[tuple[int, int]] = []

    def between_steps(done: int, total: int) -> None:
        commit(store, range(UNITS + len(steps), UNITS + len(steps) + 1))
        steps.append((done, total))

    to = ledger.with_name("copy.db")
    size_bytes = back_up(ledger, to, progress=between_steps)
    assert len(steps) > 20
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    assert holds_whole_units(store) == UNITS + len(steps)
    store.close()
    assert units_in(to) == UNITS
    assert to.stat().st_size == size_bytes
    assert to.stat().st_mode & 0o777 == 0o600


def test_it_stands_alone_and_is_read_where_nothing_can_be_written(ledger: Path) -> None:
    folder = ledger.parent / "archive"
    folder.mkdir()
    back_up_as_owner(ledger, folder / "copy.db")
    assert names(folder) == {"copy.db"}

    def read_as_nobody() -> None:
        folder.chmod(0o555)
        (folder / "copy.db").chmod(0o444)
        if os.geteuid() == 0:
            os.setuid(65534)
        assert units_in(folder / "copy.db") == UNITS

    for parent in [folder, *folder.parents][:5]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    assert in_a_child(read_as_nobody) == 0
    folder.chmod(0o755)
    assert names(folder) == {"copy.db"}


def test_it_is_not_called_off_in_part(ledger: Path) -> None:
    before = names(ledger.parent)

    def called_off(_done: int, _total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        back_up(ledger, ledger.with_name("copy.db"), progress=called_off)
    assert names(ledger.parent) == before
    assert units_in(ledger) == UNITS


def test_killed_it_leaves_only_a_partial_file_and_the_next_one_works(ledger: Path) -> None:
    to = ledger.with_name("copy.db")
    before = names(ledger.parent)
    killed = in_a_child(lambda: back_up(ledger, to, progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL)))
    assert killed == signal.SIGKILL
    left = names(ledger.parent) - before
    assert left
    assert all(".partial" in name for name in left)
    back_up(ledger, to)
    assert units_in(to) == UNITS


def test_where_the_disk_takes_no_more_it_says_so_and_leaves_nothing(ledger: Path) -> None:
    before = names(ledger.parent)

    def with_small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        with pytest.raises(StoreError, match=r"copy .*(disk|full)"):
            back_up(ledger, ledger.with_name("copy.db"))

    assert in_a_child(with_small_files) == 0
    assert names(ledger.parent) == before


def test_it_overwrites_nothing(ledger: Path) -> None:
    folder = ledger.parent
    (folder / "there").write_text("mine")
    (folder / "points").symlink_to(folder / "nowhere")
    before = names(folder)
    for name in ("there", "points", "ledger.db"):
        with pytest.raises(BackupError, match="is there already and is not overwritten"):
            back_up(ledger, folder / name)
    for end in ("-wal", "-shm", "-journal", ".restoring"):
        with pytest.raises(BackupError, match="belongs to the ledger"):
            back_up(ledger, folder / f"ledger.db{end}")
    with pytest.raises(BackupError, match="is no folder that the owner"):
        back_up(ledger, folder / "none" / "copy.db")
    assert names(folder) == before
    assert (folder / "there").read_text() == "mine"


def test_a_file_that_appears_meanwhile_is_kept(ledger: Path) -> None:
    to = ledger.with_name("copy.db")

    def somebody_writes(_done: int, _total: int) -> None:
        to.write_text("mine")

    with pytest.raises(BackupError, match="not overwritten"):
        back_up(ledger, to, progress=somebody_writes)
    assert to.read_text() == "mine"
    assert not [name for name in names(ledger.parent) if ".partial" in name]


def without_links(_from: object, _to: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_file_system_without_links_gets_its_backup_and_its_restore(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The error of FAT and of some network shares; mounting one needs rights that a test should not ask for.
    monkeypatch.setattr(os, "link", without_links)
    to = ledger.with_name("copy.db")
    back_up(ledger, to)
    assert units_in(to) == UNITS
    with pytest.raises(BackupError):
        back_up(ledger, to)
    aside = put_in_place(stage(to, ledger), ledger, stamp="1")
    assert aside is not None
    assert units_in(aside) == units_in(ledger) == UNITS


def test_only_the_owner_makes_one(ledger: Path, tmp_path: Path) -> None:
    store = open_store(ledger)
    with pytest.raises(StoreOwnedError, match=f"pid {os.getpid()}"):
        back_up_as_owner(ledger, tmp_path / "copy.db")
    store.close()
    with pytest.raises(StoreError, match="there is no ledger"):
        back_up_as_owner(tmp_path / "none.db", tmp_path / "copy.db")
    assert names(tmp_path) == {"ledger.db", "ledger.db.lock"}


def test_what_only_the_wal_holds_goes_aside_too(ledger: Path) -> None:
    copy = ledger.with_name("copy.db")
    back_up(ledger, copy)

    def killed_after_commits() -> None:
        store = open_store(ledger)
        commit(store, range(UNITS, UNITS + 5))
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_child(killed_after_commits) == signal.SIGKILL
    assert ledger.with_name("ledger.db-wal").stat().st_size > 0
    aside = put_in_place(stage(copy, ledger), ledger, stamp="1")
    assert aside is not None
    assert not ledger.with_name("ledger.db-wal").exists()
    assert units_in(aside) == UNITS + 5
    assert units_in(ledger) == UNITS


@pytest.mark.parametrize("damaged", [b"no database at all", b"", b"SQLite format 3\0" + b"cut off"])
def test_a_damaged_ledger_goes_aside_byte_for_byte_with_its_wal(ledger: Path, damaged: bytes) -> None:
    copy = ledger.with_name("copy.db")
    back_up(ledger, copy)
    ledger.write_bytes(damaged)
    ledger.with_name("ledger.db-wal").write_bytes(b"nor its log")
    aside = put_in_place(stage(copy, ledger), ledger, stamp="1")
    assert aside is not None
    assert aside.read_bytes() == damaged
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"nor its log"
    assert units_in(ledger) == UNITS


def test_a_reader_in_the_middle_of_the_wal_is_waited_for(ledger: Path) -> None:
    copy = ledger.with_name("copy.db")
    back_up(ledger, copy)
    reader = open_reader(ledger)
    with reader.snapshot():
        store = open_store(ledger)
        commit(store, range(UNITS, UNITS + 5))
        store.close()
        staged = stage(copy, ledger)
        with pytest.raises(StoreError, match="another program still reads it"):
            put_in_place(staged, ledger, stamp="1")
    reader.close()
    assert not list(ledger.parent.glob("*.before-restore-*"))
    assert units_in(ledger) == UNITS + 5
    put_in_place(staged, ledger, stamp="1")
    assert units_in(ledger) == UNITS


def test_a_kill_at_any_step_leaves_the_old_ledger_or_the_new_one(
    ledger: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = ledger.with_name("copy.db")
    back_up(ledger, copy)
    store = open_store(ledger)
    commit(store, range(UNITS, UNITS + 5))
    store.close()
    found: list[int] = []
    while True:
        folder = tmp_path_factory.mktemp("killed") / "ledger"
        shutil.copytree(ledger.parent, folder)
        ended = in_a_child(lambda: restored_until(len(found), folder))  # noqa: B023 - called at once
        found.append(units_in(folder / "ledger.db"))
        if ended == 0:
            break
        assert ended == signal.SIGKILL
        asides = [path for path in folder.glob("ledger.db.before-restore-*") if not path.name.endswith("-mark")]
        if found[-1] == UNITS:
            assert UNITS + 5 in {units_in(aside) for aside in asides}
        # The next one does what is left.
        put_in_place(stage(folder / "copy.db", folder / "ledger.db"), folder / "ledger.db", stamp="again")
        assert units_in(folder / "ledger.db") == UNITS
    assert len(found) > 6
    assert found == sorted(found, reverse=True)
    assert set(found[:-1]) == {UNITS + 5, UNITS}


def restored_until(steps: int, folder: Path) -> None:
    """Restore the folder's copy, in a child that is killed after so many of the steps that change what a name means."""
    left = [steps]

    def dying(call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return call(*args, **kwargs)

        return counted

    os.link, os.fsync = dying(os.link), dying(os.fsync)  # type: ignore[assignment]
    Path.replace, Path.unlink = dying(Path.replace), dying(Path.unlink)  # type: ignore[method-assign, assignment]
    put_in_place(stage(folder / "copy.db", folder / "ledger.db"), folder / "ledger.db", stamp="killed")


def test_a_copy_of_another_programs_database_is_readable_as_such(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    staged = stage(other, tmp_path / "ledger.db")
    with pytest.raises(StoreError, match="none of a ledger"):
        open_reader(staged)
    (tmp_path / "text").write_text("not a database")
    for name, said in (("text", "no SQLite file"), ("nowhere", "cannot be read"), (".", "cannot be read")):
        with pytest.raises(BackupError, match=said):
            stage(tmp_path / name, tmp_path / "ledger.db")

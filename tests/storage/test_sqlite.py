"""The SQLite ledger under what happens to files: locks, full disks, rights, damage, a second owner."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitor.core.entry import Head
from monitor.core.fact import Claim
from monitor.core.run import Outcome, Run, SourceKey
from monitor.core.span import Span
from monitor.storage import StoreError, StoreOwnedError, Unit
from monitor.storage.owner import OwnerLock, lock_path, owner_of
from monitor.storage.sqlite import open_reader, open_store
from monitor.storage.writing import SqlStore

LOGIN = SourceKey("portal", "login", "jkt-1")
ALL = Span(-(2**60), 2**60)
NOBODY = 65534


def unit(*starts_us: int, message: str = "") -> Unit:
    runs = [Run(**LOGIN._asdict(), start_us=at, outcome=Outcome.PASS, message=message) for at in starts_us]
    return Unit(recorded_at_us=1, runs=runs)


def held(store: SqlStore) -> list[int]:
    return [run.start_us for run in store.runs(LOGIN, ALL)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    opened = open_store(path, busy_timeout_ms=50)
    yield opened
    opened.close()


def pragma(store: SqlStore, name: str) -> dict[str, object]:
    found = {}
    for kind, engine in (("writer", store._writer), ("reader", store._engine)):
        with engine.connect() as connection:
            found[kind] = connection.exec_driver_sql(f"PRAGMA {name}").scalar()
    return found


def test_how_durable_and_how_separate_the_connections_are(store: SqlStore) -> None:
    assert pragma(store, "journal_mode") == {"writer": "wal", "reader": "wal"}
    assert pragma(store, "synchronous")["writer"] == 2  # FULL
    assert pragma(store, "query_only") == {"writer": 0, "reader": 1}
    assert pragma(store, "wal_autocheckpoint") == {"writer": 1000, "reader": 0}
    assert pragma(store, "mmap_size") == {"writer": 0, "reader": 0}
    assert pragma(store, "busy_timeout") == {"writer": 50, "reader": 50}
    assert store.engine_name == f"SQLite {sqlite3.sqlite_version}"


def test_a_reader_can_neither_write_nor_checkpoint(store: SqlStore, path: Path) -> None:
    store.commit(unit(*range(1000), message="x" * 200))
    wal = path.with_name("ledger.db-wal")
    before = wal.stat().st_size
    with store._engine.connect() as connection:
        with pytest.raises(Exception, match="readonly database"):
            connection.exec_driver_sql("DELETE FROM runs")
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA query_only = OFF")
        with pytest.raises(sqlite3.OperationalError, match="readonly database"):
            raw.execute("DELETE FROM runs")
        raw.rollback()
        with pytest.raises(sqlite3.OperationalError, match=r"readonly|disk I/O error"):
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert wal.stat().st_size == before


def test_the_last_reader_to_leave_touches_nothing(path: Path) -> None:
    store = open_store(path)
    store.commit(unit(1))
    reader = open_reader(path)
    store.close()
    wal = path.with_name("ledger.db-wal")
    content = path.read_bytes(), wal.read_bytes()
    reader.close()
    assert (path.read_bytes(), wal.read_bytes()) == content


def test_the_log_is_cut_back_by_the_writer_alone(store: SqlStore, path: Path) -> None:
    for n in range(60):
        store.commit(unit(*range(n * 500, n * 500 + 500), message="x" * 300))
    assert path.stat().st_size > 5_000_000
    assert path.with_name("ledger.db-wal").stat().st_size < 12_000_000


def test_missing_folders_are_made(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a" / "b" / "ledger.db")
    assert store.head() == Head()
    store.close()
    assert not (tmp_path / "a" / "b" / "ledger.db-wal").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"open .*ledger.db: its folder .*file/x cannot be made: Not a directory"):
        open_store(tmp_path / "file" / "x" / "ledger.db")


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(StoreError, match="it cannot be opened") as refused:
        open_store(tmp_path / "ledger.db")
    assert "SQLITE_CANTOPEN" in refused.value.cause
    assert owner_of(tmp_path / "ledger.db") is None


def test_a_reader_finds_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no ledger") as refused:
        open_reader(tmp_path / "ledger.db")
    assert not (tmp_path / "ledger.db").exists()
    assert "--store" in refused.value.hint
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreError, match="there is no ledger yet"):
        open_reader(tmp_path / "empty.db")


def test_a_file_of_another_kind_is_refused_unchanged(path: Path) -> None:
    path.write_text("the quick brown fox jumps over the lazy dog; " * 100)
    before = path.read_bytes()
    for opening in (open_store, open_reader):
        with pytest.raises(StoreError, match="the file is no SQLite database"):
            opening(path)
    assert path.read_bytes() == before


def test_a_second_owner_in_this_process_is_refused_naming_the_first(store: SqlStore, path: Path) -> None:
    with pytest.raises(StoreOwnedError, match=f"owned by pid {os.getpid()} on ") as refused:
        open_store(path)
    assert refused.value.owner == owner_of(path)
    assert held(store) == []


def test_a_second_owner_in_another_process_is_refused_and_may_read(store: SqlStore, path: Path) -> None:
    store.commit(unit(1))
    program = (
        "import sys; from pathlib import Path; from monitor.storage import StoreOwnedError\n"
        "from monitor.storage.sqlite import open_reader, open_store\n"
        "print(open_reader(Path(sys.argv[1])).counts().runs)\n"
        "try: open_store(Path(sys.argv[1]))\n"
        "except StoreOwnedError as error: print(error.owner)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=root, check=True)
    assert done.stdout.splitlines() == ["1", owner_of(path)]


def test_the_owner_lets_go(path: Path) -> None:
    assert owner_of(path) is None
    store = open_store(path)
    assert owner_of(path) == lock_path(path).read_text().strip()
    store.close()
    assert owner_of(path) is None
    assert lock_path(path).read_text() == ""
    again = open_store(path)
    again.close()


def test_an_owner_that_has_not_written_its_name_yet_is_still_one(path: Path) -> None:
    lock = OwnerLock(path)
    lock_path(path).write_text("")
    assert owner_of(path) == "another process"
    lock.release()


def test_a_foreign_lock_delays_and_loses_nothing(store: SqlStore, path: Path) -> None:
    store.commit(unit(1))
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"commit to .*ledger\.db: locked by another program") as refused:
            store.commit(unit(2))
        assert "tried again" in refused.value.hint
    assert held(store) == [1]
    foreign.execute("ROLLBACK")
    foreign.close()
    assert len(store.commit(unit(1, 2)).fresh) == 1
    assert held(store) == [1, 2]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_at_the_limit_of_a_files_size_nothing_is_acknowledged_and_the_same_store_recovers(store: SqlStore) -> None:
    acknowledged: list[int] = []
    refused = 0
    with file_size_limit(1_000_000):
        for n in range(100):
            try:
                store.commit(unit(n, message="x" * 40_000))
            except StoreError as error:
                refused += 1
                assert "SQLITE_IOERR" in error.cause  # noqa: PT017 - counted as well
                assert "limit on file size" in error.hint  # noqa: PT017
            else:
                acknowledged.append(n)
        assert refused
        assert held(store) == acknowledged
    assert store.commit(unit(100)).fresh
    assert held(store) == [*acknowledged, 100]


def test_on_a_full_disk_nothing_is_acknowledged_and_the_same_store_recovers(store: SqlStore) -> None:
    store.commit(unit(0))
    with store._writer.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 40")
    acknowledged = [0]
    with pytest.raises(StoreError, match="the disk is full") as refused:  # noqa: PT012 - one of many fails
        for n in range(1, 1000):
            store.commit(unit(n, message="x" * 4000))
            acknowledged.append(n)
    assert "free space" in refused.value.hint
    assert held(store) == acknowledged
    with store._writer.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    store.commit(unit(9999))
    assert held(store) == [*acknowledged, 9999]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Rights bind everybody but root: tests that run as root step down for the moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that everybody may read and nobody may write, with a ledger in it."""
    folder = Path(tempfile.mkdtemp(prefix="jaga-closed-"))
    store = open_store(folder / "ledger.db")
    store.commit(unit(1))
    store.close()
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_without_the_right_to_write_is_told(closed_folder: Path) -> None:
    with as_nobody():
        with pytest.raises(StoreError, match="lock beside it cannot be made: Permission denied") as refused:
            open_store(closed_folder / "ledger.db")
        assert "right to write its folder" in refused.value.hint
        with pytest.raises(StoreError, match="lock beside it cannot be made: Permission denied"):
            open_store(closed_folder / "new.db")
        with pytest.raises(StoreError, match="cannot be made: Permission denied"):
            open_store(closed_folder / "new" / "ledger.db")


def test_a_file_without_the_right_to_write_is_told(closed_folder: Path) -> None:
    closed_folder.chmod(0o777)
    lock_path(closed_folder / "ledger.db").chmod(0o666)
    with as_nobody(), pytest.raises(StoreError, match="it may only be read"):
        open_store(closed_folder / "ledger.db")


def test_damage_is_found_and_named(store: SqlStore, path: Path) -> None:
    for n in range(20):
        store.commit(unit(*range(n * 100, n * 100 + 100), message="x" * 100))
    with store._writer.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    with path.open("r+b") as file:
        for page in range(3, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)
    again = open_store(path)
    with pytest.raises(StoreError, match="the file is damaged") as refused:
        list(again.runs(LOGIN, ALL))
    assert "nothing is repaired in silence" in refused.value.hint
    again.close()


def test_a_file_system_without_shared_memory_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoWal(sqlite3.Connection):
        """A file system without shared memory keeps the journal it has."""

        def execute(self, statement: str, *rest: object) -> sqlite3.Cursor:
            wanted = "PRAGMA journal_mode = WAL"
            return super().execute("PRAGMA journal_mode = DELETE" if statement == wanted else statement, *rest)  # type: ignore[arg-type]

    connect = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda *given, **more: connect(*given, factory=NoWal, **more))
    with pytest.raises(StoreError, match=r"allows no write-ahead log \(journal mode delete\)") as refused:
        open_store(path)
    assert "local disk" in refused.value.hint


def test_a_commit_costs_no_select_for_each_run(store: SqlStore) -> None:
    seen: list[str] = []
    store.commit(unit(*range(10)))
    with store._writer.connect() as connection:
        raw = connection.connection.driver_connection
    assert raw is not None
    raw.set_trace_callback(seen.append)
    store.commit(unit(*range(10, 60)))
    raw.set_trace_callback(None)
    # Deferred, a foreign write between our first read and our first write would fail us at once, time-out or not.
    assert (seen[0], seen[-1]) == ("BEGIN IMMEDIATE", "COMMIT")
    assert sum(statement.startswith("INSERT INTO runs") for statement in seen) == 50
    assert len([statement for statement in seen if not statement.startswith("INSERT INTO runs")]) <= 4


def test_a_repetition_is_looked_up_by_the_index(store: SqlStore) -> None:
    store.commit(unit(*range(100)))
    seen: list[str] = []
    with store._writer.connect() as connection:
        raw = connection.connection.driver_connection
    assert raw is not None
    raw.set_trace_callback(seen.append)
    store.commit(unit(*range(50, 150)))
    raw.set_trace_callback(None)
    (look_up,) = (statement for statement in seen if "wanted" in statement)
    plan = [row[3] for row in raw.execute("EXPLAIN QUERY PLAN " + look_up)]
    assert any("SEARCH runs USING INDEX" in step and "source=? AND start_us=?" in step for step in plan)


def test_a_closed_store_does_nothing_more(path: Path) -> None:
    store = open_store(path)
    store.close()
    store.close()
    for use in (lambda: store.commit(unit(1)), lambda: store.rewrite_spans(LOGIN, ()), store.head):
        with pytest.raises(AssertionError, match="the store was closed"):
            use()
    with pytest.raises(AssertionError, match="the store was closed"), store.snapshot():
        pass


def test_a_claim_is_sealed_on_reopening_after_the_last(path: Path) -> None:
    claim = Claim(partner="acme", service="portal", month="2026-04", at_us=1)
    hashes = []
    for _ in range(3):
        store = open_store(path)
        hashes.append(store.commit(Unit(recorded_at_us=5, facts=(claim,))).head)
        store.close()
    assert [head.seq for head in hashes] == [1, 2, 3]
    assert [head.recorded_at_us for head in hashes] == [5, 6, 7]

"""An older ledger is brought up to date at start: step by step, with a copy before, whole after any kill."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect

from monitor.core.instant import DAY_US, HOUR_US
from monitor.core.run import Outcome
from monitor.core.span import Span
from monitor.ledger.verify import verify
from monitor.storage import Store, StoreError, Unit
from monitor.storage.opening import open_reader, open_store
from monitor.storage.schema import SCHEMA_VERSION
from monitor.storage.setup import STEPS, migrate
from monitor.storage.sqlite import copy_path
from tests.conformance.storage.worlds import ALL, CHECKS, SOURCES, commit, history
from tests.ledger.sealing import cool_all, seal

RUNS = history(1, 2)


def as_version_2(store: Store) -> None:
    """The store's tables before bodies were packed, each back in its row."""
    with store._writer.begin() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql(
            "UPDATE segments SET body = (SELECT substr(packs.data, body_at + 1, body_size) FROM packs"
            " WHERE packs.id = segments.pack) WHERE pack IS NOT NULL"
        )
        for column in ("pack", "body_at", "body_size"):
            connection.exec_driver_sql(f"ALTER TABLE segments DROP COLUMN {column}")
        connection.exec_driver_sql("DROP TABLE packs")
        connection.exec_driver_sql("UPDATE ledger SET schema_version = 2")


def as_version_1(store: Store) -> None:
    """The store's tables as the first release made them."""
    with store._writer.begin() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql("DROP TABLE segments")
        connection.exec_driver_sql("DROP TABLE packs")
        connection.exec_driver_sql("ALTER TABLE ledger DROP COLUMN cold_until_us")
        for table in ("ledger", "entries", "sources", "runs", "contested", "stated", "spans", "marks"):
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN crc")
        connection.exec_driver_sql("UPDATE ledger SET schema_version = 1")


@pytest.fixture
def old_url(store_url: str) -> str:
    """The address of a ledger of the first release, with something in it."""
    store = open_store(store_url, base=Path("/"))
    store.commit(Unit(recorded_at_us=RUNS[-1].start_us, facts=CHECKS))
    commit(store, RUNS, RUNS[-1].start_us)
    as_version_1(store)
    store.close()
    return store_url


def columns(store: Store) -> dict[str, set[str]]:
    with store._writer.connect() as connection:  # type: ignore[attr-defined]
        found = inspect(connection)
        return {table: {column["name"] for column in found.get_columns(table)} for table in found.get_table_names()}


def test_a_migrated_ledger_is_as_a_new_one_and_holds_what_it_held(old_url: str, make_store: object) -> None:
    store = open_store(old_url, base=Path("/"))
    new = make_store("new")  # type: ignore[operator]
    assert columns(store) == columns(new)
    new.close()
    assert store.counts().schema == SCHEMA_VERSION
    assert verify(store).holds
    held = [run for source in SOURCES for run in store.runs(source, ALL)]
    assert sorted(held, key=lambda run: run.key) == sorted(RUNS, key=lambda run: run.key)
    again = store.commit(Unit(recorded_at_us=RUNS[-1].start_us, runs=RUNS))
    assert (again.fresh, again.contested) == ((), ())
    store.close()


def test_a_reader_leaves_an_older_ledger_alone_and_says_what_to_do(old_url: str) -> None:
    with pytest.raises(StoreError, match="schema is version 1, this program needs") as refused:
        open_reader(old_url, base=Path("/"))
    assert "start the daemon once" in refused.value.hint


def test_the_ledger_before_the_migration_is_kept(old_url: str, tmp_path: Path) -> None:
    open_store(old_url, base=Path("/")).close()
    if not old_url.startswith("sqlite"):
        return  # the server's operator keeps copies: the log says so before the step
    with sqlite3.connect(copy_path(tmp_path / "ledger.db", 1)) as copy:
        assert copy.execute("SELECT schema_version FROM ledger").fetchone() == (1,)
        assert copy.execute("SELECT count(*) FROM runs").fetchone() == (len(RUNS),)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()


def test_a_step_that_fails_leaves_the_version_before(old_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(connection: Connection) -> None:
        STEPS[2](connection)
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr("monitor.storage.setup.STEPS", {2: fails})
        with pytest.raises(RuntimeError, match="in the middle"):
            open_store(old_url, base=Path("/"))
    with pytest.raises(StoreError, match="schema is version 1"):
        open_reader(old_url, base=Path("/"))
    store = open_store(old_url, base=Path("/"))
    assert store.counts().runs == len(RUNS)
    store.close()


def test_steps_are_taken_in_order_each_after_its_copy(tmp_path: Path) -> None:
    open_store("sqlite:///ledger.db", base=tmp_path).close()
    engine = create_engine(f"sqlite:///{tmp_path}/ledger.db")
    done: list[str] = []

    def step(version: int) -> object:
        return lambda _connection: done.append(f"step {version}")

    def copy(version: int) -> str:
        done.append(f"copy of {version}")
        return "here"

    first, second = SCHEMA_VERSION + 1, SCHEMA_VERSION + 2
    later = {version: step(version) for version in (first, second)}
    migrate(engine, "x", copy=copy, lock=lambda _: None, steps=later, newest=second)  # type: ignore[arg-type]
    assert done == [f"copy of {SCHEMA_VERSION}", f"step {first}", f"copy of {first}", f"step {second}"]
    engine.dispose()
    with pytest.raises(StoreError, match=f"schema is version {second}, this program knows up to {SCHEMA_VERSION}"):
        open_store("sqlite:///ledger.db", base=tmp_path)


def test_segments_whose_bodies_stand_in_their_rows_are_read_beside_packed_ones(store_url: str) -> None:
    """What an earlier version sealed stays as it is; what is sealed from then on is packed."""
    store = open_store(store_url, base=Path("/"))
    store.commit(Unit(recorded_at_us=RUNS[-1].start_us, facts=CHECKS))
    commit(store, RUNS, RUNS[-1].start_us)
    seal(store, RUNS[-1].start_us + HOUR_US)
    before = list(store.segments())
    as_version_2(store)
    store.close()
    store = open_store(store_url, base=Path("/"))
    assert list(store.segments()) == before
    later = [replace(run, start_us=run.start_us + DAY_US, slot_us=None) for run in RUNS]
    commit(store, later, later[-1].start_us)
    seal(store, later[-1].start_us + HOUR_US)
    cool_all(store, later[-1].start_us + 5 * DAY_US)
    assert verify(store).holds
    held = [run for source in SOURCES for run in store.runs(source, ALL)]
    assert sorted(held, key=lambda run: run.key) == sorted([*RUNS, *later], key=lambda run: run.key)
    assert list(store.segments())[: len(before)] == [replace(one, hot=False) for one in before]
    store.close()


# Opens the ledger with a step that says when it is in the middle of its transaction, and goes no further.
STALLS = """
import sys
from pathlib import Path
from monitor.storage import setup
from monitor.storage.opening import open_store

whole = setup.STEPS[2]

def stalls(connection):
    whole(connection)
    connection.exec_driver_sql("INSERT INTO marks (name, value, recorded_at_us) VALUES ('half', '1', 0)")
    print("in the middle", flush=True)
    sys.stdin.read()

setup.STEPS = {2: stalls}
open_store(sys.argv[1], base=Path("/"))
"""


def test_a_kill_in_the_middle_leaves_the_ledger_as_it_was(old_url: str) -> None:
    command = [sys.executable, "-c", STALLS, old_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()) as process:
        assert process.stdout is not None
        said = b""
        for line in process.stdout:
            said = line
            if b"in the middle" in line:
                break
        process.send_signal(signal.SIGKILL)
        assert process.wait(120) == -signal.SIGKILL
    assert said == b"in the middle\n"
    store = open_store(old_url, base=Path("/"))
    assert store.counts().schema == SCHEMA_VERSION
    assert store.mark("half") is None
    assert store.counts().runs == len(RUNS)
    within = Span(RUNS[0].start_us, RUNS[0].start_us + 1)
    assert list(store.runs(RUNS[0].source, within)) == [RUNS[0]]
    assert Outcome.PASS in {run.outcome for run in RUNS}
    store.close()


def test_a_copy_that_cannot_be_made_stops_the_migration(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = open_store(url, base=Path("/"))
    as_version_1(store)
    store.close()
    copy_path(tmp_path / "ledger.db", 1).with_name("ledger.db.schema-1.partial").mkdir()
    with pytest.raises(StoreError, match="no copy of it can be made"):
        open_store(url, base=Path("/"))
    with pytest.raises(StoreError, match="schema is version 1"):
        open_reader(url, base=Path("/"))

"""Restoring: verified first, nothing lost without a word, and what was given up stands in the restored ledger."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from monitor.core.fact import Claim, Fact, LossAccepted
from monitor.core.run import Origin, Outcome, Run
from monitor.ledger.restoring import Restoration, RestoreRefusedError, Wish, restore
from monitor.ledger.verify import verify
from monitor.storage import StoreError, StoreOwnedError, Unit
from monitor.storage.backup import BackupError, back_up_as_owner
from monitor.storage.schema import SCHEMA_VERSION
from monitor.storage.sqlite import open_reader, open_store
from tests.core.examples import at

NOW_US = at("2026-05-01T00:00:00")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three claims and ten runs."""
    path = tmp_path / "ledger" / "ledger.db"
    put(path, [claim(n) for n in range(3)], runs=range(10))
    return path


@pytest.fixture
def kept(ledger: Path, tmp_path: Path) -> Path:
    """Its backup."""
    path = tmp_path / "kept.db"
    back_up_as_owner(ledger, path)
    return path


def claim(n: int) -> Claim:
    return Claim(partner="acme", service="portal", month=f"2026-{n + 1:02}", at_us=NOW_US + n)


def put(path: Path, facts: Sequence[Fact] = (), *, runs: range = range(0), origin: Origin = Origin.OWN) -> None:
    store = open_store(path)
    made = [
        Run(service="portal", check="login", location="jkt-1", start_us=n, outcome=Outcome.PASS, origin=origin)
        for n in runs
    ]
    store.commit(Unit(recorded_at_us=NOW_US, facts=facts, runs=made, origin=origin))
    store.close()


def restored(kept: Path, ledger: Path, *, accept_loss: bool = False, note: str | None = None) -> Restoration:
    wish = Wish(backup=kept, by="sari", now_us=NOW_US + 10**9, accept_loss=accept_loss, note=note)
    return restore(wish, ledger)


def refused(kept: Path, ledger: Path, kind: type[Exception] = RestoreRefusedError) -> str:
    """Why it is refused; nothing was changed."""
    before = content(ledger.parent)
    with pytest.raises(kind) as error:
        restored(kept, ledger)
    assert content(ledger.parent) == before
    return str(error.value)


def content(folder: Path) -> dict[str, bytes]:
    """What is in the folder, but for the index of a WAL and the lock, which say nothing."""
    if not folder.exists():
        return {}
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith(("-shm", ".lock")) and path.stat().st_size
    }


def state(path: Path) -> tuple[int, str, int, list[Fact]]:
    reader = open_reader(path)
    try:
        assert verify(reader).holds
        facts = [entry.fact for entry in reader.entries()]
        return reader.head().seq, reader.head().hash, reader.counts().runs, facts
    finally:
        reader.close()


def test_into_an_empty_place(kept: Path, ledger: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "new" / "ledger.db"
    elsewhere.parent.mkdir()
    done = restored(kept, elsewhere)
    assert (done.aside, done.loss) == (None, None)
    assert state(elsewhere) == state(ledger)
    assert {path.name for path in elsewhere.parent.iterdir()} - {"ledger.db-wal", "ledger.db-shm"} == {
        "ledger.db",
        "ledger.db.lock",
    }
    put(elsewhere, [claim(3)])  # the daemon goes on with it


def test_over_an_older_or_the_same_one_nothing_is_lost(kept: Path, ledger: Path, tmp_path: Path) -> None:
    older = tmp_path / "older" / "ledger.db"
    put(older, [claim(0)], runs=range(4))
    for present in (older, ledger):
        before = state(present)
        done = restored(kept, present)
        assert done.loss is None
        assert done.aside is not None
        assert state(done.aside) == before
        assert state(present) == state(kept)


def test_a_ledger_that_is_ahead_is_not_lost_without_a_word(kept: Path, ledger: Path) -> None:
    put(ledger, [claim(3), claim(4)], runs=range(10, 17))
    said = refused(kept, ledger)
    assert "holds 2 entries (2 claim) and 7 runs that the backup does not" in said
    assert "--accept-loss" in said


def test_runs_alone_are_a_loss(kept: Path, ledger: Path) -> None:
    put(ledger, runs=range(10, 17))
    assert "holds no entry and 7 runs" in refused(kept, ledger)


def test_what_is_given_up_is_an_entry_and_the_present_ledger_is_kept(kept: Path, ledger: Path) -> None:
    put(ledger, [claim(3), claim(4)], runs=range(10, 17))
    present, before = state(ledger), state(kept)
    done = restored(kept, ledger, accept_loss=True, note="the disk lied")
    seq, _, runs, facts = state(ledger)
    assert (seq, runs, facts[:-1]) == (before[0] + 1, 10, before[3])
    assert facts[-1] == LossAccepted(at_us=NOW_US + 10**9, entries=5, arrival=17, by="sari", note="the disk lied")
    assert done.aside is not None
    assert done.aside.name == "ledger.db.before-restore-20260430T171640Z"
    assert state(done.aside) == present
    assert state(kept) == before


def test_ledgers_that_went_different_ways_say_where(kept: Path, ledger: Path) -> None:
    put(ledger, [claim(3)], runs=range(10, 17))
    put(kept, [claim(7), claim(8)])
    said = refused(kept, ledger)
    assert "the two went different ways after entry 3; the present ledger holds 1 entry (1 claim)" in said
    restored(kept, ledger, accept_loss=True)
    last = state(ledger)[3][-1]
    assert isinstance(last, LossAccepted)
    assert (last.entries, last.arrival) == (4, 17)


def test_a_backup_that_is_ahead_loses_nothing(kept: Path, ledger: Path, tmp_path: Path) -> None:
    put(ledger, [claim(3)], runs=range(10, 17))
    newer = tmp_path / "newer.db"
    back_up_as_owner(ledger, newer)
    restored(kept, ledger, accept_loss=True)
    assert "after entry 3; the present ledger holds 1 entry (1 loss)" in refused(newer, ledger)
    ledger.unlink()
    shutil.copy(kept, ledger)  # by hand: the older file itself
    assert restored(newer, ledger).loss is None
    assert state(ledger)[0] == 4


def test_it_stays_the_daemons_file(kept: Path, ledger: Path, tmp_path: Path) -> None:
    ledger.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(ledger, 12345, 12346)
    owner = ledger.stat()
    restored(kept, ledger)
    now = ledger.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (owner.st_mode, owner.st_uid, owner.st_gid)


def test_two_restores_in_one_second_keep_both(kept: Path, ledger: Path) -> None:
    asides = {restored(kept, ledger).aside for _ in range(3)}
    assert len(asides) == 3
    assert all(aside is not None and aside.exists() for aside in asides)


def test_history_that_was_imported_can_be_imported_again(tmp_path: Path) -> None:
    """An entry of our own would make every later import dispute evidence, and nothing acknowledged was lost."""
    path, kept = tmp_path / "ledger.db", tmp_path / "kept.db"
    put(path, [claim(0)], origin=Origin.IMPORTED)
    back_up_as_owner(path, kept)
    put(path, [claim(1)], runs=range(5), origin=Origin.IMPORTED)
    with pytest.raises(RestoreRefusedError, match=r"1 entry \(1 claim\) and 5 runs"):
        restored(kept, path)
    assert restored(kept, path, accept_loss=True).loss is not None
    assert state(path)[3] == [claim(0)]
    reader = open_reader(path)
    assert reader.first_own_entry() is None
    reader.close()


def test_a_ledger_that_cannot_be_read_may_hold_more(kept: Path, ledger: Path) -> None:
    ledger.write_bytes(os.urandom(8192))
    assert "cannot be known" in refused(kept, ledger)
    content_before = ledger.read_bytes()
    done = restored(kept, ledger, accept_loss=True)
    assert done.aside is not None
    assert done.aside.read_bytes() == content_before
    last = state(ledger)[3][-1]
    assert isinstance(last, LossAccepted)
    assert (last.entries, last.arrival) == (3, 10)  # by the mark of its last commit


def newer_schema(kept: Path) -> None:
    change(kept, "UPDATE ledger SET schema_version = 99")


def changed_entry(kept: Path) -> None:
    change(kept, "UPDATE entries SET data = CAST(replace(data, 'acme', 'acne') AS BLOB) WHERE seq = 2")


def cut_tail(kept: Path) -> None:
    change(kept, "DELETE FROM entries WHERE seq = 3")


def no_ledger(kept: Path) -> None:
    change(kept, "DROP TABLE ledger")


def no_tables(kept: Path) -> None:
    kept.unlink()
    with sqlite3.connect(kept) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("DROP TABLE t")
    connection.close()


def no_row(kept: Path) -> None:
    change(kept, "DELETE FROM ledger")


def half(kept: Path) -> None:
    os.truncate(kept, kept.stat().st_size // 8192 * 4096)


def text(kept: Path) -> None:
    kept.write_text('{"type":"header","format":"jaga-ledger/1"}\n')


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (newer_schema, StoreError, f"its schema is version 99, this program knows up to {SCHEMA_VERSION} (upgrade"),
        (changed_entry, RestoreRefusedError, "does not verify and is not restored: entry 2: its bytes hash to"),
        (cut_tail, RestoreRefusedError, "its end was cut off"),
        (no_ledger, StoreError, "none of a ledger"),
        (no_tables, BackupError, "is an empty database, no backup"),
        (no_row, StoreError, "its ledger row is missing"),
        (half, (RestoreRefusedError, StoreError), "damaged"),
        (text, BackupError, "is no SQLite file, so no backup; jaga ledger import reads exports"),
    ],
)
def test_what_is_no_sound_backup_is_refused_and_named(
    kept: Path, ledger: Path, spoil: Callable[[Path], None], kind: type[Exception], said: str
) -> None:
    spoil(kept)
    told = refused(kept, ledger, kind)
    assert said in told
    assert str(kept) in told


def test_over_a_running_owner_it_is_refused(kept: Path, ledger: Path) -> None:
    store = open_store(ledger)
    with pytest.raises(StoreOwnedError, match=f"owned by pid {os.getpid()}"):
        restored(kept, ledger)
    store.close()
    assert not list(ledger.parent.glob("*.restoring*"))


def test_what_a_killed_restore_left_does_not_hinder_the_next(kept: Path, ledger: Path) -> None:
    for end in ("", "-wal", ".lock"):
        ledger.with_name(f"ledger.db.restoring{end}").write_bytes(b"half of it")
    assert restored(kept, ledger).loss is None
    assert not list(ledger.parent.glob("*.restoring*"))

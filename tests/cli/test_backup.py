"""`jaga backup` and `jaga restore`, without a daemon: what they say, and with which exit code."""

from __future__ import annotations

import getpass
import json
import sqlite3
from pathlib import Path

import pytest

from monitor.storage import opening
from tests.cli.conftest import Jaga


def snapshot(folder: Path) -> set[str]:
    """What is in a folder, but for the empty files that a reader leaves beside a ledger without an owner."""
    return {path.name for path in folder.iterdir()} - {"ledger.db-wal", "ledger.db-shm"}


def test_a_backup_is_verified_and_restores_where_there_is_nothing(ledger: Jaga, tmp_path: Path) -> None:
    said = ledger("backup", "kept.db")
    assert said.code == 0, said.err
    head = ledger("ledger", "stats", "--json").json()["head"]
    assert said.out.startswith(f"backed up to {tmp_path / 'kept.db'}: 1 entry, ")
    assert head in said.out
    said = ledger("restore", "kept.db", "--store", "sqlite:///other/ledger.db")
    assert (said.code, said.out) == (0, f"restored {tmp_path}/other/ledger.db: 1 entry, head {head}\n")


def test_json(ledger: Jaga, tmp_path: Path) -> None:
    backed_up = ledger("backup", "kept.db", "--json").json()
    assert backed_up["verified"] is True
    assert backed_up["size_bytes"] == (tmp_path / "kept.db").stat().st_size
    said = ledger("claim", "file", "acme", "2026-04", "--service", "portal", "--at", "2026-05-10T00:00:00+07:00")
    assert said.code == 0, said.err
    document = ledger("restore", "kept.db", "--json", "--accept-loss", "--note", "the wrong month").json()
    assert document["given_up"]["entries"] == {"claim": 1}
    assert Path(document["aside"]).is_file()


def test_a_path_that_exists_is_refused(ledger: Jaga, tmp_path: Path) -> None:
    (tmp_path / "kept.db").write_text("mine")
    said = ledger("backup", "kept.db")
    assert said.code == 2
    assert "is there already and is not overwritten: name another one" in said.err
    assert (tmp_path / "kept.db").read_text() == "mine"
    assert ledger("backup", "nowhere/kept.db").code == 2
    assert ledger("backup", "config").code == 2


def test_what_would_be_lost_is_said_and_given_up_only_by_name(ledger: Jaga, tmp_path: Path) -> None:
    assert ledger("backup", "kept.db").code == 0
    said = ledger("claim", "file", "acme", "2026-04", "--service", "portal", "--at", "2026-05-10T00:00:00+07:00")
    assert said.code == 0, said.err
    before = snapshot(tmp_path / "config")
    said = ledger("restore", "kept.db")
    assert said.code == 1
    assert "the present ledger holds 1 entry (1 claim) and 0 runs that the backup does not" in said.err
    assert "--accept-loss gives that up, and is recorded. Nothing was changed" in said.err
    assert snapshot(tmp_path / "config") == before
    assert ledger("restore", "kept.db", "--note", "why").code == 2
    said = ledger("restore", "kept.db", "--accept-loss", "--note", "filed by mistake")
    assert said.code == 0, said.err
    assert "given up: the present ledger holds 1 entry (1 claim)" in said.out
    assert "the ledger that was there is now " in said.out
    assert ledger("claim", "list", "--json").json() == []
    exported = [json.loads(line) for line in ledger("ledger", "export").out.splitlines()]
    (fact,) = [line for line in exported if line["type"] == "loss"]
    assert (fact["entries"], fact["note"], fact["by"]) == (2, "filed by mistake", getpass.getuser())
    assert ledger("ledger", "verify").code == 0


def test_a_backup_of_a_changed_chain_is_kept_and_said_to_be_none(ledger: Jaga, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "config" / "ledger.db") as connection:
        connection.execute("UPDATE entries SET data = CAST(data || ' ' AS BLOB) WHERE seq = 1")
    connection.close()
    said = ledger("backup", "kept.db")
    assert said.code == 1
    assert "does not verify" in said.err
    said = ledger("restore", "kept.db")
    assert said.code == 1
    assert "does not verify and is not restored: entry 1" in said.err


def test_a_ledger_of_a_newer_version_is_refused_with_the_remedy(ledger: Jaga, tmp_path: Path) -> None:
    assert ledger("backup", "kept.db").code == 0
    with sqlite3.connect(tmp_path / "kept.db") as connection:
        connection.execute("UPDATE ledger SET schema_version = 99")
    connection.close()
    before = (tmp_path / "config" / "ledger.db").read_bytes()
    said = ledger("restore", "kept.db")
    assert said.code == 3
    assert f"restore {tmp_path / 'kept.db'}: its schema is version 99" in said.err
    assert "upgrade the program; nothing was changed" in said.err
    assert (tmp_path / "config" / "ledger.db").read_bytes() == before


def test_without_a_ledger_there_is_nothing_to_back_up(jaga: Jaga, tmp_path: Path) -> None:
    said = jaga("backup", "kept.db")
    assert said.code == 3
    assert "there is no ledger" in said.err
    assert snapshot(tmp_path) == {"config"}
    assert snapshot(tmp_path / "config") == {"jaga.yaml"}


def test_an_owner_that_does_not_listen_is_named(ledger: Jaga, tmp_path: Path) -> None:
    assert ledger("backup", "kept.db").code == 0
    store = opening.open_store("sqlite:///ledger.db", base=tmp_path / "config")
    try:
        for asked in (("backup", "again.db"), ("restore", "kept.db")):
            said = ledger(*asked)
            assert said.code == 2
            assert "owned by pid" in said.err
    finally:
        store.close()
    assert not (tmp_path / "again.db").exists()


@pytest.mark.parametrize(("verb", "tool"), [("backup", "pg_dump"), ("restore", "pg_restore")])
def test_in_postgresql_the_servers_own_tool_is_named(jaga: Jaga, verb: str, tool: str) -> None:
    said = jaga(verb, "kept.db", "--store", "postgresql://jaga:rahasia@db.example.id/jaga")
    assert said.code == 2
    assert tool in said.err
    assert "rahasia" not in said.err

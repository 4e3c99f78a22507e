"""What lies beside the ledger goes with it: queued messages, attachments and personal data, by backup and by move."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest

from monitor.storage import OutboxRow, Unit, opening
from monitor.storage.beside import BesideFiles, packed
from tests.cli.conftest import Jaga

WHO = ("--partner", "acme", "--name", "Rina", "--email", "rina@example.id", "--phone", "+62 21 5550100")
OPEN = ("incident", "open", "portal", "--priority", "P1", "--summary", "orders fail", *WHO, "--actual", "error 500")
OTHER = ("--store", "sqlite:///other/ledger.db")


class Kept(NamedTuple):
    """A ledger with a report, its picture of more than one part, and a message that waits."""

    jaga: Jaga
    folder: Path
    reference: str
    picture: bytes
    message: OutboxRow

    def whole(self, folder: Path) -> bool:
        """Whether a folder holds what lies beside the ledger, and its ledger the message."""
        files = BesideFiles.of(folder / "ledger.db")
        kinds = [name.partition("/")[0] for name in files.names()]
        if kinds != ["attachments", "personal"]:
            return False
        attached, personal = (files.read(name) for name in files.names())
        reader = opening.open_reader("sqlite:///ledger.db", base=folder)
        try:
            waiting = reader.outbox(10)
        finally:
            reader.close()
        return attached == self.picture and b"rina@example.id" in (personal or b"") and self.message in waiting


@pytest.fixture
def kept(jaga: Jaga, tmp_path: Path) -> Kept:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20_000
    (tmp_path / "shot.png").write_bytes(picture)
    assert jaga(*OPEN, "--attach", tmp_path / "shot.png").code == 0
    message = OutboxRow(key="k-1", channel="mail", kind="notice", payload={"to": "rina@example.id"}, at_us=5)
    store = opening.open_store("sqlite:///ledger.db", base=tmp_path / "config")
    store.commit(Unit(recorded_at_us=6, outbox=[message]))
    store.close()
    reference = jaga("incident", "show", "i-1", "--json").json()["events"][0]["reporter"]
    return Kept(jaga, tmp_path / "config", reference, picture, message)


def test_a_backup_holds_it_and_a_restore_puts_it_back(kept: Kept, tmp_path: Path) -> None:
    assert kept.whole(kept.folder)
    said = kept.jaga("backup", "kept.db")
    assert said.code == 0, said.err
    assert said.out.splitlines()[1] == "with 1 attachment and the personal data of 1 person"
    said = kept.jaga("restore", "kept.db", *OTHER)
    assert said.code == 0, said.err
    assert "put beside it: 2 files" in said.out
    assert said.err == ""
    assert kept.whole(tmp_path / "other")
    assert "Rina" in kept.jaga("incident", "show", "i-1", *OTHER).out
    with sqlite3.connect(tmp_path / "other" / "ledger.db") as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert "beside" not in tables
    assert (tmp_path / "other" / "ledger.personal").stat().st_mode & 0o077 == 0


def test_what_is_there_already_stays_and_nothing_is_told_of_it(kept: Kept) -> None:
    assert kept.jaga("backup", "kept.db").code == 0
    said = kept.jaga("restore", "kept.db")
    assert said.code == 0, said.err
    assert "beside" not in said.out.replace("the ledger that was there", "")
    assert kept.whole(kept.folder)


@pytest.mark.parametrize("damaged", ["attachments", "ledger.personal"])
@pytest.mark.parametrize("left", [b"", b"something else"], ids=["cut", "changed"])
def test_what_is_damaged_beside_the_ledger_is_replaced_by_a_restore(kept: Kept, damaged: str, left: bytes) -> None:
    assert kept.jaga("backup", "kept.db").code == 0
    (file,) = (kept.folder / damaged).iterdir()
    file.write_bytes(left)
    assert not kept.whole(kept.folder)
    said = kept.jaga("restore", "kept.db")
    assert said.code == 0, said.err
    assert "put beside it: 1 file\n" in said.out
    assert kept.whole(kept.folder)
    assert len(list((kept.folder / damaged).iterdir())) == 1, "bytes that are not those of their name prove nothing"
    assert kept.jaga("ledger", "verify").code == 0


def test_personal_data_is_left_out_or_erased_in_a_backup_by_itself(kept: Kept, tmp_path: Path) -> None:
    said = kept.jaga("backup", "without.db", "--without-personal")
    assert said.code == 0
    assert f"not in it: {kept.reference.replace(':', '/')}, of which entry 1 speaks" in said.err
    assert b"rina@example.id" not in _but_for_messages(tmp_path / "without.db")
    assert kept.jaga("backup", "kept.db", "--json").json()["personal"] == 1
    assert b"rina@example.id" in _but_for_messages(tmp_path / "kept.db")
    assert kept.jaga("backup", "kept.db", "--erase", kept.reference).out.startswith(f"erased {kept.reference}")
    assert b"rina@example.id" not in _but_for_messages(tmp_path / "kept.db")
    assert [name.partition("/")[0] for name, _ in packed(tmp_path / "kept.db")] == ["attachments"]
    assert kept.jaga("backup", "kept.db", "--erase", kept.reference).code == 1
    assert kept.jaga("backup", "kept.db", "--erase", "Rina").code == 2
    said = kept.jaga("restore", "kept.db", *OTHER)
    assert said.code == 0
    assert f"not beside it: {kept.reference.replace(':', '/')}, of which entry 1 speaks" in said.err
    assert (
        f"{kept.reference} is gone, and no entry says that it was erased" in kept.jaga("ledger", "verify", *OTHER).out
    )
    assert kept.jaga("ledger", "erase", kept.reference, *OTHER).code == 0
    assert kept.jaga("ledger", "verify", *OTHER).code == 0


def _but_for_messages(backup: Path) -> bytes:
    """The bytes of a backup from which its queued messages were taken."""
    with sqlite3.connect(backup) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("DELETE FROM outbox")
    connection.execute("VACUUM")
    connection.close()
    return backup.read_bytes()


def test_what_was_erased_since_a_backup_stays_erased_when_it_is_restored(kept: Kept) -> None:
    assert kept.jaga("backup", "kept.db").code == 0
    assert kept.jaga("ledger", "erase", kept.reference).code == 0
    assert kept.jaga("restore", "kept.db").code == 1, "the erasure is an entry that would be lost"
    said = kept.jaga("restore", "kept.db", "--accept-loss", "--note", "a drill")
    assert said.code == 0, said.err
    assert [name.partition("/")[0] for name in BesideFiles.of(kept.folder / "ledger.db").names()] == ["attachments"]
    assert "Rina" not in kept.jaga("incident", "show", "i-1").out
    entries = [json.loads(line) for line in kept.jaga("ledger", "export").out.splitlines()]
    (again,) = [line for line in entries if line["type"] == "erasure"]
    assert (again["of"], again["note"]) == (kept.reference, "erased before; a backup from before that was restored")
    assert kept.jaga("ledger", "verify").code == 0


def test_a_file_that_was_changed_in_a_backup_is_told_and_not_restored(kept: Kept, tmp_path: Path) -> None:
    assert kept.jaga("backup", "kept.db").code == 0
    with sqlite3.connect(tmp_path / "kept.db") as connection:
        connection.execute("UPDATE beside SET data = CAST('x' AS BLOB) WHERE name LIKE 'attachments/%'")
    connection.close()
    said = kept.jaga("restore", "kept.db", *OTHER)
    assert said.code == 1
    assert "is not what its name says: it was changed" in said.err
    assert not (tmp_path / "other" / "ledger.db").exists()


def test_a_damaged_attachment_is_told_by_the_backup(kept: Kept) -> None:
    (file,) = (kept.folder / "attachments").iterdir()
    file.write_bytes(b"something else")
    said = kept.jaga("backup", "kept.db")
    assert said.code == 1
    assert "a file in it is damaged, as it is beside the ledger: attachments/" in said.err


def test_a_move_takes_it_along_only_where_it_was_asked_for(kept: Kept, tmp_path: Path) -> None:
    plain = kept.jaga("ledger", "export").out
    assert "rina@example.id" not in plain
    assert kept.jaga("ledger", "export", "all.jsonl", "--everything").code == 0
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_bytes().splitlines()]
    messages = [line for line in lines if line["type"] == "message"]
    assert {"key": "k-1", "payload": kept.message.payload}.items() <= messages[-1].items()
    assert len(_files(lines)) == 3, "the picture is in two parts"
    assert lines[-1]["more"] == len(messages) + 3
    said = kept.jaga("ledger", "import", "--move", "all.jsonl", *OTHER)
    assert said.code == 0, said.err
    assert f"and {len(messages)} waiting messages, 2 files beside the ledger" in said.out
    assert kept.whole(tmp_path / "other")
    assert kept.jaga("ledger", "export", "--everything", "--partner", "acme").code == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda lines: lines.remove(_files(lines)[0]), "does not follow what stands before it"),
        (lambda lines: _files(lines)[2].update(data="AAAA"), "is not what its name says: it was changed"),
        (lambda lines: lines.remove(_of(lines, "message")), ": lines are missing"),
        (lambda lines: _of(lines, "message").update(payload=1), 'a message has "key", "channel"'),
    ],
)
def test_a_move_refuses_what_was_changed_on_the_way(change, why: str, kept: Kept, tmp_path: Path) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    assert kept.jaga("ledger", "export", "all.jsonl", "--everything").code == 0
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_bytes().splitlines()]
    change(lines)
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = kept.jaga("ledger", "import", "--move", "all.jsonl", *OTHER)
    assert said.code == 2
    assert why in said.err
    assert kept.jaga("ledger", "stats", "--json", *OTHER).json()["entries"] == 0


def _of(lines: list[dict[str, object]], kind: str) -> dict[str, object]:
    return next(line for line in lines if line["type"] == kind)


def _files(lines: list[dict[str, object]]) -> list[dict[str, object]]:
    return [line for line in lines if line["type"] == "file"]

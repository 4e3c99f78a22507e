"""The signing key: real Ed25519, published notes, a file that nobody else may read and nothing overwrites."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from monitor.core.checkpoint import read_note, read_public_key
from monitor.sealing.keys import KeyFileError, checks, make_key, read_key, write_key
from tests.core.test_checkpoint import PETER, POEM


def test_a_published_signature_is_right_and_its_neighbours_are_not() -> None:
    key, note = read_public_key(PETER), read_note(POEM)
    assert note.signed_by(key, checks)
    assert not read_note(POEM.replace("answer", "Answer")).signed_by(key, checks)
    assert not read_note(POEM.replace("ZJkuBS", "ZJkuBT")).signed_by(key, checks)
    assert not checks(b"short", b"", b"")


def test_what_is_signed_is_signed_by_this_key_alone() -> None:
    key, other = make_key("jaga/test"), make_key("jaga/test")
    note = read_note(str(key.sign("one\n\ntwo\n")))
    assert note.text == "one\n\ntwo\n"
    assert note.signed_by(key.public, checks)
    assert not note.signed_by(other.public, checks)


def test_a_key_is_kept_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    key, file = make_key("jaga/test"), tmp_path / "var" / "ledger.key"
    write_key(key, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["ledger.key"]
    found = read_key(file)
    assert found is not None
    assert found.public == key.public
    assert read_note(str(found.sign("x\n"))).signed_by(key.public, checks)


def test_the_secret_is_in_no_text_of_the_key(tmp_path: Path) -> None:
    key, file = make_key("jaga/test"), tmp_path / "ledger.key"
    write_key(key, file)
    secret = file.read_text().strip().split("+", 4)[4]
    assert secret[4:] not in repr(key) + str(key.public)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "ledger.key"
    write_key(make_key("jaga/test"), file)
    before = file.read_bytes()
    with pytest.raises(KeyFileError, match="there is one already"):
        write_key(make_key("jaga/test"), file)
    assert file.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["ledger.key"]


def test_no_file_is_no_key(tmp_path: Path) -> None:
    assert read_key(tmp_path / "ledger.key") is None


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ledger.key"
    write_key(make_key("jaga/test"), file)
    file.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"mode 0640.*rotate"):
        read_key(file)


@pytest.mark.parametrize("damage", ["cut", "kind", "id", "seed", "other"])
def test_a_damaged_key_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "ledger.key"
    write_key(make_key("jaga/test"), file)
    text = file.read_text()
    place = text.index("test+") + 5
    id_changed = text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :]
    damaged = {
        "cut": text[:-1],
        "kind": text.replace("+A", "+B", 1) if "+A" in text else text,
        "id": id_changed,
        "seed": text[:-4] + "\n",
        "other": "-----BEGIN KEY-----\n",
    }[damage]
    file.write_text(damaged)
    with pytest.raises(KeyFileError, match="it is no key"):
        read_key(file)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match=r"sealing\.key"):
        write_key(make_key("jaga/test"), tmp_path / "file" / "ledger.key")
    with pytest.raises(KeyFileError, match="read the key"):
        read_key(tmp_path / "file" / "ledger.key")

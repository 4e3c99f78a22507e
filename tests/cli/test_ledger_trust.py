"""The record as verbs verify and sign it: keys, checkpoints kept elsewhere, a backup that was put back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from monitor.core.checkpoint import read_public_key
from monitor.sealing.checkpoints import Sealer, first_key, place_of
from monitor.sealing.keys import make_key
from monitor.storage.opening import personal_files
from monitor.storage.sqlite import open_store
from tests.cli.conftest import Jaga
from tests.sealing.ledgers import seal

ANNOUNCE = (
    "maintenance", "announce", "portal", "--start", "2099-01-01T00:00:00+07:00", "--end", "2099-01-01T01:00:00+07:00",
    "--summary", "upgrade",
)  # fmt: skip


@pytest.fixture
def signed(ledger: Jaga, tmp_path: Path) -> tuple[Jaga, str, Path]:
    """The verbs over a ledger with a key and a checkpoint; the first public line, and the checkpoint as it was kept."""
    assert ledger("ledger", "key").code == 1
    key = first_key(place_of("sqlite:///ledger.db", base=tmp_path / "config"))
    assert ledger("ledger", "key").out == f"{key.public}\n"
    assert ledger("ledger", "key", "--rotate", "--note", "a new year").code == 0
    kept = tmp_path / "october.txt"
    shutil.copy(tmp_path / "config" / "ledger.checkpoint", kept)
    return ledger, str(key.public), kept


def test_a_rotated_key_is_the_one_that_is_printed_and_the_old_one_still_vouches(signed: tuple[Jaga, str, Path]) -> None:
    jaga, first, kept = signed
    line = jaga("ledger", "key").out.strip()
    assert line != first
    assert read_public_key(line).name == read_public_key(first).name
    for key in (first, line):
        said = jaga("ledger", "verify", "--key", key, "--checkpoint", kept)
        assert said.code == 0, said.err
        assert "Signed checkpoints in it: 1, the last over" in said.out


def test_verify_as_json_tells_what_is_covered(signed: tuple[Jaga, str, Path]) -> None:
    jaga, _first, _kept = signed
    document = jaga("ledger", "verify", "--json").json()
    assert document["holds"] is True
    assert document["checkpoints"] == 1
    assert document["covered"] == document["entries"] - 1
    assert document["remarks"] == []


def test_a_key_may_be_a_file_and_a_stranger_s_is_the_answer_no(signed: tuple[Jaga, str, Path], tmp_path: Path) -> None:
    jaga, first, _kept = signed
    (tmp_path / "jaga.pub").write_text(first + "\n")
    assert jaga("ledger", "verify", "--key", "jaga.pub").code == 0
    said = jaga("ledger", "verify", "--key", str(make_key("jaga/other").public))
    assert said.code == 1
    assert "does not vouch" in said.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--key", "nonsense"), "--key: "),
        (("--checkpoint", "config/jaga.yaml"), "it is no checkpoint"),
        (("--checkpoint", "missing.txt"), "does not exist"),
    ],
)
def test_what_is_no_key_and_no_checkpoint_is_wrong_use(ledger: Jaga, arguments: tuple[str, ...], says: str) -> None:
    said = ledger("ledger", "verify", *arguments)
    assert said.code == 2
    assert says in said.err


def test_a_key_that_is_there_is_not_lost(signed: tuple[Jaga, str, Path]) -> None:
    jaga, _first, _kept = signed
    said = jaga("ledger", "key", "--lost")
    assert said.code == 3
    assert "it is there and signs (rotate it without --lost)" in said.err
    assert jaga("ledger", "key", "--lost", "--rotate").code == 2


def test_a_lost_key_has_a_successor(signed: tuple[Jaga, str, Path], tmp_path: Path) -> None:
    jaga, first, kept = signed
    (tmp_path / "config" / "ledger.key").unlink()
    assert jaga("ledger", "key", "--rotate").code == 3
    line = jaga("ledger", "key", "--lost", "--note", "the volume burnt").out.strip()
    said = jaga("ledger", "verify", "--checkpoint", kept)
    assert said.code == 0
    assert "was declared lost" in said.out
    assert jaga("ledger", "verify", "--key", first).code == 1
    assert jaga("ledger", "verify", "--key", line).code == 0


@pytest.mark.parametrize("mark", [True, False], ids=["with the mark", "without the mark"])
def test_a_backup_that_was_put_back_is_only_read_until_the_loss_is_accepted(
    signed: tuple[Jaga, str, Path], tmp_path: Path, mark: bool
) -> None:
    jaga, _first, kept = signed
    assert jaga("ledger", "accept-loss", "--note", "none").code == 1
    file = tmp_path / "config" / "ledger.db"
    shutil.copy(file, tmp_path / "backup.db")
    assert jaga(*ANNOUNCE).code == 0
    store, sealer = open_store(file), Sealer(place_of("sqlite:///ledger.db", base=tmp_path / "config"))
    sealer.open(store, 4 * 10**15)
    seal(store, sealer, 4 * 10**15)
    store.close()
    later = tmp_path / "november.txt"
    shutil.copy(tmp_path / "config" / "ledger.checkpoint", later)
    shutil.copy(tmp_path / "backup.db", file)
    if not mark:
        file.with_name("ledger.db-mark").unlink()

    said = jaga(*ANNOUNCE)
    assert said.code == 3, said.out
    assert "beside the key is not in the ledger" in said.err
    assert jaga("status").code == 0
    assert jaga("ledger", "verify", "--checkpoint", later).code == 1
    assert jaga("ledger", "accept-loss", "--note", "the disk died").code == 0
    assert jaga(*ANNOUNCE).code == 0
    assert jaga("ledger", "verify", "--checkpoint", kept).code == 0
    assert jaga("ledger", "verify", "--checkpoint", later).code == 1


def test_a_backup_from_before_a_rotation_needs_a_new_key_too(signed: tuple[Jaga, str, Path], tmp_path: Path) -> None:
    jaga, _first, _kept = signed
    file = tmp_path / "config" / "ledger.db"
    shutil.copy(file, tmp_path / "backup.db")
    assert jaga("ledger", "key", "--rotate").code == 0
    shutil.copy(tmp_path / "backup.db", file)
    said = jaga("ledger", "accept-loss", "--note", "the disk died")
    assert said.code == 0
    assert "Nothing signs it yet: " in said.out
    assert jaga("ledger", "key", "--lost").code == 0
    assert jaga("ledger", "verify").code == 0
    assert jaga(*ANNOUNCE).code == 0


def test_personal_data_is_erased_by_a_verb(ledger: Jaga, tmp_path: Path) -> None:
    reference = personal_files("sqlite:///ledger.db", base=tmp_path / "config").keep("reporter", {"name": "Sari"})
    assert ledger("ledger", "erase", reference, "--note", "asked for by letter").code == 0
    assert not list((tmp_path / "config" / "ledger.personal").iterdir())
    assert ledger("ledger", "erase", reference).code == 0
    assert ledger("ledger", "verify").code == 0
    said = ledger("ledger", "erase", "personal:" + "0" * 64)
    assert said.code == 1
    assert "nothing is kept under" in said.err

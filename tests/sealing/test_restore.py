"""A restore against what went out: checkpoints that were kept, the one beside the key, the mark of the last commit."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitor.core.fact import LossAccepted
from monitor.ledger.restoring import Restoration, RestoreRefusedError, Wish, restore
from monitor.ledger.verify import Outside
from monitor.sealing.keys import checks
from monitor.storage import Unit
from monitor.storage.backup import back_up_as_owner
from monitor.storage.sqlite import open_reader, open_store
from monitor.storage.watermark import mark_path, read_watermark
from tests.sealing.ledgers import NOW_US, Ledger, claim, seal


@dataclass(frozen=True)
class World:
    """A ledger of 1 key, 2-4 claims | 5 checkpoint of 4, 6 claim, 7 checkpoint of 6; its backup ends at the bar."""

    ledger: Ledger
    backup: Path
    first: str
    last: str

    def restore(self, *handed_in: str, accept_loss: bool = False) -> Restoration:
        sealer = self.ledger.sealer()
        wish = Wish(
            backup=self.backup,
            by="sari",
            now_us=NOW_US + 10**9,
            accept_loss=accept_loss,
            outside=Outside(checkpoints=handed_in),
            contradicts=sealer.contradicts,
            kept=sealer.place.checkpoint,
            checkpoint=sealer.kept(),
            checks=checks,
        )
        return restore(wish, self.ledger.path)

    def forget(self, *, kept: bool = False, mark: bool = False) -> None:
        """The disk is lost: the ledger is gone, and what lies beside it unless it is `kept`."""
        for path in self.ledger.folder.iterdir():
            keeps = (
                path.suffix == ".key"
                or (kept and path.suffix == ".checkpoint")
                or (mark and path.name.endswith("-mark"))
            )
            if not keeps:
                path.unlink()


@pytest.fixture
def world(tmp_path: Path) -> World:
    folder = tmp_path / "ledger"
    folder.mkdir()
    ledger, backup = Ledger(folder), tmp_path / "kept.db"
    store, sealer = open_store(ledger.path), ledger.sealer()
    named = sealer.open(store, NOW_US)
    assert named is not None
    store.commit(named)
    store.commit(Unit(recorded_at_us=NOW_US + 1, facts=[claim(1), claim(2), claim(3)]))
    store.close()
    back_up_as_owner(ledger.path, backup)
    store = open_store(ledger.path)
    first = seal(store, sealer, NOW_US + 10)
    store.commit(Unit(recorded_at_us=NOW_US + 20, facts=[claim(4)]))
    last = seal(store, sealer, NOW_US + 30)
    store.close()
    return World(ledger, backup, first, last)


def test_an_older_state_contradicts_the_checkpoint_beside_the_key(world: World) -> None:
    with pytest.raises(RestoreRefusedError) as refused:
        world.restore()
    said = str(refused.value)
    assert "holds 3 entries (2 checkpoint, 1 claim)" in said
    assert "the checkpoint of 6 entries beside the key is not in the ledger" in said
    assert "entry 7 was acknowledged, the ledger ends at 4" in said


@pytest.mark.parametrize(
    ("kept", "mark", "said"),
    [(True, False, "the checkpoint of 6 entries beside the key"), (False, True, "entry 7 was acknowledged")],
)
def test_what_was_left_of_a_lost_ledger_is_enough_to_know(world: World, kept: bool, mark: bool, said: str) -> None:
    world.forget(kept=kept, mark=mark)
    with pytest.raises(RestoreRefusedError, match=said):
        world.restore()
    assert not world.ledger.path.exists()


def test_a_checkpoint_that_a_partner_kept_is_enough_to_know(world: World) -> None:
    world.forget()
    with pytest.raises(RestoreRefusedError, match="a checkpoint of 6 entries was signed, the ledger holds 4"):
        world.restore(world.last)
    assert world.restore(world.first).loss is None  # all that it covers is in the backup


def test_a_checkpoint_of_another_ledger_is_said_to_be_one(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = Ledger(folder)
    store, sealer = open_store(other.path), other.sealer()
    named = sealer.open(store, NOW_US)
    assert named is not None
    store.commit(named)
    note = seal(store, sealer, NOW_US + 10)
    store.close()
    world.forget()
    with pytest.raises(RestoreRefusedError, match="it is of the ledger"):
        world.restore(note)


def test_what_is_accepted_is_recorded_and_the_ledger_verifies_and_signs_again(world: World) -> None:
    done = world.restore(world.last, accept_loss=True)
    assert done.loss is not None
    assert "a checkpoint of 6 entries was signed" in str(done.loss)
    folder = world.ledger.folder
    stamp = "before-restore-"
    set_aside = sorted(path.name.partition(stamp)[0] for path in folder.iterdir() if stamp in path.name)
    assert set_aside == ["ledger.checkpoint.", "ledger.db.", "ledger.db."]
    assert done.aside is not None
    assert read_watermark(done.aside) is not None
    reader = open_reader(world.ledger.path)
    (fact,) = [entry.fact for entry in reader.entries(types=("loss",))]
    sealer = world.ledger.sealer()
    assert isinstance(fact, LossAccepted)
    assert (fact.entries, fact.checkpoint) == (7, world.last)
    assert sealer.contradicts(reader) is None
    reader.close()
    assert world.ledger.verify().holds
    # Whoever kept the old checkpoint still finds out.
    assert not world.ledger.verify(Outside(checkpoints=(world.last,))).holds

    store = open_store(world.ledger.path)
    assert sealer.open(store, NOW_US + 2 * 10**9) is None
    assert sealer.why_not is None
    seal(store, sealer, NOW_US + 2 * 10**9)
    store.close()
    assert world.ledger.verify().holds


def test_a_backup_that_bears_all_out_needs_no_word(world: World) -> None:
    back_up_as_owner(world.ledger.path, world.backup.with_name("newest.db"))
    shutil.move(world.backup.with_name("newest.db"), world.backup)
    world.forget(kept=True, mark=True)
    done = world.restore(world.first, world.last)
    assert done.loss is None
    assert world.ledger.sealer().place.checkpoint.exists()
    assert not mark_path(world.ledger.path).exists()
    assert world.ledger.verify(Outside(checkpoints=(world.first, world.last))).holds

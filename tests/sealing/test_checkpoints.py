"""The signer: a tree taken up where it was left; a key that is rotated, lost, exchanged, half replaced by a crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.core.checkpoint import read_checkpoint
from monitor.core.fact import KeyAdopted, KeyReason
from monitor.core.merkle import Tree, leaf_hash
from monitor.core.run import Origin
from monitor.ledger.verify import Outside, verify
from monitor.sealing.checkpoints import FRONTIER_MARK, Place, Sealer, first_key, place_of, read_trust
from monitor.sealing.keys import KeyFileError, checks, make_key, read_key, write_key
from monitor.storage import Unit
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore
from tests.sealing.ledgers import NOW_US, Ledger, claim, ledger_key, seal


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


@pytest.fixture
def store(ledger: Ledger) -> Iterator[SqlStore]:
    opened = open_store(ledger.path)
    yield opened
    opened.close()


@pytest.fixture
def sealer(ledger: Ledger, store: SqlStore) -> Sealer:
    """With the ledger's first key recorded."""
    return opened(ledger, store)


def opened(ledger: Ledger, store: SqlStore) -> Sealer:
    sealer = ledger.sealer()
    unit = sealer.open(store, NOW_US)
    if unit is not None:
        store.commit(unit)
    return sealer


def grow(store: SqlStore, *numbers: int) -> None:
    store.commit(Unit(recorded_at_us=NOW_US, facts=[claim(n) for n in numbers]))


def root(store: SqlStore, size: int) -> bytes:
    return Tree(leaf_hash(data) for _columns, data in store.raw_entries()).root(size)


def test_where_the_key_lies(tmp_path: Path) -> None:
    assert place_of("sqlite:///var/ledger.db", base=tmp_path).key == tmp_path / "var" / "ledger.key"
    assert place_of("postgresql://host/db", base=tmp_path).key == tmp_path / "ledger.key"
    elsewhere = place_of("sqlite:///ledger.db", base=tmp_path, key="/run/keys/jaga", origin="example.id/sla")
    assert elsewhere == Place(key=Path("/run/keys/jaga"), origin="example.id/sla")
    assert elsewhere.checkpoint == Path("/run/keys/jaga.checkpoint")


def test_the_first_key_is_made_once_and_named_by_an_entry(ledger: Ledger, store: SqlStore) -> None:
    sealer = opened(ledger, store)
    (entry,) = store.entries(types=("key",))
    assert isinstance(entry.fact, KeyAdopted)
    assert entry.fact.why is KeyReason.FIRST
    assert entry.fact.key == str(ledger_key(ledger))
    assert sealer.why_not is None
    assert opened(ledger, store).open(store, NOW_US) is None


def test_a_key_that_init_made_becomes_the_first(ledger: Ledger, store: SqlStore) -> None:
    made = first_key(Place(key=ledger.folder / "ledger.key", origin="example.id/sla"))
    opened(ledger, store)
    trust, _ = read_trust(store)
    assert trust.current == made.public
    assert trust.origin == "example.id/sla"


def test_a_checkpoint_covers_all_entries_before_it_and_is_not_repeated(store: SqlStore, sealer: Sealer) -> None:
    grow(store, 1, 2, 3)
    checkpoint, note = read_checkpoint(seal(store, sealer, NOW_US))
    assert checkpoint.size == 4
    assert checkpoint.root == root(store, 4)
    assert note.signed_by(read_trust(store)[0].keys[0], checks)
    assert sealer.checkpoint(store, NOW_US) is None
    grow(store, 4)
    assert read_checkpoint(seal(store, sealer, NOW_US))[0].size == 6


def test_the_tree_is_taken_up_from_the_mark_and_only_if_the_checkpoint_bears_it_out(
    ledger: Ledger, store: SqlStore, sealer: Sealer
) -> None:
    grow(store, *range(100))
    seal(store, sealer, NOW_US)
    again = opened(ledger, store)
    assert again._frontier.size == 101
    grow(store, 200)
    for mark in (None, {"size": 101}, {"size": 101, "peaks": []}, {"size": 1, "peaks": ["00" * 32]}):
        store.commit(Unit(recorded_at_us=NOW_US, marks={FRONTIER_MARK: mark}))
        doubtful = opened(ledger, store)
        assert doubtful._frontier.size == 0
        made = doubtful.checkpoint(store, NOW_US)
        assert made is not None
        assert read_checkpoint(made[1])[0].root == root(store, 103)


def test_a_checkpoint_that_was_not_recorded_is_made_again(store: SqlStore, sealer: Sealer) -> None:
    grow(store, 1)
    lost = sealer.checkpoint(store, NOW_US)
    grow(store, 2)
    assert lost is not None
    note = seal(store, sealer, NOW_US)
    assert read_checkpoint(note)[0].size == read_checkpoint(lost[1])[0].size + 1
    assert verify(store, checks=checks).problems == ()


def replace(sealer: Sealer, store: SqlStore, *, lost: bool = False) -> None:
    store.commit(sealer.replace_key(store, NOW_US, by="sari", lost=lost))
    sealer.replaced(store)


def test_a_rotated_key_is_vouched_for(ledger: Ledger, store: SqlStore, sealer: Sealer) -> None:
    first = ledger_key(ledger)
    grow(store, 1)
    old = seal(store, sealer, NOW_US)
    replace(sealer, store)
    second = ledger_key(ledger)
    assert second != first
    grow(store, 2)
    new = seal(store, sealer, NOW_US)
    for key in (first, second, None):
        report = verify(store, checks=checks, outside=Outside(key=key, checkpoints=(new,)))
        assert (report.problems, report.remarks) == ((), ())
        assert report.checkpoints == 2
    assert verify(store, checks=checks, outside=Outside(key=first, checkpoints=(old,))).holds
    stranger = verify(store, checks=checks, outside=Outside(key=make_key(first.name).public))
    assert [problem.kind for problem in stranger.problems] == ["key"]


def test_a_lost_key_has_a_successor_that_nobody_vouches_for(ledger: Ledger, store: SqlStore, sealer: Sealer) -> None:
    first = ledger_key(ledger)
    grow(store, 1)
    old = seal(store, sealer, NOW_US)
    sealer.place.key.unlink()
    without = opened(ledger, store)
    assert without.checkpoint(store, NOW_US) is None
    assert "put it back; if it is lost for good: jaga ledger key --lost" in str(without.why_not)
    with pytest.raises(KeyFileError, match="cannot sign for the next"):
        without.replace_key(store, NOW_US, by="sari", lost=False)
    replace(without, store, lost=True)
    seal(store, without, NOW_US)
    report = verify(store, checks=checks, outside=Outside(checkpoints=(old,)))
    assert report.holds
    assert "was declared lost" in report.remarks[0]
    kept = verify(store, checks=checks, outside=Outside(key=first))
    assert [problem.kind for problem in kept.problems] == ["key"]
    assert "does not vouch for the one that signs now" in str(kept.problems[0])


def test_a_key_of_another_ledger_signs_nothing(ledger: Ledger, store: SqlStore, sealer: Sealer) -> None:
    sealer.place.key.unlink()
    other = make_key("jaga/other")
    write_key(other, sealer.place.key)
    wrong = opened(ledger, store)
    assert f"it holds {other.public.id.hex()}, the ledger names" in str(wrong.why_not)
    assert wrong.checkpoint(store, NOW_US) is None


@pytest.mark.parametrize("recorded", [False, True], ids=["before the entry", "after the entry"])
def test_a_crash_while_a_key_is_replaced(ledger: Ledger, store: SqlStore, sealer: Sealer, recorded: bool) -> None:
    """The new key lies beside the old one until its entry is durable; whichever the ledger names then is in force."""
    before = ledger_key(ledger)
    unit = sealer.replace_key(store, NOW_US, by="sari", lost=False)
    pending = read_key(sealer.place.next_key)
    assert pending is not None
    if recorded:
        store.commit(unit)
    again = opened(ledger, store)
    assert again.why_not is None
    assert ledger_key(ledger) == (pending.public if recorded else before)
    grow(store, 1)
    seal(store, again, NOW_US)
    assert verify(store, checks=checks).problems == ()
    replace(again, store)
    assert verify(store, checks=checks).problems == ()


def test_keys_and_checkpoints_of_an_imported_ledger_count_for_nothing(ledger: Ledger, store: SqlStore) -> None:
    foreign = KeyAdopted(key=str(make_key("jaga/foreign").public), why=KeyReason.FIRST, at_us=NOW_US)
    store.commit(Unit(recorded_at_us=NOW_US, facts=[foreign], origin=Origin.IMPORTED))
    sealer = opened(ledger, store)
    seal(store, sealer, NOW_US)
    trust, _ = read_trust(store)
    assert trust.keys == [ledger_key(ledger)]
    assert verify(store, checks=checks).problems == ()


@pytest.mark.parametrize(
    ("fact", "says"),
    [
        (lambda key, _: KeyAdopted(key=key, why=KeyReason.FIRST, at_us=0), "checkpoints were taken over"),
        (
            lambda key, old: KeyAdopted(key=key, why=KeyReason.ROTATED, at_us=0, replaces=old),
            "does not sign for the one",
        ),
        (lambda key, _: KeyAdopted(key=key, why=KeyReason.LOST, at_us=0, replaces=key), "replaces another than"),
    ],
)
def test_a_key_that_somebody_slipped_in(
    ledger: Ledger, store: SqlStore, sealer: Sealer, fact: object, says: str
) -> None:
    old = ledger_key(ledger)
    assert callable(fact)
    slipped = fact(str(make_key(old.name).public), str(old))
    store.commit(Unit(recorded_at_us=NOW_US, facts=[slipped]))
    (problem,) = verify(store, checks=checks).problems
    assert (problem.seq, problem.kind) == (2, "key")
    assert says in problem.message


def test_a_checkpoint_that_cannot_be_kept_beside_the_key_is_told(
    store: SqlStore, sealer: Sealer, caplog: pytest.LogCaptureFixture
) -> None:
    sealer.place.checkpoint.mkdir()
    grow(store, 1)
    note = seal(store, sealer, NOW_US)
    assert sealer.latest == note
    assert sealer.kept() is None

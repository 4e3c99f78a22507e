"""What somebody may do to a ledger who has the file, with the key or without: it is found, or said to be invisible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.core.wire import write_fact
from monitor.ledger.verify import Outside
from monitor.sealing.keys import make_key
from tests.sealing.ledgers import (
    NOW_US,
    Body,
    Ledger,
    ledger_key,
    make,
    resign_with_the_key,
    rewrite,
    tamper,
    why_of,
    window,
)


@pytest.fixture
def sealed(tmp_path: Path) -> tuple[Ledger, list[str]]:
    return make(tmp_path)


def own(fact: Body, recorded_at_us: int) -> Body:
    return {"epoch": 0, "origin": "own", "recorded_at_us": recorded_at_us, "fact": fact}


def test_an_untouched_ledger_holds(sealed: tuple[Ledger, list[str]]) -> None:
    ledger, notes = sealed
    report = ledger.verify(Outside(checkpoints=tuple(notes), key=ledger_key(ledger)))
    assert report.problems == ()
    assert (report.entries, report.checkpoints, report.covered) == (10, 2, 8)
    assert report.remarks == ()
    assert ledger.sealer().kept() == notes[1]


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        # A changed row: its bytes.
        ("UPDATE entries SET data = replace(data, '2026-03', '2026-02') WHERE seq = 3", {"changed", "form"}),
        # A changed row: a column that disagrees with its bytes.
        ("UPDATE entries SET type = 'notice' WHERE seq = 3", {"column", "store"}),
        ("UPDATE entries SET recorded_at_us = 5 WHERE seq = 3", {"column", "store"}),
        # A deleted row, at the beginning, in the middle, at the end.
        ("DELETE FROM entries WHERE seq = 1", {"missing", "checkpoint"}),
        ("DELETE FROM entries WHERE seq = 6", {"missing", "checkpoint"}),
        ("DELETE FROM entries WHERE seq = 10", {"missing", "store"}),
        # A changed run, and one that is gone from the middle of its index.
        ("UPDATE runs SET outcome = 'pass', reason = NULL WHERE outcome = 'fail'", {"store"}),
    ],
)
def test_a_row_changed_by_hand(sealed: tuple[Ledger, list[str]], statement: str, kinds: set[str]) -> None:
    ledger, _ = sealed
    tamper(ledger, statement)
    found = {kind for _seq, kind in ledger.found()}
    assert found & kinds, found


def test_swapped_rows(sealed: tuple[Ledger, list[str]]) -> None:
    ledger, _ = sealed
    for old, new in ((2, 99), (3, 2), (99, 3)):
        tamper(ledger, "UPDATE entries SET seq = ? WHERE seq = ?", new, old)
    assert (2, "misplaced") in ledger.found()
    assert (3, "misplaced") in ledger.found()


def cheaper(bodies: list[Body]) -> list[Body]:
    """The exclusion takes a minute more, in the same entry."""
    fact = bodies[7]["fact"]
    assert fact["type"] == "exclusion"
    fact["end"] = fact["end"].replace("00:01:00", "00:59:00")
    return bodies


def back_dated(bodies: list[Body]) -> list[Body]:
    """A window nobody was told of is put among the entries of an hour ago, with times that increase."""
    at_us = NOW_US + 20
    placed = [own(write_fact(fact), at_us + n) for n, fact in enumerate(window("m-9", at_us))]
    return [*bodies[:5], *placed, *bodies[5:]]


def without_row_four(bodies: list[Body]) -> list[Body]:
    return [*bodies[:3], *bodies[4:]]


@pytest.mark.parametrize("change", [cheaper, back_dated, without_row_four])
def test_an_edit_with_the_whole_chain_recomputed(
    sealed: tuple[Ledger, list[str]], change: Callable[[list[Body]], list[Body]]
) -> None:
    """Without the key the checkpoints in the chain cannot be made anew: they contradict what now stands before them."""
    ledger, notes = sealed
    rewrite(ledger, change)
    problems = ledger.found()
    assert {kind for _seq, kind in problems} == {"checkpoint"}
    assert problems
    assert (8, "checkpoint") in ledger.found(Outside(checkpoints=(notes[1],)))


def test_the_chain_recomputed_without_its_checkpoints(sealed: tuple[Ledger, list[str]]) -> None:
    """Whoever throws the checkpoints away too leaves a sound chain: a checkpoint kept elsewhere shows it."""
    ledger, notes = sealed
    rewrite(ledger, lambda bodies: [b for b in cheaper(bodies) if b["fact"]["type"] not in {"key", "checkpoint"}])
    assert ledger.found() == []
    kinds = {kind for _seq, kind in ledger.found(Outside(checkpoints=(notes[0],)))}
    assert kinds == {"checkpoint"}


def test_a_key_that_is_named_and_has_signed_nothing(sealed: tuple[Ledger, list[str]]) -> None:
    """The name of the right key can be left standing by anybody; it speaks only for what it signed."""
    ledger, _notes = sealed
    rewrite(ledger, lambda bodies: [b for b in cheaper(bodies) if b["fact"]["type"] != "checkpoint"])
    assert ledger.found() == []
    assert ledger.found(Outside(key=ledger_key(ledger))) == [(0, "key")]


def test_the_chain_recomputed_with_another_key(sealed: tuple[Ledger, list[str]]) -> None:
    """Its own key is sound for itself; the key that a partner keeps does not vouch for it."""
    ledger, notes = sealed
    key = ledger_key(ledger)
    forged = make_key(key.name)

    def resign(bodies: list[Body]) -> list[Body]:
        bodies = cheaper(bodies)
        bodies[0]["fact"]["key"] = str(forged.public)
        return [body for body in bodies if body["fact"]["type"] != "checkpoint"]

    rewrite(ledger, resign)
    assert ledger.found() == []
    assert ledger.found(Outside(key=key)) == [(0, "key")]
    assert (0, "checkpoint") in ledger.found(Outside(checkpoints=(notes[1],)))
    assert f"it holds {key.id.hex()}, the ledger names {forged.public.id.hex()}" in why_of(ledger)


def test_checkpoints_signed_anew_with_another_key_under_the_same_name(sealed: tuple[Ledger, list[str]]) -> None:
    """Their roots are right, the key that the ledger names did not sign them; each is named."""
    ledger, _notes = sealed
    resign_with_the_key(ledger, cheaper, make_key(ledger_key(ledger).name))
    assert sorted(ledger.found()) == [(5, "checkpoint"), (9, "checkpoint")]
    assert "is not signed by the key in force" in str(ledger.verify().problems[0])


def test_a_tail_cut_below_a_checkpoint(sealed: tuple[Ledger, list[str]]) -> None:
    ledger, notes = sealed
    rewrite(ledger, lambda bodies: bodies[:6])
    assert ledger.found() == []
    report = ledger.verify(Outside(checkpoints=(notes[1],)))
    assert [(problem.seq, problem.kind) for problem in report.problems] == [(6, "checkpoint")]
    assert "a checkpoint of 8 entries was signed, the ledger holds 6: its end was cut off" in str(report.problems[0])


def test_a_tail_cut_above_every_checkpoint_leaves_the_mark_alone_to_tell(sealed: tuple[Ledger, list[str]]) -> None:
    ledger, notes = sealed
    mark = ledger.path.with_name("ledger.db-mark")
    kept = mark.read_bytes()
    rewrite(ledger, lambda bodies: bodies[:9])
    assert ledger.found(Outside(checkpoints=tuple(notes))) == []
    mark.write_bytes(kept)
    assert ledger.found() == [(0, "store")]


def test_what_cannot_be_seen_an_operator_with_the_key_and_no_checkpoint_outside(
    sealed: tuple[Ledger, list[str]],
) -> None:
    """docs/trust.md, "What cannot be seen": everything is made anew and signed anew, and everything verifies. With any
    checkpoint or statement that left the machine before, it does not.
    """
    ledger, notes = sealed
    key_file = ledger.sealer().place.key.read_text()
    resealed = resign_with_the_key(ledger, cheaper)
    assert ledger.sealer().place.key.read_text() == key_file
    assert ledger.found() == []
    assert ledger.found(Outside(key=ledger_key(ledger))) == []
    assert ledger.found(Outside(checkpoints=tuple(resealed))) == []
    for note in notes[1:]:
        assert (8, "checkpoint") in ledger.found(Outside(checkpoints=(note,)))
    # What was signed before the first changed entry is still true of it.
    assert ledger.found(Outside(checkpoints=(notes[0],))) == []

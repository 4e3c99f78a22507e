"""What a partner is given: its own part in full, proof that it is part of the whole, and nothing of anybody else."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from monitor.core.availability import account
from monitor.core.chain import canonical, digest
from monitor.core.entry import Entry, open_entry
from monitor.core.evidence import outcome_spans
from monitor.core.exclusion import Book, excluded_for
from monitor.core.fact import Exclusion, Reversal
from monitor.core.instant import SECOND_US
from monitor.core.merkle import Tree, leaf_hash, proves_inclusion
from monitor.core.run import Run, SourceKey
from monitor.core.segment import read_runs
from monitor.core.verdict import judge
from monitor.core.wire import read_place, read_run
from monitor.ledger.evidence import check_lists
from monitor.ledger.interchange.carried import read_row, read_sealed
from monitor.ledger.interchange.partial import UnknownPartnerError, export_partial
from monitor.ledger.record import read_record
from tests.ledger.keeping import APRIL, BOTH, CLOSING, Keeper, two_partners


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    """Only read from."""
    with two_partners(tmp_path_factory.mktemp("partners")) as keeper:
        yield keeper


def given_to(keeper: Keeper, partner: str) -> list[dict[str, Any]]:
    out = io.BytesIO()
    export_partial(keeper.store, out, partner, configured=BOTH)
    return [orjson.loads(line) for line in out.getvalue().splitlines()]


def opened(lines: list[dict[str, Any]]) -> list[Entry]:
    """The entries that are given in full, made again from their lines."""
    found = []
    for line in lines:
        if "entry" not in line:
            continue
        fact = {name: value for name, value in line.items() if name not in {"entry", "proof"}}
        place = read_place(line["entry"])
        body = {"seq": place["seq"], "prev": place["prev"], "epoch": place["epoch"], "origin": place["origin"].value}
        timed = {} if place["origin"].value == "imported" else {"recorded_at_us": place["recorded_at_us"]}
        body |= timed | {"fact": fact}
        entry = open_entry(body, data=canonical(body), recorded_at_us=place["recorded_at_us"])
        assert entry.hash == place["hash"]
        found.append(entry)
    return found


def test_every_entry_is_there_and_proved(keeper: Keeper) -> None:
    lines = given_to(keeper, "acme")
    about = lines[1]
    assert (about["type"], about["partner"], about["services"]) == ("partial", "acme", ["portal"])
    whole = {entry.seq: leaf_hash(entry.data) for entry in opened(lines)}
    hidden = {line["seq"]: bytes.fromhex(line["leaf"]) for line in lines if line["type"] == "leaf"}
    assert hidden
    leaves = [leaf for _, leaf in sorted((whole | hidden).items())]
    assert len(leaves) == about["entries"] == keeper.store.head().seq
    root = Tree(leaves).root()
    assert "sha256:" + root.hex() == about["root"]
    assert root == Tree(leaf_hash(data) for _, data in keeper.store.raw_entries()).root()
    for line in lines:
        if "entry" in line:
            seq, proof = line["entry"]["seq"], [bytes.fromhex(node) for node in line["proof"]]
            assert proves_inclusion(whole[seq], seq - 1, len(leaves), root, proof)


def test_segments_are_proved_against_the_entries_that_sealed_them(keeper: Keeper) -> None:
    lines = given_to(keeper, "acme")
    roots = {entry.seq: entry.fact for entry in opened(lines) if entry.type == "sealed"}
    segments = [line for line in lines if line["type"] == "segment"]
    assert len(segments) > 700
    assert any(line["proof"]["size"] == 2 for line in segments)
    for line in segments:
        proof = line.pop("proof")
        sealed = read_sealed(line)
        assert sealed.seq is not None
        path = [bytes.fromhex(node) for node in proof["path"]]
        root = bytes.fromhex(roots[sealed.seq].root.removeprefix("sha256:"))  # type: ignore[union-attr]
        assert proves_inclusion(leaf_hash(sealed.segment.leaf()), proof["index"], proof["size"], root, path)
        assert line["digest"] == digest(sealed.segment.leaf())
        assert line["service"] == "portal"


def test_nothing_of_others_is_told(keeper: Keeper) -> None:
    for line in given_to(keeper, "acme"):
        text = orjson.dumps(line)
        told = [word for word in (b"zeta", b"Zeta", b"mail", b"smtp", b'"77"', b'"99"') if word in text]
        assert not told, (told, text.decode())
    facts = [entry.fact for entry in opened(given_to(keeper, "acme"))]
    assert {fact.id for fact in facts if isinstance(fact, Exclusion)} == {"x-both", "x-acme"}
    theirs = [entry.fact for entry in opened(given_to(keeper, "zeta"))]
    assert {fact.id for fact in theirs if isinstance(fact, Exclusion)} == {"x-both", "x-zeta"}
    assert any(isinstance(fact, Reversal) for fact in theirs)


def test_a_statement_is_computed_from_the_part_alone(keeper: Keeper) -> None:
    issued = keeper.statement().document
    lines = given_to(keeper, "acme")
    entries = opened(lines)
    runs: list[Run] = []
    for line in lines:
        if line["type"] == "segment":
            line.pop("proof")
            runs += [held.run for held in read_runs(read_sealed(line).segment)]
        elif line["type"] == "run":
            stored = line.pop("stored")
            runs.append(read_row(read_run(line), stored).arrived.run)
    book, lists = Book.of(entries), check_lists(entry.fact for entry in entries)
    ordered = sorted({one.key: one for one in runs}.values(), key=lambda one: one.start_us)
    source = SourceKey("portal", "login", "jkt-1")
    spans = list(outcome_spans(ordered, (), lists["portal"], book.annulled(source)))
    ground = keeper.months().ground(APRIL, "acme", "portal")
    assert ground is not None
    verdicts = judge(lists["portal"], {source: spans}, ground.period)
    excluded, _ = excluded_for(book, "acme", "portal", ground.terms.maintenance_notice_us)
    figures = account(verdicts, ground.period, CLOSING, excluded, book.rulings("portal"), [])
    assert issued["availability"]["numerator_us"] == str(figures.total_us - figures.down_us)
    assert issued["downtime"]["excluded_seconds"] == "3600.000000"
    assert figures.excluded_us == 3600 * SECOND_US


def test_a_partner_without_a_subscription_is_given_nothing(keeper: Keeper) -> None:
    with pytest.raises(UnknownPartnerError, match="no subscription names 'nobody'"):
        given_to(keeper, "nobody")
    assert read_record(keeper.store, BOTH).size == keeper.store.head().seq

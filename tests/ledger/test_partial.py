"""What a partner is given: its own part in full, proof that it is part of the whole, and nothing of anybody else."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from monitor.core.availability import account
from monitor.core.chain import canonical, digest
from monitor.core.check import Check, CheckList
from monitor.core.entry import Entry, open_entry
from monitor.core.evidence import outcome_spans
from monitor.core.exclusion import Book, excluded_for
from monitor.core.fact import ChecksAdopted, Claim, Exclusion, ExclusionReason, Maintenance, Notice, Reversal
from monitor.core.instant import DAY_US, HOUR_US, SECOND_US
from monitor.core.merkle import Tree, leaf_hash, proves_inclusion
from monitor.core.run import Run, SourceKey
from monitor.core.segment import read_runs
from monitor.core.terms import Agreements, Subscription
from monitor.core.verdict import judge
from monitor.core.wire import read_place, read_run
from monitor.ledger.carried import read_row, read_sealed
from monitor.ledger.command import CloseMonth
from monitor.ledger.evidence import check_lists
from monitor.ledger.partial import UnknownPartnerError, export_partial
from monitor.ledger.record import read_record
from tests.core.examples import rupiah, terms
from tests.ledger.keeping import AGREEMENTS, APRIL, CLOSING, END, START, Keeper, kept, run, watched_april
from tests.ledger.sealing import cool_all, seal

BOTH = Agreements(
    terms=(terms(),),
    subscriptions=(
        *AGREEMENTS.subscriptions,
        Subscription(partner="zeta", service="mail", contract="mitra", fee=rupiah(99)),
        Subscription(partner="zeta", service="portal", contract="mitra", fee=rupiah(77)),
    ),
    service_names=(("portal", "Portal"), ("mail", "Mail")),
    partner_names=(("acme", "Yayasan Acme"), ("zeta", "Zeta and Sons")),
)


def exclusion(name: str, partners: tuple[str, ...] | None, services: tuple[str, ...] = ("portal",)) -> Exclusion:
    return Exclusion(
        id=name,
        reason=ExclusionReason.THIRD_PARTY,
        services=services,
        partners=partners,
        start_us=START + 100 * HOUR_US,
        end_us=START + 101 * HOUR_US,
        at_us=START + 200 * HOUR_US,
    )


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """April for two partners and two services, sealed, closed, with decisions for one, the other and both."""
    with kept(tmp_path, BOTH) as keeper:
        watched_april(keeper, [(100, 115), (300, 302)])
        mail = CheckList(
            service="mail",
            at_us=START - DAY_US,
            interval_us=HOUR_US,
            timeout_us=10 * SECOND_US,
            stale_after_us=2 * HOUR_US,
            checks=(Check(id="smtp"),),
        )
        hidden = [run(at, "fail", check="smtp") for at in range(START, END, 6 * HOUR_US)]
        other = Maintenance(id="m-zeta", services=("mail",), start_us=START, end_us=END, at_us=START)
        keeper.put(
            facts=[
                ChecksAdopted(list=mail),
                other,
                Notice(maintenance="m-zeta", partner="zeta", at_us=START, channel="email"),
                exclusion("x-both", None),
                exclusion("x-acme", ("acme",)),
                exclusion("x-zeta", ("zeta",)),
                Reversal(of="x-zeta", at_us=END),
                Claim(partner="zeta", service="portal", month="2026-03", at_us=END),
            ],
            runs=[_of_mail(one) for one in hidden],
        )
        seal(keeper.store, CLOSING)
        cool_all(keeper.store, CLOSING)
        for partner, service in (("acme", "portal"), ("zeta", "portal")):
            keeper.given(CloseMonth(partner=partner, service=service, month=str(APRIL)))
        yield keeper


def _of_mail(one: Run) -> Run:
    return Run(service="mail", check="smtp", location="jkt-1", start_us=one.start_us, outcome=one.outcome)


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

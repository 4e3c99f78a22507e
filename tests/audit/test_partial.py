"""What one partner is given suffices to audit its statements; and what was done to it, or is kept back, is told."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from monitor import audit
from monitor.core.merkle import Tree, leaf_hash
from monitor.ledger.interchange.partial import export_partial
from monitor.sealing.checkpoints import Sealer, place_of
from tests.ledger.keeping import BOTH, Keeper, two_partners

Line = dict[str, Any]


class Given(NamedTuple):
    """What acme has: its statement, its part of the ledger as lines, and the provider's public key."""

    folder: Path
    statement: Path
    lines: list[Line]
    key: str

    def verified(self, *, lines: list[Line] | None = None, key: bool = True) -> tuple[int, str]:
        """The exit code and what was said."""
        export = self.folder / "part.jsonl"
        export.write_text("".join(json.dumps(line) + "\n" for line in (self.lines if lines is None else lines)))
        said: list[str] = []
        code = audit.verify(
            self.statement, export, key=self.key if key else None, say=lambda line: said.append(str(line))
        )
        return code, "\n".join(said)

    def of(self, kind: str, **names: object) -> Line:
        """The first line of a type with these values."""
        return next(line for line in self.lines if line["type"] == kind and names.items() <= line.items())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """April of two partners, closed, with checkpoints before and after the close."""
    folder = tmp_path_factory.mktemp("part")
    sealer = Sealer(place_of("sqlite:///ledger.db", base=folder))

    def sign(keeper: Keeper) -> None:
        keeper.now_us += 1
        named = sealer.open(keeper.store, keeper.now_us)
        if named is not None:
            keeper.store.commit(named)
        made = sealer.checkpoint(keeper.store, keeper.now_us)
        assert made is not None
        keeper.store.commit(made[0])
        sealer.recorded(made[1])

    with two_partners(folder, before_close=sign) as keeper:
        sign(keeper)
        statement, out = json.dumps([keeper.statement().document]), io.BytesIO()
        export_partial(keeper.store, out, "acme", configured=BOTH)
        key = str(sealer.replaced(keeper.store))
    (folder / "statement.json").write_text(statement)
    return Given(folder, folder / "statement.json", [json.loads(line) for line in out.getvalue().splitlines()], key)


@pytest.fixture
def given(made: Given, tmp_path: Path) -> Given:
    """A copy to forge."""
    statement = tmp_path / "statement.json"
    statement.write_bytes(made.statement.read_bytes())
    return Given(tmp_path, statement, deepcopy(made.lines), made.key)


def test_a_statement_is_audited_by_the_partner_s_own_part(given: Given) -> None:
    hidden = sum(line["type"] == "leaf" for line in given.lines)
    assert hidden > 3
    code, said = given.verified()
    assert code == 0, said
    assert "2026-04/acme/portal version 1: holds" in said
    assert f"that none of the {hidden} entries of which only the hash is shown speaks for or against it" in said
    assert given.verified(key=False)[0] == 0


def leaf_of(line: Line) -> str:
    fact = {name: value for name, value in line.items() if name not in {"entry", "proof"}}
    return leaf_hash(audit.entry_bytes(fact, line["entry"])).hex()


def made_anew(lines: list[Line]) -> None:
    """All that can be made anew without the signing key: hashes, the root, and every proof."""
    leaves = []
    for line in lines:
        if "entry" in line:
            fact = {name: value for name, value in line.items() if name not in {"entry", "proof"}}
            line["entry"]["hash"] = audit.sha256(audit.entry_bytes(fact, line["entry"]))
        if "entry" in line or line["type"] == "leaf":
            leaves.append(bytes.fromhex(line["leaf"] if line["type"] == "leaf" else leaf_of(line)))
    tree = Tree(leaves)
    lines[1]["root"] = "sha256:" + tree.root().hex()
    for line in lines:
        if "entry" in line:
            line["proof"] = [node.hex() for node in tree.inclusion_proof(line["entry"]["seq"] - 1)]


def hide(given: Given, line: Line) -> None:
    """Show of an entry its hash alone: the root and all proofs stand as they were."""
    place = given.lines.index(line)
    given.lines[place] = {"type": "leaf", "seq": line["entry"]["seq"], "leaf": leaf_of(line)}


@pytest.mark.parametrize(
    ("kind", "names", "why"),
    [
        ("exclusion", {"id": "x-acme"}, 'the statement says "x-acme"'),
        ("close", {}, "digest: the statement says"),
        ("checks", {}, "availability.numerator_us"),
        ("checkpoint", {}, "checkpoint: the statement says"),
    ],
)
def test_a_hidden_fact_of_one_s_own_is_told_by_the_figure_that_it_moves(
    kind: str, names: Line, why: str, given: Given
) -> None:
    hide(given, given.of(kind, **names))
    code, said = given.verified()
    assert code == 1
    assert why in said
    assert "\nrecord: " not in "\n" + said, "every proof stands"


def test_a_hidden_sealing_entry_leaves_its_segments_without_a_root(given: Given) -> None:
    line = given.of("sealed")
    hide(given, line)
    code, said = given.verified()
    assert code == 1
    assert f": entry {line['entry']['seq']} sealed nothing" in said


def test_a_forged_fact_is_told_at_each_step_that_a_forger_can_go(given: Given) -> None:
    line = given.of("exclusion", id="x-acme")
    seq = line["entry"]["seq"]
    line["end"] = "2026-04-05T08:00:00.000000+00:00"
    code, said = given.verified(key=False)
    assert code == 1
    assert f"record: entry {seq} hashes to " in said
    line["entry"]["hash"] = audit.sha256(
        audit.entry_bytes({n: v for n, v in line.items() if n not in {"entry", "proof"}}, line["entry"])
    )
    code, said = given.verified(key=False)
    assert code == 1
    assert f"record: entry {seq} is not proved to be one of the {given.lines[1]['entries']} of the whole" in said
    made_anew(given.lines)
    code, said = given.verified(key=False)
    assert code == 1
    assert "entries of the export are not those that were signed" in said


def test_a_checkpoint_made_to_fit_is_signed_by_nobody(given: Given) -> None:
    given.of("exclusion", id="x-acme")["end"] = "2026-04-05T08:00:00.000000+00:00"
    made_anew(given.lines)
    leaves = [
        bytes.fromhex(line["leaf"] if line["type"] == "leaf" else leaf_of(line))
        for line in given.lines
        if "entry" in line or line["type"] == "leaf"
    ]
    for line in given.lines:
        if line["type"] == "checkpoint":
            origin, _size, _root, *rest = line["note"].split("\n")
            size = line["entry"]["seq"] - 1
            root = base64.b64encode(Tree(leaves[:size]).root()).decode()
            line["note"] = "\n".join([origin, str(size), root, *rest])
            leaves[size] = bytes.fromhex(leaf_of(line))
    made_anew(given.lines)
    code, said = given.verified()
    assert code == 1
    assert "the signature of " in said
    assert "is wrong" in said


def test_two_hashes_that_were_swapped_are_told(given: Given) -> None:
    one, other, *_more = (line for line in given.lines if line["type"] == "leaf")
    one["leaf"], other["leaf"] = other["leaf"], one["leaf"]
    code, said = given.verified(key=False)
    assert code == 1
    assert f"record: the leaves of the export are not the {given.lines[1]['entries']} of the root that it names" in said
    made_anew(given.lines)
    code, said = given.verified(key=False)
    assert code == 1
    assert "entries of the export are not those that were signed" in said


def test_a_segment_without_its_proof_or_with_another_s_is_none(given: Given) -> None:
    first, second, *_more = (line for line in given.lines if line["type"] == "segment")
    first["proof"] = second["proof"] | {"path": ["00" * 32]}
    code, said = given.verified()
    assert code == 1
    assert f"record: the segments of {first['hour']} are not those that entry {first['seq']} sealed" in said
    del first["proof"]
    assert f"the segments of {first['hour']} are not those" in given.verified()[1]


def test_a_segment_that_was_kept_back_is_told(given: Given) -> None:
    """By the end; and by the figures, where the end is made to fit."""
    failing = next(
        line
        for line in given.lines
        if line["type"] == "segment" and "fail" in str(audit.texts_of(base64.b64decode(line["head"])))
    )
    lines = [line for line in given.lines if line is not failing]
    code, said = given.verified(lines=lines)
    assert code == 1
    assert "record: the end of the export says segments" in said
    lines[-1]["segments"] -= 1
    code, said = given.verified(lines=lines)
    assert code == 1
    assert "outages" in said


def test_another_partner_s_statement_cannot_be_asked(given: Given) -> None:
    (document,) = json.loads(given.statement.read_text())
    given.statement.write_text(json.dumps(document | {"partner": {"id": "zeta", "name": "Zeta"}}))
    with pytest.raises(
        audit.CannotAuditError, match=r"the export is for acme \(portal\): it cannot answer for zeta and portal"
    ):
        given.verified()


def test_a_part_of_a_part_is_told(given: Given) -> None:
    last = next(line for line in reversed(given.lines) if "entry" in line or line["type"] == "leaf")
    given.lines.remove(last)
    code, said = given.verified()
    assert code == 1
    assert "record: the leaves of the export are not the " in said


def test_an_entry_of_the_ledger_s_own_before_what_is_called_its_first_is_told(given: Given) -> None:
    """Else an import could be made to count that came too late."""
    given.lines[1]["hidden"]["first_own"] = 10**6
    code, said = given.verified()
    assert code == 1
    assert "is the ledger's own, before what is called the first of its own" in said


@pytest.mark.parametrize("forge", [lambda line: line.pop("hidden"), lambda line: line.update(root="sha256:zz")])
def test_a_part_in_another_form_cannot_be_asked(forge: Callable[[Line], object], given: Given) -> None:
    forge(given.lines[1])
    with pytest.raises(audit.CannotAuditError, match="line 2: not a partial as this audit knows it"):
        given.verified()

"""What the audit brings itself, Python having it not: canonical JSON, trees, signatures; and the chain it walks."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from monitor import audit
from tests.audit.books import books
from tests.cases import reading

# RFC 8032, 7.1: public key, message, signature. The third message has two bytes, the last is SHA-512 of "abc".
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
# The key and the note in the documentation of Go's golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
POEM = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_vectors_of_rfc_8032(public: str, message: str, signature: str) -> None:
    key, text, signed = (bytes.fromhex(each) for each in (public, message, signature))
    assert audit.ed25519_verifies(key, text, signed)
    assert not audit.ed25519_verifies(key, text + b"x", signed)
    for place in (0, 31, 32, 63):
        flipped = bytes(byte ^ (number == place) for number, byte in enumerate(signed))
        assert not audit.ed25519_verifies(key, text, flipped)
    assert not audit.ed25519_verifies(bytes(31), text, signed)
    assert not audit.ed25519_verifies(b"\xff" * 32, text, signed)


def test_a_signature_has_one_form_only() -> None:
    """RFC 8032, 5.1.7: S is below the order of the group; S plus the order would verify too."""
    key, text, signed = (bytes.fromhex(each) for each in VECTORS[1])
    more = int.from_bytes(signed[32:], "little") + audit.ORDER
    assert not audit.ed25519_verifies(key, text, signed[:32] + more.to_bytes(32, "little"))


def test_signatures_of_another_implementation() -> None:
    draw = random.Random(8032)
    for _number in range(5):
        private = Ed25519PrivateKey.from_private_bytes(draw.randbytes(32))
        message = draw.randbytes(draw.randint(0, 200))
        public = private.public_key().public_bytes_raw()
        assert audit.ed25519_verifies(public, message, private.sign(message))
        assert not audit.ed25519_verifies(draw.randbytes(32), message, private.sign(message))


def test_a_published_note_and_its_key() -> None:
    key = audit.read_key(PETER)
    assert audit.signed_by(POEM, [key]) == POEM.rpartition("\n\n")[0] + "\n"
    with pytest.raises(ValueError, match="signature of PeterNeumann is wrong"):
        audit.signed_by(POEM.replace("answer", "question"), [key])
    assert audit.signed_by(POEM, [audit.Key("Peter", key.public)]) is None


@pytest.mark.parametrize(
    "written", ["a+b+c", PETER.replace("c74f", "c75f"), PETER[:-4], "no/such/file", "x+00000000+AA=="]
)
def test_what_is_no_key_is_refused(written: str) -> None:
    with pytest.raises(audit.CannotAuditError):
        audit.read_key(written)


def test_the_roots_of_certificate_transparency() -> None:
    """The reference tree of the CT test suite (google/certificate-transparency, merkletree tests): eight leaves."""
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = {
        0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    tree, found = audit.Tree(), {}
    for size in range(len(leaves) + 1):
        found[size] = tree.root().hex()
        if size < len(leaves):
            tree.append(audit.leaf_hash(bytes.fromhex(leaves[size])))
    assert {size: found[size] for size in roots} == roots


def test_canonical_bytes_are_those_of_rfc_8785() -> None:
    draw = random.Random(8785)
    letters = 'aZ\u20ac\u00f6\ud7ff\U0001f600\ufb33"\\/\b\f\n\r\t\x00\x1f\x7f\u2028'

    def word() -> str:
        return "".join(draw.choice(letters) for _number in range(draw.randint(0, 5)))

    def value(depth: int) -> Any:  # noqa: ANN401 - any JSON value
        plain = [word(), draw.randint(-(2**53) + 1, 2**53 - 1), True, False, None]
        if depth == 0 or draw.random() < 0.3:
            return draw.choice(plain)
        if draw.random() < 0.5:
            return [value(depth - 1) for _number in range(draw.randint(0, 4))]
        return {word(): value(depth - 1) for _number in range(draw.randint(0, 4))}

    for _number in range(300):
        document = value(4)
        assert audit.canonical(document) == rfc8785.dumps(document)
    with pytest.raises(ValueError, match=r"beyond 2\^53"):
        audit.canonical(2**53)


@pytest.mark.parametrize("text", ['{"a":1.5}', '{"a":1,"a":1}', '{"a":NaN}', "[1e3]"])
def test_json_that_two_readers_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"integer|twice"):
        audit.read_json(text)


# The chain of an export.

CASE = reading.read(reading.FOLDER / "overlap_is_a_union.yaml")


@pytest.fixture
def export(tmp_path: Path) -> list[dict[str, Any]]:
    """Lines of an export that holds, but for its end: `written` makes one anew."""
    with books(tmp_path, CASE.now_us, CASE.lines) as kept:
        kept.close(str(CASE.month))
        lines = [json.loads(line) for line in kept.export().read_bytes().splitlines()]
        assert lines.pop()["type"] == "end"
        return lines


def written(lines: list[dict[str, Any]], path: Path) -> Path:
    """As a forger leaves it, who makes the end fit what stands before it."""
    entries = [line["entry"] for line in lines if "entry" in line]
    rows = sum(line["type"] in {"run", "spans"} for line in lines)
    end = {"type": "end", "entries": len(entries), "head": entries[-1]["hash"], "segments": 0, "rows": rows}
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, end | {"arrival": 0}]))
    return path


def broken(lines: list[dict[str, Any]], folder: Path) -> list[str]:
    return audit.read_ledger(written(lines, folder / "forged.jsonl")).broken


def made_anew(lines: list[dict[str, Any]]) -> None:
    """Every hash again, as one does who can write the whole file."""
    head = audit.FIRST_PREV
    for number, line in enumerate([line for line in lines if "entry" in line], 1):
        fact = {name: value for name, value in line.items() if name != "entry"}
        line["entry"] |= {"seq": number, "prev": head}
        line["entry"]["hash"] = head = audit.sha256(audit.entry_bytes(fact, line["entry"]))


def _changed(lines: list[dict[str, Any]]) -> None:
    next(line for line in lines if line["type"] == "notice")["at"] = "2026-04-01T00:00:00.000000+00:00"


def _deleted(lines: list[dict[str, Any]]) -> None:
    lines.remove(next(line for line in lines if line["type"] == "exclusion"))


def _swapped(lines: list[dict[str, Any]]) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def _passed_off_as_own(lines: list[dict[str, Any]]) -> None:
    next(line for line in lines if line["type"] == "notice")["entry"]["origin"] = "own"


def _back_dated(lines: list[dict[str, Any]]) -> None:
    next(line for line in lines if line["type"] == "close")["entry"]["recorded_at"] = "2026-04-01T00:00:00.000000+00:00"


def test_a_chain_that_holds(export: list[dict[str, Any]], tmp_path: Path) -> None:
    assert broken(export, tmp_path) == []


@pytest.mark.parametrize("forge", [_changed, _deleted, _swapped, _passed_off_as_own, _back_dated])
def test_a_forged_entry_breaks_the_chain(
    forge: Callable[[list[dict[str, Any]]], None], export: list[dict[str, Any]], tmp_path: Path
) -> None:
    forge(export)
    assert broken(export, tmp_path)


# Checkpoints over it, signed as the public format has it.


class Signer:
    def __init__(self, seed: int, name: str = "example.id/ledger") -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.key = audit.Key(name, self.private.public_key().public_bytes_raw())

    @property
    def line(self) -> str:
        return f"{self.key.name}+{self.key.id.hex()}+{base64.b64encode(bytes([1]) + self.key.public).decode()}"

    def note(self, text: str) -> str:
        signature = base64.b64encode(self.key.id + self.private.sign(text.encode())).decode()
        return f"{text}\n\u2014 {self.key.name} {signature}\n"

    def checkpoint(self, lines: list[dict[str, Any]]) -> dict[str, Any]:
        """A checkpoint over the entries so far."""
        tree, size = audit.Tree(), 0
        for line in lines:
            if "entry" in line:
                fact = {name: value for name, value in line.items() if name != "entry"}
                tree.append(audit.leaf_hash(audit.entry_bytes(fact, line["entry"])))
                size += 1
        note = self.note(f"{self.key.name}\n{size}\n{base64.b64encode(tree.root()).decode()}\n")
        return {"type": "checkpoint", "at": "2026-05-11T00:00:00.000000+00:00", "note": note}


def appended(lines: list[dict[str, Any]], fact: dict[str, Any]) -> None:
    place = {"recorded_at": "2026-05-12T00:00:00.000000+00:00", "origin": "own", "epoch": 0}
    lines.append(fact | {"entry": place})
    made_anew(lines)


def signed(lines: list[dict[str, Any]], folder: Path, key: audit.Key) -> audit.Signed:
    ledger = audit.read_ledger(written(lines, folder / "signed.jsonl"))
    assert ledger.broken == []
    return audit.read_signed(ledger, key)


def test_a_checkpoint_covers_what_stands_before_it(export: list[dict[str, Any]], tmp_path: Path) -> None:
    signer = Signer(1)
    entries = sum("entry" in line for line in export)
    appended(export, signer.checkpoint(export))
    found = signed(export, tmp_path, audit.read_key(signer.line))
    assert (found.problems, found.covered) == ([], entries)


def test_a_chain_made_anew_is_found_by_its_checkpoint(export: list[dict[str, Any]], tmp_path: Path) -> None:
    signer = Signer(1)
    appended(export, signer.checkpoint(export))
    _changed(export)
    made_anew(export)
    (problem,) = signed(export, tmp_path, signer.key).problems[:1]
    assert "are not those that were signed" in problem


def test_a_tail_that_was_cut_is_found_by_a_checkpoint_from_outside(
    export: list[dict[str, Any]], tmp_path: Path
) -> None:
    signer = Signer(1)
    note = signer.checkpoint(export)["note"]
    cut = [line for line in export if line["type"] != "close"]
    appended(cut, signer.checkpoint(cut))
    found = signed(cut[:-1], tmp_path, signer.key)
    assert found.judge(note) == (
        True,
        [f"it covers {found_size(note)} entries, the export has {found_size(note) - 1}: its tail is gone"],
    )


def found_size(note: str) -> int:
    return int(note.splitlines()[1])


def test_a_rotated_key_is_known_by_the_word_of_the_one_before(export: list[dict[str, Any]], tmp_path: Path) -> None:
    old, new, thief = Signer(1), Signer(2), Signer(3)
    endorsed = old.note(f"the next key\n{new.line}\n")
    appended(export, {"type": "key", "key": new.line, "why": "rotated", "at": CASE_AT, "endorsed": endorsed})
    appended(export, new.checkpoint(export))
    assert signed(export, tmp_path, old.key).problems == []
    appended(export, thief.checkpoint(export[:3]))  # it would not match; but its key is nobody's that is known
    assert signed(export, tmp_path, old.key).problems == []
    assert signed(export, tmp_path, Signer(4).key).problems == ["no checkpoint in the export is signed by the key"]


CASE_AT = "2026-05-11T00:00:00.000000+00:00"


def test_the_hash_of_the_first_entry_by_hand(export: list[dict[str, Any]]) -> None:
    line = next(line for line in export if "entry" in line)
    place = line.pop("entry")
    written = {"epoch": 0, "fact": line, "origin": "imported", "prev": "sha256:" + 64 * "0", "seq": 1}
    text = json.dumps(written, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert place["hash"] == "sha256:" + hashlib.sha256(text.encode()).hexdigest()

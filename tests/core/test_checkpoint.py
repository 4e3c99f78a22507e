"""Notes, checkpoints and keys as their public formats want them."""

from __future__ import annotations

import base64

import pytest

from monitor.core.checkpoint import (
    MAX_SIGNATURES,
    Checkpoint,
    Note,
    NoteError,
    PublicKey,
    Signature,
    read_checkpoint,
    read_note,
    read_public_key,
    rotation_text,
)

# The key and the note in the documentation of Go's golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
POEM = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The checkpoint in the specification of C2SP's tlog-checkpoint.
SOFA = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
KEY = PublicKey("jaga/test", bytes(range(32)))


def signed(text: str, *lines: str) -> str:
    return text + "\n" + "".join(f"{line}\n" for line in lines)


LINE = f"— jaga/test {base64.b64encode(KEY.id + b'signature').decode()}"


def test_a_published_key_is_read_and_written() -> None:
    key = read_public_key(PETER + "\n")
    assert key.name == "PeterNeumann"
    assert key.id.hex() == "c74f20a3"
    assert str(key) == PETER


@pytest.mark.parametrize("written", [POEM, SOFA])
def test_published_notes_are_read_and_written(written: str) -> None:
    assert str(read_note(written)) == written


def test_a_published_checkpoint_is_read_and_written() -> None:
    checkpoint, note = read_checkpoint(SOFA)
    assert checkpoint.origin == "example.com/behind-the-sofa"
    assert checkpoint.size == 20852163
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e1d")
    assert checkpoint.text == note.text
    assert [line.name for line in note.signatures] == ["example.com/behind-the-sofa"]


def test_a_note_is_signed_by_whom_its_line_names_and_the_signature_shows() -> None:
    asked: list[tuple[bytes, bytes, bytes]] = []

    def right(public: bytes, message: bytes, signature: bytes) -> bool:
        asked.append((public, message, signature))
        return signature == b"right"

    text = "one\n"
    ours, wrong = Signature(KEY.name, KEY.id, b"right"), Signature(KEY.name, KEY.id, b"wrong")
    assert Note(text, (ours,)).signed_by(KEY, right)
    assert asked == [(KEY.data, b"one\n", b"right")]
    assert not Note(text, (wrong,)).signed_by(KEY, right)
    assert not Note(text, (ours, wrong)).signed_by(KEY, right)
    assert not Note(text, (Signature("jaga/other", KEY.id, b"right"),)).signed_by(KEY, right)
    assert not Note(text, (Signature(KEY.name, b"1234", b"right"),)).signed_by(KEY, right)
    assert not Note(text, ()).signed_by(KEY, right)
    assert Note(text, (Signature("witness", b"1234", b"wrong"), ours)).signed_by(KEY, right)


def test_the_text_of_a_rotation_can_be_no_checkpoint() -> None:
    text = rotation_text(KEY)
    assert text == f"jaga/test\nnext key\n{KEY}\n"
    with pytest.raises(NoteError, match="number of entries"):
        read_checkpoint(signed(text, LINE))


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "an empty line"),
        ("text\n", "an empty line"),
        ("\n\n" + LINE + "\n", "an empty line"),
        (signed("text\n", LINE)[:-1], "an empty line"),
        (signed("te\txt\n", LINE), "control characters"),
        (signed("text\r\n", LINE), "control characters"),
        (signed("text\n", LINE.replace("—", "-")), "long dash"),
        (signed("text\n", LINE, ""), "long dash|an empty line"),
        (signed("text\n", "—  AAAAAAAA"), "name"),
        (signed("text\n", "— a+b AAAAAAAA"), "name"),
        (signed("text\n", "— a\N{NO-BREAK SPACE}b AAAAAAAA"), "name"),
        (signed("text\n", "— ab AAAA"), "four bytes"),
        (signed("text\n", "— ab !!!!"), "base64"),
        (signed("text\n", "— ab AAAAAAB="), "canonical"),
        (signed("text\n", "— ab \N{SUPERSCRIPT TWO}"), "base64"),
        (signed("text\n", *[LINE] * (MAX_SIGNATURES + 1)), "at most 16 signatures"),
        ("x" * 5000, "at most 4096"),
    ],
)
def test_what_is_no_note(written: str, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        read_note(written)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\n1\n", "three lines"),
        ("a\n1\n" + "A" * 43 + "=\nmore\n", "three lines"),
        ("\n1\n" + "A" * 43 + "=\n", "origin"),
        ("a\n01\n" + "A" * 43 + "=\n", "number of entries"),
        ("a\n-1\n" + "A" * 43 + "=\n", "number of entries"),
        ("a\n\N{SUPERSCRIPT TWO}\n" + "A" * 43 + "=\n", "number of entries"),
        ("a\n1\nAAAA\n", "32 bytes"),
        ("a\n1\nno\n", "base64"),
    ],
)
def test_what_is_no_checkpoint(text: str, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        read_checkpoint(signed(text, LINE))


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "name"),
        ("a b+00000000+AAAA", "name"),
        ("a+00000000", "Ed25519"),
        ("a+00000000+AQID", "Ed25519"),
        (PETER.replace("ARpc", "AhpC"), "Ed25519"),
        (PETER.replace("c74f", "c74e"), "its? id is c74f20a3|id is"),
        (PETER.replace("Peter", "Petra"), "a character was changed"),
        (PETER.replace("+AR", "+?R"), "base64"),
    ],
)
def test_what_is_no_key(written: str, why: str) -> None:
    with pytest.raises(NoteError, match=why):
        read_public_key(written)


def test_a_checkpoint_is_written_as_its_text() -> None:
    checkpoint = Checkpoint("jaga/test", 0, bytes(32))
    assert checkpoint.text == "jaga/test\n0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
    assert read_checkpoint(signed(checkpoint.text, LINE))[0] == checkpoint

"""Checkpoints and the signed notes they are written as: public formats that other tools read and check.

The formats are C2SP's `signed-note` and `tlog-checkpoint` (https://c2sp.org/tlog-checkpoint) with Ed25519 signatures;
keys are written as Go's `golang.org/x/mod/sumdb/note` does, `NAME+ID+BASE64`. A checkpoint says "the first SIZE entries
of the ledger ORIGIN have this root". This module reads and writes; it signs and checks nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from monitor.core.merkle import HASH_BYTES

ED25519 = b"\x01"
"""The signature type of plain Ed25519."""

MAX_SIGNATURES = 16
"""The most signatures of one note: as many as the format wants a reader to take."""

MAX_NOTE_CHARACTERS = 4096
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DASH = "— "
_ID_BYTES = 4

Checks = Callable[[bytes, bytes, bytes], bool]
"""Whether a signature is right: public key (32 bytes), message, signature (64 bytes) -> bool."""


class NoteError(ValueError):
    """A text that is no note, no checkpoint or no key: says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Who signs: a name (here the origin of the ledger) and the 32 bytes of an Ed25519 key."""

    name: str
    data: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that tell the keys of one name apart; no strong hash."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.data).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        """`NAME+ID+BASE64`, the one line that a partner keeps."""
        return f"{self.name}+{self.id.hex()}+{_base64(ED25519 + self.data)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note: the key's name and id as written, and the bytes."""

    name: str
    id: bytes
    data: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {_base64(self.id + self.data)}"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a newline, and its signatures."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(f"{signature}\n" for signature in self.signatures)

    def signed_by(self, key: PublicKey, checks: Checks) -> bool:
        """Whether the key signed it. A wrong signature under the key's name and id spoils the whole note."""
        ours = [found for found in self.signatures if (found.name, found.id) == (key.name, key.id)]
        return bool(ours) and all(checks(key.data, self.text.encode(), found.data) for found in ours)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The root over the first `size` entries of the ledger that calls itself `origin`."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


def read_note(written: str) -> Note:
    """The note of a text; NoteError says what is wrong."""
    if len(written) > MAX_NOTE_CHARACTERS:
        raise NoteError(f"a note has at most {MAX_NOTE_CHARACTERS} characters, this has {len(written)}")
    if _CONTROL.search(written):
        raise NoteError("a note holds no control characters but newlines")
    text, blank, rest = written.rpartition("\n\n")
    if not blank or not text or not rest.endswith("\n"):
        raise NoteError("a note is a text, an empty line, and lines with signatures")
    lines = rest[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"a note has at most {MAX_SIGNATURES} signatures, this has {len(lines)}")
    return Note(text + "\n", tuple(_read_signature(line) for line in lines))


def read_checkpoint(written: str) -> tuple[Checkpoint, Note]:
    """The checkpoint of a signed note, and the note; NoteError says what is wrong. Extension lines are refused."""
    note = read_note(written)
    lines = note.text[:-1].split("\n")
    if len(lines) != 3:  # noqa: PLR2004 - stated in the message
        raise NoteError(f"a checkpoint has three lines, origin, size and root; this has {len(lines)}")
    origin, size, root = lines
    if not origin:
        raise NoteError("a checkpoint names its origin in the first line")
    if not size.isascii() or not size.isdigit() or str(int(size)) != size:
        raise NoteError(f"the second line of a checkpoint is a number of entries, not {size[:40]!r}")
    hashed = _unbase64(root, "the third line of a checkpoint")
    if len(hashed) != HASH_BYTES:
        raise NoteError(f"the third line of a checkpoint is a root of {HASH_BYTES} bytes, this has {len(hashed)}")
    return Checkpoint(origin, int(size), hashed), note


def read_public_key(written: str) -> PublicKey:
    """The key of its one line; NoteError says what is wrong."""
    name, _, rest = written.strip().partition("+")
    key_id, _, data = rest.partition("+")
    _check_name(name)
    held = _unbase64(data, "the third part of a key")
    if held[:1] != ED25519 or len(held) != 1 + HASH_BYTES:
        raise NoteError("a key is NAME+ID+BASE64 of an Ed25519 key")
    key = PublicKey(name, held[1:])
    if key.id.hex() != key_id:
        raise NoteError(f"the key's id is {key.id.hex()}, not {key_id[:20]!r}: a character was changed")
    return key


def rotation_text(new: PublicKey) -> str:
    """What the key before signs when `new` takes its place. Its second line is no number: no checkpoint is like it."""
    return f"{new.name}\nnext key\n{new}\n"


def _read_signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH):
        raise NoteError(f"a signature line begins with a long dash and a space, not {line[:20]!r}")
    _check_name(name)
    data = _unbase64(encoded, "a signature")
    if len(data) <= _ID_BYTES:
        raise NoteError("a signature is the four bytes of the key's id, then its own")
    return Signature(name, data[:_ID_BYTES], data[_ID_BYTES:])


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise NoteError(f"a key has a name without spaces and plus signs, not {name[:40]!r}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(f"{what} is base64: {error}") from error
    if _base64(data) != text:
        raise NoteError(f"{what} is base64 in its one canonical form")
    return data

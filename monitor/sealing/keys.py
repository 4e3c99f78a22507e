"""The signing key: made, kept in a file that its owner alone may read, and used. The one door to cryptography.

The file holds one line as Go's `sumdb/note` writes it: `PRIVATE+KEY+NAME+ID+BASE64`. What is public of it goes into the
ledger as a fact and to the partners as a line (`jaga ledger key`).
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from monitor.core.checkpoint import ED25519, Note, PublicKey, Signature
from monitor.storage.durable import sync_folder

_PREFIX = "PRIVATE+KEY+"
_MODE = 0o600
_MAX_BYTES = 1024


class KeyFileError(Exception):
    """The key file cannot be used: operation, file, cause and hint (exit code 3)."""

    def __init__(self, operation: str, file: Path, cause: str, hint: str) -> None:
        super().__init__(f"{operation} {file}: {cause} ({hint})")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the name it signs under. Its text never shows the secret."""

    name: str
    _private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> PublicKey:
        """What others know of it."""
        return PublicKey(self.name, self._private.public_key().public_bytes_raw())

    def sign(self, text: str) -> Note:
        """The note of a text that ends in a newline."""
        assert text.endswith("\n"), "a note's text ends in a newline"
        return Note(text, (Signature(self.name, self.public.id, self._private.sign(text.encode())),))


def make_key(name: str) -> SigningKey:
    """A new key."""
    return SigningKey(name, Ed25519PrivateKey.generate())


def checks(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature is right (`core.checkpoint.Checks`)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def write_key(key: SigningKey, file: Path) -> None:
    """Keep a key in a file that does not exist yet, durable when this returns; KeyFileError."""
    seed = base64.b64encode(ED25519 + key._private.private_bytes_raw()).decode()  # noqa: SLF001 - this module is its door
    line = f"{_PREFIX}{key.name}+{key.public.id.hex()}+{seed}\n"
    partial = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "w") as out:
            out.write(line)
            out.flush()
            os.fsync(out.fileno())
        try:
            # A link, not a rename: it never takes the place of a key that is there.
            os.link(partial, file)
        except FileExistsError as error:
            hint = "a key is never overwritten"
            raise KeyFileError("write the key to", file, "there is one already", hint) from error
        partial.unlink()
        sync_folder(file.parent)
    except OSError as error:
        hint = "give the daemon's user the right to write there, or set sealing.key"
        raise KeyFileError("write the key to", file, str(error.strerror), hint) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def read_key(file: Path) -> SigningKey | None:
    """The key of a file, None where there is no file. KeyFileError where it is damaged or others may read it."""
    try:
        with file.open("rb") as source:
            mode = stat.S_IMODE(os.fstat(source.fileno()).st_mode)
            data = source.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFileError("read the key", file, str(error.strerror), "its user must be able to read it") from error
    if mode & 0o077:
        cause = f"others may read or write it (mode {mode:04o})"
        raise KeyFileError("read the key", file, cause, f"chmod 600 {file}; if others did read it, rotate the key")
    try:
        return _read(data.decode("ascii"))
    except (ValueError, binascii.Error) as error:
        hint = "put its backup back; without one, see `jaga ledger key --help` for what a lost key means"
        raise KeyFileError("read the key", file, f"it is no key: {error}", hint) from error


def _read(text: str) -> SigningKey:
    if not text.startswith(_PREFIX) or not text.endswith("\n"):
        raise ValueError("its line is not whole")
    name, key_id, seed = text.removeprefix(_PREFIX)[:-1].split("+", 2)
    data = base64.b64decode(seed, validate=True)
    if data[:1] != ED25519:
        raise ValueError("its kind is unknown")
    key = SigningKey(name, Ed25519PrivateKey.from_private_bytes(data[1:]))
    if key.public.id.hex() != key_id:
        raise ValueError("its id is not that of its key")
    return key

"""Pictures and videos of reports, kept beside the ledger under their digests: what a file holds says its type, not its
name. The record has the digest, so that a file that was changed later is told from the one that was reported.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from monitor.core.incident_fact import Attachment
from monitor.storage.durable import sync_folder

FOLDER = "attachments"
MAX_BYTES = 20 * 2**20
_CHUNK = 2**20
_HEAD_BYTES = 16

# How a file of each kind begins: (where, what), all of them.
_SIGNS: tuple[tuple[str, tuple[tuple[int, bytes], ...]], ...] = (
    ("image/png", ((0, b"\x89PNG\r\n\x1a\n"),)),
    ("image/jpeg", ((0, b"\xff\xd8\xff"),)),
    ("image/gif", ((0, b"GIF8"),)),
    ("image/webp", ((0, b"RIFF"), (8, b"WEBP"))),
    ("video/mp4", ((4, b"ftyp"),)),
    ("video/webm", ((0, b"\x1a\x45\xdf\xa3"),)),
)


class AttachmentError(ValueError):
    """A file that cannot be attached; says which and why."""


def media_type(head: bytes) -> str | None:
    """What a file is by its first bytes; None for anything but a picture or a video."""
    for found, signs in _SIGNS:
        if all(head[at : at + len(sign)] == sign for at, sign in signs):
            return found
    return None


def keep(file: Path, beside: Path) -> Attachment:
    """Copy a file into `beside`/attachments, durable when this returns; the same content again changes nothing.

    AttachmentError for a file that is too large, empty, or neither a picture nor a video. OSError where it cannot be
    read or kept.
    """
    folder = beside / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as source, tempfile.NamedTemporaryFile(dir=folder, delete=False) as copy:
        written = Path(copy.name)
        try:
            head = source.read(_HEAD_BYTES)
            kind = _known_type(head, file)
            chunk = head
            while chunk:
                size += len(chunk)
                _bounded(size, file)
                digest.update(chunk)
                copy.write(chunk)
                chunk = source.read(_CHUNK)
            copy.flush()
            os.fsync(copy.fileno())
            written.replace(folder / digest.hexdigest())
        except BaseException:
            written.unlink(missing_ok=True)
            raise
    sync_folder(folder)
    return Attachment(name=file.name, media_type=kind, size_bytes=size, digest="sha256:" + digest.hexdigest())


def _known_type(head: bytes, file: Path) -> str:
    kind = media_type(head)
    if kind is None:
        known = ", ".join(name for name, _signs in _SIGNS)
        raise AttachmentError(f"{file}: its content is none of {known}")
    return kind


def _bounded(size_bytes: int, file: Path) -> None:
    if size_bytes > MAX_BYTES:
        raise AttachmentError(f"{file}: has more than {MAX_BYTES // 2**20} MiB")


def path_of(attachment: Attachment, beside: Path) -> Path:
    """Where a kept attachment is."""
    return beside / FOLDER / attachment.digest.removeprefix("sha256:")

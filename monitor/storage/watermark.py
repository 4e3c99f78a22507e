"""The last commit that was answered "it is durable", in a small file beside a SQLite ledger.

A write-ahead log whose end is damaged is cut back in silence, and a file from yesterday is a sound ledger: the database
cannot know what it once held. The mark is written after each commit and never synced, so that it costs nothing and is
never ahead of what is durable. After a power cut it may be behind, which proves less and nothing wrong.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path

from monitor.storage import Acknowledged

_BYTES = 256


class Watermark:
    """The mark of one ledger, open for its owner."""

    def __init__(self, ledger: Path) -> None:
        self._file = os.open(mark_path(ledger), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, acknowledged: Acknowledged) -> None:
        """Keep what was acknowledged. A write that fails leaves an older mark, which says less and nothing wrong."""
        said = f"{acknowledged.seq} {acknowledged.hash} {acknowledged.arrival}"
        line = f"{said} {zlib.crc32(said.encode()):08x}"
        with suppress(OSError):
            os.pwrite(self._file, f"{line:<{_BYTES - 1}}\n".encode(), 0)

    def close(self) -> None:
        """Let go of the file; a second time changes nothing."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def read_watermark(ledger: Path) -> Acknowledged | None:
    """The mark beside a ledger; None where there is none, or none whole: a power cut may leave anything there."""
    try:
        with mark_path(ledger).open("rb") as source:
            said, _, crc = source.read(_BYTES).decode().strip().rpartition(" ")
        if f"{zlib.crc32(said.encode()):08x}" != crc:
            return None
        seq, hashed, arrival = said.split(" ")
        return Acknowledged(seq=int(seq), hash=hashed, arrival=int(arrival))
    except (OSError, ValueError):
        return None


def mark_path(ledger: Path) -> Path:
    """The file of the mark."""
    return ledger.with_name(f"{ledger.name}-mark")

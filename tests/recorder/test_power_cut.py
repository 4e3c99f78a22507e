"""The power fails at every write of a session: nothing acknowledged is lost, nothing that is found is damaged.

A kill shows none of this, for the page cache survives it: the real recorder's system calls are recorded, and the disk
is put together as it may look after each of them.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from monitor.ledger.verify import verify
from monitor.storage.sqlite import open_store
from monitor.storage.watermark import read_watermark
from tests.recorder.disk import Image, moments, trace
from tests.recorder.session import RUNS

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace records the system calls"),
    pytest.mark.slow,
]
SEED = 5
VERIFY_EVERY = 100

Rows = list[tuple[Any, ...]]


@dataclass(slots=True)
class Findings:
    """How many images were looked at, of each kind, and what was wrong with which."""

    images: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)


def read(path: Path) -> tuple[str, Rows, Rows]:
    """As SQLite finds a file and its log after a power cut: what it says of its integrity, the runs, the entries."""
    raw = sqlite3.connect(path)
    try:
        if not raw.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return "ok", [], []
        (said,) = raw.execute("PRAGMA integrity_check").fetchone()
        runs = raw.execute("SELECT arrival, source, start_us, outcome, crc FROM runs ORDER BY arrival").fetchall()
        entries = raw.execute("SELECT seq, hash, data FROM entries ORDER BY seq").fetchall()
        (arrival, seq) = raw.execute("SELECT arrival, seq FROM ledger").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error), [], []
    finally:
        raw.close()
    whole = (arrival, seq) == (len(runs), len(entries))
    return said if whole else "the ledger row disagrees with the rows", runs, entries


def put(folder: Path, image: Image) -> Path:
    """The image as files, in a folder that held another one before."""
    for old in folder.iterdir():
        old.unlink()
    for name, data in image.items():
        (folder / name).write_bytes(data)
    return folder / "ledger.db"


def replay(tmp_path: Path, synchronous: str, kinds: frozenset[str] | None = None) -> Findings:
    """Trace a session and look at every image (of some kinds)."""
    source, place, found = tmp_path / "session", tmp_path / "image", Findings()
    lines = trace(source, synchronous)
    place.mkdir()
    said, final_runs, final_entries = read(source / "ledger.db")
    assert (said, len(final_runs)) == ("ok", RUNS)
    for number, moment in enumerate(moments(lines, source, SEED)):
        for kind, image in moment.images.items():
            if kinds is not None and kind not in kinds:
                continue
            found.images[kind] += 1
            where = f"{kind} after call {number}"
            path = put(place, image)
            said, runs, entries = read(path)
            if said != "ok" or runs != final_runs[: len(runs)] or entries != final_entries[: len(entries)]:
                found.corrupt.append(f"{where}: {said}")
            if (len(runs), len(entries)) < moment.acknowledged or len(entries) < moment.acknowledged[1]:
                found.lost.append(f"{where}: {len(runs)} runs, {len(entries)} entries of {moment.acknowledged}")
            mark = read_watermark(path)
            if mark is not None and (mark.arrival > len(runs) or mark.seq > len(entries)):
                found.lost.append(f"{where}: the mark is ahead of the ledger")
            if synchronous == "FULL" and number % VERIFY_EVERY == 0:
                opened(path)
    return found


def opened(path: Path) -> None:
    """The program's own way in: it opens, verifies, and goes on writing."""
    store = open_store(path)
    try:
        assert verify(store).problems == ()
    finally:
        store.close()


def test_no_acknowledged_run_is_lost_and_nothing_is_corrupt(tmp_path: Path) -> None:
    found = replay(tmp_path, "FULL")
    assert found.lost == []
    assert found.corrupt == []
    assert min(found.images.values()) > RUNS, found.images
    assert len(found.images) == 4


def test_the_test_finds_what_a_weaker_setting_loses(tmp_path: Path) -> None:
    """`synchronous=NORMAL` acknowledges before the log is synced: the same replay must show lost runs."""
    found = replay(tmp_path, "NORMAL", frozenset({"unsynced dropped"}))
    assert len(found.lost) > 50

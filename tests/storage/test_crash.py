"""kill -9 of the writer at any moment: what was acknowledged is there, once, and no unit is there in part."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from monitor.core.run import SourceKey
from monitor.core.span import Span
from monitor.ledger.verify import verify
from monitor.storage.sqlite import open_reader, open_store

WRITER = Path(__file__).with_name("writer.py")
KILLS = 30
MOST_ACKS = 10
"""Of a session before it is killed; each check reads all that was written so far."""
RUNS_A_UNIT = 10


def killed_session(stdin: IO[str], stdout: IO[str], acks: int) -> int:
    """Start a session and kill it after so many acknowledgements; the last unit that it acknowledged before it died."""
    stdin.write("go\n")
    stdin.flush()
    last, seen, pid = -1, 0, 0
    while (line := stdout.readline().strip()) != "gone":
        pid, last = (int(word) for word in line.split())
        seen += 1
        if seen == acks:
            os.kill(pid, signal.SIGKILL)
    assert seen >= acks, "the writer ended by itself"
    return last


@pytest.mark.exhaustive
def test_no_acknowledged_run_is_lost_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    chance = random.Random(7)
    root = Path(__file__).parents[2]
    command = [sys.executable, str(WRITER), str(path)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment, cwd=root) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        for _ in range(KILLS):
            acknowledged = killed_session(writer.stdin, writer.stdout, chance.randint(1, MOST_ACKS))
            check(path, acknowledged)
        writer.stdin.close()
        assert writer.wait(120) == 0


def check(path: Path, acknowledged: int) -> None:
    """Read as the next one finds it, without an owner, then as its owner."""
    for opening in (open_reader, open_store):
        store = opening(path)
        written = store.mark("unit")
        assert written >= acknowledged
        runs = store.runs(SourceKey("portal", "login", "jkt-1"), Span(0, 2**60))
        assert [run.start_us for run in runs] == list(range((written + 1) * RUNS_A_UNIT))
        assert store.head().seq == written // 3 + 1
        assert store.counts().runs == (written + 1) * RUNS_A_UNIT
        assert verify(store).holds
        store.close()

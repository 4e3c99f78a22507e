"""kill -9 at every point of a month's close: each month is closed once and whole, or not at all, and the next start
closes the rest (CONTRACT 2.7, FAULTS F6).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from monitor.core.calendar import Month
from monitor.core.chain import canonical
from monitor.ledger.explain import matches_issued
from monitor.ledger.month import Months, Statement
from monitor.ledger.verify import verify
from monitor.storage.sqlite import open_reader
from tests.closing.closer import BASIS
from tests.closing.ledger import NOW_US, PARTNERS, SERVICES, watched

CLOSER = Path(__file__).with_name("closer.py")
APRIL = Month(2026, 4)
MONTHS = len(PARTNERS) * len(SERVICES)
MOST_POINTS = 400
AGAIN = 10


class Closer:
    """The process that forks sessions."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin, self._stdout = stdin, stdout

    def session(self, point: int, path: Path) -> tuple[bool, int]:
        """Whether it was killed, and how many months it said it had closed."""
        self._stdin.write(f"{point} {path}\n")
        self._stdin.flush()
        closed = 0
        while (line := self._stdout.readline().strip()) not in {"killed", "done"}:
            if line.startswith("closed "):  # the rest is the log
                closed = int(line.removeprefix("closed "))
        return line == "killed", closed


@pytest.fixture
def closer() -> Iterator[Closer]:
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, str(CLOSER)], stdin=-1, stdout=-1, text=True, env=environment, cwd=root
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Closer(process.stdin, process.stdout)
        process.stdin.close()
        assert process.wait(120) == 0


def statements(path: Path) -> list[Statement]:
    reader = open_reader(path)
    try:
        assert verify(reader).holds
        return Months(reader, BASIS, NOW_US).statements(APRIL)
    finally:
        reader.close()


def closed(path: Path) -> list[Statement]:
    return [found for found in statements(path) if found.ground.version]


def figures(found: Statement) -> bytes:
    """The statement without where in the chain it stands: entries carry the epoch of who wrote them."""
    return canonical({name: value for name, value in found.document.items() if name not in {"ledger", "digest"}})


@pytest.mark.slow
def test_a_month_is_closed_once_wherever_the_close_is_killed(tmp_path: Path, closer: Closer) -> None:
    prepared = tmp_path / "prepared.db"
    watched(prepared)
    whole = tmp_path / "whole.db"
    shutil.copy(prepared, whole)
    assert closer.session(0, whole) == (False, MONTHS)
    wanted = [figures(found) for found in closed(whole)]
    assert len(wanted) == MONTHS
    counts = set()
    for point in range(1, MOST_POINTS):
        path = tmp_path / f"{point}.db"
        shutil.copy(prepared, path)
        killed, _closed = closer.session(point, path)
        if not killed:
            break
        before = closed(path)
        counts.add(len(before))
        assert all(matches_issued(found) for found in before)
        assert closer.session(0, path) == (False, MONTHS - len(before))
        after = closed(path)
        assert [found.ground.version for found in after] == [1] * MONTHS
        assert all(matches_issued(found) for found in after)
        assert [figures(found) for found in after] == wanted
        issued = {found.document["statement"]: found.document["digest"] for found in after}
        assert all(issued[found.document["statement"]] == found.document["digest"] for found in before)
        if point % AGAIN == 0:
            assert closer.session(0, path) == (False, 0), "what is closed is not closed again"
    else:
        pytest.fail(f"the close has more than {MOST_POINTS} points")
    assert counts == set(range(MONTHS)), "some death left nothing closed, some a part"

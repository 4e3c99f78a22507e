"""Closes what may close in a copy of a ledger, and dies at a given point: for each line `POINT PATH` a forked session.

A point is the moment before or after a statement that writes, or before or after a commit, counted from the first. It
dies by SIGKILL, as a machine would: no handler runs. It answers with `killed` or `done`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, event

from monitor.clock import Clock
from monitor.closing import Closing
from monitor.core.calendar import Month
from monitor.ledger.act import Done, Order, act
from monitor.ledger.close import due
from monitor.ledger.command import CloseMonth
from monitor.ledger.decide import Refused
from monitor.ledger.month import Months
from monitor.ledger.record import Basis
from monitor.storage import Store
from monitor.storage.sqlite import open_store
from tests.closing.ledger import AGREEMENTS, NOW_US

BASIS = Basis(agreements=AGREEMENTS, zone=ZoneInfo, software="jaga test")


def die_at(point: int) -> None:
    """Count the points of this process; at the given one it ends. 0 never comes."""
    passed = 0

    def count(*_said: Any, **_more: Any) -> None:  # noqa: ANN401 - SQLAlchemy's own arguments
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def written(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:  # noqa: ANN401 - as above
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            count()

    event.listen(Engine, "before_cursor_execute", written)
    event.listen(Engine, "after_cursor_execute", written)
    event.listen(Engine, "commit", count)


async def close_all(store: Store) -> int:
    async def what() -> Iterable[tuple[Month, str, str]]:
        return due(Months(store, BASIS, NOW_US))

    async def carry_out(command: CloseMonth) -> Done | Refused:
        return act(store, BASIS, Order(command=command, by="jaga", now_us=NOW_US, tz_version="2026a"))

    # One turn asks no clock.
    return await Closing(clock=cast("Clock", None), due=what, close=carry_out).once()


def session(point: int, path: Path) -> None:
    """Open as the daemon does, then count: what is tried is the close, not the start."""
    store = open_store(path)
    die_at(point)
    closed = asyncio.run(close_all(store))
    os.write(1, f"closed {closed}\n".encode())
    os._exit(0)


def main() -> None:
    for line in sys.stdin:
        point, path = line.split()
        child = os.fork()
        if child == 0:
            session(int(point), Path(path))
        _pid, status = os.waitpid(child, 0)
        os.write(1, b"killed\n" if os.WIFSIGNALED(status) else b"done\n")


if __name__ == "__main__":
    main()

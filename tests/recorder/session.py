"""A session of the real recorder and detector to be traced: 500 runs in 100 transactions, some facts, WAL checkpoints.

After each commit it writes `ack ARRIVAL SEQ` to stdout, in the same trace as what it wrote to its files.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from monitor.clock import live_clock
from monitor.core.fact import Claim
from monitor.core.run import Outcome, Run
from monitor.core.terms import Agreements
from monitor.detector import Detector
from monitor.recorder import Recorder
from monitor.storage import Committed, Store, Unit
from monitor.storage.sqlite import open_store

RUNS = 500
RUNS_A_UNIT = 5
WAL_PAGES = 60
"""So small that the log is moved into the database, and begun anew, some ten times."""


def run(n: int) -> Run:
    """The n-th run."""
    outcome = Outcome.FAIL if n % 9 == 0 else Outcome.PASS
    return Run(service="portal", check=f"c{n % 3}", location="jkt-1", start_us=n * 1_000_000, outcome=outcome)


def fact(n: int) -> Unit:
    """A decision after the n-th run."""
    claim = Claim(partner="acme", service="portal", month="2026-04", at_us=n)
    return Unit(recorded_at_us=n * 1_000_000, facts=[claim])


def acknowledge(committed: Committed) -> None:
    """Say so; from here on it must survive."""
    os.write(1, f"ack {committed.last_arrival} {committed.head.seq}\n".encode())


async def inline(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is called
    return call()


async def session(path: Path, synchronous: str) -> None:
    store = open_store(path)
    with store._writer.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql(f"PRAGMA synchronous = {synchronous}")
        connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.exec_driver_sql("BEGIN")
    submit: Callable[[Callable[[], Any]], Awaitable[Any]] = inline
    clock = live_clock(asyncio.get_running_loop())
    detector = Detector(store, Agreements())
    detector.open(clock.now_us())
    recorder = Recorder(store=store, clock=clock, submit=submit, react=detector.take, on_committed=acknowledge)
    writing = asyncio.create_task(recorder.run())
    for first in range(0, RUNS, RUNS_A_UNIT):
        for n in range(first, first + RUNS_A_UNIT):
            recorder.accept(run(n))

        def make(_store: Store, last: int = first) -> tuple[Unit | None, None]:
            return (fact(last) if last % 20 == 0 else None), None

        await recorder.ask(make)  # whoever asks waits for no quarter of a second
    recorder.stop()
    await writing
    clock.close()
    # Not closed: that would tidy the log away, and the power goes when it likes.
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(session(Path(sys.argv[1]), sys.argv[2]))

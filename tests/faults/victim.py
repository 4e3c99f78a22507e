"""Real daemons to be killed: for each order on stdin a fork lives one life, and tells on stdout what it acknowledged.

What it acknowledges is what the recorder tells everybody to act on (`Recorder.on_committed`): from then on the product
itself treats a run as being there. A fork of one warm process starts in a tenth of the time of a new interpreter, so
that a hundred lives and deaths fit a test.

An order: {"config": path, "point": [name, n] | null, "lost_replies": seed | null, "mutant": name | null}. At its named
point the life ends itself by SIGKILL, at the n-th time that it gets there.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event

from monitor.app import Daemon, Options
from monitor.config import load
from monitor.core.fact import TermsAdopted
from monitor.core.run import Run
from monitor.storage import Committed, StoreError, Unit
from monitor.telemetry.logs import LogFormat, set_up
from tests.faults.mutants import MUTANTS

POINTS = ("run ended", "before commit", "in commit", "after commit", "told", "derived")
"""Where a life may end: a run has its outcome; a unit is about to be written; it is written and not committed; it is
committed and nobody knows; everybody was told; what follows from it was derived.
"""

COMMITS = POINTS[1:4]
RELOADING = ("before adopting", "in adopting", "after adopting")
"""The same three points of the unit that makes a configuration fact, in a life that is ready: of its reload."""

TIMES = {point: 8 if point in COMMITS else 4 for point in POINTS}
"""At which time at a point a life ends, at most: the first commits of a life are its start's, up to three of them, and
what its detector owes is written from the second of its recorder on.
"""

LOST_REPLIES = 0.1
MAX_LINE = 4096
"""A pipe takes so much in one piece (PIPE_BUF): a life that ends in the middle of a word leaves no half of it."""


def say(**words: object) -> None:
    line = json.dumps(words).encode() + b"\n"
    assert len(line) <= MAX_LINE, "what is said is said in one piece"
    os.write(1, line)


class Victim(Daemon):
    """The composed daemon with its seams watched; nothing of it is replaced."""

    def __init__(self, options: Options, order: dict[str, Any]) -> None:
        super().__init__(options)
        self._point = tuple(order["point"] or ("", 0))
        self._reached: dict[str, int] = {}
        seed = order["lost_replies"]
        self._chance = None if seed is None else random.Random(seed)
        self._ready = self._adopting = False

    def reach_commit(self, where: str) -> None:
        self.reach(f"{where} commit")
        if self._adopting:
            self.reach(f"{where} adopting")

    def reach(self, point: str) -> None:
        self._reached[point] = self._reached.get(point, 0) + 1
        if self._point == (point, self._reached[point]):
            os.kill(os.getpid(), signal.SIGKILL)

    def acknowledge(self, committed: Committed) -> None:
        for run in committed.fresh:
            say(ack=[run.service, run.check, run.start_us, run.outcome.value])

    async def start(self) -> None:
        await super().start()
        self._ready = True
        say(ready=os.getpid())

    @asynccontextmanager
    async def _with_parts(self) -> AsyncIterator[None]:
        commit = self.store.commit
        event.listen(self.store._writer, "commit", lambda _connection: self.reach_commit("in"))

        def watched(unit: Unit) -> Committed:
            self._adopting = self._ready and any(isinstance(fact, TermsAdopted) for fact in unit.facts)
            self.reach_commit("before")
            committed = commit(unit)
            self.reach_commit("after")
            if self._chance is not None and unit.runs and self._chance.random() < LOST_REPLIES:
                raise StoreError("commit to", self.store.target, "the answer was lost", "it is tried again")
            return committed

        self.store.commit = watched  # type: ignore[method-assign]
        async with super()._with_parts():
            yield

    def _ended(self, run: Run, begun_ns: int) -> None:
        self.reach("run ended")
        super()._ended(run, begun_ns)

    def _on_committed(self, committed: Committed) -> None:
        self.reach("derived")
        self.acknowledge(committed)
        self.reach("told")
        super()._on_committed(committed)


def live(order: dict[str, Any]) -> int:
    set_up(now_us=lambda: time.time_ns() // 1000, log_format=LogFormat.JSON, level="warning")
    path = Path(order["config"])
    daemon = Victim(Options.of(load(path).settings), order)
    if order["mutant"] is not None:
        MUTANTS[order["mutant"]](daemon)
    return asyncio.run(daemon.serve(lambda: load(path).settings))


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(live(json.loads(line)))
        say(pid=child)
        _pid, status = os.waitpid(child, 0)
        say(gone=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()

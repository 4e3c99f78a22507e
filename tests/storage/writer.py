"""A writer to be killed: for each line read it forks a session that commits units and says so after each commit.

Unit n holds runs n*10 .. n*10+9, every third one a fact, and the mark "unit" with n: what one transaction wrote belongs
together.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from monitor.core.fact import Claim
from monitor.core.run import Outcome, Run
from monitor.storage import Unit
from monitor.storage.sqlite import open_store

RUNS_A_UNIT = 10


def unit(n: int) -> Unit:
    runs = [
        Run(service="portal", check="login", location="jkt-1", start_us=start_us, outcome=Outcome.PASS)
        for start_us in range(n * RUNS_A_UNIT, (n + 1) * RUNS_A_UNIT)
    ]
    claim = Claim(partner="acme", service="portal", month="2026-04", at_us=n)
    return Unit(recorded_at_us=n, runs=runs, facts=(claim,) if n % 3 == 0 else (), marks={"unit": n})


def session(path: Path) -> None:
    store = open_store(path)
    held = store.mark("unit")
    for n in range(0 if held is None else held + 1, 10**9):
        store.commit(unit(n))
        os.write(1, f"{os.getpid()} {n}\n".encode())


def main() -> None:
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            session(Path(sys.argv[1]))
        os.waitpid(child, 0)
        os.write(1, b"gone\n")


if __name__ == "__main__":
    main()

"""A monitor to be killed: for each line read it plays the story of an outage on a new ledger, is killed with SIGKILL at
the n-th commit (before it, or after it and before anything else), starts again, and tells what the ledger holds then.

The story is told to a real detector on a real store; where it goes on after the kill stands in a mark of each unit.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

from monitor.core.incident_fact import Incident
from monitor.core.run import Outcome, Run
from monitor.detector import Detector
from monitor.detector.incidents import IncidentWatch
from monitor.ledger.record import Basis
from monitor.storage import Committed, Unit
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore
from tests.detector.test_detector import AGREEMENTS, MINUTE, START_US, adopted, run_at

FAIL = Outcome.FAIL


def both(minute: float, outcome: Outcome) -> tuple[Run, ...]:
    return run_at(minute, outcome, "login"), run_at(minute, outcome, "pay")


def turns() -> list[tuple[float, tuple[Run, ...]]]:
    """Down for nine hours, then up; between the runs time passes."""
    told: list[tuple[float, tuple[Run, ...]]] = [(0, ())]
    for minute in (1, 2, 2401, 4801, 5400):
        told += [(minute, both(minute, FAIL)), (minute + 0.2, ()), (minute + 0.4, ())]
    for minute in (6000, 6001, 6002):
        told += [(minute, both(minute, Outcome.PASS)), (minute + 0.2, ())]
    return told


class Deadly:
    """A store whose n-th commit is the last thing this process does, or almost does."""

    def __init__(self, store: SqlStore, number: int, when: str) -> None:
        self.store = store
        self.left = number
        self.when = when

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    def commit(self, unit: Unit) -> Committed:
        self.left -= 1
        if self.left == 0 and self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        committed = self.store.commit(unit)
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return committed


def session(path: Path, number: int, when: str) -> None:
    opened = open_store(path)
    store = Deadly(opened, number, when)
    done = opened.mark("turn")
    first = 0 if done is None else done + 1
    watch = IncidentWatch(Basis(agreements=AGREEMENTS, zone=ZoneInfo, software="jaga test"))
    detector = Detector(store, AGREEMENTS, incidents=watch)  # type: ignore[arg-type]
    story = turns()
    detector.open(START_US + round(story[min(first, len(story) - 1)][0] * MINUTE))
    owed: Unit | None = None
    for turn, (minute, runs) in enumerate(story[first:], first):
        at_us = START_US + round(minute * MINUTE)
        facts = (adopted("login", "pay"),) if turn == 0 else ()
        committed = store.commit(
            Unit(
                recorded_at_us=at_us,
                runs=runs,
                facts=(*(owed.facts if owed else ()), *facts),
                spans=owed.spans if owed else (),
                marks={**(owed.marks if owed else {}), "turn": turn},
                outbox=owed.outbox if owed else (),
            )
        )
        owed = detector.take(committed, at_us, {})
    at_us = START_US + 6010 * MINUTE
    while (owed := detector.take(None, at_us, {}) if owed is None else owed) is not None:
        committed = opened.commit(owed)
        owed = detector.take(committed, at_us, {})
    opened.close()


def in_child(path: Path, number: int, when: str) -> int:
    child = os.fork()
    if child == 0:
        session(path, number, when)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main() -> None:
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        number, when = line.split()
        path = folder / f"{number}-{when}.db"
        status = in_child(path, int(number), when)
        if os.WIFSIGNALED(status):
            assert in_child(path, 0, when) == 0
        store = open_store(path)
        facts = [entry.fact for entry in store.entries() if isinstance(entry.fact, Incident)]
        told = {
            "killed": os.WIFSIGNALED(status),
            "told": [[fact.event.value, fact.level] for fact in facts],
            "due": [fact.due_us for fact in facts if fact.due_us is not None],
            "messages": [row.key for row in store.outbox(100)],
        }
        store.close()
        os.write(1, json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    main()

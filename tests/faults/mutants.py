"""Daemons with one fault each, planted by hand: the test of the tests. Every one of them must be found out.

Each takes a composed daemon that was not started yet; what it changes is changed in the process of that one life.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from monitor.app import Daemon
from monitor.core.entry import Head
from monitor.detector import Detector
from monitor.ledger.evidence import Evidence
from monitor.recorder import Recorder
from monitor.storage import Committed, StoreError, Unit

Plant = Callable[[Any], None]


def ack_before_commit(daemon: Any) -> None:  # noqa: ANN401 - a victim: the daemon that says what it acknowledged
    """Everybody is told of a run while its transaction is still to come."""
    usual = Recorder._commit

    def commit(self: Recorder, unit: Unit) -> Committed:
        daemon.acknowledge(Committed(head=Head(), fresh=tuple(unit.runs)))
        return usual(self, unit)

    Recorder._commit = commit  # type: ignore[method-assign]


def no_dedupe(_daemon: Daemon) -> None:
    """What is given again after a lost answer is taken for a new run."""
    usual = Recorder._failed

    def failed(self: Recorder, error: StoreError) -> None:
        self._buffer = deque(replace(run, start_us=run.start_us + 1) for run in self._buffer)
        usual(self, error)

    Recorder._failed = failed  # type: ignore[method-assign]


def counted_again(_daemon: Daemon) -> None:
    """A start counts what was counted before the crash once more."""
    usual = Detector._replay

    def replay(self: Detector, evidence: Evidence, counted: int, at_us: int) -> None:
        usual(self, evidence, min(counted, 0), at_us)

    Detector._replay = replay  # type: ignore[method-assign]


def cursor_before_spans(_daemon: Daemon) -> None:
    """How far the derivation got is written in a transaction of its own, before what was derived."""
    usual = Recorder._commit

    def commit(self: Recorder, unit: Unit) -> Committed:
        if self._owed is not None and self._owed.marks:
            owed, self._owed = self._owed, None
            self._store.commit(Unit(recorded_at_us=owed.recorded_at_us, marks=owed.marks))
            self._owed = replace(owed, marks={})
        return usual(self, unit)

    Recorder._commit = commit  # type: ignore[method-assign]


def gap_bridged(_daemon: Daemon) -> None:
    """A start makes up runs for the time in which nobody ran, out of the last that is known."""
    usual = Detector.open

    def bridged(self: Detector, at_us: int) -> None:
        usual(self, at_us)
        made_up = [
            replace(run, start_us=start_us, slot_us=start_us)
            for run in self.store.latest_runs()
            for start_us in range(run.start_us + 1_000_000, at_us, 1_000_000)
        ]
        self.store.commit(Unit(recorded_at_us=at_us, runs=made_up))

    Detector.open = bridged  # type: ignore[method-assign]


MUTANTS: dict[str, Plant] = {
    plant.__name__: plant for plant in (ack_before_commit, no_dedupe, counted_again, cursor_before_spans, gap_bridged)
}

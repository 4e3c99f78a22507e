"""What the daemon makes of the system's clock: doubt at the start, steps as facts, evidence of a time that was not.

Evidence that was stamped by a clock found wrong is not removed. What is stamped later than the corrected now is given a
second content, inconclusive, in the transaction of the step's fact: both stand on record, and neither counts (DESIGN,
Time base; CONTRACT 2.1.5). Closed versions keep what they were computed from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from monitor.clock import BELIEVED_STEP_US, MAX_OFFSET_US, Clock, Step, Sync, pause, wall_sync
from monitor.core.fact import ClockStep
from monitor.core.instant import DAY_US, SECOND_US, format_instant
from monitor.core.run import Outcome, Run, RunKey
from monitor.core.span import Span
from monitor.recorder import Recorder
from monitor.storage import Reader, StoreError, Unit
from monitor.storage.writing import SqlStore

NEVER_US = 2**53
LONGEST_ABSENCE_US = 400 * DAY_US
"""A ledger whose newest entry is older was left alone for longer than runs are kept, or the clock is wrong."""

STEADY_US = 600 * SECOND_US
"""No month closes by itself within this time of a step: a clock that is put right is seldom put right once."""

AGAIN_US = 5 * SECOND_US
VOIDED_RUNS = 5_000
"""At most so many runs are voided in one transaction."""

WHY = "stamped later than the corrected clock"

_log = structlog.get_logger("jaga.clock")


class Timekeeper:
    """Watches over the stamps of a daemon at one location. `sync` asks the kernel about the wall clock."""

    def __init__(self, clock: Clock, location: str, *, sync: Callable[[], Sync] = wall_sync) -> None:
        self._clock = clock
        self._location = location
        self._sync = sync
        self._stepped_ns: int | None = None
        self._back_ns: int | None = None
        self._corrected_us = 0
        self._doubted = False
        self._owed: list[set[RunKey]] = []
        self._recording: set[asyncio.Task[None]] = set()

    def sync(self) -> Sync:
        """What the kernel says of the wall clock now."""
        return self._sync()

    def open(self, store: SqlStore) -> None:
        """Look at the clock before anything is stamped by it, where the store is spoken to.

        Evidence that is later than now is voided. StoreError where the clock cannot be right: the ledger would keep
        for ever what is stamped by it.
        """
        sync, now_us, newest_us = self._sync(), self._clock.now_us(), _newest_us(store, self._location)
        if sync.synchronised is False:
            _log.warning("system clock not synchronised", now=format_instant(now_us))
        behind_us = newest_us - now_us
        if newest_us and sync.synchronised is not True and not -LONGEST_ABSENCE_US <= behind_us <= BELIEVED_STEP_US:
            newest, now = format_instant(newest_us), format_instant(now_us)
            cause = f"its newest entry is of {newest}, and the system's clock, which nothing keeps right, says {now}"
            hint = "set the system's clock or let it synchronise (NTP), then start again; nothing was changed"
            raise StoreError("start on", store.target, cause, hint)
        if newest_us and behind_us > MAX_OFFSET_US:
            _log.warning("clock behind the ledger", behind_us=behind_us, newest=format_instant(newest_us))
            fact = ClockStep(at_us=now_us, delta_us=-behind_us, location=self._location)
            first = True
            while (unit := _voiding(store, fact, frozenset(), first=first)) is not None:
                store.commit(unit)
                first = False

    def why_not_ready(self) -> str | None:
        """Why times are in doubt; None while they are not."""
        offset_us = self._clock.offset_us()
        if abs(offset_us) <= BELIEVED_STEP_US:
            return None
        return (
            f"the system's clock jumped by {offset_us // SECOND_US} s and is not synchronised: it is not believed; "
            "set it right, or start anew to go by it"
        )

    def steady(self) -> bool:
        """Whether months may close by this clock."""
        if self.why_not_ready() is not None:
            return False
        return self._stepped_ns is None or self._clock.now_ns() - self._stepped_ns > STEADY_US * 1000

    def offset_us(self) -> int | None:
        """The system's clock minus what is known better: what keeps it right, or the time base while it is in doubt."""
        return self._sync().offset_us if self.why_not_ready() is None else self._clock.offset_us()

    def look(self) -> None:
        """Say once that the wall clock is not believed, and once that it is again."""
        why = self.why_not_ready()
        if why is not None and not self._doubted:
            _log.error("wall clock not believed", why=why, now=format_instant(self._clock.now_us()))
        elif why is None and self._doubted:
            _log.warning("wall clock believed again", now=format_instant(self._clock.now_us()))
        self._doubted = why is not None

    def checked(self, run: Run, begun_ns: int) -> Run:
        """What to record of a run that began at `begun_ns`: void where the clock that stamped it was put back since."""
        if self._back_ns is not None and begun_ns <= self._back_ns and run.start_us > self._corrected_us:
            return voided(run)
        for since in self._owed:
            since.add(run.key)
        return run

    def stepped(self, step: Step, recorder: Recorder) -> None:
        """The clock was corrected: record it, with what that makes of the evidence, however long the store fails."""
        _log.warning("wall clock stepped", delta_us=step.delta_us, now=format_instant(step.at_us))
        self._stepped_ns = self._clock.now_ns()
        if step.delta_us < 0:
            self._back_ns, self._corrected_us = self._stepped_ns, step.at_us
        # Of each step its own: what ended after the one before may well have been stamped by the clock put back now.
        since: set[RunKey] = set()
        self._owed.append(since)
        task = asyncio.get_running_loop().create_task(self._record(step, since, recorder), name="clock step")
        self._recording.add(task)
        task.add_done_callback(self._recording.discard)

    async def settle(self) -> None:
        """Let what is under way be recorded, for a moment: before the recorder stops."""
        if self._recording:
            await asyncio.wait(list(self._recording), timeout=AGAIN_US / SECOND_US)
        for task in list(self._recording):
            task.cancel()

    async def _record(self, step: Step, since: set[RunKey], recorder: Recorder) -> None:
        fact = ClockStep(at_us=step.at_us, delta_us=step.delta_us, location=self._location)
        first, going, said = True, True, False
        while going:
            try:
                going = await recorder.ask(lambda store: _unit(store, fact, since, first=first))  # noqa: B023 - awaited
                first = False
            except StoreError as error:
                if not said:
                    _log.error("clock step not recorded yet", error=str(error))
                said = True
                await pause(self._clock, AGAIN_US)
        self._owed = [other for other in self._owed if other is not since]


def _unit(store: Reader, fact: ClockStep, since: set[RunKey], *, first: bool) -> tuple[Unit | None, bool]:
    unit = _voiding(store, fact, frozenset(since), first=first)
    return unit, unit is not None


def voided(run: Run) -> Run:
    """The run as one that proves nothing, with the reason."""
    return replace(run, outcome=Outcome.INCONCLUSIVE, reason="internal", step=None, message=WHY)


def _newest_us(store: Reader, location: str) -> int:
    """The latest instant that this ledger holds of its own; 0 while it holds none."""
    stamps = [run.start_us for run in store.latest_runs() if run.location == location]
    return max([store.head().recorded_at_us, *stamps])


def _voiding(store: Reader, fact: ClockStep, since: frozenset[RunKey], *, first: bool) -> Unit | None:
    """The next unit that voids what was stamped after the corrected now, but for runs `since` then; the first has the
    fact. None when all is done.
    """
    runs = _later_runs(store, fact, since) if fact.delta_us < 0 else ()
    if not first and not runs:
        return None
    return Unit(recorded_at_us=fact.at_us, facts=(fact,) if first else (), runs=runs)


def _later_runs(store: Reader, fact: ClockStep, since: frozenset[RunKey]) -> Sequence[Run]:
    found: list[Run] = []
    for source in store.sources():
        if source.location != fact.location:
            continue
        for run in store.runs(source, Span(fact.at_us + 1, NEVER_US)):
            if run.outcome is not Outcome.INCONCLUSIVE and run.key not in since:
                found.append(voided(run))
                if len(found) == VOIDED_RUNS:
                    return found
    return found

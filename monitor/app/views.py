"""What the daemon shows of itself and of the ledger: standings, status, metrics, each computed off the event loop."""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from monitor.app.options import Options, version
from monitor.app.pulse import Pulse
from monitor.app.supervise import Supervisor
from monitor.app.timekeeping import Timekeeper
from monitor.clock import Clock
from monitor.core.instant import SECOND_US, format_instant
from monitor.core.run import SourceKey
from monitor.detector import CheckCounts, Detector
from monitor.ledger.kept import FigureKeeper
from monitor.ledger.month import Months
from monitor.ledger.pace import PaceStanding, degraded
from monitor.ledger.record import RecordKeeper
from monitor.ledger.standing import ServiceStanding, standings
from monitor.plan import Plan
from monitor.recorder import GAPS_MARK, Recorder
from monitor.runner import Runner
from monitor.scheduler import OVERRUN, Scheduler
from monitor.sealing.checkpoints import Sealer
from monitor.sealing.rounds import Verification
from monitor.storage import Committed, Reader, StoreError
from monitor.storage.writing import SqlStore
from monitor.telemetry.logs import LogCounts
from monitor.telemetry.snapshot import (
    CheckSample,
    DaemonSample,
    LedgerSample,
    LocationSample,
    NotificationsSample,
    Snapshot,
)
from monitor.web import samples
from monitor.web.incident_samples import incidents_sample
from monitor.web.status import status_document

SHOWN_GAPS = 10
"""The newest gaps that the status document shows; the record keeps more."""

KEPT_US = SECOND_US
"""Standings are computed at most this often, however many ask."""


class _Shown(NamedTuple):
    """How the services stood at an instant, and which checks were degraded."""

    at_us: int
    standings: tuple[ServiceStanding, ...]
    degraded: Mapping[SourceKey, PaceStanding]


class _Described(NamedTuple):
    """What the metrics say of a check as long as the configuration is the same."""

    source: SourceKey
    kind: str
    target: str
    assertions: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Views:
    """Views of the parts of a running daemon. `read` does a call where reading may block; `ready` is the daemon's."""

    options: Options
    clock: Clock
    store: SqlStore
    detector: Detector
    recorder: Recorder
    scheduler: Scheduler
    runner: Runner
    pulse: Pulse
    timekeeper: Timekeeper
    supervisor: Supervisor
    read: Callable[[Callable[[], Any]], Awaitable[Any]]
    ready: Callable[[], bool]
    notifications: Callable[[], NotificationsSample] = NotificationsSample
    sealer: Sealer
    verification: Verification
    logs: LogCounts | None = None
    entries: Counter[str] = field(default_factory=Counter)
    last_entry_us: int | None = None
    reload_ok: bool = True
    reloaded_us: int | None = None
    _record: RecordKeeper = field(default_factory=RecordKeeper)
    _figures: FigureKeeper = field(default_factory=FigureKeeper)
    _statements: samples.StatementSamples = field(default_factory=samples.StatementSamples)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _kept: _Shown | None = None
    _described: tuple[tuple[Plan, ...], tuple[_Described, ...]] = ((), ())

    def count_entries(self) -> None:
        """Count what the ledger holds; from then on `committed` keeps the count."""
        for columns, _data in self.store.raw_entries():
            self.entries[columns["type"]] += 1
            self.last_entry_us = columns["recorded_at_us"]

    def committed(self, committed: Committed) -> None:
        """Something was committed: count it, and show it to the next who asks."""
        for entry in committed.entries:
            self.entries[entry.type] += 1
            self.last_entry_us = entry.recorded_at_us
        if committed.entries:
            self._kept = None

    async def standings(self) -> tuple[ServiceStanding, ...]:
        """How the services stand, at most a second old."""
        return (await self._shown()).standings

    async def _shown(self) -> _Shown:
        async with self._asking:
            now_us = self.clock.now_us()
            if self._kept is None or not 0 <= now_us - self._kept.at_us < KEPT_US:
                self._kept = await self.read(
                    lambda: _Shown(now_us, self._standings(now_us)[1], degraded(self.store, now_us))
                )
            return self._kept

    async def status(self) -> Mapping[str, Any]:
        """The status document of now; whether anything keeps its clock right (null: not known); what the record could
        not take.
        """
        shown = await self._shown()
        document = status_document(shown.standings, self.clock.now_us(), shown.degraded)
        clock = {"synchronised": self.timekeeper.sync().synchronised, "in_doubt": self.timekeeper.why_not_ready()}
        return {**document, "clock": clock, "record": await self._shortcomings()}

    async def _shortcomings(self) -> dict[str, Any]:
        """Since when the store fails, the runs held meanwhile, and the gaps: runs that the buffer could not hold."""
        stats = self.recorder.stats
        since_us = stats.failing_since_us
        gaps: list[dict[str, int]] = await self.read(lambda: self.store.mark(GAPS_MARK)) or []
        return {
            "failing_since": None if since_us is None else format_instant(since_us),
            "held_runs": self.recorder.pending,
            "dropped_runs": stats.dropped_runs,
            "gaps": [
                {
                    "runs": gap["runs"],
                    "from": format_instant(gap["from_us"]),
                    "to": format_instant(gap["to_us"]),
                }
                for gap in gaps[-SHOWN_GAPS:]
            ],
        }

    def snapshot(self) -> Snapshot:
        """Everything one exposition shows; called where reading may block."""
        now_us = self.clock.now_us()
        try:
            months, found = self._standings(now_us)
        except (StoreError, ValueError, KeyError, TypeError):
            if self.verification.holds is not False:
                raise
            # A damaged record may not be readable: what is known without it is shown all the same.
            months, found = None, ()
        totals = {standing.service: self.detector.totals(standing.service, now_us) for standing in found}
        return Snapshot(
            daemon=self._daemon(),
            ledger=LedgerSample(
                entries=dict(self.entries),
                write_failures=self.recorder.stats.write_failures,
                last_entry_us=self.last_entry_us,
                verified=self.verification.holds,
                verified_us=self.verification.at_us,
                checkpoint_size=self.sealer.size,
            ),
            checks=self._checks(),
            locations=(
                LocationSample(location=self.runner.location, up=True, references=dict(self.runner.controls.answered)),
            ),
            services=samples.service_samples(found, totals),
            months=() if months is None else samples.month_samples(months, found),
            statements=() if months is None else self._statements.of(months),
            agreements=samples.agreement_samples(found),
            periods=samples.period_samples(found),
            incidents=None if months is None else incidents_sample(months),
            notifications=self.notifications(),
        )

    def months(self, now_us: int, reader: Reader | None = None) -> Months:
        """The ledger as it stands, or as `reader` is frozen; its entries are read once and carried on."""
        return Months(reader or self.store, self.options.basis, now_us, self._record.read, self._figures)

    def _standings(self, now_us: int) -> tuple[Months, tuple[ServiceStanding, ...]]:
        months = self.months(now_us)
        return months, standings(months)

    def _checks(self) -> tuple[CheckSample, ...]:
        plans, described = self._described
        if plans is not self.options.plans:
            plans = self.options.plans
            described = tuple(map(self._describe, plans))
            self._described = plans, described
        counted, overruns = self.detector.counts, self.scheduler.stats.overruns
        return tuple(
            _sample(plan, said, counted.get(said.source) or CheckCounts(), overruns[plan.service, plan.check])
            for plan, said in zip(plans, described, strict=True)
        )

    def _describe(self, plan: Plan) -> _Described:
        return _Described(
            source=SourceKey(plan.service, plan.check, self.runner.location),
            kind=plan.transaction.kind,
            target=plan.transaction.target,
            assertions=plan.transaction.assertion_ids(),
        )

    def _daemon(self) -> DaemonSample:
        return DaemonSample(
            version=version(),
            revision="",
            python_version=platform.python_version(),
            ready=self.ready(),
            runs_in_flight=self.scheduler.in_flight,
            scheduler_lag=self.scheduler.stats.lag.tally(),
            loop_lag_us=self.pulse.take_worst_us(),
            clock_offset_us=self.timekeeper.offset_us(),
            reload_ok=self.reload_ok,
            reload_success_us=self.reloaded_us,
            evaluation_us=self.detector.stats.evaluated_us,
            evaluation_failures=self.detector.stats.failures,
            task_restarts=dict(self.supervisor.restarts),
            log_messages={} if self.logs is None else dict(self.logs.by_level),
        )


def _sample(plan: Plan, said: _Described, counts: CheckCounts, overruns: int) -> CheckSample:
    return CheckSample(
        service=plan.service,
        check=plan.check,
        location=said.source.location,
        kind=said.kind,
        target=said.target,
        interval_us=plan.interval_us,
        timeout_us=plan.timeout_us,
        totals=counts.totals({OVERRUN: overruns}),
        last=counts.last,
        success=counts.success,
        cert_not_after_s=counts.cert_not_after_s,
        assertions=said.assertions,
    )

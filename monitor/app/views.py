"""What the daemon shows of itself and of the ledger: standings, status, metrics, each computed off the event loop."""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from monitor.app.options import Options, version
from monitor.app.pulse import Pulse
from monitor.app.supervise import Supervisor
from monitor.clock import Clock
from monitor.core.instant import SECOND_US
from monitor.core.run import SourceKey
from monitor.detector import CheckCounts, Detector
from monitor.ledger.month import Months
from monitor.ledger.standing import ServiceStanding, standings
from monitor.recorder import Recorder
from monitor.runner import Plan, Runner
from monitor.scheduler import OVERRUN, Scheduler
from monitor.storage import Committed
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

KEPT_US = SECOND_US
"""Standings are computed at most this often, however many ask."""


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
    supervisor: Supervisor
    read: Callable[[Callable[[], Any]], Awaitable[Any]]
    ready: Callable[[], bool]
    notifications: Callable[[], NotificationsSample] = NotificationsSample
    logs: LogCounts | None = None
    entries: Counter[str] = field(default_factory=Counter)
    last_entry_us: int | None = None
    reload_ok: bool = True
    reloaded_us: int | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _kept: tuple[int, tuple[ServiceStanding, ...]] | None = None

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
        async with self._asking:
            now_us = self.clock.now_us()
            if self._kept is None or not 0 <= now_us - self._kept[0] < KEPT_US:
                found: tuple[ServiceStanding, ...] = await self.read(lambda: self._standings(now_us)[1])
                self._kept = (now_us, found)
            return self._kept[1]

    async def status(self) -> Mapping[str, Any]:
        """The status document of now."""
        return status_document(await self.standings(), self.clock.now_us())

    def snapshot(self) -> Snapshot:
        """Everything one exposition shows; called where reading may block."""
        now_us = self.clock.now_us()
        months, found = self._standings(now_us)
        totals = {standing.service: self.detector.totals(standing.service, now_us) for standing in found}
        return Snapshot(
            daemon=self._daemon(),
            ledger=LedgerSample(
                entries=dict(self.entries),
                write_failures=self.recorder.stats.write_failures,
                last_entry_us=self.last_entry_us,
            ),
            checks=tuple(self._check(plan) for plan in self.options.plans),
            locations=(
                LocationSample(location=self.runner.location, up=True, references=dict(self.runner.stats.controls)),
            ),
            services=samples.service_samples(found, totals),
            months=samples.month_samples(months, found),
            agreements=samples.agreement_samples(found),
            periods=samples.period_samples(found),
            incidents=incidents_sample(months),
            notifications=self.notifications(),
        )

    def _standings(self, now_us: int) -> tuple[Months, tuple[ServiceStanding, ...]]:
        months = Months(self.store, self.options.basis, now_us)
        return months, standings(months)

    def _check(self, plan: Plan) -> CheckSample:
        source = SourceKey(plan.service, plan.check, self.runner.location)
        counts = self.detector.counts.get(source) or CheckCounts()
        return CheckSample(
            service=plan.service,
            check=plan.check,
            location=self.runner.location,
            kind=plan.transaction.kind,
            target=plan.transaction.target,
            interval_us=plan.interval_us,
            timeout_us=plan.timeout_us,
            totals=counts.totals({OVERRUN: self.scheduler.stats.overruns[plan.service, plan.check]}),
            last=counts.last,
            success=counts.success,
            cert_not_after_s=counts.cert_not_after_s,
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
            reload_ok=self.reload_ok,
            reload_success_us=self.reloaded_us,
            evaluation_us=self.detector.stats.evaluated_us,
            evaluation_failures=self.detector.stats.failures,
            task_restarts=dict(self.supervisor.restarts),
            log_messages={} if self.logs is None else dict(self.logs.by_level),
        )

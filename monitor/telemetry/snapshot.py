"""What the metrics are rendered from: plain values at one instant, handed in by the composition root.

Durations and instants are microseconds; shares are exact fractions and become floats only in the exposition. Ids are
the configuration's, `period` is `current` or `previous`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from monitor.core.instant import MINUTE_US, SECOND_US
from monitor.core.run import Run

_MS_US = 1000
# Few on purpose: every bucket is a series for every check.
DURATION_BOUNDS_US = tuple(ms * _MS_US for ms in (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000))
INCIDENT_BOUNDS_US = tuple(minutes * MINUTE_US for minutes in (5, 15, 30, 60, 120, 240, 480, 1440, 4320, 10_080))
NOTIFICATION_BOUNDS_US = tuple(ms * _MS_US for ms in (50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000))
LAG_BOUNDS_US = (500, 1000, 2000, 5000, 10_000, 50_000, 100_000, 500_000, SECOND_US, 5 * SECOND_US)


@dataclass(frozen=True, slots=True)
class Tally:
    """A histogram at one instant. `counts` has one more place than `bounds_us`, for what exceeds the last bound."""

    bounds_us: tuple[int, ...]
    counts: tuple[int, ...]
    sum_us: int


@dataclass(slots=True)
class Histogram:
    """A histogram being filled. Not locked: one thread fills it, any may ask for its tally."""

    bounds_us: tuple[int, ...]
    counts: list[int] = field(default_factory=list)
    sum_us: int = 0

    def __post_init__(self) -> None:
        """Without counts it starts empty; with those of a saved tally it goes on from them."""
        self.counts = self.counts or [0] * (len(self.bounds_us) + 1)
        assert len(self.counts) == len(self.bounds_us) + 1, "one count a bucket, and one beyond"

    def observe(self, duration_us: int) -> None:
        """Count a duration into the first bucket whose bound is not below it."""
        self.counts[bisect_left(self.bounds_us, duration_us)] += 1
        self.sum_us += duration_us

    def tally(self) -> Tally:
        """As it stands."""
        return Tally(self.bounds_us, tuple(self.counts), self.sum_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTotals:
    """What was counted for one check at one location since its first run, over restarts. Missing reasons are zeros."""

    attempts: int = 0
    inconclusive: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    assertion_failures: Mapping[str, int] = field(default_factory=dict)
    durations: Tally | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSample:
    """A configured check at one location. `last` is its most recent run, `success` that of the last conclusive one.

    `assertions` are the configured assertion ids; `cert_not_after_s` the last certificate expiry seen, kept while runs
    show none.
    """

    service: str
    check: str
    location: str
    kind: str
    target: str
    interval_us: int
    timeout_us: int
    totals: CheckTotals
    last: Run | None = None
    success: bool | None = None
    cert_not_after_s: int | None = None
    assertions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationSample:
    """A location: whether it reports, and which of its control targets it reaches (reference -> reached)."""

    location: str
    up: bool
    references: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTotals:
    """What the detector first found, never corrected afterwards, over restarts."""

    outages: int = 0
    observed_us: int = 0
    downtime_us: Mapping[str, int] = field(default_factory=dict)
    excluded_us: Mapping[str, int] = field(default_factory=dict)
    unknown_us: int = 0
    maintenance_rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSample:
    """A service now. `verdict` is up, down or unknown; of its `total` SLA checks `failing` fail and `unknown` say
    nothing. `in_maintenance`: a window that qualifies for every partner runs. `window_us` is the active or next
    announced window.
    """

    service: str
    name: str
    verdict: str
    failing: int
    unknown: int
    total: int
    totals: ServiceTotals
    outage_start_us: int | None = None
    in_maintenance: bool = False
    maintenance_active: bool = False
    window_us: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthSample:
    """A calendar month of one partner and service, from the ledger. Shares are of 1; `budget_us` is what the objective
    allows in the whole month (None without an objective).
    """

    partner: str
    service: str
    period: str
    best_case: Fraction
    elapsed_us: int
    downtime_us: Mapping[str, int]
    excluded_us: Mapping[str, int]
    unknown_us: int
    outages: int
    credit: Fraction
    availability: Fraction | None = None
    budget_us: Fraction | None = None
    budget_left_us: Fraction | None = None
    credit_amount: Decimal | None = None
    fee: Decimal | None = None
    claim_deadline_us: int | None = None
    claim_open: bool = False
    finalized: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementSample:
    """A closed month in its newest version; `month` as `2026-04`, shares of 1."""

    partner: str
    service: str
    month: str
    availability: Fraction
    downtime_us: int
    credit: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementSample:
    """What a partner was promised for a service: shares of 1. `tiers` are (credit percent as written, bound)."""

    partner: str
    service: str
    contract: str
    currency: str
    objective: Fraction | None = None
    tiers: tuple[tuple[str, Fraction], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodSample:
    """Which calendar month `period` stands for under a contract."""

    contract: str
    period: str
    month: str
    zone: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentClockSample:
    """A clock of an incident that nothing has stopped: of several of one name the one that is furthest."""

    incident: str
    service: str
    priority: str
    clock: str
    used: Fraction
    deadline_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentsSample:
    """The incidents of a ledger. Counts are by (service, priority) or by (priority, clock), histograms by priority."""

    open: Mapping[tuple[str, str], int] = field(default_factory=dict)
    opened: Mapping[tuple[str, str], int] = field(default_factory=dict)
    clocks: tuple[IncidentClockSample, ...] = ()
    breaches: Mapping[tuple[str, str], int] = field(default_factory=dict)
    escalations: Mapping[tuple[str, str], int] = field(default_factory=dict)
    response: Mapping[str, Tally] = field(default_factory=dict)
    resolution: Mapping[str, Tally] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSample:
    """A channel: deliveries attempted by kind, those that failed after their retries, what waits, how long they take.

    `kinds` are those that are declared at zero.
    """

    channel: str
    kinds: tuple[str, ...] = ()
    attempted: Mapping[str, int] = field(default_factory=dict)
    failures: int = 0
    waiting: int = 0
    last_success_us: int = 0
    durations: Tally | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationsSample:
    """What became of messages, over restarts. `suppressed` counts those held back, by reason."""

    channels: tuple[ChannelSample, ...] = ()
    suppressed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSample:
    """The record: how many entries of each type, failed appends, the newest durable entry, whether the last
    verification found it sound and when that was, and how many entries the newest checkpoint covers.
    """

    entries: Mapping[str, int] = field(default_factory=dict)
    write_failures: int = 0
    last_entry_us: int | None = None
    verified: bool | None = None
    verified_us: int | None = None
    checkpoint_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSample:
    """The process itself. `clock_offset_us`: the system's clock minus what keeps it right, None if nothing does."""

    version: str
    revision: str
    python_version: str
    ready: bool
    runs_in_flight: int
    scheduler_lag: Tally
    loop_lag_us: int = 0
    clock_offset_us: int | None = None
    reload_ok: bool = True
    reload_success_us: int | None = None
    evaluation_us: int | None = None
    evaluation_failures: int = 0
    task_restarts: Mapping[str, int] = field(default_factory=dict)
    log_messages: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything one exposition shows. A part is None while it is not known, as before the ledger is replayed."""

    daemon: DaemonSample
    ledger: LedgerSample | None = None
    checks: tuple[CheckSample, ...] = ()
    locations: tuple[LocationSample, ...] = ()
    services: tuple[ServiceSample, ...] = ()
    months: tuple[MonthSample, ...] = ()
    statements: tuple[StatementSample, ...] = ()
    agreements: tuple[AgreementSample, ...] = ()
    periods: tuple[PeriodSample, ...] = ()
    incidents: IncidentsSample | None = None
    notifications: NotificationsSample | None = None

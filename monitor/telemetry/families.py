"""A snapshot as metric families: which values stand under which labels.

Closed lists are declared at zero, so that a rate has a start; what is not in the snapshot has no series, so that a
retired check's are gone at the next scrape.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from monitor.core.instant import SECOND_US
from monitor.core.run import Run
from monitor.telemetry import catalogue as names
from monitor.telemetry.catalogue import Family
from monitor.telemetry.escaping import label
from monitor.telemetry.rendering import Groups, Labels, Metric, Rows, Tallies
from monitor.telemetry.snapshot import (
    NOTIFICATION_BOUNDS_US,
    AgreementSample,
    CheckSample,
    CheckTotals,
    DaemonSample,
    Histogram,
    IncidentsSample,
    LedgerSample,
    LocationSample,
    MonthSample,
    NotificationsSample,
    PeriodSample,
    ServiceSample,
    Snapshot,
    StatementSample,
    Tally,
)

_ONE = 1.0


def families(snapshot: Snapshot, *, expose_money: bool, rendering_us: int) -> Iterator[Metric]:
    """Every family of the snapshot, in the catalogue's order. `rendering_us` is what the previous exposition took."""
    yield from _of_checks(snapshot.checks)
    yield from _of_locations(snapshot.locations)
    yield from _of_services(snapshot.services)
    yield from _of_maintenance(snapshot.services)
    yield from _of_months(snapshot.months)
    if expose_money:
        yield from _of_money(snapshot.months)
    yield from _of_statements(snapshot.statements)
    yield from _of_agreements(snapshot.agreements)
    yield from _of_periods(snapshot.periods)
    if snapshot.ledger is not None:
        yield from _of_ledger(snapshot.ledger)
    if snapshot.incidents is not None:
        yield from _of_incidents(snapshot.incidents, [service.service for service in snapshot.services])
    if snapshot.notifications is not None:
        yield from _of_notifications(snapshot.notifications)
    yield from _of_daemon(snapshot.daemon)
    yield _gauge(names.METRICS_COLLECTION_DURATION_SECONDS, [((), _seconds(rendering_us))])


def _of_checks(checks: tuple[CheckSample, ...]) -> Iterator[Metric]:
    at: list[Labels] = [(check.service, check.check, check.location) for check in checks]
    each = list(zip(at, checks, strict=True))
    yield _gauge(names.CHECK_SUCCESS, ((labels, float(c.success)) for labels, c in each if c.success is not None))
    yield _counter(names.CHECK_ATTEMPTS_TOTAL, ((labels, c.totals.attempts) for labels, c in each))
    yield from _check_counters([(labels, c.assertions, c.totals) for labels, c in each])
    yield _histogram(names.CHECK_DURATION_SECONDS, _durations(checks))
    yield from _last_runs(each)
    yield _gauge(names.CHECK_INTERVAL_SECONDS, _once((c.service, c.check, c.interval_us) for c in checks))
    yield _gauge(names.CHECK_TIMEOUT_SECONDS, _once((c.service, c.check, c.timeout_us) for c in checks))
    described = dict.fromkeys((c.service, c.check, c.kind, c.target) for c in checks)
    yield _gauge(names.CHECK_INFO, ((labels, _ONE) for labels in described))


def _check_counters(counted: list[tuple[Labels, tuple[str, ...], CheckTotals]]) -> Iterator[Metric]:
    yield _counters(
        names.CHECK_INCONCLUSIVE_TOTAL, ((at, names.OWN_REASONS, totals.inconclusive) for at, _, totals in counted)
    )
    yield _counters(
        names.CHECK_FAILURES_TOTAL, ((at, names.FAILURE_REASONS, totals.failures) for at, _, totals in counted)
    )
    yield _counters(names.CHECK_SKIPPED_TOTAL, ((at, names.SKIP_REASONS, totals.skipped) for at, _, totals in counted))
    yield _counters(
        names.CHECK_ASSERTION_FAILURES_TOTAL,
        (
            (at, tuple(map(label, assertions)), _labelled(totals.assertion_failures))
            for at, assertions, totals in counted
        ),
    )


def _last_runs(checks: list[tuple[Labels, CheckSample]]) -> Iterator[Metric]:
    """What the most recent run of each check showed."""
    ran = [(at, c.last) for at, c in checks if c.last is not None]
    yield _gauge(names.CHECK_LAST_DURATION_SECONDS, ((at, _seconds(last.duration_us)) for at, last in ran))
    yield _gauge(
        names.CHECK_LAST_PHASE_DURATION_SECONDS,
        (
            ((*at, step.name, phase), _seconds(spent_us))
            for at, last in ran
            for step in last.steps
            for phase, spent_us in step.phases_us
        ),
    )
    yield _gauge(
        names.CHECK_LAST_RUN_TIMESTAMP_SECONDS,
        ((at, _seconds(last.start_us + last.duration_us)) for at, last in ran),
    )
    yield _gauge(names.CHECK_HTTP_STATUS_CODE, ((at, float(_final_status(last))) for at, last in ran))
    yield _gauge(
        names.CHECK_TLS_EARLIEST_CERT_NOT_AFTER_TIMESTAMP_SECONDS,
        ((at, float(c.cert_not_after_s)) for at, c in checks if c.cert_not_after_s is not None),
    )


def _durations(checks: tuple[CheckSample, ...]) -> Iterator[tuple[Labels, Tally]]:
    by_check: dict[tuple[str, str], list[Tally]] = {}
    for check in checks:
        if check.totals.durations is not None:
            by_check.setdefault((check.service, check.check), []).append(check.totals.durations)
    for labels, tallies in by_check.items():
        if len(tallies) == 1:
            yield labels, tallies[0]
            continue
        counts = tuple(sum(column) for column in zip(*(tally.counts for tally in tallies), strict=True))
        yield labels, Tally(tallies[0].bounds_us, counts, sum(tally.sum_us for tally in tallies))


def _of_locations(locations: tuple[LocationSample, ...]) -> Iterator[Metric]:
    yield _gauge(names.LOCATION_UP, (((place.location,), float(place.up)) for place in locations))
    yield _gauge(
        names.MONITOR_CONNECTIVITY_UP,
        (
            ((place.location, reference), float(reached))
            for place in locations
            for reference, reached in place.references.items()
        ),
    )


def _of_services(services: tuple[ServiceSample, ...]) -> Iterator[Metric]:
    yield _gauge(names.SERVICE_UP, (((s.service,), float(s.verdict != "down")) for s in services))
    yield _gauge(
        names.SERVICE_STATE,
        (((s.service, state), float(_state(s) == state)) for s in services for state in names.STATES),
    )
    yield _gauge(names.SERVICE_FAILURE_RATIO, (((s.service,), _failing_share(s)) for s in services))
    # More than half of the transactions (CONTRACT 5.1).
    yield _gauge(names.SERVICE_FAILURE_THRESHOLD_RATIO, (((s.service,), 0.5) for s in services))
    yield _gauge(
        names.SERVICE_COVERAGE_RATIO,
        (((s.service,), (s.total - s.unknown) / s.total if s.total else 0.0) for s in services),
    )
    yield _gauge(
        names.SERVICE_OUTAGE_START_TIMESTAMP_SECONDS,
        (((s.service,), _seconds(s.outage_start_us or 0)) for s in services),
    )
    yield from _service_counters(services)
    yield _gauge(names.SERVICE_INFO, (((s.service, s.name), _ONE) for s in services))


def _service_counters(services: tuple[ServiceSample, ...]) -> Iterator[Metric]:
    yield _counter(names.SERVICE_OUTAGES_TOTAL, (((s.service,), s.totals.outages) for s in services))
    yield _counter(
        names.SERVICE_OBSERVED_SECONDS_TOTAL,
        (((s.service,), _seconds(s.totals.observed_us)) for s in services),
    )
    yield _counter(
        names.SERVICE_DOWNTIME_SECONDS_TOTAL,
        _in_seconds(_split(((s.service,), names.DOWN_REASONS, s.totals.downtime_us) for s in services)),
    )
    yield _counter(
        names.SERVICE_EXCLUDED_SECONDS_TOTAL,
        _in_seconds(_split(((s.service,), names.EXCLUSION_REASONS, s.totals.excluded_us) for s in services)),
    )
    yield _counter(
        names.SERVICE_UNKNOWN_SECONDS_TOTAL,
        (((s.service,), _seconds(s.totals.unknown_us)) for s in services),
    )


def _of_maintenance(services: tuple[ServiceSample, ...]) -> Iterator[Metric]:
    yield _gauge(names.MAINTENANCE_ACTIVE, (((s.service,), float(s.maintenance_active)) for s in services))
    for family, edge in (
        (names.MAINTENANCE_START_TIMESTAMP_SECONDS, 0),
        (names.MAINTENANCE_END_TIMESTAMP_SECONDS, 1),
    ):
        rows = (((s.service,), _seconds(s.window_us[edge] if s.window_us else 0)) for s in services)
        yield _gauge(family, rows)
    yield _counter(
        names.MAINTENANCE_REJECTED_TOTAL,
        _split(((s.service,), names.REJECTION_REASONS, s.totals.maintenance_rejected) for s in services),
    )


def _of_months(months: tuple[MonthSample, ...]) -> Iterator[Metric]:
    at = [((m.partner, m.service, m.period), m) for m in months]
    yield _gauge(
        names.LEDGER_AVAILABILITY_RATIO,
        ((labels, float(m.availability)) for labels, m in at if m.availability is not None),
    )
    yield _gauge(names.LEDGER_BEST_CASE_AVAILABILITY_RATIO, ((labels, float(m.best_case)) for labels, m in at))
    yield _gauge(
        names.LEDGER_DOWNTIME_SECONDS,
        _in_seconds(_split((labels, names.ADJUDICATED_DOWN_REASONS, m.downtime_us) for labels, m in at)),
    )
    yield _gauge(
        names.LEDGER_EXCLUDED_SECONDS,
        _in_seconds(_split((labels, names.EXCLUSION_REASONS, m.excluded_us) for labels, m in at)),
    )
    yield _gauge(names.LEDGER_UNKNOWN_SECONDS, ((labels, _seconds(m.unknown_us)) for labels, m in at))
    yield _gauge(names.LEDGER_ELAPSED_SECONDS, ((labels, _seconds(m.elapsed_us)) for labels, m in at))
    yield _gauge(names.LEDGER_OUTAGES, ((labels, float(m.outages)) for labels, m in at))
    yield _gauge(
        names.LEDGER_ERROR_BUDGET_SECONDS,
        ((labels, _seconds(m.budget_us)) for labels, m in at if m.budget_us is not None),
    )
    yield _gauge(
        names.LEDGER_ERROR_BUDGET_REMAINING_SECONDS,
        ((labels, _seconds(m.budget_left_us)) for labels, m in at if m.budget_left_us is not None),
    )
    yield _gauge(names.LEDGER_CREDIT_RATIO, ((labels, float(m.credit)) for labels, m in at))
    yield _gauge(
        names.LEDGER_CLAIM_DEADLINE_TIMESTAMP_SECONDS,
        ((labels, _seconds(m.claim_deadline_us or 0)) for labels, m in at),
    )
    yield _gauge(names.LEDGER_CLAIM_OPEN, ((labels, float(m.claim_open)) for labels, m in at))
    yield _gauge(names.LEDGER_PERIOD_FINALIZED, ((labels, float(m.finalized)) for labels, m in at))


def _of_money(months: tuple[MonthSample, ...]) -> Iterator[Metric]:
    at = [((m.partner, m.service, m.period), m) for m in months]
    yield _gauge(
        names.LEDGER_CREDIT_AMOUNT_RUPIAH,
        ((labels, float(m.credit_amount)) for labels, m in at if m.credit_amount is not None),
    )
    yield _gauge(names.LEDGER_FEE_RUPIAH, ((labels, float(m.fee)) for labels, m in at if m.fee is not None))


def _of_statements(statements: tuple[StatementSample, ...]) -> Iterator[Metric]:
    at = [((s.partner, s.service, s.month), s) for s in statements]
    yield _gauge(names.STATEMENT_AVAILABILITY_RATIO, ((labels, float(s.availability)) for labels, s in at))
    yield _gauge(names.STATEMENT_DOWNTIME_SECONDS, ((labels, _seconds(s.downtime_us)) for labels, s in at))
    yield _gauge(names.STATEMENT_CREDIT_RATIO, ((labels, float(s.credit)) for labels, s in at))


def _of_agreements(agreements: tuple[AgreementSample, ...]) -> Iterator[Metric]:
    yield _gauge(
        names.LEDGER_OBJECTIVE_RATIO,
        (((a.partner, a.service), float(a.objective)) for a in agreements if a.objective is not None),
    )
    yield _gauge(
        names.LEDGER_CREDIT_THRESHOLD_RATIO,
        (((a.partner, a.service, tier), float(below)) for a in agreements for tier, below in a.tiers),
    )
    described = dict.fromkeys((a.contract, a.partner, a.currency) for a in agreements)
    yield _gauge(names.CONTRACT_INFO, ((labels, _ONE) for labels in described))


def _of_periods(periods: tuple[PeriodSample, ...]) -> Iterator[Metric]:
    yield _gauge(
        names.LEDGER_PERIOD_START_TIMESTAMP_SECONDS, (((p.contract, p.period), _seconds(p.start_us)) for p in periods)
    )
    yield _gauge(
        names.LEDGER_PERIOD_END_TIMESTAMP_SECONDS, (((p.contract, p.period), _seconds(p.end_us)) for p in periods)
    )
    yield _gauge(names.LEDGER_PERIOD_INFO, (((p.contract, p.period, p.month, p.zone), _ONE) for p in periods))


def _of_ledger(ledger: LedgerSample) -> Iterator[Metric]:
    yield _counter(names.LEDGER_ENTRIES_TOTAL, (((kind,), count) for kind, count in sorted(ledger.entries.items())))
    yield _counter(names.LEDGER_WRITE_FAILURES_TOTAL, [((), ledger.write_failures)])
    if ledger.last_entry_us is not None:
        yield _gauge(names.LEDGER_LAST_ENTRY_TIMESTAMP_SECONDS, [((), _seconds(ledger.last_entry_us))])
    if ledger.verified is not None:
        yield _gauge(names.LEDGER_VERIFICATION_SUCCESS, [((), float(ledger.verified))])
    if ledger.verified_us is not None:
        yield _gauge(names.LEDGER_LAST_VERIFICATION_TIMESTAMP_SECONDS, [((), _seconds(ledger.verified_us))])
    if ledger.checkpoint_size is not None:
        yield _gauge(names.LEDGER_CHECKPOINT_SIZE, [((), ledger.checkpoint_size)])


def _of_incidents(incidents: IncidentsSample, services: list[str]) -> Iterator[Metric]:
    by_service = [(service, priority) for service in services for priority in names.PRIORITIES]
    by_clock = [(priority, clock) for priority in names.PRIORITIES for clock in names.CLOCKS]
    yield _gauge(names.INCIDENTS_OPEN, _declared(by_service, incidents.open))
    yield _counter(names.INCIDENTS_OPENED_TOTAL, _declared(by_service, incidents.opened))
    labelled = [((c.incident, c.service, c.priority, c.clock), c) for c in incidents.clocks]
    yield _gauge(names.INCIDENT_CLOCK_USED_RATIO, ((labels, float(c.used)) for labels, c in labelled))
    yield _gauge(
        names.INCIDENT_CLOCK_DEADLINE_TIMESTAMP_SECONDS, ((labels, _seconds(c.deadline_us)) for labels, c in labelled)
    )
    yield _counter(names.INCIDENT_CLOCK_BREACHES_TOTAL, _declared(by_clock, incidents.breaches))
    yield _counter(names.INCIDENT_ESCALATIONS_TOTAL, _declared(by_clock, incidents.escalations))
    for family, tallies in (
        (names.INCIDENT_RESPONSE_SECONDS, incidents.response),
        (names.INCIDENT_RESOLUTION_SECONDS, incidents.resolution),
    ):
        yield _histogram(family, (((priority,), tally) for priority, tally in tallies.items()))


def _of_notifications(notifications: NotificationsSample) -> Iterator[Metric]:
    channels = notifications.channels
    attempted = {(c.channel, kind): count for c in channels for kind, count in c.attempted.items()}
    kinds = [(c.channel, kind) for c in channels for kind in c.kinds]
    yield _counter(names.NOTIFICATIONS_TOTAL, _declared(kinds, attempted))
    yield _counter(names.NOTIFICATION_FAILURES_TOTAL, (((c.channel,), float(c.failures)) for c in channels))
    held = dict.fromkeys(names.SUPPRESSED_REASONS, 0) | dict(notifications.suppressed)
    yield _counter(names.NOTIFICATIONS_SUPPRESSED_TOTAL, (((reason,), float(n)) for reason, n in held.items()))
    yield _gauge(names.NOTIFICATION_QUEUE_LENGTH, (((c.channel,), float(c.waiting)) for c in channels))
    yield _gauge(
        names.NOTIFICATION_LAST_SUCCESS_TIMESTAMP_SECONDS,
        (((c.channel,), _seconds(c.last_success_us)) for c in channels),
    )
    yield _histogram(
        names.NOTIFICATION_DURATION_SECONDS,
        (((c.channel,), c.durations or Histogram(NOTIFICATION_BOUNDS_US).tally()) for c in channels),
    )


def _declared(known: Iterable[tuple[str, str]], counted: Mapping[tuple[str, str], int]) -> Rows:
    """Every known combination at zero, and what was counted."""
    counts = dict.fromkeys(known, 0) | dict(counted)
    return ((labels, float(count)) for labels, count in counts.items())


def _of_daemon(daemon: DaemonSample) -> Iterator[Metric]:
    yield _gauge(names.BUILD_INFO, [((daemon.version, daemon.revision, daemon.python_version), _ONE)])
    yield _gauge(names.CONFIG_LAST_RELOAD_SUCCESSFUL, [((), float(daemon.reload_ok))])
    if daemon.reload_success_us is not None:
        yield _gauge(names.CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS, [((), _seconds(daemon.reload_success_us))])
    yield _gauge(names.READY, [((), float(daemon.ready))])
    if daemon.evaluation_us is not None:
        yield _gauge(names.DETECTOR_LAST_EVALUATION_TIMESTAMP_SECONDS, [((), _seconds(daemon.evaluation_us))])
    yield _counter(names.DETECTOR_EVALUATION_FAILURES_TOTAL, [((), daemon.evaluation_failures)])
    yield _histogram(names.SCHEDULER_LAG_SECONDS, [((), daemon.scheduler_lag)])
    yield _gauge(names.RUNS_IN_FLIGHT, [((), float(daemon.runs_in_flight))])
    yield _gauge(names.EVENT_LOOP_LAG_SECONDS, [((), _seconds(daemon.loop_lag_us))])
    if daemon.clock_offset_us is not None:
        yield _gauge(names.CLOCK_OFFSET_SECONDS, [((), _seconds(daemon.clock_offset_us))])
    yield _counter(
        names.BACKGROUND_TASK_RESTARTS_TOTAL,
        (((task,), count) for task, count in sorted(daemon.task_restarts.items())),
    )
    yield _counter(
        names.LOG_MESSAGES_TOTAL,
        _split([((), names.LOG_LEVELS, daemon.log_messages)]),
    )


def _final_status(run: Run) -> int:
    """The status of the last response that is not a clean-up's, 0 if there was none."""
    statuses = [step.http_status for step in run.steps if step.http_status is not None and not step.final]
    return statuses[-1] if statuses else 0


def _state(service: ServiceSample) -> str:
    """The contractual state: maintenance for all partners goes before the verdict."""
    return "maintenance" if service.in_maintenance else service.verdict


def _failing_share(service: ServiceSample) -> float:
    if service.total == service.unknown:
        return math.nan
    return service.failing / service.total


def _split(rows: Iterable[tuple[Labels, Iterable[str], Mapping[str, int]]]) -> Iterator[tuple[Labels, int]]:
    """(labels, closed list, counts) as one row for each member of the list: what was counted, zero for the rest."""
    for labels, closed, counted in rows:
        for member, count in {**dict.fromkeys(closed, 0), **counted}.items():
            yield (*labels, member), count


def _labelled(counted: Mapping[str, int]) -> Mapping[str, int]:
    """Counts by what the configuration names, as labels: such a text may be long, or hold what a page must not."""
    return {label(name): count for name, count in counted.items()}


def _in_seconds(rows: Iterable[tuple[Labels, int]]) -> Rows:
    return ((labels, _seconds(value_us)) for labels, value_us in rows)


def _once(rows: Iterable[tuple[str, str, int]]) -> Iterator[tuple[Labels, float]]:
    """(service, check, microseconds) once a check, whatever the number of its locations, in seconds."""
    found = {(service, check): value_us for service, check, value_us in rows}
    return ((labels, _seconds(value_us)) for labels, value_us in found.items())


def _seconds(value_us: int | Fraction) -> float:
    # By the exact type: a fraction is rare, and asking whether a number is one is dear (its class is abstract).
    return value_us / SECOND_US if type(value_us) is int else float(Fraction(value_us) / SECOND_US)


def _gauge(family: Family, rows: Rows) -> Metric:
    assert family.type == names.GAUGE, family.name
    return Metric(family, rows)


def _counter(family: Family, rows: Rows) -> Metric:
    assert family.type == names.COUNTER, family.name
    return Metric(family, rows)


def _counters(family: Family, groups: Groups) -> Metric:
    assert family.type == names.COUNTER, family.name
    return Metric(family, groups=groups)


def _histogram(family: Family, tallies: Tallies) -> Metric:
    assert family.type == names.HISTOGRAM, family.name
    return Metric(family, tallies=tallies)

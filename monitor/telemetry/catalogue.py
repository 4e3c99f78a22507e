"""The metric families that exist: names, types, labels and help, a promise to users (CHANGELOG section "Metrics").

A family is added here and filled in `families`. Labels hold ids and closed lists only.
"""

from __future__ import annotations

from typing import NamedTuple

from monitor.core.fact import ExclusionReason
from monitor.core.priority import ClockName, Priority
from monitor.core.run import FAIL_REASONS, INCONCLUSIVE_REASONS
from monitor.core.verdict import Rule

GAUGE = "gauge"
COUNTER = "counter"
HISTOGRAM = "histogram"

FAILURE_REASONS = FAIL_REASONS
OWN_REASONS = INCONCLUSIVE_REASONS
# A slot is skipped while the run before it still goes on: the target's slowness, never our lateness.
SKIP_REASONS = ("overrun",)
DOWN_REASONS = tuple(rule.value for rule in Rule)
# A ruling on unknown time can make downtime too (CONTRACT 2.4), in the adjudicated figures alone.
ADJUDICATED_DOWN_REASONS = (*DOWN_REASONS, "adjudicated")
EXCLUSION_REASONS = tuple(reason.value for reason in ExclusionReason)
REJECTION_REASONS = ("notice_late", "notice_missing")
STATES = ("up", "down", "maintenance", "unknown")
PRIORITIES = tuple(priority.value for priority in Priority)
CLOCKS = tuple(clock.value for clock in ClockName)
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


class Family(NamedTuple):
    """One metric family as the catalogue has it; counters carry their `_total`."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


_AT = ("sla_service", "check", "location")
_AT_REASON = ("sla_service", "check", "location", "reason")
_MONTH = ("partner", "sla_service", "period")
_MONTH_REASON = ("partner", "sla_service", "period", "reason")
_STATEMENT = ("partner", "sla_service", "month")
_SERVICE = ("sla_service",)
_CHECK = ("sla_service", "check")
_SERVICE_REASON = ("sla_service", "reason")
_NONE: tuple[str, ...] = ()
_PERIOD = ("contract", "period")
_SERVICE_PRIORITY = ("sla_service", "priority")
_PRIORITY_CLOCK = ("priority", "clock")
_INCIDENT_CLOCK = ("incident", "sla_service", "priority", "clock")

# Checks and locations

CHECK_SUCCESS = Family(
    "sla_check_success", GAUGE, _AT, "Whether the most recent completed run of the check succeeded (1) or failed (0)."
)
CHECK_ATTEMPTS_TOTAL = Family("sla_check_attempts_total", COUNTER, _AT, "Runs completed, including failed ones.")
CHECK_INCONCLUSIVE_TOTAL = Family(
    "sla_check_inconclusive_total",
    COUNTER,
    _AT_REASON,
    "Runs that gave no evidence because of the monitor itself, by reason.",
)
CHECK_FAILURES_TOTAL = Family(
    "sla_check_failures_total",
    COUNTER,
    _AT_REASON,
    "Runs that failed, by the closed list of failure reasons. Summed over reason this never exceeds attempts.",
)
CHECK_SKIPPED_TOTAL = Family(
    "sla_check_skipped_total", COUNTER, _AT_REASON, "Scheduled runs that were not started, by reason."
)
CHECK_ASSERTION_FAILURES_TOTAL = Family(
    "sla_check_assertion_failures_total",
    COUNTER,
    ("sla_service", "check", "location", "assertion"),
    "Assertions that evaluated false, by configured assertion id.",
)
CHECK_DURATION_SECONDS = Family(
    "sla_check_duration_seconds", HISTOGRAM, _CHECK, "Wall time of completed runs, successful or not."
)
CHECK_LAST_DURATION_SECONDS = Family(
    "sla_check_last_duration_seconds", GAUGE, _AT, "Wall time of the most recent completed run."
)
CHECK_LAST_PHASE_DURATION_SECONDS = Family(
    "sla_check_last_phase_duration_seconds",
    GAUGE,
    ("sla_service", "check", "location", "step", "phase"),
    "Time spent in each phase of each step of the most recent run. Phases are resolve, connect, tls, "
    "processing and transfer, as in the blackbox exporter.",
)
CHECK_LAST_RUN_TIMESTAMP_SECONDS = Family(
    "sla_check_last_run_timestamp_seconds", GAUGE, _AT, "Unix time at which the most recent run completed."
)
CHECK_HTTP_STATUS_CODE = Family(
    "sla_check_http_status_code",
    GAUGE,
    _AT,
    "HTTP status code of the final response of the most recent run, 0 if there was none.",
)
CHECK_TLS_EARLIEST_CERT_NOT_AFTER_TIMESTAMP_SECONDS = Family(
    "sla_check_tls_earliest_cert_not_after_timestamp_seconds",
    GAUGE,
    _AT,
    "Unix time at which the first certificate of the presented chain expires. Kept and refreshed even when "
    "verification fails.",
)
CHECK_INTERVAL_SECONDS = Family("sla_check_interval_seconds", GAUGE, _CHECK, "Configured interval between runs.")
CHECK_TIMEOUT_SECONDS = Family("sla_check_timeout_seconds", GAUGE, _CHECK, "Configured timeout of one run.")
CHECK_INFO = Family(
    "sla_check_info",
    GAUGE,
    ("sla_service", "check", "kind", "target"),
    "Descriptive, changeable attributes of a check. Always 1.",
)
LOCATION_UP = Family("sla_location_up", GAUGE, ("location",), "Whether the location reported within its deadline.")
MONITOR_CONNECTIVITY_UP = Family(
    "sla_monitor_connectivity_up",
    GAUGE,
    ("location", "reference"),
    "Whether the location reaches the independent reference targets used to tell its own network failure from "
    "the service being down.",
)

# Detector and maintenance

SERVICE_UP = Family(
    "sla_service_up",
    GAUGE,
    _SERVICE,
    "Observed condition of the service: 0 while its verdict is DOWN, even inside maintenance, otherwise 1.",
)
SERVICE_STATE = Family(
    "sla_service_state",
    GAUGE,
    ("sla_service", "state"),
    "Contractual state of the service. Exactly one of up, down, maintenance, unknown is 1.",
)
SERVICE_FAILURE_RATIO = Family(
    "sla_service_failure_ratio",
    GAUGE,
    _SERVICE,
    "Share of the SLA checks that fail now. NaN while no check has evidence.",
)
SERVICE_FAILURE_THRESHOLD_RATIO = Family(
    "sla_service_failure_threshold_ratio", GAUGE, _SERVICE, "Failure ratio above which the service counts as down."
)
SERVICE_COVERAGE_RATIO = Family(
    "sla_service_coverage_ratio", GAUGE, _SERVICE, "Share of the SLA checks that have evidence now."
)
SERVICE_OUTAGE_START_TIMESTAMP_SECONDS = Family(
    "sla_service_outage_start_timestamp_seconds",
    GAUGE,
    _SERVICE,
    "Unix time the open outage began, 0 when there is none.",
)
SERVICE_OUTAGES_TOTAL = Family(
    "sla_service_outages_total", COUNTER, _SERVICE, "Outages opened by the detector. Never corrected afterwards."
)
SERVICE_OBSERVED_SECONDS_TOTAL = Family(
    "sla_service_observed_seconds_total",
    COUNTER,
    _SERVICE,
    "Time for which the detector reached a verdict. Never corrected afterwards.",
)
SERVICE_DOWNTIME_SECONDS_TOTAL = Family(
    "sla_service_downtime_seconds_total",
    COUNTER,
    _SERVICE_REASON,
    "Time judged down and not excluded, as first detected. Never corrected afterwards, see "
    "sla_ledger_downtime_seconds for the adjudicated figure.",
)
SERVICE_EXCLUDED_SECONDS_TOTAL = Family(
    "sla_service_excluded_seconds_total",
    COUNTER,
    _SERVICE_REASON,
    "Time judged down but excluded at detection, by exclusion reason.",
)
SERVICE_UNKNOWN_SECONDS_TOTAL = Family(
    "sla_service_unknown_seconds_total", COUNTER, _SERVICE, "Time without a verdict."
)
SERVICE_INFO = Family(
    "sla_service_info",
    GAUGE,
    ("sla_service", "display_name"),
    "Descriptive, changeable attributes of a service. Always 1.",
)
MAINTENANCE_ACTIVE = Family(
    "sla_maintenance_active",
    GAUGE,
    _SERVICE,
    "Whether an announced and valid maintenance window covers the service now.",
)
MAINTENANCE_START_TIMESTAMP_SECONDS = Family(
    "sla_maintenance_start_timestamp_seconds",
    GAUGE,
    _SERVICE,
    "Start of the active or next announced window, 0 when none is announced.",
)
MAINTENANCE_END_TIMESTAMP_SECONDS = Family(
    "sla_maintenance_end_timestamp_seconds",
    GAUGE,
    _SERVICE,
    "End of the active or next announced window, 0 when none is announced.",
)
MAINTENANCE_REJECTED_TOTAL = Family(
    "sla_maintenance_rejected_total",
    COUNTER,
    _SERVICE_REASON,
    "Maintenance windows that do not qualify for exclusion, by reason.",
)

# Ledger, statements, contracts

LEDGER_AVAILABILITY_RATIO = Family(
    "sla_ledger_availability_ratio",
    GAUGE,
    _MONTH,
    'Availability over the elapsed part of the calendar month; for period="previous" the month\'s figure.',
)
LEDGER_BEST_CASE_AVAILABILITY_RATIO = Family(
    "sla_ledger_best_case_availability_ratio",
    GAUGE,
    _MONTH,
    "Availability the calendar month will close with if no further downtime occurs. Falls monotonically "
    "except by correction.",
)
LEDGER_DOWNTIME_SECONDS = Family(
    "sla_ledger_downtime_seconds",
    GAUGE,
    _MONTH_REASON,
    "Adjudicated counted downtime in the period. May fall when a correction is recorded.",
)
LEDGER_EXCLUDED_SECONDS = Family(
    "sla_ledger_excluded_seconds", GAUGE, _MONTH_REASON, "Adjudicated excluded time in the period, by exclusion reason."
)
LEDGER_UNKNOWN_SECONDS = Family("sla_ledger_unknown_seconds", GAUGE, _MONTH, "Time in the period without a verdict.")
LEDGER_ELAPSED_SECONDS = Family(
    "sla_ledger_elapsed_seconds", GAUGE, _MONTH, "Elapsed time of the period that is subject to the guarantee."
)
LEDGER_OUTAGES = Family("sla_ledger_outages", GAUGE, _MONTH, "Counted outages that touch the period.")
LEDGER_OBJECTIVE_RATIO = Family(
    "sla_ledger_objective_ratio", GAUGE, ("partner", "sla_service"), "Availability objective."
)
LEDGER_ERROR_BUDGET_SECONDS = Family(
    "sla_ledger_error_budget_seconds", GAUGE, _MONTH, "Downtime the objective allows in the whole period."
)
LEDGER_ERROR_BUDGET_REMAINING_SECONDS = Family(
    "sla_ledger_error_budget_remaining_seconds", GAUGE, _MONTH, "Error budget left. Negative when overspent."
)
LEDGER_CREDIT_THRESHOLD_RATIO = Family(
    "sla_ledger_credit_threshold_ratio",
    GAUGE,
    ("partner", "sla_service", "tier"),
    "Availability below which the credit tier applies.",
)
LEDGER_CREDIT_RATIO = Family(
    "sla_ledger_credit_ratio",
    GAUGE,
    _MONTH,
    'Share of the fee owed as credit. For period="current" computed from the best case, so it only reports '
    "credit that is already certain.",
)
LEDGER_CREDIT_AMOUNT_RUPIAH = Family(
    "sla_ledger_credit_amount_rupiah",
    GAUGE,
    _MONTH,
    "Credit owed in whole rupiah. Exposed only when money metrics are enabled.",
)
LEDGER_FEE_RUPIAH = Family(
    "sla_ledger_fee_rupiah",
    GAUGE,
    _MONTH,
    "Fee the credit is computed from, in whole rupiah. Exposed only when money metrics are enabled.",
)
LEDGER_CLAIM_DEADLINE_TIMESTAMP_SECONDS = Family(
    "sla_ledger_claim_deadline_timestamp_seconds",
    GAUGE,
    _MONTH,
    "Last moment a claim for the period can be filed, 0 when no claim can be.",
)
LEDGER_CLAIM_OPEN = Family(
    "sla_ledger_claim_open", GAUGE, _MONTH, "Whether the period has credit owed whose claim has not been filed."
)
LEDGER_PERIOD_START_TIMESTAMP_SECONDS = Family(
    "sla_ledger_period_start_timestamp_seconds",
    GAUGE,
    _PERIOD,
    "Start of the calendar month in the contract time zone.",
)
LEDGER_PERIOD_END_TIMESTAMP_SECONDS = Family(
    "sla_ledger_period_end_timestamp_seconds", GAUGE, _PERIOD, "End of the calendar month in the contract time zone."
)
LEDGER_PERIOD_INFO = Family(
    "sla_ledger_period_info",
    GAUGE,
    ("contract", "period", "month", "timezone"),
    "Names the calendar month each period stands for. Always 1.",
)
LEDGER_PERIOD_FINALIZED = Family(
    "sla_ledger_period_finalized", GAUGE, _MONTH, "Whether the figures of the period are closed to further correction."
)
STATEMENT_AVAILABILITY_RATIO = Family(
    "sla_statement_availability_ratio",
    GAUGE,
    _STATEMENT,
    "Final availability of each closed month, newest 13 only.",
)
STATEMENT_DOWNTIME_SECONDS = Family(
    "sla_statement_downtime_seconds",
    GAUGE,
    _STATEMENT,
    "Final counted downtime of each closed month, newest 13 only.",
)
STATEMENT_CREDIT_RATIO = Family(
    "sla_statement_credit_ratio",
    GAUGE,
    _STATEMENT,
    "Final credit share of each closed month, newest 13 only.",
)
CONTRACT_INFO = Family(
    "sla_contract_info",
    GAUGE,
    ("contract", "partner", "currency"),
    "Descriptive, changeable attributes of a contract. Always 1.",
)
LEDGER_ENTRIES_TOTAL = Family("sla_ledger_entries_total", COUNTER, ("kind",), "Entries appended to the ledger.")
LEDGER_WRITE_FAILURES_TOTAL = Family(
    "sla_ledger_write_failures_total", COUNTER, _NONE, "Failed attempts to append to the ledger."
)
LEDGER_LAST_ENTRY_TIMESTAMP_SECONDS = Family(
    "sla_ledger_last_entry_timestamp_seconds", GAUGE, _NONE, "Unix time of the newest durable ledger entry."
)
LEDGER_VERIFICATION_SUCCESS = Family(
    "sla_ledger_verification_success", GAUGE, _NONE, "Result of the most recent verification of the ledger hash chain."
)
LEDGER_LAST_VERIFICATION_TIMESTAMP_SECONDS = Family(
    "sla_ledger_last_verification_timestamp_seconds", GAUGE, _NONE, "Unix time of the most recent verification."
)
LEDGER_CHECKPOINT_SIZE = Family(
    "sla_ledger_checkpoint_size", GAUGE, _NONE, "Entries covered by the newest signed checkpoint."
)

# Incidents

INCIDENTS_OPEN = Family("sla_incidents_open", GAUGE, _SERVICE_PRIORITY, "Incidents not yet resolved.")
INCIDENTS_OPENED_TOTAL = Family("sla_incidents_opened_total", COUNTER, _SERVICE_PRIORITY, "Incidents opened.")
INCIDENT_CLOCK_USED_RATIO = Family(
    "sla_incident_clock_used_ratio",
    GAUGE,
    _INCIDENT_CLOCK,
    "Share of the response or resolution allowance used by an open incident, pauses excluded. "
    "Removed when the clock stops.",
)
INCIDENT_CLOCK_DEADLINE_TIMESTAMP_SECONDS = Family(
    "sla_incident_clock_deadline_timestamp_seconds",
    GAUGE,
    _INCIDENT_CLOCK,
    "Moment the clock of an open incident runs out if it is not paused again.",
)
INCIDENT_CLOCK_BREACHES_TOTAL = Family(
    "sla_incident_clock_breaches_total", COUNTER, _PRIORITY_CLOCK, "Clocks that ran out."
)
INCIDENT_ESCALATIONS_TOTAL = Family(
    "sla_incident_escalations_total",
    COUNTER,
    _PRIORITY_CLOCK,
    "Automatic escalations performed at 75 percent of an allowance.",
)
INCIDENT_RESPONSE_SECONDS = Family(
    "sla_incident_response_seconds", HISTOGRAM, ("priority",), "Time from opening to first response."
)
INCIDENT_RESOLUTION_SECONDS = Family(
    "sla_incident_resolution_seconds", HISTOGRAM, ("priority",), "Time from opening to resolution."
)

# Notifications

SUPPRESSED_REASONS = ("damped", "maintenance", "acknowledged")
NOTIFICATIONS_TOTAL = Family("sla_notifications_total", COUNTER, ("channel", "kind"), "Notifications attempted.")
NOTIFICATION_FAILURES_TOTAL = Family(
    "sla_notification_failures_total", COUNTER, ("channel",), "Notification attempts that failed after retries."
)
NOTIFICATIONS_SUPPRESSED_TOTAL = Family(
    "sla_notifications_suppressed_total", COUNTER, ("reason",), "Notifications withheld, by reason."
)
NOTIFICATION_QUEUE_LENGTH = Family(
    "sla_notification_queue_length", GAUGE, ("channel",), "Notifications waiting to be delivered."
)
NOTIFICATION_LAST_SUCCESS_TIMESTAMP_SECONDS = Family(
    "sla_notification_last_success_timestamp_seconds",
    GAUGE,
    ("channel",),
    "Unix time of the most recent successful delivery, 0 if there was none.",
)
NOTIFICATION_DURATION_SECONDS = Family(
    "sla_notification_duration_seconds", HISTOGRAM, ("channel",), "Delivery time including retries."
)

# The daemon itself

BUILD_INFO = Family(
    "sla_build_info", GAUGE, ("version", "revision", "python_version"), "Build of the running daemon. Always 1."
)
CONFIG_LAST_RELOAD_SUCCESSFUL = Family(
    "sla_config_last_reload_successful", GAUGE, _NONE, "Whether the last configuration reload succeeded."
)
CONFIG_LAST_RELOAD_SUCCESS_TIMESTAMP_SECONDS = Family(
    "sla_config_last_reload_success_timestamp_seconds",
    GAUGE,
    _NONE,
    "Unix time of the last successful configuration reload.",
)
READY = Family("sla_ready", GAUGE, _NONE, "Whether the ledger has been replayed and schedules are running.")
DETECTOR_LAST_EVALUATION_TIMESTAMP_SECONDS = Family(
    "sla_detector_last_evaluation_timestamp_seconds",
    GAUGE,
    _NONE,
    "Unix time the detector last completed an evaluation of every service.",
)
DETECTOR_EVALUATION_FAILURES_TOTAL = Family(
    "sla_detector_evaluation_failures_total", COUNTER, _NONE, "Detector evaluations that raised."
)
SCHEDULER_LAG_SECONDS = Family(
    "sla_scheduler_lag_seconds", HISTOGRAM, _NONE, "Delay between the planned and actual start of runs."
)
RUNS_IN_FLIGHT = Family("sla_runs_in_flight", GAUGE, _NONE, "Runs in progress.")
EVENT_LOOP_LAG_SECONDS = Family(
    "sla_event_loop_lag_seconds", GAUGE, _NONE, "Worst event loop scheduling delay since the previous scrape window."
)
BACKGROUND_TASK_RESTARTS_TOTAL = Family(
    "sla_background_task_restarts_total", COUNTER, ("task",), "Background tasks that died and were restarted."
)
CLOCK_OFFSET_SECONDS = Family("sla_clock_offset_seconds", GAUGE, _NONE, "Local clock minus reference clock.")
LOG_MESSAGES_TOTAL = Family("sla_log_messages_total", COUNTER, ("level",), "Log records emitted.")
METRICS_COLLECTION_DURATION_SECONDS = Family(
    "sla_metrics_collection_duration_seconds", GAUGE, _NONE, "Time taken to render the previous exposition."
)

"""A full snapshot: every family of the catalogue has a series."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from monitor.core.run import Outcome, Run, StepRecord
from monitor.telemetry.snapshot import (
    DURATION_BOUNDS_US,
    LAG_BOUNDS_US,
    AgreementSample,
    ChannelSample,
    CheckSample,
    CheckTotals,
    DaemonSample,
    Histogram,
    IncidentClockSample,
    IncidentsSample,
    LedgerSample,
    LocationSample,
    MonthSample,
    NotificationsSample,
    PeriodSample,
    ServiceSample,
    ServiceTotals,
    Snapshot,
    StatementSample,
)

START_US = 1_775_000_000_000_000


def tally(*durations_us: int) -> Histogram:
    histogram = Histogram(DURATION_BOUNDS_US)
    for duration_us in durations_us:
        histogram.observe(duration_us)
    return histogram


def run() -> Run:
    return Run(
        service="portal",
        check="login",
        location="jkt-1",
        start_us=START_US,
        duration_us=250_000,
        outcome=Outcome.FAIL,
        reason="http_status",
        steps=(
            StepRecord(name="log in", duration_us=120_000, phases_us=(("connect", 2000),), http_status=200),
            StepRecord(
                name="order", duration_us=100_000, phases_us=(("connect", 1000), ("tls", 5000)), http_status=500
            ),
            StepRecord(name="clean up", duration_us=30_000, http_status=204, final=True),
        ),
    )


def check(location: str = "jkt-1") -> CheckSample:
    return CheckSample(
        service="portal",
        check="login",
        location=location,
        kind="transaction",
        target="api.example.id:443",
        interval_us=60_000_000,
        timeout_us=10_000_000,
        totals=CheckTotals(
            attempts=3,
            failures={"http_status": 2},
            inconclusive={"late": 1},
            assertion_failures={"log in.status": 2},
            durations=tally(7000, 250_000, 40_000_000).tally(),
        ),
        last=run(),
        success=False,
        cert_not_after_s=1_900_000_000,
        assertions=("log in.status", "order.status"),
    )


def service() -> ServiceSample:
    return ServiceSample(
        service="portal",
        name="Portal and API",
        verdict="down",
        failing=3,
        unknown=1,
        total=5,
        totals=ServiceTotals(outages=2, observed_us=9_000_000, downtime_us={"majority": 1_500_000}, unknown_us=1),
        outage_start_us=START_US,
        maintenance_active=True,
        window_us=(START_US, START_US + 60_000_000),
    )


def month(period: str = "current") -> MonthSample:
    return MonthSample(
        partner="acme",
        service="portal",
        period=period,
        availability=Fraction(1, 2),
        best_case=Fraction(949, 1000),
        elapsed_us=1_000_000,
        downtime_us={"majority": 2_500_000},
        excluded_us={"maintenance": 500_000},
        unknown_us=0,
        outages=1,
        credit=Fraction(1, 10),
        budget_us=Fraction(2_592_000_000, 1),
        budget_left_us=Fraction(-1_000_000, 3),
        credit_amount=Decimal(1250000),
        fee=Decimal(12500000),
        claim_deadline_us=START_US,
        claim_open=True,
    )


def snapshot() -> Snapshot:
    lag = Histogram(LAG_BOUNDS_US)
    lag.observe(300)
    return Snapshot(
        daemon=DaemonSample(
            version="0.1.0",
            revision="abc",
            python_version="3.11.7",
            ready=True,
            runs_in_flight=2,
            scheduler_lag=lag.tally(),
            loop_lag_us=1500,
            reload_success_us=START_US,
            evaluation_us=START_US,
            task_restarts={"scheduler": 0},
            log_messages={"info": 5},
        ),
        ledger=LedgerSample(entries={"checks": 1, "outage": 4}, last_entry_us=START_US),
        checks=(check(),),
        locations=(LocationSample(location="jkt-1", up=True, references={"tcp://192.0.2.1:53": True}),),
        services=(service(),),
        months=(month(), month("previous")),
        statements=(
            StatementSample(
                partner="acme",
                service="portal",
                month="2026-03",
                availability=Fraction(949, 1000),
                downtime_us=136_598_400_000,
                credit=Fraction(1, 10),
            ),
        ),
        agreements=(
            AgreementSample(
                partner="acme",
                service="portal",
                contract="mitra",
                currency="IDR",
                objective=Fraction(999, 1000),
                tiers=(("10", Fraction(95, 100)), ("25", Fraction(90, 100))),
            ),
        ),
        periods=(
            PeriodSample(
                contract="mitra",
                period="current",
                month="2026-04",
                zone="Asia/Jakarta",
                start_us=START_US,
                end_us=START_US + 1,
            ),
        ),
        incidents=IncidentsSample(
            open={("portal", "P1"): 1},
            opened={("portal", "P1"): 2},
            clocks=(
                IncidentClockSample(
                    incident="i-1",
                    service="portal",
                    priority="P1",
                    clock="resolution",
                    used=Fraction(3, 4),
                    deadline_us=START_US,
                ),
            ),
            breaches={("P1", "response"): 1},
            escalations={("P2", "resolution"): 1},
            response={"P1": tally(250_000).tally()},
            resolution={"P1": tally(250_000).tally()},
        ),
        notifications=NotificationsSample(
            channels=(
                ChannelSample(
                    channel="mail",
                    kinds=("down", "recovered"),
                    attempted={"down": 2},
                    failures=1,
                    waiting=3,
                    last_success_us=START_US,
                    durations=tally(250_000).tally(),
                ),
            ),
            suppressed={"damped": 1},
        ),
    )

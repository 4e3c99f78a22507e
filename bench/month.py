"""What a month costs: the sweep beside SQL window functions over the same runs, the statements of many services, and
verdict and detector while a day comes in.

    python bench/month.py [--services 1000] [--days 30] [--peer-services 4] [--live-services 2] [--live-hours 24]

Three parts, each against its own peer or by itself:

- sweep: a month of runs, one a minute, of `peer-services` x 5 checks, seen from one place. SQLite (in memory, clustered
  by check and instant, its best case) derives the seconds down by window functions; ours walks the outcome spans that
  the daemon keeps while runs come in. Both must find the same seconds, or the bench fails. What keeping the spans costs
  per run is the third part.
- statements: `services` x 5 checks with a month of spans in a store on disk, one partner: every statement with reading,
  canonical bytes and digest; the JSON of all of them at the end. CPU and wall time.
- live: one day comes in at 60 s and at 5 s, calm and restless: CPU of verdict and detector alone (the commits of the
  store are not counted) = a x runs + b x changes, by least squares over the four days.

Progress goes to stderr; the last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from monitor.core.availability import account
from monitor.core.calendar import Month, month_span
from monitor.core.check import Check, CheckList
from monitor.core.evidence import outcome_spans
from monitor.core.fact import ChecksAdopted
from monitor.core.instant import DAY_US, HOUR_US, SECOND_US
from monitor.core.run import Outcome, OutcomeSpan, Run, SourceKey
from monitor.core.span import Span
from monitor.core.statement import digest_of
from monitor.core.terms import Agreements, Subscription
from monitor.core.verdict import judge
from monitor.detector import Detector
from monitor.ledger.month import Months
from monitor.ledger.record import Basis
from monitor.storage import SpanChange, Store, Unit
from monitor.storage.opening import open_store
from tests.core.examples import WIB, subscription, terms

MONTH = Month(2026, 4)
CHECKS = ("login", "order", "search", "pay", "report")
MINUTE_US = 60 * SECOND_US
BATCH = 5000

# Stale after three intervals and a time-out, as by default; a check with no run at all says nothing.
SQL = """
WITH said AS (
  SELECT service, check_id, at, outcome,
         LEAD(at) OVER (PARTITION BY service, check_id ORDER BY at) AS following
  FROM runs
), pieces AS (
  SELECT service, check_id, at, MIN(COALESCE(following, at + :stale), at + :stale) AS until, outcome FROM said
), edges AS (
  SELECT service, at, SUM(d) AS d FROM (
    SELECT service, at, 1 AS d FROM pieces WHERE outcome = 'fail'
    UNION ALL
    SELECT service, until, -1 FROM pieces WHERE outcome = 'fail'
  ) GROUP BY service, at
), levels AS (
  SELECT service, at, SUM(d) OVER (PARTITION BY service ORDER BY at) AS failing,
         LEAD(at) OVER (PARTITION BY service ORDER BY at) AS until
  FROM edges
)
SELECT service, SUM(until - at) FROM levels WHERE 2 * failing > :checks GROUP BY service ORDER BY service
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """When each check of a service fails: disjoint spans by check."""

    service: str
    failing: dict[str, list[Span]]

    def outcome(self, check: str, at_us: int) -> Outcome:
        return Outcome.FAIL if any(span.contains(at_us) for span in self.failing[check]) else Outcome.PASS


def plan(number: int, within: Span, outages: int) -> Plan:
    """`outages` times of three to five checks failing together, and as many of one alone; seeded by the number."""
    chance = random.Random(number)
    failing: dict[str, list[Span]] = {check: [] for check in CHECKS}
    slot_us = within.length_us // (2 * outages)
    for turn in range(2 * outages):
        start_us = within.start_us + turn * slot_us + chance.randrange(slot_us // 2)
        length_us = chance.randrange(slot_us // 8, slot_us // 3)
        for check in chance.sample(CHECKS, chance.choice((3, 4, 5)) if turn % 2 else 1):
            failing[check].append(Span(start_us, start_us + length_us))
    return Plan(f"service-{number:04d}", failing)


def runs_of(made: Plan, check: str, within: Span, interval_us: int) -> Iterator[Run]:
    offset_us = CHECKS.index(check) * interval_us // len(CHECKS)
    for at_us in range(within.start_us + offset_us, within.end_us, interval_us):
        outcome = made.outcome(check, at_us)
        reason = "timeout" if outcome is Outcome.FAIL else None
        yield Run(service=made.service, check=check, location="jkt-1", start_us=at_us, outcome=outcome, reason=reason)


def listed(service: str, at_us: int, interval_us: int) -> CheckList:
    return CheckList(
        service=service,
        at_us=at_us,
        interval_us=interval_us,
        timeout_us=10 * SECOND_US,
        stale_after_us=3 * interval_us + 10 * SECOND_US,
        checks=tuple(Check(id=check) for check in CHECKS),
    )


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


# The sweep beside SQL window functions.


def sweep_against_sql(services: int, within: Span) -> tuple[dict[str, object], dict[str, object]]:
    plans = [plan(number, within, 5) for number in range(services)]
    database = sqlite3.connect(":memory:")
    database.execute(
        "CREATE TABLE runs (service TEXT, check_id TEXT, at INTEGER, outcome TEXT, "
        "PRIMARY KEY (service, check_id, at)) WITHOUT ROWID",
    )
    spans: dict[str, dict[SourceKey, list[OutcomeSpan]]] = {}
    count, derive_s = 0, 0.0
    for made in plans:
        of_service = spans.setdefault(made.service, {})
        lists = [listed(made.service, within.start_us, MINUTE_US)]
        for check in CHECKS:
            runs = list(runs_of(made, check, within, MINUTE_US))
            count += len(runs)
            rows = [(run.service, run.check, run.start_us, run.outcome.value) for run in runs]
            database.executemany("INSERT INTO runs VALUES (?, ?, ?, ?)", rows)
            began = time.process_time()
            of_service[SourceKey(made.service, check, "jkt-1")] = list(outcome_spans(runs, (), lists))
            derive_s += time.process_time() - began
        say(f"sweep: {made.service} prepared, {count} runs")
    told = {"stale": 3 * MINUTE_US + 10 * SECOND_US, "checks": len(CHECKS)}
    began = time.process_time()
    theirs = dict(database.execute(SQL, told).fetchall())
    sql_s = time.process_time() - began
    rounds = 20
    ours: dict[str, int] = {}
    began = time.process_time()
    for _ in range(rounds):
        ours = {name: swept(name, of_service, within) for name, of_service in spans.items()}
    sweep_s = (time.process_time() - began) / rounds
    differing = [name for name, down_us in ours.items() if theirs.get(name, 0) != down_us]
    if differing:
        sys.exit(f"SQL and the sweep disagree on {', '.join(differing)}")
    figures: dict[str, object] = {
        "services": services,
        "runs": count,
        "spans": sum(len(found) for of_service in spans.values() for found in of_service.values()),
        "cpu_s": round(sweep_s, 6),
        "cpu_ms_per_service": round(1000 * sweep_s / services, 4),
        "deriving_spans_from_all_runs_cpu_s": round(derive_s, 3),
        "times_cheaper_than_sql": round(sql_s / sweep_s, 1),
        "times_cheaper_than_sql_with_deriving": round(sql_s / (sweep_s + derive_s), 2),
    }
    peers: dict[str, object] = {
        "sqlite": sqlite3.sqlite_version,
        "cpu_s": round(sql_s, 3),
        "storage": "in memory, clustered",
    }
    return figures, peers


def swept(service: str, evidence: dict[SourceKey, list[OutcomeSpan]], within: Span) -> int:
    """The microseconds down of a month, from the kept spans: verdicts and account."""
    verdicts = judge([listed(service, within.start_us, MINUTE_US)], evidence, within)
    return account(verdicts, within, within.end_us, ()).down_us


# The statements of many services.


def statements(services: int, within: Span, folder: Path) -> dict[str, object]:
    agreed = Agreements(
        terms=(terms(),),
        subscriptions=tuple(subscription_of(f"service-{number:04d}") for number in range(services)),
    )
    store = open_store("sqlite:///statements.db", base=folder)
    try:
        for number in range(services):
            fill(store, plan(number, within, 5), within)
            if number % 100 == 99:
                say(f"statements: {number + 1} services stored")
        basis = Basis(agreements=agreed, zone=ZoneInfo, software="jaga bench")
        now_us = within.end_us + 2 * DAY_US
        wall, cpu = time.perf_counter(), time.process_time()
        with store.snapshot() as frozen:
            documents = [found.document for found in Months(frozen, basis, now_us).statements(MONTH)]
        digests = {digest_of(document) for document in documents}
        wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
        size = len(json.dumps(documents))
    finally:
        store.close()
    assert len(digests) == services, "every statement has its own digest"
    return {
        "services": services,
        "outages": sum(len(document["outages"]) for document in documents),
        "cpu_s": round(cpu_s, 3),
        "wall_s": round(wall_s, 3),
        "json_bytes": size,
    }


def subscription_of(service: str) -> Subscription:
    return replace(subscription(), service=service)


def fill(store: Store, made: Plan, within: Span) -> None:
    """A service's list, its month of spans, and the run that began each failing span."""
    lists = listed(made.service, within.start_us, MINUTE_US)
    changes, runs = [], []
    for check in CHECKS:
        spans = list(spans_of_plan(made.failing[check], within))
        changes.append(SpanChange(source=SourceKey(made.service, check, "jkt-1"), written=tuple(spans)))
        runs += [
            Run(
                service=made.service,
                check=check,
                location="jkt-1",
                start_us=span.start_us,
                outcome=span.outcome,
                reason="timeout" if span.outcome is Outcome.FAIL else None,
            )
            for span in spans
        ]
    store.commit(
        Unit(recorded_at_us=within.end_us, facts=(ChecksAdopted(list=lists),), runs=runs, spans=tuple(changes))
    )


def spans_of_plan(failing: Iterable[Span], within: Span) -> Iterator[OutcomeSpan]:
    at_us = within.start_us
    for span in failing:
        yield OutcomeSpan(at_us, span.start_us, Outcome.PASS)
        yield OutcomeSpan(span.start_us, span.end_us, Outcome.FAIL)
        at_us = span.end_us
    yield OutcomeSpan(at_us, within.end_us, Outcome.PASS)


# A day as it comes in.


@dataclass(frozen=True, slots=True)
class Day:
    """One day's ingestion: how many runs and changes of a check's outcome, and the CPU of verdict and detector."""

    name: str
    runs: int
    changes: int
    cpu_s: float


def live_day(name: str, services: int, within: Span, interval_us: int, outages: int, folder: Path) -> Day:
    """Commits the day's runs in batches of a quarter second's due, and times what follows from each."""
    store = open_store(f"sqlite:///{name}.db", base=folder)
    agreed = Agreements(terms=(terms(),), subscriptions=())
    detector = Detector(store=store, configured=agreed)
    plans = [plan(number, within, outages) for number in range(services)]
    batches = due(plans, within, interval_us)
    facts = tuple(ChecksAdopted(list=listed(made.service, within.start_us, interval_us)) for made in plans)
    spent, runs, changes = 0, 0, 0
    latest: dict[SourceKey, Outcome] = {}
    try:
        committed = store.commit(Unit(recorded_at_us=within.start_us, facts=facts))
        detector.open(within.start_us)
        for at_us, batch in batches:
            committed = store.commit(Unit(recorded_at_us=at_us, runs=batch))
            for run in batch:
                changes += latest.get(run.source, run.outcome) is not run.outcome
                latest[run.source] = run.outcome
            runs += len(batch)
            began = time.process_time_ns()
            unit = detector.take(committed, at_us, {})
            spent += time.process_time_ns() - began
            if unit is not None:
                store.commit(unit)
        assert detector.stats.failures == 0, "an evaluation broke"
    finally:
        store.close()
    say(f"live: {name}, {runs} runs, {changes} changes, {spent / 1e9:.2f} s")
    return Day(name, runs, changes, spent / 1e9)


def due(plans: list[Plan], within: Span, interval_us: int) -> Iterator[tuple[int, list[Run]]]:
    """The runs in the order of their stamps, those of one stamp together, committed a quarter second later."""
    for slot_us in range(within.start_us, within.end_us, interval_us):
        for position, check in enumerate(CHECKS):
            at_us = slot_us + position * interval_us // len(CHECKS)
            batch = [
                Run(
                    service=made.service,
                    check=check,
                    location="jkt-1",
                    start_us=at_us,
                    outcome=(outcome := made.outcome(check, at_us)),
                    reason="timeout" if outcome is Outcome.FAIL else None,
                )
                for made in plans
            ]
            yield at_us + SECOND_US // 4, batch


def fitted(days: list[Day]) -> tuple[float, float]:
    """A and b of CPU = a x runs + b x changes, by least squares, in microseconds."""
    rr = sum(day.runs * day.runs for day in days)
    rc = sum(day.runs * day.changes for day in days)
    cc = sum(day.changes * day.changes for day in days)
    rt = sum(Fraction(day.cpu_s) * day.runs for day in days)
    ct = sum(Fraction(day.cpu_s) * day.changes for day in days)
    determinant = rr * cc - rc * rc
    per_run, per_change = (rt * cc - ct * rc) / determinant, (ct * rr - rt * rc) / determinant
    return float(per_run) * 1e6, float(per_change) * 1e6


def live(services: int, hours: int, folder: Path) -> dict[str, object]:
    within = Span(month_span(MONTH, WIB).start_us, month_span(MONTH, WIB).start_us + hours * HOUR_US)
    days = [
        live_day(f"{seconds}s-{mood}", services, within, seconds * SECOND_US, outages, folder)
        for seconds in (60, 5)
        for mood, outages in (("calm", 2), ("restless", 40))
    ]
    per_run_us, per_change_us = fitted(days)
    return {
        "services": services,
        "hours": hours,
        "days": [
            {
                "day": day.name,
                "runs": day.runs,
                "changes": day.changes,
                "cpu_s": round(day.cpu_s, 3),
                "us_per_run": round(1e6 * day.cpu_s / day.runs, 2),
            }
            for day in days
        ],
        "a_us_per_run": round(per_run_us, 2),
        "b_us_per_change": round(per_change_us, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What a month costs.")
    parser.add_argument("--services", type=int, default=1000, help="of the statements")
    parser.add_argument("--days", type=int, default=30, help="of the sweep")
    parser.add_argument("--peer-services", type=int, default=4, help="of the sweep beside SQL")
    parser.add_argument("--live-services", type=int, default=2)
    parser.add_argument("--live-hours", type=int, default=24)
    asked = parser.parse_args()
    month = month_span(MONTH, WIB)
    swept_span = Span(month.start_us, min(month.end_us, month.start_us + asked.days * DAY_US))
    figures: dict[str, object] = {}
    figures["sweep"], peers = sweep_against_sql(asked.peer_services, swept_span)
    with tempfile.TemporaryDirectory() as folder:
        figures["statements"] = statements(asked.services, month, Path(folder))
        figures["live"] = live(asked.live_services, asked.live_hours, Path(folder))
    sys.stdout.write(
        json.dumps({"bench": "month", "figures": figures, "peers": {"sql_window_functions": peers}}) + "\n"
    )


if __name__ == "__main__":
    main()

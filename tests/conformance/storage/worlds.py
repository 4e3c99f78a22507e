"""A random history of runs as a store receives it: in batches, out of order, twice, and contradicting itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from monitor.core.check import Check, CheckList
from monitor.core.fact import ChecksAdopted
from monitor.core.instant import HOUR_US, MINUTE_US, SECOND_US
from monitor.core.run import Origin, Outcome, Run, SourceKey, StepRecord
from monitor.core.segment import hour_of
from monitor.core.span import Span
from monitor.storage import Reader, Store, Unit

FIRST = hour_of(1_775_000_000 * SECOND_US)
SOURCES = [
    SourceKey("portal", "login", "jkt-1"),
    SourceKey("portal", "login", "sby-1"),
    SourceKey("portal", "order", "jkt-1"),
    SourceKey("mail", "smtp", "jkt-1"),
]
ALL = Span(-(2**60), 2**60)

CHECKS = [
    ChecksAdopted(
        list=CheckList(
            service=service,
            at_us=FIRST,
            interval_us=5 * MINUTE_US,
            timeout_us=10 * SECOND_US,
            stale_after_us=15 * MINUTE_US,
            checks=tuple(Check(id=check) for check in sorted({s.check for s in SOURCES if s.service == service})),
        )
    )
    for service in ("mail", "portal")
]


def history(seed: int, hours: int) -> list[Run]:
    """Runs of all sources, one every five minutes, some missing, some failing."""
    chance = random.Random(seed)
    runs = []
    for place, source in enumerate(SOURCES):
        for slot_us in range(FIRST + place * MINUTE_US, FIRST + hours * HOUR_US, 5 * MINUTE_US):
            if chance.random() < 0.1:
                continue
            runs.append(_run(chance, source, slot_us))
    return sorted(runs, key=lambda run: run.start_us)


def _run(chance: random.Random, source: SourceKey, slot_us: int) -> Run:
    outcome = chance.choices(list(Outcome), [8, 3, 1])[0]
    failed = outcome is Outcome.FAIL
    phases = tuple((name, chance.randrange(1000)) for name in ("connect", "first_byte"))
    return Run(
        **source._asdict(),
        start_us=slot_us + chance.randrange(2 * SECOND_US),
        slot_us=slot_us,
        outcome=outcome,
        duration_us=chance.randrange(10**6),
        attempts=2 if failed else 1,
        reason={"pass": None, "fail": "timeout", "inconclusive": "own_network"}[outcome.value],
        step="log in" if failed else None,
        message="no answer within 10 s" if failed else None,
        steps=(StepRecord(name="log in", duration_us=3000, phases_us=phases, http_status=200),) if slot_us % 2 else (),
        origin=chance.choice([Origin.OWN, Origin.AGENT]),
    )


def contradicted(run: Run) -> Run:
    """The same run with another content."""
    return replace(run, duration_us=run.duration_us + 1)


def commit(store: Store, runs: list[Run], now_us: int) -> None:
    for first in range(0, len(runs), 50):
        store.commit(Unit(recorded_at_us=now_us, runs=runs[first : first + 50]))


Question = tuple[str, Callable[[Reader], Any]]


def questions(seed: int, hours: int) -> list[Question]:
    """What may be asked about runs, at instants of all kinds, each with its name."""
    chance = random.Random(seed)
    end_us = FIRST + hours * HOUR_US

    def instant() -> int:
        return chance.choice([chance.randrange(FIRST - HOUR_US, end_us + HOUR_US), FIRST + HOUR_US, end_us])

    asked: list[Question] = [
        ("latest", lambda reader: reader.latest_runs()),
        ("latest of one", lambda reader: reader.latest_runs("mail")),
        ("sources", lambda reader: reader.sources()),
        ("how many", lambda reader: reader.counts().runs),
        ("last arrival", lambda reader: reader.last_arrival()),
    ]
    for source in SOURCES:
        asked += _of_source(source, ALL, ALL.end_us, 2**60, 10)
        asked += _of_source(source, ALL, ALL.start_us, 0, 10)
    for _ in range(3):
        first_us, last_us = sorted((instant(), instant()))
        for source in SOURCES:
            limit = chance.choice([1, 7, 1000])
            asked += _of_source(source, Span(first_us, last_us), instant(), chance.randrange(600), limit)
    return asked


def _of_source(source: SourceKey, within: Span, at_us: int, arrival: int, limit: int) -> list[Question]:
    name = f"{source} {within} {at_us} {arrival}"
    return [
        (f"arrivals {name}", lambda reader: reader.runs_after(arrival, limit)),
        (f"arrived {name}", lambda reader: reader.arrived_after(source.service, within, arrival)),
        (f"runs {name}", lambda reader: list(reader.runs(source, within))),
        (f"known {name}", lambda reader: list(reader.runs_known(source, within, arrival))),
        (f"before {name}", lambda reader: reader.run_before(source, at_us)),
        (f"after {name}", lambda reader: reader.run_after(source, at_us)),
        (f"failure {name}", lambda reader: reader.first_failure(source, within)),
    ]

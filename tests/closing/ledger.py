"""A ledger with a month that may close for two partners, their service down for long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from monitor.core.check import Check, CheckList
from monitor.core.fact import ChecksAdopted
from monitor.core.instant import DAY_US, HOUR_US, SECOND_US
from monitor.core.run import Outcome, Run
from monitor.core.terms import Agreements
from monitor.ledger.evidence import rebuild
from monitor.storage import Unit
from monitor.storage.sqlite import open_store
from tests.core.examples import at, subscription, terms

START, END = at("2026-04-01T00:00:00"), at("2026-05-01T00:00:00")
NOW_US = END + 4 * DAY_US
PARTNERS, SERVICES = ("acme", "beta"), ("portal",)
LONG_US = 6 * HOUR_US
AGREEMENTS = Agreements(
    terms=(terms(),),
    subscriptions=tuple(
        replace(subscription(), partner=partner, service=service) for partner in PARTNERS for service in SERVICES
    ),
)


def watched(path: Path) -> None:
    """April, every six hours; portal fails for its first 42."""
    store = open_store(path)
    for service in SERVICES:
        adopted = CheckList(
            service=service,
            at_us=START - DAY_US,
            interval_us=LONG_US,
            timeout_us=10 * SECOND_US,
            stale_after_us=2 * LONG_US,
            checks=(Check(id="login"),),
        )
        runs = [
            Run(
                service=service,
                check="login",
                location="jkt-1",
                start_us=stamp,
                outcome=Outcome.FAIL if service == "portal" and stamp < START + 42 * HOUR_US else Outcome.PASS,
            )
            for stamp in range(START, END + DAY_US, LONG_US)
        ]
        store.commit(Unit(recorded_at_us=START - DAY_US, facts=(ChecksAdopted(list=adopted),)))
        store.commit(Unit(recorded_at_us=END + DAY_US, runs=runs))
    rebuild(store)
    store.close()

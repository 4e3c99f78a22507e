"""Counters of runs, by check and location: views of the ledger, fed with committed runs only, kept over restarts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monitor.core.run import Outcome, Run, SourceKey
from monitor.telemetry.snapshot import DURATION_BOUNDS_US, CheckTotals, Histogram


@dataclass(slots=True)
class CheckCounts:
    """What was counted of one source. `last` is its newest run, `success` what the last conclusive one said."""

    attempts: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    inconclusive: Counter[str] = field(default_factory=Counter)
    assertions: Counter[str] = field(default_factory=Counter)
    durations: Histogram = field(default_factory=lambda: Histogram(DURATION_BOUNDS_US))
    slot_us: int | None = None
    success: bool | None = None
    cert_not_after_s: int | None = None
    last: Run | None = None

    def take(self, run: Run) -> None:
        """Count a run that was committed for the first time. Two runs of one slot are both evidence and count once."""
        if run.slot_us is not None and run.slot_us == self.slot_us:
            return
        self.slot_us = run.slot_us
        if run.outcome is Outcome.INCONCLUSIVE:
            self.inconclusive[run.reason or "internal"] += 1
        else:
            self.attempts += 1
            self.durations.observe(run.duration_us)
        if run.outcome is Outcome.FAIL:
            self.failures[run.reason or "protocol"] += 1
            self.assertions.update(assertion for step in run.steps for assertion in step.failed_assertions)
        if self.last is None or run.start_us >= self.last.start_us:
            self.show(run)

    def show(self, run: Run) -> None:
        """Take a run as the newest, without counting it."""
        self.last = run
        if run.outcome is not Outcome.INCONCLUSIVE:
            self.success = run.outcome is Outcome.PASS
        seen = [step.cert_not_after_s for step in run.steps if step.cert_not_after_s is not None]
        self.cert_not_after_s = min(seen, default=self.cert_not_after_s)

    def totals(self, skipped: Mapping[str, int]) -> CheckTotals:
        """As telemetry shows them."""
        return CheckTotals(
            attempts=self.attempts,
            inconclusive=dict(self.inconclusive),
            failures=dict(self.failures),
            skipped=skipped,
            assertion_failures=dict(self.assertions),
            durations=self.durations.tally(),
        )

    def document(self) -> dict[str, Any]:
        """As it is kept over restarts; the newest run is in the store."""
        return {
            "attempts": self.attempts,
            "failures": dict(self.failures),
            "inconclusive": dict(self.inconclusive),
            "assertions": dict(self.assertions),
            "bounds_us": list(self.durations.bounds_us),
            "durations": list(self.durations.counts),
            "durations_us": self.durations.sum_us,
            "slot_us": self.slot_us,
            "success": self.success,
            "cert_not_after_s": self.cert_not_after_s,
        }

    @staticmethod
    def of(document: Mapping[str, Any]) -> CheckCounts:
        """The counts that `document` was written of. A histogram of other bounds cannot go on and starts anew."""
        same = tuple(document["bounds_us"]) == DURATION_BOUNDS_US
        return CheckCounts(
            attempts=document["attempts"],
            failures=Counter(document["failures"]),
            inconclusive=Counter(document["inconclusive"]),
            assertions=Counter(document["assertions"]),
            durations=Histogram(
                DURATION_BOUNDS_US,
                list(document["durations"]) if same else [],
                document["durations_us"] if same else 0,
            ),
            slot_us=document["slot_us"],
            success=document["success"],
            cert_not_after_s=document["cert_not_after_s"],
        )


def write_counts(counts: Mapping[SourceKey, CheckCounts]) -> list[Any]:
    """The counts of all sources as they are kept over restarts."""
    return [[*source, held.document()] for source, held in list(counts.items())]


def read_counts(written: list[Any]) -> dict[SourceKey, CheckCounts]:
    """What `write_counts` wrote."""
    return {SourceKey(*key): CheckCounts.of(document) for *key, document in written}

"""One check as it is run, and the time that its runs may take."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.controls import CONTROL_SPACING_US, CONTROL_TIMEOUT_US
from monitor.core.instant import SECOND_US
from probes import transaction

GUARD_US = SECOND_US
"""A probe that has not ended this long after its deadline ignores it: it is cut off. Twice, as after a stall the guard
may ring before the probe had its own grace turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One check as it is run. `timeout_us` bounds one attempt with all its steps; of `attempts` the last confirms."""

    service: str
    check: str
    transaction: transaction.Spec
    interval_us: int
    timeout_us: int
    attempts: int = 2
    sla: bool = True

    @property
    def finally_us(self) -> int:
        """How long the steps of `finally` may take after an attempt."""
        return transaction.finally_budget_ns(self.timeout_us * 1000) // 1000 if self.transaction.finally_ else 0


def longest_us(plan: Plan) -> int:
    """How long one attempt of a plan is waited for before it is overdue."""
    return plan.timeout_us + plan.finally_us + GUARD_US


def budget_us(*, attempts: int, timeout_us: int, finally_us: int = 0, controls: bool) -> int:
    """The longest a run goes on by plan: what must fit its interval (CONTRACT 2.1.2). The pause before a confirmation
    (`runner.ASKED_ANEW_US`) has room in the time of the controls before it, unless these take all of that to answer.
    """
    return attempts * (timeout_us + finally_us) + (2 * (CONTROL_SPACING_US + CONTROL_TIMEOUT_US) if controls else 0)

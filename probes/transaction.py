"""A transaction: named steps one after the other on one context, then the steps of `finally`; one `Result`.

The first step that fails ends the transaction and names itself, its reason and what was expected against what came.

**Time.** `ctx.deadline_ns` bounds the steps. The steps of `finally` run after that on time of their own, so that a
cleaning up is possible after a time-out too: together `finally_budget_ns(timeout)`, a quarter of the attempt's timeout
but never more than 5 s. An interval must have room for it (CONTRACT 2.1.2). They always run, unless the attempt was
cancelled; one whose variables were never extracted is skipped and says so. Their failures stand in the trace and change
nothing.

**Our own stall.** When a deadline fired late (`ctx.tainted`), a failure that time may have caused is no evidence: the
result is INCONCLUSIVE(STALLED). What a target *said* (a status, a body) stands.
"""

from __future__ import annotations

from probes._attempt import run
from probes._parse import Problem, SpecError, parse, schema
from probes._steps import Spec, Step, finally_budget_ns

__all__ = ["Problem", "Spec", "SpecError", "Step", "finally_budget_ns", "parse", "run", "schema"]

"""When trouble that the monitor sees becomes an incident: what the configuration says of it."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.core.baseline import DEFAULT, Policy
from monitor.core.instant import MINUTE_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """When trouble becomes an incident. `quiet_us`: what comes back within it is the same one; `baseline` says what is
    usual, and how much slower is trouble.
    """

    quiet_us: int = 30 * MINUTE_US
    failures_after_us: int = 15 * MINUTE_US
    latency_after_us: int = 15 * MINUTE_US
    baseline: Policy = DEFAULT

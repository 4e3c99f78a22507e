"""The schedule alone: how late its starts are, and what of a core it takes, with runs that end at once.

    python -m bench.schedule [--checks 50000] [--interval 60] [--seconds 30]

Goal: 50,000 checks every 60 s with a p99 of 1 ms, none early, below 5 % of a core. `waited_percent` is the
share of the time for which it could have run and another process had the core: lateness that is not its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bench import harness
from monitor.app.process import wake_promptly
from monitor.clock import live_clock
from monitor.core.instant import SECOND_US
from monitor.plan import Plan
from monitor.scheduler import Scheduler, staggered
from monitor.underway import Over
from probes import transaction

CHECKS_A_SERVICE = 50
SETTLE_S = 1.0


def plans(checks: int, interval_s: int) -> list[Plan]:
    """So many checks, a few for each service."""
    return [
        Plan(
            service=f"service-{number // CHECKS_A_SERVICE}",
            check=f"check-{number % CHECKS_A_SERVICE}",
            transaction=transaction.Spec(steps=()),
            interval_us=interval_s * SECOND_US,
            timeout_us=SECOND_US,
        )
        for number in range(checks)
    ]


async def measure(checks: int, interval_s: int, seconds: float) -> dict[str, Any]:
    """Lateness in ms and the share of a core, over so many seconds."""
    loop = asyncio.get_running_loop()
    clock, late_us = live_clock(loop), []

    def begin(_plan: Plan, slot_us: int, begins: Callable[[], bool], over: Over) -> asyncio.Handle:
        late_us.append(clock.now_us() - slot_us)
        begins()
        return loop.call_soon(over, None)

    scheduler = Scheduler(clock, begin=begin, late=lambda _plan, _slot_us: None)
    scheduler.replace(staggered(plans(checks, interval_s)))
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError):
        wake_promptly()  # as the daemon does
    running = asyncio.create_task(scheduler.run())
    await asyncio.sleep(SETTLE_S)
    late_us.clear()
    before_s, waited_s = _cpu_s(), harness.waited_s(os.getpid())
    await asyncio.sleep(seconds)
    spent_s, waited_s = _cpu_s() - before_s, harness.waited_s(os.getpid()) - waited_s
    scheduler.stop()
    await running
    await scheduler.drain()
    clock.close()
    found = sorted(late_us)
    return {
        "checks": checks,
        "interval_s": interval_s,
        "starts": len(found),
        "lateness_ms": {share: harness.quantile(found, float(share)) / 1000 for share in ("0.5", "0.99", "0.999")},
        "early": sum(late < 0 for late in found),
        "core_percent": round(100 * spent_s / seconds, 2),
        "waited_percent": round(100 * waited_s / seconds, 2),
    }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=50_000)
    parser.add_argument("--interval", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=30)
    asked = parser.parse_args()
    harness.pin(os.getpid(), 1)
    found = asyncio.run(measure(asked.checks, asked.interval, asked.seconds))
    met = found["lateness_ms"]["0.99"] <= 1 and not found["early"] and found["core_percent"] < 5
    harness.finish("schedule", found | {"goal": {"p99_ms": 1, "early": 0, "core_percent": 5, "met": met}}, {})


if __name__ == "__main__":
    main()

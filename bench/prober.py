"""Our prober as a process under a bench: one JSON order a line on stdin, one JSON answer a line on stdout.

    python -m bench.prober [uvloop]

An order is {"check": …, "count": n, "at_once": n} or, paced, {"check": …, "count": n, "rate": per second}. The path is
the shipped one: redirects, body cap, egress guard, scrubbing, phases and assertions are on.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from typing import Any

from probes import Context, transaction
from probes._net import LiveNetwork

TIMEOUT_NS = 5_000_000_000


def no_secret(reference: str) -> str:
    raise AssertionError(reference)


def wall_us() -> int:
    return time.time_ns() // 1000


async def probe(spec: transaction.Spec, network: LiveNetwork) -> str:
    ctx = Context(time.monotonic_ns, time.monotonic_ns() + TIMEOUT_NS, network, no_secret, wall_us)
    result = await transaction.run(spec, ctx)
    return result.outcome.value if result.reason is None else f"{result.outcome.value}({result.reason.value})"


async def saturated(spec: transaction.Spec, network: LiveNetwork, count: int, at_once: int) -> Counter[str]:
    said: Counter[str] = Counter()
    left = count

    async def some() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            said[await probe(spec, network)] += 1

    await asyncio.gather(*(some() for _ in range(at_once)))
    return said


async def paced(spec: transaction.Spec, network: LiveNetwork, count: int, rate: float) -> Counter[str]:
    said: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
        said[await probe(spec, network)] += 1
    return said


async def serve() -> None:
    network, loop = LiveNetwork(), asyncio.get_running_loop()
    specs: dict[str, transaction.Spec] = {}
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order: dict[str, Any] = json.loads(line)
        key = json.dumps(order["check"])
        spec = specs.setdefault(key, transaction.parse(order["check"]))
        gc.collect()
        gc.freeze()
        begun_ns = time.process_time_ns()
        if "rate" in order:
            said = await paced(spec, network, order["count"], order["rate"])
        else:
            said = await saturated(spec, network, order["count"], order["at_once"])
        spent_ns = time.process_time_ns() - begun_ns
        print(json.dumps({"cpu_ms": spent_ns / 1e6 / order["count"], "said": said}), flush=True)
    network.close()


def main() -> None:
    loop_factory = None
    if sys.argv[1:] == ["uvloop"]:
        import uvloop  # noqa: PLC0415 - only where it is asked for

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()

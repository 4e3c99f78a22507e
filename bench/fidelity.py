"""Whether what is measured is the target's: connect times while our own loop is busy (goal 4), and time-outs on time.

    python -m bench.fidelity [--count 600]

The loop is blocked 6 of every 10 ms, as a noisy neighbour or a long callback would. Beside the figure of the engine,
which takes the kernel's stamps, stands what stamps in user space say of the same connections: the peer is what everyone
else does. The target is a server in a process of its own, on another core.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from typing import Any

from bench import harness
from probes import Context, Phase, transaction
from probes._net import LiveNetwork

HOG_S, FREE_S = 0.006, 0.004
PACE_S = 0.003
GOAL_MS = 0.2
ON_TIME_MS = 20
TIMEOUTS_S = (0.5, 1.0, 2.0, 5.1, 10.05)


def serve(port: Any) -> None:  # noqa: ANN401 - a queue of multiprocessing
    """Accepts and says a word; on another core, until it is killed."""

    async def forever() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first = await reader.read(1)
            if first != b"?":
                writer.close()
                return
            await asyncio.Event().wait()  # asked for silence

        server = await asyncio.start_server(greet, "127.0.0.1", 0, backlog=1024)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


def no_secret(reference: str) -> str:
    raise AssertionError(reference)


async def attempt(spec: transaction.Spec, network: LiveNetwork, timeout_s: float = 5) -> Any:  # noqa: ANN401 - Result
    now_ns = time.monotonic_ns()
    ctx = Context(
        now_ns=time.monotonic_ns, deadline_ns=now_ns + int(timeout_s * 1e9), network=network, secret=no_secret
    )
    return await transaction.run(spec, ctx)


async def connects(port: int, network: LiveNetwork, count: int) -> dict[str, float]:
    """Median and 99th percentile of connect, in ms: by the engine, and by stamps in user space around the same step."""
    spec = transaction.parse({"tcp": {"connect": f"127.0.0.1:{port}"}})
    kernel: list[float] = []
    user: list[float] = []
    for _ in range(count):
        result = await attempt(spec, network)
        kernel.append(result.phases_ns[Phase.CONNECT] / 1e6)
        user.append(result.steps[0].duration_ns / 1e6)
        await asyncio.sleep(PACE_S)
    return {
        "engine_p50_ms": quantile(kernel, 0.5),
        "engine_p99_ms": quantile(kernel, 0.99),
        "user_space_p50_ms": quantile(user, 0.5),
        "user_space_p99_ms": quantile(user, 0.99),
    }


def quantile(values: Sequence[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 4)


async def hog() -> None:
    """Blocks the loop 6 of every 10 ms."""
    while True:
        until = time.perf_counter() + HOG_S
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(FREE_S)


async def timeouts(port: int, network: LiveNetwork) -> dict[str, float]:
    """How late each time-out fires, in ms; several at once, as each waits for itself."""
    spec = transaction.parse({"tcp": {"connect": f"127.0.0.1:{port}", "dialogue": [{"send": "?"}, {"expect": "x"}]}})

    async def one(timeout_s: float) -> float:
        begun = time.perf_counter()
        await attempt(spec, network, timeout_s)
        return round((time.perf_counter() - begun - timeout_s) * 1000, 3)

    late = await asyncio.gather(*(one(timeout_s) for timeout_s in TIMEOUTS_S))
    return {str(timeout_s): ms for timeout_s, ms in zip(TIMEOUTS_S, late, strict=True)}


async def measure(port: int, count: int) -> dict[str, Any]:
    network = LiveNetwork()
    await connects(port, network, 50)
    idle = await connects(port, network, count)
    task = asyncio.create_task(hog())
    busy = await connects(port, network, count)
    task.cancel()
    late = await timeouts(port, network)
    network.close()
    apart = round(busy["engine_p99_ms"] - idle["engine_p99_ms"], 4)
    return {
        "idle": idle,
        "loop_blocked_6_of_10_ms": busy,
        "engine_p99_apart_ms": apart,
        "goal": {"at_most": GOAL_MS, "met": abs(apart) <= GOAL_MS},
        "timeouts_late_ms": late,
        "timeouts_goal": {"within": ON_TIME_MS, "met": max(map(abs, late.values())) <= ON_TIME_MS},
        "times_closer_than_user_space": round(busy["user_space_p99_ms"] / max(busy["engine_p99_ms"], 0.001), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=600)
    asked = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    port: Any = spawn.Queue()
    server = spawn.Process(target=serve, args=(port,), daemon=True)
    server.start()
    assert server.pid is not None
    harness.pin(server.pid, 1)
    try:
        figures = asyncio.run(measure(port.get(timeout=harness.WITHIN_S), asked.count))
    finally:
        server.kill()
    harness.finish("fidelity", figures, {"user_space": "stamps around the same step, in the same process"})


if __name__ == "__main__":
    main()

"""Whether this machine can run what is planned: the planned rate against a capacity measured here and now (FAULTS 2.A).

Measured is the real path of a probe, from settings to result, against a small server on the loopback in the same
process. What the server costs stands for recording, judging and showing a run, which cost about as much.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

import probes
from monitor.plan import Plan
from probes import transaction
from probes._net import LiveNetwork

ENOUGH = 50
"""Below so many plain steps a second nothing is measured: any machine does that."""

TLS_WEIGHT = 9
"""A TLS handshake costs as much as nine plain steps (docs/performance.md): the crypto library decides."""

USABLE_PERCENT = 50
"""How much of one core may be planned: above that, lateness begins."""

_MEASURED_RUNS = 150
_WARM_UP_RUNS = 20
_AT_ONCE = 10
_TIMEOUT_NS = 5_000_000_000
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Load:
    """A planned rate and what one core can do, both in plain steps a second."""

    planned: float
    capacity: float

    def warning(self) -> str | None:
        """What to tell whoever planned it; None if it fits."""
        if self.planned <= self.capacity:
            return None
        return (
            f"the plan asks for {self.planned:,.0f} steps a second (one with TLS counts {TLS_WEIGHT}), and this "
            f"machine, measured just now, does {self.capacity:,.0f} with {USABLE_PERCENT} % of a core: runs will be "
            "inconclusive(late); lengthen intervals, or share the checks among locations"
        )


def planned_rate(plans: Iterable[Plan]) -> float:
    """The plain steps a second that the plans ask for when nothing fails."""
    return sum(_weight(plan.transaction) * 1e6 / plan.interval_us for plan in plans)


def _weight(spec: transaction.Spec) -> int:
    return sum(TLS_WEIGHT if _has_tls(step) else 1 for step in (*spec.steps, *spec.finally_))


def _has_tls(step: transaction.Step) -> bool:
    if step.kind == "http":
        return bool(step.spec.url.lower().startswith("https:"))
    return step.kind == "tls" or (step.kind == "tcp" and (step.spec.tls is not None or step.spec.upgrades))


async def load(plans: Iterable[Plan]) -> Load | None:
    """The planned rate against the measured capacity; None where the rate is so low that nobody needs to measure."""
    planned = planned_rate(plans)
    return None if planned <= ENOUGH else Load(planned, await measured_capacity())


async def measured_capacity() -> float:
    """Plain steps a second that USABLE_PERCENT of one core does, by its CPU time. Takes about 0.1 s."""
    network = LiveNetwork()
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spec = transaction.parse({"http": {"get": f"http://127.0.0.1:{port}/"}, "expect": {"status": 200}})
    try:
        await _runs(spec, network, _WARM_UP_RUNS)
        begun_ns = time.process_time_ns()
        await _runs(spec, network, _MEASURED_RUNS)
        spent_ns = time.process_time_ns() - begun_ns
    finally:
        network.close()
        server.close()
        await server.wait_closed()
    return USABLE_PERCENT / 100 * _MEASURED_RUNS * 1e9 / max(1, spent_ns)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.read(4096)
        writer.write(_ANSWER)
    except ConnectionError:
        pass  # the probe went away
    writer.close()


async def _runs(spec: transaction.Spec, network: LiveNetwork, count: int) -> None:
    left = count

    async def some() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            ctx = probes.Context(
                now_ns=_now_ns,
                deadline_ns=_now_ns() + _TIMEOUT_NS,
                network=network,
                secret=_no_secret,
            )
            await transaction.run(spec, ctx)

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


def _now_ns() -> int:
    return round(asyncio.get_running_loop().time() * 1e9)


def _no_secret(reference: str) -> str:
    raise AssertionError(reference)

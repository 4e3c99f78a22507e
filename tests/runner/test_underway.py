"""The one timer under the guards of all runs: each rings at its own instant, once, unless it was forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from monitor.underway import Guards
from tests.simulation.loop import SimulatedClock, VirtualLoop

MS = 1_000_000


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


class Run:
    """Notes when it is overdue."""

    def __init__(self, clock: SimulatedClock, rang: list[tuple[str, int]], name: str) -> None:
        self._clock, self._rang, self._name = clock, rang, name

    def overdue(self) -> None:
        self._rang.append((self._name, self._clock.now_ns() // MS))


def test_each_guard_rings_at_its_own_instant_whatever_came_first(loop: VirtualLoop) -> None:
    clock, rang = SimulatedClock(loop, 0), list[tuple[str, int]]()
    guards = Guards(clock)

    def watch(name: str, at_ms: int) -> Any:  # noqa: ANN401 - what a run is to its guard
        run: Any = Run(clock, rang, name)
        guards.watch(run, at_ms * MS, clock.now_ns())
        return run

    async def story() -> None:
        watch("late", 3000)
        gone = watch("gone", 1000)
        watch("early", 2000)
        watch("with it", 2000)
        guards.forget(gone)
        guards.forget(gone)
        await asyncio.sleep(2.5)
        assert rang == [("early", 2000), ("with it", 2000)]
        watch("between", 2700)
        await asyncio.sleep(1)
        watch("after a rest", 9000)
        await asyncio.sleep(10)

    loop.run_until_complete(story())
    assert rang[2:] == [("between", 2700), ("late", 3000), ("after a rest", 9000)]

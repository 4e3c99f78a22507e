"""Background tasks that must not end: one that breaks is told, counted, and begun again after a pause."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine

import structlog

from monitor.clock import Clock, pause
from monitor.core.instant import SECOND_US

FIRST_PAUSE_US = SECOND_US // 4
MAX_PAUSE_US = 30 * SECOND_US
SETTLED_US = 60 * SECOND_US
"""A task that ran this long begins again without the pauses of its earlier deaths."""

_log = structlog.get_logger("jaga.app")


class Supervisor:
    """Keeps tasks going. A task that returns has done its work."""

    def __init__(self, clock: Clock) -> None:
        self.restarts: Counter[str] = Counter()
        self._clock = clock

    def start(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> asyncio.Task[None]:
        """Begin `work` under `name`."""
        self.restarts[name] += 0
        return asyncio.create_task(self._keep(name, work), name=name)

    async def _keep(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        pause_us = FIRST_PAUSE_US
        while True:
            begun_ns = self._clock.now_ns()
            try:
                await work()
            except Exception:  # noqa: BLE001 - whatever broke it, it is begun again, counted and told
                _log.exception("background task died", task=name)
            else:
                return
            self.restarts[name] += 1
            if self._clock.now_ns() - begun_ns > SETTLED_US * 1000:
                pause_us = FIRST_PAUSE_US
            await pause(self._clock, pause_us)
            pause_us = min(pause_us * 2, MAX_PAUSE_US)

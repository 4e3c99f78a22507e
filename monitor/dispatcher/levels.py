"""States what is wrong now over the channels that keep a level (Alertmanager, a dead man's switch): no outbox, no retry
but the next statement. One that fails is told when it begins to and when it is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from monitor.clock import Clock
from monitor.dispatcher.tally import Tally
from monitor.notify import Alert, DeliveryError, Level

KIND = "level"

_log = structlog.get_logger("jaga.dispatcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A level, and how often it is stated."""

    level: Level
    every_us: int


@dataclass(slots=True)
class Levels:
    """Keeps `levels` stated, each in its own rhythm. `active` answers what is wrong now."""

    clock: Clock
    levels: Mapping[str, Standing]
    active: Callable[[], Sequence[Alert]]
    tally: Tally
    _other: asyncio.Event = field(default_factory=asyncio.Event)
    _failing: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """State them for ever; after `restart` those that there are then."""
        while True:
            self._other.clear()
            tasks = [
                asyncio.create_task(self._keep(name, standing), name=f"level {name}")
                for name, standing in self.levels.items()
            ]
            changed = asyncio.create_task(self._other.wait(), name="levels changed")
            try:
                done, _left = await asyncio.wait([changed, *tasks], return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in (changed, *tasks):
                    task.cancel()

    def restart(self) -> None:
        """Go on with `levels` as they are now."""
        self._other.set()

    async def _keep(self, name: str, standing: Standing) -> None:
        while True:
            begun_us = self.clock.now_us()
            await self.state(name)
            await self.clock.wait_until(begun_us + standing.every_us)

    async def state(self, name: str) -> bool:
        """State one now; whether it was taken."""
        begun_ns, now_us = self.clock.now_ns(), self.clock.now_us()
        try:
            await self.levels[name].level.sync(self.active(), now_us)
        except DeliveryError as error:
            self.tally.failed(name, KIND, (self.clock.now_ns() - begun_ns) // 1000)
            if name not in self._failing:
                self._failing.add(name)
                _log.error("not stated", channel=name, why=str(error))
            return False
        self.tally.succeeded(name, KIND, (self.clock.now_ns() - begun_ns) // 1000, now_us, ())
        if name in self._failing:
            self._failing.discard(name)
            _log.warning("stated again", channel=name)
        return True

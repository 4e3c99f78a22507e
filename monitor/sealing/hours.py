"""Seals each hour by itself, lets its rows go when it is old, and its runs when nothing is left to decide on them.

What is read takes its time beside the writer; what is written is one transaction an hour. A crash in between loses
nothing: what is sealed is not sealed again, and what was not is found again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from monitor.clock import Clock
from monitor.core.instant import MINUTE_US, format_instant
from monitor.ledger.hours import SEALED_MARK, Due, Sealer, cool, due
from monitor.storage import Reader, StoreError, Unit

T = TypeVar("T")

EVERY_US = MINUTE_US
"""How often it looks."""

EXPIRE_EVERY_US = 60 * MINUTE_US
"""How often it looks for runs that may go: their months are recomputed for it."""

_log = structlog.get_logger("jaga.sealing")


@dataclass(slots=True)
class Hours:
    """`read` asks the store beside the writer; `write` makes a unit durable; `expire` makes the unit by which runs go,
    None while there are none to go.
    """

    clock: Clock
    read: Callable[[Callable[[Reader], Any]], Awaitable[Any]]
    write: Callable[[Unit], Awaitable[Any]]
    expire: Callable[[], Awaitable[Unit | None]]
    sealed_hours: int = 0
    _expired_us: int = field(init=False, default=-EXPIRE_EVERY_US)

    async def run(self) -> None:
        """Look now and every minute; never returns. While the store fails, the next look finds the same again."""
        while True:
            try:
                await self.once()
            except StoreError as error:
                _log.warning("hours not sealed", error=str(error))
            await self.clock.wait_until(self.clock.now_us() + EVERY_US)

    async def once(self) -> None:
        """Seal what is due, let rows go, let runs go."""
        await self._seal()
        while (unit := await self._ask(lambda reader: cool(reader, self.clock.now_us()))) is not None:
            await self.write(unit)
        now_us = self.clock.now_us()
        if now_us - self._expired_us >= EXPIRE_EVERY_US:
            self._expired_us = now_us
            while (unit := await self.expire()) is not None:
                await self.write(unit)
                _log.info("runs expired", hours=len(unit.expired))

    async def _seal(self) -> None:
        while True:
            found: Due = await self._ask(lambda reader: due(reader, self.clock.now_us()))
            sealer = await self._ask(Sealer) if found.hours else None
            for hour_us, services in found.hours:
                assert sealer is not None, "there is one where there are hours"
                await self._seal_hour(sealer, hour_us, services)
            if found.mark is None:
                return
            await self.write(Unit(recorded_at_us=self.clock.now_us(), marks={SEALED_MARK: dict(found.mark)}))

    async def _seal_hour(self, sealer: Sealer, hour_us: int, services: tuple[str, ...]) -> None:
        unit = await self._ask(lambda _reader: sealer.seal(hour_us, services, self.clock.now_us()))
        if unit is not None:
            await self.write(unit)
            self.sealed_hours += 1
            runs = sum(held.segment.runs for held in unit.segments)
            _log.debug("hour sealed", hour=format_instant(hour_us), segments=len(unit.segments), runs=runs)

    async def _ask(self, call: Callable[[Reader], T]) -> T:
        answer: T = await self.read(call)
        return answer

"""Delivers what the outbox holds, and records each acceptance: first sent, then marked as sent (FAULTS 7).

A message waits in the outbox from the transaction of the fact it tells to the one that records its delivery. A crash
between the two sends it again with the same key; none is lost. A channel that fails delays its own messages alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from monitor.clock import Clock
from monitor.core.incident_fact import Delivery
from monitor.core.instant import MINUTE_US, SECOND_US
from monitor.notify import Channel, DeliveryError, Message, Receipt
from monitor.storage import OutboxRow, Store, Unit

T = TypeVar("T")

EVERY_US = SECOND_US
"""How often it looks; a message leaves at most this long after its fact is durable."""

BATCH = 200
"""How many messages are looked at in one turn."""

FIRST_RETRY_US = 5 * SECOND_US
MAX_RETRY_US = 15 * MINUTE_US

_log = structlog.get_logger("jaga.dispatcher")

Ask = Callable[[Callable[[Store], tuple[Unit | None, Any]]], Awaitable[Any]]
"""Writes the unit that is made of the store as it stands, and answers (`Recorder.ask`)."""


@dataclass(slots=True)
class Dispatcher:
    """Sends the outbox over `channels`. `read` reads it; what was accepted is recorded through `ask`.

    A message whose channel is not there, or that its channel refuses for good, stays in the outbox and is tried again
    ever more rarely: nothing is dropped.
    """

    clock: Clock
    channels: Mapping[str, Channel]
    read: Callable[[], Awaitable[Sequence[OutboxRow]]]
    ask: Ask
    _retry: dict[str, tuple[int, int]] = field(default_factory=dict)

    async def run(self) -> None:
        """Look now and every second; never returns."""
        while True:
            await self.once()
            await self.clock.wait_until(self.clock.now_us() + EVERY_US)

    async def once(self) -> int:
        """Deliver what can be delivered now; how many messages were accepted."""
        rows = await self.read()
        self._retry = {row.key: self._retry[row.key] for row in rows if row.key in self._retry}
        accepted = 0
        for row in rows:
            if self.clock.now_us() >= self._retry.get(row.key, (0, 0))[0]:
                accepted += await self._deliver(row)
        return accepted

    async def _deliver(self, row: OutboxRow) -> bool:
        message = Message(key=row.key, kind=row.kind, to=str(row.payload.get("to", "")), payload=row.payload)
        channel = self.channels.get(row.channel, _Absent(row.channel))
        try:
            receipt = await channel.deliver(message)
        except DeliveryError as error:
            self._later(row, error)
            return False
        fact = Delivery(
            key=row.key,
            kind=row.kind,
            channel=row.channel,
            to=message.to,
            at_us=self.clock.now_us(),
            receipt=receipt.text,
        )
        unit = Unit(recorded_at_us=fact.at_us, facts=(fact,), delivered=(row.key,))
        await self.ask(lambda _store: (unit, None))
        return True

    def _later(self, row: OutboxRow, error: DeliveryError) -> None:
        """Try again after a pause that doubles; at once the longest where the channel said that it is no use."""
        _due_us, pause_us = self._retry.get(row.key, (0, 0))
        pause_us = min(pause_us * 2, MAX_RETRY_US) if pause_us else FIRST_RETRY_US
        if not error.retryable:
            pause_us = MAX_RETRY_US
        self._retry[row.key] = (self.clock.now_us() + pause_us, pause_us)
        _log.error("not delivered", key=row.key, channel=row.channel, why=str(error), again_in_s=pause_us // SECOND_US)


@dataclass(frozen=True, slots=True)
class _Absent:
    """In place of a channel that is not there."""

    name: str

    async def deliver(self, message: Message) -> Receipt:
        raise DeliveryError(f"there is no channel {self.name} for {message.to}", retryable=False)

"""Delivers what the outbox holds, and records each acceptance: first sent, then marked as sent (FAULTS 7).

A message waits in the outbox from the transaction of the fact it tells to the one that records its delivery. A crash
between the two sends it again with the same key; none is lost. Each channel is served by itself: one that fails delays
its own messages alone. Within a channel what is told of one outage, incident or window leaves in its order.

A delivery is tried three times in a row; then the channel rests, ever longer, up to a quarter of an hour. A message
that nobody took for seven days is given up: it leaves the outbox for a list of its own, and that is told.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential

from monitor.clock import Clock
from monitor.core.fact import Fact, Notice
from monitor.core.incident_fact import Delivery
from monitor.core.instant import DAY_US, MINUTE_US, SECOND_US
from monitor.dispatcher.batch import Batch, Manner, Pace, batches
from monitor.dispatcher.tally import MARK, Tally
from monitor.messages import FOR_OPERATORS, NOTICES, Kind, severity_of
from monitor.messages.compose import compose
from monitor.notify import Channel, DeliveryError, Message, Receipt
from monitor.storage import OutboxRow, Store, StoreError, Unit

__all__ = ["BATCH", "Dispatcher", "Manner", "Post"]

T = TypeVar("T")

EVERY_US = SECOND_US
"""How often it looks; a message leaves at most this long after its fact is durable."""

BATCH = 200
"""How many messages of a channel are looked at in one turn."""

ATTEMPTS = 3
FIRST_WAIT_S = 1.0
MAX_WAIT_S = 8.0
FIRST_PAUSE_US = 5 * SECOND_US
MAX_PAUSE_US = 15 * MINUTE_US
GIVE_UP_US = 7 * DAY_US

_log = structlog.get_logger("jaga.dispatcher")

Ask = Callable[[Callable[[Store], tuple[Unit | None, Any]]], Awaitable[Any]]
"""Writes the unit that is made of the store as it stands, and answers (`Recorder.ask`)."""

Read = Callable[[str], Awaitable[Sequence[OutboxRow]]]
"""Up to `BATCH` messages that wait for a channel, the oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A channel, and how messages go over it."""

    channel: Channel
    manner: Manner = field(default_factory=Manner)


@dataclass(slots=True)
class _Rest:
    """Until when something is not tried again, and how long that pause was."""

    until_us: int
    pause_us: int


@dataclass(slots=True)
class Dispatcher:
    """Sends the outbox over `posts`. `names` answers which channels have messages, `read` reads those of one; what was
    accepted is recorded through `ask`.

    A message whose channel is not there waits as one whose channel fails: the configuration may be put right.
    """

    clock: Clock
    posts: Mapping[str, Post]
    names: Callable[[], Awaitable[Sequence[str]]]
    read: Read
    ask: Ask
    tally: Tally = field(default_factory=Tally)
    _channels: dict[str, _Rest] = field(default_factory=dict)
    _messages: dict[str, _Rest] = field(default_factory=dict)
    _paces: dict[str, Pace] = field(default_factory=dict)
    _owed: dict[str, list[Unit]] = field(default_factory=dict)
    _serving: dict[str, asyncio.Task[int]] = field(default_factory=dict)

    async def run(self) -> None:
        """Look now and every second; never returns. A channel that is still being served is left alone."""
        try:
            while True:
                await self._begin()
                await self.clock.wait_until(self.clock.now_us() + EVERY_US)
        finally:
            for task in self._serving.values():
                task.cancel()
            if self._serving:
                await asyncio.wait(self._serving.values())

    async def once(self) -> int:
        """Deliver what can be delivered now; how many messages were accepted."""
        await self._begin()
        serving, self._serving = list(self._serving.values()), {}
        return sum(await asyncio.gather(*serving))

    def use(self, posts: Mapping[str, Post]) -> None:
        """Send over other posts from now on. Nothing rests any more: whoever changed an address, a password or the file
        behind it expects what waits to be tried now.
        """
        self.posts = posts
        self._channels.clear()
        self._messages.clear()

    async def _begin(self) -> None:
        for name, task in list(self._serving.items()):
            if task.done():
                del self._serving[name]
                if isinstance(task.exception(), StoreError):
                    continue  # the recorder tells it; the message is in the outbox still
                task.result()
        now_us = self.clock.now_us()
        for name in await self.names():
            if name not in self._serving and now_us >= self._resting(self._channels, name):
                self._serving[name] = asyncio.create_task(self._serve(name), name=f"channel {name}")

    async def _serve(self, name: str) -> int:
        """One channel: everything that may leave now, in order."""
        while owed := self._owed.get(name):
            await self._record(owed[0])
            owed.pop(0)
        post = self.posts.get(name) or Post(channel=_Absent(name))
        rows = await self.read(name)
        pace = self._paces.setdefault(name, Pace())
        accepted = 0
        for batch in batches(rows, post.manner, pace, self.clock.now_us(), self._held):
            if not pace.allows(self.clock.now_us(), post.manner):
                break
            try:
                accepted += await self._send(name, post, batch)
            except _ChannelDownError:
                break
        return accepted

    def _held(self, row: OutboxRow) -> bool:
        """Whether a message that was refused for itself is not to be tried yet."""
        return self.clock.now_us() < self._resting(self._messages, row.key)

    @staticmethod
    def _resting(rests: Mapping[str, _Rest], name: str) -> int:
        rest = rests.get(name)
        return 0 if rest is None else rest.until_us

    async def _send(self, name: str, post: Post, batch: Batch) -> int:
        message = _message(batch, post.manner)
        begun_ns = self.clock.now_ns()
        try:
            receipt = await self._attempted(post.channel, message)
        except DeliveryError as error:
            self.tally.failed(name, batch.kind, (self.clock.now_ns() - begun_ns) // 1000)
            await self._failed(name, batch, error)
            return 0
        now_us = self.clock.now_us()
        self.tally.succeeded(name, batch.kind, (self.clock.now_ns() - begun_ns) // 1000, now_us, batch.keys)
        self._channels.pop(name, None)
        for key in batch.keys:
            self._messages.pop(key, None)
        facts = [fact for row in batch.rows if (fact := _fact(row, message, receipt, now_us)) is not None]
        accepted = Unit(recorded_at_us=now_us, facts=facts, delivered=batch.keys)
        try:
            await self._record(accepted)
        except StoreError:
            # It was sent: while the store is away it is not sent again, and recorded before anything else is.
            self._owed.setdefault(name, []).append(accepted)
            raise
        return len(batch.rows)

    async def _attempted(self, channel: Channel, message: Message) -> Receipt:
        """Three attempts, with the pause that the receiver asks for where it is a short one."""
        retrying = AsyncRetrying(
            stop=lambda state: stop_after_attempt(ATTEMPTS)(state) or _asked_s(state) > MAX_WAIT_S,
            wait=lambda state: max(wait_exponential(multiplier=FIRST_WAIT_S, max=MAX_WAIT_S)(state), _asked_s(state)),
            retry=retry_if_exception(lambda error: isinstance(error, DeliveryError) and error.retryable),
            sleep=self._sleep,
            reraise=True,
        )
        receipt: Receipt = await retrying(channel.deliver, message)
        return receipt

    async def _sleep(self, seconds: float) -> None:
        await self.clock.wait_until(self.clock.now_us() + int(seconds * SECOND_US))

    async def _failed(self, name: str, batch: Batch, error: DeliveryError) -> None:
        """The channel rests where another attempt may help; else this message does, and lets others pass."""
        now_us = self.clock.now_us()
        rest = self._rest(self._channels, name, error) if error.retryable else None
        for key in batch.keys:
            self.tally.trial(key, str(error), now_us)
            if rest is None:
                self._rest(self._messages, key, error)
        gone = [row for row in batch.rows if now_us - row.at_us >= GIVE_UP_US]
        for row in gone:
            self.tally.give_up(row, str(error), now_us)
            _log.error("message given up", key=row.key, channel=name, kind=row.kind, why=str(error))
        _log.error("not delivered", key=batch.keys[0], messages=len(batch.rows), channel=name, why=str(error))
        await self._record(Unit(recorded_at_us=now_us, delivered=[row.key for row in gone]))
        if rest is not None:
            raise _ChannelDownError

    def _rest(self, rests: dict[str, _Rest], name: str, error: DeliveryError) -> _Rest:
        """A pause that doubles; the longest where the channel said that it is no use; not shorter than it asked for."""
        known = rests.get(name)
        pause_us = FIRST_PAUSE_US if known is None else min(known.pause_us * 2, MAX_PAUSE_US)
        if not error.retryable:
            pause_us = MAX_PAUSE_US
        until_us = self.clock.now_us() + max(pause_us, error.retry_after_us or 0)
        rests[name] = rest = _Rest(until_us, pause_us)
        return rest

    async def _record(self, unit: Unit) -> None:
        """Write what became of messages together with the tally of them."""

        def make(_store: Store) -> tuple[Unit, None]:
            marks = {MARK: self.tally.document()}
            return (
                Unit(recorded_at_us=unit.recorded_at_us, facts=unit.facts, delivered=unit.delivered, marks=marks),
                None,
            )

        await self.ask(make)


class _ChannelDownError(Exception):
    """Ends the turn of one channel inside this module only."""


def _asked_s(state: RetryCallState) -> float:
    """How long the receiver asked to be left alone, in seconds."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked_us = error.retry_after_us if isinstance(error, DeliveryError) else None
    return (asked_us or 0) / SECOND_US


def _message(batch: Batch, manner: Manner) -> Message:
    """The one message of a batch: its only row, or a digest of its rows."""
    rows = [replace(row, payload=manner.links.added(row.kind, row.payload)) for row in batch.rows]
    first = rows[0]
    if len(rows) == 1:
        key, kind, payload = first.key, first.kind, first.payload
    else:
        key = "digest/" + hashlib.sha256("\n".join(batch.keys).encode()).hexdigest()[:24]
        kind = Kind.DIGEST.value
        payload = {
            "count": len(rows),
            "messages": [{"key": row.key, "kind": row.kind, "payload": dict(row.payload)} for row in rows],
        }
    words = compose(key, kind, payload, manner.lang)
    return Message(
        key=key,
        kind=kind,
        to=str(first.payload.get("to", "")),
        payload=payload,
        subject=words.subject,
        text=words.text,
        lang=manner.lang.value,
        severity=max((severity_of(row.kind) for row in rows), key=lambda severity: severity.rank).value,
    )


def _fact(row: OutboxRow, message: Message, receipt: Receipt, now_us: int) -> Fact | None:
    """What is recorded of an acceptance: a partner's notice, a delivery of any other contractual act, or nothing."""
    partner = row.payload.get("partner")
    if row.kind in NOTICES and isinstance(partner, str):
        return Notice(
            maintenance=str(row.payload["maintenance"]),
            partner=partner,
            at_us=now_us,
            channel=row.channel,
            receipt=receipt.text,
        )
    if (row.kind in FOR_OPERATORS and partner is None) or row.kind == Kind.TEST:
        return None  # for those who run the services: no act of the contract
    return Delivery(key=row.key, kind=row.kind, channel=row.channel, to=message.to, at_us=now_us, receipt=receipt.text)


@dataclass(frozen=True, slots=True)
class _Absent:
    """In place of a channel that is not there."""

    name: str

    async def deliver(self, message: Message) -> Receipt:
        raise DeliveryError(f"there is no channel {self.name} for {message.to or 'anybody'}", retryable=False)

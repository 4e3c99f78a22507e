"""A thousand seeded schedules of crashes, of channels that fail and of a store that is away: nothing is lost.

A real store, on virtual time. A crash ends the dispatcher wherever it is: before a send, between the acceptance and
the record of it, or after it. The receiver writes down what it took; the dispatcher never sees that list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.core.instant import HOUR_US, MINUTE_US, SECOND_US
from monitor.dispatcher import BATCH, Dispatcher, Manner, Post
from monitor.dispatcher.tally import MARK, Tally
from monitor.notify import DeliveryError, Message, Receipt
from monitor.storage import OutboxRow, Store, StoreError, Unit
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore
from tests.simulation.loop import SimulatedClock, VirtualLoop

NOW_US = 1_775_000_000 * SECOND_US
MANNERS = {"mail": Manner(group_us=0), "hook": Manner(group_us=30 * SECOND_US)}
SCHEDULES = 1_000
TROUBLE_US = 4 * MINUTE_US


@dataclass
class Receiver:
    """Takes messages, but for the spans in which it fails in one way or another."""

    clock: SimulatedClock
    random: Random
    failing: Sequence[tuple[int, int, str]]
    taken: list[tuple[str, ...]] = field(default_factory=list)

    async def deliver(self, message: Message) -> Receipt:
        await self.pause()
        how = next((how for start, end, how in self.failing if start <= self.clock.now_us() < end), None)
        match how:
            case "refuses":
                raise DeliveryError("not this one", retryable=False)
            case "busy":
                raise DeliveryError("busy", retryable=True, retry_after_us=self.random.randrange(120) * SECOND_US)
            case "down":
                raise DeliveryError("down", retryable=True)
        inner = message.payload.get("messages")
        self.taken.append(tuple(one["key"] for one in inner) if inner else (message.key,))
        await self.pause()
        return Receipt(text="ok")

    async def pause(self) -> None:
        await self.clock.wait_until(self.clock.now_us() + self.random.randrange(1, 1_500_000))


@dataclass
class Schedule:
    """One seed: what is queued when, when the process dies, when the store and the receivers are away."""

    seed: int
    store: SqlStore
    clock: SimulatedClock
    queued: list[OutboxRow] = field(default_factory=list)
    waiting: dict[str, list[OutboxRow]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.start_us = self.clock.now_us()
        self.crashes = self.random.randrange(5)
        hows = ("down", "busy", "refuses")
        self.receivers = {
            name: Receiver(self.clock, Random(f"{self.seed} {name}"), [self.span(hows) for _ in range(2)])
            for name in MANNERS
        }
        self.away = [self.span(("away",)) for _ in range(self.random.randrange(2))]

    def span(self, hows: Sequence[str]) -> tuple[int, int, str]:
        start_us = self.start_us + self.random.randrange(TROUBLE_US)
        return start_us, start_us + self.random.randrange(1, TROUBLE_US), self.random.choice(hows)

    def commit(self, unit: Unit) -> None:
        """What waits is read once a commit: asking the store in each virtual second takes minutes."""
        self.store.commit(unit)
        self.waiting = {name: self.store.outbox(BATCH, channel=name) for name in self.store.outbox_waiting()}

    def dispatcher(self) -> Dispatcher:
        async def names() -> list[str]:
            return [*self.waiting]

        async def read(channel: str) -> list[OutboxRow]:
            return self.waiting.get(channel, [])

        async def ask(make: Callable[[Store], tuple[Unit | None, Any]]) -> Any:  # noqa: ANN401 - as the recorder's
            await self.pause()
            if any(start <= self.clock.now_us() < end for start, end, _how in self.away):
                raise StoreError("commit to", "the ledger", "disk full", "make room")
            unit, answer = make(self.store)
            assert unit is not None
            self.commit(unit)
            await self.pause()
            return answer

        posts = {name: Post(channel=self.receivers[name], manner=manner) for name, manner in MANNERS.items()}
        tally = Tally.of(self.store.mark(MARK))
        return Dispatcher(self.clock, posts, names=names, read=read, ask=ask, tally=tally)

    async def pause(self) -> None:
        await self.clock.wait_until(self.clock.now_us() + self.random.randrange(1, 300_000))

    def queue(self, outage: int, kind: str) -> None:
        about = f"{self.seed}/o-{outage}"
        rows = [
            OutboxRow(
                key=f"{about}/{kind}/{name}",
                channel=name,
                kind=kind,
                payload={"about": about, "service": f"s-{outage}", "since": "2026-04-01T07:00:00+07:00"},
                at_us=self.clock.now_us(),
            )
            for name in MANNERS
        ]
        self.commit(Unit(recorded_at_us=self.clock.now_us(), outbox=rows))
        self.queued += rows

    async def play(self) -> None:
        events: list[tuple[int, Callable[[], object]]] = []
        for outage in range(self.random.randint(1, 5)):
            down_us = self.random.randrange(TROUBLE_US)
            events.append((down_us, lambda outage=outage: self.queue(outage, "down")))  # type: ignore[misc]
            up_us = down_us + self.random.randrange(1, TROUBLE_US)
            events.append((up_us, lambda outage=outage: self.queue(outage, "recovered")))  # type: ignore[misc]
        alive = [asyncio.create_task(self.dispatcher().run())]

        def crash() -> None:
            alive[-1].cancel()
            alive.append(asyncio.create_task(self.dispatcher().run()))

        events += [(self.random.randrange(2 * TROUBLE_US), crash) for _ in range(self.crashes)]
        for after_us, event in sorted(events, key=lambda event: event[0]):
            await self.clock.wait_until(self.start_us + after_us)
            event()
        until_us = self.clock.now_us() + HOUR_US
        while self.waiting and self.clock.now_us() < until_us:
            await self.clock.wait_until(self.clock.now_us() + 10 * SECOND_US)
        await self.clock.wait_until(self.clock.now_us() + SECOND_US)
        alive[-1].cancel()
        await asyncio.wait(alive)

    def judge(self) -> None:
        """0 lost, at most one duplicate a crash, and what is told of an outage in its order; each channel by itself."""
        for name, receiver in self.receivers.items():
            seen: set[str] = set()
            repeated = 0
            order: list[str] = []
            for keys in receiver.taken:
                repeated += not seen.isdisjoint(keys)
                order += [key for key in keys if key not in seen]
                seen.update(keys)
            wanted = [row.key for row in self.queued if row.channel == name]
            assert seen == set(wanted), f"seed {self.seed}: lost over {name}: {set(wanted) - seen}"
            assert repeated <= self.crashes, f"seed {self.seed}: {repeated} repeated over {name}"
            for about in {key.rsplit("/", 2)[0] for key in wanted}:
                told = [key.split("/")[2] for key in order if key.startswith(f"{about}/")]
                assert told == ["down", "recovered"], f"seed {self.seed}: {about} over {name}: {told}"
        assert not self.store.outbox(1), f"seed {self.seed}: {self.store.outbox(10)}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_schedules_lose_nothing_and_repeat_at_most_once_a_crash(tmp_path: Path) -> None:
    loop = VirtualLoop()
    store = open_store(tmp_path / "ledger.db")
    # A process dies here, never the machine: twenty thousand commits need not wait for the disk.
    store._writer.raw_connection().cursor().execute("PRAGMA synchronous = OFF")
    clock = SimulatedClock(loop, NOW_US)
    crashes = 0
    with capture_logs():  # what each refusal says would be most of the output
        for seed in range(SCHEDULES):
            schedule = Schedule(seed, store, clock)
            loop.run_until_complete(schedule.play())
            schedule.judge()
            crashes += schedule.crashes
    assert crashes > SCHEDULES
    assert len(Tally.of(store.mark(MARK)).trials) == 0
    store.close()
    loop.close()

"""What the outbox holds is sent, then marked as sent: a real store, the real log, and channels that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from monitor.core.incident_fact import Delivery
from monitor.core.instant import MINUTE_US, SECOND_US
from monitor.dispatcher import FIRST_RETRY_US, MAX_RETRY_US, Dispatcher
from monitor.notify import Channel, DeliveryError, Message, Receipt
from monitor.notify.log import LogChannel
from monitor.storage import OutboxRow, Store, StoreError, Unit
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore
from tests.simulation.loop import SimulatedClock, VirtualLoop

NOW_US = 1_775_000_000 * SECOND_US


@dataclass
class Failing:
    """A channel that refuses so many messages, and says whether it is of use to try again."""

    refusals: int
    retryable: bool = True
    taken: list[str] = field(default_factory=list)

    async def deliver(self, message: Message) -> Receipt:
        if self.refusals:
            self.refusals -= 1
            raise DeliveryError("busy", retryable=self.retryable)
        self.taken.append(message.key)
        return Receipt(text="ok")


def row(key: str, channel: str = "log") -> OutboxRow:
    return OutboxRow(
        key=key,
        channel=channel,
        kind="escalation",
        payload={"to": "management", "incident": "i-1", "level": 3, "event": "asked", "justification": None},
        at_us=NOW_US,
    )


@dataclass
class Post:
    """A store with an outbox, and a dispatcher over it."""

    store: SqlStore
    clock: SimulatedClock
    channels: dict[str, Channel]
    broken: bool = False

    def __post_init__(self) -> None:
        async def read() -> list[OutboxRow]:
            return self.store.outbox(10)

        async def ask(make: Callable[[Store], tuple[Unit | None, Any]]) -> Any:  # noqa: ANN401 - as the recorder's
            if self.broken:
                raise StoreError("commit to", "the ledger", "disk full", "make room")
            unit, answer = make(self.store)
            assert unit is not None
            self.store.commit(unit)
            return answer

        self.dispatcher = Dispatcher(self.clock, self.channels, read=read, ask=ask)

    def queue(self, *rows: OutboxRow) -> None:
        self.store.commit(Unit(recorded_at_us=NOW_US, outbox=rows))

    def deliveries(self) -> list[Delivery]:
        return [entry.fact for entry in self.store.entries() if isinstance(entry.fact, Delivery)]


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    loop = VirtualLoop()
    store = open_store(tmp_path / "ledger.db")
    yield Post(store, SimulatedClock(loop, NOW_US), {"log": LogChannel()})
    store.close()
    loop.close()


def run(post: Post, *, wait_us: int = 0) -> int:
    async def once() -> int:
        if wait_us:
            await post.clock.wait_until(post.clock.now_us() + wait_us)
        return await post.dispatcher.once()

    return post.clock._loop.run_until_complete(once())


def test_a_message_is_logged_recorded_and_gone_from_the_outbox(post: Post) -> None:
    post.queue(row("a"), row("b"))
    with structlog.testing.capture_logs() as logged:
        assert run(post) == 2
    assert logged[0] == {
        "event": "message",
        "log_level": "warning",
        "key": "a",
        "kind": "escalation",
        "to": "management",
        "said": {"to": "management", "incident": "i-1", "level": 3, "event": "asked"},
    }
    assert [(d.key, d.channel, d.to, d.receipt) for d in post.deliveries()] == [
        ("a", "log", "management", "logged"),
        ("b", "log", "management", "logged"),
    ]
    assert post.store.outbox(10) == []
    assert run(post) == 0


def test_a_message_stays_until_its_delivery_is_recorded(post: Post) -> None:
    post.queue(row("a"))
    post.broken = True
    with pytest.raises(StoreError):
        run(post)
    assert [waiting.key for waiting in post.store.outbox(10)] == ["a"]
    post.broken = False
    assert run(post) == 1


def test_a_channel_that_fails_is_asked_again_ever_later_and_holds_up_no_other(post: Post) -> None:
    failing = Failing(refusals=3)
    post.channels["mail"] = failing
    post.queue(row("m", "mail"), row("a"))
    assert run(post) == 1, "the log goes on"
    assert run(post, wait_us=FIRST_RETRY_US - 1) == 0
    assert failing.refusals == 2, "not asked before its time"
    run(post, wait_us=1)
    assert failing.refusals == 1
    run(post, wait_us=FIRST_RETRY_US)
    assert failing.refusals == 1
    run(post, wait_us=FIRST_RETRY_US)
    run(post, wait_us=4 * FIRST_RETRY_US)
    assert failing.taken == ["m"]


def test_what_is_refused_for_good_or_has_no_channel_is_kept_and_tried_rarely(post: Post) -> None:
    never = Failing(refusals=10**6, retryable=False)
    post.channels["mail"] = never
    post.queue(row("m", "mail"), row("s", "sms"))
    with structlog.testing.capture_logs() as logged:
        assert run(post) == 0
    assert {entry["why"] for entry in logged} == {"busy", "there is no channel sms for management"}
    run(post, wait_us=MAX_RETRY_US - MINUTE_US)
    assert never.refusals == 10**6 - 1
    run(post, wait_us=MINUTE_US)
    assert never.refusals == 10**6 - 2
    assert [waiting.key for waiting in post.store.outbox(10)] == ["m", "s"]


def test_it_looks_again_and_again(post: Post) -> None:
    async def story() -> None:
        task = asyncio.create_task(post.dispatcher.run())
        await post.clock.wait_until(post.clock.now_us() + SECOND_US)
        post.queue(row("late"))
        await post.clock.wait_until(post.clock.now_us() + 2 * SECOND_US)
        task.cancel()
        await asyncio.wait([task])

    post.clock._loop.run_until_complete(story())
    assert [delivery.key for delivery in post.deliveries()] == ["late"]

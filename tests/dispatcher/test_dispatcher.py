"""What the outbox holds is sent, then marked as sent: a real store, the real log, and channels that fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog

from monitor.core.incident_fact import Delivery
from monitor.core.instant import MINUTE_US, SECOND_US
from monitor.dispatcher import (
    BATCH,
    FIRST_PAUSE_US,
    GIVE_UP_US,
    MAX_PAUSE_US,
    Dispatcher,
    Manner,
)
from monitor.dispatcher import (
    Post as Way,
)
from monitor.dispatcher.tally import MARK, Tally
from monitor.messages.links import Links
from monitor.notify import Channel, DeliveryError, Message, Receipt
from monitor.notify.log import LogChannel
from monitor.storage import OutboxRow, Store, StoreError, Unit
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore
from tests.simulation.loop import SimulatedClock, VirtualLoop

NOW_US = 1_775_000_000 * SECOND_US


@dataclass
class Failing:
    """A channel that refuses so many messages."""

    refusals: int
    retry_after_us: int | None = None
    taken: list[str] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    payloads: list[Mapping[str, Any]] = field(default_factory=list)

    async def deliver(self, message: Message) -> Receipt:
        if self.refusals:
            self.refusals -= 1
            raise DeliveryError("busy", retryable=True, retry_after_us=self.retry_after_us)
        self.taken.append(message.key)
        self.subjects.append(message.subject)
        self.texts.append(message.text)
        self.payloads.append(message.payload)
        return Receipt(text="ok")


@dataclass
class Picky:
    """A channel that refuses some messages for good."""

    refused: set[str]
    taken: list[str] = field(default_factory=list)

    async def deliver(self, message: Message) -> Receipt:
        if message.key in self.refused:
            raise DeliveryError("not this one", retryable=False)
        self.taken.append(message.key)
        return Receipt(text="ok")


def row(key: str, channel: str = "log", *, kind: str = "escalation", incident: str = "i-1", **more: str) -> OutboxRow:
    fields = {"to": "management", "incident": incident, "level": 3, "event": "asked", "justification": None}
    return OutboxRow(key=key, channel=channel, kind=kind, payload={**fields, **more}, at_us=NOW_US)


@dataclass
class Post:
    """A store with an outbox, and a dispatcher over it."""

    store: SqlStore
    clock: SimulatedClock
    channels: dict[str, Channel]
    manner: Manner = field(default_factory=lambda: Manner(group_us=0))
    broken: bool = False

    def __post_init__(self) -> None:
        async def names() -> list[str]:
            return [*self.store.outbox_waiting()]

        async def read(channel: str) -> list[OutboxRow]:
            return self.store.outbox(BATCH, channel=channel)

        async def ask(make: Callable[[Store], tuple[Unit | None, Any]]) -> Any:  # noqa: ANN401 - as the recorder's
            if self.broken:
                raise StoreError("commit to", "the ledger", "disk full", "make room")
            unit, answer = make(self.store)
            assert unit is not None
            self.store.commit(unit)
            return answer

        posts = {name: Way(channel=channel, manner=self.manner) for name, channel in self.channels.items()}
        self.dispatcher = Dispatcher(self.clock, posts, names=names, read=read, ask=ask)

    def queue(self, *rows: OutboxRow) -> None:
        self.store.commit(Unit(recorded_at_us=NOW_US, outbox=rows))

    def deliveries(self) -> list[Delivery]:
        return [entry.fact for entry in self.store.entries() if isinstance(entry.fact, Delivery)]

    def waiting(self) -> list[str]:
        return [row.key for row in self.store.outbox(1000)]


Make = Callable[..., Post]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    loop = VirtualLoop()
    store = open_store(tmp_path / "ledger.db")
    clock = SimulatedClock(loop, NOW_US)

    def made(manner: Manner | None = None, **channels: Channel) -> Post:
        return Post(store, clock, {"log": LogChannel(), **channels}, manner or Manner(group_us=0))

    yield made
    store.close()
    loop.close()


def run(post: Post, *, wait_us: int = 0) -> int:
    async def once() -> int:
        if wait_us:
            await post.clock.wait_until(post.clock.now_us() + wait_us)
        return await post.dispatcher.once()

    return post.clock._loop.run_until_complete(once())


def test_a_message_is_logged_recorded_and_gone_from_the_outbox(make: Make) -> None:
    post = make()
    post.queue(row("a"), row("b"))
    with structlog.testing.capture_logs() as logged:
        assert run(post) == 2
    assert logged[0] == {
        "event": "message",
        "log_level": "warning",
        "key": "a",
        "kind": "escalation",
        "subject": "ESCALATION level 3: i-1 (–) –",
        "to": "management",
        "said": {"to": "management", "incident": "i-1", "level": 3, "event": "asked"},
    }
    assert [(d.key, d.channel, d.to, d.receipt) for d in post.deliveries()] == [
        ("a", "log", "management", "logged"),
        ("b", "log", "management", "logged"),
    ]
    assert post.waiting() == []
    assert run(post) == 0


def test_what_was_sent_while_the_store_is_away_is_recorded_later_and_not_sent_again(make: Make) -> None:
    mail = Failing(refusals=0)
    post = make(mail=mail)
    post.queue(row("a", "mail"))
    post.broken = True
    for _ in range(3):
        with pytest.raises(StoreError):
            run(post)
    assert post.waiting() == ["a"]
    post.broken = False
    run(post)
    assert post.waiting() == []
    assert mail.taken == ["a"]
    assert [d.key for d in post.deliveries()] == ["a"]


def test_a_channel_that_fails_is_asked_again_ever_later_and_holds_up_no_other(make: Make) -> None:
    failing = Failing(refusals=7)
    post = make(mail=failing)
    post.queue(row("m", "mail"), row("a"))
    assert run(post) == 1, "the log goes on"
    assert failing.refusals == 4, "three attempts in a row"
    assert run(post, wait_us=FIRST_PAUSE_US - 1) == 0
    assert failing.refusals == 4, "not asked before its time"
    run(post, wait_us=1)
    assert failing.refusals == 1
    run(post, wait_us=FIRST_PAUSE_US)
    assert failing.refusals == 1, "the pause doubles"
    run(post, wait_us=FIRST_PAUSE_US)
    assert failing.taken == ["m"]
    tally = Tally.of(post.store.mark(MARK))
    assert tally.attempted["mail", "escalation"] == 3
    assert tally.failures["mail"] == 2
    assert tally.trials == {}


def test_what_is_refused_for_good_or_has_no_channel_is_kept_and_lets_others_pass(make: Make) -> None:
    picky = Picky(refused={"m"})
    post = make(mail=picky)
    post.queue(row("m", "mail"), row("n", "mail", incident="i-2"), row("s", "sms"))
    with structlog.testing.capture_logs() as logged:
        assert run(post) == 1
    assert {entry["why"] for entry in logged} == {"not this one", "there is no channel sms for management"}
    assert picky.taken == ["n"]
    assert post.waiting() == ["m", "s"]
    assert Tally.of(post.store.mark(MARK)).trials["m"]["count"] == 1
    picky.refused.clear()
    assert run(post, wait_us=MAX_PAUSE_US - MINUTE_US) == 0
    assert run(post, wait_us=MINUTE_US) == 1


def test_other_channels_are_tried_at_once_whatever_was_refused_before(make: Make) -> None:
    refusing = Picky({"a"})
    post = make(first=refusing)
    post.queue(row("a", "first"), row("b", "late", incident="i-2"))
    run(post, wait_us=1)
    assert post.waiting() == ["a", "b"]
    mended, late = Picky(set()), Picky(set())
    post.dispatcher.use({"first": Way(channel=mended), "late": Way(channel=late)})
    run(post, wait_us=SECOND_US)
    assert (mended.taken, late.taken) == (["a"], ["b"]), "not after a quarter of an hour"
    assert post.waiting() == []


def test_what_is_told_of_one_incident_keeps_its_order(make: Make) -> None:
    picky = Picky(refused={"a"})
    post = make(mail=picky)
    post.queue(row("a", "mail"), row("b", "mail"), row("c", "mail", incident="i-2"))
    run(post)
    assert picky.taken == ["c"], "b waits for a"
    picky.refused.clear()
    run(post, wait_us=MAX_PAUSE_US)
    assert picky.taken == ["c", "a", "b"]


def test_a_receiver_that_names_a_time_is_left_alone_until_then(make: Make) -> None:
    mail = Failing(refusals=1, retry_after_us=10 * MINUTE_US)
    post = make(mail=mail)
    post.queue(row("m", "mail"))
    run(post)
    run(post, wait_us=10 * MINUTE_US - 2 * SECOND_US)
    assert mail.taken == []
    run(post, wait_us=2 * SECOND_US)
    assert mail.taken == ["m"]


def test_a_short_time_that_a_receiver_names_is_waited_for_at_once(make: Make) -> None:
    mail = Failing(refusals=1, retry_after_us=4 * SECOND_US)
    post = make(mail=mail)
    post.queue(row("m", "mail"))
    before_us = post.clock.now_us()
    assert run(post) == 1
    assert 4 * SECOND_US <= post.clock.now_us() - before_us < 5 * SECOND_US


def test_a_message_that_nobody_took_in_a_week_is_given_up_and_told(make: Make) -> None:
    post = make(mail=Failing(refusals=10**6))
    post.queue(row("m", "mail"))
    run(post)
    run(post, wait_us=GIVE_UP_US - MINUTE_US)
    assert post.waiting() == ["m"]
    with structlog.testing.capture_logs() as logged:
        run(post, wait_us=2 * MINUTE_US)
    assert post.waiting() == []
    assert "message given up" in [entry["event"] for entry in logged]
    (gone,) = Tally.of(post.store.mark(MARK)).given_up
    assert (gone["key"], gone["count"], gone["error"]) == ("m", 3, "busy")


def test_a_storm_is_one_message_at_once_and_one_digest_an_interval(make: Make) -> None:
    mail = Failing(refusals=0)
    post = make(Manner(group_us=30 * SECOND_US), mail=mail)
    post.queue(row("d-0", "mail", kind="down", about="o-0"))
    assert run(post) == 1
    post.queue(*(row(f"d-{n}", "mail", kind="down", about=f"o-{n}") for n in range(1, 100)))
    assert run(post, wait_us=SECOND_US) == 0, "within the interval they gather"
    post.queue(row("e", "mail"))
    assert run(post, wait_us=SECOND_US) == 1, "an act of the contract does not wait for that"
    assert run(post, wait_us=28 * SECOND_US) == 99
    assert mail.taken[:2] == ["d-0", "e"]
    assert mail.taken[2].startswith("digest/")
    assert len(mail.taken) == 3
    assert mail.subjects[2].startswith("99 messages: DOWN: ")
    assert post.waiting() == []
    assert [d.key for d in post.deliveries()] == ["e"], "only acts of the contract leave an entry"


def test_links_are_those_of_the_day_on_which_a_message_leaves(make: Make) -> None:
    mail = Failing(refusals=0)
    links = Links(page="https://jaga.example.id", runbooks="https://wiki.example.id/{runbook}")
    post = make(Manner(group_us=30 * SECOND_US, links=links), mail=mail)
    post.queue(row("e", "mail"), *(row(f"d-{n}", "mail", kind="down", incident=f"i-{n}") for n in (2, 3)))
    assert run(post) == 3
    here = "https://jaga.example.id/#incident-i-"
    assert f"See: {here}1 https://wiki.example.id/SlaIncidentClock75" in mail.texts[0].replace(", ", " ")
    wiki = "https://wiki.example.id/SlaServiceDown"
    assert [one["payload"]["links"] for one in mail.payloads[1]["messages"]] == [[f"{here}{n}", wiki] for n in (2, 3)]


def test_an_act_of_an_incident_does_not_overtake_what_was_told_of_it_before(make: Make) -> None:
    mail = Failing(refusals=0)
    post = make(Manner(group_us=30 * SECOND_US), mail=mail)
    post.queue(row("d", "mail", kind="degraded"), row("e", "mail"))
    assert run(post) == 2
    assert mail.taken == ["d", "e"]


def test_a_recovery_does_not_overtake_the_outage_that_was_refused(make: Make) -> None:
    picky = Picky(refused={"d"})
    post = make(Manner(group_us=30 * SECOND_US), mail=picky)
    post.queue(row("d", "mail", kind="down", about="o-1"))
    run(post)
    post.queue(row("r", "mail", kind="recovered", about="o-1"), row("other", "mail", kind="down", about="o-2"))
    run(post, wait_us=MINUTE_US)
    assert picky.taken == ["other"]
    picky.refused.clear()
    run(post, wait_us=MAX_PAUSE_US)
    assert post.waiting() == []


def test_a_channel_keeps_to_its_rate(make: Make) -> None:
    mail = Failing(refusals=0)
    post = make(Manner(per_minute=10), mail=mail)
    post.queue(*(row(f"m-{n}", "mail", incident=f"i-{n}") for n in range(25)))
    assert run(post) == 10
    assert run(post, wait_us=6 * SECOND_US) == 1
    assert run(post, wait_us=MINUTE_US) == 10
    assert run(post, wait_us=MINUTE_US) == 4


def test_it_looks_again_and_again(make: Make) -> None:
    post = make()

    async def story() -> None:
        task = asyncio.create_task(post.dispatcher.run())
        await post.clock.wait_until(post.clock.now_us() + SECOND_US)
        post.queue(row("late"))
        await post.clock.wait_until(post.clock.now_us() + 2 * SECOND_US)
        task.cancel()
        await asyncio.wait([task])

    post.clock._loop.run_until_complete(story())
    assert [delivery.key for delivery in post.deliveries()] == ["late"]

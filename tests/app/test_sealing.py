"""The composed daemon signs, shows, verifies, and stops writing where the record does not hold."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from monitor import control
from monitor.app import Daemon
from monitor.core.calendar import Month
from monitor.core.checkpoint import read_checkpoint
from monitor.core.fact import CheckpointSigned, KeyAdopted, KeyReason
from monitor.ledger.command import AnnounceMaintenance
from monitor.ledger.verify import Outside, verify
from monitor.sealing.keys import checks
from monitor.storage import Store, StoreDamagedError, StoreError, Unit
from monitor.storage.sqlite import open_reader
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import DAY, HOUR, MINUTE, SECOND, SERVICE, START_US, World

ANNOUNCE = AnnounceMaintenance(
    services=(SERVICE,), start_us=START_US + 10 * DAY, end_us=START_US + 10 * DAY + HOUR, summary="upgrade"
)

NIGHT = START_US + 2 * HOUR
"""When the whole record is verified, each day."""


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


@pytest.fixture
def world(tmp_path: Path, loop: VirtualLoop) -> World:
    return World.make(tmp_path, loop, checks=1, interval_us=5 * MINUTE)


async def get(daemon: Daemon, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession(daemon.listen_address) as session, session.get(path) as answer:
        return answer.status, await answer.text()


def notes(daemon: Daemon) -> list[tuple[int, CheckpointSigned]]:
    found = []
    for entry in daemon.store.entries(types=("checkpoint",)):
        assert isinstance(entry.fact, CheckpointSigned)
        found.append((entry.seq, entry.fact))
    return found


def flip(world: World, statement: str) -> None:
    """A row changed behind the daemon's back, the way a disk would: nothing else is made to fit."""
    with sqlite3.connect(world.folder / "ledger.db") as raw:
        raw.execute(statement)
    raw.close()


def test_a_checkpoint_at_the_start_and_each_hour_in_which_something_came(world: World) -> None:
    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 10 * SECOND)
        (first,) = notes(daemon)
        await world.clock.wait_until(START_US + HOUR + MINUTE)
        assert len(notes(daemon)) == 1, "nothing came since"
        await daemon.decide(ANNOUNCE, by="sari")
        await world.clock.wait_until(START_US + 2 * HOUR + MINUTE)
        # Two entries came: the announcement, and the first hour sealed.
        assert [seq for seq, _ in notes(daemon)] == [first[0], first[0] + 3]
        newest = notes(daemon)[-1][1].note
        assert read_checkpoint(newest)[0].size == first[0] + 2

        assert await get(daemon, "/api/v1/checkpoint") == (200, newest)
        assert newest.split("\n", maxsplit=1)[0] in (await get(daemon, "/"))[1]
        metrics = (await get(daemon, "/metrics"))[1]
        assert f"sla_ledger_checkpoint_size {first[0] + 2}" in metrics
        assert "sla_ledger_verification_success 1.0" in metrics
        assert "sla_ledger_last_verification_timestamp_seconds" in metrics
        statements = await daemon.read(lambda months: [s.document for s in months.statements(_april())])
        assert [document["checkpoint"] for document in statements] == [newest]
        assert (world.folder / "ledger.checkpoint").read_text() == newest
        assert verify(daemon.store, checks=checks, outside=Outside(checkpoints=(newest,))).problems == ()
        await daemon.stop()

        again = await world.daemon()
        await world.clock.wait_until(START_US + 2 * HOUR + 2 * MINUTE)
        assert len(notes(again)) == 2, "nothing came since"
        assert await get(again, "/api/v1/checkpoint") == (200, newest)
        await again.stop()

    world.play(story)


def test_a_checkpoint_that_the_store_refused_is_made_a_minute_later(world: World) -> None:
    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + MINUTE)
        await daemon.decide(ANNOUNCE, by="sari")
        ask, refused = daemon.rounds.ask, 0

        async def failing(make: Callable[[Store], tuple[Unit | None, Any]]) -> Any:  # noqa: ANN401 - as the recorder's
            nonlocal refused
            refused += 1
            if refused == 1:
                raise StoreError("commit to", "the ledger", "the disk is full", "free space")
            return await ask(make)

        daemon.rounds.ask = failing
        await world.clock.wait_until(START_US + HOUR + 30 * SECOND)
        assert (refused, len(notes(daemon))) == (1, 1)
        await world.clock.wait_until(START_US + HOUR + 90 * SECOND)
        assert (refused, len(notes(daemon))) == (2, 2)
        await daemon.stop()

    world.play(story)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET data = CAST(replace(data, 'portal', 'PORTAL') AS BLOB) WHERE seq = 2",
        "UPDATE runs SET outcome = 'fail' WHERE arrival = 3",
    ],
)
def test_damage_found_at_night_makes_it_read_only_and_loud(world: World, statement: str) -> None:
    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 30 * MINUTE)
        flip(world, statement)
        await world.clock.wait_until(NIGHT - SECOND)
        assert (await get(daemon, "/-/ready"))[0] == 200
        await world.clock.wait_until(NIGHT + SECOND)
        assert not daemon.ready
        await read_only(world, daemon)
        runs = daemon.store.counts().runs
        await world.clock.wait_until(NIGHT + HOUR)
        assert daemon.store.counts().runs == runs
        await daemon.stop()

    world.play(story)


def test_damage_found_at_the_start_makes_it_read_only_and_loud(world: World) -> None:
    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 30 * MINUTE)
        await daemon.stop()
        flip(world, "UPDATE entries SET data = CAST(replace(data, 'portal', 'PORTAL') AS BLOB) WHERE seq = 2")
        before = (world.folder / "ledger.db").read_bytes()
        again = await world.daemon()
        await read_only(world, again)
        requests = world.target.requests
        await world.clock.wait_until(START_US + HOUR)
        assert world.target.requests == requests
        await again.stop()
        assert (world.folder / "ledger.db").read_bytes() == before

    world.play(story)


def flip_sealed(world: World, chance: random.Random) -> str:
    """One bit of a sealed segment turned over where it lies, in its head, its body or the pack of several; of which."""
    with sqlite3.connect(world.folder / "ledger.db") as raw:
        held = [("segments", "head"), ("segments", "body"), ("packs", "data")]
        there = [
            (table, column, key, bytes(data))
            for table, column in held
            for key, data in raw.execute(f"SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608 - our own names
        ]
        table, column, key, data = chance.choice(there)
        place = chance.randrange(8 * len(data))
        turned = bytearray(data)
        turned[place // 8] ^= 1 << place % 8
        raw.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (bytes(turned), key))  # noqa: S608 - as above
    raw.close()
    return f"bit {place} of {table}.{column} {key}"


@pytest.mark.parametrize("seed", range(4))
def test_a_bit_that_flipped_in_a_sealed_segment_is_found_at_the_start(world: World, seed: int) -> None:
    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 3 * HOUR)
        await daemon.stop()
        flipped = flip_sealed(world, random.Random(seed))
        again = await world.daemon()
        assert not again.ready, flipped
        assert "segment" in (await get(again, "/-/ready"))[1], flipped
        await read_only(world, again)
        await again.stop()

    world.play(story)


def test_a_bit_that_flipped_in_a_sealed_segment_is_found_at_night(tmp_path: Path, loop: VirtualLoop) -> None:
    """Of a large ledger the start sees what contradicts it at once; the walk is done right after, and each night."""
    world = World.make(tmp_path, loop, NIGHT - 4 * HOUR, checks=1, interval_us=5 * MINUTE)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(NIGHT - HOUR)
        assert (await get(daemon, "/-/ready"))[0] == 200
        flip_sealed(world, random.Random(9))
        await world.clock.wait_until(NIGHT + SECOND)
        assert "segment" in (await get(daemon, "/-/ready"))[1]
        await read_only(world, daemon)
        await daemon.stop()

    world.play(story)


async def read_only(world: World, daemon: Daemon) -> None:
    """Not ready, told why, no decision taken, what can be read is shown."""
    status, said = await get(daemon, "/-/ready")
    assert status == 503
    assert "read-only: the record does not verify: " in said
    assert (await get(daemon, "/-/healthy"))[0] == 200
    with pytest.raises(StoreDamagedError, match="read-only"):
        await daemon.decide(ANNOUNCE, by="sari")
    with pytest.raises(StoreDamagedError, match="read-only"):
        await daemon.reload(world.settings())
    for request in ({"do": "replace key", "lost": True}, {"do": "erase", "of": "personal:" + "0" * 64}):
        answer = await asyncio.to_thread(control.ask, world.folder, request)
        assert "read-only" in answer["error"]
    metrics = (await get(daemon, "/metrics"))[1]
    assert "sla_ledger_verification_success 0.0" in metrics
    assert "sla_ready 0.0" in metrics
    assert (await get(daemon, "/api/v1/status"))[0] == 200
    assert (await get(daemon, "/"))[0] == 200
    assert (await get(daemon, "/api/v1/checkpoint"))[0] in {200, 404}
    reader = open_reader(world.folder / "ledger.db")
    assert list(reader.raw_entries())
    reader.close()


def test_a_key_that_is_gone_is_loud_and_its_successor_is_a_fact(world: World) -> None:
    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + MINUTE)
        await daemon.stop()
        (world.folder / "ledger.key").unlink()
        again = await world.daemon()
        assert again.ready, "what is measured is recorded, signed or not"
        assert "is not there" in (again.sealer.why_not or "")
        await again.decide(ANNOUNCE, by="sari")
        await world.clock.wait_until(START_US + HOUR + MINUTE)
        assert len(notes(again)) == 1
        answer = await asyncio.to_thread(control.ask, world.folder, {"do": "replace key", "lost": True, "by": "sari"})
        assert answer["key"] == str(again.sealer._key.public)  # type: ignore[union-attr]
        assert len(notes(again)) == 2
        report = verify(again.store, checks=checks)
        assert report.holds
        assert "was declared lost" in report.remarks[0]
        facts = [entry.fact for entry in again.store.entries(types=("key",))]
        assert [fact.why for fact in facts if isinstance(fact, KeyAdopted)] == [KeyReason.FIRST, KeyReason.LOST]
        refused = await asyncio.to_thread(control.ask, world.folder, {"do": "replace key", "lost": True})
        assert "it is there and signs" in refused["error"]
        await again.stop()

    world.play(story)


def _april() -> Month:

    return Month(2026, 4)

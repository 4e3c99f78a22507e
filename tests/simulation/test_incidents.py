"""The composed daemon through a night of an outage on virtual time: opened, escalated, slept through, closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.core.fact import Fact
from monitor.core.incident_fact import Delivery, Incident
from monitor.ledger.act import Done
from monitor.ledger.incidents.command import CloseIncident
from monitor.storage.sqlite import open_reader
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import HOUR, MINUTE, SECOND, START_US, World, crash


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def facts(folder: Path) -> list[Fact]:
    reader = open_reader(folder / "ledger.db")
    try:
        return [entry.fact for entry in reader.entries()]
    finally:
        reader.close()


def test_a_night_of_an_outage(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1, interval_us=5 * MINUTE)
    down_us, up_us = START_US + 10 * MINUTE, START_US + 10 * HOUR
    world.target.script = [(down_us, up_us, frozenset({0}))]

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 4 * HOUR)  # before level 2 is due
        await crash(daemon)
        await world.clock.wait_until(START_US + 6 * HOUR)
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 11 * HOUR)
        closed = await daemon.decide(CloseIncident(incident="i-1"), by="sari")
        assert isinstance(closed, Done)
        await world.clock.wait_until(START_US + 11 * HOUR + MINUTE)
        await daemon.stop()

    world.play(story)
    found = facts(tmp_path)
    told = [fact for fact in found if isinstance(fact, Incident)]
    opened = told[0]
    assert down_us <= opened.at_us <= down_us + 6 * MINUTE
    acts = {fact.level: fact for fact in told if fact.event.value == "escalated"}
    assert {level: (fact.due_us or 0) - opened.at_us for level, fact in acts.items()} == {
        1: 0,
        2: 4 * HOUR,
        3: 8 * HOUR,
    }
    assert 0 <= acts[2].at_us - (START_US + 6 * HOUR) <= 6 * SECOND, "slept through, made at once with the true time"
    assert 0 <= acts[3].at_us - (acts[3].due_us or 0) <= 6 * SECOND, "at its instant, within a turn of the detector"
    fixed = next(fact for fact in told if fact.event.value == "fixed")
    assert up_us <= fixed.at_us <= up_us + 6 * MINUTE, "closing what was proposed: gone since the recovery"
    assert [fact.event.value for fact in told].count("opened") == 1
    delivered = [fact.key for fact in found if isinstance(fact, Delivery)]
    assert delivered == [
        "incident/i-1/level-1/technical-support/log",
        "incident/i-1/level-2/escalation-manager/log",
        "incident/i-1/level-3/management/log",
    ]

"""The answer of a commit is lost: it is written, and nobody knows. Nothing may be derived too little, or told twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.core.fact import Outage
from monitor.storage import Committed, StoreError, Unit
from tests.faults.test_clock_steps import APRIL, figures
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import HOUR, MINUTE, SECOND, START_US, World


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_what_was_written_without_an_answer_is_derived_and_no_outage_told_twice(
    tmp_path: Path, loop: VirtualLoop
) -> None:
    world = World.make(tmp_path, loop, checks=1)
    world.target.script = [(START_US + 20 * MINUTE, START_US + 40 * MINUTE, frozenset({0}))]
    lost = 0

    async def story(world: World) -> None:
        daemon = await world.daemon()
        commit = daemon.store.commit

        def unanswered(unit: Unit) -> Committed:
            nonlocal lost
            committed = commit(unit)
            # The incidents of the store itself are answered, or each of them would make the next one.
            if committed.fresh or any(isinstance(entry.fact, Outage) for entry in committed.entries):
                lost += 1
                raise StoreError("commit to", "the ledger", "the answer was lost", "it is tried again")
            return committed

        daemon.store.commit = unanswered  # type: ignore[method-assign]
        await world.clock.wait_until(START_US + HOUR + 30 * SECOND)
        daemon.store.commit = commit  # type: ignore[method-assign]
        told = [entry.fact for entry in daemon.store.entries() if isinstance(entry.fact, Outage)]
        assert [outage.end_us is not None for outage in told] == [False, True]
        counted = sum(counts.attempts for counts in daemon.detector.counts.values())
        assert counted == 61, "one a minute, the first at once"
        await daemon.stop()

    world.play(story)
    assert lost >= 60
    account = figures(tmp_path, APRIL, START_US + HOUR).account
    assert account.down_us == 20 * MINUTE
    assert account.unknown_us <= MINUTE

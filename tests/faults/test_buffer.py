"""The store fails for longer than the buffer holds: the gap is on record, is shown, and is unknown on the statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.core.instant import format_instant
from monitor.recorder import GAPS_MARK
from monitor.storage.sqlite import open_reader
from tests.faults.test_clock_steps import APRIL, figures
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import HOUR, MINUTE, START_US, World

HELD = 10


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_what_the_buffer_could_not_hold_is_a_gap_that_shows_everywhere(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        daemon.store._writer.raw_connection().cursor().execute("PRAGMA busy_timeout = 1")
        daemon.recorder._buffer_runs = HELD  # as if fifty thousand runs had come
        await world.clock.wait_until(START_US + HOUR + MINUTE // 2)
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with capture_logs() as logs:
            await world.clock.wait_until(START_US + 2 * HOUR + MINUTE // 2)
            failing: Any = await daemon.views.status()
            assert failing["record"]["held_runs"] == HELD
            assert failing["record"]["dropped_runs"] == 60 - HELD
            assert "the store fails since" in str(daemon.not_ready())
            other.execute("ROLLBACK")
            other.close()
            await world.clock.wait_until(START_US + 3 * HOUR)
        assert daemon.not_ready() is None
        told = [line for line in logs if line["event"] in {"runs dropped", "gap recorded"}]
        assert [(line["log_level"], line["event"]) for line in told] == [
            ("error", "runs dropped"),
            ("warning", "gap recorded"),
        ]
        shown: Any = await daemon.views.status()
        first_us, last_us = START_US + 61 * MINUTE, START_US + 110 * MINUTE
        assert shown["record"]["gaps"] == [
            {"runs": 50, "from": format_instant(first_us), "to": format_instant(last_us)},
        ]
        await daemon.stop()

    world.play(story)
    reader = open_reader(tmp_path / "ledger.db")
    assert reader.mark(GAPS_MARK)[0]["runs"] == 60 - HELD
    reader.close()
    account = figures(tmp_path, APRIL, world.clock.now_us()).account
    assert account.down_us == 0
    assert account.unknown_us == pytest.approx(51 * MINUTE - world.stale_after_us, abs=MINUTE)

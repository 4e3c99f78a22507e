"""A service that becomes slow, seen by those who run it: the composed daemon on virtual time, its pages, and the verb
beside it say that a check is degraded, against what, and since when; and it is no failure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from monitor.cli import jaga
from monitor.cli import reading as cli_reading
from monitor.core.instant import format_instant
from monitor.core.run import SourceKey
from monitor.core.span import Span
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import HOUR, MINUTE, SERVICE, START_US, World, crash

# A median needs twelve samples of ten minutes each, and the present hour is not among them.
KNOWN = 3 * HOUR
USUAL_S, SLOW_S = 0.1, 0.5


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


async def page(world: World, path: str) -> str:
    url = f"{world.daemons[-1].listen_address}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


async def served(world: World) -> dict[str, Any]:
    (service,) = json.loads(await page(world, "/api/v1/status"))["services"]
    return dict(service)


def said(world: World, *words: str) -> str:
    """What the verb says of the ledger beside the daemon, without a configuration."""
    result = CliRunner().invoke(jaga, ["--store", f"sqlite:///{world.folder}/ledger.db", "status", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_check_that_answers_slowly_is_shown_as_degraded_and_stays_up(
    tmp_path: Path, loop: VirtualLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.make(tmp_path, loop, checks=2, interval_us=5 * MINUTE)
    monkeypatch.setattr(cli_reading, "wall_us", world.clock.now_us)  # the verb lives in the world's time too
    monkeypatch.chdir(tmp_path)

    async def story(world: World) -> None:
        world.target.delays_s = {0: USUAL_S, 1: USUAL_S}
        await world.daemon()
        await world.clock.wait_until(START_US + KNOWN + 2 * MINUTE)
        assert (await served(world))["degraded"] == []
        (service,) = json.loads(said(world, "--json", "--checks"))["services"]
        assert {run["pace"]["state"] for run in service["runs"]} == {"normal"}

        world.target.delays_s[1] = SLOW_S
        await world.clock.wait_until(START_US + KNOWN + 12 * MINUTE)
        assert (await served(world))["degraded"] == [], "two slow answers are none"
        await world.clock.wait_until(START_US + KNOWN + 17 * MINUTE)
        service = await served(world)
        (slow,) = service["degraded"]
        assert (service["verdict"], service["failing"], service["outage"]) == ("up", [], None)
        assert service["incidents"] == [], "it is shown before it has lasted long enough for one"
        assert (slow["check"], slow["location"]) == ("c1", "jkt-1")
        assert USUAL_S <= float(slow["usual_seconds"]) < SLOW_S / 3 < SLOW_S <= float(slow["duration_seconds"])
        assert slow["usual_runs"] == 18, "three hours, one in ten minutes"
        since_slow = Span(START_US + KNOWN + 2 * MINUTE, world.clock.now_us())
        first = next(world.daemons[0].store.runs(SourceKey(SERVICE, "c1", "jkt-1"), since_slow))
        assert slow["since"] == format_instant(first.start_us)
        assert service["months"][0]["downtime_seconds"] == "0.000000"
        assert f"c1 at jkt-1 is degraded since {slow['since']}" in await page(world, "/")

        (beside,) = json.loads(said(world, "--json", "--checks"))["services"]
        assert beside["degraded"] == [slow], "the verb reads what the daemon says"
        paces = {run["check"]: run["pace"] for run in beside["runs"]}
        assert (paces["c0"]["state"], paces["c1"]["state"]) == ("normal", "degraded")
        assert paces["c1"]["since"] == slow["since"]
        assert f"c1 at jkt-1 degraded since {slow['since']}" in " ".join(said(world).split())
        assert "the median of 18 runs" in " ".join(said(world, "--checks").split())

        await crash(world.daemons[0])  # what a kill leaves says it too
        assert json.loads(said(world, "--json"))["services"][0]["degraded"] == [slow]
        await world.daemon()
        assert (await served(world))["degraded"] == [slow]

        world.target.delays_s[1] = USUAL_S
        await world.clock.wait_until(START_US + KNOWN + 32 * MINUTE)
        assert (await served(world))["degraded"] == [], "three usual answers end it"
        (service,) = json.loads(said(world, "--json", "--checks"))["services"]
        assert service["degraded"] == []
        assert {run["pace"]["state"] for run in service["runs"]} == {"normal"}
        await world.daemons[-1].stop()

    world.play(story)

"""The small parts of the composition: pulse, supervision, views; readiness and reload of the composed daemon."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest

from monitor.app.adopt import AdoptionError
from monitor.app.pulse import BEAT_US, Pulse
from monitor.app.supervise import Supervisor
from monitor.clock import Step
from monitor.config import ChannelSettings
from monitor.config.models import ChannelModel
from monitor.core.baseline import Policy
from monitor.core.fact import ChecksAdopted, Retired
from monitor.core.run import Outcome, Run
from monitor.core.terms import Fee
from monitor.ledger.act import Done
from monitor.ledger.command import AnnounceMaintenance, Notified
from monitor.ledger.decide import Refused
from monitor.opening import Opening
from monitor.storage.sqlite import open_reader
from probes import transaction
from tests.simulation.loop import SimulatedClock, VirtualLoop
from tests.simulation.world import MINUTE, PARTNER, SECOND, SERVICE, START_US, SUBSCRIPTION, World


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_the_pulse_knows_when_the_loop_stood_still(loop: VirtualLoop) -> None:
    clock = SimulatedClock(loop, START_US)
    pulse = Pulse(clock, lambda _step: None)

    async def story() -> None:
        pulse.start()
        await asyncio.sleep(2)
        quiet_ns = clock.now_ns()
        assert not pulse.stood_still(0, quiet_ns)
        assert pulse.take_worst_us() < 1000
        loop.jump(3)
        assert pulse.stood_still(quiet_ns, clock.now_ns()), "known before the late beat"
        await asyncio.sleep(1)
        assert pulse.stood_still(quiet_ns, clock.now_ns())
        assert 2_000_000 < pulse.take_worst_us() <= 3_000_000
        later_ns = clock.now_ns()
        await asyncio.sleep(1)
        assert not pulse.stood_still(later_ns, clock.now_ns())
        pulse.stop()

    loop.run_until_complete(story())


def test_the_pulse_tells_a_step_of_the_wall_clock_once(loop: VirtualLoop) -> None:
    clock = SimulatedClock(loop, START_US)
    steps: list[Step] = []
    pulse = Pulse(clock, steps.append)

    async def story() -> None:
        pulse.start()
        clock.step(90 * SECOND)
        await asyncio.sleep(5 * BEAT_US / SECOND)
        pulse.stop()

    loop.run_until_complete(story())
    assert [step.delta_us for step in steps] == [90 * SECOND]


def test_a_task_that_dies_is_begun_again_with_growing_pauses_and_counted(loop: VirtualLoop) -> None:
    clock = SimulatedClock(loop, START_US)
    supervisor = Supervisor(clock)
    begun: list[float] = []

    async def dies() -> None:
        begun.append(loop.time())
        if len(begun) < 5:
            raise RuntimeError

    async def story() -> None:
        await asyncio.wait_for(supervisor.start("weak", dies), 60)

    loop.run_until_complete(story())
    assert supervisor.restarts == {"weak": 4}
    assert [round(at, 3) for at in begun] == [0, 0.25, 0.75, 1.75, 3.75]


def test_a_crashing_check_is_internal_and_disturbs_no_other(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=3)

    async def story(world: World) -> None:
        settings = world.settings()
        (service,) = settings.services
        broken = transaction.Spec(steps=(transaction.Step(name="get", kind="http", spec=None),))
        checks = (replace(service.checks[0], transaction=broken), *service.checks[1:])
        daemon = await world.daemon(services=(replace(service, checks=checks),))
        await world.clock.wait_until(START_US + 30 * MINUTE)
        counts = {source.check: held for source, held in daemon.detector.counts.items()}
        assert counts["c0"].inconclusive.keys() == {"internal"}
        assert counts["c0"].failures == {}
        assert counts["c1"].attempts == counts["c2"].attempts == 30
        (standing,) = await daemon.standings()
        assert standing.standing.unknown == ("c0",)
        await daemon.stop()

    world.play(story)


def test_the_pages_say_ready_only_while_the_store_takes_runs(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1, interval_us=10 * SECOND, timeout_us=SECOND)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        # Each attempt would really wait for the lock, for five seconds.
        daemon.store._writer.raw_connection().cursor().execute("PRAGMA busy_timeout = 1")
        async with aiohttp.ClientSession() as session:

            async def ready() -> tuple[int, str]:
                async with session.get(f"{daemon.listen_address}/-/ready") as answer:
                    return answer.status, await answer.text()

            await world.clock.wait_until(START_US + MINUTE)
            assert await ready() == (200, "ready\n")
            other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            await world.clock.wait_until(START_US + MINUTE + 11 * SECOND)
            status, said = await ready()
            assert status == 503
            assert "the store fails since" in said
            other.execute("ROLLBACK")
            other.close()
            await world.clock.wait_until(START_US + 2 * MINUTE - SECOND)
            assert await ready() == (200, "ready\n")
            async with session.get(f"{daemon.listen_address}/metrics") as answer:
                metrics = await answer.text()
            assert "sla_ledger_write_failures_total" in metrics
            assert 'sla_check_attempts_total{check="c0",location="jkt-1",sla_service="portal"} 12.0' in metrics
        await daemon.stop()
        assert len(_runs(tmp_path)) == 12, "late, but none lost"

    world.play(story)


def test_a_decision_is_carried_out_and_durable_when_answered(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 5 * MINUTE)
        now_us = world.clock.now_us()
        command = AnnounceMaintenance(
            services=(SERVICE,),
            start_us=now_us + 50 * 60 * MINUTE,
            end_us=now_us + 51 * 60 * MINUTE,
            summary="upgrade",
            notified=(Notified(partner=PARTNER, at_us=now_us, channel="mail", evidence="letter 7"),),
        )
        done = await daemon.decide(command, by="ops")
        assert isinstance(done, Done)
        assert done.remarks == ()
        reader = open_reader(tmp_path / "ledger.db")
        assert [entry.type for entry in reader.entries()][-2:] == ["maintenance", "notice"]
        reader.close()
        (standing,) = await daemon.standings()
        assert [window.id for window in standing.windows] == ["m-1"]
        refused = await daemon.decide(replace(command, services=("nowhere",)), by="ops")
        assert isinstance(refused, Refused)
        await daemon.stop()

    world.play(story)


def test_a_reload_adopts_what_changed_and_keeps_the_rest_going(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=2)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 5 * MINUTE + SECOND)
        world.checks = 1
        await daemon.reload(world.settings())
        await daemon.reload(world.settings())
        await world.clock.wait_until(START_US + 10 * MINUTE)
        await daemon.stop()

    world.play(story)
    reader = open_reader(tmp_path / "ledger.db")
    facts = [entry.fact for entry in reader.entries(types=("checks", "retired"))]
    reader.close()
    assert [type(fact) for fact in facts] == [ChecksAdopted, ChecksAdopted, Retired]
    runs = [run for run in _runs(tmp_path) if run.check == "c0"]
    slots = [run.slot_us or 0 for run in runs]
    assert [later - earlier for earlier, later in pairwise(slots)] == [MINUTE] * (len(slots) - 1)
    assert {run.outcome for run in runs} == {Outcome.PASS}


def test_a_level_that_is_configured_as_before_outlives_a_reload(tmp_path: Path, loop: VirtualLoop) -> None:
    """It knows which silences it holds: another would leave those of a cancelled window until they run out."""
    world = World.make(tmp_path, loop)

    def channels(urls: list[str]) -> tuple[ChannelSettings, ...]:
        model = ChannelModel.model_validate({"alertmanager": {"urls": urls, "silences": True}})
        return (ChannelSettings(id="pager", model=model),)

    async def story(world: World) -> None:
        here, elsewhere = (f"http://127.0.0.1:{world.target.port}/{path}" for path in ("0", "1"))
        daemon = await world.daemon(channels=channels([here]))
        first = daemon.levels.levels["pager"]
        await daemon.reload(world.settings(channels=channels([here])))
        assert daemon.levels.levels == {"pager": first}
        await daemon.reload(world.settings(channels=channels([elsewhere])))
        assert daemon.levels.levels["pager"] is not first
        await daemon.reload(world.settings())
        assert daemon.levels.levels == {}
        await daemon.stop()

    world.play(story)


def test_a_service_that_is_not_up_keeps_its_list_through_a_reload(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=3)
    world.target.script = [(START_US + 5 * MINUTE, START_US + 15 * MINUTE, frozenset({0, 1}))]

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 8 * MINUTE)
        world.checks = 6
        # With the broken two among six it would be up at once.
        await daemon.reload(world.settings())
        assert len(daemon.options.plans) == 3
        await world.clock.wait_until(START_US + 18 * MINUTE)
        (standing,) = await daemon.standings()
        assert standing.standing.total == 3
        await daemon.reload(world.settings())
        await world.clock.wait_until(START_US + 20 * MINUTE)
        (standing,) = await daemon.standings()
        assert standing.standing.total == 6
        await daemon.stop()

    world.play(story)


def test_what_is_usual_goes_by_the_file_that_is_read_again(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        assert daemon.detector.incidents is not None
        assert daemon.detector.incidents.paces.policy == Policy()
        await world.clock.wait_until(START_US + 3 * MINUTE)
        other = Policy(window_days=2, factor=7, by_hour=False)
        await daemon.reload(world.settings(opening=Opening(baseline=other)))
        await world.clock.wait_until(START_US + 5 * MINUTE)
        paces = daemon.detector.incidents.paces
        assert {baseline.policy for baseline in paces.baselines.values()} == {other}
        await daemon.stop()

    world.play(story)


def test_a_reload_that_would_act_backwards_changes_nothing(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, checks=1)

    async def story(world: World) -> None:
        daemon = await world.daemon()
        await world.clock.wait_until(START_US + 2 * MINUTE)
        world.checks = 2
        dearer = replace(SUBSCRIPTION, fee=Fee(currency="IDR", amount=Decimal(1)))
        with pytest.raises(AdoptionError, match="the month has begun"):
            await daemon.reload(world.settings(subscriptions=(dearer,)))
        assert len(daemon.options.plans) == 1
        adopted = ["terms", "subscription", "checks", "key", "checkpoint"]
        assert [entry.type for entry in daemon.store.entries()] == adopted
        await daemon.stop()

    world.play(story)


def test_what_fails_at_the_start_is_undone(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop)

    async def story(world: World) -> None:
        with pytest.raises(OSError, match=r"(?i)address already in use"):
            await world.daemon(listen=("127.0.0.1", world.target.port))
        assert not world.daemons[0].ready
        daemon = await world.daemon()
        assert daemon.ready
        await daemon.stop()
        assert daemon.not_ready() == "it has stopped"

    world.play(story)


def _runs(folder: Path) -> list[Run]:
    reader = open_reader(folder / "ledger.db")
    try:
        return [run for _arrival, run in reader.runs_after(0, 1000)]
    finally:
        reader.close()

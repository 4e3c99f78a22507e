"""Messages of the composed daemon on virtual time: over real mail and web servers, through crashes and restarts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.message import Message as Mail
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope

from monitor.app import Daemon
from monitor.config import ChannelSettings
from monitor.config.models import ChannelModel, Contact
from monitor.core.fact import Notice, Outage
from monitor.core.incident_fact import Delivery
from monitor.ledger.act import Done
from monitor.ledger.command import AnnounceMaintenance, CancelMaintenance
from monitor.ledger.incidents.command import AcknowledgeIncident
from monitor.messages.routing import Manners
from monitor.storage.sqlite import open_reader
from tests.simulation.loop import VirtualLoop
from tests.simulation.test_day import statement
from tests.simulation.world import HOUR, MINUTE, PARTNER, SECOND, SERVICE, START_US, TERMS, World, crash


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


@dataclass
class Mailbox:
    """aiosmtpd on the test's own loop; it takes nothing before `opens_us`."""

    world: World
    opens_us: int = 0
    port: int = 0
    mails: list[tuple[int, Mail]] = field(default_factory=list)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, loop=loop), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def handle_DATA(self, server: object, session: object, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        if self.world.clock.now_us() < self.opens_us:
            return "451 4.7.1 later"
        assert isinstance(envelope.content, bytes)
        self.mails.append((self.world.clock.now_us(), message_from_bytes(envelope.content, policy=default)))
        return f"250 2.0.0 queued as {len(self.mails)}"

    def subjects(self) -> list[str]:
        return [mail["Subject"] for _at_us, mail in self.mails]


@dataclass
class Hook:
    """A receiver of webhooks on the test's own loop."""

    url: str = ""
    came: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.status == 200:
            self.came.append(json.loads(body))
        return web.Response(status=self.status)

    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.came]


def channel(id_: str, **written: Any) -> ChannelSettings:  # noqa: ANN401 - keys of the file
    return ChannelSettings(id=id_, model=ChannelModel.model_validate(written))


def to_partner(port: int) -> dict[str, Any]:
    mail = {"host": "127.0.0.1", "port": port, "tls": "none", "from": "Jaga <jaga@example.id>"}
    contacts = ((PARTNER, (Contact(name="Sari", email="sari@acme.example"),)),)
    return {"channels": (channel("letters", email=mail, partners="all", lang="id"),), "contacts": contacts}


def facts(folder: Path, kind: type) -> list[Any]:
    reader = open_reader(folder / "ledger.db")
    try:
        return [entry.fact for entry in reader.entries() if isinstance(entry.fact, kind)]
    finally:
        reader.close()


async def announce(daemon: Daemon, start_us: int, end_us: int, **more: Any) -> None:  # noqa: ANN401 - fields of the command
    command = AnnounceMaintenance(
        services=(SERVICE,), start_us=start_us, end_us=end_us, summary="database upgrade", **more
    )
    assert isinstance(await daemon.decide(command, by="dian"), Done)


WINDOW_US = (START_US + 3 * HOUR, START_US + 4 * HOUR)
BROKEN_US = (START_US + 3 * HOUR + 10 * MINUTE, START_US + 3 * HOUR + 30 * MINUTE)


@pytest.mark.slow
@pytest.mark.parametrize(("opens_us", "qualifies"), [(0, True), (START_US + 2 * HOUR, False)])
def test_the_mail_servers_acceptance_is_the_notice_that_makes_a_window_count(
    tmp_path: Path, loop: VirtualLoop, opens_us: int, *, qualifies: bool
) -> None:
    world = World.make(tmp_path, loop)
    world.target.script = [(*BROKEN_US, frozenset({0, 1, 2}))]
    mailbox = Mailbox(world, opens_us)
    terms = (replace(TERMS, maintenance_notice_us=2 * HOUR),)

    async def story(world: World) -> None:
        await mailbox.start()
        manners = replace(Manners(), before_maintenance_us=HOUR // 2)
        daemon = await world.daemon(**to_partner(mailbox.port), terms=terms, manners=manners)
        await announce(daemon, *WINDOW_US)
        await world.clock.wait_until(WINDOW_US[1] + HOUR // 2)
        await daemon.stop()
        mailbox.stop()

    world.play(story)
    at_us, mail = mailbox.mails[0]
    assert mail["To"] == "sari@acme.example"
    assert mail["Subject"] == "Pemeliharaan Terjadwal m-1: Portal, 01 April 2026 03.00.00 WIB"
    assert "Perihal: database upgrade" in mail.get_content()  # type: ignore[attr-defined]
    (notice,) = facts(tmp_path, Notice)
    assert (notice.maintenance, notice.partner, notice.channel) == ("m-1", PARTNER, "letters")
    assert notice.receipt == "1 of 1 recipients: 2.0.0 queued as 1"
    assert at_us <= notice.at_us <= at_us + SECOND
    document = statement(tmp_path, world.clock.now_us()).document
    downtime = {name: float(document["downtime"][name]) for name in ("seconds", "excluded_seconds")}
    assert [name for name, seconds in downtime.items() if seconds] == ["excluded_seconds" if qualifies else "seconds"]
    assert [one["id"] for one in document["rejected"]] == ([] if qualifies else ["m-1"])
    assert mailbox.subjects()[-1] == "Pemeliharaan m-1 untuk Portal selesai"
    told = [" ".join(subject.split(" ")[:2]) for subject in mailbox.subjects() if "emeliharaan" in subject]
    assert told == ["Pemeliharaan Terjadwal", "Pengingat: pemeliharaan", "Pemeliharaan m-1", "Pemeliharaan m-1"]


def test_a_cancelled_window_is_told_after_its_announcement_and_no_more(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop, interval_us=10 * MINUTE)
    mailbox = Mailbox(world)

    async def story(world: World) -> None:
        await mailbox.start()
        daemon = await world.daemon(**to_partner(mailbox.port))
        await announce(daemon, START_US + HOUR, START_US + 2 * HOUR)
        assert isinstance(await daemon.decide(CancelMaintenance(maintenance="m-1"), by="dian"), Done)
        await world.clock.wait_until(START_US + 2 * HOUR + MINUTE)
        await daemon.stop()
        mailbox.stop()

    world.play(story)
    assert [subject.split(" ")[0] for subject in mailbox.subjects()] == ["Pemeliharaan", "Pemeliharaan"]
    assert mailbox.subjects()[1].endswith("dibatalkan")
    told = [(fact.kind, fact.to) for fact in facts(tmp_path, Delivery) if fact.channel == "letters"]
    assert told == [("maintenance_cancelled", PARTNER)]


def watched(hook: Hook) -> dict[str, Any]:
    return {"channels": (channel("hook", webhook={"url": hook.url}),)}


def outage(start_us: int, minutes: int) -> tuple[int, int, frozenset[int]]:
    return start_us, start_us + minutes * MINUTE, frozenset({0, 1})


def test_down_is_told_once_over_crashes_and_restarts_and_then_recovered(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop)
    world.target.script = [outage(START_US + 10 * MINUTE, 20)]
    hook = Hook()

    async def story(world: World) -> None:
        await hook.start()
        for minute in (12, 14, 16, 18, 20):
            daemon = await world.daemon(**watched(hook))
            await world.clock.wait_until(START_US + minute * MINUTE)
            await (crash(daemon) if minute % 4 else daemon.stop())
        daemon = await world.daemon(**watched(hook))
        await world.clock.wait_until(START_US + 40 * MINUTE)
        await daemon.stop()
        await hook.stop()

    world.play(story)
    assert hook.kinds() == ["down", "recovered"]
    down, recovered = hook.came
    assert down["subject"].startswith("DOWN: Portal since 01 April 2026 00:1")
    assert down["failing"] == "2/3"
    assert down["where"] == "1/1"
    assert down["why"] == ["http_status"]
    assert down["incident"] == "i-1"
    assert down["effects"][0]["credit"] == "10"
    assert recovered["about"] == down["about"]
    assert recovered["counted"] == recovered["duration"]


def test_trouble_that_comes_back_at_once_is_one_episode_and_then_unstable(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop)
    world.target.script = [outage(START_US + minute * MINUTE, 2) for minute in (10, 14, 18, 22)]
    hook = Hook()

    async def story(world: World) -> None:
        await hook.start()
        daemon = await world.daemon(**watched(hook), manners=replace(Manners(), recover_after_us=5 * MINUTE))
        await world.clock.wait_until(START_US + 40 * MINUTE)
        await daemon.stop()
        await hook.stop()

    world.play(story)
    assert hook.kinds() == ["down", "unstable", "recovered"]
    assert hook.came[1]["n"] == 3
    assert len(facts(tmp_path, Outage)) == 8, "the ledger saw every outage begin and end"


def test_a_monitor_that_sees_nothing_says_so_once(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop)
    hook = Hook()

    async def story(world: World) -> None:
        await hook.start()
        daemon = await world.daemon(**watched(hook))
        await world.clock.wait_until(START_US + 5 * MINUTE)
        daemon.scheduler.replace(())
        await world.clock.wait_until(START_US + 30 * MINUTE)
        await daemon.stop()
        daemon = await world.daemon(**watched(hook))
        await world.clock.wait_until(START_US + 40 * MINUTE)
        await daemon.stop()
        await hook.stop()

    world.play(story)
    assert hook.kinds() == ["blind", "seeing"]
    assert hook.came[0]["subject"].startswith("MONITORING BLIND: no evidence of 1 of 1 services since")


def test_an_outage_is_reminded_of_until_somebody_acknowledges_it(tmp_path: Path, loop: VirtualLoop) -> None:
    world = World.make(tmp_path, loop)
    world.target.script = [outage(START_US + 10 * MINUTE, 180)]
    hook = Hook()

    async def story(world: World) -> None:
        await hook.start()
        daemon = await world.daemon(**watched(hook))
        await world.clock.wait_until(START_US + 80 * MINUTE)
        assert isinstance(await daemon.decide(AcknowledgeIncident(incident="i-1"), by="dian"), Done)
        await world.clock.wait_until(START_US + 180 * MINUTE)
        await daemon.stop()
        await hook.stop()

    world.play(story)
    assert hook.kinds() == ["down", "reminder", "reminder"]
    assert [one.get("n") for one in hook.came] == [None, 1, 2]
    assert hook.came[1]["subject"].startswith("STILL DOWN (1): Portal for 30 min")

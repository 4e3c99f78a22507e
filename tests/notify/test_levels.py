"""Channels that keep a level: a real Alertmanager, a dead man's switch, and their rhythm on virtual time."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from monitor.clock import live_clock
from monitor.core.instant import HOUR_US, MINUTE_US, SECOND_US, format_instant, parse_instant
from monitor.dispatcher.levels import Levels, Standing
from monitor.dispatcher.tally import Tally
from monitor.notify import Alert, DeliveryError, Quiet
from monitor.notify._silences import Silences, _Held
from monitor.notify.alertmanager import AlertmanagerLevel
from monitor.notify.heartbeat import HeartbeatLevel
from tests.notify.conftest import HttpReceiver
from tests.simulation.loop import SimulatedClock, VirtualLoop

NOW_US = 1_775_000_000 * SECOND_US
EVERY_US = 45 * SECOND_US
START_TRIES = 5
PATIENCE_S = 30.0


def alert(service: str = "portal", **annotations: str) -> Alert:
    labels = {"alertname": "JagaServiceDown", "sla_service": service, "severity": "page"}
    return Alert(labels=labels, since_us=NOW_US - MINUTE_US, annotations=annotations)


def level(*urls: str) -> AlertmanagerLevel:
    return AlertmanagerLevel(urls=urls, every_us=EVERY_US, look_up=lambda text: text, labels={"job": "sla"})


def sent(receiver: HttpReceiver, which: int = -1) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(receiver.came[which][3])
    return found


async def test_every_peer_is_told_each_time_and_the_end_is_repeated_for_a_quarter_of_an_hour(
    make_receiver: Callable[[], Any],
) -> None:
    first, second = await make_receiver(), await make_receiver()
    manager = level(first.url, f"{second.url}/prefix/")
    await manager.sync([alert(failing="5/9")], NOW_US)
    await manager.sync([alert(failing="6/9")], NOW_US + EVERY_US)
    assert [path for _method, path, _headers, _body in second.came] == ["/prefix/api/v2/alerts"] * 2
    assert sent(first) == [
        {
            "labels": {
                "job": "sla",
                "alertname": "JagaServiceDown",
                "sla_service": "portal",
                "severity": "page",
            },
            "annotations": {"failing": "6/9"},
            "startsAt": format_instant(NOW_US - MINUTE_US),
            "endsAt": format_instant(NOW_US + EVERY_US + 4 * EVERY_US),
        }
    ]
    assert sent(first, 0)[0]["labels"] == sent(first, 1)[0]["labels"]
    over_us = NOW_US + 2 * EVERY_US
    await manager.sync([], over_us)
    await manager.sync([], over_us + 15 * MINUTE_US - 1)
    assert [one["endsAt"] for one in sent(second)] == [format_instant(over_us)]
    before = len(first.came)
    await manager.sync([], over_us + 15 * MINUTE_US)
    assert len(first.came) == before, "nothing is left to be said"


async def test_one_peer_that_took_it_is_enough_and_none_is_not(make_receiver: Callable[[], Any]) -> None:
    good, bad = await make_receiver(), await make_receiver()
    bad.status = 503
    await level(bad.url, good.url).sync([alert()], NOW_US)
    good.status = 500
    with pytest.raises(DeliveryError, match=r"no peer took it: .*503.*500"):
        await level(bad.url, good.url).sync([alert()], NOW_US)


async def test_a_batch_answered_400_has_still_accepted_its_good_alerts(receiver: HttpReceiver) -> None:
    receiver.status = 400
    await level(receiver.url).sync([alert()], NOW_US)


@pytest.fixture
async def alertmanager(tmp_path: Path) -> AsyncIterator[str]:
    program = shutil.which("prometheus-alertmanager")
    if program is None:
        pytest.skip("not installed: prometheus-alertmanager")
    (tmp_path / "am.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    for _ in range(START_TRIES):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = await asyncio.create_subprocess_exec(
            program,
            f"--web.listen-address={address}",
            "--config.file=am.yml",
            "--storage.path=data",
            "--cluster.listen-address=",
            cwd=tmp_path,
            stderr=asyncio.subprocess.DEVNULL,
        )
        if await answers(process, f"http://{address}/-/ready"):
            break
    else:
        pytest.fail("alertmanager does not start")
    yield f"http://{address}"
    process.terminate()
    await process.wait()


async def answers(process: asyncio.subprocess.Process, url: str) -> bool:
    async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as session:
        while process.returncode is None:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return True
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    return False


async def listed(url: str) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v2/alerts") as response:
        found: list[dict[str, Any]] = await response.json()
        return found


async def test_a_real_alertmanager_holds_the_alert_until_it_is_resolved(alertmanager: str) -> None:
    clock = live_clock(asyncio.get_running_loop())
    manager = level(alertmanager)
    now_us = clock.now_us()
    await manager.sync([alert(failing="5/9"), alert("shop")], now_us)
    held = {one["labels"]["sla_service"]: one for one in await listed(alertmanager)}
    assert set(held) == {"portal", "shop"}
    assert held["portal"]["annotations"] == {"failing": "5/9"}
    assert abs(parse_instant(held["portal"]["endsAt"]) - now_us - 4 * EVERY_US) < SECOND_US
    await manager.sync([alert(failing="7/9")], now_us - 1)
    (left,) = await listed(alertmanager)
    assert left["labels"]["sla_service"] == "portal"
    assert left["annotations"] == {"failing": "7/9"}
    assert left["fingerprint"] == held["portal"]["fingerprint"], "labels are stable"
    clock.close()


async def silences(url: str) -> dict[str, list[dict[str, Any]]]:
    """The silences of a real Alertmanager by their state."""
    found: dict[str, list[dict[str, Any]]] = {}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v2/silences") as response:
        every: list[dict[str, Any]] = await response.json()
    for one in every:
        found.setdefault(one["status"]["state"], []).append(one)
    return found


async def test_a_real_alertmanager_is_silent_about_a_service_in_maintenance_and_about_nothing_else(
    alertmanager: str,
) -> None:
    clock = live_clock(asyncio.get_running_loop())
    now_us = clock.now_us()
    windows = [Quiet(service="portal", start_us=now_us - MINUTE_US, end_us=now_us + HOUR_US)]
    manager = AlertmanagerLevel(
        urls=[alertmanager], every_us=EVERY_US, look_up=lambda text: text, quiet=lambda: tuple(windows)
    )
    names = ("SlaServiceDown", "SlaMonitorStalled", "SlaLedgerUnhealthy", "JagaMonitoringBlind", "SlaCreditOwed")
    others = [Alert(labels={"alertname": name, "sla_service": "portal"}, since_us=now_us) for name in names]
    await manager.sync([alert(), alert("shop"), *others], now_us)

    # Created: leased, not for the whole window.
    (made,) = (await silences(alertmanager))["active"]
    assert abs(parse_instant(made["endsAt"]) - now_us - 4 * EVERY_US) < SECOND_US
    assert made["createdBy"] == "jaga"
    quieted: set[tuple[str, str]] = set()
    async with asyncio.timeout(PATIENCE_S):
        while len(quieted) < 2:
            quieted = {
                (one["labels"]["alertname"], one["labels"]["sla_service"])
                for one in await listed(alertmanager)
                if one["status"]["state"] == "suppressed"
            }
    assert quieted == {("JagaServiceDown", "portal"), ("SlaServiceDown", "portal")}

    # Extended: the same silence, and never beyond the end of the window.
    await manager.sync([alert()], now_us + EVERY_US)
    (longer,) = (await silences(alertmanager))["active"]
    assert longer["id"] == made["id"]
    assert abs(parse_instant(longer["endsAt"]) - now_us - 5 * EVERY_US) < SECOND_US
    windows[:] = [Quiet(service="portal", start_us=now_us - MINUTE_US, end_us=now_us + 2 * MINUTE_US)]
    await manager.sync([alert()], now_us + EVERY_US)
    (cut,) = (await silences(alertmanager))["active"]
    assert (cut["id"], parse_instant(cut["endsAt"]) // SECOND_US) == (made["id"], (now_us + 2 * MINUTE_US) // SECOND_US)

    # Finished or cancelled: over at once.
    windows.clear()
    await manager.sync([alert()], now_us + EVERY_US)
    assert {state: [one["id"] for one in of] for state, of in (await silences(alertmanager)).items()} == {
        "expired": [made["id"]]
    }
    clock.close()


async def test_a_window_that_is_about_to_begin_is_silent_from_its_start_and_may_be_cancelled_before(
    alertmanager: str,
) -> None:
    clock = live_clock(asyncio.get_running_loop())
    now_us = clock.now_us()
    windows = [Quiet(service="portal", start_us=now_us + MINUTE_US, end_us=now_us + HOUR_US)]
    manager = AlertmanagerLevel(
        urls=[alertmanager], every_us=EVERY_US, look_up=lambda text: text, quiet=lambda: tuple(windows)
    )
    await manager.sync([], now_us)
    await manager.sync([], now_us)
    (made,) = (await silences(alertmanager))["pending"]
    assert abs(parse_instant(made["startsAt"]) - now_us - MINUTE_US) < SECOND_US
    windows.clear()
    await manager.sync([], now_us)
    assert set(await silences(alertmanager)) == {"expired"}
    clock.close()


async def test_a_silence_that_the_peer_forgot_is_made_again(alertmanager: str) -> None:
    clock = live_clock(asyncio.get_running_loop())
    now_us = clock.now_us()
    windows = [Quiet(service="portal", start_us=now_us, end_us=now_us + HOUR_US)]
    manager = AlertmanagerLevel(
        urls=[alertmanager], every_us=EVERY_US, look_up=lambda text: text, quiet=lambda: tuple(windows)
    )
    await manager.sync([], now_us)
    (held,) = manager._silences[alertmanager]._held.values()
    held.id = "11111111-1111-4111-8111-111111111111"
    with pytest.raises(DeliveryError, match="404"):
        await manager.sync([], now_us)
    await manager.sync([], now_us)
    assert len((await silences(alertmanager))["active"]) == 2, "the one it does not know of ends with its lease"
    clock.close()


async def test_silences_that_cannot_be_ended_keep_no_others_from_being_made(receiver: HttpReceiver) -> None:
    windows = [Quiet(service="portal", start_us=NOW_US, end_us=NOW_US + HOUR_US)]
    manager = AlertmanagerLevel(
        urls=[receiver.url], every_us=EVERY_US, look_up=lambda text: text, quiet=lambda: tuple(windows)
    )
    manager._silences[receiver.url] = silenced = Silences(4 * EVERY_US)
    silenced._held["gone", NOW_US] = _Held("x", NOW_US, NOW_US + EVERY_US)
    with pytest.raises(DeliveryError, match="silenceID"):
        await manager.sync([], NOW_US)
    assert [(method, path) for method, path, _headers, _body in receiver.came] == [
        ("DELETE", "/api/v2/silence/x"),
        ("POST", "/api/v2/silences"),
    ]
    before = len(receiver.came)
    silenced._held["gone", NOW_US] = _Held("x", NOW_US, NOW_US)
    windows.clear()
    await manager.sync([], NOW_US)
    assert len(receiver.came) == before, "a lease that is over needs no word"


async def test_a_heartbeat_is_sent_while_the_daemon_is_well_and_not_else(receiver: HttpReceiver) -> None:
    why: list[str | None] = [None]
    beat = HeartbeatLevel(url=f"{receiver.url}/ping/1", look_up=lambda text: text, not_well=lambda: why[0])
    await beat.sync((), NOW_US)
    assert [path for _method, path, _headers, _body in receiver.came] == ["/ping/1"]
    why[0] = "the store fails"
    with pytest.raises(DeliveryError, match="no beat is sent: the store fails"):
        await beat.sync((), NOW_US)
    assert len(receiver.came) == 1


@dataclass
class Recorded:
    """A level that notes when it was stated, and refuses so many times."""

    clock: SimulatedClock
    refusals: int = 0
    stated: list[int] = field(default_factory=list)

    async def sync(self, active: Sequence[Alert], now_us: int) -> None:
        self.stated.append((now_us - NOW_US) // SECOND_US)
        if self.refusals:
            self.refusals -= 1
            raise DeliveryError("busy", retryable=True)


def test_levels_are_stated_each_in_its_rhythm_and_a_reload_changes_them() -> None:
    loop = VirtualLoop()
    clock = SimulatedClock(loop, NOW_US)
    slow, fast, other = Recorded(clock, refusals=2), Recorded(clock), Recorded(clock)
    standings = {
        "slow": Standing(level=slow, every_us=60 * SECOND_US),
        "fast": Standing(level=fast, every_us=30 * SECOND_US),
    }
    levels = Levels(clock, standings, active=tuple, tally=Tally())

    async def story() -> None:
        task = asyncio.create_task(levels.run())
        await clock.wait_until(NOW_US + 130 * SECOND_US)
        levels.levels = {"other": Standing(level=other, every_us=40 * SECOND_US)}
        levels.restart()
        await clock.wait_until(NOW_US + 180 * SECOND_US)
        task.cancel()
        await asyncio.wait([task])

    with structlog.testing.capture_logs() as logged:
        loop.run_until_complete(story())
    assert slow.stated == [0, 60, 120]
    assert fast.stated == [0, 30, 60, 90, 120]
    assert other.stated == [130, 170]
    assert [entry["event"] for entry in logged] == ["not stated", "stated again"], "told once, not each time"
    assert levels.tally.failures["slow"] == 2
    loop.close()

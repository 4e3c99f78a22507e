"""F17 without a gateway: a link that comes back in mid-probe, neighbour by neighbour, is our own network.

The kernel asks once a second who has an address. With a time-out shorter than that, the controls may be found at once
and the target not before the confirmation is over: nobody had asked for it since the link came back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from monitor.clock import live_clock
from monitor.controls import parse_control
from monitor.core.instant import SECOND_US
from monitor.core.run import Outcome, Run
from monitor.plan import Plan
from monitor.runner import Runner
from probes import transaction
from probes._net import LiveNetwork
from tests.faults_network.conftest import ON_LINK, ON_LINK_6, Link, shell

pytestmark = pytest.mark.slow

TARGETS: dict[str, tuple[str, ...]] = {"ipv4": ON_LINK, "ipv6": ON_LINK_6}
NOBODY = {"ipv4": "10.203.0.99", "ipv6": "fd00:203::99"}
BOTH = ["ipv4", pytest.param("ipv6", marks=pytest.mark.skipif(not ON_LINK_6, reason="this machine has no IPv6"))]
TABLES = ("iptables", "ip6tables") if ON_LINK_6 else ("iptables",)
FAULTS = ("nobody is found", "down", "dropped")


def cut(link: Link, how: str) -> None:
    match how:
        case "nobody is found":
            shell("ip", "-n", link.far, "link", "set", "wire", "arp", "off")
            link.flush()
        case "down":
            shell("ip", "-n", link.far, "link", "set", "wire", "down")
        case _:
            for tables in TABLES:
                shell("ip", "netns", "exec", link.far, tables, "-w", "-I", "INPUT", "-j", "DROP")


def mend(link: Link, how: str) -> None:
    match how:
        case "nobody is found":
            shell("ip", "-n", link.far, "link", "set", "wire", "arp", "on")
        case "down":
            shell("ip", "-n", link.far, "link", "set", "wire", "up")
            if ON_LINK_6:
                link.number()
        case _:
            for tables in TABLES:
                shell("ip", "netns", "exec", link.far, tables, "-w", "-D", "INPUT", "-j", "DROP")


@asynccontextmanager
async def runner(family: str) -> AsyncIterator[Runner]:
    clock, network = live_clock(asyncio.get_running_loop()), LiveNetwork()
    controls = [parse_control(f"tcp://{bracketed(address)}:443") for address in TARGETS[family][1:]]
    try:
        yield Runner(location="here-1", clock=clock, network=network, secret=str, controls=controls)
    finally:
        network.close()
        clock.close()


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def plan(address: str, kind: str, timeout_us: int = SECOND_US // 2) -> Plan:
    check = {"http": {"http": {"get": f"http://{bracketed(address)}/"}}, "icmp": {"icmp": {"ping": address}}}[kind]
    return Plan(
        service="s", check="c", transaction=transaction.parse(check), interval_us=60 * SECOND_US, timeout_us=timeout_us
    )


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("kind", ["http", "icmp"])
@pytest.mark.parametrize("how", FAULTS)
async def test_a_link_that_comes_back_in_mid_probe_invents_nothing(
    link: Link, how: str, kind: str, family: str
) -> None:
    target = TARGETS[family][0]
    said: list[tuple[float, Outcome, str | None, int]] = []
    with link.entered():
        async with runner(family) as found:
            for after_s in (0.05, 0.2, 0.35, 0.45, 0.6):
                await asyncio.to_thread(cut, link, how)
                running = asyncio.create_task(found.run(plan(target, kind), 0))
                await asyncio.sleep(after_s)
                await asyncio.to_thread(mend, link, how)
                run = await running
                said.append((after_s, run.outcome, run.reason, run.attempts))
                assert (await found.run(plan(target, kind, 3 * SECOND_US), 0)).outcome is Outcome.PASS
    assert Outcome.FAIL not in {outcome for _, outcome, _, _ in said}, said
    assert any(attempts > 1 or outcome is Outcome.INCONCLUSIVE for _, outcome, _, attempts in said), said


@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("kind", ["http", "icmp"])
async def test_who_is_really_not_there_fails_within_its_time(link: Link, kind: str, family: str) -> None:
    """The kernel gives up asking for a neighbour after three seconds: a run that waited for that would last six."""
    runs: list[Run] = []
    with link.entered():
        async with runner(family) as found:
            while len(runs) < 3:
                run = await found.run(plan(NOBODY[family], kind), 0)
                if run.reason != "stalled":  # a busy machine adds that by itself
                    runs.append(run)
    assert {run.outcome for run in runs} == {Outcome.FAIL}
    assert {run.attempts for run in runs} == {2}
    assert min(run.duration_us for run in runs) < 3 * SECOND_US

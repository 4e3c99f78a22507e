"""The series of /metrics are a function of the configuration: 10,000 checks renamed, and a hundred renames of fewer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from monitor.app import Daemon, compose
from monitor.app.adopt import Insistence
from monitor.config import Settings, load
from monitor.core.run import Outcome, Run, SourceKey
from monitor.detector import CheckCounts

_ID = re.compile(r'check="([^"]*)"')


def settings_of(folder: Path, generation: int, *, services: int, checks: int) -> Settings:
    """A configuration whose checks are named by their generation; read once, its checks renamed from then on."""
    lines = [
        "store: sqlite:///ledger.db",
        "location: {id: here-1}",
        "web: {listen: 127.0.0.1:0}",
        "contracts:",
        "  mitra: {terms: [{effective_from: 2020-01-01, timezone: Asia/Jakarta, guarantee: 95%,",
        "    credits: [{below: 95%, credit: 10%}], maintenance_notice: 48h, claim_within: 30d, credit_base: total}]}",
        "services:",
        "  s0:",
        "    name: S",
        "    interval: 24h",
        "    checks: {c: {http: {get: 'http://127.0.0.1:1/'}}}",
        "partners: {acme: {name: Acme, contract: mitra, services: {s0: {fee: IDR 1}}}}",
    ]
    path = folder / "jaga.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = load(path).settings
    (service,) = found.services
    (check,) = service.checks
    return replace(
        found,
        services=tuple(
            replace(
                service,
                id=f"s{n}",
                checks=tuple(replace(check, id=f"g{generation}-{m}", name=f"g{generation}-{m}") for m in range(checks)),
            )
            for n in range(services)
        ),
    )


async def scraped(daemon: Daemon) -> list[str]:
    """The series; none where a busy machine was too slow for the page's own time-out."""
    async with aiohttp.ClientSession() as http, http.get(f"{daemon.listen_address}/metrics") as answer:
        if answer.status == 503:
            return []
        assert answer.status == 200
        return [line for line in (await answer.text()).splitlines() if line and not line.startswith("#")]


def ran(daemon: Daemon) -> None:
    """As if each check had run: counters that a rename must take with it."""
    for plan in daemon.options.plans:
        run = Run(service=plan.service, check=plan.check, location="here-1", start_us=1, outcome=Outcome.PASS)
        counts = CheckCounts()
        counts.take(run)
        held: Mapping[SourceKey, CheckCounts] = daemon.detector.counts
        assert isinstance(held, dict)
        held[run.source] = counts


async def renamed(folder: Path, *, services: int, checks: int, renames: int) -> tuple[list[str], list[str]]:
    """The series before, and after the renames, each a reload of the real daemon."""
    daemon = compose(settings_of(folder, 0, services=services, checks=checks))
    await daemon.start()
    daemon.scheduler.stop()  # what a run of its own would count is no part of the configuration
    try:
        ran(daemon)
        before = await _fresh(daemon)
        for generation in range(1, renames + 1):
            wanted = settings_of(folder, generation, services=services, checks=checks)
            # Without runs no service is up; who insists gets its new list all the same (CONTRACT 2.3).
            kept = await daemon.reload(wanted, Insistence(by="test", reason="renamed"))
            assert not kept
            ran(daemon)
        after = await _fresh(daemon)
    finally:
        await daemon.stop()
    return before, after


async def _fresh(daemon: Daemon) -> list[str]:
    """A scrape that is not the one kept for a second."""
    async with asyncio.timeout(90):
        while True:
            found = await scraped(daemon)
            if {name for line in found for name in _ID.findall(line)} == {plan.check for plan in daemon.options.plans}:
                return found
            await asyncio.sleep(0.5)


def _shapes(lines: list[str]) -> list[str]:
    """The series without their values and generations, sorted; those of the process itself and of what was recorded are
    not about checks.
    """
    series = (line.rpartition(" ")[0] for line in lines if line.startswith(("sla_check", "sla_service")))
    return sorted(re.sub(r'"g\d+-', '"g-', one) for one in series)


async def test_renaming_a_few_checks_leaves_no_series(tmp_path: Path) -> None:
    before, after = await renamed(tmp_path, services=2, checks=3, renames=5)
    assert _shapes(before) == _shapes(after)
    assert sum(line.startswith("sla_check_info{") for line in after) == 6


@pytest.mark.slow
@pytest.mark.parametrize(("services", "checks", "renames"), [(100, 100, 2), (4, 25, 100)])
async def test_many_checks_and_many_renames_leave_no_series(
    tmp_path: Path, services: int, checks: int, renames: int
) -> None:
    before, after = await renamed(tmp_path, services=services, checks=checks, renames=renames)
    assert _shapes(before) == _shapes(after)
    assert sum(line.startswith("sla_check_info{") for line in after) == services * checks

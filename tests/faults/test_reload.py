"""Reloads under fire (F37): a storm of them, a crash in the middle of one; whole or not at all, and never backwards."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from monitor.core.fact import ChecksAdopted, Fact, Retired, TermsAdopted
from monitor.core.instant import parse_instant
from monitor.core.run import Run
from monitor.storage.sqlite import open_reader
from tests.app.conftest import WITHIN_S, Process, Target, daemon
from tests.faults.killing import Signs, forging
from tests.faults.test_disk import every_request_is_on_record
from tests.faults.victim import RELOADING

STORM = 100
CRASHES = 25
SECOND_US = 1_000_000
INTERVAL_US = 2 * SECOND_US

pytestmark = pytest.mark.slow


def written(path: Path, url: str, *, checks: int = 2, versions: int = 0) -> None:
    """A file in which `changing` has so many checks, both contracts so many further versions; `still` never changes.

    It takes the place of the one before in one step, as an editor or a deployment does it.
    """
    lines = ["store: sqlite:///ledger.db", "location: {id: here-1}", "web: {listen: 127.0.0.1:0}", "contracts:"]
    for contract in ("a", "b"):
        lines += [f"  {contract}:", "    terms:"]
        starts = ["2020-01-01", *(f"{2100 + number}-01-01" for number in range(versions))]
        for start in starts:
            lines += [
                f"      - {{effective_from: {start}, timezone: Asia/Jakarta, guarantee: 95%, credit_base: total,",
                "         credits: [{below: 95%, credit: 10%}], maintenance_notice: 48h, claim_within: 30d}",
            ]
    lines += ["services:"]
    for service, count in (("still", 2), ("changing", checks)):
        lines += [f"  {service}:", f"    name: {service}", "    interval: 2s", "    timeout: 900ms", "    checks:"]
        lines += [f'      c{check}: {{http: {{get: "{url}/{service}-{check}"}}}}' for check in range(count)]
    lines += ["partners:"]
    for contract in ("a", "b"):
        lines += [
            f"  {contract}: {{name: {contract}, contract: {contract}, services: {{still: {{fee: IDR 1000000}}}}}}"
        ]
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fresh.rename(path)


def record(folder: Path) -> tuple[list[Run], list[tuple[int, Fact]]]:
    reader = open_reader(folder / "ledger.db")
    try:
        runs = [run for _arrival, run in reader.runs_after(0, 100_000)]
        return runs, [(entry.recorded_at_us, entry.fact) for entry in reader.entries()]
    finally:
        reader.close()


def in_force(folder: Path) -> int:
    """How many checks `changing` has by the record."""
    facts = [fact for _at, fact in record(folder)[1] if isinstance(fact, ChecksAdopted)]
    return next(len(fact.list.checks) for fact in reversed(facts) if fact.list.service == "changing")


def ran(folder: Path) -> set[tuple[str, str]]:
    return {(run.service, run.check) for run in record(folder)[0]}


async def until(what: str, holds: Callable[[], bool], meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
    ends = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < ends, f"not within {WITHIN_S} s: {what}"
        await (meanwhile() if meanwhile else asyncio.sleep(0.1))


async def reloaded(process: Process) -> None:
    """Ask it to read its file, and wait until it has done so once more."""

    def count() -> int:
        return sum(line.get("event") == "configuration reloaded" for line in process.log)

    before = count()
    process.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(WITHIN_S), process.grown:
        await process.grown.wait_for(lambda: count() > before)


async def test_a_storm_of_reloads_ends_with_the_last_file_and_moves_nothing_else(
    tmp_path: Path, target: Target
) -> None:
    path, chance = tmp_path / "jaga.yaml", random.Random(5)
    written(path, target.url)
    async with daemon(path) as process:
        await process.event("ready")
        await until("both run", lambda: {service for service, _check in ran(tmp_path)} == {"still", "changing"})
        begun_us = time.time_ns() // 1000
        for number in range(STORM):
            if number % 4 == 3:
                path.write_text("services: [broken\n", encoding="utf-8")
            else:
                written(path, target.url, checks=1 + number % 3, versions=number % 4)
            process.process.send_signal(signal.SIGHUP)
            if number % 10 == 0:
                await asyncio.sleep(chance.uniform(0, 0.3))
        # A signal that comes while one reading waits reads nothing of its own: the one that waits sees the last file.
        # A service whose new checks have yet to run is not up, and keeps its list until it is asked again.
        written(path, target.url, checks=4, versions=3)
        await until("the last file is in force", lambda: in_force(tmp_path) == 4, lambda: reloaded(process))
        await until("the fourth check runs", lambda: ("changing", "c3") in ran(tmp_path))
        process.process.send_signal(signal.SIGTERM)
        assert await process.exit_code() == 0
    runs, facts = record(tmp_path)
    lists = [fact.list for _at, fact in facts if isinstance(fact, ChecksAdopted) and fact.list.service == "changing"]
    assert len(lists[-1].checks) == 4
    assert [entry.at_us for entry in lists] == sorted({entry.at_us for entry in lists}), "each from its own instant on"
    for recorded_us, fact in facts:
        if isinstance(fact, ChecksAdopted | Retired):
            assert recorded_us - SECOND_US <= fact.at_us <= recorded_us, "what changed acts from its recording"
        if isinstance(fact, TermsAdopted) and recorded_us > begun_us:
            assert fact.effective_from_us >= parse_instant("2100-01-01T00:00:00+07:00")
    terms = Counter((fact.contract, fact.effective_from_us) for _at, fact in facts if isinstance(fact, TermsAdopted))
    assert set(terms.values()) == {1}
    assert len([fact for _at, fact in facts if isinstance(fact, ChecksAdopted) and fact.list.service == "still"]) == 1
    for check in ("c0", "c1"):
        slots = [run.slot_us or 0 for run in runs if (run.service, run.check) == ("still", check)]
        place_us = slots[0] % INTERVAL_US
        assert {slot_us % INTERVAL_US for slot_us in slots} == {place_us}, "who did not change kept its place"
        assert len(slots) == len(set(slots)) >= (slots[-1] - slots[0]) // INTERVAL_US // 2, "and its slots"
    every_request_is_on_record(runs, target.requests)


async def test_a_crash_in_the_middle_of_a_reload_leaves_all_of_it_or_nothing(tmp_path: Path, target: Target) -> None:
    path, chance = tmp_path / "jaga.yaml", random.Random(11)
    written(path, target.url)
    ended = Counter[tuple[str | None, str]]()

    def terms() -> dict[str, int]:
        reader = open_reader(tmp_path / "ledger.db")
        try:
            facts = [entry.fact for entry in reader.entries(types=(TermsAdopted.TYPE,))]
        finally:
            reader.close()
        return dict(Counter(fact.contract for fact in facts if isinstance(fact, TermsAdopted)))

    async with forging(path) as forge:
        for number in range(CRASHES):
            versions = 1 + number
            # At each point of an adoption in turn, and at a random moment near it.
            point = (*RELOADING, None)[number % 4]

            async def strike(pid: int, signs: Signs, versions: int = versions, point: str | None = point) -> None:
                await signs.ready.wait()
                written(path, target.url, versions=versions)
                os.kill(pid, signal.SIGHUP)
                await asyncio.sleep(chance.uniform(0, 0.12) if point is None else WITHIN_S)
                os.kill(pid, signal.SIGKILL)

            at = None if point is None else (point, 1)
            life = await forge.live(point=at, lost_replies=None, mutant=None, end=strike)
            assert life.code == -signal.SIGKILL
            found = terms()
            assert found["a"] == found["b"], f"half of a reload: {found}"
            assert found["a"] in {versions, versions + 1}
            ended[point, "whole" if found["a"] == versions + 1 else "not at all"] += 1
    told = {point: how for point, how in ended if point is not None}
    before, within, after = RELOADING
    assert told == {before: "not at all", within: "not at all", after: "whole"}
    assert sum(point is not None for point, _how in ended) == len(told), f"one and the same each time: {ended}"

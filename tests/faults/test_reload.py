"""Reloads under fire (F37): a storm of them, a crash in the middle of one; whole or not at all, and never backwards."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from monitor.core.fact import ChecksAdopted, Fact, Retired, TermsAdopted
from monitor.core.instant import parse_instant
from monitor.core.run import Run
from monitor.storage.sqlite import open_reader
from tests.app.conftest import WITHIN_S, Process, Target, daemon
from tests.faults.killing import forging
from tests.faults.test_disk import every_request_is_on_record

STORM = 100
CRASHES = 25
SECOND_US = 1_000_000

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
        lines += [f"  {service}:", f"    name: {service}", "    interval: 1s", "    timeout: 400ms", "    checks:"]
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


async def until(process: Process, what: str, count: int) -> None:
    async with asyncio.timeout(WITHIN_S), process.grown:
        await process.grown.wait_for(lambda: sum(line.get("event") == what for line in process.log) >= count)


async def test_a_storm_of_reloads_ends_with_the_last_file_and_moves_nothing_else(
    tmp_path: Path, target: Target
) -> None:
    path, chance = tmp_path / "jaga.yaml", random.Random(5)
    written(path, target.url)
    async with daemon(path) as process:
        await process.event("ready")
        ends = time.monotonic() + WITHIN_S
        while {run.service for run in record(tmp_path)[0]} != {"still", "changing"}:
            assert time.monotonic() < ends
            await asyncio.sleep(0.1)
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
        written(path, target.url, checks=4, versions=3)
        reloads = sum(line.get("event") == "configuration reloaded" for line in process.log)
        process.process.send_signal(signal.SIGHUP)
        await until(process, "configuration reloaded", reloads + 1)
        ends = time.monotonic() + WITHIN_S
        while not {"c0", "c1", "c2", "c3"} <= {run.check for run in record(tmp_path)[0] if run.service == "changing"}:
            assert time.monotonic() < ends, "the last file is in force"
            await asyncio.sleep(0.1)
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
        assert {slot_us % SECOND_US for slot_us in slots} == {slots[0] % SECOND_US}, "who did not change kept its place"
        assert len(slots) == len(set(slots)) >= (slots[-1] - slots[0]) // SECOND_US // 2, "and its slots"
    every_request_is_on_record(runs, target.requests)


async def test_a_crash_in_the_middle_of_a_reload_leaves_all_of_it_or_nothing(tmp_path: Path, target: Target) -> None:
    path, chance = tmp_path / "jaga.yaml", random.Random(11)
    written(path, target.url)
    ended = Counter[str]()

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

            async def strike(pid: int, ready: asyncio.Event, versions: int = versions) -> None:
                await ready.wait()
                written(path, target.url, versions=versions)
                os.kill(pid, signal.SIGHUP)
                await asyncio.sleep(chance.uniform(0, 0.12))
                os.kill(pid, signal.SIGKILL)

            life = await forge.live(point=None, lost_replies=None, mutant=None, end=strike)
            assert life.code == -signal.SIGKILL
            found = terms()
            assert found["a"] == found["b"], f"half of a reload: {found}"
            assert found["a"] in {versions, versions + 1}
            ended["whole" if found["a"] == versions + 1 else "not at all"] += 1
    assert set(ended) == {"whole", "not at all"}, f"the crashes came too early or too late: {ended}"

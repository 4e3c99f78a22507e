"""Bytes and CPU a run, sealed, beside a real Prometheus TSDB and lzma on the same durations (goal 5 of PERF.md).

    python -m bench.storage [--checks 100] [--hours 48] [--record-s 20]

First the daemon itself watches the sample SaaS, paced, on this machine: its runs give the lateness, durations and five
phases. From these an hour after the other is drawn, one run a minute and check (five checks a service), committed as
rows, sealed by the code that the daemon seals with, and the rows let go after an hour. Counted is every byte of every
file of the store after it was closed, and beside it with its WAL while it was open. Pages of rows that went are free
for the rows to come and are not given back: a ledger that watches needs them again within the hour. `…_in_use` is
without them, `bytes_a_further_run` is what the second half of the hours added to the file.

The peer holds two series a check, success and duration in seconds, at the same instants (to a millisecond: it keeps no
more), made by `promtool tsdb create-blocks-from openmetrics`. lzma (level 9) is given the bare columns of stamp,
outcome and duration, each whole, as 64-bit integers and as differences within a check.

`cpu_us_accept_to_commit` is the CPU of the whole process, event loop included, from `recorder.accept` to the durable
commit, at 200 runs a second in batches of at most 250 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import lzma
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from monitor.clock import live_clock
from monitor.core.check import Check, CheckList
from monitor.core.fact import ChecksAdopted
from monitor.core.instant import HOUR_US, MINUTE_US, SECOND_US
from monitor.core.run import Outcome, Run, StepRecord
from monitor.core.segment import hour_of
from monitor.core.span import Span
from monitor.ledger.hours import SEALED_MARK, Sealer, cool, due
from monitor.recorder import Recorder
from monitor.storage import Store, Unit
from monitor.storage.sqlite import open_reader, open_store

FIRST_US = hour_of(1_775_000_000 * SECOND_US)
PER_SERVICE = 5
BATCH = 50
PHASES = ("resolve", "connect", "tls", "first_byte", "transfer")

CONFIG = """\
store: sqlite:///recorded.db
location: {{id: jkt-1}}
web: {{listen: 127.0.0.1:0}}
contracts:
  mitra: {{terms: [{{effective_from: 2026-01-01, guarantee: 95%, credits: [{{below: 95%, credit: 10%}}]}}]}}
services:
  portal:
    interval: 1s
    timeout: 400ms
    checks:
{checks}
"""
CHECK = '      c-{n}: {{http: {{get: "{url}/health"}}, expect: {{status: 200}}}}'


class Measured:
    """The distribution of what was measured: draws lie anywhere between neighbours, as often as those were seen."""

    def __init__(self, values: list[int]) -> None:
        self._values = sorted(values)

    def draw(self, chance: random.Random) -> int:
        place = chance.random() * (len(self._values) - 1)
        low = int(place)
        return round(self._values[low] + (place - low) * (self._values[low + 1] - self._values[low]))


@dataclass(frozen=True, slots=True)
class Samples:
    """Lateness, five phases, what a step takes beside them, and a run beside its step."""

    runs: int
    late: Measured
    phases: tuple[Measured, ...]
    step_beside: Measured
    run_beside: Measured


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


# What is drawn from.


def record(seconds: int, folder: Path) -> Samples:
    """Let the daemon watch the sample SaaS at 50 runs a second; its runs as they stand in its ledger."""
    saas = subprocess.Popen([sys.executable, "-m", "monitor.demo.saas"], stdout=subprocess.PIPE, text=True)
    try:
        assert saas.stdout is not None
        url = json.loads(saas.stdout.readline())["url"]
        config = folder / "jaga.yaml"
        config.write_text(CONFIG.format(checks="\n".join(CHECK.format(n=n, url=url) for n in range(50))))
        daemon = subprocess.Popen(
            [Path(sys.executable).with_name("jaga"), "run", "--config", str(config)], stderr=subprocess.DEVNULL
        )
        time.sleep(seconds)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
    finally:
        saas.kill()
        saas.wait()
    reader = open_reader(folder / "recorded.db")
    runs = [run for source in reader.sources() for run in reader.runs(source, Span(0, 2**60))]
    reader.close()
    return _measured([run for run in runs if run.outcome is Outcome.PASS and run.slot_us and run.steps])


def _measured(runs: list[Run]) -> Samples:
    phases = [([length for _, length in run.steps[0].phases_us] + [0] * 5)[:5] for run in runs]
    return Samples(
        runs=len(runs),
        late=Measured([run.start_us - (run.slot_us or 0) for run in runs]),
        phases=tuple(Measured([one[place] for one in phases]) for place in range(5)),
        step_beside=Measured([run.steps[0].duration_us - sum(one) for run, one in zip(runs, phases, strict=True)]),
        run_beside=Measured([run.duration_us - run.steps[0].duration_us for run in runs]),
    )


class World:
    """Runs drawn from samples, an hour at a time."""

    def __init__(self, samples: Samples, checks: int, *, phases: bool) -> None:
        self._samples = samples
        self._chance = random.Random(1)
        self._checks = checks
        self._phases = phases

    def hour(self, number: int) -> list[Run]:
        """The runs of an hour in the order in which they end."""
        found: list[Run] = []
        for check in range(self._checks):
            service, place = divmod(check, PER_SERVICE)
            for minute in range(60):
                slot_us = FIRST_US + number * HOUR_US + minute * MINUTE_US + place * MINUTE_US // PER_SERVICE
                found.append(self._run(f"service-{service}", f"check-{place}", slot_us))
        return sorted(found, key=lambda run: run.start_us + run.duration_us)

    def _run(self, service: str, check: str, slot_us: int) -> Run:
        measured, chance = self._samples, self._chance
        lengths = [phase.draw(chance) for phase in measured.phases]
        step_us = sum(lengths) + measured.step_beside.draw(chance)
        steps: tuple[StepRecord, ...] = ()
        if self._phases:
            step = StepRecord(
                name="GET",
                duration_us=step_us,
                phases_us=tuple(zip(PHASES, lengths, strict=True)),
                target=f"http://{service}.example.id/health",
                http_status=200,
            )
            steps = (step,)
        failed = chance.random() < 0.001
        return Run(
            service=service,
            check=check,
            location="jkt-1",
            start_us=slot_us + measured.late.draw(chance),
            slot_us=slot_us,
            outcome=Outcome.FAIL if failed else Outcome.PASS,
            reason="timeout" if failed else None,
            duration_us=step_us + measured.run_beside.draw(chance),
            steps=steps,
        )


# Ours.


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a store of sealed hours takes."""

    runs: int
    closed_bytes: int
    more_bytes: float
    open_bytes: int
    free_bytes: int
    segment_bytes: int
    seal_cpu_us: float
    read_cpu_us: float


def sealed(world: World, checks: int, hours: int, folder: Path) -> Sealed:
    """Commit, seal and cool so many hours."""
    folder.mkdir()
    store = open_store(folder / "ledger.db")
    store.commit(Unit(recorded_at_us=FIRST_US, facts=adopted(checks)))
    runs, cpu_s, halfway = 0, 0.0, (0, 0)
    for number in range(hours + 2):
        now_us = FIRST_US + (number + 1) * HOUR_US + 6 * MINUTE_US
        if number < hours:
            drawn = world.hour(number)
            runs += len(drawn)
            for first in range(0, len(drawn), BATCH):
                store.commit(Unit(recorded_at_us=now_us, runs=drawn[first : first + BATCH]))
        if number == hours // 2:
            halfway = (runs, (folder / "ledger.db").stat().st_size)
        began = time.process_time()
        seal(store, now_us)
        cpu_s += time.process_time() - began
        while (unit := cool(store, now_us, hot_us=HOUR_US)) is not None:
            store.commit(unit)
    open_bytes = size_of(folder)
    began = time.process_time()
    read = sum(1 for source in store.sources() for _ in store.runs(source, Span(0, 2**60)))
    read_s = time.process_time() - began
    assert read == runs, f"{read} runs came back, {runs} went in"
    segments = sum(len(held.segment.head) + len(held.segment.body or b"") for held in store.segments())
    store.close()
    with closing(sqlite3.connect(folder / "ledger.db")) as connection:
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
    more = ((folder / "ledger.db").stat().st_size - halfway[1]) / (runs - halfway[0])
    free = pages * size
    return Sealed(runs, size_of(folder), more, open_bytes, free, segments, cpu_s * 1e6 / runs, read_s * 1e6 / runs)


def adopted(checks: int) -> list[ChecksAdopted]:
    return [
        ChecksAdopted(
            list=CheckList(
                service=f"service-{service}",
                at_us=FIRST_US,
                interval_us=MINUTE_US,
                timeout_us=10 * SECOND_US,
                stale_after_us=190 * SECOND_US,
                checks=tuple(Check(id=f"check-{place}") for place in range(PER_SERVICE)),
            )
        )
        for service in range(checks // PER_SERVICE)
    ]


def seal(store: Store, now_us: int) -> None:
    while (found := due(store, now_us)).mark is not None:
        sealer = Sealer(store)
        for hour_us, services in found.hours:
            unit = sealer.seal(hour_us, services, now_us)
            if unit is not None:
                store.commit(unit)
        store.commit(Unit(recorded_at_us=now_us, marks={SEALED_MARK: dict(found.mark)}))


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


# The peers.


def tsdb(world: World, hours: int, folder: Path) -> int:
    """Bytes of a Prometheus TSDB that holds success and duration of the same runs."""
    folder.mkdir()
    text = folder / "samples.txt"
    runs = [run for number in range(hours) for run in world.hour(number)]
    runs.sort(key=lambda run: (run.service, run.check, run.start_us))
    with text.open("w") as out:
        for name, value in (
            ("probe_success", lambda run: 1 if run.outcome is Outcome.PASS else 0),
            ("probe_duration_seconds", lambda run: run.duration_us / 1e6),
        ):
            out.write(f"# TYPE {name} gauge\n")
            for run in runs:
                labels = f'service="{run.service}",check="{run.check}",location="{run.location}"'
                out.write(f"{name}{{{labels}}} {value(run)} {run.start_us / 1e6:.3f}\n")
        out.write("# EOF\n")
    blocks = folder / "blocks"
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", str(text), str(blocks)]
    subprocess.run(command, check=True, capture_output=True)
    return size_of(blocks)


def bare_columns(world: World, hours: int) -> tuple[int, int]:
    """Bytes of lzma over stamp, outcome and duration: as they are, and stamps as differences within a check."""
    runs = [run for number in range(hours) for run in world.hour(number)]
    runs.sort(key=lambda run: (run.service, run.check, run.start_us))
    outcomes = bytes(run.outcome is Outcome.PASS for run in runs)
    durations = b"".join(struct.pack("<q", run.duration_us) for run in runs)
    stamps = b"".join(struct.pack("<q", run.start_us) for run in runs)
    before, differences = 0, []
    for run in runs:
        differences.append(struct.pack("<q", run.start_us - before))
        before = run.start_us
    rest = len(lzma.compress(outcomes, preset=9)) + len(lzma.compress(durations, preset=9))
    return rest + len(lzma.compress(stamps, preset=9)), rest + len(lzma.compress(b"".join(differences), preset=9))


# CPU of a run.


async def accept_to_commit(world: World, folder: Path, batches: int) -> float:
    """CPU microseconds a run, 50 every 250 ms."""
    store = open_store(folder / "ledger.db")
    store.commit(Unit(recorded_at_us=FIRST_US, facts=adopted(PER_SERVICE)))
    clock = live_clock(asyncio.get_running_loop())
    recorder = Recorder(store=store, clock=clock, submit=_inline, react=lambda _committed, _at, _open: None)
    writing = asyncio.ensure_future(recorder.run())
    runs = world.hour(0) + world.hour(1) + world.hour(2)
    await asyncio.sleep(0.5)
    began = time.process_time()
    for batch in range(batches):
        for run in runs[batch * BATCH : (batch + 1) * BATCH]:
            recorder.accept(run)
        await asyncio.sleep(0.26)
    spent_s = time.process_time() - began
    recorder.stop()
    await writing
    assert recorder.stats.committed_runs == batches * BATCH, recorder.stats
    clock.close()
    store.close()
    return spent_s * 1e6 / (batches * BATCH)


async def _inline(call: Callable[[], object]) -> object:
    return call()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=100, help="a multiple of five")
    parser.add_argument("--hours", type=int, default=48)
    parser.add_argument("--record-s", type=int, default=20)
    parser.add_argument("--batches", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jaga-bench-") as scratch:
        folder = Path(scratch)
        say(f"recording for {given.record_s} s")
        samples = record(given.record_s, folder)
        assert samples.runs > 100, f"only {samples.runs} runs were recorded"
        say(f"{samples.runs} runs recorded; {given.checks} checks x {given.hours} h")
        stores = {}
        for phases in (False, True):
            world = World(samples, given.checks, phases=phases)
            stores[phases] = sealed(world, given.checks, given.hours, folder / f"ours-{phases}")
            say(f"sealed, {'with' if phases else 'without'} phases: {stores[phases]}")
        runs = stores[False].runs
        peer = None
        if shutil.which("promtool"):
            peer = tsdb(World(samples, given.checks, phases=False), given.hours, folder / "tsdb") / runs
        as_is, differences = bare_columns(World(samples, given.checks, phases=False), given.hours)
        say("CPU from accept to commit")
        cpu_us = asyncio.run(accept_to_commit(World(samples, 25, phases=True), folder / "cpu", given.batches))
    bare, whole = stores[False], stores[True]
    figures = {
        "runs": runs,
        "recorded_runs": samples.runs,
        "bytes_a_run": round(bare.closed_bytes / runs, 3),
        "bytes_a_run_five_phases": round(whole.closed_bytes / runs, 3),
        "bytes_a_run_in_use": round((bare.closed_bytes - bare.free_bytes) / runs, 3),
        "bytes_a_run_in_use_five_phases": round((whole.closed_bytes - whole.free_bytes) / runs, 3),
        "bytes_a_further_run": round(bare.more_bytes, 3),
        "bytes_a_further_run_five_phases": round(whole.more_bytes, 3),
        "bytes_a_run_with_wal": round(bare.open_bytes / runs, 3),
        "segment_bytes_a_run": round(bare.segment_bytes / runs, 3),
        "segment_bytes_a_run_five_phases": round(whole.segment_bytes / runs, 3),
        "segments_of_lzma": round(bare.segment_bytes / as_is, 3),
        "of_lzma": round(bare.closed_bytes / as_is, 3),
        "of_lzma_of_differences": round(bare.closed_bytes / differences, 3),
        "of_tsdb": None if peer is None else round(bare.closed_bytes / runs / peer, 3),
        "cpu_us_accept_to_commit": round(cpu_us, 1),
        "cpu_us_to_seal": round(whole.seal_cpu_us, 1),
        "cpu_us_to_read": round(whole.read_cpu_us, 1),
    }
    peers = {
        "prometheus_tsdb_bytes_a_run": None if peer is None else round(peer, 3),
        "lzma_bytes_a_run": round(as_is / runs, 3),
        "lzma_of_differences_bytes_a_run": round(differences / runs, 3),
    }
    sys.stdout.write(json.dumps({"bench": "storage", "figures": figures, "peers": peers}) + "\n")


if __name__ == "__main__":
    main()

"""How long a daemon takes to be ready over a long record, beside one over an empty ledger.

    .venv/bin/python bench/start.py [--entries 50000] [--spans 1000000] [--runs 10000000] [--rounds 3]

The record is filled through the store as the daemon fills it: entries, derived spans of 1,000 sources, and runs as rows
up to the present. The daemon is started on it once, so that its cursor stands where it left, stopped, and started
again: from the start of the process until `/-/ready` answers 200. Rounds alternate with a daemon over an empty ledger.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from monitor.core.check import Check, CheckList
from monitor.core.fact import ChecksAdopted, Claim
from monitor.core.instant import HOUR_US, MINUTE_US, SECOND_US
from monitor.core.run import Outcome, OutcomeSpan, Run, SourceKey
from monitor.core.segment import hour_of
from monitor.ledger.hours import SEALED_MARK
from monitor.storage import SpanChange, Unit
from monitor.storage.sqlite import open_store

SOURCES = 1_000
BATCH = 20_000
TIMEOUT_S = 600

CONFIG = """\
store: sqlite:///ledger.db
location: {id: jkt-1}
web: {listen: 127.0.0.1:0}
contracts:
  mitra: {terms: [{effective_from: 2025-01-01, guarantee: 95%, credits: [{below: 95%, credit: 10%}]}]}
services:
  portal:
    interval: 60s
    timeout: 10s
    checks: {check-0: {http: {get: "http://127.0.0.1:9/"}, expect: {status: 200}}}
"""


def say(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r" + text)


def fill(folder: Path, *, entries: int, spans: int, runs: int) -> None:
    """A ledger that has lived."""
    store = open_store(folder / "ledger.db")
    now_us = time.time_ns() // 1000
    adopted = CheckList(
        service="portal",
        at_us=now_us - 400 * 24 * HOUR_US,
        interval_us=MINUTE_US,
        timeout_us=10 * SECOND_US,
        stale_after_us=190 * SECOND_US,
        checks=tuple(Check(id=f"check-{n}") for n in range(SOURCES)),
    )
    store.commit(Unit(recorded_at_us=now_us - 400 * 24 * HOUR_US, facts=[ChecksAdopted(list=adopted)]))
    for first in range(0, entries, BATCH):
        facts = [
            Claim(partner="acme", service="portal", month="2026-01", at_us=n)
            for n in range(first, min(entries, first + BATCH))
        ]
        store.commit(Unit(recorded_at_us=now_us - 300 * 24 * HOUR_US, facts=facts))
    sources = [SourceKey("portal", f"check-{n}", "jkt-1") for n in range(SOURCES)]
    minutes = max(1, runs // SOURCES)
    begun_us = now_us - (minutes + 5) * MINUTE_US
    each = spans // SOURCES
    for number, source in enumerate(sources):
        long_us = (begun_us - adopted.at_us) // max(each, 1)
        derived = [
            OutcomeSpan(
                adopted.at_us + n * long_us,
                adopted.at_us + (n + 1) * long_us,
                Outcome.FAIL if n % 2 else Outcome.PASS,
            )
            for n in range(each)
        ]
        last = OutcomeSpan(begun_us, begun_us + minutes * MINUTE_US + 190 * SECOND_US, Outcome.PASS)
        store.commit(Unit(recorded_at_us=now_us, spans=[SpanChange(source=source, written=(*derived, last))]))
        say(f"spans of {number + 1} of {SOURCES} sources")
    pending: list[Run] = []
    arrival = 0
    for minute in range(minutes):
        at_us = begun_us + minute * MINUTE_US
        pending += [
            Run(**source._asdict(), start_us=at_us, slot_us=at_us, outcome=Outcome.PASS, duration_us=80_000)
            for source in sources
        ]
        if len(pending) >= BATCH or minute == minutes - 1:
            arrival = store.commit(Unit(recorded_at_us=now_us, runs=pending)).last_arrival
            pending = []
            say(f"{(minute + 1) * SOURCES} runs")
    # As after a round of sealing: what is measured is the start, not what is made good for a bench's short cut.
    marks = {SEALED_MARK: {"until_us": hour_of(now_us), "arrival": arrival}}
    store.commit(Unit(recorded_at_us=now_us, marks=marks))
    store.close()
    say("\n")


def ready_after(folder: Path) -> float:
    """Seconds from the start of the process until it is ready; it is stopped again."""
    (folder / "jaga.yaml").write_text(CONFIG)
    jaga = Path(sys.executable).with_name("jaga")
    began = time.perf_counter()
    with subprocess.Popen(
        [jaga, "run", "--config", folder / "jaga.yaml"],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as daemon:
        try:
            return _wait(daemon, began)
        finally:
            daemon.terminate()
            daemon.communicate(timeout=120)


def _wait(daemon: subprocess.Popen[str], began: float) -> float:
    assert daemon.stdout is not None
    url = None
    for line in daemon.stdout:
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        url = url or (found and found[0])
        # The line that says so is written when it is ready.
        if re.search(r"\bready\b", line) and url:
            break
    while time.perf_counter() - began < TIMEOUT_S:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:  # noqa: S310 - our own, on loopback
                if answer.status == 200:
                    return time.perf_counter() - began
        except (urllib.error.URLError, OSError):
            continue
    msg = f"not ready within {TIMEOUT_S} s"
    raise TimeoutError(msg)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=50_000)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jaga-bench-") as scratch:
        long, empty = Path(scratch) / "long", Path(scratch) / "empty"
        long.mkdir()
        empty.mkdir()
        fill(long, entries=given.entries, spans=given.spans, runs=given.runs)
        first_s = ready_after(long)
        ready_after(empty)
        took: dict[Path, list[float]] = {long: [], empty: []}
        for _ in range(given.rounds):
            for folder, seconds in took.items():
                seconds.append(ready_after(folder))
        size = sum(file.stat().st_size for file in long.rglob("*"))
    long_s, empty_s = (statistics.median(took[folder]) for folder in (long, empty))
    figures = {
        "entries": given.entries,
        "spans": given.spans,
        "runs": given.runs,
        "ledger_bytes": size,
        "ready_s": round(long_s, 3),
        "first_start_s": round(first_s, 3),
        "more_than_empty_s": round(long_s - empty_s, 3),
    }
    peers = {"empty_ledger_ready_s": round(empty_s, 3)}
    sys.stdout.write(json.dumps({"bench": "start", "figures": figures, "peers": peers}) + "\n")


if __name__ == "__main__":
    main()

"""How long a daemon takes to be ready over a long record, beside one over an empty ledger.

    python -m bench.start [--entries 50000] [--spans 1000000] [--runs 10000000] [--rounds 3]

The record is that of one service of 1,000 checks over 13 months: entries, derived spans, and runs as rows up to the
present, every minute one of each check. Entries and spans go through the store; the bulk of the rows is made by
SQLite itself from the last minute's, which the store wrote, so that ten million take a minute (they lack the check sum
of a row, which nothing reads before the daemon is ready). The marks say that the detector stands at the last run, as
after a stop. The daemon, configured with the same 1,000 checks, is started on it once, stopped, and started again: from
the start of the process until `/-/ready` answers 200. Rounds alternate with a daemon over an empty ledger.
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

from monitor.core.check import Check, CheckList
from monitor.core.fact import ChecksAdopted, Claim
from monitor.core.instant import DAY_US, MINUTE_US, SECOND_US
from monitor.core.run import Outcome, OutcomeSpan, Run, SourceKey
from monitor.core.segment import hour_of
from monitor.detector import COUNTS_MARK, CURSOR_MARK
from monitor.ledger.hours import SEALED_MARK
from monitor.storage import SpanChange, Unit
from monitor.storage.checksum import checksum, covered
from monitor.storage.schema import LEDGER
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
    checks:
"""
CHECK = '      check-{n}: {{http: {{get: "http://127.0.0.1:9/"}}, expect: {{status: 200}}}}\n'


def say(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r" + text)


def fill(folder: Path, *, entries: int, spans: int, runs: int) -> None:
    """A ledger that has lived."""
    path = folder / "ledger.db"
    store = open_store(path)
    now_us = time.time_ns() // 1000
    first_us, minute_us = now_us - 395 * DAY_US, now_us - now_us % MINUTE_US - MINUTE_US
    store.commit(Unit(recorded_at_us=first_us, facts=[ChecksAdopted(list=watched(first_us))]))
    for first in range(1, entries, BATCH):
        facts = [
            Claim(partner="acme", service="portal", month="2026-01", at_us=n)
            for n in range(first, min(entries, first + BATCH))
        ]
        store.commit(Unit(recorded_at_us=now_us - 300 * DAY_US, facts=facts))
        say(f"{first + len(facts)} entries")
    minutes = max(1, runs // SOURCES)
    begun_us = minute_us - (minutes - 1) * MINUTE_US
    long_us = (begun_us - first_us) * SOURCES // spans
    for n in range(SOURCES):
        derived = [
            OutcomeSpan(first_us + k * long_us, first_us + (k + 1) * long_us, Outcome.FAIL if k % 2 else Outcome.PASS)
            for k in range(spans // SOURCES - 1)
        ]
        last = OutcomeSpan(begun_us, minute_us + 190 * SECOND_US, Outcome.PASS)
        change = SpanChange(source=source(n), written=(*derived, last))
        store.commit(Unit(recorded_at_us=now_us, spans=[change]))
        say(f"spans of {n + 1} of {SOURCES} sources")
    store.close()
    multiply(path, minutes - 1, begun_us)
    store = open_store(path)
    newest = [
        Run(**source(n)._asdict(), start_us=minute_us, slot_us=minute_us, outcome=Outcome.PASS, duration_us=80_000)
        for n in range(SOURCES)
    ]
    arrival = store.commit(Unit(recorded_at_us=now_us, runs=newest)).last_arrival
    assert arrival == minutes * SOURCES
    # As after a round of sealing and a stop: measured is the start, not what is made good for a bench's short cut.
    marks = {
        SEALED_MARK: {"until_us": hour_of(now_us), "arrival": arrival},
        CURSOR_MARK: {"arrival": arrival, "seq": store.head().seq},
        COUNTS_MARK: {"arrival": arrival, "sources": []},
    }
    store.commit(Unit(recorded_at_us=now_us, marks=marks))
    store.close()
    say("\n")


def source(n: int) -> SourceKey:
    return SourceKey("portal", f"check-{n}", "jkt-1")


def watched(at_us: int) -> CheckList:
    return CheckList(
        service="portal",
        at_us=at_us,
        interval_us=MINUTE_US,
        timeout_us=10 * SECOND_US,
        stale_after_us=190 * SECOND_US,
        checks=tuple(Check(id=f"check-{n}") for n in range(SOURCES)),
    )


def multiply(path: Path, minutes: int, begun_us: int) -> None:
    """Rows of so many minutes, one a source, numbered from 1; the ledger's last number says so."""
    say(f"{minutes * SOURCES} rows")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("synchronous = OFF", "cache_size = -200000", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        connection.execute(
            """
            WITH RECURSIVE minute(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM minute WHERE k + 1 < :minutes)
            INSERT INTO runs (arrival, source, start_us, slot_us, outcome, duration_us, attempts, tainted, origin,
                              recorded_at_us, contested)
            SELECT k * :sources + id, id, :begun + k * 60000000, :begun + k * 60000000, 'pass', 80000, 1, 0, 'own',
                   :begun + k * 60000000, 0
            FROM minute CROSS JOIN sources WHERE :minutes > 0
            """,
            {"minutes": minutes, "sources": SOURCES, "begun": begun_us},
        )
        connection.execute("UPDATE ledger SET arrival = ?", (minutes * SOURCES,))
        columns = ", ".join(f'"{column.name}"' for column in covered(LEDGER))
        row = connection.execute(f"SELECT {columns} FROM ledger").fetchone()  # noqa: S608 - our own names
        connection.execute("UPDATE ledger SET crc = ?", (checksum(row),))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def ready_after(folder: Path) -> float:
    """Seconds from the start of the process until it is ready; it is stopped again."""
    (folder / "jaga.yaml").write_text(CONFIG + "".join(CHECK.format(n=n) for n in range(SOURCES)))
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

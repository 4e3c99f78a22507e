"""What a scrape costs: its rendering against prometheus_client's, and what the event loop feels of it.

    python -m bench.metrics [--rounds 7] [--series 100000] [--seconds 15] [--checks 5000] [--only ...]

`rendering` is goal 7: the same registry, every value changed, written by us and by prometheus_client in turn; the bytes
are compared first. Theirs is timed twice: with its families made beforehand, which is the ratio that counts, and with
making them, which is what a custom collector pays. `loop` serves such a page over HTTP back to back and measures how
late the event loop is meanwhile, in turn with seconds in which nobody scrapes and with others in which a thread merely
counts. `lateness` is goal 3: the daemon with its checks, scraped back to back. `reading` is what a scrape reads of
the ledger: figures carried on from the last one against the same made anew.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as TheirMetric
from prometheus_client.registry import Collector

from bench import harness
from bench.daemon import SETTLE_S, Jaga, jaga, target
from bench.harness import say
from monitor.app.process import settle_in
from monitor.core.check import Check, CheckList
from monitor.core.fact import ChecksAdopted
from monitor.core.instant import DAY_US, MINUTE_US, SECOND_US
from monitor.core.run import Outcome, OutcomeSpan, Run, SourceKey, StepRecord
from monitor.core.terms import Agreements, Fee, Subscription, Terms, Tier
from monitor.ledger.kept import FigureKeeper
from monitor.ledger.month import Months
from monitor.ledger.record import Basis, RecordKeeper
from monitor.ledger.standing import standings
from monitor.storage import SpanChange, Unit
from monitor.storage.opening import open_store
from monitor.storage.writing import SqlStore
from monitor.telemetry.catalogue import COUNTER, GAUGE, HISTOGRAM, Family
from monitor.telemetry.exposition import Exposition
from monitor.telemetry.rendering import Format, Metric, Renderer
from monitor.telemetry.snapshot import (
    DURATION_BOUNDS_US,
    LAG_BOUNDS_US,
    CheckSample,
    CheckTotals,
    DaemonSample,
    Histogram,
    Snapshot,
    Tally,
)
from monitor.web.public import HANDED, Handed, metrics
from monitor.web.samples import month_samples

AT = ("sla_service", "check", "location")
FAMILIES = (
    Family("bench_ratio", GAUGE, AT, "A share of one."),
    Family("bench_last_run_timestamp_seconds", GAUGE, AT, "An instant."),
    Family("bench_attempts_total", COUNTER, AT, "A count."),
    Family("bench_failures_total", COUNTER, (*AT, "reason"), "A count by reason."),
    Family("bench_duration_seconds", HISTOGRAM, AT, "A spread."),
)
REASONS = ("dns", "connect", "tls", "timeout", "http_status")
SERIES_A_CHECK = 3 + len(REASONS) + len(DURATION_BOUNDS_US) + 3
READ_US = 1_776_700_000 * SECOND_US  # in the second half of a month
TICK_S = 0.001
WINDOW_S = 1.0
STALL_MS = 5.0
SCRAPER = """
import sys, urllib.request
while True:
    size = len(urllib.request.urlopen(sys.argv[1], timeout=60).read())
    print(size, flush=True)
"""


class Peer(Collector):
    """The same families for prometheus_client, in its own classes, as a custom collector hands them over."""

    def __init__(self, metrics: Callable[[], Iterable[Metric]]) -> None:
        self._metrics = metrics

    def describe(self) -> list[TheirMetric]:
        """Nothing: registering collects nothing."""
        return []

    def collect(self) -> Iterator[TheirMetric]:
        """Family by family."""
        return map(in_their_classes, self._metrics())


class Made(Collector):
    """Families that were made before."""

    def __init__(self, made: list[TheirMetric]) -> None:
        self._made = made

    def describe(self) -> list[TheirMetric]:
        """Nothing, as above."""
        return []

    def collect(self) -> Iterator[TheirMetric]:
        """As they are."""
        return iter(self._made)


def in_their_classes(metric: Metric) -> TheirMetric:
    """One family with its series."""
    family = metric.family
    if family.type == HISTOGRAM:
        spread = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, tally in metric.tallies:
            bounds = (*(repr(bound_us / SECOND_US) for bound_us in tally.bounds_us), "+Inf")
            seen, cumulative = 0, []
            for bound, count in zip(bounds, tally.counts, strict=True):
                seen += count
                cumulative.append((bound, float(seen)))
            spread.add_metric(labels, cumulative, tally.sum_us / SECOND_US)
        return spread
    kind = CounterMetricFamily if family.type == COUNTER else GaugeMetricFamily
    plain = kind(family.name, family.help, labels=family.labels)
    for labels, value in metric.rows:
        plain.add_metric(labels, value)
    for labels, members, counts in metric.groups:
        for member, count in {**dict.fromkeys(members, 0), **counts}.items():
            plain.add_metric((*labels, member), count)
    return plain


def registry(collector: Collector) -> CollectorRegistry:
    """A registry of it alone."""
    found = CollectorRegistry()
    found.register(collector)
    return found


def series(checks: int, turn: int) -> list[Metric]:
    """Families of so many checks; in each turn every series has another value."""
    at = [(f"service-{number % 50}", f"check-{number // 50}", "bench-1") for number in range(checks)]
    ratio, instant, attempts, failures, duration = FAMILIES
    failed = [((*labels, reason), 10 * turn + number % 7) for number, labels in enumerate(at) for reason in REASONS]
    spread = tuple(turn + number for number in range(len(DURATION_BOUNDS_US) + 1))
    return [
        Metric(ratio, [(labels, (turn * checks + number) / 7e6) for number, labels in enumerate(at)]),
        Metric(instant, [(labels, 1_775_000_000.25 + turn * 60 + number / 1000) for number, labels in enumerate(at)]),
        Metric(attempts, [(labels, 1000 * turn + number) for number, labels in enumerate(at)]),
        Metric(failures, failed),
        Metric(
            duration,
            tallies=[
                (labels, Tally(DURATION_BOUNDS_US, spread, 1_234_567 * turn + number))
                for number, labels in enumerate(at)
            ],
        ),
    ]


def rendering(rounds: int, wanted: int) -> dict[str, Any]:
    """CPU of one page, ours and theirs, in paired rounds; the bytes must be the same and all lines new."""
    checks = wanted // SERIES_A_CHECK + 1
    renderer = Renderer()
    before = set(renderer.render(series(checks, 0), Format.TEXT).splitlines())
    done: list[dict[str, float]] = []
    lines = 0
    for turn in range(1, rounds + 1):
        shown = series(checks, turn)
        made = [in_their_classes(metric) for metric in shown]
        pages: dict[str, bytes] = {}
        contenders: dict[str, Callable[[], bytes]] = {
            "ours": lambda shown=shown: renderer.render(shown, Format.TEXT),
            "prometheus_client": lambda made=made: generate_latest(registry(Made(made))),
            "prometheus_client_and_collecting": lambda shown=shown: generate_latest(registry(Peer(lambda: shown))),
        }
        one: dict[str, float] = {}
        for name in harness.rotated(list(contenders), turn):
            begun_s = time.thread_time()
            pages[name] = contenders[name]()
            one[name] = 1000 * (time.thread_time() - begun_s)
        assert len(set(pages.values())) == 1, "the pages differ"
        now = {line for line in pages["ours"].splitlines() if not line.startswith(b"#")}
        assert not now & before, "a value did not change"
        before, lines = now, len(now)
        done.append(one)
        say(f"rendering {turn}/{rounds}: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in one.items()))
    ratio = harness.median_ratio(done, "ours", "prometheus_client")
    return {
        "series": lines,
        "bytes": len(pages["ours"]),
        "cpu_ms": {name: harness.spread([one[name] for one in done], 1) for name in done[0]},
        "us_a_series": round(1000 * statistics.median(one["ours"] for one in done) / lines, 3),
        "ours_to_prometheus_client": ratio,
        "ours_to_prometheus_client_and_collecting": harness.median_ratio(
            done, "ours", "prometheus_client_and_collecting"
        ),
        "goal": {"at_most": round(1 / 6, 3), "met": ratio <= 1 / 6},
    }


def snapshot(checks: int, turn: int) -> Snapshot:
    """A daemon's snapshot of so many checks, each with another run than in the turn before."""
    spread = tuple(turn + number for number in range(len(DURATION_BOUNDS_US) + 1))
    samples = tuple(
        CheckSample(
            service=f"service-{number % 50}",
            check=f"check-{number // 50}",
            location="bench-1",
            kind="http",
            target="192.0.2.1:443",
            interval_us=10 * SECOND_US,
            timeout_us=5 * SECOND_US,
            totals=CheckTotals(
                attempts=turn + number,
                failures={"http_status": turn},
                durations=Tally(DURATION_BOUNDS_US, spread, turn * SECOND_US + number),
            ),
            last=Run(
                service=f"service-{number % 50}",
                check=f"check-{number // 50}",
                location="bench-1",
                start_us=1_775_000_000_000_000 + turn * SECOND_US + number,
                duration_us=40_000 + number,
                outcome=Outcome.PASS,
                steps=(
                    StepRecord(
                        name="get", duration_us=40_000, phases_us=(("connect", turn), ("tls", number)), http_status=200
                    ),
                ),
            ),
            success=True,
            assertions=("get.status",),
        )
        for number in range(checks)
    )
    daemon = DaemonSample(
        version="bench",
        revision="",
        python_version="",
        ready=True,
        runs_in_flight=0,
        scheduler_lag=Histogram(LAG_BOUNDS_US).tally(),
    )
    return Snapshot(daemon=daemon, checks=samples)


class Turns:
    """Hands each scrape the next of a few snapshots made beforehand."""

    def __init__(self, wanted: int) -> None:
        self._made = [snapshot(wanted // 45 + 1, turn) for turn in (1, 2)]
        self.asked = 0

    def __call__(self) -> Snapshot:
        """Another one than before."""
        self.asked += 1
        return self._made[self.asked % len(self._made)]


class Felt:
    """What the loop felt: how late it was at each tick, and what its own thread computed between two."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self.own_ms: list[float] = []

    async def tick(self, seconds: float) -> None:
        """Tick for so many seconds."""
        ends = time.monotonic() + seconds
        while (begun := time.monotonic()) < ends:
            spent = time.thread_time()
            await asyncio.sleep(TICK_S)
            self.late_ms.append(1000 * (time.monotonic() - begun - TICK_S))
            self.own_ms.append(1000 * (time.thread_time() - spent))

    def figures(self) -> dict[str, Any]:
        """In milliseconds."""
        return {
            "late_ms": _shares(self.late_ms),
            "own_cpu_ms": _shares(self.own_ms),
            "later_than_5_ms": sum(late > STALL_MS for late in self.late_ms),
            "ticks": len(self.late_ms),
        }


@contextmanager
def _counting() -> Iterator[None]:
    """A thread that only counts: what sharing the interpreter with anything costs the loop."""
    over = threading.Event()

    def count() -> None:
        while not over.is_set():
            sum(range(100))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def _loop(seconds: float, wanted: int) -> dict[str, Any]:
    turns = Turns(wanted)
    # Every page is a fresh one: a clock that leaps says that those before are old.
    leaps = iter(range(0, 10**18, 2 * 10**9))
    exposition = Exposition(turns, now_ns=lambda: next(leaps))

    async def nothing() -> dict[str, Any]:
        return {}

    handed = Handed(version="bench", not_ready=lambda: None, metrics=exposition.render, status=nothing)
    app = web.Application()
    app[HANDED] = handed
    app.router.add_get("/metrics", metrics)
    pages_of = web.AppRunner(app, access_log=None)
    await pages_of.setup()
    await web.TCPSite(pages_of, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{pages_of.addresses[0][1]}/metrics"
    body, _ = await exposition.render("")
    settle_in()
    quiet, computing, busy = Felt(), Felt(), Felt()
    pages = 0
    try:
        for turn in range(max(1, round(seconds / WINDOW_S / 3))):
            await quiet.tick(WINDOW_S)
            with _counting():
                await computing.tick(WINDOW_S)
            scraper = await asyncio.create_subprocess_exec(sys.executable, "-c", SCRAPER, url, stdout=subprocess.PIPE)
            harness.pin(scraper.pid, 1)
            assert scraper.stdout is not None
            assert int(await scraper.stdout.readline()) > 0
            asked = turns.asked
            await busy.tick(WINDOW_S)
            pages += turns.asked - asked
            scraper.kill()
            await scraper.wait()
            say(f"loop {turn + 1}: quiet {max(quiet.late_ms):.1f} ms at worst, scraped {max(busy.late_ms):.1f} ms")
    finally:
        await pages_of.cleanup()
    samples = sum(not line.startswith(b"#") for line in body.splitlines())
    return {
        "series": samples,
        "bytes": len(body),
        "pages": pages,
        "quiet": quiet.figures(),
        "beside_a_thread_that_counts": computing.figures(),
        "scraped": busy.figures(),
        "goal": {"at_most_ms": STALL_MS, "met": max(busy.late_ms) <= STALL_MS},
    }


def _shares(late_ms: list[float]) -> dict[str, float]:
    ordered = sorted(late_ms)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
    }


class BackToBack:
    """Scrapes from a thread of this process, one after the other, and what each took."""

    def __init__(self, found: Jaga) -> None:
        self._found, self._over = found, threading.Event()
        self._thread = threading.Thread(target=self._scrape)
        self.took_ms: list[float] = []
        self.lines = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _scrape(self) -> None:
        while not self._over.is_set():
            begun = time.monotonic()
            text = self._found.metrics()
            self.took_ms.append(1000 * (time.monotonic() - begun))
            self.lines = text.count("\n")


def lateness(folder: Path, http: int, *, checks: int, interval_s: int, seconds: float) -> dict[str, Any]:
    """How late checks start on one core, without scrapes and with one after the other, by the stamps on record."""
    figures: dict[str, Any] = {"checks": checks, "interval_s": interval_s}
    for name in ("unscraped", "scraped"):
        with jaga(folder / name, f"http://127.0.0.1:{http}", checks, interval_s) as found:
            time.sleep(SETTLE_S)
            before, begun_us = harness.cpu_s(found.pid), time.time_ns() // 1000
            scrapes = BackToBack(found)
            if name == "scraped":
                with scrapes:
                    time.sleep(seconds)
            else:
                time.sleep(seconds)
            spent_s = harness.cpu_s(found.pid) - before
        said = found.outcomes()
        assert not [outcome for outcome in said if outcome.startswith("fail")], f"false verdicts: {said}"
        figures[name] = {
            "core_percent": round(100 * spent_s / seconds, 1),
            "lateness_ms": _shares(found.late_ms(after_us=begun_us)),
            "outcomes": dict(said),
        }
        if name == "scraped":
            figures[name] |= {
                "scrapes": len(scrapes.took_ms),
                "refused": found.scrapes_refused,
                "lines": scrapes.lines,
                "scrape_ms": _shares(scrapes.took_ms),
            }
        say(f"lateness {name}: {figures[name]['lateness_ms']}")
    p99 = figures["scraped"]["lateness_ms"]["p99"]
    return {**figures, "goal": {"p99_at_most_ms": 2, "met": p99 <= 2}}


def _filled(store: SqlStore, services: int, checks: int) -> None:
    """A ledger of a month and a half: every check of a service fails for some minutes every ten days."""
    begun_us = READ_US - 45 * DAY_US
    named = [f"service-{number}" for number in range(services)]
    lists = [
        CheckList(
            service=service,
            at_us=begun_us,
            interval_us=MINUTE_US,
            timeout_us=SECOND_US,
            stale_after_us=3 * MINUTE_US,
            checks=tuple(Check(id=f"check-{number}") for number in range(checks)),
        )
        for service in named
    ]
    store.commit(Unit(recorded_at_us=begun_us, facts=[ChecksAdopted(list=one) for one in lists]))
    sources = [SourceKey(service, f"check-{number}", "bench-1") for service in named for number in range(checks)]
    runs = [Run(**source._asdict(), start_us=READ_US - MINUTE_US, outcome=Outcome.PASS) for source in sources]
    edges_us = [begun_us + days * DAY_US for days in (0, 10, 20, 30, 40, 50)]
    spans = tuple(
        span
        for from_us, until_us in pairwise(edges_us)
        for span in (
            OutcomeSpan(from_us, until_us - 5 * MINUTE_US, Outcome.PASS),
            OutcomeSpan(until_us - 5 * MINUTE_US, until_us, Outcome.FAIL),
        )
    )
    changes = [SpanChange(source=source, written=spans) for source in sources]
    store.commit(Unit(recorded_at_us=READ_US, runs=runs, spans=changes))


def reading(rounds: int, services: int, checks: int) -> dict[str, Any]:
    """CPU of a scrape's figures of the ledger, carried on from the last scrape and made anew, in paired rounds."""
    tiers = (Tier(below=Fraction(95), credit=Fraction(10)),)
    subscribed = tuple(
        Subscription(
            partner="acme", service=f"service-{n}", contract="mitra", fee=Fee(currency="IDR", amount=Decimal(100))
        )
        for n in range(services)
    )
    agreements = Agreements(
        terms=(Terms(contract="mitra", effective_from_us=0, tiers=tiers),), subscriptions=subscribed
    )
    basis = Basis(agreements=agreements, zone=ZoneInfo, software="bench")
    done: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        store = open_store("sqlite:///ledger.db", base=Path(folder))
        _filled(store, services, checks)
        record, kept = RecordKeeper(), FigureKeeper()
        for turn in range(rounds + 1):
            one: dict[str, float] = {}
            shown = []
            for name in harness.rotated(("carried_on", "anew"), turn):
                begun_s = time.thread_time()
                now_us = READ_US + turn * SECOND_US
                months = Months(store, basis, now_us, record.read, kept if name == "carried_on" else None)
                shown.append(month_samples(months, standings(months)))
                one[name] = 1000 * (time.thread_time() - begun_s)
            assert shown[0] == shown[1], "what is carried on differs"
            done.append(one)
        store.close()
    done = done[1:]  # the first has nothing to carry on
    return {
        "services": services,
        "checks_a_service": checks,
        "cpu_ms": {name: harness.spread([one[name] for one in done], 1) for name in done[0]},
        "carried_on_to_anew": harness.median_ratio(done, "carried_on", "anew"),
    }


SCENARIOS = ("reading", "rendering", "loop", "lateness")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--checks", type=int, default=5000)
    parser.add_argument("--interval", type=int, default=10)
    parser.add_argument("--only", nargs="*", choices=SCENARIOS, default=list(SCENARIOS))
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    if "rendering" in asked.only:
        figures["rendering"] = rendering(asked.rounds, asked.series)
    if "reading" in asked.only:
        figures["reading"] = [reading(asked.rounds, *size) for size in ((50, 100), (1000, 1))]
    if "loop" in asked.only:
        figures["loop"] = asyncio.run(_loop(asked.seconds, asked.series))
    if "lateness" in asked.only:
        with tempfile.TemporaryDirectory() as name, target(Path(name)) as (http, _https):
            figures["lateness"] = lateness(
                Path(name), http, checks=asked.checks, interval_s=asked.interval, seconds=asked.seconds
            )
    harness.finish("metrics", figures, {"prometheus_client": version("prometheus-client")})


if __name__ == "__main__":
    main()

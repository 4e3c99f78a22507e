"""The whole path of a check, from slot to durable run, verdict and metrics, against what a user would run instead.

    python -m bench.daemon [--seconds 15] [--rounds 3] [--only http https lateness overload memory]

The peer is Prometheus scraping blackbox_exporter at the same rate: it stores samples, and holds no verdict. Both are
measured on one core, in turn within a round, against nginx on another; the daemon's /metrics are fetched every five
seconds as a Prometheus would (and, as a figure of its own, not at all). `http` and `https` are goal 1, `lateness` is
goal 3 (5,000 checks / 10 s; 10,000 / 60 s), `memory` goal 8 and what goal 1 says of memory, `overload` three times what
one core holds, which must become inconclusive(late) and never a failure. The whole takes about a quarter of an hour.
`waited_percent` is the share of the time for which the daemon's loop could have run and another process had its core.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import harness
from bench.harness import MissingError, accepts, free_port, say
from bench.probes import NGINX, PROBER_CORE, ROOT, TARGET_CORE, blackbox_modules, certificates
from monitor.core.run import Run
from monitor.storage.sqlite import open_reader

SCRAPE_S = 5
SERVICES = 50
MAX_CHECKS = 9_500  # what a configuration of 1 MiB holds
SETTLE_S = 15  # the first run of each check is taken in at a cost of its own, once


@contextmanager
def target(folder: Path) -> Iterator[tuple[int, int]]:
    """nginx, and its ports for HTTP and HTTPS."""
    http, https = free_port(), free_port()
    certificates(folder)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, http=http, https=https), encoding="utf-8")
    words = (harness.tool("nginx", "nginx-light"), "-p", str(folder), "-c", str(folder / "nginx.conf"))
    with harness.running(*words, core=TARGET_CORE, cwd=folder, ready=accepts(http)):
        yield http, https


def configuration(url: str, checks: int, interval_s: int, listen: int, ca_file: str | None) -> str:
    """Checks of one URL, evenly over the services."""
    tls = f', resolve: {{localhost: 127.0.0.1}}, tls: {{ca_file: "{ca_file}"}}' if ca_file else ""
    timeout_ms = min(2000, interval_s * 450)
    of, expect = min(SERVICES, checks), "{body: {contains: well}}"
    lines = [
        "store: sqlite:///ledger.db",
        "location: {id: bench-1}",
        f"web: {{listen: 127.0.0.1:{listen}}}",
        "contracts:",
        "  mitra: {terms: [{effective_from: 2020-01-01, guarantee: 95%, credits: [{below: 95%, credit: 10%}]}]}",
        "services:",
    ]
    for service in range(of):
        lines += [f"  s{service}:", f"    interval: {interval_s}s", f"    timeout: {timeout_ms}ms", "    checks:"]
        lines += [
            f'      c{n}: {{http: {{get: "{url}/{service}/{n}"{tls}}}, expect: {expect}}}' for n in range(checks // of)
        ]
    lines += ["partners:", "  acme: {name: Acme, contract: mitra, services: {s0: {fee: IDR 12500000}}}"]
    return "\n".join(lines) + "\n"


class Jaga:
    """The daemon under a bench."""

    def __init__(self, folder: Path, pid: int, listen: int) -> None:
        self.folder, self.pid, self._url = folder, pid, f"http://127.0.0.1:{listen}"
        self.scrapes_refused = 0

    def metrics(self) -> str:
        """As they are now; those of a moment later where the daemon was too busy to render them."""
        while True:
            try:
                with urllib.request.urlopen(f"{self._url}/metrics", timeout=30) as answer:  # noqa: S310 - our own server
                    text: str = answer.read().decode()
                    return text
            except urllib.error.HTTPError:
                self.scrapes_refused += 1
                time.sleep(1)

    def outcomes(self) -> Counter[str]:
        """What every recorded run says."""
        reasons = ((run.outcome.value, run.reason) for run in self.runs())
        return Counter(outcome if reason is None else f"{outcome}({reason})" for outcome, reason in reasons)

    def late_ms(self, *, after_us: int) -> list[float]:
        """How much later than its slot each run started, of those with slots after an instant."""
        return [(run.start_us - run.slot_us) / 1000 for run in self.runs() if run.slot_us and run.slot_us >= after_us]

    def runs(self) -> Iterator[Run]:
        """All runs on record."""
        reader = open_reader(self.folder / "ledger.db")
        try:
            arrival = 0
            while batch := reader.runs_after(arrival, 50_000):
                arrival = batch[-1][0]
                yield from (run for _arrival, run in batch)
        finally:
            reader.close()


@contextmanager
def jaga(folder: Path, url: str, checks: int, interval_s: int, ca_file: str | None = None) -> Iterator[Jaga]:
    """The daemon with so many checks, from when it is ready to its end."""
    folder.mkdir()
    listen = free_port()
    text = configuration(url, checks, interval_s, listen, ca_file)
    (folder / "jaga.yaml").write_text(text, encoding="utf-8")
    words = (str(Path(sys.executable).with_name("jaga")), "run", "--config", str(folder / "jaga.yaml"))

    def ready() -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{listen}/-/ready", timeout=5).close()
        except OSError:
            return False
        return True

    environment = {"PYTHONPATH": str(ROOT)}
    with harness.running(*words, core=PROBER_CORE, cwd=folder, ready=ready, environment=environment) as process:
        yield Jaga(folder, process.pid, listen)
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def prometheus(folder: Path, url: str, checks: int, interval_s: int, ca_file: str | None) -> Iterator[tuple[int, int]]:
    """Prometheus and blackbox_exporter with as many targets, and their pids."""
    folder.mkdir()
    exporter, listen = free_port(), free_port()
    modules = blackbox_modules(ca_file or "/dev/null")
    for module in (modules["http"], modules["https"]):
        module["http"] = module["http"] | {"fail_if_body_not_matches_regexp": ["well"]}
    (folder / "blackbox.yml").write_text(json.dumps({"modules": modules}), encoding="utf-8")
    job = {
        "job_name": "blackbox",
        "metrics_path": "/probe",
        "params": {"module": ["https" if ca_file else "http"]},
        "static_configs": [{"targets": [f"{url}/{n}" for n in range(checks)]}],
        "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__param_target"},
            {"source_labels": ["__param_target"], "target_label": "instance"},
            {"target_label": "__address__", "replacement": f"127.0.0.1:{exporter}"},
        ],
    }
    settings = {"global": {"scrape_interval": f"{interval_s}s", "scrape_timeout": "2s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(settings), encoding="utf-8")
    blackbox = (
        harness.tool("prometheus-blackbox-exporter", "prometheus-blackbox-exporter"),
        f"--config.file={folder}/blackbox.yml",
        f"--web.listen-address=127.0.0.1:{exporter}",
        "--log.level=error",
    )
    server = (
        harness.tool("prometheus", "prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{listen}",
        "--log.level=error",
    )
    with ExitStack() as undo:
        first = undo.enter_context(harness.running(*blackbox, core=PROBER_CORE, cwd=folder, ready=accepts(exporter)))
        second = undo.enter_context(harness.running(*server, core=PROBER_CORE, cwd=folder, ready=accepts(listen)))
        yield first.pid, second.pid


def _watched(seconds: float, found: Jaga) -> None:
    """Let it run for a while, its metrics fetched as a Prometheus would."""
    begun = time.monotonic()
    for scrape in range(1, round(seconds / SCRAPE_S) + 1):
        time.sleep(max(0.0, begun + scrape * SCRAPE_S - time.monotonic()))
        found.metrics()


def whole_path(folder: Path, ports: tuple[int, int], *, tls: bool, seconds: float, rounds: int) -> dict[str, Any]:
    """CPU a check, ours and theirs, in paired rounds: 1,000 HTTP or 500 HTTPS checks every 5 s, for whole intervals."""
    seconds = math.ceil(seconds / SCRAPE_S) * SCRAPE_S
    checks, interval_s = (500 if tls else 1000), 5
    ca_file = str(folder / "ca.pem") if tls else None
    done: list[dict[str, float]] = []
    memory: list[dict[str, float]] = []

    def ours(turn: int, *, scraped: bool = True) -> tuple[float, float]:
        url = f"https://localhost:{ports[1]}" if tls else f"http://127.0.0.1:{ports[0]}"
        with jaga(folder / f"jaga-{tls}-{turn}-{scraped}", url, checks, interval_s, ca_file) as found:
            time.sleep(SETTLE_S)
            if scraped:
                found.metrics()  # the first page is dearer, once
            before = harness.cpu_s(found.pid)
            if scraped:
                _watched(seconds, found)
            else:
                time.sleep(seconds)
            spent, resident = harness.cpu_s(found.pid) - before, harness.resident_mib(found.pid)
        said = found.outcomes()
        assert set(said) == {"pass"}, f"ours said {said}"
        return spent, resident

    def theirs(turn: int) -> tuple[float, float]:
        url = f"https://127.0.0.1:{ports[1]}" if tls else f"http://127.0.0.1:{ports[0]}"
        with prometheus(folder / f"prometheus-{tls}-{turn}", url, checks, interval_s, ca_file) as pids:
            time.sleep(SETTLE_S)
            before = harness.cpu_s(*pids)
            time.sleep(seconds)
            return harness.cpu_s(*pids) - before, sum(harness.resident_mib(pid) for pid in pids)

    contenders: dict[str, Callable[[int], tuple[float, float]]] = {
        "ours": ours,
        "ours_unscraped": lambda turn: ours(turn, scraped=False),
        "prometheus_and_blackbox": theirs,
    }
    for turn in range(rounds):
        one, resident = {}, {}
        for name in harness.rotated(list(contenders), turn):
            spent_s, mib = contenders[name](turn)
            say(f"  {name}: {spent_s * 1000 / (checks / interval_s * seconds):.3f} ms a check")
            one[name] = spent_s * 1000 / (checks / interval_s * seconds)
            resident[name] = mib
        done.append(one)
        memory.append(resident)
        say(
            f"{'https' if tls else 'http'} {turn + 1}/{rounds}: " + ", ".join(f"{k} {v:.3f} ms" for k, v in one.items())
        )
    ratio, goal = harness.median_ratio(done, "ours", "prometheus_and_blackbox"), 0.75 if tls else 0.25
    return {
        "checks": checks,
        "interval_s": interval_s,
        "cpu_ms_per_check": {name: harness.spread([one[name] for one in done]) for name in contenders},
        "resident_mib": {name: harness.spread([one[name] for one in memory], 1) for name in contenders},
        "ours_to_prometheus_and_blackbox": ratio,
        "unscraped_to_prometheus_and_blackbox": harness.median_ratio(done, "ours_unscraped", "prometheus_and_blackbox"),
        "goal": {"at_most": goal, "met": ratio <= goal},
    }


def lateness(folder: Path, http: int, *, checks: int, interval_s: int, seconds: float) -> dict[str, Any]:
    """How late runs start on one core, by the stamps on record: each run's start against its slot."""
    with jaga(folder / f"late-{checks}", f"http://127.0.0.1:{http}", checks, interval_s) as found:
        time.sleep(SETTLE_S)
        before, begun_us, waited_s = harness.cpu_s(found.pid), time.time_ns() // 1000, harness.waited_s(found.pid)
        time.sleep(seconds)
        spent_s, waited_s = harness.cpu_s(found.pid) - before, harness.waited_s(found.pid) - waited_s
        resident = harness.resident_mib(found.pid)
    said = found.outcomes()
    assert not [outcome for outcome in said if outcome.startswith("fail")], f"false verdicts: {said}"
    late_ms = sorted(found.late_ms(after_us=begun_us))
    return {
        "checks": checks,
        "interval_s": interval_s,
        "core_percent": round(100 * spent_s / seconds, 1),
        "waited_percent": round(100 * waited_s / seconds, 1),
        "lateness_ms": {share: harness.quantile(late_ms, float(share)) for share in ("0.5", "0.99", "0.999")},
        "early": sum(late < 0 for late in late_ms),
        "runs": len(late_ms),
        "resident_mib": round(resident, 1),
        "outcomes": dict(said),
    }


def overload(folder: Path, http: int, *, capacity_per_s: float, seconds: float) -> dict[str, Any]:
    """Three times what the core holds: late, said so, and never a failure."""
    interval_s = 1
    checks = min(MAX_CHECKS, round(3 * capacity_per_s * interval_s) // SERVICES * SERVICES)
    say(f"overload: {checks} checks a second")
    with jaga(folder / "overload", f"http://127.0.0.1:{http}", checks, interval_s) as found:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            time.sleep(1)
    said = found.outcomes()
    assert said["inconclusive(late)"], f"that was no overload: {said}"
    assert not [outcome for outcome in said if outcome.startswith("fail")], f"false verdicts: {said}"
    return {
        "checks": checks,
        "interval_s": interval_s,
        "times_capacity": round(checks / interval_s / capacity_per_s, 1),
        "outcomes": dict(said),
    }


def resident(folder: Path, http: int, *, checks: int, interval_s: int, seconds: float) -> dict[str, Any]:
    """What checks at work take, above a daemon that has nothing to do, against all of theirs."""
    url = f"http://127.0.0.1:{http}"
    with jaga(folder / "idle", url, SERVICES, 86_400) as found:
        time.sleep(3)
        idle = harness.resident_mib(found.pid)
    with jaga(folder / "busy", url, checks, interval_s) as found:
        time.sleep(seconds)
        ours = harness.resident_mib(found.pid)
    with prometheus(folder / "busy-prometheus", url, checks, interval_s, None) as pids:
        time.sleep(seconds)
        theirs = sum(harness.resident_mib(pid) for pid in pids)
    ratio = (ours - idle) / theirs
    return {
        "checks": checks,
        "interval_s": interval_s,
        "idle_mib": round(idle, 1),
        "ours_mib": round(ours, 1),
        "prometheus_and_blackbox_mib": round(theirs, 1),
        "above_idle_to_theirs": round(ratio, 3),
        "goal": {"at_most": 0.25, "met": ratio <= 0.25},
    }


def memory(folder: Path, http: int) -> dict[str, Any]:
    """What an idle check costs: a daemon with many checks that are not due yet, against one with few."""
    sizes = {}
    for checks in (50, 10_050):
        with jaga(folder / f"memory-{checks}", f"http://127.0.0.1:{http}", checks, 86_400) as found:
            time.sleep(3)
            sizes[checks] = harness.resident_mib(found.pid)
    each = (sizes[10_050] - sizes[50]) * 1024 / 10_000
    return {
        "resident_mib": {str(checks): round(mib, 1) for checks, mib in sizes.items()},
        "kib_per_check": round(each, 2),
        "goal": {"at_most": 4, "met": each <= 4},
    }


SCENARIOS = ("http", "https", "lateness", "overload", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=SCENARIOS, default=list(SCENARIOS))
    asked = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, target(Path(name)) as ports:
        folder = Path(name)
        for tls in (False, True):
            if ("https" if tls else "http") in asked.only:
                key = "https" if tls else "http"
                figures[key] = whole_path(folder, ports, tls=tls, seconds=asked.seconds, rounds=asked.rounds)
        if "lateness" in asked.only:
            ten = lateness(folder, ports[0], checks=5000, interval_s=10, seconds=asked.seconds)
            say(f"lateness: {ten}")
            sixty = lateness(folder, ports[0], checks=10_000, interval_s=60, seconds=max(60, asked.seconds))
            figures["lateness"] = {"5000_every_10_s": ten, "10000_every_60_s": sixty}
            say(f"lateness: {sixty}")
        if "memory" in asked.only:
            figures["memory"] = memory(folder, ports[0])
            say(f"memory: {figures['memory']}")
            seconds = 2.0 * SETTLE_S
            figures["resident"] = resident(folder, ports[0], checks=5000, interval_s=10, seconds=seconds)
            say(f"resident: {figures['resident']}")
        if "overload" in asked.only:
            ten = figures.get("lateness", {}).get("5000_every_10_s") or lateness(
                folder, ports[0], checks=1000, interval_s=5, seconds=10
            )
            capacity_per_s = ten["checks"] / ten["interval_s"] * 100 / max(1, ten["core_percent"])
            figures["overload"] = overload(folder, ports[0], capacity_per_s=capacity_per_s, seconds=asked.seconds + 20)
    peers = {
        "prometheus": harness.version("prometheus", "--version"),
        "blackbox_exporter": harness.version("prometheus-blackbox-exporter", "--version"),
        "target": harness.version("nginx", "-v"),
    }
    harness.finish("daemon", figures, peers)


if __name__ == "__main__":
    try:
        main()
    except MissingError as error:
        sys.exit(f"bench: {error}")

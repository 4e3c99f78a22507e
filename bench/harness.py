"""What the benches share: servers that live as long as a bench, CPU of processes, paired rounds, the JSON at the end.

A figure is a ratio between contenders that ran in the same rounds, in an order that rotates, as the median of the
rounds' ratios: on a machine that others use too, absolute times say little.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import SystemRandom
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
WITHIN_S = 60.0
FIRST_PORT = 20_000


class MissingError(RuntimeError):
    """A peer or tool that this machine does not have; the message says what to install."""


def tool(name: str, package: str) -> str:
    """The path of a program."""
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"no {name}: install {package}")
    return found


def free_port() -> int:
    """A port that nobody has at the moment. It is none of those that the system gives to whoever connects: of those one
    is soon somebody's, on a machine on which probes connect by the thousand.
    """
    ours = range(FIRST_PORT, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0]))
    for port in SystemRandom().sample(ours, min(100, len(ours))):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    with socket.create_server(("127.0.0.1", 0)) as sock:
        left: int = sock.getsockname()[1]
        return left


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def cpu_s(*pids: int) -> float:
    """User and system time that processes have used so far, their ended threads included."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def waited_s(pid: int) -> float:
    """For how long a process's first thread could have run and had no core; 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    except OSError:
        return 0.0
    return int(fields[1]) / 1e9


def quantile(values: Sequence[float], share: float) -> float:
    """The quantile of ordered values; 0 where there are none."""
    return round(values[min(len(values) - 1, int(len(values) * share))], 3) if values else 0.0


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


@contextmanager
def running(
    *words: str,
    core: int | None,
    cwd: Path,
    ready: Callable[[], bool] | None = None,
    environment: Mapping[str, str] = {},
) -> Iterator[subprocess.Popen[bytes]]:
    """A server on one core of this machine, from when it is ready to the end of the block."""
    name = Path(words[0]).name
    log = cwd / f"{name}-{time.monotonic_ns()}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **environment}
        )
    pin(child.pid, core)
    try:
        ends = time.monotonic() + WITHIN_S
        while ready is not None and not ready():
            if child.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"{name} did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield child
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def pin(pid: int, core: int | None) -> None:
    """Keep a process on one core, where there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if core is not None and len(cores) > 1:
        os.sched_setaffinity(pid, {cores[core % len(cores)]})


def accepts(port: int) -> Callable[[], bool]:
    """Whether somebody listens on a port."""

    def answer() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            return False
        return True

    return answer


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """The same names, beginning with another one each turn."""
    cut = turn % len(names)
    return [*names[cut:], *names[:cut]]


def median_ratio(rounds: Sequence[Mapping[str, float]], ours: str, theirs: str) -> float:
    """The median over the rounds of ours / theirs."""
    return round(statistics.median(one[ours] / one[theirs] for one in rounds), 3)


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median, least and most."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def version(*words: str) -> str:
    """The first line that says a version."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    return next((line for line in (done.stdout + done.stderr).splitlines() if line.strip()), "unknown").strip()


def machine() -> dict[str, Any]:
    """Where a bench ran."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": model[0] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def finish(bench: str, figures: Mapping[str, Any], peers: Mapping[str, Any]) -> None:
    """The one JSON object on the last line."""
    print(json.dumps({"bench": bench, "figures": figures, "peers": peers, "machine": machine()}))

"""A monitor and its internet in two network namespaces with one wire between them, made and unmade by the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from monitor.core.run import Run
from monitor.storage.sqlite import open_reader
from tests.conformance.probes.namespace import enter

HERE = Path(__file__).parent
SERVE = HERE.parent / "app" / "serve.py"
WITHIN_S = 120
GATEWAY = "10.203.0.254"
ON_LINK = ("10.203.0.2", "10.203.0.11", "10.203.0.12", "10.203.0.13")
ON_LINK_6: tuple[str, ...] = (
    ("fd00:203::2", "fd00:203::11", "fd00:203::12", "fd00:203::13") if socket.has_dualstack_ipv6() else ()
)
TARGETS = ("10.204.0.2", *(f"10.204.0.1{n}" for n in range(1, 5)), *(f"10.204.0.2{n}" for n in range(1, 4)))
RESOLV_CONF = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"

CONFIGURATION = """
store: sqlite:///ledger.db
location:
  id: here-1
  controls: [{controls}]
web: {{listen: 127.0.0.1:9464}}
contracts:
  mitra: {{terms: [{{effective_from: 2020-01-01, guarantee: 95%, credits: [{{below: 95%, credit: 10%}}]}}]}}
services:
  direct: {{interval: 4s, timeout: 500ms, checks: {{{direct}}}}}
  named: {{interval: 4s, timeout: 500ms, checks: {{{named}}}}}
  dead: {{interval: 4s, timeout: 500ms, checks: {{c: {{http: {{get: "http://10.204.0.2:81/"}}}}}}}}
partners:
  acme: {{name: Acme, contract: mitra, services: {{direct: {{fee: IDR 1}}}}}}
"""


def configuration() -> str:
    """Four checks a service, of the target by its address and by its name; a third service that is really down."""

    def checks(url: str) -> str:
        return ", ".join(f'c{n}: {{http: {{get: "{url}"}}}}' for n in range(4))

    controls = [f"tcp://10.204.0.1{n}:443" for n in range(1, 5)] + [f"tcp://control-{n}.test:443" for n in range(1, 4)]
    return CONFIGURATION.format(
        controls=", ".join(controls), direct=checks("http://10.204.0.2/"), named=checks("http://target.test/")
    )


def shell(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Isolated:
    """The two namespaces, the daemon in one of them, and the ledger that it writes."""

    monitor: str
    internet: str
    folder: Path

    def wire(self, state: str) -> None:
        """Our own end of the wire, `up` or `down`; up, everything lies behind one gateway, as behind an uplink."""
        shell("ip", "-n", self.monitor, "link", "set", "wire", state)
        if state == "up":
            shell("ip", "-n", self.monitor, "route", "replace", "default", "via", GATEWAY, "dev", "wire")

    def far_wire(self, state: str) -> None:
        """The far end: we keep our address and route, and nobody is there."""
        shell("ip", "-n", self.internet, "link", "set", "wire", state)

    def rule(self, action: str, *rule: str) -> None:
        """A rule for what arrives on the other side: `-I` sets it, `-D` takes it away."""
        shell("ip", "netns", "exec", self.internet, "iptables", "-w", action, "INPUT", "-i", "wire", *rule)

    def resolver(self, mode: str) -> None:
        """How the resolver behaves from now on."""
        (self.folder / "mode.new").write_text(mode, encoding="ascii")
        (self.folder / "mode.new").replace(self.folder / "mode")

    def metrics(self) -> str:
        fetch = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=60).read().decode())"
        return shell("ip", "netns", "exec", self.monitor, sys.executable, "-c", fetch, "http://127.0.0.1:9464/metrics")

    def until_shown(self, line: str) -> None:
        """The metrics have the line: at once after a failure, else when the controls are asked on their schedule."""
        ends = time.monotonic() + WITHIN_S
        while line not in self.metrics():
            assert time.monotonic() < ends, f"no {line!r} within {WITHIN_S} s"
            time.sleep(0.2)

    def runs(self, after: int = 0) -> list[tuple[int, Run]]:
        """The runs on record after an arrival number, with their numbers."""
        reader = open_reader(self.folder / "ledger.db")
        try:
            return list(reader.runs_after(after, 1_000_000))
        finally:
            reader.close()

    def mark(self) -> int:
        """The newest arrival number."""
        return max((arrival for arrival, _run in self.runs()), default=0)

    def until(self, what: str, after: int, enough: Callable[[list[Run]], bool]) -> list[Run]:
        """The runs that arrived after `after`, once they are enough."""
        ends = time.monotonic() + WITHIN_S
        while True:
            found = [run for _arrival, run in self.runs(after)]
            if enough(found):
                return found
            assert time.monotonic() < ends, f"not within {WITHIN_S} s: {what}; {[(r.service, r.reason) for r in found]}"
            time.sleep(0.2)

    def until_well(self) -> None:
        """Every check of the live services passes again."""

        def well(found: list[Run]) -> bool:
            passed = {(run.service, run.check) for run in found if run.outcome == "pass"}
            return len(passed) == 8

        self.until("all pass", self.mark(), well)


def _may_isolate() -> str | None:
    """What is missing, None if nothing is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", "iptables") if shutil.which(tool) is None]
    if missing:
        return f"no {' and no '.join(missing)}: install iproute2 and iptables"
    name = f"jaga-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False, timeout=WITHIN_S)
    if tried.returncode:
        return f"this machine makes no network namespaces: {tried.stderr.strip()}"
    shell("ip", "netns", "delete", name)
    return None


@contextmanager
def _running(*words: str, ready: str, cwd: Path) -> Iterator[None]:
    """A program that runs while the tests do; it has said `ready` by then. Its words go to a file."""
    log = cwd / f"{words[-2].rpartition('/')[2]}-{len(list(cwd.iterdir()))}.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            words, stdout=out, stderr=out, cwd=cwd, env={**os.environ, "PYTHONPATH": str(HERE.parents[1])}
        )
    try:
        ends = time.monotonic() + WITHIN_S
        while ready not in log.read_text(errors="replace"):
            assert child.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < ends, f"{words} is not ready: {log.read_text(errors='replace')}"
            time.sleep(0.05)
        yield
    finally:
        child.kill()
        child.wait(WITHIN_S)


@dataclass(frozen=True)
class Link:
    """Two namespaces on one link, without any gateway: `near` is entered by the thread that tests, `far` serves."""

    near: str
    far: str

    def flush(self) -> None:
        """Forget who is where on the link."""
        shell("ip", "-n", self.near, "neigh", "flush", "dev", "wire")

    def number(self) -> None:
        """Give the IPv6 addresses out, those of `far` again after its link was down."""
        for namespace, addresses in ((self.near, ("fd00:203::1",)), (self.far, ON_LINK_6)):
            for address in addresses:
                shell("ip", "-n", namespace, "address", "replace", f"{address}/64", "dev", "wire", "nodad")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The thread that calls is in `near` meanwhile."""
        with Path("/proc/thread-self/ns/net").open("rb") as outside, Path("/run/netns", self.near).open("rb") as inside:
            enter(inside.fileno())
            try:
                yield
            finally:
                enter(outside.fileno())


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    problem = _may_isolate()
    if problem:
        pytest.skip(problem)
    found = Link(f"jaga-{os.getpid()}-near", f"jaga-{os.getpid()}-far")
    with ExitStack() as undo:
        for name in (found.near, found.far):
            shell("ip", "netns", "add", name)
            undo.callback(shell, "ip", "netns", "delete", name)
            shell("ip", "-n", name, "link", "set", "lo", "up")
        wire = ("wire", "netns", found.near, "type", "veth", "peer", "name", "wire", "netns", found.far)
        shell("ip", "link", "add", *wire)
        shell("ip", "-n", found.near, "address", "add", "10.203.0.1/16", "dev", "wire")
        for address in ON_LINK:
            shell("ip", "-n", found.far, "address", "add", f"{address}/16", "dev", "wire")
        for name in (found.far, found.near):
            shell("ip", "-n", name, "link", "set", "wire", "up")
        if ON_LINK_6:
            found.number()
        serving = (*ON_LINK, *ON_LINK_6)
        words = ("ip", "netns", "exec", found.far, sys.executable, str(HERE / "internet.py"), "targets", *serving)
        undo.enter_context(_running(*words, ready="serving", cwd=tmp_path_factory.mktemp("link")))
        yield found


@pytest.fixture(scope="module")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Isolated]:
    problem = _may_isolate()
    if problem:
        pytest.skip(problem)
    folder = tmp_path_factory.mktemp("isolated")
    found = Isolated(f"jaga-{os.getpid()}-monitor", f"jaga-{os.getpid()}-internet", folder)
    with ExitStack() as undo:
        for name in (found.monitor, found.internet):
            shell("ip", "netns", "add", name)
            undo.callback(shell, "ip", "netns", "delete", name)
            shell("ip", "-n", name, "link", "set", "lo", "up")
        wire = ("wire", "netns", found.monitor, "type", "veth", "peer", "name", "wire", "netns", found.internet)
        shell("ip", "link", "add", *wire)
        shell("ip", "-n", found.monitor, "address", "add", "10.203.0.1/16", "dev", "wire")
        shell("ip", "-n", found.internet, "address", "add", f"{GATEWAY}/16", "dev", "wire")
        for address in TARGETS:
            shell("ip", "-n", found.internet, "address", "add", f"{address}/32", "dev", "lo")
        found.far_wire("up")
        found.wire("up")
        # `ip netns exec` shows this file as /etc/resolv.conf in a mount namespace of its own.
        own_etc = Path("/etc/netns") / found.monitor
        own_etc.mkdir(parents=True)
        undo.callback(shutil.rmtree, own_etc)
        (own_etc / "resolv.conf").write_text(RESOLV_CONF, encoding="ascii")
        found.resolver("honest")
        (folder / "jaga.yaml").write_text(configuration(), encoding="utf-8")
        internet, monitor = (("ip", "netns", "exec", name, sys.executable) for name in (found.internet, found.monitor))
        program = str(HERE / "internet.py")
        undo.enter_context(_running(*internet, program, "targets", *TARGETS, ready="serving", cwd=folder))
        undo.enter_context(_running(*monitor, program, "resolver", str(folder / "mode"), ready="serving", cwd=folder))
        undo.enter_context(_running(*monitor, str(SERVE), str(folder / "jaga.yaml"), ready='"ready"', cwd=folder))
        found.until_well()
        yield found

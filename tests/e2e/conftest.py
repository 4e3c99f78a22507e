"""Programs that run beside a test, and the daemon among them with what an operator uses of it."""

from __future__ import annotations

import http.server
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib import request

import pytest

from bench.harness import free_port
from monitor.demo.settings import configuration

JAGA = Path(sys.executable).with_name("jaga")
PATIENCE_S = 60.0
START_TRIES = 3


def environment(**changes: str) -> dict[str, str]:
    """The test's own, without what would make every start compile again."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | changes


def fetch(url: str, body: dict[str, Any] | None = None) -> str:
    """GET, or POST of a JSON body."""
    data = None if body is None else json.dumps(body).encode()
    asked = request.Request(url, data=data, headers={"content-type": "application/json"})  # noqa: S310 - our own servers
    with request.urlopen(asked, timeout=PATIENCE_S) as answer:  # noqa: S310 - as above
        text: str = answer.read().decode()
        return text


def eventually(what: str, probe: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait until it is so."""
    until = time.monotonic() + within_s
    while not probe():
        assert time.monotonic() < until, f"not within {within_s} s: {what}"
        time.sleep(0.1)


def pages_of(log: Path) -> str:
    """Where the daemon that writes this log as JSON serves its pages, once it is ready."""
    eventually("it is ready", lambda: '"event":"ready"' in log.read_text())
    ready = next(line for line in log.read_text().splitlines() if '"event":"ready"' in line)
    pages: str = json.loads(ready)["pages"]
    return pages


def admin_token(folder: Path, env: dict[str, str]) -> str:
    """A token that may do everything, of the ledger that is configured in a folder."""
    command = [str(JAGA), "token", "create", "root", "--scope", "admin"]
    made = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return made.stdout.strip()


@dataclass
class Process:
    """A program that runs beside the test; its lines are read as they come."""

    child: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _queue: queue.Queue[str | None] = field(default_factory=queue.Queue)

    @staticmethod
    def start(arguments: list[str], cwd: Path, *, read: str) -> Process:
        child = subprocess.Popen(
            arguments,
            cwd=cwd,
            env=environment(),
            text=True,
            stdout=subprocess.PIPE if read == "stdout" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if read == "stderr" else None,
        )
        process = Process(child)
        threading.Thread(target=process._read, args=(read,), daemon=True).start()
        return process

    def _read(self, which: str) -> None:
        stream = getattr(self.child, which)
        with stream:
            for line in stream:
                self._queue.put(line)
        self._queue.put(None)

    def line(self, matching: Callable[[str], bool]) -> str:
        """The next line that matches."""
        until = time.monotonic() + PATIENCE_S
        while True:
            line = self._queue.get(timeout=max(0.01, until - time.monotonic()))
            assert line is not None, f"it ended: {''.join(self.lines)}"
            self.lines.append(line)
            if matching(line):
                return line

    def rest(self) -> list[str]:
        """Every line until its end, those that were read included; it must have ended."""
        while (line := self._queue.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(line)
        return self.lines

    def stop(self, number: int) -> int:
        """Send the signal and wait for the exit code."""
        self.child.send_signal(number)
        return self.child.wait(PATIENCE_S)

    def end(self) -> None:
        """Whatever happened, it does not outlive the test."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait(PATIENCE_S)


@dataclass
class Sample:
    """The sample SaaS in a process of its own."""

    url: str

    def set_mode(self, mode: str) -> None:
        fetch(f"{self.url}/control", {"mode": mode})


@pytest.fixture
def sample(tmp_path: Path) -> Iterator[Sample]:
    process = Process.start([sys.executable, "-m", "monitor.demo.saas"], Path.cwd(), read="stdout")
    try:
        yield Sample(json.loads(process.line(lambda line: line.startswith("{")))["url"])
    finally:
        process.end()


@dataclass
class Hook:
    """A receiver of webhooks: it answers with `status`, and what it took stands in `came` as (path, body)."""

    url: str
    status: int = 200
    came: queue.Queue[tuple[str, Any]] = field(default_factory=queue.Queue)

    def next(self, wanted: Callable[[str, Any], bool], within_s: float = PATIENCE_S) -> Any:  # noqa: ANN401 - JSON
        """The next body that is wanted; what came before it is left behind."""
        until = time.monotonic() + within_s
        while True:
            path, body = self.came.get(timeout=max(0.01, until - time.monotonic()))
            if wanted(path, body):
                return body


@contextmanager
def _listening() -> Iterator[Hook]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if made.status == HTTPStatus.OK:
                made.came.put((self.path, body))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Hook(f"http://127.0.0.1:{server.server_address[1]}")
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield made
        server.shutdown()
        serving.join(PATIENCE_S)


@pytest.fixture
def make_hook() -> Iterator[Callable[[], Hook]]:
    """Makes receivers, each on a port of its own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(_listening())


@pytest.fixture
def hook(make_hook: Callable[[], Hook]) -> Hook:
    return make_hook()


class Cli:
    """`jaga` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [JAGA, *arguments],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def status(self) -> dict[str, Any]:
        (service,) = json.loads(self("status", "--json"))["services"]
        return dict(service)


def shown(pages: str) -> dict[str, Any]:
    """The service as the pages show it."""
    (service,) = json.loads(fetch(f"{pages}/api/v1/status"))["services"]
    return dict(service)


def slowed(text: str, *, by: int) -> str:
    """The demo's configuration with its interval and time-out so many times as long. Its own are short: a machine that
    stands still for half a second makes a slot late, and one that does so twice a failure.
    """
    timing = "interval: 1s\n    timeout: 400ms\n"
    assert text.count(timing) == 1
    return text.replace(timing, f"interval: {by}s\n    timeout: {400 * by}ms\n")


@pytest.fixture
def cli(tmp_path: Path, sample: Sample) -> Cli:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "jaga.yaml").write_text(slowed(configuration(sample.url), by=3))
    return Cli(tmp_path)


@pytest.fixture
def daemon(cli: Cli) -> Iterator[tuple[Process, str]]:
    """A running daemon and where its pages are."""
    process = Process.start([str(JAGA), "run", "--log-format", "json"], cli.folder, read="stderr")
    try:
        ready = json.loads(process.line(lambda line: '"event":"ready"' in line))
        yield process, ready["pages"]
    finally:
        process.end()


def started(name: str, arguments: list[str], folder: Path, path: str) -> tuple[Process, str]:
    """A server that says where it listens by `--web.listen-address` only, and its address once it answers."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"not installed: {name}")
    said: list[str] = []
    for _ in range(START_TRIES):
        address = f"127.0.0.1:{free_port()}"
        process = Process.start([program, f"--web.listen-address={address}", *arguments], folder, read="stderr")

        def answers(process: Process = process, address: str = address) -> bool:
            return process.child.poll() is not None or _answers(f"http://{address}{path}")

        eventually(f"{name} answers", answers)
        if process.child.poll() is None:
            return process, f"http://{address}"
        said = process.lines
    pytest.fail(f"{name} does not start: {''.join(said)}")


def _answers(url: str) -> bool:
    try:
        fetch(url)
    except OSError:
        return False
    return True


@pytest.fixture
def watched(cli: Cli) -> str:
    """Where the daemon will listen: the same address over its restarts."""
    address = f"127.0.0.1:{free_port()}"
    written = cli.folder / "config" / "jaga.yaml"
    written.write_text(written.read_text().replace("127.0.0.1:0", address))
    return address


def daemon_in(cli: Cli) -> Process:
    process = Process.start([str(JAGA), "run", "--log-format", "json"], cli.folder, read="stderr")
    process.line(lambda line: '"event":"ready"' in line)
    return process


def is_scraped(prometheus: str, value: str) -> bool:
    found = json.loads(fetch(f"{prometheus}/api/v1/query?query=up%7Bjob%3D%22sla%22%7D"))["data"]["result"]
    return [sample["value"][1] for sample in found] == [value]

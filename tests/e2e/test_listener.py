"""The listener of a real daemon: tokens and decisions as an operator has them, and attackers who reach no probe."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from monitor.core.run import Outcome, Run, StepRecord
from monitor.demo.settings import configuration
from monitor.telemetry.blackbox import probe_metrics
from tests.e2e.conftest import JAGA, PATIENCE_S, Cli, Process, Sample, eventually, fetch, shown, slowed, started
from tests.web.fuzzing import CONFORMANCE, Caller, fuzz

ATTACKER = "127.0.0.2"
SOCKETS = 500
DESCRIPTORS = 256
ROUNDS, ANSWERS, RUNS = 8, 20, 12
"""An attack goes on until so many bytes were sent over each of its sockets, so many others were served, and so many
runs were made meanwhile.
"""

FUZZED = 8
"""Requests of each operation and kind."""


def ask(pages: str, method: str, path: str, token: str | None = None, body: Any = None) -> tuple[int, Any]:  # noqa: ANN401
    """Status and document of one request."""
    where = urlsplit(pages)
    assert where.hostname is not None
    connection = HTTPConnection(where.hostname, where.port, timeout=PATIENCE_S)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        raw = answer.read().decode()
        return answer.status, json.loads(raw) if "json" in (answer.getheader("Content-Type") or "") else raw
    finally:
        connection.close()


@pytest.mark.slow
def test_a_running_daemon_answers_as_it_describes_itself_and_stays_whole(cli: Cli, daemon: tuple[Process, str]) -> None:
    """What schemathesis makes of the description, asked of the program over its socket with its limits in force."""
    process, pages = daemon
    token = cli("token", "create", "fuzz", "--scope", "admin").strip()
    eventually("it has evidence", lambda: len(shown(pages)["passing"]) == 4)
    described = json.loads(fetch(f"{pages}/api/v1/openapi.json"))
    broken = fuzz(described, Caller(pages, token, peers=40), examples=FUZZED, checks=CONFORMANCE)
    assert broken == []
    assert ask(pages, "GET", "/-/ready")[0] == 200
    eventually("it watches on", lambda: len(shown(pages)["passing"]) == 4)
    assert process.stop(signal.SIGTERM) == 0
    said = [json.loads(line) for line in process.rest()]
    assert [one for one in said if one["event"] in {"page failed", "page timed out"}] == []
    assert [one["event"] for one in said if one["level"] == "critical"] == []
    cli("ledger", "verify")


def test_tokens_open_the_api_of_a_running_daemon(cli: Cli, daemon: tuple[Process, str]) -> None:
    process, pages = daemon
    operator = cli("token", "create", "ops-desk", "--scope", "maintenance", "--scope", "read").strip()
    partner = cli("token", "create", "acme-portal", "--scope", "statements", "--partner", "acme").strip()
    admin = cli("token", "create", "root", "--scope", "admin").strip()
    window = {
        "services": ["cloud"],
        "start": "2099-01-01T00:00:00+07:00",
        "end": "2099-01-01T01:00:00+07:00",
        "summary": "upgrade",
    }
    assert ask(pages, "POST", "/api/v1/maintenance", None, window)[0] == 401
    assert ask(pages, "POST", "/api/v1/maintenance", partner, window)[0] == 403
    status, done = ask(pages, "POST", "/api/v1/maintenance", operator, window)
    assert status == 201
    assert done["recorded"][0]["by"] == "ops-desk"
    assert json.loads(cli("maintenance", "list", "--json"))[0]["id"] == done["recorded"][0]["id"]

    month = cli.status()["months"][0]["month"]
    status, statements = ask(pages, "GET", f"/api/v1/statements?month={month}", partner)
    assert status == 200
    (statement,) = statements
    assert statement["partner"]["id"] == "acme"
    assert "credit" in statement

    eventually("a run is told", lambda: ask(pages, "GET", "/probe?target=cloud/health", operator)[0] == 200)
    _status, probe = ask(pages, "GET", "/probe?target=cloud/health", operator)
    assert "probe_success 1.0" in probe
    assert "probe_http_status_code 200.0" in probe
    before = fetch(f"{pages}/metrics").count("\n")
    assert before > 0
    status, service = ask(pages, "GET", "/api/v1/services/cloud", operator)
    assert {run["check"] for run in service["runs"]} >= {"health"}

    assert ask(pages, "POST", "/-/reload", operator)[0] == 403
    assert ask(pages, "POST", "/-/reload", admin) == (200, {"reloaded": True, "kept_while_not_up": []})
    config = cli.folder / "config" / "jaga.yaml"
    good = config.read_text()
    config.write_text(good.replace("contracts:", "contract:"))
    status, told = ask(pages, "POST", "/-/reload", admin)
    assert status == 409
    assert "the old configuration holds" in told["detail"]
    config.write_text(good)

    cli("token", "revoke", "ops-desk")
    assert ask(pages, "GET", "/api/v1/outages", operator)[0] == 401
    everything = "".join(path.read_bytes().decode("latin-1") for path in cli.folder.rglob("*") if path.is_file())
    for secret in (operator, partner, admin):
        assert secret not in everything
        assert secret not in "".join(process.lines)


def metric(pages: str, name: str) -> float:
    """The sum of a family's samples."""
    lines = [line for line in fetch(f"{pages}/metrics").splitlines() if line.startswith((name + "{", name + " "))]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@contextlib.contextmanager
def narrow_daemon(cli: Cli) -> Iterator[tuple[Process, str]]:
    """A daemon that may have few descriptors."""
    prlimit = shutil.which("prlimit")
    assert prlimit is not None, "util-linux is part of every Linux"
    arguments = [prlimit, f"--nofile={DESCRIPTORS}:{DESCRIPTORS}", str(JAGA), "run", "--log-format", "json"]
    process = Process.start(arguments, cli.folder, read="stderr")
    try:
        yield process, json.loads(process.line(lambda line: '"event":"ready"' in line))["pages"]
    finally:
        process.end()


@dataclass
class Attack:
    """What the attackers have done so far, and whether they go on."""

    port: int
    over: threading.Event = field(default_factory=threading.Event)
    made: int = 0
    rounds: int = 0
    statuses: set[int] = field(default_factory=set)


def slowly(attack: Attack) -> None:
    """SOCKETS connections from one address that send a byte a second each, made anew when they are closed."""
    held: list[socket.socket] = []
    request = b"POST /api/v1/maintenance HTTP/1.1\r\nHost: x\r\nX-Padding: " + b"a" * 4000
    while not attack.over.is_set():
        while len(held) < SOCKETS:
            one = socket.socket()
            one.bind((ATTACKER, 0))
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(("127.0.0.1", attack.port))
            held.append(one)
            attack.made += 1
        still = []
        for one in held:
            try:
                one.send(request[attack.rounds % len(request) :][:1])
                still.append(one)
            except BlockingIOError:
                still.append(one)
            except OSError:
                one.close()
        held = still
        attack.rounds += 1
        attack.over.wait(1)
    for one in held:
        one.close()


@pytest.fixture
def calm(cli: Cli, sample: Sample) -> Cli:
    """What the attack takes of the processor from the sample and from the daemon must make no check fail."""
    (cli.folder / "config" / "jaga.yaml").write_text(slowed(configuration(sample.url), by=6))
    return cli


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_slow_connections_and_floods_reach_no_probe(calm: Cli) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with narrow_daemon(calm) as (process, pages):
        eventually("all four pass", lambda: len(shown(pages)["passing"]) == 4)
        port = urlsplit(pages).port
        assert port is not None
        before = metric(pages, "sla_check_attempts_total")
        attack = Attack(port)
        attackers = [threading.Thread(target=how, args=(attack,)) for how in (slowly, flood)]
        for one in attackers:
            one.start()
        answered = 0

        def enough() -> bool:
            nonlocal answered
            # Who is not the attacker is served all the while.
            assert fetch(f"{pages}/-/healthy") == "healthy\n"
            assert shown(pages)["verdict"] == "up"
            answered += 1
            runs = metric(pages, "sla_check_attempts_total") - before
            return min(attack.rounds - ROUNDS, answered - ANSWERS, runs - RUNS) >= 0 and 429 in attack.statuses

        try:
            eventually("an attack during which others were served and checks went on", enough, 4 * PATIENCE_S)
        finally:
            attack.over.set()
            for one in attackers:
                one.join()
        assert attack.made > SOCKETS, "some were closed"
        assert metric(pages, "sla_check_failures_total") == 0
        assert metric(pages, "sla_check_inconclusive_total") == 0
        assert process.child.poll() is None


def flood(attack: Attack) -> None:
    """Whole requests, wrong tokens and a body of 100 MB, as fast as one connection after the other gives."""
    while not attack.over.is_set():
        connection = HTTPConnection("127.0.0.1", attack.port, timeout=5, source_address=("127.0.0.3", 0))
        with contextlib.suppress(OSError):
            for n in range(50):
                connection.request("GET", "/api/v1/outages", headers={"Authorization": f"Bearer jaga_{n}"})
                answer = connection.getresponse()
                attack.statuses.add(answer.status)
                answer.read()
        connection.close()
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", attack.port), 5, ("127.0.0.3", 0)) as one,
        ):
            one.sendall(b"POST /api/v1/claims HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
            for _ in range(100):
                one.sendall(b"a" * 1_000_000)


# /probe beside the original.

TOLD = StepRecord(
    name="get",
    duration_us=200_000,
    phases_us=tuple((phase, 1000) for phase in ("resolve", "connect", "tls", "processing", "transfer")),
    http_status=200,
    cert_not_after_s=1_800_000_000,
)
RUN = Run(service="s", check="c", location="l", start_us=1, outcome=Outcome.PASS, duration_us=1, steps=(TOLD,))


class _Quiet(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def secured() -> Iterator[str]:
    """A server that speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Quiet)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def described(exposition: str) -> dict[str, tuple[str, str, frozenset[str]]]:
    """Each family's help, type, and the series by their labels."""
    helps = dict(line[7:].split(" ", 1) for line in exposition.splitlines() if line.startswith("# HELP "))
    types = dict(line[7:].split(" ", 1) for line in exposition.splitlines() if line.startswith("# TYPE "))
    series = [line.rpartition(" ")[0] for line in exposition.splitlines() if line and not line.startswith("#")]
    return {
        name: (helps[name], types[name], frozenset(one for one in series if one.partition("{")[0] == name))
        for name in types
    }


def test_the_probe_has_the_names_of_the_real_blackbox_exporter(tmp_path: Path, secured: str) -> None:
    config = tmp_path / "blackbox.yml"
    config.write_text("modules: {tls: {prober: http, http: {tls_config: {insecure_skip_verify: true}}}}\n")
    process, address = started("prometheus-blackbox-exporter", [f"--config.file={config}"], tmp_path, "/-/healthy")
    try:
        original = described(fetch(f"{address}/probe?module=tls&target={secured}"))
    finally:
        process.end()
    ours = described(probe_metrics(RUN).decode())
    assert len(ours) >= 7
    assert ours == {name: original[name] for name in ours}

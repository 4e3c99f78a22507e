"""Pictures of the five dashboards from real data: the daemon, two sample services and Prometheus run, something breaks,
and every panel is drawn from what Prometheus answers.

    python -m docs.tools.pictures [--seconds 150] docs/pictures

Needs `prometheus` on the path (Debian: prometheus) and the development's packages. Nothing is made up but the story:
the months before are imported history, as `jaga ledger import` takes it.
"""

from __future__ import annotations

import argparse
import http.server
import json
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO
from urllib import request

import trustme

from bench.harness import WITHIN_S, MissingError, free_port, say, tool
from docs.tools.drawing import draw
from docs.tools.frames import Source
from docs.tools.values import WIB
from monitor.config import shipped
from monitor.demo.saas import PASSWORD, USER

JAGA = Path(sys.executable).with_name("jaga")
DOWN_HOURS = (0.0, 2.5, 41.0, 0.4, 0.0, 77.5, 6.0, 0.0, 38.0, 1.2, 0.0, 12.0, 37.5)
"""How long the portal was down in each of the thirteen months before this one, the oldest first."""

CONFIG = """\
store: sqlite:///ledger.db
location: {{id: jkt-1}}
web: {{listen: "{listen}"}}
incidents: {{failures_after: 15s}}
contracts:
  mitra:
    terms:
      - effective_from: 2020-01-01
        timezone: Asia/Jakarta
        guarantee: 95%
        objective: 99.9%
        credits: [{{below: 95%, credit: 10%}}, {{below: 90%, credit: 25%}}, {{below: 85%, credit: 50%}}]
        maintenance_notice: 48h
        claim_within: 30d
        credit_base: service
        grace: 1s
services:
  portal:
    name: Portal and API
    interval: 1s
    timeout: 400ms
    checks:
      log-in:
        http: {{post: "{portal}/login", json: {{user: {user}, password: {password}}}}}
        expect: {{status: 200}}
      order:
        steps:
          - name: log in
            http: {{post: "{portal}/login", json: {{user: {user}, password: {password}}}}}
            expect: {{status: 200}}
            extract: {{token: "$.token"}}
          - name: order
            http: {{post: "{portal}/orders", headers: {{authorization: "Bearer {{{{ token }}}}"}}, json: {{sku: test}}}}
            expect: {{status: 201}}
            extract: {{order: "$.id"}}
        finally:
          - name: clean up
            http: {{delete: "{portal}/orders/{{{{ order }}}}", headers: {{authorization: "Bearer {{{{ token }}}}"}}}}
            expect: {{status: [204, 404]}}
      list-servers:
        steps:
          - name: log in
            http: {{post: "{portal}/login", json: {{user: {user}, password: {password}}}}}
            expect: {{status: 200}}
            extract: {{token: "$.token"}}
          - name: list
            http: {{get: "{portal}/servers", headers: {{authorization: "Bearer {{{{ token }}}}"}}}}
            expect: {{status: 200, json: {{"$.servers[0].state": running}}}}
      health: {{http: {{get: "{portal}/health"}}, expect: {{status: 200, json: {{"$.status": ok}}}}}}
      certificate: {{sla: false, interval: 5s, tls: {{connect: "{certificate}", tls: {{ca_file: "{ca_file}"}}}}}}
  billing:
    name: Billing
    interval: 1s
    timeout: 400ms
    checks:
      health: {{http: {{get: "{billing}/health"}}, expect: {{status: 200, json: {{"$.status": ok}}}}}}
      log-in:
        http: {{post: "{billing}/login", json: {{user: {user}, password: {password}}}}}
        expect: {{status: 200}}
channels:
  pager: {{webhook: {{url: "{hook}"}}, group: 1s}}
  chat: {{webhook: {{url: "http://127.0.0.1:1/"}}, group: 1s}}
messages: {{recover_after: 2s}}
partners:
  acme:
    name: Yayasan Acme
    contract: mitra
    services: {{portal: {{fee: IDR 12500000}}, billing: {{fee: IDR 4000000}}}}
  nusa: {{name: PT Nusa, contract: mitra, services: {{portal: {{fee: IDR 9000000}}}}}}
"""

TOLD = {
    "name": "Rina",
    "email": "rina@acme.example",
    "phone": "+62215550100",
    "expected": "an order number",
    "actual": "error 500",
    "steps": "log in, order",
    "evidence": "none, because it has no screen",
    "errors": "HTTP 500",
    "environment": "API v2",
    "occurred": "this morning",
    "frequency": "always",
    "impact": "no orders at all",
}
"""What a report must say (CONTRACT 3.2)."""


def main() -> None:
    """Tell the story and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--seconds", type=float, default=150.0, help="how long the story takes")
    asked = parser.parse_args()
    try:
        drawn = pictures(asked.folder, asked.seconds)
    except MissingError as error:
        sys.exit(str(error))
    print(json.dumps(drawn))


def pictures(into: Path, seconds: float) -> dict[str, list[str]]:
    """One SVG for each dashboard; which of their panels had nothing to show."""
    into.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        world = _World.start(stack, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        start_s = time.time()
        _story(world, seconds)
        source = Source(
            url=world.prometheus,
            start_s=start_s,
            end_s=time.time(),
            step_s=max(seconds / 200, 0.5),
            rate_interval="10s",
        )
        empty = {}
        for file in sorted((shipped("grafana") / "dashboards").glob("*.json")):
            picture = draw(json.loads(file.read_text(encoding="utf-8")), source)
            (into / f"{file.stem}.svg").write_text(picture.svg, encoding="utf-8")
            empty[file.stem] = list(picture.empty)
        return empty


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """Everything that runs: the sample services by name, Prometheus, and the verbs."""

    folder: Path
    services: Mapping[str, str]
    prometheus: str

    @staticmethod
    def start(stack: ExitStack, folder: Path) -> _World:
        (folder / "config").mkdir()
        services = {name: stack.enter_context(_sample(folder)) for name in ("portal", "billing")}
        listen = f"127.0.0.1:{free_port()}"
        config = CONFIG.format(
            listen=listen,
            ca_file=folder / "config" / "ca.pem",
            user=USER,
            password=PASSWORD,
            certificate=stack.enter_context(_served(folder / "config" / "ca.pem")),
            hook=f"http://{stack.enter_context(_served(None))}/",
            **services,
        )
        (folder / "config" / "jaga.yaml").write_text(config, encoding="utf-8")
        world = _World(
            folder=folder,
            services=services,
            prometheus=stack.enter_context(_prometheus(folder / "prometheus", listen)),
        )
        _import(world)
        stack.enter_context(_program([str(JAGA), "run", "--log-format", "json"], folder, "daemon.log"))
        _eventually("the daemon is ready", lambda: _answers(f"http://{listen}/-/ready"))
        _eventually("the daemon is scraped", lambda: _asked(world.prometheus, "sla_ready == 1"))
        return world

    def jaga(self, *arguments: str) -> str:
        done = subprocess.run(
            [JAGA, *arguments], cwd=self.folder, capture_output=True, text=True, check=False, timeout=WITHIN_S
        )
        if done.returncode:
            raise RuntimeError(f"jaga {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def set_mode(self, service: str, mode: str) -> None:
        say(f"{service}: {mode}")
        asked = request.Request(  # noqa: S310 - the sample
            f"{self.services[service]}/control",
            data=json.dumps({"mode": mode}).encode(),
            headers={"content-type": "application/json"},
        )
        request.urlopen(asked, timeout=WITHIN_S).close()  # noqa: S310 - as above


def _story(world: _World, seconds: float) -> None:
    """Well, half, down, well, down in a window that qualifies, slow: in so many seconds."""
    begun_s = time.monotonic()
    now = datetime.now(WIB)
    window = [now + timedelta(seconds=seconds * share) for share in (0.62, 0.78)]
    told = ["--notified", "acme", "--notified", "nusa", "--at", (now - timedelta(days=3)).isoformat()]
    told += ["--evidence", "letter of three days ago"]
    spoken = ["--start", window[0].isoformat(), "--end", window[1].isoformat(), "--summary", "database upgrade"]
    world.jaga("maintenance", "announce", "portal", *spoken, *told)
    world.jaga("incident", "open", "billing", "--priority", "P2", "--summary", "invoices come late", *_report(now, 50))

    def until(share: float) -> None:
        time.sleep(max(0.0, begun_s + seconds * share - time.monotonic()))

    until(0.15)
    world.set_mode("portal", "half")
    until(0.28)
    world.set_mode("portal", "most")
    until(0.36)
    world.jaga("incident", "open", "portal", "--priority", "P1", "--summary", "orders fail", *_report(now, 330))
    opened = json.loads(world.jaga("incident", "list", "--json"))
    for one in opened[:2]:
        world.jaga("incident", "ack", one["id"])
        world.jaga("incident", "assign", one["id"], "--to", "dewi")
    until(0.44)
    world.jaga("incident", "workaround", opened[1]["id"], "--note", "orders by the old server")
    until(0.46)
    world.set_mode("portal", "healthy")
    until(0.66)
    world.set_mode("portal", "all")
    until(0.74)
    world.set_mode("portal", "healthy")
    until(0.84)
    world.set_mode("billing", "slow")
    until(1.0)


def _report(now: datetime, minutes: int) -> Sequence[str]:
    """A complete report of acme, made some minutes ago."""
    said = [text for name, value in TOLD.items() for text in (f"--{name}", value)]
    return ["--partner", "acme", "--at", (now - timedelta(minutes=minutes)).isoformat(), *said]


def _import(world: _World) -> None:
    """The months before this one and this one so far, as another tool saw them."""
    now = datetime.now(WIB).replace(microsecond=0) - timedelta(seconds=5)
    first = now.replace(day=1, hour=0, minute=0, second=0)
    months = [first]
    for _ in DOWN_HOURS:
        months.insert(0, (months[0] - timedelta(days=1)).replace(day=1))
    lines: list[dict[str, Any]] = [{"type": "header", "format": "jaga-ledger/1"}]
    for service in world.services:
        listed = {
            "interval_s": 60,
            "timeout_s": 10,
            "stale_after_s": 190,
            "checks": [{"id": "all", "network": "public"}],
        }
        lines.append({"type": "checks", "service": service, "at": months[0].isoformat(), **listed})
        for nth, start in enumerate(months):
            end = months[nth + 1] if nth + 1 < len(months) else now
            hours = (*DOWN_HOURS, 9.0)[nth] if service == "portal" else 0.0
            broken = min(start + timedelta(days=9, hours=3), end - timedelta(hours=hours))
            mended = broken + timedelta(hours=hours)
            cuts = ((start, broken, "pass"), (broken, mended, "fail"), (mended, end, "pass"))
            lines += [_span(service, *cut) for cut in cuts if cut[0] < cut[1]]
    file = world.folder / "history.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    world.jaga("ledger", "import", file.name)


def _span(service: str, start: datetime, end: datetime, outcome: str) -> dict[str, Any]:
    seen = {"type": "spans", "service": service, "check": "all", "location": "other", "outcome": outcome}
    return seen | {"from": start.isoformat(), "to": end.isoformat()}


# What runs beside it.


@contextmanager
def _program(command: list[str], folder: Path, log: str) -> Iterator[subprocess.Popen[str]]:
    with (folder / log).open("w", encoding="utf-8") as out:
        child = subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=out)
        try:
            yield child
        finally:
            child.terminate()
            child.wait(WITHIN_S)


@contextmanager
def _sample(folder: Path) -> Iterator[str]:
    root = Path(__file__).parents[2]
    with _program([sys.executable, "-m", "monitor.demo.saas"], root, str(folder / "sample.log")) as child:
        said: TextIO = child.stdout  # type: ignore[assignment]
        yield json.loads(said.readline())["url"]


@contextmanager
def _prometheus(folder: Path, listen: str) -> Iterator[str]:
    shutil.copytree(shipped("prometheus"), folder)
    scrape = folder / "scrape" / "prometheus.yml"
    scrape.write_text(scrape.read_text(encoding="utf-8").replace("15s", "1s").replace("127.0.0.1:9464", listen))
    address = f"127.0.0.1:{free_port()}"
    program = tool("prometheus", "prometheus")
    options = ["--config.file=scrape/prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    with _program([program, *options], folder, "prometheus.log"):
        _eventually("Prometheus is ready", lambda: _answers(f"http://{address}/-/ready"))
        yield f"http://{address}"


class _Server(http.server.ThreadingHTTPServer):
    """A peer that does not trust its certificate hangs up: no news."""

    def handle_error(self, *_: object) -> None:
        pass


class _Taker(http.server.SimpleHTTPRequestHandler):
    """Takes what is posted to it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _served(ca_file: Path | None) -> Iterator[str]:
    with _Server(("127.0.0.1", 0), _Taker) as server:
        if ca_file is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            expires = datetime.now(WIB) + timedelta(days=23)
            ca = trustme.CA()
            ca.issue_cert("127.0.0.1", not_after=expires).configure_cert(context)
            ca.cert_pem.write_to_path(str(ca_file))
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join(WITHIN_S)


def _eventually(what: str, holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + WITHIN_S
    while not holds():
        if time.monotonic() > until_s:
            raise RuntimeError(f"not within {WITHIN_S:g} s: {what}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        request.urlopen(url, timeout=WITHIN_S).close()  # noqa: S310 - our own servers
    except OSError:
        return False
    return True


def _asked(prometheus: str, expression: str) -> bool:
    now_s = time.time()
    source = Source(url=prometheus, start_s=now_s, end_s=now_s, step_s=1, rate_interval="10s")
    return bool(source.instant(expression))


if __name__ == "__main__":
    main()

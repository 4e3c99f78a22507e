"""A secret in every place that takes one, told back by a hostile target in every way: it stands nowhere afterwards."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.conftest import JAGA, PATIENCE_S, admin_token, environment, eventually, fetch, pages_of
from tests.e2e.test_listener import ask

SECRETS = {
    place: f"canary-{place}-7f3a9c+/=&"
    for place in ("query", "header", "body", "basic", "bearer", "client", "tcp", "form")
}
PLACES = ("query", "header", "body", "basic", "bearer", "client", "tcp", "form")


class _Echo(BaseHTTPRequestHandler):
    """Says everything back: as status line, headers, body, redirect, and what is no HTTP at all."""

    seen: set[str]

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        told = f"{self.path} {dict(self.headers)} {self.rfile.read(length).decode(errors='replace')}"
        type(self).seen |= {place for place, text in SECRETS.items() if _shown(text, told)}
        one_line = " ".join(told.split())
        if "broken" in self.path:
            self.wfile.write(one_line.encode() + b"\r\n\r\n")
            self.close_connection = True
            return
        self.send_response_only(302 if "moved" in self.path else 500, one_line[:900])
        self.send_header("X-Echo", one_line[:2000])
        if "moved" in self.path:
            self.send_header("Location", f"http://127.0.0.1:1/{quote(one_line[:500])}")
        body = json.dumps({"error": told, "token": one_line}).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815 - the base's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


def _written(secret: str) -> set[str]:
    """The ways in which a secret may be written."""
    quoted = {quote(secret, safe=safe) for safe in ("", "/", "/=&+")}
    coded = {base64.b64encode(secret.encode()).decode(), base64.b64encode(f"ayu:{secret}".encode()).decode()}
    return {secret, *quoted, *coded, json.dumps(secret)[1:-1], secret.encode().hex()}


def _shown(secret: str, text: str) -> bool:
    return any(form in text for form in _written(secret))


@pytest.fixture
def echo() -> Iterator[str]:
    _Echo.seen = set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


CONFIG = """\
store: sqlite:///ledger.db
location: {{id: here-1}}
web: {{listen: 127.0.0.1:0}}
contracts:
  mitra: {{terms: [{{effective_from: 2020-01-01, timezone: Asia/Jakarta, guarantee: 95%,
    credits: [{{below: 95%, credit: 10%}}], maintenance_notice: 48h, claim_within: 30d}}]}}
services:
  s:
    interval: 2s
    timeout: 500ms
    checks:
      query: {{http: {{get: "{url}/a?key=${{query}}"}}, expect: {{status: 200}}}}
      query-broken: {{http: {{get: "{url}/broken?key=${{query}}"}}}}
      query-moved: {{http: {{get: "{url}/moved?key=${{query}}"}}}}
      query-refused: {{http: {{get: "http://127.0.0.1:1/?key=${{query}}"}}}}
      header:
        http: {{get: "{url}/", headers: {{x-api-key: "${{header}}"}}}}
        expect: {{status: 500, headers: {{x-echo: {{matches: "^nothing$"}}}}}}
      body:
        http: {{post: "{url}/", json: {{password: "${{body}}"}}}}
        expect: {{status: 500, json: {{"$.error": {{equals: "fine"}}}}, body: {{contains: "all is well"}}}}
      form:
        http: {{post: "{url}/", form: {{password: "${{form}}"}}}}
        expect: {{status: 500, body: {{matches: "^fine$"}}}}
      basic: {{http: {{get: "{url}/", basic: {{user: ayu, password: "${{basic}}"}}}}}}
      oauth2:
        http: {{get: "{url}/", oauth2: {{token_url: "{url}/token", client_id: me, client_secret: "${{client}}"}}}}
      tcp:
        tcp: {{connect: "127.0.0.1:{port}", dialogue: [{{send: "${{tcp}}\\r\\n\\r\\n"}}, {{expect: "^220 "}}]}}
      handed-on:
        steps:
          - name: get
            http: {{get: "{url}/", headers: {{authorization: "Bearer ${{bearer}}"}}}}
            expect: {{status: 500}}
            extract: {{token: "$.token"}}
          - name: use
            http: {{get: "{url}/", headers: {{x-token: "{{{{ token }}}}"}}}}
            expect: {{status: 200, time: "< 1ms"}}
partners:
  acme: {{name: Acme, contract: mitra, services: {{s: {{fee: IDR 12500000}}}}}}
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_secret_stands_nowhere(tmp_path: Path, echo: str) -> None:
    (tmp_path / "config").mkdir()
    port = echo.rpartition(":")[2]
    (tmp_path / "config" / "jaga.yaml").write_text(CONFIG.format(url=echo, port=port))
    known = environment(**{place: SECRETS[place] for place in PLACES})
    told: dict[str, str] = {}

    def jaga(*arguments: str) -> None:
        done = subprocess.run(
            [JAGA, *arguments], cwd=tmp_path, env=known, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        told["jaga " + " ".join(arguments)] = done.stdout + done.stderr

    log = tmp_path / "log.jsonl"
    with log.open("w") as out:
        daemon = subprocess.Popen(
            [JAGA, "run", "--log-format", "json", "--log-level", "debug"], cwd=tmp_path, env=known, stderr=out
        )
    try:
        pages = pages_of(log)
        token = admin_token(tmp_path, known)
        eventually(
            "each check ran", lambda: fetch(f"{pages}/metrics").count("sla_check_last_run_timestamp_seconds{") >= 11
        )
        eventually("the target saw the secrets", lambda: _Echo.seen >= set(PLACES) - {"tcp", "client"})
        month = json.loads(fetch(f"{pages}/api/v1/status"))["services"][0]["months"][0]["month"]
        for path in ("/", "/metrics", "/api/v1/status", "/api/v1/openapi.json"):
            told[path] = fetch(pages + path)
        for path in (
            "/api/v1/services/s",
            "/api/v1/outages",
            f"/api/v1/statements?month={month}",
            "/probe?target=s/query",
        ):
            told[path] = str(ask(pages, "GET", path, token))
        told["a wrong token"] = str(ask(pages, "GET", f"/api/v1/outages?token={token}", token + "x"))
        assert ask(pages, "POST", "/-/reload", token)[0] == 200
        for arguments in (
            ("status", "--json"),
            ("statement", "--month", month),
            ("explain", "acme", month),
            ("check", "--explain"),
            ("ledger", "export"),
            ("token", "list", "--json"),
            *(
                ("probe", f"s/{check}", "--json")
                for check in ("query", "header", "body", "basic", "oauth2", "handed-on")
            ),
            ("probe", "s/query-broken"),
        ):
            jaga(*arguments)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0
    finally:
        daemon.kill()
        daemon.wait()
    told["log"] = log.read_text()
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.name != "jaga.yaml":
            told[str(file)] = file.read_bytes().decode("latin-1")
    assert "query" in told["jaga status --json"], "the verbs did answer"
    found = {
        (place, where)
        for where, text in told.items()
        for place, secret in {**{p: SECRETS[p] for p in PLACES}, "token": token}.items()
        if _shown(secret, text)
    }
    assert found == set()

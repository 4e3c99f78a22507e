"""From a broken target to a mailbox, by the real program: real SMTP, a real webhook, and the verbs beside it."""

from __future__ import annotations

import http.server
import json
import queue
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import PATIENCE_S, Cli, Sample, daemon_in, eventually
from tests.notify.conftest import MailServer, authority, start_mail

__all__ = ["authority", "start_mail"]  # fixtures of the mail server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def hook() -> Iterator[tuple[str, queue.Queue[dict[str, Any]]]]:
    came: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", came
        server.shutdown()
        serving.join(PATIENCE_S)


def with_channels(cli: Cli, mail: MailServer, hook: str) -> None:
    file = Path(cli.folder, "config", "jaga.yaml")
    smtp = f"host: 127.0.0.1, port: {mail.port}, tls: none, from: jaga@example.id"
    file.write_text(
        file.read_text()
        + "channels:\n"
        + f"  letters: {{email: {{{smtp}, to: [sari@acme.example]}}, partners: all, lang: id}}\n"
        + f"  hook: {{webhook: {{url: '{hook}'}}, group: 1s}}\n"
        + "  broken: {webhook: {uri: nonsense}}\n"
        + "messages: {recover_after: 1s}\n"
    )


def test_a_fault_is_told_and_a_window_announced(
    cli: Cli,
    sample: Sample,
    start_mail: Callable[..., MailServer],
    hook: tuple[str, queue.Queue[dict[str, Any]]],
) -> None:
    url, came = hook
    mail = start_mail()
    with_channels(cli, mail, url)
    assert 'unknown key, did you mean "url"?' in cli("check", code=2)
    assert "letters took it: 1 of 1 recipients: 2.0.0 Ok: queued as 4711" in cli("notify", "test", "letters")
    assert mail.mails[0][1]["Subject"] == "Pesan uji Jaga melalui letters"
    assert "misconfigured" in cli("notify", "test", "broken", code=1)
    daemon = daemon_in(cli)
    try:
        sample.set_mode("all")
        down = came.get(timeout=PATIENCE_S)
        while down["kind"] != "down":
            down = came.get(timeout=PATIENCE_S)
        sample.set_mode("healthy")
        recovered = came.get(timeout=PATIENCE_S)
        while recovered["kind"] != "recovered":
            recovered = came.get(timeout=PATIENCE_S)
        assert recovered["about"] == down["about"]
        start = datetime.now(UTC) + timedelta(hours=72)
        window = ("--start", start.isoformat(), "--end", (start + timedelta(hours=1)).isoformat())
        cli("maintenance", "announce", "cloud", *window, "--summary", "database upgrade")

        def noticed() -> bool:
            (known,) = json.loads(cli("maintenance", "list", "--json"))
            return bool(known["notices"])

        eventually("the notice is recorded", noticed)
        subjects = [message["Subject"] for _envelope, message in mail.mails]
        assert sum(subject.startswith("Pemeliharaan Terjadwal m-1") for subject in subjects) == 1
        listed = json.loads(cli("notify", "list", "--json"))
        broken = [one for one in listed["messages"] if one["channel"] == "broken"]
        assert broken, "what a misconfigured channel should have told waits for it"
        eventually("it was tried", lambda: "misconfigured" in cli("notify", "list"))
    finally:
        daemon.end()

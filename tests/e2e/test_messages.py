"""From a broken target to a mailbox, by the real program: real SMTP, a real webhook, and the verbs beside it."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.conftest import JAGA, PATIENCE_S, Cli, Hook, Process, Sample, daemon_in, eventually, fetch, shown
from tests.notify.conftest import MailServer, authority, start_mail

__all__ = ["authority", "start_mail"]  # fixtures of the mail server

pytestmark = pytest.mark.slow


def with_channels(cli: Cli, mail: MailServer, hook: str) -> None:
    file = Path(cli.folder, "config", "jaga.yaml")
    smtp = f"host: 127.0.0.1, port: {mail.port}, tls: none, from: jaga@example.id"
    file.write_text(
        file.read_text().replace("127.0.0.1:0}", "127.0.0.1:0, external_url: 'https://jaga.example.id/'}")
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
    hook: Hook,
) -> None:
    mail = start_mail()
    with_channels(cli, mail, f"{hook.url}/")
    assert 'unknown key, did you mean "url"?' in cli("check", code=2)
    assert "letters took it: 1 of 1 recipients: 2.0.0 Ok: queued as 4711" in cli("notify", "test", "letters")
    assert mail.mails[0][1]["Subject"] == "Pesan uji Jaga melalui letters"
    assert "misconfigured" in cli("notify", "test", "broken", code=1)
    daemon = daemon_in(cli)
    try:
        sample.set_mode("all")
        down = hook.next(lambda _path, body: body["kind"] == "down")
        assert {"incident", "response_due", "resolution_due"} <= set(down), "what it opened, and until when"
        assert down["links"][0] == f"https://jaga.example.id/#incident-{down['incident']}"
        sample.set_mode("healthy")
        recovered = hook.next(lambda _path, body: body["kind"] == "recovered")
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


def test_channels_come_go_and_change_with_a_reload_and_what_waits_for_them_is_kept(
    cli: Cli, sample: Sample, make_hook: Callable[[], Hook]
) -> None:
    old, new, other = make_hook(), make_hook(), make_hook()
    old.status = 503
    file = Path(cli.folder, "config", "jaga.yaml")
    before = file.read_text() + "messages: {recover_after: 1s}\n"

    def written(**channels: str) -> None:
        lines = [f"  {name}: {{webhook: {{{hook}}}, group: null}}\n" for name, hook in channels.items()]
        file.write_text(before + "channels:\n" + "".join(lines))

    def waiting() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in json.loads(cli("notify", "list", "--json"))["messages"]:
            found.setdefault(one["channel"], []).append(one["key"])
        return found

    written(first=f"url: '{old.url}'", second=f"url: '{old.url}'", wrong="uri: nonsense")
    assert 'did you mean "url"?' in cli("check", code=2)
    daemon = Process.start([str(JAGA), "run", "--log-format", "json"], cli.folder, read="stderr")
    try:
        # A channel that is wrong is told, and the rest of the program starts.
        daemon.line(lambda line: '"event":"channel misconfigured"' in line and '"channel":"wrong"' in line)
        pages = json.loads(daemon.line(lambda line: '"event":"ready"' in line))["pages"]
        eventually("all is well", lambda: len(shown(pages)["passing"]) == 4)
        sample.set_mode("all")
        eventually("it waits", lambda: set(waiting()) >= {"first", "second", "wrong"})
        eventually("it was refused", lambda: "503" in cli("notify", "list"))
        failing = r'^sla_notification_failures_total\{channel="wrong"\} [1-9]'
        eventually("it counts as failing", lambda: bool(re.search(failing, fetch(f"{pages}/metrics"), re.MULTILINE)))
        kept = waiting()

        # Changed (by signal): what waits goes to the new address. Removed: what waits, waits.
        written(first=f"url: '{new.url}'")
        daemon.child.send_signal(signal.SIGHUP)
        daemon.line(lambda line: '"event":"configuration reloaded"' in line)
        first = new.next(lambda _path, body: body["kind"] == "down", 2 * PATIENCE_S)
        assert first["key"] in kept["first"]
        assert set(waiting()["second"]) >= set(kept["second"])

        # Added, back and put right (over the control socket): they get what waited, the new one what comes.
        to_other = f"url: '{other.url}'"
        written(first=f"url: '{new.url}'", second=to_other, wrong=to_other, third=to_other)
        cli("reload")
        got = {other.next(lambda _path, body: body["kind"] == "down", 2 * PATIENCE_S)["key"] for _ in range(2)}
        assert got <= {*kept["second"], *kept["wrong"]}
        sample.set_mode("healthy")
        third = other.next(lambda _path, body: body["kind"] == "recovered" and "/third" in body["key"], 2 * PATIENCE_S)
        assert third["about"] == first["about"]
        eventually("nothing waits", lambda: not waiting())
    finally:
        daemon.end()

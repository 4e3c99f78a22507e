"""Channels in the file: what is accepted, what is said of a wrong one, and that it stops nothing but itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from monitor.config import ConfigError, Loaded, explain, load
from monitor.core.instant import MINUTE_US
from monitor.core.priority import Priority
from monitor.locale import Lang

BASE = """\
location: {id: jkt-1, controls: [tcp://192.0.2.1:443, tcp://192.0.2.2:443, tcp://192.0.2.3:443]}
contracts:
  mitra:
    terms:
      - effective_from: 2026-01-01
        guarantee: 95%
        credits: [{below: 95%, credit: 10%}]
services:
  portal: {checks: {page: {http: {get: "https://portal.example.id/"}}}}
partners:
  acme:
    contract: mitra
    services: {portal: {fee: IDR 12500000}}
    contacts: [{name: Sari, email: sari@acme.example, role: operations}]
  beta: {contract: mitra, services: {portal: {fee: IDR 1}}}
provider: {contacts: [{name: Ops, email: ops@example.id, role: technical-support}]}
"""


def loaded(tmp_path: Path, channels: str, more: str = "") -> Loaded:
    file = tmp_path / "jaga.yaml"
    file.write_text(BASE + "channels:\n" + channels + more)
    return load(file, shown="jaga.yaml", environment={"SMTP_PASSWORD": "hush", "HOOK": "https://x.example/t0ken"})


GOOD = """\
  ops-mail:
    email: {host: smtp.example.id, user: jaga, password: "${SMTP_PASSWORD}", from: Jaga <jaga@example.id>}
    lang: id
  letters: {email: {host: smtp.example.id, from: jaga@example.id}, partners: [acme], lang: id}
  hook: {webhook: {url: "${HOOK}", secret: "${SMTP_PASSWORD}"}, kinds: [down, recovered], severity: page, group: 1m}
  manager: {alertmanager: {urls: [http://am-1:9093, http://am-2:9093], every: 30s}}
  pulse: {heartbeat: {url: https://hc.example.id/ping/s3cret}}
  chat: {apprise: {urls: ["tgram://s3cret-bot/42", "${HOOK}"]}, services: [portal]}
"""


def test_every_kind_of_channel_is_read(tmp_path: Path) -> None:
    found = loaded(tmp_path, GOOD, "messages: {recover_after: 2m, remind: {P2: 1h}}\n")
    assert found.faults == ()
    settings = found.settings
    kinds = {channel.id: channel.kind for channel in settings.channels}
    assert kinds == {
        "ops-mail": "email",
        "letters": "email",
        "hook": "webhook",
        "manager": "alertmanager",
        "pulse": "heartbeat",
        "chat": "apprise",
    }
    assert settings.channels[0].model.lang is Lang.ID
    assert settings.channels[1].model.partners == ("acme",)
    assert settings.manners.recover_after_us == 2 * MINUTE_US
    assert settings.manners.remind_us == {Priority.P1: 30 * MINUTE_US, Priority.P2: 60 * MINUTE_US}


def test_the_effective_configuration_shows_no_token_and_reads_again(tmp_path: Path) -> None:
    text = explain(loaded(tmp_path, GOOD).settings)
    assert "s3cret" not in text
    assert "hush" not in text
    again = yaml.safe_load(text)
    assert again["channels"]["chat"]["apprise"]["urls"] == ["tgram://***", "${HOOK}"]
    file = tmp_path / "again.yaml"
    file.write_text(text)
    told = load(file, environment={"SMTP_PASSWORD": "", "HOOK": ""})
    assert told.faults == ()
    assert [channel.kind for channel in told.settings.channels[:2]] == ["email", "email"]


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ("  x: {lang: en}\n", "channels.x: a channel is one of email, webhook"),
        ("  x: {webhook: {url: https://a.example}, heartbeat: {url: https://a.example}}\n", "has webhook, heartbeat"),
        ("  x: {webhook: {uri: https://a.example}}\n", 'unknown key, did you mean "url"?'),
        ("  x: {webhook: {url: ftp://a.example}}\n", "channels.x.webhook.url: a URL begins with http"),
        ('  x: {webhook: {url: https://a.example, secret: "${GONE}"}}\n', "the environment has no GONE"),
        ("  x: {email: {host: a, from: nobody}}\n", "'nobody' is no mail address"),
        ("  x: {email: {host: a, from: a@b.c}, partners: all}\n", "beta has no contacts with an email"),
        ("  x: {email: {host: a, from: a@b.c, port: 0}}\n", "channels.x.email.port"),
        ("  x: {webhook: {url: https://a.example}, partners: [acne]}\n", 'did you mean "acme"?'),
        ("  x: {webhook: {url: https://a.example}, services: [portel]}\n", 'did you mean "portal"?'),
        ("  x: {webhook: {url: https://a.example}, kinds: [dwon]}\n", "channels.x.kinds[0]"),
        ("  x: {alertmanager: {urls: [http://a], every: 5m}}\n", "is sent again every 30s to 60s"),
        ("  x: {heartbeat: {url: http://a}, partners: all}\n", "states what is wrong now"),
        ("  log: {webhook: {url: https://a.example}}\n", "choose another id"),
    ],
)
def test_a_wrong_channel_is_told_at_its_place_and_costs_nothing_else(tmp_path: Path, channels: str, said: str) -> None:
    found = loaded(tmp_path, channels + "  good: {webhook: {url: https://a.example}}\n")
    told = "\n".join(map(str, found.faults))
    assert said in told
    assert told.startswith("jaga.yaml:")
    wrong, good = found.settings.channels
    assert wrong.fault is not None
    assert good.fault is None


def test_an_escalation_goes_to_a_configured_channel_and_to_no_other(tmp_path: Path) -> None:
    levels = '        levels: {"1": {owners: [technical-support], channels: [%s]}}\n'
    file = tmp_path / "jaga.yaml"
    base = BASE + "channels: {pager: {webhook: {url: https://a.example}}}\n"
    file.write_text(base.replace("services:\n  portal", levels % "pager, log" + "services:\n  portal", 1))
    assert load(file).settings.terms[0].levels[1].channels == ("pager", "log")
    file.write_text(base.replace("services:\n  portal", levels % "pagr" + "services:\n  portal", 1))
    with pytest.raises(ConfigError, match='did you mean "pager"'):
        load(file)

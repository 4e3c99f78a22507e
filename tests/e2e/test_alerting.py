"""From a broken target to a page: real daemon, real Prometheus with the shipped rules, real Alertmanager with the
shipped routing, and a receiver of webhooks.

The shipped windows are made of minutes, so that a page outlives a scrape that was missed. Here the same expressions run
with seconds; nothing else of the files is changed but addresses.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.config import shipped
from tests.e2e.conftest import PATIENCE_S, Cli, Hook, Sample, daemon_in, eventually, fetch, is_scraped, started

pytestmark = pytest.mark.slow

Page = dict[str, Any]


@pytest.fixture
def alertmanager(tmp_path: Path, hook: Hook) -> Iterator[str]:
    folder = tmp_path / "alertmanager"
    folder.mkdir()
    text = (shipped("alertmanager") / "alertmanager.yml").read_text().replace("http://127.0.0.1:9095", hook.url)
    for name in ("group_wait", "group_interval"):
        for written in ("30s", "10s", "5m", "1m"):
            text = text.replace(f"{name}: {written}", f"{name}: 1s")
    (folder / "alertmanager.yml").write_text(text)
    arguments = ["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]
    process, url = started("prometheus-alertmanager", arguments, folder, "/-/ready")
    yield url
    process.end()


@pytest.fixture
def prometheus(tmp_path: Path, watched: str, alertmanager: str) -> Iterator[str]:
    folder = tmp_path / "prometheus"
    (folder / "scrape").mkdir(parents=True)
    rules = shipped("prometheus")
    shutil.copy(rules / "sla-records.yml", folder)
    quick = (rules / "sla-alerts.yml").read_text()
    for slow, fast in (("[10m]) == 1", "[20s]) == 1"), ("keep_firing_for: 5m", "keep_firing_for: 10s")):
        assert slow in quick
        quick = quick.replace(slow, fast)
    (folder / "sla-alerts.yml").write_text(quick)
    text = (rules / "scrape" / "prometheus.yml").read_text().replace("15s", "1s")
    text = text.replace("127.0.0.1:9464", watched).replace("127.0.0.1:9093", alertmanager.removeprefix("http://"))
    (folder / "scrape" / "prometheus.yml").write_text(text)
    arguments = ["--config.file=scrape/prometheus.yml", "--storage.tsdb.path=data"]
    process, url = started("prometheus", arguments, folder, "/-/ready")
    yield url
    process.end()


def ours(body: Page, status: str) -> Page | None:
    """The page about the service with this status, if it is among those of a delivery."""
    for alert in body["alerts"]:
        if alert["labels"]["alertname"] == "SlaServiceDown" and alert["status"] == status:
            return dict(alert)
    return None


def page(hook: Hook, status: str) -> Page:
    """The next page about the service with this status."""
    body = hook.next(lambda path, body: path == "/pages" and ours(body, status) is not None, 2 * PATIENCE_S)
    found = ours(body, status)
    assert found is not None
    return found


def alerts(prometheus: str) -> list[tuple[str, str]]:
    found = json.loads(fetch(f"{prometheus}/api/v1/alerts"))["data"]["alerts"]
    return [(alert["labels"]["alertname"], alert["state"]) for alert in found]


def evaluated(prometheus: str) -> str:
    """When the rules of the services were last evaluated."""
    groups = json.loads(fetch(f"{prometheus}/api/v1/rules"))["data"]["groups"]
    (at,) = (group["lastEvaluation"] for group in groups if group["name"] == "sla-services")
    return str(at)


def evaluations_pass(prometheus: str, count: int) -> None:
    for _ in range(count):
        before = evaluated(prometheus)
        eventually("the rules are evaluated", lambda before=before: evaluated(prometheus) != before)  # type: ignore[misc]


def test_a_page_arrives_outlives_the_daemon_and_resolves_on_recovery(
    cli: Cli, sample: Sample, prometheus: str, hook: Hook
) -> None:
    daemon = daemon_in(cli)
    try:
        eventually("the watchdog fires", lambda: ("SlaWatchdog", "firing") in alerts(prometheus))
        assert ("SlaServiceDown", "firing") not in alerts(prometheus)
        sample.set_mode("all")
        fired = page(hook, "firing")
        assert fired["labels"]["sla_service"] == "cloud"
        assert fired["labels"]["severity"] == "page"
        assert fired["annotations"]["summary"] == "cloud is down"

        daemon.child.send_signal(signal.SIGKILL)
        daemon.child.wait(PATIENCE_S)
        eventually("Prometheus misses the daemon", lambda: is_scraped(prometheus, "0"))
        evaluations_pass(prometheus, 3)
        assert ("SlaServiceDown", "firing") in alerts(prometheus), "an alert on the instant would be gone by now"
        assert not any(ours(body, "resolved") for _path, body in list(hook.came.queue))

        daemon = daemon_in(cli)
        eventually("Prometheus has it back", lambda: is_scraped(prometheus, "1"))
        sample.set_mode("healthy")
        resolved = page(hook, "resolved")
        assert resolved["labels"]["sla_service"] == "cloud"
        assert daemon.stop(signal.SIGTERM) == 0
    finally:
        daemon.end()


def test_a_window_that_qualifies_is_silent_in_alertmanager_until_it_is_cancelled(cli: Cli, alertmanager: str) -> None:
    file = cli.folder / "config" / "jaga.yaml"
    channel = f"{{alertmanager: {{urls: ['{alertmanager}'], every: 30s, silences: true}}}}"
    file.write_text(file.read_text() + f"channels: {{alerts: {channel}}}\n")

    def silences() -> list[tuple[str, str]]:
        found = json.loads(fetch(f"{alertmanager}/api/v2/silences"))
        return [(one["status"]["state"], one["matchers"][0]["value"]) for one in found]

    now = datetime.now(UTC)
    window = ["--start", (now + timedelta(seconds=110)).isoformat(), "--end", (now + timedelta(hours=1)).isoformat()]
    told = ["--notified", "acme", "--at", (now - timedelta(days=3)).isoformat(), "--evidence", "a letter"]
    # Before the daemon is there: a level is stated at its start, and every 30 s.
    cli("maintenance", "announce", "cloud", *window, "--summary", "upgrade", *told)
    daemon = daemon_in(cli)
    try:
        eventually("it is silenced from its start on", lambda: silences() == [("pending", "cloud")], 2 * PATIENCE_S)
        cli("maintenance", "cancel", "m-1")
        eventually("it is not silenced any more", lambda: silences() == [("expired", "cloud")], 2 * PATIENCE_S)
        assert daemon.stop(signal.SIGTERM) == 0
    finally:
        daemon.end()

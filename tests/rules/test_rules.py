"""The rules, the routing and the runbooks that are shipped (OPS, Alert rules), judged by promtool and amtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.config import shipped
from monitor.telemetry import catalogue

RULES = shipped("prometheus")
ROUTING = shipped("alertmanager") / "alertmanager.yml"
RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
EXPECTED = {
    "SlaServiceDown": {"page"},
    "SlaServiceDegraded": {"page", "ticket"},
    "SlaServiceUnknown": {"page"},
    "SlaCoverageLow": {"ticket"},
    "SlaCertificateExpiring": {"page", "ticket"},
    "SlaErrorBudgetLow": {"ticket"},
    "SlaCreditTierImminent": {"page"},
    "SlaCreditTierProjected": {"ticket"},
    "SlaCreditOwed": {"ticket"},
    "SlaClaimDeadlineNear": {"ticket"},
    "SlaStatementLate": {"ticket"},
    "SlaLedgerUnhealthy": {"page"},
    "SlaIncidentClock75": {"page"},
    "SlaIncidentClockBreached": {"page"},
    "SlaWatchdog": {"none"},
    "SlaMonitorDown": {"page"},
    "SlaMonitorStalled": {"page"},
    "SlaLocationDown": {"ticket"},
    "SlaNotificationsFailing": {"page"},
    "SlaConfigReloadFailed": {"ticket"},
    "SlaClockOffset": {"page"},
}


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"not installed: {name}")
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=280)


def rules(kind: str) -> list[dict[str, Any]]:
    found = []
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text()).get("groups", ()):
            found += [rule for rule in group["rules"] if kind in rule]
    return found


def test_every_alert_is_there_with_its_severities() -> None:
    found: dict[str, set[str]] = {}
    for rule in rules("alert"):
        found.setdefault(rule["alert"], set()).add(rule["labels"]["severity"])
    assert found == EXPECTED


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(EXPECTED)
    for rule in rules("alert"):
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
        assert (RUNBOOKS / f"{rule['alert']}.md").read_text().startswith(f"# {rule['alert']}\n\nSeverity: ")


def test_rules_ask_for_families_of_the_catalogue_or_for_each_other() -> None:
    exported = {family.name for family in vars(catalogue).values() if isinstance(family, catalogue.Family)}
    recorded = {rule["record"] for rule in rules("record")}
    asked = {
        name
        for rule in (*rules("alert"), *rules("record"))
        for name in re.findall(r"\bsla_[a-z0-9_:]+", re.sub(r'"[^"]*"|\b(?:on|by|without) \([^)]*\)', "", rule["expr"]))
    }
    assert asked - exported - recorded - {"sla_service"} == set()
    assert recorded <= asked, "a recording rule that nobody asks for"


def test_only_rules_and_their_tests_stand_in_the_folder() -> None:
    for path in RULES.iterdir():
        assert path.is_dir() or path.suffix == ".yml"
    assert [path.name for path in RULES.iterdir() if path.is_dir()] == ["scrape"]


def test_promtool_accepts_the_rules_and_the_scrape_configuration() -> None:
    files = [path for path in RULES.glob("*.yml") if not path.name.endswith("_test.yml")]
    done = run(tool("promtool"), "check", "rules", *files)
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(tool("promtool"), "check", "config", RULES / "scrape" / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(RULES.glob("*_test.yml")), ids=lambda path: str(path.name))
def test_each_alert_fires_and_does_not_fire(path: Path) -> None:
    done = run(tool("promtool"), "test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tests_know_every_alert_both_ways() -> None:
    """Each alert stands in a test with at least one instant at which it fires and one at which it does not."""
    fires: set[str] = set()
    quiet: set[str] = set()
    for path in RULES.glob("*_test.yml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for asked in test.get("alert_rule_test", ()):
                (fires if asked["exp_alerts"] else quiet).add(asked["alertname"])
    assert fires == set(EXPECTED)
    # These are quiet where another label is expected alone.
    assert set(EXPECTED) - quiet <= {"SlaCertificateExpiring", "SlaClaimDeadlineNear"}


def test_amtool_accepts_the_routing() -> None:
    done = run(tool("amtool"), "check-config", ROUTING)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=SlaServiceDown", "severity=page"), "pages"),
        (("alertname=SlaServiceDegraded", "severity=ticket"), "tickets"),
        (("alertname=SlaCreditOwed", "severity=ticket", "team=finance"), "finance"),
        (("alertname=SlaWatchdog", "severity=none"), "watchdog"),
        (("alertname=Anything",), "tickets"),
    ],
)
def test_where_an_alert_goes(labels: tuple[str, ...], receiver: str) -> None:
    done = run(tool("amtool"), "config", "routes", "test", f"--config.file={ROUTING}", *labels)
    assert (done.returncode, done.stdout.strip()) == (0, receiver), done.stderr

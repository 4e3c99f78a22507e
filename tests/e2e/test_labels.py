"""Hostile texts from the configuration to Prometheus and the page: refused with a sentence, or shown as one series."""

from __future__ import annotations

import copy
import json
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from monitor.config import shipped
from monitor.telemetry.escaping import MAX_LABEL
from tests.e2e.conftest import PATIENCE_S, Cli, daemon_in, eventually, fetch, is_scraped, started

QUOTED = 'a"b\\c\\n {d="e"} 1 # <script>alert(1)</script>'
BIDI = "a\u202eb\u2066c"
LONG = "x" * 10_240

pytestmark = pytest.mark.slow


def changed(cli: Cli, **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - of YAML
    """The configuration with the service's name, a step's name, and what a check expects replaced."""
    file = cli.folder / "config" / "jaga.yaml"
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    service = document["services"]["cloud"]
    service["name"] = parts.get("service", service["name"])
    service["checks"]["log-in"]["steps"][0]["name"] = parts.get("step", "log in")
    service["checks"]["health"]["expect"] |= parts.get("expect", {})
    if "check" in parts:
        service["checks"][parts["check"]] = copy.deepcopy(service["checks"]["health"])
    file.write_text(yaml.safe_dump(document))
    return document


@pytest.mark.parametrize("text", ["a\nb", BIDI, "a\x1b[31mb", LONG], ids=["newline", "bidi", "escape", "10 kB"])
def test_a_name_or_id_that_is_no_line_is_refused_on_one_line(cli: Cli, text: str) -> None:
    changed(cli, service=text, step=text, check=text)
    said = cli("check", code=2)
    assert all(line.isprintable() for line in said.splitlines())
    problems = [line for line in said.splitlines() if line.startswith("config/jaga.yaml:")]
    assert sum("is no id" in problem for problem in problems) == 1
    assert sum("text on one line" in problem for problem in problems) == 2


def test_what_is_accepted_is_one_series_for_prometheus_and_text_on_the_page(
    cli: Cli, watched: str, tmp_path: Path
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("not installed: promtool")
    paths = {f"$['{text}']": "ok" for text in ('a"b', "a\\\\b", BIDI, LONG, LONG + "y")}
    changed(cli, service=QUOTED, step=QUOTED[:60], expect={"json": paths})
    folder = tmp_path / "prometheus"
    shutil.copytree(shipped("prometheus"), folder)
    scrape = folder / "scrape" / "prometheus.yml"
    scrape.write_text(scrape.read_text().replace("15s", "1s").replace("127.0.0.1:9464", watched))
    prometheus, url = started(
        "prometheus", ["--config.file=scrape/prometheus.yml", "--storage.tsdb.path=data"], folder, "/-/ready"
    )
    daemon = daemon_in(cli)

    def labels(query: str, label: str) -> set[str]:
        found = json.loads(fetch(f"{url}/api/v1/query?query={quote(query)}"))["data"]["result"]
        return {one["metric"][label] for one in found}

    try:
        eventually("it is scraped", lambda: is_scraped(url, "1"))
        page = fetch(f"http://{watched}/metrics")
        judged = subprocess.run(
            [promtool, "check", "metrics"], input=page, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert (judged.returncode, judged.stdout + judged.stderr) == (0, "")
        assert labels("sla_service_info", "display_name") == {QUOTED}
        eventually("a step ran", lambda: QUOTED[:60] in labels("sla_check_last_phase_duration_seconds", "step"))
        assertions = 'sla_check_assertion_failures_total{check="health"}'
        wanted = len(paths) + 1  # two long ones that differ at their end stay two; and the status
        eventually("each has its series", lambda: len(labels(assertions, "assertion")) == wanted)
        asserted = labels(assertions, "assertion")
        assert {"http.json.$['a\"b']", "http.json.$['a\\\\b']"} <= asserted
        assert "http.json.$['a\\u202eb\\u2066c']" in asserted
        assert max(map(len, asserted)) <= MAX_LABEL
        shown = fetch(f"http://{watched}/")
        assert "<script>" not in shown
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
        assert daemon.stop(signal.SIGTERM) == 0
    finally:
        daemon.end()
        prometheus.end()

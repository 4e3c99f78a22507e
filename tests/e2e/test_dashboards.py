"""The dashboards against the real thing: every query of every panel and annotation is asked of a real Prometheus that
scrapes the real daemon, and answers with data (OPS, Grafana).

Grafana itself is in neither Debian nor a wheel: what it would ask is tested here, and what comes of the answers is
drawn by a tool of our own (test_pictures.py).
"""

from __future__ import annotations

import http.server
import json
import re
import shutil
import signal
import ssl
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme
import yaml

from monitor.config import load, shipped
from monitor.telemetry import catalogue
from tests.e2e.conftest import PATIENCE_S, Cli, Sample, daemon_in, eventually, fetch, is_scraped, started

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((shipped("grafana") / "dashboards").glob("*.json"))
VARIABLES = ["datasource", "job", "instance", "sla_service", "partner"]


def board(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def queries(path: Path) -> Iterator[tuple[str, str]]:
    """(where, expression) of a dashboard, its variables put in."""
    document = board(path)
    for panel in document["panels"]:
        for target in panel.get("targets", ()):
            yield f"{path.name}: {panel['title']} {target['refId']}", target["expr"]
    for annotation in document["annotations"]["list"]:
        yield f"{path.name}: annotation {annotation['name']}", annotation["expr"]
    for variable in document["templating"]["list"]:
        if variable["type"] == "query":
            series, _label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"], re.DOTALL).groups()  # type: ignore[union-attr]
            yield f"{path.name}: variable {variable['name']}", series


def filled(expression: str) -> str:
    """As Grafana would send it with everything selected."""
    expression = expression.replace("$__rate_interval", "10s")
    return re.sub(r"\$(job|instance|sla_service|partner)\b", ".*", expression)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: str(path.name))
def test_a_dashboard_is_kept_by_hand_and_tidy(path: Path) -> None:
    document = board(path)
    assert path.read_text(encoding="utf-8") == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    assert document["uid"] == f"jaga-{path.stem}"
    assert (document["timezone"], 39 <= document["schemaVersion"] <= 41) == ("Asia/Jakarta", True)
    assert "id" not in document, "an id belongs to one Grafana"
    names = [variable["name"] for variable in document["templating"]["list"]]
    assert names == [name for name in VARIABLES if name in names]
    panels = document["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    spots = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(spots)) == len(spots)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: str(path.name))
def test_tables_of_several_queries_can_be_merged(path: Path) -> None:
    """Grafana merges rows that agree in every column that all have: each metric's own name would keep them apart."""
    for panel in board(path)["panels"]:
        if panel["type"] != "table" or len(panel["targets"]) < 2:
            continue
        for target in panel["targets"]:
            assert re.match(r"\w+ by \([\w, ]+\) \(", target["expr"]), f"{panel['title']} {target['refId']}"


def test_the_five_dashboards_are_there() -> None:
    assert [path.stem for path in DASHBOARDS] == ["incidents", "ledger", "monitor", "overview", "service"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: str(path.name))
def test_queries_ask_for_known_names(path: Path) -> None:
    families = [family for family in vars(catalogue).values() if isinstance(family, catalogue.Family)]
    known = {family.name for family in families}
    known |= {f"{family.name}_bucket" for family in families if family.type == catalogue.HISTOGRAM}
    records = yaml.safe_load((shipped("prometheus") / "sla-records.yml").read_text())["groups"][0]["rules"]
    known |= {rule["record"] for rule in records}
    for where, expression in queries(path):
        bare = re.sub(r'"[^"]*"|\b(?:on|by|without) \([^)]*\)', "", expression)
        asked = set(re.findall(r"\bsla_[a-z0-9_:]+", bare)) - {"sla_service"}
        assert asked <= known, where


def test_provisioning_and_compose_name_what_is_there() -> None:
    grafana = shipped("grafana")
    (provider,) = yaml.safe_load((grafana / "provisioning" / "dashboards" / "jaga.yml").read_text())["providers"]
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    mounts = [
        volume.split(":")
        for service in compose["services"].values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]
    for source, target, mode in mounts:
        assert (ROOT / source).exists(), source
        assert (target.startswith("/"), mode) == (True, "ro")
    assert provider["options"]["path"] in [target for _, target, _ in mounts]
    assert set(compose["services"]) == {"sample", "jaga", "prometheus", "alertmanager", "grafana"}
    for service in compose["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert load(ROOT / "config" / "compose" / "jaga.yaml", environment={}).settings.listen == ("0.0.0.0", 9464)  # noqa: S104 - inside its container


@pytest.fixture
def certificate() -> Iterator[str]:
    """host:port of a server with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join(PATIENCE_S)


NOT_HERE = {
    # Shown only while something keeps the machine's clock right, or it is in doubt: perhaps nothing does here.
    "sla_clock_offset_seconds",
}


def history(today: date) -> list[dict[str, Any]]:
    """The month before this one, seen by another tool: it was up."""
    end = today.replace(day=1)
    start = (end - timedelta(days=1)).replace(day=1)
    at, to = (f"{day.isoformat()}T00:00:00+07:00" for day in (start, end))
    checks = [{"id": "all", "network": "public"}]
    listed = {"type": "checks", "service": "cloud", "at": at, "interval_s": 60, "timeout_s": 10, "stale_after_s": 190}
    seen = {"type": "spans", "service": "cloud", "check": "all", "location": "other", "from": at, "to": to}
    return [{"type": "header", "format": "jaga-ledger/1"}, listed | {"checks": checks}, seen | {"outcome": "pass"}]


@pytest.fixture
def whole(cli: Cli, watched: str, certificate: str) -> str:
    """Where the daemon listens. Its configuration has an objective and a check that sees a certificate, its ledger the
    month before, which it will close by itself.

    Nobody trusts that certificate: its expiry must be seen all the same.
    """
    written = cli.folder / "config" / "jaga.yaml"
    text = written.read_text().replace(
        "        credits:", "        objective: 99.9999%\n        grace: 1s\n        credits:"
    )
    check = f'      certificate: {{sla: false, interval: 3s, tls: {{connect: "{certificate}"}}}}\n'
    written.write_text(text.replace("    checks:\n", "    checks:\n" + check))
    lines = history(datetime.now(timezone(timedelta(hours=7))).date())
    (cli.folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    cli("ledger", "import", "history.jsonl")
    return watched


@pytest.fixture
def prometheus(tmp_path: Path, whole: str) -> Iterator[str]:
    folder = tmp_path / "prometheus"
    shutil.copytree(shipped("prometheus"), folder)
    scrape = folder / "scrape" / "prometheus.yml"
    scrape.write_text(scrape.read_text().replace("15s", "1s").replace("127.0.0.1:9464", whole))
    arguments = ["--config.file=scrape/prometheus.yml", "--storage.tsdb.path=data"]
    process, url = started("prometheus", arguments, folder, "/-/ready")
    yield url
    process.end()


@pytest.mark.slow
def test_every_query_returns_data(cli: Cli, sample: Sample, prometheus: str) -> None:
    daemon = daemon_in(cli)
    try:
        eventually("it is scraped", lambda: is_scraped(prometheus, "1"))
        start, end = "2030-01-01T00:00:00+07:00", "2030-01-01T01:00:00+07:00"
        cli("maintenance", "announce", "cloud", "--start", start, "--end", end, "--summary", "upgrade")
        sample.set_mode("most")
        eventually("it is down", lambda: _asked(prometheus, 'sla_service_state{state="down"} == 1') == "data")
        wanting = {
            where: filled(expression)
            for path in DASHBOARDS
            for where, expression in queries(path)
            # Nobody is in a window here, and the condition is the point of the query.
            if where.split(": ")[1] != "annotation Maintenance" and not any(name in expression for name in NOT_HERE)
        }
        assert len(wanting) > 50

        def all_answer() -> bool:
            for where, expression in list(wanting.items()):
                if _asked(prometheus, expression) == "data":
                    del wanting[where]
            return not wanting

        try:
            eventually("every query has data", all_answer)
        except AssertionError:
            pytest.fail("\n".join(f"{where}: {_asked(prometheus, query)}: {query}" for where, query in wanting.items()))
        assert daemon.stop(signal.SIGTERM) == 0
    finally:
        daemon.end()


def _asked(prometheus: str, expression: str) -> str:
    """`data`, `nothing`, or what is wrong with the expression."""
    try:
        answer = json.loads(fetch(f"{prometheus}/api/v1/query?query={quote(expression)}"))
    except OSError as error:
        return str(error)
    return "data" if answer["data"]["result"] else "nothing"

"""The real command line around a real daemon: check, probe, run, break, see it everywhere, stop, verify."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from datetime import datetime

import yaml

from tests.e2e.conftest import JAGA, PATIENCE_S, Cli, Process, Sample, eventually, fetch, shown


def test_a_probe_shows_its_steps(cli: Cli, sample: Sample) -> None:
    said = cli("probe", "cloud/order")
    assert "cloud/order: pass" in said
    for piece in ("log in", "clean up (finally)", "processing", "status 201", "extracted order = ord-"):
        assert piece in said
    document = json.loads(cli("probe", "cloud/order", "--json"))
    assert [step["name"] for step in document["steps"]] == ["log in", "order", "clean up"]
    assert datetime.fromisoformat(document["at"]).tzinfo is not None
    assert "░" in said
    log = json.loads(cli("probe", "cloud/order", "--har"))["log"]
    assert [entry["comment"] for entry in log["entries"]] == ["log in", "order", "clean up"]
    assert [entry["request"]["method"] for entry in log["entries"]] == ["POST", "POST", "DELETE"]
    assert all(entry["timings"]["wait"] > 0 for entry in log["entries"])
    assert "rahasia" not in json.dumps(log)
    assert "leave --json and --watch away" in cli("probe", "cloud/order", "--har", "--json", code=2)
    sample.set_mode("half")
    said = cli("probe", "cloud/order", code=1)
    assert "http_status in 'order'" in said
    assert 'did you mean "cloud/order"?' in cli("probe", "cloud/oder", code=2)


def test_a_probe_is_watched_until_it_is_interrupted(cli: Cli, sample: Sample) -> None:
    arguments = [str(JAGA), "probe", "cloud/health", "--watch", "--every", "0.2", "--json"]
    process = Process.start(arguments, cli.folder, read="stdout")
    try:
        seen = [json.loads(process.line(lambda line: line.startswith("{")))["outcome"] for _ in range(3)]
        sample.set_mode("most")
        process.line(lambda line: json.loads(line)["outcome"] == "fail")
        assert process.stop(signal.SIGINT) == 1, "the last one failed"
    finally:
        process.end()
    assert seen == ["pass"] * 3


def test_the_whole_way(cli: Cli, sample: Sample, daemon: tuple[Process, str]) -> None:
    process, pages = daemon
    assert fetch(f"{pages}/-/ready") == "ready\n"
    eventually("all four pass", lambda: len(shown(pages)["passing"]) == 4)

    sample.set_mode("half")
    eventually("two of four fail", lambda: len(shown(pages)["failing"]) == 2)

    def half() -> bool:
        """The verb reads the ledger beside the daemon."""
        beside = cli.status()
        return beside["verdict"] == "up" and "exactly half is not downtime" in beside["why"]

    eventually("half is up", half)

    sample.set_mode("most")
    eventually("down", lambda: shown(pages)["verdict"] == "down")
    eventually("down on the pages", lambda: 'state="down"} 1.0' in fetch(f"{pages}/metrics"))
    metrics = fetch(f"{pages}/metrics")
    assert 'sla_service_up{sla_service="cloud"} 0.0' in metrics
    assert "_created" not in metrics
    assert "rahasia" not in metrics
    assert "Sample cloud" in fetch(f"{pages}/")
    promtool = shutil.which("promtool")
    if promtool is not None:
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=metrics, capture_output=True, text=True, check=False, timeout=30
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")

    sample.set_mode("healthy")
    eventually("up again", lambda: shown(pages)["verdict"] == "up")
    assert process.stop(signal.SIGTERM) == 0

    assert "The chain holds" in cli("ledger", "verify")
    month = cli.status()["months"][0]["month"]
    statement = json.loads(cli("statement", "--month", month, "--format", "json"))[0]
    assert len(statement["outages"]) == 1
    assert statement["outages"][0]["peak_failing"] == "3/4"
    assert "credit = IDR 12500000" in cli("explain", "acme", month)
    everything = "".join(path.read_bytes().decode("latin-1") for path in cli.folder.rglob("*.db*"))
    assert "rahasia" not in everything


def test_totals_survive_a_restart(cli: Cli, sample: Sample) -> None:
    counts: list[float] = []
    for _ in range(2):
        process = Process.start([str(JAGA), "run", "--log-format", "json"], cli.folder, read="stderr")
        try:
            pages = json.loads(process.line(lambda line: '"event":"ready"' in line))["pages"]

            def attempts(pages: str = pages) -> float:
                lines = fetch(f"{pages}/metrics").splitlines()
                return sum(float(line.split()[-1]) for line in lines if line.startswith("sla_check_attempts_total{"))

            least = (counts or [0])[-1] + 3
            eventually("three more runs", lambda least=least, attempts=attempts: attempts() >= least)  # type: ignore[misc]
            counts.append(attempts())
            assert process.stop(signal.SIGINT) == 0
        finally:
            process.end()
    assert counts[1] >= counts[0] + 3


def test_verbs_reach_a_running_daemon_and_it_reads_its_configuration_again(
    cli: Cli, daemon: tuple[Process, str]
) -> None:
    process, pages = daemon
    start, end = "2030-01-01T00:00:00+07:00", "2030-01-01T01:00:00+07:00"
    asked = ("maintenance", "announce", "cloud", "--start", start, "--end", end, "--summary", "upgrade")
    assert "recorded maintenance m-1" in cli(*asked, "--by", "sari")
    assert shown(pages)["maintenance"][0]["id"] == "m-1"
    assert "recorded maintenance_cancelled" in cli("maintenance", "cancel", "m-1")
    assert "there is no window m-7" in cli("maintenance", "cancel", "m-7", code=1)

    written = cli.folder / "config" / "jaga.yaml"
    written.write_text(written.read_text().replace("name: Sample cloud", "nmae: Renamed"))
    process.child.send_signal(signal.SIGHUP)
    assert 'did you mean \\"name\\"?' in process.line(lambda line: "not reloaded" in line)
    written.write_text(written.read_text().replace("nmae: Renamed", "name: Renamed"))
    process.child.send_signal(signal.SIGHUP)
    process.line(lambda line: '"event":"configuration reloaded"' in line)
    eventually("the new name", lambda: shown(pages)["name"] == "Renamed")


def test_a_service_that_is_down_keeps_its_list_unless_somebody_insists(
    cli: Cli, sample: Sample, daemon: tuple[Process, str]
) -> None:
    _process, pages = daemon
    eventually("all four pass", lambda: len(shown(pages)["passing"]) == 4)
    assert "The new configuration is in force." in cli("reload")
    sample.set_mode("most")
    eventually("down", lambda: shown(pages)["verdict"] == "down")
    written = cli.folder / "config" / "jaga.yaml"
    before = written.read_text()
    written.write_text(before.replace("services:\n  cloud:", "services: {}\nold:\n  cloud:", 1))
    assert "old" in cli("reload", code=2)
    # Fewer checks, and none of those that fail: that would end the outage.
    failing = shown(pages)["failing"]
    document = yaml.safe_load(before)
    checks = document["services"]["cloud"]["checks"]
    document["services"]["cloud"]["checks"] = {name: checks[name] for name in checks if name not in failing}
    written.write_text(yaml.safe_dump(document, sort_keys=False))
    assert "cloud: not up, keeps its check list" in cli("reload", code=1)
    assert shown(pages)["verdict"] == "down"
    assert "--while-down needs --reason" in cli("reload", "--while-down", code=2)
    cli("reload", "--while-down", "--reason", "the others are of a page that is gone", "--by", "sari")
    eventually("the shorter list", lambda: shown(pages)["total"] == 4 - len(failing))
    adopted = [json.loads(line) for line in cli("ledger", "export").splitlines() if '"type":"checks"' in line]
    assert [(fact.get("by"), fact.get("note")) for fact in adopted] == [
        (None, None),
        ("sari", "while the service was not up: the others are of a page that is gone"),
    ]


def test_a_second_daemon_is_refused(cli: Cli, daemon: tuple[Process, str]) -> None:
    process, _pages = daemon
    assert f"owned by pid {process.child.pid} on" in cli("run", code=2)


def test_nobody_reads_any_more(cli: Cli) -> None:
    command = f"'{JAGA}' --help | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout.splitlines()[0].startswith("Usage: jaga")
    assert "Traceback" not in done.stderr

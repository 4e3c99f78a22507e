"""The benches run and end in one JSON object. What they measure is judged by readers, never by a test."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import harness


@pytest.mark.slow
def test_fidelity_ends_in_one_json_object(project_root: Path) -> None:
    command = [sys.executable, "-m", "bench.fidelity", "--count", "30"]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=True, timeout=280)
    said = json.loads(done.stdout.splitlines()[-1])
    assert {"bench", "figures", "peers"} <= set(said)
    assert said["figures"]["idle"]["engine_p50_ms"] > 0


def test_metrics_compares_the_same_bytes_and_ends_in_one_json_object(project_root: Path) -> None:
    command = [sys.executable, "-m", "bench.metrics", "--only", "rendering", "--rounds", "2", "--series", "500"]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=True, timeout=280)
    said = json.loads(done.stdout.splitlines()[-1])
    assert {"bench", "figures", "peers"} <= set(said)
    assert said["figures"]["rendering"]["series"] >= 500


def test_the_schedule_alone_starts_what_is_due_and_ends_in_one_json_object(project_root: Path) -> None:
    words = ["--checks", "200", "--interval", "1", "--seconds", "2"]
    command = [sys.executable, "-m", "bench.schedule", *words]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=True, timeout=280)
    said = json.loads(done.stdout.splitlines()[-1])
    assert {"bench", "figures", "peers"} <= set(said)
    assert said["figures"]["starts"] > 0
    assert said["figures"]["early"] == 0


@pytest.mark.slow
def test_start_makes_a_record_that_a_daemon_goes_on_from(project_root: Path) -> None:
    sizes = ["--entries", "20", "--spans", "2000", "--runs", "3000", "--rounds", "1"]
    command = [sys.executable, "-m", "bench.start", *sizes]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=True, timeout=280)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["figures"]["runs"] == 3000
    assert said["figures"]["ready_s"] > 0


@pytest.mark.parametrize("name", ["probes", "daemon", "fidelity", "metrics", "schedule", "storage", "start", "verify"])
def test_each_bench_loads_and_says_how_it_is_called(name: str) -> None:
    module = importlib.import_module(f"bench.{name}")
    assert f"python -m bench.{name}" in (module.__doc__ or "")


def test_ratios_are_medians_of_paired_rounds() -> None:
    rounds = [{"ours": 1.0, "peer": 4.0}, {"ours": 9.0, "peer": 9.0}, {"ours": 1.0, "peer": 2.0}]
    assert harness.median_ratio(rounds, "ours", "peer") == 0.5
    assert harness.rotated(["a", "b", "c"], 4) == ["b", "c", "a"]


def test_a_missing_tool_says_what_to_install() -> None:
    with pytest.raises(harness.MissingError, match="install nothing-such"):
        harness.tool("no-such-program", "nothing-such")

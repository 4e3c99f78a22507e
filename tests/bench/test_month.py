"""The bench of a month runs, finds what SQL finds, and ends in one JSON object; how long things take is no test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SMALL = ("--services", "3", "--days", "2", "--peer-services", "1", "--live-services", "1", "--live-hours", "1")


def test_the_bench_of_a_month(project_root: Path) -> None:
    command = [sys.executable, "bench/month.py", *SMALL]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["bench"] == "month"
    assert found["figures"]["sweep"]["runs"] == 2 * 5 * 1440
    assert found["figures"]["statements"]["services"] == 3
    assert [day["day"] for day in found["figures"]["live"]["days"]] == [
        "60s-calm",
        "60s-restless",
        "5s-calm",
        "5s-restless",
    ]
    assert found["peers"]["sql_window_functions"]["cpu_s"] > 0

"""kill -9 around each commit of an outage's life: no escalation is lost, none is made twice, each has its message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KILLED = Path(__file__).with_name("killed.py")
ROOT = Path(__file__).parents[2]
MOST_COMMITS = 60
KEYS = [
    "incident/i-1/level-1/technical-support/log",
    "incident/i-1/level-2/escalation-manager/log",
    "incident/i-1/level-3/management/log",
]


def acts(found: dict[str, Any]) -> list[list[Any]]:
    """The opening and the escalations; when a link is noted between them depends on how long the monitor was away."""
    return [told for told in found["told"] if told[0] in {"opened", "escalated"}]


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_no_act_is_lost_or_doubled(tmp_path: Path, when: str) -> None:
    command = [sys.executable, str(KILLED), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def played(number: int) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{number} {when}\n")
            process.stdin.flush()
            found: dict[str, Any] = json.loads(process.stdout.readline())
            return found

        whole = played(0)
        assert not whole["killed"]
        assert whole["messages"] == KEYS
        kills = 0
        for number in range(1, MOST_COMMITS):
            found = played(number)
            if not found["killed"]:
                break
            kills += 1
            assert acts(found) == acts(whole) == [["opened", None], *(["escalated", n] for n in (1, 2, 3))], found
            assert found["messages"] == KEYS, (number, found)
            assert [due - found["due"][0] for due in found["due"]] == [0, 4 * 3_600_000_000, 8 * 3_600_000_000]
        assert kills > 20
        process.stdin.close()
        assert process.wait(120) == 0

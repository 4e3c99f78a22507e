"""The golden months' statements, explanations and closes are the same bytes in every zone and locale (CONTRACT 2.9)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import reading

SCRIPT = Path(__file__).with_name("elsewhere.py")
USUAL = {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "0"}


def statements(place: dict[str, str]) -> bytes:
    told = {name: value for name, value in os.environ.items() if name not in {"LANG", "LC_ALL", "TZ"}}
    told |= place | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(SCRIPT)], env=told, capture_output=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def usual() -> bytes:
    return statements(USUAL)


def test_every_golden_month_is_told_and_most_close(usual: bytes) -> None:
    lines = usual.splitlines()
    assert {case.name.encode() for case in reading.cases()} <= set(lines)
    assert sum(b'"type":"close"' in line for line in lines) >= len(reading.cases()) // 2
    assert sum(b"needs adjudication" in line for line in lines) >= 1


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "place",
    [
        {"TZ": "America/New_York", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"},
        {"TZ": "Asia/Jakarta", "LC_ALL": "id_ID.UTF-8", "LANG": "de_DE.UTF-8", "PYTHONHASHSEED": "2"},
    ],
    ids=lambda place: place["TZ"],
)
def test_zone_locale_and_hash_seed_change_no_byte(place: dict[str, str], usual: bytes) -> None:
    assert statements(place) == usual

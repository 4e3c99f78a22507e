"""The worked cases of the business clock through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Jaga

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[1] / "cases" / "business_clock.json").read_text(),
)["cases"]


def _asked(case: dict[str, Any], *more: str) -> list[str]:
    pauses = [word for pause in case["pauses"] for word in ("--pause", f"{pause['start']}/{pause['end']}")]
    target = f"{case['target_minutes']}m"
    return ["clock", "--start", case["start"], "--target", target, "--hours", case["clock"], *pauses, *more]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_worked_cases(jaga: Jaga, case: dict[str, Any]) -> None:
    assert jaga(*_asked(case)).json() == case["expected"]["national"]
    assert jaga(*_asked(case, "--collective-leave")).json() == case["expected"]["national_plus_cuti_bersama"]


def test_a_due_beyond_the_tables_is_provisional(jaga: Jaga) -> None:
    said = jaga("clock", "--start", "2031-04-07T10:00:00+07:00", "--target", "8h")
    assert said.code == 0
    assert "provisional" in said.err
    assert set(said.json()) == {"due", "escalate_75"}


@pytest.mark.parametrize("wrong", [["--zone", "Asia/Jakart"], ["--holidays", "ie"], ["--pause", "now"]])
def test_wrong_use(jaga: Jaga, wrong: list[str]) -> None:
    said = jaga("clock", "--start", "2026-04-07T10:00:00+07:00", "--target", "8h", *wrong)
    assert said.code == 2
    assert said.out == ""

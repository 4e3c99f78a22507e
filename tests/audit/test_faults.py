"""The audit disagrees with every seeded mistake of the arithmetic, and with none of the core as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.mutants.catalogue import EQUIVALENT, MUTANTS, Mutant
from tests.mutants.killing import UNMUTATED
from tests.mutants.mutation import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    """What the audit said of each mistake: one process imports the libraries and forks for each."""
    command = [sys.executable, "-m", "tests.audit.faults"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return {found["name"]: found for found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_audit_disagrees_with_a_wrong_core(mutant: Mutant, answers: dict[str, dict[str, Any]]) -> None:
    found = answers[mutant.name]
    assert found["cases"], f"the audit accepts statements of a core where {mutant.why}: {found['said']}"


@pytest.mark.parametrize("name", [UNMUTATED, *(mutant.name for mutant in EQUIVALENT)])
def test_the_audit_agrees_with_a_right_core(name: str, answers: dict[str, dict[str, Any]]) -> None:
    assert not answers[name]["cases"]
    assert not answers[name]["said"]

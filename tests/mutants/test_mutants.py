"""Every seeded mistake of the arithmetic is noticed; the core as it is passes; what is no mistake goes unnoticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cases import reading
from tests.mutants import killing
from tests.mutants.catalogue import EQUIVALENT, MUTANTS, Mutant, named
from tests.mutants.mutation import ROOT, StaleMutantError, mutated_source, tree

FEWEST = 25
PRINT_ONE_HALF = (
    "from monitor.core.verdict import Tally, by_majority; "
    "print(by_majority(Tally(failing=1, total=2, public_failing=1, public_total=2)))"
)


@pytest.fixture(scope="module")
def fates() -> dict[str, dict[str, Any]]:
    """What became of every mutant: one process imports the tests' libraries and forks for each."""
    command = [sys.executable, "-m", "tests.mutants.killing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return {found["name"]: found for found in map(json.loads, done.stdout.splitlines())}


def test_there_are_enough_mutants_each_with_its_clause_and_witness() -> None:
    assert len(MUTANTS) >= FEWEST
    assert len({mutant.name for mutant in (*MUTANTS, *EQUIVALENT)}) == len(MUTANTS) + len(EQUIVALENT)
    cases = {path.stem for path in reading.FOLDER.glob("*.yaml")}
    for mutant in MUTANTS:
        assert (mutant.case is None) != (mutant.test is None), mutant.name
        assert mutant.case is None or mutant.case in cases, mutant.name
        assert mutant.clause
        assert mutant.why


@pytest.mark.parametrize("mutant", [*MUTANTS, *EQUIVALENT], ids=lambda mutant: mutant.name)
def test_the_catalogue_follows_the_code(mutant: Mutant) -> None:
    source = mutated_source(mutant)
    compile(source, mutant.file, "exec")
    old, new = (len(text.splitlines()) for text in (mutant.old, mutant.new or " "))
    assert old == new == 1, "a mutant changes one line"


def test_a_mutant_whose_line_is_gone_is_an_error() -> None:
    stale = Mutant(name="stale", file="span.py", old="no such line", new="", why="a test", clause="2.5.3")
    with pytest.raises(StaleMutantError, match=r"mutant stale: span\.py has its text 0 times"):
        mutated_source(stale)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_witness_notices_the_mutant(mutant: Mutant, fates: dict[str, dict[str, Any]]) -> None:
    found = fates[mutant.name]
    assert found["by_witness"], f"{killing.witness(mutant)} passes on a core where {mutant.why}: {found['said']}"


@pytest.mark.slow
def test_the_core_as_it_is_passes(fates: dict[str, dict[str, Any]]) -> None:
    found = fates[killing.UNMUTATED]
    assert not found["by_fast_set"], found["said"]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", EQUIVALENT, ids=lambda mutant: mutant.name)
def test_what_is_no_mistake_is_reported_as_surviving(mutant: Mutant, fates: dict[str, dict[str, Any]]) -> None:
    found = fates[mutant.name]
    assert not found["by_fast_set"], f"{mutant.why}, yet: {found['said']}"


def printed(*arguments: str, folder: Path | None = None) -> str:
    environment = dict(os.environ) | ({"PYTHONPATH": str(folder)} if folder else {})
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder or ROOT, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


def test_any_python_command_runs_on_a_mutated_core() -> None:
    assert printed("-c", PRINT_ONE_HALF) == "up"
    assert printed("-m", "tests.mutants.under", "half_is_down", "-c", PRINT_ONE_HALF) == "down"


def test_a_mutated_copy_serves_processes_that_start_others(tmp_path: Path) -> None:
    folder = tree(named("half_is_down"), tmp_path / "mutated")
    assert printed("-c", PRINT_ONE_HALF, folder=folder) == "down"
    assert "jaga" in printed("-c", "from monitor.cli import main; main()", "--version", folder=folder)

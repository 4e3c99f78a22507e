"""kill -9 at any moment (F4): no acknowledged run lost or doubled, the gap unknown, closed seconds unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.judging import STALE_US, FoundOutError
from tests.faults.killing import LONG_GAP_S, kill_often
from tests.faults.mutants import MUTANTS
from tests.faults.victim import COMMITS, POINTS

KILLS = 100
SEED = 20261125
PATIENCE = 400
"""A mutant is found out within so many kills, or the test of the tests has failed. Most are after ten; which runs are
lost where, and whether they said something else than their neighbours, is chance that no seed takes away.
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_hundred_kills_lose_nothing_double_nothing_and_change_no_closed_second(tmp_path: Path) -> None:
    tally = await kill_often(tmp_path, KILLS, seed=SEED)
    assert tally.kills == KILLS
    assert set(tally.at) == {"random", *POINTS}, "every named point had its deaths"
    assert tally.acknowledged > KILLS, "the lives were long enough to acknowledge something"
    assert tally.runs >= tally.acknowledged
    assert tally.unknown_s >= LONG_GAP_S - STALE_US / 1e6, "the time of the dead is unknown"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", sorted(MUTANTS))
async def test_a_daemon_with_a_planted_fault_is_found_out(tmp_path: Path, mutant: str) -> None:
    with pytest.raises(FoundOutError):
        await kill_often(tmp_path, PATIENCE, seed=SEED, at_points=0.8, points=COMMITS, mutant=mutant)

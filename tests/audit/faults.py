"""Holds the audit against statements of a wrong core: `python -m tests.audit.faults` prints a JSON line a mistake.

Each mistake of the catalogue runs in a process of its own, on the golden month that the catalogue names for it and,
where that says nothing or none is named, on random worlds. `cases` are the fields in which the audit disagreed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.audit.worlds import DAY
from tests.mutants import killing
from tests.mutants.catalogue import EQUIVALENT, MUTANTS, Mutant, named
from tests.mutants.mutation import ROOT

WORLDS = (20, 24)
"""Seeds of the random worlds that every mistake may show itself in."""


def judged(mutant: Mutant | None) -> dict[str, Any]:
    """Where the audit disagrees with the core in place: at most the first statements in which it does."""
    # Nothing of the product may be imported before the mistake is in place.
    from tests.cases import reading  # noqa: PLC0415

    name = killing.UNMUTATED if mutant is None else mutant.name
    months = ["notice_exactly_48h"] if mutant is None else [mutant.case] if mutant.case else []
    found: list[str] = []
    for case in months:
        found = found or _golden(reading.read(reading.FOLDER / f"{case}.yaml"))
    found = found or _hurried()
    for seed in WORLDS:
        found = found or _random(seed)
    return {"name": name, "cases": found[:5]}


def _golden(case: Any) -> list[str]:  # noqa: ANN401 - its type is the product's, see above
    from tests.audit.books import books  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder, books(Path(folder), case.now_us, case.lines) as kept:
        found = kept.audited(kept.statements(str(case.month)), running=True)
        if not found:
            kept.close(str(case.month))
            found = kept.audited(kept.statements(str(case.month)), running=True)
        return found


def _hurried() -> list[str]:
    """A month that is closed a day after its end, if that is let through."""
    from tests.audit.books import books  # noqa: PLC0415
    from tests.cases import reading  # noqa: PLC0415

    case = reading.read(reading.FOLDER / "nothing_to_claim.yaml")
    with tempfile.TemporaryDirectory() as folder, books(Path(folder), case.now_us - 9 * DAY, case.lines) as kept:
        kept.close(str(case.month))
        return kept.audited(kept.statements(str(case.month)))


def _random(seed: int) -> list[str]:
    from tests.audit.books import books, through_a_life  # noqa: PLC0415
    from tests.audit.worlds import world  # noqa: PLC0415

    given, found = world(seed), list[str]()
    with tempfile.TemporaryDirectory() as folder, books(Path(folder), given.now_us, given.lines) as kept:

        def judge(stage: str, documents: list[dict[str, Any]]) -> None:
            if not found:
                found.extend(f"{stage}: {each}" for each in kept.audited(documents))

        through_a_life(kept, given, judge)
    return found


def main(names: list[str]) -> None:
    os.chdir(ROOT)
    chosen: list[Mutant | None] = [named(name) for name in names] if names else [None, *MUTANTS, *EQUIVALENT]
    for found in killing.each(chosen, judged):
        print(json.dumps(found), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main(sys.argv[1:])

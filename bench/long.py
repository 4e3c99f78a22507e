"""kill -9 of real daemons, hundreds of times: what tests/faults/test_kill.py does in CI, for as long as you like.

    python -m bench.long [--kills 500] [--seed N] [--folder DIR]

Progress goes to stderr; the last line of stdout is one JSON object. Exit code 1 where the record is not what was
promised; the seed that is printed makes the same orders again (the moments of death are the machine's own).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.judging import FoundOutError
from tests.faults.killing import Tally, kill_often

EVERY = 25


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def answer(figures: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"bench": "long", "figures": figures, "peers": {}}) + "\n")


def told(tally: Tally) -> None:
    if tally.kills % EVERY == 0:
        say(f"{tally.kills} kills, {tally.acknowledged} runs acknowledged, {tally.runs} on record")


def figures(tally: Tally) -> dict[str, object]:
    ready_s = sorted(tally.ready_s)
    return {
        "kills": tally.kills,
        "kills_by_place": dict(sorted(tally.at.items())),
        "kills_before_ready": tally.before_ready,
        "acknowledged_runs": tally.acknowledged,
        "acknowledged_runs_lost": 0,
        "runs_doubled": 0,
        "closed_seconds_changed": 0,
        "unknown_s": round(tally.unknown_s, 1),
        "ready_after_kill_median_s": round(statistics.median(ready_s), 3),
        "ready_after_kill_worst_s": round(ready_s[-1], 3),
        "took_s": round(tally.took_s, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="kill -9 of real daemons on one ledger, over and over")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--folder", type=Path, help="where the ledger is made; kept")
    asked = parser.parse_args()
    say(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="jaga-long-") as scratch:
        folder = asked.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            tally = asyncio.run(kill_often(folder, asked.kills, seed=asked.seed, say=told))
        except FoundOutError as error:
            say(f"seed {asked.seed}: {error}")
            answer({"seed": asked.seed, "broken": str(error)})
            return 1
    # What was lost, doubled or changed would have ended the session above.
    answer({"seed": asked.seed} | figures(tally))
    return 0


if __name__ == "__main__":
    sys.exit(main())

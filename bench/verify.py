"""How long `jaga ledger verify` takes over 10^6 entries, beside the SHA-256 of the same bytes alone.

python -m bench.verify [--entries 1000000]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

from monitor.core.fact import Claim
from monitor.ledger.verify import verify
from monitor.sealing.checkpoints import Sealer, place_of
from monitor.sealing.keys import checks
from monitor.storage import Unit
from monitor.storage.sqlite import open_reader, open_store

CHECKPOINT_EVERY = 500
"""Entries between two checkpoints."""


def fill(folder: Path, entries: int) -> None:
    """A ledger of claims with a checkpoint every so often."""
    store, sealer = open_store(folder / "ledger.db"), Sealer(place_of("sqlite:///ledger.db", base=folder))
    named = sealer.open(store, 1)
    assert named is not None
    store.commit(named)
    made = 0
    while made < entries:
        facts = [
            Claim(partner=f"partner-{n % 50}", service="portal", month="2026-04", at_us=n, by="somebody")
            for n in range(made, made + CHECKPOINT_EVERY)
        ]
        store.commit(Unit(recorded_at_us=made + 10, facts=facts))
        signed = sealer.checkpoint(store, made + CHECKPOINT_EVERY + 10)
        assert signed is not None
        store.commit(signed[0])
        sealer.latest = signed[1]
        made += CHECKPOINT_EVERY + 1
        sys.stderr.write(f"\r{made} entries written")
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    entries = parser.parse_args().entries
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fill(folder, entries)
        reader = open_reader(folder / "ledger.db")
        began = time.perf_counter()
        digest = hashlib.sha256()
        size = 0
        for _columns, data in reader.raw_entries():
            digest.update(data)
            size += len(data)
        read_s = time.perf_counter() - began
        began, began_cpu = time.perf_counter(), time.process_time()
        steps: list[int] = []
        report = verify(reader, checks=checks, deep=False, progress=lambda done, _all: steps.append(done))
        chain_s, chain_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        began, began_cpu = time.perf_counter(), time.process_time()
        deep = verify(reader, checks=checks)
        deep_s, deep_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        reader.close()
    assert report.holds
    assert deep.holds
    figures = {
        "entries": report.entries,
        "entry_bytes": size,
        "checkpoints": report.checkpoints,
        "chain_and_checkpoints_s": round(chain_s, 3),
        "chain_and_checkpoints_cpu_s": round(chain_cpu_s, 3),
        "everything_s": round(deep_s, 3),
        "everything_cpu_s": round(deep_cpu_s, 3),
        "progress_steps": len(steps),
        "ratio_to_reading_and_one_hash": round(chain_s / read_s, 2),
    }
    sys.stderr.write("\n")
    peers = {"read_and_sha256_s": round(read_s, 3)}
    sys.stdout.write(json.dumps({"bench": "verify", "figures": figures, "peers": peers}) + "\n")


if __name__ == "__main__":
    main()

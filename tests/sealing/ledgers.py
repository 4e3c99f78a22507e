"""A sealed ledger in a real SQLite file, and the hands of somebody who changes it knowing exactly how it is made."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from monitor.core.chain import GENESIS, canonical
from monitor.core.checkpoint import Checkpoint, PublicKey
from monitor.core.fact import Claim, Exclusion, ExclusionReason, Fact, Maintenance, Notice
from monitor.core.instant import HOUR_US
from monitor.core.merkle import Frontier, leaf_hash
from monitor.core.run import Outcome, Run
from monitor.ledger.verify import Outside, VerifyReport, verify
from monitor.sealing.checkpoints import Sealer, place_of
from monitor.sealing.keys import SigningKey, checks, read_key
from monitor.storage import Unit
from monitor.storage.checksum import checksum, covered
from monitor.storage.schema import LEDGER
from monitor.storage.sqlite import open_reader, open_store
from monitor.storage.writing import SqlStore

NOW_US = 1_775_001_600_000_000
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where it is. Its key lies beside it."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "ledger.db"

    def sealer(self) -> Sealer:
        return Sealer(place_of("sqlite:///ledger.db", base=self.folder))

    def verify(self, outside: Outside | None = None) -> VerifyReport:
        reader = open_reader(self.path)
        try:
            return verify(reader, checks=checks, outside=outside)
        finally:
            reader.close()

    def found(self, outside: Outside | None = None) -> list[tuple[int, str]]:
        return [(problem.seq, problem.kind) for problem in self.verify(outside).problems]


def claim(n: int) -> Claim:
    return Claim(partner="acme", service="portal", month="2026-03", at_us=NOW_US + n)


def window(id_: str, at_us: int) -> tuple[Fact, Fact]:
    """A maintenance that qualifies: announced and told 49 hours ahead of `NOW_US` + 50 h."""
    start_us = NOW_US + 50 * HOUR_US
    announced = Maintenance(id=id_, services=("portal",), start_us=start_us, end_us=start_us + HOUR_US, at_us=at_us)
    return announced, Notice(maintenance=id_, partner="acme", at_us=at_us, channel="email", receipt="250 ok")


def run(n: int) -> Run:
    outcome = Outcome.FAIL if n % 7 == 0 else Outcome.PASS
    return Run(
        service="portal",
        check="login",
        location="jkt-1",
        start_us=NOW_US + n * 1_000_000,
        outcome=outcome,
        duration_us=80_000 + n,
        reason="timeout" if outcome is Outcome.FAIL else None,
        message=f"no answer within {n} s" if outcome is Outcome.FAIL else None,
    )


def seal(store: SqlStore, sealer: Sealer, now_us: int) -> str:
    """A checkpoint over what there is; its note."""
    made = sealer.checkpoint(store, now_us)
    assert made is not None
    unit, note = made
    store.commit(unit)
    sealer.recorded(note)
    return note


def make(folder: Path) -> tuple[Ledger, list[str]]:
    """Entries: 1 key, 2-4 claims, 5 checkpoint of 4, 6-7 a window told in time, 8 an exclusion, 9 checkpoint of 8, 10 a
    claim that no checkpoint covers. The notes of the two checkpoints.
    """
    ledger = Ledger(folder)
    store, sealer = open_store(ledger.path), ledger.sealer()
    named = sealer.open(store, NOW_US)
    assert named is not None
    store.commit(named)
    store.commit(
        Unit(recorded_at_us=NOW_US + 1, facts=[claim(1), claim(2), claim(3)], runs=[run(n) for n in range(50)])
    )
    notes = [seal(store, sealer, NOW_US + 10)]
    store.commit(Unit(recorded_at_us=NOW_US + HOUR_US, facts=window("m-1", NOW_US + HOUR_US)))
    store.commit(Unit(recorded_at_us=NOW_US + 2 * HOUR_US, facts=[exclusion()]))
    notes.append(seal(store, sealer, NOW_US + 3 * HOUR_US))
    store.commit(Unit(recorded_at_us=NOW_US + 4 * HOUR_US, facts=[claim(4)]))
    store.close()
    return ledger, notes


def exclusion() -> Exclusion:
    return Exclusion(
        id="x-1",
        reason=ExclusionReason.THIRD_PARTY,
        services=("portal",),
        start_us=NOW_US,
        end_us=NOW_US + 60_000_000,
        at_us=NOW_US + 2 * HOUR_US,
        by="sari",
    )


def tamper(ledger: Ledger, statement: str, *values: object) -> None:
    """SQL on the file, as from a shell."""
    with sqlite3.connect(ledger.path) as raw:
        raw.execute(statement, values)
    raw.close()


def rewrite(ledger: Ledger, change: Callable[[list[Body]], list[Body]]) -> None:
    """Change the entries and make everything anew that can be made without the key: numbers, times, hashes, columns,
    check sums, the head, the index; the mark of the last commit is thrown away.
    """
    raw = sqlite3.connect(ledger.path)
    with raw:
        bodies = change([orjson.loads(data) for (data,) in raw.execute("SELECT data FROM entries ORDER BY seq")])
        raw.execute("DELETE FROM entries")
        prev, own = GENESIS, None
        for seq, body in enumerate(bodies, 1):
            body |= {"seq": seq, "prev": prev}
            data = canonical(body)
            prev = "sha256:" + hashlib.sha256(data).hexdigest()
            own = own or seq
            values = (
                seq,
                body["fact"]["type"],
                body["origin"],
                body["recorded_at_us"],
                body["epoch"],
                body["prev"],
                prev,
            )
            raw.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?)", (*values, data, checksum(values)))
        last = bodies[-1]
        head = (len(bodies), prev, last["epoch"], last["recorded_at_us"], own)
        raw.execute("UPDATE ledger SET seq=?, hash=?, epoch=?, recorded_at_us=?, first_own_seq=?", head)
        # Over the columns as they are, whatever a later schema adds: a sum that is short of one gives the hand away.
        columns = ", ".join(column.name for column in covered(LEDGER))
        row = raw.execute(f"SELECT {columns} FROM ledger").fetchone()  # noqa: S608 - names of our own
        raw.execute("UPDATE ledger SET crc=?", (checksum(row),))
    raw.close()
    ledger.path.with_name("ledger.db-mark").unlink(missing_ok=True)


def ledger_key(ledger: Ledger) -> PublicKey:
    """The key in the ledger's key file."""
    key = read_key(ledger.sealer().place.key)
    assert key is not None
    return key.public


def why_of(ledger: Ledger) -> str:
    """Why the key file's key may not sign for the ledger as it stands."""
    reader, sealer = open_reader(ledger.path), ledger.sealer()
    try:
        sealer.open(reader, NOW_US)
    finally:
        reader.close()
    return sealer.why_not or ""


def resign_with_the_key(
    ledger: Ledger, change: Callable[[list[Body]], list[Body]], key: SigningKey | None = None
) -> list[str]:
    """Rewrite as the operator can, who has the key (or with another one): every checkpoint is signed anew over what now
    stands before it.
    """
    key = key or read_key(ledger.sealer().place.key)
    assert key is not None
    notes: list[str] = []

    def resign(bodies: list[Body]) -> list[Body]:
        tree, prev = Frontier(), GENESIS
        for seq, body in enumerate(change(bodies), 1):
            if body["fact"]["type"] == "checkpoint":
                note = str(key.sign(Checkpoint(key.name, tree.size, tree.root()).text))
                body["fact"]["note"] = note
                notes.append(note)
            body |= {"seq": seq, "prev": prev}
            data = canonical(body)
            prev = "sha256:" + hashlib.sha256(data).hexdigest()
            tree.append(leaf_hash(data))
        return bodies

    rewrite(ledger, resign)
    return notes

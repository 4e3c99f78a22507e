"""An entry: a fact in its place in the chain, and how its hash is made.

The stored canonical bytes are the truth; columns are projections of them that verification compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.core.chain import GENESIS, canonical, digest
from monitor.core.fact import Fact
from monitor.core.run import Origin
from monitor.core.wire import read_fact, write_fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A recorded fact. `recorded_at_us` is when this ledger took it in; imported entries keep that instant outside
    the hashed bytes, so that one file into two empty ledgers gives one head (INTERFACES, interchange).
    """

    seq: int
    fact: Fact
    origin: Origin
    recorded_at_us: int
    epoch: int
    prev: str
    data: bytes
    hash: str

    @property
    def type(self) -> str:
        """The fact's type as written."""
        return self.fact.TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of the chain: how many entries, the hash of the last, the writer's epoch and the last entry time."""

    seq: int = 0
    hash: str = GENESIS
    epoch: int = 0
    recorded_at_us: int = 0


def seal(fact: Fact, *, head: Head, origin: Origin, now_us: int) -> Entry:
    """The entry that follows `head`. Entry times are max(now, previous + 1); imported ones keep theirs unhashed.

    FactError where the fact could not be read back: what is recorded can always be read.
    """
    recorded_at_us = max(now_us, head.recorded_at_us + 1)
    written = write_fact(fact)
    read_fact(written)
    body: dict[str, Any] = {
        "seq": head.seq + 1,
        "prev": head.hash,
        "epoch": head.epoch,
        "origin": origin.value,
        "fact": written,
    }
    if origin is not Origin.IMPORTED:
        body["recorded_at_us"] = recorded_at_us
    data = canonical(body)
    return Entry(
        seq=head.seq + 1,
        fact=fact,
        origin=origin,
        recorded_at_us=recorded_at_us,
        epoch=head.epoch,
        prev=head.hash,
        data=data,
        hash=digest(data),
    )


def head_after(entry: Entry) -> Head:
    """The head once `entry` stands."""
    return Head(seq=entry.seq, hash=entry.hash, epoch=entry.epoch, recorded_at_us=entry.recorded_at_us)


def open_entry(body: Mapping[str, Any], *, data: bytes, recorded_at_us: int) -> Entry:
    """The entry of stored bytes already parsed to `body`; FactError where the fact in it is malformed."""
    return Entry(
        seq=body["seq"],
        fact=read_fact(body["fact"]),
        origin=Origin(body["origin"]),
        recorded_at_us=body.get("recorded_at_us", recorded_at_us),
        epoch=body["epoch"],
        prev=body["prev"],
        data=data,
        hash=digest(data),
    )

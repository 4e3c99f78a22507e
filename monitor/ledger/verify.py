"""Walks the chain as it is stored and names what does not hold: an entry changed, gone, out of its place, a column that
disagrees with its bytes. What a chain alone cannot show, a cut tail or a recomputed whole, is for checkpoints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from monitor.core.chain import GENESIS, canonical
from monitor.core.entry import Head
from monitor.core.instant import format_instant_us
from monitor.core.run import Origin
from monitor.storage import Reader

MAX_PROBLEMS = 100
PROGRESS_EVERY = 2000

_IMPORTED = Origin.IMPORTED.value
_BODY = {"seq", "prev", "epoch", "origin", "fact"}
_UNTIMED = ("type", "origin", "epoch", "prev")
_TIMED = (*_UNTIMED, "recorded_at_us")

# (entries walked, entries the head speaks of)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not hold at which entry. `kind`: missing, changed, misplaced, column, order, form or head."""

    seq: int
    kind: str
    message: str

    def __str__(self) -> str:
        return f"entry {self.seq}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What a walk over the chain found. `more`: problems beyond MAX_PROBLEMS are counted out."""

    entries: int
    head: Head
    problems: tuple[Problem, ...]
    more: bool = False

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify(reader: Reader, *, progress: Progress | None = None) -> VerifyReport:
    """Walk all entries of one committed state of a ledger."""
    with reader.snapshot() as frozen:
        head = frozen.head()
        walk = _Walk()
        entries = 0
        for columns, data in frozen.raw_entries():
            walk.take(columns, data)
            entries += 1
            if progress is not None and entries % PROGRESS_EVERY == 0:
                progress(entries, head.seq)
        walk.end(head, frozen.first_own_entry())
    if progress is not None:
        progress(entries, head.seq)
    return VerifyReport(entries=entries, head=head, problems=tuple(walk.problems), more=walk.more)


class _Walk:
    """The state of a walk: where it stands, and what it found."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.more = False
        self._seq = 0
        self._hash = GENESIS
        self._own_us: int | None = None
        self._first_own_seq: int | None = None

    def take(self, columns: Mapping[str, Any], data: bytes) -> None:
        """The next row."""
        seq = columns["seq"]
        if seq != self._seq + 1:
            gone = f"{self._seq + 1}" if seq == self._seq + 2 else f"{self._seq + 1} to {seq - 1}"
            self._find(seq, "missing", f"follows entry {self._seq}: entry {gone} is gone")
        hashed = "sha256:" + hashlib.sha256(data).hexdigest()
        if hashed != columns["hash"]:
            self._find(seq, "changed", f"its bytes hash to {hashed}, recorded is {columns['hash']}: they were changed")
        body = self._body(seq, data)
        if body is not None:
            self._check_place(seq, body, contiguous=seq == self._seq + 1)
            self._check_columns(columns, body)
            self._check_time(seq, body)
        self._seq, self._hash = seq, hashed

    def end(self, head: Head, first_own_seq: int | None) -> None:
        """After the last row: whether the ledger ends where it says it does."""
        if head.seq > self._seq:
            self._find(
                head.seq,
                "missing",
                f"the ledger ends at entry {self._seq}, its head is {head.seq}: its end was cut off",
            )
        elif (head.seq, head.hash) != (self._seq, self._hash):
            self._find(
                self._seq, "head", f"the last entry hashes to {self._hash}, the head is entry {head.seq}, {head.hash}"
            )
        if first_own_seq != self._first_own_seq:
            message = f"the first entry that was not imported is {self._first_own_seq}, the ledger says {first_own_seq}"
            self._find(self._first_own_seq or 0, "head", message)

    def _body(self, seq: int, data: bytes) -> dict[str, Any] | None:
        try:
            body = orjson.loads(data)
            # Sorted and compact is canonical for all that the record holds, but for keys beyond the basic plane.
            if orjson.dumps(body, option=orjson.OPT_SORT_KEYS) != data and canonical(body) != data:
                self._find(seq, "form", "its bytes are not in canonical form")
            if isinstance(body, dict) and body.keys() >= _BODY and "type" in body["fact"]:
                return body
        except (ValueError, TypeError, AssertionError) as error:
            self._find(seq, "form", f"its bytes are no canonical JSON: {error}")
            return None
        self._find(seq, "form", "its bytes are no entry")
        return None

    def _check_place(self, seq: int, body: Mapping[str, Any], *, contiguous: bool) -> None:
        if body["seq"] != seq:
            self._find(seq, "misplaced", f"its bytes are those of entry {body['seq']}: rows were swapped or renumbered")
        elif contiguous and body["prev"] != self._hash:
            message = (
                f"it follows {body['prev']}, the entry before it hashes to {self._hash}: one of them was exchanged"
            )
            self._find(seq, "changed", message)

    def _check_columns(self, columns: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        imported = body["origin"] == _IMPORTED
        if imported == ("recorded_at_us" in body):
            message = "imported entries alone keep their time of recording outside their bytes"
            self._find(columns["seq"], "form", message)
        for name in _UNTIMED if imported else _TIMED:
            value = body["fact"]["type"] if name == "type" else body.get(name)
            if columns[name] != value:
                message = f'column "{name}" is {columns[name]!r}, its bytes say {value!r}'
                self._find(columns["seq"], "column", message)

    def _check_time(self, seq: int, body: Mapping[str, Any]) -> None:
        recorded_us = body.get("recorded_at_us")
        if body["origin"] == _IMPORTED or not isinstance(recorded_us, int):
            return
        self._first_own_seq = self._first_own_seq or seq
        if self._own_us is not None and recorded_us <= self._own_us:
            before = format_instant_us(self._own_us)
            message = f"recorded at {format_instant_us(recorded_us)}, not after the one before it, {before}"
            self._find(seq, "order", message)
        self._own_us = recorded_us

    def _find(self, seq: int, kind: str, message: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(seq, kind, message))
        else:
            self.more = True

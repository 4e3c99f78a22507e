"""Walks the record as it is stored and names what does not hold: an entry changed, gone, out of its place, a column
that disagrees with its bytes, a checkpoint that the entries before it contradict, a row or page that the store itself
finds damaged. What the record cannot show of itself, a cut tail or a whole recomputed with the key, is for checkpoints
kept elsewhere: they are handed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import orjson

from monitor.core.chain import GENESIS, canonical
from monitor.core.checkpoint import Checkpoint, Checks, Note, NoteError, PublicKey, read_checkpoint
from monitor.core.entry import Head
from monitor.core.fact import CheckpointSigned, KeyAdopted, LossAccepted, PersonalErased
from monitor.core.instant import format_instant_us
from monitor.core.merkle import Frontier, leaf_hash
from monitor.core.personal import references
from monitor.core.run import Origin
from monitor.core.wire import MAX_INTEGER, FactError, read_fact
from monitor.ledger.trust import Trust
from monitor.storage import Reader, StoreDamagedError, StoreError
from monitor.storage.personal import PersonalFiles

MAX_PROBLEMS = 100
PROGRESS_EVERY = 2000

_IMPORTED = Origin.IMPORTED.value
_BODY = {"seq", "prev", "epoch", "origin", "fact"}
_UNTIMED = ("type", "origin", "epoch", "prev")
_TIMED = (*_UNTIMED, "recorded_at_us")
_stated = itemgetter(*_TIMED)
_MAY_REFER = b'"personal:'
_SEALING = {KeyAdopted.TYPE, CheckpointSigned.TYPE, LossAccepted.TYPE, PersonalErased.TYPE}

# (entries walked, entries the head speaks of)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not hold at which entry (0: at none of them). `kind`: missing, changed, misplaced, column, order, form,
    head, checkpoint, key, store or personal.
    """

    seq: int
    kind: str
    message: str

    def __str__(self) -> str:
        return f"entry {self.seq}: {self.message}" if self.seq else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What was kept where the operator cannot reach it: checkpoints as their notes, and a public key."""

    checkpoints: tuple[str, ...] = ()
    key: PublicKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What a walk over the chain found. `more`: problems beyond MAX_PROBLEMS are counted out. `checkpoints` are those
    in the chain that hold, `covered` the entries before the last of them; `remarks` are no problems, but worth knowing.
    """

    entries: int
    head: Head
    problems: tuple[Problem, ...]
    more: bool = False
    checkpoints: int = 0
    covered: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def verify(
    reader: Reader,
    *,
    checks: Checks | None = None,
    outside: Outside | None = None,
    deep: bool = True,
    personal: PersonalFiles | None = None,
    progress: Progress | None = None,
    pause: Callable[[], None] | None = None,
) -> VerifyReport:
    """Walk all entries of one committed state of a ledger, and with `deep` everything else that it holds.

    Without `checks` signatures are not looked at, for who has no cryptography at hand; without `personal` the data
    beside the chain is not, for who has no right to it: the chain stands without both. `pause` is called at least
    several times a second: what it raises ends the walk.
    """
    acknowledged = reader.acknowledged()
    kept = outside or Outside()
    walk = _Walk(Trust(checks, kept.key), kept.checkpoints)
    head = Head()
    try:
        with reader.snapshot() as frozen:
            head = frozen.head()
            for columns, data in frozen.raw_entries():
                walk.take(columns, data)
                if walk.entries % PROGRESS_EVERY == 0:
                    if pause is not None:
                        pause()
                    if progress is not None:
                        progress(walk.entries, head.seq)
            walk.end(head, frozen.first_own_entry())
            if acknowledged is not None:
                walk.store(acknowledged.contradicted_by(frozen))
            if deep:
                walk.store(frozen.damage(pause))
            if personal is not None:
                walk.personal(personal)
    except StoreDamagedError as error:
        walk.store([str(error)])
    if progress is not None:
        progress(walk.entries, head.seq)
    return VerifyReport(
        entries=walk.entries,
        head=head,
        problems=tuple(walk.problems),
        more=walk.more,
        checkpoints=walk.checkpoints,
        covered=walk.covered,
        remarks=tuple(walk.trust.remarks),
    )


class _Walk:
    """The state of a walk: where it stands, and what it found."""

    def __init__(self, trust: Trust, outside: Iterable[str]) -> None:
        self.problems: list[Problem] = []
        self.more = False
        self.trust = trust
        self.entries = 0
        self.checkpoints = 0
        self.covered = 0
        self._seq = 0
        self._hash = GENESIS
        self._own_us: int | None = None
        self._first_own_seq: int | None = None
        self._tree = Frontier()
        self._outside = sorted(((read_checkpoint(note)[0], note) for note in outside), key=lambda found: found[0].size)
        self._met = 0
        self._references: dict[str, int] = {}
        self._erased: dict[str, int] = {}
        self._unsigned: list[tuple[int, Checkpoint, Note]] = []

    def take(self, columns: Mapping[str, Any], data: object) -> None:
        """The next row."""
        seq = columns["seq"]
        self.entries += 1
        if not isinstance(data, bytes):
            self._find(seq, "form", "its bytes are no bytes")
            data = str(data).encode()
        if seq != self._seq + 1:
            gone = f"{self._seq + 1}" if seq == self._seq + 2 else f"{self._seq + 1} to {seq - 1}"
            self._find(seq, "missing", f"follows entry {self._seq}: entry {gone} is gone")
        hashed = "sha256:" + hashlib.sha256(data).hexdigest()
        if hashed != columns["hash"]:
            self._find(seq, "changed", f"its bytes hash to {hashed}, recorded is {columns['hash']}: they were changed")
        body = self._body(seq, data)
        if body is not None:
            contiguous = seq == self._seq + 1
            if body["seq"] != seq or (contiguous and body["prev"] != self._hash):
                self._check_place(seq, body)
            self._check_columns(columns, body)
            self._check_time(seq, body)
            if body["fact"]["type"] in _SEALING and body["origin"] != _IMPORTED:
                self._check_sealing(seq, body["fact"])
            if _MAY_REFER in data:
                for reference in references(data):
                    self._references.setdefault(reference, seq)
        self._tree.append(leaf_hash(data))
        if self._met < len(self._outside):
            self._meet_outside()
        self._seq, self._hash = seq, hashed

    def end(self, head: Head, first_own_seq: int | None) -> None:
        """After the last row: whether the ledger ends where it says it does."""
        self._check_signatures()
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
        for checkpoint, _note in self._outside[self._met :]:
            message = f"a checkpoint of {checkpoint.size} entries was signed, the ledger holds {self._tree.size}"
            self._find(self._seq, "checkpoint", message + ": its end was cut off, or an older state was put back")
        for _checkpoint, note in self._outside:
            why = self.trust.believes(note)
            if why is not None:
                self._find(0, "checkpoint", f"the checkpoint handed in does not count: {why}")
        why = self.trust.outside()
        if why is not None:
            self._find(0, "key", why)

    def store(self, found: Iterable[str]) -> None:
        """What the store itself finds wrong with what it holds."""
        for message in found:
            self._find(0, "store", message)

    def personal(self, files: PersonalFiles) -> None:
        """Whether the data beside the chain is what was committed to, or was erased by an entry that says so."""
        for reference, seq in self._references.items():
            try:
                there = files.read(reference) is not None
            except StoreError as error:
                self._find(seq, "personal", str(error))
                continue
            if there and reference in self._erased:
                self._find(self._erased[reference], "personal", f"{reference} was to be erased, and is still there")
            elif not there and reference not in self._erased:
                self._find(seq, "personal", f"{reference} is gone, and no entry says that it was erased")

    def _body(self, seq: int, data: bytes) -> dict[str, Any] | None:
        try:
            body = orjson.loads(data)
            # Sorted and compact is canonical for all that the record holds, but for keys beyond the basic plane.
            if orjson.dumps(body, option=orjson.OPT_SORT_KEYS) != data and canonical(body) != data:
                self._find(seq, "form", "its bytes are not in canonical form")
            if isinstance(body, dict) and body.keys() >= _BODY and isinstance(body["fact"]["type"], str):
                return body
        except (ValueError, TypeError, KeyError, AssertionError) as error:
            self._find(seq, "form", f"its bytes are no canonical JSON: {error}")
            return None
        self._find(seq, "form", "its bytes are no entry")
        return None

    def _check_place(self, seq: int, body: Mapping[str, Any]) -> None:
        if body["seq"] != seq:
            self._find(seq, "misplaced", f"its bytes are those of entry {body['seq']}: rows were swapped or renumbered")
        else:
            message = (
                f"it follows {body['prev']}, the entry before it hashes to {self._hash}: one of them was exchanged"
            )
            self._find(seq, "changed", message)

    def _check_columns(self, columns: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        # The usual entry at one glance; anything else is looked at field by field.
        if body["origin"] != _IMPORTED and _stated(columns) == (
            body["fact"]["type"],
            body["origin"],
            body["epoch"],
            body["prev"],
            body.get("recorded_at_us"),
        ):
            return
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
        if abs(recorded_us) > MAX_INTEGER:
            self._find(seq, "form", "its time of recording is no instant")
            return
        self._first_own_seq = self._first_own_seq or seq
        if self._own_us is not None and recorded_us <= self._own_us:
            before = format_instant_us(self._own_us)
            message = f"recorded at {format_instant_us(recorded_us)}, not after the one before it, {before}"
            self._find(seq, "order", message)
        self._own_us = recorded_us

    def _check_sealing(self, seq: int, written: Mapping[str, Any]) -> None:
        """A key, a checkpoint, a loss, an erasure: what stands before it is what the tree holds."""
        try:
            if written["type"] == CheckpointSigned.TYPE:
                self._check_checkpoint(seq, str(written.get("note")))
                return
            fact = read_fact(written)
            if isinstance(fact, PersonalErased):
                self._erased[fact.of] = seq
                return
        except (FactError, NoteError) as error:
            self._find(seq, "form", f"its bytes are no {written['type']}: {error}")
            return
        if isinstance(fact, KeyAdopted):
            self._check_signatures()
            why = self.trust.adopt(seq, fact)
            if why is not None:
                self._find(seq, "key", why)
            return
        assert isinstance(fact, LossAccepted), "there are three types of sealing"
        self.trust.remarks.append(
            f"entry {seq}: {fact.by} went on from an older state; {fact.entries} entries had been acknowledged",
        )

    def _check_checkpoint(self, seq: int, written: str) -> None:
        checkpoint, note = read_checkpoint(written)
        if checkpoint.size != self._tree.size or seq != self._seq + 1:
            message = f"its checkpoint is of {checkpoint.size} entries, before it stand {self._tree.size}"
            self._find(seq, "checkpoint", message)
        elif checkpoint.root != self._tree.root():
            message = "its checkpoint has another root than the entries before it: one of them was changed since"
            self._find(seq, "checkpoint", message)
        else:
            self._unsigned.append((seq, checkpoint, note))

    def _check_signatures(self) -> None:
        """Of the checkpoints since the last key. The root of the last covers the bytes of those before it: if it is
        signed, they are what the signer recorded. Only if it is not, the others are asked too, newest first.
        """
        count = len(self._unsigned)
        while self._unsigned:
            seq, checkpoint, note = self._unsigned[-1]
            why = self.trust.signed(checkpoint, note)
            if why is None:
                self.checkpoints += count
                self.covered = checkpoint.size
                break
            self._find(seq, "checkpoint", why)
            self._unsigned.pop()
            count -= 1
        self._unsigned.clear()

    def _meet_outside(self) -> None:
        """Compare the checkpoints handed in that speak of as many entries as the tree now holds."""
        while self._met < len(self._outside) and self._outside[self._met][0].size <= self._tree.size:
            checkpoint = self._outside[self._met][0]
            if checkpoint.size == self._tree.size and checkpoint.root != self._tree.root():
                message = f"the checkpoint handed in has another root over the first {checkpoint.size} entries"
                self._find(checkpoint.size, "checkpoint", message + ": one of them was changed since it was signed")
            self._met += 1

    def _find(self, seq: int, kind: str, message: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(seq, kind, message))
        else:
            self.more = True

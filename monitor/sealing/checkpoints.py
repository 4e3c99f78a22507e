"""Signs checkpoints over a ledger: after each close, each hour, and whenever its key changes.

A checkpoint is an entry; it speaks of all entries before it. The newest one also lies in a file beside the key, so that
a ledger that was put back to an older state is known by whoever holds the key alone.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from monitor.core.checkpoint import Checkpoint, NoteError, PublicKey, read_checkpoint, rotation_text
from monitor.core.fact import CheckpointSigned, Fact, KeyAdopted, KeyReason, LossAccepted
from monitor.core.merkle import Frontier, leaf_hash
from monitor.core.run import Origin
from monitor.ledger.trust import Trust
from monitor.sealing.keys import KeyFileError, SigningKey, checks, make_key, read_key, write_key
from monitor.storage import Reader, Store, Unit, contradiction
from monitor.storage.durable import sync_folder
from monitor.storage.opening import sqlite_path

FRONTIER_MARK = "frontier"

_log = structlog.get_logger("jaga.sealing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the key is kept, and how the ledger calls itself in its checkpoints (None: by a name of its own making)."""

    key: Path
    origin: str | None = None

    @property
    def next_key(self) -> Path:
        """Where the next key lies while it is not yet the one in force."""
        return self.key.with_name(f"{self.key.name}.next")

    @property
    def checkpoint(self) -> Path:
        """Where the newest checkpoint lies."""
        return self.key.with_suffix(".checkpoint")


def place_of(store: str, *, base: Path, key: str | None = None, origin: str | None = None) -> Place:
    """Where the key of a store lies: as configured, relative to `base`, else beside the ledger."""
    if key is not None:
        return Place(key=base / key, origin=origin)
    file = sqlite_path(store, base=base)
    return Place(key=base / "ledger.key" if file is None else file.with_suffix(".key"), origin=origin)


@dataclass(slots=True)
class Sealer:
    """Signs for one ledger. Its methods are called where the store is spoken to; `why_not` says why nothing is signed.

    `latest` is the newest checkpoint of the ledger as its note, for the pages, the statements and the notices.
    """

    place: Place
    latest: str | None = None
    why_not: str | None = "it has not been opened"
    _key: SigningKey | None = None
    _frontier: Frontier = field(default_factory=Frontier)

    @property
    def size(self) -> int | None:
        """How many entries the newest checkpoint covers."""
        return None if self.latest is None else read_checkpoint(self.latest)[0].size

    def open(self, reader: Reader, now_us: int) -> Unit | None:
        """Find the key and take the tree up where it was left; the unit that names a first key, if there is none yet.

        A key that is lost or another one leaves `why_not`: then nothing is signed until somebody decides.
        """
        trust, self.latest = read_trust(reader)
        self._frontier = _resume(reader, self.latest)
        fact: KeyAdopted | None = None
        try:
            self._key = self._found(trust.current)
            if self._key is None:
                self._key, fact = self._first(now_us)
            elif trust.current is None:
                fact = KeyAdopted(key=str(self._key.public), why=KeyReason.FIRST, at_us=now_us)
        except KeyFileError as error:
            self.why_not = str(error)
            return None
        self.why_not = None
        return None if fact is None else Unit(recorded_at_us=now_us, facts=[fact], expected_head=reader.head())

    def checkpoint(self, reader: Reader, now_us: int) -> tuple[Unit, str] | None:
        """The unit that records a checkpoint over all entries there are, and its note; None where nothing came since
        the last one.
        """
        if self._key is None or self.why_not is not None:
            return None
        head = reader.head()
        self._grow(reader)
        assert self._frontier.size == head.seq, "the tree has a leaf for each entry"
        if head.seq == 0 or (self.latest is not None and head.seq <= read_checkpoint(self.latest)[0].size + 1):
            return None
        checkpoint = Checkpoint(self._key.name, head.seq, self._frontier.root())
        note = str(self._key.sign(checkpoint.text))
        unit = Unit(
            recorded_at_us=now_us,
            facts=[CheckpointSigned(note=note, at_us=now_us)],
            marks={FRONTIER_MARK: _document(self._frontier)},
            expected_head=head,
        )
        return unit, note

    def recorded(self, note: str) -> None:
        """A checkpoint is durable: keep it beside the key too. A file that cannot be written is logged, not fatal."""
        self.latest = note
        try:
            _keep(self.place.checkpoint, note)
        except OSError as error:
            _log.error("checkpoint not kept beside the key", file=str(self.place.checkpoint), error=error.strerror)

    def kept(self) -> str | None:
        """The checkpoint that lies beside the key, None where there is none that can be read."""
        try:
            note = self.place.checkpoint.read_text(encoding="utf-8")
            read_checkpoint(note)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, NoteError) as error:
            _log.error("checkpoint beside the key is unreadable", file=str(self.place.checkpoint), error=str(error))
            return None
        return note

    def contradicts(self, reader: Reader) -> str | None:
        """Whether the ledger lacks the checkpoint that lies beside the key: how, None if it holds it."""
        kept = self.kept()
        if kept is None:
            return None
        size = read_checkpoint(kept)[0].size
        entry = next(reader.entries(after=size), None)
        if entry is not None and isinstance(entry.fact, CheckpointSigned) and entry.fact.note == kept:
            return None
        return (
            f"the checkpoint of {size} entries beside the key is not in the ledger: an older state, or another ledger"
        )

    def accept_loss(self, store: Store, now_us: int, *, by: str, note: str) -> Unit | None:
        """The unit that goes on from an older state that was put back; None where nothing contradicts the ledger.

        Every checkpoint that was signed since stays a contradiction for whoever kept one: that is what it is for.
        """
        why = contradiction(store) or self.contradicts(store)
        if why is None:
            return None
        had, kept = store.acknowledged(), self.kept()
        fact = LossAccepted(
            at_us=now_us,
            entries=0 if had is None else had.seq,
            arrival=0 if had is None else had.arrival,
            checkpoint=kept,
            by=by,
            note=note,
        )
        return Unit(recorded_at_us=now_us, facts=[fact])

    def replace_key(self, reader: Reader, now_us: int, *, by: str, lost: bool, note: str | None = None) -> Unit:
        """The unit that puts a new key in the place of the one in force: by its word, or because it is `lost`.

        KeyFileError where that cannot be: a key that is there is not lost, one that is lost cannot sign.
        """
        trust, _ = read_trust(reader)
        before, held = trust.current, self._key
        if before is None:
            hint = "it is made when the daemon starts"
            raise KeyFileError("replace the key", self.place.key, "the ledger has no key yet", hint)
        if lost == (held is not None and self.why_not is None):
            cause = "it is there and signs" if lost else f"it cannot sign for the next: {self.why_not}"
            hint = "rotate it without --lost" if lost else "put it back; if it is lost for good, say so with --lost"
            raise KeyFileError("replace the key", self.place.key, cause, hint)
        new = make_key(before.name)
        self.place.next_key.unlink(missing_ok=True)
        write_key(new, self.place.next_key)
        fact = KeyAdopted(
            key=str(new.public),
            why=KeyReason.LOST if lost else KeyReason.ROTATED,
            at_us=now_us,
            replaces=str(before),
            endorsed=None if held is None or lost else str(held.sign(rotation_text(new.public))),
            by=by,
            note=note,
        )
        return Unit(recorded_at_us=now_us, facts=[fact], expected_head=reader.head())

    def replaced(self, reader: Reader) -> PublicKey:
        """The entry of a new key is durable: it is the one in force from here on."""
        self._key = self._found(read_trust(reader)[0].current)
        assert self._key is not None, "a key that was just recorded is found"
        self.why_not = None
        return self._key.public

    def _found(self, named: PublicKey | None) -> SigningKey | None:
        """The key that the ledger names, None where neither the ledger nor a file knows one."""
        key, pending = read_key(self.place.key), read_key(self.place.next_key)
        if named is not None and pending is not None and pending.public == named:
            # Its entry is durable; what is left of its predecessor is of no use to anybody.
            self.place.next_key.replace(self.place.key)
            sync_folder(self.place.key.parent)
            return pending
        if named is None or (key is not None and key.public == named):
            return key
        hint = "put it back; if it is lost for good: jaga ledger key --lost"
        if key is None:
            raise KeyFileError("sign with", self.place.key, f"the key {named.id.hex()} is not there", hint)
        cause = f"it holds {key.public.id.hex()}, the ledger names {named.id.hex()}"
        raise KeyFileError("sign with", self.place.key, cause, hint)

    def _first(self, now_us: int) -> tuple[SigningKey, KeyAdopted]:
        key = first_key(self.place)
        return key, KeyAdopted(key=str(key.public), why=KeyReason.FIRST, at_us=now_us)

    def _grow(self, reader: Reader) -> None:
        for _columns, data in reader.raw_entries(after=self._frontier.size):
            self._frontier.append(leaf_hash(data))


def first_key(place: Place) -> SigningKey:
    """Make the first key of a ledger and keep it; KeyFileError where one is there."""
    key = make_key(place.origin or f"jaga/{secrets.token_hex(8)}")
    write_key(key, place.key)
    return key


def read_trust(reader: Reader) -> tuple[Trust, str | None]:
    """The keys that a ledger's own entries name, and the note of its newest checkpoint."""
    trust, latest = Trust(checks), None
    for entry in reader.entries(types=(KeyAdopted.TYPE, CheckpointSigned.TYPE)):
        fact: Fact = entry.fact
        if entry.origin is Origin.IMPORTED:
            continue
        if isinstance(fact, KeyAdopted):
            trust.adopt(entry.seq, fact)
        elif isinstance(fact, CheckpointSigned):
            latest = fact.note
    return trust, latest


def _resume(reader: Reader, latest: str | None) -> Frontier:
    """The tree as far as it is known: from the mark if the newest checkpoint bears it out, else none of it."""
    mark = reader.mark(FRONTIER_MARK)
    if latest is None or not isinstance(mark, dict):
        return Frontier()
    try:
        found = Frontier(mark["size"], map(bytes.fromhex, mark["peaks"]))
    except (KeyError, TypeError, ValueError):
        return Frontier()
    checkpoint, _note = read_checkpoint(latest)
    return found if (found.size, found.root()) == (checkpoint.size, checkpoint.root) else Frontier()


def _document(frontier: Frontier) -> dict[str, object]:
    return {"size": frontier.size, "peaks": [peak.hex() for peak in frontier.peaks]}


def _keep(file: Path, note: str) -> None:
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("w", encoding="utf-8") as out:
        out.write(note)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)
    sync_folder(file.parent)

"""Which key a ledger's checkpoints are signed with, entry by entry, and which keys vouch for one another.

A key is named by an entry. The first is trusted for being the first (or for being the one that a partner kept), the
next because the one before signs for it. After a loss nobody can sign for the new key: its entry says so, and whoever
kept the old one must ask.
"""

from __future__ import annotations

from monitor.core.checkpoint import (
    Checkpoint,
    Checks,
    Note,
    NoteError,
    PublicKey,
    read_checkpoint,
    read_note,
    read_public_key,
    rotation_text,
)
from monitor.core.fact import KeyAdopted, KeyReason


class Trust:
    """The keys of a ledger as its entries name them. `kept` is a key that somebody kept outside: only what it or its
    successors signed is believed then.
    """

    def __init__(self, checks: Checks | None, kept: PublicKey | None = None) -> None:
        self.current: PublicKey | None = None
        self.keys: list[PublicKey] = []
        self.remarks: list[str] = []
        self._checks = checks
        self._signers: set[PublicKey] = set()
        self._kept = kept
        self._vouched: set[PublicKey] = set() if kept is None else {kept}

    @property
    def origin(self) -> str | None:
        """What the ledger calls itself, None before its first key."""
        return None if self.current is None else self.current.name

    def adopt(self, seq: int, fact: KeyAdopted) -> str | None:
        """Take the next key; what is wrong with its entry, None if nothing is."""
        key, before = read_public_key(fact.key), self.current
        self.current = key
        self.keys.append(key)
        if before is None:
            return None if fact.why is KeyReason.FIRST else f"a key is {fact.why.value} where there was none"
        if fact.why is KeyReason.FIRST:
            return f"a first key where {before.id.hex()} signs already: checkpoints were taken over"
        if fact.replaces != str(before) or key.name != before.name:
            return f"its key replaces another than {before.id.hex()}, which signs up to here"
        if fact.why is KeyReason.LOST:
            self.remarks.append(
                f"entry {seq}: key {before.id.hex()} was declared lost; only this entry speaks for {key.id.hex()}",
            )
            return None
        if not self._endorsed(fact, key, before):
            return f"the key {before.id.hex()} does not sign for the one that takes its place"
        if before in self._vouched:
            self._vouched.add(key)
        return None

    def signed(self, checkpoint: Checkpoint, note: Note) -> str | None:
        """Whether the key in force signed a checkpoint: what is wrong, None if nothing is."""
        if self.current is None:
            return "a checkpoint before the first key"
        if checkpoint.origin != self.current.name:
            return f"its checkpoint is of {checkpoint.origin}, this ledger is {self.current.name}"
        if self._checks is not None and not note.signed_by(self.current, self._checks):
            return f"its checkpoint is not signed by the key in force, {self.current.id.hex()}"
        self._signers.add(self.current)
        return None

    def believes(self, written: str) -> str | None:
        """Whether a checkpoint from outside is signed by a key that counts here; why not, None if it is."""
        checkpoint, note = read_checkpoint(written)
        if self.origin is not None and checkpoint.origin != self.origin:
            return f"it is of the ledger {checkpoint.origin}, this one is {self.origin}"
        counted = self.keys if self._kept is None else [*self._vouched]
        if self._checks is not None and not any(note.signed_by(key, self._checks) for key in counted):
            return "no key that counts here signed it"
        return None

    def outside(self) -> str | None:
        """At the end: why the key that was kept outside does not speak for the ledger, None if it does."""
        if self._kept is None:
            return None
        if self.current not in self._vouched:
            named = ", ".join(key.id.hex() for key in self.keys) or "none"
            why = f"does not vouch for the one that signs now (named here: {named})"
        elif not self._signers & self._vouched:
            # To name a public key needs no secret; to sign does.
            why = "is named, and has signed nothing here"
        else:
            return None
        return f"the key you keep, {self._kept.id.hex()}, {why}"

    def _endorsed(self, fact: KeyAdopted, key: PublicKey, before: PublicKey) -> bool:
        if fact.endorsed is None:
            return False
        try:
            note = read_note(fact.endorsed)
        except NoteError:
            return False
        if note.text != rotation_text(key):
            return False
        return self._checks is None or note.signed_by(before, self._checks)

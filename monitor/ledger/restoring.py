"""A backup put in the place of the ledger: verified first, never over what it would lose without a word.

What the present ledger has and the backup has not was acknowledged once, and may have gone out in a statement. It is
given up only by name (`accept_loss`), and the restored ledger says so in an entry (FAULTS F39).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from monitor.core.checkpoint import Checks
from monitor.core.entry import Head
from monitor.core.fact import Fact, LossAccepted, PersonalErased
from monitor.core.instant import format_instant
from monitor.ledger.beside import Spoken, changed
from monitor.ledger.verify import Outside, verify
from monitor.storage import Acknowledged, Reader, StoreError, Unit, backup, sqlite
from monitor.storage.beside import BesideFiles, packed, reference_of, take_out
from monitor.storage.personal import PersonalFiles
from monitor.storage.watermark import read_watermark

AGAIN = "erased before; a backup from before that was restored"
"""The note of an erasure that is recorded once more."""

SHOWN = 3
"""How many of the problems of a backup are told."""

# (what is done, done, in all)
Progress = Callable[[str, int, int], None]


class RestoreRefusedError(Exception):
    """The backup does not hold, or the restore would lose what the present ledger has; nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the present ledger holds beyond the backup: its head, entries by type, runs that arrived later (`arrival` is
    the number of the last).

    `apart` is the last entry that both have where they went different ways after it, None where the backup is simply
    older. `head` is None where there is no present ledger, or where it is `unreadable`, which says why. `contradicted`
    says which checkpoints and acknowledgements kept outside the ledger the backup does not bear out.
    """

    head: Head | None = None
    entries: Mapping[str, int] = field(default_factory=dict)
    runs: int | None = None
    arrival: int = 0
    apart: int | None = None
    unreadable: str | None = None
    imported_only: bool = False
    contradicted: tuple[str, ...] = ()

    def __str__(self) -> str:
        """In one sentence."""
        held = self._held()
        return "; ".join([*([held] if held else []), *self.contradicted])

    def _held(self) -> str | None:
        if self.unreadable is not None:
            return f"what the present ledger holds beyond the backup cannot be known: {self.unreadable}"
        if self.head is None or not (self.entries or self.runs != 0):
            return None
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.entries.items()))
        entries = f"{counted(sum(self.entries.values()), 'entry', 'entries')} ({kinds})" if self.entries else "no entry"
        runs = "runs, how many cannot be known," if self.runs is None else counted(self.runs, "run", "runs")
        where = "" if self.apart is None else f"the two went different ways after entry {self.apart}; "
        return f"{where}the present ledger holds {entries} and {runs} that the backup does not"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """A restore that was done: where the ledger stands, what was given up for it, where the present one went.

    `files` came out of the backup and were put beside the ledger, where they were missing or damaged; `missing` are
    those that entries speak of, by their first entry, and that are neither there nor erased.
    """

    head: Head
    entries: int
    loss: Loss | None
    aside: Path | None
    files: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to restore, who asks for it and when; `accept_loss` gives up what the present ledger has beyond it.

    `outside` holds the checkpoints that went out and were handed in. `checkpoint` is the one that lies in the file
    `kept` beside the signing key, and `contradicts` says how a ledger lacks it, None if it holds it. `checks` checks
    signatures.
    """

    backup: Path
    by: str
    now_us: int
    accept_loss: bool = False
    note: str | None = None
    outside: Outside = field(default_factory=Outside)
    contradicts: Callable[[Reader], str | None] = lambda _reader: None
    kept: Path | None = None
    checkpoint: str | None = None
    checks: Checks | None = None


def restore(wish: Wish, database: Path, *, progress: Progress | None = None) -> Restoration:
    """Make a backup the ledger at `database`. Until it is verified whole, the present ledger is not touched.

    StoreOwnedError while a daemon owns the ledger, StoreError where the backup cannot be read or is of a newer schema,
    BackupError where it is none, RestoreRefusedError where it does not hold or would lose something.
    """
    sqlite.make_folder(database)
    with backup.owned(database):
        staged = backup.stage(wish.backup, database, progress=_named(progress, "copying"))
        try:
            head, loss, spoken = _prepare(wish, staged, database, progress)
            files = _lay_out(staged, database, spoken)
            stamp = format_instant(wish.now_us)[:19].replace(":", "").replace("-", "") + "Z"
            # A checkpoint over what was given up would tell the next daemon that its ledger is an older state.
            also = () if loss is None or wish.kept is None else (wish.kept,)
            aside = backup.put_in_place(staged, database, stamp=stamp, also=also)
        finally:
            backup.discard(staged)
    missing = spoken.missing(BesideFiles.of(database).names())
    return Restoration(head=head, entries=head.seq, loss=loss, aside=aside, files=files, missing=missing)


def _lay_out(staged: Path, database: Path, spoken: Spoken) -> int:
    """Put the files of a backup beside the ledger, but for what was erased by now; how many were missing or damaged."""
    beside = BesideFiles.of(database)
    alive = ((name, data) for name, data in packed(staged) if reference_of(name) not in spoken.erased)
    new = sum(beside.put(name, data) for name, data in alive)
    personal = PersonalFiles(beside.personal)
    for reference in sorted(spoken.erased):
        personal.erase(reference)
    take_out(staged)
    return new


def _prepare(wish: Wish, staged: Path, database: Path, progress: Progress | None) -> tuple[Head, Loss | None, Spoken]:
    """Verify what was staged and record in it what is given up for it; where it then stands, and of which files it
    speaks. What the present ledger has erased stays erased, whatever is given up.
    """
    try:
        store = sqlite.open_store(staged)
    except StoreError as error:
        raise StoreError("restore", str(wish.backup), error.cause, error.hint) from error
    try:
        report = verify(store, checks=wish.checks, progress=_named(progress, "verifying"))
        wrong = [*map(str, report.problems), *changed(packed(staged))]
        if wrong:
            problems = "; ".join(wrong[:SHOWN])
            raise RestoreRefusedError(f"{wish.backup} does not verify and is not restored: {problems}")
        acknowledged = read_watermark(database)
        loss = loss_of(database, store, contradicted=_contradicted(wish, store, acknowledged))
        if loss is not None and not wish.accept_loss:
            raise RestoreRefusedError(f"{loss}; --accept-loss gives that up, and is recorded. Nothing was changed")
        spoken = Spoken.of(store)
        later = sorted(_erased_in(database) - spoken.erased)
        facts: list[Fact] = [PersonalErased(of=of, at_us=wish.now_us, by=wish.by, note=AGAIN) for of in later]
        if loss is not None and not loss.imported_only:
            facts.insert(0, _fact(wish, loss, acknowledged))
        if facts:
            store.commit(Unit(recorded_at_us=wish.now_us, facts=facts))
        spoken.erased |= set(later)
        return store.head(), loss, spoken
    finally:
        store.close()


def _erased_in(database: Path) -> set[str]:
    """What the present ledger says was erased; nothing where there is none, or none that can be read."""
    if not database.exists():
        return set()
    try:
        present = sqlite.open_reader(database)
    except StoreError:
        return set()
    try:
        facts = [entry.fact for entry in present.entries(types=(PersonalErased.TYPE,))]
        return {fact.of for fact in facts if isinstance(fact, PersonalErased)}
    except StoreError:
        return set()
    finally:
        present.close()


def _contradicted(wish: Wish, restored: Reader, acknowledged: Acknowledged | None) -> tuple[str, ...]:
    """How the backup contradicts what is kept outside the ledger: checkpoints, and the mark of the last commit."""
    found = []
    if wish.outside != Outside():
        report = verify(restored, checks=wish.checks, outside=wish.outside, deep=False)
        found += [problem.message for problem in report.problems]
    kept = wish.contradicts(restored)
    if kept is not None:
        found.append(kept)
    if acknowledged is not None:
        found += acknowledged.contradicted_by(restored)
    return tuple(found)


def loss_of(database: Path, restored: Reader, *, contradicted: tuple[str, ...] = ()) -> Loss | None:
    """What the ledger at `database` holds beyond `restored`; None if nothing."""
    outside = Loss(contradicted=contradicted) if contradicted else None
    if not database.exists():
        return outside
    try:
        present = sqlite.open_reader(database)
    except StoreError as error:
        return Loss(unreadable=str(error), contradicted=contradicted)
    try:
        found = beyond(present, restored)
    except StoreError as error:
        return Loss(unreadable=str(error), contradicted=contradicted)
    finally:
        present.close()
    return outside if found is None else replace(found, contradicted=contradicted)


def beyond(present: Reader, restored: Reader) -> Loss | None:
    """What `present` holds beyond `restored`; None if nothing."""
    here, there = present.head(), restored.head()
    common = min(here.seq, there.seq)
    apart = None
    if _hash_at(present, common) != _hash_at(restored, common):
        apart = common = _last_common(present, restored)
    entries = Counter(str(columns["type"]) for columns, _ in present.raw_entries(after=common))
    runs = None if apart is not None else max(0, present.last_arrival() - restored.last_arrival())
    if not entries and runs == 0:
        return None
    imported_only = present.first_own_entry() is None and restored.first_own_entry() is None
    return Loss(
        head=here,
        entries=dict(entries),
        runs=runs,
        arrival=present.last_arrival(),
        apart=apart,
        imported_only=imported_only,
    )


def counted(number: int, one: str, many: str) -> str:
    """`1 entry`, `2 entries`."""
    return f"{number} {one if number == 1 else many}"


def _hash_at(reader: Reader, seq: int) -> str | None:
    if seq == 0:
        return None
    columns, _ = next(iter(reader.raw_entries(after=seq - 1)))
    return str(columns["hash"])


def _last_common(first: Reader, second: Reader) -> int:
    """The seq of the last entry that both have."""
    pairs = zip(first.raw_entries(), second.raw_entries(), strict=False)
    same = 0
    for (one, _), (other, _) in pairs:
        if one["hash"] != other["hash"]:
            break
        same = int(one["seq"])
    return same


def _fact(wish: Wish, loss: Loss, acknowledged: Acknowledged | None) -> LossAccepted:
    """The entry that says so: by the present ledger where it can be read, else by what was kept outside."""
    entries, arrival = (0, 0) if acknowledged is None else (acknowledged.seq, acknowledged.arrival)
    return LossAccepted(
        at_us=wish.now_us,
        entries=entries if loss.head is None else loss.head.seq,
        arrival=arrival if loss.head is None else loss.arrival,
        checkpoint=wish.checkpoint,
        by=wish.by,
        note=wish.note,
    )


def _named(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(stage, done, total)

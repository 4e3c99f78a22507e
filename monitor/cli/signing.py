"""The signing key as verbs see it: its public line, a new one in its place, a checkpoint after a close."""

from __future__ import annotations

import getpass

from monitor.cli.exits import AnswerIsNoError
from monitor.cli.reading import open_reader, open_store, personal_files, sealing_place, store_file
from monitor.clock import wall_us
from monitor.ledger.decide import Refused
from monitor.ledger.erasing import erasure
from monitor.sealing.checkpoints import Sealer, read_trust
from monitor.sealing.keys import read_key
from monitor.storage import Store, StoreDamagedError, StoreError, StoreOwnedError


def public_line() -> str:
    """The key that the ledger names, or, before there is a ledger, that of the key file."""
    try:
        with open_reader() as reader:
            named = read_trust(reader)[0].current
    except StoreError:
        named = None
    if named is None:
        held = read_key(sealing_place().key)
        named = None if held is None else held.public
    if named is None:
        raise AnswerIsNoError("there is no key yet: jaga init makes one, and the first start of the daemon")
    return str(named)


def replace_key(*, lost: bool, by: str | None, note: str | None) -> str:
    """Put a new key in the place of the one in force, as the owner of the store or through the daemon that is."""
    try:
        with open_store() as store:
            return _replace(store, lost=lost, by=by or getpass.getuser(), note=note)
    except StoreOwnedError as owned:
        return str(_asked(owned, {"do": "replace key", "lost": lost, "by": by, "note": note})["key"])


def sign_checkpoint(store: Store) -> str | None:
    """Sign over a store that a verb owns, as after a close; why it could not: then the next daemon says so too."""
    sealer = Sealer(sealing_place())
    named = sealer.open(store, wall_us())
    if named is not None:
        store.commit(named)
    made = sealer.checkpoint(store, wall_us())
    if made is not None:
        unit, note = made
        store.commit(unit)
        sealer.recorded(note)
    return sealer.why_not


def accept_loss(*, by: str | None, note: str) -> str | None:
    """Go on from an older state that was put back, with an entry that says so, and a new checkpoint over it; why there
    is none, as after a rotation that the state does not know.
    """
    sealer = Sealer(sealing_place())
    with open_store() as store:
        unit = sealer.accept_loss(store, wall_us(), by=by or getpass.getuser(), note=note)
        if unit is None:
            raise AnswerIsNoError("nothing contradicts the ledger: there is no loss to accept")
        store.permit_writes()
        store.commit(unit)
        return sign_checkpoint(store)


def refuse_contradicted(store: Store) -> None:
    """StoreDamagedError where the store lacks the checkpoint that lies beside the key: no verb may decide on it."""
    why = Sealer(sealing_place()).contradicts(store)
    if why is not None:
        hint = "restore the newest state; to go on without it: jaga ledger accept-loss"
        raise StoreDamagedError("decide in", "the ledger", why, hint)


def erase(reference: str, *, by: str | None, note: str | None) -> None:
    """Erase personal data, as the owner of the store or through the daemon that is."""
    files = personal_files()
    try:
        with open_store() as store:
            refuse_contradicted(store)
            author = by or getpass.getuser()
            unit = erasure(store, files, reference, now_us=wall_us(), by=author, note=note)
            if isinstance(unit, Refused):
                raise AnswerIsNoError(unit.reason)
            if unit is not None:
                store.commit(unit)
    except StoreOwnedError as owned:
        _asked(owned, {"do": "erase", "of": reference, "by": by, "note": note})
        return
    files.erase(reference)


def _replace(store: Store, *, lost: bool, by: str, note: str | None) -> str:
    sealer = Sealer(sealing_place())
    named = sealer.open(store, wall_us())
    if named is not None:
        store.commit(named)
    store.commit(sealer.replace_key(store, wall_us(), by=by, lost=lost, note=note))
    line = str(sealer.replaced(store))
    sign_checkpoint(store)
    return line


def _asked(owned: StoreOwnedError, request: dict[str, object]) -> dict[str, object]:
    """What the daemon that owns the store answers."""
    from monitor import control

    beside = store_file()
    if beside is None:
        raise owned
    try:
        answer = control.ask(beside.parent, request)
    except control.NobodyThereError:
        raise owned from None
    if "refused" in answer:
        raise AnswerIsNoError(str(answer["refused"]))
    if "error" in answer:
        raise control.ControlError(f"the daemon could not {request['do']}: {answer['error']}")
    return answer

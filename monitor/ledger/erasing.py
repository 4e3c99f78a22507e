"""Erasing personal data: an entry first, then the data; done twice it is done once."""

from __future__ import annotations

from monitor.core.fact import PersonalErased
from monitor.core.personal import REFERENCE
from monitor.ledger.beside import Spoken
from monitor.ledger.decide import Refused
from monitor.storage import Reader, StoreError, Unit
from monitor.storage.personal import PersonalFiles


def erasure(
    reader: Reader, files: PersonalFiles, reference: str, *, now_us: int, by: str, note: str | None = None
) -> Unit | Refused | None:
    """The unit that says that the data of a reference is erased; None where an entry says so already. Once it is
    durable, `files.erase(reference)`: a crash in between leaves data that verify names, and the same call removes. What
    is gone already, left out of a backup that was restored, is erased by the entry alone.
    """
    if not REFERENCE.fullmatch(reference):
        return Refused(reason=f"{reference!r} is no reference to personal data: personal: and 64 hexadecimal digits")
    facts = (entry.fact for entry in reader.entries(types=(PersonalErased.TYPE,)))
    if any(isinstance(fact, PersonalErased) and fact.of == reference for fact in facts):
        return None
    if not _is_kept(files, reference) and reference.replace(":", "/") not in Spoken.of(reader).files:
        return Refused(reason=f"nothing is kept under {reference}")
    fact = PersonalErased(of=reference, at_us=now_us, by=by, note=note)
    return Unit(recorded_at_us=now_us, facts=[fact])


def _is_kept(files: PersonalFiles, reference: str) -> bool:
    try:
        return files.read(reference) is not None
    except StoreError:
        return True  # damaged data is erased like any other

"""Personal data beside the chain: committed to, erasable, and the chain verifies before, after and without it."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.core.fact import Claim
from monitor.core.personal import Personal, references
from monitor.ledger.decide import Refused
from monitor.ledger.erasing import erasure
from monitor.ledger.verify import VerifyReport, verify
from monitor.storage import StoreError, Unit
from monitor.storage.opening import personal_files
from monitor.storage.personal import MAX_BYTES, PersonalFiles
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore

SARI = {"name": "Sari Dewi", "email": "sari@example.id", "phone": "+62 811 000"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(tmp_path / "ledger.db")
    yield opened
    opened.close()


@pytest.fixture
def files(tmp_path: Path) -> PersonalFiles:
    return personal_files("sqlite:///ledger.db", base=tmp_path)


def refer(store: SqlStore, reference: str) -> None:
    """An entry that holds a reference where a name would have stood."""
    claim = Claim(partner="acme", service="portal", month="2026-04", at_us=1, by=reference)
    store.commit(Unit(recorded_at_us=1, facts=[claim]))


def erase(store: SqlStore, files: PersonalFiles, reference: str) -> None:
    unit = erasure(store, files, reference, now_us=5, by="ops", note="asked for by letter")
    assert isinstance(unit, Unit)
    store.commit(unit)
    files.erase(reference)


def found(report: VerifyReport) -> list[tuple[int, str]]:
    return [(problem.seq, problem.kind) for problem in report.problems]


def test_data_is_kept_for_its_owner_alone_and_read_back(files: PersonalFiles, tmp_path: Path) -> None:
    reference = files.keep("reporter", SARI)
    held = files.read(reference)
    assert held is not None
    assert (held.kind, held.data, held.reference) == ("reporter", SARI, reference)
    assert list(files.kept()) == [reference]
    folder = tmp_path / "ledger.personal"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()] == [0o600]


def test_the_same_person_twice_has_two_references(files: PersonalFiles) -> None:
    """Otherwise whoever knows the person could find the entries that speak of them."""
    assert files.keep("reporter", SARI) != files.keep("reporter", SARI)
    assert Personal("reporter", SARI, b"1").reference != Personal("contact", SARI, b"1").reference


def test_no_entry_holds_anything_of_the_person(store: SqlStore, files: PersonalFiles) -> None:
    reference = files.keep("reporter", SARI)
    refer(store, reference)
    (stored,) = [data for _columns, data in store.raw_entries()]
    assert references(stored) == {reference}
    assert not any(value.encode() in stored for value in SARI.values())


def test_the_chain_stands_after_the_erasure(store: SqlStore, files: PersonalFiles) -> None:
    reference, other = files.keep("reporter", SARI), files.keep("contact", SARI)
    refer(store, reference)
    refer(store, other)
    assert found(verify(store, personal=files)) == []
    erase(store, files, reference)
    assert files.read(reference) is None
    assert files.read(other) is not None
    assert found(verify(store, personal=files)) == []
    assert found(verify(store)) == []
    assert erasure(store, files, reference, now_us=6, by="ops") is None


def test_data_that_is_gone_without_an_entry_is_found(store: SqlStore, files: PersonalFiles) -> None:
    reference = files.keep("reporter", SARI)
    refer(store, reference)
    files.erase(reference)
    assert found(verify(store, personal=files)) == [(1, "personal")]


def test_a_crash_between_the_entry_and_the_erasure_is_found_and_made_good(
    store: SqlStore, files: PersonalFiles
) -> None:
    reference = files.keep("reporter", SARI)
    refer(store, reference)
    unit = erasure(store, files, reference, now_us=5, by="ops")
    assert isinstance(unit, Unit)
    store.commit(unit)
    assert found(verify(store, personal=files)) == [(2, "personal")]
    assert erasure(store, files, reference, now_us=6, by="ops") is None
    assert files.erase(reference)
    assert not files.erase(reference)
    assert found(verify(store, personal=files)) == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"kind":"reporter"}', b'{"kind":"reporter","data":{},"salt":"00"}'])
def test_data_that_was_changed_is_found_and_can_be_erased(
    store: SqlStore, files: PersonalFiles, tmp_path: Path, content: bytes
) -> None:
    reference = files.keep("reporter", SARI)
    refer(store, reference)
    (tmp_path / "ledger.personal" / reference.partition(":")[2]).write_bytes(content)
    with pytest.raises(StoreError, match="is not what was recorded"):
        files.read(reference)
    assert found(verify(store, personal=files)) == [(1, "personal")]
    erase(store, files, reference)
    assert found(verify(store, personal=files)) == []


def test_what_cannot_be_kept_or_erased_is_said(store: SqlStore, files: PersonalFiles, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"the limit is {MAX_BYTES}"):
        files.keep("reporter", {"name": "x" * MAX_BYTES})
    refused = erasure(store, files, "personal:" + "0" * 64, now_us=1, by="ops")
    assert isinstance(refused, Refused)
    assert "nothing is kept under" in refused.reason
    assert isinstance(erasure(store, files, "sari", now_us=1, by="ops"), Refused)
    (tmp_path / "ledger.personal").write_text("in the way")
    with pytest.raises(StoreError, match="keep personal data in"):
        files.keep("reporter", SARI)

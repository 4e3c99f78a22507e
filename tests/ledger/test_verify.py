"""Every way to tamper with rows of the chain that a chain can show, made by hand and found by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from monitor.core.chain import canonical
from monitor.core.fact import Claim, ClockStep, TermsAdopted
from monitor.core.run import Origin
from monitor.ledger.verify import MAX_PROBLEMS, verify
from monitor.storage import Unit
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore

Execute = Callable[..., list[tuple[object, ...]]]


def claim(n: int) -> Claim:
    return Claim(partner="acmé 中", service="portal", month="2026-04", at_us=n)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """Two imported entries, then eight of its own."""
    opened = open_store(tmp_path / "ledger.db")
    opened.commit(Unit(recorded_at_us=9_000, facts=[claim(1), claim(2)], origin=Origin.IMPORTED))
    for n in range(3, 11):
        opened.commit(Unit(recorded_at_us=10_000 + n, facts=[claim(n)]))
    yield opened
    opened.close()


@pytest.fixture
def sql(store: SqlStore) -> Execute:
    def execute(statement: str, *values: object) -> list[tuple[object, ...]]:
        with store._writer.begin() as connection:
            result = connection.exec_driver_sql(statement, values)
            return [tuple(row) for row in result] if result.returns_rows else []

    return execute


def found(store: SqlStore) -> list[tuple[int, str]]:
    """What the chain shows by itself; check sums and the mark of the last commit are for the tests at the end."""
    report = verify(store)
    assert report.holds is not bool(report.problems)
    return [(problem.seq, problem.kind) for problem in report.problems if problem.kind != "store"]


def body(sql: Execute, seq: int) -> dict[str, object]:
    data = sql("SELECT data FROM entries WHERE seq = ?", seq)[0][0]
    value: dict[str, object] = orjson.loads(data)  # type: ignore[arg-type]
    return value


def replace_body(sql: Execute, seq: int, changed: dict[str, object], *, data: bytes | None = None) -> None:
    """The bytes and their hash: what somebody does who knows how the chain is made."""
    data = canonical(changed) if data is None else data
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    sql("UPDATE entries SET data = ?, hash = ? WHERE seq = ?", data, digest, seq)


def test_an_untouched_chain_holds_and_progress_is_told(store: SqlStore) -> None:
    steps: list[tuple[int, int]] = []
    report = verify(store, progress=lambda *step: steps.append(step))
    assert report.holds
    assert report.entries == 10
    assert report.head == store.head()
    assert steps == [(10, 10)]
    store.commit(Unit(recorded_at_us=1, facts=[claim(n) for n in range(2000)]))
    assert verify(store, progress=lambda *step: steps.append(step)).holds
    assert steps[1:] == [(2000, 2010), (2010, 2010)]


def test_an_empty_chain_holds(tmp_path: Path) -> None:
    empty = open_store(tmp_path / "empty.db")
    assert verify(empty).holds
    empty.close()


def test_changed_bytes(store: SqlStore, sql: Execute) -> None:
    (data,) = sql("SELECT data FROM entries WHERE seq = 4")[0]
    sql("UPDATE entries SET data = ? WHERE seq = 4", bytes(data).replace(b"2026-04", b"2026-05"))  # type: ignore[call-overload]
    assert found(store) == [(4, "changed"), (5, "changed")]
    assert "entry 4: its bytes hash to sha256:" in str(verify(store).problems[0])


def test_changed_bytes_with_their_hash(store: SqlStore, sql: Execute) -> None:
    replace_body(sql, 4, body(sql, 4) | {"fact": {"type": "claim", "month": "2026-05"}})
    assert found(store) == [(5, "changed")]
    assert "the entry before it hashes to" in verify(store).problems[0].message


@pytest.mark.parametrize(("seqs", "gone"), [((6,), "6"), ((6, 7), "6 to 7"), ((1,), "1")])
def test_deleted_rows(store: SqlStore, sql: Execute, seqs: tuple[int, ...], gone: str) -> None:
    for seq in seqs:
        sql("DELETE FROM entries WHERE seq = ?", seq)
    assert found(store) == [(max(seqs) + 1, "missing")]
    assert f"entry {gone} is gone" in verify(store).problems[0].message


def test_a_cut_tail_below_the_head(store: SqlStore, sql: Execute) -> None:
    sql("DELETE FROM entries WHERE seq >= 9")
    assert found(store) == [(10, "missing")]
    assert "the ledger ends at entry 8, its head is 10" in verify(store).problems[0].message


def test_swapped_rows(store: SqlStore, sql: Execute) -> None:
    for before, after in ((4, 100), (7, 4), (100, 7)):
        sql("UPDATE entries SET seq = ? WHERE seq = ?", after, before)
    kinds = found(store)
    assert (4, "misplaced") in kinds
    assert (7, "misplaced") in kinds
    assert "its bytes are those of entry 7" in verify(store).problems[0].message


def test_a_row_added_beyond_the_head(store: SqlStore, sql: Execute) -> None:
    sql(
        "INSERT INTO entries "
        "SELECT 11, type, origin, recorded_at_us, epoch, prev, hash, data, crc FROM entries WHERE seq = 10"
    )
    assert found(store) == [(11, "misplaced"), (11, "order"), (11, "head")]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("type", "notice"),
        ("origin", "agent"),
        ("recorded_at_us", 5),
        ("epoch", 3),
        ("prev", "sha256:00"),
        ("hash", "x"),
    ],
)
def test_a_column_that_disagrees_with_its_bytes(store: SqlStore, sql: Execute, column: str, value: object) -> None:
    sql(f"UPDATE entries SET {column} = ? WHERE seq = 5", value)  # noqa: S608 - a column of the test's own
    assert found(store) == [(5, "changed" if column == "hash" else "column")]
    assert column in verify(store).problems[0].message or column == "hash"


def test_the_time_of_an_import_is_not_hashed(store: SqlStore, sql: Execute) -> None:
    sql("UPDATE entries SET recorded_at_us = 77 WHERE seq = 2")
    assert found(store) == []
    (problem,) = verify(store).problems
    assert str(problem) == "entries: the row at seq 2 disagrees with its check sum"


def test_own_times_that_do_not_increase(store: SqlStore, sql: Execute) -> None:
    """A decision dated back, with the whole chain after it recomputed: the order of times gives it away."""
    changed = body(sql, 5) | {"recorded_at_us": 10_003}
    previous = None
    for seq in range(5, 11):
        changed = changed if seq == 5 else body(sql, seq) | {"prev": previous}
        replace_body(sql, seq, changed)
        previous = "sha256:" + hashlib.sha256(canonical(changed)).hexdigest()
        sql(
            "UPDATE entries SET prev = ?, recorded_at_us = ? WHERE seq = ?",
            changed["prev"],
            changed["recorded_at_us"],
            seq,
        )
    sql("UPDATE ledger SET hash = ?", previous)
    assert found(store) == [(5, "order")]


def test_a_chain_recomputed_but_for_the_head(store: SqlStore, sql: Execute) -> None:
    replace_body(sql, 10, body(sql, 10) | {"fact": {"type": "claim"}})
    assert found(store) == [(10, "head")]


def test_an_import_that_claims_to_have_been_first(store: SqlStore, sql: Execute) -> None:
    sql("UPDATE ledger SET first_own_seq = NULL")
    assert found(store) == [(3, "head")]
    assert "is 3, the ledger says None" in verify(store).problems[0].message


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"epoch":0,"fact":[],"origin":"own","prev":"","seq":10}',
        b'{"epoch":0,"fact":1,"origin":"own","prev":"","seq":10}',
        b'{"epoch":0,"fact":{"x":1.5,"y":1.0},"origin":"own","prev":"","seq":10}',
        b'{"a":1,"a":2}',
        b"\xff",
    ],
)
def test_bytes_that_are_no_entry(store: SqlStore, sql: Execute, data: bytes) -> None:
    replace_body(sql, 10, {}, data=data)
    assert (10, "form") in found(store)


def test_bytes_that_are_not_canonical(store: SqlStore, sql: Execute) -> None:
    (data,) = sql("SELECT data FROM entries WHERE seq = 10")[0]
    replace_body(sql, 10, {}, data=bytes(data).replace(b'"epoch":0', b'"epoch": 0'))  # type: ignore[call-overload]
    assert found(store)[0] == (10, "form")


def test_an_own_entry_without_its_time(store: SqlStore, sql: Execute) -> None:
    changed = body(sql, 10)
    del changed["recorded_at_us"]
    replace_body(sql, 10, changed)
    assert (10, "form") in found(store)
    assert (10, "column") in found(store)


def test_keys_beyond_the_basic_plane_are_canonical_too(store: SqlStore) -> None:
    # U+FFFD sorts before U+10000 by code points, after it by UTF-16 units, which RFC 8785 wants.
    odd = ClockStep(at_us=1, delta_us=1, location="\U00010000")
    close = {"\ufffd": 1, "\U00010000": 2}
    store.commit(Unit(recorded_at_us=1, facts=[odd, TermsAdopted(contract="c", effective_from_us=1, terms=close)]))
    assert verify(store).holds


def test_problems_are_bounded(store: SqlStore, sql: Execute) -> None:
    store.commit(Unit(recorded_at_us=1, facts=[claim(n) for n in range(300)]))
    sql("UPDATE entries SET epoch = 1")
    report = verify(store)
    assert len(report.problems) == MAX_PROBLEMS
    assert report.more

"""`jaga ledger`: a ledger moved to another store, a partner's part of it, and spans compared with a rebuild."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.cli.conftest import Jaga


def test_a_ledger_moves_to_another_store_and_says_the_same(ledger: Jaga, tmp_path: Path) -> None:
    before = ledger("statement", "--month", "2026-04", "--format", "json").json()
    assert ledger("ledger", "export", "whole.jsonl").code == 0
    moved = ledger("ledger", "import", "--move", "whole.jsonl", "--store", "sqlite:///new.db")
    assert moved.code == 0, moved.err
    assert moved.out.startswith("moved 1 entries, 0 segments, 0 runs, 6 stated spans; head sha256:")
    after = ledger("statement", "--month", "2026-04", "--format", "json", "--store", "sqlite:///new.db").json()
    assert after == before
    again = ledger("ledger", "import", "--move", "whole.jsonl", "--store", "sqlite:///new.db")
    assert again.code == 2
    assert "it is not empty" in again.err
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes((tmp_path / "whole.jsonl").read_bytes()[:-20])
    refused = ledger("ledger", "import", "--move", cut, "--store", "sqlite:///other.db")
    assert refused.code != 0
    assert "it was cut off" in refused.err
    as_json = ledger("ledger", "import", "--move", "whole.jsonl", "--json", "--store", "sqlite:///third.db")
    assert as_json.json()["stated"] == 6


def test_a_partner_is_given_its_part(ledger: Jaga, tmp_path: Path) -> None:
    said = ledger("ledger", "export", "--partner", "acme", "part.jsonl")
    assert said.code == 0
    assert "1 entries and the hashes of 0 others" in said.err
    lines = [json.loads(line) for line in (tmp_path / "part.jsonl").read_text().splitlines()]
    assert lines[1]["partner"] == "acme"
    unknown = ledger("ledger", "export", "--partner", "akme")
    assert (unknown.code, unknown.out) == (2, "")
    assert "no subscription names 'akme'" in unknown.err


def test_spans_are_compared_with_a_rebuild(ledger: Jaga, tmp_path: Path) -> None:
    said = ledger("ledger", "stats", "--rebuild", "--json")
    assert said.code == 0
    assert said.json()["differing"] == []
    store = sqlite3.connect(tmp_path / "config" / "ledger.db")
    with store:
        store.execute("UPDATE spans SET outcome = 'pass' WHERE outcome = 'fail' AND source = 1")
    store.close()
    edited = ledger("ledger", "stats", "--rebuild")
    assert edited.code == 1
    assert "the spans of 1 sources are not what their runs say: portal/a/jkt-1" in edited.err


def test_imported_terms_name_a_table_of_holidays_that_there_is(jaga: Jaga, tmp_path: Path) -> None:
    """Any other could be neither judged by nor taken back: every statement would fail from then on."""
    terms = {"timezone": "Asia/Jakarta", "guarantee": "95%", "credits": [{"below": "95%", "credit": "10%"}]}
    for table, code in (("idd", 2), ("id", 0)):
        fact = {"type": "terms", "contract": "mitra", "effective_from": "2026-01-01T00:00:00+07:00"}
        lines = [{"type": "header", "format": "jaga-ledger/1"}, fact | {"terms": terms | {"holidays": table}}]
        (tmp_path / "terms.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        said = jaga("ledger", "import", "terms.jsonl")
        assert said.code == code
        if code:
            assert "line 2: terms of mitra: 'idd' is no table of holidays; there are id, none" in said.err
    assert jaga("statement", "--month", "2026-04").code == 0

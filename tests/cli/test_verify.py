"""`jaga verify` from what the other verbs wrote."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Jaga


def test_a_statement_is_verified_without_the_store(ledger: Jaga, tmp_path: Path) -> None:
    assert ledger("close", "2026-04").code == 0
    documents = ledger("statement", "--month", "2026-04", "--format", "json").json()
    export = tmp_path / "export.jsonl"
    assert ledger("ledger", "export", export).code == 0
    (tmp_path / "ledger.db").unlink(missing_ok=True)
    statement = tmp_path / "statement.json"
    statement.write_text(json.dumps(documents))
    said = ledger("verify", statement, "--ledger", export)
    assert said.code == 0, said.err
    assert "2026-04/acme/portal version 1: holds" in said.out
    assert "taken on trust: terms: none in the ledger for this month; the close's" in said.out

    documents[0]["credit"]["amount"] = "0"
    statement.write_text(json.dumps(documents))
    said = ledger("verify", statement, "--ledger", export)
    assert said.code == 1
    assert '  credit.amount: the statement says "0", recomputed "1250000"' in said.out
    assert "does not follow from the ledger" in said.err


def test_what_cannot_be_verified_is_wrong_use(ledger: Jaga, history: Path, tmp_path: Path) -> None:
    statement = tmp_path / "statement.json"
    statement.write_text("[]")
    for arguments, why in (
        ((statement, "--ledger", history), "a checks without its entry: not an export of a ledger"),
        ((history, "--ledger", history), "Extra data"),
        ((statement, "--ledger", history, "--key", "nobody"), "not a public key"),
    ):
        said = ledger("verify", *arguments)
        assert said.code == 2
        assert why in said.err

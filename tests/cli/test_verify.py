"""`jaga verify` from what the other verbs wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
        ((history, "--ledger", history), f"{history} is not in the form this audit knows: Extra data"),
        ((statement, "--ledger", history, "--at", "noon"), "when it was stated is not in the form"),
        ((statement, "--ledger", history, "--key", "nobody"), "not a public key"),
    ):
        said = ledger("verify", *arguments)
        assert said.code == 2
        assert why in said.err


@pytest.mark.parametrize(
    ("old", "new"),
    [('"amount":"12500000"', '"amount":"much"'), ('"note":', '"notes":'), ('"note":"', '"note":7,"more":"')],
    ids=["fee", "no note", "a number for a note"],
)
def test_an_export_of_another_form_is_told_and_no_fault_of_the_audit(
    ledger: Jaga, tmp_path: Path, old: str, new: str
) -> None:
    """Whoever verifies is handed the file by the other side: whatever stands in it, the answer is one line."""
    assert ledger("close", "2026-04").code == 0
    statement, export = tmp_path / "statement.json", tmp_path / "export.jsonl"
    statement.write_text(ledger("statement", "--month", "2026-04", "--format", "json").out)
    assert ledger("ledger", "export", export).code == 0
    written = export.read_text()
    assert old in written
    export.write_text(written.replace(old, new))
    said = ledger("verify", statement, "--ledger", export)
    assert said.code == 2
    assert "not in the form this audit knows" in said.err
    assert "Traceback" not in said.err


def test_a_statement_is_verified_by_what_its_partner_is_given(ledger: Jaga, tmp_path: Path) -> None:
    assert ledger("close", "2026-04").code == 0
    statement = tmp_path / "statement.json"
    statement.write_text(ledger("statement", "--month", "2026-04", "--format", "json").out)
    part = tmp_path / "part.jsonl"
    assert ledger("ledger", "export", "--partner", "acme", part).code == 0
    said = ledger("verify", statement, "--ledger", part)
    assert said.code == 0, said.err
    assert "2026-04/acme/portal version 1: holds" in said.out
    lines = part.read_text().splitlines(keepends=True)
    part.write_text("".join(line for line in lines if '"type":"spans"' not in line or '"fail"' not in line))
    said = ledger("verify", statement, "--ledger", part)
    assert said.code == 1
    assert "record: the end of the export says rows" in said.out
    assert "downtime.seconds: the statement says" in said.out
    other = statement.read_text().replace('"acme"', '"zeta"')
    statement.write_text(other)
    said = ledger("verify", statement, "--ledger", part)
    assert said.code == 2
    assert "the export is for acme (portal): it cannot answer for zeta and portal" in said.err

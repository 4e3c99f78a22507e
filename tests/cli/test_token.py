"""`jaga token`: made once, listed without what opens anything, revoked; what cannot be is said."""

from __future__ import annotations

from pathlib import Path

from monitor.web.tokens import Tokens
from tests.cli.conftest import Jaga


def test_a_token_is_made_listed_and_revoked(jaga: Jaga, tmp_path: Path) -> None:
    said = jaga("token", "create", "acme-portal", "--scope", "statements", "--scope", "read", "--partner", "acme")
    assert said.code == 0
    text = said.out.strip()
    assert text.startswith("jaga_")
    assert "shown this once" in said.err
    assert text not in said.err
    kept = Tokens(tmp_path / "config" / "ledger.tokens").find(text)
    assert kept is not None
    assert (kept.id, kept.partner) == ("acme-portal", "acme")

    (listed,) = jaga("token", "list", "--json").json()
    assert listed["state"] == "valid"
    assert listed["scopes"] == ["read", "statements"]
    assert text not in str(listed)
    assert kept.sha256 not in str(listed)
    assert "acme-portal" in jaga("token", "list").out

    assert jaga("token", "revoke", "acme-portal").code == 0
    assert jaga("token", "list", "--json").json()[0]["state"] == "revoked"
    again = jaga("token", "revoke", "nobody")
    assert again.code == 1
    assert "no token nobody" in again.err


def test_what_cannot_be_is_wrong_use(jaga: Jaga) -> None:
    assert "there is no partner acne; there are acme" in _wrong(jaga, "--scope", "read", "--partner", "acne")
    assert "cannot have admin" in _wrong(jaga, "--scope", "admin", "--partner", "acme")
    assert "is no id" in _wrong(jaga, "UPPER", "--scope", "read")
    assert "exclude each other" in _wrong(jaga, "--scope", "read", "--never", "--expires", "1d")
    assert "Missing option '--scope'" in _wrong(jaga)
    assert jaga("token", "list", "--json").json() == []


def _wrong(jaga: Jaga, *arguments: str) -> str:
    said = jaga("token", "create", *arguments)
    assert said.code == 2
    return said.err


def test_a_token_may_never_expire_or_hold_for_a_time(jaga: Jaga) -> None:
    made = jaga("token", "create", "--scope", "admin", "--never", "--json").json()
    assert made["id"] == "t-1"
    assert made["expires"] is None
    assert made["token"].startswith("jaga_")
    assert jaga("token", "create", "--scope", "admin", "--json").json()["expires"] is not None


def test_a_file_that_is_no_good_is_the_environment_s_fault(jaga: Jaga, tmp_path: Path) -> None:
    jaga("token", "create", "--scope", "read")
    (tmp_path / "config" / "ledger.tokens").chmod(0o644)
    said = jaga("token", "list")
    assert said.code == 3
    assert "chmod 600" in said.err

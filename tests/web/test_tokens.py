"""Tokens in their file: shown once, hashed, seen by a running reader at once, and never half written."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monitor.core.instant import DAY_US
from monitor.web.tokens import PREFIX, Scope, Token, TokenError, TokenFileError, Tokens, Wish, tokens_path

NOW_US = 1_790_000_000_000_000
READ = frozenset({Scope.READ})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.tokens"


def made(file: Path, id_: str | None = None, *scopes: Scope, **more: object) -> tuple[Token, str]:
    wish = Wish(id=id_, scopes=frozenset(scopes or READ), **more)  # type: ignore[arg-type]
    return Tokens(file).create(wish, by="ayu", now_us=NOW_US)


def test_a_token_is_found_by_its_text_and_kept_as_a_hash(file: Path) -> None:
    token, text = made(file, "grafana", Scope.READ)
    assert text.startswith(PREFIX)
    assert len(text) == len(PREFIX) + 43, "256 bits in base64url"
    assert Tokens(file).find(text) == token
    assert Tokens(file).find(text[:-1] + ("A" if text[-1] != "A" else "B")) is None
    assert Tokens(file).find("") is None
    assert text.removeprefix(PREFIX) not in file.read_text()
    assert token.sha256 not in repr(token)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_reader_that_stays_sees_what_others_make_and_revoke(file: Path) -> None:
    daemon = Tokens(file)
    assert daemon.all() == ()
    _token, text = made(file, "first")
    found = daemon.find(text)
    assert found is not None
    assert found.state(NOW_US) == "valid"
    Tokens(file).revoke("first", now_us=NOW_US + 5)
    found = daemon.find(text)
    assert found is not None
    assert found.state(NOW_US) == "revoked"
    assert Tokens(file).revoke("first", now_us=NOW_US + 9).revoked_us == NOW_US + 5, "it stays as it was"


def test_a_token_holds_until_the_very_instant_it_expires(file: Path) -> None:
    token, _text = made(file, expires_us=NOW_US + 10)
    assert token.id == "t-1"
    assert (token.state(NOW_US + 9), token.state(NOW_US + 10)) == ("valid", "expired")


def test_an_id_is_never_used_twice(file: Path) -> None:
    made(file, "t-1")
    Tokens(file).revoke("t-1", now_us=NOW_US)
    with pytest.raises(TokenError, match="not used twice"):
        made(file, "t-1")
    assert made(file)[0].id == "t-2"


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (Wish(scopes=frozenset()), "needs a scope"),
        (Wish(scopes=READ, id="No Id"), "is no id"),
        (Wish(scopes=frozenset({Scope.ADMIN}), partner="acme"), "cannot have admin"),
        (Wish(scopes=frozenset({Scope.MAINTENANCE, Scope.READ}), partner="acme"), "cannot have maintenance"),
        (Wish(scopes=READ, expires_us=NOW_US), "before it is made"),
        (Wish(scopes=READ, expires_us=(1 << 53) + 1), "that is never"),
        (Wish(scopes=READ, expires_us=NOW_US + 99_999_999 * DAY_US), "that is never"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(file: Path, wish: Wish, why: str) -> None:
    with pytest.raises(TokenError, match=why):
        Tokens(file).create(wish, by="ayu", now_us=NOW_US)
    assert not file.exists()


def test_revoking_what_is_not_there_says_so(file: Path) -> None:
    with pytest.raises(TokenError, match="no token gone"):
        Tokens(file).revoke("gone", now_us=NOW_US)


def test_a_file_that_others_may_touch_opens_nothing(file: Path) -> None:
    _token, text = made(file)
    file.chmod(0o620)
    with pytest.raises(TokenFileError, match="chmod 600"):
        Tokens(file).find(text)


@pytest.mark.parametrize("change", ["format", "more", "less", "scope", "hash", "text", "deep"])
def test_a_damaged_file_opens_nothing_and_is_not_written_over(file: Path, change: str) -> None:
    made(file)
    document = json.loads(file.read_text())
    entry = document["tokens"][0]
    match change:
        case "format":
            document["format"] = "jaga-tokens/9"
        case "more":
            entry["super"] = True
        case "less":
            del entry["revoked_at"]
        case "scope":
            entry["scopes"] = ["everything"]
        case "hash":
            entry["sha256"] = ""
    texts = {"text": "{", "deep": "[" * 100_000}
    damaged = texts.get(change, json.dumps(document))
    file.write_text(damaged)
    with pytest.raises(TokenFileError, match="damaged"):
        Tokens(file).all()
    with pytest.raises(TokenFileError, match="damaged"):
        made(file)
    assert file.read_text() == damaged


def test_those_who_make_tokens_at_the_same_time_lose_none(file: Path) -> None:
    with ThreadPoolExecutor(8) as many:
        ids = {token.id for token, _text in many.map(lambda _n: made(file), range(24))}
    assert len(ids) == 24
    assert {token.id for token in Tokens(file).all()} == ids
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_file_lies_beside_the_ledger(tmp_path: Path) -> None:
    assert tokens_path("sqlite:///var/ledger.db", base=tmp_path) == tmp_path / "var" / "ledger.tokens"
    assert tokens_path("postgresql://db/jaga", base=tmp_path) == tmp_path / "ledger.tokens"

"""From an address to a store: what is taken, what is refused, and what never shows in a message."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from monitor.storage import StoreError, StoreMisusedError
from monitor.storage.opening import open_reader, open_store, sqlite_path
from monitor.storage.schema import SCHEMA_VERSION

SECRET = "s3cret-canary"


def test_a_relative_path_is_relative_to_the_configuration(tmp_path: Path) -> None:
    store = open_store("sqlite:///var/jaga/ledger.db", base=tmp_path)
    assert store.target == str(tmp_path / "var/jaga/ledger.db")
    store.close()
    assert (tmp_path / "var/jaga/ledger.db").is_file()
    reader = open_reader(f"sqlite:///{tmp_path}/var/jaga/ledger.db", base=Path("/nowhere"))
    assert reader.counts().schema == SCHEMA_VERSION
    reader.close()


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    store = open_store("sqlite:///a b%20c#d.db", base=tmp_path)
    store.close()
    assert (tmp_path / "a b c#d.db").is_file()


def test_where_a_sqlite_ledger_lies(tmp_path: Path) -> None:
    assert sqlite_path("sqlite:///ledger.db", base=tmp_path) == tmp_path / "ledger.db"
    assert sqlite_path("sqlite:////var/ledger.db", base=tmp_path) == Path("/var/ledger.db")
    assert sqlite_path("postgresql://localhost/jaga", base=tmp_path) is None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "its address cannot be read"),
        ("ledger.db", "its address cannot be read"),
        (f"postgresql://user:{SECRET}@host:port/x", "its address cannot be read"),
        ("sqlit:///x.db", '"sqlit" is no kind of store; did you mean "sqlite"'),
        (f"mysql://user:{SECRET}@host/x", '"mysql" is no kind of store'),
        ("postgresql+asyncpg://host/x", 'is no kind of store; did you mean "postgresql"'),
        ("sqlite://", "its address names no file"),
        ("sqlite:///:memory:", "its address names no file"),
        ("sqlite://ledger.db", "its address names no file"),
        (f"sqlite:///x.db?key={SECRET}", 'option "key" is unknown'),
    ],
)
def test_an_address_that_names_no_store_is_refused(url: str, message: str, tmp_path: Path) -> None:
    for opening in (open_store, open_reader):
        with pytest.raises(StoreMisusedError) as refused:
            opening(url, base=tmp_path)
        assert message in str(refused.value)
        assert SECRET not in str(refused.value)
        assert "sqlite:///folder/ledger.db" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_cannot_be_reached_is_told_without_secrets(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and it refuses
        port = taken.getsockname()[1]
        for scheme in ("postgresql", "postgres"):
            for opening in (open_store, open_reader):
                with pytest.raises(StoreError) as refused:
                    opening(f"{scheme}://jaga:{SECRET}@127.0.0.1:{port}/ledger?sslmode=disable", base=tmp_path)
                assert refused.value.target == f"postgresql://127.0.0.1:{port}/ledger"
                assert "the server cannot be reached" in refused.value.cause
                assert SECRET not in str(refused.value)


def test_a_missing_driver_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(StoreError, match="its driver psycopg is not installed") as refused:
        open_store("postgresql://localhost/ledger", base=tmp_path)
    assert "jaga[postgres]" in refused.value.hint

"""A writing verb while somebody else owns the ledger: it asks over the socket beside it, and says what was answered."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from monitor.control import Server
from monitor.storage import opening
from tests.cli.conftest import Jaga


class _Owner:
    """Owns the ledger and answers at its socket, as a daemon does."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.requests: list[tuple[Mapping[str, Any], str]] = []

    async def handle(self, request: Mapping[str, Any], login: str) -> dict[str, Any]:
        self.requests.append((request, login))
        return self.answer

    @contextmanager
    def listening(self, folder: Path) -> Iterator[None]:
        loop = asyncio.new_event_loop()
        server = Server(folder, self.handle)
        loop.run_until_complete(server.start())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        store = opening.open_store("sqlite:///ledger.db", base=folder)
        try:
            yield
        finally:
            store.close()
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(60)
            loop.close()


CANCEL = ("maintenance", "cancel", "m-1")


def test_what_the_daemon_recorded_is_said(ledger: Jaga, tmp_path: Path) -> None:
    fact = {"type": "maintenance_cancelled", "maintenance": "m-1", "at": "2026-04-01T00:00:00+00:00"}
    owner = _Owner({"recorded": [fact], "remarks": ["noted"]})
    with owner.listening(tmp_path / "config"):
        said = ledger(*CANCEL, "--by", "sari", "--restate")
    assert (said.code, said.out) == (0, "recorded maintenance_cancelled m-1\n  noted\n")
    ((request, _login),) = owner.requests
    assert request == {
        "do": "decide",
        "command": {"verb": "maintenance cancel", "maintenance": "m-1"},
        "by": "sari",
        "over_closed": True,
    }


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ({"refused": "there is no window m-1"}, 1, "jaga: there is no window m-1"),
        ({"error": "commit ledger.db: disk full"}, 3, "jaga: the daemon could not decide: commit ledger.db: disk full"),
    ],
)
def test_the_daemons_no_is_ours(ledger: Jaga, tmp_path: Path, answer: dict[str, Any], code: int, said: str) -> None:
    with _Owner(answer).listening(tmp_path / "config"):
        ended = ledger(*CANCEL)
    assert (ended.code, ended.err.strip()) == (code, said)


def test_an_owner_that_does_not_listen_is_named(ledger: Jaga, tmp_path: Path) -> None:
    store = opening.open_store("sqlite:///ledger.db", base=tmp_path / "config")
    try:
        said = ledger(*CANCEL)
    finally:
        store.close()
    assert said.code == 2
    assert "owned by" in said.err


def test_a_preview_and_a_list_need_no_owner(ledger: Jaga, tmp_path: Path) -> None:
    store = opening.open_store("sqlite:///ledger.db", base=tmp_path / "config")
    try:
        assert ledger("maintenance", "list", "--json").json() == []
        assert ledger(*CANCEL, "--preview").code == 1
    finally:
        store.close()

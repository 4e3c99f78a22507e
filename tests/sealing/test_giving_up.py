"""A walk over the record ends when nobody waits for it: a stop does not last as long as the record is large."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from monitor.clock import live_clock
from monitor.core.instant import DAY_US
from monitor.ledger.verify import VerifyReport, verify
from monitor.sealing import rounds
from monitor.sealing.rounds import GivenUpError, Verification
from monitor.storage import Reader
from monitor.storage.sqlite import open_reader, open_store
from tests.ledger import sealing
from tests.sealing.ledgers import NOW_US, Ledger, make

WITHIN_S = 30


class EnoughError(Exception):
    """What a pause raises here."""


class Pauses:
    """Counts; raises at the one whose number is given."""

    def __init__(self, raising_at: int | None = None) -> None:
        self.count = 0
        self._raising_at = raising_at

    def __call__(self) -> None:
        if self.count == self._raising_at:
            raise EnoughError
        self.count += 1


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Ten entries and more, fifty runs as rows and in a segment."""
    ledger, _ = make(tmp_path)
    store = open_store(ledger.path)
    sealing.seal(store, NOW_US + DAY_US)
    store.close()
    found = open_reader(ledger.path)
    yield found
    found.close()


def test_the_chain_is_left_between_two_entries(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.ledger.verify.PROGRESS_EVERY", 1)
    pauses = Pauses(raising_at=3)
    with pytest.raises(EnoughError):
        verify(reader, deep=False, pause=pauses)
    assert pauses.count == 3
    assert verify(reader).holds


def test_every_table_and_segment_can_be_left(reader: Reader) -> None:
    whole = Pauses()
    assert list(reader.damage(whole)) == []
    assert whole.count >= 5, "ledger, entries, sources, runs, and a segment"
    for number in range(whole.count):
        with pytest.raises(EnoughError):
            list(reader.damage(Pauses(raising_at=number)))
    assert verify(reader).holds


def test_sqlite_is_interrupted_while_it_looks_by_itself(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Pauses()
    list(reader.damage(whole))
    monkeypatch.setattr("monitor.storage.sqlite.STEPS", 10)
    inside = Pauses()
    assert list(reader.damage(inside)) == []
    assert inside.count > whole.count, "it is asked within one statement"
    with pytest.raises(EnoughError):
        list(reader.damage(Pauses(raising_at=1)))
    # Nothing is left behind that would interrupt what comes next.
    assert verify(reader).holds


async def test_whoever_is_cancelled_leaves_no_walk_behind(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk is held until it is given up; its thread is over once the cancelled call is."""
    walking, left = threading.Event(), threading.Event()
    ended: list[BaseException] = []

    def held(_reader: Reader, *, pause: Callable[[], None], **_others: object) -> VerifyReport:
        walking.set()
        try:
            while not left.wait(0.001):
                pause()
        except BaseException as error:
            ended.append(error)
            raise
        raise AssertionError("it was left waiting")

    monkeypatch.setattr(rounds, "verify", held)
    loop = asyncio.get_running_loop()
    clock = live_clock(loop)

    with ThreadPoolExecutor(1) as threads:

        async def read(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is called
            return await loop.run_in_executor(threads, call)

        sealer = Ledger(tmp_path).sealer()
        damaged: list[str] = []
        verification = Verification(clock=clock, reader=reader, sealer=sealer, read=read, damaged=damaged.append)
        once = asyncio.create_task(verification.once())
        assert await asyncio.to_thread(walking.wait, WITHIN_S)
        once.cancel()
        with pytest.raises(asyncio.CancelledError):
            await once
        patience = loop.call_later(WITHIN_S, left.set)
        await asyncio.to_thread(threads.shutdown)
        patience.cancel()
    clock.close()
    assert [type(error) for error in ended] == [GivenUpError]
    assert verification.holds is None
    assert damaged == []

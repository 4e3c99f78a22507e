"""The point of no return, over a real ledger: batches, one order, a store that fails, and the buffer's bound."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from monitor.core.fact import ClockStep
from monitor.core.run import Outcome, Run, SourceKey
from monitor.core.span import Span
from monitor.recorder import EVERY_US, GAPS_MARK, TICK_US, Recorder
from monitor.storage import Committed, StoreError, Unit
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore
from tests.simulation.loop import SimulatedClock, VirtualLoop

SECOND = 1_000_000
START_US = 1_775_000_000 * SECOND
SOURCE = SourceKey("portal", "login", "jkt-1")
ALWAYS = Span(0, 2**53)


def run_at(number: int, outcome: Outcome = Outcome.PASS) -> Run:
    return Run(**SOURCE._asdict(), start_us=START_US + number, outcome=outcome)


class Bench:
    """A recorder on virtual time over a file; `seen` is what it told to act on, with the instant in us."""

    def __init__(self, loop: VirtualLoop, folder: Path, **options: Any) -> None:  # noqa: ANN401 - the recorder's own
        self.loop = loop
        self.path = folder / "ledger.db"
        self.clock = SimulatedClock(loop, START_US)
        self.store: SqlStore = open_store(self.path, busy_timeout_ms=1)
        self.seen: list[tuple[int, Committed]] = []
        self.reacted: list[tuple[Committed | None, Mapping[str, int]]] = []
        self.owe: list[Unit] = []
        self.recorder = Recorder(
            store=self.store,
            clock=self.clock,
            submit=_at_once,
            react=self._react,
            on_committed=lambda committed: self.seen.append((self.clock.now_us() - START_US, committed)),
            **options,
        )

    def _react(self, committed: Committed | None, _at_us: int, open_since: Mapping[str, int]) -> Unit | None:
        self.reacted.append((committed, dict(open_since)))
        if committed is not None:
            # Whoever acts on a run finds it on disk, through another connection.
            assert {run.start_us for run in committed.fresh} <= self.on_disk()
        return self.owe.pop(0) if self.owe else None

    def on_disk(self) -> set[int]:
        return {run.start_us for run in self.store.runs(SOURCE, ALWAYS)}

    @contextmanager
    def foreign_lock(self) -> Iterator[None]:
        """Another process holds the write lock, as a stray `sqlite3` shell does."""
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()

    def play(self, story: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            writing = asyncio.create_task(self.recorder.run())
            await story
            self.recorder.stop()
            await writing

        try:
            self.loop.run_until_complete(run())
        finally:
            self.store.close()


async def _at_once(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the call answers
    return call()


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def test_runs_share_a_transaction_and_wait_at_most_a_quarter_of_a_second(loop: VirtualLoop, tmp_path: Path) -> None:
    bench = Bench(loop, tmp_path)

    async def story() -> None:
        for number in range(100):
            bench.recorder.accept(run_at(number))
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)

    bench.play(story())
    (at_us, committed), *rest = bench.seen
    assert at_us <= EVERY_US + 1000
    assert len(committed.fresh) == 100
    assert not rest
    assert bench.recorder.stats.committed_runs == 100


def test_a_repeated_run_changes_nothing(loop: VirtualLoop, tmp_path: Path) -> None:
    bench = Bench(loop, tmp_path)

    async def story() -> None:
        for _ in range(3):
            bench.recorder.accept(run_at(1))
            await asyncio.sleep(1)

    bench.play(story())
    assert [len(committed.fresh) for _at, committed in bench.seen] == [1, 0, 0]


def test_what_follows_from_a_unit_is_written_with_the_next_and_time_passes_without_one(
    loop: VirtualLoop, tmp_path: Path
) -> None:
    bench = Bench(loop, tmp_path)
    bench.owe = [Unit(recorded_at_us=START_US, marks={"cursor": 7})]

    async def story() -> None:
        bench.recorder.accept(run_at(1))
        await asyncio.sleep(1)
        assert bench.store.mark("cursor") == 7
        told = len(bench.reacted)
        await asyncio.sleep(3 * TICK_US / SECOND)
        assert [committed for committed, _open in bench.reacted[told:]] == [None, None, None]

    bench.play(story())


def test_the_last_runs_are_written_at_the_stop_and_so_is_what_follows(loop: VirtualLoop, tmp_path: Path) -> None:
    bench = Bench(loop, tmp_path)
    bench.owe = [Unit(recorded_at_us=START_US, marks={"cursor": 1}), Unit(recorded_at_us=START_US, marks={"cursor": 2})]

    async def story() -> None:
        bench.recorder.accept(run_at(1))

    bench.play(story())
    again = open_store(bench.path)
    assert [run.start_us for run in again.runs(SOURCE, ALWAYS)] == [START_US + 1]
    assert again.mark("cursor") == 2
    again.close()


def test_under_a_foreign_lock_nothing_is_lost_nothing_acts_and_it_recovers_by_itself(
    loop: VirtualLoop, tmp_path: Path
) -> None:
    bench = Bench(loop, tmp_path)

    async def story() -> None:
        with bench.foreign_lock():
            for number in range(60):
                bench.recorder.accept(run_at(number))
                await asyncio.sleep(1)
            assert (bench.recorder.stats.failing_since_us or 0) in range(START_US, START_US + SECOND)
            assert bench.recorder.pending == 60
            assert not bench.seen
            assert not bench.on_disk()
            # It tries again with pauses, not in a rush.
            assert 10 <= bench.recorder.stats.write_failures <= 20
        await asyncio.sleep(5.1)
        assert not bench.recorder.failing
        assert bench.on_disk() == {START_US + number for number in range(60)}

    bench.play(story())
    assert [run.start_us for _at, committed in bench.seen for run in committed.fresh] == [
        START_US + number for number in range(60)
    ]


def test_at_the_buffers_limit_the_oldest_go_and_the_gap_is_on_record(loop: VirtualLoop, tmp_path: Path) -> None:
    bench = Bench(loop, tmp_path, buffer_runs=10)

    async def story() -> None:
        with bench.foreign_lock():
            for number in range(25):
                bench.recorder.accept(run_at(number))
                await asyncio.sleep(0.1)
            assert bench.recorder.pending == 10
            assert bench.recorder.stats.dropped_runs == 15
        await asyncio.sleep(6)

    bench.play(story())
    again = open_store(bench.path)
    assert [run.start_us - START_US for run in again.runs(SOURCE, ALWAYS)] == list(range(15, 25))
    assert again.mark(GAPS_MARK) == [{"runs": 15, "from_us": START_US, "to_us": START_US + 14}]
    again.close()


def test_evidence_in_the_buffer_holds_the_verdict_back(loop: VirtualLoop, tmp_path: Path) -> None:
    bench = Bench(loop, tmp_path)
    bench.recorder._open = lambda: {"other": 5}

    async def story() -> None:
        bench.recorder.accept(run_at(1))
        assert bench.recorder._open_since() == {"portal": START_US + 1, "other": 5}
        await asyncio.sleep(1)
        assert bench.recorder._open_since() == {"other": 5}

    bench.play(story())


def test_an_ask_sees_all_runs_and_is_durable_when_answered(loop: VirtualLoop, tmp_path: Path) -> None:
    bench = Bench(loop, tmp_path)
    bench.owe = [Unit(recorded_at_us=START_US, marks={"derived": 1})]

    async def story() -> None:
        bench.recorder.accept(run_at(1))
        unit = Unit(recorded_at_us=START_US + 9, facts=[ClockStep(at_us=START_US, delta_us=1_000_000)])

        def make(store: Any) -> tuple[Unit, set[int]]:  # noqa: ANN401 - a store
            assert store.mark("derived") == 1, "what was owed stands before"
            return unit, {run.start_us for run in store.runs(SOURCE, ALWAYS)}

        assert await bench.recorder.ask(make) == {START_US + 1}
        assert [entry.type for entry in bench.store.entries()] == ["clock_step"]
        assert await bench.recorder.ask(lambda store: (None, store.head().seq)) == 1

    bench.play(story())
    assert [len(committed.entries) for _at, committed in bench.seen] == [0, 0, 1]


def test_asks_are_refused_while_the_store_fails_and_after_the_stop(loop: VirtualLoop, tmp_path: Path) -> None:
    bench = Bench(loop, tmp_path)
    unit = Unit(recorded_at_us=START_US, facts=[ClockStep(at_us=START_US, delta_us=1_000_000)])

    def broken(_store: object) -> tuple[Unit | None, None]:
        raise LookupError("the caller's own")

    async def story() -> None:
        with pytest.raises(LookupError, match="the caller's own"):
            await bench.recorder.ask(broken)
        with bench.foreign_lock(), pytest.raises(StoreError):
            await bench.recorder.ask(lambda _store: (unit, None))
        await asyncio.sleep(1)
        assert list(bench.store.entries()) == []
        await bench.recorder.ask(lambda _store: (unit, None))

    bench.play(story())


def test_a_cancelled_writer_loses_nothing(loop: VirtualLoop, tmp_path: Path) -> None:
    """The supervisor begins a writer anew that died in the middle of a commit."""
    bench = Bench(loop, tmp_path)
    stuck: asyncio.Future[None] = loop.create_future()

    async def stick(_call: Callable[[], Any]) -> Any:  # noqa: ANN401
        await stuck

    async def story() -> None:
        usual: Callable[[Callable[[], Any]], Awaitable[Any]] = bench.recorder._submit
        bench.recorder._submit = stick
        first = asyncio.create_task(bench.recorder.run())
        bench.recorder.accept(run_at(1))
        await asyncio.sleep(1)
        assert bench.recorder.pending == 1
        first.cancel()
        await asyncio.wait([first])
        assert bench.recorder.pending == 1
        bench.recorder._submit = usual
        bench.recorder.accept(run_at(2))
        await asyncio.sleep(1)

    async def only() -> None:
        await story()
        second = asyncio.create_task(bench.recorder.run())
        bench.recorder.stop()
        await second

    loop.run_until_complete(only())
    assert bench.on_disk() == {START_US + 1, START_US + 2}
    bench.store.close()

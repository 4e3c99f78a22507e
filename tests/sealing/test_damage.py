"""A disk that answers as if nothing were: flipped bits, cut files, a log of another ledger, yesterday's state.

A flip in a byte that nothing is read from changes no answer, and need not be found. So every answer of the damaged
ledger is compared with those of the sound one, and whatever changed any must be found: at the start or by verify.
"""

from __future__ import annotations

import asyncio
import io
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.clock import live_clock
from monitor.core.fact import LossAccepted
from monitor.core.run import SourceKey
from monitor.core.span import Span
from monitor.ledger.interchange import export
from monitor.ledger.verify import Outside
from monitor.sealing.rounds import Verification
from monitor.storage import Reader, StoreDamagedError, StoreError, Unit
from monitor.storage.sqlite import open_reader, open_store
from tests.ledger.keeping import kept, watched_april
from tests.sealing.ledgers import NOW_US, Ledger, claim, make, run, seal

FLIPS = 200
EVER = Span(0, 2**60)
MARKS = ("frontier", "story")


async def found_at_start(ledger: Ledger) -> str | None:
    """What a daemon says of the ledger before it writes anything, None if it finds nothing."""
    said: list[str] = []
    try:
        reader = open_reader(ledger.path)
    except StoreError as error:
        return str(error)
    clock = live_clock(asyncio.get_running_loop())

    async def inline(call: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is called
        return call()

    try:
        verification = Verification(
            clock=clock, reader=reader, sealer=ledger.sealer(), read=inline, damaged=said.append
        )
        await verification.at_start()
    finally:
        clock.close()
        reader.close()
    return said[0] if said else None


def answers(ledger: Ledger) -> object:
    """Everything the ledger is asked for, or the kind of error where it cannot answer."""
    try:
        reader = open_reader(ledger.path)
    except StoreError as error:
        return type(error).__name__
    try:
        return _answers(reader)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is another answer
        return type(error).__name__
    finally:
        reader.close()


def _answers(reader: Reader) -> object:
    out = io.BytesIO()
    export(reader, out)
    sources = [(source, disputed) for disputed in (False, True) for source in reader.sources(disputed=disputed)]
    return (
        out.getvalue(),
        reader.head(),
        reader.first_own_entry(),
        reader.last_arrival(),
        [list(reader.runs(source, EVER, disputed=disputed)) for source, disputed in sources],
        [reader.spans_of(source, EVER) for source, _ in sources],
        reader.runs_after(0, 10_000),
        reader.latest_runs(),
        [entry.recorded_at_us for entry in reader.entries()],
        [entry.seq for entry in reader.entries(types=("claim", "checkpoint"))],
        [reader.mark(name) for name in MARKS],
        reader.run_before(SourceKey("portal", "login", "jkt-1"), 2**60),
    )


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Entries, runs, spans and marks, half of them in the database and half in a log that was never moved into it."""
    folder = tmp_path_factory.mktemp("pristine")
    with kept(folder) as keeper:
        watched_april(keeper, [(10, 20), (300, 310)])
    alive, copy = Ledger(folder), Ledger(tmp_path_factory.mktemp("copy"))
    store, sealer = open_store(alive.path), alive.sealer()
    named = sealer.open(store, NOW_US)
    assert named is not None
    store.commit(named)
    seal(store, sealer, NOW_US + 10**13)
    with store._writer.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    store.commit(Unit(recorded_at_us=2 * 10**15, facts=[claim(n) for n in range(40)], marks={"story": ["middle"]}))
    seal(store, sealer, 2 * 10**15 + 10)
    for first in range(0, 200, 20):
        store.commit(Unit(recorded_at_us=2 * 10**15 + 20, runs=[run(10**7 + n) for n in range(first, first + 20)]))
    for file in folder.iterdir():
        if not file.name.endswith(("-shm", ".lock")):
            shutil.copy(file, copy.folder)
    store.close()
    return copy


def damage(ledger: Ledger, chance: random.Random) -> str:
    """Flip one bit, or cut the end off, of the database or its log."""
    file = ledger.folder / chance.choice(["ledger.db", "ledger.db-wal"])
    data = bytearray(file.read_bytes())
    place = chance.randrange(len(data))
    if chance.random() < 0.1:
        del data[place:]
        what = f"{file.name} cut at {place}"
    else:
        bit = chance.randrange(8)
        data[place] ^= 1 << bit
        what = f"{file.name} bit {bit} of byte {place}"
    file.write_bytes(data)
    return what


@pytest.mark.slow
async def test_whatever_damage_changes_an_answer_is_found(pristine: Ledger, tmp_path: Path) -> None:
    sound = answers(pristine)
    assert isinstance(sound, tuple)
    assert await found_at_start(pristine) is None
    seen: Counter[str] = Counter()
    missed = []
    for seed in range(FLIPS):
        ledger = Ledger(tmp_path / str(seed))
        shutil.copytree(pristine.folder, ledger.folder, ignore=shutil.ignore_patterns("*-shm"))
        what = damage(ledger, random.Random(seed))
        before = {file.name: file.read_bytes() for file in ledger.folder.iterdir() if file.suffix == ".db"}
        found = await found_at_start(ledger)
        missed_it = not found and answers(ledger) != sound
        seen["found" if found else "missed" if missed_it else "benign"] += 1
        if missed_it:
            missed.append(what)
        # Found and told, never repaired.
        assert {name: (ledger.folder / name).read_bytes() for name in before} == before
        shutil.rmtree(ledger.folder)
    assert missed == []
    assert seen["found"] > FLIPS // 2, seen


def made(folder: Path, *more: int) -> Ledger:
    """The ledger of `make`, with as many more claims as asked, all in the database."""
    folder.mkdir()
    ledger, _ = make(folder)
    store = open_store(ledger.path)
    store.commit(Unit(recorded_at_us=NOW_US + 10**12, facts=[claim(100 + n) for n in more]))
    store.close()
    return ledger


async def test_a_log_of_another_ledger(tmp_path: Path, pristine: Ledger) -> None:
    """A valid log that belongs to another file is applied by SQLite without a word."""
    ledger = made(tmp_path / "ours", 1, 2)
    sound = answers(ledger)
    shutil.copy(pristine.folder / "ledger.db-wal", ledger.folder / "ledger.db-wal")
    assert answers(ledger) != sound
    assert await found_at_start(ledger) is not None


async def test_a_log_that_was_lost(pristine: Ledger, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    shutil.copytree(pristine.folder, ledger.folder)
    (ledger.folder / "ledger.db-wal").unlink()
    (ledger.folder / "ledger.db-shm").unlink(missing_ok=True)
    found = await found_at_start(ledger)
    assert found is not None
    assert "its end was cut off" in found


@pytest.mark.parametrize("mark", [True, False], ids=["with the mark", "without the mark"])
async def test_yesterday_s_backup_under_today_s_checkpoint(tmp_path: Path, mark: bool) -> None:
    """The backup is a sound ledger. What lies beside the key says that it is not the newest."""
    ledger = made(tmp_path / "ours")
    backup = ledger.path.read_bytes()
    store, sealer = open_store(ledger.path), ledger.sealer()
    sealer.open(store, NOW_US)
    store.commit(Unit(recorded_at_us=NOW_US + 10**13, facts=[claim(7)]))
    note = seal(store, sealer, NOW_US + 10**13 + 5)
    store.close()
    ledger.path.write_bytes(backup)
    if not mark:
        ledger.path.with_name("ledger.db-mark").unlink()
    found = await found_at_start(ledger)
    assert found is not None
    assert "a checkpoint of 11 entries was signed, the ledger holds 10" in found
    kinds = {problem.kind for problem in ledger.verify().problems}
    assert kinds == ({"store"} if mark else set())
    assert sealer.kept() == note


async def test_a_large_ledger_is_glanced_at_before_it_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What contradicts the record at once is found at the start whatever its size."""
    monkeypatch.setattr("monitor.sealing.rounds.SMALL_BYTES", 0)
    ledger = made(tmp_path / "ours")
    assert await found_at_start(ledger) is None
    rewritten = made(tmp_path / "other")
    shutil.copy(rewritten.path, ledger.path)
    ledger.path.with_name("ledger.db-mark").unlink()
    found = await found_at_start(ledger)
    assert found is not None
    assert "beside the key is not in the ledger" in found


def test_going_on_from_an_older_state_is_an_entry_and_stays_a_contradiction_outside(tmp_path: Path) -> None:
    ledger = made(tmp_path / "ours")
    backup = ledger.path.read_bytes()
    store, sealer = open_store(ledger.path), ledger.sealer()
    sealer.open(store, NOW_US)
    assert sealer.accept_loss(store, NOW_US, by="sari", note="none") is None
    store.commit(Unit(recorded_at_us=NOW_US + 10**13, facts=[claim(7)], runs=[run(900)]))
    later = seal(store, sealer, NOW_US + 10**13 + 5)
    store.close()
    ledger.path.write_bytes(backup)

    store, sealer = open_store(ledger.path), ledger.sealer()
    with pytest.raises(StoreDamagedError, match="entry 12 was acknowledged, the ledger ends at 10"):
        store.commit(Unit(recorded_at_us=NOW_US + 10**14, facts=[claim(8)]))
    unit = sealer.accept_loss(store, NOW_US + 10**14, by="sari", note="the disk died")
    assert unit is not None
    (fact,) = unit.facts
    assert isinstance(fact, LossAccepted)
    assert (fact.entries, fact.arrival, fact.checkpoint) == (12, 51, later)
    store.permit_writes()
    store.commit(unit)
    sealer.open(store, NOW_US + 10**14)
    newest = seal(store, sealer, NOW_US + 10**14 + 5)
    store.close()
    report = ledger.verify(Outside(checkpoints=(newest,)))
    assert report.holds
    assert "sari went on from an older state; 12 entries had been acknowledged" in report.remarks[0]
    assert "checkpoint" in {kind for _seq, kind in ledger.found(Outside(checkpoints=(later,)))}

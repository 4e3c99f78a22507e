"""A whole ledger goes from one engine to the other and back, and is the same: entries, heads, runs, statements."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from monitor.core.entry import Head
from monitor.core.fact import Claim, ClockStep
from monitor.core.instant import DAY_US, HOUR_US
from monitor.core.run import Origin, Outcome, Run, RunKey, StatedSpan
from monitor.ledger.command import CloseMonth
from monitor.ledger.evidence import ALWAYS, rebuild
from monitor.ledger.interchange import UNFINISHED_IMPORT, export, import_
from monitor.ledger.interchange.incoming import ImportRefusedError
from monitor.ledger.interchange.move import MoveReport, move
from monitor.ledger.verify import verify
from monitor.storage import Reader, Store, StoreError, Unit
from monitor.storage.opening import open_store
from tests.conformance.storage.worlds import ALL, CHECKS, FIRST, SOURCES, commit, contradicted, history, questions
from tests.ledger.keeping import APRIL, CLOSING, START, Keeper, run, watched_april
from tests.ledger.sealing import cool_all, expire_all, seal

HOURS = 8
END = FIRST + HOURS * HOUR_US
LATER = END + 3 * DAY_US

Make = Callable[[str], Store]


def exported(reader: Reader) -> bytes:
    out = io.BytesIO()
    export(reader, out)
    return out.getvalue()


def moved(store: Store, data: bytes, now_us: int = LATER + DAY_US) -> MoveReport:
    return move(store, io.BytesIO(data), now_us=now_us, rebuild=rebuild)


def packs(store: Store) -> int:
    with store._writer.connect() as connection:  # type: ignore[attr-defined]
        return int(connection.exec_driver_sql("SELECT count(*) FROM packs").scalar_one())


@pytest.fixture
def lived(make_store: Make) -> Store:
    """A ledger on SQLite in which everything has happened: imports, sealed and late and expired hours, contradictions,
    dispute evidence, marks.
    """
    store = make_store("lived")
    runs = history(1, HOURS)
    early = [replace(one, origin=Origin.IMPORTED, slot_us=None) for one in runs[:20]]
    store.commit(Unit(recorded_at_us=FIRST, facts=CHECKS, origin=Origin.IMPORTED, runs=early))
    store.commit(Unit(recorded_at_us=END, facts=[ClockStep(at_us=END, delta_us=1)]))
    commit(store, runs[20:-60], END)
    seal(store, END + HOUR_US)
    cool_all(store, LATER)
    commit(store, [*runs[-60:], *map(contradicted, runs[-70:-55]), contradicted(runs[30])], LATER)
    seal(store, LATER)
    late = replace(runs[0], start_us=runs[0].start_us + 1, origin=Origin.IMPORTED)
    claim = Claim(partner="acme", service="portal", month="2026-03", at_us=LATER)
    store.commit(Unit(recorded_at_us=LATER, facts=[claim], runs=[late], origin=Origin.IMPORTED))
    young = [replace(one, start_us=one.start_us + 3 * DAY_US, slot_us=None) for one in runs[40:70]]
    marks = {"detector": {"arrival": 7, "text": "時間"}, "nothing": None}
    store.commit(Unit(recorded_at_us=LATER, runs=young, marks=marks, expired=[("portal", FIRST + HOUR_US)]))
    rebuild(store)
    return store


def test_a_ledger_moves_between_engines_and_back(lived: Store, store: Store, make_store: Make) -> None:
    data = exported(lived)
    report = moved(store, data)
    assert report.head == lived.head().hash
    assert sum(held.segment.body is not None for held in store.segments()) > 2 * packs(store) > 0
    assert report.segments > HOURS
    back = make_store("back")
    moved(back, exported(store))
    asked = questions(2, HOURS)
    for there in (store, back):
        assert there.head() == lived.head()
        assert list(there.raw_entries()) == list(lived.raw_entries())
        assert list(there.entries()) == list(lived.entries())
        assert there.first_own_entry() == lived.first_own_entry()
        assert {name: question(there) for name, question in asked} == {name: ask(lived) for name, ask in asked}
        assert there.spans("portal", ALL) == lived.spans("portal", ALL)
        for source in SOURCES:
            for disputed in (False, True):
                assert (
                    list(there.rows(source, disputed=disputed))
                    or not disputed
                    or source not in lived.sources(disputed=True)
                )
                assert list(there.runs(source, ALWAYS, disputed=disputed)) == list(
                    lived.runs(source, ALWAYS, disputed=disputed)
                )
            assert list(there.kept(source, ALL)) == list(lived.kept(source, ALL))
        assert there.mark("detector") == {"arrival": 7, "text": "時間"}
        assert there.mark(UNFINISHED_IMPORT) is None
        assert verify(there).holds
    assert exported(back) == exported(store)


def test_life_goes_on_after_a_move(lived: Store, store: Store) -> None:
    moved(store, exported(lived))
    runs = history(1, HOURS)
    new = replace(runs[-1], start_us=runs[-1].start_us + 4 * DAY_US)
    for there in (lived, store):
        done = there.commit(Unit(recorded_at_us=LATER, runs=[*runs, contradicted(runs[150]), new], facts=CHECKS))
        assert new in done.fresh
        assert contradicted(runs[150]).key in done.contested
        seal(there, LATER + 6 * DAY_US)
        cool_all(there, LATER + 9 * DAY_US)
    assert [entry.fact for entry in store.entries()] == [entry.fact for entry in lived.entries()]
    assert store.head().hash == lived.head().hash
    asked = questions(3, HOURS)
    assert {name: question(store) for name, question in asked} == {name: ask(lived) for name, ask in asked}


@pytest.mark.exhaustive
def test_statements_are_the_same_after_a_move(store: Store, make_store: Make) -> None:
    keeper = Keeper(make_store("kept"))
    watched_april(keeper, [(100, 115)])
    keeper.given(CloseMonth(partner="acme", service="portal", month=str(APRIL)))
    keeper.put(runs=[run(START + 300 * HOUR_US + 1, "fail")])
    keeper.given(CloseMonth(partner="acme", service="portal", month=str(APRIL), restate_reason="a late run"))
    issued = [keeper.statement(version).document for version in (1, 2)]
    assert issued[0]["digest"] != issued[1]["digest"]
    keeper.now_us = CLOSING + 60 * DAY_US
    seal(keeper.store, keeper.now_us)
    cool_all(keeper.store, keeper.now_us)
    expired = expire_all(keeper.store, keeper.months(), keeper.now_us - START - 120 * HOUR_US)
    assert len(expired) > 100
    moved(store, exported(keeper.store), keeper.now_us)
    there = Keeper(store)
    there.now_us = keeper.now_us
    assert [there.statement(version).document for version in (1, 2)] == issued


def test_only_an_empty_store_takes_a_move(lived: Store, store: Store) -> None:
    data = exported(lived)
    store.commit(Unit(recorded_at_us=1, facts=CHECKS))
    before = store.head()
    with pytest.raises(StoreError, match="it is not empty"):
        moved(store, data)
    assert store.head() == before


def lines_of(data: bytes) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in data.splitlines()]


def joined(lines: list[dict[str, object]]) -> bytes:
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


def changed(lines: list[dict[str, object]], kind: str, **values: object) -> bytes:
    """The export with other values on the second line of a type."""
    at = [number for number, line in enumerate(lines) if line["type"] == kind][1]
    return joined([*lines[:at], lines[at] | values, *lines[at + 1 :]])


def dropped(lines: list[dict[str, object]], kind: str) -> bytes:
    at = next(number for number, line in enumerate(lines) if line["type"] == kind)
    return joined([*lines[:at], *lines[at + 1 :]])


def test_a_file_that_does_not_hold_together_is_refused_whole(lived: Store, make_store: Make) -> None:
    data = exported(lived)
    lines = lines_of(data)
    segments = [line for line in lines if line["type"] == "segment"]
    cases = {
        "it was cut off": data[: len(data) // 2],
        "without its last line": joined(lines[:-1]),
        "lines are gone or out of their order": dropped(lines, "clock_step"),
        "it was changed": changed(lines, "sealed", runs=1),
        "seals other segments": dropped(lines, "segment"),
        "is not that of what the line holds": changed(lines, "segment", data="AAAA"),
        '"data" is no base64': changed(lines, "segment", data="!"),
        "which seals nothing": changed(lines, "segment", seq=1),
        '"arrivals" is not three numbers': changed(lines, "segment", arrivals=[1]),
        'field "extra" is unknown': changed(lines, "segment", extra=1),
        "lines are missing": dropped(lines, "run"),
        "speaks of another run": changed(lines, "run", duration_us=1),
        "without its place in the store": changed(lines, "run", stored=None),
        "comes after the end": joined([*lines, lines[-2]]),
        "is no header": joined(lines[1:]),
        "is a decision without its place": joined([{k: v for k, v in line.items() if k != "entry"} for line in lines]),
    }
    assert len(segments) > 1
    store = make_store("target")
    for why, file in cases.items():
        with pytest.raises(ImportRefusedError, match=why):
            moved(store, file)
        assert store.head() == Head(), why
        assert store.sources() == [], why
    moved(store, data)
    assert store.head() == lived.head()


def test_a_crash_before_the_spans_are_derived_is_made_good_at_the_next_start(
    lived: Store, store: Store, store_url: str
) -> None:
    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        move(store, io.BytesIO(exported(lived)), now_us=LATER, rebuild=killed)
    store.close()
    again = open_store(store_url, base=Path("/"))
    assert again.mark(UNFINISHED_IMPORT) is True
    assert again.head() == lived.head()
    again.close()


def test_history_can_be_taken_from_sealed_hours(lived: Store, store: Store) -> None:
    """A plain import of an export takes the runs of its segments, as imported."""
    data = exported(lived)
    report = import_(store, io.BytesIO(data), now_us=LATER + DAY_US, rebuild=rebuild)
    assert report.expired == 1
    expected = {
        held.key: (held.outcome, held.reason, held.duration_us)
        for source in SOURCES
        for held in lived.runs(source, ALWAYS)
    }
    got: dict[RunKey, tuple[Outcome, str | None, int]] = {}
    for source in SOURCES:
        for held in store.runs(source, ALWAYS):
            assert isinstance(held, Run)
            assert held.origin is Origin.IMPORTED
            got[held.key] = (held.outcome, held.reason, held.duration_us)
    assert got.keys() == expected.keys()
    agreed = {key for key in got if got[key] == expected[key]}
    assert {got[key][1] for key in got.keys() - agreed} <= {"conflict"}
    again = import_(store, io.BytesIO(data), now_us=LATER + 2 * DAY_US, rebuild=rebuild)
    assert (again.facts, again.runs, again.contested) == (0, 0, 0)


def test_stated_spans_keep_when_they_were_recorded(store: Store, make_store: Make) -> None:
    """And so do those that count for nothing."""
    source = SOURCES[0]
    spans = [
        StatedSpan(**source._asdict(), start_us=FIRST + n, end_us=FIRST + n + HOUR_US, outcome=Outcome.PASS)
        for n in (0, 1)
    ]
    old = make_store("old")
    old.commit(Unit(recorded_at_us=FIRST + 5, stated=spans[:1], origin=Origin.IMPORTED))
    old.commit(Unit(recorded_at_us=FIRST + 6, facts=CHECKS))
    old.commit(Unit(recorded_at_us=FIRST + 7, stated=spans[1:], origin=Origin.IMPORTED))
    moved(store, exported(old), now_us=LATER)
    assert list(store.stated_rows(source)) == [(spans[0], FIRST + 5)]
    assert list(store.stated_rows(source, disputed=True)) == [(spans[1], FIRST + 7)]
    assert exported(store) == exported(old)
    before = exported(old).replace(b',"stored":{"recorded_at":', b',"ignored":{"recorded_at":')
    with pytest.raises(ImportRefusedError, match='"ignored" is unknown'):
        moved(make_store("none"), before)

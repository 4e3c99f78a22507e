"""Hours are sealed and their rows go: every answer stays the same, whatever comes late, twice or contradicting."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.core.fact import Sealed
from monitor.core.instant import DAY_US, HOUR_US
from monitor.core.run import Origin, Outcome
from monitor.core.segment import hour_of, read_pieces, read_runs, root_of
from monitor.core.span import Span
from monitor.ledger.evidence import rebuild
from monitor.ledger.hours import SEALED_MARK, SETTLE_US, Sealer, cool, due
from monitor.storage import Reader, Store, Unit
from monitor.storage.opening import open_reader
from tests.conformance.storage.worlds import (
    ALL,
    CHECKS,
    FIRST,
    SOURCES,
    Question,
    commit,
    contradicted,
    history,
    questions,
)
from tests.ledger.sealing import cool_all, seal

HOURS = 8
END = FIRST + HOURS * HOUR_US
LATER = END + 3 * DAY_US


def rows(store: Store) -> int:
    with store._writer.connect() as connection:  # type: ignore[attr-defined]
        return int(connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one())


def packs(store: Store) -> int:
    with store._writer.connect() as connection:  # type: ignore[attr-defined]
        return int(connection.exec_driver_sql("SELECT count(*) FROM packs").scalar_one())


def assert_same(reader: Reader, expected: dict[str, object], asked: list[Question]) -> None:
    for name, question in asked:
        assert question(reader) == expected[name], name


@pytest.fixture
def twin(tmp_path: Path, make_store: object) -> Store:
    """A store that takes the same and is never sealed."""
    return make_store("twin")  # type: ignore[operator, no-any-return]


@pytest.mark.parametrize("seed", [1])
def test_every_answer_stays_the_same_when_rows_go(store: Store, twin: Store, store_url: str, seed: int) -> None:
    chance = random.Random(seed)
    runs = history(seed, HOURS)
    chance.shuffle(runs)
    prompt, late = runs[:-40], runs[-40:]
    again = chance.sample(prompt, 20)
    wrong = [contradicted(run) for run in chance.sample(runs, 15)]
    for kept in (store, twin):
        kept.commit(Unit(recorded_at_us=END, facts=CHECKS))
        commit(kept, prompt, END)
        commit(kept, wrong[:5], END)
    assert seal(store, END + SETTLE_US) == HOURS
    cool_all(store, LATER)
    assert rows(store) < 20
    for kept in (store, twin):
        commit(kept, late + again, LATER)
        commit(kept, wrong[5:10], LATER)
    with_late = questions(seed, HOURS)
    expected = {name: question(twin) for name, question in with_late}
    assert_same(store, expected, with_late)
    assert seal(store, LATER) > 0
    cool_all(store, LATER)
    for kept in (store, twin):
        commit(kept, wrong, LATER)
        commit(kept, wrong[10:], LATER)
    expected = {name: question(twin) for name, question in with_late}
    beside = open_reader(store_url, base=Path("/"))
    assert_same(store, expected, with_late)
    with beside.snapshot() as frozen:
        assert_same(frozen, expected, with_late)
    beside.close()
    assert rows(store) < 60
    for kept in (store, twin):
        rebuild(kept)
    assert store.spans("portal", ALL) == twin.spans("portal", ALL)
    assert store.spans("mail", ALL) == twin.spans("mail", ALL)
    twin.close()


def test_what_a_sealed_entry_commits_to_can_be_computed_again(store: Store) -> None:
    runs = history(3, 6)
    store.commit(Unit(recorded_at_us=END, facts=CHECKS))
    commit(store, runs[:-30], END)
    seal(store, LATER)
    commit(store, runs[-30:], LATER)
    seal(store, LATER + 1)
    by_seq = {
        seq: list(held) for seq, held in itertools.groupby(sorted(store.segments(), key=_place), lambda one: one.seq)
    }
    entries = {entry.seq: entry.fact for entry in store.entries(types=["sealed"])}
    assert by_seq.keys() == entries.keys()
    for seq, held in by_seq.items():
        fact = entries[seq]
        assert isinstance(fact, Sealed)
        assert fact.root == root_of(one.segment for one in held)
        assert (fact.segments, fact.runs) == (len(held), sum(one.segment.runs for one in held))
    read = [one.run for held in by_seq.values() for segment in held for one in read_runs(segment.segment)]
    assert sorted(run.key for run in read) == sorted(run.key for run in runs)
    assert {one.segment.key.number for held in by_seq.values() for one in held} == {0, 1}


def _place(held: object) -> tuple[int, object]:
    return (held.seq, held.segment.key)  # type: ignore[attr-defined]


def test_a_run_that_comes_again_after_its_row_went_changes_nothing(store: Store) -> None:
    runs = history(4, 5)
    store.commit(Unit(recorded_at_us=END, facts=CHECKS))
    commit(store, runs, END)
    seal(store, LATER)
    cool_all(store, LATER)
    before = rows(store)
    again = store.commit(Unit(recorded_at_us=LATER, runs=[replace(run, origin=Origin.AGENT, steps=()) for run in runs]))
    assert (again.fresh, again.contested, again.disputed) == ((), (), 0)
    imported = [replace(run, origin=Origin.IMPORTED) for run in runs]
    assert store.commit(Unit(recorded_at_us=LATER, runs=imported)).disputed == 0
    assert rows(store) == before
    wrong = contradicted(runs[0])
    contested = store.commit(Unit(recorded_at_us=LATER, runs=[wrong]))
    assert contested.contested == (wrong.key,)
    (held,) = store.runs(wrong.source, Span(wrong.start_us, wrong.start_us + 1))
    assert (held.outcome, held.reason) == (Outcome.INCONCLUSIVE, "conflict")
    kept = store.contested(wrong.source, wrong.start_us)  # type: ignore[attr-defined]
    assert sorted(content["duration_us"] for content in kept) == [runs[0].duration_us, wrong.duration_us]


def test_nothing_is_sealed_before_its_hour_is_over_and_settled(store: Store) -> None:
    store.commit(Unit(recorded_at_us=END, facts=CHECKS))
    commit(store, history(5, 2), END)
    assert seal(store, FIRST + HOUR_US + SETTLE_US - 1) == 0
    assert seal(store, FIRST + HOUR_US + SETTLE_US) == 1
    assert seal(store, FIRST + HOUR_US + SETTLE_US) == 0
    assert seal(store, LATER) == 1
    assert {held.segment.key.hour_us for held in store.segments(bodies=False)} == {FIRST, FIRST + HOUR_US}
    assert cool(store, FIRST + 2 * DAY_US) is None


def test_a_long_silence_is_not_walked_through(store: Store) -> None:
    first, *_ = history(6, 1)
    year_us = 365 * DAY_US
    late = replace(first, start_us=first.start_us + year_us, slot_us=None)
    store.commit(Unit(recorded_at_us=END, facts=CHECKS, runs=[first, late]))
    steps = 0
    while (found := due(store, FIRST + 2 * year_us)).mark is not None:
        steps += 1
        for hour_us, services in found.hours:
            unit = Sealer(store).seal(hour_us, services, LATER)
            assert unit is not None
            store.commit(unit)
        store.commit(Unit(recorded_at_us=LATER, marks={SEALED_MARK: dict(found.mark)}))
    assert steps <= 4
    assert [held.segment.key.hour_us for held in store.segments()] == [FIRST, hour_of(late.start_us)]


def test_expired_hours_keep_what_they_said(store: Store) -> None:
    runs = history(7, 4)
    store.commit(Unit(recorded_at_us=END, facts=CHECKS))
    commit(store, [*runs, contradicted(runs[3])], END)
    seal(store, LATER)
    cool_all(store, LATER)
    rebuild(store)
    before = store.spans("portal", ALL)
    gone = Span(FIRST, FIRST + HOUR_US)
    assert packs(store) == 4
    store.commit(Unit(recorded_at_us=LATER, expired=[("portal", FIRST)]))
    assert packs(store) == 4, "another segment still reads from it"
    assert sum(held.segment.body is not None for held in store.segments(within=gone)) == 1
    store.commit(Unit(recorded_at_us=LATER, expired=[("mail", FIRST)]))
    for source in SOURCES:
        assert list(store.runs(source, gone)) == []
        pieces = list(store.kept(source, ALL))
        (head,) = (held.segment for held in store.segments(source.service, within=gone))
        assert pieces == read_pieces(head.key, head.head)[source]
    rebuild(store)
    assert store.spans("portal", ALL) == before
    assert packs(store) == 3, "bodies sealed together go together"
    late = store.commit(Unit(recorded_at_us=LATER, runs=[runs[0]]))
    assert (late.fresh, late.disputed) == ((), 1)
    held = [one for one in store.segments() if one.expired]
    assert len(held) == 2
    roots = [entry.fact.root for entry in store.entries(types=["sealed"]) if entry.fact.hour_us == FIRST]  # type: ignore[union-attr]
    assert roots == [root_of(one.segment for one in held)]


def test_the_ends_of_all_sources_are_those_of_each(store: Store) -> None:
    runs = history(8, 6)
    store.commit(Unit(recorded_at_us=END, facts=CHECKS))
    commit(store, runs, END)
    rebuild(store)
    seal(store, LATER)
    cool_all(store, LATER)
    for at_us in (FIRST - 1, FIRST + 2 * HOUR_US, runs[50].start_us, END, ALL.end_us):
        found = store.ends("portal", at_us)
        assert found.keys() == set(store.sources("portal"))
        for source, (newest_us, spans) in found.items():
            newest = store.run_before(source, ALL.end_us)
            assert newest is not None
            assert newest_us == newest.start_us
            assert spans == store.spans_of(source, Span(at_us, ALL.end_us))
    assert store.ends("other", FIRST) == {}

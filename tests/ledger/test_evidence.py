"""The spans that the ledger keeps in step with its runs always equal a rebuild from them (CONTRACT 2.2, 2.9)."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from monitor.core.check import Check, CheckList
from monitor.core.exclusion import Book
from monitor.core.fact import Annulment, ChecksAdopted, Fact, Reversal
from monitor.core.instant import SECOND_US
from monitor.core.run import Origin, Outcome, OutcomeSpan, Run, SourceKey, StatedSpan
from monitor.core.span import Span
from monitor.ledger.evidence import ALWAYS, CURSOR_MARK, Evidence, check_lists, derive, differing, rebuild
from monitor.storage import SpanChange, Store, Unit
from monitor.storage.opening import open_store
from tests.core import oracle, worlds

PASS, FAIL, NONE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
SOURCE = SourceKey("portal", "a", "x")
NOW = 10**15


@contextmanager
def opened() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store("sqlite:///ledger.db", base=Path(folder))
        try:
            yield store
        finally:
            store.close()


class Desk:
    """Commits as the daemon does: a unit, then the spans that it changes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.evidence = Evidence(store)
        self.now_us = NOW

    def put(self, *, runs: Sequence[Run] = (), facts: Sequence[Fact] = (), ask_from: int | None = None) -> None:
        self.now_us += 1
        committed = self.store.commit(Unit(recorded_at_us=self.now_us, runs=runs, facts=facts))
        changes = self.evidence.apply(committed)
        if ask_from is not None:
            self.agrees_from(ask_from)
        self.store.commit(Unit(recorded_at_us=self.now_us, spans=changes))

    def agrees_from(self, from_us: int) -> None:
        """What is held in memory, from an instant on, is the batch truth."""
        within = Span(from_us, ALWAYS.end_us)
        truth = {source: clipped(spans, within) for source, spans in self.truth().items()}
        held = {s: clipped(spans, within) for s, spans in self.evidence.tail(worlds.SERVICE, from_us).items()}
        assert {s: spans for s, spans in held.items() if spans} == {s: spans for s, spans in truth.items() if spans}

    def truth(self) -> dict[SourceKey, list[OutcomeSpan]]:
        entries = list(self.store.entries())
        book, lists = Book.of(entries), check_lists(entry.fact for entry in entries)
        return {
            source: list(derive(self.store, source, lists.get(source.service, ()), book.annulled(source)))
            for source in self.store.sources()
        }

    def agrees(self) -> None:
        """What is stored is the batch truth, and a rebuild changes nothing."""
        before = {source: self.store.spans_of(source, ALWAYS) for source in self.store.sources()}
        assert before == self.truth()
        rebuild(self.store)
        assert before == {source: self.store.spans_of(source, ALWAYS) for source in self.store.sources()}


def clipped(spans: Sequence[OutcomeSpan], within: Span) -> list[OutcomeSpan]:
    cut = [(Span(a, b).clip(within), outcome) for a, b, outcome in spans]
    return [OutcomeSpan(part.start_us, part.end_us, outcome) for part, outcome in cut if part.length_us]


def in_batches(world: oracle.World, chance: random.Random) -> Iterator[tuple[list[Run], list[Fact]]]:
    """The world's runs, repetitions among them, in any order and in batches, its decisions strewn in."""
    lists = worlds.check_lists(world)
    facts: list[Fact] = [ChecksAdopted(list=entry) for entry in lists]
    facts += [f for _at, f in worlds.decisions(world) if isinstance(f, Annulment)]
    facts += [f for _at, f in worlds.decisions(world) if isinstance(f, Reversal) and f.of.startswith("a-")]
    runs = [worlds.as_run(item) for item in world.runs]
    runs += runs[::3]
    if chance.random() < 0.7:
        chance.shuffle(runs)
    else:
        runs.sort(key=lambda run: run.start_us)
    waiting: list[Run | Fact] = [facts.pop(0), *runs]
    for fact in facts:
        waiting.insert(chance.randrange(1, len(waiting) + 1), fact)
    while waiting:
        size = chance.choice([1, 1, 2, 5])
        batch, waiting = waiting[:size], waiting[size:]
        yield [i for i in batch if isinstance(i, Run)], [i for i in batch if not isinstance(i, Run)]


@pytest.mark.exhaustive
@settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(worlds.worlds(), st.integers(0, 2**32), st.sampled_from([0.0, 0.3]))
def test_the_incremental_state_equals_the_rebuild(world: oracle.World, seed: int, restarts: float) -> None:
    chance = random.Random(seed)
    with opened() as store:
        store.commit(Unit(recorded_at_us=NOW, origin=Origin.IMPORTED, stated=worlds.stated_of(world)))
        rebuild(store)
        desk, asked = Desk(store), 0
        for runs, facts in in_batches(world, chance):
            if chance.random() < restarts:
                desk.evidence = Evidence(store)
            asked += chance.choice([0, 0, 1, 4]) * SECOND_US
            desk.put(runs=runs, facts=facts, ask_from=asked if chance.random() < 0.8 else None)
        desk.agrees()


def listing(at_us: int = 0, stale_after_us: int = 150, service: str = "portal") -> ChecksAdopted:
    return ChecksAdopted(
        list=CheckList(
            service=service,
            at_us=at_us,
            interval_us=60,
            timeout_us=10,
            stale_after_us=stale_after_us,
            checks=(Check(id="a"),),
        )
    )


def run(start_us: int, outcome: Outcome = PASS, source: SourceKey = SOURCE, message: str | None = None) -> Run:
    return Run(**source._asdict(), start_us=start_us, outcome=outcome, message=message)


def test_after_a_restart_the_tail_reaches_back_to_where_time_was_settled() -> None:
    """The first run after a start re-derives its neighbourhood; what ended before it must still be told."""
    with opened() as store:
        desk = Desk(store)
        desk.put(facts=[listing()], runs=[run(0, FAIL), run(60, PASS)])
        desk.evidence = Evidence(store)
        desk.put(runs=[run(120, PASS)], ask_from=30)
        desk.put(runs=[run(400, FAIL)], ask_from=200)
        desk.agrees_from(10)  # even further back than asked before
        desk.agrees()


def test_a_run_at_the_instant_at_which_the_outcome_before_it_ended_continues_it() -> None:
    with opened() as store:
        desk = Desk(store)
        desk.put(facts=[listing()], runs=[run(0)])
        desk.evidence = Evidence(store)
        desk.agrees_from(150)
        desk.put(runs=[run(150)])
        assert store.spans_of(SOURCE, ALWAYS) == [OutcomeSpan(0, 300, PASS)]
        desk.agrees()


def test_a_late_run_inside_a_stated_span_with_a_hole() -> None:
    with opened() as store:
        stated = StatedSpan(**SOURCE._asdict(), start_us=0, end_us=1000, outcome=FAIL)
        store.commit(Unit(recorded_at_us=NOW, origin=Origin.IMPORTED, stated=[stated]))
        rebuild(store)
        desk = Desk(store)
        void = Annulment(id="a-1", service="portal", check="a", location="x", start_us=300, end_us=500, at_us=NOW)
        desk.put(facts=[listing(), void])
        desk.agrees_from(0)
        desk.put(runs=[run(400)], ask_from=0)  # after the span's start, before its second part
        desk.agrees()


def test_a_contested_run_takes_its_outcome_back() -> None:
    with opened() as store:
        desk = Desk(store)
        desk.put(facts=[listing()], runs=[run(0, FAIL), run(60, FAIL)])
        desk.put(runs=[run(60, FAIL, message="another telling")], ask_from=0)
        assert store.spans_of(SOURCE, ALWAYS) == [OutcomeSpan(0, 60, FAIL)]
        desk.agrees()


def test_what_was_not_committed_is_forgotten_and_applied_again() -> None:
    with opened() as store:
        desk = Desk(store)
        desk.put(facts=[listing()], runs=[run(0)])
        committed = store.commit(Unit(recorded_at_us=NOW + 50, runs=[run(60, FAIL)]))
        desk.evidence.apply(committed)  # its spans are lost with the transaction that should have held them
        desk.evidence.forget()
        store.commit(Unit(recorded_at_us=NOW + 51, spans=desk.evidence.apply(committed)))
        desk.agrees_from(0)
        desk.agrees()


def test_services_do_not_touch_each_other() -> None:
    other = SOURCE._replace(service="mail")
    with opened() as store:
        desk = Desk(store)
        desk.put(facts=[listing(), listing(stale_after_us=30, service="mail")], runs=[run(0), run(0, FAIL, other)])
        desk.put(facts=[listing(at_us=0, stale_after_us=500, service="mail")])
        assert store.spans_of(SOURCE, ALWAYS) == [OutcomeSpan(0, 150, PASS)]
        assert store.spans_of(other, ALWAYS) == [OutcomeSpan(0, 500, FAIL)]
        assert desk.evidence.tail("mail", 0).keys() == {other}
        assert desk.evidence.book.annulments == {}


def test_some_sources_alone_can_be_rebuilt() -> None:
    other = SOURCE._replace(location="y")
    with opened() as store:
        store.commit(Unit(recorded_at_us=NOW, facts=[listing()], runs=[run(0), run(0, FAIL, other)]))
        assert rebuild(store, [other]) == 1
        assert store.spans("portal", ALWAYS) == {other: [OutcomeSpan(0, 150, FAIL)]}


def test_a_run_from_before_what_is_held_goes_on_with_the_span_it_touches() -> None:
    """After a restart time was settled past the newest span. The run that arrives is newer than all before it, but
    older than what is held: it continues that span and begins none over it.
    """
    with opened() as store:
        desk = Desk(store)
        desk.put(runs=[run(1000)], facts=[listing()])
        desk.evidence = Evidence(store)
        assert desk.evidence.tail("portal", 5000) == {SOURCE: []}
        desk.put(runs=[run(1100)])
        assert store.spans_of(SOURCE, ALWAYS) == [OutcomeSpan(1000, 1250, PASS)]
        desk.agrees()


def test_what_a_daemon_has_yet_to_derive_is_no_difference() -> None:
    """Runs are durable before their spans are: who compares in between finds nothing wrong, but for what is wrong."""
    with opened() as store:
        desk = Desk(store)
        desk.put(facts=[listing()], runs=[run(0), run(60, FAIL)])
        stands = store.commit(Unit(recorded_at_us=desk.now_us))
        cursor = {"arrival": stands.last_arrival, "seq": stands.head.seq}
        store.commit(Unit(recorded_at_us=desk.now_us, marks={CURSOR_MARK: cursor}))
        desk.evidence.forget()
        void = Annulment(
            id="a-1",
            service="portal",
            check="a",
            location="x",
            start_us=60,
            end_us=61,
            at_us=NOW,
            by="sari",
            note="ours",
        )
        store.commit(Unit(recorded_at_us=desk.now_us, runs=[run(120)], facts=[void]))
        assert differing(store) == []
        (first, *_others) = store.spans_of(SOURCE, ALWAYS)
        edited = SpanChange(source=SOURCE, written=(first._replace(outcome=FAIL),))
        store.commit(Unit(recorded_at_us=desk.now_us, spans=(edited,)))
        assert differing(store) == [SOURCE]
        rebuild(store)
        assert differing(store) == []

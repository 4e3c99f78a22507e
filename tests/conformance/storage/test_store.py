"""What every store does alike: the conformance suite of the seam, over SQLite and a real PostgreSQL."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.core.chain import GENESIS
from monitor.core.entry import Head
from monitor.core.fact import Claim, ClockStep, Fact
from monitor.core.instant import SECOND_US
from monitor.core.run import Origin, Outcome, OutcomeSpan, Run, SourceKey, StatedSpan, StepRecord
from monitor.core.span import Span
from monitor.storage import HeadMovedError, OutboxRow, Reader, SpanChange, Store, StoreError, Unit, Waiting
from monitor.storage.opening import open_reader, open_store
from monitor.storage.schema import SCHEMA_VERSION

LOGIN = SourceKey("portal", "login", "jkt-1")
ORDER = SourceKey("portal", "order", "jkt-1")
ALL = Span(-(2**60), 2**60)
AT = 1_775_000_000 * SECOND_US


def run(n: int, source: SourceKey = LOGIN, outcome: Outcome = Outcome.PASS, **changes: object) -> Run:
    given = {"duration_us": 1000 + n, "slot_us": AT + n * SECOND_US, **changes}
    return Run(**source._asdict(), start_us=AT + n * SECOND_US, outcome=outcome, **given)  # type: ignore[arg-type]


def unit(*runs: Run, facts: Iterable[Fact] = (), origin: Origin = Origin.OWN, **more: object) -> Unit:
    return Unit(recorded_at_us=AT, runs=runs, facts=tuple(facts), origin=origin, **more)  # type: ignore[arg-type]


def claim(n: int) -> Claim:
    return Claim(partner="acme", service="portal", month="2026-04", at_us=AT + n)


CONFLICT = {"outcome": Outcome.INCONCLUSIVE, "reason": "conflict", "duration_us": 0, "slot_us": None}
FULL = run(
    7,
    outcome=Outcome.FAIL,
    reason="timeout",
    step="log in",
    message="no answer within 10 s, „Zeit“ 時間",
    attempts=2,
    tainted=True,
    origin=Origin.AGENT,
    steps=(
        StepRecord(
            name="log in",
            duration_us=10,
            phases_us=(("connect", 3), ("tls", 7)),
            target="https://api.example.id/login",
            http_status=500,
            cert_not_after_s=1_800_000_000,
            failed_assertions=("status 500, expected 2xx",),
            error="timeout",
            final=False,
        ),
        StepRecord(name="clean up", duration_us=1, final=True),
    ),
)


def test_an_empty_store_answers_everything(store: Store) -> None:
    assert store.head() == Head()
    assert store.first_own_entry() is None
    assert not list(store.entries())
    assert not list(store.raw_entries())
    assert not store.runs_after(0, 10)
    assert not store.latest_runs()
    assert not store.sources()
    assert store.run_before(LOGIN, AT) is store.run_after(LOGIN, AT) is store.first_failure(LOGIN, ALL) is None
    assert not list(store.runs(LOGIN, ALL))
    assert not list(store.stated(LOGIN, ALL))
    assert not store.spans_of(LOGIN, ALL)
    assert store.spans("portal", ALL) == {}
    assert store.mark("cursor") is None
    counts = store.counts()
    assert counts.schema == SCHEMA_VERSION
    assert (counts.entries, counts.runs, counts.stated, counts.spans, counts.outbox) == (0, 0, 0, 0, 0)
    assert counts.size_bytes > 0


def test_a_run_is_read_as_it_was_written_by_another_reader(store: Store, reader: Reader) -> None:
    committed = store.commit(unit(FULL))
    assert committed.fresh == (FULL,)
    assert list(reader.runs(LOGIN, ALL)) == [FULL]
    assert reader.runs_after(0, 10) == [(committed.last_arrival, FULL)]


def test_text_that_an_engine_cannot_hold_is_kept_as_far_as_it_can(store: Store) -> None:
    step = StepRecord(name="a\0\ud800", duration_us=1, failed_assertions=("\udfff",), target="x" * 5000)
    store.commit(unit(run(1, message="nul \0, half \ud83d, long " + "x" * 5000, steps=(step,)), run(2)))
    kept, _ = store.runs(LOGIN, ALL)
    assert kept.message is not None
    assert kept.message.startswith("nul �, half ?, long xxx")
    assert len(kept.message) == 4096
    assert kept.steps[0].name == "a�?"
    assert kept.steps[0].failed_assertions == ("?",)
    again = store.commit(unit(run(1, message="nul \0, half \ud83d, long " + "x" * 5000)))
    assert (again.fresh, again.contested) == ((), ())


def test_steps_are_bounded(store: Store) -> None:
    steps = tuple(StepRecord(name=f"{n}", duration_us=n, error="é" * 100_000) for n in range(200))
    store.commit(unit(run(1, steps=steps)))
    (kept,) = store.runs(LOGIN, ALL)
    assert len(kept.steps) == 100
    assert {len(step.error or "") for step in kept.steps} == {4096}


def test_the_same_run_again_changes_nothing(store: Store) -> None:
    first = store.commit(unit(run(1), run(2), run(1)))
    assert first.fresh == (run(1), run(2))
    again = store.commit(unit(run(2), run(3), replace(run(1), steps=FULL.steps, tainted=True, origin=Origin.AGENT)))
    assert again.fresh == (run(3),)
    assert again.contested == ()
    assert list(store.runs(LOGIN, ALL)) == [run(1), run(2), run(3)]
    assert [held for _, held in store.runs_after(first.last_arrival, 10)] == [run(3)]


def test_a_contested_run_reads_alike_whichever_content_came_first(store: Store) -> None:
    contents = (
        run(1),
        run(1, outcome=Outcome.FAIL, reason="timeout", origin=Origin.AGENT),
        run(1, duration_us=5, slot_us=None, attempts=2),
    )
    seen = []
    for place, order in enumerate(itertools.permutations(contents)):
        source = SourceKey("portal", "login", f"place-{place}")
        for number, content in enumerate(order):
            committed = store.commit(unit(replace(content, location=source.location), run(9, source)))
            assert committed.contested == ((run(1, source).key,) if number == 1 else ())
        (held, other) = store.runs(source, ALL)
        assert other == run(9, source)
        seen.append((replace(held, location="-"), store.contested(source, AT + SECOND_US)))  # type: ignore[attr-defined]
    assert all(one == seen[0] for one in seen)
    assert seen[0][0] == replace(run(1, **CONFLICT), location="-")  # type: ignore[arg-type]
    assert [content["duration_us"] for content in seen[0][1]].count(5) == 1
    assert len(seen[0][1]) == 3


def test_two_contents_in_one_unit_are_contested_at_once(store: Store) -> None:
    other = run(1, outcome=Outcome.FAIL, reason="dns")
    committed = store.commit(unit(run(1), other, run(2), run(1), other))
    assert committed.fresh == (run(2),)
    assert committed.contested == (run(1).key,)
    assert [held.reason for held in store.runs(LOGIN, ALL)] == ["conflict", None]


def test_a_run_that_became_contested_arrives_again(store: Store) -> None:
    before = store.commit(unit(run(1), run(2))).last_arrival
    after = store.commit(unit(run(1, duration_us=9), run(3))).last_arrival
    arrived = store.runs_after(before, 10)
    assert [(held.start_us, held.reason) for _, held in arrived] == [
        (run(3).start_us, None),
        (run(1).start_us, "conflict"),
    ]
    assert arrived[-1][0] == after
    store.commit(unit(run(1, duration_us=10), run(1, duration_us=9), run(1)))
    assert store.runs_after(after, 10) == []


def test_runs_are_read_as_they_were_known_at_an_arrival(store: Store, reader: Reader) -> None:
    first = store.commit(unit(FULL, run(1), run(2, ORDER))).last_arrival
    other = run(7, outcome=Outcome.PASS)
    second = store.commit(unit(other, run(3))).last_arrival
    store.commit(unit(run(4), run(1, duration_us=1)))
    assert list(reader.runs_known(LOGIN, ALL, 0)) == []
    assert list(reader.runs_known(LOGIN, ALL, first)) == [run(1), FULL]
    contested = run(7, **CONFLICT)  # type: ignore[arg-type]
    known = list(reader.runs_known(LOGIN, ALL, second))
    assert [replace(held, origin=Origin.OWN) for held in known] == [run(1), run(3), contested]
    now = list(reader.runs_known(LOGIN, ALL, reader.last_arrival()))
    assert now == list(reader.runs(LOGIN, ALL))
    assert [held.reason for held in now] == ["conflict", None, None, "conflict"]
    assert list(reader.runs_known(LOGIN, Span(FULL.start_us, FULL.start_us + 1), first)) == [FULL]
    assert list(reader.runs_known(LOGIN, Span(FULL.start_us + 1, FULL.start_us + 2), first)) == []
    many = store.commit(unit(*(run(n, ORDER) for n in range(10, 2310)))).last_arrival
    store.commit(unit(*(run(n, ORDER, attempts=3) for n in (10, 1009, 1010, 2309))))
    assert list(reader.runs_known(ORDER, ALL, many)) == [run(2, ORDER), *(run(n, ORDER) for n in range(10, 2310))]
    assert list(reader.runs_known(SourceKey("no", "such", "source"), ALL, second)) == []


def test_whether_anything_arrived_after_an_arrival(store: Store, reader: Reader) -> None:
    assert reader.last_arrival() == 0
    assert not reader.arrived_after("portal", ALL, 0)
    first = store.commit(unit(run(1), run(2), run(2, ORDER))).last_arrival
    assert reader.last_arrival() == first
    span = Span(run(1).start_us, run(2).start_us)
    assert reader.arrived_after("portal", span, 0)
    assert not reader.arrived_after("portal", span, first)
    assert not reader.arrived_after("other", span, 0)
    assert not reader.arrived_after("portal", Span(run(3).start_us, run(9).start_us), 0)
    store.commit(unit(run(5)))
    assert not reader.arrived_after("portal", span, first)
    store.commit(unit(run(1, duration_us=1)))
    assert reader.arrived_after("portal", span, first)
    store.commit(unit(run(6), disputed=True))
    assert not reader.arrived_after("portal", Span(run(6).start_us, run(7).start_us), 0)


def test_runs_after_comes_in_pages_in_the_order_of_arrival(store: Store) -> None:
    runs = [run(n, source) for n in (5, 3, 4) for source in (ORDER, LOGIN)]
    store.commit(unit(*runs))
    seen: list[Run] = []
    arrival = 0
    while page := store.runs_after(arrival, 4):
        arrival = page[-1][0]
        seen += [held for _, held in page]
    assert seen == runs


def test_many_runs_of_a_source_are_walked_in_order_within_a_half_open_span(store: Store) -> None:
    store.commit(unit(*(run(n) for n in reversed(range(2500)))))
    assert [held.start_us for held in store.runs(LOGIN, ALL)] == [run(n).start_us for n in range(2500)]
    within = Span(run(10).start_us, run(20).start_us)
    assert list(store.runs(LOGIN, within)) == [run(n) for n in range(10, 20)]
    again = store.commit(unit(*(run(n) for n in range(2501))))
    assert again.fresh == (run(2500),)


def test_neighbours_latest_and_first_failure(store: Store) -> None:
    failed = run(3, outcome=Outcome.FAIL, reason="tls")
    store.commit(unit(run(1), run(5), failed, run(6, outcome=Outcome.FAIL, reason="dns"), run(2, ORDER), run(8, ORDER)))
    assert store.run_before(LOGIN, failed.start_us) == run(1)
    assert store.run_before(LOGIN, run(1).start_us) is None
    assert store.run_after(LOGIN, failed.start_us) == run(5)
    assert store.run_after(LOGIN, run(6).start_us) is None
    assert store.first_failure(LOGIN, ALL) == failed
    assert store.first_failure(LOGIN, Span(failed.start_us + 1, run(6).start_us)) is None
    assert (
        store.latest_runs()
        == store.latest_runs("portal")
        == [run(6, outcome=Outcome.FAIL, reason="dns"), run(8, ORDER)]
    )
    assert store.latest_runs("other") == []
    assert store.sources() == store.sources("portal") == [LOGIN, ORDER]
    assert store.sources("other") == []


def test_facts_are_sealed_in_their_order_and_chained(store: Store, reader: Reader) -> None:
    first = store.commit(unit(facts=[claim(1), claim(2)]))
    second = store.commit(unit(facts=[claim(3)], origin=Origin.AGENT))
    entries = list(reader.entries())
    assert tuple(entries) == (*first.entries, *second.entries)
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert [entry.prev for entry in entries] == [GENESIS, entries[0].hash, entries[1].hash]
    assert [entry.recorded_at_us for entry in entries] == [AT, AT + 1, AT + 2]
    assert reader.head() == second.head == Head(seq=3, hash=entries[2].hash, recorded_at_us=AT + 2)
    assert reader.first_own_entry() == 1
    columns, data = next(iter(reader.raw_entries(after=2)))
    assert data == entries[2].data
    assert {name: columns[name] for name in ("seq", "type", "origin", "recorded_at_us", "epoch", "prev", "hash")} == {
        "seq": 3,
        "type": "claim",
        "origin": "agent",
        "recorded_at_us": AT + 2,
        "epoch": 0,
        "prev": entries[1].hash,
        "hash": entries[2].hash,
    }


def test_entries_after_a_seq_and_of_some_types(store: Store) -> None:
    step = ClockStep(at_us=AT, delta_us=5)
    store.commit(unit(facts=[claim(1), step, *(claim(n) for n in range(2, 1200))]))
    assert [entry.fact for entry in store.entries(types=["clock_step"])] == [step]
    assert [entry.fact for entry in store.entries(after=1, types=["clock_step", "outage"])] == [step]
    assert list(store.entries(after=2, types=["clock_step"])) == []
    assert [entry.seq for entry in store.entries(after=3, types=["claim"])] == list(range(4, 1201))
    assert [columns["seq"] for columns, _ in store.raw_entries()] == list(range(1, 1201))


def test_an_unexpected_head_refuses_the_whole_unit(store: Store) -> None:
    head = store.commit(unit(facts=[claim(1)])).head
    moved = store.commit(unit(facts=[claim(2)], expected_head=head)).head
    with pytest.raises(HeadMovedError, match="the ledger stands at entry 2, entry 1 was expected"):
        store.commit(unit(run(1), facts=[claim(3)], marks={"cursor": 1}, expected_head=head))
    assert store.head() == moved
    assert store.sources() == []
    assert store.mark("cursor") is None


def test_a_unit_that_fails_half_way_leaves_nothing(store: Store) -> None:
    with pytest.raises(TypeError):
        store.commit(unit(run(1), facts=[claim(1)], marks={"a": 1, "b": object()}))
    assert store.head() == Head()
    assert store.sources() == []
    assert store.mark("a") is None
    assert store.commit(unit(run(1), facts=[claim(1)])).fresh == (run(1),)
    assert list(store.runs(LOGIN, ALL)) == [run(1)]


def test_marks_are_replaced_whole(store: Store, reader: Reader) -> None:
    store.commit(unit(marks={"cursor": {"arrival": 1}, "totals": [1, "2"]}))
    store.commit(unit(marks={"cursor": {"arrival": 2}}))
    assert reader.mark("cursor") == {"arrival": 2}
    assert reader.mark("totals") == [1, "2"]
    assert reader.marks() == {"cursor": b'{"arrival":2}', "totals": b'[1,"2"]'}
    assert reader.marks("tot") == {"totals": b'[1,"2"]'}
    assert reader.marks("t%") == reader.marks("_otals") == {}, "a prefix is no pattern"
    store.commit(unit(marks={"cursor": None}))
    assert reader.mark("cursor") is None


def test_a_message_is_queued_once_by_its_key(store: Store) -> None:
    row = OutboxRow(key="outage-1/opened", channel="mail", kind="outage", payload={"outage": "outage-1"}, at_us=AT)
    store.commit(unit(outbox=[row]))
    store.commit(unit(outbox=[row, replace(row, key="outage-1/closed")]))
    assert store.counts().outbox == 2


def test_messages_wait_in_their_order_until_they_are_delivered(store: Store, reader: Reader) -> None:
    rows = [
        OutboxRow(key=f"m-{n}", channel="mail", kind="outage", payload={"n": n, "to": "ops"}, at_us=AT + n)
        for n in range(1200)
    ]
    store.commit(unit(outbox=rows))
    assert reader.outbox(2) == rows[:2]
    store.commit(unit(delivered=[row.key for row in rows[:1000]]))
    assert reader.outbox(5000) == rows[1000:]
    store.commit(unit(delivered=["m-1", "never"], outbox=[rows[5]]))
    assert [row.key for row in reader.outbox(5000)][-1] == "m-5", "a key that left may come again"


def spans(*edges: tuple[int, int, Outcome]) -> tuple[OutcomeSpan, ...]:
    return tuple(OutcomeSpan(start_us, end_us, outcome) for start_us, end_us, outcome in edges)


def test_derived_spans_change_by_their_start(store: Store, reader: Reader) -> None:
    first = spans((0, 10, Outcome.PASS), (10, 20, Outcome.FAIL), (30, 40, Outcome.PASS))
    store.commit(unit(spans=[SpanChange(source=LOGIN, written=first)]))
    assert reader.spans_of(LOGIN, ALL) == list(first)
    changed = spans((10, 25, Outcome.PASS), (50, 60, Outcome.FAIL))
    store.commit(unit(spans=[SpanChange(source=LOGIN, deleted=(0, 30), written=changed)]))
    assert reader.spans_of(LOGIN, ALL) == list(changed)
    assert reader.spans("portal", ALL) == {LOGIN: list(changed)}
    assert reader.spans("other", ALL) == {}


@pytest.mark.parametrize(
    ("start_us", "end_us", "expected"),
    [
        (5, 6, [0]),
        (0, 10, [0]),
        (10, 11, [1]),
        (9, 11, [0, 1]),
        (20, 30, []),
        (25, 31, [2]),
        (40, 99, []),
        (-9, 99, [0, 1, 2]),
        (35, 35, []),
    ],
)
def test_spans_that_overlap_are_found_and_not_clipped(
    store: Store, start_us: int, end_us: int, expected: list[int]
) -> None:
    held = spans((0, 10, Outcome.PASS), (10, 20, Outcome.FAIL), (30, 40, Outcome.PASS))
    store.rewrite_spans(LOGIN, held)
    store.rewrite_spans(ORDER, spans((100, 200, Outcome.FAIL)))
    found = [held[n] for n in expected]
    assert store.spans_of(LOGIN, Span(start_us, end_us)) == found
    within = Span(start_us, end_us)
    assert store.spans("portal", within) == ({LOGIN: found} if found else {})
    assert store.spans_by_service(within).get("portal", {}) == store.spans("portal", within)


def test_the_spans_of_every_service_are_those_of_each(store: Store, reader: Reader) -> None:
    elsewhere, other = LOGIN._replace(location="sby-1"), LOGIN._replace(service="another")
    for number, source in enumerate((LOGIN, ORDER, elsewhere, other)):
        store.rewrite_spans(source, spans((0, 10 + number, Outcome.PASS), (20, 30, Outcome.FAIL)))
    found = reader.spans_by_service(ALL)
    assert list(found) == ["another", "portal"]
    assert found == {service: reader.spans(service, ALL) for service in found}
    assert [list(of) for of in found.values()] == [list(reader.spans(service, ALL)) for service in found]
    assert reader.spans_by_service(Span(12, 13)) == {"another": {other: list(spans((0, 13, Outcome.PASS)))}}


def test_changes_of_one_unit_are_made_in_their_order(store: Store, reader: Reader) -> None:
    first, second = spans((0, 10, Outcome.PASS)), spans((20, 30, Outcome.FAIL))
    changes = [
        SpanChange(source=LOGIN, written=first),
        SpanChange(source=ORDER, written=first),
        SpanChange(source=LOGIN, deleted=(0,), written=second),
        SpanChange(source=LOGIN, written=spans((20, 40, Outcome.PASS))),
    ]
    store.commit(unit(spans=changes))
    assert reader.spans_of(LOGIN, ALL) == list(spans((20, 40, Outcome.PASS)))
    assert reader.spans_of(ORDER, ALL) == list(first)


def test_rewriting_replaces_all_spans_of_one_source(store: Store, reader: Reader) -> None:
    store.rewrite_spans(LOGIN, spans((0, 10, Outcome.PASS), (10, 20, Outcome.FAIL)))
    store.rewrite_spans(ORDER, spans((0, 10, Outcome.PASS)))
    store.rewrite_spans(LOGIN, iter(spans((5, 6, Outcome.FAIL))))
    assert reader.spans_of(LOGIN, ALL) == list(spans((5, 6, Outcome.FAIL)))
    assert reader.spans_of(ORDER, ALL) == list(spans((0, 10, Outcome.PASS)))


def stated(start_us: int, end_us: int, outcome: Outcome = Outcome.PASS) -> StatedSpan:
    return StatedSpan(**LOGIN._asdict(), start_us=start_us, end_us=end_us, outcome=outcome)


def test_stated_spans_are_kept_once_and_found_by_overlap(store: Store, reader: Reader) -> None:
    given = [stated(0, 10), stated(0, 10, Outcome.FAIL), stated(5, 30)]
    assert store.commit(unit(stated=[*given, given[0]])).fresh_stated == 3
    assert store.commit(unit(stated=given)).fresh_stated == 0
    assert list(reader.stated(LOGIN, ALL)) == [given[1], given[0], given[2]]
    assert list(reader.stated(LOGIN, Span(10, 11))) == [given[2]]
    assert list(reader.stated(LOGIN, Span(30, 31))) == []
    assert list(reader.stated(ORDER, ALL)) == []
    assert reader.sources() == [LOGIN]


def test_evidence_imported_into_a_lived_ledger_counts_for_nothing(store: Store, reader: Reader) -> None:
    early = run(1, origin=Origin.IMPORTED)
    first = store.commit(unit(early, stated=[stated(0, 10)], facts=[claim(1)], origin=Origin.IMPORTED))
    assert (first.fresh, first.fresh_stated, first.disputed) == ((early,), 1, 0)
    assert reader.first_own_entry() is None
    store.commit(unit(run(2), facts=[claim(2)]))
    assert reader.first_own_entry() == 2
    forged = [
        early,  # held already: the same file again changes nothing
        run(2, outcome=Outcome.FAIL, reason="dns", origin=Origin.IMPORTED),
        run(3, outcome=Outcome.FAIL, reason="dns", origin=Origin.IMPORTED),
    ]
    late = unit(*forged, run(4), stated=[stated(0, 10), stated(20, 30)], facts=[claim(3)], origin=Origin.IMPORTED)
    second = store.commit(late)
    assert (second.fresh, second.contested, second.fresh_stated, second.disputed) == ((run(4),), (), 0, 3)
    assert store.commit(late).disputed == 0
    assert list(reader.runs(LOGIN, ALL)) == [early, run(2), run(4)]
    assert list(reader.stated(LOGIN, ALL)) == [stated(0, 10)]
    assert [held for _, held in reader.runs_after(0, 99)] == [early, run(2), run(4)]
    assert reader.latest_runs() == [run(4)]
    assert list(reader.runs(LOGIN, ALL, disputed=True)) == forged[1:]
    assert list(reader.stated(LOGIN, ALL, disputed=True)) == [stated(20, 30)]
    assert reader.sources(disputed=True) == [LOGIN]
    assert reader.first_own_entry() == 2


def test_disputed_evidence_takes_no_place_from_the_record(store: Store, reader: Reader) -> None:
    kept = store.commit(unit(run(1), stated=[stated(0, 10)], disputed=True))
    assert (kept.fresh, kept.fresh_stated, kept.disputed) == ((), 0, 2)
    assert reader.sources() == []
    own = run(1, outcome=Outcome.FAIL, reason="dns")
    assert store.commit(unit(own, stated=[stated(0, 10)])).fresh == (own,)
    assert list(reader.runs(LOGIN, ALL)) == [own]
    assert list(reader.stated(LOGIN, ALL)) == [stated(0, 10)]


def test_a_snapshot_sees_one_state_while_the_owner_goes_on(store: Store, reader: Reader) -> None:
    head = store.commit(unit(run(1), facts=[claim(1)])).head
    with reader.snapshot() as frozen:
        store.commit(unit(run(2), facts=[claim(2)], marks={"cursor": 2}))
        assert frozen.head() == head
        assert list(frozen.runs(LOGIN, ALL)) == [run(1)]
        assert frozen.mark("cursor") is None
        with frozen.snapshot() as same:
            assert same.head() == head
    assert reader.head().seq == 2
    assert list(reader.runs(LOGIN, ALL)) == [run(1), run(2)]


def test_what_was_committed_is_there_when_opened_again(store_url: str) -> None:
    first = open_store(store_url, base=Path("/"))
    committed = first.commit(unit(run(1), run(2), facts=[claim(1)], marks={"cursor": 7}))
    first.close()
    second = open_store(store_url, base=Path("/"))
    assert second.head() == committed.head
    assert second.mark("cursor") == 7
    again = second.commit(unit(run(2), run(3), facts=[claim(2)]))
    assert again.fresh == (run(3),)
    assert again.last_arrival > committed.last_arrival
    assert again.entries[0].prev == committed.head.hash
    second.close()


def test_readers_ask_from_many_threads_beside_the_writer(store: Store, reader: Reader) -> None:
    store.commit(unit(run(0), facts=[claim(0)]))
    wrong: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            with reader.snapshot() as frozen:
                seq, held = frozen.head().seq, len(list(frozen.runs(LOGIN, ALL)))
                if seq != held:
                    wrong.append(f"{seq} entries, {held} runs")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(1, 100):
        store.commit(unit(run(n), facts=[claim(n)]))
    done.set()
    for thread in threads:
        thread.join(120)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_a_reader_cannot_write(reader: Reader) -> None:
    with pytest.raises(Exception, match=r"read.?only"), reader._engine.begin() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql("DELETE FROM ledger")


def test_a_newer_schema_is_refused_and_left_alone(store_url: str) -> None:
    store = open_store(store_url, base=Path("/"))
    with store._writer.begin() as connection:
        connection.exec_driver_sql("UPDATE ledger SET schema_version = 99")
    store.close()
    for opening in (open_store, open_reader):
        with pytest.raises(StoreError, match="schema is version 99, this program knows up to") as refused:
            opening(store_url, base=Path("/"))
        assert "upgrade the program" in refused.value.hint


def test_a_database_of_something_else_is_refused(store_url: str) -> None:
    store = open_store(store_url, base=Path("/"))
    with store._writer.begin() as connection:
        connection.exec_driver_sql("DROP TABLE ledger")
    store.close()
    for opening in (open_store, open_reader):
        with pytest.raises(StoreError, match="it holds tables, but none of a ledger"):
            opening(store_url, base=Path("/"))


def test_the_schema_is_made_whole_or_not_at_all(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(store_url, base=Path("/"))
    with store._writer.begin() as connection:
        for table in connection.exec_driver_sql(_tables(connection.dialect.name)).scalars().all():
            connection.exec_driver_sql(f"DROP TABLE {table}")
    store.close()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr("monitor.storage.setup.insert", fail)
        with pytest.raises(RuntimeError, match="in the middle"):
            open_store(store_url, base=Path("/"))
    again = open_store(store_url, base=Path("/"))
    assert again.head() == Head()
    again.close()


def _tables(engine: str) -> str:
    if engine == "sqlite":
        return "SELECT name FROM sqlite_master WHERE type = 'table'"
    return "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


def test_an_entry_whose_bytes_are_no_entry_is_named(store: Store) -> None:
    store.commit(unit(facts=[claim(1), claim(2)]))
    with store._writer.begin() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql("UPDATE entries SET data = '{}' WHERE seq = 2")
    with pytest.raises(StoreError, match="the bytes of entry 2 are no entry"):
        list(store.entries())


def test_threads_that_commit_take_turns(store: Store) -> None:
    failed: list[BaseException] = []

    def write(place: int) -> None:
        try:
            for n in range(30):
                store.commit(unit(run(n, SourceKey("portal", "login", f"place-{place}")), facts=[claim(n)]))
        except BaseException as error:  # noqa: BLE001 - told by the assertion below
            failed.append(error)

    threads = [threading.Thread(target=write, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert [entry.seq for entry in store.entries()] == list(range(1, 121))
    assert store.counts().runs == 120


def test_the_outbox_is_read_by_channel_and_says_what_waits(store: Store) -> None:
    rows = [
        OutboxRow(key=f"{channel}-{n}", channel=channel, kind="down", payload={"n": n}, at_us=AT + n)
        for n in range(3)
        for channel in ("log", "mail")
    ]
    store.commit(unit(outbox=rows))
    assert [row.key for row in store.outbox(2, channel="mail")] == ["mail-0", "mail-1"]
    store.commit(unit(delivered=["mail-0", "log-0", "log-1", "log-2"]))
    assert store.outbox_waiting() == {"mail": Waiting(2, AT + 1)}

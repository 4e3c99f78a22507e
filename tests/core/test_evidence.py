"""What one source's evidence says when: staleness, conflicts, stated spans, annulments (CONTRACT 2.1.5, 2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.check import Check, CheckList, default_stale_after_us, list_in_force
from monitor.core.evidence import Extended, Item, extend, merged, outcome_spans, pieces, run_item, stated_item
from monitor.core.run import Outcome, OutcomeSpan, Run, StatedSpan
from monitor.core.segment import Piece
from monitor.core.span import Span

PASS, FAIL, NONE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def listing(at_us: int = 0, stale_after_us: int = 150) -> CheckList:
    return CheckList(
        service="portal",
        at_us=at_us,
        interval_us=60,
        timeout_us=10,
        stale_after_us=stale_after_us,
        checks=(Check(id="login"),),
    )


LISTS = (listing(),)


def run(start_us: int, outcome: Outcome = PASS, **more: object) -> Run:
    return Run(
        service="portal",
        check="login",
        location="jkt-1",
        start_us=start_us,
        outcome=outcome,
        **more,  # type: ignore[arg-type]
    )


def stated(start_us: int, end_us: int, outcome: Outcome = PASS) -> StatedSpan:
    return StatedSpan(
        service="portal", check="login", location="jkt-1", start_us=start_us, end_us=end_us, outcome=outcome
    )


def said(
    runs: Iterable[Run] = (),
    spans: Iterable[StatedSpan] = (),
    lists: Sequence[CheckList] = LISTS,
    annulled: Sequence[Span] = (),
) -> list[tuple[int, int, str]]:
    return [(a, b, outcome.value) for a, b, outcome in outcome_spans(runs, spans, lists, annulled)]


def test_an_outcome_holds_until_the_next_run() -> None:
    assert said([run(0), run(60, FAIL), run(120)]) == [(0, 60, "pass"), (60, 120, "fail"), (120, 270, "pass")]


def test_an_outcome_holds_until_it_is_stale_and_not_longer() -> None:
    assert said([run(0), run(1800)]) == [(0, 150, "pass"), (1800, 1950, "pass")]


def test_a_run_at_the_very_instant_of_staleness_leaves_no_gap() -> None:
    assert said([run(0), run(150)]) == [(0, 300, "pass")]
    assert said([run(0), run(151)]) == [(0, 150, "pass"), (151, 301, "pass")]


def test_an_inconclusive_run_ends_the_outcome_before_it_and_gives_none() -> None:
    assert said([run(0, FAIL), run(60, NONE, reason="late"), run(120, FAIL)]) == [(0, 60, "fail"), (120, 270, "fail")]


def test_staleness_is_the_one_in_force_at_the_stamp() -> None:
    lists = (listing(0, 150), listing(100, 30))
    assert said([run(99)], lists=lists) == [(99, 249, "pass")]
    assert said([run(100)], lists=lists) == [(100, 130, "pass")]


def test_a_run_from_before_any_check_list_says_nothing() -> None:
    assert said([run(5), run(10)], lists=[listing(10)]) == [(10, 160, "pass")]
    assert said([run(5)], lists=[]) == []


def test_staleness_is_three_intervals_and_a_timeout_by_default() -> None:
    assert default_stale_after_us(60, 10) == 190


def test_of_two_lists_of_one_instant_the_later_holds() -> None:
    assert list_in_force((listing(0, 1), listing(0, 2)), 0) == listing(0, 2)
    assert list_in_force((listing(5),), 4) is None


def test_two_contents_at_one_start_are_a_conflict_and_inconclusive() -> None:
    assert said([run(0), run(60, PASS), run(60, FAIL), run(120, FAIL)]) == [(0, 60, "pass"), (120, 270, "fail")]


def test_a_repeated_run_changes_nothing() -> None:
    assert said([run(0), run(0), run(60, FAIL), run(60, FAIL)]) == [(0, 60, "pass"), (60, 210, "fail")]


def test_a_stated_span_holds_exactly_without_staleness() -> None:
    assert said(spans=[stated(0, 10_000, FAIL)]) == [(0, 10_000, "fail")]


def test_a_stated_span_replaces_what_came_before_and_ends_without_its_return() -> None:
    assert said([run(0)], [stated(10, 20, FAIL)]) == [(0, 10, "pass"), (10, 20, "fail")]


def test_a_run_inside_a_stated_span_governs_from_its_stamp_and_the_span_does_not_return() -> None:
    assert said([run(50, FAIL)], [stated(0, 1000)]) == [(0, 50, "pass"), (50, 200, "fail")]


def test_at_one_start_a_run_goes_before_a_stated_span() -> None:
    assert said([run(0, FAIL)], [stated(0, 1000, PASS)]) == [(0, 150, "fail")]
    assert said([run(0, NONE)], [stated(0, 1000, PASS)]) == []


def test_two_stated_spans_of_one_start_that_differ_are_a_conflict() -> None:
    assert said(spans=[stated(0, 10, PASS), stated(0, 10, FAIL)]) == []
    assert said(spans=[stated(0, 10), stated(0, 20)]) == []
    assert said(spans=[stated(0, 10), stated(0, 10)]) == [(0, 10, "pass")]


def test_a_conflict_of_stated_spans_does_not_reach_a_run_of_that_start() -> None:
    assert said([run(0)], [stated(0, 10, PASS), stated(0, 10, FAIL)]) == [(0, 150, "pass")]


def test_a_stated_inconclusive_span_ends_what_was_before() -> None:
    assert said([run(0)], [stated(20, 40, NONE)]) == [(0, 20, "pass")]


def test_overlapping_stated_spans_follow_the_later_start() -> None:
    assert said(spans=[stated(0, 100, PASS), stated(10, 20, FAIL)]) == [(0, 10, "pass"), (10, 20, "fail")]


@pytest.mark.parametrize(
    ("void", "rest"),
    [
        (Span(60, 61), [(0, 60, "fail"), (120, 270, "fail")]),
        (Span(59, 60), [(0, 270, "fail")]),  # half-open: a run stamped at the end is not in it
        (Span(0, 121), []),
        (Span(61, 120), [(0, 270, "fail")]),  # between stamps: no run is stamped in it
    ],
)
def test_an_annulment_makes_the_runs_stamped_in_it_inconclusive(void: Span, rest: list[tuple[int, int, str]]) -> None:
    assert said([run(0, FAIL), run(60, FAIL), run(120, FAIL)], annulled=[void]) == rest


def test_an_annulment_takes_its_part_out_of_a_stated_span() -> None:
    assert said(spans=[stated(0, 100, FAIL)], annulled=[Span(10, 20), Span(15, 30)]) == [
        (0, 10, "fail"),
        (30, 100, "fail"),
    ]


def test_items_say_what_they_give() -> None:
    assert run_item(run(7, FAIL), LISTS) == Item(7, 0, 157, FAIL)
    assert run_item(run(7, NONE), LISTS) == Item(7, 0, 7, None)
    assert stated_item(stated(7, 9, NONE)) == Item(7, 1, 9, None)


def test_merging_joins_what_touches_and_drops_what_is_empty() -> None:
    pieces = [OutcomeSpan(0, 5, PASS), OutcomeSpan(5, 5, FAIL), OutcomeSpan(5, 9, PASS), OutcomeSpan(10, 11, PASS)]
    assert list(merged(pieces)) == [OutcomeSpan(0, 9, PASS), OutcomeSpan(10, 11, PASS)]
    assert list(merged([])) == []


@pytest.mark.parametrize(
    ("last", "item", "wanted"),
    [
        (None, Item(5, 0, 155, PASS), Extended(None, OutcomeSpan(5, 155, PASS))),
        (None, Item(5, 0, 5, None), Extended(None, None)),
        (OutcomeSpan(0, 150, PASS), Item(60, 0, 210, PASS), Extended(OutcomeSpan(0, 210, PASS), None)),
        (
            OutcomeSpan(0, 150, PASS),
            Item(60, 0, 210, FAIL),
            Extended(OutcomeSpan(0, 60, PASS), OutcomeSpan(60, 210, FAIL)),
        ),
        (OutcomeSpan(0, 150, PASS), Item(60, 0, 60, None), Extended(OutcomeSpan(0, 60, PASS), None)),
        (OutcomeSpan(0, 50, PASS), Item(60, 0, 60, None), Extended(OutcomeSpan(0, 50, PASS), None)),
        (
            OutcomeSpan(0, 50, PASS),
            Item(60, 0, 210, PASS),
            Extended(OutcomeSpan(0, 50, PASS), OutcomeSpan(60, 210, PASS)),
        ),
        (OutcomeSpan(0, 60, PASS), Item(60, 0, 60, PASS), Extended(OutcomeSpan(0, 60, PASS), None)),
    ],
)
def test_extending_the_last_span(last: OutcomeSpan | None, item: Item, wanted: Extended) -> None:
    assert extend(last, item) == wanted


def in_pieces(runs: Sequence[Run], hour_us: int, annulled: Sequence[Span] = ()) -> list[Piece]:
    hours: dict[int, list[Run]] = {}
    for held in runs:
        hours.setdefault(held.start_us // hour_us, []).append(held)
    return [piece for _, within in sorted(hours.items()) for piece in pieces(within, LISTS, annulled)]


@given(
    st.lists(st.tuples(st.integers(1, 400), st.sampled_from([PASS, PASS, FAIL, NONE])), max_size=30),
    st.sampled_from([100, 300, 1000]),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 500)), max_size=2),
)
def test_the_pieces_of_hours_say_what_all_the_runs_said(
    steps: list[tuple[int, Outcome]], hour_us: int, voids: list[tuple[int, int]]
) -> None:
    runs, at_us = [], 0
    for gap_us, outcome in steps:
        at_us += gap_us
        runs.append(run(at_us, outcome))
    annulled = [Span(start, start + length) for start, length in voids]
    kept = in_pieces(runs, hour_us, annulled)
    assert list(outcome_spans((), (), LISTS, annulled, kept)) == list(outcome_spans(runs, (), LISTS, annulled))
    half = len(runs) // 2
    edge_us = runs[half].start_us // hour_us * hour_us if runs else 0
    young = [held for held in runs if held.start_us >= edge_us]
    early = [piece for piece in kept if piece.start_us < edge_us]
    mixed = outcome_spans(young, (), LISTS, annulled, early)
    assert list(mixed) == list(outcome_spans(runs, (), LISTS, annulled))


def test_a_failing_piece_keeps_the_run_it_began_with() -> None:
    first = run(60, FAIL, reason="dns")
    found = pieces([run(0), first, run(120, FAIL, reason="tls"), run(500, NONE), run(600, NONE)], LISTS)
    assert found == [Piece(0, 60, PASS), Piece(60, 270, FAIL, first), Piece(500, 500, NONE)]


def test_an_annulment_between_stamps_cuts_no_piece() -> None:
    """It voids runs, and there is none in it."""
    annulled = [Span(50, 60)]
    runs = [run(0), run(100)]
    kept = pieces(runs, LISTS, annulled)
    assert list(outcome_spans((), (), LISTS, annulled, kept)) == list(outcome_spans(runs, (), LISTS, annulled))
    assert list(outcome_spans((), (), LISTS, annulled, kept)) == [(0, 250, PASS)]

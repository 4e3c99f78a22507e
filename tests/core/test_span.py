"""The algebra of half-open spans, against sets of single instants."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.span import Span, intersect, measure_us, subtract, union

# Small numbers meet, touch and repeat often; empty and inverted spans are among them.
spans = st.builds(Span, st.integers(-12, 12), st.integers(-12, 12))
span_lists = st.lists(spans, max_size=6)


def instants(of: list[Span] | tuple[Span, ...]) -> set[int]:
    """The oracle: the set itself."""
    return {at for span in of for at in range(span.start_us, span.end_us)}


def is_canonical(of: tuple[Span, ...]) -> bool:
    """Non-empty, ordered, and neither overlapping nor touching."""
    return all(s.start_us < s.end_us for s in of) and all(a.end_us < b.start_us for a, b in pairwise(of))


@pytest.mark.parametrize(
    ("span", "length_us"),
    [(Span(3, 10), 7), (Span(3, 3), 0), (Span(10, 3), 0)],
)
def test_length_is_never_negative(span: Span, length_us: int) -> None:
    assert span.length_us == length_us


def test_a_span_contains_its_start_and_not_its_end() -> None:
    span = Span(3, 10)
    assert span.contains(3)
    assert span.contains(9)
    assert not span.contains(10)
    assert not span.contains(2)
    assert not Span(3, 3).contains(3)


def test_touching_spans_do_not_overlap() -> None:
    assert not Span(0, 5).overlaps(Span(5, 9))
    assert not Span(5, 9).overlaps(Span(0, 5))
    assert Span(0, 5).overlaps(Span(4, 9))
    assert not Span(0, 9).overlaps(Span(4, 4))


def test_clip_may_be_empty() -> None:
    assert Span(0, 10).clip(Span(4, 20)) == Span(4, 10)
    assert Span(0, 10).clip(Span(-5, 5)) == Span(0, 5)
    assert Span(0, 3).clip(Span(5, 9)).length_us == 0


@given(spans, spans)
def test_clip_and_overlaps_agree_with_the_sets(left: Span, right: Span) -> None:
    shared = instants([left]) & instants([right])
    assert instants([left.clip(right)]) == shared
    assert left.overlaps(right) == right.overlaps(left) == bool(shared)
    assert left.clip(right).length_us == len(shared)


def test_touching_and_overlapping_spans_become_one() -> None:
    assert union([Span(5, 9), Span(0, 5), Span(20, 30), Span(22, 25), Span(7, 7)]) == (Span(0, 9), Span(20, 30))


@given(span_lists)
def test_union_is_the_same_set_in_one_canonical_form(some: list[Span]) -> None:
    merged = union(some)
    assert instants(merged) == instants(some)
    assert is_canonical(merged)
    assert union(merged) == merged == union(reversed(some)) == union(iter(some * 2))
    assert all(type(span) is Span for span in merged)


@given(span_lists, span_lists)
def test_intersection(left: list[Span], right: list[Span]) -> None:
    shared = intersect(left, right)
    assert instants(shared) == instants(left) & instants(right)
    assert is_canonical(shared)
    assert shared == intersect(right, iter(left))


@given(span_lists, span_lists)
def test_difference(left: list[Span], right: list[Span]) -> None:
    rest = subtract(left, right)
    assert instants(rest) == instants(left) - instants(right)
    assert is_canonical(rest)
    assert subtract(iter(left), iter(right)) == rest


@given(span_lists, span_lists)
def test_what_is_taken_and_what_is_left_add_up(left: list[Span], right: list[Span]) -> None:
    assert measure_us(intersect(left, right)) + measure_us(subtract(left, right)) == measure_us(left)


@given(span_lists)
def test_measure_counts_no_instant_twice(some: list[Span]) -> None:
    assert measure_us(some) == len(instants(some))


def test_the_contract_s_maintenance_example() -> None:
    # CONTRACT 2.10: window 01:00-03:00, outage 01:30-03:45; the late extension does not qualify.
    minute = 60 * 1_000_000
    outage, window = Span(90 * minute, 225 * minute), Span(60 * minute, 180 * minute)
    assert measure_us(subtract([outage], [window])) == 2700 * 1_000_000


def test_one_hole_reaches_over_several_spans() -> None:
    left = [Span(0, 4), Span(6, 9), Span(11, 15)]
    assert subtract(left, [Span(2, 12)]) == (Span(0, 2), Span(12, 15))
    assert subtract(left, [Span(-5, 1), Span(3, 4), Span(20, 30)]) == (Span(1, 3), Span(6, 9), Span(11, 15))

"""What always holds (CONTRACT 2.9), and that the core says what a naive second reading of the contract says."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.core.availability import Account, floor_text
from monitor.core.credit import credit_of, credit_percent
from monitor.core.evidence import extend, merged, outcome_spans, run_item
from monitor.core.exclusion import Book
from monitor.core.instant import SECOND_US
from monitor.core.run import OutcomeSpan
from monitor.core.span import Span
from monitor.core.verdict import Verdict, standing
from monitor.core.verdict import merged as merged_verdicts
from tests.core import oracle
from tests.core.examples import TIERS, rupiah
from tests.core.worlds import (
    HORIZON,
    LATE,
    PARTNERS,
    account_of,
    changed,
    check_lists,
    entries_of,
    evidence_of,
    is_own,
    runs_of,
    second_by_second,
    verdicts_of,
    worlds,
)

PERIOD = (0, HORIZON)
pytestmark = pytest.mark.exhaustive

thorough = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
quick = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
units = st.sampled_from([1, 7, SECOND_US])
partners = st.sampled_from(PARTNERS)


def cut(account: Account) -> tuple[int, ...]:
    return (account.up_us, account.observed_us, account.unknown_us, account.down_us, account.worst_case.numerator)


# The core and the oracle.


@thorough
@given(worlds(), units)
def test_the_verdict_of_every_second_is_the_oracle_s(world: oracle.World, unit_us: int) -> None:
    book = Book.of(entries_of(world, unit_us))
    spans = verdicts_of(world, book, Span(0, HORIZON * unit_us), unit_us)
    assert second_by_second(spans, HORIZON, unit_us) == [oracle.measured(world, second) for second in range(HORIZON)]
    assert [span.start_us for span in spans] == [0, *(span.end_us for span in spans[:-1])]
    assert spans[-1].end_us == HORIZON * unit_us


@thorough
@given(worlds(), partners, units, st.integers(0, HORIZON), st.integers(0, HORIZON), st.integers(0, 2**32))
def test_the_account_of_every_partner_is_the_oracle_s(
    world: oracle.World, partner: str, unit_us: int, start: int, as_of: int, seed: int
) -> None:
    found = account_of(world, partner, (start, HORIZON), as_of=as_of, unit_us=unit_us, seed=seed)
    wanted = oracle.account(world, partner, start, max(start, as_of))
    assert found.up_us == wanted.up * unit_us
    assert found.observed_us == wanted.down * unit_us
    assert found.unknown_us == wanted.unknown * unit_us
    assert found.down_us == wanted.counted * unit_us
    assert found.worst_case == (1 - Fraction(wanted.worst, HORIZON - start) if start < HORIZON else 1) * 100
    shares = {share.excluded.id: share.seconds_us for share in found.shares if share.seconds_us}
    assert shares == {name: seconds * unit_us for name, seconds in wanted.shares.items()}
    assert sum(outage.counted_us for outage in found.outages) == found.down_us
    elapsed = max(start, as_of) - start
    known = Fraction(100 * (elapsed - wanted.unknown), elapsed) if elapsed else Fraction(100)
    assert found.coverage == known
    if start < HORIZON:
        tier = oracle.tier(HORIZON - start, wanted.counted)
        assert credit_percent(found.availability, TIERS) == tier
        assert floor_text(found.availability) == oracle.floored(HORIZON - start - wanted.counted, HORIZON - start)


@given(st.integers(0, 10**13), st.integers(1, 10**13))
def test_the_tier_and_the_printed_figure_are_the_oracle_s(down_us: int, total_us: int) -> None:
    down_us = min(down_us, total_us)
    share = Fraction(100 * (total_us - down_us), total_us)
    assert credit_percent(share, TIERS) == oracle.tier(total_us, down_us)
    assert floor_text(share) == oracle.floored(total_us - down_us, total_us)


@given(st.integers(0, 10**12), st.sampled_from([100, 95, 94, 90, 89, 85, 84, 0]))
def test_the_credit_is_the_oracle_s(fee: int, percent: int) -> None:
    credit = credit_of(Fraction(percent), TIERS, rupiah(fee))
    assert credit.amount == oracle.credit(fee, int(credit.percent))


@quick
@given(worlds(), st.integers(0, HORIZON - 1))
def test_what_stands_at_an_instant_is_what_the_sweep_says_of_it(world: oracle.World, second: int) -> None:
    book = Book.of(entries_of(world))
    evidence = evidence_of(world, book)
    now = standing(check_lists(world), evidence, second * SECOND_US)
    swept = verdicts_of(world, book, Span(second * SECOND_US, second * SECOND_US + 1))
    assert [(now.verdict, len(now.failing), len(now.unknown), now.total, now.rule)] == [
        (span.verdict, span.failing, span.unknown, span.total, span.rule) for span in swept
    ]
    assert now.why


# The properties of CONTRACT 2.9, in its order.


@quick
@given(worlds(), partners)
def test_downtime_lies_between_nothing_and_the_whole_month(world: oracle.World, partner: str) -> None:
    found = account_of(world, partner, PERIOD)
    assert 0 <= found.down_us <= found.total_us
    assert found.down_us <= found.observed_us
    assert 0 <= found.worst_case <= found.availability <= 100


@quick
@given(worlds(), partners, st.integers(0, HORIZON))
def test_up_and_down_and_unknown_make_the_elapsed_time(world: oracle.World, partner: str, as_of: int) -> None:
    found = account_of(world, partner, PERIOD, as_of=as_of)
    assert found.up_us + found.observed_us + found.unknown_us == found.elapsed_us == as_of * SECOND_US
    assert min(found.up_us, found.observed_us, found.unknown_us) >= 0


@quick
@given(worlds(), partners, st.lists(st.integers(1, HORIZON - 1), max_size=4, unique=True))
def test_the_downtime_of_a_month_is_the_sum_of_any_cut_of_it(
    world: oracle.World, partner: str, edges: list[int]
) -> None:
    whole = account_of(world, partner, PERIOD)
    parts = [account_of(world, partner, part) for part in pairwise([0, *sorted(edges), HORIZON])]
    assert sum(part.down_us for part in parts) == whole.down_us
    assert sum(part.unknown_us for part in parts) == whole.unknown_us
    assert sum(part.excluded_us for part in parts) == whole.excluded_us


@quick
@given(worlds(), partners, st.integers(0, 2**32))
def test_order_and_repetition_of_runs_change_nothing(world: oracle.World, partner: str, seed: int) -> None:
    shuffled = [*world.runs, *world.runs[::2]]
    random.Random(seed).shuffle(shuffled)
    again = changed(world, runs=tuple(shuffled))
    assert account_of(again, partner, PERIOD) == account_of(world, partner, PERIOD)


@quick
@given(worlds(), partners, st.data())
def test_more_failures_never_lower_the_downtime(world: oracle.World, partner: str, data: st.DataObject) -> None:
    if not world.runs:
        return
    before = account_of(world, partner, PERIOD)
    turned = data.draw(st.integers(0, len(world.runs) - 1))
    item = world.runs[turned]
    same = {(item.check, item.location, item.at)}
    runs = tuple(
        oracle.RunItem(r.check, r.location, r.at, "fail", 0) if (r.check, r.location, r.at) in same else r
        for r in world.runs
    )
    assert account_of(changed(world, runs=runs), partner, PERIOD).down_us >= before.down_us


@quick
@given(worlds(), partners, st.integers(0, HORIZON), st.integers(1, HORIZON))
def test_more_exclusions_never_raise_the_downtime(world: oracle.World, partner: str, start: int, length: int) -> None:
    more = oracle.Exclusion("x-more", start, start + length, LATE + 999 if is_own(world) else 999, "attack")
    before = account_of(world, partner, PERIOD)
    after = account_of(changed(world, exclusions=(*world.exclusions, more)), partner, PERIOD)
    assert after.down_us <= before.down_us
    assert after.worst_case >= before.worst_case
    assert after.observed_us == before.observed_us


@quick
@given(worlds())
def test_extending_run_by_run_equals_the_batch(world: oracle.World) -> None:
    lists = check_lists(world)
    by_source: dict[tuple[str, ...], list[OutcomeSpan]] = {}
    for run in runs_of(world):
        spans = by_source.setdefault(run.source, [])
        last, begun = extend(spans[-1] if spans else None, run_item(run, lists))
        if last is not None:
            spans[-1] = last
        if begun is not None:
            spans.append(begun)
    for source, spans in by_source.items():
        batch = outcome_spans((run for run in runs_of(world) if run.source == source), (), lists)
        assert spans == list(batch)


@quick
@given(worlds(), st.integers(1, HORIZON))
def test_outcome_spans_are_ordered_disjoint_and_maximal(world: oracle.World, second: int) -> None:
    for spans in evidence_of(world, Book.of(entries_of(world))).values():
        assert list(merged(spans)) == spans
        assert all(a.end_us <= b.start_us for a, b in pairwise(spans))
        assert all(a.end_us < b.start_us or a.outcome is not b.outcome for a, b in pairwise(spans))


@quick
@given(worlds())
def test_one_partner_alone_equals_the_same_in_a_batch(world: oracle.World) -> None:
    batch = {partner: account_of(world, partner, PERIOD) for partner in PARTNERS}

    def alone(partner: str) -> oracle.World:
        return changed(
            world,
            windows=tuple(w for w in world.windows if w.partners is None or partner in w.partners),
            exclusions=tuple(x for x in world.exclusions if x.partners is None or partner in x.partners),
        )

    for partner in PARTNERS:
        assert cut(account_of(alone(partner), partner, PERIOD)) == cut(batch[partner])


@quick
@given(worlds(), partners, st.integers(1, HORIZON))
def test_the_best_case_of_a_month_in_progress_only_falls(world: oracle.World, partner: str, as_of: int) -> None:
    earlier = account_of(world, partner, PERIOD, as_of=as_of - 1)
    later = account_of(world, partner, PERIOD, as_of=as_of)
    assert later.availability <= earlier.availability
    assert later.total_us == earlier.total_us == HORIZON * SECOND_US


@quick
@given(worlds())
def test_equal_verdicts_that_touch_are_one_span(world: oracle.World) -> None:
    spans = verdicts_of(world, Book.of(entries_of(world)), Span(0, HORIZON * SECOND_US))
    joined = merged_verdicts(spans)
    assert second_by_second(joined, HORIZON) == second_by_second(spans, HORIZON)
    assert all(a.verdict is not b.verdict for a, b in pairwise(joined))
    for span in joined:
        assert max(_shares(s.failing, s.total) for s in spans if s.span.overlaps(span.span)) == _shares(
            span.failing, span.total
        )


def _shares(failing: int, total: int) -> Fraction:
    return Fraction(failing, total) if total else Fraction(0)


@quick
@given(worlds(), partners, st.integers(1, 10**9))
def test_a_shift_of_the_whole_world_in_time_changes_no_figure(world: oracle.World, partner: str, unit_us: int) -> None:
    """Nothing depends on how long a second is: only on order and lengths."""
    one = account_of(world, partner, PERIOD, unit_us=unit_us)
    other = account_of(world, partner, PERIOD)
    assert one.availability == other.availability
    assert one.worst_case == other.worst_case
    assert one.down_us * SECOND_US == other.down_us * unit_us


SCRIPT = Path(__file__).with_name("figures_elsewhere.py")


def elsewhere(environment: Iterable[tuple[str, str]]) -> bytes:
    command = [sys.executable, str(SCRIPT)]
    told = dict(os.environ) | dict(environment) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, env=told, check=True, capture_output=True, timeout=200).stdout


@pytest.mark.parametrize(
    "place",
    [
        {"TZ": "America/New_York", "LC_ALL": "C"},
        {"TZ": "Asia/Jakarta", "LC_ALL": "C.UTF-8"},
        {"TZ": "Pacific/Kiritimati", "LC_ALL": "de_DE.UTF-8", "LANG": "id_ID.UTF-8", "PYTHONHASHSEED": "1"},
    ],
)
def test_zone_locale_and_hash_seed_of_the_process_change_nothing(place: dict[str, str]) -> None:
    usual = elsewhere({"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "0"}.items())
    assert usual.count(b"\n") == 6 * 2 + 4 * 2
    assert elsewhere(place.items()) == usual


def test_a_verdict_has_three_words() -> None:
    assert [verdict.value for verdict in Verdict] == ["up", "down", "unknown"]

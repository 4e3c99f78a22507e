"""The verdict of a check over locations, of a service over checks, and of time (CONTRACT 2.2, 2.3)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from monitor.core.check import Check, CheckList, Network
from monitor.core.run import Outcome, OutcomeSpan, SourceKey
from monitor.core.span import Span
from monitor.core.verdict import (
    Rule,
    Tally,
    Verdict,
    VerdictSpan,
    by_majority,
    by_reach,
    check_verdict,
    judge,
    merged,
    service_verdict,
    standing,
)

UP, DOWN, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN
PASS, FAIL = Outcome.PASS, Outcome.FAIL


def listing(*checks: str, at_us: int = 0) -> CheckList:
    """Checks by name; one that begins with `i-` is internal."""
    return CheckList(
        service="portal",
        at_us=at_us,
        interval_us=60,
        timeout_us=10,
        stale_after_us=190,
        checks=tuple(
            Check(id=name, network=Network.INTERNAL if name.startswith("i-") else Network.PUBLIC) for name in checks
        ),
    )


def source(check: str, location: str = "jkt-1") -> SourceKey:
    return SourceKey("portal", check, location)


def always(**said: Outcome | None) -> dict[SourceKey, list[OutcomeSpan]]:
    return {source(check.replace("_", "-")): [OutcomeSpan(0, 100, o)] for check, o in said.items() if o is not None}


@pytest.mark.parametrize(
    ("failing", "passing", "wanted"),
    [(0, 0, None), (1, 0, FAIL), (0, 1, PASS), (1, 1, PASS), (2, 1, FAIL), (1, 2, PASS), (2, 2, PASS), (3, 2, FAIL)],
)
def test_a_check_fails_by_majority_of_the_locations_with_evidence(
    failing: int, passing: int, wanted: Outcome | None
) -> None:
    assert check_verdict(failing, passing) == wanted


@pytest.mark.parametrize(
    ("failing", "unknown", "total", "wanted"),
    [
        (5, 0, 10, UP),  # CONTRACT 2.10
        (6, 0, 10, DOWN),
        (5, 1, 10, UNKNOWN),
        (4, 1, 10, UP),
        (0, 0, 0, UNKNOWN),  # N = 0
        (1, 0, 1, DOWN),
        (0, 1, 1, UNKNOWN),
        (1, 0, 2, UP),
        (1, 1, 2, UNKNOWN),
        (0, 1, 2, UP),
        (2, 0, 3, DOWN),
        (1, 1, 3, UNKNOWN),
        (0, 2, 3, UNKNOWN),
    ],
)
def test_more_than_half(failing: int, unknown: int, total: int, wanted: Verdict) -> None:
    assert by_majority(Tally(failing=failing, unknown=unknown, total=total, public_total=total)) is wanted


@pytest.mark.parametrize(
    ("failing", "unknown", "publics", "internal", "wanted"),
    [
        (2, 0, 2, 1, DOWN),
        (1, 1, 2, 1, UNKNOWN),
        (0, 2, 2, 1, UNKNOWN),
        (1, 0, 2, 1, UP),
        (0, 1, 2, 1, UP),
        (0, 0, 2, 1, UP),
        (2, 0, 2, 0, UP),  # without an internal check the rule is silent
        (0, 0, 0, 3, UP),  # P = 0
        (1, 0, 1, 9, DOWN),
    ],
)
def test_not_reachable_at_all(failing: int, unknown: int, publics: int, internal: int, wanted: Verdict) -> None:
    tally = Tally(0, 0, publics + internal, public_failing=failing, public_unknown=unknown, public_total=publics)
    assert by_reach(tally) is wanted


def test_the_service_is_down_if_either_says_so_up_if_both_do() -> None:
    quiet = Tally(0, 0, 3, 0, 0, 1)
    assert service_verdict(quiet) == (UP, None)
    assert service_verdict(quiet._replace(failing=1, public_failing=1)) == (DOWN, Rule.UNREACHABLE)
    assert service_verdict(quiet._replace(failing=2, public_failing=1)) == (DOWN, Rule.MAJORITY)
    assert service_verdict(quiet._replace(failing=2)) == (DOWN, Rule.MAJORITY)
    assert service_verdict(quiet._replace(unknown=1, public_unknown=1)) == (UNKNOWN, None)
    assert service_verdict(quiet._replace(unknown=2)) == (UNKNOWN, None)
    # Unknown by the first rule, down by the second: down.
    assert service_verdict(Tally(1, 2, 4, 1, 0, 1)) == (DOWN, Rule.UNREACHABLE)


def test_internal_checks_that_pass_do_not_hide_a_public_outage() -> None:
    lists = [listing("web", "i-db", "i-queue")]
    spans = judge(lists, always(web=FAIL, i_db=PASS, i_queue=PASS), Span(0, 100))
    assert spans == [VerdictSpan(0, 100, DOWN, 1, 0, 3, Rule.UNREACHABLE)]


def test_the_verdict_covers_its_time_exactly_and_says_unknown_where_nothing_was_seen() -> None:
    evidence = {source("web"): [OutcomeSpan(10, 20, PASS), OutcomeSpan(20, 30, FAIL), OutcomeSpan(40, 90, PASS)]}
    spans = judge([listing("web")], evidence, Span(0, 60))
    assert [(s.start_us, s.end_us, s.verdict) for s in spans] == [
        (0, 10, UNKNOWN),
        (10, 20, UP),
        (20, 30, DOWN),
        (30, 40, UNKNOWN),
        (40, 60, UP),
    ]


def test_before_the_first_list_and_under_an_empty_one_all_is_unknown() -> None:
    spans = judge([listing("web", at_us=10), listing(at_us=20)], always(web=PASS), Span(0, 30))
    assert [(s.start_us, s.end_us, s.verdict, s.total) for s in spans] == [
        (0, 10, UNKNOWN, 0),
        (10, 20, UP, 1),
        (20, 30, UNKNOWN, 0),
    ]
    assert judge([], {}, Span(5, 5)) == []


def test_a_changed_list_acts_from_its_instant_and_never_backwards() -> None:
    lists = [listing("web", "api"), listing("web", at_us=50)]
    spans = judge(lists, always(web=FAIL, api=PASS), Span(0, 100))
    assert [(s.start_us, s.verdict, s.failing, s.total) for s in spans] == [(0, UP, 1, 2), (50, DOWN, 1, 1)]


def test_a_list_that_changes_nothing_cuts_no_span() -> None:
    lists = [listing("web"), listing("web", at_us=50)]
    assert judge(lists, always(web=FAIL), Span(0, 100)) == [VerdictSpan(0, 100, DOWN, 1, 0, 1, Rule.MAJORITY)]


def test_evidence_outside_the_time_does_not_count() -> None:
    evidence = {source("web"): [OutcomeSpan(0, 10, FAIL), OutcomeSpan(10, 20, PASS), OutcomeSpan(20, 30, FAIL)]}
    assert judge([listing("web")], evidence, Span(10, 20)) == [VerdictSpan(10, 20, UP, 0, 0, 1)]


def test_a_list_at_the_edges_of_the_time_makes_no_empty_span() -> None:
    lists = [listing("web"), listing("web", "api", at_us=100), listing("web", at_us=0)]
    assert len(judge(sorted(lists, key=lambda entry: entry.at_us), always(web=PASS), Span(0, 100))) == 1


def test_evidence_of_checks_not_in_force_does_not_count() -> None:
    assert judge([listing("web")], always(web=PASS, old=FAIL, older=FAIL), Span(0, 9))[0].verdict is UP


def test_locations_are_judged_before_checks() -> None:
    """Pooled over all runs 4 of 9 fail; by checks 2 of 3 do."""
    matrix = {"a": "ffp", "b": "ffp", "c": "ppp"}
    evidence = {
        source(check, f"l{number}"): [OutcomeSpan(0, 9, FAIL if letter == "f" else PASS)]
        for check, row in matrix.items()
        for number, letter in enumerate(row)
    }
    assert judge([listing("a", "b", "c")], evidence, Span(0, 9)) == [VerdictSpan(0, 9, DOWN, 2, 0, 3, Rule.MAJORITY)]


def test_two_locations_that_differ_are_no_failure() -> None:
    evidence = {source("web", "x"): [OutcomeSpan(0, 9, FAIL)], source("web", "y"): [OutcomeSpan(0, 9, PASS)]}
    assert judge([listing("web")], evidence, Span(0, 9))[0].verdict is UP


def spans_of(*rows: tuple[int, int, Verdict, int, int]) -> Iterable[VerdictSpan]:
    return [VerdictSpan(start, end, verdict, failing, 0, total) for start, end, verdict, failing, total in rows]


def test_merging_by_verdict_keeps_the_worst_count() -> None:
    joined = merged(spans_of((0, 5, DOWN, 3, 5), (5, 9, DOWN, 5, 5), (9, 12, DOWN, 4, 5), (12, 20, UP, 0, 5)))
    assert [(s.start_us, s.end_us, s.verdict, s.failing) for s in joined] == [(0, 12, DOWN, 5), (12, 20, UP, 0)]
    apart = merged(spans_of((0, 5, DOWN, 3, 5), (6, 9, DOWN, 5, 5)))
    assert [s.span for s in apart] == [Span(0, 5), Span(6, 9)]
    assert merged(spans_of((0, 5, UNKNOWN, 0, 0), (5, 6, UNKNOWN, 1, 4)))[0].failing == 1


def why(failing: int, unknown: int, passing: int, *internal: str) -> str:
    names = [f"c{number}" for number in range(failing + unknown + passing)]
    said = [FAIL] * failing + [None] * unknown + [PASS] * passing
    evidence = {source(n): [OutcomeSpan(0, 9, o)] for n, o in zip(names, said, strict=True) if o is not None}
    evidence |= {source(name): [OutcomeSpan(0, 9, PASS)] for name in internal}
    return standing([listing(*names, *internal)], evidence, 5).why


def test_what_stands_says_why() -> None:
    assert why(3, 0, 3) == "3 of 6 checks fail; exactly half is not downtime, more than half would be"
    assert why(4, 0, 2) == "4 of 6 checks fail; more than half: down"
    assert why(3, 1, 2) == "3 of 6 checks fail, 1 without evidence; too few know to tell"
    assert why(0, 0, 6) == "0 of 6 checks fail; more than half needed to be down"
    assert why(1, 0, 0, "i-a", "i-b") == "1 of 3 checks fail; all 1 public checks fail: not reachable from the internet"
    assert standing([], {}, 5).why == "no SLA check is in force"


def test_what_stands_names_the_checks() -> None:
    evidence = always(web=FAIL, api=PASS) | {source("web", "y"): [OutcomeSpan(50, 99, PASS)]}
    evidence[source("gone")] = [OutcomeSpan(0, 100, FAIL)]
    now = standing([listing("web", "api", "cart")], evidence, 10)
    assert (now.failing, now.unknown, now.passing, now.total) == (("web",), ("cart",), ("api",), 3)
    assert now.verdict is UNKNOWN
    later = standing([listing("web", "api", "cart")], evidence, 50)
    assert (later.failing, later.verdict) == ((), UP)
    assert standing([listing("web")], evidence, 100).verdict is UNKNOWN  # half-open

"""A month's figures and its versions on a real store: a closed version never changes (CONTRACT 2.7, 2.9)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from monitor.core.calendar import Month
from monitor.core.fact import Close, ExclusionReason, Ruling
from monitor.core.instant import DAY_US, HOUR_US
from monitor.core.run import Origin, Outcome, SourceKey, StatedSpan
from monitor.core.span import Span
from monitor.core.statement import digest_of
from monitor.core.terms import Agreements
from monitor.ledger.command import Adjudicate, Annul, CloseMonth, Exclude, FileClaim, Reverse
from monitor.ledger.evidence import rebuild
from monitor.ledger.explain import explain, matches_issued
from monitor.ledger.month import NoSuchVersionError
from monitor.storage import Unit
from tests.core.examples import WIB, subscription, terms
from tests.ledger.keeping import AGREEMENTS, APRIL, CLOSING, END, START, Keeper, kept, run, watched_april

CLOSE = CloseMonth(partner="acme", service="portal", month="2026-04")
RESTATE = replace(CLOSE, restate_reason="late evidence of the third party")
FIRST_HOURS = Span(START, START + 10 * HOUR_US)


def exclude(hours: int = 10, name: str = "x-1") -> Exclude:
    return Exclude(
        reason=ExclusionReason.THIRD_PARTY,
        services=("portal",),
        start_us=START,
        end_us=START + hours * HOUR_US,
        evidence="the cloud's own report",
        id=name,
    )


def closed(keeper: Keeper) -> Close:
    (fact,) = keeper.given(CLOSE)
    assert isinstance(fact, Close)
    return fact


def is_as_issued(keeper: Keeper, fact: Close) -> None:
    """The version is recomputed to the byte: same digest as in its close entry."""
    again = keeper.statement(fact.version).document
    assert digest_of(again) == again["digest"] == fact.digest


# Figures of a month that runs.


def test_a_month_of_runs(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(10, 46)])  # 36 hours: exactly 95 %
        found = keeper.statement()
        assert found.document["availability"]["percent"] == "95.000000"
        assert found.document["credit"]["amount"] == "0"
        assert found.document["imported"] is False
        assert found.document["partner"] == {"id": "acme", "name": "Yayasan Acme"}
        assert found.document["method"]["locations"] == ["jkt-1"]
        assert found.document["version"] == 1
        first = f"login at jkt-1: timeout: no answer at {START + 10 * HOUR_US}"
        assert found.document["outages"][0]["first_failure"] == first


def test_months_of_partners_and_services_by_name(tmp_path: Path) -> None:
    both = replace(AGREEMENTS, subscriptions=(subscription(), replace(subscription(), partner="beta")))
    with kept(tmp_path, both) as keeper:
        watched_april(keeper)
        months = keeper.months()
        assert [s.ground.partner for s in months.statements(APRIL)] == ["acme", "beta"]
        assert [s.ground.partner for s in months.statements(APRIL, "beta")] == ["beta"]
        assert months.statements(APRIL, service="mail") == []
        assert months.figures(APRIL, "ceda", "portal") is None


def test_without_terms_there_is_no_statement(tmp_path: Path) -> None:
    with kept(tmp_path, Agreements(subscriptions=(subscription(),))) as keeper:
        watched_april(keeper)
        assert keeper.months().statements(APRIL) == []
    later = replace(terms(), effective_from_us=END)
    with kept(tmp_path, replace(AGREEMENTS, terms=(later,))) as keeper:
        assert keeper.months().statements(APRIL) == []


def test_a_version_that_was_never_issued(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper)
        with pytest.raises(NoSuchVersionError, match="no version 1; issued: none"):
            keeper.statement(1)
        closed(keeper)
        assert keeper.statement(1).ground.version == 1
        with pytest.raises(NoSuchVersionError, match="no version 2; issued: 1"):
            keeper.statement(2)


def test_an_outage_that_only_a_ruling_made_has_no_first_failure(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        keeper.adopt()
        keeper.watch(START - DAY_US, START + 2 * HOUR_US)
        keeper.watch(START + 8 * HOUR_US, END)
        keeper.now_us = CLOSING
        keeper.given(
            Adjudicate(
                service="portal",
                start_us=START + 3 * HOUR_US,
                end_us=START + 8 * HOUR_US,
                verdict=Ruling.DOWN,
                evidence="access log",
            )
        )
        (outage,) = keeper.statement().document["outages"]
        assert outage["first_failure"] is None
        assert outage["seconds"] == "18000.000000"


# Another partner's consent.


@pytest.mark.parametrize(
    ("agreed_by", "binds"), [("letter 7 of acme", True), ("acme", True), ("beta", False), (None, False)]
)
def test_one_partner_s_consent_does_not_bind_another(tmp_path: Path, agreed_by: str | None, binds: bool) -> None:
    both = replace(AGREEMENTS, subscriptions=(subscription(), replace(subscription(), partner="beta")))
    with kept(tmp_path, both) as keeper:
        keeper.adopt()
        keeper.watch(START - DAY_US, START + 20 * HOUR_US)
        keeper.watch(START + 80 * HOUR_US, END)
        keeper.now_us = CLOSING
        keeper.given(
            Adjudicate(
                service="portal",
                start_us=START,
                end_us=END,
                verdict=Ruling.UNKNOWN,
                evidence="access log",
                agreed_by=agreed_by,
            )
        )
        assert keeper.statement().document["status"] == ("provisional" if binds else "needs_adjudication")


# Closed versions.


def test_the_close_holds_the_digest_of_what_it_issued(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(10, 100)])
        fact = closed(keeper)
        found = keeper.statement()
        assert found.document["status"] == "final"
        assert fact.version == 1
        assert found.document["credit"]["percent"] == "25"
        is_as_issued(keeper, fact)
        assert "recomputed digest matches the one issued with version" in explain(found, WIB)[-1]
        changed = replace(found, document=found.document | {"imported": True})
        assert "DOES NOT match" in explain(changed, WIB)[-1]
        issued_otherwise = replace(found, ground=replace(found.ground, digest="sha256:of another statement"))
        assert "DOES NOT match: issued with version 1 was sha256:of another" in explain(issued_otherwise, WIB)[-1]
        assert not matches_issued(issued_otherwise)


def test_a_closed_version_is_the_same_after_anything_that_follows(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(0, 50)])
        fact = closed(keeper)
        issued = keeper.statement().document
        keeper.put(runs=[run(START + 60 * HOUR_US + 5, "fail")])  # late evidence in the month
        is_as_issued(keeper, fact)
        keeper.given(exclude(), over_closed=True)
        is_as_issued(keeper, fact)
        void = Annul(
            service="portal",
            check="login",
            location="jkt-1",
            start_us=START,
            end_us=START + HOUR_US,
            note="our own line",
        )
        keeper.given(void, over_closed=True)
        is_as_issued(keeper, fact)
        keeper.given(Reverse(of="x-1", note="withdrawn"), over_closed=True)
        keeper.adopt("login", "order", at_us=keeper.now_us)
        keeper.now_us += 90 * DAY_US
        is_as_issued(keeper, fact)
        views = {"status", "claim"}
        now = keeper.statement().document
        assert {k: v for k, v in now.items() if k not in views} == {k: v for k, v in issued.items() if k not in views}


def test_names_fee_and_terms_of_a_closed_version_are_those_of_its_close(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(0, 50)])
        fact = closed(keeper)
        other = replace(
            AGREEMENTS,
            terms=(replace(terms(), guarantee=Fraction(99), tiers=()),),
            subscriptions=(
                replace(subscription(), fee=replace(subscription().fee, amount=subscription().fee.amount * 2)),
            ),
            partner_names=(("acme", "Renamed"),),
        )
        keeper.basis = replace(keeper.basis, agreements=other, software="jaga later", holidays=lambda name: name * 2)
        is_as_issued(keeper, fact)
        assert keeper.statement().document["credit"]["fee"]["amount"] == "12500000"


def test_a_late_run_just_before_the_month_changes_no_closed_version(tmp_path: Path) -> None:
    """Its outcome reaches over the month's first instant."""
    with kept(tmp_path) as keeper:
        keeper.adopt()
        keeper.watch(START + HOUR_US, END)
        keeper.now_us = CLOSING
        fact = closed(keeper)
        keeper.put(runs=[run(START - 5, "fail")])
        is_as_issued(keeper, fact)


def test_a_location_added_later_changes_no_closed_version(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(0, 50)])
        fact = closed(keeper)
        keeper.watch(END + DAY_US, END + 3 * DAY_US, location="sby-1")
        keeper.put(runs=[run(START + 60 * HOUR_US + 5, "fail")])
        is_as_issued(keeper, fact)


def test_an_outage_begun_before_the_month_keeps_its_first_failure(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        keeper.adopt()
        keeper.watch(START - 30 * HOUR_US, START + 40 * HOUR_US, "fail")
        keeper.watch(START + 40 * HOUR_US, END)
        keeper.now_us = CLOSING
        fact = closed(keeper)
        keeper.put(runs=[run(START + 60 * HOUR_US + 5, "fail")])
        is_as_issued(keeper, fact)


def test_a_run_inside_a_stated_span_is_remembered_by_a_closed_version(tmp_path: Path) -> None:
    """The run ended the stated span before the month began; recomputed, it must still have ended it."""
    with kept(tmp_path) as keeper:
        source = SourceKey("portal", "login", "jkt-1")
        stated = StatedSpan(
            **source._asdict(), start_us=START - 30 * HOUR_US, end_us=START + 5 * HOUR_US, outcome=Outcome.FAIL
        )
        keeper.store.commit(Unit(recorded_at_us=keeper.now_us, origin=Origin.IMPORTED, stated=[stated]))
        rebuild(keeper.store)
        keeper.adopt()
        keeper.put(runs=[run(START - 20 * HOUR_US)])
        keeper.watch(START + 10 * HOUR_US, END)
        keeper.now_us = CLOSING
        fact = closed(keeper)
        keeper.put(runs=[run(START + 60 * HOUR_US + 5, "fail")])
        is_as_issued(keeper, fact)


def test_a_run_contested_later_changes_no_closed_version(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(0, 50)])
        fact = closed(keeper)
        keeper.put(runs=[replace(run(START + HOUR_US), message="another telling")])
        is_as_issued(keeper, fact)
        assert (
            keeper.months().figures_of(replace(keeper.statement().ground, arrival=None)).account.unknown_us == HOUR_US
        )


# Restatements.


def test_a_restatement_is_a_new_version_with_its_reason_and_the_change_in_credit(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(0, 40)])  # 94.44 %: 10 %
        first = closed(keeper)
        keeper.given(exclude(), over_closed=True)
        (second,) = keeper.given(RESTATE)
        assert isinstance(second, Close)
        assert (second.version, second.credit_delta, second.reason) == (2, "-1250000", RESTATE.restate_reason)
        assert len(second.inputs["changes"]) == 1
        found = keeper.statement().document
        assert found["version"] == 2
        assert found["credit"]["amount"] == "0"
        assert found["restates"] == {
            "version": 1,
            "reason": RESTATE.restate_reason,
            "by": "sari",
            "credit_delta": "-1250000",
        }
        is_as_issued(keeper, second)
        is_as_issued(keeper, first)
        assert keeper.statement(1).document["status"] == "superseded"
        assert keeper.statement(2).document["status"] == "final"


def test_version_2_is_version_1_s_inputs_and_the_correction(tmp_path: Path) -> None:
    """CONTRACT 2.9, last: a ledger that knew from the start says the same figures."""
    (tmp_path / "late").mkdir()
    (tmp_path / "early").mkdir()
    with kept(tmp_path / "late") as late, kept(tmp_path / "early") as early:
        watched_april(late, [(0, 40)])
        closed(late)
        late.given(exclude(), over_closed=True)
        late.given(RESTATE)
        watched_april(early, [(0, 40)])
        early.given(exclude())
        closed(early)
        same = ("availability", "worst_case", "coverage", "downtime", "excluded", "outages", "guarantee", "credit")
        ours, theirs = late.statement().document, early.statement().document
        assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}


def test_the_same_ledger_gives_the_same_bytes(tmp_path: Path) -> None:
    found = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        with kept(tmp_path / str(number)) as keeper:
            watched_april(keeper, [(0, 40)])
            closed(keeper)
            found.append(keeper.statement().document)
    assert found[0] == found[1]
    assert list(found[0]) == list(found[1])


# Claims over the life of a month.


def test_a_claim_is_filed_then_answered_at_the_close(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(0, 40)])
        assert keeper.statement().document["claim"]["status"] == "open"
        keeper.given(FileClaim(partner="acme", service="portal", month="2026-04"))
        assert keeper.statement().document["claim"]["status"] == "filed"
        closed(keeper)
        assert keeper.statement().document["claim"]["status"] == "granted"


def test_a_claim_for_nothing_is_refused_by_the_close(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper)
        keeper.given(FileClaim(partner="acme", service="portal", month="2026-04"))
        closed(keeper)
        assert keeper.statement().document["claim"]["status"] == "refused"


def test_a_restatement_that_raises_the_credit_reopens_the_period_for_the_difference(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(0, 40)])
        keeper.given(exclude())
        keeper.given(FileClaim(partner="acme", service="portal", month="2026-04"))
        closed(keeper)
        keeper.now_us = END + 60 * DAY_US
        keeper.given(Reverse(of="x-1", note="withdrawn"), over_closed=True)
        keeper.given(RESTATE)
        claim = keeper.statement().document["claim"]
        assert (claim["status"], claim["deadline"]) == ("open", "2026-07-31T00:00:00+07:00")
        keeper.given(FileClaim(partner="acme", service="portal", month="2026-04"))
        assert keeper.statement().document["claim"]["status"] == "granted"


def test_a_later_version_that_raises_nothing_leaves_the_reopened_period_open(tmp_path: Path) -> None:
    """What version 2 raised may be claimed for its 30 days, whatever version 3 corrects; and a claim of it stands."""
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(0, 40)])
        keeper.given(exclude())
        closed(keeper)
        keeper.now_us = END + 60 * DAY_US
        keeper.given(Reverse(of="x-1", note="withdrawn"), over_closed=True)
        keeper.given(RESTATE)
        keeper.given(exclude(hours=1, name="x-2"), over_closed=True)  # 94.58 %: the same tier
        (third,) = keeper.given(RESTATE)
        assert isinstance(third, Close)
        assert (third.version, third.credit_delta) == (3, "0")
        claim = keeper.statement().document["claim"]
        assert (claim["status"], claim["deadline"]) == ("open", "2026-07-31T00:00:00+07:00")
        keeper.given(FileClaim(partner="acme", service="portal", month="2026-04"))
        assert keeper.statement().document["claim"]["status"] == "granted"
        keeper.now_us += 40 * DAY_US
        keeper.given(exclude(hours=2, name="x-3"), over_closed=True)
        (fourth,) = keeper.given(RESTATE)
        claim = keeper.statement().document["claim"]
        assert (claim["status"], claim["deadline"]) == ("granted", "2026-07-31T00:00:00+07:00")
        assert isinstance(fourth, Close)
        for issued in (third, fourth):
            is_as_issued(keeper, issued)


def test_a_month_before_the_first_list_is_unknown_as_a_whole(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper)
        found = keeper.statement(month=Month(2026, 2)).document
        assert found["coverage"]["percent"] == "0.000000"
        assert found["status"] == "needs_adjudication"

"""The one door for decisions: facts or a refusal with its reason; a refusal changes nothing (CONTRACT 2.4-2.7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from monitor.core import fact as facts
from monitor.core.fact import ExclusionReason, Ruling
from monitor.core.instant import DAY_US, HOUR_US
from monitor.core.terms import Agreements
from monitor.ledger.act import Done
from monitor.ledger.command import (
    Adjudicate,
    AnnounceMaintenance,
    Annul,
    CancelMaintenance,
    CloseMonth,
    Exclude,
    FileClaim,
    FinishMaintenance,
    Notified,
    NotifyMaintenance,
    Reverse,
)
from monitor.ledger.decide import Decided, decide
from monitor.ledger.standing import standings
from tests.core.examples import at, rupiah, subscription, terms
from tests.ledger.keeping import AGREEMENTS, CLOSING, END, START, Keeper, kept, watched_april

NOW = at("2026-04-20T12:00:00")
LATER = NOW + 72 * HOUR_US


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """A watched April, 40 hours of it down from its start, now on the 20th; acme and beta have the portal."""
    both = replace(AGREEMENTS, subscriptions=(subscription(), replace(subscription(), partner="beta")))
    with kept(tmp_path, both) as held:
        watched_april(held, [(0, 40)])
        held.now_us = NOW
        yield held


def announce(**more: object) -> AnnounceMaintenance:
    usual: dict[str, object] = {
        "services": ("portal",),
        "start_us": LATER,
        "end_us": LATER + 2 * HOUR_US,
        "summary": "database move",
    }
    return AnnounceMaintenance(**{**usual, **more})  # type: ignore[arg-type]


def exclude(**more: object) -> Exclude:
    usual: dict[str, object] = {
        "reason": ExclusionReason.ATTACK,
        "services": ("portal",),
        "start_us": START,
        "end_us": START + HOUR_US,
        "evidence": "the firewall's log",
    }
    return Exclude(**{**usual, **more})  # type: ignore[arg-type]


def adjudicate(**more: object) -> Adjudicate:
    usual: dict[str, object] = {
        "service": "portal",
        "start_us": START - 10 * DAY_US,
        "end_us": START - 5 * DAY_US,
        "verdict": Ruling.UP,
        "evidence": "access log",
    }
    return Adjudicate(**{**usual, **more})  # type: ignore[arg-type]


def annul(**more: object) -> Annul:
    usual: dict[str, object] = {
        "service": "portal",
        "check": "login",
        "location": "jkt-1",
        "start_us": START,
        "end_us": START + HOUR_US,
        "note": "our own line",
    }
    return Annul(**{**usual, **more})  # type: ignore[arg-type]


CLAIM = FileClaim(partner="acme", service="portal", month="2026-04")
CLOSE = CloseMonth(partner="acme", service="portal", month="2026-04")


# Every decision has its author.


@pytest.mark.parametrize("by", ["", "  "])
def test_a_decision_needs_its_author(keeper: Keeper, by: str) -> None:
    assert keeper.refused(exclude(), by=by) == "a decision needs its author"


def test_who_and_when_stand_on_the_fact(keeper: Keeper) -> None:
    (fact,) = keeper.given(exclude())
    assert isinstance(fact, facts.Exclusion)
    assert (fact.by, fact.at_us, fact.id, fact.evidence) == ("sari", keeper.now_us, "x-1", "the firewall's log")


def test_a_preview_records_nothing(keeper: Keeper) -> None:
    head = keeper.store.head()
    assert isinstance(decide(keeper.months(), exclude(), by="sari"), Decided)
    assert keeper.store.head() == head


# Maintenance.


def test_the_notice_needed_is_that_of_the_terms_that_judge_the_window_s_month(tmp_path: Path) -> None:
    """CONTRACT 7.2: newer terms, agreed already, do not reach back to it; from their first month on they count."""
    may = replace(terms(), effective_from_us=END, maintenance_notice_us=96 * HOUR_US)
    with kept(tmp_path, replace(AGREEMENTS, terms=(terms(), may))) as held:
        held.adopt()
        held.now_us = NOW
        now = held.give(announce(id="m-april"))  # 72 h ahead
        held.now_us = END - 72 * HOUR_US
        then = held.give(announce(id="m-may", start_us=END, end_us=END + HOUR_US))
        (standing,) = standings(held.months())
    assert isinstance(now, Done)
    assert isinstance(then, Done)
    assert now.remarks == ()
    assert [remark.split(",")[0] for remark in then.remarks] == ["m-may"]
    assert "345600.000000 s of notice are needed" in then.remarks[0]
    (window,) = standing.windows
    assert window.rejected == (("acme", "no notice to acme on record, 96:00:00 before start needed"),)


def test_a_window_in_no_month_that_is_judged_needs_no_notice(keeper: Keeper) -> None:
    far = at("2255-03-01T00:00:00")
    done = keeper.give(announce(start_us=far, end_us=far + HOUR_US))
    assert isinstance(done, Done)
    assert done.remarks == ()
    (standing,) = standings(keeper.months())
    assert [window.rejected for window in standing.windows] == [()]


def test_a_window_that_begins_now_can_be_finished_now(keeper: Keeper) -> None:
    """At the instant of its start it can no longer be cancelled (CONTRACT 2.5.2): so it can be finished."""
    keeper.given(announce(id="m-1"))
    keeper.now_us = LATER - 1
    assert "it can only be finished" in keeper.refused(CancelMaintenance(maintenance="m-1"))
    (fact,) = keeper.given(FinishMaintenance(maintenance="m-1", at_us=LATER))
    assert isinstance(fact, facts.MaintenanceFinished)


@pytest.mark.parametrize("evidence", ["", "  ", "\n"])
def test_blanks_are_no_evidence(keeper: Keeper, evidence: str) -> None:
    keeper.given(announce(id="m-1"))
    early = Notified(partner="acme", at_us=NOW - DAY_US, channel="letter", evidence=evidence)
    assert "needs its evidence" in keeper.refused(NotifyMaintenance(maintenance="m-1", notified=early))
    begun = announce(start_us=NOW - HOUR_US, evidence=evidence)
    assert "needs evidence of what was agreed" in keeper.refused(begun)


def test_a_claim_is_not_older_than_its_month(keeper: Keeper) -> None:
    keeper.now_us = CLOSING
    assert "lies before 2026-04 began" in keeper.refused(replace(CLAIM, at_us=START - 1))
    keeper.given(replace(CLAIM, at_us=START))


def test_a_closed_month_whose_credit_is_nothing_is_not_claimed(tmp_path: Path) -> None:
    with kept(tmp_path, replace(AGREEMENTS, subscriptions=(subscription(rupiah(4)),))) as held:
        watched_april(held, [(0, 40)])
        held.given(CLOSE)
        said = held.refused(CLAIM)
    assert said == "2026-04 closed at 94.444444 %: its share of IDR 4 is nothing, nothing is owed"


def test_announcing_with_a_notice_given_by_letter(keeper: Keeper) -> None:
    told = Notified(partner="acme", at_us=NOW - DAY_US, channel="letter", evidence="registered letter 17")
    window, notice = keeper.given(announce(notified=(told,)))
    assert isinstance(window, facts.Maintenance)
    assert isinstance(notice, facts.Notice)
    assert (notice.maintenance, notice.at_us, notice.evidence) == (window.id, NOW - DAY_US, "registered letter 17")


def test_announcing_late_says_nothing_of_a_partner_that_was_told_in_time(keeper: Keeper) -> None:
    told = Notified(partner="acme", at_us=keeper.now_us - 3 * DAY_US, evidence="letter 12")
    late = announce(start_us=keeper.now_us + HOUR_US, end_us=keeper.now_us + 2 * HOUR_US, notified=(told,))
    done = keeper.give(late)
    assert isinstance(done, Done)
    assert [remark.split(":")[0] for remark in done.remarks] == ["m-1, beta"]


def test_announcing_says_who_cannot_be_told_in_time_any_more(keeper: Keeper) -> None:
    def remarks(**more: object) -> list[str]:
        done = keeper.give(announce(**more))
        assert isinstance(done, Done)
        return [remark.split(":")[0].split(", ")[-1] for remark in done.remarks]

    exactly = keeper.now_us + 1 + 48 * HOUR_US
    assert remarks(start_us=exactly, end_us=exactly + 1) == []
    late = keeper.now_us + 48 * HOUR_US
    assert remarks(start_us=late, end_us=late + 1) == ["acme", "beta"]
    late = keeper.now_us + 48 * HOUR_US
    assert remarks(start_us=late, end_us=late + 1, partners=("beta",)) == ["beta"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (announce(end_us=LATER), "not after its start"),
        (announce(services=("mail",)), "there is no service mail; known: portal"),
        (announce(partners=("ceda",)), "there is no partner ceda; known: acme, beta"),
        (announce(start_us=NOW, end_us=LATER), "has already begun"),
        (announce(extends="m-9"), "there is no window m-9; known: none"),
        (announce(notified=(Notified(partner="ceda", at_us=NOW),)), "there is no partner ceda"),
        (announce(notified=(Notified(partner="acme", at_us=NOW + DAY_US),)), "lies in the future"),
        (announce(notified=(Notified(partner="acme", at_us=NOW - 1),)), "needs its evidence"),
        (announce(partners=("beta",), notified=(Notified(partner="acme", at_us=NOW),)), "does not cover partner acme"),
        (FinishMaintenance(maintenance="m-9"), "there is no window m-9"),
        (CancelMaintenance(maintenance="m-9"), "there is no window m-9"),
    ],
)
def test_windows_that_are_refused(keeper: Keeper, command: AnnounceMaintenance, reason: str) -> None:
    assert reason in keeper.refused(command)


def test_a_window_in_the_past_needs_evidence_and_stays_without_notice(keeper: Keeper) -> None:
    (window,) = keeper.given(announce(start_us=NOW - DAY_US, end_us=NOW, evidence="minutes of the meeting"))
    assert isinstance(window, facts.Maintenance)
    rejected = keeper.statement().document["rejected"]
    assert [entry["why"] for entry in rejected] == ["no notice to acme on record, 48:00:00 before start needed"]


def test_ids_are_free_or_the_next_of_their_kind(keeper: Keeper) -> None:
    keeper.given(exclude(id="m-1"))
    (window,) = keeper.given(announce())
    assert isinstance(window, facts.Maintenance)
    assert window.id == "m-2"
    assert keeper.refused(announce(id="m-1")) == "the id m-1 is taken"
    assert keeper.refused(exclude(id="m-2")) == "the id m-2 is taken"


def test_a_partner_is_told_later(keeper: Keeper) -> None:
    keeper.given(announce())
    told = NotifyMaintenance(maintenance="m-1", notified=Notified(partner="acme", at_us=keeper.now_us, evidence="call"))
    (notice,) = keeper.given(told)
    assert isinstance(notice, facts.Notice)
    assert "there is no window m-7" in keeper.refused(replace(told, maintenance="m-7"))


def test_the_life_of_a_window(keeper: Keeper) -> None:
    keeper.given(announce())
    assert "before its start it can only be cancelled" in keeper.refused(FinishMaintenance(maintenance="m-1"))
    keeper.now_us = LATER + HOUR_US
    assert "after its start it can only be finished" in keeper.refused(CancelMaintenance(maintenance="m-1"))
    assert "lies in the future" in keeper.refused(FinishMaintenance(maintenance="m-1", at_us=LATER + DAY_US))
    (done,) = keeper.given(FinishMaintenance(maintenance="m-1", at_us=LATER + 5))
    assert done == facts.MaintenanceFinished(maintenance="m-1", at_us=LATER + 5, by="sari")
    assert "was finished at" in keeper.refused(FinishMaintenance(maintenance="m-1"))


def test_a_window_called_off(keeper: Keeper) -> None:
    keeper.given(announce())
    keeper.given(CancelMaintenance(maintenance="m-1"))
    assert "was cancelled at" in keeper.refused(CancelMaintenance(maintenance="m-1"))
    keeper.now_us = LATER + HOUR_US
    assert "was cancelled before its start" in keeper.refused(FinishMaintenance(maintenance="m-1"))


def test_an_extension_names_its_window(keeper: Keeper) -> None:
    keeper.given(announce())
    (longer,) = keeper.given(announce(extends="m-1", start_us=LATER + 2 * HOUR_US, end_us=LATER + 3 * HOUR_US))
    assert isinstance(longer, facts.Maintenance)
    assert longer.extends == "m-1"


def test_a_recurring_window_is_expanded_to_instants(keeper: Keeper) -> None:
    windows = keeper.given(announce(rule="FREQ=WEEKLY;COUNT=3", id="sunday"))
    found = [(w.id, w.start_us - LATER, w.end_us - w.start_us) for w in windows if isinstance(w, facts.Maintenance)]
    week, length = 7 * DAY_US, 2 * HOUR_US
    assert found == [("sunday.1", 0, length), ("sunday.2", week, length), ("sunday.3", 2 * week, length)]
    assert "no end" in keeper.refused(announce(rule="FREQ=WEEKLY"))


def test_a_recurring_window_needs_a_zone(tmp_path: Path) -> None:
    with kept(tmp_path, Agreements(subscriptions=(subscription(),))) as bare:
        bare.adopt()
        refusal = bare.refused(announce(rule="FREQ=WEEKLY;COUNT=3"))
        assert "needs one contract zone" in refusal
        done = bare.give(announce(start_us=bare.now_us + 9, end_us=bare.now_us + 99))
        assert isinstance(done, Done)
        assert done.remarks == ()  # without terms nobody can say how much notice is needed


# Exclusions and reversals.


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (exclude(end_us=START), "not after its start"),
        (exclude(services=("mail",)), "no service mail"),
        (exclude(partners=("ceda",)), "no partner ceda"),
        (exclude(evidence=" "), "needs its evidence"),
        (exclude(reason=ExclusionReason.MAINTENANCE), "maintenance announce"),
        (Reverse(of="x-9", note="wrong"), "there is no exclusion, adjudication or annulment x-9"),
        (Reverse(of="x-9", note=""), "needs its reason"),
    ],
)
def test_exclusions_and_reversals_that_are_refused(keeper: Keeper, command: Exclude, reason: str) -> None:
    assert reason in keeper.refused(command)


def test_an_exclusion_is_taken_back_once(keeper: Keeper) -> None:
    keeper.given(exclude())
    assert keeper.statement().document["downtime"]["excluded_seconds"] == "3600.000000"
    keeper.given(Reverse(of="x-1", note="the log was of another day"))
    assert keeper.statement().document["downtime"]["excluded_seconds"] == "0.000000"
    assert keeper.refused(Reverse(of="x-1", note="again")) == "x-1 is already reversed"


def test_a_window_is_not_reversed(keeper: Keeper) -> None:
    keeper.given(announce())
    assert "cancelled or finished instead" in keeper.refused(Reverse(of="m-1", note="no"))


# Adjudications and annulments.


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (adjudicate(start_us=START + 50 * HOUR_US, end_us=START + 51 * HOUR_US), "no time of the span is unknown"),
        (adjudicate(start_us=START - 5 * DAY_US, end_us=START + HOUR_US), "3600.000000 s of the span are DOWN"),
        (adjudicate(start_us=START, end_us=START + 40 * HOUR_US), "144000.000000 s of the span are DOWN"),
        (adjudicate(end_us=NOW + DAY_US), "in the future"),
        (adjudicate(end_us=START - 10 * DAY_US), "not after its start"),
        (adjudicate(service="mail"), "no service mail"),
        (adjudicate(evidence=""), "needs its evidence"),
        (annul(check="order"), "has no evidence of order at jkt-1; there is login at jkt-1"),
        (annul(service="mail"), "there is none"),
        (annul(note=""), "needs its reason"),
        (annul(end_us=NOW + DAY_US), "in the future"),
        (annul(end_us=START), "not after its start"),
    ],
)
def test_rulings_that_are_refused(keeper: Keeper, command: Adjudicate, reason: str) -> None:
    assert reason in keeper.refused(command)


def test_unknown_time_is_ruled_on(keeper: Keeper) -> None:
    done = keeper.give(adjudicate())
    assert isinstance(done, Done)
    assert done.remarks == (f"{5 * 24 * 3600}.000000 s of unknown time are ruled on",)


def test_an_annulment_acts_at_once_and_its_reversal_too(keeper: Keeper) -> None:
    keeper.given(annul())
    assert keeper.statement().document["downtime"]["seconds"] == f"{39 * 3600}.000000"
    keeper.given(Reverse(of="a-1", note="it was the service"))
    assert keeper.statement().document["downtime"]["seconds"] == f"{40 * 3600}.000000"


# Claims.


@pytest.mark.parametrize(
    ("now_us", "command", "reason"),
    [
        (NOW, CLAIM, "2026-04 has not ended"),
        (CLOSING, replace(CLAIM, at_us=CLOSING + DAY_US), "lies in the future"),
        (CLOSING, replace(CLAIM, partner="ceda"), "no subscription"),
        (CLOSING, replace(CLAIM, month="2026-4"), "is no month"),
        (at("2026-05-31T00:00:00") - 1, CLAIM, "deadline was 2026-05-31T00:00:00+07:00"),
        (CLOSING + 90 * DAY_US, CLAIM, "the claim is late"),
    ],
)
def test_claims_that_are_refused(keeper: Keeper, now_us: int, command: FileClaim, reason: str) -> None:
    keeper.now_us = now_us
    assert reason in keeper.refused(command)


def test_a_claim_at_the_last_instant_and_no_second_one(keeper: Keeper) -> None:
    keeper.now_us = at("2026-05-31T00:00:00") - 2
    (claim,) = keeper.given(CLAIM)
    assert isinstance(claim, facts.Claim)
    assert claim.at_us == at("2026-05-31T00:00:00") - 1
    assert "has already claimed" in keeper.refused(CLAIM)
    keeper.now_us += 90 * DAY_US
    late_told = replace(CLAIM, partner="beta", at_us=CLOSING)  # it came in time and was recorded late
    assert len(keeper.given(late_told)) == 1


def test_a_claim_for_a_closed_month_that_earns_nothing_is_refused_with_the_figure(tmp_path: Path) -> None:
    with kept(tmp_path) as held:
        watched_april(held, [(0, 20)])
        held.given(CLOSE)
        assert "97.222222 %" in held.refused(CLAIM)


def test_a_claim_for_a_closed_month_that_earns_is_accepted(keeper: Keeper) -> None:
    keeper.now_us = CLOSING
    keeper.given(CLOSE)
    keeper.given(CLAIM)
    assert keeper.statement().document["claim"]["status"] == "granted"


# Closing.


@pytest.mark.parametrize(
    ("now_us", "command", "reason"),
    [
        (NOW, CLOSE, "has not ended"),
        (END + 3 * DAY_US - 2, CLOSE, "grace period"),
        (CLOSING, replace(CLOSE, partner="ceda"), "no subscription"),
        (CLOSING, replace(CLOSE, month="april"), "is no month"),
        (CLOSING, replace(CLOSE, month="2026-02"), "needs adjudication"),
        (CLOSING, replace(CLOSE, restate_reason="late"), "it was never closed"),
    ],
)
def test_closes_that_are_refused(keeper: Keeper, now_us: int, command: CloseMonth, reason: str) -> None:
    keeper.now_us = now_us
    assert reason in keeper.refused(command)


def test_a_month_closes_once(keeper: Keeper) -> None:
    keeper.now_us = END + 3 * DAY_US - 1
    keeper.given(CLOSE)
    assert "it is closed" in keeper.refused(CLOSE)
    keeper.given(replace(CLOSE, partner="beta"))
    assert "needs its reason" in keeper.refused(replace(CLOSE, restate_reason=" "))


@pytest.mark.parametrize(
    "command",
    [
        exclude(),
        exclude(partners=("acme",)),
        exclude(start_us=END - 1, end_us=END + DAY_US),
        annul(),
        announce(start_us=START, end_us=START + HOUR_US, evidence="minutes"),
        adjudicate(start_us=START - 10 * DAY_US, end_us=START - DAY_US, id="j-7"),
    ],
)
def test_a_decision_that_touches_a_closed_month_names_it_and_is_refused(
    keeper: Keeper, command: Exclude | Annul | AnnounceMaintenance | Adjudicate
) -> None:
    keeper.now_us = CLOSING
    keeper.given(CLOSE)
    before = keeper.statement().document
    if isinstance(command, Adjudicate):  # it speaks of March, which is not closed
        keeper.given(command)
    else:
        assert "it touches closed months: 2026-04/acme/portal" in keeper.refused(command)
        keeper.given(command, over_closed=True)
    assert keeper.statement().document == before


def test_decisions_elsewhere_touch_no_closed_month(keeper: Keeper) -> None:
    keeper.now_us = CLOSING
    keeper.given(CLOSE)
    keeper.given(exclude(partners=("beta",)))
    keeper.given(exclude(start_us=START - HOUR_US, end_us=START))
    keeper.given(exclude(start_us=END, end_us=END + 1))


def test_what_was_said_of_a_window_in_a_closed_month_touches_it(keeper: Keeper) -> None:
    keeper.given(announce())
    keeper.given(exclude())
    keeper.now_us = CLOSING
    keeper.given(CLOSE)
    told = Notified(partner="acme", at_us=NOW, evidence="letter")
    for command in (
        NotifyMaintenance(maintenance="m-1", notified=told),
        FinishMaintenance(maintenance="m-1", at_us=LATER + 1),
        Reverse(of="x-1", note="withdrawn"),
    ):
        assert "touches closed months" in keeper.refused(command)

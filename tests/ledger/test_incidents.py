"""Incidents through the one door: reports and what they lack, commands, escalations with their messages, statements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest

from monitor.core.exclusion import Book
from monitor.core.fact import Outage
from monitor.core.incident import Phase
from monitor.core.incident_fact import Attachment, EscalationReason, Incident, IncidentEvent
from monitor.core.instant import HOUR_US, MINUTE_US, format_instant
from monitor.core.priority import AGREED_TARGETS, ClockName, Priority, Target
from monitor.core.run import Origin
from monitor.core.span import Span
from monitor.core.terms import Agreements
from monitor.ledger.command import CloseMonth, Command, Exclude
from monitor.ledger.evidence import rebuild
from monitor.ledger.incidents import Counter, IncidentBook
from monitor.ledger.incidents.command import (
    AcknowledgeIncident,
    AssignIncident,
    ChangePriority,
    CloseIncident,
    ConveneCall,
    EscalateIncident,
    FixIncident,
    OpenIncident,
    PauseIncident,
    ReopenIncident,
    ResumeIncident,
    SendPlan,
    SupplyIncident,
    WorkAroundIncident,
)
from monitor.ledger.incidents.report import PIECES, is_given
from monitor.ledger.incidents.view import Desk, board, lines, of_outages, review, timeline
from monitor.ledger.interchange import export, import_
from monitor.ledger.interchange.incoming import ImportRefusedError
from monitor.ledger.verify import verify
from monitor.ledger.yearly import yearly
from monitor.storage.opening import open_store
from monitor.storage.personal import PersonalFiles
from tests.core.examples import WIB, at, subscription, terms
from tests.ledger.keeping import APRIL, END, START, Keeper, kept, watched_april

RINA = ("name", "email", "phone")
WHOLE = {name: f"{what}: so and so" for name, what in PIECES.items()}
PICTURE = Attachment(name="a.png", media_type="image/png", size_bytes=9, digest="sha256:01")
REPORT = OpenIncident(
    service="portal", priority=Priority.P1, summary="orders fail", partner="acme", identity=RINA, pieces=WHOLE
)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with kept(tmp_path) as keeper:
        keeper.adopt()
        keeper.now_us = at("2026-04-06T10:00:00") - 1  # a Monday; a command comes a microsecond later
        yield keeper


def events(facts: tuple[Any, ...]) -> list[str]:
    return [fact.event.value for fact in facts]


def state_of(keeper: Keeper, id_: str = "i-1") -> Any:  # noqa: ANN401 - a State
    return IncidentBook.of(keeper.store.entries()).states[id_]


def desk_of(keeper: Keeper) -> Desk:
    months = keeper.months()
    return Desk.of(months.record, months.basis, keeper.now_us)


def outbox(keeper: Keeper) -> list[tuple[str, str]]:
    return [(row.kind, str(row.payload["to"])) for row in keeper.store.outbox(100)]


# Reports


def test_a_whole_report_opens_an_incident_and_tells_level_1_in_the_same_transaction(keeper: Keeper) -> None:
    facts = keeper.given(REPORT)
    assert events(facts) == ["opened", "escalated"]
    opened, escalated = facts
    assert isinstance(opened, Incident)
    assert isinstance(escalated, Incident)
    assert (opened.id, opened.missing, opened.by) == ("i-1", (), "sari")
    assert (escalated.level, escalated.reason, escalated.due_us) == (1, EscalationReason.OPENED, opened.at_us)
    assert outbox(keeper) == [("escalation", "technical-support")]
    assert verify(keeper.store).holds


def test_what_a_report_lacks_is_listed_on_it_and_asked_for(keeper: Keeper) -> None:
    facts = keeper.given(
        replace(
            REPORT,
            identity=("name", "email"),
            pieces={
                "actual": "error 500",
                "evidence": "none, because it has no screen",
                "errors": "none",
                "steps": " ",
            },
        )
    )
    assert events(facts) == ["opened", "escalated", "asked"]
    missing = ("reporter.phone", "expected", "steps", "errors", "environment", "occurred", "frequency", "impact")
    assert facts[2].missing == facts[0].missing == state_of(keeper).missing == missing  # type: ignore[union-attr]
    assert ("question", "acme") in outbox(keeper)

    supplied = keeper.given(SupplyIncident(incident="i-1", pieces={"steps": "log in", "reporter.phone": "+62"}))
    assert events(supplied) == ["supplied"]
    assert state_of(keeper).missing == tuple(name for name in missing if name not in {"steps", "reporter.phone"})


def test_pictures_are_evidence(keeper: Keeper) -> None:
    texts = {name: text for name, text in WHOLE.items() if name != "evidence"}
    (opened, *_rest) = keeper.given(replace(REPORT, pieces=texts, attachments=(PICTURE,)))
    assert isinstance(opened, Incident)
    assert (opened.missing, opened.attachments) == ((), (PICTURE,))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"identity": ("name",)}, "a name, and an e-mail or a phone"),
        ({"identity": ("email",)}, "a name, and an e-mail or a phone"),
        ({"pieces": {"steps": "log in"}}, "needs a description"),
        ({"pieces": {"actual": "none"}}, "needs a description"),
        ({"pieces": WHOLE | {"weather": "fine"}}, "'weather' is no piece of a report"),
        ({"summary": " "}, "a summary of one line"),
        ({"service": "shop"}, "there is no service shop"),
        ({"partner": "beta"}, "there is no partner beta"),
        ({"at_us": at("2026-04-06T10:00:01")}, "lies in the future"),
        (
            {"attachments": (Attachment(name="a", media_type="image/png", size_bytes=1, digest="x"),) * 11},
            "more than 10",
        ),
        ({"joins": "i-9"}, "there is no incident i-9 of portal"),
    ],
)
def test_what_is_no_report_is_refused_with_the_reason(keeper: Keeper, changed: dict[str, Any], said: str) -> None:
    assert said in keeper.refused(replace(REPORT, **changed))


def test_none_counts_with_its_reason_alone() -> None:
    assert not any(map(is_given, ("", " ", "none", "None.", "none,  ", "Tidak ada", "none: x")))
    assert all(map(is_given, ("none, because it has no screen", "tidak ada, karena tanpa layar", "nonesuch", "a")))


def test_the_provider_reports_without_a_partner_and_has_internal_clocks(keeper: Keeper) -> None:
    keeper.given(OpenIncident(service="portal", priority=Priority.P2, summary="slow", pieces={"actual": "slow"}))
    assert [pair for pair, _start in state_of(keeper).pairs] == [None]
    assert "asked" not in [event["event"] for event in timeline(desk_of(keeper), "i-1")["events"]]  # type: ignore[index]


def test_another_partner_joins_with_a_pair_of_its_own(keeper: Keeper) -> None:
    keeper.given(OpenIncident(service="portal", priority=Priority.P1, summary="down", pieces={"actual": "down"}))
    stated = replace(REPORT, joins="i-1", at_us=at("2026-04-06T09:30:00"))
    assert events(keeper.given(stated)) == ["reported"]
    assert state_of(keeper).pairs[1] == ("acme", at("2026-04-06T09:30:00"))
    assert "acme reported i-1" in keeper.refused(stated)
    assert "is a partner's" in keeper.refused(replace(stated, partner=None))


def test_a_report_names_what_is_open_already(keeper: Keeper) -> None:
    keeper.given(REPORT)
    done = keeper.give(REPORT)
    assert any("also open for portal: i-1" in remark for remark in getattr(done, "remarks", ()))


# The reporter


def test_the_reporter_is_kept_beside_the_chain_and_can_be_forgotten(keeper: Keeper, tmp_path: Path) -> None:
    files = PersonalFiles(tmp_path / "personal")
    reference = files.keep("reporter", {"name": "Rina", "email": "rina@example.id"})
    keeper.given(replace(REPORT, reporter=reference))
    written = BytesIO()
    export(keeper.store, written)
    assert b"rina" not in written.getvalue().lower()
    document = timeline(desk_of(keeper), "i-1", files)
    assert document is not None
    assert document["events"][0]["reported_by"]["name"] == "Rina"
    assert files.erase(reference)
    document = timeline(desk_of(keeper), "i-1", files)
    assert document is not None
    assert "reported_by" not in document["events"][0]
    assert verify(keeper.store).holds


# Commands


def test_the_whole_way_of_an_incident(keeper: Keeper) -> None:
    commands: list[Command] = [
        REPORT,
        AcknowledgeIncident(incident="i-1"),
        AssignIncident(incident="i-1", assignee="dewi"),
        PauseIncident(incident="i-1", partner="acme", clock=ClockName.RESOLUTION, note="waits for logs"),
        ResumeIncident(incident="i-1", partner="acme"),
        WorkAroundIncident(incident="i-1", note="other site"),
        FixIncident(incident="i-1", note="4.2.1"),
        CloseIncident(incident="i-1"),
        ReopenIncident(incident="i-1", note="again"),
        ChangePriority(incident="i-1", priority=Priority.P3),
        FixIncident(incident="i-1", note="4.2.2"),
    ]
    told = [events(keeper.given(command))[0] for command in commands]
    assert told == [
        "opened",
        "acknowledged",
        "assigned",
        "paused",
        "resumed",
        "workaround",
        "fixed",
        "closed",
        "reopened",
        "priority",
        "fixed",
    ]
    assert (state_of(keeper).phase, state_of(keeper).assignee) == (Phase.FIXED, "dewi")
    document = timeline(desk_of(keeper), "i-1")
    assert document is not None
    text = "\n".join(lines(document))
    assert "escalated to level 1: technical-support (opened)" in text
    assert "acme response: met" in text


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (AcknowledgeIncident(incident="i-7"), "there is no incident i-7; known: i-1"),
        (CloseIncident(incident="i-1"), "i-1 is reported: it cannot be closed"),
        (FixIncident(incident="i-1", note=" "), "needs words"),
        (FixIncident(incident="i-1", note="x", at_us=at("2026-04-06T09:00:00")), "lies before the incident"),
        (FixIncident(incident="i-1", note="x", at_us=at("2026-04-06T12:00:00")), "lies in the future"),
        (EscalateIncident(incident="i-1", reason=EscalationReason.OPENED, note="x"), "is no reason to ask for"),
        (EscalateIncident(incident="i-1", reason=EscalationReason.MASSIVE_IMPACT, note=""), "its justification"),
        (SupplyIncident(incident="i-1", pieces={"weather": "x"}), "no piece of a report"),
        (SupplyIncident(incident="i-1", pieces={"steps": "none"}), "still says nothing"),
    ],
)
def test_what_makes_no_sense_is_refused(keeper: Keeper, command: Command, said: str) -> None:
    keeper.given(REPORT)
    assert said in keeper.refused(command)


def test_a_request_escalates_once_and_then_tells_the_owners_again(keeper: Keeper) -> None:
    keeper.given(REPORT)
    ask = EscalateIncident(incident="i-1", reason=EscalationReason.STALLED_PROGRESS, partner="acme", note="no news")
    first = keeper.given(ask)
    assert events(first) == ["requested", "escalated"]
    assert (first[1].level, first[1].note, first[1].partner) == (2, "no news", "acme")  # type: ignore[union-attr]
    assert events(keeper.given(ask)) == ["requested"]
    assert outbox(keeper) == [
        ("escalation", "technical-support"),
        ("escalation", "escalation-manager"),
        ("request", "escalation-manager"),
    ]


def test_the_provider_escalates_what_only_a_partner_reported(keeper: Keeper) -> None:
    """No internal clocks run on it: level 2 is whoever they would go to, and the partner's clocks go on."""
    keeper.given(REPORT)
    ask = EscalateIncident(incident="i-1", reason=EscalationReason.STALLED_PROGRESS, note="the vendor is silent")
    requested, escalated = keeper.given(ask)
    assert isinstance(requested, Incident)
    assert isinstance(escalated, Incident)
    assert (escalated.level, escalated.partner, escalated.owners) == (2, None, ("escalation-manager",))
    assert events(keeper.given(ask)) == ["requested"]
    document = timeline(desk_of(keeper), "i-1")
    assert document is not None
    assert "escalated to level 2: escalation-manager (stalled progress)" in "\n".join(lines(document))


def test_a_plan_and_a_call_are_told_to_the_partner(keeper: Keeper) -> None:
    keeper.given(REPORT)
    keeper.given(SendPlan(incident="i-1", note="roll back at 14:00"))
    keeper.given(ConveneCall(incident="i-1", note="16:00"))
    assert outbox(keeper)[1:] == [("plan", "acme"), ("call", "acme")]


def test_a_verb_after_a_long_sleep_makes_up_for_the_acts_before_it_with_the_true_time(keeper: Keeper) -> None:
    keeper.given(REPORT)
    keeper.now_us = at("2026-04-06T19:00:00")
    facts = keeper.given(AcknowledgeIncident(incident="i-1"))
    assert events(facts) == ["escalated", "escalated", "acknowledged"]
    late = [
        (fact.level, format_instant(fact.due_us or 0, WIB)[11:16], fact.at_us == keeper.now_us)
        for fact in facts[:2]
        if isinstance(fact, Incident)
    ]
    assert late == [(2, "14:00", True), (3, "18:00", True)]
    assert events(keeper.given(FixIncident(incident="i-1", note="x"))) == ["fixed"]


def test_a_workaround_stated_for_earlier_is_believed(keeper: Keeper) -> None:
    keeper.given(REPORT)
    keeper.now_us = at("2026-04-06T15:00:00")
    command = WorkAroundIncident(incident="i-1", note="by phone", at_us=at("2026-04-06T13:00:00"))
    assert events(keeper.given(command)) == ["workaround"]


def test_an_exclusion_moves_what_is_due_and_unsends_nothing(keeper: Keeper) -> None:
    keeper.given(REPORT)
    keeper.now_us = at("2026-04-06T14:30:00")
    assert events(keeper.given(AcknowledgeIncident(incident="i-1"))) == ["escalated", "acknowledged"]
    attack = Exclude(
        reason="attack",  # type: ignore[arg-type]
        services=("portal",),
        start_us=at("2026-04-06T11:00:00"),
        end_us=at("2026-04-06T13:00:00"),
        evidence="report",
    )
    keeper.given(attack)
    (resolution,) = [r for r in desk_of(keeper).readings(state_of(keeper)) if r.clock is ClockName.RESOLUTION]
    assert format_instant(resolution.due_us, WIB)[11:16] == "20:00"
    assert state_of(keeper).level == 2


def test_closing_what_the_monitor_proposed_says_since_when_the_impact_was_gone(keeper: Keeper) -> None:
    opened = Incident(
        id="i-1",
        event=IncidentEvent.OPENED,
        at_us=keeper.now_us,
        service="portal",
        priority=Priority.P1,
        cause="outage",  # type: ignore[arg-type]
        summary="portal is down",
    )
    gone_us = keeper.now_us + 20 * MINUTE_US
    restored = replace(opened, event=IncidentEvent.RESTORED, at_us=gone_us + MINUTE_US, found_us=gone_us, service=None)
    keeper.put(facts=[opened, restored])
    keeper.now_us += 5 * HOUR_US
    facts = keeper.given(CloseIncident(incident="i-1"))
    assert [(f.event.value, f.at_us) for f in facts] == [("fixed", gone_us), ("closed", keeper.now_us)]  # type: ignore[union-attr]


# The board


def test_the_board_is_sorted_by_time_left_and_leaves_out_what_is_closed(keeper: Keeper) -> None:
    keeper.given(replace(REPORT, priority=Priority.P2))
    keeper.given(REPORT)
    keeper.given(REPORT)
    keeper.given(FixIncident(incident="i-3", note="x"))
    keeper.given(AcknowledgeIncident(incident="i-3"))
    keeper.given(AssignIncident(incident="i-3", assignee="dewi"))
    rows = board(desk_of(keeper))
    assert [row["id"] for row in rows] == ["i-2", "i-1", "i-3"]
    assert rows[0]["next"]["left_seconds"].startswith("3599.")
    assert rows[2]["next"] is None
    keeper.given(CloseIncident(incident="i-3"))
    assert [row["id"] for row in board(desk_of(keeper))] == ["i-2", "i-1"]
    assert [row["id"] for row in board(desk_of(keeper), closed=True)] == ["i-2", "i-1", "i-3"]
    keeper.now_us += 2 * HOUR_US
    assert board(desk_of(keeper))[0]["next"]["left_seconds"].startswith("-")


def test_an_outage_and_its_incident_know_each_other(keeper: Keeper) -> None:
    start_us = keeper.now_us
    keeper.put(facts=[Outage(id="o-1", service="portal", start_us=start_us, at_us=start_us)])
    keeper.given(replace(REPORT, outage="o-1"))
    document = timeline(desk_of(keeper), "i-1")
    assert document is not None
    assert [(o["id"], o["end"]) for o in document["outages"]] == [("o-1", None)]
    assert "outage o-1: 2026-04-06T09:59:59.999999+07:00 to now" in "\n".join(lines(document))
    assert of_outages(keeper.months().record) == {"o-1": "i-1"}
    assert timeline(desk_of(keeper), "i-2") is None


# Terms


def test_the_internal_clocks_go_by_the_fastest_promise_of_the_service(tmp_path: Path) -> None:
    fast = replace(
        terms(),
        contract="fast",
        priorities={**AGREED_TARGETS, Priority.P1: replace(AGREED_TARGETS[Priority.P1], resolution_us=HOUR_US)},
    )
    other = replace(subscription(), partner="beta", contract="fast")
    agreements = Agreements(terms=(terms(), fast), subscriptions=(subscription(), other))
    with kept(tmp_path, agreements) as keeper:
        counter = Counter(agreements, Book(), keeper.basis)
        assert counter.terms(None, "portal", START).contract == "fast"
        assert counter.terms("acme", "portal", START).contract == "mitra"
        assert counter.terms(None, "shop", START).contract == ""
        assert counter.terms("acme", "portal", 0).contract == ""
        assert counter.maintenance("portal") == counter.excluded(None, "shop") == ()


def test_a_target_without_resolution_is_the_last_in_urgency() -> None:
    never = Target(response_us=1, resolution_us=None, hours=AGREED_TARGETS[Priority.P1].hours)
    slow = replace(terms(), contract="slow", priorities={**AGREED_TARGETS, Priority.P1: never})
    other = replace(subscription(), partner="beta", contract="slow")
    agreements = Agreements(terms=(slow, terms()), subscriptions=(subscription(), other))
    counter = Counter(agreements, Book(), None)  # type: ignore[arg-type]
    assert counter.terms(None, "portal", START).contract == "mitra"


# The statement and the file


def test_a_statement_shows_the_partners_own_clocks_and_a_close_keeps_them(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper)
        assert keeper.statement().document["incidents"] == []
        keeper.now_us = at("2026-04-06T10:00:00")
        keeper.given(OpenIncident(service="portal", priority=Priority.P1, summary="internal", pieces={"actual": "x"}))
        keeper.given(REPORT)
        keeper.now_us = at("2026-04-06T12:00:00")
        keeper.given(WorkAroundIncident(incident="i-2", note="other site"))
        keeper.now_us = END + 4 * 24 * HOUR_US
        (shown,) = keeper.statement().document["incidents"]
        assert (shown["id"], shown["response"]["state"], shown["resolution"]["state"]) == ("i-2", "breached", "met")
        assert shown["resolution"]["due"].startswith("2026-04-06T18:00:00")

        (close,) = keeper.given(CloseMonth(partner="acme", service="portal", month=str(APRIL)))
        issued = keeper.statement(1).document
        assert issued["digest"] == close.digest  # type: ignore[union-attr]
        assert "closed months: 2026-04/acme/portal" in keeper.refused(
            AcknowledgeIncident(incident="i-2", at_us=at("2026-04-06T13:00:00"))
        )
        keeper.given(AcknowledgeIncident(incident="i-2", at_us=at("2026-04-06T13:00:00")), over_closed=True)
        assert keeper.statement(1).document == issued
        counted = review(keeper.months().record, keeper.basis, "acme", "portal", Span(START, END), keeper.now_us)
        assert counted["P1"]["reported"] == 1
        assert counted["P1"]["resolution"]["met"] == 1
        (reviewed,) = yearly(keeper.months(), 2026)["reviews"]
        assert reviewed["incidents"] == counted


def test_incidents_go_through_a_file_and_back(keeper: Keeper, tmp_path: Path) -> None:
    keeper.given(REPORT)
    keeper.given(FixIncident(incident="i-1", note="x"))
    written = BytesIO()
    export(keeper.store, written)
    other = tmp_path / "other"
    other.mkdir()
    store = open_store("sqlite:///ledger.db", base=other)
    report = import_(store, BytesIO(written.getvalue()), now_us=keeper.now_us + 1, rebuild=rebuild)
    assert report.counts
    assert IncidentBook.of(store.entries()).states == IncidentBook.of(keeper.store.entries()).states
    again = import_(store, BytesIO(written.getvalue()), now_us=keeper.now_us + 2, rebuild=rebuild)
    assert again.facts == 0
    store.close()


@pytest.mark.parametrize(
    ("lines_", "said"),
    [
        ([{"event": "fixed"}], "line 2: there is no incident i-1"),
        ([{}, {"event": "closed"}], "line 3: i-1 is reported: it cannot be closed"),
        ([{}, {"summary": "other"}], "line 3: \"id\" 'i-1' stands with other content at line 2"),
    ],
)
def test_a_file_whose_incidents_make_no_sense_is_refused(
    keeper: Keeper, lines_: list[dict[str, Any]], said: str
) -> None:
    opening = {"service": "portal", "priority": "P1", "cause": "report", "summary": "down", "event": "opened"}
    whole = [{"type": "header", "format": "jaga-ledger/1"}]
    for line in lines_:
        base = {"type": "incident", "id": "i-1", "at": "2026-04-01T00:00:00+07:00"}
        whole.append(base | (line if line.get("event") else opening | line))
    with pytest.raises(ImportRefusedError) as caught:
        import_(keeper.store, BytesIO(b"\n".join(map(orjson.dumps, whole))), now_us=keeper.now_us, rebuild=rebuild)
    assert said in str(caught.value)


def test_incidents_imported_beside_own_facts_count_for_nothing(keeper: Keeper) -> None:
    entries = list(keeper.store.entries())
    late = IncidentBook(first_own_seq=entries[0].seq)
    keeper.given(REPORT)
    (opened, *_rest) = [e for e in keeper.store.entries() if isinstance(e.fact, Incident)]
    assert late.take(replace(opened, origin=Origin.IMPORTED)) is False
    assert late.take(opened) is True
    assert late.of_outage("o-1") is None

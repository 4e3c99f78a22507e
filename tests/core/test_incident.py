"""An incident's life: which event may follow which, what it leaves behind, and which acts it calls for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.incident import ASIDE, MOVES, RESOLVED, Act, Illegal, Phase, State, Step, Stop, fold, step
from monitor.core.incident_fact import Cause, EscalationReason, Incident, IncidentEvent
from monitor.core.instant import HOUR_US
from monitor.core.priority import ClockName, Priority

E = IncidentEvent
H = HOUR_US


def fact(event: IncidentEvent, hour: float = 0, **more: Any) -> Incident:  # noqa: ANN401 - fields of Incident
    return Incident(id="i-1", event=event, at_us=round(hour * H), **more)


def opening(**more: Any) -> Incident:  # noqa: ANN401 - as above
    values: dict[str, Any] = {
        "service": "portal",
        "priority": Priority.P1,
        "cause": Cause.REPORT,
        "partner": "acme",
        "summary": "down",
    }
    return fact(E.OPENED, **(values | more))


def taken(state: State | None, one: Incident) -> State:
    found = step(state, one)
    assert isinstance(found, Step), found
    return found.state


def after(*facts: Incident) -> State:
    state: State | None = None
    for one in facts:
        state = taken(state, one)
    assert state is not None
    return state


def refused(state: State | None, one: Incident) -> str:
    found = step(state, one)
    assert isinstance(found, Illegal), found
    return found.reason


WAYS: dict[Phase, list[Incident]] = {
    Phase.REPORTED: [],
    Phase.ACKNOWLEDGED: [fact(E.ACKNOWLEDGED, 1)],
    Phase.ASSIGNED: [fact(E.ASSIGNED, 1, assignee="dewi")],
    Phase.WORKAROUND: [fact(E.WORKAROUND, 1)],
    Phase.FIXED: [fact(E.FIXED, 1)],
    Phase.CLOSED: [fact(E.FIXED, 1), fact(E.CLOSED, 2)],
    Phase.REOPENED: [fact(E.FIXED, 1), fact(E.REOPENED, 2, note="again")],
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", sorted({event for moves in MOVES.values() for event in moves}))
def test_an_event_moves_as_the_table_says_or_is_refused_with_what_may_follow(
    phase: Phase, event: IncidentEvent
) -> None:
    state = after(opening(), *WAYS[phase])
    assert state.phase is phase
    wanted = MOVES[phase].get(event)
    if wanted is None:
        assert refused(state, fact(event, 3)).startswith(f"i-1 is {phase.value}: it cannot be {event.value}; it can be")
    else:
        assert taken(state, fact(event, 3)).phase is wanted


@pytest.mark.parametrize("phase", Phase)
def test_no_other_event_moves_a_phase(phase: Phase) -> None:
    state = after(opening(), *WAYS[phase])
    told: dict[IncidentEvent, dict[str, Any]] = {
        E.REPORTED: {"partner": "beta"},
        E.PRIORITY: {"priority": Priority.P2},
        E.REQUESTED: {"level": 2, "reason": EscalationReason.STALLED_PROGRESS, "note": "nothing happens"},
        E.ESCALATED: {"level": 2, "reason": EscalationReason.SHARE_USED, "due_us": 0, "owners": ("x",)},
        E.PAUSED: {"partner": "acme"},
    }
    for event in ASIDE - {E.RESUMED}:
        found = step(state, fact(event, 3, **told.get(event, {})))
        if isinstance(found, Step):
            assert found.state.phase is phase
        else:
            assert phase is Phase.CLOSED
            assert "is closed" in found.reason


def test_nothing_is_known_of_an_incident_before_its_opening_nor_is_it_opened_twice() -> None:
    assert refused(None, fact(E.FIXED)) == "there is no incident i-1"
    assert refused(after(opening()), opening()) == "i-1 is open already"


def test_the_opening_calls_level_1_by_whoever_reported() -> None:
    found = step(None, opening())
    assert isinstance(found, Step)
    assert found.acts == (Act(1, EscalationReason.OPENED, 0, "acme"),)
    assert (found.state.partners, found.state.level) == (("acme",), 0)


def test_a_request_calls_its_level_unless_that_was_reached() -> None:
    request = fact(E.REQUESTED, 1, partner="acme", level=3, reason=EscalationReason.MASSIVE_IMPACT, note="all down")
    found = step(after(opening()), request)
    assert isinstance(found, Step)
    assert found.acts == (Act(3, EscalationReason.MASSIVE_IMPACT, H, "acme", None, "all down"),)
    made = fact(E.ESCALATED, 1, level=3, reason=EscalationReason.MASSIVE_IMPACT, due_us=H, owners=("x",))
    again = step(taken(found.state, made), replace(request, at_us=2 * H))
    assert isinstance(again, Step)
    assert again.acts == ()
    assert refused(again.state, made) == "level 3 of i-1 was reached"
    assert again.state.level == 3
    assert again.state.priority is Priority.P1


@pytest.mark.parametrize(
    ("before", "one", "said"),
    [
        ([], fact(E.ACKNOWLEDGED, -1), "lies before the incident"),
        ([fact(E.ASSIGNED, 1, assignee="a"), fact(E.ACKNOWLEDGED, 1)], fact(E.ACKNOWLEDGED, 2), "was acknowledged at"),
        ([fact(E.WORKAROUND, 2)], fact(E.FIXED, 1), "when its impact last changed"),
        ([fact(E.FIXED, 2)], fact(E.REOPENED, 1), "when its impact last changed"),
        ([fact(E.FIXED, 1), fact(E.REOPENED, 3)], fact(E.WORKAROUND, 2), "when its impact last changed"),
        ([], fact(E.PAUSED, 1, partner="beta"), "no report of beta; partners that reported it: acme"),
        ([], fact(E.PAUSED, 1), "has no internal clocks"),
        ([fact(E.PAUSED, 1, partner="acme")], fact(E.PAUSED, 2, partner="acme"), "paused already"),
        (
            [fact(E.PAUSED, 1, partner="acme", clock=ClockName.RESPONSE)],
            fact(E.PAUSED, 2, partner="acme"),
            "paused already",
        ),
        ([], fact(E.RESUMED, 1, partner="acme"), "no such clock of i-1 is paused"),
        ([fact(E.PAUSED, 2, partner="acme")], fact(E.RESUMED, 1, partner="acme"), "lies before the pause"),
        ([], fact(E.PRIORITY, 1, priority=Priority.P1), "is P1 already"),
        (
            [fact(E.PRIORITY, 2, priority=Priority.P2)],
            fact(E.PRIORITY, 1, priority=Priority.P3),
            "when it became P2",
        ),
        ([], fact(E.REPORTED, 1, partner="acme"), "acme reported i-1 at"),
        ([], fact(E.REQUESTED, 1, partner="beta", level=2), "no report of beta"),
        ([fact(E.RESTORED, 1)], fact(E.RESTORED, 2), "proposed for closing already"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(before: list[Incident], one: Incident, said: str) -> None:
    assert said in refused(after(opening(), *before), one)


def test_the_two_clocks_of_a_partner_pause_each_for_itself() -> None:
    state = after(
        opening(),
        fact(E.PAUSED, 1, partner="acme", clock=ClockName.RESPONSE),
        fact(E.PAUSED, 2, partner="acme", clock=ClockName.RESOLUTION),
        fact(E.RESUMED, 3, partner="acme", clock=ClockName.RESPONSE),
    )
    assert [(pause.clock, pause.end_us) for pause in state.pauses] == [
        (ClockName.RESPONSE, 3 * H),
        (ClockName.RESOLUTION, None),
    ]


def test_handing_over_leaves_the_first_assignment_standing() -> None:
    state = after(opening(), fact(E.ASSIGNED, 2, assignee="dewi"), fact(E.ASSIGNED, 5, assignee="budi"))
    assert (state.assigned_us, state.assignee) == (2 * H, "budi")


def test_the_first_of_a_workaround_and_a_fix_says_since_when_the_impact_is_gone() -> None:
    state = after(opening(), fact(E.WORKAROUND, 1), fact(E.FIXED, 5), fact(E.CLOSED, 6))
    assert state.stops == (Stop(H),)
    assert state.resolved
    back = taken(state, fact(E.REOPENED, 8))
    assert (back.stops, back.closed_us, back.resolved) == ((Stop(H, 8 * H),), None, False)


def test_what_a_report_lacks_is_kept_until_it_is_supplied() -> None:
    state = after(
        opening(missing=("steps", "impact")),
        fact(E.ASKED, 1, partner="acme", missing=("steps", "impact")),
        fact(E.REPORTED, 2, partner="beta", missing=("impact", "errors")),
        fact(E.SUPPLIED, 3, pieces={"impact": "no orders"}),
    )
    assert state.missing == ("steps", "errors")


def test_outages_are_linked_once_and_trouble_that_is_back_ends_the_proposal_to_close() -> None:
    well = after(opening(outage="o-1", partner=None), fact(E.RESTORED, 2, found_us=H))
    assert well.well_since_us == H
    back = after(opening(outage="o-1", partner=None), fact(E.RESTORED, 2, found_us=H), fact(E.LINKED, 4, outage="o-2"))
    assert (back.outages, back.well_since_us) == (("o-1", "o-2"), None)
    same = taken(back, fact(E.LINKED, 5, outage="o-2", found_us=4 * H))
    assert same.outages == ("o-1", "o-2")
    restored = taken(same, fact(E.RESTORED, 6))
    assert restored.well_since_us == 6 * H


def test_many_incidents_are_folded_apart_and_what_cannot_follow_is_left_out() -> None:
    other = replace(opening(), id="i-2")
    states = fold([opening(), other, replace(fact(E.FIXED, 1), id="i-2"), fact(E.CLOSED, 1)])
    assert {id_: state.phase for id_, state in states.items()} == {"i-1": Phase.REPORTED, "i-2": Phase.FIXED}


EVENTS = st.builds(
    fact,
    st.sampled_from([event for event in IncidentEvent if event is not E.ESCALATED]),
    st.integers(0, 40),
    partner=st.sampled_from([None, "acme", "beta"]),
    priority=st.sampled_from(Priority),
    level=st.just(2),
    reason=st.just(EscalationReason.STALLED_PROGRESS),
    assignee=st.just("dewi"),
    clock=st.sampled_from([None, *ClockName]),
)


@given(st.lists(EVENTS, max_size=15))
def test_whatever_comes_the_state_makes_sense(facts: list[Incident]) -> None:
    state = after(opening())
    for one in facts:
        found = step(state, one)
        state = found.state if isinstance(found, Step) else state
        assert state.resolved == (state.phase in RESOLVED) == bool(state.stops and state.stops[-1].end_us is None)
        assert (state.closed_us is None) is (state.phase is not Phase.CLOSED)
        assert all(stop.end_us is None or stop.start_us <= stop.end_us for stop in state.stops)
        assert len(dict(state.pairs)) == len(state.pairs)
        assert sum(pause.end_us is None for pause in state.pauses) <= 2 * len(state.pairs)

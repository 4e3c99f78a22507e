"""The clocks of incidents and their escalations: cases that a lawyer can read, and a thousand against a naive count."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from monitor.core.calendar import Calendar
from monitor.core.incident import Illegal, State, Step, step
from monitor.core.incident_clocks import ClockState, Counting, Countings, Reading, next_act_us, owed, readings
from monitor.core.incident_fact import Cause, EscalationReason, Incident, IncidentEvent
from monitor.core.instant import HOUR_US, SECOND_US, format_instant
from monitor.core.priority import ClockName, Priority
from monitor.core.span import Span, union
from tests.core.examples import WIB, at
from tests.core.incident_oracle import STEP_S, Exclusion, Oracle

BUSINESS = Calendar(zone=WIB)
ACME = "acme"


def fact(event: IncidentEvent, when: str | int, **more: Any) -> Incident:  # noqa: ANN401 - fields of Incident
    return Incident(id="i-1", event=event, at_us=when if isinstance(when, int) else at(f"2026-{when}:00"), **more)


def opened(when: str | int, priority: Priority = Priority.P1, partner: str | None = ACME) -> Incident:
    return fact(
        IncidentEvent.OPENED,
        when,
        service="portal",
        priority=priority,
        cause=Cause.REPORT if partner else Cause.OUTAGE,
        partner=partner,
        summary="orders fail",
    )


def after(*facts: Incident) -> State:
    state: State | None = None
    for one in facts:
        found = step(state, one)
        assert isinstance(found, Step), found
        state = found.state
    assert state is not None
    return state


def counting(*excluded: Span, business: Calendar = BUSINESS) -> Counting:
    return Counting(business=business, excluded=union(excluded))


def clocks(state: State, now: str, countings: Countings | None = None) -> dict[tuple[str | None, str], Reading]:
    known = countings or {pair: counting() for pair, _start_us in state.pairs}
    return {(r.pair, r.clock.value): r for r in readings(state, known, at(f"2026-{now}:00"))}


def wib(at_us: int) -> str:
    return format_instant(at_us, WIB)[5:16].replace("T", " ")


E = IncidentEvent

# Each case: what happened (2026, Jakarta; 6 April is a Monday), when it is looked at, and how each clock stands then:
# state, due instant.
CASES: dict[str, tuple[list[Incident], str, dict[str, tuple[str, str]]]] = {
    "P1 counts around the clock: reported on Saturday at 23:00, due 1 h and 8 h later": (
        [opened("04-04T23:00")],
        "04-04T23:30",
        {"response": ("running", "04-05 00:00"), "resolution": ("running", "04-05 07:00")},
    ),
    "acknowledged alone does not stop the response": (
        [opened("04-06T10:00"), fact(E.ACKNOWLEDGED, "04-06T10:10")],
        "04-06T11:01",
        {"response": ("breached", "04-06 11:00"), "resolution": ("running", "04-06 18:00")},
    ),
    "acknowledged and assigned exactly at the due instant is met": (
        [
            opened("04-06T10:00"),
            fact(E.ASSIGNED, "04-06T10:10", assignee="dewi"),
            fact(E.ACKNOWLEDGED, "04-06T11:00"),
        ],
        "04-07T10:00",
        {"response": ("met", "04-06 11:00"), "resolution": ("breached", "04-06 18:00")},
    ),
    "a workaround stops the resolution, and a later fix changes nothing": (
        [opened("04-06T10:00"), fact(E.WORKAROUND, "04-06T17:59"), fact(E.FIXED, "04-09T10:00")],
        "04-10T10:00",
        {"response": ("breached", "04-06 11:00"), "resolution": ("met", "04-06 18:00")},
    ),
    "P2 reported on Friday at 16:00: response 4 business hours later, on Monday at 12:00; resolution 24 of them": (
        [opened("04-10T16:00", Priority.P2)],
        "04-10T17:30",
        {"response": ("running", "04-13 12:00"), "resolution": ("running", "04-15 16:00")},
    ),
    "P3 has a response of one business day and no resolution clock": (
        [opened("04-06T10:00", Priority.P3)],
        "04-06T12:00",
        {"response": ("running", "04-07 10:00")},
    ),
    "waiting for the partner from 11:00 to 15:00 moves the due instant by 4 h": (
        [
            opened("04-06T10:00"),
            fact(E.PAUSED, "04-06T11:00", partner=ACME, clock=ClockName.RESOLUTION, note="steps asked for"),
            fact(E.RESUMED, "04-06T15:00", partner=ACME),
        ],
        "04-06T16:00",
        {"response": ("breached", "04-06 11:00"), "resolution": ("running", "04-06 22:00")},
    ),
    "a pause of both clocks that still holds: due as if it ended now": (
        [opened("04-06T10:00"), fact(E.PAUSED, "04-06T10:30", partner=ACME, note="logs asked for")],
        "04-06T12:30",
        {"response": ("paused", "04-06 13:00"), "resolution": ("paused", "04-06 20:00")},
    ),
    "P2 raised to P1 after 2 business hours: the 2 h are kept, 6 of the 8 h remain": (
        [opened("04-10T15:00", Priority.P2), fact(E.PRIORITY, "04-11T10:00", priority=Priority.P1)],
        "04-11T10:00",
        {"response": ("running", "04-11 10:00"), "resolution": ("running", "04-11 16:00")},
    ),
    "P1 lowered to P2 after 3 h: 21 business hours remain": (
        [opened("04-06T06:00"), fact(E.PRIORITY, "04-06T09:00", priority=Priority.P2)],
        "04-06T09:00",
        {"response": ("running", "04-06 10:00"), "resolution": ("running", "04-08 14:00")},
    ),
    "the time of a P3 is no time of a resolution: raised to P1, all 8 h are left": (
        [opened("04-06T09:00", Priority.P3), fact(E.PRIORITY, "04-07T09:00", priority=Priority.P1)],
        "04-07T09:00",
        {"response": ("running", "04-07 09:00"), "resolution": ("running", "04-07 17:00")},
    ),
    "reopened after a fix at 2 h: the clock goes on where it stopped": (
        [
            opened("04-06T10:00"),
            fact(E.FIXED, "04-06T12:00"),
            fact(E.CLOSED, "04-06T13:00"),
            fact(E.REOPENED, "04-08T10:00", note="again"),
        ],
        "04-08T10:00",
        {"response": ("breached", "04-06 11:00"), "resolution": ("running", "04-08 16:00")},
    ),
    "never acknowledged: the close ends the response clock": (
        [opened("04-06T10:00"), fact(E.FIXED, "04-06T10:20"), fact(E.CLOSED, "04-06T10:30")],
        "04-08T10:00",
        {"response": ("met", "04-06 11:00"), "resolution": ("met", "04-06 18:00")},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    facts, now, expected = CASES[name]
    found = clocks(after(*facts), now)
    assert {clock: (r.state.value, wib(r.due_us)) for (_pair, clock), r in found.items()} == expected


def test_each_partner_has_its_own_pair_from_its_report_on() -> None:
    state = after(
        opened("04-06T10:00", partner=None),
        fact(E.REPORTED, "04-06T10:30", partner=ACME),
        fact(E.REPORTED, "04-06T09:00", partner="beta"),  # written down later than it came in
    )
    found = clocks(state, "04-06T12:00")
    assert {pair: wib(r.due_us) for (pair, clock), r in found.items() if clock == "resolution"} == {
        None: "04-06 18:00",
        ACME: "04-06 18:30",
        "beta": "04-06 17:00",
    }


def test_an_exclusion_pauses_the_resolution_of_those_it_covers_and_no_response() -> None:
    state = after(opened("04-06T10:00"), fact(E.REPORTED, "04-06T10:00", partner="beta"))
    covered = counting(Span(at("2026-04-06T12:00:00"), at("2026-04-06T14:00:00")))
    found = clocks(state, "04-06T13:00", {ACME: covered, "beta": counting()})
    assert (found[ACME, "resolution"].state, wib(found[ACME, "resolution"].due_us)) == (
        ClockState.PAUSED,
        "04-06 20:00",
    )
    assert (found["beta", "resolution"].state, wib(found["beta", "resolution"].due_us)) == (
        ClockState.RUNNING,
        "04-06 18:00",
    )
    assert wib(found[ACME, "response"].due_us) == "04-06 11:00"


def test_the_internal_clocks_stand_while_the_service_is_well_and_go_on_when_it_is_not() -> None:
    facts = [opened("04-06T10:00", partner=None), fact(E.RESTORED, "04-06T10:31", found_us=at("2026-04-06T10:30:00"))]
    stands = clocks(after(*facts), "04-06T12:00")
    assert (stands[None, "resolution"].state, stands[None, "resolution"].used_us) == (ClockState.PAUSED, HOUR_US // 2)
    again = fact(E.LINKED, "04-06T12:01", outage="o-2", found_us=at("2026-04-06T12:00:00"))
    goes_on = clocks(after(*facts, again), "04-06T13:00")
    assert (goes_on[None, "resolution"].state, wib(goes_on[None, "resolution"].due_us)) == (
        ClockState.RUNNING,
        "04-06 19:30",
    )


def test_a_report_after_the_answer_is_answered() -> None:
    state = after(
        opened("04-06T10:00", partner=None),
        fact(E.ACKNOWLEDGED, "04-06T10:05"),
        fact(E.ASSIGNED, "04-06T10:05", assignee="dewi"),
        fact(E.REPORTED, "04-06T15:00", partner=ACME),
    )
    response = clocks(state, "04-06T18:00")[ACME, "response"]
    assert (response.state, response.used_us, response.open) == (ClockState.MET, 0, False)


def test_a_due_instant_that_rests_on_an_estimated_date_is_provisional() -> None:
    estimated = replace(BUSINESS, unconfirmed=frozenset({date(2026, 4, 13)}))
    state = after(opened("04-10T16:00", Priority.P2))
    for known, expected in ((BUSINESS, False), (estimated, True)):
        found = clocks(state, "04-10T17:30", {ACME: counting(business=known)})
        assert found[ACME, "resolution"].provisional is expected


# Escalations


def acts(state: State, now: str, *excluded: Span) -> list[tuple[int, str, str]]:
    countings = {pair: counting(*excluded) for pair, _start_us in state.pairs}
    return [(a.level, a.reason.value, wib(a.due_us)) for a in owed(state, countings, at(f"2026-{now}:00"))]


def escalated(level: int, when: str) -> Incident:
    reason = EscalationReason.NO_WORKAROUND
    return fact(E.ESCALATED, when, level=level, reason=reason, due_us=at(f"2026-{when}:00"), owners=("x",))


def test_a_p1_without_workaround_is_of_level_2_after_4_hours_and_of_level_3_after_8() -> None:
    state = after(opened("04-06T10:00"))
    assert acts(state, "04-06T13:59") == []
    assert acts(state, "04-06T14:00") == [(2, "no_workaround", "04-06 14:00")]
    assert acts(state, "04-06T20:00") == [(2, "no_workaround", "04-06 14:00"), (3, "unresolved", "04-06 18:00")]
    assert acts(after(opened("04-06T10:00"), escalated(2, "04-06T14:00")), "04-06T20:00") == [
        (3, "unresolved", "04-06 18:00")
    ]


def test_a_p2_is_of_level_2_when_three_quarters_of_its_business_hours_are_used() -> None:
    state = after(opened("04-06T09:00", Priority.P2))
    assert acts(state, "04-08T10:59") == []
    assert acts(state, "04-08T11:00") == [(2, "share_used", "04-08 11:00")]
    assert acts(after(opened("04-06T09:00", Priority.P3)), "05-06T09:00") == []


def test_a_workaround_in_time_prevents_it_and_one_after_it_does_not_undo_it() -> None:
    opening = opened("04-06T10:00")
    assert acts(after(opening, fact(E.WORKAROUND, "04-06T14:00")), "04-07T10:00") == []
    late = after(opening, fact(E.WORKAROUND, "04-06T14:01"))
    assert acts(late, "04-07T10:00") == [(2, "no_workaround", "04-06 14:00")]


def test_removed_in_the_very_instant_and_back_again_it_is_due_when_it_is_back() -> None:
    state = after(
        opened("04-06T10:00"), fact(E.WORKAROUND, "04-06T14:00"), fact(E.REOPENED, "04-07T09:00", note="again")
    )
    assert acts(state, "04-07T09:00") == [(2, "no_workaround", "04-07 09:00")]


def test_an_exclusion_moves_an_act_that_was_not_made() -> None:
    state = after(opened("04-06T10:00"))
    hole = Span(at("2026-04-06T11:00:00"), at("2026-04-06T12:00:00"))
    assert acts(state, "04-06T14:30", hole) == []
    assert acts(state, "04-06T15:00", hole) == [(2, "no_workaround", "04-06 15:00")]


def test_another_priority_in_the_very_instant_is_what_counts() -> None:
    state = after(opened("04-06T10:00"), fact(E.PRIORITY, "04-06T14:00", priority=Priority.P3))
    assert acts(state, "04-08T10:00") == []
    later = after(opened("04-06T10:00"), fact(E.PRIORITY, "04-06T14:01", priority=Priority.P3))
    assert acts(later, "04-08T10:00") == [(2, "no_workaround", "04-06 14:00")]


def test_raised_while_it_waits_it_is_due_when_it_waits_no_more() -> None:
    facts = [
        opened("04-06T09:00", Priority.P2),
        fact(E.PAUSED, "04-06T16:00", partner=ACME, note="waits for logs"),
        fact(E.PRIORITY, "04-06T18:00", priority=Priority.P1),
    ]
    assert acts(after(*facts), "04-07T08:00") == []
    resumed = after(*facts, fact(E.RESUMED, "04-07T09:00", partner=ACME))
    assert acts(resumed, "04-07T09:00") == [(2, "no_workaround", "04-07 09:00")]


def test_the_next_act_is_told_until_none_is_left() -> None:
    state = after(opened("04-06T10:00"))
    known: Countings = {ACME: counting()}
    assert wib(next_act_us(state, known, at("2026-04-06T10:00:00")) or 0) == "04-06 14:00"
    assert wib(next_act_us(state, known, at("2026-04-06T14:00:00")) or 0) == "04-06 18:00"
    assert next_act_us(state, known, at("2026-04-06T18:00:00")) is None


# A thousand random incidents


def ticks(chance: random.Random, most: int) -> int:
    return chance.randint(0, most) * STEP_S * SECOND_US


class World:
    """A random incident, told to the machine and to the oracle alike."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        first = at("2026-03-02T00:00:00") + chance.randint(0, 100) * 24 * HOUR_US
        self.start_us = first + ticks(chance, 7 * 96)
        around = [date(2026, 3, 2) + timedelta(days=n) for n in range(200)]
        self.free = frozenset(chance.sample(around, 30))
        self.business = replace(BUSINESS, holidays=dict.fromkeys(self.free, "free"))
        self.exclusions = [self.exclusion() for _ in range(chance.choice((0, 0, 1, 2)))]
        self.oracle = Oracle(self.free, self.exclusions)
        self.now_us = self.start_us
        self.due: dict[int, int] = {}
        self.state: State | None = None

    def exclusion(self) -> Exclusion:
        start_s = (self.start_us + ticks(self.chance, 96)) // SECOND_US
        known_s = start_s + self.chance.randint(-40, 60) * STEP_S
        taken_back = known_s + self.chance.randint(1, 100) * STEP_S if self.chance.random() < 0.3 else None
        partner = self.chance.choice((None, None, ACME))
        return Exclusion(partner, start_s, start_s + self.chance.randint(1, 60) * STEP_S, known_s, taken_back)

    def countings(self, state: State) -> Countings:
        now_s = self.now_us // SECOND_US
        known = [x for x in self.exclusions if x.known(now_s)]
        return {
            pair: counting(
                *(
                    Span(x.start_s * SECOND_US, x.end_s * SECOND_US)
                    for x in known
                    if x.partner is None or x.partner == pair
                ),
                business=self.business,
            )
            for pair, _start_us in state.pairs
        }

    def settle(self) -> None:
        """As the daemon does whenever time passes: make what is due, each level once."""
        assert self.state is not None
        for act in owed(self.state, self.countings(self.state), self.now_us):
            self.due[act.level] = act.due_us
            made = step(
                self.state,
                fact(
                    E.ESCALATED,
                    self.now_us,
                    level=act.level,
                    reason=act.reason,
                    due_us=act.due_us,
                    owners=("x",),
                    partner=act.pair,
                ),
            )
            assert isinstance(made, Step)
            self.state = made.state

    def pass_to(self, at_us: int) -> None:
        """Time passes; the daemon wakes whenever what is known changes, and just before."""
        news = sorted(e * SECOND_US for x in self.exclusions for e in (x.known_s, x.reversed_s) if e is not None)
        for when in [*(n for n in news if self.now_us < n <= at_us), at_us]:
            for edge_us in (when - STEP_S * SECOND_US, when):
                if edge_us >= self.now_us and self.state is not None:
                    self.now_us = edge_us
                    self.settle()
        self.now_us = at_us

    def tell(self, one: Incident) -> None:
        if self.state is not None:
            self.pass_to(one.at_us - STEP_S * SECOND_US)
        self.now_us = one.at_us
        found = step(self.state, one)
        if isinstance(found, Illegal):
            return
        self.state = found.state
        self.oracle.take(one)

    def events(self) -> Iterable[Incident]:
        chance = self.chance
        partner = chance.choice((None, ACME))
        yield opened(self.start_us, chance.choice(tuple(Priority)), partner)
        at_us = self.start_us
        for _ in range(chance.randint(2, 9)):
            at_us += ticks(chance, chance.choice((8, 40, 160))) + STEP_S * SECOND_US
            pair = chance.choice((None, ACME, "beta"))
            yield chance.choice(
                (
                    fact(E.ACKNOWLEDGED, at_us),
                    fact(E.ASSIGNED, at_us, assignee="dewi"),
                    fact(E.WORKAROUND, at_us),
                    fact(E.FIXED, at_us),
                    fact(E.CLOSED, at_us),
                    fact(E.REOPENED, at_us, note="again"),
                    fact(E.REOPENED, at_us, note="again"),
                    fact(E.PAUSED, at_us, partner=pair, clock=chance.choice((None, *ClockName)), note="waits"),
                    fact(E.RESUMED, at_us, partner=pair),
                    fact(E.RESUMED, at_us, partner=pair),
                    fact(E.PRIORITY, at_us, priority=chance.choice(tuple(Priority))),
                    fact(E.PRIORITY, at_us, priority=chance.choice(tuple(Priority))),
                    fact(E.REPORTED, at_us, partner=chance.choice((ACME, "beta"))),
                    fact(E.RESTORED, at_us),
                    fact(E.LINKED, at_us),
                )
            )

    def live(self) -> None:
        for one in self.events():
            self.tell(one)
        end_us = self.now_us + ticks(self.chance, 400)
        self.pass_to(end_us)
        self.oracle.go(end_us // SECOND_US)

    def differences(self) -> list[str]:
        """Everything in which the machine and the oracle differ; empty when they agree."""
        assert self.state is not None
        found = []
        if {level: us // SECOND_US for level, us in self.due.items()} != self.oracle.escalated:
            found.append(f"escalated {self.due}, expected {self.oracle.escalated}")
        for r in readings(self.state, self.countings(self.state), self.now_us):
            key = (r.pair, r.clock.value)
            ours = (r.used_us // SECOND_US, None if r.done_us is None else r.done_us // SECOND_US)
            theirs = (self.oracle.used_s(*key), self.oracle.done_s(*key))
            # The close ends a response that was never given; the oracle counts on, as nobody answered.
            if ours != theirs and self.state.closed_us is None:
                found.append(f"{key}: used and done {ours}, expected {theirs}")
            if r.open and self.oracle.due_s(*key) != r.due_us // SECOND_US:
                found.append(f"{key}: due {r.due_us // SECOND_US}, expected {self.oracle.due_s(*key)}")
        return found


def agree(seeds: Iterable[int]) -> int:
    """How many escalations the worlds had; all must agree with the oracle."""
    escalations = 0
    for seed in seeds:
        world = World(seed)
        world.live()
        assert not world.differences(), (seed, world.differences(), world.oracle.facts)
        escalations += len(world.due)
    return escalations


def test_due_and_escalation_instants_agree_with_counting_step_by_step() -> None:
    assert agree(range(60)) > 20


@pytest.mark.slow
def test_a_thousand_incidents_agree_with_counting_step_by_step() -> None:
    assert agree(range(1000, 2000)) > 500

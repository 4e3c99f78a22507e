"""The incidents of a ledger: their states, what each pair of clocks is counted by, and acts made into facts.

An act is a fact with its messages in one transaction, so that a crash loses neither and repeats neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.core.entry import Entry
from monitor.core.exclusion import Book, Excluded, excluded_for
from monitor.core.fact import ExclusionReason
from monitor.core.incident import Act, Illegal, Pair, State, Step, step
from monitor.core.incident_clocks import Counting, Countings, Reading, owed, readings
from monitor.core.incident_fact import Incident, IncidentEvent
from monitor.core.instant import format_instant
from monitor.core.priority import Level
from monitor.core.run import Origin
from monitor.core.span import Span, intersect, union
from monitor.core.terms import Agreements, Terms, terms_in_force
from monitor.ledger.record import Basis
from monitor.storage import OutboxRow

AUTHOR = "jaga"
ESCALATION = "escalation"


@dataclass(slots=True)
class IncidentBook:
    """The fold of all incident facts, in the order of the record, and the facts of each incident."""

    states: dict[str, State] = field(default_factory=dict)
    events: dict[str, list[Entry]] = field(default_factory=dict)
    first_own_seq: int | None = None

    @staticmethod
    def of(entries: Iterable[Entry]) -> IncidentBook:
        """The book of entries in their order."""
        book = IncidentBook()
        for entry in entries:
            book.take(entry)
        return book

    def take(self, entry: Entry) -> bool:
        """Fold one more entry; whether it changed an incident. Imports count only before the ledger's own facts."""
        if entry.origin is not Origin.IMPORTED:
            self.first_own_seq = self.first_own_seq or entry.seq
        elif self.first_own_seq is not None and entry.seq > self.first_own_seq:
            return False
        fact = entry.fact
        if not isinstance(fact, Incident):
            return False
        found = step(self.states.get(fact.id), fact)
        if isinstance(found, Illegal):
            return False
        self.states[fact.id] = found.state
        self.events.setdefault(fact.id, []).append(entry)
        return True

    def of_outage(self, outage: str) -> State | None:
        """The incident that an outage belongs to, the newest of several."""
        found = [state for state in self.states.values() if outage in state.outages]
        return found[-1] if found else None


def free_id(states: Mapping[str, State]) -> str:
    """The next id of an incident."""
    number = len(states) + 1
    while f"i-{number}" in states:
        number += 1
    return f"i-{number}"


@dataclass(slots=True)
class Counter:
    """What incidents are counted by, from agreements and decisions as they stand."""

    agreements: Agreements
    book: Book
    basis: Basis
    _excluded: dict[tuple[str | None, str], tuple[Span, ...]] = field(default_factory=dict)

    def countings(self, state: State) -> Countings:
        """For each pair of an incident, what it is counted by."""
        return {pair: self._counting(pair, state.service, start_us) for pair, start_us in state.pairs}

    def levels(self, state: State, pair: Pair) -> Mapping[int, Level]:
        """Who is escalated to: by the terms of the pair. The provider may ask where no internal clocks run, on what
        a partner alone reported: then it is whoever the internal ones would go to.
        """
        start_us = dict(state.pairs).get(pair, state.opened_us)
        return self.terms(pair, state.service, start_us).levels

    def readings(self, state: State, now_us: int) -> tuple[Reading, ...]:
        """Its clocks at an instant."""
        return readings(state, self.countings(state), now_us)

    def terms(self, pair: Pair, service: str, at_us: int) -> Terms:
        """The terms a pair goes by: its contract's at its start. The internal clocks go by those of the service's
        partners that promise the fastest resolution of what is critical; the agreement's own where there is no partner.
        """
        partners = [pair] if pair is not None else self.partners(service)
        found = [terms for partner in partners if (terms := self._terms_of(partner, service, at_us)) is not None]
        if not found:
            return Terms(contract="", effective_from_us=0)
        return min(found, key=_urgency)

    def partners(self, service: str) -> list[str]:
        """The partners that ever had a service."""
        return [partner for partner, of in self.agreements.pairs() if of == service]

    def excluded(self, pair: Pair, service: str) -> tuple[Span, ...]:
        """The time excluded for a partner, or (None) for every partner of the service (CONTRACT 5.3)."""
        if (pair, service) not in self._excluded:
            if pair is not None:
                spans = union(entry.span for entry in self._excluded_for(pair, service))
            else:
                spans = self._shared(service, tuple(ExclusionReason))
            self._excluded[pair, service] = spans
        return self._excluded[pair, service]

    def maintenance(self, service: str) -> tuple[Span, ...]:
        """The windows that qualify for every partner of the service."""
        return self._shared(service, (ExclusionReason.MAINTENANCE,))

    def _shared(self, service: str, reasons: Sequence[ExclusionReason]) -> tuple[Span, ...]:
        by_partner = [
            [entry.span for entry in self._excluded_for(partner, service) if entry.reason in reasons]
            for partner in self.partners(service)
        ]
        shared = union(by_partner[0]) if by_partner else ()
        for spans in by_partner[1:]:
            shared = intersect(shared, spans)
        return shared

    def _excluded_for(self, partner: str, service: str) -> tuple[Excluded, ...]:
        notice_us = self._newest(partner, service).maintenance_notice_us
        return excluded_for(self.book, partner, service, notice_us)[0]

    def _newest(self, partner: str, service: str) -> Terms:
        contracts = {s.contract for s in self.agreements.subscribed(partner, service)}
        known = [terms for terms in self.agreements.terms if terms.contract in contracts]
        return known[-1] if known else Terms(contract="", effective_from_us=0)

    def _terms_of(self, partner: str, service: str, at_us: int) -> Terms | None:
        subscription = self.agreements.subscription(partner, service, at_us)
        if subscription is None:
            return None
        return terms_in_force(self.agreements.terms, subscription.contract, at_us)

    def _counting(self, pair: Pair, service: str, start_us: int) -> Counting:
        terms = self.terms(pair, service, start_us)
        return Counting(
            business=self.basis.business(terms, self.basis.zone(terms.zone)),
            targets=terms.priorities,
            levels=terms.levels,
            excluded=self.excluded(pair, service),
        )


def _urgency(terms: Terms) -> tuple[list[int], str]:
    fastest = [target.resolution_us or 2**60 for _priority, target in sorted(terms.priorities.items())]
    return fastest, terms.contract


@dataclass(frozen=True, slots=True)
class Carried:
    """Facts that follow from acts, the messages that go with them, and the incident after them."""

    state: State
    facts: tuple[Incident, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()

    def then(self, other: Carried) -> Carried:
        """Both, in their order."""
        return Carried(other.state, (*self.facts, *other.facts), (*self.outbox, *other.outbox))


def settle(state: State, counter: Counter, now_us: int, *, before_us: int | None = None) -> Carried:
    """Everything that time has made due by `now_us` (with `before_us`: strictly before it) as facts of now."""
    countings = counter.countings(state)
    acts = [act for act in owed(state, countings, now_us) if before_us is None or act.due_us < before_us]
    return carry_out(state, acts, counter, now_us)


def follow(state: State | None, fact: Incident, counter: Counter, now_us: int) -> Carried | Illegal:
    """A fact with all that it calls for, and what time has made due after it."""
    found = step(state, fact)
    if isinstance(found, Illegal):
        return found
    assert isinstance(found, Step), "a step or why not"
    done = Carried(found.state, (fact,)).then(carry_out(found.state, found.acts, counter, now_us))
    return done.then(settle(done.state, counter, now_us))


def carry_out(state: State, acts: Iterable[Act], counter: Counter, now_us: int) -> Carried:
    """Acts as facts at `now_us`, which is when they are made, whenever they were due; each with its messages."""
    carried = Carried(state)
    for act in acts:
        level = counter.levels(state, act.pair)[act.level]
        fact = Incident(
            id=state.id,
            event=IncidentEvent.ESCALATED,
            at_us=max(now_us, state.opened_us),  # the clock may have been put back since
            partner=act.pair,
            clock=act.clock,
            level=act.level,
            reason=act.reason,
            due_us=act.due_us,
            owners=level.owners,
            by=AUTHOR,
            note=act.note,
        )
        found = step(carried.state, fact)
        assert isinstance(found, Step), "an act is owed once"
        rows = (
            message(
                found.state,
                kind=ESCALATION,
                name=f"level-{act.level}",
                to=owner,
                channel=channel,
                at_us=now_us,
                more={
                    "level": act.level,
                    "reason": act.reason.value,
                    "clock_of": act.pair,
                    "due": format_instant(act.due_us),
                    "justification": act.note,
                },
            )
            for owner in level.owners
            for channel in level.channels
        )
        carried = carried.then(Carried(found.state, (fact,), tuple(rows)))
    return carried


def message(
    state: State, *, kind: str, name: str, to: str, channel: str, at_us: int, more: Mapping[str, Any]
) -> OutboxRow:
    """A message about an incident, in the outbox once: its key says which."""
    return OutboxRow(
        key=f"incident/{state.id}/{name}/{to}/{channel}",
        channel=channel,
        kind=kind,
        payload={
            "to": to,
            "incident": state.id,
            "service": state.service,
            "priority": state.priority.value,
            "summary": state.summary,
            "at": format_instant(at_us),
            **more,
        },
        at_us=at_us,
    )

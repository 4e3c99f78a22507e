"""Deciding on incidents: a command in; facts, messages and what is kept beside the chain out, or why not.

Before a command is followed, what time had made due before it is made up for; after it, what it makes due. So a verb
without a daemon loses no escalation, and the order of the record is the order of what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from monitor.core.incident import Illegal, State
from monitor.core.incident_fact import REQUESTED_LEVELS, Cause, Incident, IncidentEvent
from monitor.core.instant import format_instant
from monitor.ledger.incidents import Carried, Counter, IncidentBook, follow, free_id, message, settle
from monitor.ledger.incidents.command import (
    CloseIncident,
    EscalateIncident,
    EventCommand,
    IncidentCommand,
    OpenIncident,
)
from monitor.ledger.incidents.report import (
    PIECES,
    REPORTER_FIELDS,
    is_given,
    lacking,
    refusal,
)
from monitor.ledger.month import Months
from monitor.storage import OutboxRow

MAX_ATTACHMENTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command on an incident records."""

    facts: tuple[Incident, ...]
    outbox: tuple[OutboxRow, ...] = ()
    remarks: tuple[str, ...] = ()


def decide_incident(months: Months, command: IncidentCommand, *, by: str) -> Outcome | Illegal:
    """The outcome of a command at `months.now_us`, or why it is not followed. `by` is who decides."""
    record = months.record
    desk = _Desk(
        incidents=IncidentBook.of(record.entries),
        counter=Counter(record.agreements, record.book, months.basis),
        now_us=months.now_us,
        by=by,
    )
    if isinstance(command, OpenIncident):
        return desk.open(command) if command.joins is None else desk.join(command, command.joins)
    state = desk.incidents.states.get(command.incident)
    if state is None:
        known = ", ".join(desk.incidents.states) or "none"
        return Illegal(f"there is no incident {command.incident}; known: {known}")
    return desk.event(state, command)


@dataclass(slots=True, kw_only=True)
class _Desk:
    """Follows one command."""

    incidents: IncidentBook
    counter: Counter
    now_us: int
    by: str

    def open(self, command: OpenIncident) -> Outcome | Illegal:
        why = self._no_report(command)
        if why is not None:
            return Illegal(why)
        id_ = free_id(self.incidents.states)
        fact = self._report(command, id_)
        opening = replace(
            fact,
            event=IncidentEvent.OPENED,
            service=command.service,
            priority=command.priority,
            cause=Cause.REPORT,
            outage=command.outage,
            summary=command.summary.strip(),
        )
        return self._reported(None, opening, self._same_trouble(command))

    def join(self, command: OpenIncident, joined: str) -> Outcome | Illegal:
        state = self.incidents.states.get(joined)
        if state is None or state.service != command.service:
            return Illegal(f"there is no incident {joined} of {command.service}")
        if command.partner is None:
            return Illegal(f"a report that joins {joined} is a partner's: say which")
        why = self._no_report(command)
        if why is not None:
            return Illegal(why)
        fact = self._report(command, joined)
        return self._reported(state, replace(fact, summary=command.summary.strip()), ())

    def event(self, state: State, command: EventCommand) -> Outcome | Illegal:
        at_us = self._at(getattr(command, "at_us", None))
        if isinstance(at_us, Illegal):
            return at_us
        why = _unreasoned(command)
        if why is not None:
            return Illegal(why)
        before = settle(state, self.counter, self.now_us, before_us=at_us)
        carried = before
        for fact in self._facts(before.state, command, at_us):
            done = follow(carried.state, fact, self.counter, self.now_us)
            if isinstance(done, Illegal):
                return done
            carried = carried.then(done)
            if len(done.facts) == 1 or fact.event is not IncidentEvent.REQUESTED:  # else the escalation tells it
                carried = carried.then(Carried(done.state, (), tuple(self._notices(done.state, fact))))
        return Outcome(facts=carried.facts, outbox=carried.outbox, remarks=tuple(_remarks(carried)))

    # Reports.

    def _no_report(self, command: OpenIncident) -> str | None:
        at_us = self._at(command.at_us)
        if isinstance(at_us, Illegal):
            return at_us.reason
        unknown = sorted(set(command.pieces) - set(PIECES))
        if unknown:
            return f"{unknown[0]!r} is no piece of a report; there are {', '.join(PIECES)}"
        if not command.summary.strip():
            return "an incident needs a summary of one line"
        if len(command.attachments) > MAX_ATTACHMENTS:
            return f"{len(command.attachments)} attachments are more than {MAX_ATTACHMENTS}"
        return refusal(command.identity, command.pieces, of_partner=command.partner is not None)

    def _report(self, command: OpenIncident, id_: str) -> Incident:
        """The fact of a report."""
        of_partner = command.partner is not None
        return Incident(
            id=id_,
            event=IncidentEvent.REPORTED,
            at_us=self.now_us if command.at_us is None else command.at_us,
            partner=command.partner,
            channel=command.channel,
            reporter=command.reporter,
            pieces={name: text for name, text in command.pieces.items() if text.strip()},
            missing=lacking(command.identity, command.pieces, command.attachments, of_partner=of_partner),
            attachments=command.attachments,
            by=self.by,
        )

    def _reported(self, state: State | None, fact: Incident, remarks: Sequence[str]) -> Outcome | Illegal:
        """A report with the question for what it lacks, which is asked at once."""
        carried = follow(state, fact, self.counter, self.now_us)
        if isinstance(carried, Illegal):
            return carried
        if fact.missing and fact.partner is not None:
            asked = Incident(
                id=fact.id,
                event=IncidentEvent.ASKED,
                at_us=max(self.now_us, fact.at_us),
                partner=fact.partner,
                missing=fact.missing,
                by=self.by,
            )
            done = follow(carried.state, asked, self.counter, self.now_us)
            assert isinstance(done, Carried), "an open incident can be asked about"
            carried = carried.then(done).then(Carried(done.state, (), tuple(self._notices(done.state, asked))))
        lacks = (f"missing, and asked for: {', '.join(fact.missing)}",) if fact.missing else ()
        return Outcome(
            facts=carried.facts,
            outbox=carried.outbox,
            remarks=(*_remarks(carried), *lacks, *remarks),
        )

    def _same_trouble(self, command: OpenIncident) -> tuple[str, ...]:
        """Incidents of the service that are open already: perhaps the report joins one of them."""
        open_ = [
            state.id
            for state in self.incidents.states.values()
            if state.service == command.service and not state.resolved
        ]
        if not open_ or command.partner is None:
            return ()
        return (f"also open for {command.service}: {', '.join(open_)}; --joins adds a report to one of them",)

    # Events.

    def _at(self, stated_us: int | None) -> int | Illegal:
        if stated_us is None:
            return self.now_us
        if stated_us > self.now_us:
            return Illegal(f"{format_instant(stated_us)} lies in the future")
        return stated_us

    def _facts(self, state: State, command: EventCommand, at_us: int) -> Sequence[Incident]:
        """The facts of a command. Closing what the monitor proposed says first since when the impact was gone."""
        fact = Incident(
            id=state.id,
            event=command.EVENT,
            at_us=at_us,
            by=self.by,
            **{name: getattr(command, name) for name in _COPIED if hasattr(command, name)},
        )
        if isinstance(command, EscalateIncident):
            fact = replace(fact, level=REQUESTED_LEVELS.get(command.reason))
        if isinstance(command, CloseIncident) and not state.resolved and state.well_since_us is not None:
            gone_us = max(state.well_since_us, state.stops[-1].end_us or 0 if state.stops else 0)
            fixed = replace(
                fact, event=IncidentEvent.FIXED, at_us=gone_us, note=command.note or "the service recovered"
            )
            return fixed, fact
        return (fact,)

    def _notices(self, state: State, fact: Incident) -> Sequence[OutboxRow]:
        """What an event tells besides the escalations: questions, plans and calls to the partners, requests to the
        owners of a level that was reached before.
        """
        kind = _NOTICES.get(fact.event)
        if kind is None:
            return ()
        to: Sequence[str] = state.partners if fact.partner is None else (fact.partner,)
        if fact.event is IncidentEvent.REQUESTED:
            assert fact.level is not None, "a request has its level"
            to = self.counter.countings(state)[state.pairs[0][0]].levels[fact.level].owners
        more = {"event": fact.event.value, "note": fact.note, "missing": list(fact.missing), "level": fact.level}
        name = f"{fact.event.value}-{fact.at_us}"
        return [
            message(state, kind=kind, name=name, to=whom, channel="log", at_us=self.now_us, more=more) for whom in to
        ]


_COPIED = ("partner", "clock", "priority", "assignee", "pieces", "attachments", "reason", "note")
_NOTICES = {
    IncidentEvent.ASKED: "question",
    IncidentEvent.PLAN: "plan",
    IncidentEvent.CALL: "call",
    IncidentEvent.REQUESTED: "request",
}


def _unreasoned(command: EventCommand) -> str | None:
    """Why a command that needs a word of explanation has none."""
    if isinstance(command, EscalateIncident) and command.reason not in REQUESTED_LEVELS:
        return f"{command.reason.value} is no reason to ask for; there are {', '.join(REQUESTED_LEVELS)}"
    note = getattr(command, "note", None)
    if note is not None and not note.strip():
        what = "its justification" if isinstance(command, EscalateIncident) else "words"
        return f"{command.EVENT.value} needs {what}"
    pieces = getattr(command, "pieces", None) or {}
    unknown = sorted(set(pieces) - {*PIECES, *(f"reporter.{name}" for name in REPORTER_FIELDS)})
    if unknown:
        return f"{unknown[0]!r} is no piece of a report; there are {', '.join(PIECES)}"
    empty = sorted(name for name, text in pieces.items() if not is_given(text))
    return f'{empty[0]} still says nothing; "none, because …" is an answer' if empty else None


def _remarks(carried: Carried) -> Sequence[str]:
    """The escalations that went with it, and where the incident stands."""
    escalated = [
        f"escalated to level {fact.level}: {', '.join(fact.owners)} ({_reason(fact)})"
        for fact in carried.facts
        if fact.event is IncidentEvent.ESCALATED
    ]
    return [f"{carried.state.id} is {carried.state.phase.value}, {carried.state.priority.value}", *escalated]


def _reason(fact: Incident) -> str:
    assert fact.reason is not None, "an escalation has its reason"
    due = "" if fact.due_us in {None, fact.at_us} else f", due {format_instant(fact.due_us or 0)}"
    return fact.reason.value.replace("_", " ") + due

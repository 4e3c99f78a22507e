"""Incidents that the monitor opens by itself, and the escalations that time makes due, beside the outages it finds.

A service that goes DOWN outside a qualifying window opens a P1, once an outage; what comes back within the quiet time
belongs to the same incident. Failures that last at or under one half, and latency that lasts above three times its
baseline, open a P2. When the service is well again closing is proposed; only a person closes (CONTRACT 2.1, 4.1, 4.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from monitor.core.entry import Entry
from monitor.core.exclusion import Book
from monitor.core.fact import Fact, Outage
from monitor.core.incident import Illegal, Phase, State
from monitor.core.incident_clocks import next_act_us
from monitor.core.incident_fact import Cause, Incident, IncidentEvent
from monitor.core.priority import Priority
from monitor.core.terms import Agreements
from monitor.detector.pace import MARK, Paces
from monitor.detector.watch import Watch, outage_id
from monitor.ledger.incidents import AUTHOR, Carried, Counter, IncidentBook, follow, free_id, settle
from monitor.ledger.pace import states
from monitor.ledger.record import Basis
from monitor.opening import Opening
from monitor.storage import OutboxRow, Reader


@dataclass(slots=True)
class IncidentWatch:
    """The incidents of a ledger under watch, and how fast its services answer.

    `turn` answers what is to be recorded; it counts as having happened once it comes back through `take`.
    """

    basis: Basis
    opening: Opening = field(default_factory=Opening)
    paces: Paces = field(default_factory=Paces)
    book: IncidentBook = field(default_factory=IncidentBook)
    _counter: Counter | None = None
    _next_us: dict[str, int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The baselines go by what is configured, from the start and after a reload."""
        self.paces.adopt(self.opening.baseline)

    def open(self, reader: Reader) -> None:
        """Read the incidents of a ledger."""
        self.book = IncidentBook(first_own_seq=reader.first_own_entry())
        for entry in reader.entries(types=(Incident.TYPE,)):
            self.book.take(entry)
        known = states(reader)
        for source in reader.sources():
            kept = reader.mark(MARK + "/".join(source))
            if kept is not None:
                self.paces.load(source, kept, known.get(source))
        self.changed()

    def take(self, entries: Iterable[Entry]) -> None:
        """Take in what was committed. Any decision may move an instant."""
        for entry in entries:
            self.book.take(entry)
            if not isinstance(entry.fact, Outage):
                self.changed()

    def changed(self) -> None:
        """The agreements or the decisions are not what they were."""
        self._counter = None
        self._next_us = {}

    def counter(self, book: Book, agreements: Agreements) -> Counter:
        """What incidents are counted by, kept between two changes."""
        if self._counter is None:
            self._counter = Counter(agreements, book, self.basis)
        return self._counter

    def turn(
        self, watches: Mapping[str, Watch], found: Sequence[Fact], at_us: int, book: Book, agreements: Agreements
    ) -> tuple[list[Incident], list[OutboxRow]]:
        """What follows at `at_us` from the services as they are watched and from the outages just `found`."""
        desk = _Desk(self.opening, self.counter(book, agreements), dict(self.book.states), self.book, at_us)
        for fact in found:
            if isinstance(fact, Outage) and fact.end_us is None:
                desk.down(watches[fact.service], fact.id, fact.start_us)
        slow, troubled = self.paces.slow(at_us), desk.troubled()
        for service, watch in watches.items():
            calm = watch.outage is None and watch.failing_since_us is None
            # Of most services nothing follows: they are well, and no incident of theirs waits to hear of it.
            if not calm or service in slow or service in troubled:
                desk.service(watch, slow.get(service))
        for state in list(desk.states.values()):
            if state.phase is not Phase.CLOSED:
                self._settle(desk, state)
        return desk.facts, desk.outbox

    def _settle(self, desk: _Desk, state: State) -> None:
        """Escalate what is due; between two changes the next instant is computed once."""
        assert self._counter is not None, "it was set at the beginning of the turn"
        fresh = self.book.states.get(state.id) is not state
        if not fresh and state.id in self._next_us:
            next_us = self._next_us[state.id]
            if next_us is None or desk.at_us < next_us:
                return
        carried = settle(state, self._counter, desk.at_us)
        desk.take(carried)
        self._next_us[state.id] = next_act_us(carried.state, self._counter.countings(state), desk.at_us)


@dataclass(slots=True)
class _Desk:
    """One turn: the incidents as they become in it."""

    opening: Opening
    counter: Counter
    states: dict[str, State]
    book: IncidentBook
    at_us: int
    facts: list[Incident] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)

    def troubled(self) -> set[str]:
        """The services with an incident that their being well would change."""
        return {
            state.service
            for state in self.states.values()
            if state.phase is not Phase.CLOSED and state.well_since_us is None
        }

    def service(self, watch: Watch, slow_since_us: int | None) -> None:
        """One service: trouble that goes on becomes an incident, trouble that is over a proposal to close it."""
        service = watch.service
        if watch.outage is not None:
            self.down(watch, outage_id(service, watch.outage.start_us), watch.outage.start_us)
        elif watch.up_since_us is not None:
            self.well(service, Cause.OUTAGE, watch.up_since_us)
        if watch.failing_since_us is not None:
            if watch.settled_us - watch.failing_since_us >= self.opening.failures_after_us:
                what = "checks fail, at most half of them"
                self.degraded(watch, Cause.FAILURES, watch.failing_since_us, what)
        elif watch.clean_since_us is not None:
            self.well(service, Cause.FAILURES, watch.clean_since_us)
        if slow_since_us is None:
            if watch.clean_since_us is not None:
                self.well(service, Cause.LATENCY, watch.settled_us)
        elif watch.settled_us - slow_since_us >= self.opening.latency_after_us:
            what = f"answers take more than {self.opening.baseline.factor} times as long as usual"
            self.degraded(watch, Cause.LATENCY, slow_since_us, what)

    def down(self, watch: Watch, outage: str, start_us: int) -> None:
        """A service that is DOWN: an incident of its outage, unless there is one or a qualifying window holds."""
        if any(outage in state.outages for state in self.states.values()) or self._excused(watch):
            return
        self._trouble(watch.service, Cause.OUTAGE, start_us, f"{watch.service} is down", outage)

    def degraded(self, watch: Watch, cause: Cause, since_us: int, what: str) -> None:
        """A service that is impaired and not DOWN: one incident, unless one of its own is open."""
        if self._excused(watch) or self._open(watch.service):
            return
        self._trouble(watch.service, cause, since_us, f"{watch.service}: {what}", None)

    def well(self, service: str, cause: Cause, since_us: int) -> None:
        """What the monitor opened for is over: closing is proposed."""
        for state in list(self.states.values()):
            ours = (state.service, state.cause) == (service, cause) and state.phase is not Phase.CLOSED
            if ours and state.well_since_us is None:
                proposed = "the service is well again: closing is proposed"
                self._record(state, IncidentEvent.RESTORED, found_us=max(since_us, state.found_us), note=proposed)

    def take(self, carried: Carried) -> None:
        """Facts and messages that follow."""
        self.states[carried.state.id] = carried.state
        self.facts += carried.facts
        self.outbox += carried.outbox

    def _trouble(self, service: str, cause: Cause, since_us: int, summary: str, outage: str | None) -> None:
        same = self._before(service, cause, since_us)
        if same is None:
            priority = Priority.P1 if cause is Cause.OUTAGE else Priority.P2
            fact = Incident(
                id=free_id(self.states),
                event=IncidentEvent.OPENED,
                at_us=self.at_us,
                service=service,
                priority=priority,
                cause=cause,
                outage=outage,
                found_us=since_us,
                summary=summary,
                by=AUTHOR,
            )
            self._follow(None, fact)
            return
        if same.resolved:
            same = self._record(same, IncidentEvent.REOPENED, note=f"again, within the quiet time: {summary}")
        self._record(same, IncidentEvent.LINKED, outage=outage, found_us=since_us, note=summary)

    def _before(self, service: str, cause: Cause, since_us: int) -> State | None:
        """The incident that trouble since an instant belongs to: one that saw no recovery, or only a quiet time ago."""
        for state in reversed(self.states.values()):
            if (state.service, state.cause) != (service, cause):
                continue
            well_us = state.well_since_us
            if well_us is None:
                return None if state.phase is Phase.CLOSED else state
            return state if since_us - well_us <= self.opening.quiet_us else None
        return None

    def _open(self, service: str) -> bool:
        """Whether an incident of the monitor's own is open for a service, and not proposed for closing."""
        return any(
            state.service == service
            and state.cause is not Cause.REPORT
            and state.phase is not Phase.CLOSED
            and state.well_since_us is None
            for state in self.states.values()
        )

    def _excused(self, watch: Watch) -> bool:
        """Whether a window that qualifies for every partner holds where the service was last judged."""
        return any(span.contains(watch.settled_us - 1) for span in self.counter.maintenance(watch.service))

    def _record(
        self, state: State, event: IncidentEvent, *, note: str, outage: str | None = None, found_us: int | None = None
    ) -> State:
        fact = Incident(
            id=state.id,
            event=event,
            at_us=max(self.at_us, state.last_us),  # the clock may have been put back
            outage=outage,
            found_us=found_us,
            by=AUTHOR,
            note=note,
        )
        return self._follow(state, fact)

    def _follow(self, state: State | None, fact: Incident) -> State:
        carried = follow(state, fact, self.counter, self.at_us)
        assert not isinstance(carried, Illegal), f"{fact.id} cannot be {fact.event.value}: {carried}"
        self.take(carried)
        return carried.state

"""Which messages follow from what was recorded and from the passing of time, and over which channels each goes.

What the detector itself records carries its messages in the same transaction. A decision that a verb recorded is told
by the next turn, whose cursor stands in the same transaction as its messages: after a crash nothing is told twice and
nothing is left out. Damping is here and nowhere else: it holds messages back and touches no figure.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.core.entry import Entry
from monitor.core.fact import Claim, Close, Fact, Maintenance, MaintenanceCancelled, MaintenanceFinished, Outage
from monitor.core.incident import Phase, State
from monitor.core.incident_fact import Cause, Incident, IncidentEvent
from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_instant
from monitor.core.priority import Priority
from monitor.core.run import Origin
from monitor.detector.telling import Telling, covered
from monitor.detector.watch import Watch
from monitor.ledger.incidents import AUTHOR, Counter, IncidentBook
from monitor.ledger.record import Basis
from monitor.messages import FOR_OPERATORS, FOR_PARTNERS, Kind, Severity, bounded, severity_of
from monitor.notify import Alert
from monitor.storage import OutboxRow, Reader

MARK = "messages/herald"
OPERATORS = "operators"
EVERY_PARTNER = "all"
UNSTABLE_AT = 3
"""So many outages that come back before a recovery was told are told as one: the service is unstable."""

SUPPRESSED = ("damped", "maintenance", "acknowledged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which messages go over a channel: to those who run the services, or (`partners`) to partners' contacts."""

    channel: str
    partners: tuple[str, ...] = ()
    services: frozenset[str] = frozenset()
    kinds: frozenset[Kind] = frozenset()
    severity: Severity = Severity.INFO

    def takes(self, kind: Kind, services: Iterable[str]) -> bool:
        """Whether a kind of message about services goes over it."""
        usual = FOR_PARTNERS if self.partners else FOR_OPERATORS
        return (
            kind in (self.kinds or usual)
            and kind in usual
            and severity_of(kind).rank >= self.severity.rank
            and (not self.services or not self.services.isdisjoint(services))
        )

    def is_for(self, partner: str | None) -> bool:
        """Whether it is for a partner, or (None) for those who run the services."""
        if partner is None:
            return not self.partners
        return EVERY_PARTNER in self.partners or partner in self.partners


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """When messages are sent."""

    recover_after_us: int = 60 * SECOND_US
    remind_us: Mapping[Priority, int] = field(
        default_factory=lambda: {Priority.P1: 30 * MINUTE_US, Priority.P2: 2 * HOUR_US}
    )
    blind_after_us: int = 5 * MINUTE_US
    before_maintenance_us: int = DAY_US
    before_deadline_us: int = 7 * DAY_US


@dataclass(slots=True)
class Episode:
    """A service's trouble as it is told: from its first outage until it was well for long enough."""

    outage: str
    since_us: int
    told_us: int | None = None
    held: bool = False
    ended_us: int | None = None
    count: int = 1
    unstable: bool = False
    reminders: int = 0


@dataclass(slots=True)
class Herald:
    """The messages of a ledger. `turn` answers what is to be queued; `alerts` is what is wrong as of the last turn."""

    basis: Basis
    routes: Sequence[Route] = ()
    manners: Manners = field(default_factory=Manners)
    alerts: tuple[Alert, ...] = ()
    suppressed: Count[str] = field(default_factory=Count)
    _seq: int = 0
    episodes: dict[str, Episode] = field(default_factory=dict)
    windows: dict[str, list[str]] = field(default_factory=dict)
    claims: dict[str, int] = field(default_factory=dict)
    blind_us: int | None = None
    _news: list[Entry] = field(default_factory=list)
    _rows: list[OutboxRow] = field(default_factory=list)
    changed: bool = False

    def open(self, reader: Reader) -> None:
        """Go on where the last transaction left off; a ledger that never told anything begins with what comes."""
        kept = reader.mark(MARK)
        self._news = []
        if kept is None:
            self._seq, self.changed = reader.head().seq, True
            return
        self._seq = kept["seq"]
        self.episodes = {service: Episode(**episode) for service, episode in kept["episodes"].items()}
        self.windows = {window: list(told) for window, told in kept["windows"].items()}
        self.claims, self.blind_us = dict(kept["claims"]), kept["blind_us"]
        self.suppressed = Count(kept["suppressed"])
        self.take(reader.entries(after=self._seq))

    def take(self, entries: Iterable[Entry]) -> None:
        """Take in what was committed."""
        for entry in entries:
            if entry.seq > self._seq:
                self._seq = entry.seq
                self._news.append(entry)
                self.changed = True

    def turn(
        self,
        watches: Mapping[str, Watch],
        found: Sequence[Fact],
        incidents: IncidentBook,
        counter: Counter,
        reader: Reader,
        at_us: int,
    ) -> tuple[list[OutboxRow], dict[str, Any]]:
        """The messages that follow at `at_us`: from the facts just `found`, from decisions, and from time."""
        self._rows = []
        desk = _Desk(self, watches, found, incidents, counter, Telling(reader, self.basis, counter, at_us), at_us)
        for entry in self._news:
            if entry.origin is not Origin.IMPORTED:
                desk.decided(entry.fact)
        self._news = []
        for fact in found:
            desk.found_fact(fact)
        desk.time()
        self.alerts = tuple(desk.active())
        rows, changed = self._rows, self.changed or bool(self._rows)
        self._rows, self.changed = [], False
        return rows, {MARK: self.document()} if changed else {}

    def document(self) -> dict[str, Any]:
        """As it is kept over restarts."""
        return {
            "seq": self._seq,
            "episodes": {
                service: {name: getattr(episode, name) for name in Episode.__slots__}
                for service, episode in self.episodes.items()
            },
            "windows": self.windows,
            "claims": self.claims,
            "blind_us": self.blind_us,
            "suppressed": dict(self.suppressed),
        }

    def suppress(self, reason: str) -> None:
        """A message was held back."""
        self.suppressed[reason] += 1
        self.changed = True

    def tell(
        self,
        kind: Kind,
        name: str,
        fields: Mapping[str, Any],
        *,
        about: str,
        services: Iterable[str],
        partner: str | None,
        at_us: int,
    ) -> None:
        """Queue a message for a partner, or (None) for those who run the services, over every channel that takes it."""
        services = tuple(services)
        for route in self.routes:
            if not route.takes(kind, services) or not route.is_for(partner):
                continue
            own = {} if partner is None else {"partner": partner}
            key = f"{about}/{name}/{route.channel}" + ("" if partner is None else f"/{partner}")
            to = OPERATORS if partner is None else partner
            payload = bounded({**fields, **own, "about": about, "to": to, "at": format_instant(at_us)})
            row = OutboxRow(key=key, channel=route.channel, kind=kind.value, payload=payload, at_us=at_us)
            self._rows.append(row)


@dataclass(slots=True)
class _Desk:
    """One turn."""

    herald: Herald
    watches: Mapping[str, Watch]
    found: Sequence[Fact]
    incidents: IncidentBook
    counter: Counter
    telling: Telling
    at_us: int

    # What was decided.

    def decided(self, fact: Fact) -> None:
        match fact:
            case Maintenance():
                self.announced(fact)
            case MaintenanceCancelled():
                self.window_told(fact.maintenance, Kind.MAINTENANCE_CANCELLED)
            case MaintenanceFinished():
                self.window_told(fact.maintenance, Kind.MAINTENANCE_FINISHED)
            case Close():
                self.closed(fact)
            case Claim():
                self.herald.claims.pop(f"{fact.month}/{fact.partner}/{fact.service}", None)
            case Incident() if fact.by != AUTHOR:
                self.incident(fact)
                self.corresponded(fact)
            case _:
                pass

    def corresponded(self, fact: Incident) -> None:
        """A question, a plan or a call, to the partner it is meant for, else to all that reported the incident."""
        state, kind = self.incidents.states.get(fact.id), _CORRESPONDENCE.get(fact.event)
        if state is None or kind is None:
            return
        fields = {**self.telling.incident(state, None), "note": fact.note, "missing": list(fact.missing)}
        fields |= {"zone": self.telling.zone_of(state.service), "service": state.service, "summary": state.summary}
        for partner in state.partners if fact.partner is None else (fact.partner,):
            self._to(partner, kind, f"{kind.value}-{fact.at_us}", fields, fact.id, (state.service,))

    def announced(self, fact: Maintenance) -> None:
        if fact.end_us <= self.at_us:
            return  # history that was recorded late: nobody is told of it as news
        self.herald.windows[fact.id] = []
        self.window(fact.id, Kind.MAINTENANCE_EXTENDED if fact.extends else Kind.MAINTENANCE_ANNOUNCED)

    def window_told(self, id_: str, kind: Kind) -> None:
        """Said by a decision: time has no more to say of it."""
        if self.herald.windows.pop(id_, None) is not None:
            self.window(id_, kind)

    def window(self, id_: str, kind: Kind) -> None:
        window = self.counter.book.windows.get(id_)
        if window is None:
            return
        agreements = self.counter.agreements
        partners = covered(window, agreements.pairs())
        about = f"window/{window.fact.extends or id_}"
        fields = self.telling.window(window)
        for partner in [None, *partners]:
            named = {} if partner is None else {"partner_name": agreements.partner_name(partner)}
            self._to(partner, kind, f"{id_}/{kind.value}", {**fields, **named}, about, window.fact.services)

    def closed(self, fact: Close) -> None:
        fields, credit, deadline_us = self.telling.statement(fact)
        about = f"month/{fact.month}/{fact.partner}/{fact.service}"
        for partner in (None, fact.partner):
            self._to(partner, Kind.STATEMENT, f"statement-{fact.version}", fields, about, (fact.service,))
            if credit:
                self._to(partner, Kind.CREDIT_DUE, f"credit-{fact.version}", fields, about, (fact.service,))
        if credit:
            self.herald.claims[f"{fact.month}/{fact.partner}/{fact.service}"] = deadline_us

    # What was found.

    def found_fact(self, fact: Fact) -> None:
        if isinstance(fact, Outage):
            if fact.end_us is None:
                self.down(fact)
            elif fact.service in self.herald.episodes:
                self.herald.episodes[fact.service].ended_us = fact.end_us
                self.herald.changed = True
        elif isinstance(fact, Incident):
            self.incident(fact)

    def down(self, fact: Outage) -> None:
        episodes = self.herald.episodes
        episode = episodes.get(fact.service)
        self.herald.changed = True
        if episode is None:
            episode = episodes[fact.service] = Episode(fact.id, fact.start_us)
        elif episode.ended_us is not None:
            episode.ended_us = None
            episode.count += 1
            if episode.told_us is not None:
                self.herald.suppress("damped")
        if episode.told_us is None:
            self.told_down(fact.service, episode)
        elif episode.count >= UNSTABLE_AT and not episode.unstable:
            episode.unstable = True
            fields = {**self.telling.trouble(fact.service, episode.since_us), "n": episode.count}
            self.service(Kind.UNSTABLE, "unstable", fields, episode.outage, fact.service)

    def told_down(self, service: str, episode: Episode) -> None:
        """Tell it, unless a window that qualifies for every partner holds: at its end it is told, if it is still so."""
        if self.excused(service):
            if not episode.held:
                episode.held = True
                self.herald.suppress("maintenance")
            return
        episode.told_us = self.at_us
        self.herald.changed = True
        fields = self.fields(service, episode)
        self.service(Kind.DOWN, "down", fields, episode.outage, service)
        self.service(
            Kind.DISRUPTION, "disruption", self.telling.trouble(service, episode.since_us), episode.outage, service
        )

    def incident(self, fact: Incident) -> None:
        """Trouble short of an outage is told by its incident, from when it opened or came back until it was over."""
        state = self.incidents.states.get(fact.id)
        cause = fact.cause or (state.cause if state else None)
        service = fact.service or (state.service if state else None)
        if cause not in {Cause.FAILURES, Cause.LATENCY} or service is None:
            return
        kind = _DEGRADED.get(fact.event)
        if kind is None:
            return
        since_us = fact.found_us or fact.at_us
        fields = {
            **self.telling.trouble(service, since_us),
            **self.telling.evidence(service, None),
            **self.telling.incident(state, fact),
            "summary": fact.summary or fact.note or (state.summary if state else None),
        }
        self.service(kind, f"{kind.value}-{fact.at_us}", fields, fact.id, service)

    # What time brings.

    def time(self) -> None:
        for service, episode in list(self.herald.episodes.items()):
            self.episode(service, episode)
        self.sight()
        for id_, told in list(self.herald.windows.items()):
            self.window_time(id_, told)
        for name, deadline_us in list(self.herald.claims.items()):
            self.claim_time(name, deadline_us)

    def episode(self, service: str, episode: Episode) -> None:
        if episode.ended_us is not None:
            told = episode.told_us is not None
            if not told or self.at_us - episode.ended_us >= self.herald.manners.recover_after_us:
                del self.herald.episodes[service]
                self.herald.changed = True
                if told:
                    self.recovered(service, episode, episode.ended_us)
        elif episode.told_us is None:
            self.told_down(service, episode)
        else:
            self.remind(service, episode, episode.told_us)

    def recovered(self, service: str, episode: Episode, ended_us: int) -> None:
        fields = {
            **self.telling.trouble(service, episode.since_us, ended_us),
            **self.telling.excluded(service, episode.since_us, ended_us),
            **self.telling.effects(service),
            **self.telling.incident(self.incidents.of_outage(episode.outage), None),
            "outage": episode.outage,
        }
        self.service(Kind.RECOVERED, "recovered", fields, episode.outage, service)
        plain = self.telling.trouble(service, episode.since_us, ended_us)
        self.service(Kind.DISRUPTION_OVER, "disruption_over", plain, episode.outage, service)

    def remind(self, service: str, episode: Episode, told_us: int) -> None:
        """Time-based and numbered; whoever acknowledged it is not reminded."""
        state = self.incidents.of_outage(episode.outage)
        every_us = self.herald.manners.remind_us.get(state.priority if state else Priority.P1)
        if every_us is None or self.at_us < told_us + (episode.reminders + 1) * every_us:
            return
        episode.reminders = (self.at_us - told_us) // every_us
        self.herald.changed = True
        if state is not None and (state.acknowledged_us is not None or state.phase is Phase.CLOSED):
            self.herald.suppress("acknowledged")
            return
        fields = {**self.fields(service, episode), "n": episode.reminders}
        self.service(Kind.REMINDER, f"reminder-{episode.reminders}", fields, episode.outage, service)

    def sight(self) -> None:
        """One message that nothing can be seen, however many services it concerns, and one when all are seen again."""
        dark = {name: watch.unknown_since_us for name, watch in self.watches.items() if watch.unknown_since_us}
        since_us = self.herald.blind_us
        if since_us is None:
            long = [since for since in dark.values() if self.at_us - since >= self.herald.manners.blind_after_us]
            if long:
                self.blind(min(long), dark)
        elif not dark:
            self.herald.blind_us = None
            fields = self._sight_fields(since_us, self.at_us, ())
            self._to(None, Kind.SEEING, "seeing", fields, f"blind/{since_us}", self.watches)

    def blind(self, since_us: int, dark: Mapping[str, int]) -> None:
        self.herald.blind_us = since_us
        fields = self._sight_fields(since_us, None, tuple(dark))
        self._to(None, Kind.BLIND, "blind", fields, f"blind/{since_us}", self.watches)

    def _sight_fields(self, since_us: int, until_us: int | None, dark: Sequence[str]) -> dict[str, Any]:
        some = next(iter(self.watches), "")
        fields = self.telling.trouble(some, since_us, until_us)
        del fields["service"], fields["service_name"]
        return {**fields, "services": list(dark), "count": len(dark), "total": len(self.watches)}

    def window_time(self, id_: str, told: list[str]) -> None:
        window = self.counter.book.windows.get(id_)
        if window is None:
            return
        fact = window.fact
        before_us = fact.start_us - self.herald.manners.before_maintenance_us
        prolonged = any(other.fact.extends == id_ for other in self.counter.book.windows.values())
        if before_us <= self.at_us < fact.start_us and fact.at_us < before_us and "reminder" not in told:
            self._mark(told, "reminder")
            self.window(id_, Kind.MAINTENANCE_REMINDER)
        if self.at_us >= fact.start_us and "started" not in told:
            self._mark(told, "started")
            if fact.extends is None:
                self.window(id_, Kind.MAINTENANCE_STARTED)
        if self.at_us >= fact.end_us:
            self.herald.windows.pop(id_)
            self.herald.changed = True
            if not prolonged:
                self.window(id_, Kind.MAINTENANCE_FINISHED)

    def _mark(self, told: list[str], what: str) -> None:
        told.append(what)
        self.herald.changed = True

    def claim_time(self, name: str, deadline_us: int) -> None:
        if self.at_us < deadline_us - self.herald.manners.before_deadline_us:
            return
        del self.herald.claims[name]
        self.herald.changed = True
        month, partner, service = name.split("/")
        if self.at_us >= deadline_us or self.telling.claimed(month, partner, service):
            return
        zone = self.telling.zone_of(service)
        agreements = self.counter.agreements
        fields = {
            "service": service,
            "service_name": agreements.service_name(service),
            "partner_name": agreements.partner_name(partner),
            "zone": zone,
            "month": month,
            "deadline": self.telling.instant(deadline_us, zone),
        }
        for whom in (None, partner):
            self._to(whom, Kind.CLAIM_DEADLINE, "claim-deadline", fields, f"month/{name}", (service,))

    # What they all need.

    def fields(self, service: str, episode: Episode) -> dict[str, Any]:
        watch = self.watches.get(service)
        peak = watch.outage.peak if watch is not None and watch.outage is not None else None
        return {
            **self.telling.trouble(service, episode.since_us),
            **self.telling.evidence(service, peak),
            **self.telling.effects(service),
            **self.telling.incident(self.incidents.of_outage(episode.outage), self._opened(episode.outage)),
            "outage": episode.outage,
        }

    def excused(self, service: str) -> bool:
        return any(span.contains(self.at_us) for span in self.counter.maintenance(service))

    def service(self, kind: Kind, name: str, fields: Mapping[str, Any], about: str, service: str) -> None:
        """A message about one service: to those who run it, or to each partner that has it."""
        for partner in [None, *self.counter.partners(service)]:
            self._to(partner, kind, name, fields, about, (service,))

    def _to(
        self,
        partner: str | None,
        kind: Kind,
        name: str,
        fields: Mapping[str, Any],
        about: str,
        services: Iterable[str],
    ) -> None:
        self.herald.tell(kind, name, fields, about=about, services=services, partner=partner, at_us=self.at_us)

    def _opened(self, outage: str) -> Incident | None:
        """The incident that this very turn opens for an outage."""
        return next((f for f in self.found if isinstance(f, Incident) and f.outage == outage), None)

    def active(self) -> Iterable[Alert]:
        """What is wrong now, as a level."""
        for service, episode in self.herald.episodes.items():
            if episode.told_us is not None and (episode.ended_us is None or episode.unstable):
                yield _alert("JagaServiceDown", Severity.PAGE, episode.since_us, service, outage=episode.outage)
        for state in self.incidents.states.values():
            if _degraded_now(state):
                yield _alert("JagaServiceDegraded", Severity.TICKET, state.found_us, state.service, incident=state.id)
        if self.herald.blind_us is not None:
            yield _alert("JagaMonitoringBlind", Severity.PAGE, self.herald.blind_us, None)


_CORRESPONDENCE = {
    IncidentEvent.ASKED: Kind.QUESTION,
    IncidentEvent.PLAN: Kind.PLAN,
    IncidentEvent.CALL: Kind.CALL,
}
_DEGRADED = {
    IncidentEvent.OPENED: Kind.DEGRADED,
    IncidentEvent.LINKED: Kind.DEGRADED,
    IncidentEvent.RESTORED: Kind.RESTORED,
}


def _degraded_now(state: State) -> bool:
    known = state.cause in {Cause.FAILURES, Cause.LATENCY}
    return known and state.phase is not Phase.CLOSED and state.well_since_us is None


def _alert(name: str, severity: Severity, since_us: int, service: str | None, **annotations: str) -> Alert:
    """Labels are what stays the same for as long as it is wrong; what tells one time from another is an annotation."""
    labels = {"alertname": name, "severity": severity.value}
    if service is not None:
        labels["sla_service"] = service
    summary = {"JagaServiceDown": "is down", "JagaServiceDegraded": "is degraded"}.get(name, "monitoring is blind")
    said = f"{service} {summary}" if service is not None else summary
    return Alert(labels=labels, since_us=since_us, annotations={"summary": said, **annotations})

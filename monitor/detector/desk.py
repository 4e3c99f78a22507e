"""One turn of the messages: each fact and each instant looked at once, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.core.fact import Claim, Close, Fact, Maintenance, MaintenanceCancelled, MaintenanceFinished, Outage
from monitor.core.incident import Phase, State, Step, step
from monitor.core.incident_fact import Cause, Incident, IncidentEvent
from monitor.core.instant import MINUTE_US
from monitor.core.priority import Priority
from monitor.detector.journal import Episode, Journal
from monitor.detector.telling import Telling, covered
from monitor.detector.watch import Watch
from monitor.ledger.incidents import AUTHOR, Counter, IncidentBook
from monitor.messages import Kind, severity_of
from monitor.messages.routing import Manners
from monitor.notify import Alert, Quiet

QUIET_AHEAD_US = 2 * MINUTE_US
"""A window is known so long ahead to those who silence alerts: more than the longest time between two statements."""

UNSTABLE_AT = 3
"""So many outages that come back before a recovery was told are told as one: the service is unstable."""


@dataclass(slots=True)
class Desk:
    """One turn."""

    journal: Journal
    manners: Manners
    watches: Mapping[str, Watch]
    found: Sequence[Fact]
    incidents: IncidentBook
    counter: Counter
    telling: Telling
    at_us: int

    # What was decided.

    def decided(self, fact: Fact) -> None:
        """A decision that a verb recorded."""
        match fact:
            case Maintenance():
                self._announced(fact)
            case MaintenanceCancelled():
                self._window_told(fact.maintenance, Kind.MAINTENANCE_CANCELLED)
            case MaintenanceFinished():
                self._window_told(fact.maintenance, Kind.MAINTENANCE_FINISHED)
            case Close():
                self._closed(fact)
            case Claim():
                self.journal.claims.pop(f"{fact.month}/{fact.partner}/{fact.service}", None)
            case Incident() if fact.by != AUTHOR:
                self._incident(fact)
                self._corresponded(fact)
            case _:
                pass

    def _corresponded(self, fact: Incident) -> None:
        """A question, a plan or a call, to the partner it is meant for, else to all that reported the incident."""
        state, kind = self.incidents.states.get(fact.id), _CORRESPONDENCE.get(fact.event)
        if state is None or kind is None:
            return
        fields = {**self.telling.incident(state), "note": fact.note, "missing": list(fact.missing)}
        fields |= {"zone": self.telling.zone_of(state.service), "service": state.service, "summary": state.summary}
        for partner in state.partners if fact.partner is None else (fact.partner,):
            self._to(partner, kind, f"{kind.value}-{fact.at_us}", fields, fact.id, (state.service,))

    def _announced(self, fact: Maintenance) -> None:
        if fact.end_us <= self.at_us:
            return  # history that was recorded late: nobody is told of it as news
        self.journal.windows[fact.id] = []
        self._window(fact.id, Kind.MAINTENANCE_EXTENDED if fact.extends else Kind.MAINTENANCE_ANNOUNCED)

    def _window_told(self, id_: str, kind: Kind) -> None:
        """Said by a decision: time has no more to say of it."""
        if self.journal.windows.pop(id_, None) is not None:
            self._window(id_, kind)

    def _window(self, id_: str, kind: Kind) -> None:
        window = self.counter.book.windows.get(id_)
        if window is None:
            return
        partners = covered(window, self.counter.agreements.pairs())
        about = f"window/{window.fact.extends or id_}"
        fields = self.telling.window(window)
        for partner in [None, *partners]:
            self._to(partner, kind, f"{id_}/{kind.value}", fields, about, window.fact.services)

    def _closed(self, fact: Close) -> None:
        fields, credit, deadline_us = self.telling.statement(fact)
        about = f"month/{fact.month}/{fact.partner}/{fact.service}"
        for partner in (None, fact.partner):
            self._to(partner, Kind.STATEMENT, f"statement-{fact.version}", fields, about, (fact.service,))
            if credit:
                self._to(partner, Kind.CREDIT_DUE, f"credit-{fact.version}", fields, about, (fact.service,))
        if credit:
            self.journal.claims[f"{fact.month}/{fact.partner}/{fact.service}"] = deadline_us

    # What was found.

    def found_fact(self, fact: Fact) -> None:
        """A fact that the detector records in this very turn."""
        if isinstance(fact, Outage):
            if fact.end_us is None:
                self._down(fact)
            elif fact.service in self.journal.episodes:
                self.journal.episodes[fact.service].ended_us = fact.end_us
                self.journal.changed = True
        elif isinstance(fact, Incident):
            self._incident(fact)

    def _down(self, fact: Outage) -> None:
        episodes = self.journal.episodes
        episode = episodes.get(fact.service)
        self.journal.changed = True
        if episode is None:
            episode = episodes[fact.service] = Episode(fact.id, fact.start_us)
        elif episode.ended_us is not None:
            episode.ended_us = None
            episode.count += 1
            if episode.told_us is not None:
                self.journal.suppress("damped")
        if episode.told_us is None:
            self._told_down(fact.service, episode)
        elif episode.count >= UNSTABLE_AT and not episode.unstable:
            episode.unstable = True
            fields = {**self.telling.trouble(fact.service, episode.since_us), "n": episode.count}
            self._service(Kind.UNSTABLE, "unstable", fields, episode.outage, fact.service)

    def _told_down(self, service: str, episode: Episode) -> None:
        """Tell it, unless a window that qualifies for every partner holds: at its end it is told, if it is still so."""
        if self._excused(service):
            if not episode.held:
                episode.held = True
                self.journal.suppress("maintenance")
            return
        episode.told_us = self.at_us
        self.journal.changed = True
        fields = self._fields(service, episode)
        self._service(Kind.DOWN, "down", fields, episode.outage, service)
        self._service(
            Kind.DISRUPTION, "disruption", self.telling.trouble(service, episode.since_us), episode.outage, service
        )

    def _incident(self, fact: Incident) -> None:
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
            **self.telling.incident(self._state(fact.id)),
            "summary": fact.summary or fact.note or (state.summary if state else None),
        }
        self._service(kind, f"{kind.value}-{fact.at_us}", fields, fact.id, service)

    # What time brings.

    def time(self) -> None:
        """Recoveries, reminders, blindness, windows and deadlines: what follows from the hour alone."""
        for service, episode in list(self.journal.episodes.items()):
            self._episode(service, episode)
        self._sight()
        for id_, told in list(self.journal.windows.items()):
            self._window_time(id_, told)
        for name, deadline_us in list(self.journal.claims.items()):
            self._claim_time(name, deadline_us)

    def _episode(self, service: str, episode: Episode) -> None:
        watch = self.watches.get(service)
        if episode.ended_us is None and watch is not None and watch.outage is None:
            # It ended without having been found to: by a clock that was put back while nobody looked.
            episode.ended_us, self.journal.changed = watch.settled_us, True
        if episode.ended_us is not None:
            told = episode.told_us is not None
            if not told or self.at_us - episode.ended_us >= self.manners.recover_after_us:
                del self.journal.episodes[service]
                self.journal.changed = True
                if told:
                    self._recovered(service, episode, episode.ended_us)
        elif episode.told_us is None:
            self._told_down(service, episode)
        else:
            self._remind(service, episode, episode.told_us)

    def _recovered(self, service: str, episode: Episode, ended_us: int) -> None:
        fields = {
            **self.telling.trouble(service, episode.since_us, ended_us),
            **self.telling.excluded(service, episode.since_us, ended_us),
            **self.telling.effects(service),
            **self.telling.incident(self._of_outage(episode.outage)),
            "outage": episode.outage,
        }
        self._service(Kind.RECOVERED, "recovered", fields, episode.outage, service)
        plain = self.telling.trouble(service, episode.since_us, ended_us)
        self._service(Kind.DISRUPTION_OVER, "disruption_over", plain, episode.outage, service)

    def _remind(self, service: str, episode: Episode, told_us: int) -> None:
        """Time-based and numbered; whoever acknowledged it is not reminded."""
        state = self.incidents.of_outage(episode.outage)
        every_us = self.manners.remind_us.get(state.priority if state else Priority.P1)
        if every_us is None or self.at_us < told_us + (episode.reminders + 1) * every_us:
            return
        episode.reminders = (self.at_us - told_us) // every_us
        self.journal.changed = True
        if state is not None and (state.acknowledged_us is not None or state.phase is Phase.CLOSED):
            self.journal.suppress("acknowledged")
            return
        fields = {**self._fields(service, episode), "n": episode.reminders}
        self._service(Kind.REMINDER, f"reminder-{episode.reminders}", fields, episode.outage, service)

    def _sight(self) -> None:
        """One message that nothing can be seen, however many services it concerns, and one when all are seen again."""
        dark = {name: watch.unknown_since_us for name, watch in self.watches.items() if watch.unknown_since_us}
        since_us = self.journal.blind_us
        if since_us is None:
            long = [since for since in dark.values() if self.at_us - since >= self.manners.blind_after_us]
            if long:
                self._blind(min(long), dark)
        elif not dark:
            self.journal.blind_us = None
            fields = self._sight_fields(since_us, self.at_us, ())
            self._to(None, Kind.SEEING, "seeing", fields, f"blind/{since_us}", self.watches)

    def _blind(self, since_us: int, dark: Mapping[str, int]) -> None:
        self.journal.blind_us = since_us
        fields = self._sight_fields(since_us, None, tuple(dark))
        self._to(None, Kind.BLIND, "blind", fields, f"blind/{since_us}", self.watches)

    def _sight_fields(self, since_us: int, until_us: int | None, dark: Sequence[str]) -> dict[str, Any]:
        some = next(iter(self.watches), "")
        fields = self.telling.trouble(some, since_us, until_us)
        del fields["service"], fields["service_name"]
        return {**fields, "services": list(dark), "count": len(dark), "total": len(self.watches)}

    def _window_time(self, id_: str, told: list[str]) -> None:
        window = self.counter.book.windows.get(id_)
        if window is None:
            return
        fact = window.fact
        before_us = fact.start_us - self.manners.before_maintenance_us
        prolonged = any(other.fact.extends == id_ for other in self.counter.book.windows.values())
        ahead = fact.extends is None and fact.at_us < before_us
        if ahead and before_us <= self.at_us < fact.start_us and "reminder" not in told:
            self._mark(told, "reminder")
            self._window(id_, Kind.MAINTENANCE_REMINDER)
        if self.at_us >= fact.start_us and "started" not in told:
            self._mark(told, "started")
            if fact.extends is None:
                self._window(id_, Kind.MAINTENANCE_STARTED)
        if self.at_us >= fact.end_us:
            self.journal.windows.pop(id_)
            self.journal.changed = True
            if not prolonged:
                self._window(id_, Kind.MAINTENANCE_FINISHED)

    def _mark(self, told: list[str], what: str) -> None:
        told.append(what)
        self.journal.changed = True

    def _claim_time(self, name: str, deadline_us: int) -> None:
        if self.at_us < deadline_us - self.manners.before_deadline_us:
            return
        del self.journal.claims[name]
        self.journal.changed = True
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

    def _fields(self, service: str, episode: Episode) -> dict[str, Any]:
        watch = self.watches.get(service)
        peak = watch.outage.peak if watch is not None and watch.outage is not None else None
        return {
            **self.telling.trouble(service, episode.since_us),
            **self.telling.evidence(service, peak),
            **self.telling.effects(service),
            **self.telling.incident(self._of_outage(episode.outage)),
            "outage": episode.outage,
        }

    def _excused(self, service: str) -> bool:
        return any(span.contains(self.at_us) for span in self.counter.maintenance(service))

    def _service(self, kind: Kind, name: str, fields: Mapping[str, Any], about: str, service: str) -> None:
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
        if partner is not None:
            fields = {"partner_name": self.counter.agreements.partner_name(partner), **fields}
        self.journal.tell(kind, name, fields, about=about, services=services, partner=partner, at_us=self.at_us)

    def _state(self, id_: str) -> State | None:
        """An incident as it becomes in this very turn."""
        state = self.incidents.states.get(id_)
        for fact in self.found:
            if isinstance(fact, Incident) and fact.id == id_:
                found = step(state, fact)
                state = found.state if isinstance(found, Step) else state
        return state

    def _of_outage(self, outage: str) -> State | None:
        """The incident that an outage belongs to, or comes to belong to in this very turn."""
        for fact in self.found:
            if isinstance(fact, Incident) and fact.outage == outage:
                return self._state(fact.id)
        return self.incidents.of_outage(outage)

    def active(self) -> Iterable[Alert]:
        """What is wrong now, as a level."""
        for service, episode in self.journal.episodes.items():
            if episode.told_us is not None and (episode.ended_us is None or episode.unstable):
                yield self._alert("JagaServiceDown", Kind.DOWN, episode.since_us, service, {"outage": episode.outage})
        for state in self.incidents.states.values():
            if _degraded_now(state):
                yield self._alert(
                    "JagaServiceDegraded", Kind.DEGRADED, state.found_us, state.service, {"incident": state.id}
                )
        if self.journal.blind_us is not None:
            yield self._alert("JagaMonitoringBlind", Kind.BLIND, self.journal.blind_us, None, {})

    def _alert(self, name: str, kind: Kind, since_us: int, service: str | None, about: Mapping[str, str]) -> Alert:
        """Labels are what stays the same while it is wrong; what tells one time from another is an annotation."""
        labels = {"alertname": name, "severity": severity_of(kind).value}
        if service is not None:
            labels["sla_service"] = service
        summary = _SUMMARIES[kind] if service is None else f"{service} {_SUMMARIES[kind]}"
        links = self.manners.links
        page = links.at(service=service, incident=about.get("incident"))
        known = {"summary": summary, "page_url": page, "runbook_url": links.runbook(kind), **about}
        annotations = {name: text for name, text in known.items() if text is not None}
        return Alert(labels=labels, since_us=since_us, annotations=annotations)

    def quiet(self) -> Iterable[Quiet]:
        """The maintenance that runs or is about to, of every service it qualifies for with all partners."""
        windows = self.counter.book.windows.values()
        near = [w for w in windows if w.fact.start_us - QUIET_AHEAD_US <= self.at_us < w.ends_us]
        for service in sorted({service for window in near for service in window.fact.services}):
            for span in self.counter.maintenance(service):
                if span.start_us - QUIET_AHEAD_US <= self.at_us < span.end_us:
                    yield Quiet(service=service, start_us=span.start_us, end_us=span.end_us)


_SUMMARIES = {Kind.DOWN: "is down", Kind.DEGRADED: "is degraded", Kind.BLIND: "monitoring is blind"}
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

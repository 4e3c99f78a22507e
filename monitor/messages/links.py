"""Where those who run the services read on about what they are told.

Links are added when a message leaves, not when it is recorded: an escalation that a command made without a daemon has
them too, and a message that waited has those of today. Partners get none: both may be addresses of the house.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitor.messages import FOR_OPERATORS, Kind

RUNBOOK = "{runbook}"
RUNBOOKS: Mapping[Kind, str] = {
    Kind.DOWN: "SlaServiceDown",
    Kind.REMINDER: "SlaServiceDown",
    Kind.UNSTABLE: "SlaServiceDown",
    Kind.DEGRADED: "SlaServiceDegraded",
    Kind.BLIND: "SlaServiceUnknown",
    Kind.CREDIT_DUE: "SlaCreditOwed",
    Kind.CLAIM_DEADLINE: "SlaClaimDeadlineNear",
    Kind.ESCALATION: "SlaIncidentClock75",
    Kind.REQUEST: "SlaIncidentClock75",
}
"""What to do about a kind of message: a page of docs/runbooks, named after the alert of the same trouble."""

_LINKED = FOR_OPERATORS | {Kind.ESCALATION, Kind.REQUEST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where those who run the services read on: `page` is the daemon's address as they reach it, without a slash at
    its end; `runbooks` the address of a runbook, in which `{runbook}` stands for its name.
    """

    page: str | None = None
    runbooks: str | None = None

    def added(self, kind: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message's fields with its `links`, its incident or else its service on the page and the runbook of its
        kind; as they are where there are none, and where the message is a partner's.
        """
        if kind not in _LINKED or fields.get("partner") is not None:
            return fields
        place = self.at(service=fields.get("service"), incident=fields.get("incident"))
        links = [link for link in (place, self.runbook(Kind(kind))) if link is not None]
        return {**fields, "links": links} if links else fields

    def at(self, *, service: str | None, incident: str | None) -> str | None:
        """An incident on the page, or else a service, or else the page."""
        if self.page is None:
            return None
        place = f"incident-{incident}" if incident else f"service-{service}" if service else None
        return f"{self.page}/" if place is None else f"{self.page}/#{place}"

    def runbook(self, kind: Kind) -> str | None:
        """What to do about a kind of message."""
        name = RUNBOOKS.get(kind)
        return None if self.runbooks is None or name is None else self.runbooks.replace(RUNBOOK, name)

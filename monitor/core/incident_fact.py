"""The facts of incidents and of messages that left: immutable, and none of them acts (CONTRACT 1.3, 3.2, 4.1, 4.2).

One type tells an incident's whole life, event by event. `partner` names the pair of clocks an event speaks of: a
partner's contractual one, or (None) the internal one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from monitor.core.priority import ClockName, Priority


class IncidentEvent(enum.StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    REPORTED = "reported"  # another partner's report of the same incident
    SUPPLIED = "supplied"  # missing pieces of a report came in
    ASKED = "asked"  # for the missing pieces
    ACKNOWLEDGED = "acknowledged"
    ASSIGNED = "assigned"
    WORKAROUND = "workaround"
    FIXED = "fixed"
    CLOSED = "closed"
    REOPENED = "reopened"
    PAUSED = "paused"
    RESUMED = "resumed"
    PRIORITY = "priority"
    LINKED = "linked"  # the monitor found the same trouble again, within the quiet time
    RESTORED = "restored"  # the monitor sees the service well: closing is proposed
    REQUESTED = "requested"  # an escalation, by hand
    ESCALATED = "escalated"
    PLAN = "plan"  # level 2 sent its written action plan
    CALL = "call"  # level 3 convened a call


class Cause(enum.StrEnum):
    """Why an incident was opened: by people, or by what the monitor saw."""

    REPORT = "report"
    OUTAGE = "outage"
    FAILURES = "failures"
    LATENCY = "latency"


class EscalationReason(enum.StrEnum):
    """Why a level was reached (CONTRACT 4.1, 4.2): by itself, or by a request."""

    OPENED = "opened"
    SHARE_USED = "share_used"
    NO_WORKAROUND = "no_workaround"
    UNRESOLVED = "unresolved"
    WRONG_PRIORITY = "wrong_priority"
    STALLED_PROGRESS = "stalled_progress"
    POOR_COMMUNICATION = "poor_communication"
    MASSIVE_IMPACT = "massive_impact"
    PARTNER_MANAGEMENT = "partner_management"


# A manual request leads to the level that its reason names (CONTRACT 4.2).
REQUESTED_LEVELS: Mapping[EscalationReason, int] = MappingProxyType(
    {
        EscalationReason.WRONG_PRIORITY: 2,
        EscalationReason.STALLED_PROGRESS: 2,
        EscalationReason.POOR_COMMUNICATION: 2,
        EscalationReason.MASSIVE_IMPACT: 3,
        EscalationReason.PARTNER_MANAGEMENT: 3,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A picture or video kept beside the ledger under its digest."""

    name: str
    media_type: str
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One event in an incident's life. Which fields an event has is told by `NEEDED`.

    `at_us` is when it happened; `due_us` on an escalation the instant at which it was due. `reporter` refers to
    the reporter's identity, which is kept beside the chain. `pieces` are the texts of a report, `missing`
    what it lacks. `found_us` is since when the monitor saw what it opened for, or saw it over.
    """

    TYPE: ClassVar[str] = "incident"
    id: str
    event: IncidentEvent
    at_us: int
    service: str | None = None
    priority: Priority | None = None
    partner: str | None = None
    cause: Cause | None = None
    outage: str | None = None
    found_us: int | None = None
    summary: str | None = None
    channel: str | None = None
    reporter: str | None = None
    pieces: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    assignee: str | None = None
    clock: ClockName | None = None
    level: int | None = None
    reason: EscalationReason | None = None
    due_us: int | None = None
    owners: tuple[str, ...] = ()
    by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A channel accepted a contractual message at `at_us`: which one (`key`), to whom, with what receipt."""

    TYPE: ClassVar[str] = "delivery"
    key: str
    kind: str
    channel: str
    to: str
    at_us: int
    receipt: str | None = None


# The fields without which an event says nothing, by their attributes.
NEEDED: Mapping[IncidentEvent, tuple[str, ...]] = MappingProxyType(
    {
        IncidentEvent.OPENED: ("service", "priority", "cause", "summary"),
        IncidentEvent.REPORTED: ("partner",),
        IncidentEvent.ASKED: ("missing",),
        IncidentEvent.ASSIGNED: ("assignee",),
        IncidentEvent.PRIORITY: ("priority",),
        IncidentEvent.REQUESTED: ("level", "reason", "note"),
        IncidentEvent.ESCALATED: ("level", "reason", "due_us", "owners"),
        IncidentEvent.PAUSED: ("note",),
        IncidentEvent.REOPENED: ("note",),
        IncidentEvent.PLAN: ("note",),
        IncidentEvent.CALL: ("note",),
    },
)

"""The commands of incidents, as values: what the verbs, the control socket and later the forms ask for.

`at_us` None means now; an earlier instant is stated by whoever decides. `partner` None means the internal clocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from monitor.core.incident_fact import Attachment, EscalationReason, IncidentEvent
from monitor.core.priority import ClockName, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIncident:
    """A report (CONTRACT 3.2). `pieces` are its texts by `PIECES`; with `joins` it is a partner's own report of an
    incident that is open already. Without a partner it is the provider's own, with internal clocks alone.

    `reporter` refers to who reports, which is kept beside the chain; `identity` says which of name, email and phone are
    known there.
    """

    service: str
    priority: Priority
    summary: str
    partner: str | None = None
    reporter: str | None = None
    identity: tuple[str, ...] = ()
    pieces: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    channel: str | None = None
    outage: str | None = None
    joins: str | None = None
    at_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyIncident:
    """Pieces that a report lacked, and further attachments."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.SUPPLIED
    incident: str
    pieces: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgeIncident:
    """The report was seen by a person."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.ACKNOWLEDGED
    incident: str
    at_us: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignIncident:
    """Somebody works on it."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.ASSIGNED
    incident: str
    assignee: str
    at_us: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkAroundIncident:
    """A workaround removed the impact."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.WORKAROUND
    incident: str
    note: str
    at_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixIncident:
    """A permanent fix removed the impact, or the cause after a workaround."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.FIXED
    incident: str
    note: str
    at_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseIncident:
    """It is over. Where the monitor proposed it, this accepts that the impact went when the service recovered."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.CLOSED
    incident: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenIncident:
    """The impact is back: the clocks go on where they stopped."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.REOPENED
    incident: str
    note: str
    at_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseIncident:
    """A clock (None: both) of a pair waits for the partner."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.PAUSED
    incident: str
    note: str
    partner: str | None = None
    clock: ClockName | None = None
    at_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeIncident:
    """It waits no more."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.RESUMED
    incident: str
    partner: str | None = None
    clock: ClockName | None = None
    at_us: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePriority:
    """Another priority from now on; the time used so far is kept."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.PRIORITY
    incident: str
    priority: Priority
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalateIncident:
    """A request to escalate, with its reason and justification (CONTRACT 4.1)."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.REQUESTED
    incident: str
    reason: EscalationReason
    note: str
    partner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPlan:
    """Level 2 sends the partner its written action plan."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.PLAN
    incident: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConveneCall:
    """Level 3 convenes a call."""

    EVENT: ClassVar[IncidentEvent] = IncidentEvent.CALL
    incident: str
    note: str


EventCommand = (
    SupplyIncident
    | AcknowledgeIncident
    | AssignIncident
    | WorkAroundIncident
    | FixIncident
    | CloseIncident
    | ReopenIncident
    | PauseIncident
    | ResumeIncident
    | ChangePriority
    | EscalateIncident
    | SendPlan
    | ConveneCall
)
IncidentCommand = OpenIncident | EventCommand

INCIDENT_COMMANDS: Mapping[str, type[IncidentCommand]] = MappingProxyType(
    {
        "incident open": OpenIncident,
        "incident supply": SupplyIncident,
        "incident ack": AcknowledgeIncident,
        "incident assign": AssignIncident,
        "incident workaround": WorkAroundIncident,
        "incident fix": FixIncident,
        "incident close": CloseIncident,
        "incident reopen": ReopenIncident,
        "incident pause": PauseIncident,
        "incident resume": ResumeIncident,
        "incident priority": ChangePriority,
        "incident escalate": EscalateIncident,
        "incident plan": SendPlan,
        "incident call": ConveneCall,
    },
)

"""What may be said of incidents over HTTP, each the command that it asks for (CONTRACT 2.1, 3.2, 4.1)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from monitor.core.incident_fact import EscalationReason
from monitor.core.priority import ClockName, Priority
from monitor.ledger.incidents import command as commands
from monitor.ledger.incidents.report import PIECES
from monitor.web.bodies import Body, Id, Instant, Text

Reason = Literal["wrong_priority", "stalled_progress", "poor_communication", "massive_impact", "partner_management"]


class ReporterBody(Body):
    """Who reports. It is kept beside the chain, and can be erased."""

    name: Text | None = None
    email: Text | None = None
    phone: Text | None = None

    def given(self) -> dict[str, str]:
        """What was said."""
        return self.model_dump(exclude_none=True)


class PiecesBody(Body):
    """The texts of a report (CONTRACT 3.2). "None, because …" is an answer."""

    expected: Text | None = Field(default=None, description=PIECES["expected"])
    actual: Text | None = Field(default=None, description=PIECES["actual"])
    steps: Text | None = Field(default=None, description=PIECES["steps"])
    evidence: Text | None = Field(default=None, description=PIECES["evidence"])
    errors: Text | None = Field(default=None, description=PIECES["errors"])
    environment: Text | None = Field(default=None, description=PIECES["environment"])
    occurred: Text | None = Field(default=None, description=PIECES["occurred"])
    frequency: Text | None = Field(default=None, description=PIECES["frequency"])
    impact: Text | None = Field(default=None, description=PIECES["impact"])

    def given(self) -> dict[str, str]:
        """What was said."""
        return self.model_dump(exclude_none=True)


class OpenBody(Body):
    """A report. What it lacks is listed on it and asked for."""

    service: Id
    priority: Priority
    summary: Annotated[Text, Field(max_length=200, description="One line, without personal data.")]
    partner: Id | None = Field(default=None, description="Who reports. Without it: internal clocks alone.")
    reporter: ReporterBody = ReporterBody()
    pieces: PiecesBody = PiecesBody()
    channel: Text | None = Field(default=None, description="How the report came in.")
    outage: Text | None = Field(default=None, description="The outage it is about, by its id.")
    joins: Id | None = Field(default=None, description="The open incident that this is a further report of.")
    at: Instant | None = Field(default=None, description="When it was reported. Default: now.")

    def command(self, reference: str | None) -> commands.OpenIncident:
        """The report, its reporter by reference."""
        return commands.OpenIncident(
            service=self.service,
            priority=self.priority,
            summary=self.summary,
            partner=self.partner,
            reporter=reference,
            identity=tuple(self.reporter.given()),
            pieces=self.pieces.given(),
            channel=self.channel,
            outage=self.outage,
            joins=self.joins,
            at_us=self.at,
        )


class EventBody(Body):
    """What is done about a known incident."""

    def command(self, incident: str) -> commands.EventCommand:
        """The command."""
        raise NotImplementedError


class SupplyBody(EventBody):
    """What a report lacked."""

    pieces: PiecesBody
    note: Text | None = None

    def command(self, incident: str) -> commands.SupplyIncident:
        """The command."""
        return commands.SupplyIncident(incident=incident, pieces=self.pieces.given(), note=self.note)


class AcknowledgeBody(EventBody):
    """A person saw it."""

    at: Instant | None = None
    note: Text | None = None

    def command(self, incident: str) -> commands.AcknowledgeIncident:
        """The command."""
        return commands.AcknowledgeIncident(incident=incident, at_us=self.at, note=self.note)


class AssignBody(EventBody):
    """Somebody works on it."""

    assignee: Text
    at: Instant | None = None
    note: Text | None = None

    def command(self, incident: str) -> commands.AssignIncident:
        """The command."""
        return commands.AssignIncident(incident=incident, assignee=self.assignee, at_us=self.at, note=self.note)


class WorkaroundBody(EventBody):
    """A workaround removed the impact."""

    note: Text
    at: Instant | None = None

    def command(self, incident: str) -> commands.WorkAroundIncident:
        """The command."""
        return commands.WorkAroundIncident(incident=incident, note=self.note, at_us=self.at)


class FixBody(EventBody):
    """A permanent fix removed the impact."""

    note: Text
    at: Instant | None = None

    def command(self, incident: str) -> commands.FixIncident:
        """The command."""
        return commands.FixIncident(incident=incident, note=self.note, at_us=self.at)


class CloseBody(EventBody):
    """It is over."""

    note: Text | None = None

    def command(self, incident: str) -> commands.CloseIncident:
        """The command."""
        return commands.CloseIncident(incident=incident, note=self.note)


class ReopenBody(EventBody):
    """The impact is back."""

    note: Text
    at: Instant | None = None

    def command(self, incident: str) -> commands.ReopenIncident:
        """The command."""
        return commands.ReopenIncident(incident=incident, note=self.note, at_us=self.at)


class PauseBody(EventBody):
    """A clock (null: both) waits for the partner."""

    note: Text
    partner: Id | None = None
    clock: ClockName | None = None
    at: Instant | None = None

    def command(self, incident: str) -> commands.PauseIncident:
        """The command."""
        return commands.PauseIncident(
            incident=incident, note=self.note, partner=self.partner, clock=self.clock, at_us=self.at
        )


class ResumeBody(EventBody):
    """It waits no more."""

    partner: Id | None = None
    clock: ClockName | None = None
    at: Instant | None = None
    note: Text | None = None

    def command(self, incident: str) -> commands.ResumeIncident:
        """The command."""
        return commands.ResumeIncident(
            incident=incident, partner=self.partner, clock=self.clock, at_us=self.at, note=self.note
        )


class PriorityBody(EventBody):
    """Another priority from now on."""

    priority: Priority
    note: Text | None = None

    def command(self, incident: str) -> commands.ChangePriority:
        """The command."""
        return commands.ChangePriority(incident=incident, priority=self.priority, note=self.note)


class EscalateBody(EventBody):
    """A request to escalate, with its justification."""

    reason: Reason
    note: Text
    partner: Id | None = None

    def command(self, incident: str) -> commands.EscalateIncident:
        """The command."""
        return commands.EscalateIncident(
            incident=incident, reason=EscalationReason(self.reason), note=self.note, partner=self.partner
        )


class PlanBody(EventBody):
    """Level 2 sends the partner its written action plan."""

    note: Text

    def command(self, incident: str) -> commands.SendPlan:
        """The command."""
        return commands.SendPlan(incident=incident, note=self.note)


class CallBody(EventBody):
    """Level 3 convenes a call."""

    note: Text

    def command(self, incident: str) -> commands.ConveneCall:
        """The command."""
        return commands.ConveneCall(incident=incident, note=self.note)

"""What messages there are, how urgent each is, whom it is for, and which of them are acts of the contract.

A message's fields are texts, whole numbers and lists of them, bounded and on one line each; the words around them are
ours (`compose`). There is no template language: nothing that came from a target or a person is ever read as one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from monitor.telemetry.escaping import escape

MAX_TEXT = 500
MAX_ITEMS = 50


class Kind(enum.StrEnum):
    """What a message tells. The values are labels of metrics and keys of the configuration."""

    DOWN = "down"
    RECOVERED = "recovered"
    REMINDER = "reminder"
    DEGRADED = "degraded"
    RESTORED = "restored"
    UNSTABLE = "unstable"
    BLIND = "blind"
    SEEING = "seeing"
    MAINTENANCE_ANNOUNCED = "maintenance_announced"
    MAINTENANCE_EXTENDED = "maintenance_extended"
    MAINTENANCE_REMINDER = "maintenance_reminder"
    MAINTENANCE_STARTED = "maintenance_started"
    MAINTENANCE_FINISHED = "maintenance_finished"
    MAINTENANCE_CANCELLED = "maintenance_cancelled"
    DISRUPTION = "disruption"
    DISRUPTION_OVER = "disruption_over"
    STATEMENT = "statement"
    CREDIT_DUE = "credit_due"
    CLAIM_DEADLINE = "claim_deadline"
    ESCALATION = "escalation"
    QUESTION = "question"
    PLAN = "plan"
    CALL = "call"
    REQUEST = "request"
    DIGEST = "digest"
    TEST = "test"


class Severity(enum.StrEnum):
    """How urgent a message is, from the least on."""

    INFO = "info"
    TICKET = "ticket"
    PAGE = "page"

    @property
    def rank(self) -> int:
        """Its place, for comparing."""
        return [*Severity].index(self)


_PAGES = frozenset({Kind.DOWN, Kind.REMINDER, Kind.UNSTABLE, Kind.BLIND, Kind.ESCALATION, Kind.REQUEST})
_TICKETS = frozenset({Kind.DEGRADED, Kind.CREDIT_DUE, Kind.CLAIM_DEADLINE, Kind.QUESTION, Kind.PLAN, Kind.CALL})

NOTICES = frozenset({Kind.MAINTENANCE_ANNOUNCED, Kind.MAINTENANCE_EXTENDED})
"""Their acceptance by a channel is the partner's notice (CONTRACT 2.5.2)."""

OPERATIONAL = frozenset(
    {Kind.DOWN, Kind.RECOVERED, Kind.REMINDER, Kind.DEGRADED, Kind.RESTORED, Kind.UNSTABLE, Kind.BLIND, Kind.SEEING}
)
"""For those who run the services; several that come at once are one message. They leave no entry in the ledger."""

MAINTENANCE = frozenset(kind for kind in Kind if kind.value.startswith("maintenance_"))
MONTHLY = frozenset({Kind.STATEMENT, Kind.CREDIT_DUE, Kind.CLAIM_DEADLINE})

FOR_OPERATORS = OPERATIONAL | MAINTENANCE | MONTHLY
CORRESPONDENCE = frozenset({Kind.QUESTION, Kind.PLAN, Kind.CALL})
"""What an incident's partners are asked and told by its levels (CONTRACT 3.2, 4.2)."""

FOR_PARTNERS = MAINTENANCE | MONTHLY | CORRESPONDENCE | {Kind.DISRUPTION, Kind.DISRUPTION_OVER}


def severity_of(kind: str) -> Severity:
    """How urgent a kind is; what is not known is for information."""
    if kind in _PAGES:
        return Severity.PAGE
    return Severity.TICKET if kind in _TICKETS else Severity.INFO


def bounded(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a message may carry them: what is empty left out, texts on one line and cut, lists cut."""
    kept = {name: _bounded(value) for name, value in fields.items()}
    return {name: value for name, value in kept.items() if value not in (None, "", [], {})}


def _bounded(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(value, str):
        return escape(value[:MAX_TEXT])
    if isinstance(value, Mapping):
        return {str(name): _bounded(item) for name, item in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list | tuple):
        return [_bounded(item) for item in value[:MAX_ITEMS]]
    return value

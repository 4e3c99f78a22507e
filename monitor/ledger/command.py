"""The commands that decide something, as values: what the verbs, the control socket and the API ask for.

Times are microseconds UTC, spans half-open. `read_command` and `write_command` are their written form on the socket.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from monitor.core.fact import ExclusionReason, Ruling
from monitor.ledger.incidents.command import INCIDENT_COMMANDS, IncidentCommand


class CommandError(ValueError):
    """A written command that cannot be read; says which field and what was meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified:
    """A partner was told of a window by other means: when, over which channel, and what proves it."""

    partner: str
    at_us: int
    channel: str = "stated"
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceMaintenance:
    """Announce a window. `id` None takes the next free one; `extends` names the window it prolongs.

    A window that has begun needs `evidence`; it is recorded as it is and judged by its notice. With `rule` (RFC 5545)
    it recurs, read in the contract's zone; each window is announced by itself, with the id and a number.
    """

    services: tuple[str, ...]
    start_us: int
    end_us: int
    summary: str
    partners: tuple[str, ...] | None = None
    id: str | None = None
    extends: str | None = None
    evidence: str | None = None
    rule: str | None = None
    notified: tuple[Notified, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyMaintenance:
    """Record that a partner had notice of a known window."""

    maintenance: str
    notified: Notified


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishMaintenance:
    """The work of a running window ended; None means now."""

    maintenance: str
    at_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelMaintenance:
    """Call a window off before its start."""

    maintenance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclude:
    """Do not count a span, for all partners (None) or named ones."""

    reason: ExclusionReason
    services: tuple[str, ...]
    start_us: int
    end_us: int
    evidence: str
    partners: tuple[str, ...] | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse:
    """Take back an exclusion, an adjudication or an annulment."""

    of: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjudicate:
    """Rule on unknown time."""

    service: str
    start_us: int
    end_us: int
    verdict: Ruling
    evidence: str
    agreed_by: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Annul:
    """Void the runs of a check and location stamped in a span: they were the monitor's own fault."""

    service: str
    check: str
    location: str
    start_us: int
    end_us: int
    note: str
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileClaim:
    """A partner claims the credit of a month of a service."""

    partner: str
    service: str
    month: str
    at_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyCredit:
    """The granted credit of a month was set off against an invoice; None means now."""

    partner: str
    service: str
    month: str
    invoice: str
    at_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseMonth:
    """Close a month for one partner and service, or (with `restate_reason`) make its next version."""

    partner: str
    service: str
    month: str
    restate_reason: str | None = None


Command = (
    AnnounceMaintenance
    | NotifyMaintenance
    | FinishMaintenance
    | CancelMaintenance
    | Exclude
    | Reverse
    | Adjudicate
    | Annul
    | FileClaim
    | ApplyCredit
    | CloseMonth
    | IncidentCommand
)

COMMANDS: dict[str, type[Command]] = {
    "maintenance announce": AnnounceMaintenance,
    "maintenance notify": NotifyMaintenance,
    "maintenance finish": FinishMaintenance,
    "maintenance cancel": CancelMaintenance,
    "exclude add": Exclude,
    "exclude reverse": Reverse,
    "adjudicate": Adjudicate,
    "annul": Annul,
    "claim file": FileClaim,
    "claim apply": ApplyCredit,
    "close": CloseMonth,
    **INCIDENT_COMMANDS,
}
_VERBS = {shape: verb for verb, shape in COMMANDS.items()}


def write_command(command: Command) -> dict[str, Any]:
    """The JSON object of a command: its verb and its fields."""
    return {"verb": _VERBS[type(command)], **dataclasses.asdict(command)}


def read_command(written: Mapping[str, Any]) -> Command:
    """The command of a JSON object; CommandError names the verb or field at fault."""
    verb = written.get("verb")
    if not isinstance(verb, str) or verb not in COMMANDS:
        msg = f"verb {verb!r} is unknown; there are {', '.join(COMMANDS)}"
        raise CommandError(msg)
    body = {name: value for name, value in written.items() if name != "verb"}
    known = {field.name for field in dataclasses.fields(COMMANDS[verb])}
    if not body.keys() <= known:
        msg = f"{verb}: {', '.join(sorted(body.keys() - known))} is unknown; there are {', '.join(sorted(known))}"
        raise CommandError(msg)
    try:
        found: Command = _adapter(verb).validate_python(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        msg = f"{verb}: {place or 'command'}: {first['msg']}"
        raise CommandError(msg) from None
    return found


@functools.cache
def _adapter(verb: str) -> TypeAdapter[Any]:
    return TypeAdapter(COMMANDS[verb])

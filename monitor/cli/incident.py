"""`jaga incident`: reports, what is done about them, their clocks and escalations (CONTRACT 2.1, 3.2, 4.1, 4.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from monitor.cli import show
from monitor.cli.deciding import Asked, asked_options, decide
from monitor.cli.exits import AnswerIsNoError, WrongUseError
from monitor.cli.parse import INSTANT
from monitor.cli.place import place_options
from monitor.cli.reading import attachments_folder, personal_files, reading
from monitor.core.incident_fact import REQUESTED_LEVELS, Attachment, EscalationReason
from monitor.core.priority import ClockName, Priority
from monitor.ledger.incidents.command import (
    AcknowledgeIncident,
    AssignIncident,
    ChangePriority,
    CloseIncident,
    ConveneCall,
    EscalateIncident,
    FixIncident,
    OpenIncident,
    PauseIncident,
    ReopenIncident,
    ResumeIncident,
    SendPlan,
    SupplyIncident,
    WorkAroundIncident,
)
from monitor.ledger.incidents.report import PIECES
from monitor.telemetry.escaping import escape

_F = TypeVar("_F", bound=Callable[..., object])
_PRIORITY = click.Choice([priority.value for priority in Priority])
_CLOCK = click.Choice([clock.value for clock in ClockName])
_AT = click.option("--at", "at_us", type=INSTANT, help="When it happened, RFC 3339 with offset. Default: now.")
_NOTE = click.option("--note", help="What was done.")
_WORDS = click.option("--note", required=True, help="What was done, or why.")
_ATTACH = click.option(
    "--attach",
    "attached",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A picture or video; may be repeated.",
)


def _pieces(verb: _F) -> _F:
    """One option for each text of a report."""
    for name, what in reversed(tuple(PIECES.items())):
        verb = click.option(f"--{name}", help=f"{what[0].upper()}{what[1:]}.")(verb)
    return verb


@click.group("incident", epilog="Example: jaga incident list")
def command() -> None:
    """Incidents with their clocks: a partner's contractual pair starts at its report, the monitor's own is internal."""


@command.command(
    "open",
    epilog="Example: jaga incident open portal --priority P1 --summary 'orders fail' --partner acme --name 'Rina' "
    "--email rina@example.id --phone +62215550100 --expected 'an order number' --actual 'error 500' "
    "--steps 'log in, order' --evidence 'none, because it has no screen' --errors 'HTTP 500' --environment 'API v2' "
    "--occurred '2026-10-20 10:04 WIB' --frequency 'always' --impact 'no orders at all'",
)
@click.argument("service")
@click.option("--priority", type=_PRIORITY, required=True, help="P1 critical, P2 medium, P3 low.")
@click.option("--summary", required=True, help="One line, without personal data.")
@click.option("--partner", help="Who reports. Without it the report is the provider's own: internal clocks alone.")
@click.option("--name", default="", help="The reporter's name.")
@click.option("--email", default="", help="The reporter's e-mail.")
@click.option("--phone", default="", help="The reporter's phone.")
@_pieces
@_ATTACH
@click.option("--channel", help="How the report came in.")
@click.option("--outage", help="The outage it is about, by its id.")
@click.option("--joins", help="The open incident that this is a further report of.")
@_AT
@asked_options
@place_options
def open_(  # noqa: PLR0913 - the pieces of a report
    asked: Asked,
    *,
    service: str,
    priority: str,
    summary: str,
    partner: str | None,
    name: str,
    email: str,
    phone: str,
    attached: tuple[Path, ...],
    channel: str | None,
    outage: str | None,
    joins: str | None,
    at_us: int | None,
    **pieces: str | None,
) -> None:
    """Report an incident of SERVICE. What is missing is listed on it and asked for; "none, because …" is an answer."""
    who = {field: text.strip() for field, text in (("name", name), ("email", email), ("phone", phone)) if text.strip()}
    report = OpenIncident(
        service=service,
        priority=Priority(priority),
        summary=summary,
        partner=partner,
        identity=tuple(who),
        pieces={piece: text for piece, text in pieces.items() if text},
        attachments=_kept(asked, attached),
        channel=channel,
        outage=outage,
        joins=joins,
        at_us=at_us,
    )
    if not who or asked.preview:
        decide(asked, report)
        return
    files = personal_files()
    reference = files.keep("reporter", who)
    try:
        decide(asked, replace(report, reporter=reference))
    except AnswerIsNoError:
        files.erase(reference)  # no entry refers to it
        raise


@command.command("supply", epilog="Example: jaga incident supply i-1 --steps 'log in, then order'")
@click.argument("incident")
@_pieces
@_ATTACH
@_NOTE
@asked_options
@place_options
def supply(asked: Asked, *, incident: str, attached: tuple[Path, ...], note: str | None, **pieces: str | None) -> None:
    """Add what a report lacked."""
    given = {piece: text for piece, text in pieces.items() if text is not None}
    decide(asked, SupplyIncident(incident=incident, pieces=given, attachments=_kept(asked, attached), note=note))


@command.command("ack", epilog="Example: jaga incident ack i-1")
@click.argument("incident")
@_AT
@_NOTE
@asked_options
@place_options
def ack(asked: Asked, incident: str, at_us: int | None, note: str | None) -> None:
    """A person saw it. With the assignment this ends the initial response."""
    decide(asked, AcknowledgeIncident(incident=incident, at_us=at_us, note=note))


@command.command("assign", epilog="Example: jaga incident assign i-1 --to dewi")
@click.argument("incident")
@click.option("--to", "assignee", required=True, help="Who works on it.")
@_AT
@_NOTE
@asked_options
@place_options
def assign(asked: Asked, incident: str, assignee: str, at_us: int | None, note: str | None) -> None:
    """Somebody works on it."""
    decide(asked, AssignIncident(incident=incident, assignee=assignee, at_us=at_us, note=note))


@command.command("workaround", epilog="Example: jaga incident workaround i-1 --note 'traffic moved to the other site'")
@click.argument("incident")
@_AT
@_WORDS
@asked_options
@place_options
def workaround(asked: Asked, incident: str, at_us: int | None, note: str) -> None:
    """A workaround removed the impact: the resolution clocks stop."""
    decide(asked, WorkAroundIncident(incident=incident, at_us=at_us, note=note))


@command.command("fix", epilog="Example: jaga incident fix i-1 --note 'release 4.2.1'")
@click.argument("incident")
@_AT
@_WORDS
@asked_options
@place_options
def fix(asked: Asked, incident: str, at_us: int | None, note: str) -> None:
    """A permanent fix: the resolution clocks stop, unless a workaround stopped them before."""
    decide(asked, FixIncident(incident=incident, at_us=at_us, note=note))


@command.command("close", epilog="Example: jaga incident close i-1")
@click.argument("incident")
@_NOTE
@asked_options
@place_options
def close(asked: Asked, incident: str, note: str | None) -> None:
    """It is over. Where the monitor proposed to close, the impact counts as gone since the service recovered."""
    decide(asked, CloseIncident(incident=incident, note=note))


@command.command("reopen", epilog="Example: jaga incident reopen i-1 --note 'orders fail again'")
@click.argument("incident")
@_AT
@_WORDS
@asked_options
@place_options
def reopen(asked: Asked, incident: str, at_us: int | None, note: str) -> None:
    """The impact is back: the clocks go on where they stopped."""
    decide(asked, ReopenIncident(incident=incident, at_us=at_us, note=note))


@command.command("pause", epilog="Example: jaga incident pause i-1 --partner acme --note 'waits for their log files'")
@click.argument("incident")
@click.option("--partner", help="Whose clock waits for its partner. Default: the internal one.")
@click.option("--clock", type=_CLOCK, help="Which of the two. Default: both.")
@_AT
@_WORDS
@asked_options
@place_options
def pause(asked: Asked, incident: str, partner: str | None, clock: str | None, at_us: int | None, note: str) -> None:
    """Take the time from now on off a clock: it waits for the partner."""
    which = None if clock is None else ClockName(clock)
    decide(asked, PauseIncident(incident=incident, partner=partner, clock=which, at_us=at_us, note=note))


@command.command("resume", epilog="Example: jaga incident resume i-1 --partner acme")
@click.argument("incident")
@click.option("--partner", help="Whose clock. Default: the internal one.")
@click.option("--clock", type=_CLOCK, help="Which of the two. Default: both.")
@_AT
@_NOTE
@asked_options
@place_options
def resume(
    asked: Asked, incident: str, partner: str | None, clock: str | None, at_us: int | None, note: str | None
) -> None:
    """Let a paused clock go on."""
    which = None if clock is None else ClockName(clock)
    decide(asked, ResumeIncident(incident=incident, partner=partner, clock=which, at_us=at_us, note=note))


@command.command("priority", epilog="Example: jaga incident priority i-1 P2 --note 'only reports are slow'")
@click.argument("incident")
@click.argument("priority", type=_PRIORITY)
@_NOTE
@asked_options
@place_options
def priority_(asked: Asked, incident: str, priority: str, note: str | None) -> None:
    """Change the priority: the time used so far is kept, the rest is counted on the new clock."""
    decide(asked, ChangePriority(incident=incident, priority=Priority(priority), note=note))


@command.command(
    "escalate", epilog="Example: jaga incident escalate i-1 --partner acme --reason stalled_progress --note 'no news'"
)
@click.argument("incident")
@click.option("--reason", type=click.Choice([reason.value for reason in REQUESTED_LEVELS]), required=True)
@click.option("--partner", help="Which partner asks. Default: the provider.")
@click.option("--note", required=True, help="The justification.")
@asked_options
@place_options
def escalate(asked: Asked, incident: str, reason: str, partner: str | None, note: str) -> None:
    """Ask for level 2, or for level 3 where the impact is massive or the partner's management asks."""
    decide(asked, EscalateIncident(incident=incident, reason=EscalationReason(reason), partner=partner, note=note))


@command.command("plan", epilog="Example: jaga incident plan i-1 --note 'roll back at 14:00, report at 14:30'")
@click.argument("incident")
@_WORDS
@asked_options
@place_options
def plan(asked: Asked, incident: str, note: str) -> None:
    """Level 2 sends the partners its written action plan."""
    decide(asked, SendPlan(incident=incident, note=note))


@command.command("call", epilog="Example: jaga incident call i-1 --note 'today at 16:00 WIB'")
@click.argument("incident")
@_WORDS
@asked_options
@place_options
def call(asked: Asked, incident: str, note: str) -> None:
    """Level 3 convenes a call."""
    decide(asked, ConveneCall(incident=incident, note=note))


@command.command("list", epilog="Example: jaga incident list --json")
@click.option("--all", "all_", is_flag=True, help="Closed ones too.")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def list_(all_: bool, json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """The board: the incident whose time runs out first on top."""
    from monitor.ledger.incidents.view import Desk, board

    with reading() as months:
        found = board(Desk.of(months.record, months.basis, months.now_us), closed=all_)
    if json_:
        show.as_json(found)
        return
    show.table(
        ("id", "priority", "service", "phase", "level", "next", "left", "summary"),
        [_line(row) for row in found],
        empty="No incident is on record." if all_ else "No incident is open.",
    )


@command.command("show", epilog="Example: jaga incident show i-1")
@click.argument("incident")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def show_(incident: str, json_: bool) -> None:  # noqa: FBT001 - as above
    """One incident: its clocks, and everything that happened in the order of its record."""
    from monitor.ledger.incidents.view import Desk, lines, timeline

    with reading() as months:
        found = timeline(Desk.of(months.record, months.basis, months.now_us), incident, personal_files())
    if found is None:
        raise AnswerIsNoError(f"there is no incident {incident}")
    if json_:
        show.as_json(found)
        return
    for line in lines(found):
        click.echo(escape(line))


def _kept(asked: Asked, files: tuple[Path, ...]) -> tuple[Attachment, ...]:
    """The attachments of a report, kept beside the ledger before the report is recorded."""
    from monitor.storage.attachments import AttachmentError, keep

    if not files:
        return ()
    if asked.preview:
        raise WrongUseError("a preview keeps no attachments; leave --attach out")
    folder = attachments_folder()
    try:
        return tuple(keep(file, folder) for file in files)
    except AttachmentError as error:
        raise WrongUseError(str(error)) from error


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    clock = row["next"]
    named = (row["id"], row["priority"], row["service"], row["phase"], str(row["level"]))
    if clock is None:
        return (*named, "", "", row["summary"])
    estimated = "~" if clock["provisional"] else ""
    return (*named, f"{clock['of']} {clock['clock']}", estimated + _left(clock), row["summary"])


def _left(clock: dict[str, Any]) -> str:
    """Hours and minutes until the due instant, or since."""
    seconds = int(clock["left_seconds"].partition(".")[0])
    hours, minutes = divmod(abs(seconds) // 60, 60)
    if clock["state"] == "paused":
        return f"{hours}:{minutes:02d} (paused)"
    return f"{hours}:{minutes:02d}" if seconds >= 0 else f"breached {hours}:{minutes:02d} ago"

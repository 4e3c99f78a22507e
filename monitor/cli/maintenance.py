"""`jaga maintenance`: windows are announced, extended, cancelled before their start and finished after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from monitor.cli import show
from monitor.cli.deciding import Asked, asked_options, decide
from monitor.cli.parse import INSTANT
from monitor.cli.place import place_options
from monitor.cli.reading import reading
from monitor.core.exclusion import Window
from monitor.core.instant import format_instant
from monitor.ledger.command import (
    AnnounceMaintenance,
    CancelMaintenance,
    Command,
    FinishMaintenance,
    Notified,
    NotifyMaintenance,
)

NOTIFIED_HELP = "A partner that was told, at --at or its own PARTNER=INSTANT; needs --evidence. May be repeated."
AT_HELP = "When those --notified were told, RFC 3339 with offset."


@click.group("maintenance", epilog="Example: jaga maintenance list")
def command() -> None:
    """Maintenance windows. Excluded are those a partner had notice of in time (CONTRACT 2.5.2)."""


def _notices(texts: Sequence[str], told_us: int | None, evidence: str | None) -> tuple[Notified, ...]:
    """Who was told when. What is said of no partner is refused: it would be lost."""
    if told_us is not None and not texts:
        raise click.UsageError("--at says when a partner was told: name it with --notified PARTNER")
    found = []
    for text in texts:
        partner, equals, instant = text.partition("=")
        at_us = INSTANT.convert(instant, None, None) if equals else told_us
        if at_us is None:
            raise click.BadParameter(
                f"{text!r} names no instant; give --at INSTANT, or write PARTNER=INSTANT",
                param_hint="--notified",
            )
        found.append(Notified(partner=partner, at_us=at_us, evidence=evidence))
    return tuple(found)


@command.command(
    "announce",
    epilog="Example: jaga maintenance announce portal --start 2026-10-20T23:00:00+07:00 "
    '--end 2026-10-21T01:00:00+07:00 --summary "database upgrade"',
)
@click.argument("services", nargs=-1, required=True)
@click.option("--start", "start_us", type=INSTANT, required=True, help="RFC 3339 with offset.")
@click.option("--end", "end_us", type=INSTANT, required=True, help="RFC 3339 with offset.")
@click.option("--summary", required=True, help="What is done, for the partners.")
@click.option("--partner", "partners", multiple=True, help="Only these partners. Default: all.")
@click.option("--id", "wanted", help="Its id. Default: the next free m-N.")
@click.option("--rule", help="Recurs by this RFC 5545 rule in the contract's zone: FREQ=WEEKLY;BYDAY=SU;COUNT=4.")
@click.option("--notified", "notified", multiple=True, metavar="PARTNER[=INSTANT]", help=NOTIFIED_HELP)
@click.option("--at", "told_us", type=INSTANT, help=AT_HELP)
@click.option("--evidence", help="What proves the notices, or a window in the past.")
@asked_options
@place_options
def announce(asked: Asked, services: tuple[str, ...], partners: tuple[str, ...], **said: Any) -> None:  # noqa: ANN401
    """Announce a window for SERVICES."""
    window = AnnounceMaintenance(
        services=services,
        start_us=said["start_us"],
        end_us=said["end_us"],
        summary=said["summary"],
        partners=partners or None,
        id=said["wanted"],
        evidence=said["evidence"],
        rule=said["rule"],
        notified=_notices(said["notified"], said["told_us"], said["evidence"]),
    )
    decide(asked, window)


@command.command(
    "extend",
    epilog="Example: jaga maintenance extend m-1 --end 2026-10-21T03:00:00+07:00 --summary 'takes longer'",
)
@click.argument("window")
@click.option("--end", "end_us", type=INSTANT, required=True, help="RFC 3339 with offset.")
@click.option("--summary", required=True, help="Why, for the partners.")
@click.option("--notified", "notified", multiple=True, metavar="PARTNER[=INSTANT]", help=NOTIFIED_HELP)
@click.option("--at", "told_us", type=INSTANT, help=AT_HELP)
@click.option("--evidence", help="What proves the notices.")
@asked_options
@place_options
def extend(
    asked: Asked,
    window: str,
    end_us: int,
    summary: str,
    notified: tuple[str, ...],
    told_us: int | None,
    evidence: str | None,
) -> None:
    """Prolong WINDOW from its end on: a maintenance of its own, judged by its own notice."""
    with reading() as months:
        known = months.record.book.windows.get(window)
    if known is None:
        raise click.UsageError(f"there is no window {window}; jaga maintenance list shows those there are")
    longer = AnnounceMaintenance(
        services=known.fact.services,
        start_us=known.fact.end_us,
        end_us=end_us,
        summary=summary,
        partners=known.fact.partners,
        extends=window,
        evidence=evidence,
        notified=_notices(notified, told_us, evidence),
    )
    decide(asked, longer)


@command.command(
    "notified",
    epilog="Example: jaga maintenance notified m-1 --partner acme --at 2026-10-18T08:00:00+07:00 --evidence mail-4711",
)
@click.argument("window")
@click.option("--partner", required=True)
@click.option("--at", "at_us", type=INSTANT, required=True, help="When a channel accepted it, RFC 3339 with offset.")
@click.option("--channel", default="stated", show_default=True, help="email, phone, letter …")
@click.option("--evidence", required=True, help="A receipt, a message id, a letter.")
@asked_options
@place_options
def notified(asked: Asked, window: str, partner: str, at_us: int, channel: str, evidence: str) -> None:
    """Record that a partner was told of WINDOW by other means."""
    notice = Notified(partner=partner, at_us=at_us, channel=channel, evidence=evidence)
    decide(asked, NotifyMaintenance(maintenance=window, notified=notice))


@command.command("cancel", epilog="Example: jaga maintenance cancel m-1")
@click.argument("window")
@asked_options
@place_options
def cancel(asked: Asked, window: str) -> None:
    """Call WINDOW off before its start: nothing is excluded."""
    decide(asked, CancelMaintenance(maintenance=window))


@command.command("finish", epilog="Example: jaga maintenance finish m-1")
@click.argument("window")
@click.option("--at", "at_us", type=INSTANT, help="When the work ended. Default: now.")
@asked_options
@place_options
def finish(asked: Asked, window: str, at_us: int | None) -> None:
    """Say that the work of WINDOW ended: nothing after it is excluded."""
    done: Command = FinishMaintenance(maintenance=window, at_us=at_us)
    decide(asked, done)


@command.command("list", epilog="Example: jaga maintenance list --json")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def list_(json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Every window on record, with its notices and what became of it."""
    with reading() as months:
        windows, now_us = list(months.record.book.windows.values()), months.now_us
    if json_:
        show.as_json(
            [
                {
                    "id": window.fact.id,
                    "services": list(window.fact.services),
                    "partners": None if window.fact.partners is None else list(window.fact.partners),
                    "start": format_instant(window.fact.start_us),
                    "end": format_instant(window.fact.end_us),
                    "summary": window.fact.summary,
                    "extends": window.fact.extends,
                    "notices": [
                        {"partner": given.partner, "counts_from": format_instant(given.counts_from_us)}
                        for given in window.notices
                    ],
                    "finished": None if window.finished_us is None else format_instant(window.finished_us),
                    "cancelled": None if window.cancelled_us is None else format_instant(window.cancelled_us),
                }
                for window in windows
            ],
        )
        return
    show.table(
        ("id", "services", "start", "end", "notices", "state", "summary"),
        [
            (
                window.fact.id,
                ", ".join(window.fact.services),
                format_instant(window.fact.start_us),
                format_instant(window.fact.end_us if window.cancelled_in_time else window.ends_us),
                ", ".join(f"{given.partner} {format_instant(given.counts_from_us)}" for given in window.notices)
                or "none",
                _state(window, now_us),
                window.fact.summary,
            )
            for window in windows
        ],
        empty="No window is on record.",
    )


def _state(window: Window, now_us: int) -> str:
    if window.cancelled_in_time:
        return "cancelled"
    if window.finished_us is not None:
        return "finished"
    if now_us >= window.ends_us:
        return "over"
    return "running" if now_us >= window.fact.start_us else "announced"

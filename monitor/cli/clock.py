"""`jaga clock`: when a target on the contract's clock is due, and when three quarters of it are used (CONTRACT 2.8)."""

from __future__ import annotations

import click

from monitor.cli import show
from monitor.cli.exits import WrongUseError
from monitor.cli.parse import DURATION, INSTANT, SPAN


@click.command("clock", epilog="Example: jaga clock --start 2026-04-06T16:00:00+07:00 --target 480m --hours business")
@click.option("--start", "start_us", type=INSTANT, required=True, help="When it starts, RFC 3339 with offset.")
@click.option("--target", "target_us", type=DURATION, required=True, help="How much open time it allows: 240m, 8h.")
@click.option("--hours", type=click.Choice(["business", "24x7"]), default="business", show_default=True)
@click.option("--pause", "pauses", type=SPAN, multiple=True, help="START/END taken off the clock; may be repeated.")
@click.option("--collective-leave", is_flag=True, help="Count collective leave (cuti bersama) as days off.")
@click.option("--zone", "zone_name", default="Asia/Jakarta", show_default=True, help="The contract's time zone.")
@click.option("--holidays", default="id", show_default=True, help="The table of public holidays.")
def command(
    start_us: int,
    target_us: int,
    hours: str,
    pauses: tuple[tuple[int, int], ...],
    collective_leave: bool,  # noqa: FBT001 - click hands options over by name
    zone_name: str,
    holidays: str,
) -> None:
    """Print {"due", "escalate_75"} of a target that starts on the business clock, or around the clock."""
    from monitor.config import ZoneError, zone
    from monitor.config.holidays import HolidayError, calendar
    from monitor.core.calendar import AlwaysOpen, CalendarError, Clock, Hours, due_us, escalate_75_us
    from monitor.core.instant import format_instant
    from monitor.core.span import Span

    try:
        there = zone(zone_name)
        clock: Clock = AlwaysOpen()
        if hours == "business":
            clock = calendar(Hours(), there, holidays, collective_leave=collective_leave)
        spans = [Span(*pause) for pause in pauses]
        due = due_us(start_us, target_us, clock, spans)
        escalate = escalate_75_us(start_us, target_us, clock, spans)
    except (ZoneError, HolidayError, CalendarError) as error:
        raise WrongUseError(str(error)) from error
    show.as_json({"due": format_instant(due, there), "escalate_75": format_instant(escalate, there)})
    if clock.provisional(start_us, due, spans):
        click.echo("provisional: it rests on dates whose holidays are not decreed yet", err=True)

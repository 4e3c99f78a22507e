"""`jaga annul`: void runs that were the monitor's own fault (CONTRACT 2.1.5)."""

from __future__ import annotations

import click

from monitor.cli.deciding import Asked, asked_options, decide
from monitor.cli.parse import INSTANT
from monitor.cli.place import place_options
from monitor.ledger.command import Annul


@click.command(
    "annul",
    epilog="Example: jaga annul portal/login --location jkt-1 --start 2026-10-20T10:00:00+07:00 "
    "--end 2026-10-20T10:20:00+07:00 --note 'wrong password deployed with the probe'",
)
@click.argument("check", metavar="SERVICE/CHECK")
@click.option("--location", required=True)
@click.option("--start", "start_us", type=INSTANT, required=True, help="RFC 3339 with offset.")
@click.option("--end", "end_us", type=INSTANT, required=True, help="RFC 3339 with offset.")
@click.option("--note", required=True, help="What was wrong with them.")
@click.option("--id", "wanted", help="Its id. Default: the next free a-N.")
@asked_options
@place_options
def command(
    asked: Asked,
    check: str,
    location: str,
    start_us: int,
    end_us: int,
    note: str,
    wanted: str | None,
) -> None:
    """Make the runs of a check and location in a span inconclusive; nothing is removed."""
    service, slash, name = check.partition("/")
    if not slash:
        raise click.BadParameter(f"{check!r} names no check; write SERVICE/CHECK", param_hint="SERVICE/CHECK")
    annulment = Annul(
        service=service,
        check=name,
        location=location,
        start_us=start_us,
        end_us=end_us,
        note=note,
        id=wanted,
    )
    decide(asked, annulment)

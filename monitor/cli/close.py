"""`jaga close`: a month is closed once; restating makes its next version and keeps the old one (CONTRACT 2.7)."""

from __future__ import annotations

import click

from monitor.cli.deciding import Asked, asked_options, decide
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.parse import MONTH
from monitor.cli.place import place_options
from monitor.cli.reading import reading
from monitor.core.calendar import Month
from monitor.ledger.command import CloseMonth


@click.command("close", epilog="Example: jaga close 2026-10 --partner acme --service portal")
@click.argument("month", type=MONTH)
@click.option("--partner", help="Only this partner's.")
@click.option("--service", help="Only this service's.")
@click.option("--reason", "restate_reason", help="With --restate: why a new version is made.")
@asked_options
@place_options
def command(asked: Asked, month: str, partner: str | None, service: str | None, restate_reason: str | None) -> None:
    """Close MONTH for all partners and services, or for those named. The daemon does so by itself."""
    if asked.restate and not restate_reason:
        raise click.UsageError("--restate needs its --reason: it stands in the new version")
    if restate_reason and not asked.restate:
        raise click.UsageError("--reason belongs to --restate")
    with reading() as months:
        found = months.statements(Month.parse(month), partner, service)
        pairs = [(entry.figures.partner, entry.figures.service) for entry in found]
    if not pairs:
        raise AnswerIsNoError(f"there is no statement for {month}: no subscription and terms are in force in it")
    for owner, of in pairs:
        decide(asked, CloseMonth(partner=owner, service=of, month=month, restate_reason=restate_reason))

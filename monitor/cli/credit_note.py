"""`jaga credit-note`: what a partner is credited for a month over all its services (CONTRACT 2.6)."""

from __future__ import annotations

from typing import Any

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.parse import MONTH
from monitor.cli.place import place_options
from monitor.cli.reading import reading
from monitor.core.calendar import Month
from monitor.ledger.creditnote import credit_note
from monitor.locale import Lang
from monitor.reports.note import text


@click.command("credit-note", epilog="Example: jaga credit-note acme 2026-10 --lang id")
@click.argument("partner")
@click.argument("month", type=MONTH)
@click.option("--lang", type=click.Choice([lang.value for lang in Lang]), default="en", show_default=True)
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def command(partner: str, month: str, lang: str, json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """The credit of PARTNER for MONTH over all its services, by the contract's credit base.

    Exit code 1 where the partner has no statement in the month.
    """
    with reading() as months:
        statements = months.statements(Month.parse(month), partner)
        note: dict[str, Any] | None = credit_note(Month.parse(month), partner, statements) if statements else None
    if note is None:
        raise AnswerIsNoError(f"there is no statement for {partner} in {month}: no subscription and terms are in force")
    if json_:
        show.as_json(note)
    else:
        click.echo(text(note, Lang(lang)), nl=False)

"""`jaga explain`: the arithmetic of a month, from evidence to credit, recomputed."""

from __future__ import annotations

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.parse import MONTH
from monitor.cli.place import place_options
from monitor.cli.reading import reading
from monitor.core.calendar import Month
from monitor.ledger.explain import explain, matches_issued
from monitor.ledger.retention import gone
from monitor.telemetry.escaping import escape


@click.command("explain", epilog="Example: jaga explain acme 2026-10 --service portal")
@click.argument("partner")
@click.argument("month", type=MONTH)
@click.option("--service", help="Only this service.")
@click.option("--json", "json_", is_flag=True, help="As JSON: a list of lines for each statement.")
@place_options
def command(partner: str, month: str, service: str | None, json_: bool) -> None:  # noqa: FBT001 - as above
    """Each step that leads from the evidence of MONTH to PARTNER's credit, and whether it matches the issued digest."""
    with reading() as months:
        statements = months.statements(Month.parse(month), partner, service)
        explained = {
            found.document["statement"]: explain(
                found, months.basis.zone(found.figures.terms.zone), list(gone(months, found.ground))
            )
            for found in statements
        }
        differing = [found.document["statement"] for found in statements if not matches_issued(found)]
    if json_:
        show.as_json([{"statement": name, "lines": lines} for name, lines in explained.items()])
    else:
        click.echo("\n\n".join("\n".join(map(escape, lines)) for lines in explained.values()))
    if not explained:
        raise AnswerIsNoError(f"there is no statement for {partner} in {month}: no subscription and terms are in force")
    if differing:
        raise AnswerIsNoError(f"{', '.join(differing)}: what the record gives now is not what was issued")

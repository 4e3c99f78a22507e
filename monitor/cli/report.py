"""`jaga report yearly`: the yearly joint review of the agreement (SLA 7.1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.place import place_options
from monitor.cli.progress import progress
from monitor.cli.reading import reading
from monitor.ledger.close import proposed
from monitor.ledger.yearly import yearly

_COLUMNS = (
    "month",
    "version",
    "availability",
    "downtime s",
    "excluded s",
    "outages",
    "coverage",
    "guarantee",
    "credit",
    "claim",
)
_FIRST_YEAR, _LAST_YEAR = 1970, 2254


@click.group("report", epilog="Example: jaga report yearly 2026")
def command() -> None:
    """Reports over more than a month."""


@command.command("yearly", epilog="Example: jaga report yearly 2026 --partner acme --json")
@click.argument("year", type=click.IntRange(_FIRST_YEAR, _LAST_YEAR))
@click.option("--partner", help="Only this partner's.")
@click.option("--service", help="Only this service's.")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def yearly_(year: int, partner: str | None, service: str | None, json_: bool) -> None:  # noqa: FBT001 - as above
    """Every month of YEAR by its newest statement, with the year's sums: what both sides review.

    Exit code 1 where there is no statement in the year.
    """
    with reading() as months, progress("months") as moved:
        review = yearly(months, year, partner, service, progress=moved)
    if json_:
        show.as_json(review)
    else:
        for number, found in enumerate(review["reviews"]):
            if number:
                click.echo()
            _show(found, year)
    if not review["reviews"]:
        raise AnswerIsNoError(f"there is no statement in {year}: no subscription and terms are in force in it")


@command.command("restatements", epilog="Example: jaga report restatements --json")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def restatements(json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Closed months that the ledger would now give otherwise: `jaga close MONTH --restate` makes their next version."""
    with reading() as months:
        found = proposed(months)
    if json_:
        show.as_json([dataclasses.asdict(entry) for entry in found])
        return
    show.table(
        ("statement", "version", "availability", "then", "change in credit"),
        [(e.statement, str(e.version), *(f"{share} %" for share in e.availability), e.credit_delta) for e in found],
        empty="Every closed month stands as it was issued.",
    )


def _show(review: Mapping[str, Any], year: int) -> None:
    sums = review["year"]
    kept = f"guarantee missed in {sums['missed']} of {sums['months']} months"
    click.echo(f"{year}, {review['service']['id']} for {review['partner']['id']}: {kept}")
    show.table(
        _COLUMNS,
        [_row(month) for month in review["months"]],
        empty="",
    )
    credited = ", ".join(f"{entry['currency']} {entry['amount']}" for entry in sums["credits"])
    click.echo(
        f"year: availability {sums['availability']['percent']} % (for information: the agreement judges months), "
        f"downtime {sums['downtime']['seconds']} s in {sums['outages']} outages, "
        f"the longest {sums['longest_outage_seconds']} s; credits {credited}",
    )
    for entry in review["excluded"]:
        click.echo(f"excluded: {entry['reason']} {entry['seconds']} s")
    for priority, counted in review["incidents"].items():
        late = {clock: counted[clock]["breached"] for clock in ("response", "resolution")}
        click.echo(
            f"incidents {priority}: {counted['reported']} reported, {counted['escalated']} escalated, "
            f"late: {late['response']} responses, {late['resolution']} resolutions"
        )
    for entry in review["terms"]:
        click.echo(f"terms: {entry['contract']} from {entry['effective_from']}, guarantee {entry['guarantee']} %")


def _row(month: Mapping[str, Any]) -> tuple[str, ...]:
    credit = month["credit"]
    return (
        month["month"],
        f"{month['version']} {month['status']}",
        f"{month['availability']['percent']} %",
        month["downtime"]["seconds"],
        month["downtime"]["excluded_seconds"],
        str(month["outages"]),
        f"{month['coverage']['percent']} %",
        "kept" if month["guarantee"]["met"] else "MISSED",
        f"{credit['percent']} % = {credit['fee']['currency']} {credit['amount']}",
        month["claim"],
    )

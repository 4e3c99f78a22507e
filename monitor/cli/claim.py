"""`jaga claim`: a partner claims the credit of a month (CONTRACT 2.7)."""

from __future__ import annotations

from typing import Any

import click

from monitor.cli import show
from monitor.cli.deciding import Asked, asked_options, decide
from monitor.cli.parse import INSTANT, MONTH
from monitor.cli.place import place_options
from monitor.cli.reading import reading
from monitor.core.calendar import Month
from monitor.core.instant import format_instant
from monitor.ledger.command import ApplyCredit, FileClaim


@click.group("claim", epilog="Example: jaga claim list")
def command() -> None:
    """Service credit claims: in time up to the end of the last day the contract gives."""


@command.command("file", epilog="Example: jaga claim file acme 2026-10 --service portal")
@click.argument("partner")
@click.argument("month", type=MONTH)
@click.option("--service", required=True)
@click.option("--at", "at_us", type=INSTANT, help="When the partner claimed. Default: now.")
@asked_options
@place_options
def file(asked: Asked, partner: str, month: str, service: str, at_us: int | None) -> None:
    """Record that PARTNER claims the credit of MONTH."""
    decide(asked, FileClaim(partner=partner, service=service, month=month, at_us=at_us))


@command.command("apply", epilog="Example: jaga claim apply acme 2026-10 --service portal --invoice INV-2026-11-007")
@click.argument("partner")
@click.argument("month", type=MONTH)
@click.option("--service", required=True)
@click.option("--invoice", required=True, help="The invoice against which the credit was set off.")
@click.option("--at", "at_us", type=INSTANT, help="When. Default: now.")
@asked_options
@place_options
def apply(asked: Asked, partner: str, month: str, service: str, invoice: str, at_us: int | None) -> None:
    """Record that the granted credit of MONTH stands on PARTNER's invoice."""
    decide(asked, ApplyCredit(partner=partner, service=service, month=month, invoice=invoice, at_us=at_us))


@command.command("list", epilog="Example: jaga claim list --json")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def list_(json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Every claim on record, with where it stands."""
    found: list[dict[str, Any]] = []
    with reading() as months:
        for recorded in months.record.book.claims:
            claim = recorded.fact
            statements = months.statements(Month.parse(claim.month), claim.partner, claim.service)
            credit = statements[0].document["credit"] if statements else None
            status = statements[0].document["claim"]["status"] if statements else "none"
            found.append(
                {
                    "partner": claim.partner,
                    "service": claim.service,
                    "month": claim.month,
                    "at": format_instant(claim.at_us),
                    "by": claim.by,
                    "status": status,
                    "credit": credit,
                },
            )
    if json_:
        show.as_json(found)
        return
    show.table(
        ("partner", "service", "month", "filed", "by", "status", "credit"),
        [
            (
                str(entry["partner"]),
                str(entry["service"]),
                str(entry["month"]),
                str(entry["at"]),
                str(entry["by"] or ""),
                str(entry["status"]),
                f"{entry['credit']['fee']['currency']} {entry['credit']['amount']}" if entry["credit"] else "",
            )
            for entry in found
        ],
        empty="No claim is on record.",
    )

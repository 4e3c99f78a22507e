"""`jaga adjudicate`: rule on unknown time, so that a month may close (CONTRACT 2.4)."""

from __future__ import annotations

import click

from monitor.cli.deciding import Asked, asked_options, decide
from monitor.cli.parse import INSTANT
from monitor.cli.place import place_options
from monitor.core.fact import Ruling
from monitor.ledger.command import Adjudicate


@click.command(
    "adjudicate",
    epilog="Example: jaga adjudicate portal up --start 2026-10-20T10:00:00+07:00 --end 2026-10-20T10:20:00+07:00 "
    "--evidence 'access log of the load balancer'",
)
@click.argument("service")
@click.argument("verdict", type=click.Choice([ruling.value for ruling in Ruling]))
@click.option("--start", "start_us", type=INSTANT, required=True, help="RFC 3339 with offset.")
@click.option("--end", "end_us", type=INSTANT, required=True, help="RFC 3339 with offset.")
@click.option("--evidence", required=True, help="What the ruling rests on.")
@click.option("--agreed-by", metavar="PARTNER", help="The partner that consented in writing to 'unknown'.")
@click.option("--id", "wanted", help="Its id. Default: the next free j-N.")
@asked_options
@place_options
def command(
    asked: Asked,
    service: str,
    verdict: str,
    start_us: int,
    end_us: int,
    evidence: str,
    agreed_by: str | None,
    wanted: str | None,
) -> None:
    """Rule that unknown time of SERVICE was up, down, or stays unknown."""
    ruling = Adjudicate(
        service=service,
        start_us=start_us,
        end_us=end_us,
        verdict=Ruling(verdict),
        evidence=evidence,
        agreed_by=agreed_by,
        id=wanted,
    )
    decide(asked, ruling)

"""`jaga exclude`: spans that are not counted, each with its reason and evidence; reversals; the list of decisions."""

from __future__ import annotations

import click

from monitor.cli import show
from monitor.cli.deciding import Asked, asked_options, decide
from monitor.cli.parse import INSTANT
from monitor.cli.place import place_options
from monitor.cli.reading import reading
from monitor.core.fact import ExclusionReason
from monitor.core.wire import write_fact
from monitor.ledger.command import Exclude, Reverse

REASONS = [reason.value for reason in ExclusionReason if reason is not ExclusionReason.MAINTENANCE]


@click.group("exclude", epilog="Example: jaga exclude list")
def command() -> None:
    """Exclusions (CONTRACT 5.3). Time counts until a decision to exclude it is recorded."""


@command.command(
    "add",
    epilog="Example: jaga exclude add portal --reason third_party --start 2026-10-20T10:00:00+07:00 "
    "--end 2026-10-20T11:30:00+07:00 --evidence 'report of the data centre, ticket 4711'",
)
@click.argument("services", nargs=-1, required=True)
@click.option("--reason", type=click.Choice(REASONS), required=True)
@click.option("--start", "start_us", type=INSTANT, required=True, help="RFC 3339 with offset.")
@click.option("--end", "end_us", type=INSTANT, required=True, help="RFC 3339 with offset.")
@click.option("--evidence", required=True, help="What it rests on.")
@click.option("--partner", "partners", multiple=True, help="Only these partners. Default: all.")
@click.option("--id", "wanted", help="Its id. Default: the next free x-N.")
@asked_options
@place_options
def add(
    asked: Asked,
    services: tuple[str, ...],
    reason: str,
    start_us: int,
    end_us: int,
    evidence: str,
    partners: tuple[str, ...],
    wanted: str | None,
) -> None:
    """Do not count a span of SERVICES."""
    exclusion = Exclude(
        reason=ExclusionReason(reason),
        services=services,
        start_us=start_us,
        end_us=end_us,
        evidence=evidence,
        partners=partners or None,
        id=wanted,
    )
    decide(asked, exclusion)


@command.command("reverse", epilog="Example: jaga exclude reverse x-1 --note 'the report was withdrawn'")
@click.argument("decision")
@click.option("--note", required=True, help="Why.")
@asked_options
@place_options
def reverse(asked: Asked, decision: str, note: str) -> None:
    """Take back DECISION: an exclusion, an adjudication or an annulment."""
    decide(asked, Reverse(of=decision, note=note))


@command.command("list", epilog="Example: jaga exclude list --json")
@click.option("--json", "json_", is_flag=True, help="As JSON.")
@place_options
def list_(json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Every exclusion, adjudication and annulment on record, and what was reversed."""
    with reading() as months:
        book = months.record.book
        facts = [
            recorded.fact
            for kind in (book.exclusions, book.adjudications, book.annulments)
            for recorded in kind.values()
        ]
        reversed_ids = set(book.reversals)
    written = [{**write_fact(fact), "reversed": fact.id in reversed_ids} for fact in facts]
    if json_:
        show.as_json(written)
        return
    show.table(
        ("id", "kind", "what", "start", "end", "by", "state"),
        [
            (
                str(fact["id"]),
                str(fact["type"]),
                str(fact.get("reason") or fact.get("verdict") or fact.get("check")),
                str(fact["start"]),
                str(fact["end"]),
                str(fact.get("by") or ""),
                "reversed" if fact["reversed"] else "in force",
            )
            for fact in written
        ],
        empty="No decision is on record.",
    )

"""`jaga status`: the services now."""

from __future__ import annotations

from typing import Any

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.place import place_options
from monitor.cli.reading import reading, settings
from monitor.cli.ready import why_not_ready
from monitor.ledger.pace import degraded
from monitor.ledger.standing import standings
from monitor.web.status import run_documents, status_document


@click.command("status", epilog="Example: jaga status --json")
@click.argument("services", nargs=-1)
@click.option("--json", "json_", is_flag=True, help="As JSON: the document of /api/v1/status.")
@click.option("--checks", is_flag=True, help="Each check and location: its latest run, and what is usual for it.")
@click.option("--ready", is_flag=True, help="Only ask the daemon whether it is ready: exit code 0 or 1.")
@place_options
def command(services: tuple[str, ...], json_: bool, checks: bool, ready: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Verdict, failing and degraded checks, open outage and month so far of all SERVICES, or of those named.

    A check is degraded while it passes and takes several times as long as usual: no failure, and no downtime.

    Reads the ledger, so it answers beside a running daemon and without one; but for --ready, which asks the daemon.
    """
    if ready:
        _ask_ready()
        return
    with reading() as months:
        found = standings(months, services or None)
        document = status_document(found, months.now_us, degraded(months.reader, months.now_us))
        if checks:
            for service in document["services"]:  # as /api/v1/services/{id} has them
                service["runs"] = run_documents(months.reader, service["id"], months.now_us)
    missing = sorted(set(services) - {standing.service for standing in found})
    if missing:
        raise click.UsageError(f"there is no service {', '.join(missing)}; jaga status lists those there are")
    if json_:
        show.as_json(document)
        return
    if checks:
        rows = [_check(service["id"], run) for service in document["services"] for run in service["runs"]]
        show.table(("check", "location", "latest run", "took", "usual", "pace"), rows, empty="Nothing has run yet.")
        return
    show.table(
        ("service", "verdict", "why", "failing", "open outage", "month so far"),
        [_row(service) for service in document["services"]],
        empty="No service is configured or on record.",
    )


def _ask_ready() -> None:
    found = settings()
    why = why_not_ready(found.listen, secured=found.web.tls is not None)
    if why is not None:
        raise AnswerIsNoError(why)
    click.echo("ready")


def _row(service: dict[str, Any]) -> tuple[str, ...]:
    outage = service["outage"]
    return (
        service["id"],
        service["verdict"],
        "; ".join([service["why"], *map(_slow, service["degraded"]), *map(_window, service["maintenance"])]),
        ", ".join(service["failing"]) or "none",
        f"since {outage['start']}" if outage else "none",
        "; ".join(map(_month, service["months"])) or "no partner",
    )


def _slow(slow: dict[str, Any]) -> str:
    takes = f"{slow['duration_seconds']} s, {_usual(slow)}"
    return f"{slow['check']} at {slow['location']} degraded since {slow['since']} ({takes})"


def _usual(found: dict[str, Any]) -> str:
    if found["usual_seconds"] is None:
        return "not known yet"
    return f"usually {found['usual_seconds']} s, the median of {found['usual_runs']} runs"


def _check(service: str, run: dict[str, Any]) -> tuple[str, ...]:
    pace = run["pace"]
    return (
        f"{service}/{run['check']}",
        run["location"],
        f"{run['outcome']} at {run['at']}",
        f"{run['duration_seconds']} s",
        _usual(pace),
        pace["state"] if pace["since"] is None else f"{pace['state']} since {pace['since']}",
    )


def _window(window: dict[str, Any]) -> str:
    when = f"maintenance until {window['end']}" if window["running"] else f"maintenance from {window['start']}"
    if window["qualifies"]:
        return when
    late = [partner for partner in window["rejected"] if partner not in window["notice_by"]]
    missing = [f"{partner} needs notice by {by}" for partner, by in window["notice_by"].items()]
    return f"{when} ({'; '.join([f'does not qualify for {partner}' for partner in late] + missing)})"


def _month(month: dict[str, Any]) -> str:
    kept = "kept" if month["guarantee"]["met"] else "MISSED"
    return f"{month['partner']} {month['month']}: {month['best_case']} % at best, guarantee {kept}"

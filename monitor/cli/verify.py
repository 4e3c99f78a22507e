"""`jaga verify`: recomputes a statement from an export, without store, configuration or operator."""

from __future__ import annotations

from pathlib import Path

import click

from monitor import audit
from monitor.cli.exits import AnswerIsNoError, WrongUseError
from monitor.telemetry.escaping import escape

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("verify", epilog="Example: jaga verify statement.json --ledger ledger.jsonl --key provider.pub")
@click.argument("statement", type=_FILE)
@click.option("--ledger", type=_FILE, required=True, help="What 'jaga ledger export' wrote.")
@click.option("--key", help="The provider's public key, or a file with it: the signed checkpoints are verified.")
@click.option("--at", help="When the statement of a month that still ran was made. RFC 3339 with offset.")
def command(statement: Path, ledger: Path, key: str | None, at: str | None) -> None:
    """Recompute every statement in STATEMENT (JSON) from the ledger's export, and name each field that differs.

    It uses monitor/audit.py alone: one file that shares no code with what made the statement, and that a partner can
    run without Jaga. Exit code 1 where the chain does not hold or a field differs.
    """
    try:
        code = audit.verify(statement, ledger, key=key, at=at, say=lambda line: click.echo(escape(line)))
    except audit.CannotAuditError as error:
        raise WrongUseError(str(error)) from error
    if code:
        raise AnswerIsNoError("the statement does not follow from the ledger")

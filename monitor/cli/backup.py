"""`jaga backup`: the ledger in one file, made by its owner, and read back before it is called one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError, WrongUseError
from monitor.cli.place import place_options
from monitor.cli.progress import progress
from monitor.cli.reading import store_file


@click.command("backup", epilog="Example: jaga backup /srv/backup/ledger-2026-11-25.db")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "json_", is_flag=True, help="What was written, as JSON.")
@place_options
def command(path: Path, json_: bool) -> None:  # noqa: FBT001 - click hands options over by name
    """Write the whole ledger as it stands to the new file PATH, durable and verified when this ends.

    A running daemon makes the copy itself, with its own rights, and goes on watching meanwhile. Exit code 1 if the
    chain in the backup does not verify: then it does not in the ledger either, and the backup is kept. A ledger in
    PostgreSQL is backed up by pg_dump.
    """
    from monitor.storage import StoreOwnedError
    from monitor.storage.backup import back_up_as_owner

    database = store_file()
    if database is None:
        in_postgresql('back it up with its own tool: pg_dump --format=custom --file=PATH "$DATABASE_URL"')
    to = Path.cwd() / path
    with progress("copying") as watch:
        try:
            back_up_as_owner(database, to, progress=watch)
        except StoreOwnedError as owned:
            _through_daemon(database.parent, to, owned, watch)
    _say(to, json_=json_)


def in_postgresql(remedy: str) -> NoReturn:
    """Refuse for a ledger in PostgreSQL, whose server has what is needed."""
    raise WrongUseError(f"the ledger is in PostgreSQL: {remedy}")


def _through_daemon(folder: Path, to: Path, owned: Exception, watch: Any) -> None:  # noqa: ANN401 - a callback or None
    """Ask the daemon that owns the ledger, and wait until it has done it."""
    from monitor import control

    try:
        answer = control.ask(folder, {"do": "backup", "path": str(to)})
        while "begun" in answer or "done" in answer:
            if watch is not None and "done" in answer:
                watch(answer["done"], answer["total"])
            answer = control.ask(folder, {"do": "backup state"})
    except control.NobodyThereError:
        raise owned from None
    if "refused" in answer:
        raise WrongUseError(str(answer["refused"]))
    if "error" in answer:
        raise control.ControlError(f"the daemon could not back up: {answer['error']}")


def _say(to: Path, *, json_: bool) -> None:
    """Read the backup back, as whoever restores it will, and say what is in it."""
    from monitor.ledger.restoring import counted
    from monitor.ledger.verify import verify
    from monitor.sealing.keys import checks
    from monitor.storage import sqlite

    reader = sqlite.open_reader(to)
    try:
        with progress("verifying") as watch:
            report = verify(reader, checks=checks, progress=watch)
    finally:
        reader.close()
    size_bytes = to.stat().st_size
    found = {"path": str(to), "size_bytes": size_bytes, "entries": report.entries, "head": report.head.hash}
    if json_:
        show.as_json({**found, "verified": report.holds})
    else:
        entries = counted(report.entries, "entry", "entries")
        click.echo(f"backed up to {to}: {entries}, {size_bytes} bytes, head {report.head.hash}")
    if not report.holds:
        raise AnswerIsNoError(f"it does not verify, nor does the ledger: {report.problems[0]}")

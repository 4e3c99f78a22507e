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
@click.option("--without-personal", is_flag=True, help="Leave out the personal data (reporters, contacts).")
@click.option("--erase", metavar="REFERENCE", help="Erase personal data in the backup PATH instead; the rest stands.")
@click.option("--json", "json_", is_flag=True, help="What was written, as JSON.")
@place_options
def command(path: Path, without_personal: bool, erase: str | None, json_: bool) -> None:  # noqa: FBT001 - click's way
    """Write the whole ledger as it stands to the new file PATH, durable and verified when this ends.

    With it go its queued messages, the attachments of reports, and the personal data that its entries refer to.

    A running daemon makes the copy itself, with its own rights, and goes on watching meanwhile. Exit code 1 if the
    chain in the backup does not verify: then it does not in the ledger either, and the backup is kept. A ledger in
    PostgreSQL is backed up by pg_dump.
    """
    from monitor.storage import StoreOwnedError
    from monitor.storage.backup import back_up_as_owner

    if erase is not None:
        _erase(Path.cwd() / path, erase)
        return
    database = store_file()
    if database is None:
        in_postgresql('back it up with its own tool: pg_dump --format=custom --file=PATH "$DATABASE_URL"')
    to = Path.cwd() / path
    with progress("copying") as watch:
        try:
            back_up_as_owner(database, to, personal=not without_personal, progress=watch)
        except StoreOwnedError as owned:
            _through_daemon(database.parent, {"path": str(to), "personal": not without_personal}, owned, watch)
    _say(to, json_=json_)


def in_postgresql(remedy: str) -> NoReturn:
    """Refuse for a ledger in PostgreSQL, whose server has what is needed."""
    raise WrongUseError(f"the ledger is in PostgreSQL: {remedy}")


def _erase(backup: Path, reference: str) -> None:
    """Take personal data out of a backup that was made earlier."""
    from monitor.core.personal import REFERENCE
    from monitor.storage.beside import erase

    if not REFERENCE.fullmatch(reference):
        raise WrongUseError(f"{reference!r} is no reference to personal data: personal: and 64 hexadecimal digits")
    if not backup.is_file():
        raise WrongUseError(f"{backup}: there is no such backup")
    if not erase(backup, reference):
        raise AnswerIsNoError(f"nothing is kept under {reference} in {backup}")
    click.echo(f"erased {reference} in {backup}")


def _through_daemon(folder: Path, asked: dict[str, Any], owned: Exception, watch: Any) -> None:  # noqa: ANN401 - as it comes
    """Ask the daemon that owns the ledger, and wait until it has done it."""
    from monitor import control

    try:
        answer = control.ask(folder, {"do": "backup", **asked})
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
    from monitor.ledger.beside import Spoken, changed
    from monitor.ledger.restoring import counted
    from monitor.ledger.verify import verify
    from monitor.sealing.keys import checks
    from monitor.storage import sqlite
    from monitor.storage.beside import packed, packed_names, reference_of

    reader = sqlite.open_reader(to)
    try:
        with progress("verifying") as watch:
            report = verify(reader, checks=checks, progress=watch)
        wrong = list(changed(packed(to)))
        names = packed_names(to)
        missing = Spoken.of(reader).missing(names)
    finally:
        reader.close()
    size_bytes = to.stat().st_size
    found = {"path": str(to), "size_bytes": size_bytes, "entries": report.entries, "head": report.head.hash}
    persons = sum(reference_of(name) is not None for name in names)
    if json_:
        files = {"attachments": len(names) - persons, "personal": persons, "missing": missing}
        show.as_json({**found, **files, "verified": report.holds and not wrong})
    else:
        entries = counted(report.entries, "entry", "entries")
        click.echo(f"backed up to {to}: {entries}, {size_bytes} bytes, head {report.head.hash}")
        if names:
            attached = counted(len(names) - persons, "attachment", "attachments")
            click.echo(f"with {attached} and the personal data of {counted(persons, 'person', 'people')}")
    for name, seq in missing.items():
        click.echo(f"not in it: {name}, of which entry {seq} speaks", err=True)
    if not report.holds:
        raise AnswerIsNoError(f"it does not verify, nor does the ledger: {report.problems[0]}")
    if wrong:
        raise AnswerIsNoError(f"a file in it is damaged, as it is beside the ledger: {wrong[0]}")

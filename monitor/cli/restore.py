"""`jaga restore`: a backup in the place of the ledger; the ledger that was there is moved aside."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from pathlib import Path

import click

from monitor.cli import show
from monitor.cli.backup import in_postgresql
from monitor.cli.exits import WrongUseError
from monitor.cli.place import place_options
from monitor.cli.progress import progress
from monitor.cli.reading import sealing_place, store_file
from monitor.telemetry.escaping import escape


@click.command("restore", epilog="Example: jaga restore /srv/backup/ledger-2026-11-25.db")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="A checkpoint that went out: the backup must hold what it covers. May be given more than once.",
)
@click.option("--accept-loss", is_flag=True, help="Give up what the present ledger holds beyond the backup; recorded.")
@click.option("--note", help="Why that is given up; recorded with it.")
@click.option("--by", help="Who decides. Default: your login.")
@click.option("--json", "json_", is_flag=True, help="What was done, as JSON.")
@place_options
def command(
    path: Path,
    checkpoints: tuple[Path, ...],
    accept_loss: bool,  # noqa: FBT001 - click hands options over by name
    note: str | None,
    by: str | None,
    json_: bool,  # noqa: FBT001 - as above
) -> None:
    """Verify the backup PATH and put it in the place of the ledger. The daemon must be stopped.

    The present ledger is kept beside it under another name. Where it holds entries or runs that the backup does not, or
    where the backup contradicts a checkpoint (the one beside the signing key, or one handed in), the restore is refused
    (exit code 1) and says how, unless --accept-loss gives that up; that becomes an entry of the restored ledger. The
    time from the backup until the daemon runs again is unknown.
    """
    from monitor.cli.ledger import kept_outside
    from monitor.clock import wall_us
    from monitor.ledger.restoring import Wish, counted, restore
    from monitor.sealing.checkpoints import Sealer
    from monitor.sealing.keys import checks

    database = store_file()
    if database is None:
        in_postgresql("restore it with its own tool: pg_restore, into an empty database, while no daemon runs")
    if note is not None and not accept_loss:
        raise WrongUseError("--note says why something is given up, and goes with --accept-loss")
    sealer = Sealer(sealing_place())
    wish = Wish(
        backup=Path.cwd() / path,
        by=by or getpass.getuser(),
        now_us=wall_us(),
        accept_loss=accept_loss,
        note=note,
        outside=kept_outside(checkpoints, None),
        contradicts=sealer.contradicts,
        kept=sealer.place.checkpoint,
        checkpoint=sealer.kept(),
        checks=checks,
    )
    with progress("restoring") as watch:
        moved = None if watch is None else lambda _stage, done, total: watch(done, total)
        done = restore(wish, database, progress=moved)
    if json_:
        loss = None if done.loss is None else asdict(done.loss)
        aside = None if done.aside is None else str(done.aside)
        files = {"files": done.files, "missing": dict(done.missing)}
        show.as_json({"entries": done.entries, "head": done.head.hash, "given_up": loss, "aside": aside, **files})
        return
    click.echo(f"restored {database}: {counted(done.entries, 'entry', 'entries')}, head {done.head.hash}")
    if done.files:
        click.echo(f"put beside it: {counted(done.files, 'file', 'files')}")
    for name, seq in done.missing.items():
        click.echo(f"not beside it: {name}, of which entry {seq} speaks", err=True)
    if done.loss is not None:
        click.echo(escape(f"given up: {done.loss}"))
    if done.aside is not None:
        click.echo(f"the ledger that was there is now {done.aside}")

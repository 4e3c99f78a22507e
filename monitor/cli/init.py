"""`jaga init`: a commented starter configuration that `check` accepts."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init", epilog="Example: jaga init .")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default=Path())
def command(folder: Path) -> None:
    """Write DIR/config/jaga.yaml (DIR: here), its schema beside it for editors, and the key that will sign the record.

    Nothing is overwritten.
    """
    from monitor.config.starter import CONFIGURATION, STORE, initialise
    from monitor.sealing.checkpoints import first_key, place_of
    from monitor.sealing.keys import read_key

    written = initialise(folder)
    sealing = place_of(STORE, base=(folder / CONFIGURATION).parent)
    key = read_key(sealing.key)
    if key is None:
        key = first_key(sealing)
        written.append(sealing.key)
    for path in written:
        click.echo(f"wrote {path}")
    click.echo(f"{sealing.key.name} signs the record: keep a copy elsewhere. Partners keep its public line:")
    click.echo(f"  {key.public}")
    click.echo("Change it to your own service, then: jaga check, jaga probe SERVICE/CHECK, jaga run.")
    click.echo("History from elsewhere counts only if it is imported before the first run: jaga ledger import FILE.")

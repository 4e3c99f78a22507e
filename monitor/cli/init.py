"""`jaga init`: a commented starter configuration that `check` accepts."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init", epilog="Example: jaga init .")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default=Path())
def command(folder: Path) -> None:
    """Write DIR/config/jaga.yaml (DIR: here), and its schema beside it for editors. Nothing is overwritten."""
    from monitor.config.starter import initialise

    written = initialise(folder)
    for path in written:
        click.echo(f"wrote {path}")
    click.echo("Change it to your own service, then: jaga check, jaga probe SERVICE/CHECK, jaga run.")
    click.echo("History from elsewhere counts only if it is imported before the first run: jaga ledger import FILE.")

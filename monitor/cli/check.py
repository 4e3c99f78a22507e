"""`jaga check`: whether the configuration is accepted; every problem at once, each with its place."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from monitor.cli import show
from monitor.cli.exits import Exit
from monitor.cli.place import Place, place_options
from monitor.cli.reading import place, require

if TYPE_CHECKING:
    from monitor.config import Loaded, Problem


@click.command("check", epilog="Example: jaga check --config config/jaga.yaml")
@click.option("--json", "json_", is_flag=True, help="Problems and warnings as JSON.")
@click.option("--explain", "explain_", is_flag=True, help="Print the effective configuration, secrets hidden.")
@place_options
def command(json_: bool, explain_: bool) -> int:  # noqa: FBT001 - click hands options over by name
    """Validate the configuration. Exit code 2 if it is not accepted; warnings alone are accepted.

    Names the systemd drop-in that a configured kind of check needs.
    """
    if json_:
        return _as_json(place())
    from monitor.cli.drop_ins import needed, said

    loaded = require(place())
    for warning in loaded.warnings:
        click.echo(f"{warning} (warning)", err=True)
    if loaded.faults:
        from monitor.config import ConfigError

        raise ConfigError(loaded.faults)
    overload = _overload(loaded)
    if overload is not None:
        click.echo(f"{place().config}: {overload} (warning)", err=True)
    for kind in needed(loaded.settings):
        click.echo(f"{place().config}: {said(kind)} (note)", err=True)
    if explain_:
        from monitor.config.explain import explain

        click.echo(explain(loaded.settings), nl=False)
        return Exit.DONE
    click.echo(f"{place().config}: accepted: {_summary(loaded)}")
    return Exit.DONE


def _overload(loaded: Loaded) -> str | None:
    """Whether more is planned than this machine does."""
    import asyncio

    from monitor import capacity
    from monitor.app import Options

    load = asyncio.run(capacity.load(Options.of(loaded.settings).plans))
    return None if load is None else load.warning()


def _as_json(where: Place) -> int:
    from monitor.cli.drop_ins import needed
    from monitor.config import ConfigError

    try:
        loaded = require(where)
    except ConfigError as error:
        refused = {"accepted": False, "problems": _written(error.problems)}
        show.as_json({**refused, "warnings": [], "drop_ins": [], "overload": None})
        return Exit.WRONG_USE
    accepted = not loaded.faults
    written = {"accepted": accepted, "problems": _written(loaded.faults), "warnings": _written(loaded.warnings)}
    overload = _overload(loaded)
    drop_ins = [f"{kind}.conf" for kind in needed(loaded.settings)]
    show.as_json({**written, "drop_ins": drop_ins, "overload": overload})
    return Exit.DONE if accepted else Exit.WRONG_USE


def _written(problems: tuple[Problem, ...]) -> list[dict[str, Any]]:
    return [asdict(problem) for problem in problems]


def _summary(loaded: Loaded) -> str:
    found = loaded.settings
    checks = sum(len(service.checks) for service in found.services)
    partners = len(found.partner_names)
    return f"{_count(len(found.services), 'service')}, {_count(checks, 'check')}, {_count(partners, 'partner')}"


def _count(number: int, of: str) -> str:
    return f"{number} {of}" if number == 1 else f"{number} {of}s"

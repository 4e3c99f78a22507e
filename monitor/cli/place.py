"""Where a verb works: which configuration, which store, and what is read from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

DEFAULT_CONFIG = Path("config/jaga.yaml")

_F = TypeVar("_F", bound=Callable[..., object])


@dataclass(slots=True)
class Place:
    """What `--config` and `--store` say. `chosen`: the configuration was named, so it must be there."""

    config: Path = DEFAULT_CONFIG
    store: str | None = None
    chosen: bool = False


def place_options(verb: _F) -> _F:
    """Give a verb `--config` and `--store`; they may also stand before it."""
    return _options(verb, None)


def root_options(verb: _F) -> _F:
    """The same before any verb, where the environment may name the configuration too."""
    return _options(verb, "JAGA_CONFIG")


def _options(verb: _F, variable: str | None) -> _F:
    verb = click.option(
        "--store",
        metavar="URL",
        expose_value=False,
        callback=_take_store,
        help="The ledger, instead of the configured one.",
    )(verb)
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar=variable,
        show_envvar=True,
        expose_value=False,
        callback=_take_config,
        help=f"The configuration file.  [default: {DEFAULT_CONFIG}]",
    )(verb)


def _take_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        place = ctx.ensure_object(Place)
        place.config, place.chosen = value, True


def _take_store(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Place).store = value

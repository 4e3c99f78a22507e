"""Printing: tables (rich on a terminal, aligned text elsewhere) and JSON, on stdout and nothing else there."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from monitor.telemetry.escaping import escape

STYLES = {"up": "green", "down": "bold red", "unknown": "yellow"}


def as_json(value: Any) -> None:  # noqa: ANN401 - any JSON document
    """A JSON document in its own key order."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Rows under columns, `empty` where there are none. What came from outside cannot steer the terminal."""
    if not rows:
        click.echo(empty)
        return
    cells = [[escape(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _with_rich(columns, cells)
    else:
        _aligned(columns, cells)


def _aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def _with_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # Heavy, and only a terminal needs it.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    Console().print(shown)

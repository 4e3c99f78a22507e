"""`jaga statement`: the monthly statements, in every format a view of the same object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.parse import MONTH
from monitor.cli.place import place_options
from monitor.cli.progress import progress
from monitor.cli.reading import reading
from monitor.core.calendar import Month
from monitor.ledger.windows import windows_of
from monitor.locale import Lang
from monitor.reports import file_name

FORMATS = ("text", "json", "csv", "html")
_EXTENSIONS = {"text": "txt"}


@click.command("statement", epilog="Example: jaga statement --month 2026-10 --partner acme --format html --output out/")
@click.option("--month", type=MONTH, required=True, help="A calendar month: 2026-10.")
@click.option("--partner", help="Only this partner's.")
@click.option("--service", help="Only this service's.")
@click.option("--version", type=click.IntRange(min=1), help="An issued version. Default: the newest.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--lang", type=click.Choice([lang.value for lang in Lang]), default="en", show_default=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a file a statement into this folder, and print their names.",
)
@click.option("--semicolon", is_flag=True, help="CSV columns separated by ';', as an Indonesian Excel expects.")
@click.option("--outages", is_flag=True, help="CSV of the outages, a row each, instead of a row a statement.")
@place_options
def command(month: str, output: Path | None, **said: Any) -> None:  # noqa: ANN401 - as declared above
    """The statements of a month: of all partners and services, or of those named.

    JSON is an array, one object per partner and service. Exit code 1 where there is none.
    """
    style = Style.of(**{name: said[name] for name in ("format_", "lang", "semicolon", "outages")})
    partner, service = said["partner"], said["service"]
    with reading() as months, progress("statements") as moved:
        found = months.statements(Month.parse(month), partner, service, said["version"], progress=moved)
        shown = [Shown(entry.document, windows_of(months, entry)) for entry in found]
    if output is not None:
        _write(shown, output, style)
    elif style.format_ == "json":
        show.as_json([entry.document for entry in shown])
    else:
        click.echo(_rendered(shown, style), nl=False)
    if not shown:
        raise AnswerIsNoError(_none(month, partner, service))


class Shown(NamedTuple):
    """A statement to be shown, and the windows of its month."""

    document: dict[str, Any]
    windows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How statements are shown."""

    format_: str
    lang: Lang
    delimiter: str
    outages: bool

    @staticmethod
    def of(format_: str, lang: str, *, semicolon: bool, outages: bool) -> Style:
        """The style that the options say."""
        return Style(format_=format_, lang=Lang(lang), delimiter=";" if semicolon else ",", outages=outages)


def _rendered(shown: Sequence[Shown], style: Style) -> str:
    documents = [entry.document for entry in shown]
    if style.format_ == "json":
        return json.dumps(documents, indent=2, ensure_ascii=False) + "\n"
    if style.format_ == "csv":
        from monitor.reports import csv

        return (csv.outages if style.outages else csv.table)(documents, delimiter=style.delimiter)
    if style.format_ == "html":
        from monitor.reports.html import page

        if len(documents) > 1:
            raise click.UsageError("an HTML page holds one statement: name --partner and --service, or use --output")
        return "".join(page(entry.document, style.lang, entry.windows) for entry in shown)
    from monitor.reports.text import text

    return "\n\n".join(text(entry.document, style.lang, entry.windows) for entry in shown)


def _write(shown: Sequence[Shown], folder: Path, style: Style) -> None:
    """A file a statement; with CSV its outages in one beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    with progress("files") as moved:
        for number, entry in enumerate(shown, 1):
            name = file_name(entry.document, _EXTENSIONS.get(style.format_, style.format_))
            _put(folder / name, _rendered([entry], style))
            if style.format_ == "csv" and not style.outages:
                beside = folder / name.replace(".csv", "-outages.csv")
                _put(beside, _rendered([entry], replace(style, outages=True)))
            if moved is not None:
                moved(number, len(shown))


def _put(path: Path, content: str) -> None:
    # The line ends of a CSV are its own.
    path.write_text(content, encoding="utf-8", newline="")
    click.echo(path)


def _none(month: str, partner: str | None, service: str | None) -> str:
    about = "".join(f" {kind} {name}," for kind, name in (("partner", partner), ("service", service)) if name)
    return f"there is no statement for{about} {month}: no subscription and terms are in force in it"

"""`jaga statement`: the monthly statements, in every format a view of the same object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from monitor.cli import show
from monitor.cli.exits import AnswerIsNoError
from monitor.cli.parse import MONTH
from monitor.cli.place import place_options
from monitor.cli.reading import reading
from monitor.core.calendar import Month
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
@place_options
def command(
    month: str,
    partner: str | None,
    service: str | None,
    version: int | None,
    format_: str,
    lang: str,
    output: Path | None,
    semicolon: bool,  # noqa: FBT001 - click hands options over by name
) -> None:
    """The statements of a month: of all partners and services, or of those named.

    JSON is an array, one object per partner and service. Exit code 1 where there is none.
    """
    with reading() as months:
        documents = [found.document for found in months.statements(Month.parse(month), partner, service, version)]
    if output is not None:
        _write(documents, output, format_, Lang(lang), delimiter=";" if semicolon else ",")
    elif format_ == "json":
        show.as_json(documents)
    else:
        click.echo(_rendered(documents, format_, Lang(lang), delimiter=";" if semicolon else ","), nl=False)
    if not documents:
        raise AnswerIsNoError(_none(month, partner, service))


def _rendered(documents: Sequence[dict[str, Any]], format_: str, lang: Lang, *, delimiter: str) -> str:
    if format_ == "json":
        return json.dumps(documents, indent=2, ensure_ascii=False) + "\n"
    if format_ == "csv":
        from monitor.reports.csv import table

        return table(documents, delimiter=delimiter)
    if format_ == "html":
        from monitor.reports.html import page

        if len(documents) > 1:
            raise click.UsageError("an HTML page holds one statement: name --partner and --service, or use --output")
        return "".join(page(document, lang) for document in documents)
    from monitor.reports.text import text

    return "\n\n".join(text(document, lang) for document in documents)


def _write(documents: Sequence[dict[str, Any]], folder: Path, format_: str, lang: Lang, *, delimiter: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for document in documents:
        path = folder / file_name(document, _EXTENSIONS.get(format_, format_))
        # The line ends of a CSV are its own.
        path.write_text(_rendered([document], format_, lang, delimiter=delimiter), encoding="utf-8", newline="")
        click.echo(path)


def _none(month: str, partner: str | None, service: str | None) -> str:
    about = "".join(f" {kind} {name}," for kind, name in (("partner", partner), ("service", service)) if name)
    return f"there is no statement for{about} {month}: no subscription and terms are in force in it"

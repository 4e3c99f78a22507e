"""A statement as text for a terminal or a mail: the verdict first, then the annexes."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

from monitor.locale import Lang
from monitor.reports import Document
from monitor.reports.strip import Window
from monitor.reports.view import Day, Section, Table, layout
from monitor.reports.words import word

WIDTH = 100
_LABEL_WIDTH = 34
_DAY_MARKS = {"up": ".", "down": "#", "excluded": "o"}


def text(document: Document, lang: Lang, windows: Sequence[Window] = ()) -> str:
    """The statement in `lang` with its month's windows, in lines of WIDTH at most where words allow."""
    page = layout(document, lang, windows)
    lines = [page.verdict, "", page.title, "=" * _columns(page.title)]
    for number, section in enumerate(page.sections, 1):
        lines.extend(_section(section, number))
    lines.extend(_strip(page.days, lang))
    lines.extend(_signatures(lang))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _section(section: Section, number: int) -> Iterator[str]:
    """A part under its number; the first one's title is the statement's own."""
    if number > 1:
        title = f"{number}. {section.title}"
        yield ""
        yield title
        yield "-" * _columns(title)
    for label, value in section.pairs:
        yield from _pair(label, value)
    for position, table in enumerate(section.tables):
        if position:
            yield ""
        yield from _table(table)
    yield from section.remarks


def _pair(label: str, value: str) -> Iterator[str]:
    indent = " " * (_LABEL_WIDTH + 2)
    wrapped = _wrapped(value, WIDTH - len(indent))
    if len(label) > _LABEL_WIDTH:
        yield f"{label}:"
        wrapped = ["", *wrapped]
    else:
        yield f"{label:<{_LABEL_WIDTH}}  {wrapped[0]}"
    for line in wrapped[1:]:
        yield indent + line if line else line


def _table(table: Table) -> Iterator[str]:
    """Rows as blocks where a table would not fit the width: nothing is cut off."""
    if not table.rows:
        if table.empty:
            yield table.empty
        return
    widths = [max(map(_columns, column)) for column in zip(table.columns, *table.rows, strict=True)]
    if sum(widths) + 2 * len(widths) <= WIDTH:
        for row in (table.columns, *table.rows):
            yield "  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True))
        return
    for row in table.rows:
        for label, value in zip(table.columns, row, strict=True):
            yield from _pair(f"  {label}", value)
        yield ""


def _strip(days: tuple[Day, ...], lang: Lang) -> Iterator[str]:
    yield ""
    yield word("days", lang)
    yield "".join(str(day.number // 10) if day.number % 10 == 0 else " " for day in days)
    yield "".join(str(day.number % 10) for day in days)
    yield "".join(_DAY_MARKS[day.state] for day in days)
    yield "  ".join(f"{mark} {word(f'day.{state}', lang)}" for state, mark in _DAY_MARKS.items())


def _signatures(lang: Lang) -> Iterator[str]:
    yield ""
    yield f"9. {word('signatures', lang)}"
    for party in ("provider", "partner"):
        yield ""
        yield f"{word(party, lang):<24}{'_' * 40}  {word('name_date', lang)}"


def _wrapped(value: str, width: int) -> list[str]:
    return textwrap.wrap(value, width, break_long_words=False, break_on_hyphens=False) or [""]


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - _columns(cell))


def _columns(cell: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in {"W", "F"})
        for letter in cell
    )

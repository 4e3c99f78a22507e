"""A credit note as text: the amount first, then the statements it follows from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from monitor import locale
from monitor.locale import Lang
from monitor.reports import Document
from monitor.reports.words import word
from monitor.telemetry.escaping import escape

_LABEL_WIDTH = 34


def text(note: Document, lang: Lang) -> str:
    """The note (`monitor.ledger.creditnote`) in `lang`, ending with a line break."""
    title = f"{word('note', lang)} {locale.month(note['month'], lang)}"
    partner = note["partner"]
    name = partner["id"] if partner["name"] == partner["id"] else f"{escape(partner['name'])} ({partner['id']})"
    pairs = [(word("number", lang), note["note"]), (word("partner", lang), name)]
    pairs.append((word("status", lang), word(f"status.{note['status']}", lang)))
    lines = [title, "=" * len(title), *(_pair(*pair) for pair in pairs)]
    for part in note["parts"]:
        lines += ["", *_part(part, lang)]
    return "\n".join([*lines, "", word("against", lang), word("no_tax", lang)]) + "\n"


def _part(part: Mapping[str, Any], lang: Lang) -> Iterator[str]:
    currency = part["fee"]["currency"]
    yield _pair(word("contract", lang), part["contract"])
    yield _pair(word("credit_base", lang), word(f"credit_base.{part['credit_base']}", lang))
    for line in part["lines"]:
        yield from _line(line, lang)
    yield _pair(word("fee_sum", lang), locale.money(part["fee"]["amount"], currency, lang))
    if part["percent"] is not None:
        yield _pair(word("share_highest", lang), locale.percent(part["percent"], lang, 0))
    yield _pair(word("credit", lang), locale.money(part["amount"], currency, lang))
    yield _pair(word("words", lang), locale.in_words(part["amount"], currency, lang))


def _line(line: Mapping[str, Any], lang: Lang) -> Iterator[str]:
    credit = line["credit"]
    fee = locale.money(credit["fee"]["amount"], credit["fee"]["currency"], lang)
    share = locale.percent(line["availability"]["percent"], lang)
    yield f"  {line['statement']} v{line['version']} ({word('status.' + line['status'], lang)})"
    owed = f"{word('share', lang)} {locale.percent(credit['percent'], lang, 0)}"
    claim = f"{word('claim', lang)}: {word('claim.' + line['claim']['status'], lang)}"
    yield f"    {word('availability', lang)} {share}, {word('fee', lang)} {fee}, {owed}, {claim}"
    if line["digest"]:
        yield f"    {line['digest']}"


def _pair(label: str, value: str) -> str:
    return f"{label:<{_LABEL_WIDTH}}  {value}"

"""A statement as one self-contained HTML page that prints well: no script, no outside address."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template

from monitor.locale import Lang
from monitor.reports import Document
from monitor.reports.strip import Window
from monitor.reports.view import layout
from monitor.reports.words import word


def page(document: Document, lang: Lang, windows: Sequence[Window] = ()) -> str:
    """The statement in `lang`, with the windows of its month; everything in it that came from outside is escaped."""
    return _template().render(
        page=layout(document, lang, windows),
        document=document,
        lang=lang.value,
        word=lambda key: word(key, lang),
    )


def _template() -> Template:
    source = (resources.files("monitor.reports") / "templates" / "statement.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)

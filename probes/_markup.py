"""XPath and CSS over an answer in XML or HTML: nothing is fetched, no entity is resolved, and what is read is bounded.

The libraries (lxml, cssselect) are loaded only where a check asks such a question. lxml gives up the GIL while it
parses and evaluates, so big answers are read off the loop.
"""

from __future__ import annotations

import asyncio
import functools
import math
import re
from typing import Any

from probes import InconclusiveReason, OwnFault

MAX_MARKUP = 1 << 20
_INLINE = 4_096  # bytes that are parsed on the loop itself
_MAX_VALUES = 1_000
_LIMIT_S = 1.0
_XML = re.compile(r"(?:text|application)/xml|\+xml", re.IGNORECASE)
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe")
_PRESCANNED = 1_024  # bytes in which HTML says its charset
_NAMES_A_CHARSET = re.compile(rb"<meta[^>]{1,500}charset", re.IGNORECASE)
_XHTML = re.compile(r"application/xhtml\+xml", re.IGNORECASE)


class NotMarkupError(ValueError):
    """The answer cannot be read as XML or HTML; the message says why."""


class Markup:
    """One answer, parsed when it is first asked; `content_type` says whether it is XML, else it is read as HTML.

    `charset` is the one that the content type names: it goes before what the document says of itself (RFC 7303, 3.2;
    HTML, 13.2.3.2). Without one, XML says its own, and HTML is UTF-8 if it can be and says nothing else.
    """

    __slots__ = ("_body", "_charset", "_tree", "_xml")

    def __init__(self, body: bytes, content_type: str, charset: str | None) -> None:
        self._body, self._charset = body, charset
        self._xml = bool(_XML.search(content_type)) and not _XHTML.search(content_type)
        self._tree: Any = None

    async def query(self, compiled: Any) -> list[Any]:  # noqa: ANN401 - the library's expression
        """What an expression finds: texts, or one number or flag. NotMarkupError, or OwnFault if it takes too long."""
        if len(self._body) > MAX_MARKUP:
            raise NotMarkupError(f"the body is longer than the {MAX_MARKUP >> 20} MiB that are read as markup")
        if len(self._body) <= _INLINE:
            return self._found(compiled)
        reading = asyncio.get_running_loop().run_in_executor(None, self._found, compiled)
        done, _ = await asyncio.wait([reading], timeout=_LIMIT_S)
        if not done:
            raise OwnFault(
                InconclusiveReason.INTERNAL, f"the expression took over {_LIMIT_S} s on the answer: write a simpler one"
            )
        return reading.result()

    def _found(self, compiled: Any) -> list[Any]:  # noqa: ANN401 - the library's expression
        from lxml import etree  # noqa: PLC0415 - 11 MiB, loaded only where a check asks for it

        try:
            found = compiled(self._root(etree))
        except etree.XPathError as error:
            raise NotMarkupError(f"the expression cannot be evaluated: {error}") from None
        if not isinstance(found, list):
            return [_plain(found)]
        return [_text(item) for item in found[:_MAX_VALUES]]

    def _root(self, etree: Any) -> Any:  # noqa: ANN401 - the library, and its tree
        if self._tree is None:
            options = {"resolve_entities": False, "load_dtd": False} if self._xml else {}
            make = etree.XMLParser if self._xml else etree.HTMLParser
            try:
                body, encoding = self._encoded()
                self._tree = etree.fromstring(
                    body, make(no_network=True, huge_tree=False, encoding=encoding, **options)
                )
            except (etree.ParseError, ValueError) as error:
                what = "XML" if self._xml else "HTML"
                raise NotMarkupError(f"the body is no {what}: {str(error).splitlines()[0][:200]}") from None
            if self._tree is None:
                raise NotMarkupError("the body holds no markup")
        return self._tree

    def _encoded(self) -> tuple[bytes, str | None]:
        """The body and the encoding to read it in; None for what it says of itself."""
        if self._body.startswith(_BYTE_ORDER_MARKS):
            return self._body, None
        if self._charset is not None:  # by Python's name, which the library need not know
            return self._body.decode(self._charset, "replace").encode("utf-8", "replace"), "utf-8"
        if self._xml or _NAMES_A_CHARSET.search(self._body[:_PRESCANNED]):
            return self._body, None
        try:
            self._body.decode()
        except UnicodeDecodeError:
            return self._body, None
        return self._body, "utf-8"


def _plain(value: Any) -> Any:  # noqa: ANN401 - a text, a number or a flag of XPath's
    """A text as it is, a number without a fraction as a whole one, and what is no number as the text that says so: it
    would be neither under a limit nor over one.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return int(value) if value.is_integer() else value
    return str(value) if isinstance(value, str) else value


def _text(item: Any) -> str:  # noqa: ANN401 - an element, a comment, an attribute's text, or a namespace's name and URI
    if isinstance(item, tuple):
        text = item[1]
    elif isinstance(item, str):
        text = item
    elif isinstance(item.tag, str):
        text = "".join(item.itertext())
    else:
        text = item.text or ""
    return " ".join(text.split())


@functools.lru_cache(maxsize=1024)
def compile_xpath(expression: str) -> Any:  # noqa: ANN401 - the library's expression
    """A compiled XPath 1.0 expression; ValueError saying what is wrong."""
    from lxml import etree  # noqa: PLC0415 - as above

    try:
        return etree.XPath(expression)
    except etree.XPathError as error:
        raise ValueError(f"{expression!r} is no XPath: {str(error).lower()}") from None


@functools.lru_cache(maxsize=1024)
def compile_css(selector: str) -> Any:  # noqa: ANN401 - the library's expression
    """A compiled CSS selector; ValueError saying what is wrong."""
    from cssselect import HTMLTranslator, SelectorError  # noqa: PLC0415 - as above

    try:
        return compile_xpath(HTMLTranslator().css_to_xpath(selector))
    except SelectorError as error:
        raise ValueError(f"{selector!r} is no CSS selector: {error}") from None


def check_xpath(expression: str) -> str:
    """`expression` if it is XPath, ValueError otherwise."""
    compile_xpath(expression)
    return expression


def check_css(selector: str) -> str:
    """`selector` if it is CSS, ValueError otherwise."""
    compile_css(selector)
    return selector

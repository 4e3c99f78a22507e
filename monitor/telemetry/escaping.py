"""Text from outside made safe to show: on one line, without terminal escapes or bidirectional marks."""

from __future__ import annotations

import functools
import hashlib
import unicodedata

_MAX_TEXT = 4096
MAX_LABEL = 200
_TAIL = 12
# Control, format (bidirectional marks among them), and the separators that some viewers break a line at.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def escape(text: str) -> str:
    r"""The text on one line and without terminal control: a line break reads `\n`, an escape `\x1b`; cut at a bound."""
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}… ({len(text)} characters)"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(letter) if unicodedata.category(letter) in _UNSAFE_CATEGORIES else letter for letter in text
    )


@functools.lru_cache(maxsize=65_536)
def label(text: str) -> str:
    """A text of the configuration as the value of a label: escaped, and a long one cut with a digest in place of its
    end, so that two that differ anywhere stay two.
    """
    safe = escape(text)
    if len(safe) <= MAX_LABEL:
        return safe
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_TAIL]
    return f"{safe[: MAX_LABEL - _TAIL - 1]}…{digest}"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")

"""Text from outside made safe to show: on one line, without terminal escapes or bidirectional marks."""

from __future__ import annotations

import unicodedata

_MAX_TEXT = 4096
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


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")

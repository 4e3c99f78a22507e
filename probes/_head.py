"""Heads that llhttp refuses though RFC 9112 lets a client read them: fields folded over several lines, and lines that
end with LF alone.

llhttp can be told to be lenient, but not with these alone: then it lets control characters through in values, takes a
length that is folded for none, and leaves tabs in a fold. So a head is written again as it should have been, and what
parses it stays as strict as ever.
"""

from __future__ import annotations

import re
from typing import Protocol

import httptools

_BLANK = re.compile(rb"\r?\n")
_STATUS_LINE = re.compile(rb"[^\n]*\n")
# With all lines that go on with it; whether another one does, its first byte says.
_FIELD = re.compile(rb"[^\n]*(?:\n[ \t][^\n]*)*\n(?=[^ \t])")
_FOLD = re.compile(rb"\r?\n[ \t]+")


class _Reader(Protocol):
    @property
    def started(self) -> bool:
        """Whether the head of a final response is over."""


class Mending:
    """Stands in for llhttp's parser after that has refused a head, and reads the same response from its beginning."""

    __slots__ = ("_held", "_in_fields", "_parser", "_reader", "get_status_code")

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._parser = httptools.HttpResponseParser(reader)
        self.get_status_code = self._parser.get_status_code
        self._held = b""
        self._in_fields = False

    def feed_data(self, data: bytes) -> None:
        """As llhttp's: HttpParserError where nothing can be mended."""
        held, at = self._held + data, 0
        while not self._reader.started:
            blank = _BLANK.match(held, at)
            line = blank or (_FIELD if self._in_fields else _STATUS_LINE).match(held, at)
            if line is None:
                self._held = held[at:]
                return
            at = line.end()
            self._in_fields = blank is None
            self._parser.feed_data(_FOLD.sub(b" ", line[0][:-1]).removesuffix(b"\r") + b"\r\n")
        self._held = b""
        if at < len(held):
            self._parser.feed_data(held[at:])

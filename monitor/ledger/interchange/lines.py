"""One line of an interchange file: from bytes to a JSON object, strictly, or a sentence that says what is wrong.

Nothing is guessed: a number that a reader could round, a key given twice, bytes that are no UTF-8 are refused.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

# A segment is one line: thousands of runs, with what a failing target said of each.
MAX_LINE_BYTES = 16 * 2**20
MAX_DEPTH = 64
MAX_DIGITS = 16

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BOMS = (b"\xff\xfe", b"\xfe\xff")
_UTF8_BOM = b"\xef\xbb\xbf"


class LineError(ValueError):
    """A line that is no JSON object; the message says why."""


def parse_line(line: bytes, *, first: bool = False) -> dict[str, Any] | None:
    """The object of a line, None for an empty one. A line end of CR LF and a UTF-8 byte order mark at the start of the
    file are tolerated; numbers with a point come as Decimal.
    """
    if len(line) > MAX_LINE_BYTES:
        msg = f"has more than {MAX_LINE_BYTES} bytes"
        raise LineError(msg)
    if first and line.startswith(_BOMS):
        raise LineError("is UTF-16: write the file as UTF-8")
    text = _decode(line.removeprefix(_UTF8_BOM) if first else line).strip(" \t\r\n")
    if not text:
        return None
    _check_depth(line)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        cut_off = "" if line.endswith(b"\n") else "; the file ends here: it was cut off"
        msg = f"is no JSON: {error.msg} at character {error.colno}{cut_off}"
        raise LineError(msg) from error
    if not isinstance(value, dict):
        msg = f'is {text[:40]!r}, expected one JSON object such as {{"type":"header","format":"jaga-ledger/1"}}'
        raise LineError(msg)
    return value


def _decode(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"is no UTF-8: byte {line[error.start]:#04x} at position {error.start + 1}"
        raise LineError(msg) from error


def _check_depth(line: bytes) -> None:
    """Before the parser, which would go as deep as the line tells it to."""
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for byte in _STRING.sub(b"", line):
        depth += (byte in b"[{") - (byte in b"]}")
        if depth > MAX_DEPTH:
            msg = f"is nested more than {MAX_DEPTH} deep"
            raise LineError(msg)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        msg = f"gives {doubled[:60]!r} twice"
        raise LineError(msg)
    return found


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        msg = f"holds the number {digits[:20]}…: whole numbers lie below 2^53"
        raise LineError(msg)
    return int(digits)


def _decimal(digits: str) -> Decimal:
    if len(digits) > 2 * MAX_DIGITS or "e" in digits or "E" in digits:
        msg = f"holds the number {digits[:20]}: write it out, with at most 6 decimals"
        raise LineError(msg)
    return Decimal(digits)


def _constant(name: str) -> NoReturn:
    msg = f"holds {name}, which is no JSON number"
    raise LineError(msg)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=_decimal,
    parse_int=_integer,
    parse_constant=_constant,
)

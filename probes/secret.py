"""Secrets at run time: looking a reference up, and taking the values out of whatever is shown.

Settings keep references (`NAME`, `file:/path`), so that no secret travels with them. A `Scrubber` remembers each value
that was looked up in an attempt and replaces it in messages and traces, also where it was encoded on the way.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from probes import InconclusiveReason, OwnFault

MASK = "***"
MAX_BYTES = 64 * 1024
_NONE: frozenset[str] = frozenset()
_SHORT = 4  # shorter values are masked only where they stand alone: masking every "1" would hide the message instead


class SecretError(LookupError):
    """A reference that cannot be looked up; the message names the reference and the cause, never a value."""


def lookup(reference: str, environment: Mapping[str, str]) -> str:
    """The value of `NAME` from `environment` or of `file:/path` from the file, its last line end removed."""
    if not reference.startswith("file:"):
        if reference not in environment:
            raise SecretError(f"${{{reference}}}: the environment has no {reference}")
        return environment[reference]
    path = Path(reference.removeprefix("file:"))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SecretError(f"${{{reference}}}: larger than {MAX_BYTES} bytes, that is no secret")
        return content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise SecretError(f"${{{reference}}}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise SecretError(f"${{{reference}}}: not UTF-8 text") from None


class Scrubber:
    """Replaces the values it was told by `***`, and looks secrets up by `secret`, so that it is told of each. Made for
    one attempt, as it learns what that attempt looked up.
    """

    __slots__ = ("_pattern", "_secret", "_values")

    def __init__(self, secret: Callable[[str], str]) -> None:
        self._secret = secret
        self._values: frozenset[str] = _NONE
        self._pattern: re.Pattern[str] | None = None

    def remember(self, value: str) -> None:
        """Mask `value` from now on."""
        if value and value not in self._values:
            self._values |= {value}
            self._pattern = None

    def lookup(self, reference: str) -> str:
        """The value of a secret, remembered; a missing one is our own fault: OwnFault(INTERNAL)."""
        try:
            value = self._secret(reference)
        except SecretError as error:
            raise OwnFault(InconclusiveReason.INTERNAL, str(error)) from None
        self.remember(value)
        return value

    def scrub(self, text: str) -> str:
        """`text` without any remembered value, in any of the forms of `disguises`."""
        if not self._values:
            return text
        if self._pattern is None:
            forms = {form for value in self._values for form in disguises(value)}
            self._pattern = re.compile("|".join(_literal(form) for form in sorted(forms, key=len, reverse=True)))
        return self._pattern.sub(MASK, text)


def _literal(form: str) -> str:
    escaped = re.escape(form)
    return rf"(?<!\w){escaped}(?!\w)" if len(form) < _SHORT else escaped


@functools.lru_cache(maxsize=1024)
def disguises(value: str) -> frozenset[str]:
    """The forms a value takes on its way: itself, its lines, percent-encoded, escaped for JSON or HTML, base64, hex."""
    raw = _bytes(value)
    forms = {
        value,
        *(line for line in value.split("\n") if len(line.strip()) >= _SHORT),
        quote(value, safe="", errors="replace"),
        quote(value, errors="replace"),
        quote_plus(value, errors="replace"),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        repr(value)[1:-1],
        raw.hex(),
        *_base64_forms(raw),
    }
    forms |= {form.lower() for form in forms if "%" in form}
    return frozenset(form for form in forms if form)


def _bytes(value: str) -> bytes:
    """The bytes that a value stands for; those of half a surrogate pair, which an answer may have held, are made up."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def _base64_forms(raw: bytes) -> set[str]:
    """The part of a value's base64 that does not depend on its neighbours, at each of the three alignments."""
    forms = set()
    for shift in range(3):
        padded = b"\0" * shift + raw
        whole = len(padded) // 3 * 4
        first = (shift * 8 + 5) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            stable = encode(padded).decode()[first:whole]
            if len(stable) >= _SHORT:
                forms.add(stable)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms.add(encode(raw).decode())
    return forms

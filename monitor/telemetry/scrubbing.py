"""Secrets kept out of log lines: every value that was looked up lately is masked in whatever is logged.

Probes mask the secrets of an attempt in what they report, and errors of the configuration and of stores never show one.
This is the second line: a traceback or a library's own message may hold what nobody thought of.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from probes.secret import MASK, disguises

MAX_VALUES = 200
"""Beyond it the oldest value is forgotten: secrets that rotate are not remembered for ever."""

SHORTEST = 4
"""A shorter value is not masked: every "on" and "1" of every line would go with it."""


class Scrubber:
    """Remembers the values that `watch` gave out, from any thread, and replaces them in texts, encoded ones too."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._values: dict[str, None] = {}
        self._forms: tuple[str, ...] | None = ()

    def watch(self, lookup: Callable[[str], str]) -> Callable[[str], str]:
        """`lookup`, with each value that it gives remembered."""

        def watched(reference: str) -> str:
            value = lookup(reference)
            self.remember(value)
            return value

        return watched

    def remember(self, value: str) -> None:
        """Mask `value` from now on."""
        if len(value) < SHORTEST or value in self._values:
            return
        with self._turn:
            self._values[value] = None
            if len(self._values) > MAX_VALUES:
                del self._values[next(iter(self._values))]
            self._forms = None

    def scrub(self, text: str) -> str:
        """`text` without any of the values."""
        forms = self._forms
        if forms is None:
            forms = self._written()
        # One search a form: thousands of alternatives in one expression would be tried at every letter.
        for form in forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def _written(self) -> tuple[str, ...]:
        """Every form of every value, the longest first: a form may be a part of another."""
        with self._turn:
            forms = {form for held in self._values for form in disguises(held) if len(form) >= SHORTEST}
            self._forms = tuple(sorted(forms, key=len, reverse=True))
            return self._forms

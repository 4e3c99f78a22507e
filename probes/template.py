"""What stands in a setting's text for something else: a secret, `${NAME}` or `${file:/path}`; a variable, `{{ x }}`.

Both are replaced in one pass over the *setting*, so that a value which a target sent is never read as a reference.
There is no language in it: no filters, no attributes, no code. `$${` stands for a literal `${`.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from probes import FailReason, InconclusiveReason, OwnFault, ProbeError

_MARK = re.compile(r"(?P<escape>\$\$\{)|\$\{(?P<reference>[^{}]*)\}|\{\{(?P<variable>[^{}]*)\}\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|file:/[^\x00-\x1f]+")


@dataclass(frozen=True, slots=True)
class Reference:
    """A secret by its name, `NAME` or `file:/path`."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that an earlier step extracted."""

    name: str


Part = str | Reference | Variable


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> tuple[Part, ...]:
    """The parts of `text` in order; ValueError saying what was meant if a mark is malformed."""
    parts: list[Part] = []
    at = 0
    for mark in _MARK.finditer(text):
        if mark.start() > at:
            parts.append(text[at : mark.start()])
        parts.append(_part(mark))
        at = mark.end()
    if at < len(text):
        parts.append(text[at:])
    return tuple(parts)


def _part(mark: re.Match[str]) -> Part:
    if mark["escape"]:
        return "${"
    if mark["reference"] is not None:
        if not _REFERENCE.fullmatch(mark["reference"]):
            hint = "write ${NAME} or ${file:/path}, or $${ for a literal ${"
            raise ValueError(f"{mark[0]!r} is no reference: {hint}")
        return Reference(mark["reference"])
    name = mark["variable"].strip()
    if not _NAME.fullmatch(name):
        raise ValueError(f"{mark[0]!r} is no variable: write {{{{ name }}}} with letters, digits and _")
    return Variable(name)


def strings(data: Any) -> Iterator[str]:  # noqa: ANN401 - plain YAML data
    """Every string in plain data, keys too."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from strings(key)
            yield from strings(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from strings(value)


def variables(data: Any) -> frozenset[str]:  # noqa: ANN401 - plain YAML data
    """The names of all variables used in plain data; ValueError for a malformed mark."""
    return frozenset(p.name for text in strings(data) for p in parse(text) if isinstance(p, Variable))


def references(data: Any) -> frozenset[str]:  # noqa: ANN401 - plain YAML data
    """The names of all secrets used in plain data; ValueError for a malformed mark."""
    return frozenset(p.name for text in strings(data) for p in parse(text) if isinstance(p, Reference))


def is_fixed(data: Any) -> bool:  # noqa: ANN401 - plain YAML data
    """True if nothing in plain data has to be replaced."""
    return all(isinstance(p, str) for text in strings(data) for p in parse(text))


def as_text(value: Any) -> str:  # noqa: ANN401 - a JSON value
    """A variable's value inside other text: a string as it is, anything else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def verbatim(text: str) -> str:
    """A value goes into the text as it is."""
    return text


def percent(text: str) -> str:
    """A value goes into a URL as one piece: it can neither end its path segment nor begin a query."""
    return quote(text, safe="")


@dataclass(frozen=True, slots=True)
class Expander:
    """Replaces marks by values: `secret` answers references, `variables` holds what steps extracted."""

    secret: Callable[[str], str]
    variables: Mapping[str, Any]

    def text(self, template: str, escape: Callable[[str], str] = verbatim) -> str:
        """`template`, its marks replaced by values passed through `escape`; ProbeError(SCRIPT) if one is unknown."""
        if "{" not in template:
            return template
        parts = parse(template)
        return "".join(part if isinstance(part, str) else escape(self._sendable(part)) for part in parts)

    def value(self, data: Any) -> Any:  # noqa: ANN401 - plain YAML data
        """Plain data with its marks replaced; a string that is one variable and nothing else keeps the value's type."""
        if isinstance(data, str):
            if "{" not in data:
                return data
            parts = parse(data)
            return self._value(parts[0]) if len(parts) == 1 and isinstance(parts[0], Variable) else self.text(data)
        if isinstance(data, Mapping):
            return {self.text(key): self.value(item) for key, item in data.items()}
        if isinstance(data, list | tuple):
            return [self.value(item) for item in data]
        return data

    def _sendable(self, part: Reference | Variable) -> str:
        """The value of a mark as text that can be sent: an answer may hold half a surrogate pair, a secret bytes that
        are no UTF-8.
        """
        text = as_text(self._value(part))
        try:
            text.encode()
        except UnicodeEncodeError:
            if isinstance(part, Reference):
                raise OwnFault(InconclusiveReason.INTERNAL, f"${{{part.name}}}: not UTF-8 text") from None
            why = f"{{{{ {part.name} }}}} holds half a character (a lone surrogate), which cannot be sent"
            raise ProbeError(FailReason.SCRIPT, why) from None
        return text

    def _value(self, part: Reference | Variable) -> Any:  # noqa: ANN401 - a JSON value
        if isinstance(part, Reference):
            return self.secret(part.name)
        if part.name in self.variables:
            return self.variables[part.name]
        near = meant(part.name, self.variables)
        raise ProbeError(FailReason.SCRIPT, f"{{{{ {part.name} }}}} was not extracted{near}")


def meant(word: str, candidates: Mapping[str, Any] | frozenset[str] | tuple[str, ...]) -> str:
    """`, did you mean "…"?` for the nearest candidate, or nothing."""
    near = difflib.get_close_matches(word, [str(c) for c in candidates], n=1, cutoff=0.6)
    return f', did you mean "{near[0]}"?' if near else ""

"""YAML read strictly: plain data with the place of every key and value, and nothing that YAML 1.1 would guess.

Refused: more than 1 MiB, nesting beyond 40, anchors, aliases, tags, merge keys, duplicate keys, several documents,
integers written as `0777` or `12_000`, control characters. `yes`, `no`, `on`, `off`, `1:30` and dates stay texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import yaml

from monitor.config.problems import ConfigError, Path, Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
_SHOWN = 40
CORE_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?[0-9]{1,30}\.[0-9]{1,30}")
_ODD_INT = re.compile(r"[-+]?(0[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+|0b[01]+|[0-9][0-9_]*_[0-9_]*)")
_LONG = re.compile(r"[-+]?[0-9]{20,}|[-+]?[0-9]+\.[0-9]+")
PLAIN = {"null": re.compile(r"(?:null)\Z"), "bool": re.compile(r"(?:true|false)\Z")} | {
    kind: re.compile(rf"(?:{pattern.pattern})\Z") for kind, pattern in (("int", _INT), ("float", _FLOAT))
}
"""How our own writer writes what is not text, by YAML's name of it."""
Place = tuple[int, int]

# The C parser is ten times faster; its composer recurses, so the depth is checked on its events first.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data and the places in it. `keys` and `values` map a path to (line, column), counted from 1.

    `problems` are what the walk found wrong without having to stop: duplicate keys, numbers that readers disagree on.
    """

    file: str
    data: Any
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def value_at(self, path: Path) -> Any:  # noqa: ANN401 - plain YAML data
        """What is written at a path; None where nothing is."""
        value = self.data
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def problem(self, path: Path, message: str, *, key: bool = False) -> Problem:
        """A problem at a path: at its key where `key` is set, else at its value; the nearest known place above."""
        places = [self.keys, self.values] if key else [self.values, self.keys]
        for end in range(len(path), -1, -1):
            for known in places:
                if path[:end] in known:
                    line, column = known[path[:end]]
                    return Problem(self.file, line, column, path, message)
        return Problem(self.file, 1, 1, path, message)


class _Refused(Exception):  # noqa: N818 - carried to the end of this module only
    def __init__(self, line: int, column: int, path: Path, message: str) -> None:
        self.place = (line, column)
        self.path = path
        self.message = message


def read(path: File, shown: str | None = None) -> Document:
    """The document in a file; ConfigError with its place where it is not to be read. `shown` names it in messages."""
    name = shown or str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "; write one with: jaga init" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError([Problem(name, 1, 1, (), f"cannot be read: {error.strerror}{hint}")]) from None
    return parse(raw, name)


def parse(raw: bytes, name: str) -> Document:
    """The document in bytes, or ConfigError with the first thing that stops reading."""
    if len(raw) > MAX_BYTES:
        raise ConfigError([Problem(name, 1, 1, (), f"is larger than {MAX_BYTES} bytes")])
    try:
        text = raw.decode("utf-8-sig")
        root = _compose(text)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(name, line, 1, (), "is not UTF-8 text")]) from None
    except _Refused as error:
        raise ConfigError([Problem(name, *error.place, error.path, error.message)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([_syntax(name, error)]) from None
    walk = _Walk(name)
    data = None if root is None else walk.value(root, ())
    return Document(name, data, walk.keys, walk.values, walk.problems)


def is_plain_text(text: str) -> bool:
    """Whether a text written without quotes would be read as this text: it is no number, no flag, nothing."""
    return not (text in _BOOL or any(kind.fullmatch(text) for kind in (_NULL, _INT, _FLOAT, _ODD_INT, _LONG)))


def _compose(text: str) -> Any:  # noqa: ANN401 - a node, None for an empty text
    """The node tree, its depth and its anchors checked on the event stream before any tree is built."""
    depth = 0
    documents = 0
    events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
    for event in events:
        mark = event.start_mark
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _Refused(mark.line + 1, mark.column + 1, (), f"is nested deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _Refused(mark.line + 1, mark.column + 1, (), "a second document; one file holds one")
        if getattr(event, "anchor", None) is not None:
            what = "an alias" if isinstance(event, yaml.AliasEvent) else "an anchor"
            raise _Refused(mark.line + 1, mark.column + 1, (), f"{what} is not allowed: write the value out")
        if getattr(event, "tag", None) is not None:
            raise _Refused(mark.line + 1, mark.column + 1, (), f"the tag {event.tag} is not allowed")
    return yaml.compose(text, Loader=_LOADER)


def _syntax(name: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "is no YAML"
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return Problem(name, line, column, (), f"is no YAML: {said}")


class _Walk:
    """Nodes to plain data, remembering where everything stood."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.keys: dict[Path, Place] = {}
        self.values: dict[Path, Place] = {}
        self.problems: list[Problem] = []

    def value(self, node: Any, path: Path) -> Any:  # noqa: ANN401 - a node without usable stubs, plain YAML data
        place = (node.start_mark.line + 1, node.start_mark.column + 1)
        self.values[path] = place
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, n)) for n, item in enumerate(node.value)]
        return self._scalar(node, path, place)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                self._say(place, path, "a key is a text")
                continue
            key = key_node.value
            inner = (*path, key)
            if key in found:
                line, column = self.keys[inner]
                self._say(place, inner, f"duplicate key, first at {line}:{column}")
                continue
            if key == "<<" and not key_node.style:
                self._say(place, inner, "merge keys are not allowed: write the values out")
                continue
            self.keys[inner] = place
            found[key] = self.value(value_node, inner)
        return found

    def _scalar(self, node: yaml.ScalarNode, path: Path, place: Place) -> str | int | float | bool | None:
        text: str = node.value
        if node.style:
            return text
        if _NULL.fullmatch(text):
            return None
        if text in _BOOL:
            return _BOOL[text]
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _ODD_INT.fullmatch(text):
            shown = text[:_SHOWN]
            self._say(
                place, path, f'{shown} means different numbers to different readers: write a plain number or "{shown}"'
            )
            return None
        if _LONG.fullmatch(text):
            self._say(place, path, f"{text[:_SHOWN]}… has more digits than a number keeps: write it in quotes")
            return None
        return text

    def _say(self, place: Place, path: Path, message: str) -> None:
        self.problems.append(Problem(self._name, *place, path, message))

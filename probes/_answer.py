"""What came, decoded once for all assertions and extractions of a step; and the bounded questions asked of it.

JSONPath is RFC 9535. The plain paths that most checks use (`$.a.b[0]`) are answered here; the library is loaded only
for others. Regular expressions run in the `regex` library with a time limit and without the GIL, off the loop on long
texts, as a pattern and a hostile text together may take for ever (FAULTS 2.D).
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import functools
import gc
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from probes import InconclusiveReason, OwnFault
from probes._json_schema import JsonSchema
from probes._markup import Markup

MAX_JSON = 4 << 20
_INLINE = 8_192  # characters or nodes' bytes that are searched on the loop itself
_INLINE_STEPS = 1_000  # values that a path visits on the loop itself, some ten milliseconds
MAX_STEPS = 100_000
"""How many values of an answer a JSONPath visits at most: `$..a..b` visits some more often than once."""

_EXPLAINING_S = 1.0
_INLINE_S = 0.01
_PATTERN_S = 0.5
_PLAIN_PATH = re.compile(r"\$(?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:0|[1-9][0-9]{0,8})\])*")
_PLAIN_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]")
_LONG_CONTENT_TYPE = len(b"content-type")
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._-]{1,40})", re.IGNORECASE)


# What Python can decode and no answer is written in: IDNA and Punycode take time by the square of the length, so that a
# MiB held the loop for 20 s; the others are notations of Python's own, or UTF-7, which the web forbids.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "undefined", "utf-7"})

# Charsets in which a byte below 0x80 is the letter of that number, and no other byte is a part of one.
_KEEP_ASCII = frozenset({"utf-8", "ascii", "iso8859-1", "cp1252"})


def keeps_ascii(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a text in ASCII is in the body of an answer with these headers if, and only if, its bytes are."""
    for name, value in headers:
        if len(name) == _LONG_CONTENT_TYPE and name.lower() == b"content-type" and not _type_keeps_ascii(value):
            return False
    return True


@functools.lru_cache(maxsize=1024)
def charset(content_type: str) -> str | None:
    """Python's name of the charset that a content type names; None without one, or for one that nobody writes in."""
    named = _CHARSET.search(content_type)
    try:
        name = codecs.lookup(named[1]).name if named else None
    except LookupError:
        return None
    return None if name in _NO_CHARSETS else name


@functools.lru_cache(maxsize=1024)
def _type_keeps_ascii(content_type: bytes) -> bool:
    text = content_type.decode("utf-8", "replace")
    return _CHARSET.search(text) is None or charset(text) in _KEEP_ASCII


class NotJsonError(ValueError):
    """The body is no JSON text; the message says where it stops being one."""


class Answer:
    """The facts of one probe. `text` and `json` are made when first asked for."""

    __slots__ = ("_json", "_markup", "_text", "facts")

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = facts
        self._text: str | None = None
        self._json: tuple[Any] | None = None
        self._markup: Markup | None = None

    @property
    def body(self) -> bytes:
        """The body in bytes; empty for a kind without."""
        body: bytes = self.facts.get("body", b"")
        return body

    def header(self, name: str) -> str | None:
        """All values of a header joined by `, `, or None without it."""
        wanted = name.lower().encode()
        headers = self.facts.get("headers", ())
        values = [value.decode("utf-8", "replace") for key, value in headers if key.lower() == wanted]
        return ", ".join(values) if values else None

    @property
    def text(self) -> str:
        """The body as text: in the charset it names, else UTF-8; undecodable bytes become U+FFFD."""
        if self._text is None:
            self._text = self._decoded()
        return self._text

    def _decoded(self) -> str:
        try:
            return self.body.decode(charset(self.header("content-type") or "") or "utf-8", "replace")
        except (LookupError, UnicodeError):
            return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:  # noqa: ANN401 - a JSON value
        """The body as JSON; NotJsonError with the place otherwise."""
        if self._json is None:
            self._json = (self._parsed(),)
        return self._json[0]

    def _parsed(self) -> Any:  # noqa: ANN401 - a JSON value
        if len(self.body) > MAX_JSON:
            raise NotJsonError(f"the body is longer than the {MAX_JSON >> 20} MiB that are read as JSON")
        try:
            text = self.body.decode(json.detect_encoding(self.body))
            with _without_collector():
                return _decoder().decode(text)
        except RecursionError:
            raise NotJsonError("the body is JSON nested too deeply") from None
        except json.JSONDecodeError as error:
            raise NotJsonError(
                f"the body is no JSON: {error.msg} at line {error.lineno} column {error.colno}"
            ) from None
        except ValueError as error:  # not UTF-8, NaN, an integer of thousands of digits
            what = str(error) if isinstance(error, _ConstantError) else "it cannot be decoded"
            raise NotJsonError(f"the body is no JSON: {what}") from None

    async def unmet(self, schema: JsonSchema) -> tuple[str, str] | None:
        """Where and why the body does not meet a JSON Schema; None if it does. NotJsonError."""
        document = self.json
        if len(self.body) <= _INLINE:
            return schema.unmet(document)
        loop = asyncio.get_running_loop()
        if await loop.run_in_executor(None, schema.is_met, document):
            return None
        explaining = loop.run_in_executor(None, schema.unmet, document)
        done, _ = await asyncio.wait([explaining], timeout=_EXPLAINING_S)
        return (
            explaining.result() if done else ("$", f"does not meet the schema; why takes over {_EXPLAINING_S} s to say")
        )

    @property
    def markup(self) -> Markup:
        """The body as XML or HTML, as its content type says."""
        if self._markup is None:
            content_type = self.header("content-type") or ""
            self._markup = Markup(self.body, content_type, charset(content_type))
        return self._markup

    async def query(self, path: str) -> list[Any]:
        """The values at a JSONPath, in document order; NotJsonError, or OwnFault if it visits too many to get there."""
        document = self.json
        plain = plain_steps(path)
        if plain is not None:
            return _walk(document, plain)
        find = functools.partial(_values_at, path, document)
        if len(self.body) <= _INLINE:
            try:
                return find(_INLINE_STEPS)
            except OwnFault:
                pass  # worth the long way
        return await asyncio.get_running_loop().run_in_executor(None, find, MAX_STEPS)


class _ConstantError(ValueError):
    pass


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Without the cycle collector: JSON has no cycles, and a body of many small values would set it off hundreds of
    times, each time over everything that there is. That held the loop for longer than reading the body.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@functools.cache
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    raise _ConstantError(f"{name} is no JSON value")


@functools.lru_cache(maxsize=1024)
def plain_steps(path: str) -> tuple[str | int, ...] | None:
    """The names and indexes of a path that consists of nothing else; None for any other path."""
    if not _PLAIN_PATH.fullmatch(path):
        return None
    return tuple(int(index) if index else name for name, index in _PLAIN_STEP.findall(path))


def _walk(value: Any, steps: tuple[str | int, ...]) -> list[Any]:  # noqa: ANN401 - a JSON value
    for step in steps:
        if isinstance(step, str):
            if not isinstance(value, dict) or step not in value:
                return []
        elif not isinstance(value, list) or step >= len(value):
            return []
        value = value[step]
    return [value]


def _values_at(path: str, document: Any, steps: int) -> list[Any]:  # noqa: ANN401 - a JSON value
    compiled = compile_path(path)
    nodes: Iterable[Any] = (_counting_node()(document, document, itertools.count(1), steps),)
    try:
        for segment in compiled.segments:
            nodes = segment.resolve(nodes)
        return [node.obj for node in nodes]
    except RecursionError:
        raise NotJsonError(f"the body is JSON nested too deeply for {path}") from None
    except _TooManyStepsError:
        raise OwnFault(
            InconclusiveReason.INTERNAL,
            f"{path} visits over {steps} values of the answer: write a path that says where to look",
        ) from None


class _TooManyStepsError(Exception):
    pass


@functools.cache
def _counting_node() -> Any:  # noqa: ANN401 - a class of the library's
    """A class of nodes that count how many there are, and do not know where they are: the library writes the path of
    each, and a hostile answer makes these as long as itself.
    """
    import jsonpath  # noqa: PLC0415 - as below

    class Node(jsonpath.JSONPathMatch):
        __slots__ = ("_limit", "_visited")

        def __init__(self, obj: object, root: Any, visited: Iterator[int], limit: int) -> None:  # noqa: ANN401 - JSON
            super().__init__(filter_context={}, obj=obj, parent=None, path="", parts=(), root=root)
            self._visited, self._limit = visited, limit

        def new_child(self, obj: object, _key: int | str) -> Node:
            self._count()
            return Node(obj, self.root, self._visited, self._limit)

        def add_child(self, *_children: object) -> None:
            return

        def filter_context(self) -> Mapping[str, Any]:
            """Asked for each value that a filter looks at."""
            self._count()
            return {}

        def _count(self) -> None:
            if next(self._visited) > self._limit:
                raise _TooManyStepsError

    return Node


@functools.lru_cache(maxsize=1024)
def compile_path(path: str) -> Any:  # noqa: ANN401 - the library's compiled query
    """A compiled RFC 9535 query; ValueError saying where it is wrong."""
    # Loaded only for paths that are not plain: 39 ms and some MiB that most monitors never need.
    import jsonpath  # noqa: PLC0415

    environment = jsonpath.JSONPathEnvironment(strict=True)
    for function in ("match", "search"):  # regular expressions without a time limit, on what a target sent
        environment.function_extensions.pop(function, None)
    try:
        return environment.compile(path)
    except jsonpath.JSONPathError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path!r} is no JSONPath (RFC 9535): {reason}") from None


def check_path(path: str) -> str:
    """`path` if it is a JSONPath, ValueError otherwise."""
    if not path.startswith("$"):
        raise ValueError(f'{path!r} is no JSONPath: it begins with "$", like $.token')
    if plain_steps(path) is None:
        compile_path(path)
    return path


@functools.lru_cache(maxsize=1024)
def compile_pattern(pattern: str, *, by_line: bool = False) -> Any:  # noqa: ANN401 - the library's pattern
    """A compiled pattern; ValueError saying where it is wrong. `by_line` lets `^` and `$` match at any line's ends."""
    import regex  # noqa: PLC0415 - 2.9 MiB, loaded only where a check has a pattern

    try:
        return regex.compile(pattern, regex.MULTILINE if by_line else 0)
    except regex.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None


async def search(pattern: str, text: str, *, by_line: bool = False) -> Any:  # noqa: ANN401 - the library's match or None
    """The first match of `pattern` in `text`; OwnFault if that takes longer than half a second: it proves nothing."""
    compiled = compile_pattern(pattern, by_line=True) if by_line else compile_pattern(pattern)
    if len(text) <= _INLINE:
        try:
            return compiled.search(text, timeout=_INLINE_S)
        except TimeoutError:
            pass  # worth the long way
    find = functools.partial(compiled.search, text, timeout=_PATTERN_S, concurrent=True)
    try:
        return await asyncio.get_running_loop().run_in_executor(None, find)
    except TimeoutError:
        raise OwnFault(
            InconclusiveReason.INTERNAL,
            f"the pattern {pattern!r} took over {_PATTERN_S} s on the answer: write one that needs no backtracking",
        ) from None

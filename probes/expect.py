"""Assertions as data: what a step expects of its answer, and the sentence when something else came.

Every assertion has an id, `<step>.<key>`, fixed by the configuration. This is the data; `probes._judge` holds it
against what came.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, cast

from pydantic import AfterValidator, BeforeValidator, StrictInt, StrictStr, WithJsonSchema

from probes._answer import check_path, compile_pattern, keeps_ascii
from probes._fields import FORBID, Duration, HeaderName, Values, byte_size, duration_us
from probes._json_schema import json_schema
from probes._markup import check_css, check_xpath
from probes.template import meant

KEYS = ("status", "headers", "body", "json", "schema", "xpath", "css", "records", "certificate", "time", "size")
_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_MATCHER_KEYS = ("type", "exists", "equals", "matches", "min", "max")
_BOUND = re.compile(r"(<=|>=|<|>)\s*(\S+(?:\s+[A-Za-z]+)?)")
_RANGE = re.compile(r"([1-5])xx|([1-5]\d\d)\s*-\s*([1-5]\d\d)")
_LOWEST, _HIGHEST = 100, 599
_HOLDS = {
    "<": lambda came, limit: came < limit,
    "<=": lambda came, limit: came <= limit,
    ">": lambda came, limit: came > limit,
    ">=": lambda came, limit: came >= limit,
}

Ranges = tuple[tuple[int, int], ...]
SUCCESS: Ranges = ((200, 299),)


class _Plain(NamedTuple):
    """Expectations that are looked up rather than judged. `records` in lower case and in order."""

    status: tuple[int, int]
    records: tuple[str, ...] | None
    wanted: tuple[bytes, ...]
    unwanted: tuple[bytes, ...]
    has_texts: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit such as `< 800ms`; `limit` in microseconds or bytes, `text` as written."""

    operator: str
    limit: int
    text: str

    def holds(self, came: float) -> bool:
        """True if `came` (in the unit of `limit`) keeps the limit."""
        return bool(_HOLDS[self.operator](came, self.limit))


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a single value must be. Only the keys in `given` count: `equals: null` is a wish, its absence none."""

    given: frozenset[str]
    type: str | None = None
    exists: bool = True
    equals: Any = None
    matches: str | None = None
    min: float | None = None
    max: float | None = None


def status_ranges(value: Any) -> Ranges:  # noqa: ANN401 - anything from YAML
    """The inclusive ranges of `200`, `2xx`, `200-204` or a list of these; ValueError otherwise."""
    items = value if isinstance(value, list | tuple) else [value]
    if not items:
        raise ValueError("an empty list of codes can never be met")
    return tuple(_range(item) for item in items)


def _range(item: Any) -> tuple[int, int]:  # noqa: ANN401 - anything from YAML
    if isinstance(item, tuple) and len(item) == 2:  # noqa: PLR2004 - validated before
        return cast("tuple[int, int]", item)
    if isinstance(item, int) and not isinstance(item, bool):
        if not _LOWEST <= item <= _HIGHEST:
            raise ValueError(f"{item} is no status code: they are from {_LOWEST} to {_HIGHEST}")
        return item, item
    match = _RANGE.fullmatch(item.strip()) if isinstance(item, str) else None
    if match is None:
        raise ValueError(f"{item!r} is no status: write a code (200), a range (2xx, 200-204) or a list of these")
    if match[1]:
        return int(match[1]) * 100, int(match[1]) * 100 + 99
    low, high = int(match[2]), int(match[3])
    if low > high:
        raise ValueError(f"{item!r}: the range is upside down")
    return low, high


def time_bound(value: Any) -> Any:  # noqa: ANN401 - anything from YAML
    """A limit on the step's time; only upper limits make sense."""
    return _bound(value, duration_us, ("<", "<="), '"< 800ms"')


def size_bound(value: Any) -> Any:  # noqa: ANN401 - anything from YAML
    """A limit on the body's size."""
    return _bound(value, byte_size, ("<", "<=", ">", ">="), '"< 64KiB" or "> 1KiB"')


def _bound(value: Any, unit: Any, operators: tuple[str, ...], example: str) -> Any:  # noqa: ANN401 - anything from YAML
    if isinstance(value, Bound):
        return value
    match = _BOUND.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[1] not in operators:
        raise ValueError(f"{value!r} is no limit: write it like {example}")
    return Bound(match[1], unit(match[2]), value.strip())


def matcher(value: Any) -> Any:  # noqa: ANN401 - anything from YAML
    """A literal (equals it) or a mapping of wishes; ValueError naming the key that is wrong."""
    if isinstance(value, Matcher):
        return value
    if not isinstance(value, Mapping):
        return Matcher(frozenset({"equals"}), equals=value)
    if not value:
        raise ValueError(f"asks for nothing: give one of {', '.join(_MATCHER_KEYS)}")
    for key in value:
        if key not in _MATCHER_KEYS:
            near = meant(str(key), _MATCHER_KEYS) or f", there are {', '.join(_MATCHER_KEYS)}"
            raise ValueError(f"unknown key {key!r}{near} (an object is compared by equals:)")
    _check_wishes(value)
    return Matcher(frozenset(value), **value)


def _check_wishes(value: Mapping[str, Any]) -> None:
    if "type" in value and value["type"] not in _TYPES:
        near = meant(str(value["type"]), _TYPES)
        raise ValueError(f"unknown type {value['type']!r}, there are {', '.join(_TYPES)}{near}")
    if "exists" in value and not isinstance(value["exists"], bool):
        raise ValueError("exists is true or false")
    if value.get("exists") is False and len(value) > 1:
        raise ValueError("exists: false goes with no other wish")
    for key in ("min", "max"):
        if key in value and (isinstance(value[key], bool) or not isinstance(value[key], int | float)):
            raise ValueError(f"{key} is a number")
    if "matches" in value:
        pattern(value["matches"])


def header_matcher(value: Any) -> Any:  # noqa: ANN401 - anything from YAML
    """As `matcher`, for a header: text, and no type or limits."""
    if isinstance(value, Mapping):
        for key in value:
            if key not in ("exists", "equals", "matches"):
                raise ValueError(f"unknown key {key!r}, a header has exists, equals, matches")
    elif not isinstance(value, Matcher | str | int | float):
        raise ValueError("a header is compared with a text or with {exists, equals, matches}")  # noqa: TRY004 - as above
    return matcher(value)


def pattern(value: Any) -> str:  # noqa: ANN401 - anything from YAML
    """A regular expression that compiles."""
    if not isinstance(value, str):
        raise ValueError("a pattern is a text")  # noqa: TRY004 - pydantic reports ValueErrors
    compile_pattern(value)
    return value


def at_least_none(number: int) -> int:
    """A number of things."""
    if number < 0:
        raise ValueError(f"{number} is no number of records")
    return number


_ANY_SCHEMA: dict[str, Any] = {}
_STATUS_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": _LOWEST, "maximum": _HIGHEST},
        {"type": "string", "pattern": r"^([1-5]xx|[1-5]\d\d\s*-\s*[1-5]\d\d)$"},
        {"type": "array", "items": {"type": ["integer", "string"]}},
    ]
}
_BOUND_SCHEMA = {"type": "string", "pattern": r"^(<=|>=|<|>)\s*\S+$"}

Status = Annotated[Any, BeforeValidator(status_ranges), WithJsonSchema(_STATUS_SCHEMA)]
TimeBound = Annotated[Any, BeforeValidator(time_bound), WithJsonSchema(_BOUND_SCHEMA)]
SizeBound = Annotated[Any, BeforeValidator(size_bound), WithJsonSchema(_BOUND_SCHEMA)]
JsonWish = Annotated[Any, BeforeValidator(matcher), WithJsonSchema(_ANY_SCHEMA)]
HeaderWish = Annotated[Any, BeforeValidator(header_matcher), WithJsonSchema(_ANY_SCHEMA)]
Path = Annotated[StrictStr, AfterValidator(check_path)]
XPath = Annotated[StrictStr, AfterValidator(check_xpath)]
Selector = Annotated[StrictStr, AfterValidator(check_css)]
SchemaWish = Annotated[Any, BeforeValidator(json_schema), WithJsonSchema({"type": ["object", "boolean"]})]
Pattern = Annotated[StrictStr, AfterValidator(pattern)]
Count = Annotated[StrictInt, AfterValidator(at_least_none)]
Patterns = Annotated[Values, AfterValidator(lambda values: tuple(pattern(v) for v in values))]


@dataclass(frozen=True, kw_only=True)
class Body:
    """What the body, as text, contains and matches; each a text or a list of texts."""

    __pydantic_config__ = FORBID

    contains: Values = ()
    not_contains: Values = ()
    matches: Patterns = ()


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What the presented certificate is: good for at least `valid_for` more (the first of the chain to expire counts),
    for these `names`, from this `issuer`, with this `subject` (as RFC 4514 writes them: `CN=…,O=…`).
    """

    __pydantic_config__ = FORBID

    valid_for: Duration | None = None
    names: Values = ()
    issuer: HeaderWish | None = None
    subject: HeaderWish | None = None

    def __post_init__(self) -> None:
        """Something is expected of it."""
        if self.valid_for is None and not self.names and self.issuer is None and self.subject is None:
            raise ValueError("expects nothing: give valid_for: 14d, names, issuer or subject")


@dataclass(frozen=True, kw_only=True)
class Records:
    """What the records of an answer are: exactly those of `equals` in any order, or with and without some, each
    matching a pattern, from `min` to `max` in number. Compared as the server writes them, without regard to case.
    """

    __pydantic_config__ = FORBID

    equals: Values | None = None
    contains: Values = ()
    not_contains: Values = ()
    matches: Pattern | None = None
    min: Count | None = None
    max: Count | None = None

    def __post_init__(self) -> None:
        """Something that can be met is expected of them."""
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        if not given(self):
            raise ValueError("expects nothing: give a list of records, or contains, not_contains, matches, min or max")


def records(value: Any) -> Any:  # noqa: ANN401 - anything from YAML
    """A text or a list of texts stands for exactly these."""
    return {"equals": value} if isinstance(value, str | list | tuple) else value


RecordWish = Annotated[Records, BeforeValidator(records)]


@dataclass(frozen=True, kw_only=True)
class Expect:
    """The `expect` of a step. Without `status`, http expects 2xx after its redirects."""

    __pydantic_config__ = FORBID

    status: Status | None = None
    headers: dict[HeaderName, HeaderWish] = field(default_factory=dict)
    body: Body | None = None
    json: dict[Path, JsonWish] = field(default_factory=dict)
    schema: SchemaWish | None = None  # a JsonSchema
    xpath: dict[XPath, JsonWish] = field(default_factory=dict)
    css: dict[Selector, JsonWish] = field(default_factory=dict)
    records: RecordWish | None = None
    certificate: Certificate | None = None
    time: TimeBound | None = None
    size: SizeBound | None = None

    def plainly_met(self, facts: Mapping[str, Any]) -> bool:
        """Whether an answer meets expectations of which there are no more than a status, fixed texts in the body and a
        fixed list of records: most checks have nothing else to be judged. False says no more than that they have to be
        looked at one by one.
        """
        plain = self._plain
        if plain is None:
            return False
        status: int | None = facts.get("status")
        if status is not None:
            low, high = plain.status
            if not low <= status <= high:
                return False
        if plain.records is not None:
            came = facts.get("records", ())
            if came != plain.records and tuple(sorted(map(str.lower, came))) != plain.records:
                return False
        return not plain.has_texts or _has_texts(plain, facts)

    @functools.cached_property
    def _plain(self) -> _Plain | None:
        """What is expected, where it is nothing but what `plainly_met` looks at. Texts in ASCII, which an answer holds
        in bytes as it does when it is decoded.
        """
        if any(getattr(self, name) for name in self.__dataclass_fields__ if name not in {"status", "body", "records"}):
            return None
        wanted = unwanted = records = None
        if self.body is not None:
            wanted, unwanted = self.body.contains, self.body.not_contains
        if self.records is not None:
            records = self.records.equals
            if records is None or given(self.records) != ["equals"]:
                return None
        texts = (*(wanted or ()), *(unwanted or ()))
        is_plain = all(text.isascii() and "{" not in text for text in texts) and not any(
            "{" in r for r in records or ()
        )
        if not is_plain or (self.body is not None and self.body.matches):
            return None
        return _Plain(
            status=(self.status or SUCCESS)[0],
            records=None if records is None else tuple(sorted(map(str.lower, records))),
            wanted=tuple(map(str.encode, wanted or ())),
            unwanted=tuple(map(str.encode, unwanted or ())),
            has_texts=bool(texts),
        )

    def ids(self, step: str, *, with_status: bool) -> tuple[str, ...]:
        """The ids of all its assertions, in the order in which they are judged."""
        keys = ["status"] if with_status or self.status is not None else []
        keys += [f"headers.{name.lower()}" for name in self.headers]
        if self.body is not None:
            keys += [f"body.{key}" for key in ("contains", "not_contains", "matches") if getattr(self.body, key)]
        keys += [f"json.{path}" for path in self.json]
        keys += ["schema"] if self.schema is not None else []
        keys += [f"{language}.{text}" for language in ("xpath", "css") for text in getattr(self, language)]
        keys += [f"records.{key}" for key in given(self.records)]
        keys += [f"certificate.{key}" for key in given(self.certificate)]
        keys += [key for key in ("size", "time") if getattr(self, key) is not None]
        return tuple(f"{step}.{key}" for key in keys)


def _has_texts(plain: _Plain, facts: Mapping[str, Any]) -> bool:
    body = facts.get("body", b"")
    find = body.find  # `in` would make an error first, and throw it away
    for text in plain.wanted:
        if find(text) < 0:
            return False
    for text in plain.unwanted:
        if find(text) >= 0:
            return False
    return keeps_ascii(facts.get("headers", ()))


def given(wish: Records | Certificate | None) -> list[str]:
    """The keys of a wish that expect something, in their order."""
    if wish is None:
        return []
    values = {name: getattr(wish, name) for name in wish.__dataclass_fields__}
    return [name for name, value in values.items() if value is not None and (value != () or name == "equals")]


NOTHING = Expect()


def all_ids(steps: Iterable[tuple[str, Expect, bool]]) -> tuple[str, ...]:
    """The ids of many steps: (name, expect, has a status)."""
    return tuple(i for name, wanted, with_status in steps for i in wanted.ids(name, with_status=with_status))

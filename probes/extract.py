"""What a step takes out of its answer for later steps, as data: JSONPath, header or pattern.

The value keeps its type: "007" stays a text, 7 a number. A value that is not there is a failed assertion that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, StrictStr, WithJsonSchema

from probes import FailReason, ProbeError
from probes._answer import Answer, NotJsonError, check_path, compile_pattern, search
from probes._fields import header_name
from probes.template import meant

_SOURCES = ("json", "header", "regex")
_MAX_VALUE = 65_536  # characters of one variable


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: `kind` json, header or regex, and the path, name or pattern."""

    kind: str
    where: str


def source(value: Any) -> Any:  # noqa: ANN401 - anything from YAML
    """A JSONPath text, or one of {json: …}, {header: …}, {regex: …}; ValueError otherwise."""
    if isinstance(value, Source):
        return value
    if isinstance(value, str):
        return Source("json", check_path(value))
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError('write a JSONPath ("$.token"), {header: NAME} or {regex: "…(group)…"}')
    (kind, where), *_ = value.items()
    if kind not in _SOURCES:
        raise ValueError(f"unknown source {kind!r}, there are {', '.join(_SOURCES)}{meant(str(kind), _SOURCES)}")
    if not isinstance(where, str):
        raise ValueError(f"{kind} wants a text")  # noqa: TRY004 - pydantic reports ValueErrors
    return Source(kind, _CHECKS[kind](where))


def one_group(pattern: str) -> str:
    """A regular expression with exactly one group, the value."""
    groups: int = compile_pattern(pattern).groups
    if groups != 1:
        raise ValueError(f"{pattern!r} has {groups} groups: exactly one ( … ) marks the value, (?: … ) marks nothing")
    return pattern


_CHECKS: dict[str, Callable[[str], str]] = {"json": check_path, "header": header_name, "regex": one_group}


def variable_name(text: str) -> str:
    """A name that `{{ … }}` can hold."""
    if not text.isidentifier() or not text.isascii():
        raise ValueError(f"{text!r} is no name for a variable: letters, digits and _, not beginning with a digit")
    return text


_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^\$"},
        {
            "type": "object",
            "properties": {kind: {"type": "string"} for kind in _SOURCES},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        },
    ]
}
Extraction = Annotated[Any, BeforeValidator(source), WithJsonSchema(_SCHEMA)]
VariableName = Annotated[StrictStr, AfterValidator(variable_name)]
Extract = dict[VariableName, Extraction]


async def extract(wanted: Mapping[str, Source], answer: Answer) -> dict[str, Any]:
    """The values by variable name; ProbeError(ASSERTION) naming the first that is missing."""
    return {name: await _value(name, place, answer) for name, place in wanted.items()}


async def _value(name: str, place: Source, answer: Answer) -> Any:  # noqa: ANN401 - a JSON value
    match place.kind:
        case "json":
            value = await _from_json(name, place.where, answer)
        case "header":
            value = answer.header(place.where)
        case _:
            found = await search(place.where, answer.text)
            value = None if found is None else found.group(1)
    if value is None and place.kind != "json":
        raise _missing(name, f"{place.kind} {place.where} not found")
    if isinstance(value, str) and len(value) > _MAX_VALUE:
        raise _missing(name, f"the value is longer than {_MAX_VALUE} characters")
    return value


async def _from_json(name: str, path: str, answer: Answer) -> Any:  # noqa: ANN401 - a JSON value
    try:
        values = await answer.query(path)
    except NotJsonError as error:
        raise _missing(name, str(error)) from None
    if not values:
        raise _missing(name, f"{path} not found")
    if len(values) > 1:
        raise _missing(name, f"{path} is not one value but {len(values)}")
    return values[0]


def _missing(name: str, why: str) -> ProbeError:
    return ProbeError(FailReason.ASSERTION, f"extract {name}: {why}")

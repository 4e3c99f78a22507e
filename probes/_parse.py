"""From plain YAML data to a transaction: every problem at once, each with its path into the data.

A path is the keys and list indexes from the check's mapping down, e.g. `("steps", 0, "http", "pots")`; the last element
of an unknown key's path is that key.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from probes import Route, kinds, load
from probes._directions import contradictions
from probes._steps import Spec, Step, is_confidential, used_variables
from probes.expect import NOTHING, Expect
from probes.extract import Extract
from probes.template import meant

Path = tuple[str | int, ...]
_STEP_KEYS = ("name", "expect", "extract")
_TRANSACTION_KEYS = ("steps", "finally")
_MAX_NAME = 64
MAX_STEPS = 50
ANYWHERE = Route()
_CREDENTIAL_FIELDS = ("headers", "bearer", "basic", "oauth2")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: where in the data, and what was meant."""

    path: Path
    message: str


class SpecError(ValueError):
    """Data that is no transaction; `problems` lists all there is to say, in the order of the data."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, p.path))}: {p.message}" for p in problems))
        self.problems = problems


def parse(data: Any, *, also: frozenset[str] = frozenset()) -> Spec:  # noqa: ANN401 - plain YAML data
    """The transaction in a check's mapping: `{steps: […], finally: […]}` or one kind, `{http: {…}, expect: {…}}`.

    `also` are the keys that belong to the caller (`network`, `attempts`, …): passed over here, but offered when a key
    is misspelt. SpecError with every problem.
    """
    parser = _Parser(also)
    spec = parser.check(data)
    if parser.problems or spec is None:
        raise SpecError(tuple(parser.problems))
    return spec


class _Parser:
    def __init__(self, also: frozenset[str]) -> None:
        self._also = also
        self._alone = False
        self.problems: list[Problem] = []

    def _say(self, path: Path, message: str) -> None:
        self.problems.append(Problem(path, message))

    def check(self, data: Any) -> Spec | None:  # noqa: ANN401 - plain YAML data
        if not isinstance(data, Mapping):
            self._say((), f"a check is a mapping: steps: […], or one of {', '.join(kinds())}")
            return None
        if not any(key in data for key in _TRANSACTION_KEYS):
            self._alone = True
            step = self._step(data, (), "", self._also)
            steps: tuple[Step | None, ...] = (step,)
            finals: tuple[Step | None, ...] = ()
        else:
            self._unknown_keys(data, (), frozenset(_TRANSACTION_KEYS) | self._also)
            steps = self._steps(data, "steps")
            finals = self._steps(data, "finally") if "finally" in data else ()
        if any(step is None for step in (*steps, *finals)) or not steps:
            return None
        spec = Spec(steps=tuple(filter(None, steps)), finally_=tuple(filter(None, finals)))
        self._names(spec)
        self._variables(spec)
        return replace(spec, confidential=frozenset(_confidential(spec)))

    def _steps(self, data: Mapping[str, Any], key: str) -> tuple[Step | None, ...]:
        items = data.get(key)
        if not isinstance(items, list) or not items:
            self._say(
                (key,) if key in data else (), f"{key} is a list of at least one step: [{{name: …, http: {{…}}}}]"
            )
            return (None,)
        if len(items) > MAX_STEPS:
            self._say((key,), f"{len(items)} steps, at most {MAX_STEPS}")
            return (None,)
        default = "step" if key == "steps" else key
        return tuple(self._step(item, (key, n), f"{default} {n + 1}", frozenset()) for n, item in enumerate(items))

    def _step(self, data: Any, path: Path, default: str, also: frozenset[str]) -> Step | None:  # noqa: ANN401 - plain YAML data
        if not isinstance(data, Mapping):
            self._say(path, "a step is a mapping with one kind, such as {name: log in, http: {get: …}}")
            return None
        before = len(self.problems)
        known = frozenset(_STEP_KEYS if path else _STEP_KEYS[1:]) | frozenset(kinds())
        self._unknown_keys(data, path, known | also, frozenset(_TRANSACTION_KEYS) if not path else frozenset())
        given = [kind for kind in kinds() if kind in data]
        if len(given) != 1:
            if len(self.problems) == before or given:
                what = f"has {' and '.join(given)}" if given else "names no kind"
                self._say(path, f"{what}: give exactly one of {', '.join(kinds())}")
            return None
        kind = given[0]
        spec = self._validated(load(kind).Spec, data[kind], (*path, kind))
        if spec is not None:
            for key, problem in contradictions(getattr(spec, "route", ANYWHERE), load(kind).target(spec)):
                self._say((*path, kind, *key), problem)
        wanted = self._expect(data.get("expect"), kind, (*path, "expect")) if "expect" in data else NOTHING
        taken = self._validated(Extract, data["extract"], (*path, "extract")) if "extract" in data else {}
        name = self._name(data.get("name", default or kind), (*path, "name"))
        if len(self.problems) > before:
            return None
        uses = used_variables(spec) | used_variables(wanted)
        return Step(name=name, kind=kind, spec=spec, expect=wanted, extract=taken, variables=uses)

    def _name(self, name: Any, path: Path) -> str:  # noqa: ANN401 - plain YAML data
        if not isinstance(name, str) or not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
            self._say(path, f"a step's name is a text on one line of at most {_MAX_NAME} characters")
            return ""
        return name

    def _expect(self, data: Any, kind: str, path: Path) -> Expect:  # noqa: ANN401 - plain YAML data
        usable: frozenset[str] = load(kind).EXPECTS
        if isinstance(data, Mapping):
            for key in data:
                if key in Expect.__dataclass_fields__ and key not in usable:
                    self._say((*path, key), f"{kind} has no {key} to expect; it has {', '.join(sorted(usable))}")
        wanted: Expect = self._validated(Expect, data, path) or NOTHING
        try:
            used_variables(wanted)
        except ValueError as error:
            self._say(path, str(error))
        return wanted

    def _unknown_keys(
        self, data: Mapping[Any, Any], path: Path, known: frozenset[str], more: frozenset[str] = frozenset()
    ) -> None:
        for key in data:
            if key not in known:
                near = meant(str(key), known | more) or f"; there are {', '.join(sorted(known))}"
                self._say((*path, key), f"unknown key {key!r}{near}")

    def _validated(self, settings: Any, data: Any, path: Path) -> Any:  # noqa: ANN401 - any settings
        try:
            return _adapter(settings).validate_python(data)
        except ValidationError as error:
            for problem in _problems(error, settings, path):
                self._say(problem.path, problem.message)
            return None

    def _names(self, spec: Spec) -> None:
        seen: set[str] = set()
        for key, steps in (("steps", spec.steps), ("finally", spec.finally_)):
            for n, step in enumerate(steps):
                if step.name in seen:
                    self._say((key, n, "name"), f"two steps are called {step.name!r}: each needs a name of its own")
                seen.add(step.name)

    def _variables(self, spec: Spec) -> None:
        """Every variable is extracted by an earlier step; those of `finally` by any step or an earlier of its own."""
        known: set[str] = set()
        for key, steps in (("steps", spec.steps), ("finally", spec.finally_)):
            for n, step in enumerate(steps):
                path: Path = (step.kind,) if self._alone else (key, n)
                for name in sorted(step.variables - known):
                    self._say(path, f"{{{{ {name} }}}} is extracted by no earlier step{meant(name, frozenset(known))}")
                known |= step.extract.keys()


def _confidential(spec: Spec) -> Iterator[str]:
    """Variables that are credentials: by their name, or because a later step logs in with them."""
    for step in (*spec.steps, *spec.finally_):
        yield from (name for name in step.extract if is_confidential(name))
        for key in _CREDENTIAL_FIELDS:
            yield from used_variables(getattr(step.spec, key, None))


def _problems(error: ValidationError, settings: Any, path: Path) -> Iterator[Problem]:  # noqa: ANN401 - a type
    for found in error.errors(include_url=False):
        inner: Path = tuple(part for part in found["loc"] if part != "[key]")
        match found["type"]:
            case "unexpected_keyword_argument":
                fields = _fields_at(settings, found["loc"][:-1])
                near = meant(str(inner[-1]), fields) or (f"; there are {', '.join(sorted(fields))}" if fields else "")
                message = f"unknown key {str(inner[-1])!r}{near}"
            case "missing_argument" | "missing":
                message = f"{inner[-1]} is missing"
                inner = inner[:-1]
            case "dataclass_type" | "dict_type":
                message = "is a mapping: {key: value, …}"
            case "string_type":
                message = f"is a text, not {_kind_of(found['input'])}"
            case "bool_type":
                message = f"is true or false, not {_kind_of(found['input'])}"
            case "int_type":
                message = f"is a whole number, not {_kind_of(found['input'])}"
            case _:
                message = found["msg"].removeprefix("Value error, ")
        yield Problem((*path, *inner), message)


def _kind_of(value: Any) -> str:  # noqa: ANN401 - anything from YAML
    if value is None:
        return "nothing"
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        dict: "a mapping",
        list: "a list",
        str: "a text",
    }
    return names.get(type(value), type(value).__name__)


def _fields_at(settings: Any, path: tuple[Any, ...]) -> frozenset[str]:  # noqa: ANN401 - a type
    """The keys that the settings at a path have; none where the path leads to no settings class."""
    for part in path:
        settings = _settings_class(get_type_hints(settings).get(part))
        if settings is None:
            return frozenset()
    return frozenset(settings.__dataclass_fields__) if is_dataclass(settings) else frozenset()


def _settings_class(hint: Any) -> Any:  # noqa: ANN401 - a type
    if is_dataclass(hint):
        return hint
    return next((found for arg in get_args(hint) if (found := _settings_class(arg)) is not None), None)


@functools.cache
def _adapter(settings: Any) -> Any:  # noqa: ANN401 - a type, and pydantic's adapter of it
    return TypeAdapter(settings)


def schema() -> dict[str, Any]:
    """The JSON Schema of what `parse` reads, for editors; the caller adds its own keys to both shapes."""
    expect = _adapter(Expect).json_schema(mode="serialization")
    definitions = expect.pop("$defs", {})
    shared = {"expect": expect, "extract": _adapter(Extract).json_schema(mode="serialization")}
    specs = {}
    for kind in kinds():
        specs[kind] = _adapter(load(kind).Spec).json_schema(mode="serialization")
        definitions |= specs[kind].pop("$defs", {})
    one_of = [{"required": [kind]} for kind in kinds()]
    step = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": _MAX_NAME}} | specs | shared,
        "additionalProperties": False,
        "oneOf": one_of,
    }
    steps = {"type": "array", "minItems": 1, "maxItems": MAX_STEPS, "items": {"$ref": "#/$defs/Step"}}
    return {
        "type": "object",
        "properties": specs | shared | {"steps": steps, "finally": steps},
        "oneOf": [*one_of, {"required": ["steps"]}],
        "$defs": definitions | {"Step": step},
    }

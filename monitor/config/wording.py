"""From what the models refuse to sentences: where, what is wrong, and what was meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from monitor.config.problems import Path, unknown


def faults(error: ValidationError, root: type[BaseModel]) -> Iterator[tuple[Path, str, bool]]:
    """(path, sentence, whether it is the key that is wrong) of everything pydantic found."""
    for found in error.errors(include_url=False):
        path = tuple(part for n, part in enumerate(found["loc"]) if part != "[key]" and not _is_tag(found["loc"], n))
        if found["type"] == "extra_forbidden":
            yield path, unknown(str(path[-1]), _keys_at(root, path[:-1])), True
        elif found["type"] == "missing":
            yield path[:-1], f"{path[-1]} is missing", True
        elif found["type"] == "too_short" and found["input"]:
            continue  # its items were wrong and are said for themselves
        else:
            yield path, _sentence(found), "[key]" in found["loc"]


def _is_tag(path: Path, n: int) -> bool:
    """Whether a part only names which form of a fee was meant."""
    return n > 0 and path[n - 1] == "fee" and path[n] in {"plain", "steps"}


def _sentence(found: Any) -> str:  # noqa: ANN401 - one of pydantic's error details
    expected = {
        "string_type": "a text",
        "model_type": "a mapping",
        "dict_type": "a mapping",
        "tuple_type": "a list",
        "bool_type": "true or false",
        "int_type": "a whole number",
        "too_short": "at least one entry",
    }.get(found["type"])
    if found["type"] in {"enum", "literal_error"}:
        expected = found["ctx"]["expected"]
    if expected is not None:
        return f"expected {expected}, got {_said(found['input'])}"
    return str(found["msg"]).removeprefix("Value error, ")


def _said(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return repr(value)[:60]


def _keys_at(annotation: Any, path: Path) -> list[str]:  # noqa: ANN401 - a type
    """The keys that the model at a path has; none where the path leads to no model."""
    for part in path:
        annotation = _below(annotation, part)
    for model in (annotation, *get_args(annotation)):  # itself, or one that may be left out
        if isinstance(model, type) and issubclass(model, BaseModel):
            return [field.alias or name for name, field in model.model_fields.items()]
    return []


def _below(annotation: Any, part: str | int) -> Any:  # noqa: ANN401 - types
    """The type of what stands under a key or index of a value of this type; None where that cannot be said."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        return fields.get(str(part))
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0]
    return next((found for arg in get_args(annotation) if (found := _below(arg, part)) is not None), None)

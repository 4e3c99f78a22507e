"""JSON Schema as an assertion: compiled where the configuration is read, and nothing is ever fetched for it.

The library (jsonschema-rs) is loaded only where a check has a schema. Its patterns run in linear time, without
look-around: what a target sends must not choose how long we compute.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


class JsonSchema:
    """A schema and its validator. Equal by what it says."""

    __slots__ = ("_error", "_validator", "text")

    def __init__(self, schema: Any) -> None:  # noqa: ANN401 - anything from YAML
        """ValueError for what is no schema, or leads out of itself."""
        # 14 MiB, loaded only where a check has a schema.
        import jsonschema_rs  # noqa: PLC0415

        if not isinstance(schema, dict | bool):
            raise ValueError("a JSON Schema is a mapping, such as {type: object, required: [id]}")  # noqa: TRY004 - pydantic reports ValueErrors
        self.text = json.dumps(schema, sort_keys=True)
        self._error = jsonschema_rs.ValidationError
        try:
            self._validator = jsonschema_rs.validator_for(
                schema, retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions()
            )
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise ValueError(f"no JSON Schema: {str(error).splitlines()[0]}") from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JsonSchema) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"JsonSchema({self.text})"

    def is_met(self, document: Any) -> bool:  # noqa: ANN401 - a JSON value
        """Whether a document meets the schema."""
        met: bool = self._validator.is_valid(document)
        return met

    def unmet(self, document: Any) -> tuple[str, str] | None:  # noqa: ANN401 - a JSON value
        """Where (as a JSONPath) and why a document does not meet the schema; None if it does."""
        try:
            # The first error alone: a document of a MiB may hold 350,000, and to list them took 23 s and 540 MB.
            self._validator.validate(document)
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and no text can hold
            return (
                "$",
                "does not meet the schema; where cannot be said, as it holds half a character (\\ud800 to \\udfff)",
            )
        except self._error as error:
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
            return f"${place}", error.message
        return None


def _refuse(address: str) -> NoReturn:
    raise ValueError(f"{address} is a remote reference: everything a schema needs stands in it")


def json_schema(value: Any) -> Any:  # noqa: ANN401 - anything from YAML
    """The schema that a mapping is; ValueError otherwise."""
    return value if isinstance(value, JsonSchema) else JsonSchema(value)

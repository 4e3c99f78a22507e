"""The JSON Schema of the configuration, generated from its models, so that editors complete and explain the keys."""

from __future__ import annotations

import json
from typing import Any

from monitor.config.models import ChannelModel, CheckModel, Root
from probes import transaction

NAME = "jaga.schema.json"
ID_PATTERN = "^[a-z0-9][a-z0-9._-]{0,62}$"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCHEMA_MAPS = ("properties", "patternProperties", "$defs")


def schema() -> dict[str, Any]:
    """The schema of a whole configuration file."""
    root = Root.model_json_schema(mode="serialization")
    root["$defs"]["Check"] = _check(root["$defs"])
    checks = root["$defs"]["Service"]["properties"]["checks"]
    checks["patternProperties"] = {pattern: {"$ref": "#/$defs/Check"} for pattern in checks["patternProperties"]}
    root["$defs"]["Channel"] = _channel(root["$defs"])
    channels = root["properties"]["channels"]
    pattern = next(iter(channels.pop("patternProperties", {ID_PATTERN: None})))
    channels.pop("additionalProperties", None)
    channels["patternProperties"] = {pattern: {"$ref": "#/$defs/Channel"}}
    head = {"$schema": _DIALECT, "title": "Jaga configuration"}
    cleaned: dict[str, Any] = head | _cleaned(root)
    return cleaned


def schema_text() -> str:
    """The schema as the file that is checked in: stable from run to run."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _check(definitions: dict[str, Any]) -> dict[str, Any]:
    """A check: the probes' keys and our own in one mapping. Its shared parts go to `definitions`."""
    check = transaction.schema()
    own = CheckModel.model_json_schema(mode="serialization")
    for name, part in (check.pop("$defs") | own.pop("$defs", {})).items():
        assert name not in definitions, f"two parts of the schema are called {name}"
        definitions[name] = part
    check["properties"] = own["properties"] | check["properties"]
    return check | {"additionalProperties": False, "description": CheckModel.__doc__}


def _channel(definitions: dict[str, Any]) -> dict[str, Any]:
    """A channel, which the models leave open as its mistakes do not stop the daemon."""
    channel = ChannelModel.model_json_schema(mode="serialization")
    for name, part in channel.pop("$defs", {}).items():
        assert definitions.get(name, part) == part, f"two parts of the schema are called {name}"
        definitions[name] = part
    return channel


def _cleaned(part: Any) -> Any:  # noqa: ANN401 - JSON
    """Without generated titles; ids as `propertyNames`; defaults as the file would write them."""
    if isinstance(part, list):
        return [_cleaned(item) for item in part]
    if not isinstance(part, dict):
        return part
    cleaned = {
        key: {name: _cleaned(inner) for name, inner in value.items()} if key in _SCHEMA_MAPS else _cleaned(value)
        for key, value in part.items()
        if not (key == "title" and isinstance(value, str))
    }
    if "patternProperties" in cleaned:
        ((pattern, inner),) = cleaned.pop("patternProperties").items()
        cleaned |= {"propertyNames": {"pattern": pattern}, "additionalProperties": inner}
    return _with_written_default(cleaned)


def _with_written_default(part: dict[str, Any]) -> dict[str, Any]:
    """A default that is no value of its own schema (an optional key, a mapping of defaults) is left to its parts."""
    default = part.get("default")
    if "default" in part and (default is None or isinstance(default, dict)):
        del part["default"]
    return part

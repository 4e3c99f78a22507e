"""The OpenAPI document, made of the table of routes: there is no second description that could be wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from monitor.web.bodies import ID_PATTERN
from monitor.web.problems import CONTENT_TYPE
from monitor.web.routes import Route

_REF = "#/components/schemas/{model}"
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_EFFECTS = {
    "type": "object",
    "required": ["effects"],
    "properties": {"effects": {"type": "array", "items": {"type": "object"}}},
}


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The description of the routes."""
    models = sorted({route.body for route in routes if route.body is not None}, key=lambda body: body.__name__)
    _map, schemas = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Jaga",
            "version": version,
            "description": "Services, their months and decisions on them. Tokens are made by `jaga token create`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas["$defs"], "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    scope = route.rule.scope
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.about,
        "security": [] if scope is None else [{"token": []}],
        "parameters": list(_parameters(route)),
        "responses": {str(status.value): answer for status, answer in _answers(route)},
    }
    if scope is not None:
        operation["x-scope"] = scope.value
        operation["x-partners"] = route.rule.partners
    if route.body is not None:
        reference = {"$ref": _REF.format(model=route.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    return operation


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    if "{id}" in route.path:
        schema = {"type": "string", "pattern": ID_PATTERN}
        yield {"name": "id", "in": "path", "required": True, "schema": schema}
    for parameter in route.parameters:
        yield {
            "name": parameter.name,
            "in": "query",
            "required": parameter.required,
            "description": parameter.about,
            "schema": dict(parameter.schema),
        }


def _answers(route: Route) -> Iterator[tuple[HTTPStatus, dict[str, Any]]]:
    good: dict[str, Any] = (
        {"schema": dict(route.schema)} if route.schema is not None else {"schema": {"type": "string"}}
    )
    yield route.good, {"description": route.good.phrase, "content": {route.gives: good}}
    if route.body is not None:  # the answer to a preview
        content = {"application/json": {"schema": _EFFECTS}}
        yield HTTPStatus.OK, {"description": "What it would do; nothing was recorded.", "content": content}
    wrong = {*route.answers, HTTPStatus.TOO_MANY_REQUESTS}
    if route.rule.scope is not None:
        wrong |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    if route.body is not None:
        wrong |= {
            HTTPStatus.REQUEST_TIMEOUT,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        }
    content = {CONTENT_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
    for status in sorted(wrong):
        plain = route.name == "ready" and status is HTTPStatus.SERVICE_UNAVAILABLE
        yield status, {"description": status.phrase, "content": {"text/plain": {}} if plain else content}

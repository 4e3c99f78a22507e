"""What went wrong with a request, as a problem document (RFC 9457). Nothing of the inside is in it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from aiohttp import web

CONTENT_TYPE = "application/problem+json"


class ProblemError(Exception):
    """Ends a request with a problem document: the status, what was wrong with it, and headers that say more."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def problem_bytes(status: HTTPStatus, detail: str) -> bytes:
    """The document itself."""
    return orjson.dumps({"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail})


def problem(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer that carries it."""
    return web.Response(
        body=problem_bytes(status, detail),
        status=status.value,
        content_type=CONTENT_TYPE,
        headers=headers,
    )

"""Decisions that come over HTTP: read, carried out through the one door, answered with what was recorded.

The author of a decision is the token's id. With `?preview=true` nothing is recorded, and the answer is what it would do
to the months; with `?restate=true` a decision may touch closed months, for their next version (CONTRACT 2.7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

from aiohttp import web
from pydantic import ValidationError

from monitor.core.wire import FactError, write_fact
from monitor.ledger.act import Done
from monitor.ledger.command import Command
from monitor.ledger.decide import Refused
from monitor.web.access import CALLER
from monitor.web.bodies import (
    AnnounceBody,
    Body,
    CancelBody,
    ClaimBody,
    ExcludeBody,
    ExtendBody,
    FinishBody,
    NoticeBody,
    ReverseBody,
    read_json,
)
from monitor.web.desk import DESK, own_partner
from monitor.web.incident_bodies import EventBody, OpenBody
from monitor.web.problems import ProblemError
from monitor.web.reading import json_answer

BODY_WITHIN_S = 5.0
"""How long a body may take to come."""

_B = TypeVar("_B", bound=Body)


async def announce(request: web.Request) -> web.Response:
    """Announce a window."""
    return await _decided(request, (await _body(request, AnnounceBody)).command())


async def extend(request: web.Request) -> web.Response:
    """Prolong a window from its end on."""
    body, window = await _body(request, ExtendBody), request.match_info["id"]
    known = await request.app[DESK].read(lambda months: months.record.book.windows.get(window))
    if known is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no window {window[:64]!r}")
    return await _decided(request, body.command(known.fact))


async def finish(request: web.Request) -> web.Response:
    """The work of a window ended."""
    return await _decided(request, (await _body(request, FinishBody)).command(request.match_info["id"]))


async def cancel(request: web.Request) -> web.Response:
    """Call a window off."""
    return await _decided(request, (await _body(request, CancelBody)).command(request.match_info["id"]))


async def notified(request: web.Request) -> web.Response:
    """A partner had notice of a window."""
    return await _decided(request, (await _body(request, NoticeBody)).command(request.match_info["id"]))


async def exclude(request: web.Request) -> web.Response:
    """Do not count a span."""
    return await _decided(request, (await _body(request, ExcludeBody)).command())


async def reverse(request: web.Request) -> web.Response:
    """Take an exclusion back."""
    body, of = await _body(request, ReverseBody), request.match_info["id"]
    # A reversal may name an adjudication or an annulment too; this scope is for exclusions.
    if not await request.app[DESK].read(lambda months: of in months.record.book.exclusions):
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no exclusion {of[:64]!r}")
    return await _decided(request, body.command(of))


async def claim(request: web.Request) -> web.Response:
    """File a claim; a partner's token for its own partner."""
    body = await _body(request, ClaimBody)
    own_partner(request, body.partner)
    return await _decided(request, body.command())


async def open_incident(request: web.Request) -> web.Response:
    """A report; who reports is kept beside the chain, and nowhere where it is refused or only previewed."""
    body = await _body(request, OpenBody)
    who = body.reporter.given()
    if not who or _flag(request, "preview"):
        return await _decided(request, body.command(None))
    reference = await request.app[DESK].keep_person(who)
    try:
        return await _decided(request, body.command(reference))
    except ProblemError:
        await request.app[DESK].forget_person(reference)  # no entry refers to it
        raise


def about_incident(shape: type[EventBody]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """What is done about an incident, in the shape of a body."""

    async def decided(request: web.Request) -> web.Response:
        return await _decided(request, (await _body(request, shape)).command(request.match_info["id"]))

    return decided


async def reload(request: web.Request) -> web.Response:
    """Read the configuration again, as SIGHUP does."""
    done = await request.app[DESK].reload()
    if isinstance(done, str):
        raise ProblemError(HTTPStatus.CONFLICT, done)
    return json_answer({"reloaded": True, "kept_while_not_up": list(done)})


async def _decided(request: web.Request, command: Command) -> web.Response:
    desk, by, over = request.app[DESK], request[CALLER].id, _flag(request, "restate")
    try:
        if _flag(request, "preview"):
            return await _previewed(desk.preview(command, by=by, over_closed=over))
        done = await desk.decide(command, by=by, over_closed=over)
    except FactError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, str(error)) from error
    if isinstance(done, Refused):
        raise ProblemError(HTTPStatus.CONFLICT, done.reason)
    assert isinstance(done, Done), "a decision is done or refused"
    recorded = {"recorded": [write_fact(entry.fact) for entry in done.entries], "remarks": list(done.remarks)}
    return json_answer(recorded, HTTPStatus.CREATED)


async def _previewed(asked: Awaitable[Any]) -> web.Response:
    found = await asked
    if isinstance(found, Refused):
        raise ProblemError(HTTPStatus.CONFLICT, found.reason)
    return json_answer({"effects": [effect._asdict() for effect in found]})


def _flag(request: web.Request, name: str) -> bool:
    written = request.query.get(name, "false")
    if written not in {"true", "false"}:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"{name} is true or false")
    return written == "true"


async def _body(request: web.Request, shape: type[_B]) -> _B:
    """The body of a request in its shape; ProblemError 400, 408, 413 or 415 where it has none."""
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body is application/json, and not compressed")
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            raw = await request.read()
    except TimeoutError:
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {BODY_WITHIN_S:g} s") from None
    try:
        written = read_json(raw)
    except ValueError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is no JSON document that can be read") from None
    try:
        return shape.model_validate(written)
    except ValidationError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "; ".join(_faults(error))) from None


def _faults(error: ValidationError) -> list[str]:
    """What is wrong, without what was written: the first few of it."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[:5]
    return [f"{'.'.join(str(part)[:64] for part in one['loc']) or 'body'}: {one['msg'][:300]}" for one in found]

"""What the API shows to tokens: statements, services, outages, the latest run of a check. Views of the ledger alone."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from monitor.core.calendar import Month, MonthError
from monitor.core.fact import Outage
from monitor.core.instant import format_instant, format_seconds, parse_instant
from monitor.core.run import Outcome
from monitor.ledger.month import Months, NoSuchVersionError
from monitor.ledger.pace import degraded
from monitor.ledger.standing import outages_of, standings
from monitor.telemetry import blackbox
from monitor.web.access import CALLER
from monitor.web.desk import DESK, own_partner, refuse_foreign_service
from monitor.web.problems import ProblemError
from monitor.web.status import run_documents, status_document

MAX_OUTAGES = 1000
"""The most outages in one answer, the newest; `from` and `to` ask for others."""


def json_answer(document: Any, status: HTTPStatus = HTTPStatus.OK) -> web.Response:  # noqa: ANN401 - any JSON
    """A document as JSON."""
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


async def statements(request: web.Request) -> web.Response:
    """The statements of a month, as `jaga statement --format json` prints them."""
    month = _month(request)
    partner, service = own_partner(request, _text(request, "partner")), _text(request, "service")
    version = _version(request)

    def found(months: Months) -> list[dict[str, Any]]:
        return [statement.document for statement in months.statements(month, partner, service, version)]

    try:
        return json_answer(await request.app[DESK].read(found))
    except NoSuchVersionError as error:
        raise ProblemError(HTTPStatus.NOT_FOUND, str(error)) from error


async def service(request: web.Request) -> web.Response:
    """A service as it stands, with the latest run of each of its checks and what is usual for it."""
    name = request.match_info["id"]
    refuse_foreign_service(request, name)
    own = request[CALLER].partner

    def found(months: Months) -> dict[str, Any] | None:
        standing = standings(months, (name,))
        if not standing:
            return None
        slow = degraded(months.reader, months.now_us, name)
        (document,) = status_document(standing, months.now_us, slow)["services"]
        if own is not None:
            document["months"] = [month for month in document["months"] if month["partner"] == own]
            for window in document["maintenance"]:
                for of_partners in ("rejected", "notice_by"):
                    window[of_partners] = {who: said for who, said in window[of_partners].items() if who == own}
        runs = run_documents(months.reader, name, months.now_us)
        return {"at": format_instant(months.now_us), **document, "runs": runs}

    document = await request.app[DESK].read(found)
    if document is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no service {name[:64]!r}")
    return json_answer(document)


async def outages(request: web.Request) -> web.Response:
    """The outages as first detected, newest last."""
    about = _text(request, "service")
    since_us, until_us = _instant(request, "from"), _instant(request, "to")
    own = request[CALLER].partner
    if about is not None:
        refuse_foreign_service(request, about)
    visible = None if own is None else request.app[DESK].services_of(own)

    def found(months: Months) -> list[dict[str, Any]]:
        known = {*months.record.lists, *(of for _partner, of in months.record.agreements.pairs())}
        names = sorted(name for name in known if about in {None, name} and (visible is None or name in visible))
        merged = {outage.id: outage for name in names for outage in outages_of(months, name)}
        within = [outage for outage in merged.values() if _overlaps(outage, since_us, until_us)]
        within.sort(key=lambda outage: (outage.start_us, outage.service, outage.id))
        return [_outage(outage, months.now_us) for outage in within[-MAX_OUTAGES:]]

    return json_answer({"outages": await request.app[DESK].read(found)})


async def probe(request: web.Request) -> web.Response:
    """The latest run of a check as the blackbox exporter would tell it. It never starts one."""
    target = request.query.get("target", "")
    name, slash, check = target.partition("/")
    if not slash or not name or not check:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "target names a check: ?target=SERVICE/CHECK")
    refuse_foreign_service(request, name)
    try:
        run = request.app[DESK].latest(name, check)
    except KeyError:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no check {target[:130]!r}") from None
    if run is None or run.outcome is Outcome.INCONCLUSIVE:
        why = "no run of it holds" if run is None else f"its latest run is inconclusive ({run.reason})"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"{target}: {why}: neither success nor failure can be told")
    return web.Response(body=blackbox.probe_metrics(run), headers={"Content-Type": blackbox.CONTENT_TYPE})


def _month(request: web.Request) -> Month:
    try:
        return Month.parse(request.query.get("month", ""))
    except MonthError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"month: {error}") from error


def _text(request: web.Request, name: str) -> str | None:
    """A query parameter that names something; an empty one is a mistake and not everything."""
    text = request.query.get(name)
    if text is not None and not text:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"{name} is empty")
    return text


def _version(request: web.Request) -> int | None:
    text = request.query.get("version")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or not 1 <= len(text) <= 4 or int(text) < 1:  # noqa: PLR2004 - digits
        raise ProblemError(HTTPStatus.BAD_REQUEST, "version is a number from 1 to 9999")
    return int(text)


def _instant(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    try:
        return None if text is None else parse_instant(text)
    except ValueError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"{name}: {error} (write + as %2B)") from error


def _overlaps(outage: Outage, since_us: int | None, until_us: int | None) -> bool:
    begun = until_us is None or outage.start_us < until_us
    return begun and (since_us is None or outage.end_us is None or outage.end_us > since_us)


def _outage(outage: Outage, now_us: int) -> dict[str, Any]:
    return {
        "id": outage.id,
        "service": outage.service,
        "start": format_instant(outage.start_us),
        "end": None if outage.end_us is None else format_instant(outage.end_us),
        "seconds": format_seconds((now_us if outage.end_us is None else outage.end_us) - outage.start_us),
        "failing": outage.failing,
    }

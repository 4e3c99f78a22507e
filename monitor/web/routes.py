"""The one table of routes: what is served, who may, what it takes and gives. Router, guard and OpenAPI follow it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from aiohttp import web

from monitor.core.baseline import Pace
from monitor.core.fact import ExclusionReason
from monitor.web import bodies, incident_bodies, public, reading, writing
from monitor.web.access import Rule
from monitor.web.bodies import ID_PATTERN, INSTANT_SCHEMA, MONTH_PATTERN, Body
from monitor.web.tokens import Scope

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON = "application/json"
_PUBLIC = Rule(None)
_READ = Rule(Scope.READ, partners=True)
_ID = {"type": "string", "pattern": ID_PATTERN}
_TEXT = {"type": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of the query."""

    name: str
    about: str
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A method of a path. `answers` are the statuses besides those that the rule, the body and the guard bring.

    `gives` is the media type of the good answer, and `schema` its shape where it is JSON.
    """

    method: str
    path: str
    name: str
    about: str
    rule: Rule
    handler: Handler
    gives: str = JSON
    schema: Mapping[str, Any] | None = None
    parameters: tuple[Parameter, ...] = ()
    body: type[Body] | None = None
    good: HTTPStatus = HTTPStatus.OK
    answers: tuple[HTTPStatus, ...] = ()


def _object(*required: str, **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(required or properties), "properties": properties}


_DEGRADED = _object(
    check=_TEXT,
    location=_TEXT,
    since=_TEXT,
    duration_seconds=_TEXT,
    usual_seconds={"type": ["string", "null"]},
    usual_runs={"type": "integer"},
)
_PACE = _object(
    state={"type": "string", "enum": [pace.value for pace in Pace]},
    since={"type": ["string", "null"]},
    usual_seconds={"type": ["string", "null"]},
    usual_runs={"type": "integer"},
)
_SERVICE = _object(id=_TEXT, verdict=_TEXT, degraded={"type": "array", "items": _DEGRADED})
_STATUS = _object(at=_TEXT, services={"type": "array", "items": _SERVICE})
_RUN = _object(
    check=_TEXT,
    location=_TEXT,
    at=_TEXT,
    outcome=_TEXT,
    attempts={"type": "integer"},
    duration_seconds=_TEXT,
    pace=_PACE,
)
_RECORDED = _object(
    recorded={"type": "array", "items": _object("type", type=_TEXT)},
    remarks={"type": "array", "items": _TEXT},
)
_OUTAGE = _object(
    id=_TEXT,
    service=_TEXT,
    start=_TEXT,
    end={"type": ["string", "null"]},
    seconds=_TEXT,
    failing={"type": ["string", "null"]},
)
_FLAG = {"type": "string", "enum": ["true", "false"], "default": "false"}
_DECIDING = (
    Parameter(name="preview", about="Record nothing; answer what it would do to the months.", schema=_FLAG),
    Parameter(name="restate", about="Also where it touches a closed month: for its next version.", schema=_FLAG),
)


def _page(path: str, name: str, about: str, handler: Handler, gives: str, *answers: HTTPStatus) -> Route:
    return Route(
        method="GET", path=path, name=name, about=about, rule=_PUBLIC, handler=handler, gives=gives, answers=answers
    )


def _view(path: str, name: str, about: str, rule: Rule, handler: Handler, **more: Any) -> Route:  # noqa: ANN401
    answers = (*more.pop("answers", ()), HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE)
    return Route(method="GET", path=path, name=name, about=about, rule=rule, handler=handler, answers=answers, **more)


def _decision(path: str, name: str, about: str, rule: Rule, handler: Handler, body: type[Body]) -> Route:
    return Route(
        method="POST",
        path=path,
        name=name,
        about=about,
        rule=rule,
        handler=handler,
        body=body,
        parameters=_DECIDING,
        schema=_RECORDED,
        good=HTTPStatus.CREATED,
        answers=(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.CONFLICT,
            HTTPStatus.SERVICE_UNAVAILABLE,
            *((HTTPStatus.NOT_FOUND,) if "{" in path else ()),
        ),
    )


PUBLIC = (
    _page("/", "landing", "The services and how they stand, for people.", public.landing, "text/html"),
    _page("/-/healthy", "healthy", "Whether the process answers.", public.healthy, "text/plain"),
    _page(
        "/-/ready",
        "ready",
        "Whether the ledger is replayed and schedules run.",
        public.ready,
        "text/plain",
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
    _page("/metrics", "metrics", "The metrics, for Prometheus.", public.metrics, "text/plain"),
    Route(
        method="GET",
        path="/api/v1/status",
        name="status",
        about="How the services stand.",
        rule=_PUBLIC,
        handler=public.status,
        schema=_STATUS,
        answers=(HTTPStatus.SERVICE_UNAVAILABLE,),
    ),
    _page(
        "/api/v1/checkpoint",
        "checkpoint",
        "The newest signed checkpoint, as its note (C2SP tlog-checkpoint).",
        public.checkpoint,
        "text/plain",
        HTTPStatus.NOT_FOUND,
    ),
    Route(
        method="GET",
        path="/api/v1/openapi.json",
        name="openapi",
        about="This description.",
        rule=_PUBLIC,
        handler=public.openapi,
        schema={"type": "object", "required": ["openapi"]},
    ),
)
"""What needs no token."""

READING = (
    _view(
        "/api/v1/statements",
        "statements",
        "The statements of a month. A partner's token: its own.",
        Rule(Scope.STATEMENTS, partners=True),
        reading.statements,
        schema={"type": "array", "items": _object("schema", "statement", schema=_TEXT, statement=_TEXT)},
        parameters=(
            Parameter(
                name="month", about="2026-10", schema={"type": "string", "pattern": MONTH_PATTERN}, required=True
            ),
            Parameter(name="partner", about="Only this partner's.", schema=_ID),
            Parameter(name="service", about="Only this service's.", schema=_ID),
            Parameter(
                name="version",
                about="An issued version. Default: the newest.",
                schema={"type": "integer", "minimum": 1, "maximum": 9999},
            ),
        ),
        answers=(HTTPStatus.NOT_FOUND,),
    ),
    _view(
        "/api/v1/services/{id}",
        "service",
        "A service as it stands, with the latest run of each check and what is usual for it.",
        _READ,
        reading.service,
        schema=_object(
            id=_TEXT,
            verdict=_TEXT,
            degraded={"type": "array", "items": _DEGRADED},
            runs={"type": "array", "items": _RUN},
        ),
        answers=(HTTPStatus.NOT_FOUND,),
    ),
    _view(
        "/api/v1/outages",
        "outages",
        "The outages as first detected.",
        _READ,
        reading.outages,
        schema=_object(outages={"type": "array", "items": _OUTAGE}),
        parameters=(
            Parameter(name="service", about="Only this service's.", schema=_ID),
            Parameter(name="from", about="Only what ended after it.", schema=INSTANT_SCHEMA),
            Parameter(name="to", about="Only what began before it.", schema=INSTANT_SCHEMA),
        ),
    ),
    _view(
        "/probe",
        "probe",
        "The latest run of a check with the names of the blackbox exporter. It never starts one.",
        _READ,
        reading.probe,
        gives="text/plain",
        parameters=(Parameter(name="target", about="SERVICE/CHECK", schema=_TEXT, required=True),),
        answers=(HTTPStatus.NOT_FOUND,),
    ),
)
"""What tokens read."""

_MAINTENANCE, _EXCLUSIONS, _INCIDENTS = Rule(Scope.MAINTENANCE), Rule(Scope.EXCLUSIONS), Rule(Scope.INCIDENTS)
_CLAIMS = Rule(Scope.CLAIMS, partners=True)
_ABOUT_INCIDENTS: Mapping[str, type[incident_bodies.EventBody]] = MappingProxyType(
    {
        "supply": incident_bodies.SupplyBody,
        "ack": incident_bodies.AcknowledgeBody,
        "assign": incident_bodies.AssignBody,
        "workaround": incident_bodies.WorkaroundBody,
        "fix": incident_bodies.FixBody,
        "close": incident_bodies.CloseBody,
        "reopen": incident_bodies.ReopenBody,
        "pause": incident_bodies.PauseBody,
        "resume": incident_bodies.ResumeBody,
        "priority": incident_bodies.PriorityBody,
        "escalate": incident_bodies.EscalateBody,
        "plan": incident_bodies.PlanBody,
        "call": incident_bodies.CallBody,
    },
)

WRITING = (
    _decision(
        "/api/v1/maintenance",
        "announceMaintenance",
        "Announce a window; its notices are queued.",
        _MAINTENANCE,
        writing.announce,
        bodies.AnnounceBody,
    ),
    _decision(
        "/api/v1/maintenance/{id}/extend",
        "extendMaintenance",
        "Prolong a window from its end on.",
        _MAINTENANCE,
        writing.extend,
        bodies.ExtendBody,
    ),
    _decision(
        "/api/v1/maintenance/{id}/cancel",
        "cancelMaintenance",
        "Call a window off before its start.",
        _MAINTENANCE,
        writing.cancel,
        bodies.CancelBody,
    ),
    _decision(
        "/api/v1/maintenance/{id}/finish",
        "finishMaintenance",
        "The work of a window ended: nothing after it is excluded.",
        _MAINTENANCE,
        writing.finish,
        bodies.FinishBody,
    ),
    _decision(
        "/api/v1/maintenance/{id}/notices",
        "recordNotice",
        "A partner had notice of a window by other means.",
        _MAINTENANCE,
        writing.notified,
        bodies.NoticeBody,
    ),
    _decision(
        "/api/v1/exclusions",
        "addExclusion",
        f"Do not count a span: {', '.join(r.value for r in ExclusionReason if r is not ExclusionReason.MAINTENANCE)}.",
        _EXCLUSIONS,
        writing.exclude,
        bodies.ExcludeBody,
    ),
    _decision(
        "/api/v1/exclusions/{id}/reverse",
        "reverseExclusion",
        "Take an exclusion back.",
        _EXCLUSIONS,
        writing.reverse,
        bodies.ReverseBody,
    ),
    _decision(
        "/api/v1/claims",
        "fileClaim",
        "Claim the credit of a month. A partner's token: for its own partner.",
        _CLAIMS,
        writing.claim,
        bodies.ClaimBody,
    ),
    _decision(
        "/api/v1/incidents",
        "openIncident",
        "Report an incident. What the report lacks is listed on it and asked for.",
        _INCIDENTS,
        writing.open_incident,
        incident_bodies.OpenBody,
    ),
    *(
        _decision(
            f"/api/v1/incidents/{{id}}/{verb}",
            f"{verb}Incident",
            shape.__doc__ or verb,
            _INCIDENTS,
            writing.about_incident(shape),
            shape,
        )
        for verb, shape in _ABOUT_INCIDENTS.items()
    ),
    Route(
        method="POST",
        path="/-/reload",
        name="reload",
        about="Read the configuration again; a bad one keeps the old one.",
        rule=Rule(Scope.ADMIN),
        handler=writing.reload,
        schema=_object(reloaded={"type": "boolean"}, kept_while_not_up={"type": "array", "items": _TEXT}),
        answers=(HTTPStatus.CONFLICT,),
    ),
)
"""What tokens decide."""

ROUTES = (*PUBLIC, *READING, *WRITING)
"""Everything that is served. A new route is a new line here, with its rule."""

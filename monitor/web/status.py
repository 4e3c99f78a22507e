"""How the services stand, as one JSON document: what `/api/v1/status`, the landing page and `jaga status --json` show.

Ids and names, verdicts, degraded checks and months; no money, and no text from a target: the page is public.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monitor.core.availability import floor_text
from monitor.core.baseline import Pace
from monitor.core.instant import format_instant, format_seconds
from monitor.core.month import Figures
from monitor.core.run import Run, SourceKey
from monitor.core.terms import percent_text
from monitor.ledger.pace import PaceStanding, paces
from monitor.ledger.standing import IncidentStanding, ServiceStanding, WindowStanding
from monitor.storage import Reader


def status_document(
    standings: Sequence[ServiceStanding], now_us: int, degraded: Mapping[SourceKey, PaceStanding]
) -> dict[str, Any]:
    """The services at `now_us`, instants in UTC, percentages floored, seconds with six decimals. `degraded` are the
    checks and locations that answer much slower than usual.
    """
    slow: dict[str, list[dict[str, Any]]] = {}
    for source, standing in degraded.items():
        slow.setdefault(source.service, []).append(_degraded(source, standing))
    services = [_service(standing, now_us, slow.get(standing.service, [])) for standing in standings]
    return {"at": format_instant(now_us), "services": services}


def run_documents(reader: Reader, service: str, now_us: int) -> list[dict[str, Any]]:
    """The latest run of each check and location of a service, by source, and what is usual for it."""
    runs = sorted(reader.latest_runs(service), key=lambda run: run.source)
    known = paces(reader, runs)
    return [_run(run, known.get(run.source), now_us) for run in runs]


def _run(run: Run, pace: PaceStanding | None, now_us: int) -> dict[str, Any]:
    """Without what a target said: the message may quote it."""
    return {
        "check": run.check,
        "location": run.location,
        "at": format_instant(run.start_us),
        "outcome": run.outcome.value,
        "reason": run.reason,
        "step": run.step,
        "attempts": run.attempts,
        "duration_seconds": format_seconds(run.duration_us),
        "pace": _pace(pace, now_us),
    }


def _pace(pace: PaceStanding | None, now_us: int) -> dict[str, Any]:
    """As the last answer left it; what is usual stays known where no answer speaks for the present any more."""
    if pace is None or pace.usual_us is None:
        return {"state": Pace.UNKNOWN.value, "since": None, "usual_seconds": None, "usual_runs": 0}
    known = pace.pace is not Pace.UNKNOWN and pace.holds(now_us)
    return {
        "state": pace.pace.value if known else Pace.UNKNOWN.value,
        "since": format_instant(pace.since_us) if known else None,
        "usual_seconds": format_seconds(pace.usual_us),
        "usual_runs": pace.samples,
    }


def _degraded(source: SourceKey, pace: PaceStanding) -> dict[str, Any]:
    return {
        "check": source.check,
        "location": source.location,
        "since": format_instant(pace.since_us),
        "duration_seconds": format_seconds(pace.duration_us),
        "usual_seconds": None if pace.usual_us is None else format_seconds(pace.usual_us),
        "usual_runs": pace.samples,
    }


def _service(found: ServiceStanding, now_us: int, degraded: list[dict[str, Any]]) -> dict[str, Any]:
    now = found.standing
    return {
        "id": found.service,
        "name": found.name,
        "verdict": now.verdict.value,
        "why": now.why,
        "failing": list(now.failing),
        "unknown": list(now.unknown),
        "passing": list(now.passing),
        "total": now.total,
        "degraded": degraded,
        "outage": _outage(found.outage_start_us, now_us),
        "incidents": [_incident(incident) for incident in found.incidents],
        "maintenance": [_window(window) for window in found.windows],
        "months": [_month(figures) for figures in found.current],
    }


def _outage(start_us: int | None, now_us: int) -> dict[str, str] | None:
    if start_us is None:
        return None
    return {"start": format_instant(start_us), "seconds": format_seconds(now_us - start_us)}


def _incident(incident: IncidentStanding) -> dict[str, Any]:
    """Without its summary: people wrote it, and the page is public."""
    return {
        "id": incident.id,
        "priority": incident.priority,
        "phase": incident.phase,
        "level": incident.level,
        "outages": list(incident.outages),
    }


def _window(window: WindowStanding) -> dict[str, Any]:
    return {
        "id": window.id,
        "start": format_instant(window.span.start_us),
        "end": format_instant(window.span.end_us),
        "summary": window.summary,
        "running": window.running,
        "qualifies": window.qualifies_for_all,
        "rejected": dict(window.rejected),
        "notice_by": {partner: format_instant(by_us) for partner, by_us in window.notice_by_us},
    }


def _month(figures: Figures) -> dict[str, Any]:
    """The month so far. `best_case` is what it closes with if nothing more fails (CONTRACT 2.6)."""
    account, terms = figures.account, figures.terms
    return {
        "partner": figures.partner,
        "month": str(figures.month),
        "best_case": floor_text(figures.availability),
        "to_date": floor_text(account.to_date),
        "downtime_seconds": format_seconds(account.down_us),
        "excluded_seconds": format_seconds(account.excluded_us),
        "unknown_seconds": format_seconds(account.unknown_us),
        "guarantee": {"percent": percent_text(terms.guarantee), "met": figures.guarantee_met},
        "objective": _objective(figures),
        "credit_percent": percent_text(figures.credit.percent),
        "status": figures.status.value,
    }


def _objective(figures: Figures) -> dict[str, Any] | None:
    if figures.terms.objective is None:
        return None
    return {"percent": percent_text(figures.terms.objective), "met": figures.objective_met}

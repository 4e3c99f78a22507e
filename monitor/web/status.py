"""How the services stand, as one JSON document: what `/api/v1/status`, the landing page and `jaga status --json` show.

Ids and names, verdicts and months; no money, and no text from a target: the page is public.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitor.core.availability import floor_text
from monitor.core.instant import format_instant, format_seconds
from monitor.core.month import Figures
from monitor.core.terms import percent_text
from monitor.ledger.standing import IncidentStanding, ServiceStanding, WindowStanding


def status_document(standings: Sequence[ServiceStanding], now_us: int) -> dict[str, Any]:
    """The services at `now_us`, instants in UTC, percentages floored, seconds with six decimals."""
    return {"at": format_instant(now_us), "services": [_service(standing, now_us) for standing in standings]}


def _service(found: ServiceStanding, now_us: int) -> dict[str, Any]:
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

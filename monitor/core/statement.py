"""The statement of a month: one JSON object both parties can recompute, and its digest (INTERFACES, Statement).

The order of its fields is a promise; the digest is over the canonical bytes, in which order does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from monitor.core.availability import OutageAccount, floor_text
from monitor.core.chain import canonical, digest
from monitor.core.instant import format_instant, format_seconds
from monitor.core.month import Figures, Status
from monitor.core.terms import CreditBase, percent_text

SCHEMA = "jaga-statement/1"
RULE = (
    "A service is down while more than half of its synthetic transactions fail, or while all those over the public "
    "internet fail; exactly half is not down. Each transaction counts alike; of several locations the majority says "
    "what a transaction does. Availability = (T - D) / T over the whole calendar month T, nothing rounded to minutes; "
    "D is down time minus the union of exclusions. Maintenance is excluded with notice of {notice} or more before its "
    "start, counted from the channel's acceptance. Unknown time is not down; the worst case counts it as down. "
    "Credit = fee x tier, rounded half-up to the currency's unit, on a claim within {days} days; {base}; the fee is "
    "that of the month's first instant; nothing is collected back. {objective}"
)
BASES = {
    CreditBase.TOTAL: "with several services the highest tier applies once, to the sum of the fees, in the credit note",
    CreditBase.SERVICE: "each service's tier applies to its own fee",
}
OBJECTIVE = "The objective of {percent} % is reported beside the guarantee and earns no credit."


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What surrounds the figures on a statement: names, versions and the state of the record."""

    partner_name: str
    service_name: str
    zone: tzinfo
    version: int
    status: Status
    claim: str
    claim_filed_us: int | None
    claim_deadline_us: int
    decisions: Sequence[Mapping[str, Any]]
    imported: bool
    issued_us: int | None
    checkpoint: str | None
    restates: Mapping[str, Any] | None
    incidents: Sequence[Mapping[str, Any]]
    check_lists: Sequence[Mapping[str, Any]]
    locations: Sequence[str]
    software: str
    holidays: str
    entries: int
    head: str
    first_failures: Sequence[str | None]


def document(figures: Figures, setting: Setting) -> dict[str, Any]:
    """The statement in its promised order. `digest` is null until the month is closed."""
    account, terms, credit = figures.account, figures.terms, figures.credit
    zone = setting.zone

    def instant(at_us: int) -> str:
        return format_instant(at_us, zone)

    objective = None
    if terms.objective is not None:
        objective = {"percent": percent_text(terms.objective), "met": figures.objective_met}
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "statement": f"{figures.month}/{figures.partner}/{figures.service}",
        "version": setting.version,
        "status": setting.status.value,
        "partner": {"id": figures.partner, "name": setting.partner_name},
        "service": {"id": figures.service, "name": setting.service_name},
        "contract": {"id": terms.contract, "effective_from": instant(terms.effective_from_us)},
        "period": {
            "month": str(figures.month),
            "timezone": terms.zone,
            "start": instant(account.period.start_us),
            "end": instant(account.period.end_us),
            "seconds": format_seconds(account.total_us),
        },
        "availability": {
            "percent": floor_text(figures.availability),
            "numerator_us": str(account.total_us - account.down_us),
            "denominator_us": str(account.total_us),
        },
        "worst_case": {"percent": floor_text(account.worst_case)},
        "coverage": {"percent": floor_text(account.coverage), "unknown_seconds": format_seconds(account.unknown_us)},
        "downtime": {
            "seconds": format_seconds(account.down_us),
            "excluded_seconds": format_seconds(account.excluded_us),
            "observed_seconds": format_seconds(account.observed_us),
        },
        "excluded": [
            {
                "reason": share.excluded.reason.value,
                "id": share.excluded.id,
                "seconds": format_seconds(share.seconds_us),
            }
            for share in account.shares
        ],
        "rejected": [{"id": entry.id, "why": entry.why} for entry in figures.rejected],
        "outages": [
            _outage(outage, zone, first) for outage, first in zip(account.outages, setting.first_failures, strict=True)
        ],
        "guarantee": {"percent": percent_text(terms.guarantee), "met": figures.guarantee_met},
        "objective": objective,
        "credit": {
            "percent": percent_text(credit.percent),
            "fee": {"currency": credit.fee.currency, "amount": format(credit.fee.amount, "f")},
            "amount": format(credit.amount, "f"),
        },
        "claim": {
            "deadline": instant(setting.claim_deadline_us),
            "status": setting.claim,
            "filed_at": None if setting.claim_filed_us is None else instant(setting.claim_filed_us),
        },
        "decisions": [dict(decision) for decision in setting.decisions],
        "imported": setting.imported,
        "issued_at": None if setting.issued_us is None else instant(setting.issued_us),
        "checkpoint": setting.checkpoint,
        "restates": None if setting.restates is None else dict(setting.restates),
        "incidents": [dict(incident) for incident in setting.incidents],
        "method": _method(figures, setting),
        "ledger": {"entries": setting.entries, "head": setting.head},
        "digest": None,
    }
    if setting.status in {Status.FINAL, Status.SUPERSEDED}:
        body["digest"] = digest_of(body)
    return body


def digest_of(statement: Mapping[str, Any]) -> str:
    """`sha256:<hex>` over the canonical bytes of the statement without what is only a view of today."""
    views = {"digest", "status"}
    covered = {name: value for name, value in statement.items() if name not in views}
    covered["claim"] = {"deadline": statement["claim"]["deadline"]}
    return digest(canonical(covered))


def _outage(outage: OutageAccount, zone: tzinfo, first_failure: str | None) -> dict[str, Any]:
    return {
        "start": format_instant(outage.span.start_us, zone),
        "end": None if outage.open else format_instant(outage.span.end_us, zone),
        "seconds": format_seconds(outage.span.length_us),
        "counted_seconds": format_seconds(outage.counted_us),
        "excluded": [
            {
                "reason": share.excluded.reason.value,
                "id": share.excluded.id,
                "start": format_instant(part.start_us, zone),
                "end": format_instant(part.end_us, zone),
            }
            for share in outage.shares
            for part in share.spans
        ],
        "peak_failing": f"{outage.peak_failing}/{outage.peak_total}",
        "first_failure": first_failure,
    }


def _method(figures: Figures, setting: Setting) -> dict[str, Any]:
    terms = figures.terms
    objective = OBJECTIVE.format(percent=percent_text(terms.objective)) if terms.objective is not None else ""
    rule = RULE.format(
        notice=_duration(terms.maintenance_notice_us),
        days=terms.claim_within_days,
        base=BASES[terms.credit_base],
        objective=objective,
    )
    return {
        "rule": rule.strip(),
        "checks": [dict(entry) for entry in setting.check_lists],
        "locations": list(setting.locations),
        "software": setting.software,
        "holidays": setting.holidays,
    }


def _duration(duration_us: int) -> str:
    hours, rest = divmod(duration_us, 3_600_000_000)
    return f"{hours} h" if not rest else f"{format_seconds(duration_us).rstrip('0').rstrip('.')} s"

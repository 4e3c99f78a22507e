"""What one statement stands on: terms, fee, names, month edges and the record, as now or as its close fixed them.

A closed version is computed only from the facts before its own close entry, and from the names, fee, terms, edges and
software which that entry recorded: nothing that the world changed since reaches it (CONTRACT 2.7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from monitor.core.agreement import read_terms, subscription_of_month, terms_of_month, write_terms
from monitor.core.calendar import Month, MonthError, month_of, month_span
from monitor.core.entry import Entry
from monitor.core.fact import Close
from monitor.core.span import Span
from monitor.core.terms import Fee, Subscription, Terms
from monitor.ledger.record import Basis, Record, record_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """All that a month's figures and document need beside the evidence.

    `arrival` is the last run that had arrived (None: all that are there); `version` 0 is a provisional statement;
    `digest` is what the close entry says of the statement it issued, `incidents` what it recorded of them.
    """

    month: Month
    partner: str
    service: str
    partner_name: str
    service_name: str
    terms: Terms
    subscription: Subscription
    period: Span
    record: Record
    software: str
    holidays: str
    version: int = 0
    latest: bool = True
    arrival: int | None = None
    issued_us: int | None = None
    restates: Mapping[str, Any] | None = None
    incidents: tuple[Mapping[str, Any], ...] | None = None
    digest: str | None = None


def ground_now(record: Record, basis: Basis, month: Month, partner: str, service: str) -> Ground | None:
    """The ground as the ledger stands; None for a month wholly outside a subscription or without terms.

    The contract's zone is needed to know the month's edges, and the edges to know which version of the terms holds:
    the zone of the newest version is taken first, then that of the version found.
    """
    agreements = record.agreements
    zone = contract_zone(record, partner, service)
    if zone is None:
        return None
    period = month_span(month, basis.zone(zone))
    subscription = subscription_of_month(agreements, partner, service, period)
    if subscription is None:
        return None
    terms = terms_of_month(agreements, subscription.contract, period)
    if terms is None:
        return None
    return Ground(
        month=month,
        partner=partner,
        service=service,
        partner_name=agreements.partner_name(partner),
        service_name=agreements.service_name(service),
        terms=terms,
        subscription=subscription,
        period=month_span(month, basis.zone(terms.zone)),
        record=record,
        software=basis.software,
        holidays=basis.holidays(terms.holidays),
    )


def contract_zone(record: Record, partner: str, service: str) -> str | None:
    """The zone of the contract under which a partner has a service; None without terms."""
    agreements = record.agreements
    contracts = {s.contract for s in agreements.subscribed(partner, service)}
    zones = [terms.zone for terms in agreements.terms if terms.contract in contracts]
    return zones[-1] if zones else None


def notice_needed_us(record: Record, basis: Basis, partner: str, service: str, start_us: int) -> int | None:
    """The notice that a partner needs of a window from `start_us`: by the terms that will judge its month (CONTRACT
    7.2), not by the newest ones. None where nothing judges it: outside a subscription, without terms, in no month.
    """
    zone = contract_zone(record, partner, service)
    if zone is None:
        return None
    try:
        month = month_of(start_us, basis.zone(zone))
    except MonthError:
        return None
    ground = ground_now(record, basis, month, partner, service)
    return None if ground is None else ground.terms.maintenance_notice_us


def ground_of(record: Record, entry: Entry, close: Close, *, latest: bool) -> Ground:
    """The ground of a closed version, from its close entry and the facts before it."""
    inputs = close.inputs
    before = record_of([e for e in record.entries if e.seq < entry.seq], record.agreements)
    fee = inputs["fee"]
    restates = None
    if close.version > 1:
        restates = {
            "version": close.version - 1,
            "reason": close.reason,
            "by": close.by,
            "credit_delta": close.credit_delta,
        }
    return Ground(
        month=Month.parse(close.month),
        partner=close.partner,
        service=close.service,
        partner_name=inputs["partner_name"],
        service_name=inputs["service_name"],
        terms=read_terms(inputs["contract"], inputs["effective_from_us"], inputs["terms"]),
        subscription=Subscription(
            partner=close.partner,
            service=close.service,
            contract=inputs["contract"],
            fee=Fee(currency=fee["currency"], amount=Decimal(fee["amount"])),
            from_us=inputs["from_us"],
            until_us=inputs["until_us"],
        ),
        period=Span(inputs["start_us"], inputs["end_us"]),
        record=before,
        software=inputs["software"],
        holidays=inputs["holidays"],
        version=close.version,
        latest=latest,
        arrival=inputs["arrival"],
        issued_us=close.at_us,
        restates=restates,
        incidents=tuple(inputs.get("incidents", ())),
        digest=close.digest,
    )


def inputs_of(ground: Ground, *, tz_version: str, arrival: int) -> dict[str, Any]:
    """What a close entry records of its ground."""
    fee = ground.subscription.fee
    return {
        "partner_name": ground.partner_name,
        "service_name": ground.service_name,
        "contract": ground.terms.contract,
        "effective_from_us": ground.terms.effective_from_us,
        "terms": write_terms(ground.terms),
        "fee": {"currency": fee.currency, "amount": format(fee.amount, "f")},
        "from_us": ground.subscription.from_us,
        "until_us": ground.subscription.until_us,
        "start_us": ground.period.start_us,
        "end_us": ground.period.end_us,
        "software": ground.software,
        "holidays": ground.holidays,
        "tz": tz_version,
        "arrival": arrival,
    }

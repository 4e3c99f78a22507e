"""What of a configuration becomes fact: terms, fees and check lists where they differ from the record (DESIGN, Entry).

Nothing acts backwards. Check lists hold from their recording. Terms and fees begin with a month that has not begun yet,
but for the first adoption, which may take in what has always held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from monitor.core.agreement import read_terms, write_terms
from monitor.core.calendar import month_of, month_span
from monitor.core.check import CheckList
from monitor.core.fact import ChecksAdopted, Fact, Retired, Subscribed, TermsAdopted
from monitor.core.instant import format_instant
from monitor.core.terms import Agreements, Subscription, Terms
from monitor.ledger.evidence import check_lists
from monitor.ledger.record import Basis


@dataclass(frozen=True, slots=True, kw_only=True)
class Insistence:
    """Somebody wants the new list of a service although it is not UP, and says why (CONTRACT 2.3)."""

    by: str
    reason: str


class AdoptionError(ValueError):
    """A configuration that would change what already holds; `problems` are its sentences. Exit code 2."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def adoptions(
    recorded: Sequence[Fact],
    basis: Basis,
    lists: Sequence[CheckList],
    now_us: int,
    insisted: Mapping[str, Insistence] | None = None,
) -> list[Fact]:
    """The facts to record so that the record says what the configuration says; none where it does already.

    `insisted` names the services whose new lists somebody wanted while they were not UP: their facts say who and why.
    Raises AdoptionError naming everything that cannot be.
    """
    problems: list[str] = []
    facts: list[Fact] = [
        *_terms(recorded, basis, now_us, problems),
        *_subscriptions(recorded, basis, now_us, problems),
        *_lists(recorded, lists, now_us, insisted or {}),
    ]
    if problems:
        raise AdoptionError(problems)
    return facts


def _terms(recorded: Sequence[Fact], basis: Basis, now_us: int, problems: list[str]) -> Iterable[TermsAdopted]:
    held: dict[tuple[str, int], Terms] = {}
    for fact in recorded:
        if isinstance(fact, TermsAdopted):
            read = read_terms(fact.contract, fact.effective_from_us, fact.terms)
            held[fact.contract, fact.effective_from_us] = read
    known = {contract for contract, _effective_from_us in held}
    for terms in basis.agreements.terms:
        if held.get((terms.contract, terms.effective_from_us)) == terms:
            continue
        begins_us = _next_month_us(basis, terms.zone, now_us)
        if terms.contract in known and terms.effective_from_us < begins_us:
            problems.append(
                f"terms of {terms.contract} from {format_instant(terms.effective_from_us)} differ from those adopted, "
                f"and the month has begun: write them as a new version from {format_instant(begins_us)} or later",
            )
            continue
        yield TermsAdopted(
            contract=terms.contract,
            effective_from_us=terms.effective_from_us,
            terms=write_terms(terms),
        )


def _subscriptions(recorded: Sequence[Fact], basis: Basis, now_us: int, problems: list[str]) -> Iterable[Subscribed]:
    held = {_subscription(fact) for fact in recorded if isinstance(fact, Subscribed)}
    known = {(subscription.partner, subscription.service) for subscription in held}
    for wanted in basis.agreements.subscriptions:
        if wanted in held:
            continue
        begins_us = _next_month_us(basis, _zone(basis.agreements, wanted.contract), now_us)
        begun = wanted.from_us is None or wanted.from_us < begins_us
        if (wanted.partner, wanted.service) in known and begun:
            problems.append(
                f"the fee of {wanted.partner} for {wanted.service} differs from the one adopted, and the month has "
                f"begun: write the change as an entry from {format_instant(begins_us)} or later",
            )
            continue
        yield Subscribed(
            partner=wanted.partner,
            service=wanted.service,
            contract=wanted.contract,
            fee=wanted.fee,
            from_us=wanted.from_us,
            until_us=wanted.until_us,
        )


def _lists(
    recorded: Sequence[Fact], lists: Sequence[CheckList], now_us: int, insisted: Mapping[str, Insistence]
) -> Iterable[Fact]:
    held = {service: known[-1] for service, known in check_lists(recorded).items()}
    wanted = {entry.service: entry for entry in lists}
    for service, entry in wanted.items():
        before = held.get(service)
        if before is None or replace(before, at_us=0) != replace(entry, at_us=0):
            yield _adopted(replace(entry, at_us=now_us), insisted.get(service))
        if before is not None:
            kept = {check.id for check in entry.checks}
            for check in before.checks:
                if check.id not in kept:
                    yield Retired(service=service, check=check.id, at_us=now_us)
    for service, before in held.items():
        if service not in wanted and before.checks:
            yield _adopted(replace(before, at_us=now_us, checks=()), insisted.get(service))
            yield Retired(service=service, at_us=now_us)


def _adopted(entry: CheckList, insistence: Insistence | None) -> ChecksAdopted:
    if insistence is None:
        return ChecksAdopted(list=entry)
    return ChecksAdopted(list=entry, by=insistence.by, note=f"while the service was not up: {insistence.reason}")


def _subscription(fact: Subscribed) -> Subscription:
    return Subscription(
        partner=fact.partner,
        service=fact.service,
        contract=fact.contract,
        fee=fact.fee,
        from_us=fact.from_us,
        until_us=fact.until_us,
    )


def _zone(agreements: Agreements, contract: str) -> str:
    """The zone of a contract's newest terms; that of any where it has none of its own yet."""
    zones = [terms.zone for terms in agreements.terms if terms.contract == contract]
    return zones[-1] if zones else "UTC"


def _next_month_us(basis: Basis, zone: str, now_us: int) -> int:
    """The first instant of the month after the one that runs."""
    there = basis.zone(zone)
    return month_span(month_of(now_us, there), there).end_us

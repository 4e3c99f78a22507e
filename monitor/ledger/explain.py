"""The arithmetic of a month, line by line, from evidence to credit, so that a reader can follow it with a pencil."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

from monitor.core.availability import Account, floor_text
from monitor.core.credit import tier_of
from monitor.core.instant import format_instant, format_seconds
from monitor.core.month import Figures
from monitor.core.span import Span
from monitor.core.statement import digest_of
from monitor.core.terms import percent_text
from monitor.ledger.month import Statement


def explain(statement: Statement, zone: tzinfo, expired: Sequence[Span] = ()) -> list[str]:
    """Each line one step; amounts exact, percentages floored to six places; the issued digest last, if there is one.

    `expired` are the hours whose runs have gone.
    """
    figures = statement.figures
    return [
        *_period(figures, zone),
        *_expired(expired, zone),
        *_down(figures.account, zone),
        *_unknown(figures),
        *_credit(figures),
        *_issued(statement),
    ]


def _period(figures: Figures, zone: tzinfo) -> Iterator[str]:
    account = figures.account
    start, end = (format_instant(at, zone) for at in account.period)
    yield f"{figures.month}, {figures.service} for {figures.partner}, contract {figures.terms.contract}"
    yield f"T = {start} to {end} = {format_seconds(account.total_us)} s (whole calendar month in {figures.terms.zone})"
    up, down, unknown = (format_seconds(us) for us in (account.up_us, account.observed_us, account.unknown_us))
    yield f"elapsed {format_seconds(account.elapsed_us)} s = up {up} + down {down} + unknown {unknown}"


def _expired(hours: Sequence[Span], zone: tzinfo) -> Iterator[str]:
    if hours:
        first, last = format_instant(hours[0].start_us, zone), format_instant(hours[-1].end_us, zone)
        yield f"the runs of {len(hours)} hours from {first} to {last} have expired: the sealed spans stand for them"


def _down(account: Account, zone: tzinfo) -> Iterator[str]:
    for number, outage in enumerate(account.outages, 1):
        start, end = (format_instant(at, zone) for at in outage.span)
        peak = f"at most {outage.peak_failing} of {outage.peak_total} checks failing"
        yield f"outage {number}: {start} to {end} = {format_seconds(outage.span.length_us)} s, {peak}"
        for share in outage.shares:
            reason, who = share.excluded.reason.value, share.excluded.id
            for part in share.spans:
                first, last = (format_instant(at, zone) for at in part)
                yield f"  - excluded {format_seconds(part.length_us)} s: {reason} {who}, {first} to {last}"
        yield f"  = counted {format_seconds(outage.counted_us)} s"
    yield (
        f"D = down {format_seconds(account.observed_us)} - excluded {format_seconds(account.excluded_us)} "
        f"= {format_seconds(account.down_us)} s"
    )


def _unknown(figures: Figures) -> Iterator[str]:
    account = figures.account
    for rejected in figures.rejected:
        yield f"not excluded: {rejected.id}: {rejected.why}"
    yield (
        f"availability = (T - D) / T = {account.total_us - account.down_us} / {account.total_us} us "
        f"= {floor_text(figures.availability)} %"
    )
    yield f"coverage = {floor_text(account.coverage)} %"
    yield f"worst case, unknown time counted as down: {floor_text(account.worst_case)} %"
    if not figures.over:
        yield f"to date, over elapsed time only: {floor_text(account.to_date)} % (for information)"


def _credit(figures: Figures) -> Iterator[str]:
    terms, credit = figures.terms, figures.credit
    tier = tier_of(figures.availability, terms.tiers)
    kept = "kept" if figures.guarantee_met else "missed"
    yield f"guarantee {percent_text(terms.guarantee)} %: {kept}"
    if tier is None:
        yield "no tier applies: no credit"
    else:
        yield f"tier: below {percent_text(tier.below)} % earns {percent_text(tier.credit)} % of the fee"
    yield (
        f"credit = {credit.fee.currency} {credit.fee.amount:f} x {percent_text(credit.percent)} % "
        f"= {credit.fee.currency} {credit.amount:f}"
    )
    if figures.undecided:
        worst = percent_text(figures.worst_credit_percent)
        yield f"the worst case would earn {worst} %: unknown time must be adjudicated before the month closes"


def matches_issued(statement: Statement) -> bool:
    """Whether the statement as recomputed now has the digest its close entry recorded; true where none was issued."""
    return statement.ground.digest is None or digest_of(statement.document) == statement.ground.digest


def _issued(statement: Statement) -> Iterator[str]:
    issued = statement.ground.digest
    if issued is None:
        yield "not issued: the month is not closed"
    elif matches_issued(statement):
        yield f"recomputed digest matches the one issued with version {statement.ground.version}: {issued}"
    else:
        yield (
            f"recomputed digest DOES NOT match: issued with version {statement.ground.version} was {issued}, "
            f"recomputed is {digest_of(statement.document)}"
        )

"""The life of a month: its figures, whether it may close, what may be claimed and until when (CONTRACT 2.4, 2.7)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from fractions import Fraction

from monitor.core.availability import Account
from monitor.core.calendar import Month
from monitor.core.credit import Credit, credit_of, credit_percent
from monitor.core.exclusion import Rejected
from monitor.core.instant import format_instant
from monitor.core.terms import Subscription, Terms


class Status(enum.StrEnum):
    """Where a statement stands."""

    PROVISIONAL = "provisional"
    NEEDS_ADJUDICATION = "needs_adjudication"
    FINAL = "final"
    SUPERSEDED = "superseded"


class ClaimStatus(enum.StrEnum):
    """Where a claim stands."""

    NONE = "none"
    OPEN = "open"
    FILED = "filed"
    GRANTED = "granted"
    REFUSED = "refused"
    APPLIED = "applied"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything a statement says of a month in numbers, for one partner and service."""

    month: Month
    partner: str
    service: str
    terms: Terms
    subscription: Subscription
    account: Account
    rejected: tuple[Rejected, ...]

    @property
    def availability(self) -> Fraction:
        """The contract figure, percent: the best case while the month runs."""
        return self.account.availability

    @property
    def credit(self) -> Credit:
        """What is owed by the contract figure."""
        return credit_of(self.availability, self.terms.tiers, self.subscription.fee)

    @property
    def earns(self) -> bool:
        """Whether there is anything to claim: a tier applies, and its share of the fee rounds to more than nothing."""
        return self.credit.amount > 0

    @property
    def worst_credit_percent(self) -> Fraction:
        """The tier if all unknown time were down."""
        return credit_percent(self.account.worst_case, self.terms.tiers)

    @property
    def guarantee_met(self) -> bool:
        """Whether the guaranteed availability was kept."""
        return self.availability >= self.terms.guarantee

    @property
    def objective_met(self) -> bool | None:
        """Whether the objective was kept; None where there is none."""
        return None if self.terms.objective is None else self.availability >= self.terms.objective

    @property
    def over(self) -> bool:
        """Whether the month has ended."""
        return self.account.as_of_us >= self.account.period.end_us

    @property
    def undecided(self) -> bool:
        """Whether the credit depends on what unknown time was: it takes an adjudication to close."""
        return self.credit.percent != self.worst_credit_percent

    @property
    def status(self) -> Status:
        """Provisional while it runs or waits, needs_adjudication when it has ended undecided."""
        return Status.NEEDS_ADJUDICATION if self.over and self.undecided else Status.PROVISIONAL

    @property
    def may_close_us(self) -> int:
        """From when it may close: its end and the grace period."""
        return self.account.period.end_us + self.terms.grace_us


def why_not_closed(figures: Figures, now_us: int) -> str | None:
    """Why a month cannot close now, None if it can (CONTRACT 2.7)."""
    if now_us < figures.account.period.end_us:
        return f"{figures.month} has not ended: it ends at {format_instant(figures.account.period.end_us)}"
    if now_us < figures.may_close_us:
        return f"{figures.month} is in its grace period until {format_instant(figures.may_close_us)}"
    if figures.undecided:
        return (
            f"{figures.month} needs adjudication: the credit is {figures.credit.percent} % by the contract figure "
            f"and {figures.worst_credit_percent} % if unknown time was down"
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """When a month's credit was claimed, from when a claim is late (exclusive), whether the month is closed, and
    whether its credit was set off against an invoice.
    """

    filed_us: tuple[int, ...]
    deadline_us: int
    final: bool = False
    applied: bool = False


def claim_status(figures: Figures, claims: Claims, now_us: int) -> tuple[ClaimStatus, int | None]:
    """Where the claim of a month stands at `now_us`, and when it was filed (CONTRACT 2.7).

    A claim in time is filed until the month closes; the close answers it: granted, or refused where nothing is owed. A
    granted one is applied once its credit was set off against an invoice.
    """
    filed_us = min((at for at in claims.filed_us if at < claims.deadline_us), default=None)
    owed = figures.earns
    if filed_us is not None:
        granted = ClaimStatus.APPLIED if claims.applied else ClaimStatus.GRANTED
        answer = granted if owed else ClaimStatus.REFUSED
        return (answer if claims.final else ClaimStatus.FILED), filed_us
    if not owed:
        return ClaimStatus.NONE, None
    return (ClaimStatus.OPEN if now_us < claims.deadline_us else ClaimStatus.EXPIRED), None

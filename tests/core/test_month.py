"""The life of a month: status, whether it may close, what may be claimed (CONTRACT 2.4, 2.7)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from monitor.core.availability import account
from monitor.core.calendar import Month, claim_deadline_us, month_span
from monitor.core.instant import DAY_US, HOUR_US, format_instant
from monitor.core.month import Claims, ClaimStatus, Figures, Status, claim_status, why_not_closed
from monitor.core.span import Span
from monitor.core.verdict import Verdict, VerdictSpan
from tests.core.examples import WIB, at, rupiah, subscription, terms

APRIL = month_span(Month(2026, 4), WIB)
FEE = 12_500_000


def figures(
    down_us: int = 0, unknown_us: int = 0, as_of_us: int = APRIL.end_us, objective: str | None = "99.9"
) -> Figures:
    """April with an outage at its start and unknown time after it."""
    edges = [APRIL.start_us, APRIL.start_us + down_us, APRIL.start_us + down_us + unknown_us, APRIL.end_us]
    said = (Verdict.DOWN, Verdict.UNKNOWN, Verdict.UP)
    verdicts = [VerdictSpan(a, b, v, 0, 0, 1) for a, b, v in zip(edges, edges[1:], said, strict=False)]
    return Figures(
        month=Month(2026, 4),
        partner="acme",
        service="portal",
        terms=terms(objective),
        subscription=subscription(),
        account=account(verdicts, APRIL, as_of_us, ()),
        rejected=(),
    )


def test_the_credit_follows_the_best_case() -> None:
    halfway = figures(down_us=2 * DAY_US, as_of_us=APRIL.start_us + 4 * DAY_US)
    assert halfway.account.to_date == 50  # for information only
    assert halfway.availability == Fraction(100 * 28, 30)
    assert (halfway.credit.percent, halfway.credit.amount) == (Fraction(10), Decimal(FEE // 10))
    assert halfway.status is Status.PROVISIONAL
    assert not halfway.over


def test_guarantee_and_objective() -> None:
    assert figures().guarantee_met
    assert figures().objective_met is True
    missed = figures(down_us=HOUR_US)
    assert missed.guarantee_met
    assert missed.objective_met is False
    assert not figures(down_us=36 * HOUR_US + 1).guarantee_met
    assert figures(down_us=36 * HOUR_US).guarantee_met  # exactly 95
    assert figures(objective=None).objective_met is None
    assert figures(down_us=APRIL.length_us // 1000).objective_met is True  # exactly 99.9


@pytest.mark.parametrize(
    ("down", "unknown", "undecided"),
    [
        (35 * HOUR_US, 100 * 60 * 10**6, True),  # CONTRACT 2.10
        (35 * HOUR_US, HOUR_US, False),  # together exactly 95
        (35 * HOUR_US, HOUR_US + 1, True),
        (37 * HOUR_US, HOUR_US, False),  # the same tier either way
        (0, 30 * DAY_US, True),
    ],
)
def test_a_month_needs_adjudication_when_the_tier_hangs_on_unknown_time(
    down: int, unknown: int, undecided: bool
) -> None:
    month = figures(down, unknown)
    assert month.undecided is undecided
    assert month.status is (Status.NEEDS_ADJUDICATION if undecided else Status.PROVISIONAL)


def test_a_running_month_is_provisional_even_if_undecided() -> None:
    running = figures(35 * HOUR_US, 100 * HOUR_US, as_of_us=APRIL.end_us - 1)
    assert running.undecided
    assert running.status is Status.PROVISIONAL


def test_when_a_month_may_close() -> None:
    month = figures()
    assert month.may_close_us == APRIL.end_us + 3 * DAY_US
    assert why_not_closed(month, month.may_close_us) is None
    assert "grace period until 2026-05-03T17:00:00+00:00" in str(why_not_closed(month, month.may_close_us - 1))
    assert "grace period" in str(why_not_closed(month, APRIL.end_us))
    assert "has not ended" in str(why_not_closed(month, APRIL.end_us - 1))
    undecided = str(why_not_closed(figures(35 * HOUR_US, 2 * HOUR_US), month.may_close_us))
    assert "needs adjudication" in undecided
    assert "0 %" in undecided
    assert "10 %" in undecided


def test_the_claim_deadline_of_the_agreement() -> None:
    """30 days after 31 January 2026 is 2 March, to its end."""
    assert format_instant(claim_deadline_us(Month(2026, 1), 30, WIB), WIB) == "2026-03-03T00:00:00+07:00"


DEADLINE = at("2026-05-31T00:00:00")
OWED, NOTHING = figures(down_us=2 * DAY_US), figures()
WORTHLESS = replace(OWED, subscription=subscription(rupiah(4)))  # 10 % of it rounds to nothing


@pytest.mark.parametrize(
    ("month", "filed", "final", "now_us", "wanted"),
    [
        (NOTHING, (), False, DEADLINE, (ClaimStatus.NONE, None)),
        (OWED, (), False, DEADLINE - 1, (ClaimStatus.OPEN, None)),
        (OWED, (), True, DEADLINE, (ClaimStatus.EXPIRED, None)),
        (OWED, (DEADLINE - 1,), False, DEADLINE, (ClaimStatus.FILED, DEADLINE - 1)),
        (OWED, (DEADLINE - 1,), True, DEADLINE, (ClaimStatus.GRANTED, DEADLINE - 1)),
        (NOTHING, (DEADLINE - 1,), False, DEADLINE, (ClaimStatus.FILED, DEADLINE - 1)),
        (NOTHING, (DEADLINE - 1,), True, DEADLINE, (ClaimStatus.REFUSED, DEADLINE - 1)),
        (OWED, (DEADLINE,), True, DEADLINE, (ClaimStatus.EXPIRED, None)),  # late
        (WORTHLESS, (), False, DEADLINE, (ClaimStatus.NONE, None)),
        (WORTHLESS, (DEADLINE - 1,), True, DEADLINE, (ClaimStatus.REFUSED, DEADLINE - 1)),
        (OWED, (DEADLINE + 5, DEADLINE - 5, DEADLINE - 9), True, DEADLINE, (ClaimStatus.GRANTED, DEADLINE - 9)),
    ],
)
def test_where_a_claim_stands(
    month: Figures, filed: tuple[int, ...], final: bool, now_us: int, wanted: tuple[ClaimStatus, int | None]
) -> None:
    assert claim_status(month, Claims(filed_us=filed, deadline_us=DEADLINE, final=final), now_us) == wanted


@pytest.mark.parametrize(
    ("month", "final", "wanted"),
    [(OWED, True, ClaimStatus.APPLIED), (OWED, False, ClaimStatus.FILED), (NOTHING, True, ClaimStatus.REFUSED)],
)
def test_only_a_granted_credit_is_applied(month: Figures, final: bool, wanted: ClaimStatus) -> None:
    claims = Claims(filed_us=(DEADLINE - 1,), deadline_us=DEADLINE, final=final, applied=True)
    assert claim_status(month, claims, DEADLINE) == (wanted, DEADLINE - 1)


def test_the_fee_is_the_subscription_s() -> None:
    cheap = replace(OWED, subscription=subscription(fee=replace(OWED.subscription.fee, amount=OWED.credit.amount)))
    assert cheap.credit.amount == OWED.credit.amount / 10


def test_the_month_s_own_span() -> None:
    assert OWED.account.period == Span(at("2026-04-01T00:00:00"), at("2026-05-01T00:00:00"))

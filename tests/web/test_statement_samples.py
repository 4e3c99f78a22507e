"""The closed months in the metrics: the newest thirteen, each computed once, in the figures of their statements."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

from monitor.core.calendar import Month
from monitor.core.fact import ExclusionReason
from monitor.core.instant import DAY_US, HOUR_US
from monitor.core.run import Origin, Outcome, StatedSpan
from monitor.core.span import Span
from monitor.ledger.command import CloseMonth, Exclude
from monitor.ledger.evidence import rebuild
from monitor.ledger.month import Months
from monitor.storage import Unit
from monitor.web.samples import StatementSamples
from tests.ledger.keeping import END, START, kept, watched_april

CLOSE = CloseMonth(partner="acme", service="portal", month="2026-04")


def test_only_closed_months_are_shown_with_the_figures_of_their_statements(tmp_path: Path) -> None:
    samples = StatementSamples()
    with kept(tmp_path) as keeper:
        watched_april(keeper, [(0, 50)])
        assert samples.of(keeper.months()) == ()
        keeper.given(CLOSE)
        (sample,) = samples.of(keeper.months())
        statement = keeper.statement(1).document
        assert (sample.partner, sample.service, sample.month) == ("acme", "portal", "2026-04")
        assert f"{sample.downtime_us // 10**6}.000000" == statement["downtime"]["seconds"]
        assert sample.availability == 1 - Fraction(sample.downtime_us, END - START)
        assert sample.credit * 100 == Fraction(statement["credit"]["percent"])

        with patch.object(Months, "figures", side_effect=AssertionError("a closed month is computed once")):
            assert samples.of(keeper.months()) == (sample,)

        span = Span(START, START + 10 * HOUR_US)
        keeper.given(
            Exclude(
                reason=ExclusionReason.THIRD_PARTY,
                services=("portal",),
                start_us=span.start_us,
                end_us=span.end_us,
                evidence="the cloud's own report",
                id="x-1",
            ),
            over_closed=True,
        )
        assert samples.of(keeper.months()) == (sample,), "a decision over a closed month changes no version"
        keeper.given(CloseMonth(partner="acme", service="portal", month="2026-04", restate_reason="the report"))
        (restated,) = samples.of(keeper.months())
        assert sample.downtime_us - restated.downtime_us == span.length_us


def test_the_newest_thirteen(tmp_path: Path) -> None:
    samples = StatementSamples()
    with kept(tmp_path) as keeper:
        up = StatedSpan(
            service="portal",
            check="login",
            location="jkt-1",
            start_us=START - DAY_US,
            end_us=START + 500 * DAY_US,
            outcome=Outcome.PASS,
        )
        keeper.now_us = up.end_us + 10 * DAY_US
        keeper.store.commit(Unit(recorded_at_us=keeper.now_us, origin=Origin.IMPORTED, stated=[up]))
        rebuild(keeper.store)
        keeper.adopt()
        month, closed = Month.parse("2026-04"), []
        for _ in range(15):
            keeper.given(CloseMonth(partner="acme", service="portal", month=str(month)))
            closed.append(str(month))
            month = month.next()
        assert [sample.month for sample in samples.of(keeper.months())] == closed[-13:]

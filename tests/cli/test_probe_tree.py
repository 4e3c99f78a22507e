"""What `jaga probe` shows of a step beside its phases."""

from __future__ import annotations

from monitor.cli.probe import _tree
from probes import FailReason, Outcome, Result, StepTrace


def test_the_end_of_a_chain_is_shown_also_where_it_was_refused() -> None:
    step = StepTrace(
        name="tls", kind="tls", duration_ns=1, target="a.test:443", cert_not_after_s=1_800_000_000, error="refused"
    )
    failed = Result(outcome=Outcome.FAIL, reason=FailReason.TLS, step="tls", message="refused", steps=(step,))
    assert "│    certificate chain until 2027-01-15 08:00 UTC" in _tree("a/b", failed)

"""One run as the blackbox exporter would tell it, so that dashboards and rules made for that one go on working.

Names and help are those of blackbox_exporter (prober/handler.go, prober/http.go). What a run does not know is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitor.core.instant import SECOND_US
from monitor.core.run import Outcome, Run, StepRecord

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PHASES = ("connect", "processing", "resolve", "tls", "transfer")


def probe_metrics(run: Run) -> bytes:
    """The exposition of a run that says something: a pass or a fail."""
    assert run.outcome is not Outcome.INCONCLUSIVE, "an inconclusive run is neither success nor failure"
    registry = CollectorRegistry()
    registry.register(_Probe(run))
    return generate_latest(registry)


class _Probe(Collector):
    def __init__(self, run: Run) -> None:
        self._run = run

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        run = self._run
        steps = [step for step in run.steps if not step.final]
        yield _gauge(
            "probe_success", "Displays whether or not the probe was a success", float(run.outcome is Outcome.PASS)
        )
        yield _gauge(
            "probe_duration_seconds",
            "Returns how long the probe took to complete in seconds",
            run.duration_us / SECOND_US,
        )
        yield _gauge(
            "probe_dns_lookup_time_seconds",
            "Returns the time taken for probe dns lookup in seconds",
            _phase(steps, "resolve"),
        )
        expiries = [step.cert_not_after_s for step in steps if step.cert_not_after_s is not None]
        if expiries:
            yield _gauge(
                "probe_ssl_earliest_cert_expiry",
                "Returns last SSL chain expiry in unixtime",
                float(min(expiries)),
            )
        if any(step.http_status is not None for step in steps):
            yield from _http(steps, secured=bool(expiries))


def _http(steps: list[StepRecord], *, secured: bool) -> Iterator[Metric]:
    codes = [step.http_status for step in steps if step.http_status is not None]
    yield _gauge("probe_http_status_code", "Response HTTP status code", float(codes[-1]))
    yield _gauge("probe_http_ssl", "Indicates if SSL was used for the final redirect", float(secured))
    durations = GaugeMetricFamily(
        "probe_http_duration_seconds",
        "Duration of http request by phase, summed over all redirects",
        labels=("phase",),
    )
    for phase in PHASES:
        durations.add_metric((phase,), _phase(steps, phase))
    yield durations


def _phase(steps: list[StepRecord], phase: str) -> float:
    return sum(spent_us for step in steps for name, spent_us in step.phases_us if name == phase) / SECOND_US


def _gauge(name: str, told: str, value: float) -> Metric:
    return GaugeMetricFamily(name, told, value=value)

"""What a scrape costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as TheirMetric
from prometheus_client.registry import Collector

from monitor.core.instant import SECOND_US
from monitor.telemetry.catalogue import COUNTER, HISTOGRAM
from monitor.telemetry.rendering import Metric


class Peer(Collector):
    """The same families for prometheus_client, in its own classes, as a custom collector hands them over."""

    def __init__(self, metrics: Callable[[], Iterable[Metric]]) -> None:
        self._metrics = metrics

    def describe(self) -> list[TheirMetric]:
        """Nothing: registering collects nothing."""
        return []

    def collect(self) -> Iterator[TheirMetric]:
        """Family by family."""
        return map(in_their_classes, self._metrics())


def in_their_classes(metric: Metric) -> TheirMetric:
    """One family with its series."""
    family = metric.family
    if family.type == HISTOGRAM:
        spread = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, tally in metric.tallies:
            bounds = (*(repr(bound_us / SECOND_US) for bound_us in tally.bounds_us), "+Inf")
            seen, cumulative = 0, []
            for bound, count in zip(bounds, tally.counts, strict=True):
                seen += count
                cumulative.append((bound, float(seen)))
            spread.add_metric(labels, cumulative, tally.sum_us / SECOND_US)
        return spread
    kind = CounterMetricFamily if family.type == COUNTER else GaugeMetricFamily
    plain = kind(family.name, family.help, labels=family.labels)
    for labels, value in metric.rows:
        plain.add_metric(labels, value)
    return plain

"""Our rendering against prometheus_client's own of the same families: the same bytes, in both formats."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from bench.metrics import Peer
from monitor.telemetry.catalogue import COUNTER, GAUGE, HISTOGRAM, Family
from monitor.telemetry.exposition import Exposition
from monitor.telemetry.families import families
from monitor.telemetry.rendering import SLICE, Format, Labels, Metric, Renderer
from monitor.telemetry.snapshot import Snapshot, Tally
from tests.telemetry import example

THEIRS: dict[Format, Callable[[CollectorRegistry], bytes]] = {
    Format.TEXT: generate_latest,
    Format.OPENMETRICS: generate_openmetrics,
}
ENDS = {Format.TEXT: b"", Format.OPENMETRICS: b"# EOF\n"}

GAUGE_FAMILY = Family("g", GAUGE, ("zone", "area"), 'A "gauge",\nwith \\ in its help.')
COUNTER_FAMILY = Family("c_total", COUNTER, ("kind",), "Counted.")
BARE_FAMILY = Family("bare", GAUGE, (), "Without labels.")
GROUP_FAMILY = Family("grouped_total", COUNTER, ("zone", "area", "reason"), "Counted by a closed list.")
HISTOGRAM_FAMILY = Family("h", HISTOGRAM, ("le2", "area"), "Spread.")

texts = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from('\\"\n{},= ')), max_size=12)
numbers = st.one_of(
    st.floats(),
    st.integers(-(10**20), 10**20),
    st.sampled_from([0.0, -0.0, 1e6, 999999.9999999999, 1e15, 1e16, -1e15, 1e-7, math.inf, -math.inf, math.nan]),
    st.floats(1e5, 1e17),
)
tallies = st.lists(st.integers(0, 10**9), min_size=4, max_size=4).flatmap(
    lambda counts: st.integers(0, 10**16).map(lambda sum_us: Tally((500, 1000, 7_500_000), tuple(counts), sum_us))
)


def theirs(metrics: Iterable[Metric], format_: Format) -> bytes:
    registry = CollectorRegistry()
    registry.register(Peer(lambda: iter(metrics)))
    return THEIRS[format_](registry)


def page(renderer: Renderer, snapshot: Snapshot, format_: Format) -> bytes:
    return renderer.render(shown(snapshot), format_, and_then=ENDS[format_])


def shown(snapshot: Snapshot) -> Iterator[Metric]:
    return families(snapshot, expose_money=True, rendering_us=1234)


@pytest.mark.parametrize("format_", Format)
def test_the_catalogue_is_written_as_prometheus_client_writes_it(format_: Format) -> None:
    renderer = Renderer()
    expected = theirs(shown(example.snapshot()), format_)
    assert page(renderer, example.snapshot(), format_) == expected, "from nothing"
    assert page(renderer, example.snapshot(), format_) == expected, "from what was kept"


@given(
    gauges=st.dictionaries(st.tuples(texts, texts), numbers, max_size=5),
    counters=st.dictionaries(st.tuples(texts), numbers, max_size=5),
    histograms=st.dictionaries(st.tuples(texts, texts), tallies, max_size=3),
    grouped=st.dictionaries(st.tuples(texts, texts), st.dictionaries(texts, numbers, max_size=3), max_size=3),
    bare=numbers,
    later=st.lists(numbers, min_size=5, max_size=5),
)
def test_any_values_under_any_labels(
    gauges: dict[Labels, float],
    counters: dict[Labels, float],
    histograms: dict[Labels, Tally],
    grouped: dict[Labels, dict[str, float]],
    bare: float,
    later: list[float],
) -> None:
    def metrics(gauges: dict[Labels, float], more: dict[str, float]) -> list[Metric]:
        return [
            Metric(GAUGE_FAMILY, gauges.items()),
            Metric(COUNTER_FAMILY, counters.items()),
            Metric(GROUP_FAMILY, groups=[(labels, ("dns", "%s"), found | more) for labels, found in grouped.items()]),
            Metric(BARE_FAMILY, [((), bare)]),
            Metric(HISTOGRAM_FAMILY, tallies=histograms.items()),
        ]

    renderer = Renderer()
    # Then with other values, and one series less.
    changed = dict(list(zip(gauges, later, strict=False))[1:])
    counted: dict[str, float] = {"dns": later[0], "new": later[1]}
    for of, more in ((gauges, {}), (changed, counted), (gauges, counted)):
        for format_ in Format:
            written = renderer.render(metrics(of, more), format_, and_then=ENDS[format_])
            assert written == theirs(metrics(of, more), format_)
        assert renderer.kept <= len(of) + len(counters) + len(grouped) + 1 + len(histograms)


def test_more_lines_than_are_joined_at_a_time() -> None:
    rows = [((str(number), ""), number) for number in range(2 * SLICE + 1)]
    written = Renderer().render([Metric(GAUGE_FAMILY, rows)], Format.TEXT)
    assert written == theirs([Metric(GAUGE_FAMILY, rows)], Format.TEXT)
    assert written.count(b"\n") == len(rows) + 2


def test_other_buckets_are_other_lines() -> None:
    renderer = Renderer()
    for bounds_us in ((500, 1000), (500, 2000)):
        metrics = [Metric(HISTOGRAM_FAMILY, tallies=[(("a", "b"), Tally(bounds_us, (1, 2, 3), 4))])]
        assert renderer.render(metrics, Format.TEXT) == theirs(metrics, Format.TEXT)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "renames"), [(10_000, 1), (200, 100)])
def test_checks_that_are_renamed_show_and_keep_what_is_configured(count: int, renames: int) -> None:
    """F34: series are a function of the configuration, in the page and in what is kept to write the next one."""
    renderer, one = Renderer(), example.check()
    lines, kept = set(), set()
    body = b""
    for turn in range(renames + 1):
        checks = tuple(replace(one, check=f"g{turn:03d}-{number}") for number in range(count))
        body = page(renderer, replace(example.snapshot(), checks=checks), Format.TEXT)
        lines.add(body.count(b"\n"))
        kept.add(renderer.kept)
    assert len(lines) == 1
    assert set(re.findall(rb'check="g(\d+)-', body)) == {f"{renames:03d}".encode()}, "none of a generation that is gone"
    assert max(kept) <= lines.pop(), "no more than one beginning a series of one generation"


def test_what_is_gone_is_forgotten_however_often_checks_are_renamed() -> None:
    renderer = Renderer()
    kept = set()
    for turn in range(20):
        checks = tuple(replace(example.check(), check=f"c{turn}-{number}") for number in range(10))
        snapshot = replace(example.snapshot(), checks=checks)
        assert page(renderer, snapshot, Format.TEXT) == theirs(shown(snapshot), Format.TEXT)
        page(renderer, snapshot, Format.TEXT)
        kept.add(renderer.kept)
    assert len(kept) == 1, "as much as is shown, after twenty renamings as after one"
    empty = replace(example.snapshot(), ledger=None, checks=(), services=(), incidents=None)
    page(renderer, empty, Format.TEXT)
    page(renderer, empty, Format.TEXT)
    assert renderer.kept < kept.pop() / 2
    assert page(renderer, empty, Format.TEXT) == theirs(shown(empty), Format.TEXT)


async def test_the_format_asked_for_is_the_one_that_comes() -> None:
    """As Prometheus asks: 2.42 for OpenMetrics, 3 with an escaping scheme; a name of ours needs none."""
    exposition = Exposition(example.snapshot, now_ns=lambda: 0)
    for accept, kind, ends in (
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics", True),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", "text/plain", False),
        ("application/openmetrics-text;version=1.0.0;escaping=dots", "application/openmetrics-text", True),
        ("text/plain;version=1.0.0;escaping=dots", "text/plain", False),
        ("*/*", "text/plain", False),
    ):
        body, content_type = await exposition.render(accept)
        assert content_type.startswith(kind)
        assert body.endswith(b"# EOF\n") == ends
        assert b"\nsla_build_info{" in body
        assert b"\nprocess_resident_memory_bytes " in body
        assert "dots" not in content_type

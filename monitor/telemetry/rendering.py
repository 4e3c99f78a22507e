"""Metric families as the bytes of an exposition: what prometheus_client would write, a tenth as dear.

What is dear in a line is its name and labels, and those are the same from scrape to scrape: each series keeps them as
text, and a scrape writes the value behind. A series that is not in a rendering is forgotten with it, so what is kept is
bounded by what is shown.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, islice

from monitor.core.instant import SECOND_US
from monitor.telemetry.catalogue import COUNTER, Family
from monitor.telemetry.snapshot import Tally

Labels = tuple[str, ...]
Rows = Iterable[tuple[Labels, float]]
Tallies = Iterable[tuple[Labels, Tally]]

SLICE = 500
"""Lines that are joined at a time: joining holds the interpreter, and the event loop waits for it."""

_PLAIN_ABOVE, _PLAIN_BELOW = -1e15, 1e6
"""Between them Go and Python write a number alike."""


class Format(enum.Enum):
    """The two text formats. Their sample lines are the same for the types that the catalogue has."""

    TEXT = "text/plain"
    OPENMETRICS = "application/openmetrics-text"


@dataclass(frozen=True, slots=True)
class Metric:
    """A family with its series: `rows` of a gauge or counter, `tallies` of a histogram. Both are read once."""

    family: Family
    rows: Rows = ()
    tallies: Tallies = ()


@dataclass(frozen=True, slots=True)
class _Beginnings:
    """How the lines of one histogram begin: its buckets' before and after their bound, its count, its sum.

    The bounds are those of all its family: written out for each bucket, they would be most of what is kept.
    """

    before: str
    after: str
    count: str
    sum: str


class Renderer:
    """Writes families, and remembers how the lines of each of their series begin. One thread at a time."""

    def __init__(self) -> None:
        self._begun: dict[str, dict[Labels, str]] = {}
        self._histograms: dict[str, dict[Labels, _Beginnings]] = {}

    @property
    def kept(self) -> int:
        """How many series are remembered."""
        return sum(map(len, self._begun.values())) + sum(map(len, self._histograms.values()))

    def render(self, metrics: Iterable[Metric], format_: Format, *, and_then: bytes = b"") -> bytes:
        """The families in their order; `and_then` is written behind them (in OpenMetrics it has the end mark)."""
        page = BytesIO()
        shown = set()
        for metric in metrics:
            shown.add(metric.family.name)
            page.write(_header(metric.family, format_).encode())
            _write_lines(page, chain(self._samples(metric), self._distributions(metric)))
        for known in (self._begun, self._histograms):
            for name in known.keys() - shown:
                del known[name]
        page.write(and_then)
        return page.getvalue()

    def _samples(self, metric: Metric) -> Iterator[str]:
        family = metric.family
        begun = self._begun.setdefault(family.name, {})
        shown = 0
        for labels, value in metric.rows:
            beginning = begun.get(labels)
            if beginning is None:
                beginning = begun[labels] = _beginning(family.name, family.labels, labels)
            shown += 1
            yield f"{beginning}{_number(value)}\n"
        if len(begun) > shown:
            # Some are gone. To know which would cost each rendering; to write the family anew costs the next one.
            begun.clear()

    def _distributions(self, metric: Metric) -> Iterator[str]:
        family = metric.family
        begun = self._histograms.setdefault(family.name, {})
        shown = 0
        bounds: dict[tuple[int, ...], tuple[str, ...]] = {}
        for labels, tally in metric.tallies:
            lines = begun.get(labels)
            if lines is None:
                lines = begun[labels] = _beginnings(family, labels)
            if tally.bounds_us not in bounds:
                bounds[tally.bounds_us] = _bounds(tally.bounds_us)
            before, after = lines.before, lines.after
            shown += 1
            seen = 0
            for bound, count in zip(bounds[tally.bounds_us], tally.counts, strict=True):
                seen += count
                yield f"{before}{bound}{after}{_number(seen)}\n"
            yield f"{lines.count}{_number(seen)}\n"
            yield f"{lines.sum}{_number(tally.sum_us / SECOND_US)}\n"
        if len(begun) > shown:
            begun.clear()


def _write_lines(page: BytesIO, lines: Iterator[str]) -> None:
    while text := "".join(islice(lines, SLICE)):
        page.write(text.encode())


def _header(family: Family, format_: Format) -> str:
    """What the family is. OpenMetrics names a counter without the `_total` of its samples."""
    name, help_ = family.name, family.help.replace("\\", r"\\").replace("\n", r"\n")
    if format_ is Format.OPENMETRICS:
        help_ = help_.replace('"', r"\"")
        name = name.removesuffix("_total") if family.type == COUNTER else name
    return f"# HELP {name} {help_}\n# TYPE {name} {family.type}\n"


def _bounds(bounds_us: tuple[int, ...]) -> tuple[str, ...]:
    return (*(repr(bound_us / SECOND_US) for bound_us in bounds_us), "+Inf")


def _beginnings(family: Family, labels: Labels) -> _Beginnings:
    # The bound stands among the labels, by its name.
    first = "".join(f"{pair}," for name, pair in _pairs(family.labels, labels) if name < "le")
    rest = "".join(f",{pair}" for name, pair in _pairs(family.labels, labels) if name > "le")
    return _Beginnings(
        before=f'{family.name}_bucket{{{first}le="',
        after=f'"{rest}}} ',
        count=_beginning(f"{family.name}_count", family.labels, labels),
        sum=_beginning(f"{family.name}_sum", family.labels, labels),
    )


def _beginning(name: str, names: Labels, values: Labels) -> str:
    """A line up to its value: labels by name, values escaped."""
    if not names:
        return f"{name} "
    return f"{name}{{{','.join(pair for _name, pair in _pairs(names, values))}}} "


def _pairs(names: Labels, values: Labels) -> Iterator[tuple[str, str]]:
    for name, value in sorted(zip(names, values, strict=True)):
        yield name, f'{name}="{_escaped(value)}"'


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """As Go writes a float, which turns to exponents sooner than Python."""
    if _PLAIN_ABOVE < value < _PLAIN_BELOW:
        return repr(float(value))
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(float(value))
    if value < 0 or "e" in text:
        return text
    whole, _dot, rest = text.partition(".")
    mantissa = f"{whole[0]}.{whole[1:]}{rest}".rstrip("0.")
    return f"{mantissa}e+{len(whole) - 1:02d}"

"""Metric families as the bytes of an exposition: what prometheus_client would write, a tenth as dear.

What is dear in a line is its name and labels, and those are the same from scrape to scrape: each series keeps them as
text, and a scrape writes the value behind. The counts of a closed list are most lines of a page and rarely change: they
are kept whole until one of them does. A series that is not in a rendering is forgotten with it, so what is kept is
bounded by what is shown.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate, islice
from typing import Any, NamedTuple

from monitor.core.instant import SECOND_US
from monitor.telemetry.catalogue import COUNTER, Family
from monitor.telemetry.snapshot import Tally

Labels = tuple[str, ...]
Rows = Iterable[tuple[Labels, float]]
Tallies = Iterable[tuple[Labels, Tally]]
Groups = Iterable[tuple[Labels, tuple[str, ...], Mapping[str, float]]]
"""(labels but the last, the closed list of that one, counts): what was counted, and zero for the rest of the list."""

SLICE = 500
"""Lines that are joined at a time: joining holds the interpreter, and the event loop waits for it."""

BLOCKS = 50
"""The same for the lines of a histogram or a closed list, a dozen in one piece."""

_PLACE = "%s"
_PLAIN_ABOVE, _PLAIN_BELOW = -1e15, 1e6
"""Between them Go and Python write a number alike."""


class Format(enum.Enum):
    """The two text formats. Their sample lines are the same for the types that the catalogue has."""

    TEXT = "text/plain"
    OPENMETRICS = "application/openmetrics-text"


@dataclass(frozen=True, slots=True)
class Metric:
    """A family with its series: `rows` or `groups` of a gauge or counter, `tallies` of a histogram. Read once."""

    family: Family
    rows: Rows = ()
    tallies: Tallies = ()
    groups: Groups = ()


class _Group(NamedTuple):
    """The lines of one closed list, and what they say."""

    members: tuple[str, ...]
    counts: Mapping[str, float]
    text: str


class _Histogram(NamedTuple):
    """The lines of one histogram with a place for each value: its buckets in order, its count, its sum."""

    bounds_us: tuple[int, ...]
    lines: str


class Renderer:
    """Writes families, and remembers how the lines of each of their series begin. One thread at a time."""

    def __init__(self) -> None:
        self._begun: dict[str, dict[Labels, str]] = {}
        self._groups: dict[str, dict[Labels, _Group]] = {}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}
        self._known: tuple[dict[str, Any], ...] = (self._begun, self._groups, self._histograms)

    @property
    def kept(self) -> int:
        """How many series, and closed lists of them, are remembered."""
        return sum(len(series) for known in self._known for series in known.values())

    def render(self, metrics: Iterable[Metric], format_: Format, *, and_then: bytes = b"") -> bytes:
        """The families in their order; `and_then` is written behind them (in OpenMetrics it has the end mark)."""
        page = BytesIO()
        shown = set()
        for metric in metrics:
            shown.add(metric.family.name)
            page.write(_header(metric.family, format_).encode())
            _write(page, self._samples(metric), SLICE)
            _write(page, self._closed_lists(metric), BLOCKS)
            _write(page, self._distributions(metric), BLOCKS)
        for known in self._known:
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
                beginning = begun[labels] = _line(family.name, family.labels, labels)
            shown += 1
            yield f"{beginning}{_number(value)}\n"
        if len(begun) > shown:
            # Some are gone. To know which would cost each rendering; to write the family anew costs the next one.
            begun.clear()

    def _closed_lists(self, metric: Metric) -> Iterator[str]:
        family = metric.family
        begun = self._groups.setdefault(family.name, {})
        shown = 0
        for labels, members, counts in metric.groups:
            group = begun.get(labels)
            if group is None or group.counts != counts or group.members != members:
                group = begun[labels] = _Group(members, counts, _closed_list(family, labels, members, counts))
            shown += 1
            yield group.text
        if len(begun) > shown:
            begun.clear()

    def _distributions(self, metric: Metric) -> Iterator[str]:
        family = metric.family
        begun = self._histograms.setdefault(family.name, {})
        shown = 0
        for labels, tally in metric.tallies:
            held = begun.get(labels)
            if held is None or held.bounds_us != tally.bounds_us:
                held = begun[labels] = _Histogram(tally.bounds_us, _histogram(family, labels, tally.bounds_us))
            shown += 1
            seen = [*map(float, accumulate(tally.counts))]
            total, sum_ = seen[-1], tally.sum_us / SECOND_US
            if total < _PLAIN_BELOW and sum_ < _PLAIN_BELOW:
                yield held.lines % (*seen, total, sum_)
            else:
                yield held.lines % (*map(_number, seen), _number(total), _number(sum_))
        if len(begun) > shown:
            begun.clear()


def _write(page: BytesIO, texts: Iterator[str], at_a_time: int) -> None:
    while text := "".join(islice(texts, at_a_time)):
        page.write(text.encode())


def _header(family: Family, format_: Format) -> str:
    """What the family is. OpenMetrics names a counter without the `_total` of its samples."""
    name, help_ = family.name, family.help.replace("\\", r"\\").replace("\n", r"\n")
    if format_ is Format.OPENMETRICS:
        help_ = help_.replace('"', r"\"")
        name = name.removesuffix("_total") if family.type == COUNTER else name
    return f"# HELP {name} {help_}\n# TYPE {name} {family.type}\n"


def _closed_list(family: Family, labels: Labels, members: tuple[str, ...], counts: Mapping[str, float]) -> str:
    """A line for each member of the list, and for whatever else was counted."""
    line = _line(family.name, family.labels, (*_doubled(labels), _PLACE))
    found = {**dict.fromkeys(members, 0), **counts}
    return "".join(f"{line % _escaped(member)}{_number(count)}\n" for member, count in found.items())


def _histogram(family: Family, labels: Labels, bounds_us: tuple[int, ...]) -> str:
    safe = _doubled(labels)
    bucket = _line(f"{family.name}_bucket", (*family.labels, "le"), (*_doubled(safe), _PLACE))
    lines = [bucket % bound for bound in _bounds(bounds_us)]
    lines += [_line(f"{family.name}_{what}", family.labels, safe) for what in ("count", "sum")]
    return "".join(f"{line}{_PLACE}\n" for line in lines)


def _doubled(labels: Labels) -> Labels:
    """Labels in which nothing is taken for a place."""
    return tuple(label.replace("%", "%%") for label in labels)


@functools.cache
def _bounds(bounds_us: tuple[int, ...]) -> tuple[str, ...]:
    return (*(repr(bound_us / SECOND_US) for bound_us in bounds_us), "+Inf")


def _line(name: str, names: Labels, values: Labels) -> str:
    """A line up to its value: labels by name, values escaped."""
    if not names:
        return f"{name} "
    order, shape = _shape(names)
    return f"{name}{shape}" % tuple([_escaped(values[place]) for place in order])


@functools.cache
def _shape(names: Labels) -> tuple[tuple[int, ...], str]:
    """In what order labels stand in a line, and between what."""
    order = tuple(sorted(range(len(names)), key=names.__getitem__))
    return order, "{" + ",".join(f'{names[place]}="%s"' for place in order) + "} "


def _escaped(value: str) -> str:
    if value.isidentifier():  # most are words: nothing in them to look for
        return value
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

"""A dashboard as one SVG: each panel in its place, drawn from what its queries answer. It shows what a dashboard says
and how it is laid out; it is not Grafana, and says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from docs.tools.frames import Series, Source, numbers, spans, table
from docs.tools.values import COLOURS, PALETTE, WIB, colour, shown

Panel = Mapping[str, Any]
WIDTH = 1320.0
COLUMN = (WIDTH - 16) / 24
ROW = 34.0
GAP = 8.0
HEAD = 66.0
TITLE = 26.0
LETTER = 6.1
"""How wide a letter of 11 px is, about: nothing here can measure text."""

NOTHING = "No data"
INK, FAINT, GRID = COLOURS["text"], "#7a828e", "#e3e6ea"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on the picture."""

    x: float
    y: float
    w: float
    h: float

    def inside(self, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Box:
        """What is left of it within margins."""
        return Box(self.x + left, self.y + top, self.w - left - right, self.h - top - bottom)


@dataclass(frozen=True, slots=True)
class Picture:
    """A dashboard drawn, and the titles of panels whose queries answered nothing."""

    svg: str
    empty: Sequence[str]


def draw(dashboard: Mapping[str, Any], source: Source) -> Picture:
    """The picture of a dashboard as `source` answers it."""
    height = HEAD + max(_bottom(panel) for panel in dashboard["panels"]) * ROW + GAP
    regions = [
        (start, end, COLOURS[annotation["iconColor"]])
        for annotation in dashboard["annotations"]["list"]
        for series in source.over_time(annotation["expr"])
        for start, end, _value in spans(series, source.step_s)
    ]
    parts, empty = [*_heading(dashboard, source)], []
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        box = Box(
            GAP + place["x"] * COLUMN,
            HEAD + place["y"] * ROW,
            place["w"] * COLUMN - GAP,
            place["h"] * ROW - GAP,
        )
        parts += _panel(panel, box, source, regions)
        if "targets" in panel and not _answers(panel, source):
            empty.append(str(panel["title"]))
    size = f'width="{WIDTH:g}" height="{height:g}" viewBox="0 0 {WIDTH:g} {height:g}"'
    font = 'font-family="Inter, Helvetica, Arial, sans-serif" font-size="11"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>', *parts, "</svg>"]
    return Picture("\n".join(lines) + "\n", empty)


def _bottom(panel: Panel) -> int:
    return int(panel["gridPos"]["y"] + panel["gridPos"]["h"])


def _heading(dashboard: Mapping[str, Any], source: Source) -> Iterator[str]:
    start, end = (datetime.fromtimestamp(at, WIB) for at in (source.start_s, source.end_s))
    yield _rect(Box(0, 0, WIDTH, 20_000), "#f4f5f7")
    yield _text(GAP + 4, 24, dashboard["title"], INK, size=17, bold=True)
    yield _text(GAP + 4, 43, dashboard["description"], FAINT)
    said = f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} WIB"
    yield _text(WIDTH - GAP - 4, 24, said, INK, anchor="end")
    drawn = "Answers of a real Prometheus, drawn by docs/tools/pictures.py; Grafana draws them its own way."
    yield _text(WIDTH - GAP - 4, 43, drawn, FAINT, anchor="end")


def _panel(panel: Panel, box: Box, source: Source, regions: Sequence[tuple[float, float, str]]) -> Iterator[str]:
    if panel["type"] == "row":
        yield _text(box.x + 4, box.y + 18, f"▾ {panel['title']}", INK, size=13, bold=True)
        return
    yield _rect(box, "#ffffff", border=GRID)
    yield _text(box.x + 10, box.y + 18, _cut(panel["title"], box.w - 20, 12), INK, size=12, bold=True)
    inside = box.inside(10, TITLE, 10, 8)
    if panel["type"] == "timeseries":
        yield from _lines(panel, inside, source, regions)
        return
    yield from _DRAWN[panel["type"]](panel, inside, source)


# Panels.


def _stat(panel: Panel, box: Box, source: Source) -> Iterator[str]:
    series = _answers(panel, source)
    if not series:
        yield _nothing(panel, box)
        return
    defaults = panel["fieldConfig"]["defaults"]
    width = box.w / len(series)
    for nth, one in enumerate(series):
        middle = box.x + (nth + 0.5) * width
        alone = panel["options"]["textMode"] == "name"
        said = one.name if alone else shown(one.last, defaults)
        size = min(box.h * 0.5, 34.0, width * 1.3 / max(len(said), 1))
        named = len(series) > 1 and not alone
        base = box.y + box.h * (0.5 if named else 0.55) + size * 0.35
        yield _text(middle, base, said, colour(one.last, defaults), size=size, bold=True, anchor="middle")
        if named:
            label = _cut(one.name, width - 6)
            yield _text(middle, box.y + box.h - 2, label, FAINT, anchor="middle")


def _table(panel: Panel, box: Box, source: Source) -> Iterator[str]:
    found = table(panel, source)
    if not found.rows:
        yield _nothing(panel, box)
        return
    right, cells = set(numbers(found)), [_written(panel, found.columns, row) for row in found.rows]
    widest = [max(len(name), *(len(row[nth][0]) for row in cells)) + 3 for nth, name in enumerate(found.columns)]
    places = [
        (box.x + box.w * sum(widest[:nth]) / sum(widest), box.w * w / sum(widest)) for nth, w in enumerate(widest)
    ]
    for (x, width), name in zip(places, found.columns, strict=True):
        yield _cell(x, box.y + 12, width, name, FAINT, to_right=name in right)
    yield _line(box.x, box.y + 18, box.x + box.w, box.y + 18, GRID)
    fitting = int((box.h - 22) / 20)
    for down, row in enumerate(cells[:fitting]):
        for (x, width), name, (said, ink) in zip(places, found.columns, row, strict=True):
            yield _cell(x, box.y + 34 + down * 20, width, said, ink, to_right=name in right)
    if len(found.rows) > fitting:
        yield _text(box.x, box.y + box.h + 4, f"… {len(found.rows) - fitting} more rows", FAINT, size=9)


def _written(panel: Panel, columns: Sequence[str], row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The cells of a row: (text, colour)."""
    cells = []
    for name in columns:
        value, defaults = row.get(name, ""), _defaults(panel, name)
        if not isinstance(value, float):
            cells.append((str(value), INK))
        else:
            coloured = "color" in defaults or "mappings" in defaults
            cells.append((shown(value, defaults), colour(value, defaults) if coloured else INK))
    return cells


def _lines(panel: Panel, box: Box, source: Source, regions: Sequence[tuple[float, float, str]]) -> Iterator[str]:
    series = _answers(panel, source)
    if not series:
        yield _nothing(panel, box)
        return
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
    inks = _inks(panel, series)
    legend = _legend([(one.name, ink) for one, ink in zip(series, inks, strict=True)], box)
    plot = box.inside(58, 4, 6, 18 + 15 * len(legend))
    if stacked:
        series = _stacked(series)
    values = [value for one in series for _at, value in one.points if math.isfinite(value)]
    low, high = _bounds(values, defaults, stacked=stacked)
    across, up = _across(plot, source), _up(plot, low, high)
    for start, end, ink in regions:
        yield _rect(Box(across(start), plot.y, max(across(end) - across(start), 1), plot.h), ink, opacity=0.1)
    for value in _ticks(low, high):
        yield _line(plot.x, up(value), plot.x + plot.w, up(value), GRID)
        yield _text(plot.x - 5, up(value) + 3.5, shown(value, defaults), FAINT, size=9.5, anchor="end")
    yield from _times(plot, source)
    for one, ink in reversed([*zip(series, inks, strict=True)]):
        own = _defaults(panel, one.name)
        fill = own.get("custom.fillOpacity", defaults["custom"].get("fillOpacity", 0)) / 100
        for path in _paths(one, source.step_s):
            xy = [(across(at), up(value)) for at, value in path]
            if fill:
                yield _area(xy, plot.y + plot.h, ink, 1.0 if stacked else fill)
            yield _polyline(xy, ink, dashed=own.get("custom.lineStyle", {}).get("fill") == "dash")
    yield from (part for row in legend for part in row)


def _state_timeline(panel: Panel, box: Box, source: Source) -> Iterator[str]:
    series = _answers(panel, source)
    if not series:
        yield _nothing(panel, box)
        return
    defaults = panel["fieldConfig"]["defaults"]
    left = min(max(len(one.name) for one in series) * LETTER + 10, box.w / 3)
    states = [state for mapping in defaults.get("mappings", ()) for state in mapping["options"].values()]
    told = panel["options"]["legend"]["showLegend"]
    legend = _legend([(state["text"], COLOURS[state["color"]]) for state in states], box) if told else []
    plot = box.inside(left, 2, 6, 18 + 15 * len(legend))
    across, height = _across(plot, source), plot.h / len(series)
    yield from (part for line in legend for part in line)
    for nth, one in enumerate(series):
        y = plot.y + nth * height
        yield _text(plot.x - 6, y + height / 2 + 4, _cut(one.name, left), INK, anchor="end")
        for start, end, value in spans(one, source.step_s):
            bar = Box(across(start), y + height * 0.1, max(across(end) - across(start), 0.5), height * 0.8)
            yield _rect(bar, colour(value, defaults), opacity=0.8)
    yield from _times(plot, source)


def _bar_gauge(panel: Panel, box: Box, source: Source) -> Iterator[str]:
    series = _answers(panel, source)
    if not series:
        yield _nothing(panel, box)
        return
    defaults = panel["fieldConfig"]["defaults"]
    values = [one.last for one in series]
    low, high = min(defaults.get("min", 0), *values), defaults.get("max", max(0, *values))
    left = min(max(len(one.name) for one in series) * LETTER + 10, box.w * 0.5)
    bars = box.inside(left, 0, 70, 0)
    height = min(box.h / len(series), 30.0)
    scale = bars.w / ((high - low) or 1)
    for nth, one in enumerate(series):
        y = box.y + nth * height
        full = Box(bars.x, y + height * 0.15, bars.w, height * 0.7)
        ink = colour(one.last, defaults)
        yield _text(bars.x - 6, y + height / 2 + 4, _cut(one.name, left), INK, anchor="end")
        yield _rect(full, "#eef0f2")
        begin, end = sorted((max(low, 0), one.last))
        part = Box(bars.x + (begin - low) * scale, full.y, min((end - begin) * scale, bars.w), full.h)
        yield _rect(part, ink, opacity=0.85)
        yield _text(bars.x + bars.w + 6, y + height / 2 + 4, shown(one.last, defaults), ink, bold=True)


def _bar_chart(panel: Panel, box: Box, source: Source) -> Iterator[str]:
    found = table(panel, source)
    across = next((name for name in found.columns if name not in set(numbers(found))), None)
    if not found.rows or across is None:
        yield _nothing(panel, box)
        return
    defaults, bars = panel["fieldConfig"]["defaults"], list(numbers(found))
    inks = dict(zip(bars, PALETTE, strict=False))
    legend = _legend(list(inks.items()), box)
    plot = box.inside(52, 8, 6, 18 + 15 * len(legend))
    values = [row[name] for row in found.rows for name in bars if isinstance(row.get(name), float)]
    low, high = _bounds([0.0, *values], defaults, stacked=False)
    up, width = _up(plot, low, high), plot.w / len(found.rows)
    for value in _ticks(low, high):
        yield _line(plot.x, up(value), plot.x + plot.w, up(value), GRID)
        yield _text(plot.x - 5, up(value) + 3.5, shown(value, defaults), FAINT, size=9.5, anchor="end")
    for nth, row in enumerate(found.rows):
        x, each = plot.x + nth * width + width * 0.15, width * 0.7 / len(bars)
        for beside, name in enumerate(bars):
            value = row.get(name, 0.0)
            top = up(value)
            yield _rect(Box(x + beside * each, top, each * 0.9, plot.y + plot.h - top), inks[name])
            if value:
                said = shown(value, defaults)
                yield _text(x + (beside + 0.45) * each, top - 3, said, INK, size=9, anchor="middle")
        middle = plot.x + (nth + 0.5) * width
        yield _text(middle, plot.y + plot.h + 13, row[across], FAINT, size=9.5, anchor="middle")
    yield from (part for line in legend for part in line)


def _heat_map(panel: Panel, box: Box, source: Source) -> Iterator[str]:
    buckets = sorted(
        (series for target in panel["targets"] for series in source.over_time(target["expr"])),
        key=lambda one: float(one.labels["le"]),
    )
    if not buckets:
        yield _nothing(panel, box)
        return
    unit = {"unit": panel["options"]["yAxis"]["unit"]}
    plot = box.inside(52, 2, 6, 18)
    across, height, width = _across(plot, source), plot.h / len(buckets), plot.w * source.step_s / _length(source)
    below: dict[float, float] = {}
    cells = []
    for nth, one in enumerate(buckets):
        y = plot.y + plot.h - (nth + 1) * height
        at_most = dict(one.points)
        cells += [(at, y, value - below.get(at, 0.0)) for at, value in at_most.items()]
        below = at_most
        if nth % 2 == 0 or height > 14:
            edge = float(one.labels["le"])
            said = "+Inf" if math.isinf(edge) else shown(edge, unit)
            yield _text(plot.x - 5, y + height / 2 + 3, said, FAINT, size=9, anchor="end")
    most = max((count for _at, _y, count in cells), default=0.0) or 1.0
    for at, y, count in cells:
        if count > 0:
            cell = Box(across(at) - width, y, width + 0.3, height - 1)
            yield _rect(cell, "#c4162a", opacity=0.15 + 0.85 * count / most)
    yield from _times(plot, source)


_DRAWN: Mapping[str, Callable[[Panel, Box, Source], Iterator[str]]] = {
    "stat": _stat,
    "table": _table,
    "state-timeline": _state_timeline,
    "bargauge": _bar_gauge,
    "barchart": _bar_chart,
    "heatmap": _heat_map,
}


# What panels share.


def _answers(panel: Panel, source: Source) -> list[Series]:
    return [series for target in panel["targets"] for series in source.target(target)]


def _defaults(panel: Panel, name: str) -> dict[str, Any]:
    """A field's options: those of the panel, and the overrides that are for it by name."""
    found = dict(panel["fieldConfig"]["defaults"])
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        wanted = re.escape(matcher["options"]) if matcher["id"] == "byName" else matcher["options"].strip("/")
        if re.search(wanted if matcher["id"] == "byRegexp" else f"^{wanted}$", name):
            found |= {one["id"]: one["value"] for one in override["properties"]}
    return found


def _inks(panel: Panel, series: Sequence[Series]) -> list[str]:
    fixed = (_defaults(panel, one.name).get("color", {}).get("fixedColor") for one in series)
    return [COLOURS[ink] if ink else PALETTE[nth % len(PALETTE)] for nth, ink in enumerate(fixed)]


def _stacked(series: Sequence[Series]) -> list[Series]:
    """Each on top of those before it."""
    sums: dict[float, float] = {}
    on_top = []
    for one in series:
        points = []
        for at, value in one.points:
            sums[at] = sums.get(at, 0.0) + (0.0 if math.isnan(value) else value)
            points.append((at, sums[at]))
        on_top.append(Series(one.labels, one.name, points))
    return on_top


def _bounds(values: Sequence[float], defaults: Mapping[str, Any], *, stacked: bool) -> tuple[float, float]:
    low = defaults.get("min", min(values, default=0.0))
    high = defaults.get("max", max(values, default=1.0))
    if stacked or (0 < low < high * 0.6 and "min" not in defaults):
        low = 0.0
    if low == high:
        low, high = (0.0, 1.0) if low == 0 else (low - abs(low) * 0.1, high + abs(high) * 0.1)
    spare = 0.0 if "max" in defaults else (high - low) * 0.06
    return low, high + spare


def _ticks(low: float, high: float) -> Iterator[float]:
    """Round values between, about four."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * by for by in (1, 2, 2.5, 5, 10) if power * by >= rough * 0.999)
    nth = math.ceil(low / step - 1e-9)
    while nth * step <= high + step * 1e-6:
        yield round(nth * step, 12)
        nth += 1


def _paths(series: Series, step_s: float) -> Iterator[list[tuple[float, float]]]:
    """The points of a line, cut where there is a hole."""
    path: list[tuple[float, float]] = []
    for at, value in series.points:
        if not math.isfinite(value) or (path and at - path[-1][0] > 1.5 * step_s):
            if path:
                yield path
            path = []
        if math.isfinite(value):
            path.append((at, value))
    if path:
        yield path


def _length(source: Source) -> float:
    return source.end_s - source.start_s


def _across(plot: Box, source: Source) -> Callable[[float], float]:
    return lambda at: plot.x + (at - source.start_s) / _length(source) * plot.w


def _up(plot: Box, low: float, high: float) -> Callable[[float], float]:
    return lambda value: plot.y + plot.h - (min(max(value, low), high) - low) / (high - low) * plot.h


def _times(plot: Box, source: Source) -> Iterator[str]:
    wanted = max(int(plot.w / 90), 2)
    every = next((e for e in (5, 10, 15, 30, 60, 300, 900, 3600, 21600) if _length(source) / e <= wanted), 86400)
    at = math.ceil(source.start_s / every) * every
    across = _across(plot, source)
    while at <= source.end_s:
        yield _line(across(at), plot.y, across(at), plot.y + plot.h, GRID)
        said = f"{datetime.fromtimestamp(at, WIB):%H:%M:%S}"
        yield _text(across(at), plot.y + plot.h + 13, said, FAINT, size=9.5, anchor="middle")
        at += every


def _legend(entries: Sequence[tuple[str, str]], box: Box) -> list[list[str]]:
    """Rows of names at the bottom of a panel, at most three of them."""
    lines: list[list[tuple[str, str, float]]] = [[]]
    x = 0.0
    for name, ink in entries:
        width = len(name) * LETTER * 0.95 + 24
        if x + width > box.w and lines[-1]:
            lines.append([])
            x = 0.0
        lines[-1].append((name, ink, x))
        x += width
    kept = lines[:3]
    left_out = sum(map(len, lines[3:]))
    rows = []
    for nth, line in enumerate(kept):
        y = box.y + box.h - 15 * (len(kept) - 1 - nth) + 2
        row = []
        for name, ink, at in line:
            row.append(_rect(Box(box.x + at, y - 5, 12, 3), ink))
            row.append(_text(box.x + at + 16, y, name, INK, size=10))
        if left_out and nth == len(kept) - 1:
            row.append(_text(box.x + box.w, y, f"+{left_out}", FAINT, size=10, anchor="end"))
        rows.append(row)
    return rows


# Shapes.


def _nothing(panel: Panel, box: Box) -> str:
    said = panel["fieldConfig"]["defaults"].get("noValue", NOTHING)
    return _text(box.x + box.w / 2, box.y + box.h / 2, said, FAINT, size=13, anchor="middle")


def _cell(x: float, y: float, width: float, said: object, ink: str, *, to_right: bool) -> str:
    text = _cut(str(said), width - 12)
    return _text(x + width - 12, y, text, ink, anchor="end") if to_right else _text(x, y, text, ink)


def _cut(text: str, width: float, size: float = 11) -> str:
    fitting = int(width / (LETTER * size / 11))
    return text if len(text) <= fitting else text[: max(fitting - 1, 1)] + "…"


def _text(
    x: float,
    y: float,
    text: object,
    ink: str,
    *,
    size: float = 11,
    bold: bool = False,
    anchor: str = "start",
) -> str:
    weight = ' font-weight="600"' if bold else ""
    sized = "" if size == 11 else f' font-size="{size:.3g}"'
    placed = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{ink}"{sized}{weight}{placed}>{escape(str(text))}</text>'


def _rect(box: Box, ink: str, *, opacity: float = 1.0, border: str | None = None) -> str:
    drawn = f' stroke="{border}"' if border else ""
    clear = "" if opacity == 1 else f' fill-opacity="{opacity:.2f}"'
    place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{max(box.w, 0):.1f}" height="{max(box.h, 0):.1f}"'
    return f'<rect {place} fill="{ink}"{clear}{drawn}/>'


def _line(x1: float, y1: float, x2: float, y2: float, ink: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{ink}"/>'


def _polyline(xy: Sequence[tuple[float, float]], ink: str, *, dashed: bool) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in xy)
    dashes = ' stroke-dasharray="6 4"' if dashed else ""
    return f'<polyline points={quoteattr(points)} fill="none" stroke="{ink}" stroke-width="1.4"{dashes}/>'


def _area(xy: Sequence[tuple[float, float]], base: float, ink: str, opacity: float) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(xy[0][0], base), *xy, (xy[-1][0], base)])
    return f'<polygon points="{points}" fill="{ink}" fill-opacity="{opacity:.2f}"/>'

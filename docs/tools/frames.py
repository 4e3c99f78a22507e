"""What a panel's queries answer: series over time or rows of a table, as the panel's transformations leave them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib import parse, request

Labels = Mapping[str, str]
Row = dict[str, Any]
WITHIN_S = 30.0
_FILLED = re.compile(r"\$(job|instance|sla_service|partner)\b")
_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its labels, its name in the legend, and (instant, value) as Unix seconds and a number."""

    labels: Labels
    name: str
    points: Sequence[tuple[float, float]]

    @property
    def last(self) -> float:
        """The newest value that is a number; NaN where there is none."""
        return next((value for _at, value in reversed(self.points) if not math.isnan(value)), math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A Prometheus and the time that is looked at. `rate_interval` stands for Grafana's `$__rate_interval`."""

    url: str
    start_s: float
    end_s: float
    step_s: float
    rate_interval: str

    def instant(self, expression: str, legend: str = "") -> list[Series]:
        """What an expression says at the end."""
        found = self._asked("query", query=self._filled(expression), time=str(self.end_s))
        return [self._series(one["metric"], [one["value"]], legend) for one in found]

    def over_time(self, expression: str, legend: str = "") -> list[Series]:
        """What an expression says at every step."""
        asked = {"start": str(self.start_s), "end": str(self.end_s), "step": str(self.step_s)}
        found = self._asked("query_range", query=self._filled(expression), **asked)
        return [self._series(one["metric"], one["values"], legend) for one in found]

    def target(self, target: Mapping[str, Any]) -> list[Series]:
        """The answer to a target of a panel."""
        ask = self.instant if target.get("instant") else self.over_time
        return ask(target["expr"], target.get("legendFormat", ""))

    def _filled(self, expression: str) -> str:
        """As Grafana would send it with everything selected."""
        return _FILLED.sub(".*", expression).replace("$__rate_interval", self.rate_interval)

    def _asked(self, path: str, **query: str) -> list[dict[str, Any]]:
        url = f"{self.url}/api/v1/{path}?{parse.urlencode(query)}"
        with request.urlopen(url, timeout=WITHIN_S) as answer:  # noqa: S310 - the Prometheus that was handed in
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found

    @staticmethod
    def _series(labels: Labels, values: Iterable[tuple[float, str]], legend: str) -> Series:
        named = _LEGEND.sub(lambda found: labels.get(found[1], ""), legend)
        if legend in {"", "__auto"}:
            named = ", ".join(f"{key}={value}" for key, value in labels.items() if key != "__name__") or "Value"
        return Series(labels, named, [(float(at), float(value)) for at, value in values])


@dataclass(slots=True)
class Table:
    """Columns in their order and rows by column; a row lacks what nothing was said of."""

    columns: list[str]
    rows: list[Row] = field(default_factory=list)


def table(panel: Mapping[str, Any], source: Source) -> Table:
    """A panel's answers as one table, transformed."""
    targets = panel["targets"]
    frames = [_frame(source.target(target), target["refId"], alone=len(targets) == 1) for target in targets]
    found = _merged(frames)
    for transformation in panel.get("transformations", ()):
        options = transformation["options"]
        match transformation["id"]:
            case "merge":
                pass  # done: what is drawn is one table
            case "organize":
                found = _organized(found, options)
            case "groupingToMatrix":
                found = _matrix(found, options)
            case "sortBy":
                for by in reversed(options["sort"]):
                    found.rows.sort(key=_by(by["field"]), reverse=by.get("desc", False))
            case other:
                raise ValueError(f"transformation {other!r} cannot be drawn here: teach it in docs/tools/frames.py")
    return found


def _by(column: str) -> Callable[[Row], Any]:
    return lambda row: row.get(column, "")


def _frame(series: Sequence[Series], ref: str, *, alone: bool) -> Table:
    value = "Value" if alone else f"Value #{ref}"
    rows: list[Row] = [{"Time": one.points[-1][0], **one.labels, value: one.last} for one in series]
    labels = sorted({name for one in series for name in one.labels})
    return Table(["Time", *labels, value], rows)


def _merged(frames: Sequence[Table]) -> Table:
    """Rows of frames that agree in every column that all frames have: one row. Grafana's `merge` does the same."""
    shared = [name for name in frames[0].columns if all(name in frame.columns for frame in frames)]
    rows: dict[tuple[Any, ...], Row] = {}
    for frame in frames:
        for row in frame.rows:
            rows.setdefault(tuple(row.get(name) for name in shared), {}).update(row)
    columns = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    return Table(columns, list(rows.values()))


def _organized(found: Table, options: Mapping[str, Any]) -> Table:
    order, renamed = options.get("indexByName", {}), options.get("renameByName", {})
    kept = [name for name in found.columns if not options.get("excludeByName", {}).get(name)]
    kept.sort(key=lambda name: order.get(name, len(order)))
    rows = [{renamed.get(name, name): row[name] for name in kept if name in row} for row in found.rows]
    return Table([renamed.get(name, name) for name in kept], rows)


def _matrix(found: Table, options: Mapping[str, Any]) -> Table:
    """Rows by one column, columns by another; the first column is called as Grafana calls it."""
    down, across, value = options["rowField"], options["columnField"], options["valueField"]
    corner = f"{down}\\{across}"
    rows: dict[str, Row] = {}
    for row in found.rows:
        rows.setdefault(row[down], {corner: row[down]})[row[across]] = row[value]
    return Table([corner, *sorted({str(row[across]) for row in found.rows})], list(rows.values()))


def numbers(found: Table) -> Iterator[str]:
    """The columns that hold numbers."""
    for name in found.columns:
        if any(isinstance(row.get(name), float) for row in found.rows):
            yield name


def spans(series: Series, step_s: float) -> Iterator[tuple[float, float, float]]:
    """(start, end, value) of equal neighbours; a hole of more than a step and a half ends one."""
    start, before, value = math.nan, math.nan, math.nan
    for at, now in series.points:
        if value == now and at - before <= 1.5 * step_s:
            before = at
            continue
        if not math.isnan(start):
            yield start, before + step_s if at - before > 1.5 * step_s else at, value
        start, before, value = at, at, now
    if not math.isnan(start):
        yield start, before, value

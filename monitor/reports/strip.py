"""The month as a strip of days: a column a day, midnight on top, with outages and windows where they lie in it.

The picture is computed here, in whole units of a fixed grid, so that the same statement gives the same bytes; the page
only draws it. Days and hours are those of the contract's zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitor.reports import Document

DAY_WIDTH = 20
GAP = 3
HEIGHT = 96
_DAY = timedelta(days=1)
# What is so short that it would not be seen is drawn this high.
_LEAST = 2

# A window or exclusion beside the statement: id, reason, start, end, announced (or null) and whether it qualifies.
Window = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A mark in a day's column. `kind`: down, excluded, window or rejected; `title` is said when pointed at."""

    kind: str
    x: int
    y: int
    width: int
    height: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A day: its number, its place, and whether it is a Saturday or Sunday."""

    number: int
    x: int
    weekend: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """The picture: columns, then marks in the order they are drawn (windows lie under outages)."""

    width: int
    height: int
    columns: tuple[Column, ...]
    bars: tuple[Bar, ...]


def strip(document: Document, windows: Sequence[Window] = ()) -> Strip:
    """The strip of a statement and the windows that touch its month."""
    start, end = (datetime.fromisoformat(document["period"][name]) for name in ("start", "end"))
    days = list(_days(start, end))
    columns = tuple(
        Column(number=day.day, x=number * (DAY_WIDTH + GAP), weekend=day.isoweekday() > 5)  # noqa: PLR2004 - Friday
        for number, day in enumerate(days)
    )
    bars = tuple(_bars(document, windows, days, end))
    return Strip(width=len(days) * (DAY_WIDTH + GAP) - GAP, height=HEIGHT, columns=columns, bars=bars)


def _days(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += _DAY


def _bars(document: Document, windows: Iterable[Window], days: Sequence[datetime], end: datetime) -> Iterator[Bar]:
    for window in windows:
        kind = "window" if window["qualifies"] else "rejected"
        first, last = (datetime.fromisoformat(window[name]) for name in ("start", "end"))
        yield from _cut(kind, first, last, days, end, window["id"])
    for outage in document["outages"]:
        first = datetime.fromisoformat(outage["start"])
        last = first + timedelta(microseconds=int(outage["seconds"].replace(".", "")))
        yield from _cut("down", first, last, days, end, outage["first_failure"] or "")
        for part in outage["excluded"]:
            first, last = (datetime.fromisoformat(part[name]) for name in ("start", "end"))
            yield from _cut("excluded", first, last, days, end, part["id"])


def _cut(
    kind: str, first: datetime, last: datetime, days: Sequence[datetime], end: datetime, title: str
) -> Iterator[Bar]:
    """One mark for each day that a time touches."""
    inset = 0 if kind in {"window", "rejected"} else 4
    for number, day in enumerate(days):
        after = days[number + 1] if number + 1 < len(days) else end
        begins, ends = max(first, day), min(last, after)
        if begins < ends:
            top = _height(begins - day, after - day)
            bottom = max(_height(ends - day, after - day), top + _LEAST)
            yield Bar(
                kind=kind,
                x=number * (DAY_WIDTH + GAP) + inset,
                y=min(top, HEIGHT - _LEAST),
                width=DAY_WIDTH - 2 * inset,
                height=min(bottom, HEIGHT) - min(top, HEIGHT - _LEAST),
                title=title,
            )


def _height(part: timedelta, whole: timedelta) -> int:
    return HEIGHT * (part // timedelta(microseconds=1)) // (whole // timedelta(microseconds=1))

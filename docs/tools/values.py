"""A figure as a dashboard shows it: its unit, its mapping, its colour. Units and named colours are Grafana's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

Defaults = Mapping[str, Any]
"""`fieldConfig.defaults` of a panel, with the overrides of a field laid over it."""

WIB = timezone(timedelta(hours=7))
COLOURS = {
    "green": "#37872d",
    "red": "#c4162a",
    "orange": "#e0752d",
    "yellow": "#b7910a",
    "blue": "#1f60c4",
    "purple": "#7c2ea3",
    "text": "#3b4350",
}
PALETTE = (
    "#37872d",
    "#b7910a",
    "#1f78c1",
    "#e0752d",
    "#c4162a",
    "#0f8f8f",
    "#7c2ea3",
    "#6d597a",
    "#5a7d2a",
    "#a05c00",
    "#3f51b5",
    "#ad1457",
)
_DURATIONS = (
    (31_536_000.0, "years"),
    (604_800.0, "weeks"),
    (86_400.0, "days"),
    (3600.0, "hours"),
    (60.0, "mins"),
    (1.0, "s"),
    (1e-3, "ms"),
    (1e-6, "µs"),
)


def shown(value: float, defaults: Defaults) -> str:
    """A value in its mapping or else its unit."""
    mapped = _mapped(value, defaults)
    if mapped is not None:
        return str(mapped["text"])
    if math.isnan(value):
        return "NaN"
    decimals = defaults.get("decimals")
    match defaults.get("unit"):
        case "percentunit":
            return f"{value * 100:.{_digits(value * 100, decimals)}f}%"
        case "s":
            return _duration(value, decimals)
        case "bytes":
            return _scaled(value, decimals, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB"))
        case "cps":
            return f"{value:.{_digits(value, decimals)}f} c/s"
        case "dateTimeAsIso":
            return datetime.fromtimestamp(value / 1000, WIB).strftime("%Y-%m-%d %H:%M:%S")
        case "bool_yes_no":
            return "Yes" if value else "No"
        case None | "none" | "short":
            return f"{value:.{_digits(value, decimals)}f}"
        case unit:
            raise ValueError(f"unit {unit!r} is not one that can be drawn here: teach it in docs/tools/values.py")


def colour(value: float, defaults: Defaults, otherwise: str = COLOURS["text"]) -> str:
    """The colour of a value: of its mapping, else of the threshold it has reached."""
    mapped = _mapped(value, defaults)
    if mapped is not None:
        return COLOURS[str(mapped.get("color", "text"))]
    reached = [step for step in _steps(defaults) if step["value"] is None or value >= step["value"]]
    return COLOURS[reached[-1]["color"]] if reached else otherwise


def _steps(defaults: Defaults) -> Sequence[Mapping[str, Any]]:
    steps: Sequence[Mapping[str, Any]] = defaults.get("thresholds", {}).get("steps", ())
    return steps


def _mapped(value: float, defaults: Defaults) -> Mapping[str, Any] | None:
    for mapping in defaults.get("mappings", ()):
        found: Mapping[str, Any] | None = mapping["options"].get(f"{value:g}")
        if found is not None:
            return found
    return None


def _digits(value: float, decimals: int | None) -> int:
    """As many as asked for, else about three figures in all."""
    if decimals is not None:
        return decimals
    if value == int(value):
        return 0
    return 2 if abs(value) < 10 else 1


def _duration(value: float, decimals: int | None) -> str:
    if value == 0:
        return "0 s"
    for size, name in _DURATIONS:
        if abs(value) >= size or name == "µs":
            return f"{value / size:.{_digits(value / size, decimals)}f} {name}"
    raise AssertionError("the last unit takes whatever is left")


def _scaled(value: float, decimals: int | None, step: float, names: Sequence[str]) -> str:
    power = 0
    while abs(value) >= step and power < len(names) - 1:
        value, power = value / step, power + 1
    return f"{value:.{_digits(value, decimals)}f} {names[power]}"

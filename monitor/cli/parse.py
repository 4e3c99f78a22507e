"""What is typed as a month, an instant, a duration or a span, and what was meant where it is none of these."""

from __future__ import annotations

import re
from typing import Any

import click

from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US, SECOND_US, InstantError, parse_instant

_UNITS_US = {"ms": 1000, "s": SECOND_US, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US}
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)")


class MonthType(click.ParamType[str]):
    """A calendar month such as 2026-10, as text of exactly that form."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """The month, or a usage error."""
        from monitor.core.calendar import Month, MonthError

        try:
            return str(Month.parse(str(value)))
        except MonthError as error:
            self.fail(str(error), param, ctx)


class InstantType(click.ParamType[int]):
    """RFC 3339 with an offset, as microseconds UTC."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """The instant, or a usage error."""
        if isinstance(value, int):
            return value
        try:
            return parse_instant(str(value))
        except InstantError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType[int]):
    """A duration with its unit, such as 30s, 10m or 48h, as microseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """The duration, or a usage error."""
        if isinstance(value, int):
            return value
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"{str(value)!r} is no duration; write a number with its unit: 30s, 10m, 48h, 2d", param, ctx)
        return int(match[1]) * _UNITS_US[match[2]]


class SpanType(click.ParamType[tuple[int, int]]):
    """Two instants with a slash between them, as (start, end) in microseconds UTC."""

    name = "start/end"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[int, int]:
        """The span, or a usage error."""
        if isinstance(value, tuple):
            return value
        start, slash, end = str(value).partition("/")
        if not slash:
            self.fail(f"{str(value)!r} is no span; write START/END, each RFC 3339 with an offset", param, ctx)
        start_us, end_us = (INSTANT.convert(text, param, ctx) for text in (start, end))
        if end_us <= start_us:
            self.fail(f"{str(value)!r} ends before it starts", param, ctx)
        return start_us, end_us


MONTH = MonthType()
INSTANT = InstantType()
DURATION = DurationType()
SPAN = SpanType()

"""Months, instants, durations and spans as they are typed; what else is typed is told what was meant."""

from __future__ import annotations

import click
import pytest

from monitor.cli.parse import DURATION, INSTANT, MONTH, SPAN


def test_a_month() -> None:
    assert MONTH.convert("2026-10", None, None) == "2026-10"


@pytest.mark.parametrize(
    "text", ["2026-13", "2026-1", "10-2026", "october", "", "2026-10-01", "\uff12\uff10\uff12\uff16-10"]
)
def test_what_is_no_month_is_told_the_form(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"2026-|months 1 to 12"):
        MONTH.convert(text, None, None)


def test_an_instant() -> None:
    assert INSTANT.convert("1970-01-01T07:00:01.5+07:00", None, None) == 1_500_000


@pytest.mark.parametrize("text", ["2026-10-01", "2026-10-01T00:00:00", "now", "1775000000"])
def test_an_instant_needs_its_offset(text: str) -> None:
    with pytest.raises(click.BadParameter, match="RFC 3339"):
        INSTANT.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "duration_us"),
    [("30s", 30_000_000), ("10m", 600_000_000), ("48h", 172_800_000_000), ("250ms", 250_000), ("2d", 172_800_000_000)],
)
def test_a_duration(text: str, duration_us: int) -> None:
    assert DURATION.convert(text, None, None) == duration_us


@pytest.mark.parametrize("text", ["10", "s", "1.5h", "-3s", "10 m", "10w", "9" * 40 + "s"])
def test_a_duration_needs_its_unit(text: str) -> None:
    with pytest.raises(click.BadParameter, match="30s, 10m"):
        DURATION.convert(text, None, None)


def test_a_span() -> None:
    assert SPAN.convert("1970-01-01T00:00:00Z/1970-01-01T00:00:01Z", None, None) == (0, 1_000_000)


@pytest.mark.parametrize("text", ["1970-01-01T00:00:01Z/1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z", "a/b"])
def test_a_span_goes_forward(text: str) -> None:
    with pytest.raises(click.BadParameter):
        SPAN.convert(text, None, None)

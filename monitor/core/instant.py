"""Instants: integer microseconds since the Unix epoch, and their one written form (RFC 3339 with an offset)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,6})0*)?(?:([Zz])|([+-])(\d{2}):(\d{2}))",
    re.ASCII,
)


class InstantError(ValueError):
    """A text that is not an instant; the message says what was expected."""


def parse_instant(text: str) -> int:
    """Microseconds UTC of an RFC 3339 text with an offset; InstantError otherwise.

    More than six decimals are accepted only when the rest are zeros: nothing is rounded.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        msg = f"{text!r} is no instant; expected RFC 3339 with an offset, such as 2026-04-01T00:00:00+07:00"
        raise InstantError(msg)
    year, month, day, hour, minute, second, fraction, _zulu, sign, off_hours, off_minutes = match.groups()
    try:
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
        offset = timedelta(hours=int(off_hours or 0), minutes=int(off_minutes or 0))
        if int(off_minutes or 0) >= 60 or offset >= timedelta(hours=24):  # noqa: PLR2004 - minutes of an hour, hours of a day
            raise ValueError("offset out of range")  # noqa: TRY301 - told below as every other range
        whole = local + offset if sign == "-" else local - offset
    except (ValueError, OverflowError) as error:
        msg = f"{text!r} is no instant: {error}"
        raise InstantError(msg) from error
    return (whole - _EPOCH) // _MICROSECOND + int((fraction or "0").ljust(6, "0"))


def to_datetime(at_us: int, zone: tzinfo = UTC) -> datetime:
    """The aware datetime of `at_us` in `zone`."""
    return (_EPOCH + timedelta(microseconds=at_us)).astimezone(zone)


def from_datetime(moment: datetime) -> int:
    """Microseconds UTC of an aware datetime."""
    assert moment.tzinfo is not None, "an instant needs a zone"
    return (moment - _EPOCH) // _MICROSECOND


def format_instant(at_us: int, zone: tzinfo = UTC) -> str:
    """RFC 3339 in `zone`, `+00:00` for UTC, microseconds only where there are any."""
    return to_datetime(at_us, zone).isoformat()


def format_instant_us(at_us: int, zone: tzinfo = UTC) -> str:
    """RFC 3339 in `zone`, always with six decimals: the form of the interchange file."""
    return to_datetime(at_us, zone).isoformat(timespec="microseconds")


def format_seconds(duration_us: int) -> str:
    """A duration as a decimal string of seconds with six places, exactly: 2700000000 -> `2700.000000`."""
    sign = "-" if duration_us < 0 else ""
    whole, rest = divmod(abs(duration_us), SECOND_US)
    return f"{sign}{whole}.{rest:06d}"


def format_hms(duration_us: int) -> str:
    """`47:59:59`, with decimals only where there are any; hours may exceed two digits."""
    whole, rest = divmod(abs(duration_us), SECOND_US)
    hours, remainder = divmod(whole, 3600)
    minutes, seconds = divmod(remainder, 60)
    decimals = f".{rest:06d}" if rest else ""
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{decimals}"

"""Recurring maintenance as a rule (RFC 5545), expanded to instants when it is announced.

The rule is read in the contract's zone. What is recorded are instants, so that a later zone database moves no announced
window. A local time that a clock change skips is taken as if the change had not happened; of one that comes twice the
first is meant.
"""

from __future__ import annotations

from datetime import tzinfo

from dateutil.rrule import rrule, rrulestr

from monitor.core.instant import from_datetime, to_datetime
from monitor.core.span import Span

MAX_WINDOWS = 400
FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY")


class RecurrenceError(ValueError):
    """A rule that is not followed; says what was meant."""


def expand(rule: str, first: Span, zone: tzinfo) -> tuple[Span, ...]:
    """The windows of a rule whose first window is `first`, in `zone`; RecurrenceError where it has no end.

    `rule` is what stands after `RRULE:`, such as `FREQ=WEEKLY;BYDAY=SU;COUNT=4`. Every window keeps the length of the
    first one in instants.
    """
    parts = dict(part.partition("=")[::2] for part in rule.upper().removeprefix("RRULE:").split(";"))
    if parts.get("FREQ") not in FREQUENCIES:
        msg = f"{rule!r}: FREQ must be one of {', '.join(FREQUENCIES)}"
        raise RecurrenceError(msg)
    if not {"COUNT", "UNTIL"} & parts.keys():
        msg = f"{rule!r} has no end: give COUNT=… or UNTIL=…"
        raise RecurrenceError(msg)
    begins = to_datetime(first.start_us, zone).replace(tzinfo=None)
    try:
        found = rrulestr(rule.upper().removeprefix("RRULE:"), dtstart=begins)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{rule!r} is no recurrence rule (RFC 5545): {error}"
        raise RecurrenceError(msg) from error
    assert isinstance(found, rrule), "one rule gives one rrule"
    windows: list[Span] = []
    for number, local in enumerate(found):
        if number >= MAX_WINDOWS:
            msg = f"{rule!r} gives more than {MAX_WINDOWS} windows; announce fewer at a time"
            raise RecurrenceError(msg)
        start_us = from_datetime(local.replace(tzinfo=zone))
        windows.append(Span(start_us, start_us + first.length_us))
    if not windows:
        msg = f"{rule!r} gives no window"
        raise RecurrenceError(msg)
    return tuple(windows)

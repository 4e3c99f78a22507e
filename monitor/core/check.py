"""The list of SLA checks of a service that is in force, and what it fixes (CONTRACT 2.1.6, 2.3)."""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


class Network(enum.StrEnum):
    """From where a check reaches the service: the public internet (the default) or the provider's own network."""

    PUBLIC = "public"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One synthetic transaction that counts for the SLA. `attempts` is part of what was adopted (CONTRACT 2.1.2)."""

    id: str
    network: Network = Network.PUBLIC
    attempts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckList:
    """The SLA checks of `service` in force from `at_us` until the next list; never backwards (CONTRACT 2.3)."""

    service: str
    at_us: int
    interval_us: int
    timeout_us: int
    stale_after_us: int
    checks: tuple[Check, ...]


def default_stale_after_us(interval_us: int, timeout_us: int) -> int:
    """`3 * interval + timeout` (CONTRACT 2.2)."""
    return 3 * interval_us + timeout_us


def list_in_force(lists: Sequence[CheckList], at_us: int) -> CheckList | None:
    """The list in force at `at_us` among lists ordered by `at_us`; None before the first.

    Of two lists of one instant the later in the sequence holds.
    """
    if lists and lists[-1].at_us <= at_us:
        return lists[-1]  # nearly always
    index = bisect_right(lists, at_us, key=lambda entry: entry.at_us)
    return lists[index - 1] if index else None

"""What the agreement promises for incidents: targets by priority, and who owns which level of escalation (CONTRACT 2.1,
4.1, 4.2). The values here are the agreement's own; a deployment's terms may say others.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from monitor.core.instant import HOUR_US


class Priority(enum.StrEnum):
    """How much of the business stands still: critical, medium, low."""

    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class Served(enum.StrEnum):
    """The hours on which a target is counted."""

    AROUND = "24x7"
    BUSINESS = "business"


class ClockName(enum.StrEnum):
    """The two clocks of a pair."""

    RESPONSE = "response"
    RESOLUTION = "resolution"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is promised at one priority, in microseconds of its hours. A business day is 8 business hours.

    `resolution_us` None: the next release cycle, no clock. `escalate_at` percent of the resolution time without a
    workaround make level 2; so do `level_2_after_us` of it, and `level_3_after_us` unresolved make level 3 (None: not).
    """

    response_us: int
    resolution_us: int | None
    hours: Served
    escalate_at: Fraction = Fraction(75)
    level_2_after_us: int | None = None
    level_3_after_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Whom a level of escalation is addressed to, and over which channels."""

    owners: tuple[str, ...]
    channels: tuple[str, ...] = ("log",)


LEVELS = (1, 2, 3)

AGREED_TARGETS: Mapping[Priority, Target] = MappingProxyType(
    {
        Priority.P1: Target(
            response_us=HOUR_US,
            resolution_us=8 * HOUR_US,
            hours=Served.AROUND,
            level_2_after_us=4 * HOUR_US,
            level_3_after_us=8 * HOUR_US,
        ),
        Priority.P2: Target(response_us=4 * HOUR_US, resolution_us=24 * HOUR_US, hours=Served.BUSINESS),
        Priority.P3: Target(response_us=8 * HOUR_US, resolution_us=None, hours=Served.BUSINESS),
    },
)
AGREED_LEVELS: Mapping[int, Level] = MappingProxyType(
    {
        1: Level(owners=("technical-support",)),
        2: Level(owners=("escalation-manager",)),
        3: Level(owners=("management",)),
    },
)

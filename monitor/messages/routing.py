"""Which messages go over which channel, and when messages are sent: what the configuration says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from monitor.core.priority import Priority
from monitor.messages import FOR_OPERATORS, FOR_PARTNERS, Kind, Severity, severity_of
from monitor.messages.links import Links

OPERATORS = "operators"
EVERY_PARTNER = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which messages go over a channel: to those who run the services, or (`partners`) to partners' contacts."""

    channel: str
    partners: tuple[str, ...] = ()
    services: frozenset[str] = frozenset()
    kinds: frozenset[Kind] = frozenset()
    severity: Severity = Severity.INFO

    def takes(self, kind: Kind, services: Iterable[str]) -> bool:
        """Whether a kind of message about services goes over it."""
        usual = FOR_PARTNERS if self.partners else FOR_OPERATORS
        return (
            kind in (self.kinds or usual)
            and kind in usual
            and severity_of(kind).rank >= self.severity.rank
            and (not self.services or not self.services.isdisjoint(services))
        )

    def is_for(self, partner: str | None) -> bool:
        """Whether it is for a partner, or (None) for those who run the services."""
        if partner is None:
            return not self.partners
        return EVERY_PARTNER in self.partners or partner in self.partners


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """When messages are sent, and what alerts link to."""

    recover_after_us: int = 60 * SECOND_US
    remind_us: Mapping[Priority, int] = field(
        default_factory=lambda: {Priority.P1: 30 * MINUTE_US, Priority.P2: 2 * HOUR_US}
    )
    blind_after_us: int = 5 * MINUTE_US
    before_maintenance_us: int = DAY_US
    before_deadline_us: int = 7 * DAY_US
    links: Links = field(default_factory=Links)

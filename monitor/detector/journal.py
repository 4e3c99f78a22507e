"""What was told, over restarts, and what is about to be: the state behind the messages of a ledger."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.core.instant import format_instant
from monitor.messages import Kind, bounded
from monitor.messages.routing import OPERATORS, Route
from monitor.storage import OutboxRow


@dataclass(slots=True)
class Episode:
    """A service's trouble as it is told: from its first outage until it was well for long enough."""

    outage: str
    since_us: int
    told_us: int | None = None
    held: bool = False
    ended_us: int | None = None
    count: int = 1
    unstable: bool = False
    reminders: int = 0


@dataclass(slots=True)
class Journal:
    """The troubles that were told, the windows and claims that time has still something to say of, the rows of a turn.

    `seq` is the last entry that was looked at; `changed` whether anything here is not yet what is kept.
    """

    routes: Sequence[Route] = ()
    seq: int = 0
    episodes: dict[str, Episode] = field(default_factory=dict)
    windows: dict[str, list[str]] = field(default_factory=dict)
    claims: dict[str, int] = field(default_factory=dict)
    blind_us: int | None = None
    suppressed: Count[str] = field(default_factory=Count)
    rows: list[OutboxRow] = field(default_factory=list)
    changed: bool = False

    def load(self, kept: Mapping[str, Any]) -> None:
        """Go on from what was kept."""
        self.seq, self.rows, self.changed = kept["seq"], [], False
        self.episodes = {service: Episode(**episode) for service, episode in kept["episodes"].items()}
        self.windows = {window: list(told) for window, told in kept["windows"].items()}
        self.claims, self.blind_us = dict(kept["claims"]), kept["blind_us"]
        self.suppressed = Count(kept["suppressed"])

    def document(self) -> dict[str, Any]:
        """As it is kept over restarts."""
        return {
            "seq": self.seq,
            "episodes": {
                service: {name: getattr(episode, name) for name in Episode.__slots__}
                for service, episode in self.episodes.items()
            },
            "windows": self.windows,
            "claims": self.claims,
            "blind_us": self.blind_us,
            "suppressed": dict(self.suppressed),
        }

    def suppress(self, reason: str) -> None:
        """A message was held back."""
        self.suppressed[reason] += 1
        self.changed = True

    def tell(
        self,
        kind: Kind,
        name: str,
        fields: Mapping[str, Any],
        *,
        about: str,
        services: Iterable[str],
        partner: str | None,
        at_us: int,
    ) -> None:
        """Queue a message for a partner, or (None) for those who run the services, over every channel that takes it."""
        services = tuple(services)
        for route in self.routes:
            if not route.takes(kind, services) or not route.is_for(partner):
                continue
            own = {} if partner is None else {"partner": partner}
            key = f"{about}/{name}/{route.channel}" + ("" if partner is None else f"/{partner}")
            to = OPERATORS if partner is None else partner
            payload = bounded({**fields, **own, "about": about, "to": to, "at": format_instant(at_us)})
            row = OutboxRow(key=key, channel=route.channel, kind=kind.value, payload=payload, at_us=at_us)
            self.rows.append(row)

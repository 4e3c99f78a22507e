"""A dead man's switch: somebody else is told regularly that the monitor lives, and raises the alarm when it is not.

It is silent where the daemon is not well, as silence is what the other side listens for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from monitor.notify import Alert, DeliveryError, Secret
from monitor.notify._http import post


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatLevel:
    """Asks for `url` as long as `not_well` answers None; the reason why not otherwise."""

    url: str = field(repr=False)
    look_up: Secret
    not_well: Callable[[], str | None]
    method: str = "POST"

    async def sync(self, active: Sequence[Alert], now_us: int) -> None:  # noqa: ARG002 - alive, whatever is wrong elsewhere
        """Beat once."""
        why = self.not_well()
        if why is not None:
            raise DeliveryError(f"no beat is sent: {why}", retryable=True)
        try:
            url = self.look_up(self.url)
        except LookupError as error:
            raise DeliveryError(str(error), retryable=False) from None
        await post(url, b"", {"User-Agent": "jaga"}, method=self.method)

"""What receivers answer, made safe before anybody keeps or shows it: some say back what they were told.

Receipts are entries of the ledger and errors stand in lists and logs, for ever: no address, login or key of a channel
may be in them. Each channel knows its own values only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from monitor.notify import Alert, Channel, DeliveryError, Level, Message, Receipt
from monitor.telemetry.scrubbing import Scrubber
from probes.template import Reference, parse

MAX_TEXT = 240
"""It is cut after it was made safe: half a secret is not recognised any more."""

SHORTEST_PATH = 8
"""A path of an address that is at least so long may be a key itself, as many services have it."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """What one channel was told in confidence: every text that it looked up, and every secret in it."""

    secret: Callable[[str], str]
    _scrubber: Scrubber = field(default_factory=Scrubber)

    def look_up(self, text: str) -> str:
        """A setting's text with its references looked up, remembered; LookupError where one is not there."""
        told = ""
        for part in parse(text):
            value = self.secret(part.name) if isinstance(part, Reference) else str(part)
            if isinstance(part, Reference):
                self._scrubber.remember(value)
            told += value
        self._remember(told)
        return told

    def safe(self, text: str) -> str:
        """A text without any of it, of at most MAX_TEXT characters."""
        said = self._scrubber.scrub(text)
        return said if len(said) <= MAX_TEXT else f"{said[: MAX_TEXT - 1]}…"

    def _remember(self, told: str) -> None:
        if "://" not in told:
            self._scrubber.remember(told)
            return
        try:
            parts = urlsplit(told)
        except ValueError:
            return
        place = parts.path + (f"?{parts.query}" if parts.query else "")
        for text in (parts.password or "", parts.query, parts.path, place):
            if len(text) >= SHORTEST_PATH or text == parts.password:
                self._scrubber.remember(text)


@dataclass(frozen=True, slots=True)
class DiscreetChannel:
    """A channel whose receipts and errors hold nothing that it was told in confidence."""

    channel: Channel
    confidence: Confidence

    async def deliver(self, message: Message) -> Receipt:
        """As the channel does."""
        try:
            receipt = await self.channel.deliver(message)
        except DeliveryError as error:
            raise _safe(error, self.confidence) from None
        return Receipt(text=self.confidence.safe(receipt.text))


@dataclass(frozen=True, slots=True)
class DiscreetLevel:
    """A level whose errors hold nothing that it was told in confidence."""

    level: Level
    confidence: Confidence

    async def sync(self, active: Sequence[Alert], now_us: int) -> None:
        """As the level does."""
        try:
            await self.level.sync(active, now_us)
        except DeliveryError as error:
            raise _safe(error, self.confidence) from None


def _safe(error: DeliveryError, confidence: Confidence) -> DeliveryError:
    said = confidence.safe(str(error))
    return DeliveryError(said, retryable=error.retryable, retry_after_us=error.retry_after_us)

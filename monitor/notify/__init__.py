"""The seam of a channel: a message goes out, a receipt comes back. One channel per file, none knows another.

Retry, order and what is recorded are the dispatcher's. A message may come twice, after a crash between its acceptance
and the record of it: its key is the same then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class DeliveryError(Exception):
    """The channel did not take the message; `retryable` where another attempt may."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is told: `kind` says what it is about, `to` whom it is for, `payload` the rest."""

    key: str
    kind: str
    to: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """That a channel took a message, in its own words."""

    text: str


class Channel(Protocol):
    """One way to tell somebody something."""

    async def deliver(self, message: Message) -> Receipt:
        """Hand a message over; DeliveryError where it is not taken."""

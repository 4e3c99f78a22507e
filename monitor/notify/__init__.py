"""The seam of a channel: a message goes out, a receipt comes back. One channel per file, none knows another.

Two shapes (DESIGN): `deliver` hands over one message of the outbox, at least once; `sync` states a level, what is
wrong now, and needs no outbox. Retry, order and what is recorded are the dispatcher's. A message may come twice, after
a crash between its acceptance and the record of it: its key is the same then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from monitor.core.instant import SECOND_US

LOG = "log"
"""The channel that is always there (`monitor.notify.log`)."""

DELIVERY_TIMEOUT_S = 20.0
"""One attempt takes at most this long: a channel that hangs is a channel that failed."""

MAX_RETRY_AFTER_US = 3600 * SECOND_US
"""What a receiver asks for beyond it is cut to it."""

Secret = Callable[[str], str]
"""The value of a setting's text with its references (`${NAME}`) looked up; LookupError where one is not there."""


class DeliveryError(Exception):
    """The channel did not take the message; `retryable` where another attempt may, `retry_after_us` where it said when.

    The message names the receiver's answer, never an address with a login or a secret.
    """

    def __init__(self, message: str, *, retryable: bool, retry_after_us: int | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_us = None if retry_after_us is None else min(max(retry_after_us, 0), MAX_RETRY_AFTER_US)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is told: `kind` says what it is about, `to` whom it is for, `payload` its fields as JSON has them.

    `subject` and `text` are the fields in words, in the channel's language.
    """

    key: str
    kind: str
    to: str
    payload: Mapping[str, Any]
    subject: str = ""
    text: str = ""
    lang: str = "en"
    severity: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """That a channel took a message, in its own words."""

    text: str


class Channel(Protocol):
    """One way to tell somebody something."""

    async def deliver(self, message: Message) -> Receipt:
        """Hand a message over; DeliveryError where it is not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that is wrong now. `labels` are stable for as long as it is, figures stand in `annotations`."""

    labels: Mapping[str, str]
    since_us: int
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[tuple[str, str], ...]:
        """What makes two statements ones of the same alert."""
        return tuple(sorted(self.labels.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Maintenance of a service that qualifies for every partner: alerts about it may be silent in `[start, end)`."""

    service: str
    start_us: int
    end_us: int


class Level(Protocol):
    """One way to state what is wrong now, again and again."""

    async def sync(self, active: Sequence[Alert], now_us: int) -> None:
        """State everything that is wrong at `now_us`; DeliveryError where nobody took it."""

"""The generic webhook: a message as versioned JSON, signed with HMAC, with its idempotency key.

A receiver checks `Jaga-Signature: t=<unix seconds>,v1=<hex>`: HMAC-SHA256 under the shared secret over `<t>.<body>`.
The time is signed with it, so that an old delivery cannot be played again for ever; the key in `Idempotency-Key` is the
same in every attempt.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson

from monitor.core.instant import SECOND_US
from monitor.notify import DeliveryError, Message, Receipt, Secret
from monitor.notify._http import post

SCHEMA = "jaga-message/1"
RECEIPT_CHARACTERS = 2000  # it is cut where it is made safe


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChannel:
    """POSTs each message to `url`. `secret` signs it; without one it goes unsigned. Texts may hold references."""

    url: str = field(repr=False)
    now_us: Callable[[], int]
    look_up: Secret
    secret: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    async def deliver(self, message: Message) -> Receipt:
        """Send it once; the receipt is the receiver's status and what it said."""
        body = document(message)
        try:
            url = self.look_up(self.url)
            headers = {name: self.look_up(value) for name, value in self.headers.items()}
            if self.secret is not None:
                headers["Jaga-Signature"] = signature(self.look_up(self.secret), self.now_us() // SECOND_US, body)
        except LookupError as error:
            raise DeliveryError(str(error), retryable=False) from None
        headers |= {"Content-Type": "application/json", "User-Agent": "jaga", "Idempotency-Key": message.key}
        answer = await post(url, body, headers)
        said = " ".join(answer.text.split())[:RECEIPT_CHARACTERS]
        return Receipt(text=f"{answer.status} {said}".strip())


def document(message: Message) -> bytes:
    """The JSON of a message: its fields, and what they say in words."""
    return orjson.dumps(
        {
            **message.payload,
            "schema": SCHEMA,
            "key": message.key,
            "kind": message.kind,
            "severity": message.severity,
            "to": message.to,
            "lang": message.lang,
            "subject": message.subject,
            "text": message.text,
        }
    )


def signature(secret: str, at_s: int, body: bytes) -> str:
    """`t=…,v1=…` over the body at an instant."""
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"

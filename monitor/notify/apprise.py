"""Everything that apprise knows: Telegram, Slack, Teams, Discord, PagerDuty, WhatsApp, ntfy and many more, by its URLs.

Apprise is an extra (`jaga[notify]`) that is imported when such a channel first has something to say, in a thread, as
its first address alone loads all its plug-ins (0.9 s). Its addresses hold tokens: they are never shown, nor is anything
that apprise itself would log.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.notify import DELIVERY_TIMEOUT_S, DeliveryError, Message, Receipt, Secret

LIBRARY = "apprise"
_TYPES = {"page": "failure", "ticket": "warning", "info": "info"}


@dataclass(slots=True, kw_only=True)
class AppriseChannel:
    """Hands each message to all of `urls`, which may hold references; taken where every one of them took it."""

    urls: Sequence[str] = field(repr=False)
    look_up: Secret
    _notifier: Any = field(default=None, repr=False)

    async def deliver(self, message: Message) -> Receipt:
        """Send it once over each address."""
        try:
            async with asyncio.timeout(DELIVERY_TIMEOUT_S):
                return await asyncio.to_thread(self._send, message)
        except TimeoutError:
            raise DeliveryError(f"apprise was not done in {DELIVERY_TIMEOUT_S:g} s", retryable=True) from None

    def _send(self, message: Message) -> Receipt:
        if self._notifier is None:
            self._notifier = self._made()
        kind = _TYPES.get(message.severity, "info")
        done = self._notifier.notify(body=message.text, title=message.subject, notify_type=kind, body_format="text")
        if not done:
            raise DeliveryError(
                f"apprise could not deliver it over all of its {len(self.urls)} addresses", retryable=True
            )
        return Receipt(text=f"apprise: taken over {len(self.urls)} addresses")

    def _made(self) -> Any:  # noqa: ANN401 - apprise's own class, which is imported only here
        try:
            library = importlib.import_module(LIBRARY)
        except ImportError:
            raise DeliveryError("apprise is not installed: install jaga[notify]", retryable=False) from None
        logging.getLogger(LIBRARY).disabled = True  # it would log addresses
        made = library.Apprise()
        for number, url in enumerate(self.urls, 1):
            try:
                known = made.add(self.look_up(url))
            except LookupError as error:
                raise DeliveryError(str(error), retryable=False) from None
            if not known:
                raise DeliveryError(f"apprise cannot read its address number {number}", retryable=False)
        return made

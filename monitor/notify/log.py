"""The channel that is always there: the daemon's own log, one line a message, with its key."""

from __future__ import annotations

import structlog

from monitor.notify import Message, Receipt

_log = structlog.get_logger("jaga.notify")


class LogChannel:
    """Delivers to the log at level warning: an operator reads it there, or has it forwarded."""

    async def deliver(self, message: Message) -> Receipt:
        """Log the message."""
        said = {name: value for name, value in message.payload.items() if value not in (None, [], "")}
        _log.warning("message", key=message.key, kind=message.kind, to=message.to, subject=message.subject, said=said)
        return Receipt(text="logged")

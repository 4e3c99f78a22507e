"""The channel that is always there: the daemon's own log, one line a message, with its key."""

from __future__ import annotations

import structlog

from monitor.notify import Message, Receipt

NAME = "log"

# What a log line says of itself; a payload's own words by these names stand behind `message_`.
_TAKEN = frozenset({"event", "level", "time", "logger", "exc_info", "stack_info", "key", "kind", "subject"})

_log = structlog.get_logger("jaga.notify")


class LogChannel:
    """Delivers to the log at level warning: an operator reads it there, or has it forwarded."""

    async def deliver(self, message: Message) -> Receipt:
        """Log the message."""
        said = {
            f"message_{name}" if name in _TAKEN else name: value
            for name, value in message.payload.items()
            if value not in (None, [], "")
        }
        _log.warning("message", key=message.key, kind=message.kind, subject=message.subject, **said)
        return Receipt(text="logged")

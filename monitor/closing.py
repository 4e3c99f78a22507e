"""Closes each month by itself, once its grace period is over and nothing is left to adjudicate (CONTRACT 2.7).

It only asks: whether a month may close is decided by the ledger, in the transaction that closes it. A crash between two
closes loses nothing; what is closed is not closed again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from monitor.clock import Clock, pause
from monitor.core.calendar import Month
from monitor.core.instant import MINUTE_US
from monitor.ledger.act import Done
from monitor.ledger.command import CloseMonth
from monitor.ledger.decide import Refused

EVERY_US = 10 * MINUTE_US
"""How often it looks; a month closes at most this long after it may."""

_log = structlog.get_logger("jaga.closing")


@dataclass(slots=True)
class Closing:
    """Asks for the close of every month that may close. `due` says which; `close` carries one out."""

    clock: Clock
    due: Callable[[], Awaitable[Iterable[tuple[Month, str, str]]]]
    close: Callable[[CloseMonth], Awaitable[Done | Refused]]

    async def run(self) -> None:
        """Look now and every ten minutes; never returns."""
        while True:
            await self.once()
            await pause(self.clock, EVERY_US)

    async def once(self) -> int:
        """Close what may close now; how many months were closed."""
        closed = 0
        for month, partner, service in await self.due():
            outcome = await self.close(CloseMonth(partner=partner, service=service, month=str(month)))
            if isinstance(outcome, Done):
                closed += 1
                _log.info(
                    "month closed", month=str(month), partner=partner, service=service, said=list(outcome.remarks)
                )
            else:
                _log.warning("month not closed", month=str(month), partner=partner, service=service, why=outcome.reason)
        return closed

"""Tells the service manager how the daemon is, and that it lives: only as long as its schedule goes on."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from monitor.clock import Clock, Timer
from monitor.core.instant import SECOND_US
from monitor.sdnotify import Notifier

BEATS_PER_DEADLINE = 4
"""One beat that comes late, or is lost on its way, must not cost the daemon its life."""

STATUS_EVERY_US = 10 * SECOND_US
"""How often the line for people is looked at where there is no watchdog."""

_log = structlog.get_logger("jaga.app")


class Heart:
    """Beats on the loop's own timers, so a loop that stands still is silent.

    `behind_us` says how long a slot has been due without anything having been done about it: a schedule that stands
    still while the loop turns is silence too. `why_not` gives the reason why the daemon is not ready, None if it is.
    """

    def __init__(
        self, notifier: Notifier, clock: Clock, *, behind_us: Callable[[], int], why_not: Callable[[], str | None]
    ) -> None:
        self._notifier = notifier
        self._clock = clock
        self._behind_us = behind_us
        self._why_not = why_not
        self._timer: Timer | None = None
        self._said = ""
        self._unheard = False
        self._withheld = False

    def ready(self) -> None:
        """The start is over: say so, and begin to beat."""
        if self._notifier.address is None:
            return
        self._heard(self._notifier.ready())
        self._beat()

    def stopping(self) -> None:
        """The daemon stops: the last beat was the last."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heard(self._notifier.stopping())

    def reloading(self) -> None:
        """A reload begins; `reloaded` must follow, however it ends."""
        self._heard(self._notifier.reloading(self._clock.now_ns() // 1000))

    def reloaded(self) -> None:
        """The reload is over, done or refused."""
        self._heard(self._notifier.ready())

    def _beat(self) -> None:
        deadline_us = self._notifier.watchdog_interval_us
        if deadline_us is not None:
            self._live(deadline_us)
        self._say(self._why_not() or "watching")
        pause_us = STATUS_EVERY_US if deadline_us is None else max(deadline_us // BEATS_PER_DEADLINE, 1)
        self._timer = self._clock.call_after(pause_us, self._beat)

    def _live(self, deadline_us: int) -> None:
        behind_us = self._behind_us()
        withheld = behind_us > deadline_us // 2
        if not withheld:
            self._heard(self._notifier.watchdog())
        elif not self._withheld:
            _log.error("schedule stands still", behind_us=behind_us)
        self._withheld = withheld

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            self._heard(self._notifier.status(line))

    def _heard(self, why_not: str | None) -> None:
        """Logged when it begins, not at every beat."""
        if why_not is not None and not self._unheard:
            _log.warning("service manager not told", reason=why_not)
        self._unheard = why_not is not None

"""The demo's story: what breaks when, told while the same daemon as `jaga run` watches it happen.

Nothing here knows how verdicts are made: the story moves the sample's control and announces windows, and shows what the
ledger says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from monitor.core.calendar import Month
from monitor.core.instant import SECOND_US
from monitor.core.month import Figures
from monitor.demo.saas import Mode, Saas
from monitor.demo.settings import NOTICE_US, PARTNER, SERVICE
from monitor.ledger.command import AnnounceMaintenance, Command, Notified
from monitor.ledger.standing import ServiceStanding

# How long each act lasts. Together under 90 s; the counted downtime must exceed what 99.999 % of 31 days allow, 26.8 s.
HEALTHY_S = 7
HALF_S = 8
DOWN_S = 19
WINDOW_S = 11
LATE_S = 15
RECOVERY_S = 5
# The work in a window begins and ends inside it: evidence stands from one run to the next.
INSIDE_S = 3
LATE_NOTICE_S = 3
LOOK_EVERY_US = SECOND_US // 4
FIRST_VERDICT_WITHIN_S = 30


class Clock(Protocol):
    """The daemon's clock."""

    def now_us(self) -> int:
        """Microseconds UTC."""

    async def wait_until(self, at_us: int) -> None:
        """Return at the instant or after it."""


class View(Protocol):
    """Shows the story as it goes."""

    def act(self, title: str, text: str) -> None:
        """A new act begins."""

    def show(self, standing: ServiceStanding, window: str | None) -> None:
        """How the service stands now."""


class DemoError(Exception):
    """The story cannot be told; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the story plays on: the sample, and the running daemon's own doors.

    `standings` asks the ledger; `decide` records a decision through the daemon and gives its remarks, or raises
    DemoError with the refusal.
    """

    saas: Saas
    clock: Clock
    month: Callable[[int], Month]
    standings: Callable[[], Awaitable[Sequence[ServiceStanding]]]
    decide: Callable[[Command], Awaitable[Sequence[str]]]


class Story:
    """The acts, in order."""

    def __init__(self, stage: Stage, view: View) -> None:
        self._stage = stage
        self._view = view
        self._window: str | None = None

    async def tell(self) -> tuple[Month, ...]:
        """Play all acts; the months they touched (two only around a month's end)."""
        began = self._stage.month(self._stage.clock.now_us())
        await self._first_verdict()
        await self._healthy()
        await self._half()
        await self._down()
        await self._announced_in_time()
        await self._announced_too_late()
        await self._recovery()
        ended = self._stage.month(self._stage.clock.now_us())
        return tuple(dict.fromkeys((began, ended)))

    async def _first_verdict(self) -> None:
        self._view.act("The daemon starts", "Four transactions, each once a second, staggered. Waiting for a verdict.")
        until_us = self._stage.clock.now_us() + FIRST_VERDICT_WITHIN_S * SECOND_US
        while self._stage.clock.now_us() < until_us:
            standing = await self._look()
            if standing is not None and not standing.standing.unknown:
                return
            await self._stage.clock.wait_until(self._stage.clock.now_us() + LOOK_EVERY_US)
        raise DemoError(f"no verdict within {FIRST_VERDICT_WITHIN_S} s: this machine is too busy for the demo")

    async def _healthy(self) -> None:
        await self._play("Healthy", "All four transactions pass.", Mode.HEALTHY, HEALTHY_S)

    async def _half(self) -> None:
        text = "The server list comes back empty, orders are refused. Two of four fail: that is not more than half."
        await self._play("Exactly half fails", text, Mode.HALF, HALF_S)

    async def _down(self) -> None:
        text = "Now health fails as well: three of four, more than half. The contract calls that downtime."
        await self._play("More than half fails", text, Mode.MOST, DOWN_S)

    async def _announced_in_time(self) -> None:
        lead_s = NOTICE_US // SECOND_US + 1
        start_us = await self._announce("database upgrade", lead_s, WINDOW_S)
        text = f"Maintenance announced {lead_s} s ahead, 10 s are needed. Meanwhile all is well."
        await self._play("Recovered; maintenance announced in time", text, Mode.HEALTHY, until_us=start_us)
        text = "Everything is switched off inside the window. Down, but excluded: it will not count."
        end_us = start_us + WINDOW_S * SECOND_US
        await self._play("The window that qualifies", text, Mode.ALL, until_us=end_us - INSIDE_S * SECOND_US)
        text = "Mended before the window ends."
        await self._play("Work finished in time", text, Mode.HEALTHY, until_us=end_us + SECOND_US)

    async def _announced_too_late(self) -> None:
        start_us = await self._announce("urgent patch", LATE_NOTICE_S, LATE_S + LATE_NOTICE_S)
        text = f"Another window, announced only {LATE_NOTICE_S} s ahead: too late to qualify."
        await self._play("Maintenance announced too late", text, Mode.HEALTHY, until_us=start_us)
        text = "Everything is switched off inside this window too. It counts."
        end_us = start_us + LATE_S * SECOND_US
        await self._play("The window that does not qualify", text, Mode.ALL, until_us=end_us)

    async def _recovery(self) -> None:
        await self._play("Recovery", "All four transactions pass again.", Mode.HEALTHY, RECOVERY_S)

    async def _announce(self, summary: str, lead_s: int, length_s: int) -> int:
        """Announce a window with the partner's notice; its start."""
        now_us = self._stage.clock.now_us()
        start_us = now_us + lead_s * SECOND_US
        notified = Notified(partner=PARTNER, at_us=now_us, channel="demo", evidence="the demo told the partner")
        command = AnnounceMaintenance(
            services=(SERVICE,),
            start_us=start_us,
            end_us=start_us + length_s * SECOND_US,
            summary=summary,
            notified=(notified,),
        )
        remarks = await self._stage.decide(command)
        self._window = f"{summary}: {remarks[0]}" if remarks else f"{summary}: announced in time"
        return start_us

    async def _play(
        self,
        title: str,
        text: str,
        mode: Mode,
        for_s: int = 0,
        *,
        until_us: int | None = None,
    ) -> None:
        """Set the sample's mode and watch, for some seconds or until an instant."""
        clock = self._stage.clock
        self._view.act(title, text)
        self._stage.saas.set_mode(mode)
        end_us = clock.now_us() + for_s * SECOND_US if until_us is None else until_us
        while clock.now_us() < end_us:
            await self._look()
            await clock.wait_until(min(end_us, clock.now_us() + LOOK_EVERY_US))

    async def _look(self) -> ServiceStanding | None:
        for standing in await self._stage.standings():
            if standing.service == SERVICE:
                self._view.show(standing, self._window)
                return standing
        return None


def month_so_far(standing: ServiceStanding) -> Figures | None:
    """The running month of the demo's partner."""
    return next((figures for figures in standing.current if figures.partner == PARTNER), None)

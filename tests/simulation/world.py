"""A world for the composed daemon on virtual time: a real aiohttp target that breaks on a script, a real SQLite file.

What the target did is written down by the target itself, so that an oracle can judge without the evaluator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from aiohttp import web

from monitor.app import Daemon, compose
from monitor.clock import Sync
from monitor.config import CheckSettings, ServiceSettings, Settings
from monitor.core.check import Network, default_stale_after_us
from monitor.core.terms import Fee, Subscription, Terms, Tier
from monitor.plan import Plan
from monitor.scheduler import Scheduled, staggered
from probes import transaction
from tests.simulation.loop import SimulatedClock, VirtualLoop

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
# 1 April 2026, 00:00 in Jakarta: the first instant of a month.
START_US = 1_774_976_400 * SECOND
SERVICE = "portal"
PARTNER = "acme"


@dataclass(slots=True)
class Target:
    """Answers `/0`, `/1`, … each with 200, but for those that the script breaks at the time of the request."""

    clock: SimulatedClock
    script: Sequence[tuple[int, int, frozenset[int]]] = ()
    port: int = 0
    requests: int = 0
    hang: frozenset[int] = frozenset()
    delays_s: dict[int, float] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    def broken(self, at_us: int) -> frozenset[int]:
        """Which paths are broken at an instant."""
        return frozenset().union(*(paths for start_us, end_us, paths in self.script if start_us <= at_us < end_us))

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/{number}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        number = int(request.match_info["number"])
        if number in self.hang:
            await asyncio.sleep(3600)
        if number in self.delays_s:
            await asyncio.sleep(self.delays_s[number])
        down = number in self.broken(self.clock.now_us())
        return web.Response(status=503 if down else 200, text="broken" if down else "ok")


@dataclass(slots=True)
class World:
    """One ledger file and one target; daemons come and go."""

    folder: Path
    loop: VirtualLoop
    clock: SimulatedClock
    target: Target
    checks: int = 3
    interval_us: int = MINUTE
    timeout_us: int = 5 * SECOND
    daemons: list[Daemon] = field(default_factory=list)

    @staticmethod
    def make(folder: Path, loop: VirtualLoop, start_us: int = START_US, **options: Any) -> World:  # noqa: ANN401
        clock = SimulatedClock(loop, start_us)
        return World(folder, loop, clock, Target(clock), **options)

    def settings(self, **changed: Any) -> Settings:  # noqa: ANN401 - fields of Settings
        checks = tuple(
            CheckSettings(
                id=f"c{number}",
                name=f"Check {number}",
                transaction=transaction.parse({"http": {"get": f"http://127.0.0.1:{self.target.port}/{number}"}}),
                network=Network.PUBLIC,
                sla=True,
                attempts=2,
                timeout_us=self.timeout_us,
                interval_us=self.interval_us,
            )
            for number in range(self.checks)
        )
        service = ServiceSettings(
            id=SERVICE,
            name="Portal",
            interval_us=self.interval_us,
            timeout_us=self.timeout_us,
            stale_after_us=self.stale_after_us,
            checks=checks,
        )
        values: dict[str, Any] = {
            "store": "sqlite:///ledger.db",
            "base": self.folder,
            "location": "jkt-1",
            "controls": (),
            "listen": ("127.0.0.1", 0),
            "expose_money": False,
            "terms": (TERMS,),
            "services": (service,),
            "subscriptions": (SUBSCRIPTION,),
            "partner_names": ((PARTNER, "Acme"),),
        }
        return Settings(**(values | changed))

    @property
    def stale_after_us(self) -> int:
        return default_stale_after_us(self.interval_us, self.timeout_us)

    async def daemon(self, *, sync: Sync | None = None, **changed: Any) -> Daemon:  # noqa: ANN401 - fields of Settings
        """Compose and start one on this world's ledger; `sync` is what the kernel says of its clock (None: nothing)."""
        told = sync or Sync(synchronised=None)
        daemon = compose(self.settings(**changed), clock=self.clock, sync=lambda: told, threads=False)
        daemon._places = lambda options: in_step(options.plans)  # type: ignore[method-assign]
        self.daemons.append(daemon)
        await daemon.start()
        # What a machine loses that loses its power is no part of these worlds, and each commit would wait for its disk.
        daemon.store._writer.raw_connection().cursor().execute("PRAGMA synchronous = OFF")
        return daemon

    def play(self, story: Callable[[World], Awaitable[None]]) -> None:
        """Run a story to its end, the target up all the time."""

        async def run() -> None:
            await self.target.start()
            try:
                await story(self)
            finally:
                await self.target.stop()
                left = asyncio.all_tasks() - {asyncio.current_task()}
                for task in left:
                    task.cancel()  # of a story that broke; after a whole one there are none
                await asyncio.gather(*left, return_exceptions=True)

        self.loop.run_until_complete(run())


TERMS = Terms(
    contract="mitra",
    effective_from_us=1_767_200_400 * SECOND,
    tiers=tuple(
        Tier(below=Fraction(below), credit=Fraction(credit)) for below, credit in ((95, 10), (90, 25), (85, 50))
    ),
)
SUBSCRIPTION = Subscription(
    partner=PARTNER, service=SERVICE, contract="mitra", fee=Fee(currency="IDR", amount=Decimal(12_500_000))
)


def in_step(plans: Sequence[Plan]) -> list[Scheduled]:
    """The places of checks less their services' phases: slots that a reader can compute in his head."""
    first: dict[tuple[str, bool], int] = {}
    places = [(s, first.setdefault((s.plan.service, s.plan.sla), s.offset_us)) for s in staggered(plans)]
    return [replace(scheduled, offset_us=scheduled.offset_us - begins_us) for scheduled, begins_us in places]


async def crash(daemon: Daemon) -> None:
    """End a daemon as kill -9 would: nothing is flushed; what is not committed is gone.

    Its tasks are cancelled, its lock is let go of as the kernel would, and nothing more reaches the store.
    """
    daemon.recorder._submit = _dead
    daemon.scheduler.stop()
    daemon.scheduler.abandon()
    for task in asyncio.all_tasks():
        if task.get_name() in {"recorder", "scheduler", "closing", "dispatcher", "checkpoints", "verification"}:
            task.cancel()
    await asyncio.sleep(0)
    daemon.pulse.stop()
    if daemon.recorder._timer is not None:
        daemon.recorder._timer.cancel()
    if daemon._listening is not None:
        await daemon._listening.stop()
    daemon.store.close()
    daemon._stack.pop_all()


def _dead(_call: Callable[[], Any]) -> Awaitable[Any]:
    return asyncio.get_running_loop().create_future()

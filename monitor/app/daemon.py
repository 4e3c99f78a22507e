"""The daemon: what others may ask of it while it runs, and how it starts and stops."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import structlog

from monitor.app.adopt import Insistence
from monitor.app.channels import routes
from monitor.app.options import Options
from monitor.app.parts import Parts
from monitor.app.process import Reread, Rereading, settle_in
from monitor.config import Settings
from monitor.core.fact import Close
from monitor.core.instant import format_instant
from monitor.core.verdict import Verdict
from monitor.ledger.act import Done, Order, prepare
from monitor.ledger.command import Command
from monitor.ledger.decide import Refused
from monitor.ledger.erasing import erasure
from monitor.ledger.month import Months
from monitor.ledger.standing import ServiceStanding
from monitor.storage import Store, StoreError, Unit
from monitor.storage.opening import personal_files

T = TypeVar("T")

LOST_RUNS = 3
"""The exit code when the store could not take the last runs."""

_log = structlog.get_logger("jaga.app")


class Daemon(Parts):
    """One daemon. `start` and `stop`, or `serve` for both and the signals in between.

    With `threads` False the store is spoken to on the loop itself: for simulations, where time must stand meanwhile.
    """

    # What others may ask.

    def not_ready(self) -> str | None:
        """Why it is not ready, None if it is."""
        if self._why_not is not None:
            return self._why_not
        if self.damage is not None:
            return f"read-only: {self.damage}"
        since_us = self.recorder.stats.failing_since_us
        if since_us is not None:
            return f"the store fails since {format_instant(since_us)}"
        return self.timekeeper.why_not_ready()

    @property
    def listen_address(self) -> str | None:
        """Where the pages are, such as `http://127.0.0.1:9464`; None while they are not."""
        return None if self._listening is None else self._listening.url

    async def standings(self) -> tuple[ServiceStanding, ...]:
        """How the services stand, at most a second old."""
        return await self.views.standings()

    async def decide(self, command: Command, *, by: str, over_closed: bool = False) -> Done | Refused:
        """Carry a decision out: durable when this returns. StoreError where the store cannot take it."""
        self._refuse_if_damaged("decide in")
        order = Order(
            command=command,
            by=by,
            now_us=self.clock.now_us(),
            tz_version=self.options.tz_version,
            over_closed=over_closed,
        )
        done = await self.recorder.ask(lambda store: prepare(store, self.options.basis, order))
        if isinstance(done, Done) and any(isinstance(entry.fact, Close) for entry in done.entries):
            with suppress(StoreError):  # told by the recorder; the next round signs for it
                await self.rounds.once()
        return done

    async def erase(self, reference: str, *, by: str, note: str | None = None) -> Refused | None:
        """Erase personal data: gone when this returns None. StoreError where the store cannot."""
        self._refuse_if_damaged("erase from")
        files = personal_files(self.options.store, base=self.options.base)

        def make(store: Store) -> tuple[Unit | None, Refused | None]:
            unit = erasure(store, files, reference, now_us=self.clock.now_us(), by=by, note=note)
            return (None, unit) if isinstance(unit, Refused) else (unit, None)

        refused: Refused | None = await self.recorder.ask(make)
        if refused is None:
            await self._write(lambda: files.erase(reference))
        return refused

    async def read(self, call: Callable[[Months], T]) -> T:
        """Ask the ledger as it stands, where reading may take its time."""
        now_us = self.clock.now_us()
        answer: T = await self._read(lambda: call(self.views.months(now_us)))
        return answer

    async def reload(self, settings: Settings, insistence: Insistence | None = None) -> frozenset[str]:
        """Take another configuration's terms, fees and checks, whole or not at all (AdoptionError, StoreError).

        A service that is not UP keeps its list and its checks, unless somebody insists and says why (CONTRACT 2.3);
        the services that keep theirs are answered. Store, location and the address of the pages stay until the daemon
        is started anew; users and certificate of the pages are the new ones.
        """
        self._refuse_if_damaged("adopt a configuration in")
        async with self._reloading:
            wanted = Options.of(settings)
            not_up = await self._changing_while_not_up(wanted)
            held = not_up if insistence is None else frozenset()
            options = wanted.keeping(self.options, held)
            await self._adopt(options, {} if insistence is None else dict.fromkeys(not_up, insistence))
            before, self.options = self.options, options
            self.views.options = options
            self.detector.configured = options.basis.agreements
            assert self.detector.incidents is not None, "a daemon watches incidents"
            self.detector.incidents = replace(
                self.detector.incidents, basis=options.basis, opening=options.opening, _counter=None, _next_us={}
            )
            self._rewire(options, before)
            self.scheduler.replace(self._places(options))
            if self._listening is not None:
                self._listening.secure(options.web)
            self.views.reloaded_us = self.clock.now_us()
        _log.info("configuration reloaded", checks=len(options.plans), kept_while_not_up=sorted(held))
        return held

    def _rewire(self, options: Options, before: Options) -> None:
        """Other channels and routes, from the next message on; what waits goes over the new ones. A level that is
        configured as before goes on as it is: it knows which silences it holds.
        """
        assert self.detector.herald is not None, "a daemon tells"
        herald = self.detector.herald
        herald.journal.routes, herald.manners, herald.basis = routes(options.channels), options.manners, options.basis
        channels = self._channels()
        self.dispatcher.use(channels.posts)
        as_before = {channel.id for channel in options.channels if channel in before.channels}
        kept = {name: standing for name, standing in self.levels.levels.items() if name in as_before}
        self.levels.levels = {**channels.levels, **kept}
        self.levels.restart()

    async def _changing_while_not_up(self, wanted: Options) -> frozenset[str]:
        """The services whose list would change while they are not UP."""
        before = {entry.service: entry for entry in self.options.lists}
        after = {entry.service: entry for entry in wanted.lists}
        changed = {service for service, entry in before.items() if after.get(service) != entry}
        found = await self.standings() if changed else ()
        return frozenset(s.service for s in found if s.service in changed and s.standing.verdict is not Verdict.UP)

    async def replace_key(self, *, by: str, lost: bool, note: str | None = None) -> str:
        """Sign with a new key from now on; its public line. StoreError, KeyFileError."""
        self._refuse_if_damaged("replace the key of")
        return await self.rounds.replace_key(by=by, lost=lost, note=note)

    async def reload_asked(self, insistence: Insistence | None) -> Reread:
        """Read the configuration again, on somebody's word; what came of it."""
        if self._rereading is None:
            return Reread(why="this daemon is still starting")
        return await self._rereading.once(insistence)

    # Starting and stopping.

    async def start(self) -> None:
        """Start all parts, one phase after the other; what was started is undone when one fails."""
        self._why_not = "it is starting"
        try:
            for name, phase in self.phases():
                if self.damage is not None and name != "commands":
                    continue  # read-only: what is there is shown, and every decision refused
                self._why_not = f"it is starting: {name}"
                await self._stack.enter_async_context(phase())
        except BaseException:
            self._why_not = "it could not be started"
            await self._stack.aclose()
            raise
        self._why_not = None
        self.heart.ready()
        if self.damage is not None:
            _log.error("serving without writing", store=self.store.target, pages=self.listen_address, why=self.damage)
            return
        _log.info("ready", store=self.store.target, pages=self.listen_address, checks=len(self.options.plans))

    async def stop(self) -> None:
        """Stop starting runs, let those under way finish, commit, and let go of everything, in reverse order."""
        self._why_not = "it is stopping"
        self.heart.stopping()
        await self._stack.aclose()
        self._why_not = "it has stopped"

    def force(self) -> None:
        """Do not wait for the runs under way."""
        self.scheduler.abandon()

    async def serve(self, reread: Callable[[], Settings]) -> int:
        """Start, run until SIGTERM or SIGINT, stop; the exit code. A second signal does not wait for runs.

        `reread` reads the configuration again, at SIGHUP, or after the start where it comes before its end: the file
        may have changed since it was read. What it raises leaves the old configuration in force.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        try:
            self._starting = asyncio.ensure_future(self.start())
            await asyncio.wait([self._starting])
            if self._starting.cancelled():
                return 0  # a signal came first; what had been started is undone
            self._starting.result()
            settle_in()
            self._rereading = Rereading(reread, self.reload, read=self._read, heart=self.heart, views=self.views)
            if self._hung_up_early:
                self._rereading.begin()
            await self._stopped.wait()
            await self.stop()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
        return LOST_RUNS if self.lost_runs else 0

    def _hung_up(self) -> None:
        if self._rereading is None:
            _log.info("reload follows the start")
            self._hung_up_early = True
        else:
            self._rereading.begin()

    def _signalled(self, name: str) -> None:
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
        elif self._stopped.is_set():
            _log.warning("stopping at once", signal=name)
            self.force()
        else:
            _log.info("stopping", signal=name)
        self._stopped.set()

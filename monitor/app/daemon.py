"""The daemon: its parts started in named phases, undone in reverse; what others may ask of it while it runs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from monitor import capacity
from monitor.app.adopt import Insistence, adoptions
from monitor.app.backup import Backups
from monitor.app.channels import Channels, open_channels, routes, sample
from monitor.app.commands import Commands
from monitor.app.desk import ApiDesk
from monitor.app.heart import Heart
from monitor.app.options import Options, version
from monitor.app.process import Reread, Rereading, settle_in
from monitor.app.pulse import Pulse
from monitor.app.supervise import Supervisor
from monitor.app.timekeeping import Timekeeper
from monitor.app.views import Views
from monitor.app.watchdog import Watchdog
from monitor.clock import Clock, Step, Sync, live_clock, wall_sync
from monitor.closing import Closing
from monitor.config import Settings
from monitor.control import Server
from monitor.core.calendar import Month
from monitor.core.fact import Close
from monitor.core.instant import format_instant
from monitor.core.verdict import Verdict
from monitor.detector import Detector
from monitor.detector.herald import Herald
from monitor.detector.incidents import IncidentWatch
from monitor.detector.journal import Journal
from monitor.dispatcher import BATCH, Dispatcher
from monitor.dispatcher.levels import Levels
from monitor.dispatcher.tally import MARK as TALLY
from monitor.dispatcher.tally import Tally
from monitor.ledger.act import Done, Order, prepare
from monitor.ledger.close import due
from monitor.ledger.command import Command
from monitor.ledger.decide import Refused
from monitor.ledger.erasing import erasure
from monitor.ledger.month import Months
from monitor.ledger.retention import expire
from monitor.ledger.standing import ServiceStanding
from monitor.notify import Alert
from monitor.recorder import Recorder
from monitor.runner import Plan, Runner
from monitor.scheduler import Scheduler, staggered
from monitor.sdnotify import Notifier
from monitor.sealing.checkpoints import Sealer
from monitor.sealing.hours import Hours
from monitor.sealing.rounds import Rounds, Verification
from monitor.storage import Committed, Store, StoreDamagedError, StoreError, Unit
from monitor.storage.opening import open_store, personal_files, sqlite_path
from monitor.storage.writing import SqlStore
from monitor.telemetry.exposition import Exposition
from monitor.telemetry.logs import LogCounts
from monitor.telemetry.snapshot import NotificationsSample
from monitor.web.pages import Listening, listen
from monitor.web.public import Handed
from monitor.web.tokens import Tokens
from probes._net import LiveNetwork

T = TypeVar("T")

AUTHOR = "jaga"
"""Who decides what the daemon does by itself."""

READERS = 2
LOST_RUNS = 3
"""The exit code when the store could not take the last runs."""

_log = structlog.get_logger("jaga.app")


class Daemon:
    """One daemon. `start` and `stop`, or `serve` for both and the signals in between.

    With `threads` False the store is spoken to on the loop itself: for simulations, where time must stand meanwhile.
    """

    def __init__(
        self,
        options: Options,
        *,
        clock: Clock | None = None,
        sync: Callable[[], Sync] | None = None,
        threads: bool = True,
        logs: LogCounts | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        self.options = options
        self.lost_runs = 0
        self.damage: str | None = None
        self._given_clock = clock
        # What the kernel says is about its own clock, not about one that was handed in.
        self._sync = sync or (wall_sync if clock is None else _nothing_known)
        self._threads = threads
        self._logs = logs
        self._notifier = notifier or Notifier()
        self._stack = AsyncExitStack()
        self._why_not: str | None = "it has not been started"
        self._reloading = asyncio.Lock()
        self._starting: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._listening: Listening | None = None
        self._rereading: Rereading | None = None
        self._write: Callable[[Callable[[], Any]], Awaitable[Any]] = _inline
        self._read: Callable[[Callable[[], Any]], Awaitable[Any]] = _inline
        self._reading: ThreadPoolExecutor | None = None
        self.clock: Clock
        self.timekeeper: Timekeeper
        self.supervisor: Supervisor
        self.store: SqlStore
        self.detector: Detector
        self.recorder: Recorder
        self.runner: Runner
        self.pulse: Pulse
        self.scheduler: Scheduler
        self.views: Views
        self.heart: Heart
        self.tally = Tally()
        self.dispatcher: Dispatcher
        self.levels: Levels
        self.sealer = Sealer(options.sealing)
        self.rounds: Rounds
        self.verification: Verification

    # What others may ask.

    @property
    def ready(self) -> bool:
        """Whether the ledger is replayed, schedules run, and the store takes what it is given."""
        return self.not_ready() is None

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
            self.options = self.views.options = options
            self.detector.configured = options.basis.agreements
            assert self.detector.incidents is not None, "a daemon watches incidents"
            self.detector.incidents = replace(
                self.detector.incidents, basis=options.basis, opening=options.opening, _counter=None, _next_us={}
            )
            self._rewire(options)
            self.scheduler.replace(staggered(options.plans))
            if self._listening is not None:
                self._listening.secure(options.web)
            self.views.reloaded_us = self.clock.now_us()
        _log.info("configuration reloaded", checks=len(options.plans), kept_while_not_up=sorted(held))
        return held

    def _rewire(self, options: Options) -> None:
        """Other channels and routes, from the next message on; what waits goes over the new ones."""
        assert self.detector.herald is not None, "a daemon tells"
        herald = self.detector.herald
        herald.journal.routes, herald.manners, herald.basis = routes(options.channels), options.manners, options.basis
        channels = self._channels()
        self.dispatcher.posts, self.levels.levels = channels.posts, channels.levels
        self.levels.restart()

    async def _changing_while_not_up(self, wanted: Options) -> frozenset[str]:
        """The services whose list would change while they are not UP."""
        before = {entry.service: entry for entry in self.options.lists}
        after = {entry.service: entry for entry in wanted.lists}
        changed = {service for service, entry in before.items() if after.get(service) != entry}
        found = await self.standings() if changed else ()
        return frozenset(s.service for s in found if s.service in changed and s.standing.verdict is not Verdict.UP)

    # Starting and stopping.

    async def start(self) -> None:
        """Start all parts, one phase after the other; what was started is undone when one fails."""
        self._why_not = "it is starting"
        try:
            for name, phase in self._phases():
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

    async def serve(self, reread: Callable[[], Settings] | None = None) -> int:
        """Start, run until SIGTERM or SIGINT, stop; the exit code. A second signal does not wait for runs.

        `reread` reads the configuration again, at SIGHUP; what it raises leaves the old one in force.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, _log.info, "no reload while starting")
        try:
            self._starting = asyncio.ensure_future(self.start())
            await asyncio.wait([self._starting])
            if self._starting.cancelled():
                return 0  # a signal came first; what had been started is undone
            self._starting.result()
            settle_in()
            if reread is not None:
                self._rereading = Rereading(reread, self.reload, read=self._read, heart=self.heart, views=self.views)
                loop.add_signal_handler(signal.SIGHUP, self._rereading.begin)
            await self._stopped.wait()
            await self.stop()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
        return LOST_RUNS if self.lost_runs else 0

    def _signalled(self, name: str) -> None:
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
        elif self._stopped.is_set():
            _log.warning("stopping at once", signal=name)
            self.force()
        else:
            _log.info("stopping", signal=name)
        self._stopped.set()

    def _phases(self) -> tuple[tuple[str, Callable[[], AbstractAsyncContextManager[None]]], ...]:
        """The order of starting, which reversed is the order of stopping."""
        return (
            ("clock", self._with_clock),
            ("ledger", self._with_ledger),
            ("parts", self._with_parts),
            ("pages", self._with_pages),
            ("verification", self._with_verification),
            ("replay", self._with_replay),
            ("recording", self._with_recording),
            ("adoption", self._with_adoption),
            ("commands", self._with_commands),
            ("sealing", self._with_sealing),
            ("closing of months", self._with_closing),
            ("messages", self._with_messages),
            ("sealing of hours", self._with_hours),
            ("schedule", self._with_schedule),
        )

    @asynccontextmanager
    async def _with_clock(self) -> AsyncIterator[None]:
        self.clock = self._given_clock or live_clock(asyncio.get_running_loop())
        self.supervisor = Supervisor(self.clock)
        self.timekeeper = Timekeeper(self.clock, self.options.location, sync=self._sync)
        try:
            yield
        finally:
            if self._given_clock is None:
                self.clock.close()

    @asynccontextmanager
    async def _with_ledger(self) -> AsyncIterator[None]:
        writing = ThreadPoolExecutor(1, "ledger-writer") if self._threads else None
        self._reading = ThreadPoolExecutor(READERS, "ledger-reader") if self._threads else None
        if writing is not None and self._reading is not None:
            self._write, self._read = _in_threads(writing), _in_threads(self._reading)
        try:
            self.store = await self._write(lambda: open_store(self.options.store, base=self.options.base))
            try:
                await self._write(lambda: self.timekeeper.open(self.store))
                yield
            finally:
                await self._write(self.store.close)
        finally:
            for executor in (writing, self._reading):
                if executor is not None:
                    executor.shutdown()

    @asynccontextmanager
    async def _with_parts(self) -> AsyncIterator[None]:
        """Everything that can be made before the ledger is replayed, and does nothing by itself."""
        network = LiveNetwork()
        self.pulse = Pulse(self.clock, self._on_step, self.timekeeper.look)
        self.detector = Detector(
            self.store,
            self.options.basis.agreements,
            incidents=IncidentWatch(self.options.basis, self.options.opening),
            herald=Herald(self.options.basis, Journal(routes(self.options.channels)), self.options.manners),
        )
        self.runner = Runner(
            location=self.options.location,
            clock=self.clock,
            network=network,
            secret=self.options.secret,
            controls=self.options.controls,
            stood_still=self.pulse.stood_still,
        )
        self.scheduler = Scheduler(self.clock, execute=self._run, late=self._late)
        self.heart = Heart(self._notifier, self.clock, behind_us=self.scheduler.behind_us, why_not=self.not_ready)
        self.recorder = Recorder(
            store=self.store,
            clock=self.clock,
            submit=self._write,
            react=self.detector.take,
            resume=self.detector.forget,
            open_since=self.scheduler.open_since,
            on_committed=self._on_committed,
        )
        self.rounds = Rounds(clock=self.clock, sealer=self.sealer, ask=self.recorder.ask, submit=self._write)
        self.verification = Verification(
            clock=self.clock,
            reader=self.store,
            sealer=self.sealer,
            read=self._read,
            damaged=self._damaged,
        )
        self.views = Views(
            options=self.options,
            clock=self.clock,
            store=self.store,
            detector=self.detector,
            recorder=self.recorder,
            scheduler=self.scheduler,
            runner=self.runner,
            pulse=self.pulse,
            timekeeper=self.timekeeper,
            supervisor=self.supervisor,
            read=self._read,
            ready=lambda: self.ready,
            notifications=self._notifications,
            sealer=self.sealer,
            verification=self.verification,
            logs=self._logs,
        )
        watchdog = Watchdog(overdue_us=self.pulse.overdue_us, now_ns=self.clock.now_ns) if self._threads else None
        self.pulse.start()
        if watchdog is not None:
            watchdog.start()
        try:
            yield
        finally:
            if watchdog is not None:
                watchdog.stop()
            self.pulse.stop()
            network.close()

    @asynccontextmanager
    async def _with_pages(self) -> AsyncIterator[None]:
        exposition = Exposition(
            self.views.snapshot,
            now_ns=self.clock.now_ns,
            expose_money=self.options.expose_money,
            executor=self._reading,
        )
        handed = Handed(
            version=version(),
            not_ready=self.not_ready,
            unreadable=lambda: self._why_not,
            metrics=exposition.render,
            status=self.views.status,
            damage=lambda: self.damage,
            checkpoint=lambda: self.sealer.latest,
        )
        desk = ApiDesk(self.views, Tokens(self.options.tokens), decide=self.decide, reread=self._reload_asked)
        self._listening = await listen(handed, desk, *self.options.listen, self.options.web)
        try:
            yield
        finally:
            await self._listening.stop()
            self._listening = None

    @asynccontextmanager
    async def _with_verification(self) -> AsyncIterator[None]:
        """See, before anything is written, that this is the record that was left."""
        await self.verification.at_start()
        yield

    def _refuse_if_damaged(self, operation: str) -> None:
        if self.damage is not None:
            hint = "keep the files, run jaga ledger verify, restore a backup and compare"
            raise StoreDamagedError(operation, self.store.target, f"read-only: {self.damage}", hint)

    def _damaged(self, why: str) -> None:
        """From here on the ledger is only read, and nothing is repaired: that is for people."""
        if self.damage is None:
            self.damage = why
            self.store.refuse_writes(why)
            self.scheduler.replace(())
            _log.error("read-only", why=why)

    @asynccontextmanager
    async def _with_sealing(self) -> AsyncIterator[None]:
        await self.rounds.open()
        works = {"checkpoints": self.rounds.run, "verification": self.verification.run}
        tasks = [self.supervisor.start(name, work) for name, work in works.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    @asynccontextmanager
    async def _with_replay(self) -> AsyncIterator[None]:
        now_us = self.clock.now_us()
        await self._write(lambda: self.detector.open(now_us))
        await self._read(self.views.count_entries)
        yield

    @asynccontextmanager
    async def _with_recording(self) -> AsyncIterator[None]:
        writing = self.supervisor.start("recorder", self.recorder.run)
        try:
            yield
        finally:
            await self.timekeeper.settle()
            with suppress(StoreError):  # told by the recorder itself; what it lost is counted below
                await self.recorder.ask(self._last_marks)
            self.recorder.stop()
            await writing
            self.lost_runs = self.recorder.pending

    @asynccontextmanager
    async def _with_adoption(self) -> AsyncIterator[None]:
        await self._adopt(self.options)
        yield

    @asynccontextmanager
    async def _with_commands(self) -> AsyncIterator[None]:
        """Verbs beside the daemon come over a socket in the ledger's folder; on PostgreSQL they write by themselves."""
        file = sqlite_path(self.options.store, base=self.options.base)
        if file is None:
            yield
            return
        backups = Backups(file, run=asyncio.to_thread if self._threads else _inline)
        commands = Commands(
            self.decide,
            backups=backups,
            reload=self._reload_asked,
            replace_key=self._replace_key,
            erase=self.erase,
            not_ready=self.not_ready,
        )
        server = Server(file.parent, commands.handle)
        await server.start()
        try:
            yield
        finally:
            await backups.stop()
            await server.stop()

    async def _replace_key(self, *, by: str, lost: bool, note: str | None = None) -> str:
        self._refuse_if_damaged("replace the key of")
        return await self.rounds.replace_key(by=by, lost=lost, note=note)

    async def _reload_asked(self, insistence: Insistence | None) -> Reread:
        if self._rereading is None:
            return Reread(why="this daemon has no configuration file, or is still starting")
        return await self._rereading.once(insistence)

    @asynccontextmanager
    async def _with_closing(self) -> AsyncIterator[None]:
        closing = Closing(
            self.clock,
            due=self._due_months,
            close=lambda command: self.decide(command, by=AUTHOR),
        )
        task = self.supervisor.start("closing", closing.run)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    @asynccontextmanager
    async def _with_messages(self) -> AsyncIterator[None]:
        self.tally = Tally.of(await self._read(lambda: self.store.mark(TALLY)))
        channels = self._channels()
        self.dispatcher = Dispatcher(
            self.clock,
            channels.posts,
            names=lambda: self._read(lambda: [*self.store.outbox_waiting()]),
            read=lambda channel: self._read(lambda: self.store.outbox(BATCH, channel=channel)),
            ask=self.recorder.ask,
            tally=self.tally,
        )
        self.levels = Levels(self.clock, channels.levels, active=self._alerts, tally=self.tally)
        tasks = [
            self.supervisor.start("dispatcher", self.dispatcher.run),
            self.supervisor.start("levels", self.levels.run),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    @asynccontextmanager
    async def _with_hours(self) -> AsyncIterator[None]:
        hours = Hours(
            self.clock,
            read=lambda call: self._read(lambda: call(self.store)),
            write=lambda unit: self.recorder.ask(lambda _store: (unit, None)),
            expire=lambda: self.read(lambda months: expire(months, self.options.retention_us)),
        )
        task = self.supervisor.start("sealing of hours", hours.run)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    @asynccontextmanager
    async def _with_schedule(self) -> AsyncIterator[None]:
        if self._threads:  # a simulated machine has no capacity to measure
            await self._warn_of_overload(self.options)
        self.scheduler.replace(staggered(self.options.plans))
        controls = self.supervisor.start("controls", self.runner.watch_controls)
        task = self.supervisor.start("scheduler", self.scheduler.run)
        try:
            yield
        finally:
            controls.cancel()
            self.scheduler.stop()
            await self.scheduler.drain()
            await task

    async def _warn_of_overload(self, options: Options) -> None:
        load = await capacity.load(options.plans)
        warning = None if load is None else load.warning()
        if warning is not None:
            _log.warning("more is planned than this machine can do", why=warning)

    # What the parts hand each other.

    def _channels(self) -> Channels:
        for channel in self.options.channels:
            if channel.fault is not None:
                _log.error("channel misconfigured", channel=channel.id, why=channel.fault)
        return open_channels(
            self.options.channels,
            self.options.book,
            secret=self.options.secret,
            now_us=self.clock.now_us,
            not_well=self.not_ready,
        )

    def _notifications(self) -> NotificationsSample:
        suppressed = {} if self.detector.herald is None else dict(self.detector.herald.journal.suppressed)
        return sample(self.options.channels, self.tally, self.store.outbox_waiting(), suppressed)

    def _alerts(self) -> Sequence[Alert]:
        return () if self.detector.herald is None else self.detector.herald.alerts

    async def _due_months(self) -> list[tuple[Month, str, str]]:
        """The months that may close by themselves: none by a clock in doubt."""
        return await self.read(due) if self.timekeeper.steady() else []

    async def _run(self, plan: Plan, slot_us: int) -> None:
        begun_ns = self.clock.now_ns()
        run = await self.runner.run(plan, slot_us)
        self.recorder.accept(self.timekeeper.checked(run, begun_ns))

    def _late(self, plan: Plan, slot_us: int) -> None:
        self.recorder.accept(self.runner.late(plan, slot_us))

    def _on_committed(self, committed: Committed) -> None:
        self.views.committed(committed)

    def _last_marks(self, _store: Store) -> tuple[Unit, None]:
        return Unit(recorded_at_us=self.clock.now_us(), marks=self.detector.marks()), None

    async def _adopt(self, options: Options, insisted: Mapping[str, Insistence] | None = None) -> None:
        """Make the configuration's terms, fees and check lists facts, where they are not yet."""
        now_us = self.clock.now_us()

        def make(store: Store) -> tuple[Unit | None, int]:
            recorded = [entry.fact for entry in store.entries(types=("terms", "subscription", "checks"))]
            facts = adoptions(recorded, options.basis, options.lists, now_us, insisted)
            return (Unit(recorded_at_us=now_us, facts=facts) if facts else None), len(facts)

        adopted = await self.recorder.ask(make)
        if adopted:
            _log.info("configuration adopted", facts=adopted)

    def _on_step(self, step: Step) -> None:
        self.scheduler.rebase()
        self.timekeeper.stepped(step, self.recorder)


def _nothing_known() -> Sync:
    return Sync(synchronised=None)


async def _inline(call: Callable[[], T]) -> T:
    return call()


def _in_threads(executor: ThreadPoolExecutor) -> Callable[[Callable[[], Any]], Awaitable[Any]]:
    return lambda call: asyncio.get_running_loop().run_in_executor(executor, call)

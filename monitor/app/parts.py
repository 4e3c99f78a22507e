"""What a daemon is made of: its parts, handed to each other, and the phases in which they start and are undone."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
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
from monitor.app.process import Reread, Rereading
from monitor.app.pulse import Pulse
from monitor.app.supervise import Supervisor
from monitor.app.timekeeping import Timekeeper
from monitor.app.views import Views
from monitor.app.watchdog import Watchdog
from monitor.clock import Clock, Step, Sync, live_clock, wall_sync
from monitor.closing import Closing
from monitor.control import Server
from monitor.core.calendar import Month
from monitor.core.run import Run
from monitor.detector import Detector
from monitor.detector.herald import Herald
from monitor.detector.incidents import IncidentWatch
from monitor.detector.journal import Journal
from monitor.dispatcher import BATCH, Dispatcher
from monitor.dispatcher.levels import Levels
from monitor.dispatcher.tally import MARK as TALLY
from monitor.dispatcher.tally import Tally
from monitor.ledger.act import Done
from monitor.ledger.close import due
from monitor.ledger.command import Command
from monitor.ledger.decide import Refused
from monitor.ledger.month import Months
from monitor.ledger.retention import expire
from monitor.notify import Alert, Quiet
from monitor.plan import Plan
from monitor.recorder import Recorder
from monitor.runner import Runner
from monitor.scheduler import Scheduled, Scheduler, staggered
from monitor.sdnotify import Notifier
from monitor.sealing.checkpoints import Sealer
from monitor.sealing.hours import Hours
from monitor.sealing.rounds import Rounds, Verification
from monitor.storage import Committed, Store, StoreDamagedError, StoreError, Unit
from monitor.storage.opening import open_store, sqlite_path
from monitor.storage.writing import SqlStore
from monitor.telemetry.exposition import Exposition
from monitor.telemetry.logs import LogCounts
from monitor.telemetry.snapshot import NotificationsSample
from monitor.underway import Over, Underway
from monitor.web.pages import Listening, listen
from monitor.web.public import Handed
from monitor.web.tokens import Tokens
from probes._net import LiveNetwork

T = TypeVar("T")

AUTHOR = "jaga"
"""Who decides what the daemon does by itself."""

READERS = 2

_log = structlog.get_logger("jaga.app")


class Parts(ABC):
    """The parts of a daemon, each made in its phase. What others may ask of it is the daemon's own."""

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
        self._hung_up_early = False
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

    # What the daemon answers.

    @property
    def ready(self) -> bool:
        """Whether the ledger is replayed, schedules run, and the store takes what it is given."""
        return self.not_ready() is None

    @abstractmethod
    def not_ready(self) -> str | None:
        """Why it is not ready, None if it is."""

    @abstractmethod
    async def decide(self, command: Command, *, by: str, over_closed: bool = False) -> Done | Refused:
        """Carry a decision out."""

    @abstractmethod
    async def erase(self, reference: str, *, by: str, note: str | None = None) -> Refused | None:
        """Erase personal data."""

    @abstractmethod
    async def read(self, call: Callable[[Months], T]) -> T:
        """Ask the ledger as it stands."""

    @abstractmethod
    async def replace_key(self, *, by: str, lost: bool, note: str | None = None) -> str:
        """Sign with a new key from now on; its public line."""

    @abstractmethod
    async def reload_asked(self, insistence: Insistence | None) -> Reread:
        """Read the configuration again, on somebody's word."""

    # The phases.

    def phases(self) -> tuple[tuple[str, Callable[[], AbstractAsyncContextManager[None]]], ...]:
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
        self.scheduler = Scheduler(self.clock, begin=self._begin, late=self._late)
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
        desk = ApiDesk(self.views, Tokens(self.options.tokens), decide=self.decide, reread=self.reload_asked)
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
        async with self._background({"checkpoints": self.rounds.run, "verification": self.verification.run}):
            yield

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
            reload=self.reload_asked,
            replace_key=self.replace_key,
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

    @asynccontextmanager
    async def _with_closing(self) -> AsyncIterator[None]:
        closing = Closing(
            self.clock,
            due=self._due_months,
            close=lambda command: self.decide(command, by=AUTHOR),
        )
        async with self._background({"closing": closing.run}):
            yield

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
        async with self._background({"dispatcher": self.dispatcher.run, "levels": self.levels.run}):
            yield

    @asynccontextmanager
    async def _with_hours(self) -> AsyncIterator[None]:
        hours = Hours(
            self.clock,
            read=lambda call: self._read(lambda: call(self.store)),
            write=lambda unit: self.recorder.ask(lambda _store: (unit, None)),
            expire=lambda: self.read(lambda months: expire(months, self.options.retention_us)),
        )
        async with self._background({"sealing of hours": hours.run}):
            yield

    @asynccontextmanager
    async def _with_schedule(self) -> AsyncIterator[None]:
        if self._threads:  # a simulated machine has no capacity to measure
            await self._warn_of_overload(self.options)
        self.scheduler.replace(self._places(self.options))
        controls = self.supervisor.start("controls", self.runner.controls.watch)
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
            quiet=self._quiet,
            links=self.options.manners.links,
        )

    def _notifications(self) -> NotificationsSample:
        suppressed = {} if self.detector.herald is None else dict(self.detector.herald.journal.suppressed)
        return sample(self.options.channels, self.tally, self.store.outbox_waiting(), suppressed)

    def _alerts(self) -> Sequence[Alert]:
        return () if self.detector.herald is None else self.detector.herald.alerts

    def _quiet(self) -> tuple[Quiet, ...]:
        """The maintenance in which alerts may be silent, as of the detector's last turn."""
        return () if self.detector.herald is None else self.detector.herald.quiet

    async def _due_months(self) -> list[tuple[Month, str, str]]:
        """The months that may close by themselves: none by a clock in doubt."""
        return await self.read(due) if self.timekeeper.steady() else []

    def _places(self, options: Options) -> Iterable[Scheduled]:
        """Where each check stands in its interval."""
        return staggered(options.plans)

    def _begin(self, plan: Plan, slot_us: int, begins: Callable[[], bool], over: Over) -> Underway:
        return self.runner.begin(plan, slot_us, begins=begins, ended=self._ended, over=over)

    def _ended(self, run: Run, begun_ns: int) -> None:
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

    @asynccontextmanager
    async def _background(self, works: Mapping[str, Callable[[], Coroutine[None, None, None]]]) -> AsyncIterator[None]:
        """Work that goes on beside, by name, until the block is left."""
        tasks = [self.supervisor.start(name, work) for name, work in works.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _nothing_known() -> Sync:
    return Sync(synchronised=None)


async def _inline(call: Callable[[], T]) -> T:
    return call()


def _in_threads(executor: ThreadPoolExecutor) -> Callable[[Callable[[], Any]], Awaitable[Any]]:
    return lambda call: asyncio.get_running_loop().run_in_executor(executor, call)

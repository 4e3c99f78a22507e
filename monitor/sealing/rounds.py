"""What the daemon does for the record by itself: a checkpoint each hour and close, a verification each night."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from monitor.clock import Clock
from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US, format_instant
from monitor.ledger.verify import Outside, VerifyReport, verify
from monitor.sealing.checkpoints import Sealer
from monitor.sealing.keys import checks
from monitor.storage import Reader, Store, StoreError, Unit, contradiction

NIGHT_US = 19 * HOUR_US
"""The whole record is verified each day at 19:00 UTC, 02:00 in Jakarta."""

SMALL_BYTES = 32 * 2**20
"""A ledger up to this size is verified whole before the daemon is ready (about a second); a larger one right after."""

_log = structlog.get_logger("jaga.sealing")

Ask = Callable[[Callable[[Store], tuple[Unit | None, Any]]], Awaitable[Any]]
"""`Recorder.ask`."""

Submit = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Does a call where the store is spoken to, or where reading may take its time."""


@dataclass(slots=True, kw_only=True)
class Rounds:
    """Signs checkpoints through the recorder."""

    clock: Clock
    sealer: Sealer
    ask: Ask
    submit: Submit
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self) -> None:
        """Find the key, or make the first and record it. Without one nothing is signed, which is told each hour."""
        await self.ask(lambda store: (self.sealer.open(store, self.clock.now_us()), None))

    async def run(self) -> None:
        """Sign now and at every full hour, and a minute after a failure; never returns."""
        while True:
            now_us = self.clock.now_us()
            next_us = (now_us // HOUR_US + 1) * HOUR_US
            try:
                await self.once()
            except StoreError as error:
                _log.error("checkpoint not recorded", error=str(error))
                next_us = now_us + MINUTE_US
            await self.clock.wait_until(next_us)

    async def once(self) -> str | None:
        """Sign if anything came since; the checkpoint's note once it is durable. StoreError where it could not be."""
        if self.sealer.why_not is not None:
            _log.error("no checkpoint is signed", why=self.sealer.why_not)
            return None
        async with self._turn:
            note: str | None = await self.ask(self._make)
            if note is not None:
                await self.submit(lambda: self.sealer.recorded(note))
        return note

    async def replace_key(self, *, by: str, lost: bool, note: str | None = None) -> str:
        """Put a new key in the place of the one in force, and sign with it at once; its public line.

        KeyFileError and StoreError where that cannot be.
        """

        def make(store: Store) -> tuple[Unit, None]:
            return self.sealer.replace_key(store, self.clock.now_us(), by=by, lost=lost, note=note), None

        async with self._turn:
            await self.ask(make)
            line: str = await self.ask(lambda store: (None, str(self.sealer.replaced(store))))
        _log.warning("signing key replaced", by=by, lost=lost, key=line)
        await self.once()
        return line

    def _make(self, store: Store) -> tuple[Unit | None, str | None]:
        return self.sealer.checkpoint(store, self.clock.now_us()) or (None, None)


class GivenUpError(Exception):
    """Nobody waits for the walk any more."""


@dataclass(slots=True, kw_only=True)
class Verification:
    """Verifies the record and says when it does not hold. `holds` is None until the first walk is over."""

    clock: Clock
    reader: Reader
    sealer: Sealer
    read: Submit
    damaged: Callable[[str], None]
    holds: bool | None = None
    at_us: int | None = None
    _given_up: threading.Event = field(default_factory=threading.Event)

    async def at_start(self) -> None:
        """Look before anything is written: at all of a small ledger, at what can be seen at once of a large one."""
        if await self.read(self._is_small):
            await self.once()
            return
        why = await self.read(self._glance)
        if why is not None:
            self._found(why)

    async def run(self) -> None:
        """Verify now, if that was not done at the start, and each night; never returns."""
        if self.at_us is None:
            await self.once()
        while True:
            await self.clock.wait_until((self.clock.now_us() - NIGHT_US) // DAY_US * DAY_US + DAY_US + NIGHT_US)
            await self.once()

    async def once(self) -> bool:
        """Walk the whole record; whether it holds. Who is cancelled leaves no walk behind: a stop would wait for it."""
        try:
            report: VerifyReport = await self.read(self._walk)
        except asyncio.CancelledError:
            self._given_up.set()
            raise
        self.at_us, self.holds = self.clock.now_us(), report.holds
        if report.holds:
            _log.info("record verified", entries=report.entries, covered=report.covered, remarks=list(report.remarks))
        else:
            for problem in report.problems:
                _log.error("record does not hold", found=str(problem), at=format_instant(self.at_us))
            self._found(str(report.problems[0]))
        return report.holds

    def _found(self, why: str) -> None:
        self.holds = False
        self.damaged(f"the record does not verify: {why}")

    def _walk(self) -> VerifyReport:
        return verify(self.reader, checks=checks, outside=self._outside(), pause=self._pause)

    def _pause(self) -> None:
        if self._given_up.is_set():
            raise GivenUpError

    def _outside(self) -> Outside:
        kept = self.sealer.kept()
        return Outside() if kept is None else Outside(checkpoints=(kept,))

    def _is_small(self) -> bool:
        try:
            return self.reader.size_bytes() <= SMALL_BYTES
        except StoreError:
            return True  # what is wrong is found by the walk, and told with its entry

    def _glance(self) -> str | None:
        """What contradicts the record without a walk over it: the mark of the last commit, the checkpoint kept."""
        try:
            return contradiction(self.reader) or self.sealer.contradicts(self.reader)
        except StoreError as error:
            return str(error)

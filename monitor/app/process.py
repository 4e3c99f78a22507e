"""What a daemon needs as a process of its own: limits that suit years of running, and a configuration read again."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import resource
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from monitor.app.adopt import Insistence
from monitor.app.heart import Heart
from monitor.app.views import Views
from monitor.config import Settings

MAX_DESCRIPTORS = 65_536
SWITCH_S = 0.0005
"""How long the writer's thread may hold the interpreter while the loop waits (PERF, ledger writer)."""

GC_THRESHOLDS = (10_000, 10, 10)
"""The newest run of each check lives for an interval and is then replaced. By the default of 700 objects the collector
looks through all of them every few seconds, in vain: probes leave no cycles, what does is rare.
"""

MAX_REREADS = 2
"""One under way and one that waits, which reads the file as it then is: more would read the same."""

_log = structlog.get_logger("jaga.app")


def settle_in() -> None:
    """Descriptors for every check, no stalls by the garbage collector over what never goes (PERF 11), and a writer
    that yields to the loop.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    sys.setswitchinterval(SWITCH_S)
    set_apart()


def set_apart() -> None:
    """Take what is there out of the garbage collector's sight: what was loaded stays, and looking through it again and
    again is a stall. What is no longer used of an earlier load goes first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with suppress(OSError, AttributeError):  # a C library that has no such call
        ctypes.CDLL(None).malloc_trim(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """How a reading went: why the old configuration holds (None: the new one does), and the services that keep their
    lists because they are not UP.
    """

    why: str | None = None
    kept: tuple[str, ...] = ()


class Rereading:
    """Reads the configuration again when it is told to; whatever is wrong with it, the old one holds.

    `reread` gives the settings (called where reading may take its time, by `read`), `reload` takes them over.
    """

    def __init__(
        self,
        reread: Callable[[], Settings],
        reload: Callable[[Settings, Insistence | None], Awaitable[frozenset[str]]],
        *,
        read: Callable[[Callable[[], Any]], Awaitable[Any]],
        heart: Heart,
        views: Views,
    ) -> None:
        self._reread = reread
        self._reload = reload
        self._read = read
        self._heart = heart
        self._views = views
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[Reread]] = set()

    def begin(self) -> None:
        """Read again now, or once more after the reading that is under way."""
        if len(self._tasks) < MAX_REREADS:
            task = asyncio.get_running_loop().create_task(self.once(), name="reload")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def once(self, insistence: Insistence | None = None) -> Reread:
        """Read again now; with `insistence` also the lists of services that are not UP."""
        try:
            async with self._one_at_a_time:
                self._heart.reloading()
                try:
                    kept = await self._reload(await self._read(self._reread), insistence)
                    set_apart()
                finally:
                    self._heart.reloaded()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the new configuration, the old one holds
            self._views.reload_ok = False
            _log.error("configuration not reloaded", error=str(error), kind=type(error).__name__)
            return Reread(why=f"the old configuration holds: {error}")
        self._views.reload_ok = True
        return Reread(kept=tuple(sorted(kept)))

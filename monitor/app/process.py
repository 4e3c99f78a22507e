"""What a daemon needs as a process of its own: limits that suit years of running, and a configuration read again."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import platform
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
SWITCH_S = 0.0001
"""How long another thread may hold the interpreter while the loop waits. The loop gives it away at every system call,
so that the start of a dozen runs beside a commit pays it some forty times.
"""

SLICE_NS = 100_000
"""The loop's share of a core is that of any other thread, but it asks for it in the shortest slices there are: woken by
its timer, it goes before whoever has been at work for longer, and that is its own threads too.
"""

SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
"""The number of the call by machine: no library of C has had a name for it for long."""
RESET_ON_FORK = 0x01

GC_THRESHOLDS = (10_000, 10, 10)
"""The newest run of each check lives for an interval and is then replaced. By the default of 700 objects the collector
looks through all of them every few seconds, in vain: probes leave no cycles, what does is rare.
"""

MAX_REREADS = 2
"""One under way and one that waits, which reads the file as it then is: more would read the same."""

_log = structlog.get_logger("jaga.app")


def settle_in() -> None:
    """Descriptors for every check, no stalls by the garbage collector over what never goes (PERF 11), and a loop that
    gets the interpreter and a core soon after it is woken.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    sys.setswitchinterval(SWITCH_S)
    with suppress(OSError, AttributeError):  # not Linux, or not allowed: then it waits as others do
        wake_promptly()
    set_apart()


def wake_promptly() -> None:
    """Let the calling thread be scheduled in slices of SLICE_NS, for no larger share (Linux 6.12; earlier ones take the
    call and go on as before). Threads and processes that it starts do not inherit it. OSError where it cannot be.
    """
    policy, nice = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    if policy != os.SCHED_OTHER or nice < 0:
        return  # somebody chose: what is not inherited would be that choice too
    wanted = SchedulingAttributes(size=ctypes.sizeof(SchedulingAttributes), policy=policy, flags=RESET_ON_FORK)
    wanted.nice, wanted.runtime_ns = nice, SLICE_NS
    number = SCHED_SETATTR.get(platform.machine())
    if number is None or ctypes.CDLL(None, use_errno=True).syscall(number, 0, ctypes.byref(wanted), 0) != 0:
        raise OSError(ctypes.get_errno(), "the scheduler takes no slices")


class SchedulingAttributes(ctypes.Structure):
    """sched_setattr(2), in its first form."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


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

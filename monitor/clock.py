"""The only clock: what time it is, and waiting until it is some time. Nothing else reads wall time or waits.

Time base (DESIGN): now = anchor + the advance of the boot-time clock, which runs on while the machine is suspended and
never steps. The wall clock is looked at only to notice that it stepped, and is not believed whatever it says: a step of
more than a day is followed only while the kernel vouches for the clock.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import heapq
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MAX_OFFSET_US = 500_000
"""How far the wall clock may part from the time base before that is a step (DESIGN, Time base)."""

BELIEVED_STEP_US = 24 * 3600 * 1_000_000
"""A longer step is followed only while the kernel says that the wall clock is synchronised. Nothing takes back a month
that was closed in 2098, nor the times of the entries that follow.
"""

_TFD_TIMER_ABSTIME = 1
_TIME_ERROR = 5
_STA_UNSYNC = 0x0040
_STA_NANO = 0x2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The wall clock stepped: `at_us` is the corrected now, `delta_us` by how much it went forward (back: negative)."""

    at_us: int
    delta_us: int


class Timer(Protocol):
    """Something that will call back, unless cancelled first."""

    def cancel(self) -> None:
        """Do not call back."""


class Clock(Protocol):
    """What everything with a need for time is handed."""

    def now_us(self) -> int:
        """Microseconds UTC on the time base."""

    def now_ns(self) -> int:
        """Nanoseconds on a monotonic clock of no particular origin: for durations and deadlines."""

    async def wait_until(self, at_us: int) -> None:
        """Return at `at_us` of the time base or after it, never before."""

    def call_at(self, at_us: int, callback: Callable[[], None]) -> Timer:
        """Call back once, at `at_us` of the time base or after it, never before; not before this call has returned."""

    def call_after(self, delay_us: int, callback: Callable[[], None]) -> Timer:
        """Call back once, `delay_us` of monotonic time from now or later, whatever the wall clock does."""

    def take_step(self) -> Step | None:
        """The step of the wall clock since the last look, if there was one that is believed; now is corrected by it."""

    def offset_us(self) -> int:
        """Wall clock minus time base, in microseconds."""

    def close(self) -> None:
        """Let go of the timer. Waiters still there are cancelled."""


class _Call:
    """A call that waits for its instant."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not call back."""
        self.callback = None

    def ring(self) -> None:
        """It is time."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class Alarm(Protocol):
    """A timer on the boot-time clock that rings once per setting."""

    def set(self, at_ns: int) -> None:
        """Ring when the boot-time clock reaches `at_ns`; replaces an earlier setting."""

    def close(self) -> None:
        """Ring no more."""


class AnchoredClock:
    """The time base over any three sources of nanoseconds; all waiters share one alarm.

    `alarm` makes the alarm from the callback to ring; `vouched` says whether the wall clock is known to be right. The
    loop must be the one that waiters run on.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        wall_ns: Callable[[], int],
        boot_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
        alarm: Callable[[Callable[[], None]], Alarm],
        vouched: Callable[[], bool] = lambda: False,
    ) -> None:
        self._loop = loop
        self._vouched = vouched
        self._wall_ns = wall_ns
        self._boot_ns = boot_ns
        self.now_ns = monotonic_ns
        self._anchor_ns = wall_ns() - boot_ns()
        self._alarm = alarm(self._ring)
        self._waiters: list[tuple[int, int, _Call]] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self._set_for_us: int | None = None
        self._count = 0

    def now_us(self) -> int:
        """Microseconds UTC on the time base."""
        return (self._anchor_ns + self._boot_ns()) // 1000

    def offset_us(self) -> int:
        """Wall clock minus time base, in microseconds."""
        return (self._wall_ns() - self._boot_ns() - self._anchor_ns) // 1000

    def take_step(self) -> Step | None:
        """The step of the wall clock since the last look, if there was one that is believed; now is corrected by it."""
        delta_us = self.offset_us()
        if abs(delta_us) <= MAX_OFFSET_US or (abs(delta_us) > BELIEVED_STEP_US and not self._vouched()):
            return None
        self._anchor_ns += delta_us * 1000
        self._set_for_us = None
        self._set_alarm()
        return Step(at_us=self.now_us(), delta_us=delta_us)

    async def wait_until(self, at_us: int) -> None:
        """Return at `at_us` of the time base or after it, never before. Waiters of one instant wake in their order."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.add(future)
        call = self.call_at(at_us, lambda: _wake(future))
        try:
            await future
        finally:
            self._waiting.discard(future)
            call.cancel()

    def call_at(self, at_us: int, callback: Callable[[], None]) -> Timer:
        """Call back once, at `at_us` of the time base or after it, never before; not before this call has returned."""
        if self.now_us() >= at_us:
            # Those who are never ahead of time must still let the others run.
            return self._loop.call_soon(callback)
        call = _Call(callback)
        self._count += 1
        heapq.heappush(self._waiters, (at_us, self._count, call))
        self._set_alarm()
        return call

    def call_after(self, delay_us: int, callback: Callable[[], None]) -> Timer:
        """Call back once, `delay_us` of monotonic time from now or later, whatever the wall clock does."""
        return self._loop.call_later(delay_us / 1e6, callback)

    def close(self) -> None:
        """Let go of the timer. Waiters still there are cancelled."""
        self._alarm.close()
        self._waiters.clear()
        for future in self._waiting:
            future.cancel()

    def _ring(self) -> None:
        self._set_for_us = None
        now_us = self.now_us()
        try:
            while self._waiters and self._waiters[0][0] <= now_us:
                heapq.heappop(self._waiters)[2].ring()
        finally:
            self._set_alarm()

    def _set_alarm(self) -> None:
        while self._waiters and self._waiters[0][2].callback is None:
            heapq.heappop(self._waiters)
        if self._waiters and self._waiters[0][0] != self._set_for_us:
            self._set_for_us = self._waiters[0][0]
            self._alarm.set(self._set_for_us * 1000 - self._anchor_ns)


def live_clock(loop: asyncio.AbstractEventLoop) -> AnchoredClock:
    """The clock of a running daemon. Where the system has no timerfd or no boot-time clock, the loop's timers serve."""
    clock_id = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    boot_ns = functools.partial(time.clock_gettime_ns, clock_id)  # several times a run: no function around it

    def alarm(ring: Callable[[], None]) -> Alarm:
        try:
            return TimerfdAlarm(loop, Timerfd(clock_id), ring)
        except (OSError, AttributeError):
            return LoopAlarm(loop, boot_ns, ring)

    return AnchoredClock(
        loop,
        wall_ns=time.time_ns,
        boot_ns=boot_ns,
        monotonic_ns=time.monotonic_ns,
        alarm=alarm,
        vouched=lambda: wall_sync().synchronised is True,
    )


class LoopAlarm:
    """An alarm by the event loop's own timers: late by up to a millisecond, and by a suspend of the machine."""

    def __init__(self, loop: asyncio.AbstractEventLoop, boot_ns: Callable[[], int], ring: Callable[[], None]) -> None:
        self._loop = loop
        self._boot_ns = boot_ns
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at_ns: int) -> None:
        """Ring when the boot-time clock reaches `at_ns`; replaces an earlier setting."""
        self.close()
        # A microsecond at least: what a float cannot add to the loop's time would ring for ever without time passing.
        self._handle = self._loop.call_later(max(1000, at_ns - self._boot_ns()) / 1e9, self._ring)

    def close(self) -> None:
        """Ring no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class TimerfdAlarm:
    """An alarm by a timerfd: nanoseconds where the loop's timers round to milliseconds (PERF 6)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timerfd: Timerfd, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._timerfd = timerfd
        self._ring = ring
        loop.add_reader(timerfd.fd, self._readable)

    def set(self, at_ns: int) -> None:
        """Ring when the boot-time clock reaches `at_ns`; replaces an earlier setting."""
        self._timerfd.set(max(1, at_ns))  # zero would disarm; the past rings at once

    def close(self) -> None:
        """Ring no more, and give the descriptor back."""
        if self._timerfd.fd >= 0:
            self._loop.remove_reader(self._timerfd.fd)
            self._timerfd.close()

    def _readable(self) -> None:
        try:
            os.read(self._timerfd.fd, 8)
        except BlockingIOError:
            return  # set anew between ringing and reading
        self._ring()


class _TimeSpec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("it_interval", _TimeSpec), ("it_value", _TimeSpec))


class Timerfd:
    """The system's timer descriptor, by the C library: Python itself has the calls only since 3.13.

    AttributeError or OSError where the system has none.
    """

    def __init__(self, clock_id: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(clock_id, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise _os_error("make the schedule's timer")

    def set(self, at_ns: int) -> None:
        """Become readable when the clock reaches `at_ns`, which is not 0."""
        spec = _TimerSpec()
        spec.it_value.tv_sec, spec.it_value.tv_nsec = divmod(at_ns, 1_000_000_000)
        if self._libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
            raise _os_error("set the schedule's timer")

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)
        self.fd = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """What the kernel knows of the wall clock: whether something keeps it right (None: it does not say), and how far it
    is ahead of that (None: not known).
    """

    synchronised: bool | None
    offset_us: int | None = None


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "tv_sec", "tv_usec")),
        ("rest", ctypes.c_byte * 256),  # more than there is: the kernel writes what it has
    )


def wall_sync() -> Sync:
    """What adjtimex(2) says of the wall clock, read and not set: any user may.

    The kernel vouches for its own clock. Where ours tells another time (a library fakes it), nobody vouches for it.
    """
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return Sync(synchronised=None)
    if state < 0:
        return Sync(synchronised=None)
    ours_us, nano = wall_us(), bool(timex.status & _STA_NANO)
    theirs_us = timex.tv_sec * 1_000_000 + timex.tv_usec // (1000 if nano else 1)
    if state == _TIME_ERROR or timex.status & _STA_UNSYNC or abs(ours_us - theirs_us) > MAX_OFFSET_US:
        return Sync(synchronised=False)
    # The kernel's offset is what it still has to add: a clock that is ahead has a negative one.
    return Sync(synchronised=True, offset_us=-timex.offset // (1000 if nano else 1))


def _os_error(what: str) -> OSError:
    errno = ctypes.get_errno()
    return OSError(errno, f"{what}: {os.strerror(errno)}")


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def pause(clock: Clock, delay_us: int) -> None:
    """Return after so much monotonic time, or a little later, whatever the wall clock does meanwhile."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_after(delay_us, lambda: _wake(future))
    try:
        await future
    finally:
        timer.cancel()


def wall_us() -> int:
    """Microseconds UTC by the wall clock: the now of a verb that asks once and ends. A daemon has its time base."""
    return time.time_ns() // 1000

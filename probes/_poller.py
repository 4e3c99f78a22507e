"""Sockets in one edge-triggered epoll set, and the deadlines of those who wait for them.

The set is nested in the event loop as one file descriptor (a fresh connection costs six system calls; the loop's own
selector would add four), and who waits is resumed by the poller itself, not by a turn of the loop for the event and
another one for the task. A deadline that fires late proves that our loop stood still: the peer gets one grace turn for
what already lies in the kernel, and the attempt is marked tainted (FAULTS rule 2).
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import heapq
import os
import select
import socket
import types
from collections.abc import Callable, Generator
from typing import Any

from probes import Context, FailReason, InconclusiveReason, OwnFault, ProbeError
from probes._stamp import ask_for_stamps

LATE_NS = 100_000_000  # a deadline that fires later than this proves that the loop stopped …
GRACE_NS = 250_000_000  # … and what has arrived meanwhile gets this long to be read
_SHORTEST_S = 0.001  # loops round what is shorter to nothing, and spin
_NEVER = 1 << 63

_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_BATCH = 256

_NUMBERS = (1 << 24) - 1  # of alarms at one instant
_STALE = 256  # alarms that nobody waits for, kept until they are swept out

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.EADDRINUSE})
# Refused by this machine before a packet left it: no route, link down, a local firewall.
_NO_WAY_OUT = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT}
)

_FIREWALLED = frozenset({errno.ENETDOWN, errno.EPERM, errno.EACCES})


@types.coroutine
def give_way() -> Generator[None, None, None]:
    """Let everything else that is ready have one turn of the loop."""
    yield


def time_is_up(doing: str) -> ProbeError:
    """The failure of an attempt that did not finish within its deadline."""
    return ProbeError(FailReason.TIMEOUT, f"time ran out while {doing}")


def cause(error: OSError) -> str:
    """What an error of the system says, as the end of a sentence."""
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__


def own_fault(error: OSError, doing: str) -> OwnFault | None:
    """`error` as a fault of this machine, or None if it may be the target's."""
    said = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in _EXHAUSTED:
        return OwnFault(InconclusiveReason.INTERNAL, f"{doing}: {said}")
    if error.errno in _NO_WAY_OUT:
        return OwnFault(InconclusiveReason.OWN_NETWORK, f"{doing}: {said}")
    return None


def is_refused_here(code: int) -> bool:
    """Whether an error that a connection under way has come to is this machine's for sure, whoever may have said so."""
    return code in _EXHAUSTED or code in _FIREWALLED


class Waiter:
    """One that waits until somebody wakes it or time is up, with the grace turn of FAULTS rule 2. One wait at a time.

    It is what a task waits for as it would for a Future (the protocol that `asyncio.isfuture` tells by), so that `wake`
    resumes the task at once instead of two turns of the loop later. Who waits here says `_asyncio_future_blocking` and
    yields it, in `wait` or where a call less counts.
    """

    __slots__ = (
        "_alarm",
        "_asyncio_future_blocking",
        "_cancelled",
        "_context",
        "_loop",
        "_resume",
        "at_ns",
        "ctx",
        "expired",
        "poller",
    )

    def __init__(self, ctx: Context, at_ns: int, poller: Poller) -> None:
        self.ctx = ctx
        self.poller = poller
        self.at_ns = at_ns
        self._loop = poller.loop
        self._resume: Callable[[Waiter], object] | None = None
        self._asyncio_future_blocking = self.expired = self._cancelled = False
        self._alarm = poller.arm(self, at_ns)

    def wait_until(self, at_ns: int) -> None:
        """Let time be up at another instant."""
        if at_ns != self.at_ns:
            self.wait_no_more()
            self.at_ns, self.expired = at_ns, False
            self._alarm = self.poller.arm(self, at_ns)

    def wait_no_more(self) -> None:
        """Let time never be up."""
        self.poller.disarm(self._alarm)

    def fire(self, now_ns: int) -> None:
        """Time is up, says the poller."""
        if not self.ctx.tainted and now_ns - self.at_ns > LATE_NS:
            self.ctx.tainted = True
            self._alarm = self.poller.arm(self, now_ns + GRACE_NS)
            return
        self.expired = True
        self.wake()

    @types.coroutine
    def wait(self, doing: str, target: str) -> Generator[Waiter, None, None]:
        """Until somebody wakes it; ProbeError(TIMEOUT) when time is up first, saying what was done to what."""
        if not self.expired:
            self._asyncio_future_blocking = True
            yield self
        if self.expired:
            raise time_is_up(f"{doing} {target}")

    def wake(self) -> None:
        """Resume the task that waits here, now; nothing if none does. Only from a callback of the loop."""
        resume = self._resume
        if resume is not None:
            self._resume = None
            self._context.run(resume, self)

    # What a task asks of a Future; its loop too, by `_loop`.

    def add_done_callback(self, resume: Callable[[Waiter], object], *, context: contextvars.Context) -> None:
        self._resume = resume
        self._context = context

    def result(self) -> None:
        if self._cancelled:
            self._cancelled = False
            raise asyncio.CancelledError

    def cancel(self, msg: Any = None) -> bool:  # noqa: ANN401, ARG002 - as a Future's
        resume = self._resume
        if resume is None:
            return False
        self._resume, self._cancelled = None, True
        self._loop.call_soon(resume, self, context=self._context)
        return True


class Poller:
    """All sockets of one network in one epoll set, which the loop watches as a single file descriptor, and all its
    deadlines in one heap under a single timer of the loop. The contexts of a network share one clock.
    """

    __slots__ = (
        "_armed",
        "_due",
        "_epoll",
        "_fresh",
        "_number",
        "_ring_at_ns",
        "_stamping",
        "_timer",
        "_watched",
        "loop",
    )

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        try:
            self._epoll = select.epoll()
        except OSError as error:
            raise own_fault(error, "opening an epoll set") or error from None
        try:
            # The kernel stamps as long as some socket asks for it; beginning and ending with each probe would be dear.
            self._stamping = socket.SocketType(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        except OSError as error:
            self._epoll.close()
            raise own_fault(error, "opening a socket") or error from None
        ask_for_stamps(self._stamping)
        self._watched: dict[int, Callable[[int], None]] = {}
        self._fresh: set[int] = set()
        self._due: list[int] = []  # a heap of alarms …
        self._armed: dict[int, Waiter] = {}  # … of which only these are still to fire
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._ring_at_ns = _NEVER
        self.loop.add_reader(self._epoll.fileno(), self._drain)

    def add(self, fd: int, on_events: Callable[[int], None], events: int = _EVENTS) -> None:
        """Tell `on_events` of each change of a socket; OSError where the set cannot take it."""
        self._epoll.register(fd, events)
        self._watched[fd] = on_events
        self._fresh.add(fd)

    def change(self, fd: int, events: int) -> None:
        """Look for other events of a socket from now on."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Before the socket is closed, which takes it out of the set by itself."""
        del self._watched[fd]

    def _drain(self) -> None:
        watched, fresh = self._watched, self._fresh
        fresh.clear()
        for fd, events in self._epoll.poll(0, _BATCH):
            on_events = watched.get(fd)
            # A number given to another socket since the poll: the event was its predecessor's.
            if on_events is not None and fd not in fresh:
                on_events(events)

    def arm(self, waiter: Waiter, at_ns: int) -> int:
        """Fire `waiter` at an instant of its clock, never before; the alarm that it is disarmed by.

        An alarm is its instant and, to tell it from others of that instant, a number: integers are compared ten times
        cheaper than tuples.
        """
        self._number = number = self._number + 1 & _NUMBERS
        alarm = at_ns << 24 | number
        self._armed[alarm] = waiter
        heapq.heappush(self._due, alarm)
        if at_ns < self._ring_at_ns:
            self._set_timer(at_ns, waiter.ctx.now_ns(), 0)
        return alarm

    def disarm(self, alarm: int) -> None:
        """Never fire it; nothing if it has fired."""
        armed = self._armed
        armed.pop(alarm, None)
        if len(self._due) > 2 * len(armed) + _STALE:
            self._due = list(armed)
            heapq.heapify(self._due)

    def _set_timer(self, at_ns: int, now_ns: int, shortest_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._ring_at_ns = at_ns
        self._timer = self.loop.call_later(max((at_ns - now_ns) / 1e9, shortest_s), self._ring)

    def _ring(self) -> None:
        """Fire what is due, and sleep until what is due next."""
        self._timer, self._ring_at_ns = None, _NEVER
        while self._due:
            alarm = self._due[0]
            waiter = self._armed.get(alarm)
            if waiter is None:
                heapq.heappop(self._due)
                continue
            now_ns, at_ns = waiter.ctx.now_ns(), alarm >> 24
            if now_ns < at_ns:
                if at_ns < self._ring_at_ns:
                    self._set_timer(at_ns, now_ns, _SHORTEST_S)
                return
            heapq.heappop(self._due)
            del self._armed[alarm]
            waiter.fire(now_ns)

    def close(self) -> None:
        """Let go of the set and of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._epoll.closed:
            if not self.loop.is_closed():
                self.loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._stamping.close()

    @property
    def watched(self) -> int:
        """How many sockets are in the set."""
        return len(self._watched)

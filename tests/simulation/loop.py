"""A virtual-time event loop for tests: real sockets and files, time that jumps when nothing is left to do.

Before it jumps, `select` polls real I/O, and it does not jump while a call is under way in an executor. A
socket that is connected may have bytes in flight inside the kernel: it gets a real millisecond first (FAULTS, rule 6).
"""

from __future__ import annotations

import asyncio
import math
import os
import selectors
import socket
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from monitor.clock import AnchoredClock, LoopAlarm

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

STUCK_S = 60.0
IN_FLIGHT_S = 0.001


class _JumpingSelector(selectors.BaseSelector):
    """The real selector, and a jump of the loop's time where it would have waited."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self._connected: set[int] = set()
        self.loop: VirtualLoop | None = None

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        key = self._real.register(fileobj, events, data)
        if self.loop is not None and _is_connected(key.fd):
            self._connected.add(key.fd)
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        key = self._real.unregister(fileobj)
        self._connected.discard(key.fd)
        return key

    def modify(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        mapping = self._real.get_map()
        assert mapping is not None
        return mapping

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.loop is not None and self.loop.verdict is not None:
            raise self.loop.verdict
        events = self._real.select(0)
        if events or timeout == 0:
            return events
        assert self.loop is not None
        if self._connected:
            events = self._real.select(IN_FLIGHT_S)
            if events:
                return events
        if self.loop.outside or timeout is None:
            events = self._real.select(STUCK_S)
            assert events, "nothing can ever happen: no timer, no I/O, or a call outside that does not end"
            return events
        self.loop.jump(timeout)
        return []


def _is_connected(fd: int) -> bool:
    """Whether the descriptor is a socket that does not merely listen."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    view = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    try:
        return not view.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    finally:
        view.detach()


class VirtualLoop(asyncio.SelectorEventLoop):
    """The standard loop on virtual time, which starts at 0 and is kept in integer nanoseconds."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        self._now_ns = 0
        self.outside = 0
        self.verdict: BaseException | None = None
        super().__init__(selector)
        selector.loop = self  # from now on: the loop's own pipe is registered and does not count
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._now_ns / 1e9

    def time_ns(self) -> int:
        return self._now_ns

    def jump(self, by_s: float) -> None:
        """Move the time on: what the loop does where it would have waited; a test calls it to stall the process."""
        self._now_ns += math.ceil(by_s * 1e9)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:  # noqa: ANN401 - as the standard loop's
        task = super().create_task(coro, **options)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """A verdict of pytest (its time limit) that hit a task ends the loop: schedules repeat for ever, and a task
        that others only wait for would keep the verdict to itself.
        """
        ended_by = task._exception
        if ended_by is not None and not isinstance(ended_by, (Exception, asyncio.CancelledError)):
            self.verdict = ended_by

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., Any], *args: object
    ) -> asyncio.Future[Any]:
        self.outside += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._back)
        return future

    def _back(self, _future: asyncio.Future[Any]) -> None:
        self.outside -= 1


class SimulatedClock(AnchoredClock):
    """The time base on virtual time. `step` moves the wall clock alone, as an operator's `date` or NTP would;
    `suspend` lets boot time pass while monotonic time stands, as a sleeping machine does. `vouched` is what the kernel
    would say of the wall clock.
    """

    def __init__(self, loop: VirtualLoop, start_us: int) -> None:
        self._offset_ns = 0
        self._suspended_ns = 0
        self.vouched = False

        def boot_ns() -> int:
            return loop.time_ns() + self._suspended_ns

        def wall_ns() -> int:
            return start_us * 1000 + boot_ns() + self._offset_ns

        super().__init__(
            loop,
            wall_ns=wall_ns,
            boot_ns=boot_ns,
            monotonic_ns=loop.time_ns,
            alarm=lambda ring: LoopAlarm(loop, boot_ns, ring),
            vouched=lambda: self.vouched,
        )

    def step(self, by_us: int) -> None:
        self._offset_ns += by_us * 1000

    def suspend(self, for_us: int) -> None:
        self._suspended_ns += for_us * 1000
        self._ring()

"""Sees from outside the event loop that it stands still, and says once where (FAULTS, F9)."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable

import structlog

LOOK_S = 0.25
STANDS_STILL_US = 1_000_000
MAX_FRAMES = 20

_log = structlog.get_logger("jaga.app")


class Watchdog:
    """A thread that looks whether the loop's pulse is overdue, and logs the stack that holds it up, once a stall.

    `overdue_us()` says by how much the pulse is overdue, `now_ns` is monotonic; both are called in the thread. Made on
    the thread that runs the loop. A machine that stood still as a whole (stopped, suspended) is no blocking call: then
    this thread overslept too, and says nothing.
    """

    def __init__(self, *, overdue_us: Callable[[], int], now_ns: Callable[[], int]) -> None:
        self.stalls = 0
        self._overdue_us, self._now_ns = overdue_us, now_ns
        self._loop_thread = threading.get_ident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when the thread has ended."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        told, looked_ns = False, self._now_ns()
        while not self._stop.wait(LOOK_S):
            now_ns = self._now_ns()
            overslept_us = (now_ns - looked_ns) // 1000 - round(LOOK_S * 1e6)
            looked_ns, overdue_us = now_ns, self._overdue_us()
            stands = overdue_us > STANDS_STILL_US and overslept_us < STANDS_STILL_US // 2
            if stands and not told:
                self.stalls += 1
                _log.error("the event loop stands still", overdue_ms=overdue_us // 1000, frames=self._frames())
            told = stands

    def _frames(self) -> list[str]:
        """Where the loop's thread is: file, line and function, the innermost last; never what variables hold."""
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the documented way to another thread's stack
        frames = traceback.extract_stack(frame)[-MAX_FRAMES:] if frame is not None else []
        return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]

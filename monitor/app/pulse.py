"""The daemon's own pulse: whether the event loop kept turning, and whether the wall clock stepped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from monitor.clock import Clock, Step, Timer

BEAT_US = 500_000
STALL_US = 100_000
"""A beat this late says that the loop stood still: what was measured of time meanwhile proves nothing (FAULTS 2)."""

REMEMBERED = 256


class Pulse:
    """Beats twice a second on the loop's own timers; `on_step` is told of each step of the wall clock, once, and
    `on_beat` of each beat.
    """

    def __init__(
        self, clock: Clock, on_step: Callable[[Step], None], on_beat: Callable[[], None] = lambda: None
    ) -> None:
        self._clock = clock
        self._on_beat = on_beat
        self._on_step = on_step
        self._stalls: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)
        self._timer: Timer | None = None
        self._due_ns = 0
        self._worst_us = 0

    def start(self) -> None:
        """Begin to beat."""
        self._due_ns = self._clock.now_ns() + BEAT_US * 1000
        self._timer = self._clock.call_after(BEAT_US, self._beat)

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stood_still(self, from_ns: int, to_ns: int) -> bool:
        """Whether the loop stopped for a while between two instants of the monotonic clock."""
        overdue = self._timer is not None and self._clock.now_ns() - self._due_ns > STALL_US * 1000
        if overdue and self._due_ns < to_ns:
            return True
        return any(begun_ns < to_ns and ended_ns > from_ns for begun_ns, ended_ns in self._stalls)

    def overdue_us(self) -> int:
        """By how much the next beat is overdue; 0 while it is not, or none is waited for."""
        return max(0, self._clock.now_ns() - self._due_ns) // 1000 if self._timer is not None else 0

    def take_worst_us(self) -> int:
        """The longest delay of a beat since the last call."""
        worst_us, self._worst_us = self._worst_us, 0
        return worst_us

    def _beat(self) -> None:
        now_ns = self._clock.now_ns()
        late_us = (now_ns - self._due_ns) // 1000
        self._worst_us = max(self._worst_us, late_us)
        if late_us > STALL_US:
            # It stopped some time after the beat before: when exactly is not known.
            self._stalls.append((self._due_ns - BEAT_US * 1000, now_ns))
        step = self._clock.take_step()
        self.start()
        if step is not None:
            self._on_step(step)
        self._on_beat()

"""The heart, on a virtual clock and a real notify socket: it beats while the schedule goes on, and only then."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from monitor.app.heart import Heart
from monitor.clock import Step
from monitor.sdnotify import Notifier

DEADLINE_US = 30_000_000


@dataclass
class Timing:
    """A timer of the clock below."""

    at_us: int
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Stepped:
    """A clock that is moved by hand and rings what comes due."""

    us: int = 5_000_000
    timers: list[Timing] = field(default_factory=list)

    def now_us(self) -> int:
        return self.us

    def now_ns(self) -> int:
        return self.us * 1000

    async def wait_until(self, at_us: int) -> None:
        raise AssertionError(at_us)

    def call_at(self, at_us: int, callback: Callable[[], None]) -> Timing:
        raise AssertionError(at_us, callback)

    def call_after(self, delay_us: int, callback: Callable[[], None]) -> Timing:
        timer = Timing(self.us + delay_us, callback)
        self.timers.append(timer)
        return timer

    def take_step(self) -> Step | None:
        return None

    def offset_us(self) -> int:
        return 0

    def close(self) -> None:
        return

    def forward(self, us: int) -> None:
        until_us = self.us + us
        while due := [timer for timer in self.timers if not timer.cancelled and timer.at_us <= until_us]:
            first = min(due, key=lambda timer: timer.at_us)
            self.timers.remove(first)
            self.us = first.at_us
            first.callback()
        self.us = until_us


@dataclass
class Watched:
    """A heart, what it is told, and what the manager hears."""

    sock: socket.socket
    heart: Heart
    clock: Stepped
    behind_us: int = 0
    why_not: str | None = None

    def heard(self) -> list[str]:
        messages: list[str] = []
        while True:
            try:
                messages.append(self.sock.recv(4096, socket.MSG_DONTWAIT).decode())
            except BlockingIOError:
                return messages


def watched(folder: Path, deadline_us: int | None = DEADLINE_US) -> Watched:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(folder / "notify"))
    clock = Stepped()
    notifier = Notifier(address=str(folder / "notify"), watchdog_interval_us=deadline_us)
    found: Watched

    heart = Heart(notifier, clock, behind_us=lambda: found.behind_us, why_not=lambda: found.why_not)
    found = Watched(sock, heart, clock)
    return found


@pytest.fixture
def beating(tmp_path: Path) -> Iterator[Watched]:
    found = watched(tmp_path)
    yield found
    found.sock.close()


def test_it_says_ready_first_and_then_beats_four_times_a_deadline(beating: Watched) -> None:
    beating.heart.ready()
    assert beating.heard() == ["READY=1", "WATCHDOG=1", "STATUS=watching"]
    beating.clock.forward(DEADLINE_US)
    assert beating.heard() == ["WATCHDOG=1"] * 4


def test_a_schedule_that_stands_still_is_silence_and_told_once(beating: Watched) -> None:
    beating.heart.ready()
    beating.heard()
    beating.behind_us = DEADLINE_US // 2 + 1
    with capture_logs() as logs:
        beating.clock.forward(2 * DEADLINE_US)
    assert beating.heard() == []
    assert [line["event"] for line in logs] == ["schedule stands still"]
    beating.behind_us = 0
    beating.clock.forward(DEADLINE_US // 4)
    assert beating.heard() == ["WATCHDOG=1"]


def test_a_slot_that_is_a_little_late_is_no_standstill(beating: Watched) -> None:
    beating.heart.ready()
    beating.behind_us = DEADLINE_US // 2
    beating.heard()
    beating.clock.forward(DEADLINE_US // 4)
    assert beating.heard() == ["WATCHDOG=1"]


def test_people_are_told_what_changed_and_when_it_is_over(beating: Watched) -> None:
    beating.heart.ready()
    beating.heard()
    beating.why_not = "the store fails since …"
    beating.clock.forward(DEADLINE_US)
    beating.why_not = None
    beating.clock.forward(DEADLINE_US)
    assert [line for line in beating.heard() if line != "WATCHDOG=1"] == [
        "STATUS=the store fails since …",
        "STATUS=watching",
    ]


def test_a_reload_begins_on_the_managers_clock_and_ends(beating: Watched) -> None:
    beating.heart.reloading()
    beating.heart.reloaded()
    assert beating.heard() == ["RELOADING=1\nMONOTONIC_USEC=5000000", "READY=1"]


def test_after_stopping_it_beats_no_more(beating: Watched) -> None:
    beating.heart.ready()
    beating.heard()
    beating.heart.stopping()
    beating.clock.forward(2 * DEADLINE_US)
    assert beating.heard() == ["STOPPING=1"]


def test_without_a_watchdog_there_is_only_the_line_for_people(tmp_path: Path) -> None:
    found = watched(tmp_path, None)
    found.heart.ready()
    found.clock.forward(DEADLINE_US)
    assert found.heard() == ["READY=1", "STATUS=watching"]
    found.sock.close()


def test_a_manager_that_went_away_is_told_once(beating: Watched, tmp_path: Path) -> None:
    beating.heart.ready()
    (tmp_path / "notify").unlink()
    with capture_logs() as logs:
        beating.clock.forward(2 * DEADLINE_US)
    assert [line["event"] for line in logs] == ["service manager not told"]


def test_without_a_manager_nothing_is_set_up() -> None:
    clock = Stepped()
    heart = Heart(Notifier(), clock, behind_us=lambda: 0, why_not=lambda: None)
    heart.ready()
    heart.stopping()
    assert clock.timers == []

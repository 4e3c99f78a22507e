"""The story as a script: what it breaks and announces, in which order, within which time; and how it is shown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from monitor.core.calendar import Month
from monitor.core.check import Check, CheckList
from monitor.core.instant import SECOND_US
from monitor.core.span import Span
from monitor.core.verdict import Rule, Standing, Verdict
from monitor.demo.saas import Mode, Saas
from monitor.demo.settings import NOTICE_US, SERVICE
from monitor.demo.story import DemoError, Stage, Story
from monitor.demo.view import LiveView, PlainView, outage_text
from monitor.ledger.command import AnnounceMaintenance, Command
from monitor.ledger.standing import ServiceStanding, WindowStanding

START_US = 1_790_000_000_000_000
NAMES = ("log-in", "list-servers", "order", "health")


def standing(failing: int = 0, unknown: int = 0, **changes: object) -> ServiceStanding:
    verdict = Verdict.UNKNOWN if unknown else Verdict.DOWN if failing > 2 else Verdict.UP
    found = ServiceStanding(
        service=SERVICE,
        name="Sample cloud",
        at_us=START_US,
        standing=Standing(
            verdict=verdict,
            rule=Rule.MAJORITY if verdict is Verdict.DOWN else None,
            failing=NAMES[:failing],
            unknown=NAMES[failing : failing + unknown],
            passing=NAMES[failing + unknown :],
            why=f"{failing} of 4 checks fail",
        ),
        checks=CheckList(
            service=SERVICE,
            at_us=START_US,
            interval_us=1,
            timeout_us=1,
            stale_after_us=4,
            checks=tuple(Check(id=name) for name in NAMES),
        ),
        outage_start_us=START_US - 5 * SECOND_US if verdict is Verdict.DOWN else None,
        windows=(),
        current=(),
        previous=(),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


class _Clock:
    """Time that passes only when somebody waits for it."""

    def __init__(self) -> None:
        self.now = START_US

    def now_us(self) -> int:
        return self.now

    async def wait_until(self, at_us: int) -> None:
        self.now = max(self.now, at_us)


class _Recorder:
    """Plays daemon and audience."""

    def __init__(self) -> None:
        self.clock = _Clock()
        self.saas = Saas()
        self.modes: list[tuple[Mode, int]] = []
        self.announced: list[tuple[AnnounceMaintenance, int]] = []
        self.acts: list[str] = []
        self.unknown = 2

    def stage(self) -> Stage:
        return Stage(
            saas=self.saas,
            clock=self.clock,
            month=lambda _at_us: Month(2026, 9),
            standings=self.standings,
            decide=self.decide,
        )

    async def standings(self) -> Sequence[ServiceStanding]:
        if not self.modes or self.modes[-1][0] is not self.saas.mode:
            self.modes.append((self.saas.mode, self.clock.now))
        self.unknown = max(0, self.unknown - 1)
        return [standing(unknown=self.unknown)]

    async def decide(self, command: Command) -> Sequence[str]:
        assert isinstance(command, AnnounceMaintenance)
        self.announced.append((command, self.clock.now))
        return ()

    def act(self, title: str, text: str) -> None:
        assert text
        self.acts.append(title)

    def show(self, standing: ServiceStanding, window: str | None) -> None:
        assert standing.service == SERVICE


async def test_the_story_runs_its_course_in_time() -> None:
    recorder = _Recorder()
    months = await Story(recorder.stage(), recorder).tell()
    assert months == (Month(2026, 9),)
    took_s = (recorder.clock.now - START_US) / SECOND_US
    assert 70 < took_s < 95
    assert [mode for mode, _at in recorder.modes] == [
        Mode.HEALTHY,
        Mode.HALF,
        Mode.MOST,
        Mode.HEALTHY,
        Mode.ALL,
        Mode.HEALTHY,
        Mode.ALL,
        Mode.HEALTHY,
    ]


async def test_one_window_has_its_notice_and_covers_the_work_the_other_has_not() -> None:
    recorder = _Recorder()
    await Story(recorder.stage(), recorder).tell()
    (in_time, told_us), (late, told_late_us) = recorder.announced
    assert in_time.start_us - told_us >= NOTICE_US
    assert late.start_us - told_late_us < NOTICE_US
    edges = [at_us for _mode, at_us in recorder.modes]
    broken = Span(edges[4], edges[5])
    assert in_time.start_us <= broken.start_us < broken.end_us < in_time.end_us
    assert late.start_us <= edges[6] < edges[7] <= late.end_us
    for command, at_us in recorder.announced:
        assert [notice.at_us for notice in command.notified] == [at_us]


async def test_the_counted_downtime_breaks_the_promise_in_every_month() -> None:
    recorder = _Recorder()
    await Story(recorder.stage(), recorder).tell()
    edges = [at_us for _mode, at_us in recorder.modes]
    counted_us = (edges[3] - edges[2]) + (edges[7] - edges[6])
    # Finding out and recovery cost up to about a second each, four times.
    assert counted_us - 4 * SECOND_US > 31 * 86_400 * SECOND_US // 100_000


async def test_without_a_verdict_it_gives_up_and_says_so() -> None:
    recorder = _Recorder()
    recorder.unknown = 10_000
    with pytest.raises(DemoError, match="no verdict within 30 s"):
        await Story(recorder.stage(), recorder).tell()


def test_plain_lines_tell_changes_once() -> None:
    lines: list[str] = []
    with PlainView(lines.append) as view:
        view.act("Healthy", "All pass.")
        for _ in range(5):
            view.show(standing(), None)
        view.show(standing(failing=3), "upgrade: announced in time")
        view.show(standing(failing=3), "upgrade: announced in time")
    assert [line for line in lines if "UP" in line] == [lines[3]]
    assert len([line for line in lines if "DOWN" in line]) == 1
    assert len([line for line in lines if "window: upgrade" in line]) == 1
    assert "[log-in, list-servers, order]" in lines[-1]


def test_an_outage_in_a_valid_window_says_that_it_is_excluded() -> None:
    window = WindowStanding(
        id="m-1",
        span=Span(START_US - 1, START_US + 1),
        summary="x",
        running=True,
        rejected=(),
    )
    assert outage_text(standing(failing=3)).endswith("5 s, counts")
    assert "excluded now" in outage_text(standing(failing=3, windows=(window,)))
    assert outage_text(standing()) == "none"


def test_the_live_picture_has_every_check_and_the_reason() -> None:
    view = LiveView((("metrics", "http://127.0.0.1:1/metrics"),))
    view.act("More than half fails", "three of four")
    view.show(standing(failing=3), "upgrade")
    console = Console(file=io.StringIO(), width=120)
    console.print(view._picture())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for piece in (*NAMES, "DOWN", "3 of 4 checks fail", "upgrade", "http://127.0.0.1:1/metrics", "since"):
        assert piece in shown

"""Two ways to watch the demo: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from monitor.core.availability import floor_text
from monitor.core.instant import SECOND_US, format_seconds, to_datetime
from monitor.core.terms import percent_text
from monitor.core.verdict import Verdict
from monitor.demo.story import month_so_far
from monitor.ledger.standing import ServiceStanding

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

_STYLES = {"pass": "green", "fail": "bold red", "no evidence": "yellow"}
_VERDICT_STYLES = {Verdict.UP: "bold green", Verdict.DOWN: "bold red", Verdict.UNKNOWN: "bold yellow"}


def clock_text(at_us: int) -> str:
    """`13:05:07`, UTC."""
    return to_datetime(at_us).strftime("%H:%M:%S")


def outage_text(standing: ServiceStanding) -> str:
    """Since when it is down, for how long, and whether it counts now."""
    if standing.outage_start_us is None:
        return "none"
    lasted_s = (standing.at_us - standing.outage_start_us) // SECOND_US
    counts = "excluded now, by maintenance" if standing.in_maintenance else "counts"
    return f"since {clock_text(standing.outage_start_us)} UTC, {lasted_s} s, {counts}"


def month_text(standing: ServiceStanding) -> str:
    """The month so far, in the contract's figures."""
    figures = month_so_far(standing)
    if figures is None:
        return "none yet"
    account = figures.account
    kept = "kept" if figures.guarantee_met else "MISSED"
    return (
        f"{_seconds(account.down_us)} s counted, {_seconds(account.excluded_us)} s excluded; "
        f"{floor_text(figures.availability)} % at best, guarantee {percent_text(figures.terms.guarantee)} % {kept}, "
        f"credit {percent_text(figures.credit.percent)} %"
    )


def _seconds(duration_us: int) -> str:
    return format_seconds(duration_us)[:-5]


def _states(standing: ServiceStanding) -> list[tuple[str, str]]:
    """Each check in the order of the configuration with its state."""
    now = standing.standing
    found = dict.fromkeys(now.failing, "fail") | dict.fromkeys(now.passing, "pass")
    found |= dict.fromkeys(now.unknown, "no evidence")
    order = [check.id for check in standing.checks.checks] if standing.checks else sorted(found)
    return [(check, found[check]) for check in order if check in found]


class PlainView:
    """A line whenever something changed."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last: tuple[object, ...] | None = None

    def __enter__(self) -> Self:
        """Nothing to prepare."""
        return self

    def __exit__(self, *_ended: object) -> None:
        """Nothing to undo."""

    def act(self, title: str, text: str) -> None:
        """The title, and what happens below it."""
        self._say("")
        self._say(f"== {title}")
        self._say(f"   {text}")

    def show(self, standing: ServiceStanding, window: str | None) -> None:
        """A line when the verdict, the reason for it, or the window changed."""
        now = standing.standing
        excused = now.verdict is Verdict.DOWN and standing.in_maintenance
        state = (now.verdict, now.why, now.failing, excused, window)
        if state == self._last:
            return
        told = self._last[-1] if self._last else None
        self._last = state
        if window is not None and window != told:
            self._say(f"   window: {window}")
        failing = f" [{', '.join(now.failing)}]" if now.failing else ""
        excluded = ", but excluded: maintenance" if excused else ""
        self._say(f"   {clock_text(standing.at_us)}  {now.verdict.upper():<7}  {now.why}{excluded}{failing}")


class LiveView:
    """One picture on the terminal, redrawn as it changes."""

    def __init__(self, urls: tuple[tuple[str, str], ...]) -> None:
        self._urls = urls
        self._act = ("", "")
        self._seen: tuple[ServiceStanding, str | None] | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Take the terminal."""
        # Heavy, and only a terminal needs it.
        from rich.live import Live  # noqa: PLC0415

        self._live = Live(self._picture(), refresh_per_second=8, transient=True)
        self._live.start()
        return self

    def __exit__(self, *_ended: object) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()

    def act(self, title: str, text: str) -> None:
        """The picture's heading."""
        self._act = (title, text)
        self._draw()

    def show(self, standing: ServiceStanding, window: str | None) -> None:
        """The picture's figures."""
        self._seen = (standing, window)
        self._draw()

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._picture())

    def _picture(self) -> Group:
        from rich.console import Group  # noqa: PLC0415 - as above
        from rich.panel import Panel  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        title, text = self._act
        parts: list[Panel | Table | Text] = [Panel(Text(text), title=Text(title, style="bold"), title_align="left")]
        if self._seen is not None:
            standing, window = self._seen
            checks = Table.grid(padding=(0, 2))
            for check, state in _states(standing):
                checks.add_row(Text(check), Text(state, style=_STYLES[state]))
            parts.append(checks)
            parts.append(Text())
            facts = Table.grid(padding=(0, 2))
            verdict = standing.standing.verdict
            said = Text.assemble((verdict.upper(), _VERDICT_STYLES[verdict]), f"  {standing.standing.why}")
            for label, value in (
                (standing.name, said),
                ("open outage", Text(outage_text(standing))),
                ("maintenance", Text(window or "none announced")),
                ("month so far", Text(month_text(standing))),
            ):
                facts.add_row(Text(label, style="dim"), value)
            parts.append(facts)
        parts.extend(Text(f"{label}  {url}", style="dim") for label, url in self._urls)
        return Group(*parts)

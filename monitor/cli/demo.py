"""`jaga demo`: the same daemon as `run`, on the bundled sample SaaS, telling a story that ends by itself."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.exits import AnswerIsNoError, Exit
from monitor.cli.place import Place

if TYPE_CHECKING:
    from monitor.app import Daemon
    from monitor.core.calendar import Month
    from monitor.demo.saas import Serving
    from monitor.demo.story import Story
    from monitor.demo.view import LiveView, PlainView
    from monitor.ledger.command import Command
    from monitor.ledger.month import Months

_ZONE = "Asia/Jakarta"


@click.command("demo", epilog="Example: jaga demo --keep")
@click.option("--keep", is_flag=True, help="Keep the ledger and the configuration, and say where.")
def command(keep: bool) -> int:  # noqa: FBT001 - click hands options over by name
    """Watch a sample SaaS break and mend, and see the verdicts, the ledger and the month's statement.

    Real requests, the real daemon, an SQLite ledger in a scratch folder. It ends by itself in about 80 seconds; Ctrl-C
    ends it earlier. Nothing is left behind.
    """
    with _scratch(keep=keep) as folder:
        return asyncio.run(_demo(folder))


@contextmanager
def _scratch(*, keep: bool) -> Iterator[Path]:
    """A folder of its own, gone at the end but for --keep."""
    folder = Path(tempfile.mkdtemp(prefix="jaga-demo-"))
    try:
        yield folder
    finally:
        if keep:
            click.echo(f"\nKept in {folder}; look at it with\n  jaga --config {folder / 'jaga.yaml'} status")
        else:
            shutil.rmtree(folder)


async def _demo(folder: Path) -> int:
    from monitor.app import compose
    from monitor.cli.reading import read_settings
    from monitor.clock import wall_us
    from monitor.demo.saas import serve
    from monitor.demo.settings import configuration
    from monitor.telemetry.logs import set_up

    # What a daemon says below a warning would run through the story.
    set_up(now_us=wall_us, level="error")  # the story tells what happens; an escalation would write into it
    serving = await serve()
    try:
        path = folder / "jaga.yaml"
        path.write_text(configuration(serving.url), encoding="utf-8")
        daemon = compose(read_settings(Place(config=path)))
        return await _until_interrupted(_watched(daemon, serving))
    finally:
        await serving.stop()


async def _watched(daemon: Daemon, serving: Serving) -> int:
    """Start the daemon, tell the story, show the statement."""
    await daemon.start()
    try:
        assert daemon.listen_address is not None, "the demo's configuration serves pages"
        urls = (
            ("pages  ", daemon.listen_address),
            ("metrics", f"{daemon.listen_address}/metrics"),
            ("control", f"{serving.url}/control"),
        )
        _introduce(urls)
        with _view(urls) as view:
            months = await _story(daemon, serving, view).tell()
        for line in await daemon.read(lambda ledger: list(_closing(ledger, months))):
            click.echo(line)
    finally:
        await daemon.stop()
    _farewell()
    return Exit.DONE


async def _until_interrupted(story: Coroutine[None, None, int]) -> int:
    """The story's end, or what an interrupt leaves of it: everything is undone either way."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(story)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        click.echo("\nInterrupted.", err=True)
        return Exit.INTERRUPTED
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _introduce(urls: Sequence[tuple[str, str]]) -> None:
    click.echo("Jaga watches a sample cloud: log in, list servers, order, health. One service, one partner.")
    click.echo("The real agreement promises 95 % and asks for 48 h of notice before maintenance. A credit cannot be")
    click.echo("earned in a minute under it, so this demo's contract promises 99.999 % with 10 s of notice: the same")
    click.echo("code, other terms.")
    for label, url in urls:
        click.echo(f"  {label}  {url}")


def _view(urls: tuple[tuple[str, str], ...]) -> LiveView | PlainView:
    from monitor.demo.view import LiveView, PlainView

    return LiveView(urls) if sys.stdout.isatty() else PlainView(click.echo)


def _story(daemon: Daemon, serving: Serving, view: LiveView | PlainView) -> Story:
    from monitor.config import zone
    from monitor.core.calendar import month_of
    from monitor.demo.story import Stage, Story
    from monitor.ledger.decide import Refused

    async def decide(command: Command) -> Sequence[str]:
        done = await daemon.decide(command, by="demo")
        if isinstance(done, Refused):
            raise AnswerIsNoError(done.reason)
        return done.remarks

    stage = Stage(
        saas=serving.saas,
        clock=daemon.clock,
        month=lambda at_us: month_of(at_us, zone(_ZONE)),
        standings=daemon.standings,
        decide=decide,
    )
    return Story(stage, view)


def _closing(ledger: Months, months: Sequence[Month]) -> Iterator[str]:
    """The statement of each month and the arithmetic behind it."""
    from monitor.ledger.explain import explain
    from monitor.locale import Lang
    from monitor.reports.text import text

    for month in months:
        for found in ledger.statements(month):
            yield ""
            yield text(found.document, Lang.EN)
            yield "The arithmetic"
            yield "--------------"
            yield from explain(found, ledger.basis.zone(_ZONE))


def _farewell() -> None:
    click.echo()
    click.echo("Time before the demo began is unknown, not downtime: nobody watched.")
    click.echo("To watch your own service:")
    click.echo("  jaga init          writes config/jaga.yaml, commented")
    click.echo("  jaga check         says what is wrong with it, all at once")
    click.echo("  jaga probe S/C     runs one check once and shows each step")
    click.echo("  jaga run           watches, records, serves metrics and pages")

"""`jaga run`: the daemon."""

from __future__ import annotations

from monitor.telemetry import plainly  # before whatever logs

# isort: split
import asyncio
import os
from urllib.parse import unquote, urlsplit

import click

from monitor.cli.place import place_options
from monitor.cli.reading import place, read_settings
from monitor.telemetry.logs import LogFormat

__all__ = ["command", "plainly"]


@click.command("run", epilog="Example: jaga run --log-format json")
@click.option("--role", type=click.Choice(["all"]), default="all", show_default=True, help="all: probe, record, serve.")
@click.option(
    "--log-format",
    type=click.Choice([form.value for form in LogFormat]),
    default=LogFormat.LOGFMT.value,
    show_default=True,
    help="How a log line is written, on stderr.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The lowest level that is written.",
)
@place_options
def command(role: str, log_format: str, log_level: str) -> int:  # noqa: ARG001 - one role so far
    """Run the configured checks, record them, and serve metrics and pages, until SIGTERM or Ctrl-C.

    A second signal does not wait for the runs under way. SIGHUP reads the configuration again; a bad one leaves the
    old one in force.
    """
    import structlog

    from monitor.app import compose
    from monitor.clock import wall_us
    from monitor.config import compact, secret
    from monitor.sdnotify import Notifier
    from monitor.telemetry.logs import set_up
    from monitor.telemetry.scrubbing import Scrubber

    where = place()
    found = [compact(read_settings(where))]
    scrubber = Scrubber()
    password = urlsplit(found[0].store).password or ""
    scrubber.remember(password)
    scrubber.remember(unquote(password))
    logs = set_up(now_us=wall_us, log_format=LogFormat(log_format), level=log_level, scrub=scrubber.scrub)

    notifier = Notifier.from_environment(os.environ, pid=os.getpid())
    if notifier.fault is not None:
        structlog.get_logger("jaga.run").warning("service manager not understood", reason=notifier.fault)

    async def serve() -> int:
        # Popped, not named: what the daemon does not take of the settings is not kept for as long as it runs.
        daemon = compose(found.pop(), logs=logs, notifier=notifier, secret=scrubber.watch(secret))
        return await daemon.serve(reread=lambda: read_settings(where))

    return asyncio.run(serve())

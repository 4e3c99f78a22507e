"""The composition root: `run`, the demo and the simulation are the same daemon, made here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from monitor.app.adopt import AdoptionError
from monitor.app.daemon import Daemon
from monitor.app.options import Options, basis_of
from monitor.clock import Clock, Sync
from monitor.config import Settings, secret
from monitor.sdnotify import Notifier
from monitor.telemetry.logs import LogCounts

__all__ = ["AdoptionError", "Daemon", "Options", "basis_of", "compose"]


def compose(
    settings: Settings,
    *,
    clock: Clock | None = None,
    sync: Callable[[], Sync] | None = None,
    threads: bool = True,
    logs: LogCounts | None = None,
    notifier: Notifier | None = None,
    secret: Callable[[str], str] = secret,
) -> Daemon:
    """The daemon of a configuration, not started: `start` it on the loop that it will run on, or `serve`.

    `clock` replaces the system's, and `sync` what the kernel says of that; without `threads` the store is spoken to on
    the loop itself (simulations). `notifier` reaches the service manager, where there is one. `secret` looks references
    up at run time.
    """
    options = replace(Options.of(settings), secret=secret)
    return Daemon(options, clock=clock, sync=sync, threads=threads, logs=logs, notifier=notifier)

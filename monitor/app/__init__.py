"""The composition root: `run`, the demo and the simulation are the same daemon, made here."""

from __future__ import annotations

from collections.abc import Callable

from monitor.app.adopt import AdoptionError
from monitor.app.daemon import Daemon
from monitor.app.options import Options, basis_of, plan_of
from monitor.clock import Clock, Sync
from monitor.config import Settings
from monitor.sdnotify import Notifier
from monitor.telemetry.logs import LogCounts

__all__ = ["AdoptionError", "Daemon", "Options", "basis_of", "compose", "plan_of"]


def compose(
    settings: Settings,
    *,
    clock: Clock | None = None,
    sync: Callable[[], Sync] | None = None,
    threads: bool = True,
    logs: LogCounts | None = None,
    notifier: Notifier | None = None,
) -> Daemon:
    """The daemon of a configuration, not started: `start` it on the loop that it will run on, or `serve`.

    `clock` replaces the system's, and `sync` what the kernel says of that; without `threads` the store is spoken to on
    the loop itself (simulations).
    `notifier` reaches the service manager, where there is one.
    """
    return Daemon(Options.of(settings), clock=clock, sync=sync, threads=threads, logs=logs, notifier=notifier)

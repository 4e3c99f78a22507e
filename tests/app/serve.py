"""The daemon as a process of its own, from a configuration file: `python serve.py FILE`; JSON log lines on stderr.

With STEPPED_WALL in the environment, its wall clock is off by the seconds that this file says at the moment. The real
one is the whole machine's, and libfaketime also moves the timers that must not move.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from monitor.app.daemon import Daemon
from monitor.app.options import Options
from monitor.clock import AnchoredClock, Clock, live_clock
from monitor.config import load
from monitor.telemetry.logs import LogFormat, set_up


def stepped(wall: Path) -> Clock:
    live = live_clock(asyncio.get_running_loop())
    assert isinstance(live, AnchoredClock)
    live._wall_ns = lambda: time.time_ns() + int(wall.read_text(encoding="ascii")) * 1_000_000_000
    return live


async def serve(path: Path) -> int:
    logs = set_up(now_us=lambda: time.time_ns() // 1000, log_format=LogFormat.JSON)
    wall = os.environ.get("STEPPED_WALL")
    daemon = Daemon(Options.of(load(path).settings), clock=stepped(Path(wall)) if wall else None, logs=logs)
    return await daemon.serve(lambda: load(path).settings)


if __name__ == "__main__":
    sys.exit(asyncio.run(serve(Path(sys.argv[1]))))

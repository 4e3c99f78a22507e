"""The daemon as a process of its own, from a configuration file: `python serve.py FILE`; JSON log lines on stderr."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from monitor import clock
from monitor.app import compose
from monitor.config import load
from monitor.telemetry.logs import LogFormat, set_up


def no_timerfd(_clock_id: int) -> NoReturn:
    """For libfaketime, which moves a timerfd's absolute time by the wall's offset even where it leaves the timerfd's
    clock alone. The loop's own timers serve, as on a system that has no timerfd.
    """
    raise OSError("not under libfaketime")


async def serve(path: Path) -> int:
    logs = set_up(now_us=lambda: time.time_ns() // 1000, log_format=LogFormat.JSON)
    return await compose(load(path).settings, logs=logs).serve(lambda: load(path).settings)


if __name__ == "__main__":
    if "faketime" in os.environ.get("LD_PRELOAD", ""):
        clock.Timerfd = no_timerfd  # type: ignore[misc,assignment]
    sys.exit(asyncio.run(serve(Path(sys.argv[1]))))

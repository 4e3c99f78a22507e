"""The daemon as a process of its own, from a configuration file: `python serve.py FILE`; JSON log lines on stderr."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from monitor.app import compose
from monitor.config import load
from monitor.telemetry.logs import LogFormat, set_up


async def serve(path: Path) -> int:
    logs = set_up(now_us=lambda: time.time_ns() // 1000, log_format=LogFormat.JSON)
    return await compose(load(path).settings, logs=logs).serve(lambda: load(path).settings)


if __name__ == "__main__":
    sys.exit(asyncio.run(serve(Path(sys.argv[1]))))

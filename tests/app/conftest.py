"""Real daemons as processes, and a real target in the test's own process, which goes on while they are stopped."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

SERVE = Path(__file__).with_name("serve.py")
WITHIN_S = 60


@dataclass(slots=True)
class Target:
    """Answers 200, and not before `let_go` is set; counts what came and what waits."""

    url: str
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    requests: int = 0
    waiting: int = 0
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answer(self, _request: web.Request) -> web.Response:
        self.requests += 1
        self.waiting += 1
        async with self.came:
            self.came.notify_all()
        try:
            await self.let_go.wait()
        finally:
            self.waiting -= 1
        return web.Response(text="ok")

    async def until_waiting(self, count: int) -> None:
        async with asyncio.timeout(WITHIN_S), self.came:
            await self.came.wait_for(lambda: self.waiting >= count)


@dataclass(slots=True)
class Process:
    """A daemon under way; its log lines as they come."""

    process: asyncio.subprocess.Process
    log: list[dict[str, object]] = field(default_factory=list)
    reading: asyncio.Task[None] | None = None
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"event": line.decode(errors="replace")})
            async with self.grown:
                self.grown.notify_all()

    async def event(self, name: str) -> dict[str, object]:
        def found() -> dict[str, object] | None:
            return next((line for line in self.log if line.get("event") == name), None)

        async with asyncio.timeout(WITHIN_S), self.grown:
            await self.grown.wait_for(lambda: found() is not None or self.process.returncode is not None)
        line = found()
        assert line is not None, self.log
        return line

    async def pages(self) -> str:
        return str((await self.event("ready"))["pages"])

    async def exit_code(self) -> int:
        return await asyncio.wait_for(self.process.wait(), WITHIN_S)


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    found = Target("")
    found.let_go.set()
    app = web.Application()
    app.router.add_get("/{path}", found.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


def configuration(
    folder: Path,
    target: Target,
    *,
    services: int | Sequence[str] = 1,
    checks: int = 1,
    interval: str = "10s",
    timeout: str = "4900ms",
) -> Path:
    """A configuration file that watches the target: so many services `s0` …, or those of the ids given.

    The target is a loop of the test's own, on a machine that may be busy: what it does not answer within a short
    time-out is a failure in earnest, and a slot that is missed by half a short interval is late. Who needs many runs
    takes many checks, which share the interval.
    """
    ids = [f"s{number}" for number in range(services)] if isinstance(services, int) else services
    lines = [
        "store: sqlite:///ledger.db",
        "location: {id: here-1}",
        "web: {listen: 127.0.0.1:0}",
        "contracts:",
        "  mitra: {terms: [{effective_from: 2020-01-01, timezone: Asia/Jakarta, guarantee: 95%,",
        "    credits: [{below: 95%, credit: 10%}], maintenance_notice: 48h, claim_within: 30d, credit_base: total}]}",
        "services:",
    ]
    for service, id_ in enumerate(ids):
        lines += [f"  {id_}:", f"    name: S{service}", f"    interval: {interval}", f"    timeout: {timeout}"]
        lines += ["    checks:"]
        lines += [f'      c{check}: {{http: {{get: "{target.url}/{service}-{check}"}}}}' for check in range(checks)]
    lines += ["partners:", "  acme: {name: Acme, contract: mitra, services: {" + ids[0] + ": {fee: IDR 12500000}}}"]
    path = folder / "jaga.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@asynccontextmanager
async def daemon(path: Path, **changed: str) -> AsyncIterator[Process]:
    """The daemon of a configuration as a process, in a changed environment; killed at the end if it still runs."""
    environment = {**os.environ, "PYTHONPATH": str(SERVE.parents[2]), **changed}
    process = Process(
        await asyncio.create_subprocess_exec(
            sys.executable, str(SERVE), str(path), stderr=asyncio.subprocess.PIPE, env=environment
        )
    )
    process.reading = asyncio.create_task(process.read())
    try:
        yield process
    finally:
        if process.process.returncode is None:
            process.process.kill()
        await process.process.wait()
        await process.reading

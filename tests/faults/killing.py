"""kill -9 of real daemons, over and over, at random moments and at named points; each death is judged."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.faults.judging import CHECKS, SERVICES, FoundOutError, Judge, Life, demand
from tests.faults.mutants import MUTANTS
from tests.faults.victim import POINTS, TIMES

ROOT = Path(__file__).parents[2]
VICTIM = Path(__file__).with_name("victim.py")
WITHIN_S = 60.0
MAX_ACKNOWLEDGED = 5
AFTERWARDS_S = 0.2
"""A life ends within this time of its n-th acknowledgement, n at random up to the one above; or while it starts; or at
its named point. A slow machine makes lives longer, not emptier."""

STARTING_S = 0.25
POINT_S = 30.0
LONG_GAP_S = 5.0


@dataclass(slots=True)
class Target:
    """Services of three checks. Of two of them one is broken at a time, in turns, so that nearly every run says
    something else than the one before it: where one is lost to what is derived, that can be seen. The third breaks
    every few seconds for a while, so that outages come and go.
    """

    url: str = ""
    requests: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        number = int(request.match_info["number"])
        in_turn, now_and_then = int(time.monotonic() / 1.1) % 2, int(time.monotonic() / 2.2) % 3 == 0
        broken = number == in_turn or (number == 2 and now_and_then)
        return web.Response(status=503 if broken else 200)


@asynccontextmanager
async def listening() -> AsyncIterator[Target]:
    target = Target()
    app = web.Application()
    app.router.add_get("/{service}/{number}", target.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=256).start()
    target.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield target
    finally:
        await runner.cleanup()


def configuration(folder: Path, url: str) -> Path:
    lines = [
        "store: sqlite:///ledger.db",
        "location: {id: here-1}",
        "web: {listen: 127.0.0.1:0}",
        "contracts:",
        "  mitra: {terms: [{effective_from: 2020-01-01, timezone: Asia/Jakarta, guarantee: 95%,",
        "    credits: [{below: 95%, credit: 10%}], maintenance_notice: 48h, claim_within: 30d, credit_base: total}]}",
        "services:",
    ]
    for service in range(SERVICES):
        lines += [f"  s{service}:", f"    name: S{service}", "    interval: 1s", "    timeout: 400ms", "    checks:"]
        lines += [f'      c{check}: {{http: {{get: "{url}/{service}/{check}"}}}}' for check in range(CHECKS)]
    lines += ["partners:", "  acme: {name: Acme, contract: mitra, services: {s0: {fee: IDR 12500000}}}"]
    path = folder / "jaga.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(slots=True)
class Signs:
    """What a life under way has given of itself: that it is ready, and each run that it acknowledged."""

    ready: asyncio.Event = field(default_factory=asyncio.Event)
    acknowledged: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))


End = Callable[[int, Signs], Awaitable[None]]
"""Ends a life by its process id."""


class Forge:
    """The process that forks one life after the other."""

    def __init__(self, process: asyncio.subprocess.Process, config: Path) -> None:
        self._process = process
        self._config = config

    async def live(
        self,
        *,
        point: tuple[str, int] | None,
        lost_replies: int | None,
        mutant: str | None,
        end: End,
    ) -> Life:
        """One life, which `end` ends."""
        assert self._process.stdin is not None
        order = {"config": str(self._config), "point": point, "lost_replies": lost_replies, "mutant": mutant}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        life, signs, begun = Life(), Signs(), time.monotonic()
        ending: asyncio.Task[None] | None = None
        try:
            async for said in self._words():
                if "pid" in said:
                    ending = asyncio.ensure_future(_end(end, said["pid"], signs))
                elif "ready" in said:
                    life.ready_s = time.monotonic() - begun
                    signs.ready.set()
                elif "ack" in said:
                    life.acknowledged.append(tuple(said["ack"]))
                    signs.acknowledged.release()
                else:
                    life.code = said["gone"]
                    return life
        finally:
            if ending is not None:
                ending.cancel()
                await asyncio.wait([ending])
        raise FoundOutError("the process that forks them ended")

    async def _words(self) -> AsyncIterator[dict[str, Any]]:
        assert self._process.stdout is not None
        while line := await asyncio.wait_for(self._process.stdout.readline(), WITHIN_S):
            yield json.loads(line)


async def _end(end: End, pid: int, signs: Signs) -> None:
    await end(pid, signs)


@asynccontextmanager
async def forging(config: Path) -> AsyncIterator[Forge]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (config.parent / "victims.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(VICTIM), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            env=environment, start_new_session=True,
        )  # fmt: skip
    try:
        yield Forge(process, config)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # with a life that a broken test left behind
        await process.wait()


# The loop.


@dataclass(slots=True)
class Tally:
    """What a session of kills came to."""

    seed: int
    kills: int = 0
    at: Counter[str] = field(default_factory=Counter)
    before_ready: int = 0
    acknowledged: int = 0
    runs: int = 0
    unknown_s: float = 0.0
    ready_s: list[float] = field(default_factory=list)
    took_s: float = 0.0


async def kill_often(
    folder: Path,
    kills: int,
    *,
    seed: int,
    at_points: float = 0.4,
    points: Sequence[str] = POINTS,
    mutant: str | None = None,
    say: Callable[[Tally], None] = lambda _tally: None,
) -> Tally:
    """So many lives and deaths on one ledger, and a last life that ends by SIGTERM; FoundOutError where it does not
    hold. That share of the deaths is at one of the points, the others are at random, some of them during the start.
    """
    assert mutant is None or mutant in MUTANTS
    chance = random.Random(seed)
    tally, begun = Tally(seed), time.monotonic()
    async with listening() as target:
        config = configuration(folder, target.url)
        # Chance of its own: how much of it the judge takes goes by what the record holds.
        keeper = Judge(folder / "ledger.db", lambda: target.requests, random.Random(seed))
        async with forging(config) as forge:
            while tally.kills < kills:
                name = points[tally.kills % len(points)]
                point = (name, chance.randint(1, TIMES[name])) if chance.random() < at_points else None
                life = await forge.live(
                    point=point,
                    lost_replies=chance.randrange(2**32),
                    mutant=mutant,
                    end=_killer(chance, at_a_point=point is not None),
                )
                demand(life.code == -signal.SIGKILL, f"a life ended by itself with {life.code}: see victims.log")
                tally.kills += 1
                tally.at[point[0] if point else "random"] += 1
                tally.before_ready += life.ready_s is None
                tally.ready_s += [] if life.ready_s is None else [life.ready_s]
                keeper.take(life, whole=tally.kills % 50 == 0)
                if tally.kills == kills // 2:
                    await asyncio.sleep(LONG_GAP_S)  # the fault itself: longer than anything said stays fresh
                tally.acknowledged, tally.runs = keeper.acknowledged, keeper.runs
                say(tally)
            life = await forge.live(point=None, lost_replies=None, mutant=mutant, end=_after_a_second)
            demand(life.code == 0, f"the last life ended with {life.code}: see victims.log")
            keeper.take(life, whole=True)
    tally.acknowledged, tally.runs = keeper.acknowledged, keeper.runs
    tally.unknown_s = keeper.unknown_us / 1e6
    tally.took_s = time.monotonic() - begun
    return tally


def _killer(chance: random.Random, *, at_a_point: bool) -> End:
    early, share, count = chance.random() < 0.1, chance.random(), chance.randint(1, MAX_ACKNOWLEDGED)

    async def kill(pid: int, signs: Signs) -> None:
        if at_a_point:
            await asyncio.sleep(POINT_S)  # it kills itself long before
        elif early:
            await asyncio.sleep(share * STARTING_S)
        else:
            with suppress(TimeoutError):  # the judge sees what is missing
                async with asyncio.timeout(POINT_S):
                    for _ in range(count):
                        await signs.acknowledged.acquire()
            await asyncio.sleep(share * AFTERWARDS_S)
        os.kill(pid, signal.SIGKILL)

    return kill


async def _after_a_second(pid: int, signs: Signs) -> None:
    await signs.ready.wait()
    await asyncio.sleep(1.0)
    os.kill(pid, signal.SIGTERM)

"""How the tests ask: a context on the real clock, and probing by plain YAML data as a check has it."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from probes import Context, Network, Result, load, transaction
from probes._net import LiveNetwork
from tests.simulation.loop import VirtualLoop

SECOND_NS = 1_000_000_000
T = TypeVar("T")


def in_virtual_time(story: Callable[[LiveNetwork], Coroutine[Any, Any, T]]) -> T:
    """What a story with a network of its own comes to, its servers in the same loop: real sockets, and time that
    passes only where nothing else is left to do, so that every duration is exact on any machine.
    """
    loop = VirtualLoop()

    async def told() -> T:
        network = LiveNetwork()
        try:
            return await story(network)
        finally:
            assert network.open_connections == 0, "a probe left a connection open"
            network.close()

    try:
        return loop.run_until_complete(told())
    finally:
        loop.close()


def now_ns() -> int:
    """The clock of the loop that runs."""
    loop = asyncio.get_running_loop()
    return loop.time_ns() if isinstance(loop, VirtualLoop) else time.monotonic_ns()


def context(network: Network, *, timeout_s: float = 10, secrets: Mapping[str, str] | None = None) -> Context:
    """A fresh attempt's context."""
    known = secrets or {}
    return Context(
        now_ns=now_ns,
        deadline_ns=now_ns() + int(timeout_s * SECOND_NS),
        network=network,
        secret=lambda reference: known[reference],
        wall_us=lambda: time.time_ns() // 1000,
    )


async def ask(
    network: Network, data: Mapping[str, Any], *, timeout_s: float = 10, secrets: Mapping[str, str] | None = None
) -> Result:
    """The result of a check's mapping."""
    return await transaction.run(transaction.parse(data), context(network, timeout_s=timeout_s, secrets=secrets))


async def ask_in_time(network: Network, data: Mapping[str, Any], *, timeout_s: float) -> Result:
    """As `ask`, and again where our own loop stood still meanwhile: such an attempt proves nothing about time."""
    while True:
        result = await ask(network, data, timeout_s=timeout_s)
        if not result.tainted:
            return result


async def probe(network: Network, kind: str, settings: Mapping[str, Any]) -> Result:
    """The bare probe of one kind, its exceptions included."""
    spec = transaction.parse({kind: settings}).steps[0].spec
    result: Result = await load(kind).probe(spec, context(network))
    return result


@asynccontextmanager
async def listening(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None],
    context: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[int]:
    """The port of a server that lasts until its last connection has ended: a probe is done before its peer notices."""
    server = await asyncio.start_server(answer, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        for _ in range(3):  # whoever has connected is accepted, and has a transport
            await asyncio.sleep(0)
        server.close()
        async with asyncio.timeout(60):
            while server._active_count:  # type: ignore[attr-defined] # noqa: ASYNC110 - no wait_closed before 3.12
                await asyncio.sleep(0.001)


@contextmanager
def nobody_listens(kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[int]:
    """A port that refuses, of TCP or UDP. It is held meanwhile, so that nobody else is given it."""
    with socket.socket(type=kind) as held:
        held.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_DGRAM:
            held.connect(("127.0.0.1", 9))  # hears nobody else from now on
        yield held.getsockname()[1]


def open_descriptors() -> int:
    """How many file descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def descriptors_fall_to(count: int) -> bool:
    """Whether this process comes back to `count` descriptors; a server in it may need a moment to see the end."""
    for _ in range(6000):
        if open_descriptors() <= count:
            return True
        await asyncio.sleep(0.01)
    return False


def resident_bytes(*, peak: bool = False) -> int:
    """Resident memory now, or its highest mark since the last reset."""
    key = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def reset_peak() -> None:
    """Begin a new highest mark of resident memory."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class Turns:
    """The most CPU time that this thread spent between two turns of its loop: noise of the machine left out."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._last_s = time.thread_time()
        self._handle = asyncio.get_running_loop().call_soon(self._tick)

    def _tick(self) -> None:
        self._look()
        self._handle = asyncio.get_running_loop().call_later(0.0005, self._tick)

    def _look(self) -> None:
        now_s = time.thread_time()
        self.longest_s = max(self.longest_s, now_s - self._last_s)
        self._last_s = time.thread_time()

    def stop(self) -> None:
        """What never gave way came to no turn: it counts now."""
        self._handle.cancel()
        self._look()


@contextmanager
def turns() -> Iterator[Turns]:
    """With what was loaded set apart from the collector, as in the daemon: a test session holds a million objects."""
    gc.collect()
    gc.freeze()
    watch = Turns()
    try:
        yield watch
    finally:
        watch.stop()
        gc.unfreeze()

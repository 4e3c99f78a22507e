"""The bytes of `/metrics`: a snapshot taken and rendered off the event loop, shared by scrapes within a second."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from monitor.telemetry.families import families
from monitor.telemetry.rendering import Format, Renderer
from monitor.telemetry.snapshot import Snapshot

KEPT_NS = 1_000_000_000

# The scheme that would double every underscore. Our names need none, so that the plainest one is as true an answer.
_NO_DOTS = ("escaping=dots", "escaping=underscores")

Rendered = tuple[bytes, str]


@contextmanager
def _not_collecting() -> Iterator[None]:
    """Without the garbage collector, which holds the interpreter until it is through, and finds nothing: what a page is
    made of goes with it, without a cycle, but there is so much of it that the collector would run dozens of times.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


class Exposition:
    """Renders what `snapshot` (called in the executor) hands over.

    Scrapes of one format that come within a second, or while a rendering goes on, are answered from the same bytes.
    `now_ns` is a monotonic clock. Money stands in it only when `expose_money` is set.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        now_ns: Callable[[], int],
        expose_money: bool = False,
        executor: Executor | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._now_ns = now_ns
        self._expose_money = expose_money
        self._executor = executor
        self._kept: dict[Format, tuple[int, bytes]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._renderer = Renderer()
        self._rendering_us = 0
        # What the process says of itself: a few series, for which prometheus_client has the collectors.
        self._standard = CollectorRegistry()
        for standard in (ProcessCollector, PlatformCollector, GCCollector):
            standard(registry=self._standard)

    async def render(self, accept: str) -> Rendered:
        """The exposition in the format the `Accept` header asks for, and its content type."""
        encode, content_type = choose_encoder(accept.replace(*_NO_DOTS))
        format_ = Format.OPENMETRICS if content_type.startswith(Format.OPENMETRICS.value) else Format.TEXT
        async with self._one_at_a_time:
            kept = self._kept.get(format_)
            if kept is None or self._now_ns() - kept[0] >= KEPT_NS:
                loop = asyncio.get_running_loop()
                body = await loop.run_in_executor(self._executor, self._render, format_, encode)
                now_ns = self._now_ns()
                # What nobody asked for within a second goes: a page may be many megabytes.
                self._kept = {name: page for name, page in self._kept.items() if now_ns - page[0] < KEPT_NS}
                kept = self._kept[format_] = (now_ns, body)
            return kept[1], content_type

    def _render(self, format_: Format, encode: Callable[[Collector], bytes]) -> bytes:
        with _not_collecting():
            return self._page(format_, encode)

    def _page(self, format_: Format, encode: Callable[[Collector], bytes]) -> bytes:
        began_ns = self._now_ns()
        shown = families(self._snapshot(), expose_money=self._expose_money, rendering_us=self._rendering_us)
        body = self._renderer.render(shown, format_, and_then=encode(self._standard))
        self._rendering_us = (self._now_ns() - began_ns) // 1000
        return body

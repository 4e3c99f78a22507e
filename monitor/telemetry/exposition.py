"""The bytes of `/metrics`: a snapshot taken and rendered off the event loop, shared by scrapes within a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitor.telemetry.families import families
from monitor.telemetry.snapshot import Snapshot

KEPT_NS = 1_000_000_000

Rendered = tuple[bytes, str]


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
        self._now_ns = now_ns
        self._executor = executor
        self._kept: dict[str, tuple[int, Rendered]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._collector = _Collector(snapshot, expose_money=expose_money)
        self._registry = CollectorRegistry()
        self._registry.register(self._collector)
        for standard in (ProcessCollector, PlatformCollector, GCCollector):
            standard(registry=self._registry)

    async def render(self, accept: str) -> Rendered:
        """The exposition in the format the `Accept` header asks for, and its content type."""
        _encode, content_type = choose_encoder(accept)
        async with self._one_at_a_time:
            kept = self._kept.get(content_type)
            if kept is not None and self._now_ns() - kept[0] < KEPT_NS:
                return kept[1]
            loop = asyncio.get_running_loop()
            rendered = await loop.run_in_executor(self._executor, self._render, accept)
            # Only what is fresh is kept, so the formats a client can ask for do not pile up.
            now_ns = self._now_ns()
            self._kept = {name: kept for name, kept in self._kept.items() if now_ns - kept[0] < KEPT_NS}
            self._kept[content_type] = (now_ns, rendered)
            return rendered

    def _render(self, accept: str) -> Rendered:
        encode, content_type = choose_encoder(accept)
        began_ns = self._now_ns()
        body = encode(self._registry)
        self._collector.rendering_us = (self._now_ns() - began_ns) // 1000
        return body, content_type


class _Collector(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot], *, expose_money: bool) -> None:
        self._snapshot = snapshot
        self._expose_money = expose_money
        self.rendering_us = 0

    def describe(self) -> list[Metric]:
        """Nothing: registering must not take a snapshot."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families of a fresh snapshot."""
        return families(self._snapshot(), expose_money=self._expose_money, rendering_us=self.rendering_us)

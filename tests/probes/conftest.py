"""What the probes' tests share: a network that must be left empty, and the hostile server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from probes._net import LiveNetwork
from tests.probes.hostile import Hostile


@pytest.fixture
async def network() -> AsyncIterator[LiveNetwork]:
    live = LiveNetwork()
    yield live
    assert live.open_connections == 0, "a probe left a connection open"
    live.close()


@pytest.fixture(scope="session")
def hostile() -> Iterator[Hostile]:
    with Hostile() as server:
        yield server

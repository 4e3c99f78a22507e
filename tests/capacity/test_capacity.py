"""A plan that this machine cannot keep is warned of, by what the machine really does."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from monitor import capacity
from monitor.plan import Plan
from probes import transaction
from tests.app.conftest import Target, configuration, daemon
from tests.e2e.conftest import JAGA

HTTP = {"http": {"get": "http://a.test/"}}
HTTPS = {"http": {"get": "HTTPS://a.test/"}}
TLS = {"tls": {"connect": "a.test:443"}}
TCP = {"tcp": {"connect": "a.test:25"}}
STARTTLS = {"tcp": {"connect": "a.test:25", "tls": True, "dialogue": [{"starttls": True}]}}


def plan(data: Mapping[str, Any], interval_s: int = 1) -> Plan:
    return Plan(
        service="s",
        check="c",
        transaction=transaction.parse(data),
        interval_us=interval_s * 1_000_000,
        timeout_us=100_000,
    )


@pytest.mark.parametrize(
    ("data", "weight"),
    [
        (HTTP, 1),
        (TCP, 1),
        (HTTPS, capacity.TLS_WEIGHT),
        (TLS, capacity.TLS_WEIGHT),
        (STARTTLS, capacity.TLS_WEIGHT),
        ({"steps": [{"name": "a"} | HTTP, {"name": "b"} | HTTPS], "finally": [{"name": "c"} | HTTP]}, 2 + 9),
    ],
)
def test_the_planned_rate_counts_steps_and_handshakes(data: Mapping[str, Any], weight: int) -> None:
    assert capacity.planned_rate([plan(data), plan(data, 10)]) == pytest.approx(weight * 1.1)


async def test_a_small_plan_measures_nothing_and_a_mad_one_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await capacity.load([plan(HTTP)] * capacity.ENOUGH) is None
    found = await capacity.load([plan(HTTP)] * 1_000_000)
    assert found is not None
    assert 0 < found.capacity < found.planned
    assert "1,000,000 steps a second" in (found.warning() or "")
    assert capacity.Load(found.capacity, found.capacity).warning() is None


def answer(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)


async def test_check_and_start_say_it(tmp_path: Path) -> None:
    """2,000 checks a second, each with TLS: far more than any core does."""
    target = Target("https://127.0.0.1:9")
    path = configuration(tmp_path, target, services=4, checks=500, interval="1s", timeout="400ms")
    command = [str(JAGA), "check", "--config", str(path)]
    said = await asyncio.to_thread(answer, command)
    assert "18,000 steps a second" in said.stderr
    command.append("--json")
    said = await asyncio.to_thread(answer, command)
    assert "18,000 steps a second" in json.loads(said.stdout)["overload"]
    async with daemon(path) as process:
        told = await process.event("more is planned than this machine can do")
    assert "18,000 steps a second" in str(told["why"])

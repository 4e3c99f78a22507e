"""The sample SaaS, over real connections: its functions, and how each mode breaks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from monitor.demo.saas import PASSWORD, USER, Mode, Saas, Serving, serve


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    started = await serve()
    yield started
    await started.stop()


@pytest.fixture
async def http(serving: Serving) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(serving.url, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def _token(http: aiohttp.ClientSession) -> str:
    async with http.post("/login", json={"user": USER, "password": PASSWORD}) as answer:
        assert answer.status == 200
        token: str = (await answer.json())["token"]
        return token


async def _works(http: aiohttp.ClientSession, token: str) -> dict[str, bool]:
    """What a customer finds working."""
    auth = {"authorization": f"Bearer {token}"}
    found = {}
    async with http.post("/login", json={"user": USER, "password": PASSWORD}) as answer:
        found["login"] = answer.status == 200
    async with http.get("/servers", headers=auth) as answer:
        found["servers"] = answer.status == 200 and bool((await answer.json())["servers"])
    async with http.post("/orders", headers=auth, json={"sku": "test"}) as answer:
        found["orders"] = answer.status == 201
    async with http.get("/health") as answer:
        found["health"] = answer.status == 200
    return found


@pytest.mark.parametrize(
    ("mode", "working"),
    [("healthy", 4), ("half", 2), ("most", 1), ("all", 0)],
)
async def test_each_mode_breaks_its_share(http: aiohttp.ClientSession, mode: str, working: int) -> None:
    token = await _token(http)
    async with http.post("/control", json={"mode": mode}) as answer:
        assert (await answer.json())["mode"] == mode
    if mode == "all":
        async with http.post("/login", json={"user": USER, "password": PASSWORD}) as answer:
            assert answer.status == 503
    assert sum((await _works(http, token)).values()) == working


async def test_an_order_lives_until_it_is_deleted(http: aiohttp.ClientSession) -> None:
    auth = {"authorization": f"Bearer {await _token(http)}"}
    async with http.post("/orders", headers=auth, json={"sku": "test"}) as answer:
        order = (await answer.json())["id"]
    async with http.delete(f"/orders/{order}", headers=auth) as answer:
        assert answer.status == 204
    async with http.delete(f"/orders/{order}", headers=auth) as answer:
        assert answer.status == 404


async def test_without_a_token_nothing_is_shown(http: aiohttp.ClientSession) -> None:
    async with http.get("/servers", headers={"authorization": "Bearer made-up"}) as answer:
        assert answer.status == 401
    async with http.post("/login", json={"user": USER, "password": "guess"}) as answer:
        assert answer.status == 401


async def test_slow_mode_holds_a_request_until_it_is_mended(http: aiohttp.ClientSession, serving: Serving) -> None:
    serving.saas.set_mode(Mode.SLOW)
    request = asyncio.ensure_future(http.get("/health"))
    done, _ = await asyncio.wait([request], timeout=0.3)
    assert not done
    async with http.post("/control", json={"mode": "healthy"}) as answer:
        assert answer.status == 200
    answer = await asyncio.wait_for(request, 60)
    assert answer.status == 200
    answer.release()


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"mode": "sideways"}', b'{"mode": []}', b"[" * 5000])
async def test_nonsense_at_the_control_is_refused(http: aiohttp.ClientSession, serving: Serving, body: bytes) -> None:
    async with http.post("/control", data=body, headers={"content-type": "application/json"}) as answer:
        assert answer.status in {400, 422}
    assert serving.saas.mode is Mode.HEALTHY


async def test_what_it_remembers_is_bounded() -> None:
    saas = Saas()
    first = saas.remember_token()
    for _ in range(1000):
        saas.remember_token()
        saas.add_order("x")
    saas.add_order("x")
    assert len(saas.tokens) == 1000
    assert first not in saas.tokens
    assert len(saas.orders) == 1000


async def test_stopping_closes_the_port() -> None:
    started = await serve()
    port = int(started.url.rsplit(":", 1)[1])
    await started.stop()
    with pytest.raises(OSError, match="onnect"):
        await asyncio.open_connection("127.0.0.1", port)

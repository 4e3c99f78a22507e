"""The pages over real connections: what they answer, what they refuse, what their headers forbid."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from monitor.storage import StoreError
from monitor.web import pages, public
from monitor.web.pages import Listening, listen
from monitor.web.public import Handed
from tests.web.desk import LedgerDesk, empty_desk

STATUS: dict[str, Any] = {
    "at": "2026-04-01T00:00:00+00:00",
    "services": [
        {
            "id": "portal",
            "name": "Portal <script>alert(1)</script>",
            "verdict": "down",
            "why": "3 of 4 checks fail; more than half: down",
            "failing": ["a", "b", "c"],
            "unknown": [],
            "passing": ["d"],
            "total": 4,
            "degraded": [
                {
                    "check": "d",
                    "location": "jkt-1",
                    "since": "2026-04-01T00:00:00+00:00",
                    "duration_seconds": "0.500000",
                    "usual_seconds": "0.100000",
                    "usual_runs": 42,
                },
            ],
            "outage": {"start": "2026-04-01T00:00:00+00:00", "seconds": "1.000000"},
            "maintenance": [
                {
                    "id": "m-1",
                    "start": "2026-04-01T00:00:00+00:00",
                    "end": "2026-04-01T01:00:00+00:00",
                    "summary": "",
                    "running": True,
                    "qualifies": False,
                    "rejected": {"acme": "no notice", "beta": "none yet"},
                    "notice_by": {"beta": "2026-03-30T00:00:00+00:00"},
                },
            ],
            "incidents": [{"id": "i-7", "priority": "P1", "phase": "open"}],
            "months": [{"partner": "acme", "month": "2026-04", "best_case": "99.999000"}],
        },
    ],
}


class _Daemon:
    """What a daemon hands over, as the test sets it."""

    reason: str | None = None
    failure: Exception | None = None
    slow: asyncio.Event | None = None

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        if self.failure is not None:
            raise self.failure
        return f"# accept {accept}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"

    async def status(self) -> Mapping[str, Any]:
        if self.slow is not None:
            await self.slow.wait()
        return STATUS

    def handed(self) -> Handed:
        return Handed(
            version="0.1.0",
            not_ready=lambda: self.reason,
            metrics=self.metrics,
            status=self.status,
        )


@pytest.fixture
def daemon() -> _Daemon:
    return _Daemon()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LedgerDesk]:
    found = empty_desk(tmp_path)
    yield found
    found.store.close()


@pytest.fixture
async def served(daemon: _Daemon, desk: LedgerDesk) -> AsyncIterator[Listening]:
    listening = await listen(daemon.handed(), desk, "127.0.0.1", 0)
    yield listening
    await listening.stop()


@pytest.fixture
async def http(served: Listening) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(served.url, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def test_the_landing_page_shows_services_escaped(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as answer:
        page = await answer.text()
        assert answer.status == 200
        assert answer.content_type == "text/html"
    assert "0.1.0" in page
    assert "Portal &lt;script&gt;" in page
    assert "<script>" not in page
    assert "it does not qualify for exclusion for acme: no notice" in page
    assert "it qualifies for exclusion for beta once notice is given, by 2026-03-30T00:00:00+00:00" in page
    assert 'id="service-portal"' in page
    assert 'id="incident-i-7">incident i-7: P1, open<' in page
    assert 'href="/metrics"' in page


async def test_the_policy_allows_the_page_its_own_style_and_nothing_else(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as answer:
        page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    hashed = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{hashed}'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    assert " style=" not in page


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/status", "/nowhere"])
async def test_every_answer_has_the_security_headers(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as answer:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_healthy_and_ready(http: aiohttp.ClientSession, daemon: _Daemon) -> None:
    daemon.reason = "the ledger is being replayed"
    async with http.get("/-/healthy") as answer:
        assert answer.status == 200
    async with http.get("/-/ready") as answer:
        assert (answer.status, await answer.text()) == (503, "not ready: the ledger is being replayed\n")
    async with http.get("/") as answer:
        assert answer.status == 200
        assert "the ledger is being replayed" in await answer.text()
    async with http.get("/api/v1/status") as answer:
        assert answer.status == 503
    daemon.reason = None
    async with http.get("/-/ready") as answer:
        assert (answer.status, await answer.text()) == (200, "ready\n")


async def test_status_and_metrics_are_what_was_handed(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/v1/status") as answer:
        assert answer.content_type == "application/json"
        assert await answer.json() == STATUS
    async with http.get("/metrics", headers={"Accept": "text/x"}) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await answer.text() == "# accept text/x\n"


async def test_a_page_sent_in_pieces_arrives_whole(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public, "PIECE_BYTES", 4)
    text = "# accept text/x, text/y\n"
    async with http.get("/metrics", headers={"Accept": "text/x, text/y"}) as answer:
        assert await answer.text() == text
        assert int(answer.headers["Content-Length"]) == len(text)
    async with http.head("/metrics", headers={"Accept": "text/x, text/y"}) as answer:
        assert (answer.status, int(answer.headers["Content-Length"])) == (200, len(text))


async def test_what_is_not_there_is_a_problem_document(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/v1/nothing") as answer:
        assert (answer.status, answer.content_type) == (404, "application/problem+json")
        assert (await answer.json(content_type=None))["title"] == "Not Found"


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/status", "/-/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_written(http: aiohttp.ClientSession, path: str, method: str) -> None:
    async with http.request(method, path, data=b"x") as answer:
        assert answer.status == 405
        assert "GET" in answer.headers["Allow"]
        assert answer.content_type == "application/problem+json"


async def test_a_failing_page_tells_the_log_and_not_the_visitor(http: aiohttp.ClientSession, daemon: _Daemon) -> None:
    daemon.failure = RuntimeError("secret detail")
    async with http.get("/metrics") as answer:
        assert answer.status == 500
        assert "secret" not in await answer.text()
    daemon.failure = None
    async with http.get("/metrics") as answer:
        assert answer.status == 200


async def test_a_page_that_takes_too_long_is_given_up(
    http: aiohttp.ClientSession,
    daemon: _Daemon,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "ANSWER_WITHIN_S", 0.05)
    daemon.slow = asyncio.Event()
    async with http.get("/api/v1/status") as answer:
        assert answer.status == 503


async def _raw(served: Listening, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(served.host, served.port)
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01 no http at all\r\n\r\n",
    ],
    ids=["header", "path", "garbage"],
)
async def test_oversized_and_garbled_requests_are_refused(served: Listening, request_bytes: bytes) -> None:
    assert (await _raw(served, request_bytes)).startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert b"200 OK" in await _raw(served, b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


async def test_a_taken_port_is_an_error_and_leaves_nothing(
    daemon: _Daemon, desk: LedgerDesk, served: Listening
) -> None:
    with pytest.raises(OSError, match=rf"listen on 127.0.0.1:{served.port}: Address already in use \(web.listen"):
        await listen(daemon.handed(), desk, "127.0.0.1", served.port)


async def test_the_url_of_an_ipv6_address_has_brackets(daemon: _Daemon, desk: LedgerDesk) -> None:
    try:
        listening = await listen(daemon.handed(), desk, "::1", 0)
    except OSError:
        pytest.skip("no IPv6 loopback on this machine")
    try:
        assert listening.url == f"http://[::1]:{listening.port}"
    finally:
        await listening.stop()


async def test_problem_bodies_parse(http: aiohttp.ClientSession) -> None:
    async with http.get("/nope") as answer:
        body = json.loads(await answer.read())
    assert body == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "there is no such page; /api/v1/openapi.json lists those there are",
    }


async def test_the_checkpoint_is_text_and_stands_on_the_page(daemon: _Daemon, desk: LedgerDesk) -> None:
    handed = replace(daemon.handed(), checkpoint=lambda: "jaga/test\n1\n<root>\n")
    listening = await listen(handed, desk, "127.0.0.1", 0)
    async with aiohttp.ClientSession(listening.url) as session:
        async with session.get("/api/v1/checkpoint") as answer:
            assert (answer.status, answer.content_type) == (200, "text/plain")
            assert await answer.text() == "jaga/test\n1\n<root>\n"
        async with session.get("/") as answer:
            assert "jaga/test\n1\n&lt;root&gt;\n" in await answer.text()
    await listening.stop()


async def test_there_is_no_checkpoint_before_the_first(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/v1/checkpoint") as answer:
        assert answer.status == 404
        assert "no checkpoint has been signed yet" in await answer.text()
    async with http.get("/") as answer:
        assert "jaga ledger verify" not in await answer.text()


async def test_a_record_that_is_only_read_is_shown_as_far_as_it_can_be(daemon: _Daemon, desk: LedgerDesk) -> None:
    daemon.reason = "read-only: entry 7 was changed"

    async def unreadable() -> Mapping[str, Any]:
        raise StoreError("read", "ledger.db", "the file is damaged", "restore a backup")

    readable = replace(daemon.handed(), damage=lambda: daemon.reason)
    for handed, status in ((readable, 200), (replace(readable, status=unreadable), 503)):
        listening = await listen(handed, desk, "127.0.0.1", 0)
        async with aiohttp.ClientSession(listening.url) as session, session.get("/api/v1/status") as answer:
            assert answer.status == status
            assert status == 200 or "the file is damaged" in await answer.text()
        await listening.stop()

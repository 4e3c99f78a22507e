"""The lean engine against aiohttp's client, request by request on one server: what arrives is the same."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from probes._net import LiveNetwork
from tests.probes.asking import probe


async def echo(request: web.Request) -> web.Response:
    """Everything of the request that a client decides."""
    body = await request.read()
    ignored = IGNORED if body else IGNORED | {"content-type"}  # aiohttp names the type of nothing, too
    seen = {
        "method": request.method,
        "path": request.path,
        "query": [[key, value] for key, value in request.query.items()],
        "cookies": dict(request.cookies),
        "headers": sorted([k.lower(), v] for k, v in request.headers.items() if k.lower() not in ignored),
        "body": body.decode(),
    }
    return web.json_response(seen)


# Each client speaks of itself here, or frames the message as it likes.
IGNORED = {"user-agent", "accept-encoding", "connection", "host", "cookie", "content-length"}


async def hop(request: web.Request) -> web.Response:
    response = web.Response(status=int(request.query["status"]))
    response.headers["Location"] = request.query["to"]
    return response


async def set_cookies(request: web.Request) -> web.Response:
    response = web.Response(status=302, headers={"Location": request.query["to"]})
    response.set_cookie("plain", "1")
    response.set_cookie("deep", "2", path="/deep")
    response.set_cookie("safe", "3", secure=True)
    response.set_cookie("gone", "4", max_age=0)
    response.headers.add("Set-Cookie", "past=5; Expires=Fri, 01 Jan 1971 00:00:00 GMT; Path=/")
    response.headers.add("Set-Cookie", 'later="6"; Path=/; Max-Age=600')
    response.headers.add("Set-Cookie", "elsewhere=7; Domain=example.id")
    return response


async def packed(request: web.Request) -> web.StreamResponse:
    text = ("Jaga \N{EN DASH} berjaga " * 1000).encode()
    how = request.query["how"]
    wbits = {"gzip": 31, "deflate": 15, "raw": -15, "identity": 0}[how]
    if wbits:
        packer = zlib.compressobj(wbits=wbits)
        text = packer.compress(text) + packer.flush()
    headers = {} if how == "identity" else {"Content-Encoding": "deflate" if how == "raw" else how}
    response = web.StreamResponse(headers=headers)
    if request.query.get("chunked"):
        response.enable_chunked_encoding()
    else:
        response.content_length = len(text)
    await response.prepare(request)
    for start in range(0, len(text), 1000):
        await response.write(text[start : start + 1000])
    await response.write_eof()
    return response


@pytest.fixture
async def base() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/hop", hop)
    app.router.add_get("/cookies", set_cookies)
    app.router.add_get("/packed", packed)
    app.router.add_route("*", "/{tail:.*}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def by_aiohttp(settings: dict[str, Any]) -> tuple[int, bytes]:
    """The same request by aiohttp's client."""
    how = dict(settings)
    method = next(m for m in ("get", "post", "put", "patch", "delete", "head", "options") if m in how)
    url = how.pop(method)
    arguments: dict[str, Any] = {"max_redirects": 10}
    if "query" in how:
        arguments["params"] = [(k, i) for k, v in how["query"].items() for i in (v if isinstance(v, list) else [v])]
    if "form" in how:
        arguments["data"] = how["form"]
    if "body" in how:
        arguments["data"] = how["body"]
    if "basic" in how:
        login = aiohttp.encode_basic_auth(how["basic"]["user"], how["basic"]["password"])
        arguments["headers"] = {"Authorization": login}
    arguments |= {key: how[key] for key in ("json", "headers") if key in how}
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session, session.request(method, url, **arguments) as response:
        return response.status, await response.read()


REQUESTS: dict[str, dict[str, Any]] = {
    "get": {"get": "/"},
    "no path": {"get": ""},
    "post nothing": {"post": "/x"},
    "post json": {"post": "/x", "json": {"user": "né", "n": [1, 2.5, None, True], "deep": {"a": "\u2028"}}},
    "put json list": {"put": "/x", "json": [1, "2"]},
    "patch text": {"patch": "/x", "body": "a text – with a dash\n"},
    "post form": {"post": "/x", "form": {"user": "a b&c=d", "päss": "ü+%"}},
    "delete": {"delete": "/x/1"},
    "options": {"options": "/x"},
    "query": {"get": "/x", "query": {"a": "1", "b": ["2", "3"], "sp ace": "ü & + % = ? #"}},
    "query and more": {"get": "/x?z=1&z=2", "query": {"a": "1"}},
    "encoded path": {"get": "/a%20b/%C3%BC?q=%26"},
    "raw path": {"get": "/a b/ü?q=ü x"},
    "fragment": {"get": "/x#part"},
    "odd but legal": {"get": "/a;b=c,d/(e)!$'*:@~?x=/?:@!$'()*,;"},
    "headers": {"get": "/x", "headers": {"X-One": "1", "x-two": "zwei ü", "Accept": "text/plain"}},
    "own content type": {"post": "/x", "headers": {"Content-Type": "text/csv"}, "body": "a,b"},
    "basic": {"get": "/x", "basic": {"user": "jaga", "password": "p:w"}},
    "301 post": {"post": "/hop?status=301&to=/x", "body": "b"},
    "302 post": {"post": "/hop?status=302&to=/x", "json": {"a": 1}},
    "303 post": {"post": "/hop?status=303&to=/x", "json": {"a": 1}},
    "303 put": {"put": "/hop?status=303&to=/x", "json": {"a": 1}},
    "307 post": {"post": "/hop?status=307&to=/x", "json": {"a": 1}},
    "308 put": {"put": "/hop?status=308&to=/x", "body": "b"},
    "301 get": {"get": "/hop?status=301&to=/x%3Fa=b"},
    "relative": {"get": "/hop?status=302&to=deep/er"},
    "dots": {"get": "/hop?status=302&to=../x"},
    "query only": {"get": "/hop?status=302&to=%2Fx%3Fq%3D1%26r%3D%C3%BC"},
    "two hops": {"get": "/hop?status=302&to=/hop%3Fstatus=307%26to=/x"},
    "redirect keeps headers": {"get": "/hop?status=302&to=/x", "headers": {"X-One": "1"}},
    "redirect keeps login": {"get": "/hop?status=302&to=/x", "basic": {"user": "a", "password": "b"}},
    "cookies": {"get": "/cookies?to=/x"},
    "cookies deep": {"get": "/cookies?to=/deep/x"},
    "cookies elsewhere": {"get": "/cookies?to=/deeper"},
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_server_sees_the_same_request(name: str, base: str, network: LiveNetwork) -> None:
    settings = {k: base + v if isinstance(v, str) and k != "body" else v for k, v in REQUESTS[name].items()}
    status, body = await by_aiohttp(settings)
    ours = (await probe(network, "http", settings)).facts
    assert ours["status"] == status
    assert json.loads(ours["body"]) == json.loads(body)


async def test_head_has_a_status_and_no_body(base: str, network: LiveNetwork) -> None:
    facts = (await probe(network, "http", {"head": base + "/x"})).facts
    assert (facts["status"], facts["body"]) == await by_aiohttp({"head": base + "/x"})
    assert any(name == b"Content-Length" and value != b"0" for name, value in facts["headers"])


@pytest.mark.parametrize("chunked", ["", "&chunked=1"])
@pytest.mark.parametrize("how", ["gzip", "deflate", "raw", "identity"])
async def test_bodies_are_decompressed_alike(how: str, chunked: str, base: str, network: LiveNetwork) -> None:
    settings = {"get": f"{base}/packed?how={how}{chunked}"}
    _, body = await by_aiohttp(settings)
    assert (await probe(network, "http", settings)).facts["body"] == body
    assert body.startswith(b"Jaga")

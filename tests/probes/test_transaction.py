"""Transactions over a real server: steps, extraction, variables, `finally`, time, and secrets that never show."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import socket
import types
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from probes import FailReason, InconclusiveReason, Outcome, OwnFault, ProbeError, Result
from probes._judge import MAX_SHOWN
from probes._net import LiveNetwork
from probes._poller import LATE_NS
from probes.transaction import finally_budget_ns, parse, run
from tests.probes.asking import SECOND_NS, ask, context, in_virtual_time

CANARY = 'k4n/r1+y~ü&"<'
SECRETS = {"PROBE_USER": "jaga", "PROBE_PASSWORD": CANARY, "file:/run/key": "a-file-secret", "PORT": "80"}


@dataclass
class Shop:
    """A small service: log in for a token, order, clean up. It can be told to misbehave."""

    orders: set[str] = field(default_factory=set)
    seen: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)
    order_id: Any = "007"
    slow_s: float = 0.0

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._note])
        app.router.add_post("/login", self._login)
        app.router.add_post("/orders", self._order)
        app.router.add_delete("/orders/{id:.*}", self._delete)
        app.router.add_get("/session", self._session)
        app.router.add_route("*", "/mirror", self._mirror)
        app.router.add_post("/echo", self._echo)
        app.router.add_get("/away", self._away)
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/fails", self._fails)
        return app

    @web.middleware
    async def _note(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs, dict(request.headers), await request.text()))
        return await handler(request)

    async def _login(self, request: web.Request) -> web.Response:
        data = await request.json()
        if data["password"] != CANARY:
            return web.json_response({"error": "wrong password"}, status=401)
        response = web.json_response({"token": "t0k-3n", "count": 7, "float": 1.5, "flag": True, "none": None})
        response.headers["X-Request-Id"] = "r-42"
        response.set_cookie("sid", "s3ss10n")
        return response

    async def _order(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer t0k-3n":
            return web.json_response({"error": f"bad login {request.headers.get('Authorization')}"}, status=401)
        self.orders.add(str(self.order_id))
        return web.json_response({"id": self.order_id, "echo": await request.json()}, status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self.orders:
            return web.Response(status=404)
        self.orders.discard(request.match_info["id"])
        return web.Response(status=204)

    async def _session(self, request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request.cookies.get('sid')}")

    async def _mirror(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{dict(request.headers)} {request.path_qs} {await request.text()}", status=500)

    async def _echo(self, request: web.Request) -> web.Response:
        return web.Response(text=await request.text(), status=500)

    async def _away(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": request.query["to"]})

    async def _slow(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.slow_s)
        return web.Response(text="slow")

    async def _fails(self, request: web.Request) -> web.Response:
        return web.json_response({"error": "no disk"}, status=503)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@asynccontextmanager
async def opened(shop: Shop) -> AsyncIterator[str]:
    """The address of the shop."""
    runner = web.AppRunner(shop.app(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def base(shop: Shop) -> AsyncIterator[str]:
    async with opened(shop) as address:
        yield address


def log_in(base: str, **more: object) -> dict[str, Any]:
    login = {"post": f"{base}/login", "json": {"user": "${PROBE_USER}", "password": "${PROBE_PASSWORD}"}}
    return {
        "name": "log in",
        "http": login,
        "expect": {"status": 200, "json": {"$.token": {"type": "string"}}},
        "extract": {"token": "$.token"} | more,
    }


def order(base: str, **more: object) -> dict[str, Any]:
    settings = {"post": f"{base}/orders", "headers": {"authorization": "Bearer {{ token }}"}, "json": {"sku": "test"}}
    return {
        "name": "order",
        "http": settings,
        "expect": {"status": 201, "time": "< 5s"},
        "extract": {"order": "$.id"},
    } | more


def clean_up(base: str) -> dict[str, Any]:
    return {
        "name": "clean up",
        "http": {"delete": f"{base}/orders/{{{{ order }}}}"},
        "expect": {"status": [204, 404]},
    }


async def test_the_example_of_the_interface(base: str, shop: Shop, network: LiveNetwork) -> None:
    check = {"steps": [log_in(base), order(base)], "finally": [clean_up(base)]}
    result = await ask(network, check, secrets=SECRETS)
    assert result.outcome is Outcome.PASS, result.message
    assert [(s.name, s.http_status, s.final, s.error) for s in result.steps] == [
        ("log in", 200, False, None),
        ("order", 201, False, None),
        ("clean up", 204, True, None),
    ]
    assert result.steps[1].extracted == {"order": "007"}
    assert shop.orders == set()
    assert result.phases_ns.keys() == {"connect", "processing", "transfer"}


@pytest.mark.parametrize("order_id", ["007", 7, 1.5, True, "a/b?c d", ""])
async def test_a_value_keeps_its_type_and_its_place(
    order_id: object, base: str, shop: Shop, network: LiveNetwork
) -> None:
    """In a JSON body a text stays a text; in a URL a value is one piece, whatever is in it."""
    shop.order_id = order_id
    settings = {
        "post": f"{base}/orders",
        "bearer": "{{ token }}",
        "json": {"whole": "{{ order }}", "in": "<{{ order }}>"},
    }
    again = {"name": "again", "http": settings, "expect": {"status": 201, "json": {"$.echo.whole": "{{ order }}"}}}
    check = {"steps": [log_in(base), order(base), again], "finally": [clean_up(base)]}
    result = await ask(network, check, secrets=SECRETS)
    assert result.outcome is Outcome.PASS, result.message
    sent = json.loads(shop.seen[2][3])["whole"]
    assert sent == order_id
    assert type(sent) is type(order_id)
    text = order_id if isinstance(order_id, str) else json.dumps(order_id)
    assert json.loads(shop.seen[2][3])["in"] == f"<{text}>"
    assert shop.seen[-1][1] == f"/orders/{urllib.parse.quote(text, safe='')}" or not text


async def test_extraction_from_header_and_pattern(base: str, shop: Shop, network: LiveNetwork) -> None:
    more = {"request": {"header": "X-Request-Id"}, "digits": {"regex": r'"count": (\d+)'}, "count": {"json": "$.count"}}
    result = await ask(network, {"steps": [log_in(base, **more)]}, secrets=SECRETS)
    assert result.steps[0].extracted == {"token": "***", "request": "r-42", "digits": "7", "count": "7"}


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("$.id", "extract x: $.id not found"),
        ("$.*", "extract x: $.* is not one value but 5"),
        ({"header": "X-None"}, "extract x: header X-None not found"),
        ({"regex": "(nothing)"}, "extract x: regex (nothing) not found"),
    ],
)
async def test_a_missing_value_is_a_failed_assertion(wish: object, words: str, base: str, network: LiveNetwork) -> None:
    result = await ask(network, {"steps": [log_in(base, x=wish)]}, secrets=SECRETS)
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.ASSERTION)
    assert result.message == words


async def test_the_first_failing_step_ends_the_transaction_and_is_named(
    base: str, shop: Shop, network: LiveNetwork
) -> None:
    broken = {"name": "pay", "http": {"get": f"{base}/fails"}, "expect": {"status": 200, "json": {"$.ok": True}}}
    check = {"steps": [log_in(base), broken, order(base)], "finally": [clean_up(base)]}
    result = await ask(network, check, secrets=SECRETS)
    assert (result.outcome, result.reason, result.step) == (Outcome.FAIL, FailReason.HTTP_STATUS, "pay")
    assert result.message == 'expected status 200, got 503: {"error": "no disk"} (and 1 more)'
    assert [s.name for s in result.steps] == ["log in", "pay", "clean up"]
    assert result.steps[1].failed_assertions == ("pay.status", "pay.json.$.ok")
    assert result.steps[2].error == "skipped: order was never extracted"
    assert not any(method == "DELETE" for method, *_ in shop.seen)


async def test_a_failing_finally_is_reported_and_changes_nothing(base: str, network: LiveNetwork) -> None:
    broken = {"name": "tidy", "http": {"get": f"{base}/fails"}}
    unreachable = {"name": "sweep", "http": {"get": "http://127.0.0.1:1/"}}
    last = {"name": "last", "http": {"get": f"{base}/session"}}
    result = await ask(network, {"steps": [log_in(base)], "finally": [broken, unreachable, last]}, secrets=SECRETS)
    assert (result.outcome, result.reason, result.message) == (Outcome.PASS, None, None)
    tidy, sweep, last_trace = result.steps[1:]
    assert "expected status 2xx, got 503" in (tidy.error or "")
    assert "refused" in (sweep.error or "")
    assert (last_trace.error, last_trace.final) == (None, True)


def asked_slowly(shop: Shop, check: Callable[[str], dict[str, Any]], *, timeout_s: float = 10) -> Result:
    """The result of the check, given the shop's address, where only the shop's slowness takes time."""

    async def story(network: LiveNetwork) -> Result:
        async with opened(shop) as base:
            return await ask(network, check(base), secrets=SECRETS, timeout_s=timeout_s)

    return in_virtual_time(story)


def test_finally_has_time_of_its_own_after_a_time_out(shop: Shop) -> None:
    shop.slow_s = 5

    def check(base: str) -> dict[str, Any]:
        slow = {"name": "slow", "http": {"get": f"{base}/slow"}}
        return {"steps": [slow], "finally": [{"name": "tidy", "http": {"get": f"{base}/session"}}]}

    result = asked_slowly(shop, check, timeout_s=0.4)
    assert (result.outcome, result.reason, result.step) == (Outcome.FAIL, FailReason.TIMEOUT, "slow")
    assert (result.steps[1].name, result.steps[1].http_status) == ("tidy", 200)


def test_finally_has_no_more_time_than_its_budget(shop: Shop) -> None:
    shop.slow_s = 5
    result = asked_slowly(
        shop,
        lambda base: {"steps": [log_in(base)], "finally": [{"name": "slow", "http": {"get": f"{base}/slow"}}]},
        timeout_s=2,
    )
    assert result.outcome is Outcome.PASS
    assert 0.5 * SECOND_NS <= result.steps[1].duration_ns < 0.51 * SECOND_NS
    assert "time ran out" in (result.steps[1].error or "")


def test_the_budget_of_finally() -> None:
    assert finally_budget_ns(10 * SECOND_NS) == 2_500_000_000
    assert finally_budget_ns(60 * SECOND_NS) == 5 * SECOND_NS


def test_a_time_limit_fails_as_an_assertion(shop: Shop) -> None:
    shop.slow_s = 0.1
    result = asked_slowly(shop, lambda base: {"http": {"get": f"{base}/slow"}, "expect": {"time": "< 50ms"}})
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.ASSERTION)
    assert (result.message or "").startswith("time: expected < 50ms, took 1")
    assert result.steps[0].failed_assertions == ("http.time",)


async def test_no_step_begins_after_the_deadline(base: str, network: LiveNetwork) -> None:
    spec = parse({"http": {"get": f"{base}/session"}})

    async def late_by(late_ns: int) -> Result:
        ctx = context(network)
        ctx.now_ns = lambda: ctx.deadline_ns + late_ns
        return await run(spec, ctx)

    result = await late_by(LATE_NS)
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.TIMEOUT)
    result = await late_by(LATE_NS + 1)
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, InconclusiveReason.STALLED)
    assert result.tainted


async def test_cookies_live_for_one_run(base: str, network: LiveNetwork) -> None:
    session = {"name": "session", "http": {"get": f"{base}/session"}, "expect": {"body": {"contains": "hello s3ss10n"}}}
    assert (await ask(network, {"steps": [log_in(base), session]}, secrets=SECRETS)).outcome is Outcome.PASS
    assert (await ask(network, {"steps": [session]}, secrets=SECRETS)).outcome is Outcome.FAIL


@dataclass
class Thrower:
    """A stand-in for a kind whose code is broken."""

    error: BaseException
    EXPECTS: frozenset[str] = frozenset()

    async def probe(self, spec: object, ctx: object) -> Result:
        raise self.error

    def target(self, spec: object) -> str:
        return "broken"


async def test_a_bug_passes_through_after_finally(
    base: str, shop: Shop, network: LiveNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = parse(
        {
            "steps": [{"name": "a", "tcp": {"connect": "127.0.0.1:1"}}],
            "finally": [{"name": "tidy", "http": {"get": f"{base}/session"}}],
        }
    )
    real = __import__("probes").load
    bug = Thrower(ZeroDivisionError("a bug"))
    monkeypatch.setattr("probes._attempt.load", lambda kind: bug if kind == "tcp" else real(kind))
    with pytest.raises(ZeroDivisionError):
        await run(spec, context(network))
    assert [path for _, path, *_ in shop.seen] == ["/session"]


async def test_our_own_fault_keeps_its_reason(network: LiveNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = parse({"tcp": {"connect": "127.0.0.1:1"}})
    fault = Thrower(OwnFault(InconclusiveReason.OWN_RESOLVER, "no answer"))
    monkeypatch.setattr("probes._attempt.load", lambda _: fault)
    result = await run(spec, context(network))
    assert (result.outcome, result.reason, result.step) == (
        Outcome.INCONCLUSIVE,
        InconclusiveReason.OWN_RESOLVER,
        "tcp",
    )


def disguises_of(secret: str) -> list[str]:
    """Every form in which the canary might leak."""
    encoded = secret.encode()
    return [
        secret,
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        json.dumps(secret)[1:-1],
        base64.b64encode(encoded).decode().rstrip("=")[:-1],
        base64.b64encode(b"jaga:" + encoded).decode()[8:20],
        repr(secret)[1:-1],
    ]


LEAKS: dict[str, dict[str, Any]] = {
    "json": {"post": "/mirror", "json": {"p": "${PROBE_PASSWORD}"}},
    "form": {"post": "/mirror", "form": {"p": "${PROBE_PASSWORD}"}},
    "body": {"post": "/mirror", "body": "p=${PROBE_PASSWORD}"},
    "query": {"get": "/mirror", "query": {"p": "${PROBE_PASSWORD}"}},
    "url": {"get": "/mirror?p=${PROBE_PASSWORD}"},
    "header": {"get": "/mirror", "headers": {"X-Key": "${PROBE_PASSWORD}"}},
    "basic": {"get": "/mirror", "basic": {"user": "${PROBE_USER}", "password": "${PROBE_PASSWORD}"}},
    "bearer": {"get": "/mirror", "bearer": "${PROBE_PASSWORD}"},
    "redirect": {"get": "/away?to=/mirror%3Fp=${PROBE_PASSWORD}"},
    "redirect path": {"get": "/away?to=/${PROBE_PASSWORD}"},
    "endless redirect": {"get": "/away?to=/away%3Fto=/away%3Fp=${PROBE_PASSWORD}", "redirects": 1},
    "refused": {"get": "http://127.0.0.1:1/${PROBE_PASSWORD}"},
    "host": {"get": "http://${PROBE_PASSWORD}/"},
}


@pytest.mark.parametrize("name", LEAKS)
async def test_a_secret_leaves_nowhere(name: str, base: str, network: LiveNetwork) -> None:
    """A server that throws everything back, in an answer of which every part is asserted on."""
    settings = {k: base + v if isinstance(v, str) and v.startswith("/") else v for k, v in LEAKS[name].items()}
    expect = {
        "status": 200,
        "body": {"contains": "${PROBE_PASSWORD}!", "matches": "^$", "not_contains": "a"},
        "headers": {"content-type": "${PROBE_PASSWORD}", "location": {"exists": True}},
        "json": {"$.p": "${PROBE_PASSWORD}"},
    }
    result = await ask(network, {"http": settings, "expect": expect}, secrets=SECRETS)
    assert result.outcome is not Outcome.PASS
    shown = repr(dataclasses.replace(result, facts={}))
    for form in disguises_of(CANARY):
        assert form not in shown


async def test_half_a_secret_does_not_remain_where_a_message_is_cut(base: str, network: LiveNetwork) -> None:
    for fill in range(MAX_SHOWN - len(CANARY) - 2, MAX_SHOWN + 2):
        body = "x" * fill + "${PROBE_PASSWORD}"
        result = await ask(network, {"http": {"post": f"{base}/echo", "body": body}}, secrets=SECRETS)
        assert "x" * min(fill, MAX_SHOWN) in (result.message or "")
        assert CANARY[:2] not in (result.message or "")


async def test_a_secret_host_is_not_named() -> None:
    def nobody(*_: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "words")

    network = LiveNetwork(getaddrinfo=nobody)
    result = await ask(network, {"tcp": {"connect": "${file:/run/key}:1"}}, secrets=SECRETS)
    network.close()
    assert result.message == result.steps[0].error == "the name *** does not exist"


async def test_login_tokens_are_not_shown(base: str, network: LiveNetwork) -> None:
    """A variable that a later step logs in with is confidential, whatever it is called."""
    steps = [
        log_in(base) | {"extract": {"harmless": "$.token"}},
        {"name": "mirror", "http": {"get": f"{base}/mirror", "headers": {"authorization": "Bearer {{ harmless }}"}}},
    ]
    result = await ask(network, {"steps": steps}, secrets=SECRETS)
    assert result.reason is FailReason.HTTP_STATUS
    assert "t0k-3n" not in repr(dataclasses.replace(result, facts={}))


async def test_an_answer_is_never_read_as_a_reference(base: str, shop: Shop, network: LiveNetwork) -> None:
    """Template and secret injection: what a target sends is data, in every place where a variable stands."""
    payloads = [
        "${PROBE_PASSWORD}",
        "{{ token }}",
        "{{7*7}}",
        "{% raw %}",
        "$${x}",
        "${file:/etc/passwd}",
        "%(a)s",
        "{0}",
    ]
    for payload in payloads:
        shop.order_id = payload
        settings = {
            "post": f"{base}/mirror/{{{{ order }}}}?q={{{{ order }}}}",
            "headers": {"X-Order": "{{ order }}"},
            "json": {"whole": "{{ order }}", "part": "x{{ order }}"},
        }
        again = {"name": "again", "http": settings, "expect": {"status": 404}}
        result = await ask(network, {"steps": [log_in(base), order(base), again]}, secrets=SECRETS)
        assert result.outcome is Outcome.PASS, result.message
        _, _, headers, body = shop.seen[-1]
        assert headers["X-Order"] == payload
        assert json.loads(body) == {"whole": payload, "part": f"x{payload}"}


@pytest.mark.parametrize("evil", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
async def test_an_answer_smuggles_no_header_in(evil: str, base: str, shop: Shop, network: LiveNetwork) -> None:
    shop.order_id = evil
    settings = {"get": f"{base}/session", "headers": {"X-Order": "{{ order }}"}}
    again = {"name": "again", "http": settings}
    result = await ask(network, {"steps": [log_in(base), order(base), again]}, secrets=SECRETS)
    assert (result.outcome, result.reason, result.step) == (Outcome.FAIL, FailReason.SCRIPT, "again")
    assert "control character" in (result.message or "")


async def test_an_answer_chooses_no_inner_host_once_a_public_peer_answered(
    base: str, shop: Shop, network: LiveNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.order_id = base.removeprefix("http://")
    follow = {"name": "follow", "http": {"get": "http://{{ order }}/session"}}
    check = {"steps": [log_in(base), order(base), follow]}
    assert (await ask(network, check, secrets=SECRETS)).outcome is Outcome.PASS
    monkeypatch.setattr("probes.http.egress", types.SimpleNamespace(is_public=lambda _: True))
    result = await ask(network, check, secrets=SECRETS)
    assert (result.outcome, result.reason, result.step) == (Outcome.FAIL, FailReason.PROTOCOL, "follow")
    assert "not a public address" in (result.message or "")


async def test_a_public_peer_redirects_nowhere_inside(
    base: str, network: LiveNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = {"http": {"get": f"{base}/away?to=/session"}}
    assert (await ask(network, check)).outcome is Outcome.PASS
    monkeypatch.setattr("probes.http.egress", types.SimpleNamespace(is_public=lambda _: True))
    result = await ask(network, check)
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.PROTOCOL)
    assert "not a public address" in (result.message or "")


async def test_credentials_stay_with_their_origin(base: str, network: LiveNetwork) -> None:
    """Another port is another origin: login, keys and cookies set by hand stay behind; a body is not carried over."""
    other = Shop()
    runner = web.AppRunner(other.app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    there = f"http://127.0.0.1:{runner.addresses[0][1]}/session"
    settings = {
        "get": f"{base}/away",
        "query": {"to": there},
        "basic": {"user": "a", "password": "b"},
        "headers": {"X-Api-Key": "key", "Cookie": "by=hand", "Accept": "text/plain"},
    }
    result = await ask(network, {"http": settings})
    posting = {"post": f"{base}/away", "query": {"to": there}, "body": "secret"}
    await runner.cleanup()
    assert result.outcome is Outcome.PASS
    _, _, headers, _ = other.seen[0]
    assert headers["Accept"] == "text/plain"
    assert headers["Host"] == there.split("/")[2]
    assert not headers.keys() & {"Authorization", "X-Api-Key", "Cookie"}
    assert result.steps[0].redirects == (there,)
    assert posting["body"] == "secret"


async def test_a_body_is_not_carried_to_another_origin(network: LiveNetwork) -> None:
    async def away(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://127.0.0.2:9/"})

    app = web.Application()
    app.router.add_post("/", away)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    result = await ask(network, {"http": {"post": f"http://127.0.0.1:{runner.addresses[0][1]}/", "body": "secret"}})
    await runner.cleanup()
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.PROTOCOL)
    assert "carry the body to another origin" in (result.message or "")


async def test_redirects_are_followed_only_as_far_as_allowed(base: str, network: LiveNetwork) -> None:
    stay = {"http": {"get": f"{base}/away?to=/session", "redirects": 0}, "expect": {"status": 302}}
    assert (await ask(network, stay)).outcome is Outcome.PASS
    default = await ask(network, {"http": {"get": f"{base}/away?to=/away%3Fto=/session", "redirects": 1}})
    assert (default.outcome, default.reason) == (Outcome.FAIL, FailReason.PROTOCOL)
    assert "more than 1 redirects" in (default.message or "")


def test_what_the_caller_asks_of_a_spec() -> None:
    base = "https://api.example.id"
    spec = parse({"steps": [log_in(base), order(base)], "finally": [clean_up(base)]})
    assert spec.kind == "transaction"
    assert spec.target == "api.example.id:443"
    assert spec.assertion_ids() == (
        "log in.status",
        "log in.json.$.token",
        "order.status",
        "order.time",
        "clean up.status",
    )
    assert spec.references() == {"PROBE_USER", "PROBE_PASSWORD"}
    assert spec.confidential == {"token"}
    assert parse({"tcp": {"connect": "db:5432"}}).kind == "tcp"


def test_a_failure_needs_a_reason_of_the_target() -> None:
    with pytest.raises(AssertionError):
        Result(outcome=Outcome.FAIL, reason=InconclusiveReason.INTERNAL)
    with pytest.raises(AssertionError):
        Result(outcome=Outcome.PASS, reason=FailReason.DNS)
    assert ProbeError(FailReason.DNS, "x").reason is FailReason.DNS

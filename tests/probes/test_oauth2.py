"""OAuth2 client credentials against a real token server: one token for many runs, renewed in time, shown nowhere."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from probes import FailReason, InconclusiveReason, Outcome, transaction
from probes._net import LiveNetwork
from probes._oauth2 import MAX_ANSWER
from probes.secret import SecretError
from tests.probes.asking import context

SECRETS = {"CLIENT_SECRET": "s3cret&=+"}
NOW_NS = time.monotonic_ns


@dataclass
class Servers:
    """A token server and the service that takes its tokens, in one application."""

    url: str = ""
    granted: list[str] = field(default_factory=list)
    asked: list[tuple[dict[str, str], str]] = field(default_factory=list)
    expires_in: object = 3600
    answer: web.Response | None = None
    revoked: set[str] = field(default_factory=set)

    async def token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.asked.append((form, request.headers.get("Authorization", "")))
        if self.answer is not None:
            return self.answer
        self.granted.append(f"t0ken-{len(self.granted)}")
        return web.json_response(
            {"access_token": self.granted[-1], "token_type": "Bearer", "expires_in": self.expires_in}
        )

    async def service(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        good = token in self.granted and token not in self.revoked
        return web.Response(status=200 if good else 401, text=f"you sent {token}")


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    found = Servers()
    app = web.Application()
    app.router.add_post("/token", found.token)
    app.router.add_get("/orders", found.service)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


def spec(servers: Servers, **more: object) -> transaction.Spec:
    login = {"token_url": f"{servers.url}/token", "client_id": "probe", "client_secret": "${CLIENT_SECRET}"} | more
    return transaction.parse({"http": {"get": f"{servers.url}/orders", "oauth2": login}})


async def run(network: LiveNetwork, wanted: transaction.Spec, *, later_s: float = 0) -> Any:  # noqa: ANN401 - Result
    """A run that begins so much later than now, on its own clock."""
    ctx = context(network, secrets=SECRETS)
    ctx.now_ns = lambda: NOW_NS() + int(later_s * 1e9)
    ctx.deadline_ns = ctx.now_ns() + 10_000_000_000
    return await transaction.run(wanted, ctx)


async def test_one_token_serves_many_runs_until_it_grows_old(servers: Servers, network: LiveNetwork) -> None:
    wanted = spec(servers, scope="orders read", audience="api")
    for later_s, fetched in ((0, 1), (1, 1), (3000, 1), (3239, 1), (3241, 2), (3300, 2)):
        assert (await run(network, wanted, later_s=later_s)).outcome is Outcome.PASS
        assert len(servers.granted) == fetched, f"after {later_s} s"
    form, authorization = servers.asked[0]
    assert form == {"grant_type": "client_credentials", "scope": "orders read", "audience": "api"}
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"probe:s3cret%26%3D%2B"


async def test_the_client_may_prove_itself_in_the_body(servers: Servers, network: LiveNetwork) -> None:
    assert (await run(network, spec(servers, auth="body"))).outcome is Outcome.PASS
    form, authorization = servers.asked[0]
    assert (form["client_id"], form["client_secret"], authorization) == ("probe", "s3cret&=+", "")


async def test_a_token_that_is_refused_is_fetched_anew_by_the_next_attempt(
    servers: Servers, network: LiveNetwork
) -> None:
    wanted = spec(servers)
    assert (await run(network, wanted)).outcome is Outcome.PASS
    servers.revoked.add(servers.granted[0])
    refused = await run(network, wanted)
    assert (refused.reason, refused.steps[0].http_status) == (FailReason.HTTP_STATUS, 401)
    assert "t0ken" not in repr(refused.message)
    assert (await run(network, wanted)).outcome is Outcome.PASS
    assert len(servers.granted) == 2


@pytest.mark.parametrize("expires_in", [None, True, "soon", 0, -5, 10**30])
async def test_an_odd_lifetime_is_bounded(servers: Servers, network: LiveNetwork, expires_in: object) -> None:
    servers.expires_in = expires_in
    wanted = spec(servers)
    for later_s, fetched in ((0, 1), (5, 1), (90_000, 2)):
        assert (await run(network, wanted, later_s=later_s)).outcome is Outcome.PASS
        assert len(servers.granted) == fetched


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        ({"status": 401, "text": "s3cret&=+ is wrong"}, FailReason.HTTP_STATUS, "gave no token: status 401"),
        ({"status": 302, "headers": {"Location": "/orders"}}, FailReason.HTTP_STATUS, "gave no token: status 302"),
        (
            {"status": 401, "text": '{"error": "invalid_client", "error_description": "s3cret&=+ is wrong"}'},
            FailReason.HTTP_STATUS,
            "gave no token: status 401, invalid_client",
        ),
        ({"status": 400, "text": '{"error": "s3cret&=+"}'}, FailReason.HTTP_STATUS, "gave no token: status 400"),
        ({"text": '{"access_token": "a", "expires_in": NaN}'}, FailReason.PROTOCOL, "answered no JSON"),
        ({"text": "<html>"}, FailReason.PROTOCOL, "answered no JSON"),
        ({"text": "[" * 60_000}, FailReason.PROTOCOL, "answered no JSON"),
        ({"text": '["access_token"]'}, FailReason.PROTOCOL, "without an access_token"),
        ({"text": '{"access_token": "a\\r\\nX: 1"}'}, FailReason.PROTOCOL, "without an access_token"),
        ({"text": '{"access_token": "a", "token_type": "mac"}'}, FailReason.PROTOCOL, "no bearer"),
        ({"body": b"x" * (MAX_ANSWER + 1)}, FailReason.PROTOCOL, "body over 64 KiB"),
    ],
)
async def test_what_is_no_token_fails_and_says_so(
    servers: Servers, network: LiveNetwork, answer: dict[str, Any], reason: FailReason, words: str
) -> None:
    servers.answer = web.Response(**answer)
    result = await run(network, spec(servers))
    assert (result.outcome, result.reason) == (Outcome.FAIL, reason)
    assert words in (result.message or "")
    assert "s3cret" not in repr(result.message)
    assert network.open_connections == 0


async def test_a_life_may_be_a_text(servers: Servers, network: LiveNetwork) -> None:
    servers.expires_in = "3600"
    wanted = spec(servers)
    for later_s, granted in ((0, 1), (3000, 1), (3300, 2)):
        assert (await run(network, wanted, later_s=later_s)).outcome is Outcome.PASS
        assert len(servers.granted) == granted


async def test_the_token_server_s_address_is_encoded_as_it_goes_on_the_wire(
    servers: Servers, network: LiveNetwork
) -> None:
    result = await run(network, spec(servers, token_url=f"{servers.url}/token?for=gr\u00fc\u00df gott"))
    assert result.outcome is Outcome.PASS, result.message


async def test_a_missing_secret_is_our_own_fault(servers: Servers, network: LiveNetwork) -> None:
    def missing(reference: str) -> str:
        raise SecretError(f"the environment has no {reference}")

    ctx = context(network)
    ctx.secret = missing
    result = await transaction.run(spec(servers), ctx)
    assert (result.outcome, result.reason) == (Outcome.INCONCLUSIVE, InconclusiveReason.INTERNAL)
    assert servers.asked == []


async def test_token_and_secret_show_nowhere(servers: Servers, network: LiveNetwork) -> None:
    wanted = transaction.parse(
        {
            "http": {
                "get": f"{servers.url}/orders",
                "oauth2": {"token_url": f"{servers.url}/token", "client_id": "p", "client_secret": "${CLIENT_SECRET}"},
            },
            "expect": {"body": {"contains": "never there"}},
            "extract": {"seen": {"regex": "you sent (.*)"}},
        }
    )
    result = await run(network, wanted)
    assert result.outcome is Outcome.FAIL
    assert "you sent ***" in (result.message or "")
    shown = repr((result.message, result.steps))
    assert "t0ken" not in shown
    assert "s3cret" not in shown


def test_a_secret_goes_only_where_the_configuration_says() -> None:
    login = {"token_url": "https://{{ host }}/token", "client_id": "a", "client_secret": "b"}
    with pytest.raises(transaction.SpecError, match="never sent where an answer says"):
        transaction.parse({"http": {"get": "https://a.test/", "oauth2": login}})
    login["token_url"] = "https://a.test/token"
    with pytest.raises(transaction.SpecError, match="more than one login"):
        transaction.parse({"http": {"get": "https://a.test/", "oauth2": login, "bearer": "x"}})


async def test_a_token_server_that_is_not_there_fails_in_time(network: LiveNetwork) -> None:
    result = await run(network, spec(Servers(url="http://127.0.0.1:1")))
    assert (result.outcome, result.reason) == (Outcome.FAIL, FailReason.CONNECT)

"""OAuth2 client credentials (RFC 6749, 4.4): one token for many runs, renewed before it expires.

A token is kept beside the settings it was fetched by, in memory only. The first run after it grew old fetches the next
one, within that run's time; one that the service refuses (401) is forgotten, so that the confirmation fetches another.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from probes import Context, FailReason, ProbeError, Route, TlsPolicy, _http1, template
from probes._fields import FORBID, HttpUrl, Line, Tls

MAX_ANSWER = 65_536
DEFAULT_LIFE_S = 300
"""How long a token is used whose answer does not say how long it holds."""

_SHORTEST_LIFE_S = 10
_LONGEST_LIFE_S = 86_400
_MAX_TOKEN = 16_384
_IN_A_PATH = "/%:@!$&'()*+,;=~"
_IN_A_QUERY = "/?%:@!$&'()*+,;=~"
_OK = 200
_SECONDS = re.compile(r"[0-9]{1,9}")
_ERRORS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)


@dataclass(slots=True)
class _Kept:
    """A token, whose client it is, and until when (on the monotonic clock) it is used."""

    token: str
    client: tuple[str, ...]
    until_ns: int


@dataclass(frozen=True, kw_only=True)
class Oauth2:
    """Log in with client credentials at `token_url`: the token goes out as bearer.

    `auth` says how the client proves itself: `basic` (the default) or in the `body`. `tls` is for the token's server.
    """

    __pydantic_config__ = FORBID

    token_url: HttpUrl
    client_id: Line
    client_secret: Line
    scope: Line | None = None
    audience: Line | None = None
    auth: Literal["basic", "body"] = "basic"
    tls: Tls = field(default_factory=Tls)

    def __post_init__(self) -> None:
        """The server is known beforehand: a secret goes where the configuration says, and nowhere else."""
        if template.variables(self.token_url):
            raise ValueError("token_url holds a variable: a secret is never sent where an answer says")
        object.__setattr__(self, "_store", Tokens())  # beside the settings, for as long as they are in force

    @property
    def tokens(self) -> Tokens:
        """The token that is kept for these settings."""
        store: Tokens = self.__dict__["_store"]
        return store


class Tokens:
    """At most one token. Used by the runs of one check, which never overlap."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def forget(self) -> None:
        """The service refused the token."""
        self._kept = None

    async def token(self, login: Oauth2, ctx: Context, route: Route, policy: TlsPolicy) -> str:
        """A token that holds; ProbeError where the token's server gives none, OwnFault."""
        expander = template.Expander(ctx.secret, ctx.variables)
        wanted = (login.client_id, login.client_secret, login.scope or "", login.audience or "")
        client = tuple(expander.text(text) for text in wanted)
        kept = self._kept
        if kept is None or kept.client != client or ctx.now_ns() >= kept.until_ns:
            self._kept = None  # whatever happens now, the old one is not used again
            asked_ns = ctx.now_ns()
            token, life_s = await _fetch(login, client, expander.text(login.token_url), ctx, route, policy)
            # Renewed after nine tenths of its life: before it expires, whatever the clocks.
            kept = self._kept = _Kept(token, client, asked_ns + life_s * 900_000_000)
        ctx.confide(kept.token)
        return kept.token


async def _fetch(
    login: Oauth2, client: tuple[str, ...], address: str, ctx: Context, route: Route, policy: TlsPolicy
) -> tuple[str, int]:
    url = urlsplit(address)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    stream = await ctx.network.connect(host, port, ctx, route)
    try:
        if url.scheme == "https":
            await stream.start_tls(login.tls.server_name or host, policy)
        path, query = quote(url.path or "/", safe=_IN_A_PATH), quote(url.query, safe=_IN_A_QUERY)
        request = _request(login, client, url.netloc, path, query)
        response = await _http1.exchange(stream, ctx, request, has_body=True, max_body=MAX_ANSWER)
    finally:
        stream.close()
    if response.status != _OK:
        why = _refusal(response.body)
        raise ProbeError(FailReason.HTTP_STATUS, f"oauth2: {host} gave no token: status {response.status}{why}")
    return _token(response.body, host)


def _request(login: Oauth2, client: tuple[str, ...], netloc: str, path: str, query: str) -> bytes:
    name, secret, scope, audience = client
    form = {"grant_type": "client_credentials"}
    form |= {key: value for key, value in (("scope", scope), ("audience", audience)) if value}
    headers = [
        ("Host", netloc),
        ("Accept", "application/json"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Connection", "close"),
    ]
    if login.auth == "basic":  # both parts form-encoded first (RFC 6749, 2.3.1)
        pair = f"{quote_plus(name)}:{quote_plus(secret)}"
        headers.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
    else:
        form |= {"client_id": name, "client_secret": secret}
    body = urlencode(form).encode()
    headers.append(("Content-Length", str(len(body))))
    return _http1.request_bytes("POST", f"{path}?{query}" if query else path, headers, body)


def _json(body: bytes) -> Any:  # noqa: ANN401 - a JSON value
    """A JSON text's value; None for what is none."""
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and the infinities are no JSON, and no number of seconds


def _refusal(body: bytes) -> str:
    """`, invalid_client` where an answer says so in the words of RFC 6749, 5.2; nothing else of it is shown."""
    answer = _json(body)
    code = answer.get("error") if isinstance(answer, dict) else None
    return f", {code}" if isinstance(code, str) and code in _ERRORS else ""


def _token(body: bytes, host: str) -> tuple[str, int]:
    """The token of an answer and its life in seconds; what the answer says otherwise is never shown."""
    answer = _json(body)
    if answer is None:
        raise ProbeError(FailReason.PROTOCOL, f"oauth2: {host} answered no JSON")
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN or not token.isascii() or not token.isprintable():
        raise ProbeError(FailReason.PROTOCOL, f"oauth2: {host} answered without an access_token that could be sent")
    kind = answer.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ProbeError(FailReason.PROTOCOL, f"oauth2: {host} gave a token that is no bearer")
    life_s = answer.get("expires_in", DEFAULT_LIFE_S)
    if isinstance(life_s, str) and _SECONDS.fullmatch(life_s):  # a text by old habit of some servers
        life_s = int(life_s)
    if isinstance(life_s, bool) or not isinstance(life_s, int | float):
        life_s = DEFAULT_LIFE_S
    return token, int(min(max(life_s, _SHORTEST_LIFE_S), _LONGEST_LIFE_S))

"""The probe kind `http`: one HTTP/1.1 request on a fresh connection, its redirects followed.

Facts for `expect` and `extract`: `status` (int), `headers` (list of (name, value) in bytes, as sent), `body` (bytes,
decompressed), `size` (of the body in bytes), `url` (of the final response).
"""

from __future__ import annotations

import base64
import contextlib
import functools
import importlib.metadata
import json as json_format
import re
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

from pydantic import StrictInt

from probes import Context, FailReason, ProbeError, Result, Route, TlsPolicy, _http1, egress, template
from probes._cookies import Jar
from probes._fields import (
    FORBID,
    ByteSize,
    FamilyName,
    Fixed,
    HeaderName,
    HttpUrl,
    IpAddress,
    Line,
    Resolver,
    Scalar,
    Text,
    Tls,
    Values,
    addresses_by_host,
    is_host,
    limited,
)
from probes._oauth2 import Oauth2

EXPECTS = frozenset({"status", "headers", "body", "json", "schema", "xpath", "css", "certificate", "size", "time"})
METHODS = ("get", "post", "put", "patch", "delete", "head", "options")
MAX_REDIRECTS = 20
MAX_BODY = 8 << 20
_MAX_TARGET = 16_384
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_UNAUTHORIZED = 401
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# All that goes along to another origin: any other header may be a credential by some name.
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "user-agent"})
_CONTENT = frozenset({"content-type", "content-encoding", "content-language"})
_ZONE = re.compile(r"%[^\]]*")  # of an address: it means something on this machine only
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ALPN = ("http/1.1",)

Redirects = Annotated[
    StrictInt,
    limited(lambda n: None if 0 <= n <= MAX_REDIRECTS else f"{n} redirects: from 0 (do not follow) to {MAX_REDIRECTS}"),
]
BodyLimit = Annotated[
    ByteSize,
    limited(lambda n: None if 0 < n <= MAX_BODY else f"max_body is from 1B to {_http1.readable_size(MAX_BODY)}"),
]


@dataclass(frozen=True, kw_only=True)
class Basic:
    """HTTP basic authentication."""

    __pydantic_config__ = FORBID

    user: Line
    password: Line


@dataclass(frozen=True, slots=True)
class _Made:
    """What follows from the settings.

    `fixed` is the request ready to send, None if something in it has to be replaced at run time; `trust` the TLS
    settings as the network wants them; `host_is_chosen` says that the host comes out of a variable, so that an answer
    chose where to go.
    """

    fixed: _Request | None
    route: Route
    trust: TlsPolicy
    host_is_chosen: bool


class _Kept:
    """Where a check keeps what follows from its settings. In slots: a dictionary for it would be half of what a check
    takes. The label beside the rest, as it is asked for of every check long before the first runs.
    """

    __slots__ = ("_label", "_made")

    _label: str
    _made: _Made


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec(_Kept):
    """The settings of `http`: exactly one method with its URL, and at most one of `json`, `form` and `body`.

    `query` is appended to the URL. `redirects` is how many are followed: 5 by default, 0 for none. `max_body` bounds
    the body after decompression, 1 MiB by default. `resolve` maps a host to the address to use instead of a lookup;
    `resolver` is the name server (host or host:port) to ask instead of the system's.
    """

    __pydantic_config__ = FORBID

    get: HttpUrl | None = None
    post: HttpUrl | None = None
    put: HttpUrl | None = None
    patch: HttpUrl | None = None
    delete: HttpUrl | None = None
    head: HttpUrl | None = None
    options: HttpUrl | None = None
    headers: dict[HeaderName, Scalar] = field(default_factory=dict)
    query: dict[Text, Values] = field(default_factory=dict)
    json: Any = None
    form: dict[Text, Values] | None = None
    body: Text | None = None
    basic: Basic | None = None
    bearer: Line | None = None
    oauth2: Oauth2 | None = None
    redirects: Redirects = 5
    max_body: BodyLimit = 1 << 20
    tls: Tls = field(default_factory=Tls)
    family: FamilyName | None = None
    source: IpAddress | None = None
    resolve: dict[Fixed, IpAddress] = field(default_factory=dict)
    resolver: Resolver | None = None

    def __post_init__(self) -> None:
        """One method, one body, one way to log in."""
        given = [method for method in METHODS if getattr(self, method) is not None]
        if len(given) != 1:
            what = f"has {' and '.join(given)}" if given else "names no method"
            raise ValueError(f"{what}: give exactly one of {', '.join(METHODS)} with its URL")
        _one_of(self, ("json", "form", "body"), "body")
        lowered = [name.lower() for name in self.headers]
        twice = {name for name in lowered if lowered.count(name) > 1}
        if twice:
            raise ValueError(f"header {min(twice)} is given twice")
        _one_of(self, ("basic", "bearer", "oauth2"), "login", "authorization" if "authorization" in lowered else None)
        template.variables(self.json)  # a malformed mark is found here

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return self._request[0].upper()

    @property
    def url(self) -> str:
        """The URL as written, its marks unreplaced."""
        return self._request[1]

    @property
    def _request(self) -> tuple[str, str]:
        return next((method, url) for method in METHODS if (url := getattr(self, method)) is not None)

    @property
    def route(self) -> Route:
        """How to get to the hosts that it names."""
        addresses = addresses_by_host(self.resolve)
        return Route(family=self.family, source=self.source, addresses=addresses, resolver=self.resolver)

    @property
    def label(self) -> str:
        """What `target` says."""
        try:
            return self._label
        except AttributeError:
            label = _label(self.url)
            object.__setattr__(self, "_label", label)
            return label

    @property
    def made(self) -> _Made:
        """What follows from the settings, made when it is first asked for."""
        try:
            return self._made
        except AttributeError:
            made = _made(self)
            object.__setattr__(self, "_made", made)
            return made


def _made(spec: Spec) -> _Made:
    url = spec.url
    parts = (url, spec.headers, spec.query, spec.json, spec.form, spec.body, spec.bearer)
    fixed = None
    if spec.basic is None and spec.oauth2 is None and all(template.is_fixed(part) for part in parts):
        fixed = _prepare(spec, template.Expander(_no_secret, {}))
    return _Made(fixed, spec.route, spec.tls.policy(_ALPN), _host_is_chosen(url))


def _host_is_chosen(url: str) -> bool:
    authority = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*", url)
    return bool(template.variables(authority[0] if authority else url))


def _label(text: str) -> str:
    url = urlsplit(text)
    if _host_is_chosen(text) or not url.hostname:
        return "variable"
    return f"{_bracketed(_without_escape(url.hostname))}:{url.port or _DEFAULT_PORTS[url.scheme.lower()]}"


def _one_of(spec: Spec, keys: tuple[str, ...], what: str, also: str | None = None) -> None:
    given = [key for key in keys if getattr(spec, key) is not None] + ([f"header {also}"] if also else [])
    if len(given) > 1:
        raise ValueError(f"more than one {what}: {' and '.join(given)}")


def _no_secret(reference: str) -> str:
    raise AssertionError(reference)


def target(spec: Spec) -> str:
    """host:port, for a metric's label; `variable` where the host is none that is known beforehand."""
    return spec.label


@dataclass(slots=True)
class _Request:
    """One request on its way through redirects. `headers` without Cookie, Connection and Content-Length.

    The last fields follow from the first: made once, as most requests are sent again and again.
    """

    method: str
    url: SplitResult
    headers: list[tuple[str, str]]
    body: bytes
    cookie: str | None  # set by hand
    host: str = field(init=False)
    port: int = field(init=False)
    text: str = field(init=False)  # of the URL
    plain: bytes = field(init=False)  # what goes on the wire without cookies from a jar

    def __post_init__(self) -> None:
        self.host = self.url.hostname or ""
        self.port = self.url.port or _DEFAULT_PORTS[self.url.scheme]
        self.text = self.url.geturl()
        self.plain = _on_the_wire(self, "")

    def origin(self) -> tuple[str, str, int]:
        return self.url.scheme, self.host, self.port


@functools.cache
def user_agent() -> str:
    """`jaga/<version>`."""
    try:
        return f"jaga/{importlib.metadata.version('jaga')}"
    except importlib.metadata.PackageNotFoundError:
        return "jaga"


def _prepare(spec: Spec, expander: template.Expander, token: str | None = None) -> _Request:
    url = _address(spec, expander)
    headers = [(name, _checked(expander.text(value), f"header {name}")) for name, value in spec.headers.items()]
    given = {name.lower() for name, _ in headers}
    body, content_type = _content(spec, expander)
    if content_type and "content-type" not in given:
        headers.append(("Content-Type", content_type))
    if spec.basic is not None:
        pair = f"{expander.text(spec.basic.user)}:{expander.text(spec.basic.password)}"
        headers.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
    if spec.bearer is not None:
        headers.append(("Authorization", _checked(f"Bearer {expander.text(spec.bearer)}", "bearer")))
    if token is not None:
        headers.append(("Authorization", f"Bearer {token}"))
    for name, value in (("User-Agent", user_agent()), ("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate")):
        if name.lower() not in given:
            headers.append((name, value))
    cookie = next((value for name, value in headers if name.lower() == "cookie"), None)
    return _Request(spec.method, url, [h for h in headers if h[0].lower() != "cookie"], body, cookie)


def _checked(value: str, where: str) -> str:
    found = _CONTROL.search(value)
    if found:
        raise ProbeError(FailReason.SCRIPT, f"{where}: a replaced value has a control character ({found[0]!r})")
    return value


def _address(spec: Spec, expander: template.Expander) -> SplitResult:
    whole = spec.url
    parts = template.parse(whole)
    if parts and not isinstance(parts[0], str):
        text = expander.text(whole)  # the answer chose the whole URL
    else:
        scheme, _, rest = whole.partition("://")
        cut = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
        text = f"{scheme}://{expander.text(rest[:cut])}{expander.text(rest[cut:], template.percent)}"
    if spec.query:
        pairs = _pairs(spec.query, expander)
        bare, hash_mark, fragment = text.partition("#")
        text = f"{bare}{'&' if '?' in bare else '?'}{urlencode(pairs)}{hash_mark}{fragment}"
    return _split(text, FailReason.SCRIPT, "the URL")


def _pairs(values: dict[str, tuple[str, ...]], expander: template.Expander) -> list[tuple[str, str]]:
    return [(expander.text(key), expander.text(item)) for key, items in values.items() for item in items]


def _split(text: str, reason: FailReason, what: str) -> SplitResult:
    """An absolute http(s) URL, encoded as it goes on the wire and without user or fragment; ProbeError(reason)."""
    if _CONTROL.search(text) or len(text) > _MAX_TARGET:
        raise ProbeError(reason, f"{what} has a control character or is longer than {_MAX_TARGET} characters")
    try:
        url = urlsplit(text)
        scheme, host, port = url.scheme.lower(), url.hostname or "", url.port
        host = _without_escape(host) if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        raise ProbeError(reason, f"{what} is no URL: {shown(text)!r}") from None
    if scheme not in _DEFAULT_PORTS:
        raise ProbeError(reason, f"{what} leads to the scheme {scheme[:20]!r}: only http and https are followed")
    if not is_host(host) or port == 0:
        raise ProbeError(reason, f"{what} names no host: {shown(text)!r}")
    bracketed = _bracketed(host)
    netloc = bracketed if port is None or port == _DEFAULT_PORTS[scheme] else f"{bracketed}:{port}"
    path = quote(url.path or "/", safe="/%:@!$&'()*+,;=~")
    return SplitResult(scheme, netloc, path, quote(url.query, safe="/?%:@!$&'()*+,;=~"), "")


def _without_escape(host: str) -> str:
    """A host whose zone is taken out of its URL: `fe80::1%25eth0` (RFC 6874) names the zone `eth0`."""
    address, _, zone = host.partition("%25")
    return f"{address}%{zone}" if zone and ":" in address else host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def shown(text: str) -> str:
    """A URL as messages and traces show it: without user, query and fragment, bounded."""
    bare = re.split(r"[?#]", text, maxsplit=1)[0]
    scheme, mark, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    clean = f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}" if mark else bare
    return (clean[:200] + "…" if len(clean) > 200 else clean) + ("?…" if "?" in text else "")  # noqa: PLR2004 - long enough


def _content(spec: Spec, expander: template.Expander) -> tuple[bytes, str | None]:
    if spec.json is not None:
        return json_format.dumps(expander.value(spec.json), allow_nan=False).encode(), "application/json"
    if spec.form is not None:
        return urlencode(_pairs(spec.form, expander)).encode(), "application/x-www-form-urlencoded"
    if spec.body is not None:
        return expander.text(spec.body).encode(), "text/plain; charset=utf-8"
    return b"", None


async def probe(spec: Spec, ctx: Context) -> Result:
    """One request and its redirects. ProbeError or OwnFault; a status is no failure here but in `expect`."""
    made = spec.made
    request = made.fixed or _prepare(spec, template.Expander(ctx.secret, ctx.variables), await _token(spec, ctx))
    public_only = ctx.saw_public and made.host_is_chosen
    for _ in range(spec.redirects + 1):
        response = await _fetch(request, spec, made, ctx, public_only)
        location = response.header(b"location") if response.status in _REDIRECTS and spec.redirects else None
        if response.status == _UNAUTHORIZED and spec.oauth2 is not None:
            spec.oauth2.tokens.forget()
        if location is None:
            body = response.body
            facts = {
                "status": response.status,
                "headers": response.headers,
                "body": body,
                "size": len(body),
                "url": request.text,
            }
            return Result.passed(facts)
        request = _redirected(request, response.status, location)
        ctx.notes.redirects.append(shown(request.text))
        public_only = public_only or egress.is_public(ctx.notes.peer)
    chain = " -> ".join(ctx.notes.redirects[-3:])
    raise ProbeError(FailReason.PROTOCOL, f"more than {spec.redirects} redirects, the last: {chain}")


async def _token(spec: Spec, ctx: Context) -> str | None:
    """The token of a login by OAuth2, None without one."""
    login = spec.oauth2
    return None if login is None else await login.tokens.token(login, ctx, spec.made.route, login.tls.policy(_ALPN))


async def _fetch(request: _Request, spec: Spec, made: _Made, ctx: Context, public_only: bool) -> _http1.Response:  # noqa: FBT001 - ours alone
    url = request.url
    route = replace(made.route, public_only=True) if public_only else made.route
    cookies = ctx.cookies.header(url, ctx.now_ns()) if ctx.cookies is not None else ""
    data = _on_the_wire(request, cookies) if cookies else request.plain
    stream = await ctx.network.connect(request.host, request.port, ctx, route)
    try:
        if url.scheme == "https":
            await stream.start_tls(spec.tls.server_name or request.host, made.trust)
        response = await _http1.exchange(stream, ctx, data, request.method != "HEAD", spec.max_body)
    finally:
        stream.close()
    if not ctx.saw_public:
        ctx.saw_public = egress.is_public(stream.peer)
    if response.has(b"set-cookie"):
        ctx.cookies = ctx.cookies or Jar()
        ctx.cookies.store(url, response.headers, ctx.now_ns())
    return response


def _on_the_wire(request: _Request, jar: str) -> bytes:
    url = request.url
    headers = list(request.headers)
    if not any(name.lower() == "host" for name, _ in headers):
        headers.insert(0, ("Host", _ZONE.sub("", url.netloc)))
    cookie = "; ".join(piece for piece in (request.cookie, jar) if piece)
    if cookie:
        headers.append(("Cookie", cookie))
    if request.body or request.method in {"POST", "PUT", "PATCH"}:
        headers.append(("Content-Length", str(len(request.body))))
    headers.append(("Connection", "close"))
    return _http1.request_bytes(
        request.method, f"{url.path}?{url.query}" if url.query else url.path, headers, request.body
    )


def _redirected(request: _Request, status: int, location: str) -> _Request:
    """The next request (RFC 9110, 15.4): never from https to http, and across origins without credentials or body."""
    place = location.encode("latin-1").decode("utf-8", "replace").strip()
    if not _SCHEME.match(place):
        with contextlib.suppress(ValueError):  # no URL: said below
            place = urljoin(request.url.geturl(), place)
    url = _split(place, FailReason.PROTOCOL, "the redirect")
    if request.url.scheme == "https" and url.scheme == "http":
        raise ProbeError(FailReason.PROTOCOL, f"the redirect leads from https to http: {shown(url.geturl())}")
    method, body, headers, cookie = request.method, request.body, request.headers, request.cookie
    if (status == 303 and method != "HEAD") or (status in {301, 302} and method == "POST"):  # noqa: PLR2004 - See Other
        method, body = "GET", b""
        headers = [h for h in headers if h[0].lower() not in _CONTENT]
    following = _Request(method, url, headers, body, cookie)
    if following.origin() != request.origin():
        if body:
            raise ProbeError(
                FailReason.PROTOCOL, f"the redirect would carry the body to another origin: {shown(url.geturl())}"
            )
        return _Request(method, url, [h for h in headers if h[0].lower() in _HARMLESS], body, None)
    return following

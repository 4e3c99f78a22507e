"""The probe kind `dns`: ask one server one question, over UDP or TCP, and say what it answered.

Facts for `expect` and `extract`: `rcode`, `records` (their data), `body` (as JSON: `rcode`, `authoritative` and
`records`, each with `name`, `type`, `ttl`, `data`), `size`. Nothing is cached and nothing repeated: one fresh socket
with a random port and a random id for each question.
"""

from __future__ import annotations

import functools
import os
import struct
from dataclasses import dataclass, field, replace
from json.encoder import encode_basestring_ascii as quoted
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from probes import Context, FailReason, Phase, ProbeError, Result, Route, Stream, _dns_codec, template
from probes._fields import (
    FORBID,
    FamilyName,
    Fixed,
    Flag,
    HostPort,
    IpAddress,
    Line,
    Resolver,
    addresses_by_host,
    name_server,
    split_host_port,
)

EXPECTS = frozenset({"json", "records", "size", "time"})
_PROCESSING = Phase.PROCESSING  # looking a member up is dear in Python 3.11
_MAX_MESSAGE = 65_535
_MAX_STRAY = 100

RecordType = Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"]
Rcode = Literal["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"]


def dns_name(text: str) -> str:
    """A name that can be asked for; marks are judged when they are known."""
    if template.is_fixed(text):
        _dns_codec.encode_name(text)
    return text


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The settings of `dns`: `query` (a name) of `type`, asked of `server` (host or host:port).

    `rcode` is what is expected, NOERROR by default. `recursive` asks the server to ask others. A truncated answer is
    asked for again over TCP, as every resolver does; `tcp: true` begins there.
    """

    __pydantic_config__ = FORBID

    query: Annotated[Line, AfterValidator(dns_name)]
    type: RecordType = "A"
    server: Annotated[HostPort, BeforeValidator(name_server)]
    rcode: Rcode = "NOERROR"
    recursive: Flag = True
    tcp: Flag = False
    family: FamilyName | None = None
    source: IpAddress | None = None
    resolve: dict[Fixed, IpAddress] = field(default_factory=dict)
    resolver: Resolver | None = None

    @functools.cached_property
    def route(self) -> Route:
        """How to get to the server."""
        addresses = addresses_by_host(self.resolve)
        return Route(family=self.family, source=self.source, addresses=addresses, resolver=self.resolver)

    @functools.cached_property
    def fixed(self) -> tuple[str, int, _dns_codec.Question] | None:
        """Host, port and question, if nothing in them has to be replaced at run time."""
        if not template.is_fixed((self.server, self.query)):
            return None
        return _asked(self, template.Expander(_no_secret, {}))

    @functools.cached_property
    def label(self) -> str:
        """What `target` says."""
        return "variable" if template.variables(self.server) else self.server


def target(spec: Spec) -> str:
    """host:port of the server, for a metric's label; `variable` where an answer chooses it."""
    return spec.label


def _no_secret(reference: str) -> str:
    raise AssertionError(reference)


def _asked(spec: Spec, expander: template.Expander) -> tuple[str, int, _dns_codec.Question]:
    """Whom to ask, and what."""
    try:
        host, port = split_host_port(expander.text(spec.server))
        return host, port, _dns_codec.question(expander.text(spec.query), spec.type, recursive=spec.recursive)
    except ValueError as error:
        raise ProbeError(FailReason.SCRIPT, str(error)) from None


async def probe(spec: Spec, ctx: Context) -> Result:
    """One question, one answer. ProbeError or OwnFault; another rcode than expected is an ASSERTION."""
    host, port, asked = spec.fixed or _asked(spec, template.Expander(ctx.secret, ctx.variables))
    ident = os.urandom(2)
    route = spec.route
    if ctx.saw_public and template.variables(spec.server):
        route = replace(route, public_only=True)
    reply = None if spec.tcp else await _over_udp(host, port, ident, asked, ctx, route)
    if reply is None or reply.truncated:
        reply = await _over_tcp(host, port, ident, asked, ctx, route)
    if reply.rcode != spec.rcode:
        raise ProbeError(FailReason.ASSERTION, f"expected {spec.rcode}, {host} answered {reply.rcode}")
    return _result(reply)


def _result(reply: _dns_codec.Reply) -> Result:
    shown = body(reply)
    facts = {
        "rcode": reply.rcode,
        "records": tuple([record.data for record in reply.records]),
        "body": shown,
        "size": len(shown),
    }
    return Result.passed(facts)


def body(reply: _dns_codec.Reply) -> bytes:
    """An answer as JSON, written by hand: the encoder would take longer than all else that is done with an answer."""
    records = [
        f'{{"name": {quoted(name)}, "type": "{kind}", "ttl": {ttl_s}, "data": {quoted(data)}}}'
        for name, kind, ttl_s, data in reply.records
    ]
    authoritative = "true" if reply.authoritative else "false"
    return f'{{"rcode": "{reply.rcode}", "authoritative": {authoritative}, "records": [{", ".join(records)}]}}'.encode()


async def _over_udp(
    host: str, port: int, ident: bytes, asked: _dns_codec.Question, ctx: Context, route: Route
) -> _dns_codec.Reply:
    stream = await ctx.network.datagram(host, port, ctx, route)
    start_ns = ctx.now_ns()
    try:
        await stream.send(ident + asked.rest)
        for _ in range(_MAX_STRAY):
            message = await stream.receive(_MAX_MESSAGE)
            try:
                return _dns_codec.decode(message, ident, asked)
            except _dns_codec.MalformedError as error:
                problem = str(error)
                if message.startswith(ident):  # somebody who knows the id: no stray datagram
                    raise ProbeError(FailReason.PROTOCOL, f"{host}: {problem}") from None
        raise ProbeError(FailReason.PROTOCOL, f"{host}: over {_MAX_STRAY} datagrams that answer something else")
    finally:
        ctx.add_phase(_PROCESSING, ctx.now_ns() - start_ns)
        stream.close()


async def _over_tcp(
    host: str, port: int, ident: bytes, asked: _dns_codec.Question, ctx: Context, route: Route
) -> _dns_codec.Reply:
    stream = await ctx.network.connect(host, port, ctx, route)
    start_ns = ctx.now_ns()
    try:
        query = ident + asked.rest
        await stream.send(struct.pack(">H", len(query)) + query)
        (length,) = struct.unpack(">H", await _exactly(stream, 2, host))
        return _dns_codec.decode(await _exactly(stream, length, host), ident, asked)
    except _dns_codec.MalformedError as error:
        raise ProbeError(FailReason.PROTOCOL, f"{host}: {error}") from None
    finally:
        ctx.add_phase(_PROCESSING, ctx.now_ns() - start_ns)
        stream.close()


async def _exactly(stream: Stream, count: int, host: str) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive(count - len(data))
        if not more:
            raise ProbeError(FailReason.PROTOCOL, f"{host}: the connection closed in the middle of the answer")
        data += more
    return data

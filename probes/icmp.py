"""The probe kind `icmp`: echo requests, answered by the host's kernel.

Facts for `expect` and `extract`: `rtt_us` (of each answer, in the order they came), `body` (as JSON: `sent`,
`received`, `fastest_us`, `slowest_us`), `size`, `duration_ns`. Sockets are unprivileged where the system allows that,
raw otherwise; without either the fault is our own, and the message says which right is missing.
"""

from __future__ import annotations

import functools
import json
import secrets
import socket
import struct
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import AfterValidator, StrictInt

from probes import Context, FailReason, Outcome, Phase, ProbeError, Result, Route, Stream, template
from probes._fields import FORBID, FamilyName, Fixed, IpAddress, Line, Resolver, is_host, limited, refuse_metadata

EXPECTS = frozenset({"json", "time"})
MAX_COUNT = 20
MAX_SIZE = 1_400
_TOKEN_BYTES = 16
_HEAD = struct.Struct(">BBHHH")
_TYPES = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}  # echo request and reply, RFC 792 and 4443
_MAX_PACKET = 65_535


def host(text: str) -> str:
    """A name or an address, with or without marks."""
    shown = text if template.is_fixed(text) else "x"
    if not is_host(shown) and shown.isascii():
        raise ValueError(f"{text!r} is no host: a name or an address, without port")
    refuse_metadata(shown)
    return text


Count = Annotated[
    StrictInt, limited(lambda n: None if 1 <= n <= MAX_COUNT else f"{n} echoes: from 1 to {MAX_COUNT} are sent")
]
Lost = Annotated[StrictInt, limited(lambda n: None if n >= 0 else f"{n} lost: at least 0")]
Payload = Annotated[
    StrictInt,
    limited(lambda n: None if _TOKEN_BYTES <= n <= MAX_SIZE else f"{n} bytes: from {_TOKEN_BYTES} to {MAX_SIZE}"),
]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The settings of `icmp`: `ping` a host by `count` echoes of `size` bytes; `lost` of them may stay unanswered."""

    __pydantic_config__ = FORBID

    ping: Annotated[Line, AfterValidator(host)]
    count: Count = 1
    lost: Lost = 0
    size: Payload = 56
    family: FamilyName | None = None
    source: IpAddress | None = None
    resolve: dict[Fixed, IpAddress] = field(default_factory=dict)
    resolver: Resolver | None = None

    def __post_init__(self) -> None:
        """At least one answer is waited for."""
        if self.lost >= self.count:
            raise ValueError(f"lost: {self.lost} of {self.count} echoes would be answered by silence")

    @functools.cached_property
    def route(self) -> Route:
        """How to get to the host."""
        addresses = {name.lower(): address for name, address in self.resolve.items()}
        return Route(family=self.family, source=self.source, addresses=addresses, resolver=self.resolver)


def target(spec: Spec) -> str:
    """The host, for a metric's label; `variable` where an answer chooses it."""
    return "variable" if template.variables(spec.ping) else spec.ping


async def probe(spec: Spec, ctx: Context) -> Result:
    """Send the echoes, wait for as many answers as are wanted. ProbeError(TIMEOUT) or OwnFault."""
    start_ns = ctx.now_ns()
    name = template.Expander(ctx.secret, ctx.variables).text(spec.ping)
    if not is_host(name):
        raise ProbeError(FailReason.SCRIPT, f"{name!r} is no host")
    route = spec.route
    if template.variables(spec.ping) and ctx.saw_public:
        route = replace(route, public_only=True)
    stream = await ctx.network.echo(name, ctx, route)
    sent_ns = ctx.now_ns()
    try:
        rtt_us = await _ping(stream, spec, ctx)
    finally:
        ctx.add_phase(Phase.PROCESSING, ctx.now_ns() - sent_ns)
        await stream.close()
    shown = {"sent": spec.count, "received": len(rtt_us), "fastest_us": min(rtt_us), "slowest_us": max(rtt_us)}
    body = json.dumps(shown).encode()
    facts = {"rtt_us": rtt_us, "body": body, "size": len(body), "duration_ns": ctx.now_ns() - start_ns}
    return Result(outcome=Outcome.PASS, facts=facts)


async def _ping(stream: Stream, spec: Spec, ctx: Context) -> tuple[int, ...]:
    family = socket.AF_INET6 if ":" in stream.peer else socket.AF_INET
    token = secrets.token_bytes(_TOKEN_BYTES)
    payload = token + bytes(spec.size - _TOKEN_BYTES)
    sent_ns: dict[int, int] = {}
    for sequence in range(spec.count):
        sent_ns[sequence] = ctx.now_ns()
        await stream.send(request(family, sequence, payload))
    rtt_us: list[int] = []
    while len(rtt_us) < spec.count - spec.lost:
        sequence = answered(family, await stream.receive(_MAX_PACKET), token)
        if sequence in sent_ns:
            rtt_us.append((ctx.now_ns() - sent_ns.pop(sequence)) // 1_000)
    return tuple(rtt_us)


def request(family: int, sequence: int, payload: bytes) -> bytes:
    """An echo request. The kernel fills in the identifier of an unprivileged socket, and every checksum of IPv6."""
    kind = _TYPES[socket.AddressFamily(family)][0]
    ident = int.from_bytes(payload[:2], "big")
    checksum = _checksum(_HEAD.pack(kind, 0, 0, ident, sequence) + payload) if family == socket.AF_INET else 0
    return _HEAD.pack(kind, 0, checksum, ident, sequence) + payload


def answered(family: int, packet: bytes, token: bytes) -> int:
    """The sequence number that a packet answers; -1 if it is no answer to an echo with this token."""
    if family == socket.AF_INET and packet[:1] and packet[0] >> 4 == 4:  # noqa: PLR2004 - a raw socket gives the IPv4 header too
        packet = packet[(packet[0] & 0x0F) * 4 :]
    if len(packet) < _HEAD.size + _TOKEN_BYTES or packet[0] != _TYPES[socket.AddressFamily(family)][1]:
        return -1
    sequence = int.from_bytes(packet[_HEAD.size - 2 : _HEAD.size], "big")
    return sequence if packet[_HEAD.size : _HEAD.size + _TOKEN_BYTES] == token else -1


def _checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071) of a message; one of odd length is padded."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF

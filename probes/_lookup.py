"""Names resolved by a name server that the configuration names, instead of by the system's resolver.

Asked over UDP with an own codec, A and AAAA at once; nothing is cached, no hosts file is read. What the server itself
does wrong is our own resolver's fault, unless addresses of the other family were found; only that a name does not exist
is the target's.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from probes import Context, FailReason, Family, InconclusiveReason, Network, OwnFault, ProbeError, Route, _dns_codec
from probes._fields import split_host_port

MAX_ADDRESSES = 8
OTHER_FAMILY_S = 0.25
"""How long the addresses of one family wait for those of the other (RFC 8305, 3)."""

_TRIES = 2
_MAX_MESSAGE = 65_535
_MAX_STRAY = 100
_TYPES = {Family.IPV4: ("A",), Family.IPV6: ("AAAA",), None: ("A", "AAAA")}
_FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}


async def addresses(
    network: Network, host: str, port: int, ctx: Context, route: Route
) -> list[tuple[int, tuple[Any, ...]]]:
    """(family, socket address), IPv4 first; ProbeError(DNS) or OwnFault(OWN_RESOLVER)."""
    assert route.resolver is not None
    types = _TYPES[route.family]
    asked = [asyncio.create_task(_ask(network, host, kind, ctx, route)) for kind in types]
    try:
        replies = await _replies(asked, types)
    finally:
        for task in asked:
            task.cancel()
        await asyncio.wait(asked)
        for task in asked:
            if not task.cancelled():
                task.exception()  # fetched: the first to fail has said it for all
    if all(reply.rcode == "NXDOMAIN" for reply in replies):
        raise ProbeError(FailReason.DNS, f"the name {host} does not exist, says {route.resolver}")
    found = [
        (int(_FAMILIES[record.type]), (record.data, port) if record.type == "A" else (record.data, port, 0, 0))
        for reply in replies
        for record in _addresses_in(reply, types)
    ]
    if not found:
        raise ProbeError(FailReason.DNS, f"the name {host} has no {' and no '.join(types)} record")
    return found[:MAX_ADDRESSES]


async def _replies(asked: list[asyncio.Task[_dns_codec.Reply]], types: tuple[str, ...]) -> list[_dns_codec.Reply]:
    """The replies, in order: all of them, or those that hold addresses where the other question stays unanswered or is
    answered by a fault. There are name servers that know no AAAA; they hide no target that has an IPv4 address.
    """
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    if any(_has_addresses(task, types) for task in asked):
        await asyncio.wait(asked, timeout=OTHER_FAMILY_S)
    else:
        await asyncio.wait(asked)
    enough = [task for task in asked if _has_addresses(task, types)]
    return [task.result() for task in enough or asked]


def _has_addresses(task: asyncio.Task[_dns_codec.Reply], types: tuple[str, ...]) -> bool:
    return task.done() and task.exception() is None and bool(_addresses_in(task.result(), types))


def _addresses_in(reply: _dns_codec.Reply, types: tuple[str, ...]) -> list[_dns_codec.Record]:
    return [record for record in reply.records if record.type in types]


async def _ask(network: Network, host: str, kind: str, ctx: Context, route: Route) -> _dns_codec.Reply:
    """One question, asked twice if the first stays unanswered for half the time that is left."""
    assert route.resolver is not None
    server, server_port = split_host_port(route.resolver)
    whole = f"resolving {host} by {route.resolver}"
    try:
        asked = _dns_codec.question(host, kind, recursive=True)
    except ValueError:
        raise ProbeError(FailReason.DNS, f"{host!r} is no name that could be resolved") from None
    direct = Route(source=route.source)
    for tries_left in range(_TRIES, 0, -1):
        now_ns = ctx.now_ns()
        share = ctx.aside(now_ns + max(0, ctx.deadline_ns - now_ns) // tries_left)
        try:
            reply = await _once(network, server, server_port, asked, share, direct)
        except (ProbeError, _dns_codec.MalformedError) as error:
            ctx.tainted = ctx.tainted or share.tainted
            if tries_left > 1:
                continue
            cause = error.message if isinstance(error, ProbeError) else str(error)
            raise OwnFault(InconclusiveReason.OWN_RESOLVER, f"{whole}: {cause}") from None
        if reply.rcode not in {"NOERROR", "NXDOMAIN"}:
            raise OwnFault(InconclusiveReason.OWN_RESOLVER, f"{whole}: it answered {reply.rcode}")
        if reply.truncated and not reply.records:
            raise OwnFault(InconclusiveReason.OWN_RESOLVER, f"{whole}: the answer is too long for a datagram")
        return reply
    raise AssertionError("the last try answers or raises")


async def _once(
    network: Network, server: str, port: int, asked: _dns_codec.Question, ctx: Context, route: Route
) -> _dns_codec.Reply:
    ident = os.urandom(2)
    stream = await network.datagram(server, port, ctx, route)
    try:
        await stream.send(ident + asked.rest)
        for _ in range(_MAX_STRAY):
            message = await stream.receive(_MAX_MESSAGE)
            if message.startswith(ident):
                return _dns_codec.decode(message, ident, asked)
        raise ProbeError(FailReason.PROTOCOL, f"over {_MAX_STRAY} datagrams that answer something else")
    finally:
        stream.close()

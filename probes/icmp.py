"""The probe kind `icmp`: echo requests, answered by the host's kernel.

Facts for `expect` and `extract`: `rtt_us` (of each answer, in the order they came), `body` (as JSON: `sent`,
`received`, `fastest_us`, `slowest_us`), `size`. Sockets are unprivileged where the system allows that, raw otherwise;
without either the fault is our own, and the message says which right is missing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import AfterValidator, StrictInt

from probes import Context, FailReason, Phase, ProbeError, Result, Route, template
from probes._fields import (
    FORBID,
    FamilyName,
    Fixed,
    IpAddress,
    Line,
    Resolver,
    addresses_by_host,
    is_host,
    limited,
    refuse_metadata,
)
from probes._icmp import TOKEN_BYTES

EXPECTS = frozenset({"json", "time"})
_BODY = b'{"sent": %d, "received": %d, "fastest_us": %d, "slowest_us": %d}'
_PROCESSING = Phase.PROCESSING  # looking a member up is dear in Python 3.11
MAX_COUNT = 20
MAX_SIZE = 1_400


def _may_be_host(text: str) -> bool:
    """Whether it can be resolved: an international name is judged by whoever resolves it."""
    return is_host(text) or not text.isascii()


def host(text: str) -> str:
    """A name or an address, with or without marks."""
    shown = text if template.is_fixed(text) else "x"
    if not _may_be_host(shown):
        raise ValueError(f"{text!r} is no host: a name or an address, without port")
    refuse_metadata(shown)
    return text


Count = Annotated[
    StrictInt, limited(lambda n: None if 1 <= n <= MAX_COUNT else f"{n} echoes: from 1 to {MAX_COUNT} are sent")
]
Lost = Annotated[StrictInt, limited(lambda n: None if n >= 0 else f"{n} lost: at least 0")]
Payload = Annotated[
    StrictInt,
    limited(lambda n: None if TOKEN_BYTES <= n <= MAX_SIZE else f"{n} bytes: from {TOKEN_BYTES} to {MAX_SIZE}"),
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
        addresses = addresses_by_host(self.resolve)
        return Route(family=self.family, source=self.source, addresses=addresses, resolver=self.resolver)

    @functools.cached_property
    def fixed_host(self) -> str | None:
        """The host, if nothing in it has to be replaced at run time."""
        return self.ping if template.is_fixed(self.ping) and _may_be_host(self.ping) else None

    @functools.cached_property
    def label(self) -> str:
        """What `target` says."""
        return "variable" if template.variables(self.ping) else self.ping


def target(spec: Spec) -> str:
    """The host, for a metric's label; `variable` where an answer chooses it."""
    return spec.label


async def probe(spec: Spec, ctx: Context) -> Result:
    """Send the echoes, wait for as many answers as are wanted. ProbeError(TIMEOUT) or OwnFault."""
    name = spec.fixed_host or template.Expander(ctx.secret, ctx.variables).text(spec.ping)
    if spec.fixed_host is None and not _may_be_host(name):
        raise ProbeError(FailReason.SCRIPT, f"{name!r} is no host")
    route = spec.route
    if ctx.saw_public and template.variables(spec.ping):
        route = replace(route, public_only=True)
    echoes = await ctx.network.echo(name, ctx, route)
    sent_ns = ctx.now_ns()
    rtt_us: list[int] = []
    refused = 0
    try:
        for _ in range(spec.count):
            await echoes.send(spec.size)
        while len(rtt_us) < spec.count - spec.lost:
            try:
                rtt_us.append(await echoes.receive() // 1_000)
            except ProbeError as failure:
                refused += 1
                if failure.reason is FailReason.TIMEOUT or refused > spec.lost:
                    raise
    finally:
        ctx.add_phase(_PROCESSING, ctx.now_ns() - sent_ns)
        echoes.close()
    body = _BODY % (spec.count, len(rtt_us), min(rtt_us), max(rtt_us))
    facts = {"rtt_us": tuple(rtt_us), "body": body, "size": len(body)}
    return Result.passed(facts)

"""The probe kind `tls`: connect, shake hands, and say what was agreed and when the presented chain expires.

Facts for `expect` and `extract`: `version` (`TLSv1.3`, …), `alpn` (the protocol agreed on, or None), `cert_not_after_s`
(Unix second), `body` (these three as JSON, for JSONPath), `size`. A chain that is refused fails with its
cause, its expiry still noted.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from pydantic import AfterValidator

from probes import Context, FailReason, ProbeError, Result, Route, TlsPolicy, template
from probes._fields import (
    FORBID,
    FamilyName,
    Fixed,
    HostPort,
    IpAddress,
    Resolver,
    Tls,
    addresses_by_host,
    split_host_port,
)

EXPECTS = frozenset({"certificate", "json", "time"})
_VERSIONS = ("TLSv1.2", "TLSv1.3")


def protocol(name: str) -> str:
    """The name of an application protocol as ALPN carries it."""
    if not name.isascii() or not 0 < len(name) < 256:  # noqa: PLR2004 - one byte of length
        raise ValueError(f"{name!r} is no protocol for ALPN: up to 255 ASCII characters, such as h2")
    return name


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The settings of `tls`: `connect: host:port`, whom to trust, and the least version that will do.

    `alpn` lists the application protocols to offer. `resolve` maps a host to the address to use instead of a lookup.
    """

    __pydantic_config__ = FORBID

    connect: HostPort
    tls: Tls = field(default_factory=Tls)
    min_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    alpn: tuple[Annotated[Fixed, AfterValidator(protocol)], ...] = ()
    family: FamilyName | None = None
    source: IpAddress | None = None
    resolve: dict[Fixed, IpAddress] = field(default_factory=dict)
    resolver: Resolver | None = None

    @functools.cached_property
    def route(self) -> Route:
        """How to get to the host."""
        addresses = addresses_by_host(self.resolve)
        return Route(family=self.family, source=self.source, addresses=addresses, resolver=self.resolver)

    @functools.cached_property
    def trust(self) -> TlsPolicy:
        """The TLS settings as the network wants them."""
        return self.tls.policy(self.alpn)

    @functools.cached_property
    def label(self) -> str:
        """What `target` says."""
        return "variable" if template.variables(self.connect) else self.connect


def target(spec: Spec) -> str:
    """host:port, for a metric's label; `variable` where an answer chooses the host."""
    return spec.label


async def probe(spec: Spec, ctx: Context) -> Result:
    """Connect and shake hands. ProbeError or OwnFault."""
    try:
        host, port = split_host_port(template.Expander(ctx.secret, ctx.variables).text(spec.connect))
    except ValueError as error:
        raise ProbeError(FailReason.SCRIPT, str(error)) from None
    route = spec.route
    if ctx.saw_public and template.variables(spec.connect):
        route = replace(route, public_only=True)
    stream = await ctx.network.connect(host, port, ctx, route)
    try:
        await stream.start_tls(spec.tls.server_name or host, spec.trust)
        version, agreed = stream.tls_version or "", stream.alpn
    finally:
        stream.close()
    if version not in _VERSIONS[_VERSIONS.index(spec.min_version) :]:
        raise ProbeError(FailReason.TLS, f"expected at least {spec.min_version}, agreed on {version}")
    shown = {"version": version, "alpn": agreed, "cert_not_after_s": ctx.notes.cert_not_after_s}
    body = json.dumps(shown).encode()
    return Result.passed({**shown, "body": body, "size": len(body)})

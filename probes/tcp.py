"""The probe kind `tcp`: connect, and if wanted talk: TLS at once or by STARTTLS, texts sent and patterns waited for.

Facts for `expect` and `extract`: `body` (all that was received, bytes), `size` (of it).
"""

from __future__ import annotations

import codecs
import functools
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from probes import Context, FailReason, Phase, ProbeError, Result, Route, Stream, template
from probes._answer import search
from probes._fields import (
    FORBID,
    FamilyName,
    Fixed,
    Flag,
    HostPort,
    IpAddress,
    Resolver,
    Text,
    Tls,
    addresses_by_host,
    split_host_port,
)
from probes.expect import pattern

EXPECTS = frozenset({"body", "certificate", "size", "time"})
MAX_RECEIVED = 65_536
MAX_EXCHANGES = 50
_SHOWN = 120
_UTF8 = codecs.getincrementaldecoder("utf-8")


def tls_or_flag(value: Any) -> Any:  # noqa: ANN401 - anything from YAML
    """`true` stands for the default settings, `false` for none."""
    if isinstance(value, bool):
        return {} if value else None
    return value


TlsOrFlag = Annotated[Tls | None, BeforeValidator(tls_or_flag), WithJsonSchema({"type": ["boolean", "object"]})]
Pattern = Annotated[Text, AfterValidator(pattern)]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One turn of the dialogue: a text to send, a pattern to wait for, or the upgrade to TLS."""

    __pydantic_config__ = FORBID

    send: Text | None = None
    expect: Pattern | None = None
    starttls: Flag = False

    def __post_init__(self) -> None:
        """One thing at a time."""
        if (self.send is not None) + (self.expect is not None) + self.starttls != 1:
            raise ValueError('a turn is one of send: "…", expect: "pattern" or starttls: true')


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The settings of `tcp`: `connect: host:port`, TLS from the start or not, the dialogue after that.

    `send` is sent as written (a line ends with CR and LF); `expect` is a regular expression, searched in what came
    since the last match; `^` and `$` are the ends of any line. `resolve` maps a host to the
    address to use instead of asking for it.
    """

    __pydantic_config__ = FORBID

    connect: HostPort
    tls: TlsOrFlag = None
    dialogue: tuple[Exchange, ...] = ()
    family: FamilyName | None = None
    source: IpAddress | None = None
    resolve: dict[Fixed, IpAddress] = field(default_factory=dict)
    resolver: Resolver | None = None

    def __post_init__(self) -> None:
        """TLS starts once, and the dialogue is of a sane length."""
        if sum(turn.starttls for turn in self.dialogue) > 1:
            raise ValueError("TLS is started twice")
        if len(self.dialogue) > MAX_EXCHANGES:
            raise ValueError(f"{len(self.dialogue)} turns in the dialogue, at most {MAX_EXCHANGES}")

    @property
    def upgrades(self) -> bool:
        """True if TLS starts within the dialogue; `tls` then only says whom to trust."""
        return any(turn.starttls for turn in self.dialogue)

    @functools.cached_property
    def route(self) -> Route:
        """How to get to the host."""
        addresses = addresses_by_host(self.resolve)
        return Route(family=self.family, source=self.source, addresses=addresses, resolver=self.resolver)

    @functools.cached_property
    def fixed(self) -> tuple[str, int] | None:
        """Host and port, None if something in them is to be replaced at run time."""
        return _address(self.connect) if template.is_fixed(self.connect) else None

    @functools.cached_property
    def label(self) -> str:
        """What `target` says."""
        return "variable" if template.variables(self.connect) else self.connect


def target(spec: Spec) -> str:
    """host:port, for a metric's label; the mark itself where the host is a variable."""
    return spec.label


async def probe(spec: Spec, ctx: Context) -> Result:
    """Connect and talk. ProbeError or OwnFault."""
    host, port = spec.fixed or _address(template.Expander(ctx.secret, ctx.variables).text(spec.connect))
    route = spec.route
    if ctx.saw_public and template.variables(spec.connect):
        route = replace(route, public_only=True)
    stream = await ctx.network.connect(host, port, ctx, route)
    try:
        received = await _talk(spec, ctx, stream, host) if spec.dialogue or spec.tls is not None else b""
    finally:
        stream.close()
    return Result.passed({"body": received, "size": len(received)})


def _address(text: str) -> tuple[str, int]:
    try:
        return split_host_port(text)
    except ValueError as error:
        raise ProbeError(FailReason.SCRIPT, str(error)) from None


async def _talk(spec: Spec, ctx: Context, stream: Stream, host: str) -> bytes:
    expander = template.Expander(ctx.secret, ctx.variables)
    settings = spec.tls or Tls()
    name = settings.server_name or host
    if spec.tls is not None and not spec.upgrades:
        await stream.start_tls(name, settings.policy())
    heard = _Heard(stream)
    for turn in spec.dialogue:
        if turn.starttls:
            heard.forget()  # what came before the encryption is nobody's word after it
            await stream.start_tls(name, settings.policy())
            continue
        start_ns = ctx.now_ns()
        try:
            if turn.send is not None:
                await stream.send(expander.text(turn.send).encode())
            elif turn.expect is not None:
                await heard.until(turn.expect)
        finally:
            ctx.add_phase(Phase.PROCESSING, ctx.now_ns() - start_ns)
    return bytes(heard.everything)


class _Heard:
    """What the peer said: everything, bounded, and the part after the last match."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._pending = ""
        self._decoder = _UTF8("replace")  # a character may come in two pieces
        self.everything = bytearray()

    def forget(self) -> None:
        self._pending = ""
        self._decoder.reset()

    async def until(self, wanted: str) -> None:
        """Wait until the pattern is found in what came since the last match."""
        while True:
            found = await search(wanted, self._pending, by_line=True) if self._pending else None
            if found is not None:
                self._pending = self._pending[found.end() :]
                return
            data = await self._stream.receive(MAX_RECEIVED)
            if not data:
                raise ProbeError(
                    FailReason.ASSERTION, f"expected {wanted!r}, the connection closed after {self._said()}"
                )
            self.everything += data
            if len(self.everything) > MAX_RECEIVED:
                raise ProbeError(FailReason.PROTOCOL, f"over {MAX_RECEIVED} bytes without {wanted!r}")
            self._pending += self._decoder.decode(data)

    def _said(self) -> str:
        return repr(self._pending[-_SHOWN:]) if self._pending else "saying nothing"

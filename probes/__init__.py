"""The seam of a probe: what it is given, what it answers, and how a kind is found by its name.

A probe puts bytes on the wire and says what it saw; it knows no schedule, no ledger and no retries. One file a kind:
the file's name is the YAML key, `Spec` its settings (a frozen dataclass), `probe` the function. Kinds from outside the
tree register the module under the entry point group `jaga.probes`.
"""

from __future__ import annotations

import enum
import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, dataclass_transform

ENTRY_POINTS = "jaga.probes"
_T = TypeVar("_T")
_NOT_KINDS = frozenset({"egress", "expect", "extract", "secret", "template", "transaction"})


@dataclass_transform(frozen_default=True)
def _record(cls: type[_T]) -> type[_T]:
    """A frozen dataclass to the type checker. At run time its fields could be set: refusing that makes each of them
    five times dearer to fill, and records are made on the path of every probe. So is giving arguments by name, which
    for a class costs as much as all else that its constructor does.
    """
    return dataclass(slots=True)(cls)


class Outcome(enum.Enum):
    """What one attempt says of its target. Not the ledger's verdict, and not to be confused with it."""

    PASS = "pass"  # noqa: S105 - an outcome, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    __hash__ = object.__hash__  # members are one of a kind; the one of Enum is Python, on the path of every probe


PASS = Outcome.PASS  # by a name of its own: looking a member up is dear in Python 3.11


class FailReason(enum.StrEnum):
    """Why a target failed: the closed list of the metric catalogue."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    HTTP_STATUS = "http_status"
    ASSERTION = "assertion"
    PROTOCOL = "protocol"
    SCRIPT = "script"


class InconclusiveReason(enum.StrEnum):
    """Why an attempt says nothing of the target: a fault of the monitor itself (CONTRACT 2.1.1)."""

    OWN_NETWORK = "own_network"
    OWN_RESOLVER = "own_resolver"
    LATE = "late"
    STALLED = "stalled"
    INTERNAL = "internal"


class Phase(enum.StrEnum):
    """The phases of a step, named as in the blackbox exporter."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    PROCESSING = "processing"
    TRANSFER = "transfer"

    __hash__ = str.__hash__  # equal by its text; the one of Enum is Python, on the path of every probe


@_record
class StepTrace:
    """One step as it went: its phases in nanoseconds and what it showed. Nothing in it is secret.

    `http_status` is that of the final response. `cert_not_after_s` is the Unix second at which the first certificate of
    the presented chain expires, also when verification failed. `failed_assertions` are assertion ids such as
    `log in.status`. `final` is true for a step of `finally`.
    """

    name: str
    kind: str
    duration_ns: int
    phases_ns: Mapping[Phase, int] = field(default_factory=dict)
    target: str = ""
    http_status: int | None = None
    cert_not_after_s: int | None = None
    failed_assertions: tuple[str, ...] = ()
    error: str | None = None
    final: bool = False
    redirects: tuple[str, ...] = ()
    extracted: Mapping[str, str] = field(default_factory=dict)


@_record
class Result:
    """The answer of one attempt.

    `reason` is a FailReason iff the outcome is FAIL and an InconclusiveReason iff it is INCONCLUSIVE; `step` and
    `message` say where and what was expected against what came, secrets scrubbed. `facts` is what assertions and
    extraction look at (a kind documents its keys, the step adds `duration_ns`) and never leaves the process. `tainted`
    says that a deadline fired late, so the attempt proves nothing about time.
    """

    outcome: Outcome
    reason: FailReason | InconclusiveReason | None = None
    step: str | None = None
    message: str | None = None
    phases_ns: Mapping[Phase, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    steps: tuple[StepTrace, ...] = ()
    tainted: bool = False

    @staticmethod
    def passed(facts: dict[str, Any]) -> Result:
        """What a kind answers of a target that did: whether that is what was expected is said later."""
        return Result(PASS, None, None, None, {}, facts)

    def __post_init__(self) -> None:
        """A reason belongs to its outcome; anything else is a fault of the program."""
        if self.outcome is PASS:
            assert self.reason is None, "a pass has no reason"
        else:
            wanted = FailReason if self.outcome is Outcome.FAIL else InconclusiveReason
            assert isinstance(self.reason, wanted), f"{self.outcome} needs a {wanted.__name__}, got {self.reason!r}"


class ProbeError(Exception):
    """What a probe raises when the *target* failed: the only exception that may become a FAIL.

    Anything else that escapes a probe is the monitor's own fault and becomes `inconclusive(internal)`.
    """

    def __init__(self, reason: FailReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class OwnFault(Exception):  # noqa: N818 - the name says whose fault it is
    """What a probe raises when the monitor itself could not look: exhausted descriptors, no route, own resolver."""

    def __init__(self, reason: InconclusiveReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Stream(Protocol):
    """An open connection: bytes out, bytes in, TLS in between if asked for. Every call ends at the deadline."""

    def send(self, data: bytes) -> Awaitable[None]:
        """Write all of `data`, or raise ProbeError."""

    def receive(self, limit: int) -> Awaitable[bytes]:
        """At least one and at most `limit` bytes; b"" at the end of the stream."""

    async def start_tls(self, server_name: str, policy: TlsPolicy) -> None:
        """Upgrade, verifying as `policy` says; the time spent is the TLS phase."""

    def close(self) -> None:
        """Let go of the socket; never raises, twice does nothing more."""

    @property
    def peer(self) -> str:
        """The address that answered, as text without port."""

    @property
    def queued_ns(self) -> int:
        """How long what was received last had lain in the kernel until then; 0 where that is not known."""

    @property
    def tls_version(self) -> str | None:
        """`TLSv1.3` and so on; None on a plain connection."""

    @property
    def alpn(self) -> str | None:
        """The application protocol that TLS agreed on; None without one."""


class Echoes(Protocol):
    """ICMP echoes to one peer, each bounded by the deadline; the replies are told apart from everybody else's."""

    async def send(self, size: int) -> None:
        """Send an echo request with `size` bytes, or raise OwnFault."""

    async def receive(self) -> int:
        """The round trip of the next reply in nanoseconds; ProbeError(TIMEOUT), or CONNECT where somebody says no."""

    def close(self) -> None:
        """Wait for no more replies; never raises, twice does nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """Whom to trust. Policies are compared by value and share one SSLContext each.

    `verify` false needs a reason, which the statement shows. `ca_file` replaces the system's roots. `alpn` names the
    application protocols to offer, none by default.
    """

    verify: bool = True
    why_unverified: str = ""
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    alpn: tuple[str, ...] = ()


class Family(enum.StrEnum):
    """Which addresses of a name to use."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How to get to a host: which of its addresses, from where, and how far the egress guard lets it go.

    `addresses` overrides the resolver for the hosts it names, and `resolver` (address:port) is asked for all others
    instead of the system's; `source` is a local address to leave from. With
    `public_only` the guard lets nothing but public addresses through (the target chose where to go, FAULTS 2.D);
    without, anything but cloud metadata (the configuration chose).
    """

    family: Family | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    resolver: str | None = None
    public_only: bool = False


class Network(Protocol):
    """The only way out. Refuses what the egress guard refuses, times what it does."""

    async def resolve(self, host: str, port: int, ctx: Context, route: Route) -> list[tuple[int, tuple[Any, ...]]]:
        """(address family, socket address) in the order to try; ProbeError(DNS) or OwnFault(OWN_RESOLVER)."""

    async def connect(self, host: str, port: int, ctx: Context, route: Route) -> Stream:
        """Resolve and open a TCP connection, guarded and bounded by the deadline."""

    async def datagram(self, host: str, port: int, ctx: Context, route: Route) -> Stream:
        """A UDP socket for one peer, guarded and bounded likewise: one send or receive is one datagram."""

    async def echo(self, host: str, ctx: Context, route: Route) -> Echoes:
        """ICMP echoes to one peer, guarded and bounded likewise."""


class Notes:
    """What a step shows even when it fails: noted while it goes, made anew for each step.

    `redirects` has no query strings; `peer` is the address that answered last, `chain` the certificates that it
    presented, in DER.
    """

    __slots__ = ("cert_not_after_s", "chain", "http_status", "peer", "redirects")

    def __init__(self) -> None:
        self.http_status: int | None = None
        self.cert_not_after_s: int | None = None
        self.chain: tuple[bytes, ...] = ()
        self.redirects: list[str] = []
        self.peer = ""


def _no_wall_clock() -> int:
    raise AssertionError("a check that looks at certificates needs a context with a wall clock")


def _keep_to_yourself(_value: str) -> None:
    return


class Context:
    """What one attempt is handed. Made anew for each attempt, shared by its steps.

    `now_ns` is a monotonic clock; `deadline_ns` is on the same clock and bounds the whole attempt. `secret` resolves a
    reference such as `NAME` or `file:/path` to its value, at run time. `variables` holds what steps extracted.
    `tainted` is set by the network when a deadline fired late: our loop stood still, so nothing is proved about time.
    `saw_public` is set once a peer with a public address answered: from then on, an address that an answer chose must
    be public too. `wall_us` is the time of day in microseconds UTC, which only certificates are held against. `confide`
    takes a value that must never be shown, such as a token that a login brought.
    """

    __slots__ = (
        "confide",
        "cookies",
        "deadline_ns",
        "network",
        "notes",
        "now_ns",
        "phases_ns",
        "saw_public",
        "secret",
        "tainted",
        "variables",
        "wall_us",
    )

    def __init__(
        self,
        now_ns: Callable[[], int],
        deadline_ns: int,
        network: Network,
        secret: Callable[[str], str],
        wall_us: Callable[[], int] = _no_wall_clock,
    ) -> None:
        self.now_ns = now_ns
        self.deadline_ns = deadline_ns
        self.network = network
        self.secret = secret
        self.wall_us = wall_us
        self.confide: Callable[[str], None] = _keep_to_yourself
        self.variables: dict[str, Any] = {}
        self.cookies: Any = None
        self.phases_ns: dict[Phase, int] = {}
        self.notes = Notes()
        self.tainted = self.saw_public = False

    def aside(self, deadline_ns: int) -> Context:
        """For a question on the side: the same attempt with less time, its phases and notes not those of the target."""
        other = Context(self.now_ns, deadline_ns, self.network, self.secret, self.wall_us)
        other.variables, other.cookies, other.confide = self.variables, self.cookies, self.confide
        other.tainted, other.saw_public = self.tainted, self.saw_public
        return other

    def add_phase(self, phase: Phase, spent_ns: int) -> None:
        """Count `spent_ns` towards a phase of the step under way; redirects add up."""
        phases_ns = self.phases_ns
        phases_ns[phase] = phases_ns[phase] + spent_ns if phase in phases_ns else spent_ns


class Kind(Protocol):
    """The module of a probe kind.

    `Spec` is its settings, `EXPECTS` the keys of `expect` that make sense on its facts, and `target(spec)` says
    host:port for a metric's label, without secrets.
    """

    Spec: type
    EXPECTS: frozenset[str]
    probe: Callable[[Any, Context], Awaitable[Result]]
    target: Callable[[Any], str]


class UnknownKindError(LookupError):
    """No probe kind of that name; the message lists those there are."""


@functools.cache
def _outside() -> Mapping[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


@functools.cache
def kinds() -> tuple[str, ...]:
    """The names of all probe kinds, built in and installed, sorted."""
    built_in = {m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")} - _NOT_KINDS
    return tuple(sorted(built_in | set(_outside())))


@functools.cache
def load(kind: str) -> Any:  # noqa: ANN401 - a module, which has no static type as a protocol
    """The module of `kind` (its `Spec` and `probe`), imported now; UnknownKindError if there is none."""
    if kind not in kinds():
        msg = f"no probe kind {kind!r}; there are {', '.join(kinds())}"
        raise UnknownKindError(msg)
    if kind in _outside():
        return _outside()[kind].load()
    return importlib.import_module(f"{__name__}.{kind}")

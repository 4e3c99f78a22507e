"""Who asks, counted: connections, requests and wrong credentials of each peer, each with its bound.

A peer is an IPv4 address, or the /64 of an IPv6 address: whoever has one such network has all of its addresses.
"""

from __future__ import annotations

import ipaddress
import resource
from collections import Counter, OrderedDict
from collections.abc import Callable

MAX_CONNECTIONS = 256
"""Connections at a time, of all peers. Never more than a quarter of the descriptors that the process may have, so that
probes and the ledger have theirs whatever comes.
"""

DESCRIPTORS_PER_CONNECTION = 4
PEERS_SHARE = 2
"""One peer holds at most one half of the connections."""

REQUESTS_PER_S = 100.0
BURST = 200.0
"""What one peer may ask: more is 429, until it asks less."""

FAILURES_PER_S = 0.5
FAILURES = 30.0
"""How many wrong credentials one peer may try; beyond it they are 429. Who has a right token is never locked out."""

MAX_PEERS = 4096
"""Peers that are remembered; the one that was silent for longest is forgotten first."""


def peer_of(address: object) -> str:
    """The peer of a socket's address; what is none has the same name for all."""
    host = address[0] if isinstance(address, tuple) and address else ""
    try:
        found = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def most_connections() -> int:
    """How many connections this process may serve at a time."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(PEERS_SHARE, min(MAX_CONNECTIONS, hard // DESCRIPTORS_PER_CONNECTION))


class Gate:
    """Lets connections in while there is room, in all and for their peer."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._per_peer = most // PEERS_SHARE
        self._inside: Counter[str] = Counter()

    @property
    def inside(self) -> int:
        """How many are inside."""
        return self._inside.total()

    def enter(self, peer: str) -> bool:
        """Whether it may come in; it is then counted until it leaves."""
        if self.inside >= self._most or self._inside[peer] >= self._per_peer:
            return False
        self._inside[peer] += 1
        return True

    def leave(self, peer: str) -> None:
        """It is gone."""
        self._inside[peer] -= 1
        if not self._inside[peer]:
            del self._inside[peer]


class Allowance:
    """How often each peer may do something: a bucket, full at `most`, filled by `per_s`. `now_s` is monotonic."""

    def __init__(self, per_s: float, most: float, now_s: Callable[[], float]) -> None:
        self._per_s = per_s
        self._most = most
        self._now_s = now_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def left(self, peer: str) -> float:
        """How often it may do so now."""
        at_s, left = self._left.get(peer, (self._now_s(), self._most))
        return min(self._most, left + (self._now_s() - at_s) * self._per_s)

    def take(self, peer: str) -> bool:
        """Whether it may do so once more; counted if so."""
        left = self.left(peer)
        if left < 1:
            return False
        self._left[peer] = (self._now_s(), left - 1)
        self._left.move_to_end(peer)
        while len(self._left) > MAX_PEERS:
            self._left.popitem(last=False)
        return True

    @property
    def retry_after_s(self) -> int:
        """How long until one more is allowed, rounded up."""
        return max(1, round(1 / self._per_s))

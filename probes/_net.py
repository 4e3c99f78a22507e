"""The way out: names resolved off the loop, addresses guarded and tried in turn, one TLS context for each policy.

Whatever this machine could not do (no route, no descriptors, no resolver) is OwnFault; what the other side did is
ProbeError. Connections themselves are in `_stream`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import socket
import ssl
from collections.abc import Callable
from typing import Any

from probes import (
    Context,
    FailReason,
    Family,
    InconclusiveReason,
    OwnFault,
    Phase,
    ProbeError,
    Route,
    TlsPolicy,
    _lookup,
    _tls,
    egress,
)
from probes._fields import host_key
from probes._icmp import Echoes, IcmpSocket
from probes._poller import Poller, Waiter
from probes._stream import Connection

MAX_LOOKUPS = 32  # lookups at once; a name server that hangs holds a thread until the C library gives up
MAX_WAITING_LOOKUPS = 1024
MAX_ADDRESSES = 8  # of one name, tried in turn

_FAMILIES = {None: socket.AF_UNSPEC, Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY})

GetAddrInfo = Callable[[str, int, int, int], list[tuple[Any, Any, Any, str, Any]]]
ANYWHERE = Route()


class LiveNetwork:
    """The network of this machine. One for a process and its event loop; closed when the last probe is done.

    `getaddrinfo` answers names; it blocks, so it runs in threads of its own, at most MAX_LOOKUPS at once.
    """

    def __init__(self, *, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> None:
        self._getaddrinfo = getaddrinfo
        self._lookups: concurrent.futures.ThreadPoolExecutor | None = None
        self._waiting = 0
        self._poller: Poller | None = None
        self._icmp: dict[int, IcmpSocket] = {}
        self._contexts: dict[TlsPolicy, ssl.SSLContext] = {}
        self._building: dict[TlsPolicy, asyncio.Future[ssl.SSLContext]] = {}

    def close(self) -> None:
        """Let go of the threads, of the ICMP sockets and of the epoll set."""
        for shared in self._icmp.values():
            shared.close()
        self._icmp.clear()
        if self._poller is not None:
            self._poller.close()
            self._poller = None
        if self._lookups is not None:
            self._lookups.shutdown(wait=False, cancel_futures=True)
            self._lookups = None

    @property
    def open_connections(self) -> int:
        """Connections and echoes not closed yet."""
        if self._poller is None:
            return 0
        return self._poller.watched - len(self._icmp) + sum(shared.users for shared in self._icmp.values())

    async def resolve(
        self, host: str, port: int, ctx: Context, route: Route = ANYWHERE
    ) -> list[tuple[int, tuple[Any, ...]]]:
        """(family, socket address) in the system's order; ProbeError(DNS), OwnFault(OWN_RESOLVER). Literals at once."""
        if route.addresses:
            host = route.addresses.get(host_key(host), host)
        literal = _literal(host, port, route.family)
        if literal is not None:
            return [literal]
        start_ns = ctx.now_ns()
        try:
            if route.resolver is not None and "%" not in host:
                return await _lookup.addresses(self, host, port, ctx, route)
            found = await self._lookup(host, port, ctx, _FAMILIES[route.family])
        except socket.gaierror as error:
            if "%" in host and not route.public_only:
                raise OwnFault(InconclusiveReason.OWN_NETWORK, f"{host}: this machine has no such zone") from None
            if error.errno in _NO_SUCH_NAME:
                raise ProbeError(FailReason.DNS, f"the name {host} does not exist{_of_family(route)}") from None
            raise OwnFault(InconclusiveReason.OWN_RESOLVER, f"resolving {host}: {error.strerror}") from None
        except UnicodeError:
            raise ProbeError(FailReason.DNS, f"{host!r} is no name that could be resolved") from None
        finally:
            ctx.add_phase(Phase.RESOLVE, ctx.now_ns() - start_ns)
        families = (socket.AF_INET, socket.AF_INET6)
        usable = [(family, address) for family, _, _, _, address in found if family in families]
        if not usable:
            raise ProbeError(FailReason.DNS, f"the name {host} has no address{_of_family(route)}")
        return list(dict.fromkeys(usable))[:MAX_ADDRESSES]

    async def _lookup(self, host: str, port: int, ctx: Context, family: int) -> list[tuple[Any, Any, Any, str, Any]]:
        if self._waiting >= MAX_WAITING_LOOKUPS:
            waiting = f"resolving {host}: {self._waiting} lookups are waiting already"
            raise OwnFault(InconclusiveReason.OWN_RESOLVER, waiting)
        if self._lookups is None:
            self._lookups = concurrent.futures.ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="resolve")
        loop = asyncio.get_running_loop()
        waiter = Waiter(ctx, ctx.deadline_ns, self._poller or self._new_poller())
        self._waiting += 1
        lookup = loop.run_in_executor(self._lookups, self._getaddrinfo, host, port, family, socket.SOCK_STREAM)
        lookup.add_done_callback(lambda done: self._looked_up(done, waiter))
        try:
            if not lookup.done():
                await waiter.wait("resolving", host)
            return lookup.result()
        except ProbeError:
            raise OwnFault(InconclusiveReason.OWN_RESOLVER, f"resolving {host}: no answer in time") from None
        finally:
            waiter.wait_no_more()
            lookup.cancel()

    def _looked_up(self, done: asyncio.Future[Any], waiter: Waiter) -> None:
        self._waiting -= 1
        if not done.cancelled():
            done.exception()  # fetched, so that an answer nobody waits for any more is not reported as forgotten
        waiter.wake()

    async def connect(self, host: str, port: int, ctx: Context, route: Route = ANYWHERE) -> Connection:
        """Open a connection to the first address that answers; each gets an equal share of the time that is left."""
        known = None if route.addresses else _literal(host, port, route.family)
        addresses = [known] if known is not None else await self.resolve(host, port, ctx, route)
        if len(addresses) > 1:
            return await self._first_that_answers(addresses, host, port, ctx, route)
        family, address = addresses[0]
        _guard(address[0], host, port, route)
        poller = self._poller or self._new_poller()
        connection = Connection(self.tls_context, poller, ctx, ctx.deadline_ns, host, port)
        await connection.open(family, address, route.source)
        return connection

    async def datagram(self, host: str, port: int, ctx: Context, route: Route = ANYWHERE) -> Connection:
        """A UDP socket for the first address of a host; nothing is sent yet."""
        known = None if route.addresses else _literal(host, port, route.family)
        family, address = known or (await self.resolve(host, port, ctx, route))[0]
        _guard(address[0], host, port, route)
        poller = self._poller or self._new_poller()
        connection = Connection(self.tls_context, poller, ctx, ctx.deadline_ns, host, port)
        connection.open_datagram(family, address, route.source)
        return connection

    async def echo(self, host: str, ctx: Context, route: Route = ANYWHERE) -> Echoes:
        """Echoes to the first address of a host, by the one ICMP socket of its family; OwnFault where there is none."""
        known = None if route.addresses else _literal(host, 0, route.family)
        family, address = known or (await self.resolve(host, 0, ctx, route))[0]
        _guard(address[0], host, None, route)
        shared = self._icmp.get(family)
        if shared is None:
            shared = self._icmp[family] = IcmpSocket(socket.AddressFamily(family), self._poller or self._new_poller())
        return Echoes(shared, address, host, ctx, route.source)

    async def _first_that_answers(
        self, addresses: list[tuple[int, tuple[Any, ...]]], host: str, port: int, ctx: Context, route: Route
    ) -> Connection:
        failures: list[ProbeError] = []
        faults: list[OwnFault] = []
        for index, (family, address) in enumerate(addresses):
            left = len(addresses) - index
            now_ns = ctx.now_ns()
            share_ns = ctx.deadline_ns if left == 1 else now_ns + max(ctx.deadline_ns - now_ns, 0) // left
            try:
                _guard(address[0], host, port, route)
                poller = self._poller or self._new_poller()
                connection = Connection(self.tls_context, poller, ctx, share_ns, host, port)
                await connection.open(family, address, route.source)
            except ProbeError as failure:
                failures.append(failure)
            except OwnFault as fault:
                faults.append(fault)
            else:
                connection.wait_until(ctx.deadline_ns)
                return connection
        # One address that their side refused is evidence; addresses that this machine cannot reach at all are none.
        raise failures[-1] if failures else faults[-1]

    def _new_poller(self) -> Poller:
        poller = self._poller = Poller()
        return poller

    async def tls_context(self, policy: TlsPolicy) -> ssl.SSLContext:
        """The one context of `policy`, built off the loop when it is first needed. OwnFault(INTERNAL)."""
        known = self._contexts.get(policy)
        if known is not None:
            return known
        building = self._building.get(policy)
        if building is None:
            building = asyncio.get_running_loop().run_in_executor(None, _tls.build_context, policy)
            self._building[policy] = building
            building.add_done_callback(lambda done: self._built(policy, done))
        return await asyncio.shield(building)

    def _built(self, policy: TlsPolicy, done: asyncio.Future[ssl.SSLContext]) -> None:
        del self._building[policy]
        if not done.cancelled() and done.exception() is None:
            self._contexts[policy] = done.result()


def _guard(address: str, host: str, port: int | None, route: Route) -> None:
    """Nothing if the egress guard lets an address through; else whose fault it is that it was asked for."""
    refused = egress.refusal(address, route.public_only)
    if refused is not None:
        said = f"{host if port is None else f'{host}:{port}'} refused: {refused}"
        if route.public_only:
            raise ProbeError(FailReason.PROTOCOL, said)
        raise OwnFault(InconclusiveReason.INTERNAL, said)


@functools.lru_cache(maxsize=4096)
def _literal(host: str, port: int, family: Family | None) -> tuple[int, tuple[Any, ...]] | None:
    """A numeric address without asking anybody; None for a name, or for a family it is not of."""
    if ":" in host:
        if "%" in host or family is Family.IPV4:
            return None
        try:
            socket.inet_pton(socket.AF_INET6, host)
        except OSError:
            return None
        return socket.AF_INET6, (host, port, 0, 0)
    if not host[-1:].isdigit() or family is Family.IPV6:
        return None
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return None
    return socket.AF_INET, (host, port)


def _of_family(route: Route) -> str:
    return f" as an {route.family} address" if route.family else ""

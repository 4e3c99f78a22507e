"""Connections on non-blocking sockets in one edge-triggered epoll, bounded by deadlines that know when they fired late.

The epoll is nested in the event loop as one file descriptor (a fresh connection costs six system calls; the loop's own
selector would add four). A deadline that fires late proves that our loop stood still: the peer gets one grace turn for
what already lies in the kernel, and the attempt is marked tainted (FAULTS rule 2).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import socket
import ssl
import struct
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from probes import Context, FailReason, InconclusiveReason, OwnFault, Phase, ProbeError, TlsPolicy, _tls

LATE_NS = 100_000_000  # a deadline that fires later than this proves that the loop stopped …
GRACE_S = 0.25  # … and what has arrived meanwhile gets this long to be read
READ_BYTES = 65_536
CHAIN_READ_NS = 2_000_000_000  # at most, for reading the expiry of a refused chain
_BURST = 8  # reads in a row before others have their turn

_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_BROKEN = select.EPOLLHUP | select.EPOLLERR

_TCP_INFO = struct.Struct("68xI28xI")  # tcpi_rtt (us) and tcpi_total_retrans of struct tcp_info, linux/tcp.h

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.EADDRINUSE})
# Refused by this machine before a packet left it: no route, link down, a local firewall.
_NO_WAY_OUT = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT}
)
_FIREWALLED = frozenset({errno.ENETDOWN, errno.EPERM, errno.EACCES})

Contexts = Callable[[TlsPolicy], Awaitable[ssl.SSLContext]]


@types.coroutine
def give_way() -> Generator[None, None, None]:
    """Let everything else that is ready have one turn of the loop."""
    yield


def time_is_up(doing: str) -> ProbeError:
    """The failure of an attempt that did not finish within its deadline."""
    return ProbeError(FailReason.TIMEOUT, f"time ran out while {doing}")


class NotPermittedError(OwnFault):
    """Such a socket is not for this process to open."""


def own_fault(error: OSError, doing: str) -> OwnFault | None:
    """`error` as a fault of this machine, or None if it may be the target's."""
    cause = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in _EXHAUSTED:
        return OwnFault(InconclusiveReason.INTERNAL, f"{doing}: {cause}")
    if error.errno in _NO_WAY_OUT:
        return OwnFault(InconclusiveReason.OWN_NETWORK, f"{doing}: {cause}")
    return None


class Deadline:
    """A point in time for one waiter, with the grace turn of FAULTS rule 2. Used by one task, one wait at a time."""

    __slots__ = ("_ctx", "_loop", "_timer", "at_ns", "expired", "waiter")

    def __init__(self, ctx: Context, at_ns: int, loop: asyncio.AbstractEventLoop) -> None:
        self._ctx = ctx
        self._loop = loop
        self.expired = False
        self.waiter: asyncio.Future[bool] | None = None
        self.at_ns = at_ns
        self._timer = self._arm(at_ns)

    def _arm(self, at_ns: int) -> asyncio.TimerHandle:
        return self._loop.call_later(max(at_ns - self._ctx.now_ns(), 0) / 1e9, self._fire)

    def move(self, at_ns: int) -> None:
        """Fire at another time instead."""
        if at_ns != self.at_ns:
            self._timer.cancel()
            self.at_ns, self.expired = at_ns, False
            self._timer = self._arm(at_ns)

    def cancel(self) -> None:
        """Never fire."""
        self._timer.cancel()

    def _fire(self) -> None:
        if not self._ctx.tainted and self._ctx.now_ns() - self.at_ns > LATE_NS:
            self._ctx.tainted = True
            self._timer = self._loop.call_later(GRACE_S, self._fire)
            return
        self.expired = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(False)

    async def wait(self, doing: str) -> None:
        """Until somebody sets the waiter's result; ProbeError(TIMEOUT) when time is up first."""
        if self.expired:
            raise time_is_up(doing)
        waiter = self.waiter = self._loop.create_future()
        try:
            ready = await waiter
        finally:
            self.waiter = None
        if not ready:
            raise time_is_up(doing)


class Poller:
    """All sockets of one network in one epoll set, which the loop watches as a single file descriptor."""

    __slots__ = ("_connections", "_epoll", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        try:
            self._epoll = select.epoll()
        except OSError as error:
            raise own_fault(error, "opening an epoll set") or error from None
        self._connections: dict[int, Connection] = {}
        self.loop.add_reader(self._epoll.fileno(), self._drain)

    def add(self, fd: int, connection: Connection) -> None:
        self._epoll.register(fd, _EVENTS)
        self._connections[fd] = connection

    def forget(self, fd: int) -> None:
        """Before the socket is closed, which takes it out of the set by itself."""
        del self._connections[fd]

    def _drain(self) -> None:
        connections = self._connections
        for fd, events in self._epoll.poll(0, 256):
            connection = connections.get(fd)
            if connection is not None:
                connection.on_events(events)

    def close(self) -> None:
        if not self._epoll.closed:
            if not self.loop.is_closed():
                self.loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    @property
    def open_connections(self) -> int:
        return len(self._connections)


class Connection:
    """A TCP connection under way or open, TLS in between if started: the `Stream` of the seam."""

    __slots__ = (
        "_address",
        "_burst",
        "_contexts",
        "_ctx",
        "_deadline",
        "_ended",
        "_in_order",
        "_poller",
        "_readable",
        "_registered",
        "_sock",
        "_spoke",
        "_wants_read",
        "_writable",
        "overslept_ns",
        "peer",
        "target",
    )

    def __init__(self, contexts: Contexts, poller: Poller, ctx: Context, deadline: Deadline, target: str) -> None:
        self._contexts, self._poller, self._ctx, self._deadline = contexts, poller, ctx, deadline
        self.target = target
        self.peer = ""
        self._sock: Any = None  # socket.socket, or ssl.SSLSocket after start_tls
        self._address: tuple[int, tuple[Any, ...]] = (0, ())
        self._registered = self._ended = self._readable = self._writable = self._wants_read = self._spoke = False
        self._in_order = True
        self._burst = 0
        self.overslept_ns = 0  # how much longer opening took by our stamps than by the kernel's: our loop was busy

    def on_events(self, events: int) -> None:
        """The poller's word: note what is possible now and wake the waiter if it waits for that."""
        if events & (select.EPOLLIN | _ENDED):
            self._readable = True
        if events & (select.EPOLLOUT | _BROKEN):
            self._writable = True
        if events & _ENDED:
            self._ended = True
        waiter = self._deadline.waiter
        if waiter is not None and not waiter.done() and (self._readable if self._wants_read else self._writable):
            waiter.set_result(True)

    async def _wait(self, *, read: bool, doing: str) -> None:
        self._wants_read = read
        if not (self._readable if read else self._writable):
            self._burst = 0
            await self._deadline.wait(doing)
        elif self._deadline.expired:
            raise time_is_up(doing)

    async def open(
        self, family: int, address: tuple[Any, ...], source: str | None, kind: int = socket.SOCK_STREAM, proto: int = 0
    ) -> None:
        """Connect to one address; ProbeError(CONNECT or TIMEOUT) or OwnFault. A datagram socket only notes its peer."""
        doing = f"connecting to {self.target}"
        self._in_order = kind == socket.SOCK_STREAM
        begun_ns = self._ctx.now_ns()
        try:
            self._sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, proto)
            if source is not None:
                self._sock.bind((source, 0))
            with contextlib.suppress(BlockingIOError):
                self._sock.connect(address)
            self._poller.add(self._sock.fileno(), self)
            self._registered = True
        except OSError as error:
            if self._sock is None and isinstance(error, PermissionError):
                raise NotPermittedError(InconclusiveReason.INTERNAL, f"{doing}: {_cause(error)}") from None
            raise own_fault(error, doing) or ProbeError(FailReason.CONNECT, f"{doing}: {_cause(error)}") from None
        self._address = family, address
        self.peer = str(address[0])
        if not self._in_order:
            self._writable = True
            return
        await self._wait(read=False, doing=doing)
        if self._ended:
            self._raise_refusal(doing)
        handshake_ns = self._handshake_ns()
        if handshake_ns is not None:
            self.overslept_ns = max(0, self._ctx.now_ns() - begun_ns - handshake_ns)

    def _handshake_ns(self) -> int | None:
        """How long the TCP handshake took by the kernel's own stamps, which do not wait for our loop; None where the
        kernel does not say, or a segment was sent again and the figure is that of the last one only.
        """
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        except OSError:
            return None
        if len(info) < _TCP_INFO.size:
            return None
        rtt_us, sent_again = _TCP_INFO.unpack(info)
        return rtt_us * 1_000 if rtt_us and not sent_again else None

    def _raise_refusal(self, doing: str) -> None:
        refused = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refused in _EXHAUSTED or refused in _FIREWALLED:
            raise own_fault(OSError(refused, ""), doing) or AssertionError(refused)
        # A network or host that somebody on the way calls unreachable is theirs until the controls say otherwise.
        if refused:
            raise ProbeError(FailReason.CONNECT, f"{doing}: {os.strerror(refused).lower()}")

    async def send(self, data: bytes) -> None:
        """Write all of `data`. A peer that stopped reading is no failure yet: it may have answered already."""
        view = memoryview(data)
        self._spoke = True
        while view:
            try:
                view = view[self._sock.send(view) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._writable = False
                await self._wait(read=False, doing=f"sending to {self.target}")
            except ssl.SSLWantReadError:
                self._readable = False
                await self._wait(read=True, doing=f"sending to {self.target}")
            except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                self._ended = self._readable = True
                return
            except ssl.SSLError as error:
                raise ProbeError(FailReason.PROTOCOL, f"TLS with {self.target} broke: {_cause(error)}") from None
            except OSError as error:
                raise own_fault(error, f"sending to {self.target}") or _broken(self.target, error) from None

    async def receive(self, limit: int = READ_BYTES) -> bytes:
        """At least one and at most `limit` bytes; b"" at the end. Gives others their turn when data never stops."""
        doing = f"waiting for {self.target}"
        while True:
            await self._wait(read=True, doing=doing)
            self._burst += 1
            if self._burst > _BURST:
                self._burst = 0
                await give_way()
            try:
                data: bytes = self._sock.recv(limit)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._readable = False
                continue
            except ssl.SSLWantWriteError:
                self._writable = False
                await self._wait(read=False, doing=doing)
                continue
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""
            except ssl.SSLError as error:
                raise ProbeError(FailReason.PROTOCOL, f"TLS with {self.target} broke: {_cause(error)}") from None
            except OSError as error:
                raise own_fault(error, doing) or _broken(self.target, error) from None
            # A short read emptied a plain stream: the next byte is a new edge. The end of the stream is none.
            if len(data) < limit and self._in_order and not self._ended:
                self._readable = False
            return data

    async def start_tls(self, server_name: str, policy: TlsPolicy) -> None:
        """Upgrade and verify as `policy` says; notes the chain's expiry, also when verification refuses it."""
        context = await self._contexts(policy)
        start_ns = self._ctx.now_ns()
        try:
            await self._handshake(context, server_name)
        except ssl.SSLCertVerificationError as error:
            if not self._spoke:
                await self._read_refused_chain(server_name, policy)
            raise _tls.handshake_failure(error, context, server_name) from None
        except ssl.SSLError as error:
            raise _tls.handshake_failure(error, context, server_name) from None
        except (OSError, ValueError) as error:  # ValueError: a server name that cannot be one
            what = _cause(error) if isinstance(error, OSError) else "no valid server name"
            raise ProbeError(FailReason.TLS, f"TLS handshake with {server_name}: {what}") from None
        finally:
            self._ctx.add_phase(Phase.TLS, self._ctx.now_ns() - start_ns)
        self._ctx.notes.chain = chain = _tls.presented(self._sock)
        self._ctx.notes.cert_not_after_s = _tls.expiry_s(chain)

    async def _handshake(self, context: ssl.SSLContext, server_name: str) -> None:
        doing = f"in the TLS handshake with {self.target}"
        self._in_order = False  # a read gives one record, however many have come
        self._sock = context.wrap_socket(self._sock, server_hostname=server_name, do_handshake_on_connect=False)
        while True:
            try:
                self._sock.do_handshake()
            except ssl.SSLWantReadError:
                self._readable = False
                await self._wait(read=True, doing=doing)
            except ssl.SSLWantWriteError:
                self._writable = False
                await self._wait(read=False, doing=doing)
            else:
                return

    async def _read_refused_chain(self, server_name: str, policy: TlsPolicy) -> None:
        """A second connection without verification, only to note when the refused chain expires: there is no other."""
        family, address = self._address
        at_ns = min(self._ctx.deadline_ns, self._ctx.now_ns() + CHAIN_READ_NS)
        again = Connection(
            self._contexts, self._poller, self._ctx, Deadline(self._ctx, at_ns, self._poller.loop), self.target
        )
        try:
            await again.open(family, address, None)
            await again._handshake(await self._contexts(_tls.unverified(policy)), server_name)
            self._ctx.notes.cert_not_after_s = _tls.expiry_s(_tls.presented(again._sock))
        except (ProbeError, OwnFault, OSError):
            return  # the expiry stays unknown; why verification failed is what counts
        finally:
            again.close_now()

    @property
    def tls_version(self) -> str | None:
        """`TLSv1.3` and so on; None on a plain connection."""
        version: str | None = self._sock.version() if isinstance(self._sock, ssl.SSLSocket) else None
        return version

    def close_now(self) -> None:
        """Let go of socket and timer; never raises, twice does nothing more."""
        self._deadline.cancel()
        if self._sock is not None:
            if self._registered:
                self._poller.forget(self._sock.fileno())
                self._registered = False
            self._sock.close()
            self._sock = None

    async def close(self) -> None:
        """Let go of the socket; never raises."""
        self.close_now()


def _cause(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no reason given").lower().replace("_", " ")
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__


def _broken(target: str, error: OSError) -> ProbeError:
    if error.errno == errno.ECONNREFUSED:  # the answer to a datagram
        return ProbeError(FailReason.CONNECT, f"{target}: {_cause(error)}")
    return ProbeError(FailReason.PROTOCOL, f"the connection with {target} broke: {_cause(error)}")

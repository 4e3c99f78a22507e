"""The connection of one probe: a non-blocking socket, with TLS in between if it is started.

TLS runs over memory (`SSLObject`): the socket stays the engine's own, and the standard library's wrapping of sockets,
which takes as long as a whole plain probe, is not paid for.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import struct
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from probes import Context, FailReason, OwnFault, Phase, ProbeError, TlsPolicy, _tls
from probes._poller import Poller, Waiter, cause, is_refused_here, own_fault, time_is_up
from probes._stamp import STAMP_BYTES, ask_for_stamps, queued_ns

READ_BYTES = 65_536
CHAIN_READ_NS = 2_000_000_000  # at most, for reading the expiry of a refused chain
_BURST = 8  # reads in a row before others have their turn

_CONNECT = Phase.CONNECT  # looking a member up is dear in Python 3.11
_SHAKING_HANDS = "in the TLS handshake with"

_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_READABLE = select.EPOLLIN | _ENDED
_WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR

_TCP = socket.IPPROTO_TCP
_TCP_INFO = struct.Struct("68xI28xI")  # tcpi_rtt (us) and tcpi_total_retrans of struct tcp_info, linux/tcp.h

Contexts = Callable[[TlsPolicy], Awaitable[ssl.SSLContext]]


class Connection(Waiter):
    """A TCP connection or a UDP socket for one peer: the `Stream` of the seam."""

    __slots__ = (
        "_address",
        "_burst",
        "_contexts",
        "_ended",
        "_fd",
        "_host",
        "_in_order",
        "_incoming",
        "_outgoing",
        "_port",
        "_readable",
        "_sock",
        "_spoke",
        "_stamped",
        "_tls",
        "_wants_read",
        "_writable",
        "peer",
        "queued_ns",
    )

    def __init__(self, contexts: Contexts, poller: Poller, ctx: Context, at_ns: int, host: str, port: int) -> None:
        super().__init__(ctx, at_ns, poller)
        self._contexts = contexts
        self._host = host
        self._port = port
        self.peer = ""
        self._sock: Any = None  # the C class of sockets: the one around it adds a call in Python to each of its own
        self._fd = -1  # once it is in the poller's set
        self._tls: ssl.SSLObject | None = None
        self._ended = self._readable = self._writable = self._wants_read = self._spoke = self._stamped = False
        self._in_order = True
        self.queued_ns = self._burst = 0

    @property
    def target(self) -> str:
        """Whom it is with, as messages say it."""
        return f"{self._host}:{self._port}"

    def on_events(self, events: int) -> None:
        """The poller's word: note what is possible now and resume the task if it waits for that."""
        if events & _READABLE:
            self._readable = True
            if events & _ENDED:
                self._ended = True
        if events & _WRITABLE:
            self._writable = True
        resume = self._resume
        if resume is not None and (self._readable if self._wants_read else self._writable):
            self._resume = None
            self._context.run(resume, self)

    async def _until_writable(self, doing: str) -> None:
        self._wants_read = False
        if not self._writable:
            self._burst = 0
            await self.wait(doing, self.target)
        elif self.expired:
            raise time_is_up(f"{doing} {self.target}")

    @types.coroutine
    def open(self, family: int, address: tuple[Any, ...], source: str | None) -> Generator[Waiter, None, None]:
        """Connect to one address; ProbeError(CONNECT or TIMEOUT) or OwnFault, closed then. The time spent is the
        connect phase: by the kernel's word where it has one, as that does not wait for our loop.
        """
        now_ns = self.ctx.now_ns
        begun_ns = now_ns()
        handshake_ns = 0
        try:
            self._begin(family, address, source, socket.SOCK_STREAM)
            self._asyncio_future_blocking = True
            yield self
            if self.expired or self._ended:
                self._raise_refusal()
            handshake_ns = self._handshake_ns()
        except BaseException:
            self.close()
            raise
        finally:
            spent_ns = now_ns() - begun_ns
            self.ctx.add_phase(_CONNECT, handshake_ns if 0 < handshake_ns < spent_ns else spent_ns)

    def open_datagram(self, family: int, address: tuple[Any, ...], source: str | None) -> None:
        """Note the one peer of a UDP socket; nothing is sent yet. OwnFault or ProbeError, closed then."""
        try:
            self._begin(family, address, source, socket.SOCK_DGRAM)
        except BaseException:
            self.close()
            raise
        self._in_order, self._writable = False, True

    def _begin(self, family: int, address: tuple[Any, ...], source: str | None, kind: int) -> None:
        try:
            sock = self._sock = socket.SocketType(family, kind | _FLAGS, 0)
            if source is not None:
                sock.bind((source, 0))
            code = sock.connect_ex(address)
            if code and code != errno.EINPROGRESS:
                raise OSError(code, "")  # noqa: TRY301 - mapped like all others
            fd = sock.fileno()
            self.poller.add(fd, self.on_events)
            self._fd = fd
        except OSError as error:
            doing = f"connecting to {self.target}"
            raise own_fault(error, doing) or ProbeError(FailReason.CONNECT, f"{doing}: {cause(error)}") from None
        self._address = family, address
        self.peer = self.ctx.notes.peer = address[0]

    def _handshake_ns(self) -> int:
        """How long the TCP handshake took by the kernel's own stamps, which do not wait for our loop; 0 where it does
        not say, or a segment was sent again and the figure is that of the last one only.
        """
        try:
            rtt_us, sent_again = _TCP_INFO.unpack(self._sock.getsockopt(_TCP, socket.TCP_INFO, _TCP_INFO.size))
        except (OSError, struct.error):  # an error, or an old kernel's shorter answer
            return 0
        return 0 if sent_again else rtt_us * 1_000

    def _raise_refusal(self) -> None:
        doing = f"connecting to {self.target}"
        if self.expired:
            raise time_is_up(doing)
        refused = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        error = OSError(refused, "")
        if is_refused_here(refused):
            raise own_fault(error, doing) or AssertionError(refused)
        # A network or host that somebody on the way calls unreachable is theirs until the controls say otherwise.
        if refused:
            raise ProbeError(FailReason.CONNECT, f"{doing}: {cause(error)}")

    def send(self, data: bytes) -> Coroutine[Any, Any, None]:
        """Write all of `data`. A peer that stopped reading is no failure yet: it may have answered already."""
        self._spoke = True
        return self._put(data, "sending to") if self._tls is None else self._encrypt(self._tls, data)

    async def _encrypt(self, tls: ssl.SSLObject, data: bytes) -> None:
        doing = "sending to"
        while data:
            try:
                data = data[tls.write(data) :]  # a record at a time
            except ssl.SSLWantReadError:
                await self._feed(doing)
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                self._ended = self._readable = True
                return
            except ssl.SSLError as error:
                raise self._broken(error, doing) from None
        await self._flush(doing)

    async def _flush(self, doing: str) -> None:
        """Put what TLS has to say on the wire."""
        if self._outgoing.pending:
            await self._put(self._outgoing.read(), doing)

    async def _put(self, data: bytes, doing: str) -> None:
        while True:
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                self._writable = False
                await self._until_writable(doing)
                continue
            except (BrokenPipeError, ConnectionResetError):
                self._ended = self._readable = True
                return
            except OSError as error:
                raise self._broken(error, doing) from None
            if sent == len(data):
                return
            data = data[sent:]

    def receive(self, limit: int = READ_BYTES) -> Awaitable[bytes]:
        """At least one and at most `limit` bytes; b"" at the end. Gives others their turn when data never stops."""
        return self._take(limit, "waiting for") if self._tls is None else self._decrypt(self._tls, limit)

    async def _decrypt(self, tls: ssl.SSLObject, limit: int) -> bytes:
        while True:
            try:
                return tls.read(limit)
            except ssl.SSLWantReadError:
                await self._feed("waiting for")
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""
            except ssl.SSLError as error:
                raise self._broken(error, "waiting for") from None

    async def _feed(self, doing: str) -> None:
        """Give TLS what comes off the wire, after what it had to say itself."""
        await self._flush(doing)
        data = await self._take(READ_BYTES, doing)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    @types.coroutine
    def _take(self, limit: int, doing: str) -> Generator[Waiter | None, None, bytes]:
        while True:
            if not self._readable:
                if not self._stamped and self._in_order:
                    self._stamped = ask_for_stamps(self._sock)
                self._burst, self._wants_read = 0, True
                if not self.expired:
                    self._asyncio_future_blocking = True
                    yield self
            if self.expired:
                raise time_is_up(f"{doing} {self.target}")
            self._burst += 1
            if self._burst > _BURST:
                self._burst = 0
                yield None  # to all that is ready: one turn of the loop
            try:
                data = self._stamped_piece(limit) if self._stamped else self._sock.recv(limit)
            except BlockingIOError:
                self._readable = False
                continue
            except OSError as error:
                raise self._broken(error, doing) from None
            # A short read emptied a stream: the next byte is a new edge. The end of the stream is none.
            if len(data) < limit and self._in_order and not self._ended:
                self._readable = False
            return data

    def _stamped_piece(self, limit: int) -> bytes:
        """What has come, and for how long it has lain in the kernel: its last segment, where there are several. Of what
        TLS makes of it later, that was how long at least.
        """
        piece: bytes
        piece, ancillary, _, _ = self._sock.recvmsg(limit, STAMP_BYTES)
        self.queued_ns = queued_ns(ancillary) if ancillary else 0
        return piece

    def _broken(self, error: OSError, doing: str) -> ProbeError | OwnFault:
        if isinstance(error, ssl.SSLError):
            return ProbeError(FailReason.PROTOCOL, f"TLS with {self.target} broke: {_tls.said(error)}")
        fault = own_fault(error, f"{doing} {self.target}")
        if fault is not None:
            return fault
        if doing == _SHAKING_HANDS:
            return ProbeError(FailReason.TLS, f"TLS handshake with {self.target}: {cause(error)}")
        if error.errno == errno.ECONNREFUSED:  # the answer to a datagram
            return ProbeError(FailReason.CONNECT, f"{self.target}: {cause(error)}")
        return ProbeError(FailReason.PROTOCOL, f"the connection with {self.target} broke: {cause(error)}")

    async def start_tls(self, server_name: str, policy: TlsPolicy) -> None:
        """Upgrade and verify as `policy` says; notes the chain's expiry, also when verification refuses it."""
        context = await self._contexts(policy)
        start_ns = self.ctx.now_ns()
        try:
            await self._handshake(context, server_name)
        except ssl.SSLCertVerificationError as error:
            if not self._spoke:
                await self._read_refused_chain(server_name, policy)
            raise _tls.handshake_failure(error, context, server_name) from None
        except ssl.SSLError as error:
            raise _tls.handshake_failure(error, context, server_name) from None
        except ValueError:
            raise ProbeError(FailReason.TLS, f"TLS handshake with {server_name}: no valid server name") from None
        finally:
            self.ctx.add_phase(Phase.TLS, self.ctx.now_ns() - start_ns)
        self.ctx.notes.chain = chain = _tls.presented(self._tls)
        self.ctx.notes.cert_not_after_s = _tls.expiry_s(chain)

    async def _handshake(self, context: ssl.SSLContext, server_name: str) -> None:
        doing = _SHAKING_HANDS
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._feed(doing)
            except ssl.SSLError:
                await self._flush(doing)  # the alert, so that the peer knows why
                raise
            else:
                await self._flush(doing)
                return

    async def _read_refused_chain(self, server_name: str, policy: TlsPolicy) -> None:
        """A second connection without verification, only to note when the refused chain expires: there is no other."""
        family, address = self._address
        at_ns = min(self.ctx.deadline_ns, self.ctx.now_ns() + CHAIN_READ_NS)
        again = Connection(self._contexts, self.poller, self.ctx.aside(at_ns), at_ns, self._host, self._port)
        try:
            await again.open(family, address, None)
            await again._handshake(await self._contexts(_tls.unverified(policy)), server_name)
            self.ctx.notes.cert_not_after_s = _tls.expiry_s(_tls.presented(again._tls))
        except (ProbeError, OwnFault, OSError):
            return  # the expiry stays unknown; why verification failed is what counts
        finally:
            again.close()

    @property
    def tls_version(self) -> str | None:
        """`TLSv1.3` and so on; None on a plain connection."""
        return None if self._tls is None else self._tls.version()

    def close(self) -> None:
        """Let go of socket and timer; never raises, twice does nothing more."""
        self.poller.disarm(self._alarm)
        sock = self._sock
        if sock is not None:
            if self._fd >= 0:
                self.poller.forget(self._fd)
                self._fd = -1
            sock.close()
            self._sock = None

"""The ICMP sockets of this machine: one for each family, shared by all echoes that are under way.

Unprivileged where the system allows that, raw otherwise. A reply belongs to the echo whose sequence number, payload and
address it carries, an ICMP error to the one whose request it quotes; whatever else arrives is nobody's. Round trips end
at the kernel's stamp of the reply (SO_TIMESTAMPNS), which does not wait for our loop.
"""

from __future__ import annotations

import array
import functools
import os
import secrets
import select
import socket
import struct
from collections.abc import Coroutine
from typing import Any, NamedTuple

from probes import Context, FailReason, InconclusiveReason, OwnFault, ProbeError
from probes._poller import Poller, Waiter, cause, own_fault
from probes._stamp import ask_for_stamps, queued_ns

TOKEN_BYTES = 16
_DRAWN = 64
_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_SEQUENCES = 1 << 16
_BATCH = 64  # packets before others have their turn; the set tells of the rest again
_RECEIVE_BYTES = 1 << 20  # of buffer, for replies that come all at once
_PACKET = 2_048  # the longest echo, its IP header included
_ANCILLARY = 256
_SEND_TRIES = 8  # each error that is waiting on the socket, somebody else's, is told to one send

_HEAD = struct.Struct(">BBHHH")  # type, code, checksum, identifier, sequence number
_PKTINFO = struct.Struct("@i4s4s")  # struct in_pktinfo
_PKTINFO6 = struct.Struct("@16si")  # struct in6_pktinfo
_ERROR = struct.Struct("@IBBBxII")  # struct sock_extended_err
_FILTER = struct.Struct("@HBBI")  # struct sock_filter
_PROGRAM = struct.Struct("@HP")  # struct sock_fprog
_MEMINFO = struct.Struct("@9I")  # enum sk_meminfo_vars; the last counts what was dropped

# What Python has no names for: linux/socket.h, linux/in.h, linux/in6.h, linux/icmp.h, linux/errqueue.h.
_SO_RCVBUFFORCE, _SO_MEMINFO, _SO_ATTACH_FILTER = 33, 55, 26
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_IP_PKTINFO = 8
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3


class _Version(NamedTuple):
    """How ICMP goes over one version of IP (RFC 792, RFC 4443)."""

    protocol: int
    request: int
    reply: int
    level: int
    receive_errors: int
    loopback: str


_VERSIONS = {
    socket.AF_INET: _Version(socket.IPPROTO_ICMP, 8, 0, socket.IPPROTO_IP, _IP_RECVERR, "127.0.0.1"),
    socket.AF_INET6: _Version(socket.IPPROTO_ICMPV6, 128, 129, socket.IPPROTO_IPV6, _IPV6_RECVERR, "::1"),
}


class IcmpSocket:
    """The one ICMP socket of a family. OwnFault with the right that is missing where it may not be opened."""

    __slots__ = (
        "_blocked",
        "_dropped",
        "_family",
        "_has_ip_header",
        "_ident",
        "_raw",
        "_sequence",
        "_sock",
        "_tokens",
        "_version",
        "_waiting",
        "poller",
        "users",
    )

    def __init__(self, family: socket.AddressFamily, poller: Poller) -> None:
        self._family, self._version, self.poller = family, _VERSIONS[family], poller
        self._sock: Any  # the C class of sockets
        self._sock, self._raw = self._opened()
        self._has_ip_header = self._raw and family == socket.AF_INET
        self._ident = secrets.randbits(16)  # of a raw socket; the kernel has one of its own for any other
        self._sequence = secrets.randbits(16)
        self._waiting: dict[int, Echoes] = {}
        self._blocked: list[Waiter] = []
        self._dropped = 0
        self._tokens: list[bytes] = []
        self.users = 0
        try:
            self._set_options()
            poller.add(self._sock.fileno(), self._on_events, select.EPOLLIN)
        except OSError as error:
            self._sock.close()
            raise own_fault(error, "opening an ICMP socket") or error from None

    def _opened(self) -> tuple[Any, bool]:
        """The socket, and whether it is a raw one."""
        for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
            try:
                return socket.SocketType(self._family, kind | _FLAGS, self._version.protocol), kind == socket.SOCK_RAW
            except PermissionError:
                continue
            except OSError as error:
                raise own_fault(error, "opening an ICMP socket") or error from None
        hint = "allow it by the sysctl net.ipv4.ping_group_range or by the capability CAP_NET_RAW"
        raise OwnFault(InconclusiveReason.INTERNAL, f"this process may not send ICMP: {hint}")

    def _set_options(self) -> None:
        sock, version = self._sock, self._version
        ask_for_stamps(sock)
        sock.setsockopt(version.level, version.receive_errors, 1)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)  # as much of it as the system gives
        if not self._raw:
            return
        # A raw socket is told of every ICMP packet of this machine: of these, only replies are wanted, and only ours.
        if self._family == socket.AF_INET:
            sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("@I", ~(1 << version.reply) & 0xFFFFFFFF))
        else:
            words = [0xFFFFFFFF] * 8
            words[version.reply >> 5] &= ~(1 << (version.reply & 31))
            sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("@8I", *words))

        program = array.array("B", b"".join(_FILTER.pack(*line) for line in self._program()))
        address, length = program.buffer_info()
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _PROGRAM.pack(length // _FILTER.size, address))

    def _program(self) -> tuple[tuple[int, int, int, int], ...]:
        """A filter of the kernel (linux/filter.h) that lets in what has our identifier: nobody else's wakes us."""
        behind_ip_header, at_once = ((0xB1, 0, 0, 0), (0x48, 0, 0, 4)), ((0x28, 0, 0, 4),)
        load = behind_ip_header if self._has_ip_header else at_once
        return *load, (0x15, 0, 1, self._ident), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)

    async def send(self, echoes: Echoes, size: int) -> None:
        """Send an echo request with `size` bytes for `echoes`; ProbeError(TIMEOUT) or OwnFault."""
        sequence = self._free_sequence()
        head = _HEAD.pack(self._version.request, 0, 0, self._ident, sequence)
        if self._has_ip_header:  # the kernel sums up all others; what comes behind the token is zeros and adds nothing
            total = checksum(head + echoes.token)
            head = _HEAD.pack(self._version.request, 0, total, self._ident, sequence)
        packet = head + echoes.token.ljust(size, b"\0")
        while True:
            self._waiting[sequence] = echoes
            echoes.sent_ns[sequence] = echoes.ctx.now_ns()
            try:
                self._put(packet, echoes)
            except BlockingIOError:
                await self._until_writable(echoes)
            else:
                return

    def token(self) -> bytes:
        """Random bytes that tell one probe's echoes from all others; drawn for many at once."""
        if not self._tokens:
            drawn = os.urandom(_DRAWN * TOKEN_BYTES)
            self._tokens = [drawn[at : at + TOKEN_BYTES] for at in range(0, len(drawn), TOKEN_BYTES)]
        return self._tokens.pop()

    def _free_sequence(self) -> int:
        if len(self._waiting) >= _SEQUENCES // 2:
            raise OwnFault(InconclusiveReason.INTERNAL, f"{len(self._waiting)} echoes are waiting for replies already")
        while True:
            self._sequence = (self._sequence + 1) % _SEQUENCES
            if self._sequence not in self._waiting:
                return self._sequence

    def _put(self, packet: bytes, echoes: Echoes) -> None:
        tries_left = _SEND_TRIES
        while True:
            try:
                if echoes.ancillary:
                    self._sock.sendmsg([packet], echoes.ancillary, 0, echoes.address)
                else:
                    self._sock.sendto(packet, echoes.address)
            except BlockingIOError:
                raise
            except OSError as error:
                # What somebody else's echo came to is told once, what concerns this one each time.
                tries_left -= 1
                if not tries_left:
                    doing = f"sending to {echoes.target}"
                    fault = OwnFault(InconclusiveReason.INTERNAL, f"{doing}: {cause(error)}")
                    raise own_fault(error, doing) or fault from None
            else:
                return

    async def _until_writable(self, echoes: Echoes) -> None:
        self.poller.change(self._sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        self._blocked.append(echoes)
        await echoes.wait("sending to", echoes.target)

    def _on_events(self, events: int) -> None:
        if events & select.EPOLLERR:
            self._read_errors()
        if events & select.EPOLLIN:
            self._read_replies()
        if events & select.EPOLLOUT:
            blocked, self._blocked = self._blocked, []
            self.poller.change(self._sock.fileno(), select.EPOLLIN)
            for waiter in blocked:
                waiter.wake()

    def _read_replies(self) -> None:
        for _ in range(_BATCH):
            if self._sock is None:
                return  # closed by one that was woken
            try:
                packet, ancillary, _, source = self._sock.recvmsg(_PACKET, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                continue  # what somebody's echo came to: the error's own queue says whose
            lay_ns = queued_ns(ancillary)
            at = (packet[0] & 0x0F) * 4 if self._has_ip_header and packet else 0
            if len(packet) < at + _HEAD.size:
                continue
            kind, _, _, ident, sequence = _HEAD.unpack_from(packet, at)
            echoes = self._waiting.get(sequence)
            if echoes is None or kind != self._version.reply or (self._raw and ident != self._ident):
                continue
            if packet.startswith(echoes.token, at + _HEAD.size) and echoes.is_from(source[0]):
                del self._waiting[sequence]
                echoes.replied(sequence, lay_ns)

    def look_for_drops(self) -> None:
        """Replies that found our buffer full were ours to lose: who waits now proves nothing by silence."""
        dropped = self._drops()
        if dropped != self._dropped:
            self._dropped = dropped
            for echoes in self._waiting.values():
                echoes.ctx.tainted = True

    def _drops(self) -> int:
        try:
            info = self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        except OSError:
            return self._dropped  # an old kernel does not say
        return int(_MEMINFO.unpack(info)[-1]) if len(info) == _MEMINFO.size else self._dropped

    def _read_errors(self) -> None:
        for _ in range(_BATCH):
            try:
                packet, ancillary, _, about = self._sock.recvmsg(_PACKET, _ANCILLARY, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for level, kind, data in ancillary:
                if level == self._version.level and kind == self._version.receive_errors:
                    self._take_error(packet, about[0], data)

    def _take_error(self, packet: bytes, about: str, data: bytes) -> None:
        """An ICMP error belongs to the echo request that it quotes: the whole of it, or its head at least."""
        code, origin, _, _, _, _ = _ERROR.unpack_from(data)
        if origin not in {_ORIGIN_ICMP, _ORIGIN_ICMP6} or len(packet) < _HEAD.size:
            return
        kind, _, _, ident, sequence = _HEAD.unpack_from(packet)
        echoes = self._waiting.get(sequence)
        if echoes is None or kind != self._version.request or (self._raw and ident != self._ident):
            return
        quoted = packet[_HEAD.size : _HEAD.size + TOKEN_BYTES]
        if echoes.is_from(about) and echoes.token.startswith(quoted):
            del self._waiting[sequence]
            echoes.refused(sequence, code)

    def forget(self, sequence: int) -> None:
        """Nobody waits for a reply any more."""
        self._waiting.pop(sequence, None)

    def close(self) -> None:
        """Let go of the socket; twice does nothing more."""
        if self._sock is not None:
            self.poller.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None


class Echoes(Waiter):
    """The echoes of one probe to one host, over the socket that all share: the `Echoes` of the seam."""

    __slots__ = ("_ended", "_shared", "address", "ancillary", "peer", "sent_ns", "target", "token")

    def __init__(
        self, shared: IcmpSocket, address: tuple[Any, ...], target: str, ctx: Context, source: str | None
    ) -> None:
        super().__init__(ctx, ctx.deadline_ns, shared.poller)
        self._shared, self.address, self.target = shared, address, target
        self.peer = ctx.notes.peer = str(address[0])
        self.token = shared.token()
        self.ancillary = [] if source is None else [_from(source)]
        self.sent_ns: dict[int, int] = {}  # by sequence number, of those without an answer
        self._ended: list[int | ProbeError] = []
        shared.users += 1

    def send(self, size: int) -> Coroutine[Any, Any, None]:
        """Send the next echo request, of `size` bytes; OwnFault."""
        return self._shared.send(self, size)

    async def receive(self) -> int:
        """The round trip of the next reply in ns; ProbeError(TIMEOUT), or CONNECT where somebody says no."""
        if not self._ended:
            await self.wait("waiting for", self.target)
        ended = self._ended.pop(0)
        if isinstance(ended, ProbeError):
            raise ended
        return ended

    def fire(self, now_ns: int) -> None:
        """As any waiter, but silence is believed only where nothing was lost on our side."""
        self._shared.look_for_drops()
        super().fire(now_ns)

    def is_from(self, source: str) -> bool:
        """Whether an address is the one that was asked."""
        return source == self.peer or _same(source, self.peer)

    def replied(self, sequence: int, lay_ns: int) -> None:
        """The socket's word: a reply, and how long it lay in the kernel until then."""
        elapsed_ns = self.ctx.now_ns() - self.sent_ns.pop(sequence)
        # A wall clock that was set meanwhile gives itself away, but for a step shorter than the wait itself.
        self._end(elapsed_ns - lay_ns if lay_ns <= elapsed_ns else elapsed_ns)

    def refused(self, sequence: int, code: int) -> None:
        """The socket's word: somebody says that a request leads nowhere."""
        del self.sent_ns[sequence]
        self._end(ProbeError(FailReason.CONNECT, f"{self.target}: {os.strerror(code).lower()}"))

    def _end(self, how: int | ProbeError) -> None:
        self._ended.append(how)
        self.wake()

    def close(self) -> None:
        """Wait for nothing more; the socket stays for others."""
        for sequence in self.sent_ns:
            self._shared.forget(sequence)
        self.sent_ns.clear()
        self.wait_no_more()
        self._shared.users -= 1


def _from(source: str) -> tuple[int, int, bytes]:
    """What makes a packet leave from an address of ours."""
    if ":" in source:
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(socket.inet_pton(socket.AF_INET6, source), 0)
    return socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(0, socket.inet_aton(source), bytes(4))


@functools.lru_cache(maxsize=4096)
def _same(source: str, asked: str) -> bool:
    """Whether two notations are of one address; nowhere in particular (`0.0.0.0`) is this machine."""
    family = socket.AF_INET6 if ":" in asked else socket.AF_INET
    try:
        ours, theirs = (socket.inet_pton(family, text.partition("%")[0]) for text in (asked, source))
    except OSError:
        return False
    return theirs == (ours if any(ours) else socket.inet_pton(family, _VERSIONS[family].loopback))


def checksum(message: bytes) -> int:
    """The internet checksum (RFC 1071) of a message whose own checksum is 0; one of odd length is padded.

    The sum of 16-bit words in one's complement is the remainder of the whole as one number by 2^16 - 1.
    """
    padded = message + b"\0" * (len(message) % 2)
    return 0xFFFF - (int.from_bytes(padded, "big") % 0xFFFF or 0xFFFF)

"""A network of its own for a thread, with an internet in it that answers echoes as badly as one likes.

The thread enters the namespace and leaves it; the sockets that it opened meanwhile stay there. 127.0.0.0/8 is answered
by the kernel, 192.0.2.0/24 lies behind a wire that leads nowhere, where a listener sees what comes and may answer.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from probes._icmp import checksum

CLONE_NEWNET = 0x40000000
ETH_P_IP = 0x0800
OURS = "192.0.2.254"
REFUSING = "127.0.0.3"
_HEAD = struct.Struct(">BBHHH")

Answer = Callable[[bytes, bytes], list[bytes]]
"""From the IP header and the ICMP message of an echo request to the ICMP messages that come back."""

_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str | None:
    """Why this machine gives no namespaces; None if it does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    lacking = [tool for tool in ("ip", "iptables") if shutil.which(tool) is None]
    if lacking:
        return f"no {' and no '.join(lacking)}: install iproute2 and iptables"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False, timeout=280)
    return f"this machine makes no network namespaces: {tried.stderr.strip()}" if tried.returncode else None


def shell(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


def icmp(kind: int, code: int, rest: bytes) -> bytes:
    """An ICMP message with its checksum."""
    message = bytes((kind, code, 0, 0)) + rest
    return message[:2] + checksum(message).to_bytes(2, "big") + message[4:]


def enter(descriptor: int) -> None:
    """Let the thread that calls be in a network namespace from now on."""
    assert _libc.setns(descriptor, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


class Namespace:
    """A namespace that lasts until it is closed. `answers` says what comes back from an address of the dead wire."""

    def __init__(self, answers: Mapping[str, Answer], *, unprivileged: bool) -> None:
        self._answers = answers
        self._outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        assert _libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        self._inside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._set_up(unprivileged=unprivileged)
        finally:
            enter(self._outside)

    def _set_up(self, *, unprivileged: bool) -> None:
        if unprivileged:
            Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647", encoding="ascii")
        for scope in ("all", "default"):
            Path(f"/proc/sys/net/ipv4/conf/{scope}/rp_filter").write_text("0", encoding="ascii")
        shell("ip", "link", "set", "lo", "up")
        shell("ip", "link", "add", "wire", "type", "veth", "peer", "name", "nowhere")
        shell("ip", "address", "add", f"{OURS}/24", "dev", "wire")
        shell("ip", "link", "set", "wire", "arp", "off", "up")
        shell("ip", "link", "set", "nowhere", "up")
        shell("iptables", "-A", "INPUT", "-d", REFUSING, "-j", "REJECT")
        self._seen = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # all that the wire sees
        self._seen.bind(("wire", 0))
        self._out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            packet = self._seen.recv(65_536)
            if len(packet) < 28 or packet[0] != 0x45 or packet[9] != socket.IPPROTO_ICMP or packet[20] != 8:
                continue
            address = socket.inet_ntoa(packet[16:20])
            if address not in self._answers:
                continue
            for message in self._answers[address](packet[:20], packet[20:]):
                self._send(address, message)

    def _send(self, source: str, message: bytes) -> None:
        length = 20 + len(message)
        head = struct.pack(">BBHHHBBH", 0x45, 0, length, 0, 0, 64, socket.IPPROTO_ICMP, 0)
        self._out.sendto(head + socket.inet_aton(source) + socket.inet_aton(OURS) + message, (OURS, 0))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The thread that calls is inside meanwhile."""
        enter(self._inside)
        try:
            yield
        finally:
            enter(self._outside)


def reply(message: bytes, **changed: int | bytes) -> bytes:
    """The honest reply to an echo request, but for what is changed of `ident`, `sequence` and `payload`."""
    _, _, _, ident, sequence = _HEAD.unpack_from(message)
    parts = {"ident": ident, "sequence": sequence, "payload": message[8:]} | changed
    payload = parts["payload"]
    assert isinstance(payload, bytes)
    return icmp(0, 0, struct.pack(">HH", parts["ident"], parts["sequence"]) + payload)


def unreachable(code: int, quoted: int | None = None, **changed: int) -> Answer:
    """Somebody says that it leads nowhere, quoting so many bytes of the request after its IP header."""

    def answer(head: bytes, message: bytes) -> list[bytes]:
        _, _, _, ident, sequence = _HEAD.unpack_from(message)
        parts = {"ident": ident, "sequence": sequence} | changed
        about = message[:4] + struct.pack(">HH", parts["ident"], parts["sequence"]) + message[8:]
        return [icmp(3, code, bytes(4) + head + about[:quoted])]

    return answer

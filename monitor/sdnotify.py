"""Tells the service manager how the daemon is doing: the notify protocol and its watchdog (sd_notify(3)).

One datagram a message, `KEY=VALUE` a line, to the socket that the manager names in `NOTIFY_SOCKET`. Where nobody named
one, nothing is sent. A message that cannot be delivered never stops the daemon: the methods return why, or None.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

MAX_MESSAGE_BYTES = 4096
"""The manager reads no more of a message (PIPE_BUF)."""

MAX_ADDRESS_BYTES = 107
"""The longest path of a Unix socket, without the NUL that ends it (unix(7))."""

PATIENCE_S = 0.5
"""How long a change of state waits for a manager that is busy; the loop stands still meanwhile."""

_NO_WAIT_S = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """Messages to the manager at `address`; to nobody where that is None.

    `watchdog_interval_us` is how long the manager waits for the next `watchdog()` before it kills the daemon; None
    where it does not wait for any. `fault` says what of the environment could not be understood, and what follows.
    """

    address: str | None = None
    watchdog_interval_us: int | None = None
    fault: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, pid: int) -> Notifier:
        """What the manager asks of the process `pid` by NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.

        A variable that makes no sense is as if it were not set, and named in `fault`.
        """
        address = environ.get("NOTIFY_SOCKET") or None
        if address is None:
            return cls()
        why = _unusable(address)
        if why is not None:
            return cls(fault=f"NOTIFY_SOCKET={address!r} {why}: the service manager is told nothing")
        try:
            interval_us = _watchdog_us(environ, pid)
        except ValueError as error:
            return cls(address=address, fault=f"{error}: the watchdog is not fed")
        return cls(address=address, watchdog_interval_us=interval_us)

    def ready(self) -> str | None:
        """The daemon does its work: after its start, and after each `reloading`."""
        return self._send("READY=1", PATIENCE_S)

    def reloading(self, now_us: int) -> str | None:
        """A reload began at `now_us` of CLOCK_MONOTONIC, the manager's own clock; `ready` must follow."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={now_us}", PATIENCE_S)

    def stopping(self) -> str | None:
        """The daemon began to stop."""
        return self._send("STOPPING=1", PATIENCE_S)

    def status(self, text: str) -> str | None:
        """One line for people, shown by `systemctl status`. Control characters become spaces, the end is cut."""
        line = "".join(character if character.isprintable() else " " for character in text)
        room = MAX_MESSAGE_BYTES - len(b"STATUS=")
        return self._send("STATUS=" + line.encode(errors="replace")[:room].decode(errors="ignore"), PATIENCE_S)

    def watchdog(self) -> str | None:
        """The daemon made progress. Never waits: what is lost today is made good by the next one."""
        return self._send("WATCHDOG=1", _NO_WAIT_S)

    def _send(self, message: str, patience_s: float) -> str | None:
        if self.address is None:
            return None
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(patience_s)
                sock.connect(_path(self.address))
                sock.send(message.encode())
        except (BlockingIOError, TimeoutError):
            return f"{_first_line(message)} not taken by {self.address}: the service manager is too busy"
        except OSError as error:
            return f"{_first_line(message)} not sent to {self.address}: {error.strerror or error}"
        return None


def _unusable(address: str) -> str | None:
    """Why nothing can be sent to the address, None if something can."""
    if address[0] not in "/@":
        return "is neither an absolute path nor an abstract name (@…)"
    if len(address) == 1:
        return "names no socket"
    if "\0" in address:
        return "has a NUL in it"
    if len(address.encode(errors="surrogateescape")) > MAX_ADDRESS_BYTES:
        return f"is longer than the {MAX_ADDRESS_BYTES} bytes of a socket's address"
    return None


def _path(address: str) -> bytes:
    path = address.encode(errors="surrogateescape")
    return b"\0" + path[1:] if path.startswith(b"@") else path


def _watchdog_us(environ: Mapping[str, str], pid: int) -> int | None:
    """How often the manager wants to hear of the process; None if never, ValueError for garbage."""
    interval, owner = environ.get("WATCHDOG_USEC"), environ.get("WATCHDOG_PID")
    if not interval:
        return None
    if owner and _whole("WATCHDOG_PID", owner) != pid:
        return None
    return _whole("WATCHDOG_USEC", interval)


def _whole(name: str, text: str) -> int:
    # int() also takes "1_000", "+5", " 7 " and other scripts' digits; the manager writes none of these.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(2**64))) or int(text) == 0:
        raise ValueError(f"{name}={text!r} is no whole number above 0")
    return int(text)


def _first_line(message: str) -> str:
    return message.partition("\n")[0]

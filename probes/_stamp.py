"""When the kernel took in what a socket received: a stamp that does not wait for our loop to have time.

The kernel stamps with the wall clock. A stamp is held against the same clock at the moment of reading, and only how
long ago it was is used; a wall clock that was set in between gives itself away where that is less than nothing.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

# linux/socket.h; Python has no names for them.
SO_TIMESTAMPNS = 35
_SOL_SOCKET = socket.SOL_SOCKET
_STAMP = struct.Struct("@ll")  # struct timespec
STAMP_BYTES = 64  # of ancillary data


def ask_for_stamps(sock: Any) -> bool:  # noqa: ANN401 - the C class of sockets
    """Let a socket tell the stamp of what it receives; always true, as without it there is just none."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return True
    return True


def queued_ns(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """How long what was received lay in the kernel until now; 0 where there is no stamp, or none to believe."""
    for level, kind, data in ancillary:
        if kind == SO_TIMESTAMPNS and level == _SOL_SOCKET:
            seconds, nanoseconds = _STAMP.unpack(data)
            lay_ns: int = time.time_ns() - seconds * 1_000_000_000 - nanoseconds  # noqa: TID251 - of the stamp's clock
            return max(0, lay_ns)
    return 0

"""The other side of the wire, as programs: `internet.py targets ADDRESS… ` and `internet.py resolver MODE_FILE`.

Targets answer HTTP on port 80 and accept on port 443 of each address. The resolver on 127.0.0.1:53 answers from its
zone, or misbehaves as the first word of the mode file says at that moment.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from pathlib import Path
from typing import Any

ZONE = {
    b"target.test": "10.204.0.2",
    b"control-1.test": "10.204.0.21",
    b"control-2.test": "10.204.0.22",
    b"control-3.test": "10.204.0.23",
}
SERVFAIL, NXDOMAIN = 2, 3


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def targets(addresses: list[str]) -> None:
    for address in addresses:
        for port in (80, 443):
            await asyncio.start_server(answer, address, port, backlog=256)
    print("serving", flush=True)  # noqa: T201 - its answer
    await asyncio.Event().wait()


def reply(query: bytes, mode: str) -> bytes | None:
    end = query.index(b"\0", 12)
    labels, at = [], 12
    while at < end:
        labels.append(query[at + 1 : at + 1 + query[at]])
        at += 1 + query[at]
    (kind,) = struct.unpack_from(">H", query, end + 1)
    question = query[12 : end + 5]
    address = {"wrong": "127.0.0.77"}.get(mode, ZONE.get(b".".join(labels)))
    rcode = {"servfail": SERVFAIL, "nxdomain": NXDOMAIN}.get(mode, 0 if address else NXDOMAIN)
    if mode == "silent":
        return None
    record = b""
    if not rcode and kind == 1 and address is not None:
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
    return query[:2] + struct.pack(">HHHHH", 0x8180 | rcode, 1, bool(record), 0, 0) + question + record


class Resolver(asyncio.DatagramProtocol):
    def __init__(self, mode: Path) -> None:
        self._mode = mode
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        message = reply(data, self._mode.read_text(encoding="ascii").strip())
        if message is not None:
            self._transport.sendto(message, addr)


async def resolver(mode: Path) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Resolver(mode), ("127.0.0.1", 53))
    print("serving", flush=True)  # noqa: T201 - its answer
    await asyncio.Event().wait()


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    asyncio.run(targets(rest) if what == "targets" else resolver(Path(rest[0])))

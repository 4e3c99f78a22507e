"""DNS messages (RFC 1035) as a probe needs them: one question out, one bounded answer in.

An own codec, because a library's cache or retries would be measured instead of the server. Names come back in lower
case with a trailing dot; what cannot be decoded is a MalformedError.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from dataclasses import dataclass

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "CAA": 257}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_NAMES = {number: name for name, number in TYPES.items()}
_RECURSION_DESIRED = 0x0100
_IS_RESPONSE, _IS_TRUNCATED = 0x8000, 0x0200
_IN = 1
_OPT = 41
_EDNS_SIZE = 1232
_MAX_JUMPS = 64
_MAX_RECORDS = 512
_POINTER = 0xC0
_MAX_LABEL = 63
_MAX_NAME = 255
_PRINTABLE = re.compile(rb"[!-\-/-~]+")  # and no dot


class MalformedError(ValueError):
    """Bytes that are no DNS message, or not the answer to the question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One resource record of the answer section; `data` as a zone file would write it."""

    name: str
    type: str
    ttl_s: int
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: its rcode by name, whether it was truncated, its answer section in order."""

    rcode: str
    truncated: bool
    authoritative: bool
    records: tuple[Record, ...]


def encode_name(name: str) -> bytes:
    """A name on the wire; ValueError if it is none."""
    out = bytearray()
    for label in name.rstrip(".").split(".") if name.rstrip(".") else ():
        raw = label.encode("idna") if not label.isascii() else label.encode()
        if not 0 < len(raw) <= _MAX_LABEL:
            raise ValueError(f"{name!r} is no DNS name: a label has 1 to {_MAX_LABEL} characters")
        out += bytes((len(raw),)) + raw
    if len(out) >= _MAX_NAME:
        raise ValueError(f"{name!r} is no DNS name: longer than {_MAX_NAME} bytes")
    return bytes(out) + b"\0"


def question(ident: int, name: str, kind: str, *, recursive: bool) -> bytes:
    """A query with one question and an EDNS record that allows answers of 1232 bytes."""
    flags = _RECURSION_DESIRED if recursive else 0
    head = struct.pack(">HHHHHH", ident, flags, 1, 0, 0, 1)
    return (
        head
        + encode_name(name)
        + struct.pack(">HH", TYPES[kind], _IN)
        + struct.pack(">BHHIH", 0, _OPT, _EDNS_SIZE, 0, 0)
    )


def decode(message: bytes, asked: bytes) -> Reply:
    """The reply in `message` to the query `asked`; MalformedError if it is not that."""
    try:
        return _decode(message, asked)
    except (struct.error, IndexError, UnicodeError):
        raise MalformedError("the answer breaks off or is no DNS message") from None


def _decode(message: bytes, asked: bytes) -> Reply:
    ident, flags, questions, answers, _, _ = struct.unpack_from(">HHHHHH", message)
    if not flags & _IS_RESPONSE or ident != struct.unpack_from(">H", asked)[0]:
        raise MalformedError("not the answer to this question")
    at = 12
    end = asked.index(0, 12) + 5
    if questions == 1 and message.startswith(asked[12:end], 12):
        at = end
    elif questions:
        name, at = _name(message, at)
        wanted, end = _name(asked, 12)
        if questions != 1 or name != wanted or message[at : at + 4] != asked[end : end + 4]:
            raise MalformedError("the answer is to another question")
        at += 4
    records = []
    for _ in range(min(answers, _MAX_RECORDS)):
        if flags & _IS_TRUNCATED and at >= len(message):
            break
        record, at = _record(message, at)
        records.append(record)
    return Reply(
        rcode=RCODES.get(flags & 0xF, f"RCODE{flags & 0xF}"),
        truncated=bool(flags & _IS_TRUNCATED),
        authoritative=bool(flags & 0x0400),
        records=tuple(records),
    )


def _name(message: bytes, at: int) -> tuple[str, int]:
    """The name at an offset and the offset after it; pointers are followed, only backwards and not for ever."""
    labels: list[str] = []
    end = 0
    for _ in range(_MAX_JUMPS * 2):
        length = message[at]
        if length & _POINTER == _POINTER:
            target = (length & 0x3F) << 8 | message[at + 1]
            end = end or at + 2
            if target >= at:
                raise MalformedError("a name points forwards")
            at = target
        elif length & _POINTER:
            raise MalformedError("a label of an unknown kind")
        elif not length:
            return ".".join(labels).lower() + ".", end or at + 1
        else:
            raw = message[at + 1 : at + 1 + length]
            if len(raw) < length:
                raise MalformedError("a name breaks off")
            labels.append(raw.decode() if _PRINTABLE.fullmatch(raw) else _escaped(raw))
            at += 1 + length
    raise MalformedError("a name without end")


def _escaped(raw: bytes) -> str:
    return "".join(chr(c) if _PRINTABLE.match(raw, at) else f"\\{c:03d}" for at, c in enumerate(raw))


def _record(message: bytes, at: int) -> tuple[Record, int]:
    name, at = _name(message, at)
    kind, _, ttl, length = struct.unpack_from(">HHIH", message, at)
    at += 10
    if at + length > len(message):
        raise MalformedError("a record breaks off")
    data = _data(message, at, length, kind)
    return Record(name=name, type=_NAMES.get(kind, f"TYPE{kind}"), ttl_s=ttl, data=data), at + length


def _data(message: bytes, at: int, length: int, kind: int) -> str:
    raw = message[at : at + length]
    match _NAMES.get(kind):
        case "A" | "AAAA" as name:
            return _address(raw, name)
        case "NS" | "CNAME" | "PTR":
            return _name(message, at)[0]
        case "MX":
            return f"{struct.unpack_from('>H', raw)[0]} {_name(message, at + 2)[0]}"
        case "SRV":
            priority, weight, port = struct.unpack_from(">HHH", raw)
            return f"{priority} {weight} {port} {_name(message, at + 6)[0]}"
        case "SOA":
            primary, after = _name(message, at)
            mailbox, after = _name(message, after)
            return f"{primary} {mailbox} {' '.join(map(str, struct.unpack_from('>IIIII', message, after)))}"
        case "TXT":
            return _text(raw)
        case "CAA":
            tag_end = 2 + raw[1]
            return f'{raw[0]} {raw[2:tag_end].decode()} "{raw[tag_end:].decode("utf-8", "replace")}"'
        case _:
            return raw.hex()


def _address(raw: bytes, kind: str) -> str:
    if len(raw) != (4 if kind == "A" else 16):
        raise MalformedError("an address of a wrong length")
    return socket.inet_ntoa(raw) if kind == "A" else str(ipaddress.IPv6Address(raw))


def _text(raw: bytes) -> str:
    """The strings of a TXT record, joined as its readers do."""
    out, at = bytearray(), 0
    while at < len(raw):
        out += raw[at + 1 : at + 1 + raw[at]]
        at += 1 + raw[at]
    return out.decode("utf-8", "replace")

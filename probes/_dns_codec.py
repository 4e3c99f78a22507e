"""DNS messages (RFC 1035) as a probe needs them: one question out, one bounded answer in.

An own codec, because a library's cache or retries would be measured instead of the server. Names come back in lower
case with a trailing dot; what cannot be decoded is a MalformedError.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from typing import NamedTuple

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "CAA": 257}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_NAMES = {number: name for name, number in TYPES.items()}
_RECURSION_DESIRED = 0x0100
_IS_RESPONSE, _IS_AUTHORITATIVE, _IS_TRUNCATED = 0x8000, 0x0400, 0x0200
_IN = 1
_OPT = 41
_EDNS_SIZE = 1232
_HEAD = struct.Struct(">2xHHH4x")  # flags, questions, answers; the identifier and two more counts beside them
_RECORD = struct.Struct(">H2xIH")  # type, ttl and length of the data; the class between them
_FIRST_NAME = b"\xc0\x0c"  # a pointer to what stands behind the head: the question's name
_IPV4_BYTES, _IPV6_BYTES = 4, 16
_MAX_JUMPS = 64
_MAX_RECORDS = 512
_POINTER = 0xC0
_MAX_LABEL = 63
_MAX_NAME = 255
_PRINTABLE = re.compile(rb"[!-\-/-~]+")  # and no dot


class MalformedError(ValueError):
    """Bytes that are no DNS message, or not the answer to the question."""


class Record(NamedTuple):
    """One resource record of the answer section; `data` as a zone file would write it."""

    name: str
    type: str
    ttl_s: int
    data: str


class Reply(NamedTuple):
    """An answer: its rcode by name, whether it was truncated, its answer section in order."""

    rcode: str
    truncated: bool
    authoritative: bool
    records: tuple[Record, ...]


class Question(NamedTuple):
    """One question, made once and sent under many identifiers: two bytes and `rest` are a query.

    `section` is what an answer repeats of it (name, type, class), `name` the name as a `Record` has it.
    """

    rest: bytes
    section: bytes
    name: str


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


def question(name: str, kind: str, *, recursive: bool) -> Question:
    """A question with an EDNS record that allows answers of 1232 bytes; ValueError if the name is none."""
    encoded = encode_name(name)
    section = encoded + struct.pack(">HH", TYPES[kind], _IN)
    head = struct.pack(">HHHHH", _RECURSION_DESIRED if recursive else 0, 1, 0, 0, 1)
    rest = head + section + struct.pack(">BHHIH", 0, _OPT, _EDNS_SIZE, 0, 0)
    return Question(rest, section, _name(encoded, 0)[0])


def decode(message: bytes, ident: bytes, asked: Question) -> Reply:
    """The reply in `message` to what was asked under the identifier `ident`; MalformedError if it is not that."""
    try:
        return _decode(message, ident, asked)
    except (struct.error, IndexError, UnicodeError):
        raise MalformedError("the answer breaks off or is no DNS message") from None


def _decode(message: bytes, ident: bytes, asked: Question) -> Reply:
    flags, questions, answers = _HEAD.unpack_from(message)
    if not flags & _IS_RESPONSE or not message.startswith(ident):
        raise MalformedError("not the answer to this question")
    at = _HEAD.size
    known: dict[bytes, str] = {}
    if questions:
        at = _after_question(message, at, questions, asked)
        known[_FIRST_NAME] = asked.name
    truncated = (flags & _IS_TRUNCATED) != 0
    records = []
    for _ in range(min(answers, _MAX_RECORDS)):
        if truncated and at >= len(message):
            break
        record, at = _record(message, at, known)
        records.append(record)
    code = flags & 0xF
    return Reply(
        rcode=RCODES.get(code) or f"RCODE{code}",
        truncated=truncated,
        authoritative=(flags & _IS_AUTHORITATIVE) != 0,
        records=tuple(records),
    )


def _after_question(message: bytes, at: int, questions: int, asked: Question) -> int:
    """The offset after the question that an answer repeats, as a rule byte for byte; MalformedError for another one."""
    if questions == 1 and message.startswith(asked.section, at):
        return at + len(asked.section)
    name, at = _name(message, at)
    if questions != 1 or name != asked.name or message[at : at + 4] != asked.section[-4:]:
        raise MalformedError("the answer is to another question")
    return at + 4


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


def _record(message: bytes, at: int, known: dict[bytes, str]) -> tuple[Record, int]:
    """The record at an offset and the offset after it. `known` are the names that pointers have led to so far."""
    pointer, after = message[at : at + 2], at + 2
    name = known.get(pointer)
    if name is None:
        name, after = _name(message, at)
        if after == at + 2:  # a pointer and nothing else: it leads to the same name from everywhere behind
            known[pointer] = name
    number, ttl_s, length = _RECORD.unpack_from(message, after)
    at = after + _RECORD.size
    if at + length > len(message):
        raise MalformedError("a record breaks off")
    kind = _NAMES.get(number)
    return Record(name, kind or f"TYPE{number}", ttl_s, _data(message, at, length, kind)), at + length


def _data(message: bytes, at: int, length: int, kind: str | None) -> str:
    raw = message[at : at + length]
    match kind:
        case "A" if length == _IPV4_BYTES:
            return socket.inet_ntoa(raw)
        case "AAAA" if length == _IPV6_BYTES:
            return str(ipaddress.IPv6Address(raw))
        case "A" | "AAAA":
            raise MalformedError("an address of a wrong length")
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


def _text(raw: bytes) -> str:
    """The strings of a TXT record, joined as its readers do."""
    out, at = bytearray(), 0
    while at < len(raw):
        out += raw[at + 1 : at + 1 + raw[at]]
        at += 1 + raw[at]
    return out.decode("utf-8", "replace")

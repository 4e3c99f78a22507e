"""A second opinion on a statement: recomputes it from an export of the ledger and names every field that differs.

    python audit.py STATEMENT.json --ledger EXPORT.jsonl [--key PUB] [--at INSTANT]

This file is for a partner who does not trust the provider, nor the program that made the statement. It needs Python
3.11 and nothing else: it imports nothing of Jaga, and shares no line with it. It is written from the contract's text
(the numbers in brackets, such as [2.5.2], are its clauses) and computes plainly: time is cut at every instant at which
anything changes, and each piece is asked by itself what the service was. All figures are integers of microseconds and
exact fractions.

Read it from top to bottom. Part A opens the record: every entry must hash to what it says and name the hash before it
(in an export for one partner: be proved to be one of the whole), all sealed evidence must be there and be what its
entries committed to, the export must be whole, and the checkpoints must be over these very entries and, if a key is
given, signed with it. Part B is the agreement in the order of its clauses, from runs to a credit. Part C makes the
statement's fields again and compares them: its digest must be that of its bytes and of the close entry, and every
figure and list in it must follow from the evidence and the decisions before the close.

The answer is an exit code: 0 all holds, 1 something differs (each field with both values), 2 it could not be asked.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import accumulate, groupby, pairwise, zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SECOND = 10**6
"""All instants and lengths are integers of microseconds; instants count from 1970-01-01 UTC."""
HOUR = 3600 * SECOND
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
Json = dict[str, Any]
Span = tuple[int, int]
"""Half-open: [start, end)."""
Source = tuple[str, str]
"""A check and a location."""


class CannotAuditError(Exception):
    """What was given cannot be audited at all: an unreadable file, no such month, a missing time zone."""


MALFORMED = (ValueError, ArithmeticError, KeyError, TypeError, IndexError, AttributeError, zlib.error)
"""What reading something of another form than expected ends in."""

# == Part A: the record ================================================================================================
# -- A1. Strict JSON, canonical bytes, and how figures are written -----------------------------------------------------


def _no_float(text: str) -> object:
    raise ValueError(f"{text}: neither a ledger nor a statement holds a number that is not an integer")


def _object(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def read_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """JSON without floats and without names that stand twice; ValueError."""
    return json.loads(text, parse_float=_no_float, parse_constant=_no_float, object_pairs_hook=_object)


def canonical(value: object) -> bytes:
    """RFC 8785 for what occurs here: objects, lists, texts, integers, true, false and null."""
    if isinstance(value, dict):
        # Names are ordered by their UTF-16 code units, which is not the order of code points.
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return b"{" + b",".join(canonical(name) + b":" + canonical(value[name]) for name in names) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        raise ValueError(f"{value} has no canonical form: it is beyond 2^53")
    assert value is None or isinstance(value, str | bool | int), value
    return json.dumps(value, ensure_ascii=False).encode()


def sha256(data: bytes) -> str:
    """As the ledger writes a hash."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def instant(text: str) -> int:
    """RFC 3339 with its offset, in microseconds."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text}: an instant needs its offset")
    return (moment - EPOCH) // MICROSECOND


def shown(us: int, zone: tzinfo) -> str:
    """An instant as statements write it: in the contract's zone, microseconds only where there are any."""
    return (EPOCH + timedelta(microseconds=us)).astimezone(zone).isoformat()


def seconds(us: int) -> str:
    """A length with six places."""
    return f"{us // SECOND}.{us % SECOND:06d}"


def percent(part: Fraction) -> str:
    """Floored to six places, never rounded [2.6]."""
    millionths = part * 100 * 10**6 // 1
    return f"{millionths // 10**6}.{millionths % 10**6:06d}"


def share(text: str) -> Fraction:
    """`95%` as a fraction of one."""
    return Fraction(text.removesuffix("%")) / 100


def bare(part: Fraction) -> str:
    """A percentage as it is written in terms: `95`, `99.9`."""
    return format((Decimal(part.numerator * 100) / Decimal(part.denominator)).normalize(), "f")


def duration(text: str) -> int:
    """`48h`, `30d`, `90m`, `10s`."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]] * SECOND


def clock(us: int) -> str:
    """A length as `47:59:59`, with microseconds where there are any."""
    whole, part = divmod(us, SECOND)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}" + (f".{part:06d}" if part else "")


def span_of(fact: Json) -> Span:
    """What a decision is about."""
    return instant(fact["start"]), instant(fact["end"])


def overlap(one: Span, other: Span) -> int:
    """How much two spans share."""
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


# -- A2. Merkle trees (RFC 9162), and checkpoints: signed notes (C2SP) with Ed25519 (RFC 8032) -------------------------


def leaf_hash(data: bytes) -> bytes:
    """Of what stands in a leaf."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


@dataclass(slots=True)
class Tree:
    """The root over leaves as they come: complete subtrees, the largest first."""

    parts: list[tuple[int, bytes]] = field(default_factory=list)

    def append(self, leaf: bytes) -> None:
        """One more leaf's hash; two subtrees of one size become one."""
        self.parts.append((1, leaf))
        while len(self.parts) > 1 and self.parts[-2][0] == self.parts[-1][0]:
            (size, left), (_same, right) = self.parts[-2:]
            self.parts[-2:] = [(2 * size, node_hash(left, right))]

    def root(self) -> bytes:
        """Over what was appended so far."""
        if not self.parts:
            return hashlib.sha256().digest()
        found = self.parts[-1][1]
        for _size, left in reversed(self.parts[:-1]):
            found = node_hash(left, found)
        return found


def roots_of(entries: Iterable[Entry]) -> list[bytes]:
    """The roots over none of the entries, the first, the first two and so on."""
    tree, found = Tree(), [Tree().root()]
    for entry in entries:
        tree.append(entry.leaf)
        found.append(tree.root())
    return found


def included(leaf: bytes, index: int, size: int, path: Iterable[str], root: bytes) -> bool:
    """Whether a path of hashes (hex) leads from a leaf to the root of a tree of so many (RFC 9162, 2.1.3.2)."""
    found, place, last = leaf, index, size - 1
    for node in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(bytes.fromhex(node), found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, bytes.fromhex(node))
        place, last = place >> 1, last >> 1
    return 0 <= index < size and last == 0 and found == root


P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]
"""Extended coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z."""


def _add(a: Point, b: Point) -> Point:
    left, right = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = right - left, d - c, d + c, right + left
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point, scalar = _add(point, point), scalar >> 1
    return total


def _decoded(data: bytes) -> Point | None:
    """A point from its bytes; None where there is none on the curve (RFC 8032, 5.1.3)."""
    number = int.from_bytes(data, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def ed25519_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032, 5.1.7: whether [S]B = R + [k]A."""
    base = _decoded((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    key, s = _decoded(public), int.from_bytes(signature[32:], "little")
    if base is None or key is None or s >= ORDER or (len(public), len(signature)) != (32, 64):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    found = _add(_times(s, base), _times(k, (P - key[0], key[1], key[2], P - key[3])))
    x, y = (part * pow(found[2], -1, P) % P for part in found[:2])
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


class Key(NamedTuple):
    """A public key as notes name it: `name+id+base64`."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes before each signature (C2SP signed-note)."""
        return hashlib.sha256(self.name.encode() + b"\n\x01" + self.public).digest()[:4]


def read_key(given: str) -> Key:
    """A verifier key, or the path of a file with it; CannotAuditError."""
    try:
        line = given if "+" in given else Path(given).read_text(encoding="utf-8")
        name, hashed, data = line.strip().split("+", 2)
        raw = base64.b64decode(data, validate=True)
    except (OSError, ValueError) as error:
        raise CannotAuditError(f"{given}: not a public key NAME+ID+BASE64, nor a file with one: {error}") from None
    key = Key(name, raw[1:])
    if (raw[:1], len(key.public)) != (b"\x01", 32) or key.id.hex() != hashed:
        raise CannotAuditError(f"{given}: not an Ed25519 key, or its id is not that of its bytes")
    return key


def signed_by(note: str, keys: Iterable[Key]) -> str | None:
    """The text of a note if one of the keys signed it, None if none is named; ValueError where a signature is wrong."""
    text, cut, signatures = note.rpartition("\n\n")
    if not cut:
        raise ValueError("not a signed note: a text, an empty line, signatures")
    for line in signatures.splitlines():
        dash, name, data = [*line.split(" "), "", "", ""][:3]
        raw = base64.b64decode(data, validate=True)
        for key in keys:
            if (dash, name, raw[:4]) == ("\u2014", key.name, key.id):
                if not ed25519_verifies(key.public, (text + "\n").encode(), raw[4:]):
                    raise ValueError(f"the signature of {name} is wrong")
                return text + "\n"
    return None


@dataclass(slots=True)
class Signed:
    """What the checkpoints of a ledger cover. Without any key their signatures are not looked at, but what they say of
    the entries is.
    """

    keys: list[Key]
    roots: list[bytes]
    covered: int = 0
    problems: list[str] = field(default_factory=list)

    def judge(self, note: str) -> tuple[bool, list[str]]:
        """Hold a checkpoint against the entries: whether one of the known keys signed it, and what is wrong with it."""
        try:
            text = signed_by(note, self.keys) if self.keys else note
            if text is None:
                return False, []
            _origin, size, root = [*text.split("\n"), "", "", ""][:3]
            count, wanted = int(size), base64.b64decode(root, validate=True)
        except ValueError as error:
            return True, [str(error)]
        if not 0 <= count < len(self.roots):
            return True, [f"it covers {count} entries, the export has {len(self.roots) - 1}: its tail is gone"]
        if self.roots[count] != wanted:
            return True, [f"the first {count} entries of the export are not those that were signed"]
        self.covered = max(self.covered, count)
        return True, []


def read_signed(ledger: Ledger, key: Key | None) -> Signed:
    """Hold every checkpoint in the ledger against it. A rotated key is known by the word of the one before."""
    found = Signed([] if key is None else [key], roots_of(ledger.entries))
    for entry in ledger.entries:
        fact = entry.fact
        if fact["type"] == "key" and fact.get("endorsed") and found.keys:
            try:
                text = signed_by(fact["endorsed"], found.keys)
            except ValueError as error:
                found.problems.append(f"the key in entry {entry.seq}: {error}")
                continue
            if text is not None and fact["key"] in text.splitlines():
                found.keys.append(read_key(fact["key"]))
        elif fact["type"] == "checkpoint":
            _known, problems = found.judge(fact["note"])
            found.problems += [f"the checkpoint in entry {entry.seq}: {problem}" for problem in problems]
    if found.keys and not found.covered:
        found.problems.append("no checkpoint in the export is signed by the key")
    return found


# -- A3. Evidence as it is stored: segments, and the numbers in them (docs/interchange.md) -----------------------------

OUTCOMES = frozenset({"pass", "fail", "inconclusive"})
MOST_BYTES, MOST_RUNS = 2**26, 10**6
"""Of one segment: more is refused before it fills the memory."""


class Run(NamedTuple):
    """One run. Of a key that was given two contents, `contested` is set, the arrival is that of the second, and `first`
    are the contents (arrival, outcome) that had arrived before it.
    """

    check: str
    location: str
    start: int
    arrival: int
    outcome: str
    contested: bool = False
    first: tuple[tuple[int, str], ...] = ()

    def __str__(self) -> str:
        return f"the run of {self.check} at {self.location}, {shown(self.start, UTC)}"

    def outcome_by(self, arrived: int | None) -> str | None:
        """What it said when so much had arrived; None where it had not."""
        if arrived is None or self.arrival <= arrived:
            return self.outcome
        return next((outcome for arrival, outcome in self.first if arrival <= arrived), None)


class Stated(NamedTuple):
    """An imported span."""

    check: str
    location: str
    start: int
    end: int
    outcome: str


class Segment(NamedTuple):
    """The sealed runs of a service and hour; no `body` where they have expired, and the head is the evidence. `arrived`
    is the last run that had arrived when it was sealed.
    """

    service: str
    hour: int
    n: int
    seq: int
    runs: int
    arrived: int
    leaf: bytes
    head: bytes
    body: bytes | None
    proof: Json | None

    def __str__(self) -> str:
        return f"segment {self.n} of {self.service}, {shown(self.hour, UTC)}"


def known_outcome(outcome: str) -> str:
    """An outcome that there is; ValueError."""
    if outcome not in OUTCOMES:
        raise ValueError(f"there is no outcome {outcome!r}")
    return outcome


WORDS = (
    b"own_resolverown_networkstalledlateinconclusiveprotocolscripthttp_statusassertionimportedagent.status.body"
    b'"dns","tcp","icmp","POST","https://","http://",null,null,[],null,1,["GET",200,null,[],null,0,["resolve","connect",'
    b'"tls","processing","transfer"]]]],["fail",2,"timeout",null,null,0,"own",0,1,[]],[["pass"],["fail",["pass"]]],["'
    b'[["check-1","location-1",60,120],[["pass",1,null,null,null,0,"own",0,1,[["'
)
"""What texts were deflated against, but for those of the first version."""


def inflated(data: bytes, dictionary: bytes = WORDS) -> bytes:
    """Raw DEFLATE, whole; ValueError."""
    stream = zlib.decompressobj(-15, dictionary) if dictionary else zlib.decompressobj(-15)
    found = stream.decompress(data, MOST_BYTES)
    if not stream.eof or stream.unused_data or stream.unconsumed_tail:
        raise ValueError("not one whole DEFLATE stream of a size that is allowed")
    return found


def signed_of(zigzag: int) -> int:
    """0, 1, 2, 3 are 0, -1, 1, -2."""
    return -(zigzag + 1) // 2 if zigzag & 1 else zigzag // 2


def weight(digit: int) -> int:
    """0, 1, 2, 3, 4, 6, 8, 12, 16, 24 and so on."""
    return digit if digit < 3 else 2 ** (digit // 2) if digit % 2 == 0 else 3 * 2 ** ((digit - 3) // 2)  # noqa: PLR2004


class Histogram(NamedTuple):
    """How often numbers lie in classes of distances from a middle; `own` where columns have one of their own."""

    base: int
    own: bool
    s: int
    first: int
    weights: Sequence[int]

    def taken(self, number: int, count: int, middle: int) -> Iterator[int]:
        """So many numbers out of one; ValueError where something is left."""
        total = sum(self.weights)
        for _number in range(count):
            number, rest = divmod(number, total)
            place = 0
            while rest >= self.weights[place]:
                rest -= self.weights[place]
                place += 1
            number = number * self.weights[place] + rest
            name = self.first + place
            far = name if name >= 0 else -name - 1
            more = max(0, (far >> self.s) - 1)
            high = far if more == 0 else (1 << self.s) + (far & ((1 << self.s) - 1))
            number, low = number >> more, number & ((1 << more) - 1)
            distance = high << more | low
            yield middle + (distance if name >= 0 else -distance - 1)
        if number:
            raise ValueError("numbers are left in a block of a histogram")


class Numbers:
    """Bytes that are read from the front: numbers, columns of them, and histograms, by which columns may be written."""

    def __init__(self, data: bytes, histograms: Sequence[Histogram] = ()) -> None:
        self.data, self.at, self.histograms = data, 0, histograms

    def take(self, count: int) -> bytes:
        """So many bytes."""
        found = self.data[self.at : self.at + count]
        if len(found) != count or count < 0:
            raise ValueError(f"{count} bytes should follow, {len(found)} do")
        self.at += count
        return found

    def varint(self) -> int:
        """An unsigned number, seven bits a byte, the lowest first."""
        found = shift = 0
        while True:
            byte = self.take(1)[0]
            found, shift = found | (byte & 127) << shift, shift + 7
            if byte < 128:  # noqa: PLR2004 - the high bit says that more follow
                return found

    def signed(self) -> int:
        """A signed number."""
        return signed_of(self.varint())

    def histogram(self) -> Histogram:
        """A histogram; ValueError where it has a class that numbers of 64 bits are not of, or counts nothing."""
        base, form, first, classes = self.signed(), self.varint(), self.signed(), self.varint()
        digits = self.take((classes + 1) // 2).hex()[:classes]
        found = Histogram(base, form % 2 == 1, form // 2, first, [weight(int(digit, 16)) for digit in digits])
        if form > 7 or not any(found.weights) or not -600 < first <= first + classes < 600:  # noqa: PLR2004 - 64 octaves
            raise ValueError("no histogram")
        return found

    def column(self, count: int) -> list[int]:
        """A column of so many numbers: 0 all the same, 1 Rice-coded, 2 pairs of a number and how often it stands, above
        it by the histogram with that number less 3.
        """
        kind = self.take(1)[0] if count else 0
        if kind > 2:  # noqa: PLR2004 - as above
            if kind - 3 >= len(self.histograms):
                raise ValueError(f"a column of the unknown kind {kind}")
            return self._counted(count, self.histograms[kind - 3])
        found: list[int] = []
        while len(found) < count:
            number = self.signed()
            if kind == 1:
                return self._rice(count, number)
            times = self.varint() if kind else count
            if not 1 <= times <= count - len(found):
                raise ValueError(f"a column of {count} numbers holds more")
            found += [number] * times
        return found

    def _counted(self, count: int, histogram: Histogram) -> list[int]:
        middle = histogram.base + (self.signed() if histogram.own else 0)
        found: list[int] = []
        while len(found) < count:
            number = int.from_bytes(self.take(self.varint()))
            found += histogram.taken(number, min(128, count - len(found)), middle)
        return found

    def _rice(self, count: int, middle: int) -> list[int]:
        """Differences from a middle: ones, a zero and the low bits; 16 ones, then 64 bits for a large one."""
        low, start = self.take(1)[0], self.at
        bits, here = bin(int.from_bytes(b"\1" + self.data[start:]))[3:], 0
        found: list[int] = []
        for _number in range(count):
            if bits.startswith("1" * 16, here):
                value, here = int(bits[here + 16 : here + 80], 2), here + 80
            else:
                zero = bits.index("0", here)
                value, here = zero - here << low | int(bits[zero + 1 : zero + 1 + low] or "0", 2), zero + 1 + low
            found.append(middle + signed_of(value))
        self.take((here + 7) // 8)
        return found


def runs_of_body(body: bytes, hour: int, head: bytes = b"") -> list[Run]:
    """The runs of a body. Of their columns those are read that move a figure; steps and phases lie behind them."""
    rest = Numbers(body)
    version = rest.take(1)[0]
    if version not in {1, 2}:
        raise ValueError("a body of an unknown version")
    sources, shapes = read_json(inflated(rest.take(rest.varint()), WORDS if version == 2 else b""))  # noqa: PLR2004
    front, histograms = Front(version, hour, shapes), []
    if version == 2:  # noqa: PLR2004 - as above
        if isinstance(sources, int):
            named = [[check, location] for check, location, _said in texts_of(head)[0]]
            if len(named) != sources:
                raise ValueError(f"{sources} sources, and its head has {len(named)}")
            sources = named
        histograms = [rest.histogram() for _number in range(rest.varint())]
        front = front._replace(lowest=rest.varint(), step=rest.varint())
        numbers = zip(rest.column(len(sources)), rest.column(len(sources)), strict=True)
        sources = [[*source, *of] for source, of in zip(sources, numbers, strict=True)]
    found: list[Run] = []
    for check, location, count, size in sources:
        if not 0 < count <= MOST_RUNS:
            raise ValueError(f"{check} at {location}: {count} runs")
        found += _runs_of_source(Numbers(rest.take(size), histograms), count, front, (check, location))
    if rest.at != len(body):
        raise ValueError(f"{len(body) - rest.at} bytes behind the last source")
    return found


class Front(NamedTuple):
    """What all sources of a body share."""

    version: int
    hour: int
    shapes: Sequence[list[Any]]
    lowest: int = 0
    step: int = 1


def _runs_of_source(data: Numbers, count: int, front: Front, source: tuple[str, str]) -> Iterator[Run]:
    """The runs of a source from its columns."""
    first, shapes = front.version == 1, front.shapes
    shaped = [shapes[number] for number in (data.column(count) if first or len(shapes) > 1 else [0] * count)]
    slotted = sum(shape[8] for shape in shaped)
    if first or not slotted:
        slots = accumulate(data.column(slotted))
    else:
        slots = accumulate([data.signed(), *data.column(slotted - 1)])
    stamps, durations = data.column(count), data.column(count)
    if first:
        arrivals = accumulate(data.column(count))
    else:
        begin, k, places = front.lowest + data.signed(), data.signed(), [0] * count
        ends = [stamp + duration for stamp, duration in zip(stamps, durations, strict=True)]
        for place, number in enumerate(sorted(range(count), key=lambda number: (ends[number], number))):
            places[number] = place
        moved = [k * (p - q) // count for p, q in zip(places[1:], places, strict=False)]
        arrivals = accumulate([begin, *(a + b for a, b in zip(moved, data.column(count - 1), strict=True))])
    stamp = front.hour
    for shape, difference, arrival in zip(shaped, stamps, arrivals, strict=True):
        stamp = (front.hour + next(slots) * front.step if shape[8] else stamp) + difference
        yield Run(*source, stamp, arrival, known_outcome(shape[0]), bool(shape[7]))


def sealed_runs(segments: Iterable[Segment]) -> Iterator[Run]:
    """The runs of an hour's segments that have not expired, the earlier segment first; CannotAuditError."""
    for segment in segments:
        if segment.body is not None:
            try:
                found = runs_of_body(segment.body, segment.hour, segment.head)
            except MALFORMED as error:
                raise CannotAuditError(f"{segment}: its body cannot be read: {error!r}") from None
            if len(found) != segment.runs:
                raise CannotAuditError(f"{segment}: it says {segment.runs} runs, and holds {len(found)}")
            yield from found


# -- A4. An export: its entries, its evidence, and its end -------------------------------------------------------------

FIRST_PREV = "sha256:" + "0" * 64


class Entry(NamedTuple):
    """A fact of the ledger with its place. `counts` is false for what was imported into a ledger that already held
    entries of its own: it is dispute evidence and moves no figure. One that is hidden has the type `leaf` and no hash.
    """

    seq: int
    origin: str
    recorded_at: int
    fact: Json
    prev: str
    hash: str
    leaf: bytes
    counts: bool

    @property
    def told_at(self) -> int:
        """When it was recorded, for the order of decisions: an imported fact counts by its own time."""
        return instant(self.fact["at"]) if self.origin == "imported" and "at" in self.fact else self.recorded_at


class Part(NamedTuple):
    """What an export for one partner says of itself. The last three tell what the hidden entries mean for it: the
    first of the ledger's own, who of those that agreed to a ruling is a partner, and windows of which others were told.
    """

    partner: str
    services: list[str]
    entries: int
    root: bytes
    first_own: int | None
    partners: list[str]
    noticed: list[str]


def entry_bytes(fact: Json, place: Json) -> bytes:
    """The bytes that an entry's hash is of. The time of an import stands outside: the same file into two empty ledgers
    gives the same hashes.
    """
    hashed = {name: place[name] for name in ("seq", "epoch", "origin", "prev")} | {"fact": fact}
    if place["origin"] != "imported":
        hashed["recorded_at_us"] = instant(place["recorded_at"])
    return canonical(hashed)


@dataclass(slots=True)
class Ledger:
    """An export as it is read: its entries in order, its evidence by service, and in `broken` what does not hold."""

    entries: list[Entry] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    spans: dict[str, list[Stated]] = field(default_factory=dict)
    segments: dict[str, dict[int, list[Segment]]] = field(default_factory=dict)
    """By service and hour, in their order. A segment that is not what was sealed is none."""
    part: Part | None = None
    end: Json | None = None
    _sealed: dict[int, list[Segment]] = field(default_factory=dict)
    _marks: set[str] = field(default_factory=set)
    _head: str | None = FIRST_PREV
    _first_own: int | None = None
    _last_at: int = 0
    _rows: int = 0
    _more: int = 0
    _arrival: int = 0

    def facts(self, kind: str, before: int) -> list[Entry]:
        """What counts, of one type, recorded before an entry's number."""
        return [e for e in self.entries[: before - 1] if e.counts and e.fact["type"] == kind]

    def reversals(self, before: int) -> dict[str, Json]:
        """What was taken back, by the id of what it was."""
        return {entry.fact["of"]: entry.fact for entry in self.facts("reversal", before)}

    def head(self, count: int) -> str | None:
        """The hash of the last of so many entries; if that is hidden, as the next one names it; None if both are."""
        if count == 0:
            return FIRST_PREV
        return self.entries[count - 1].hash or next((e.prev for e in self.entries[count : count + 1] if e.prev), None)

    # The lines of an export, by their type.

    def _header(self, line: Json) -> None:
        if line.get("format") != "jaga-ledger/1":
            raise CannotAuditError(f"this is {line.get('format')}, not jaga-ledger/1")

    def _partial(self, line: Json) -> None:
        if self.entries or self.part:
            raise ValueError("it stands before all entries, and once")
        root, hidden = bytes.fromhex(line["root"].removeprefix("sha256:")), line["hidden"]
        told = (hidden["first_own"], hidden["partners"], hidden["noticed"])
        self.part = Part(line["partner"], line["services"], line["entries"], root, *told)
        self._first_own = self.part.first_own

    def entry(self, line: Json) -> None:
        """Hold the next entry against what it says of itself, and against the one before or the whole."""
        place, proof = line.pop("entry"), line.pop("proof", ())
        data, origin = entry_bytes(line, place), place["origin"]
        at, seq, leaf = instant(place["recorded_at"]), len(self.entries) + 1, leaf_hash(data)
        if place["seq"] != seq:
            self.broken.append(f"entry {place['seq']} stands where entry {seq} should")
        if self._head not in {None, place["prev"]}:
            self.broken.append(f"entry {seq} follows {place['prev']}, but before it stands {self._head}")
        if sha256(data) != place["hash"]:
            self.broken.append(f"entry {seq} hashes to {sha256(data)}, but says {place['hash']}")
        if at < self._last_at and origin != "imported":
            self.broken.append(f"entry {seq} was recorded before the one in front of it")
        if self.part and not included(leaf, seq - 1, self.part.entries, proof, self.part.root):
            self.broken.append(f"entry {seq} is not proved to be one of the {self.part.entries} of the whole ledger")
        if origin != "imported" and seq < (self._first_own or seq + 1):
            if self.part:
                self.broken.append(f"entry {seq} is the ledger's own, before what is called the first of its own")
            self._first_own = seq
        counts = origin != "imported" or self._first_own is None or seq < self._first_own
        self.entries.append(Entry(seq, origin, at, line, place["prev"], place["hash"], leaf, counts))
        self._head, self._last_at = place["hash"], max(at, self._last_at)

    def _leaf(self, line: Json) -> None:
        """An entry that is hidden."""
        seq = len(self.entries) + 1
        if self.part is None or line["seq"] != seq:
            self.broken.append(f"the leaf of entry {line['seq']} stands where entry {seq} should")
        self.entries.append(Entry(seq, "", 0, {"type": "leaf"}, "", "", bytes.fromhex(line["leaf"]), counts=False))
        self._head = None

    def _segment(self, line: Json) -> None:
        """Hold a segment against its digest, and keep it under the entry that is to have sealed it."""
        head = base64.b64decode(line["head"], validate=True)
        body = base64.b64decode(line["data"], validate=True) if "data" in line else None
        named = {name: line[name] for name in ("service", "n", "runs")} | {"hour_us": instant(line["hour"])}
        leaf = canonical(named | {"head": sha256(head), "body": line["body"] if body is None else sha256(body)})
        place = (line["service"], named["hour_us"], line["n"], line["seq"], line["runs"], line["arrivals"][2])
        found = Segment(*place, leaf, head, body, line.get("proof"))
        self._arrival = max(self._arrival, *line["arrivals"])
        if sha256(leaf) != line["digest"]:
            self.broken.append(f"{found} hashes to {sha256(leaf)}, but says {line['digest']}")
        self._sealed.setdefault(found.seq, []).append(found)

    def _run(self, line: Json) -> None:
        """A run that is stored as a row, held against its stored form."""
        stored = line.get("stored", {})
        first = tuple((told[1], read_json(told[4])["outcome"]) for told in stored.get("contents", ()) if told[1])
        place = (line["check"], line["location"], instant(line["at"]), stored.get("arrival", 0))
        found = Run(*place, known_outcome(line["outcome"]), "contents" in stored, first)
        if stored:
            (kept,) = runs_of_body(base64.b64decode(stored["data"], validate=True), 0)
            if kept._replace(contested=found.contested, first=first) != found:
                self.broken.append(f"{found} is not the run that its stored form holds")
        self._rows, self._arrival = self._rows + 1, max(self._arrival, found.arrival)
        if line.get("counts", True):
            self.runs.setdefault(line["service"], []).append(found)

    def _spans(self, line: Json) -> None:
        """A stated span."""
        span = instant(line["from"]), instant(line["to"])
        found = Stated(line["check"], line["location"], *span, known_outcome(line["outcome"]))
        self._rows += 1
        if line.get("counts", True) and found.end > found.start:
            self.spans.setdefault(line["service"], []).append(found)

    def _mark(self, line: Json) -> None:
        """A document of the store: it moves no figure, but each stands there once and can be read."""
        read_json(line["value"])
        if line["name"] in self._marks:
            self.broken.append(f"the mark {line['name']} stands there twice")
        self._marks.add(line["name"])

    def _moved(self, _line: Json) -> None:
        """What a move alone reads: it moves no figure, and is counted for the end."""
        self._more += 1

    def _end(self, line: Json) -> None:
        self.end = line

    # After the last line.

    def finish(self) -> None:
        """Hold the evidence against what sealed it, the rows against the sealed, and the end against all before it."""
        counts = {"segments": sum(map(len, self._sealed.values())), "rows": self._rows, "more": self._more}
        for entry in self.entries:
            if entry.fact["type"] == "sealed":
                self.broken += self._unseal(entry.seq, entry.fact)
        for found in (segment for each in self._sealed.values() for segment in each):
            self.broken.append(f"{found}: entry {found.seq} sealed nothing")
        for each in (each for hours in self.segments.values() for each in hours.values()):
            each.sort(key=lambda segment: segment.n)
            if [segment.n for segment in each] != list(range(len(each))):
                self.broken.append(f"{each[-1]} is not all of its hour: an earlier one is missing, or there twice")
        for service, runs in self.runs.items():
            self.broken += _unlike(self.segments.get(service, {}), runs)
        self.broken += self._unsound(counts)

    def _unsound(self, counts: Json) -> Iterator[str]:
        """What the end says of the lines before it; and whether the leaves of a part are those of the root it names."""
        found: Json = {"entries": len(self.entries)} | counts
        if self.part is None:
            found["head"] = self.head(len(self.entries))
        elif (len(self.entries), roots_of(self.entries)[-1]) != (self.part.entries, self.part.root):
            yield f"the leaves of the export are not the {self.part.entries} of the root that it names"
        if self.end is None:
            yield "the export was cut short: its last line, the end, is not there"
            return
        for name, value in found.items():
            if self.end.get(name, 0) != value:
                yield f"the end of the export says {name} {self.end[name]}, before it stand {value}"
        if self.part is None and self._arrival > self.end["arrival"]:
            yield f"the last arrival is {self.end['arrival']} by the end of the export, {self._arrival} by its evidence"

    def _unseal(self, seq: int, fact: Json) -> Iterator[str]:
        """Hold a sealing entry against its segments; of the whole ledger they must be all, of a part each is proved."""
        found = sorted(self._sealed.pop(seq, ()), key=lambda segment: (segment.service, segment.n))
        root, tree = bytes.fromhex(fact["root"].removeprefix("sha256:")), Tree()
        for segment in found:
            tree.append(leaf_hash(segment.leaf))
        counts = (len(found), sum(segment.runs for segment in found))
        if self.part is None and counts != (fact["segments"], fact["runs"]):
            wanted = f"{fact['segments']} segments with {fact['runs']} runs"
            yield f"entry {seq} sealed {wanted} of {fact['hour']}; the export has {counts[0]} with {counts[1]}"
        whole = tree.root() == root if self.part is None else all(_proved(each, fact, root) for each in found)
        if not whole or any(segment.hour != instant(fact["hour"]) for segment in found):
            yield f"the segments of {fact['hour']} are not those that entry {seq} sealed"
            return
        for segment in found:
            self.segments.setdefault(segment.service, {}).setdefault(segment.hour, []).append(segment)


def _proved(segment: Segment, fact: Json, root: bytes) -> bool:
    proof = segment.proof or {"index": 0, "size": 0, "path": []}
    leaf, size = leaf_hash(segment.leaf), proof["size"]
    return size == fact["segments"] and included(leaf, proof["index"], size, proof["path"], root)


def _unlike(hours: Mapping[int, Sequence[Segment]], runs: Iterable[Run]) -> Iterator[str]:
    """Rows that are not what was sealed of them, or that had arrived and were not sealed."""
    rows = sorted((run for run in runs if run.start - run.start % HOUR in hours), key=lambda run: run.start)
    for hour, each in groupby(rows, lambda run: run.start - run.start % HOUR):
        segments = hours[hour]
        expired = any(segment.body is None for segment in segments)
        sealed: dict[tuple[str, str, int], list[Run]] = {}
        for run in sealed_runs(segments):
            sealed.setdefault(run[:3], []).append(run)
        arrived = max(segment.arrived for segment in segments)
        for row in each:
            known = sealed.get(row[:3], [])
            if row.arrival <= arrived and not expired and not any(run.arrival == row.arrival for run in known):
                yield f"{row}, had arrived when its hour was sealed, and was not sealed with it"
            for run in known:
                if run.outcome != row.outcome_by(run.arrival):
                    yield f"{row}, is {row.outcome_by(run.arrival)} as a row and {run.outcome} as it was sealed"


LINES = {kind: f"_{kind}" for kind in ("header", "partial", "leaf", "segment", "run", "spans", "mark", "end")}
LINES |= {"message": "_moved", "file": "_moved"}
"""What takes a line of an export; all others are entries."""


def lines(path: Path) -> Iterator[tuple[int, Json]]:
    """The lines of an export with their numbers; CannotAuditError."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                found = read_json(line)
            except ValueError as error:
                cut = "" if line.endswith(b"\n") else " (the export was cut short in this line)"
                raise CannotAuditError(f"{path}, line {number}: {error}{cut}") from None
            if not isinstance(found, dict) or "type" not in found:
                raise CannotAuditError(f"{path}, line {number}: not an object with a type")
            yield number, found


def read_ledger(path: Path) -> Ledger:
    """An export, of the whole ledger or for one partner, held against itself; CannotAuditError."""
    ledger = Ledger()
    for number, line in lines(path):
        kind, here = line["type"], f"{path}, line {number}"
        if (number == 1) != (kind == "header"):
            raise CannotAuditError(f"{here}: an export has its header as its first line, and there only")
        if ledger.end is not None:
            ledger.broken.append(f"line {number} stands behind the end of the export")
        if kind not in LINES and "entry" not in line:
            raise CannotAuditError(f"{here}: a {kind} without its entry: not an export of a ledger")
        try:
            getattr(ledger, LINES.get(kind, "entry"))(line)
        except MALFORMED as error:
            raise CannotAuditError(f"{here}: not a {kind} as this audit knows it: {error!r}") from None
    ledger.finish()
    return ledger


# == Part B: the agreement, clause by clause ===========================================================================
# -- B1. Evidence: what each source said when [2.1, 2.2] ---------------------------------------------------------------


class CheckList(NamedTuple):
    """The SLA checks of a service from an instant on, with the network each stands in."""

    at: int
    stale_after: int
    networks: Mapping[str, str]
    fact: Json


class Item(NamedTuple):
    """A run (it lasts until it is stale) or an imported span. `outcome` None says nothing; `gaps` are annulled."""

    start: int
    end: int
    outcome: str | None
    gaps: tuple[Span, ...] = ()


@dataclass(slots=True)
class Told:
    """What was told for one source and start: the runs' outcomes, the spans' (outcome, end), and what is left of runs
    that have expired.
    """

    runs: set[str] = field(default_factory=set)
    spans: set[tuple[str, int]] = field(default_factory=set)
    piece: Item | None = None


class Evidence(NamedTuple):
    """What each source of a service said, as stretches in order; between them it said nothing. `stated`: by spans."""

    said: dict[Source, list[tuple[int, int, str]]]
    stated: bool

    def at(self, source: Source, t: int) -> str | None:
        """What the source says at an instant."""
        said = self.said[source]
        place = bisect_right(said, t, key=lambda stretch: stretch[0]) - 1
        return said[place][2] if place >= 0 and t < said[place][1] else None


def check_lists(ledger: Ledger, service: str, before: int) -> list[CheckList]:
    """The lists of a service as they came into force."""
    found = []
    for fact in (entry.fact for entry in ledger.facts("checks", before) if entry.fact["service"] == service):
        networks = {check["id"]: check.get("network", "public") for check in fact["checks"] if check.get("sla", True)}
        stale_after = fact.get("stale_after_s", 3 * fact["interval_s"] + fact["timeout_s"])
        found.append(CheckList(instant(fact["at"]), stale_after * SECOND, networks, fact))
    return sorted(found, key=lambda list_: list_.at)


def in_force(lists: Sequence[CheckList], t: int) -> CheckList | None:
    """The list of an instant."""
    place = bisect_right(lists, t, key=lambda list_: list_.at)
    return lists[place - 1] if place else None


def read_evidence(ledger: Ledger, service: str, arrived: int | None, span: Span) -> dict[Source, dict[int, Told]]:
    """The evidence of a service that counts and may reach into a span; of the runs only those that had arrived."""
    told: dict[Source, dict[int, Told]] = {}

    def here(check: str, location: str, start: int) -> Told:
        return told.setdefault((check, location), {}).setdefault(start, Told())

    stated = ledger.spans.get(service, ())
    for each in stated:
        here(each.check, each.location, each.start).spans.add((each.outcome, each.end))
    # Whatever started after a span that reaches in may have ended it.
    since = min([span[0], *(each.start for each in stated if overlap((each.start, each.end), span))])
    sealed = ledger.segments.get(service, {})
    hours = {hour: segments for hour, segments in sealed.items() if hour + HOUR > since and hour < span[1]}
    expired = {hour: segments[-1] for hour, segments in hours.items() if any(each.body is None for each in segments)}
    for segment in expired.values():
        for check, location, piece in pieces_of(segment):
            here(check, location, piece.start).piece = piece
    # A row goes before what is sealed of it, the later segment before the earlier one.
    runs = [run for hour, segments in hours.items() if hour not in expired for run in sealed_runs(segments)]
    governing = {}
    for run in [*runs, *ledger.runs.get(service, ())]:
        gone, outcome = expired.get(run.start - run.start % HOUR), run.outcome_by(arrived)
        if outcome is not None and (gone is None or run.arrival > gone.arrived):
            governing[run[:3]] = outcome
    for key, outcome in governing.items():
        here(*key).runs.add(outcome)
    return told


def texts_of(head: bytes) -> tuple[list[Any], Numbers | None]:
    """The texts of a head, and its numbers; in the first version they stand in the texts."""
    if not head.startswith(b"\7"):
        return read_json(inflated(head, b"")), None
    rest = Numbers(head[1:])
    return read_json(inflated(rest.take(rest.varint()))), rest


def pieces_of(segment: Segment) -> list[tuple[str, str, Item]]:
    """What the runs of an hour said, by the decisions known when it was sealed: each holds for its length, but
    `inconclusive` only ends what was before. CannotAuditError.
    """
    found = []
    try:
        texts, numbers = texts_of(segment.head)
        for check, location, told in texts:
            end = segment.hour
            for outcome, *rest in told:
                if numbers is None:
                    at, length = segment.hour + rest[0], rest[1]
                else:
                    at = end + numbers.signed() * SECOND + numbers.signed()
                    length = numbers.signed() * SECOND + numbers.signed()
                end, none = at + length, known_outcome(outcome) == "inconclusive"
                found.append((check, location, Item(at, at if none else end, None if none else outcome)))
        if numbers is not None and numbers.at != len(numbers.data):
            raise ValueError("bytes behind its last piece")
    except MALFORMED as error:
        raise CannotAuditError(f"{segment}: its head cannot be read: {error!r}") from None
    return found


def gather(told: Mapping[Source, Mapping[int, Told]], lists: Sequence[CheckList], annulled: Sequence[Json]) -> Evidence:
    """Put what was told in order: at one start a run goes before a span, and two that differ are inconclusive [2.2]."""
    said, stated = {}, False
    for source, starts in told.items():
        alike = [f for f in annulled if f.get("check") in {None, source[0]} and f.get("location") in {None, source[1]}]
        voids, items = [span_of(fact) for fact in alike], []
        for start, here in sorted(starts.items()):
            if here.runs:
                list_ = in_force(lists, start)
                if list_ is None:
                    continue  # nothing says how long such a run would hold
                void = any(first <= start < last for first, last in voids)
                none = void or len(here.runs) > 1 or "inconclusive" in here.runs
                items.append(Item(start, start + list_.stale_after, None if none else min(here.runs)))
            elif here.piece is not None:
                items.append(here.piece)
            elif len(here.spans) > 1:
                items.append(Item(start, max(end for _outcome, end in here.spans), None))
            else:
                ((outcome, end),) = here.spans
                gaps = tuple((max(start, a), min(end, b)) for a, b in voids if overlap((a, b), (start, end)))
                items.append(Item(start, end, None if outcome == "inconclusive" else outcome, gaps))
                stated = True
        said[source] = stretches(items)
    return Evidence(said, stated)


def stretches(items: Sequence[Item]) -> list[tuple[int, int, str]]:
    """From items in order to what they say: the one with the latest start governs, and when it ends nothing earlier
    resumes [2.2].
    """
    found: list[tuple[int, int, str]] = []
    for item, following in zip_longest(items, items[1:]):
        end = item.end if following is None else min(item.end, following.start)
        cuts = sorted({item.start, end, *(edge for gap in item.gaps for edge in gap if item.start < edge < end)})
        for start, stop in pairwise(cuts):
            if item.outcome is None or any(first <= start < last for first, last in item.gaps):
                continue
            joined = found and found[-1][1:] == (start, item.outcome)
            found.append((found.pop()[0] if joined else start, stop, item.outcome))
    return found


# -- B2. The verdict at an instant [2.2, 2.3] --------------------------------------------------------------------------

UP, DOWN, UNKNOWN = "up", "down", "unknown"


def check_says(evidence: Evidence, check: str, t: int) -> str:
    """The majority of the locations that say something; a tie is not a failure."""
    said = [evidence.at(source, t) for source in evidence.said if source[0] == check]
    fails, passes = said.count("fail"), said.count("pass")
    if fails + passes == 0:
        return UNKNOWN
    return "fail" if 2 * fails > fails + passes else "pass"


def verdict_of(says: Mapping[str, str], networks: Mapping[str, str]) -> str:
    """DOWN if either rule says so, UP if both say UP, else UNKNOWN."""
    n, fails, unknown = len(says), list(says.values()).count("fail"), list(says.values()).count(UNKNOWN)
    if n == 0:
        return UNKNOWN
    half = DOWN if 2 * fails > n else UP if 2 * (fails + unknown) <= n else UNKNOWN
    reach = UP
    if "internal" in networks.values():
        public = [says[check] for check, network in networks.items() if network == "public"]
        p, fails, unknown = len(public), public.count("fail"), public.count(UNKNOWN)
        if p and fails == p:
            reach = DOWN
        elif p and unknown and fails + unknown == p:
            reach = UNKNOWN
    return next((verdict for verdict in (DOWN, UNKNOWN) if verdict in {half, reach}), UP)


# -- B3. Unknown time: what was ruled of it [2.4] ----------------------------------------------------------------------


class Asked(NamedTuple):
    """Whose month it is, the entry before which everything relevant stands, and how long ahead maintenance is told."""

    partner: str
    service: str
    month: str
    period: Span
    before: int
    notice: int


class Ruling(NamedTuple):
    """An adjudication that stands: what unknown time was, and whether this partner agreed that it stays unknown."""

    told_at: int
    id: str
    span: Span
    verdict: str
    agreed: bool


def rulings(ledger: Ledger, asked: Asked) -> list[Ruling]:
    """Rulings in force, the last recorded last: it holds where several overlap [2.4]."""
    taken_back, found = ledger.reversals(asked.before), []
    partners = {entry.fact["partner"] for entry in ledger.entries if entry.fact["type"] in {"subscription", "close"}}
    partners |= set(ledger.part.partners if ledger.part else ())
    for entry in ledger.facts("adjudication", asked.before):
        fact, by = entry.fact, entry.fact.get("agreed_by")
        if fact["service"] == asked.service and fact["id"] not in taken_back:
            # The id of a partner binds that partner; any other text (a letter, a meeting) speaks for all.
            agreed = by is not None and (by == asked.partner or by not in partners)
            found.append(Ruling(entry.told_at, fact["id"], span_of(fact), fact["verdict"], agreed))
    return sorted(found, key=lambda ruling: (ruling.told_at, ruling.id))


# -- B4. Exclusions, and windows by their notice [2.5] -----------------------------------------------------------------


class Decision(NamedTuple):
    """A window or exclusion, judged for one partner. `why` are texts that the reason of its rejection must hold."""

    told_at: int
    id: str
    reason: str
    span: Span
    why: tuple[str, ...] = ()


Judgement = tuple[tuple[str, ...], int]
"""Why it does not qualify (nothing: it does), and where it ends."""


def concerns(fact: Json, asked: Asked) -> bool:
    """Whether a window or exclusion is for this partner and service."""
    return asked.service in fact["services"] and (fact["partners"] is None or asked.partner in fact["partners"])


def judged(ledger: Ledger, asked: Asked) -> list[Decision]:
    """Every window and exclusion that concerns the month. Where several overlap, the earliest recorded is named, then
    the lower id: they come in that order [2.5.3].
    """
    found = []
    for kind, judge in (("maintenance", window), ("exclusion", exclusion)):
        for entry in ledger.facts(kind, asked.before):
            fact, (start, stop) = entry.fact, span_of(entry.fact)
            if concerns(fact, asked):
                why, end = (("ends before it starts",), stop) if stop <= start else judge(ledger, entry, asked)
                # What ends before it starts is seen where it starts; what qualifies, where it takes something off.
                seen = (start, max(stop, start + 1) if why else end)
                if overlap(seen, asked.period):
                    reason = fact.get("reason", "maintenance")
                    found.append(Decision(entry.told_at, fact["id"], reason, (start, end), why))
    return sorted(found, key=lambda decision: (decision.told_at, decision.id))


def exclusion(ledger: Ledger, entry: Entry, asked: Asked) -> Judgement:
    """An exclusion stands unless it was taken back; maintenance is excluded by its window alone [2.5.2, 2.5.4]."""
    taken_back, end = ledger.reversals(asked.before).get(entry.fact["id"]), instant(entry.fact["end"])
    if taken_back is not None:
        return ("reversed", taken_back["at"][:19]), end
    return (("maintenance",) if entry.fact["reason"] == "maintenance" else ()), end


def window(ledger: Ledger, entry: Entry, asked: Asked) -> Judgement:
    """A maintenance window, judged by the partner's notice [2.5.2]. An extension is a window like any other."""
    start, end = span_of(entry.fact)
    for kind in ("maintenance_cancelled", "maintenance_finished"):
        for other in ledger.facts(kind, asked.before):
            if other.fact["maintenance"] == entry.fact["id"]:
                at = instant(other.fact["at"])
                if kind == "maintenance_cancelled" and at < start:
                    return ("cancelled", other.fact["at"][:19]), end
                end = min(end, max(start, at))
    told = notice(ledger, entry, asked)
    if told is None:
        return ("no notice",), end
    if told > start - asked.notice:
        when = f"notice {clock(abs(start - told))} {'before' if told <= start else 'after'} start"
        return (when, f"{clock(asked.notice)} needed"), end
    return (), end


def notice(ledger: Ledger, entry: Entry, asked: Asked) -> int | None:
    """When the partner was told of a window: its earliest notice. A message of the ledger's own counts from its
    acceptance, one given otherwise from its stated instant only with evidence. Only an imported window without any
    notice takes its own instant.
    """
    facts = [each for each in ledger.facts("notice", asked.before) if each.fact["maintenance"] == entry.fact["id"]]
    others = ledger.part is not None and entry.fact["id"] in ledger.part.noticed
    if not facts and not others and entry.origin == "imported":
        return instant(entry.fact["at"])
    times = []
    for each in facts:
        if each.fact["partner"] == asked.partner:
            stated, plain = instant(each.fact["at"]), each.origin == "imported" or each.fact.get("evidence")
            times.append(stated if plain else max(stated, each.recorded_at))
    return min(times, default=None)


# -- B5. The month: terms and fee, and its time piece by piece [2.6, 7.2] ----------------------------------------------

# What the agreement says where the terms are silent (CONTRACT, part 1).
USUAL_CREDITS = [{"below": f"{below}%", "credit": f"{credit}%"} for below, credit in ((95, 10), (90, 25), (85, 50))]
USUAL_TERMS: Json = {"timezone": "Asia/Jakarta", "guarantee": "95%", "objective": None, "credits": USUAL_CREDITS}
USUAL_TERMS |= {"maintenance_notice": "48h", "claim_within": "30d", "grace": "3d"}
# Currencies that are not divided into hundredths (ISO 4217), and the rupiah, which the contract counts in whole ones
# [2.6]: how many places an amount has.
PLACES = {"IQD": 3, "BHD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3}
PLACES |= {"IDR": 0, "JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "PYG": 0, "UGX": 0, "XAF": 0, "XOF": 0, "XPF": 0}
PLACES |= {"BIF": 0, "DJF": 0, "GNF": 0, "KMF": 0, "RWF": 0, "VUV": 0}


class Agreement(NamedTuple):
    """What a month of a partner and service is judged by."""

    contract: str
    effective_from: int
    terms: Json
    zone: tzinfo
    period: Span
    currency: str
    fee: Decimal
    trusted: list[str]

    def tier(self, availability: Fraction) -> Fraction:
        """The credit that an availability earns; a bound belongs to the better side [2.6]."""
        reached = [rule for rule in self.terms["credits"] if availability < share(rule["below"])]
        return share(min(reached, key=lambda rule: share(rule["below"]))["credit"]) if reached else Fraction(0)

    def credit(self, availability: Fraction) -> Decimal:
        """The tier's share of the fee, half-up to the currency's unit."""
        exact = self.tier(availability) * Fraction(self.fee)
        unit = Decimal(1).scaleb(-PLACES.get(self.currency, 2))
        # A fee has a finite number of digits and a tier is a percentage, so the product has a finite number as well.
        return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(unit, ROUND_HALF_UP)


def zone_of(name: str) -> tzinfo:
    """A time zone by its name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise CannotAuditError(f"time zone {name}: this machine does not know it; install the tz database") from None


def midnight(year: int, month: int, day: int, zone: tzinfo) -> int:
    """The first instant of a day in a zone."""
    return (datetime(year, month, day, tzinfo=zone).astimezone(UTC) - EPOCH) // MICROSECOND


def month_span(month: str, zone: tzinfo) -> Span:
    """A calendar month in a zone."""
    year, number = (int(part) for part in month.split("-"))
    return midnight(year, number, 1, zone), midnight(year + number // 12, number % 12 + 1, 1, zone)


def agreement_of(ledger: Ledger, statement: Json, before: int, close: Entry | None) -> Agreement:
    """The terms and fee in force at the first instant of the month [2.6, 7.2]: from the ledger, where it holds them;
    else those of the close entry, else of the statement itself.
    """
    inputs, trusted = ({} if close is None else close.fact["inputs"]), []
    stated, month = statement["period"]["timezone"], statement["period"]["month"]
    subscription = subscribed(ledger, statement, before, month_span(month, zone_of(stated)))
    contract = inputs.get("contract", statement["contract"]["id"]) if subscription is None else subscription["contract"]
    judging = []
    for entry in ledger.facts("terms", before):
        since, terms = instant(entry.fact["effective_from"]), USUAL_TERMS | entry.fact["terms"]
        if entry.fact["contract"] == contract and since <= month_span(month, zone_of(terms["timezone"]))[0]:
            judging.append((since, terms))
    if judging:
        since, terms = max(judging, key=lambda version: version[0])
    else:
        since = inputs.get("effective_from_us", instant(statement["contract"]["effective_from"]))
        own = {"timezone": stated, "guarantee": statement["guarantee"]["percent"]}
        own["objective"] = statement["objective"]["percent"] if statement.get("objective") else None
        terms = USUAL_TERMS | (inputs.get("terms") or own)
        trusted.append("terms: none in the ledger for this month; " + ("the close's" if inputs else "the statement's"))
    zone = zone_of(terms["timezone"])
    period = month_span(month, zone)
    subscription = subscribed(ledger, statement, before, period)
    if subscription is None:
        trusted.append("fee: no subscription in the ledger for this month; that of the statement")
    fee = inputs.get("fee", statement["credit"]["fee"]) if subscription is None else subscription["fee"]
    return Agreement(contract, since, terms, zone, period, fee["currency"], Decimal(fee["amount"]), trusted)


def subscribed(ledger: Ledger, statement: Json, before: int, period: Span) -> Json | None:
    """The subscription in force at a month's first instant; after a late start the first one in the month."""
    found = []
    for entry in ledger.facts("subscription", before):
        fact = entry.fact
        if (fact["partner"], fact["service"]) == (statement["partner"]["id"], statement["service"]["id"]):
            first = instant(fact["from"]) if fact.get("from") else -(2**62)
            last = instant(fact["until"]) if fact.get("until") else 2**62
            if overlap((first, last), period):
                found.append((first, entry.seq, fact))
    return min(found)[2] if found else None


class Piece(NamedTuple):
    """A stretch of the month in which nothing changes. `counts`: how many checks fail, of how many."""

    span: Span
    counts: tuple[int, int]
    failing: tuple[Source, ...]
    verdict: str
    consented: bool
    excluded: Decision | None


@dataclass(slots=True)
class Month:
    """A month as recomputed, from which a statement's fields follow."""

    agreement: Agreement
    asked: Asked
    elapsed: Span
    lists: list[CheckList]
    evidence: Evidence
    decided: list[Decision]
    pieces: list[Piece]

    def total(self, verdict: str, counts: Callable[[Piece], object]) -> int:
        """How long it was down, or unknown, in the pieces that count."""
        return sum(p.span[1] - p.span[0] for p in self.pieces if p.verdict == verdict and counts(p))

    @property
    def length(self) -> int:
        """T: the whole month, never reduced [2.6]."""
        return self.asked.period[1] - self.asked.period[0]

    @property
    def down(self) -> int:
        """D: down and not excluded."""
        return self.total(DOWN, lambda piece: piece.excluded is None)

    @property
    def availability(self) -> Fraction:
        """(T - D) / T, exactly."""
        return Fraction(self.length - self.down, self.length)

    @property
    def worst_case(self) -> Fraction:
        """Unknown time counted as down, but where the partner agreed in writing; exclusions still taken off [2.4]."""
        dark = self.total(UNKNOWN, lambda piece: not piece.consented and piece.excluded is None)
        return Fraction(self.length - self.down - dark, self.length)

    @property
    def needs_adjudication(self) -> bool:
        """Whether the unknown time decides about the credit."""
        return self.agreement.tier(self.availability) != self.agreement.tier(self.worst_case)


def recompute(ledger: Ledger, statement: Json, before: int, close: Entry | None, now: int | None) -> Month:
    """The month of a statement from the facts in front of an entry."""
    agreement = agreement_of(ledger, statement, before, close)
    partner, service, (start, end) = statement["partner"]["id"], statement["service"]["id"], agreement.period
    ahead = duration(agreement.terms["maintenance_notice"])
    asked = Asked(partner, service, statement["period"]["month"], agreement.period, before, ahead)
    elapsed = (start, end if now is None or close is not None else max(start, min(end, now)))
    lists = check_lists(ledger, service, before)
    arrived = None if close is None else close.fact["inputs"].get("arrival")
    reach = max((list_.stale_after for list_ in lists), default=0)
    told = read_evidence(ledger, service, arrived, (start - reach - HOUR, end))
    annulled = [entry.fact for entry in ledger.facts("annulment", before) if entry.fact["service"] == service]
    taken_back = ledger.reversals(before)
    evidence = gather(told, lists, [fact for fact in annulled if fact["id"] not in taken_back])
    decided = judged(ledger, asked)
    cut = pieces(evidence, lists, decided, rulings(ledger, asked), elapsed)
    return Month(agreement, asked, elapsed, lists, evidence, decided, cut)


def pieces(
    evidence: Evidence, lists: Sequence[CheckList], decided: Sequence[Decision], ruled: Sequence[Ruling], elapsed: Span
) -> list[Piece]:
    """The month cut at every instant at which anything changes, each piece judged by itself."""
    off = [decision for decision in decided if not decision.why]
    cuts = {*elapsed, *(list_.at for list_ in lists)}
    cuts |= {edge for said in evidence.said.values() for stretch in said for edge in stretch[:2]}
    cuts |= {edge for span in [*(d.span for d in off), *(r.span for r in ruled)] for edge in span}
    found = []
    for first, last in pairwise(sorted(edge for edge in cuts if elapsed[0] <= edge <= elapsed[1])):
        list_ = in_force(lists, first)
        networks = {} if list_ is None else list_.networks
        says = {check: check_says(evidence, check, first) for check in networks}
        failing = tuple(sorted(s for s in evidence.said if s[0] in networks and evidence.at(s, first) == "fail"))
        verdict, consented = verdict_of(says, networks), False
        ruling = next((each for each in reversed(ruled) if each.span[0] <= first < each.span[1]), None)
        if verdict == UNKNOWN and ruling is not None:
            verdict, consented = ruling.verdict, ruling.verdict == UNKNOWN and ruling.agreed
        taken = next((decision for decision in off if decision.span[0] <= first < decision.span[1]), None)
        counts = (list(says.values()).count("fail"), len(says))
        found.append(Piece((first, last), counts, failing, verdict, consented, taken))
    return found


# -- B6. Close, restatement, claim [2.7] -------------------------------------------------------------------------------

COMMIT_DELAY = 60 * SECOND
"""How long after the instant it states an entry may be recorded without having been dated back."""


def about(entries: Iterable[Entry], name: tuple[str, str, str]) -> list[Entry]:
    """The closes or claims of one partner, service and month."""
    return [e for e in entries if (e.fact["partner"], e.fact["service"], e.fact["month"]) == name]


def claim_deadline(day_of: int, zone: tzinfo, within: str) -> int:
    """The end of the n-th day after the day of an instant, in the contract's zone [2.7]."""
    days = duration(within) // (86400 * SECOND)
    day = (EPOCH + timedelta(microseconds=day_of)).astimezone(zone).date() + timedelta(days=days + 1)
    return midnight(day.year, day.month, day.day, zone)


def claim_of(ledger: Ledger, statement: Json, month: Month, closes: Sequence[Entry]) -> Json:
    """Until when the credit may be claimed: a restatement that raises it reopens the period from its issue [2.7]. How
    the claim stands is a view of the day; but what it says was filed must be on record, and in time.
    """
    zone, asked = month.agreement.zone, month.asked
    raised = [instant(entry.fact["at"]) for entry in closes if Decimal(entry.fact.get("credit_delta") or 0) > 0]
    deadline = claim_deadline(max([asked.period[1] - 1, *raised]), zone, month.agreement.terms["claim_within"])
    found: Json = {"deadline": shown(deadline, zone)}
    if statement["claim"]["status"] in {"filed", "granted", "applied"}:
        claims = about(ledger.facts("claim", len(ledger.entries) + 1), asked[:3])
        filed = [instant(entry.fact["at"]) for entry in claims]
        found["filed_at"] = OneOf(tuple(shown(at, zone) for at in filed if at < deadline))
    if month.agreement.credit(month.availability) == 0:
        found["status"] = OneOf(("none", "filed", "refused"))
    return found


def closed(ledger: Ledger, statement: Json, month: Month, close: Entry, closes: Sequence[Entry]) -> Json:
    """What a closed version must say: its digest, its names from the close entry, what it restates [2.7]."""
    fact, inputs = close.fact, close.fact["inputs"]
    earlier = [entry for entry in closes if entry.seq < close.seq]
    found: Json = {
        "version": len(earlier) + 1,
        "status": OneOf(("final", "superseded") if closes[-1] is not close else ("final",)),
        "digest": fact["digest"],
        "issued_at": shown(instant(fact["at"]), month.agreement.zone),
        "partner": {"id": fact["partner"], "name": inputs["partner_name"]},
        "service": {"id": fact["service"], "name": inputs["service_name"]},
        "method": method_of(month) | {"software": inputs["software"], "holidays": inputs["holidays"]},
        "restates": None,
    }
    if earlier:
        last = earlier[-1]
        before = recompute(ledger, statement, last.seq, last, None)
        delta = month.agreement.credit(month.availability) - before.agreement.credit(before.availability)
        restates = {"version": last.fact["version"], "reason": fact["reason"], "by": fact["by"]}
        found["restates"] = restates | {"credit_delta": format(delta, "f")}
    return found


def unsound_close(statement: Json, month: Month, close: Entry) -> Iterator[Difference]:
    """Whether the close was made of these bytes, and when it might be made [2.7]."""
    if digest_of(statement) != close.fact["digest"]:
        yield Difference("digest, of the statement's bytes", close.fact["digest"], digest_of(statement))
    earliest = month.asked.period[1] + duration(month.agreement.terms["grace"])
    if close.recorded_at < earliest:
        zone = month.agreement.zone
        yield Difference("closed before its end and grace", shown(close.recorded_at, zone), shown(earliest, zone))
    if month.needs_adjudication:
        yield Difference("closed while it needs adjudication", statement["status"], "needs_adjudication")


def backwards(ledger: Ledger, month: Month) -> Iterator[Difference]:
    """Check lists of the ledger's own that reach back into the month from before their recording [2.3]."""
    for entry in ledger.facts("checks", month.asked.before):
        span = (instant(entry.fact["at"]), entry.recorded_at)
        own = entry.origin != "imported" and entry.fact["service"] == month.asked.service
        if own and span[1] - span[0] > COMMIT_DELAY and overlap(span, month.asked.period):
            at, recorded = (shown(each, month.agreement.zone) for each in span)
            yield Difference(f"the check list of entry {entry.seq} acts before its recording", at, recorded)


# == Part C: the statement =============================================================================================
# -- C1. Its fields, made again ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Says:
    """A text of which some pieces are recomputed (all of `holds`, one of `starts`); its wording is the program's."""

    holds: tuple[str, ...] = ()
    starts: tuple[str, ...] = ("",)

    def __str__(self) -> str:
        return " ... ".join([" or ".join(self.starts), *self.holds])


@dataclass(frozen=True, slots=True)
class OneOf:
    """A value of which the ledger fixes only that it is among these."""

    values: tuple[object, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.values))


def grouped(parts: Iterable[Piece], by: Callable[[Piece], object]) -> list[list[Piece]]:
    """Consecutive pieces of which `by` says the same; those of which it says nothing are left out."""
    return [list(group) for key, group in groupby(parts, by) if key]


def figures_of(month: Month) -> Json:
    """Every figure and list of a statement that follows from the evidence and the decisions."""
    agreement, zone, availability, (start, end) = (
        month.agreement,
        month.agreement.zone,
        month.availability,
        month.elapsed,
    )
    unknown, observed = (month.total(verdict, lambda _piece: True) for verdict in (UNKNOWN, DOWN))
    covered = percent(Fraction(end - start - unknown, end - start)) if end > start else None
    found: Json = {
        "contract": {"id": agreement.contract, "effective_from": shown(agreement.effective_from, zone)},
        "period": {
            "month": month.asked.month,
            "timezone": agreement.terms["timezone"],
            "seconds": seconds(month.length),
        }
        | {name: shown(edge, zone) for name, edge in zip(("start", "end"), agreement.period, strict=True)},
        "availability": {"percent": percent(availability), "denominator_us": str(month.length)}
        | {"numerator_us": str(month.length - month.down)},
        "worst_case": {"percent": percent(month.worst_case)},
        "coverage": {"percent": covered or OneOf(("0.000000", "100.000000")), "unknown_seconds": seconds(unknown)},
        "downtime": {"seconds": seconds(month.down), "observed_seconds": seconds(observed)}
        | {"excluded_seconds": seconds(observed - month.down)},
        "excluded": [taken_by(month, decision) for decision in month.decided if not decision.why],
        "rejected": [{"id": decision.id, "why": Says(decision.why)} for decision in month.decided if decision.why],
        "outages": [outage_of(month, parts) for parts in grouped(month.pieces, lambda piece: piece.verdict == DOWN)],
        "credit": {"percent": bare(agreement.tier(availability)), "amount": format(agreement.credit(availability), "f")}
        | {"fee": {"currency": agreement.currency, "amount": str(agreement.fee)}},
        "method": method_of(month),
    }
    for promise in ("guarantee", "objective"):
        if agreement.terms[promise] is not None:
            wanted = share(agreement.terms[promise])
            found[promise] = {"percent": bare(wanted), "met": availability >= wanted}
    return found


def taken_by(month: Month, decision: Decision) -> Json:
    """What a decision takes off the month's downtime."""
    taken = month.total(DOWN, lambda piece: piece.excluded == decision)
    return {"reason": decision.reason, "id": decision.id, "seconds": seconds(taken)}


def outage_of(month: Month, parts: Sequence[Piece]) -> Json:
    """One outage, clipped to the month, with what decisions take off it. Its peak is the highest failing share."""
    zone, start, end = month.agreement.zone, parts[0].span[0], parts[-1].span[1]
    counted = sum(piece.span[1] - piece.span[0] for piece in parts if piece.excluded is None)
    peak = max((piece.counts for piece in parts), key=lambda counts: (Fraction(counts[0], counts[1] or 1), counts))
    named = tuple(f"{check} at {location}: " for check, location in parts[0].failing)
    excluded = []
    for group in grouped(parts, lambda piece: piece.excluded):
        by, span = group[0].excluded, (group[0].span[0], group[-1].span[1])
        assert by is not None, "only pieces that are excluded are grouped"
        excluded.append({"reason": by.reason, "id": by.id, "start": shown(span[0], zone), "end": shown(span[1], zone)})
    return {
        "start": shown(start, zone),
        "end": None if end == month.elapsed[1] < month.asked.period[1] else shown(end, zone),  # it goes on
        "seconds": seconds(end - start),
        "counted_seconds": seconds(counted),
        "excluded": excluded,
        "peak_failing": f"{peak[0]}/{peak[1]}",
        "first_failure": Says(starts=named) if named else None,
    }


def method_of(month: Month) -> Json:
    """The check lists in force in the month with their instants, and the locations that spoke."""
    zone, (start, end) = month.agreement.zone, month.elapsed
    first = in_force(month.lists, start)
    lists = ([] if first is None else [first]) + [each for each in month.lists if start < each.at < end]
    names = ("interval_s", "timeout_s", "stale_after_s", "checks")
    checks = [{"at": shown(each.at, zone)} | {name: each.fact[name] for name in names} for each in lists]
    said = month.evidence.said.items()
    spoke = {source[1] for source, told in said if any(overlap(stretch[:2], month.elapsed) for stretch in told)}
    return {"checks": checks, "locations": sorted(spoke)}


def decisions_of(ledger: Ledger, month: Month) -> list[Json]:
    """The adjudications, annulments and reversals that concern the month, as recorded."""
    asked = month.asked
    facts = [entry.fact for kind in ("adjudication", "annulment") for entry in ledger.facts(kind, asked.before)]
    found = [fact for fact in facts if fact["service"] == asked.service and overlap(span_of(fact), asked.period)]
    ids = {fact["id"] for fact in found} | {decision.id for decision in month.decided}
    return found + [fact for of, fact in ledger.reversals(asked.before).items() if of in ids]


# -- C2. What differs --------------------------------------------------------------------------------------------------

MISSING = "(nothing)"


class Difference(NamedTuple):
    """A field in which the statement and the recomputation differ, with both values."""

    field: str
    stated: object
    computed: object

    def __str__(self) -> str:
        said, found = (json.dumps(each, ensure_ascii=False, default=str)[:300] for each in self[1:])
        return f"{self.field}: the statement says {said}, recomputed {found}"


def differences(stated: object, computed: object, path: str = "") -> Iterator[Difference]:
    """Every field in which two documents differ. Only what was computed is compared."""
    if isinstance(computed, dict) and isinstance(stated, dict):
        for name, value in computed.items():
            yield from differences(stated.get(name, MISSING), value, f"{path}.{name}" if path else name)
    elif isinstance(computed, list) and isinstance(stated, list):
        # Of decisions and what they take off the contract fixes no order: they are found by what they name.
        if path.rpartition(".")[2] in {"excluded", "rejected", "decisions"}:
            stated, computed = sorted(stated, key=_named), sorted(computed, key=_named)
        for number, (one, other) in enumerate(zip_longest(stated, computed, fillvalue=MISSING)):
            yield from differences(one, other, f"{path}[{number}]")
    elif not _same(stated, computed):
        yield Difference(path, stated, computed)


def _same(stated: object, computed: object) -> bool:
    if isinstance(computed, Says):
        text = stated if isinstance(stated, str) else ""
        return text.startswith(computed.starts) and all(piece in text for piece in computed.holds) and text != ""
    if isinstance(computed, OneOf):
        return stated in computed.values
    return type(stated) is type(computed) and stated == computed


def _named(entry: Json) -> tuple[str, ...]:
    return tuple(str(entry.get(name)) for name in ("start", "id", "of", "at"))


def digest_of(statement: Json) -> str:
    """SHA-256 over the canonical statement without what may change after its issue."""
    kept = {name: value for name, value in statement.items() if name not in {"digest", "status"}}
    kept["claim"] = {name: value for name, value in statement["claim"].items() if name not in {"status", "filed_at"}}
    return sha256(canonical(kept))


@dataclass(slots=True)
class Audit:
    """The answer for one statement."""

    name: str
    differences: list[Difference] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    hint: str | None = None


def audit(ledger: Ledger, statement: Json, *, signed: Signed | None = None, now: int | None = None) -> Audit:
    """Recompute one statement and compare it field by field. `now` is when a running month was stated.

    Raises CannotAuditError.
    """
    try:
        if statement["schema"] != "jaga-statement/1":
            raise CannotAuditError(f"this is {statement['schema']}, not jaga-statement/1")
        return _audit(ledger, statement, signed, now)
    except MALFORMED as error:
        raise CannotAuditError(f"the statement or the export is not in the form this audit knows: {error!r}") from error


def _audit(ledger: Ledger, statement: Json, signed: Signed | None, now: int | None) -> Audit:
    name = (statement["partner"]["id"], statement["service"]["id"], statement["period"]["month"])
    part, every = ledger.part, len(ledger.entries) + 1
    if part is not None and (name[0] != part.partner or name[1] not in part.services):
        theirs = f"{part.partner} ({', '.join(part.services)})"
        raise CannotAuditError(f"the export is for {theirs}: it cannot answer for {name[0]} and {name[1]}")
    closes = [e for e in about(ledger.facts("close", every), name) if e.origin != "imported"]
    close = next((entry for entry in closes if entry.fact["version"] == statement["version"]), None)
    before = close.seq if close else min(statement["ledger"]["entries"], every - 1) + 1
    month = recompute(ledger, statement, before, close, now)
    head = ledger.head(before - 1) if close is None else close.prev
    computed = figures_of(month) | {
        "statement": f"{name[2]}/{name[0]}/{name[1]}",
        "decisions": decisions_of(ledger, month),
        "claim": claim_of(ledger, statement, month, [e for e in closes if close and e.seq <= close.seq]),
        "checkpoint": next((e.fact["note"] for e in reversed(ledger.facts("checkpoint", before))), None),
        "ledger": {"entries": before - 1} | ({} if head is None else {"head": head}),
    }
    if month.evidence.stated or _rests_on_imported(ledger, month):
        computed["imported"] = True
    if close is None:
        status: object = "needs_adjudication" if month.needs_adjudication else "provisional"
        if month.elapsed[1] < month.asked.period[1]:
            status = OneOf(("provisional", "needs_adjudication"))  # a running month may still get its evidence
        computed |= {"version": 1, "status": status, "digest": None, "issued_at": None, "restates": None}
    else:
        computed |= closed(ledger, statement, month, close, closes)
    # The reversal of an exclusion that covers other partners alone may stand in a statement, and need not.
    facts = [entry.fact for entry in ledger.facts("exclusion", before) if name[1] in entry.fact["services"]]
    others = {fact["id"] for fact in facts if not concerns(fact, month.asked)}
    stated = statement | {"decisions": [each for each in statement["decisions"] if each.get("of") not in others]}
    found = Audit(f"{statement['statement']} version {statement['version']}", [*differences(stated, computed)])
    found.trusted = month.agreement.trusted + _trusted(ledger, statement, close, head)
    found.differences += backwards(ledger, month)
    if close is not None:
        found.differences += unsound_close(statement, month, close)
    if signed is not None and statement.get("checkpoint") is not None:
        known, problems = signed.judge(statement["checkpoint"])
        found.differences += [Difference("checkpoint", statement["checkpoint"], each) for each in problems]
        found.trusted += [] if known else ["checkpoint: the key given did not sign it"]
    if found.differences and close is None and now is None:
        found.hint = "if the month was still running when this was stated, say when with --at"
    return found


def _rests_on_imported(ledger: Ledger, month: Month) -> bool:
    """Whether terms or check lists of this month were imported. Of runs it is taken on trust."""
    asked = month.asked
    terms = [e for e in ledger.facts("terms", asked.before) if e.fact["contract"] == month.agreement.contract]
    lists = [e for e in ledger.facts("checks", asked.before) if e.fact["service"] == asked.service]
    return any(entry.origin == "imported" for entry in terms + lists)


def _trusted(ledger: Ledger, statement: Json, close: Entry | None, head: str | None) -> list[str]:
    """What the ledger cannot answer."""
    found = ["names, software and holidays: nothing is closed yet"] if close is None else []
    found.append("claim.status beyond what is on record: a view of the day it was printed")
    found.append("the wording of method.rule, outages.first_failure and rejected.why")
    found += ["incidents"] if statement.get("incidents") else []
    hidden = sum(entry.fact["type"] == "leaf" for entry in ledger.entries)
    found += (
        [f"that none of the {hidden} entries of which only the hash is shown speaks for or against it"]
        if hidden
        else []
    )
    return found + (["ledger.head: that entry is hidden"] if head is None else [])


# -- C3. Asking --------------------------------------------------------------------------------------------------------


T = TypeVar("T")


def read_as(what: str, read: Callable[[], T]) -> T:
    """What is read; CannotAuditError, naming what it was read from, where it cannot be."""
    try:
        return read()
    except OSError as error:
        raise CannotAuditError(f"{error.filename}: {error.strerror}") from None
    except MALFORMED as error:
        said = repr(error) if isinstance(error, KeyError) else str(error)
        raise CannotAuditError(f"{what} is not in the form this audit knows: {said}") from None


def verify(
    statement: Path,
    export: Path,
    *,
    key: str | None = None,
    at: str | None = None,
    say: Callable[[str], object] = print,
) -> int:
    """Audit every statement of a file against an export, say what was found; 0 it holds, 1 it does not.

    Raises CannotAuditError.
    """
    opened = None if key is None else read_key(key)
    now = None if at is None else read_as("when it was stated", lambda: instant(at))
    document = read_as(str(statement), lambda: read_json(statement.read_bytes()))
    ledger = read_as(str(export), lambda: read_ledger(export))
    documents = document if isinstance(document, list) else [document]
    if not documents or not all(isinstance(each, dict) for each in documents):
        raise CannotAuditError(f"{statement}: there is no statement in it")
    signed = read_as(str(export), lambda: read_signed(ledger, opened))
    problems = ledger.broken + signed.problems
    for problem in problems:
        say(f"record: {problem}")
    said = "no key given: it may have been made anew as a whole" if opened is None else f"{signed.covered} signed for"
    full = sum(entry.fact["type"] != "leaf" for entry in ledger.entries)
    count = f"{len(ledger.entries)} entries, " + (f"{full} of them shown, " if ledger.part else "")
    say(count + ("" if problems else "the chain holds; ") + said)
    holds = not problems
    for each in documents:
        found = audit(ledger, each, signed=signed, now=now)
        holds = holds and not found.differences
        say(f"{found.name}: {'differs' if found.differences else 'holds'}")
        for difference in found.differences:
            say(f"  {difference}")
        if found.hint:
            say(f"  note: {found.hint}")
        say("  taken on trust: " + "; ".join(found.trusted))
    return 0 if holds else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="audit.py", description="Recompute a statement from an export of the ledger.")
    parser.add_argument("statement", type=Path, help="what `jaga statement --format json` wrote")
    parser.add_argument("--ledger", type=Path, required=True, help="what `jaga ledger export` wrote")
    parser.add_argument("--key", help="the provider's public key, or a file with it: signed checkpoints are verified")
    parser.add_argument("--at", help="when the statement of a month that still ran was made (RFC 3339)")
    given = parser.parse_args(arguments)
    try:
        return verify(given.statement, given.ledger, key=given.key, at=given.at)
    except CannotAuditError as error:
        print(f"audit: {error}", file=sys.stderr)  # noqa: T201 - this is a program of its own
        return 2


if __name__ == "__main__":
    # Run by its path, this file's folder is searched first: a neighbour named like a module of Python is not meant.
    sys.path.pop(0)
    sys.exit(main())

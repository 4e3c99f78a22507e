"""How evidence travels in an interchange file beyond what a run's own line says (docs/interchange.md): segments, and of
a run that is in none its place in the store it comes from.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from monitor.core.body import Arrived
from monitor.core.chain import digest
from monitor.core.instant import HOUR_US, format_instant_us
from monitor.core.run import Origin, Run
from monitor.core.segment import Segment, SegmentKey, read_runs, write_segment
from monitor.core.wire import COUNT, ID, INSTANT, INTEGER, TEXT, FactError, Form, write_run
from monitor.storage import OutboxRow, SealedSegment, StoredRun

SEGMENT, MARK, END = "segment", "mark", "end"
MESSAGE, FILE = "message", "file"
FILE_PART = 4 * 2**20
"""How much of a file stands in one line."""


def write_sealed(sealed: SealedSegment) -> dict[str, Any]:
    """The line of a segment."""
    segment = sealed.segment
    body = segment.body
    return {
        "type": SEGMENT,
        "service": segment.key.service,
        "hour": format_instant_us(segment.key.hour_us),
        "n": segment.key.number,
        "runs": segment.runs,
        "seq": sealed.seq,
        "digest": digest(segment.leaf()),
        "arrivals": [sealed.first_arrival, sealed.last_arrival, sealed.through],
        "head": base64.b64encode(segment.head).decode(),
    } | ({"body": segment.body_digest} if body is None else {"data": base64.b64encode(body).decode()})


def read_sealed(written: Mapping[str, Any]) -> SealedSegment:
    """The segment of a line; FactError where a field is none, or where its digest is that of something else."""
    values = dict(written)
    values.pop("type", None)
    fields: dict[str, Form] = {"service": ID, "hour": INSTANT, "n": COUNT, "runs": COUNT, "seq": COUNT, "digest": TEXT}
    read = {name: _field(values, name, form) for name, form in fields.items()}
    arrivals, head = values.pop("arrivals", None), _bytes(values, "head")
    if not isinstance(arrivals, list) or [type(number) for number in arrivals] != [int, int, int]:
        raise FactError('"arrivals" is not three numbers: the first, the last, and the last known when it was sealed')
    body = _bytes(values, "data") if "data" in values else None
    body_digest = _field(values, "body", TEXT) if body is None else digest(body)
    if values:
        msg = f'field "{next(iter(values))[:60]}" is unknown'
        raise FactError(msg)
    if read["hour"] % HOUR_US:
        raise FactError('"hour" is not the start of an hour')
    segment = Segment(
        key=SegmentKey(read["service"], read["hour"], read["n"]),
        runs=read["runs"],
        head=head,
        body=body,
        body_digest=body_digest,
    )
    if digest(segment.leaf()) != read["digest"]:
        raise FactError('"digest" is not that of what the line holds: it was changed')
    return SealedSegment(
        segment=segment,
        seq=read["seq"],
        first_arrival=arrivals[0],
        last_arrival=arrivals[1],
        through=arrivals[2],
        hot=False,
        expired=body is None,
    )


def write_row(held: StoredRun) -> dict[str, Any]:
    """The line of a run that is a row, with `stored`, its place in the store."""
    run, arrival, contested = held.arrived.run, held.arrived.arrival, held.arrived.contested
    # What a run's line does not say travels as it does in a segment: one form for it, and one reader.
    key = SegmentKey(run.service, 0, 0)
    alone = write_segment(key, [Arrived(arrival, run, contested)], {})
    assert alone.body is not None, "it was just made"
    stored: dict[str, Any] = {
        "arrival": arrival,
        "recorded_at": format_instant_us(held.recorded_at_us),
        "data": base64.b64encode(alone.body).decode(),
    }
    if held.contents:
        stored["contents"] = [
            [one, former, origin, format_instant_us(at_us), text] for one, former, origin, at_us, text in held.contents
        ]
    return write_run(run) | {"stored": stored}


def read_row(run: Run, stored: object) -> StoredRun:
    """The row of a run's line; FactError where `stored` is no place, or speaks of another run."""
    if not isinstance(stored, dict):
        raise FactError('"stored" is no object')
    values = dict(stored)
    arrival, recorded_at_us = _field(values, "arrival", COUNT), _field(values, "recorded_at", INSTANT)
    body = _bytes(values, "data")
    key = SegmentKey(run.service, 0, 0)
    try:
        (held,) = read_runs(Segment(key=key, runs=1, head=b"", body=body, body_digest=""))
    except ValueError as error:
        msg = f'"stored" cannot be read: {error}'
        raise FactError(msg) from error
    if held.arrival != arrival or write_run(held.run) != write_run(run):
        raise FactError('"stored" speaks of another run than its line')
    contents = tuple(_content(one) for one in values.pop("contents", ()))
    return StoredRun(arrived=held, recorded_at_us=recorded_at_us, contents=contents)


def read_recorded(stored: object) -> int:
    """When a stated span had been taken in; FactError."""
    if not isinstance(stored, dict) or list(stored) != ["recorded_at"]:
        raise FactError('"stored" of a stated span is its "recorded_at"')
    at_us: int = _field(dict(stored), "recorded_at", INSTANT)
    return at_us


def as_imported(run: Run) -> Run:
    """The run as a plain import takes it: what its line says, and no more."""
    return replace(run, origin=Origin.IMPORTED, slot_us=None, tainted=False, steps=())


def write_message(row: OutboxRow) -> dict[str, Any]:
    """The line of a message that waits."""
    named = {"key": row.key, "channel": row.channel, "kind": row.kind, "at": format_instant_us(row.at_us)}
    return {"type": MESSAGE, **named, "payload": dict(row.payload)}


def read_message(written: Mapping[str, Any]) -> OutboxRow:
    """The message of a line; FactError."""
    values = dict(written)
    values.pop("type", None)
    read = {name: _field(values, name, form) for name, form in (("key", TEXT), ("channel", TEXT), ("kind", TEXT))}
    at_us, payload = _field(values, "at", INSTANT), values.pop("payload", None)
    if not isinstance(payload, dict) or values:
        raise FactError('a message has "key", "channel", "kind", "at" and "payload", an object, and nothing else')
    return OutboxRow(**read, payload=payload, at_us=at_us)


def write_file(name: str, data: bytes) -> Iterator[dict[str, Any]]:
    """The lines of a file beside the ledger, a part each."""
    parts = [data[first : first + FILE_PART] for first in range(0, max(1, len(data)), FILE_PART)]
    for number, part in enumerate(parts, 1):
        place = {"name": name, "part": number, "parts": len(parts)}
        yield {"type": FILE, **place, "data": base64.b64encode(part).decode()}


@dataclass(slots=True)
class Parts:
    """Files as their parts come."""

    name: str = ""
    parts: list[bytes] = field(default_factory=list)

    def take(self, written: Mapping[str, Any]) -> tuple[str, bytes] | None:
        """The next line; the file where it was the last of its parts. FactError where it does not follow."""
        values = dict(written)
        values.pop("type", None)
        name, part, of = (
            _field(values, key, form) for key, form in (("name", TEXT), ("part", COUNT), ("parts", COUNT))
        )
        data = _bytes(values, "data")
        if part == 1 and not self.parts:
            self.name = name
        if (name, part) != (self.name, len(self.parts) + 1) or not part <= of:
            msg = f"is part {part} of {of} of {name[:100]}, which does not follow what stands before it"
            raise FactError(msg)
        self.parts.append(data)
        if part < of:
            return None
        whole, self.parts = b"".join(self.parts), []
        return name, whole


def _content(written: object) -> tuple[str, int | None, str, int, str]:
    if not isinstance(written, list) or len(written) != 5:  # noqa: PLR2004 - as written above
        raise FactError('"contents" of a contested run are lists of five')
    one, former, origin, at, text = written
    if former is not None:
        INTEGER.read(former)
    return TEXT.read(one), former, Origin(TEXT.read(origin)).value, INSTANT.read(at), str(text)


def _field(values: dict[str, Any], name: str, form: Form) -> Any:  # noqa: ANN401 - as its form reads it
    if name not in values:
        msg = f'field "{name}" is missing'
        raise FactError(msg)
    try:
        return form.read(values.pop(name))
    except FactError as error:
        msg = f'"{name}" {error}'
        raise FactError(msg) from error


def _bytes(values: dict[str, Any], name: str) -> bytes:
    written = values.pop(name, None)
    try:
        if isinstance(written, str):
            return base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        pass
    msg = f'"{name}" is no base64'
    raise FactError(msg)

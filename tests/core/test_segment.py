"""A segment gives back the runs it was made of, in few bytes, and no other bytes pass for one."""

from __future__ import annotations

import base64
import json
import random
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.body import Arrived
from monitor.core.chain import digest
from monitor.core.columns import MOST_HISTOGRAMS, varint, write_column
from monitor.core.instant import HOUR_US, MINUTE_US
from monitor.core.merkle import Tree, leaf_hash
from monitor.core.run import Origin, Outcome, Run, SourceKey, StepRecord
from monitor.core.segment import (
    Piece,
    Segment,
    SegmentError,
    SegmentKey,
    hour_of,
    read_pieces,
    read_runs,
    root_of,
    write_segment,
)
from monitor.core.texts import deflated
from tests.cases import reading

HOUR = hour_of(1_775_000_000_000_000)
KEY = SegmentKey("portal", HOUR, 0)
LOGIN = SourceKey("portal", "login", "jkt-1")
TEXTS = st.one_of(st.none(), st.text(max_size=8))
LENGTHS = st.integers(0, 2**40)
STEPS = st.builds(
    StepRecord,
    name=st.sampled_from(["log in", "order", "時間"]),
    duration_us=LENGTHS,
    phases_us=st.lists(st.tuples(st.sampled_from(["dns", "connect", "tls"]), LENGTHS), max_size=3).map(tuple),
    target=st.sampled_from(["", "https://api.example.id/"]),
    http_status=st.one_of(st.none(), st.integers(100, 599)),
    cert_not_after_s=st.one_of(st.none(), st.integers(0, 2**33)),
    failed_assertions=st.lists(st.text(max_size=4), max_size=2).map(tuple),
    error=TEXTS,
    final=st.booleans(),
)
RUNS = st.builds(
    Run,
    service=st.just("portal"),
    check=st.sampled_from(["login", "order"]),
    location=st.sampled_from(["jkt-1", "sby-1"]),
    start_us=st.integers(HOUR, HOUR + HOUR_US - 1),
    outcome=st.sampled_from(Outcome),
    duration_us=LENGTHS,
    attempts=st.integers(0, 3),
    slot_us=st.one_of(st.none(), st.integers(HOUR - MINUTE_US, HOUR + HOUR_US)),
    reason=TEXTS,
    step=TEXTS,
    message=TEXTS,
    tainted=st.booleans(),
    steps=st.lists(STEPS, max_size=3).map(tuple),
    origin=st.sampled_from(Origin),
)
ARRIVED = st.builds(Arrived, st.integers(1, 2**50), RUNS, st.booleans())


def ordered(held: list[Arrived]) -> list[Arrived]:
    return sorted(held, key=lambda one: (one.run.source, one.run.start_us))


@given(st.lists(ARRIVED, max_size=12, unique_by=lambda one: one.run.key))
@settings(deadline=None)
def test_every_run_comes_back_exactly(held: list[Arrived]) -> None:
    segment = write_segment(KEY, held, {})
    assert segment.runs == len(held)
    assert read_runs(segment) == ordered(held)


def paced(phases: int = 0, checks: int = 5) -> list[Arrived]:
    """An hour of checks a minute apart, with the noise that clocks and targets make; others run in between."""
    chance = random.Random(3)
    held = []
    for check in range(checks):
        for minute in range(60):
            slot_us = HOUR + minute * MINUTE_US + check * MINUTE_US // checks
            lengths = tuple((f"phase {n}", int(chance.lognormvariate(5, 0.4))) for n in range(phases))
            whole = sum(length for _, length in lengths) + chance.randrange(40)
            step = StepRecord(
                name="GET", duration_us=whole, phases_us=lengths, target="http://portal/", http_status=200
            )
            run = Run(
                service="portal",
                check=f"check-{check}",
                location="jkt-1",
                start_us=slot_us + int(chance.lognormvariate(5, 0.5)),
                slot_us=slot_us,
                outcome=Outcome.PASS,
                duration_us=whole + chance.randrange(30) if phases else int(chance.lognormvariate(6.5, 0.3)),
                steps=(step,) if phases else (),
            )
            held.append(Arrived(minute * 1000 + check * 200 + chance.randrange(60), run))
    return held


@pytest.mark.parametrize(("phases", "bytes_a_run"), [(0, 4.0), (5, 9.6)])
def test_an_hour_takes_few_bytes_a_run(phases: int, bytes_a_run: float) -> None:
    held = paced(phases)
    segment = write_segment(KEY, held, {})
    assert segment.body is not None
    assert len(segment.body) / len(held) < bytes_a_run
    assert read_runs(segment) == ordered(held)


def test_a_body_whose_sources_its_head_names_does_not_name_them_again() -> None:
    held = paced()
    said = {one.run.source: [Piece(HOUR, HOUR + 1, Outcome.PASS)] for one in held}
    segment, alone = write_segment(KEY, held, said), write_segment(KEY, held, {})
    assert len(segment.body or b"") < len(alone.body or b"") - 20
    assert read_runs(segment) == read_runs(alone) == ordered(held)
    source = SourceKey("portal", "check-3", "jkt-1")
    assert read_runs(segment, source) == [one for one in ordered(held) if one.run.source == source]
    with pytest.raises(SegmentError, match="other sources than its head"):
        read_runs(replace(segment, head=alone.head))


def test_a_column_that_no_histogram_shortens_is_written_by_itself() -> None:
    """Five sources that scatter alike, and one whose runs lie a thousand times further apart."""
    chance = random.Random(6)
    held = paced()
    wild = [
        replace(one.run, check="wild", duration_us=chance.randrange(2**50))
        for one in held
        if one.run.check == "check-1"
    ]
    mixed = [*held, *(Arrived(100_000 + number, run) for number, run in enumerate(wild))]
    segment = write_segment(KEY, mixed, {})
    assert read_runs(segment) == ordered(mixed)
    alone = write_segment(KEY, held, {})
    # Fifty bits a duration, and what it takes beside it.
    assert len(segment.body or b"") - len(alone.body or b"") < len(wild) * (50 / 8 + 4)


def test_numbers_too_long_for_a_histogram_are_written_all_the_same() -> None:
    held = [
        Arrived(number, replace(FAILED, start_us=HOUR + number, duration_us=2**62 * (number % 2)))
        for number in range(9)
    ]
    assert read_runs(write_segment(KEY, held, {})) == held


FIRST: dict[str, Any] = json.loads((Path(reading.__file__).with_name("first_segment.json")).read_text(encoding="utf-8"))
"""A segment as the first version of the format wrote it."""


def first_segment() -> Segment:
    body = base64.b64decode(FIRST["body"])
    return Segment(
        key=SegmentKey(FIRST["service"], FIRST["hour_us"], 0),
        runs=len(FIRST["runs"]),
        head=base64.b64decode(FIRST["head"]),
        body=body,
        body_digest=digest(body),
    )


def test_what_the_first_version_sealed_is_read_as_it_was() -> None:
    segment = first_segment()
    read = [[one.arrival, one.contested, asdict(one.run)] for one in read_runs(segment)]
    assert json.loads(json.dumps(read)) == FIRST["runs"]
    pieces = [
        [source.check, source.location, [[*piece[:3], asdict(piece.first) if piece.first else None] for piece in said]]
        for source, said in read_pieces(segment.key, segment.head).items()
    ]
    said = [[piece[2], piece[0], piece[1], piece[3]] for _, _, of in pieces for piece in of]
    assert json.loads(json.dumps(said)) == [piece for _, _, of in FIRST["pieces"] for piece in of]
    assert [one[:2] for one in pieces] == [one[:2] for one in FIRST["pieces"]]


def test_the_first_version_is_refused_where_it_is_damaged() -> None:
    segment = first_segment()
    assert segment.body is not None
    for damaged in (segment.body + b"\0", segment.body[:-1], b"\2" + segment.body[1:], segment.body[:40]):
        with pytest.raises(SegmentError):
            read_runs(replace(segment, body=damaged))
    for head in (segment.head[:-1], segment.head + b"\0"):
        with pytest.raises(SegmentError):
            read_pieces(segment.key, head)


def test_the_same_runs_in_any_order_make_the_same_segment() -> None:
    held = paced()
    again = held[:]
    random.Random(4).shuffle(again)
    assert write_segment(KEY, again, {}) == write_segment(KEY, held, {})


FAILED = Run(
    **LOGIN._asdict(),
    start_us=HOUR + 5,
    outcome=Outcome.FAIL,
    duration_us=7,
    attempts=2,
    reason="timeout",
    step="log in",
    message="no answer",
    origin=Origin.AGENT,
)
PIECES = {
    LOGIN: [
        Piece(HOUR + 1, HOUR + 5, Outcome.PASS),
        Piece(HOUR + 5, HOUR + HOUR_US, Outcome.FAIL, FAILED),
        Piece(HOUR + HOUR_US, HOUR + HOUR_US, Outcome.INCONCLUSIVE),
    ],
    SourceKey("portal", "order", "sby-1"): [Piece(HOUR, HOUR + 1, Outcome.PASS)],
}


def test_what_the_hour_said_stays_when_its_runs_have_gone() -> None:
    segment = write_segment(KEY, [Arrived(1, FAILED)], PIECES)
    gone = segment.expired()
    assert read_pieces(gone.key, gone.head) == PIECES
    assert gone.leaf() == segment.leaf()
    with pytest.raises(SegmentError, match="its runs have gone"):
        read_runs(gone)


def test_the_leaf_commits_to_everything() -> None:
    segment = write_segment(KEY, [Arrived(1, FAILED)], PIECES)
    others = [
        replace(segment, key=KEY._replace(number=1)),
        replace(segment, key=KEY._replace(service="other")),
        replace(segment, key=KEY._replace(hour_us=HOUR + HOUR_US)),
        replace(segment, runs=2),
        replace(segment, head=segment.head + b"\0"),
        write_segment(KEY, [Arrived(2, FAILED)], PIECES),
    ]
    assert len({segment.leaf(), *(other.leaf() for other in others)}) == 7
    assert segment.body_digest == digest(segment.body or b"")


def test_the_root_is_over_the_leaves_in_the_order_of_their_keys() -> None:
    segments = [write_segment(KEY._replace(number=number), [Arrived(1, FAILED)], {}) for number in range(3)]
    tree = Tree(leaf_hash(segment.leaf()) for segment in segments)
    assert root_of(reversed(segments)) == root_of(segments) == "sha256:" + tree.root().hex()
    assert root_of(segment.expired() for segment in segments) == root_of(segments)
    assert root_of(segments[:2]) != root_of(segments)


def test_the_runs_of_one_source_can_be_read_alone() -> None:
    held = paced()
    segment = write_segment(KEY, held, {})
    source = SourceKey("portal", "check-3", "jkt-1")
    assert read_runs(segment, source) == [one for one in ordered(held) if one.run.source == source]
    assert read_runs(segment, LOGIN) == []


def test_a_body_cannot_say_to_hold_more_than_a_segment_can() -> None:
    texts = zlib.compressobj(9, zlib.DEFLATED, -15)
    written = texts.compress(b'[[["login","jkt-1",1000000000,0]],[]]') + texts.flush()
    body = bytes([1, len(written)]) + written
    with pytest.raises(SegmentError, match="more runs than a segment can"):
        read_runs(replace(write_segment(KEY, [], {}), body=body))
    named = deflated([[["login", "jkt-1"]], []])
    front = bytes([2, len(named)]) + named + bytes(3) + write_column([10**9]) + write_column([0])
    with pytest.raises(SegmentError, match="more runs than a segment can"):
        read_runs(replace(write_segment(KEY, [], {}), body=front))
    front = bytes([2, len(named)]) + named + varint(MOST_HISTOGRAMS + 1)
    with pytest.raises(SegmentError, match="more histograms than columns can name"):
        read_runs(replace(write_segment(KEY, [], {}), body=front))


def test_no_damaged_bytes_are_read_as_something_else_than_a_refusal() -> None:
    segment = write_segment(KEY, [*paced(2, 2), Arrived(1, FAILED)], PIECES)
    assert segment.body is not None
    chance = random.Random(5)
    for _ in range(300):
        body, at = bytearray(segment.body), chance.randrange(len(segment.body))
        body[at] ^= 1 << chance.randrange(8)
        for damaged in (bytes(body), segment.body[:at]):
            try:
                read_runs(replace(segment, body=damaged))
            except SegmentError:
                continue
    for damaged in (segment.body + b"\0", b"\x09" + segment.body[1:], segment.body[:-1]):
        with pytest.raises(SegmentError):
            read_runs(replace(segment, body=damaged))
    for head in (b"", segment.head[:-1], segment.head + b"\0", b"\xff\xff"):
        with pytest.raises(SegmentError, match="its head cannot be read"):
            read_pieces(KEY, head)

"""Evidence as the export holds it: sealed segments, their heads, rows, and an end that says what stands before it."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from monitor import audit
from monitor.core.run import Outcome, Run, StepRecord
from monitor.core.segment import SegmentKey, read_runs, write_segment
from monitor.core.texts import WORDS
from monitor.ledger.month import Months
from monitor.storage import Unit
from tests.audit.books import BASIS, Books, books
from tests.audit.worlds import DAY, HOUR, SECOND
from tests.cases import reading
from tests.core.examples import at
from tests.core.test_segment import FIRST, first_segment, paced
from tests.core.test_segment import HOUR as SOME_HOUR
from tests.ledger.sealing import cool_all, expire_all, seal

START, END = at("2026-04-01T00:00:00"), at("2026-05-01T00:00:00")
CLOSING = END + 5 * DAY
LATE = START + 200 * HOUR
STEP = 4 * HOUR
DOWN = (8, 12, 200, 500)
AGREED = reading.read(reading.FOLDER / "overlap_is_a_union.yaml").lines[:3]
CHECKS = {"type": "checks", "service": "portal", "at": "2026-03-30T00:00:00+07:00", "interval_s": 14400} | {
    "timeout_s": 10,
    "stale_after_s": 18000,
    "checks": [{"id": "login", "network": "public"}],
}
Line = dict[str, Any]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Books]:
    """April watched by a run every four hours, down for four of them in three outages; no hour is sealed yet."""
    with books(tmp_path, START - DAY, [*AGREED, CHECKS]) as found:
        stamps = range(START - DAY, END + DAY, STEP)
        failing = {START + hour * HOUR for hour in DOWN}
        found.runs([("login", stamp, "fail" if stamp in failing else "pass") for stamp in stamps])
        found.now_us = CLOSING
        yield found


def sealed(kept: Books) -> list[Line]:
    """Close April, seal all, let the rows go; the lines of the export."""
    kept.close("2026-04")
    seal(kept.store, kept.now_us)
    cool_all(kept.store, kept.now_us + 5 * DAY)
    return exported(kept)


def exported(kept: Books) -> list[Line]:
    return [json.loads(line) for line in kept.export().read_bytes().splitlines()]


def broken(lines: list[Line], folder: Path) -> list[str]:
    path = folder / "forged.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return audit.read_ledger(path).broken


def of_down(lines: list[Line]) -> Line:
    """The segment of the first hour that was down."""
    hour = audit.shown(START + DOWN[0] * HOUR, UTC)
    return next(
        line for line in lines if line["type"] == "segment" and audit.instant(line["hour"]) == audit.instant(hour)
    )


def test_a_sealed_month_verifies_though_its_rows_are_gone(kept: Books) -> None:
    lines = sealed(kept)
    assert sum(line["type"] == "segment" for line in lines) >= 30 * 6
    assert sum(line["type"] == "run" for line in lines) < 24
    (document,) = kept.statements("2026-04")
    assert document["downtime"]["seconds"] == f"{len(DOWN) * 4 * 3600}.000000"
    assert kept.audited([document]) == []
    document["outages"].pop()
    assert kept.audited([document])


def test_a_sealed_month_that_is_still_open_verifies(kept: Books) -> None:
    seal(kept.store, kept.now_us)
    assert kept.audited(kept.statements("2026-04")) == []
    cool_all(kept.store, kept.now_us + 5 * DAY)
    assert kept.audited(kept.statements("2026-04")) == []


def test_expired_runs_are_replaced_by_what_their_hours_said(kept: Books) -> None:
    sealed(kept)
    (document,) = kept.statements("2026-04")
    kept.now_us = END + 60 * DAY
    kept.runs([("login", kept.now_us - HOUR, "pass")])
    seal(kept.store, kept.now_us)
    assert len(expire_all(kept.store, Months(kept.store, BASIS, kept.now_us), 30 * DAY)) > 170
    gone = [line for line in exported(kept) if line["type"] == "segment" and "data" not in line]
    assert len(gone) > 170
    assert kept.audited([document]) == []
    # The heads are the evidence: without them the outages would not be found.
    ledger = audit.read_ledger(kept.export())
    ledger.segments["portal"] = {}
    assert audit.audit(ledger, document).differences


@pytest.mark.parametrize("told", ["fail", "pass"])
def test_each_version_rests_on_what_had_arrived(told: str, kept: Books) -> None:
    """After the close: a second content of a sealed run, and a run of an instant at which there was none."""
    sealed(kept)
    (first,) = kept.statements("2026-04")
    kept.now_us += DAY
    kept.runs([("login", LATE, told), ("login", LATE + HOUR // 2, told)])
    assert kept.audited([first]) == []
    seal(kept.store, kept.now_us + HOUR)
    assert kept.audited([first]) == []
    kept.now_us += 2 * DAY
    kept.close("2026-04", "runs came late")
    (second,) = kept.statements("2026-04")
    assert second["version"] == 2
    assert kept.audited([first | {"status": "superseded"}, second]) == []
    cool_all(kept.store, kept.now_us + 5 * DAY)
    assert kept.audited([first | {"status": "superseded"}, second]) == []


# Forgeries. Whoever makes one has the export, and makes its end fit.


def _body_changed(line: Line) -> None:
    body = bytearray(base64.b64decode(line["data"]))
    body[-1] ^= 2
    line["data"] = base64.b64encode(body).decode()


def _head_changed(line: Line) -> None:
    rest = audit.Numbers(base64.b64decode(line["head"])[1:])
    texts = audit.inflated(rest.take(rest.varint())).replace(b"fail", b"pass")
    size = len(texts).to_bytes(2, "little")
    stored = b"\1" + size + bytes(255 - byte for byte in size) + texts
    assert len(stored) < 128, "its length is one byte"
    line["head"] = base64.b64encode(b"\7" + bytes([len(stored)]) + stored + rest.data[rest.at :]).decode()


def _runs_changed(line: Line) -> None:
    line["runs"] += 1


def _renumbered(line: Line) -> None:
    line["n"] = 1


@pytest.mark.parametrize("anew", [False, True], ids=["its digest as it was", "its digest made anew"])
@pytest.mark.parametrize("forge", [_body_changed, _head_changed, _runs_changed, _renumbered])
def test_a_changed_segment_is_found(forge: Callable[[Line], None], anew: bool, kept: Books) -> None:
    lines = sealed(kept)
    line = of_down(lines)
    forge(line)
    if anew:
        named = {name: line[name] for name in ("service", "n", "runs")} | {"hour_us": audit.instant(line["hour"])}
        parts = {"head": line["head"], "body": line["data"]}
        hashes = {name: audit.sha256(base64.b64decode(data)) for name, data in parts.items()}
        line["digest"] = audit.sha256(audit.canonical(named | hashes))
    said = broken(lines, kept.folder)
    assert any("are not those that entry" in each for each in said)
    assert any("hashes to" in each for each in said) is not anew


def test_a_changed_segment_is_no_evidence(kept: Books) -> None:
    """It is told, and the statement that rests on it does not hold: exit code 1."""
    lines = sealed(kept)
    (kept.folder / "statement.json").write_text(json.dumps(kept.statements("2026-04")))
    _body_changed(of_down(lines))
    path = kept.folder / "forged.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said: list[object] = []
    assert audit.verify(kept.folder / "statement.json", path, say=said.append) == 1
    assert any(str(each).startswith("record: segment 0 of portal, ") for each in said)


def test_a_missing_segment_is_found(kept: Books) -> None:
    lines = sealed(kept)
    line = of_down(lines)
    lines.remove(line)
    lines[-1]["segments"] -= 1
    first, second = broken(lines, kept.folder)
    assert first.startswith(f"entry {line['seq']} sealed 1 segments with 1 runs of {line['hour']}; the export has 0")
    assert second == f"the segments of {line['hour']} are not those that entry {line['seq']} sealed"


def test_a_segment_that_nothing_sealed_is_found(kept: Books) -> None:
    lines = sealed(kept)
    forged = of_down(lines) | {"seq": 1}
    lines.insert(-1, forged)
    lines[-1]["segments"] += 1
    assert any(each.endswith("entry 1 sealed nothing") for each in broken(lines, kept.folder))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"outcome": "fail"}, "is not the run that its stored form holds"),
        ({"stored": {}, "outcome": "fail"}, "is fail as a row and pass as it was sealed"),
        ({"stored": {}, "at": audit.shown(END + DAY - STEP + 1, UTC)}, "was not sealed with it"),
    ],
    ids=["its words", "a row that contradicts its segment", "a row that had arrived"],
)
def test_a_changed_row_is_found(change: Line, why: str, kept: Books) -> None:
    seal(kept.store, kept.now_us)
    lines = exported(kept)
    assert broken(lines, kept.folder) == []
    row = next(line for line in lines if line["type"] == "run")  # the newest of its source stays
    row |= change
    assert any(why in each for each in broken(lines, kept.folder))


def test_an_export_that_was_cut_short_is_told(kept: Books) -> None:
    sealed(kept)
    data = kept.export().read_bytes()
    lines = data.splitlines(keepends=True)
    path = kept.folder / "cut.jsonl"
    path.write_bytes(b"".join(lines[:-1]))
    assert audit.read_ledger(path).broken == ["the export was cut short: its last line, the end, is not there"]
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(audit.CannotAuditError, match="cut short in this line"):
        audit.read_ledger(path)
    path.write_bytes(b"".join(lines[1:]))
    with pytest.raises(audit.CannotAuditError, match="header"):
        audit.read_ledger(path)


def test_what_the_end_promises_must_stand_before_it(kept: Books) -> None:
    lines = sealed(kept)
    assert broken(lines, kept.folder) == []
    for name in ("entries", "segments", "rows"):
        (said,) = broken([*lines[:-1], lines[-1] | {name: lines[-1][name] + 1}], kept.folder)
        assert said.startswith(f"the end of the export says {name} {lines[-1][name] + 1}, before it stand ")
    (said,) = broken([*lines[:-1], lines[-1] | {"head": audit.FIRST_PREV}], kept.folder)
    assert said.startswith("the end of the export says head")
    (said,) = broken([*lines[:-1], lines[-1] | {"arrival": 3}], kept.folder)
    assert said.startswith("the last arrival is 3 by the end of the export")
    marks = [line for line in lines if line["type"] == "mark"]
    assert marks
    assert broken([*lines[:-1], marks[0], lines[-1]], kept.folder) == [
        f"the mark {marks[0]['name']} stands there twice"
    ]
    assert broken([*lines, marks[0]], kept.folder)[0] == f"line {len(lines) + 1} stands behind the end of the export"
    with pytest.raises(audit.CannotAuditError, match="not a mark as this audit knows it"):
        broken([*lines[:-1], marks[0] | {"value": "{"}, lines[-1]], kept.folder)


# The form of a body, against the program's own reading.


def drawn(draw: random.Random, check: str, number: int) -> Run:
    """A run with all that a body codes: a slot or none, large and small numbers, texts, steps, an origin."""
    slot = START + number * 10 * SECOND
    outcome = draw.choice(list(Outcome))
    duration = draw.choice([0, draw.randint(0, 10**6), draw.randint(0, 2**40)])
    step = StepRecord(name="log in", duration_us=draw.randint(0, 10**6), phases_us=(("dns", 3), ("tcp", 900)))
    failed = outcome is Outcome.FAIL
    return Run(
        service="portal",
        check=check,
        location=draw.choice(["jkt-1", "sby-1"]),
        start_us=slot + draw.choice([0, draw.randint(0, 5000), draw.randint(0, 9 * SECOND)]),
        slot_us=draw.choice([slot, slot, None]),
        outcome=outcome,
        duration_us=duration,
        steps=draw.choice([(), (step,)]),
        reason="timeout" if failed else None,
        message=draw.choice(["no answer", "„nein“ 時間"]) if failed else None,
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_body_is_read_as_the_program_reads_it(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    runs = [drawn(draw, check, number) for check in ("login", "db") for number in range(draw.randint(1, 350))]
    draw.shuffle(runs)
    with books(tmp_path, START - DAY, [*AGREED, CHECKS]) as found:
        for first in range(0, len(runs), 50):
            found.store.commit(Unit(recorded_at_us=CLOSING, runs=runs[first : first + 50]))
        seal(found.store, CLOSING)
        cool_all(found.store, CLOSING + 5 * DAY)
        ledger = audit.read_ledger(found.export())
        assert ledger.broken == []
        read = {
            (run.check, run.location, run.start, run.outcome, run.arrival)
            for segments in ledger.segments["portal"].values()
            for run in audit.sealed_runs(segments)
        }
        kept = {
            (one.run.check, one.run.location, one.run.start_us, one.run.outcome.value, one.arrival)
            for held in found.store.segments("portal")
            for one in read_runs(held.segment)
        }
        assert read == kept
        assert {arrival for *_, arrival in read} == set(range(1, len(runs) + 1))


def test_an_hour_of_noise_is_read_as_the_program_reads_it() -> None:
    """Every column of it is written by a histogram that all sources share."""
    held = paced(2)
    written = write_segment(SegmentKey("portal", SOME_HOUR, 0), held, {})
    assert written.body is not None
    rest = audit.Numbers(written.body[1:])
    rest.take(rest.varint())
    assert rest.varint() == 6, "stamps, durations, arrivals, and three of the step"
    assert audit.runs_of_body(written.body, SOME_HOUR) == [
        audit.Run(one.run.check, one.run.location, one.run.start_us, one.arrival, one.run.outcome.value)
        for one in read_runs(written)
    ]


def test_what_the_first_version_sealed_is_read_as_it_was() -> None:
    first = first_segment()
    assert first.body is not None
    told = [
        (run.check, run.location, run.start, run.arrival, run.outcome, run.contested)
        for run in audit.runs_of_body(first.body, first.key.hour_us)
    ]
    assert told == [
        (run["check"], run["location"], run["start_us"], arrival, run["outcome"], contested)
        for arrival, contested, run in FIRST["runs"]
    ]
    sealed = audit.Segment("portal", first.key.hour_us, 0, 1, first.runs, 1, b"", first.head, first.body, None)
    assert [
        [check, location, item.start, item.start if item.outcome is None else item.end, item.outcome or "inconclusive"]
        for check, location, item in audit.pieces_of(sealed)
    ] == [
        [check, location, start, end, outcome]
        for check, location, pieces in FIRST["pieces"]
        for outcome, start, end, _ in pieces
    ]


def test_the_page_gives_the_words_that_texts_are_deflated_against() -> None:
    page = (Path(audit.__file__).parent.parent / "docs" / "interchange.md").read_text(encoding="utf-8")
    assert audit.WORDS.decode() in page.replace("\n", "")
    assert audit.WORDS == WORDS

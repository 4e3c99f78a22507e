"""Runs as rows and back: what is kept of a run, in which order, and what makes two runs of one key the same."""

from __future__ import annotations

import hashlib
from operator import attrgetter
from typing import Any, cast

import orjson

from monitor.core.run import Origin, Outcome, Run, SourceKey, StepRecord
from monitor.core.wire import MAX_TEXT

# The record of one run's steps is bounded: beyond it texts are cut.
MAX_STEPS_BYTES = 64 * 1024
MAX_STEPS = 100

RUN_COLUMNS = (
    "arrival",
    "source",
    "start_us",
    "slot_us",
    "outcome",
    "duration_us",
    "attempts",
    "reason",
    "step",
    "message",
    "tainted",
    "steps",
    "origin",
    "recorded_at_us",
    "contested",
)
RunRow = tuple[
    int, int, int, int | None, str, int, int, str | None, str | None, str | None, int, bytes | None, str, int, int
]

# The columns of a row that say what the run said; the same in two runs of a key means that nothing new came.
_SAID = (4, 5, 6, 7, 8, 9)
_KEPT = ("slot_us", "outcome", "duration_us", "attempts", "reason", "step", "message", "tainted")
_STEP = attrgetter(
    "name",
    "duration_us",
    "phases_us",
    "target",
    "http_status",
    "cert_not_after_s",
    "failed_assertions",
    "error",
    "final",
)
_OUTCOME_TEXT = {outcome: outcome.value for outcome in Outcome}
_ORIGIN_TEXT = {origin: origin.value for origin in Origin}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_ORIGINS = {origin.value: origin for origin in Origin}


def run_row(run: Run, *, arrival: int, source: int, recorded_at_us: int) -> RunRow:
    """The row of a run, in RUN_COLUMNS; plain types only, which drivers bind fastest."""
    return (
        arrival,
        source,
        run.start_us,
        run.slot_us,
        _OUTCOME_TEXT[run.outcome],
        run.duration_us,
        run.attempts,
        run.reason,
        run.step if run.step is None else _storable(run.step),
        run.message if run.message is None else _storable(run.message),
        1 if run.tainted else 0,
        _write_steps(run.steps) if run.steps else None,
        _ORIGIN_TEXT[run.origin],
        recorded_at_us,
        0,
    )


def contested_row(row: RunRow, *, arrival: int, origins: tuple[str, str]) -> RunRow:
    """What a contested key reads: nothing of it depends on which content came first."""
    origin = min(origins, key=[*_ORIGINS].index)
    (_, source, start_us, *_rest, recorded_at_us, _contested) = row
    outcome = Outcome.INCONCLUSIVE.value
    return (arrival, source, start_us, None, outcome, 0, 1, "conflict", None, None, 0, None, origin, recorded_at_us, 1)


def same_said(row: RunRow, other: RunRow) -> bool:
    """Whether two rows of a key say the same (`Run.same_content`, on what is stored)."""
    return all(row[i] == other[i] for i in _SAID)


def content(row: RunRow) -> tuple[str, bytes]:
    """The digest of what a row said, and everything it held, for the table of contested contents."""
    held: dict[str, Any] = dict(zip(RUN_COLUMNS, row, strict=True))
    steps = held["steps"]
    kept = {name: held[name] for name in _KEPT}
    data = orjson.dumps(kept | {"steps": None if steps is None else orjson.loads(steps)})
    return hashlib.sha256(orjson.dumps([row[i] for i in _SAID])).hexdigest(), data


def content_row(data: bytes, *, source: int, start_us: int, origin: str) -> RunRow:
    """The row that a contested content was kept from; its arrival and time of recording are left 0."""
    held = orjson.loads(data)
    steps = None if held["steps"] is None else orjson.dumps(held["steps"])
    known = {
        "arrival": 0,
        "source": source,
        "start_us": start_us,
        "origin": origin,
        "recorded_at_us": 0,
        "contested": 0,
    }
    row: Any = tuple({**held, **known, "steps": steps}[name] for name in RUN_COLUMNS)
    return cast("RunRow", row)


def read_run(row: RunRow, source: SourceKey) -> Run:
    """The run of a row."""
    (_, _, start_us, slot_us, outcome, duration_us, attempts, reason, step, message, tainted, steps, origin, _, _) = row
    return Run(
        service=source.service,
        check=source.check,
        location=source.location,
        start_us=start_us,
        outcome=_OUTCOMES[outcome],
        duration_us=duration_us,
        attempts=attempts,
        slot_us=slot_us,
        reason=reason,
        step=step,
        message=message,
        tainted=bool(tainted),
        steps=_read_steps(steps) if steps is not None else (),
        origin=_ORIGINS[origin],
    )


def _storable(text: str) -> str:
    """The text as both engines can keep it and the interchange file can carry it: no NUL, no lone surrogate, bounded.

    A target may answer anything, and no answer of a target may keep a run from being recorded.
    """
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "…"
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _write_steps(steps: tuple[StepRecord, ...]) -> bytes:
    # Positions, not names: half the bytes of a hot row.
    written = [_STEP(step) for step in steps]
    try:
        data = orjson.dumps(written)
    except TypeError:  # a lone surrogate in what a target answered
        return orjson.dumps(_storable_steps(written))
    return data if len(data) <= MAX_STEPS_BYTES else orjson.dumps(_storable_steps(written))


def _storable_steps(written: list[tuple[Any, ...]]) -> list[list[Any]]:
    return [[_storable_value(value) for value in step] for step in written[:MAX_STEPS]]


def _storable_value(value: Any) -> Any:  # noqa: ANN401 - a field of a step
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, tuple):
        return [_storable_value(item) for item in value[:MAX_STEPS]]
    return value


def _read_steps(data: bytes) -> tuple[StepRecord, ...]:
    return tuple(_read_step(*written) for written in orjson.loads(data))


def _read_step(  # noqa: PLR0913, PLR0917 - the positions in which a step is written
    name: str,
    duration_us: int,
    phases_us: list[tuple[str, int]],
    target: str,
    http_status: int | None,
    cert_not_after_s: int | None,
    failed_assertions: list[str],
    error: str | None,
    final: bool,  # noqa: FBT001 - as above
) -> StepRecord:
    return StepRecord(
        name=name,
        duration_us=duration_us,
        phases_us=tuple((phase, length_us) for phase, length_us in phases_us),
        target=target,
        http_status=http_status,
        cert_not_after_s=cert_not_after_s,
        failed_assertions=tuple(failed_assertions),
        error=error,
        final=final,
    )

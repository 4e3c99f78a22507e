"""What somebody imports to look better counts for nothing once the ledger has lived (INTERFACES, interchange)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from monitor.core.instant import HOUR_US, format_instant_us
from monitor.core.run import Origin
from monitor.ledger.command import CloseMonth
from monitor.ledger.evidence import rebuild
from monitor.ledger.interchange import ImportReport, import_
from tests.ledger.keeping import APRIL, CLOSING, END, START, Keeper, kept, run, watched_april
from tests.ledger.sealing import cool_all, seal

DOWN = (100, 140)
AWAY_US = START - 100 * HOUR_US


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """April with an outage of 40 hours."""
    with kept(tmp_path) as keeper:
        watched_april(keeper, [DOWN])
        yield keeper


def at(hour: float) -> str:
    return format_instant_us(START + int(hour * HOUR_US))


def forged(keeper: Keeper, *lines: dict[str, Any]) -> ImportReport:
    """Import what somebody wrote by hand."""
    written = [{"type": "header", "format": "jaga-ledger/1"}, *lines]
    data = b"".join(orjson.dumps(line) + b"\n" for line in written)
    return import_(keeper.store, io.BytesIO(data), now_us=keeper.now_us, rebuild=rebuild)


def figures(keeper: Keeper) -> dict[str, Any]:
    """The statement but for how many entries the ledger has."""
    return {name: value for name, value in keeper.statement().document.items() if name not in {"ledger", "digest"}}


PLACE = {"service": "portal", "check": "login"}
NOTICE: list[dict[str, Any]] = [
    {"type": "maintenance", "id": "m-1", "services": ["portal"], "partners": None, "start": at(DOWN[0]),
     "end": at(DOWN[1]), "at": format_instant_us(AWAY_US), "summary": "planned, honestly"},
    {"type": "notice", "maintenance": "m-1", "partner": "acme", "at": format_instant_us(AWAY_US), "channel": "email"},
]  # fmt: skip
EXCLUSION = {
    "type": "exclusion", "id": "x-1", "reason": "third_party", "services": ["portal"], "partners": None,
    "start": at(DOWN[0]), "end": at(DOWN[1]), "at": format_instant_us(AWAY_US), "by": "us", "evidence": "trust us",
}  # fmt: skip
LOCATIONS = ("dreamland-1", "dreamland-2", "dreamland-3")
VOTES: list[dict[str, Any]] = [
    {"type": "run", **PLACE, "location": location, "at": at(hour), "outcome": "pass", "duration_us": 1}
    for location in LOCATIONS
    for hour in range(*DOWN)
]
STATED: list[dict[str, Any]] = [
    {"type": "spans", **PLACE, "location": location, "from": at(DOWN[0]), "to": at(DOWN[1]), "outcome": "pass"}
    for location in (*LOCATIONS, "jkt-1")
]
REPLACED: list[dict[str, Any]] = [
    {"type": "run", **PLACE, "location": "jkt-1", "at": at(hour), "outcome": "pass", "duration_us": 1}
    for hour in range(*DOWN)
]
LIST = {
    "type": "checks", "service": "portal", "at": format_instant_us(AWAY_US), "interval_s": 3600, "timeout_s": 10,
    "stale_after_s": 7200, "checks": [{"id": "login"}, {"id": "always-up"}, {"id": "always-up-too"}],
}  # fmt: skip
ANNULMENT = {
    "type": "annulment", "id": "a-1", **PLACE, "location": "jkt-1", "start": at(DOWN[0]), "end": at(DOWN[1]),
    "at": format_instant_us(AWAY_US), "by": "us", "note": "our own fault, of course",
}  # fmt: skip
RULING = {
    "type": "adjudication", "id": "j-1", "service": "portal", "start": at(0), "end": at(720), "verdict": "up",
    "agreed_by": "acme", "at": format_instant_us(AWAY_US), "by": "us", "evidence": "none",
}  # fmt: skip


@pytest.mark.parametrize(
    "lines",
    [NOTICE, [EXCLUSION], VOTES, STATED, REPLACED, [LIST], [ANNULMENT], [RULING]],
    ids=["notice", "exclusion", "votes", "spans", "replaced runs", "check list", "annulment", "ruling"],
)
def test_a_forged_import_changes_no_figure(keeper: Keeper, lines: list[dict[str, Any]]) -> None:
    assert_counts_for_nothing(keeper, lines)


def test_a_forged_import_changes_nothing_in_sealed_hours_either(keeper: Keeper) -> None:
    seal(keeper.store, CLOSING)
    cool_all(keeper.store, CLOSING)
    assert_counts_for_nothing(keeper, [*NOTICE, *VOTES, *STATED, *REPLACED, LIST])


def assert_counts_for_nothing(keeper: Keeper, lines: list[dict[str, Any]]) -> None:
    before = figures(keeper)
    assert before["availability"]["percent"] == "94.444444"
    assert before["credit"]["percent"] == "10"
    report = forged(keeper, *lines)
    assert report.counts is False
    assert report.facts + report.disputed == len(lines)
    assert (report.runs, report.stated, report.contested) == (0, 0, 0)
    assert figures(keeper) == before
    rebuild(keeper.store)
    assert figures(keeper) == before
    keeper.given(CloseMonth(partner="acme", service="portal", month=str(APRIL)))
    assert keeper.statement().document["availability"]["percent"] == "94.444444"


def test_the_same_lines_count_where_history_is_taken_in_first(tmp_path: Path) -> None:
    """The test above could not fail if these lines never did anything."""
    with kept(tmp_path) as keeper:
        keeper.now_us = CLOSING
        one_list = LIST | {"checks": [{"id": "login"}]}
        mine: list[dict[str, Any]] = [
            {"type": "run", **PLACE, "location": "jkt-1", "at": at(hour),
             "outcome": "fail" if hour in range(*DOWN) else "pass"}
            for hour in range(720)
        ]  # fmt: skip
        mine = [{**line, "reason": "timeout"} if line["outcome"] == "fail" else line for line in mine]
        forged(keeper, one_list, *mine)
        assert figures(keeper)["availability"]["percent"] == "94.444444"
        forged(keeper, *VOTES)
        assert figures(keeper)["availability"]["percent"] == "100.000000"


def test_the_same_lines_count_for_a_notice_in_an_imported_history(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        keeper.now_us = CLOSING
        one_list = LIST | {"checks": [{"id": "login"}]}
        mine: list[dict[str, Any]] = [
            {"type": "spans", **PLACE, "location": "jkt-1", "from": at(first), "to": at(last), "outcome": outcome}
            for first, last, outcome in ((0, 100, "pass"), (100, 140, "fail"), (140, 720, "pass"))
        ]
        forged(keeper, one_list, *mine, *NOTICE)
        assert figures(keeper)["availability"]["percent"] == "100.000000"
        assert figures(keeper)["imported"] is True


def test_disputed_evidence_can_be_read(keeper: Keeper) -> None:
    forged(keeper, *VOTES)
    assert {source.location for source in keeper.store.sources(disputed=True)} == set(LOCATIONS)
    assert {source.location for source in keeper.store.sources()} == {"jkt-1"}
    late = run(END + HOUR_US * 30)
    keeper.put(runs=[late])
    assert late.origin is Origin.OWN

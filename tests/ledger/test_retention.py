"""Runs go when they are old, their month is closed and every version of it can be computed without them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor import audit
from monitor.core.fact import Annulment, Reversal
from monitor.core.instant import DAY_US, HOUR_US
from monitor.core.segment import hour_of
from monitor.core.span import Span
from monitor.ledger.command import Annul, CloseMonth, Reverse
from monitor.ledger.evidence import rebuild
from monitor.ledger.explain import explain
from monitor.ledger.interchange import export
from monitor.ledger.retention import gone
from tests.core.examples import WIB
from tests.ledger.keeping import APRIL, CLOSING, END, START, Keeper, kept, run, watched_april
from tests.ledger.sealing import cool_all, expire_all, seal

MONTH = Span(START, END)
DOWN = [(10, 13), (100, 115), (500, 501)]
RETENTION = 30 * DAY_US
OLD = CLOSING + 60 * DAY_US


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with kept(tmp_path) as keeper:
        watched_april(keeper, DOWN)
        yield keeper


def close(keeper: Keeper, **more: object) -> None:
    keeper.given(CloseMonth(partner="acme", service="portal", month=str(APRIL), **more))  # type: ignore[arg-type]


def age(keeper: Keeper, retention_us: int = OLD - START - 210 * HOUR_US) -> list[tuple[str, int]]:
    """Seal, cool and expire all that may be, two months on: the first 210 hours of the month, unless said otherwise."""
    keeper.now_us = OLD
    keeper.watch(OLD - HOUR_US, OLD)
    seal(keeper.store, OLD)
    cool_all(keeper.store, OLD + 3 * DAY_US)
    return expire_all(keeper.store, keeper.months(), retention_us)


def runs_of_april(keeper: Keeper) -> int:
    (source,) = keeper.store.sources()
    return len(list(keeper.store.runs(source, MONTH)))


def test_a_closed_month_is_computed_from_what_its_sealed_hours_said(keeper: Keeper) -> None:
    close(keeper)
    issued = keeper.statement().document
    assert [outage["first_failure"] for outage in issued["outages"]] == [
        f"login at jkt-1: timeout: no answer at {START + hour * HOUR_US}" for hour, _ in DOWN
    ]
    expired = age(keeper, RETENTION)
    assert len(expired) > 700
    assert runs_of_april(keeper) < 30
    again = keeper.statement()
    assert again.document["digest"] == issued["digest"]
    assert again.document["outages"] == issued["outages"]
    lines = explain(again, WIB, list(gone(keeper.months(), again.ground)))
    assert any("hours from 2026-04-01T00:00:00+07:00" in line and "have expired" in line for line in lines)
    assert any("recomputed digest matches the one issued with version 1" in line for line in lines)
    assert expire_all(keeper.store, keeper.months(), RETENTION) == []
    annul = Annul(
        service="portal", check="login", location="jkt-1", start_us=START, end_us=START + HOUR_US, note="too late"
    )
    assert "the runs of portal stamped in the hour from 2026-03-31T17:00:00+00:00 have expired" in keeper.refused(annul)


@pytest.mark.exhaustive
def test_the_runs_of_an_open_month_stay(keeper: Keeper) -> None:
    before = runs_of_april(keeper)
    assert all(hour_us < START for _, hour_us in age(keeper, RETENTION))
    assert runs_of_april(keeper) == before


@pytest.mark.exhaustive
def test_runs_stay_for_as_long_as_is_said(keeper: Keeper) -> None:
    close(keeper)
    before = runs_of_april(keeper)
    keeper.now_us = OLD
    seal(keeper.store, OLD)
    cool_all(keeper.store, OLD)
    expired = expire_all(keeper.store, keeper.months(), OLD - START - 24 * HOUR_US)
    assert expired
    assert max(hour_us for _, hour_us in expired) < START + 24 * HOUR_US
    assert runs_of_april(keeper) == before - 24


@pytest.mark.exhaustive
def test_hours_on_which_two_versions_differ_keep_their_runs(keeper: Keeper) -> None:
    close(keeper)
    first = keeper.statement(1).document
    annulled = Span(START + 110 * HOUR_US, START + 120 * HOUR_US)
    keeper.given(
        Annul(
            service="portal",
            check="login",
            location="jkt-1",
            start_us=annulled.start_us,
            end_us=annulled.end_us,
            note="our own network",
        ),
        over_closed=True,
    )
    close(keeper, restate_reason="our own network was down")
    second = keeper.statement(2).document
    assert first["downtime"] != second["downtime"]
    expired = {hour_us for _, hour_us in age(keeper)}
    assert len(expired) > 190
    assert expired.isdisjoint(range(hour_of(annulled.start_us), annulled.end_us, HOUR_US))
    for version, issued in ((1, first), (2, second)):
        again = keeper.statement(version).document
        assert (again["digest"], again["outages"]) == (issued["digest"], issued["outages"])


@pytest.mark.exhaustive
def test_an_hour_with_a_run_that_came_after_the_close_keeps_its_runs(keeper: Keeper) -> None:
    close(keeper)
    issued = keeper.statement(1).document
    keeper.now_us += HOUR_US
    late = run(START + 200 * HOUR_US + 1, "fail")
    keeper.put(runs=[late])
    expired = {hour_us for _, hour_us in age(keeper)}
    assert len(expired) > 190
    assert hour_of(late.start_us) not in expired
    assert keeper.statement(1).document["digest"] == issued["digest"]


def test_an_annulment_that_is_taken_back_over_expired_runs_changes_nothing_they_said(
    keeper: Keeper, tmp_path: Path
) -> None:
    """Sealed with the annulment, expired with it: that their runs failed is known to nobody any more. The verb refuses,
    and where a reversal stands on record all the same, every version stands, and the time stays unknown.
    """
    voided = Span(START + 104 * HOUR_US, START + 106 * HOUR_US)
    (annulment,) = keeper.given(
        Annul(
            service="portal",
            check="login",
            location="jkt-1",
            start_us=voided.start_us,
            end_us=voided.end_us,
            note="our own network",
        )
    )
    close(keeper)
    issued = keeper.statement(1).document
    assert issued["coverage"]["unknown_seconds"] != "0.000000"
    expired = {hour_us for _, hour_us in age(keeper)}
    assert set(range(hour_of(voided.start_us), voided.end_us, HOUR_US)) <= expired
    assert isinstance(annulment, Annulment)
    assert "have expired" in keeper.refused(Reverse(of=annulment.id, note="it was not our network"))
    keeper.put(facts=[Reversal(of=annulment.id, at_us=keeper.now_us)])
    assert keeper.statement(1).document["digest"] == issued["digest"]
    close(keeper, restate_reason="the annulment was taken back")
    second = keeper.statement(2).document
    for name in ("availability", "coverage", "downtime", "outages"):
        assert second[name] == issued[name], name
    assert [decision["type"] for decision in second["decisions"]] == ["annulment", "reversal"]
    (source,) = keeper.store.sources()
    before = keeper.store.spans_of(source, MONTH)
    rebuild(keeper.store)
    assert keeper.store.spans_of(source, MONTH) == before
    path = tmp_path / "export.jsonl"
    with path.open("wb") as out:
        export(keeper.store, out)
    ledger = audit.read_ledger(path)
    for document in (keeper.statement(1).document, second):
        told = audit.audit(ledger, json.loads(json.dumps(document))).differences
        assert [str(difference) for difference in told] == []

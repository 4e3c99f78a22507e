"""What the ledger itself recorded counts by other rules than what was imported: by its recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitor.ledger.record import Basis
from tests.audit.books import Books, books
from tests.audit.worlds import DAY, HOUR, SECOND, text
from tests.core.examples import at
from tests.ledger.keeping import AGREEMENTS

START, END = at("2026-04-01T00:00:00"), at("2026-05-01T00:00:00")
WINDOW = at("2026-04-10T23:00:00")
LIST = {"type": "checks", "service": "portal", "interval_s": 7200, "timeout_s": 10, "stale_after_s": 14400}
LOGIN, ORDER = {"id": "login", "network": "public"}, {"id": "order", "network": "public"}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Books]:
    """A ledger with a list and a window of its own, 60 hours ahead; terms by configuration."""
    with books(tmp_path, START - 9 * DAY) as found:
        found.basis = Basis(agreements=AGREEMENTS, zone=ZoneInfo, software="jaga test")
        found.record(LIST | {"at": text(found.now_us), "checks": [LOGIN, ORDER], "by": "ops"})
        found.now_us = WINDOW - 60 * HOUR
        window = {"type": "maintenance", "id": "m-1", "services": ["portal"], "partners": None, "summary": "work"}
        found.record(window | {"start": text(WINDOW), "end": text(WINDOW + 2 * HOUR), "at": text(found.now_us)})
        yield found


def notice(told_us: int, **more: str) -> dict[str, Any]:
    return {"type": "notice", "maintenance": "m-1", "partner": "acme", "channel": "email", "at": text(told_us)} | more


def watched(kept: Books) -> None:
    """April by own runs of two checks, both down from 22:00 to 02:00 on the 10th."""
    kept.now_us = END + 5 * DAY
    kept.runs(
        (check, stamp, "fail" if WINDOW - HOUR <= stamp < WINDOW + 3 * HOUR else "pass")
        for stamp in range(START - DAY, END + DAY, 2 * HOUR)
        for check in ("login", "order")
    )


def agreed(kept: Books) -> dict[str, Any]:
    """The statement, provisional and closed, with which the audit agrees."""
    watched(kept)
    assert kept.audited(kept.statements("2026-04")) == []
    kept.close("2026-04")
    (document,) = kept.statements("2026-04")
    assert document["status"] == "final"
    assert kept.audited([document]) == []
    return document


@pytest.mark.parametrize(
    ("told", "recorded", "evidence", "excluded"),
    [
        (49, 49, None, "7200.000000"),
        (49, 47, None, "0.000000"),  # dated back
        (49, 47, "the mail itself", "7200.000000"),  # given otherwise, with evidence
        (47, 47, "the mail itself", "0.000000"),
        (None, None, None, "0.000000"),  # announcing alone is no notice
    ],
)
def test_a_notice_of_the_ledger_s_own(
    told: int | None, recorded: int | None, evidence: str | None, excluded: str, kept: Books
) -> None:
    if told is not None and recorded is not None:
        kept.now_us = WINDOW - recorded * HOUR
        kept.record(notice(WINDOW - told * HOUR, **({"evidence": evidence} if evidence else {})))
    assert agreed(kept)["downtime"]["excluded_seconds"] == excluded


@pytest.mark.parametrize(("late_us", "told"), [(0, False), (SECOND, False), (3 * HOUR, True)])
def test_a_list_that_would_act_backwards_is_told(late_us: int, told: bool, kept: Books) -> None:
    """CONTRACT 2.3: a change of the list acts from its recording. A unit's own delay is none."""
    kept.now_us = WINDOW + HOUR
    kept.record(LIST | {"at": text(kept.now_us - late_us), "checks": [LOGIN, {"id": "other", "network": "public"}]})
    watched(kept)
    found = kept.audited(kept.statements("2026-04"))
    assert ["acts before its recording" in each for each in found] == [True] * told

"""The picture of the month: every outage and window in the day and at the hour where it lies."""

from __future__ import annotations

import copy
from typing import Any

from monitor.locale import Lang
from monitor.reports import csv
from monitor.reports.html import page
from monitor.reports.strip import DAY_WIDTH, GAP, HEIGHT, strip
from monitor.reports.text import text
from tests.reports.example import statement

STEP = DAY_WIDTH + GAP
WINDOWS: list[dict[str, Any]] = [
    {
        "id": "m-1",
        "reason": "maintenance",
        "start": "2026-11-30T23:00:00+07:00",
        "end": "2026-12-01T01:00:00+07:00",
        "announced": "2026-11-20T10:00:00+07:00",
        "qualifies": True,
    },
    {
        "id": "m-2",
        "reason": "maintenance",
        "start": "2026-11-10T12:00:00+07:00",
        "end": "2026-11-10T18:00:00+07:00",
        "announced": None,
        "qualifies": False,
    },
]


def test_an_outage_over_three_days_is_a_mark_in_each() -> None:
    down = [bar for bar in strip(statement()).bars if bar.kind == "down"][:3]
    assert [bar.x // STEP + 1 for bar in down] == [3, 4, 5]
    assert (down[0].y, down[0].height) == (HEIGHT * 785 // 1440, HEIGHT - HEIGHT * 785 // 1440)  # from 13:05 on
    assert (down[1].y, down[1].height) == (0, HEIGHT)
    assert (down[2].y, down[2].height) == (0, HEIGHT * 404 // 1440)  # to 06:44:59


def test_a_window_is_drawn_under_the_outage_and_cut_at_the_month_s_end() -> None:
    drawn = strip(statement(), WINDOWS)
    assert [bar.kind for bar in drawn.bars] == ["window", "rejected", "down", "down", "down", "down", "excluded"]
    window, rejected = drawn.bars[:2]
    assert (window.x, window.y, window.height) == (29 * STEP, HEIGHT * 23 // 24, HEIGHT // 24)
    assert (rejected.x, rejected.y, rejected.height) == (9 * STEP, HEIGHT // 2, HEIGHT // 4)
    assert all(0 <= bar.y <= bar.y + bar.height <= HEIGHT for bar in drawn.bars)


def test_a_moment_can_still_be_seen() -> None:
    document = copy.deepcopy(statement())
    document["outages"] = [
        {**document["outages"][0], "start": "2026-11-03T23:59:59+07:00", "seconds": "1.000000", "excluded": []},
    ]
    (bar,) = strip(document).bars
    assert (bar.y, bar.height) == (HEIGHT - 2, 2)


def test_weekends_are_told_apart() -> None:
    weekend = [column.number for column in strip(statement()).columns if column.weekend]
    assert weekend == [1, 7, 8, 14, 15, 21, 22, 28, 29]  # November 2026 begins on a Sunday


def test_windows_are_listed_with_when_they_were_announced() -> None:
    for shown in (text(statement(), Lang.EN, WINDOWS), page(statement(), Lang.EN, WINDOWS)):
        assert "20 November 2026 10:00:00 WIB" in shown
        assert "never" in shown
    flat = " ".join(text(statement(), Lang.EN, WINDOWS).split())
    assert "scheduled maintenance m-1 (announced 20 November 2026 10:00:00 WIB)" in flat
    assert page(statement(), Lang.ID, WINDOWS).count("<rect class=") == 30 + 7 + 4  # days, marks, the legend's


def test_the_sections_are_numbered_as_the_parties_know_them() -> None:
    shown = text(statement(), Lang.ID)
    titles = ["2. Angka", "3. Gangguan", "4. Pengecualian", "5. Insiden", "6. Kredit Layanan", "7. Klaim"]
    titles += ["8. Cara perhitungan", "9. Pengesahan"]
    found = [shown.index(f"\n{title}\n") for title in titles]
    assert found == sorted(found)


def test_outages_as_csv() -> None:
    rows = csv.outages([statement(), statement()], delimiter=";").removeprefix(csv.BOM).splitlines()
    assert rows[0] == (
        "statement;version;partner_id;service_id;start;end;seconds;counted_seconds;excluded_by;reasons;peak_failing;"
        "first_failure"
    )
    assert len(rows) == 1 + 2 * 2
    assert rows[1].startswith("2026-11/acme/portal;1;acme;portal;2026-11-03T13:05:00+07:00;2026-11-05T06:44:59.04")
    assert ";m-1;maintenance;4/4 checks;" in rows[2]

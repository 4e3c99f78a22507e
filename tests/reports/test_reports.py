"""Every format says what the statement says, in both languages, and nothing that came from outside can act in it."""

from __future__ import annotations

import copy
import csv as stdcsv
import io
import re

import pytest

from monitor.locale import Lang
from monitor.reports import csv, file_name
from monitor.reports.html import page
from monitor.reports.text import WIDTH, text
from monitor.reports.view import days
from monitor.reports.words import keys, word
from tests.reports.example import statement


def test_the_verdict_stands_first() -> None:
    first = text(statement(), Lang.ID).splitlines()[0]
    assert first == (
        "Jaminan 95% TIDAK TERPENUHI (sejauh ini, bulan masih berjalan): ketersediaan 94,213%, kredit 10% = Rp1.250.000"
    )
    first = text(statement(), Lang.EN).splitlines()[0]
    assert (
        first == "Guarantee 95% MISSED (so far, the month still runs): availability 94.213%, credit 10% = IDR 1,250,000"
    )


@pytest.mark.parametrize(
    ("lang", "shown"),
    [
        (
            Lang.ID,
            [
                "Yayasan Acme (acme)",
                "03 November 2026 13.05.00 WIB",
                "31 Desember 2026 00.00.00 WIB",
                "satu juta dua ratus lima puluh ribu rupiah",
                "Pemeliharaan Terjadwal m-1",
                "masih berlangsung",
                "notice 47:59:59 before start, 48:00:00 needed",
                "2.442.000.960.000 / 2.592.000.000.000 µs",
                "1 hari 17 jam 39 menit 59,04 detik",
                "jaga explain acme 2026-11",
                "order at jkt-1",
            ],
        ),
        (
            Lang.EN,
            [
                "03 November 2026 13:05:00 WIB",
                "one million two hundred fifty thousand rupiah",
                "scheduled maintenance m-1",
                "1 d 17 h 39 min 59.04 s",
                "still open",
                "adjudication",
            ],
        ),
    ],
)
def test_text_and_html_show_every_figure(lang: Lang, shown: list[str]) -> None:
    as_text = re.sub(r"\s+", " ", text(statement(), lang))
    as_page = re.sub(r"\s+", " ", page(statement(), lang))
    for piece in shown:
        assert piece in as_text
        assert piece.replace("'", "&#39;") in as_page


def test_text_keeps_its_width() -> None:
    lines = text(statement(), Lang.EN).splitlines()
    # The verdict may be longer, it is one sentence on purpose; a digest is never cut.
    assert [line for line in lines if len(line) > WIDTH and "sha256:" not in line] == lines[:1]


def test_the_strip_of_days() -> None:
    states = {day.number: day.state for day in days(statement())}
    assert len(states) == 30
    assert [number for number, state in states.items() if state == "down"] == [3, 4, 5]
    assert [number for number, state in states.items() if state == "excluded"] == [30]


def test_an_outage_that_ends_at_midnight_leaves_the_next_day_alone() -> None:
    document = statement()
    document["outages"] = [
        {**document["outages"][0], "start": "2026-11-03T13:05:00+07:00", "end": "2026-11-04T00:00:00+07:00"},
    ]
    assert [day.number for day in days(document) if day.state != "up"] == [3]


def test_html_is_escaped_and_self_contained() -> None:
    document = statement()
    document["partner"]["name"] = '<script>alert("x")</script>'
    shown = page(document, Lang.ID)
    assert "<script" not in shown
    assert "<b>access log" not in shown
    assert not re.findall(r"""(?:src|href|url)\s*[=(]""", shown)
    assert '<html lang="id">' in shown


def test_csv_reads_back() -> None:
    written = csv.table([statement(), statement()])
    assert written.startswith("\ufeff")
    rows = list(stdcsv.DictReader(io.StringIO(written[1:])))
    assert len(rows) == 2
    assert rows[0]["availability_percent"] == "94.213000"
    assert rows[0]["credit"] == "1250000"
    assert rows[0]["guarantee_met"] == "no"
    assert rows[0]["claim_deadline"] == "2026-12-31T00:00:00+07:00"


def test_csv_with_semicolons() -> None:
    assert csv.table([statement()], delimiter=";").splitlines()[0].startswith("\ufeffstatement;version;status;")


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1"])
def test_a_name_is_no_formula(name: str) -> None:
    document = statement()
    document["partner"]["name"] = name
    rows = list(stdcsv.DictReader(io.StringIO(csv.table([document])[1:])))
    assert rows[0]["partner_name"] == "'" + name


def test_same_document_same_bytes() -> None:
    for lang in Lang:
        assert page(statement(), lang) == page(copy.deepcopy(statement()), lang)
        assert text(statement(), lang) == text(copy.deepcopy(statement()), lang)


def test_without_objective_outages_and_exclusions() -> None:
    document = statement()
    document.update(objective=None, outages=[], excluded=[], rejected=[], decisions=[])
    shown = text(document, Lang.EN)
    assert "No outage." in shown
    assert "No exclusion." in shown
    assert "MISSED" not in shown.split("Objective")[1].splitlines()[0]


def test_a_restated_final_statement() -> None:
    document = statement()
    document.update(
        version=2,
        status="final",
        issued_at="2026-12-04T09:00:00+07:00",
        digest="sha256:" + "cd" * 32,
        restates={"version": 1, "reason": "late evidence", "by": "sari", "credit_delta": "250000"},
    )
    shown = text(document, Lang.EN)
    assert "late evidence" in shown
    assert "cdcdcd" in shown
    assert "so far" not in shown


def test_file_names_stay_in_their_folder() -> None:
    assert file_name(statement(), "html") == "SLA-2026-11-acme-portal-v1.html"
    document = statement()
    document["partner"]["id"] = "../../etc"
    assert "/" not in file_name(document, "csv")


def test_every_word_exists_in_both_languages() -> None:
    for key in keys():
        assert word(key, Lang.ID)
        assert word(key, Lang.EN)
    assert word("no such word", Lang.ID) == "no such word"


def test_text_from_a_target_cannot_steer_the_terminal() -> None:
    document = statement()
    document["outages"][0]["first_failure"] = "got \x1b[2Jnothing\nForged line"
    assert "\x1b" not in text(document, Lang.EN)
    assert "\nForged" not in text(document, Lang.EN)


def test_an_outage_that_begins_at_midnight_leaves_the_day_before_alone() -> None:
    document = statement()
    document["outages"] = [
        {**document["outages"][0], "start": "2026-11-04T00:00:00+07:00", "end": "2026-11-04T01:00:00+07:00"},
    ]
    assert [day.number for day in days(document) if day.state != "up"] == [4]

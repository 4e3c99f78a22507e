"""Credit notes over all services of a partner, the yearly review, and an issued digest that no longer matches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CONFIG, HISTORY, Jaga


def several(tmp_path: Path, base: str) -> None:
    """Acme also has the service docs, which stays up, for IDR 2,000,000."""
    config = CONFIG.replace("claim_within: 30d", f"claim_within: 30d\n        credit_base: {base}")
    config = config.replace("partners:\n", DOCS + "partners:\n")
    config = config.replace("{fee: IDR 12500000}}}", "{fee: IDR 12500000}, docs: {fee: IDR 2000000}}}")
    (tmp_path / "config" / "jaga.yaml").write_text(config)
    lines = [
        json.dumps(line | {"service": "docs"} | ({"outcome": "pass"} if line["type"] == "spans" else {}))
        for line in HISTORY
        if line["type"] != "header"
    ]
    header = json.dumps(HISTORY[0])
    (tmp_path / "docs.jsonl").write_text("\n".join([header, *lines]) + "\n")


DOCS = """\
  docs:
    interval: 60s
    timeout: 10s
    checks:
      a: {http: {get: "http://127.0.0.1:9/"}, expect: {status: 200}}
      b: {http: {get: "http://127.0.0.1:9/"}, expect: {status: 200}}
"""


@pytest.mark.parametrize(("base", "amount"), [("total", "1450000"), ("service", "1250000")])
def test_a_credit_note_applies_the_credit_base(ledger: Jaga, tmp_path: Path, base: str, amount: str) -> None:
    several(tmp_path, base)
    assert ledger("ledger", "import", tmp_path / "docs.jsonl").code == 0
    note = ledger("credit-note", "acme", "2026-04", "--json").json()
    (part,) = note["parts"]
    assert (part["credit_base"], part["amount"]) == (base, amount)
    assert part["percent"] == ("10" if base == "total" else None)
    assert part["fee"] == {"currency": "IDR", "amount": "14500000"}
    assert [line["service"]["id"] for line in part["lines"]] == ["docs", "portal"]
    assert note["status"] == "provisional"
    shown = ledger("credit-note", "acme", "2026-04", "--lang", "id").out
    assert "Rp14.500.000" in shown
    assert {"total": "satu juta empat ratus lima puluh ribu rupiah", "service": "satu juta dua ratus"}[base] in shown
    assert "Diperhitungkan pada tagihan berikutnya." in shown


def test_a_credit_note_over_closed_months_is_final_and_names_their_digests(ledger: Jaga) -> None:
    assert ledger("close", "2026-04").code == 0
    note = ledger("credit-note", "acme", "2026-04", "--json").json()
    (statement,) = ledger("statement", "--month", "2026-04", "--format", "json").json()
    assert note["status"] == "final"
    assert note["parts"][0]["lines"][0]["digest"] == statement["digest"]
    assert statement["digest"] in ledger("credit-note", "acme", "2026-04").out


def test_no_credit_note_is_the_answer_no(ledger: Jaga) -> None:
    said = ledger("credit-note", "nobody", "2026-04")
    assert said.code == 1
    assert "there is no statement for nobody in 2026-04" in said.err


def test_the_yearly_review_sums_the_months(ledger: Jaga) -> None:
    assert ledger("close", "2026-04").code == 0
    (review,) = ledger("report", "yearly", "2026", "--json").json()["reviews"]
    months = {month["month"]: month for month in review["months"]}
    assert months["2026-04"]["availability"]["percent"] == "94.861111"
    assert months["2026-04"]["status"] == "final"
    assert months["2026-04"]["credit"]["amount"] == "1250000"
    assert review["year"]["missed"] == 1
    assert review["year"]["downtime"]["seconds"] == "133200.000000"
    assert review["year"]["longest_outage_seconds"] == "133200.000000"
    assert review["year"]["credits"] == [{"currency": "IDR", "amount": "1250000"}]
    assert review["terms"] == [
        {"contract": "mitra", "effective_from": "2026-01-01T00:00:00+07:00", "guarantee": "95"},
    ]
    shown = ledger("report", "yearly", "2026").out
    assert "2026, portal for acme: guarantee missed in 1 of" in shown
    assert "the longest 133200.000000 s; credits IDR 1250000" in shown


def test_excluded_time_stands_in_the_yearly_review_by_reason(ledger: Jaga) -> None:
    span = ("--start", "2026-04-10T00:00:00+07:00", "--end", "2026-04-10T01:00:00+07:00")
    assert ledger("exclude", "add", "portal", "--reason", "attack", *span, "--evidence", "report 7").code == 0
    (review,) = ledger("report", "yearly", "2026", "--json").json()["reviews"]
    assert review["excluded"] == [{"reason": "attack", "seconds": "3600.000000"}]
    assert "excluded: attack 3600.000000 s" in ledger("report", "yearly", "2026").out


def test_a_year_without_statements_is_the_answer_no(ledger: Jaga) -> None:
    said = ledger("report", "yearly", "2020")
    assert said.code == 1
    assert "there is no statement in 2020" in said.err


def test_a_granted_credit_is_set_off_against_an_invoice_once(ledger: Jaga) -> None:
    ours = ("acme", "2026-04", "--service", "portal")
    early = ledger("claim", "apply", *ours, "--invoice", "INV-7")
    assert (early.code, "only a granted one is set off, after the month's close" in early.err) == (1, True)
    assert ledger("claim", "file", *ours, "--at", "2026-05-20T09:00:00+07:00").code == 0
    assert ledger("close", "2026-04").code == 0
    (granted,) = ledger("statement", "--month", "2026-04", "--format", "json").json()
    assert granted["claim"]["status"] == "granted"
    done = ledger("claim", "apply", *ours, "--invoice", "INV-7")
    assert "recorded credit_applied 2026-04 acme portal" in done.out
    (applied,) = ledger("statement", "--month", "2026-04", "--format", "json").json()
    assert (applied["claim"]["status"], applied["digest"]) == ("applied", granted["digest"])
    again = ledger("claim", "apply", *ours, "--invoice", "INV-8")
    assert (again.code, "was set off against INV-7 already" in again.err) == (1, True)
    assert ledger("explain", "acme", "2026-04").code == 0


def test_several_reviews_stand_apart(ledger: Jaga, tmp_path: Path) -> None:
    several(tmp_path, "total")
    assert "2026, docs for acme" in (out := ledger("report", "yearly", "2026").out)
    assert "\n\n2026, portal for acme" in out


def test_a_folder_of_csv_holds_services_and_outages(ledger: Jaga, tmp_path: Path) -> None:
    said = ledger("statement", "--month", "2026-04", "--format", "csv", "--semicolon", "--output", tmp_path / "out")
    names = ["SLA-2026-04-acme-portal-v1.csv", "SLA-2026-04-acme-portal-v1-outages.csv"]
    assert said.out.splitlines() == [str(tmp_path / "out" / name) for name in names]
    outages = (tmp_path / "out" / names[1]).read_bytes()
    assert outages.startswith(b"\xef\xbb\xbfstatement;version;")
    assert b"2026-04-10T00:00:00+07:00;2026-04-11T13:00:00+07:00;133200.000000;133200.000000" in outages
    shown = ledger("statement", "--month", "2026-04", "--format", "csv", "--outages").out
    assert shown.splitlines()[1].startswith("2026-04/acme/portal,1,acme,portal,2026-04-10T00:00:00+07:00")


def test_the_windows_of_the_month_stand_in_its_statement(ledger: Jaga) -> None:
    span = ("--start", "2026-04-10T00:00:00+07:00", "--end", "2026-04-10T02:00:00+07:00")
    told = ("--notified", "acme", "--at", "2026-04-01T09:00:00+07:00", "--evidence", "letter 9")
    assert ledger("maintenance", "announce", "portal", *span, "--summary", "db", *told).code == 0
    nobody = ("--start", "2026-04-20T00:00:00+07:00", "--end", "2026-04-20T02:00:00+07:00", "--evidence", "agreed")
    assert ledger("maintenance", "announce", "portal", *nobody, "--summary", "db").code == 0
    decided = ("--start", "2026-04-10T02:00:00+07:00", "--end", "2026-04-10T03:00:00+07:00", "--evidence", "report 7")
    assert ledger("exclude", "add", "portal", "--reason", "attack", *decided).code == 0
    shown = " ".join(ledger("statement", "--month", "2026-04").out.split())
    assert "scheduled maintenance m-1 (announced 01 April 2026 09:00:00 WIB)" in shown
    assert "Announced / decided never Qualifies no" in shown
    assert "attack x-1 (announced" in shown


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (("--at", "2026-04-01T09:00:00+07:00"), "name it with --notified PARTNER"),
        (("--notified", "acme"), "'acme' names no instant; give --at INSTANT"),
    ],
)
def test_half_a_notice_is_wrong_use(ledger: Jaga, said: tuple[str, ...], wrong: str) -> None:
    span = ("--start", "2036-04-10T00:00:00+07:00", "--end", "2036-04-10T02:00:00+07:00", "--summary", "db")
    found = ledger("maintenance", "announce", "portal", *span, *said)
    assert (found.code, wrong in " ".join(found.err.split())) == (2, True)


def test_a_window_by_a_rule_is_announced_at_its_instants(ledger: Jaga) -> None:
    span = ("--start", "2036-04-10T00:00:00+07:00", "--end", "2036-04-10T02:00:00+07:00", "--summary", "db")
    assert ledger("maintenance", "announce", "portal", *span, "--rule", "FREQ=MONTHLY;COUNT=3", "--id", "p").code == 0
    listed = ledger("maintenance", "list", "--json").json()
    assert [(window["id"], window["start"]) for window in listed] == [
        ("p.1", "2036-04-09T17:00:00+00:00"),
        ("p.2", "2036-05-09T17:00:00+00:00"),
        ("p.3", "2036-06-09T17:00:00+00:00"),
    ]
    endless = ledger("maintenance", "announce", "portal", *span, "--rule", "FREQ=DAILY")
    assert (endless.code, "has no end: give COUNT=… or UNTIL=…" in endless.err) == (1, True)


def test_what_touches_a_closed_month_opens_a_proposed_restatement(ledger: Jaga) -> None:
    assert ledger("close", "2026-04").code == 0
    assert "Every closed month stands as it was issued." in ledger("report", "restatements").out
    span = ("--start", "2026-04-10T00:00:00+07:00", "--end", "2026-04-10T02:00:00+07:00", "--evidence", "report 7")
    refused = ledger("exclude", "add", "portal", "--reason", "attack", *span)
    assert (refused.code, "it touches closed months: 2026-04/acme/portal" in refused.err) == (1, True)
    assert ledger("exclude", "add", "portal", "--reason", "attack", *span, "--restate").code == 0
    (found,) = ledger("report", "restatements", "--json").json()
    assert found == {
        "statement": "2026-04/acme/portal",
        "version": 1,
        "availability": ["94.861111", "95.138888"],
        "credit_delta": "-1250000",
    }
    assert "94.861111 %" in ledger("report", "restatements").out
    restate = ("close", "2026-04", "--restate", "--reason", "report 7")
    previewed = ledger(*restate, "--preview").out
    assert "94.861111 %   95.138888 %  10 % = IDR 1250000  0 % = IDR 0" in previewed
    assert ledger(*restate).code == 0
    assert "Every closed month stands as it was issued." in ledger("report", "restatements").out
    assert "No figure of any month would change." in ledger(*restate, "--preview").out

"""Each verb over a real ledger: what it prints, where, and with which exit code."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import HISTORY, Jaga


def test_statement_json_is_an_array_in_its_promised_order_and_nothing_else(ledger: Jaga) -> None:
    said = ledger("statement", "--month", "2026-04", "--format", "json")
    assert (said.code, said.err) == (0, "")
    (statement,) = said.json()
    assert list(statement) == [
        "schema", "statement", "version", "status", "partner", "service", "contract", "period", "availability",
        "worst_case", "coverage", "downtime", "excluded", "rejected", "outages", "guarantee", "objective", "credit",
        "claim", "decisions", "imported", "issued_at", "checkpoint", "restates", "incidents", "method", "ledger",
        "digest",
    ]  # fmt: skip
    assert statement["downtime"]["seconds"] == "133200.000000"
    assert statement["availability"]["percent"] == "94.861111"
    assert statement["credit"]["amount"] == "1250000"
    assert statement["imported"] is True


def test_statement_text_and_languages(ledger: Jaga) -> None:
    english = ledger("statement", "--month", "2026-04")
    assert english.out.startswith("Guarantee 95% MISSED")
    indonesian = ledger("statement", "--month", "2026-04", "--lang", "id")
    assert indonesian.out.startswith("Jaminan 95% TIDAK TERPENUHI")


def test_statement_csv_and_html(ledger: Jaga) -> None:
    said = ledger("statement", "--month", "2026-04", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(said.out.removeprefix("\ufeff")))
    assert row["availability_percent"] == "94.861111"
    assert ledger("statement", "--month", "2026-04", "--format", "html").out.startswith("<!doctype html>")


def test_statement_into_a_folder(ledger: Jaga, tmp_path: Path) -> None:
    said = ledger("statement", "--month", "2026-04", "--format", "html", "--output", tmp_path / "out")
    assert said.out.splitlines() == [str(tmp_path / "out" / "SLA-2026-04-acme-portal-v1.html")]
    assert "Yayasan Acme" in (tmp_path / "out" / "SLA-2026-04-acme-portal-v1.html").read_text()
    ledger("statement", "--month", "2026-04", "--format", "csv", "--output", tmp_path / "out")
    assert (tmp_path / "out" / "SLA-2026-04-acme-portal-v1.csv").read_bytes().startswith(b"\xef\xbb\xbfstatement,")


@pytest.mark.parametrize("asked", [["--partner", "nobody"], ["--service", "nothing"]])
def test_no_statement_is_the_answer_no(ledger: Jaga, asked: list[str]) -> None:
    said = ledger("statement", "--month", "2026-04", "--format", "json", *asked)
    assert said.code == 1
    assert said.json() == []
    assert "no statement" in said.err


def test_a_bad_month_is_wrong_use(ledger: Jaga) -> None:
    said = ledger("statement", "--month", "2026-4")
    assert said.code == 2
    assert "2026-" in said.err
    assert ledger("explain", "acme", "April").code == 2


def test_explain_ends_in_the_credit(ledger: Jaga) -> None:
    said = ledger("explain", "acme", "2026-04")
    assert said.code == 0
    assert "= 133200.000000 s" in said.out
    assert "credit = IDR 12500000 x 10 % = IDR 1250000" in said.out
    (explained,) = ledger("explain", "acme", "2026-04", "--json").json()
    assert explained["lines"] == said.out.splitlines()
    assert ledger("explain", "nobody", "2026-04").code == 1


def test_status(ledger: Jaga) -> None:
    said = ledger("status")
    assert said.code == 0
    header, row = said.out.splitlines()
    assert header.split()[:2] == ["service", "verdict"]
    assert row.split()[:2] == ["portal", "unknown"]
    document = ledger("status", "--json", "portal").json()
    assert document["services"][0]["id"] == "portal"
    assert ledger("status", "nothing").code == 2


def test_the_chain_verifies_and_stats_count(ledger: Jaga) -> None:
    said = ledger("ledger", "verify")
    assert said.code == 0
    assert "The chain holds: 1 entries" in said.out
    assert ledger("ledger", "verify", "--json").json()["holds"] is True
    assert ledger("ledger", "stats", "--json").json()["stated"] == 6


def test_export_goes_into_another_store_and_gives_the_same_statement(ledger: Jaga, tmp_path: Path) -> None:
    assert ledger("ledger", "export", tmp_path / "out.jsonl").code == 0
    other = f"sqlite:///{tmp_path}/other.db"
    assert ledger("--store", other, "ledger", "import", tmp_path / "out.jsonl").code == 0
    asked = ("statement", "--month", "2026-04", "--format", "json")
    assert ledger(*asked).json() == ledger(*asked, "--store", other).json()
    assert not list(tmp_path.glob("*.partial"))


def test_export_to_stdout_is_the_file(ledger: Jaga, tmp_path: Path) -> None:
    ledger("ledger", "export", tmp_path / "out.jsonl")
    assert ledger("ledger", "export").out == (tmp_path / "out.jsonl").read_text()


def test_importing_twice_changes_nothing(ledger: Jaga, history: Path) -> None:
    before = ledger("ledger", "stats", "--json").json()
    said = ledger("ledger", "import", history, "--json").json()
    assert (said["facts"], said["known_facts"], said["stated"]) == (0, 1, 0)
    after = ledger("ledger", "stats", "--json").json()
    assert {**after, "size_bytes": 0} == {**before, "size_bytes": 0}


def test_a_broken_line_is_named_and_nothing_is_imported(jaga: Jaga, tmp_path: Path) -> None:
    lines = [json.dumps(line) for line in HISTORY]
    lines[3] = lines[3].replace('"outcome"', '"outcom"')
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    said = jaga("ledger", "import", tmp_path / "bad.jsonl")
    assert said.code == 2
    assert "line 4" in said.err
    assert jaga("ledger", "stats", "--json").json()["stated"] == 0


def test_a_window_from_announcement_to_list(ledger: Jaga) -> None:
    said = ledger(
        "maintenance", "announce", "portal", "--start", "2026-04-10T01:00:00+07:00", "--end",
        "2026-04-10T02:00:00+07:00", "--summary", "upgrade", "--by", "sari", "--evidence", "mail 4711",
        "--notified", "acme=2026-04-01T00:00:00+07:00",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "recorded maintenance m-1" in said.out
    assert "recorded notice" in said.out
    (window,) = ledger("maintenance", "list", "--json").json()
    assert (window["id"], window["services"]) == ("m-1", ["portal"])
    assert ledger("maintenance", "list").out.splitlines()[1].split()[-2:] == ["over", "upgrade"]


def test_a_preview_shows_the_effect_and_records_nothing(ledger: Jaga) -> None:
    asked = (
        "exclude", "add", "portal", "--reason", "third_party", "--start", "2026-04-10T00:00:00+07:00", "--end",
        "2026-04-10T12:00:00+07:00", "--evidence", "data centre report",
    )  # fmt: skip
    said = ledger(*asked, "--preview")
    assert said.code == 0, said.err
    assert "2026-04/acme/portal  94.861111 %" in said.out
    assert "96.527777 %" in said.out
    assert "0 % = IDR 0" in said.out
    assert ledger("exclude", "list", "--json").json() == []
    assert ledger(*asked).code == 0
    statement = ledger("statement", "--month", "2026-04", "--format", "json").json()[0]
    assert statement["availability"]["percent"] == "96.527777"


def test_a_reversal_brings_the_time_back(ledger: Jaga) -> None:
    ledger(
        "exclude", "add", "portal", "--reason", "attack", "--start", "2026-04-10T00:00:00+07:00", "--end",
        "2026-04-10T12:00:00+07:00", "--evidence", "report",
    )  # fmt: skip
    assert "recorded reversal x-1" in ledger("exclude", "reverse", "x-1", "--note", "withdrawn").out
    statement = ledger("statement", "--month", "2026-04", "--format", "json").json()[0]
    assert statement["availability"]["percent"] == "94.861111"
    assert ledger("exclude", "list", "--json").json()[0]["reversed"] is True


def test_a_refusal_is_the_answer_no_with_its_reason(ledger: Jaga) -> None:
    said = ledger("maintenance", "finish", "m-9")
    assert said.code == 1
    assert "there is no window m-9" in said.err
    said = ledger(
        "adjudicate", "portal", "up", "--start", "2026-04-10T00:00:00+07:00", "--end", "2026-04-10T12:00:00+07:00",
        "--evidence", "log",
    )  # fmt: skip
    assert said.code == 1
    assert "DOWN" in said.err


def test_an_annulment_makes_the_time_unknown(ledger: Jaga) -> None:
    asked = (
        "annul", "portal/a", "--location", "jkt-1", "--start", "2026-04-10T00:00:00+07:00", "--end",
        "2026-04-11T13:00:00+07:00", "--note", "wrong password",
    )  # fmt: skip
    said = ledger(*asked)
    assert said.code == 0, said.err
    assert ledger("annul", "portal", *asked[2:]).code == 2


def test_a_claim_from_filing_to_list(ledger: Jaga) -> None:
    said = ledger("claim", "file", "acme", "2026-04", "--service", "portal", "--at", "2026-05-10T00:00:00+07:00")
    assert said.code == 0, said.err
    (claim,) = ledger("claim", "list", "--json").json()
    assert (claim["partner"], claim["month"], claim["credit"]["amount"]) == ("acme", "2026-04", "1250000")
    late = ledger("claim", "file", "acme", "2026-03", "--service", "portal")
    assert late.code == 1


def test_a_month_closes_once_and_is_restated_with_a_reason(ledger: Jaga) -> None:
    said = ledger("close", "2026-04", "--by", "sari")
    assert said.code == 0, said.err
    assert "version 1, digest sha256:" in said.out
    statement = ledger("statement", "--month", "2026-04", "--format", "json").json()[0]
    assert (statement["status"], statement["version"]) == ("final", 1)
    assert "matches" in ledger("explain", "acme", "2026-04").out
    assert ledger("close", "2026-04").code == 1
    assert ledger("close", "2026-04", "--restate").code == 2
    touching = (
        "exclude", "add", "portal", "--reason", "attack", "--start", "2026-04-10T00:00:00+07:00", "--end",
        "2026-04-10T12:00:00+07:00", "--evidence", "report",
    )  # fmt: skip
    refused = ledger(*touching)
    assert refused.code == 1
    assert "2026-04/acme/portal" in refused.err
    assert ledger(*touching, "--restate").code == 0
    assert ledger("close", "2026-04", "--restate", "--reason", "late report").code == 0
    second = ledger("statement", "--month", "2026-04", "--format", "json").json()[0]
    assert (second["version"], second["availability"]["percent"]) == (2, "96.527777")
    first = ledger("statement", "--month", "2026-04", "--format", "json", "--version", "1").json()[0]
    assert first["digest"] == statement["digest"]
    assert ledger("statement", "--month", "2026-04", "--version", "7").code == 2


def test_without_a_configuration_says_how_to_get_one(jaga: Jaga, tmp_path: Path) -> None:
    (tmp_path / "config" / "jaga.yaml").unlink()
    said = jaga("status")
    assert said.code == 2
    assert "jaga init" in said.err


def test_without_a_ledger_the_environment_failed(jaga: Jaga) -> None:
    said = jaga("status")
    assert said.code == 3
    assert "ledger.db" in said.err


def test_a_bad_configuration_names_every_place(jaga: Jaga, tmp_path: Path) -> None:
    path = tmp_path / "config" / "jaga.yaml"
    path.write_text(
        path.read_text().replace("interval: 60s", "intervall: 60s").replace("guarantee: 95%", "guarantee: x")
    )
    said = jaga("statement", "--month", "2026-04")
    assert said.code == 2
    assert len([line for line in said.err.splitlines() if "jaga.yaml:" in line]) >= 2
    assert 'did you mean "interval"?' in said.err


def test_the_environment_may_name_the_configuration(
    ledger: Jaga,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = tmp_path / "elsewhere.yaml"
    (tmp_path / "config" / "jaga.yaml").rename(elsewhere)
    assert ledger("status").code == 2
    monkeypatch.setenv("JAGA_CONFIG", str(elsewhere))
    assert ledger("status").code == 3
    assert ledger("status", "--config", "nowhere.yaml").code == 2


def test_check_accepts_and_warns(jaga: Jaga) -> None:
    said = jaga("check")
    assert (said.code, said.out) == (0, "config/jaga.yaml: accepted: 1 service, 2 checks, 1 partner\n")
    assert "(warning)" in said.err
    document = jaga("check", "--json").json()
    assert document["accepted"] is True
    assert document["warnings"]


def test_check_names_the_drop_in_that_a_kind_needs(jaga: Jaga, tmp_path: Path) -> None:
    assert jaga("check", "--json").json()["drop_ins"] == []
    assert "(note)" not in jaga("check").err
    path = tmp_path / "config" / "jaga.yaml"
    pinged = "      ping: {icmp: {ping: 127.0.0.1}}\n"
    path.write_text(path.read_text().replace("    checks:\n", f"    checks:\n{pinged}"))
    assert jaga("check", "--json").json()["drop_ins"] == ["icmp.conf"]
    said = jaga("check")
    assert said.code == 0
    (note,) = [line for line in said.err.splitlines() if "(note)" in line]
    assert "kind icmp needs the drop-in systemd/icmp.conf in /etc/systemd/system/jaga.service.d/" in note


def test_check_names_every_place_bare(jaga: Jaga, tmp_path: Path) -> None:
    path = tmp_path / "config" / "jaga.yaml"
    path.write_text(
        path.read_text().replace("interval: 60s", "intervall: 60s").replace("guarantee: 95%", "guarantee: x")
    )
    said = jaga("check")
    assert said.code == 2
    assert all(line.startswith("config/jaga.yaml:") for line in said.err.splitlines())
    document = jaga("check", "--json")
    assert document.code == 2
    assert {problem["line"] for problem in document.json()["problems"]} >= {9, 17}


def test_init_writes_what_check_accepts_and_overwrites_nothing(jaga: Jaga, tmp_path: Path) -> None:
    said = jaga("init", tmp_path / "new")
    assert said.code == 0, said.err
    assert jaga("check", "--config", tmp_path / "new" / "config" / "jaga.yaml").code == 0
    (tmp_path / "new" / "config" / "jaga.yaml").write_text("mine")
    assert jaga("init", tmp_path / "new").code == 2
    assert (tmp_path / "new" / "config" / "jaga.yaml").read_text() == "mine"


def test_explain_shows_defaults_and_hides_secrets(
    jaga: Jaga,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "config" / "jaga.yaml"
    path.write_text(path.read_text().replace('"http://127.0.0.1:9/"', '"http://127.0.0.1:9/?key=${PROBE_KEY}"'))
    monkeypatch.setenv("PROBE_KEY", "rahasia-besar")
    said = jaga("check", "--explain")
    assert said.code == 0
    assert "stale_after: 190s" in said.out
    assert "rahasia-besar" not in said.out + said.err
    path.write_text(said.out)
    assert jaga("check").code == 0

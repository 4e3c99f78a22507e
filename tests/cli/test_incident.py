"""The verbs of incidents, as a user types them."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Jaga

WHO = ("--partner", "acme", "--name", "Rina", "--email", "rina@example.id", "--phone", "+62 21 5550100")
OPEN = ("incident", "open", "portal", "--priority", "P1", "--summary", "orders fail", *WHO, "--actual", "error 500")


def test_from_the_report_to_the_close(jaga: Jaga, tmp_path: Path) -> None:
    picture = tmp_path / "shot.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(9))
    opened = jaga(*OPEN, "--attach", picture)
    assert opened.code == 0, opened.err
    assert "recorded incident i-1 opened acme portal" in opened.out
    assert "escalated to level 1: technical-support (opened)" in opened.out
    assert "missing, and asked for: expected, steps, errors, environment, occurred, frequency, impact" in opened.out
    assert len(list((tmp_path / "config" / "attachments").iterdir())) == 1

    board = jaga("incident", "list").out.splitlines()
    assert board[1].split()[:7] == ["i-1", "P1", "portal", "reported", "1", "acme", "response"]
    for words in (
        ("supply", "i-1", "--steps", "log in"),
        ("ack", "i-1"),
        ("assign", "i-1", "--to", "dewi"),
        ("pause", "i-1", "--partner", "acme", "--clock", "resolution", "--note", "waits for logs"),
        ("resume", "i-1", "--partner", "acme"),
        ("escalate", "i-1", "--partner", "acme", "--reason", "stalled_progress", "--note", "no news"),
        ("plan", "i-1", "--note", "roll back"),
        ("call", "i-1", "--note", "16:00"),
        ("priority", "i-1", "P2"),
        ("workaround", "i-1", "--note", "other site"),
        ("reopen", "i-1", "--note", "again"),
        ("fix", "i-1", "--note", "4.2.1"),
        ("close", "i-1"),
    ):
        said = jaga("incident", *words)
        assert said.code == 0, (words, said.err)
    assert jaga("incident", "list").out == "No incident is open.\n"
    assert jaga("incident", "list", "--all", "--json").json()[0]["phase"] == "closed"
    shown = jaga("incident", "show", "i-1")
    assert "escalated to level 2: escalation-manager (stalled progress)" in shown.out
    assert "reported by Rina" in shown.out
    reference = jaga("incident", "show", "i-1", "--json").json()["events"][0]["reporter"]
    assert jaga("ledger", "verify").code == 0
    assert jaga("ledger", "erase", reference).code == 0
    assert "Rina" not in jaga("incident", "show", "i-1").out
    assert [clock["state"] for clock in jaga("incident", "show", "i-1", "--json").json()["clocks"]] == ["met", "met"]
    assert jaga("ledger", "verify").code == 0


def test_paused_and_late_clocks_are_told_on_the_board(jaga: Jaga) -> None:
    assert jaga(*OPEN, "--at", "2026-01-05T10:00:00+07:00").code == 0
    assert jaga(*OPEN).code == 0
    assert jaga("incident", "pause", "i-2", "--partner", "acme", "--note", "waits").code == 0
    late, waits = jaga("incident", "list").out.splitlines()[1:]
    assert "breached" in late
    assert late.split()[4] == "3", "what was slept through was made up for"
    assert "(paused)" in waits


def test_refusals_say_what_is_wrong_and_record_nothing(jaga: Jaga, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("hello")
    refused = jaga("incident", "open", "portal", "--priority", "P1", "--summary", "x", "--partner", "acme")
    assert (refused.code, "needs its reporter" in refused.err) == (1, True)
    assert jaga(*OPEN, "--joins", "i-9").code == 1
    assert jaga("ledger", "verify").code == 0, "nothing of the reporter is left behind"
    assert jaga(*OPEN, "--attach", note).code == 2
    assert jaga(*OPEN, "--attach", note, "--preview").code == 2
    missing = jaga("incident", "show", "i-1")
    assert (missing.code, missing.err) == (1, "jaga: there is no incident i-1\n")
    assert jaga("incident", "list").out == "No incident is open.\n"
    assert jaga("incident", "list", "--all").out == "No incident is on record.\n"

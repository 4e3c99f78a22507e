"""A statement that was changed anywhere is found out; what the audit takes on trust is said, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from monitor import audit
from tests.audit.books import Books, books
from tests.audit.worlds import DAY, HOUR
from tests.cases import reading
from tests.core.examples import at

CASE = reading.read(reading.FOLDER / "overlap_is_a_union.yaml")
MORE: tuple[dict[str, Any], ...] = (
    {"type": "maintenance", "id": "m-9", "services": ["portal"], "partners": None, "summary": "late"}
    | {"start": "2026-04-20T00:00:00+07:00", "end": "2026-04-20T01:00:00+07:00", "at": "2026-04-19T23:00:00+07:00"},
    {"type": "annulment", "id": "a-1", "service": "portal", "check": "login", "location": "jkt-1", "note": "our line"}
    | {"start": "2026-04-22T00:00:00+07:00", "end": "2026-04-22T00:20:00+07:00", "at": "2026-04-23T00:00:00+07:00"},
)
RAISES = {"type": "reversal", "of": "x-1", "at": "2026-05-12T00:00:00+07:00", "by": "sari", "note": "withdrawn"}
# Fields of which a statement's reader is told that the ledger cannot answer them.
TRUSTED = {"method.rule", "claim.status", "claim.filed_at", "imported"}
WORDS = {"rejected.why", "outages.first_failure"}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Books]:
    """April, closed and restated: with a rejected window, an annulment, an outage with two exclusions."""
    with books(tmp_path, CASE.now_us, [*CASE.lines, *MORE]) as found:
        found.close("2026-04")
        found.now_us += 2 * DAY
        found.record(RAISES)
        found.close("2026-04", "a report was withdrawn")
        yield found


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value that is no object or list with something in it."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not children:
        yield path
    for name, child in children:
        yield from leaves(child, (*path, name))


def changed(document: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    """A copy in which one value is another of its kind."""
    found = deepcopy(document)
    place: Any = found
    for step in path[:-1]:
        place = place[step]
    old = place[path[-1]]
    if isinstance(old, bool):
        place[path[-1]] = not old
    elif isinstance(old, int):
        place[path[-1]] = old + 1
    elif isinstance(old, str):
        place[path[-1]] = old[:-1] + ("1" if old[-1:] != "1" else "2")
    else:
        place[path[-1]] = "something"
    return found


def test_a_change_of_any_value_is_found_by_the_digest_and_by_the_value(kept: Books) -> None:
    (document,) = kept.statements("2026-04")
    ledger = audit.read_ledger(kept.export())
    assert not audit.audit(ledger, document).differences
    tried = 0
    for path in leaves(document):
        name = ".".join(str(step) for step in path if isinstance(step, str))
        if path[0] in {"schema", "version"} or name == "period.timezone":
            continue  # another schema or zone is refused, another version is another close: below
        answer = audit.audit(ledger, changed(document, path))
        fields = [difference.field for difference in answer.differences]
        by_digest = any(field.startswith("digest") for field in fields)
        assert by_digest or name in {"status", "claim.status", "claim.filed_at"}, name
        if name not in TRUSTED | WORDS:
            found = [field for field in fields if not field.startswith("digest,")]
            assert found, f"a change of {name} was found by the digest alone"
            tried += 1
    assert tried > 70


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("notice 01:00:00 before start", "notice 02:00:00 before start", "rejected[0].why"),
        ("48:00:00 needed", "24:00:00 needed", "rejected[0].why"),
        ("reversed at 2026-05-11T17", "reversed at 2026-05-12T17", "rejected[1].why"),
        ("login at jkt-1: failed", "search at jkt-1: failed", "outages[0].first_failure"),
    ],
)
def test_of_a_sentence_what_it_rests_on_is_recomputed(old: str, new: str, field: str, kept: Books) -> None:
    (document,) = kept.statements("2026-04")
    text = json.dumps(document)
    assert old in text
    answer = audit.audit(audit.read_ledger(kept.export()), json.loads(text.replace(old, new)))
    assert field in {difference.field for difference in answer.differences}


@pytest.mark.parametrize("path", [("schema",), ("period", "timezone")])
def test_what_the_audit_does_not_know_is_refused(path: tuple[str, ...], kept: Books) -> None:
    (document,) = kept.statements("2026-04")
    with pytest.raises(audit.CannotAuditError):
        audit.audit(audit.read_ledger(kept.export()), changed(document, path))


def test_a_forger_who_makes_the_digest_anew_is_found_by_the_close(kept: Books) -> None:
    (document,) = kept.statements("2026-04")
    document["method"]["rule"] += " The provider is always right."
    document["digest"] = audit.digest_of(document)
    answer = audit.audit(audit.read_ledger(kept.export()), document)
    assert {difference.field for difference in answer.differences} == {"digest", "digest, of the statement's bytes"}


def test_a_version_that_was_never_closed(kept: Books) -> None:
    (document,) = kept.statements("2026-04")
    answer = audit.audit(audit.read_ledger(kept.export()), document | {"version": 3})
    found = {difference.field for difference in answer.differences}
    assert {"version", "status", "digest", "issued_at", "restates"} <= found


def test_the_difference_names_both_values(kept: Books) -> None:
    (document,) = kept.statements("2026-04")
    document["downtime"]["seconds"] = "5399.999999"
    (first, *_rest) = audit.audit(audit.read_ledger(kept.export()), document).differences
    assert str(first) == 'downtime.seconds: the statement says "5399.999999", recomputed "7200.000000"'


def test_a_running_month_is_asked_with_its_instant(tmp_path: Path) -> None:
    case = reading.read(reading.FOLDER / "month_in_progress.yaml")
    with books(tmp_path, case.now_us, case.lines) as found:
        (document,) = found.statements("2026-04")
        ledger = audit.read_ledger(found.export())
        assert not audit.audit(ledger, document, now=found.now_us).differences
        wrong = audit.audit(ledger, document)
        assert wrong.differences
        assert "--at" in str(wrong.hint)


def test_evidence_that_came_after_a_close_moves_nothing(tmp_path: Path) -> None:
    """The export says when a run arrived, and the close how many had: only the next version rests on it."""
    with books(tmp_path, CASE.now_us, CASE.lines) as found:
        found.close("2026-04")
        (document,) = found.statements("2026-04")
        found.runs([("login", at("2026-04-30T23:59:00"), "fail")])
        assert found.statements("2026-04") == [document]
        assert found.audited([document]) == []
        found.now_us += 2 * DAY
        found.close("2026-04", "a run came late")
        (second,) = found.statements("2026-04")
        assert second["downtime"]["observed_seconds"] != document["downtime"]["observed_seconds"]
        assert found.audited([document | {"status": "superseded"}, second]) == []


def test_a_notice_imported_later_moves_nothing(tmp_path: Path) -> None:
    """Nor does an outage that is outvoted by an invented location."""
    case = reading.read(reading.FOLDER / "notice_1us_late.yaml")
    with books(tmp_path, case.now_us, case.lines) as found:
        found.record(
            {"type": "claim", "partner": "acme", "service": "portal", "month": "2026-04"} | {"at": AT, "by": "a"}
        )
        before = found.statements("2026-04")[0]["downtime"]
        forged = {"type": "notice", "maintenance": "m-1", "partner": "acme", "channel": "email"}
        passed = {"type": "spans", "service": "portal", "check": "login", "outcome": "pass"}
        span = {"from": "2026-04-10T00:00:00+07:00", "to": "2026-04-12T00:00:00+07:00"}
        found.now_us += HOUR
        found.take(
            [
                {"type": "header", "format": "jaga-ledger/1"},
                forged | {"at": "2026-04-01T00:00:00+07:00"},
                *(passed | span | {"location": location} for location in ("moon-1", "moon-2")),
            ]
        )
        documents = found.statements("2026-04")
        assert documents[0]["downtime"] == before
        assert found.audited(documents) == []


AT = "2026-05-10T00:00:00+07:00"


def test_the_first_failure_is_of_a_check_in_force(tmp_path: Path) -> None:
    """`old` leaves the list on 2 April and fails on; login fails alone in force on the 10th, and is named."""
    case = reading.read(reading.FOLDER / "check_list_changed_in_an_outage.yaml")
    header, terms, subscription = case.lines[:3]
    names = [{"id": "login", "network": "public"}, {"id": "a", "network": "public"}]
    lists = {"type": "checks", "service": "portal", "interval_s": 60, "timeout_s": 10, "stale_after_s": 190}
    spans = {"type": "spans", "service": "portal", "location": "jkt-1"}
    whole = {"from": "2026-04-02T00:00:00+07:00", "to": "2026-04-28T00:00:00+07:00"}
    lines = [
        header,
        terms,
        subscription,
        lists | {"at": "2026-03-31T00:00:00+07:00", "checks": names},
        lists | {"at": "2026-04-03T00:00:00+07:00", "checks": names[:1]},
        spans | whole | {"check": "login", "outcome": "pass", "to": "2026-04-10T00:00:00+07:00"},
        spans | whole | {"check": "login", "outcome": "fail", "from": "2026-04-10T00:00:00+07:00"},
        spans | whole | {"check": "a", "outcome": "fail"},
    ]
    with books(tmp_path, case.now_us, lines) as found:
        assert found.audited(found.statements("2026-04")) == []


# As a program.


def alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The file by itself, in a folder of its own, by an isolated interpreter without any installed library."""
    program = folder / "audit.py"
    shutil.copy(audit.__file__, program)
    command = [sys.executable, "-I", "-S", str(program), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)


def test_the_file_runs_alone(kept: Books) -> None:
    (kept.folder / "statement.json").write_text(json.dumps(kept.statements("2026-04")))
    said = alone(kept.folder, "statement.json", "--ledger", str(kept.export()))
    assert (said.returncode, said.stderr) == (0, "")
    assert "2026-04/acme/portal version 2: holds" in said.stdout
    assert "taken on trust: " in said.stdout


def test_run_from_where_it_lies_it_finds_python_s_own_modules(kept: Books) -> None:
    (kept.folder / "statement.json").write_text(json.dumps(kept.statements("2026-04")))
    command = [sys.executable, audit.__file__, str(kept.folder / "statement.json"), "--ledger", str(kept.export())]
    said = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert (said.returncode, said.stderr) == (0, "")


def test_its_exit_codes(kept: Books) -> None:
    document = kept.statements("2026-04")[0]
    export = str(kept.export())
    (kept.folder / "forged.json").write_text(json.dumps(changed(document, ("credit", "amount"))))
    said = alone(kept.folder, "forged.json", "--ledger", export)
    assert said.returncode == 1
    assert "  credit.amount: the statement says " in said.stdout
    for arguments in (
        ["forged.json"],
        ["missing.json", "--ledger", export],
        ["forged.json", "--ledger", "missing"],
        ["forged.json", "--ledger", "forged.json"],
        [export, "--ledger", export],
        ["forged.json", "--ledger", export, "--key", "nobody"],
        ["forged.json", "--ledger", export, "--at", "yesterday"],
    ):
        said = alone(kept.folder, *arguments)
        assert said.returncode == 2, arguments
        assert "Traceback" not in said.stderr

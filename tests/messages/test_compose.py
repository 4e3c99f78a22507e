"""The words of every kind of message, in both languages, as they are read: one golden file a kind.

Written anew with `JAGA_WRITE_GOLDEN=1`; a change of wording is then a diff that people read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from monitor.locale import Lang
from monitor.messages import (
    FOR_OPERATORS,
    FOR_PARTNERS,
    MAX_ITEMS,
    MAX_TEXT,
    Kind,
    Severity,
    bounded,
    severity_of,
)
from monitor.messages.compose import MAX_SUBJECT, compose
from monitor.messages.words import LINES, SUBJECTS

GOLDEN = Path(__file__).parent / "golden"
TROUBLE: dict[str, Any] = {
    "to": "operators",
    "about": "o-portal-20260401T000500.000000Z",
    "service": "portal",
    "service_name": "Portal and API",
    "zone": "Asia/Jakarta",
    "since": "2026-04-01T07:05:00.250000+07:00",
    "duration": "5400.750000",
    "failing": "5/9",
    "where": "3/3",
    "why": ["assertion", "timeout"],
    "step": "login: log in",
    "error": "expected status 200, got 503",
    "effects": [
        {
            "month": "2026-04",
            "partner": "acme",
            "best_case": "99.791666",
            "guarantee": "95",
            "credit": "10",
            "left": "124200.0",
        },
        {"month": "2026-04", "partner": "beta", "best_case": "94.999999", "guarantee": "95", "credit": "10"},
    ],
    "incident": "i-7",
    "priority": "P1",
    "response_due": "2026-04-01T08:05:00+07:00",
    "resolution_due": "2026-04-01T15:05:00+07:00",
    "outage": "o-portal-20260401T000500.000000Z",
}
WINDOW: dict[str, Any] = {
    "to": "acme",
    "partner": "acme",
    "partner_name": "Yayasan Acme",
    "maintenance": "m-1",
    "services": ["Portal and API", "Reports"],
    "zone": "Asia/Jakarta",
    "start": "2026-04-03T23:00:00+07:00",
    "end": "2026-04-04T01:00:00+07:00",
    "summary": "database upgrade",
}
MONTH: dict[str, Any] = {
    "to": "acme",
    "partner": "acme",
    "partner_name": "Yayasan Acme",
    "service": "portal",
    "service_name": "Portal and API",
    "zone": "Asia/Jakarta",
    "month": "2026-03",
    "version": 1,
    "availability": "94.213000",
    "guarantee": "95",
    "digest": "sha256:0f",
    "credit_percent": "10",
    "credit_amount": "1250000",
    "currency": "IDR",
    "credit": "10",
    "deadline": "2026-05-01T00:00:00+07:00",
}
ACT = {
    "to": "management",
    "incident": "i-7",
    "priority": "P1",
    "summary": "portal is down",
    "note": "by noon",
    "level": 2,
}
FIELDS: dict[Kind, dict[str, Any]] = {
    Kind.RECOVERED: {**TROUBLE, "until": "2026-04-01T08:35:01+07:00", "counted": "1800.5", "excluded": "3600.25"},
    Kind.REMINDER: {**TROUBLE, "n": 3},
    Kind.DEGRADED: {**TROUBLE, "summary": "checks fail, at most half of them"},
    Kind.UNSTABLE: {**TROUBLE, "n": 4},
    Kind.BLIND: {"zone": "Asia/Jakarta", "since": TROUBLE["since"], "services": ["portal"], "count": 1, "total": 4},
    Kind.SEEING: {"zone": "Asia/Jakarta", "since": TROUBLE["since"], "duration": "905.5", "total": 4},
    Kind.MAINTENANCE_EXTENDED: {**WINDOW, "maintenance": "m-2", "extends": "m-1"},
    Kind.ESCALATION: {**ACT, "reason": "share_used", "due": "2026-04-01T13:05:00+00:00", "service": "portal"},
    Kind.QUESTION: {**ACT, "missing": ["environment", "steps"]},
    Kind.DIGEST: {
        "count": 3,
        "messages": [
            {"key": f"o-{n}", "kind": "down", "payload": {**TROUBLE, "service_name": f"S {n}"}} for n in (1, 2)
        ],
    },
    Kind.TEST: {"channel": "ops-mail", "to": "operators"},
}


def fields(kind: Kind) -> dict[str, Any]:
    if kind in FIELDS:
        return FIELDS[kind]
    if kind in {Kind.STATEMENT, Kind.CREDIT_DUE, Kind.CLAIM_DEADLINE}:
        return MONTH
    if kind in {Kind.PLAN, Kind.CALL, Kind.REQUEST}:
        return ACT
    return WINDOW if kind.value.startswith("maintenance") else TROUBLE


@pytest.mark.parametrize("kind", [*Kind])
def test_every_kind_reads_as_its_golden_file_says(kind: Kind) -> None:
    texts = [f"=== {lang.value}\n{compose('the/key', kind, fields(kind), lang).text}" for lang in (Lang.EN, Lang.ID)]
    written = "\n".join(texts)
    file = GOLDEN / f"{kind.value}.txt"
    if os.environ.get("JAGA_WRITE_GOLDEN"):
        file.write_text(written, encoding="utf-8")
    assert written == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("lang", [*Lang])
@pytest.mark.parametrize("kind", [*Kind])
def test_a_subject_works_alone_and_lacks_nothing(kind: Kind, lang: Lang) -> None:
    words = compose("the/key", kind, fields(kind), lang)
    assert "–" not in words.subject
    assert "{" not in words.text
    assert "\n" not in words.subject
    assert words.text.startswith(words.subject)


def test_every_sentence_is_there_in_both_languages() -> None:
    assert set(SUBJECTS) == set(Kind)
    for sentences in [*SUBJECTS.values(), *(line for _name, line in LINES)]:
        assert set(sentences) == set(Lang)


def test_a_field_of_a_target_is_never_read_as_a_template_and_stays_on_its_line() -> None:
    hostile = "{service.__class__} ${HOME} \n\u202e\x1b[31m" + "x" * 10_000
    given = bounded({**TROUBLE, "error": hostile, "service_name": hostile, "why": [hostile] * 1000})
    words = compose("k", Kind.DOWN, given, Lang.EN)
    assert "{service.__class__} ${HOME} \\n\\u202e\\x1b[31m" in words.text
    assert len(words.subject) <= MAX_SUBJECT
    assert len(given["why"]) == MAX_ITEMS
    assert max(map(len, words.text.splitlines())) <= (MAX_TEXT + 50) * MAX_ITEMS
    assert "\x1b" not in words.text


def test_a_message_that_lacks_fields_is_still_sent() -> None:
    words = compose("k", Kind.DOWN, {}, Lang.ID)
    assert words.subject == "GANGGUAN: – sejak –, –"
    assert compose("k", "from-a-newer-version", {"summary": "hello"}, Lang.EN).subject == "from-a-newer-version: hello"


def test_what_is_for_whom() -> None:
    assert Kind.DOWN in FOR_OPERATORS - FOR_PARTNERS
    assert Kind.DISRUPTION in FOR_PARTNERS - FOR_OPERATORS
    assert severity_of("down") is Severity.PAGE
    assert severity_of("degraded") is Severity.TICKET
    assert severity_of("whatever") is Severity.INFO
    assert Severity.PAGE.rank > Severity.TICKET.rank > Severity.INFO.rank

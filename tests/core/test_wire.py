# ruff: noqa: E501, ISC004 - the table of wrong values reads one case a line
"""The written form of every fact: what is written is read back, and what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core import fact as facts
from monitor.core.check import Check, CheckList, Network, default_stale_after_us, list_in_force
from monitor.core.entry import Head, seal
from monitor.core.fact import ExclusionReason, Fact, Ruling
from monitor.core.incident_fact import Attachment, Cause, Delivery, EscalationReason, Incident, IncidentEvent
from monitor.core.instant import SECOND_US
from monitor.core.priority import ClockName, Priority
from monitor.core.run import FAIL_REASONS, INCONCLUSIVE_REASONS, Origin, Outcome, Run, RunKey, SourceKey, StatedSpan
from monitor.core.span import Span
from monitor.core.terms import Fee
from monitor.core.wire import (
    MAX_DEPTH,
    MAX_TEXT,
    TYPES,
    FactError,
    read_fact,
    read_place,
    read_run,
    read_spans,
    write_fact,
    write_place,
    write_run,
    write_spans,
)
from tests.core.test_checkpoint import PETER, POEM, SOFA

AT = "2026-04-01T00:00:00.000000+00:00"
AT_US = 1_775_001_600 * SECOND_US
LATER = "2026-04-01T00:00:01.500000+00:00"
LATER_US = AT_US + 1_500_000

CHECKS = {
    "type": "checks",
    "service": "portal",
    "at": AT,
    "interval_s": 60,
    "timeout_s": "2.5",
    "stale_after_s": 190,
    "checks": [{"id": "login", "network": "public"}, {"id": "db", "network": "internal", "attempts": 3}],
}
CHECK_LIST = CheckList(
    service="portal",
    at_us=AT_US,
    interval_us=60 * SECOND_US,
    timeout_us=2_500_000,
    stale_after_us=190 * SECOND_US,
    checks=(Check(id="login"), Check(id="db", network=Network.INTERNAL, attempts=3)),
)
RUN = {"type": "run", "service": "portal", "check": "login", "location": "jkt-1", "at": AT, "outcome": "pass"}
SPANS = {
    "type": "spans",
    "service": "portal",
    "check": "login",
    "location": "jkt-1",
    "from": AT,
    "to": LATER,
    "outcome": "fail",
}
FEE: dict[str, Any] = {"currency": "IDR", "amount": "12500000"}

# Every type once with all its fields, written in their order.
FULL: list[tuple[Fact, dict[str, Any]]] = [
    (
        facts.ChecksAdopted(list=CHECK_LIST, by="ops", note="more"),
        CHECKS | {"by": "ops", "note": "more"},
    ),
    (
        facts.Maintenance(
            id="m-2",
            services=("portal", "shop"),
            partners=("acme",),
            start_us=AT_US,
            end_us=LATER_US,
            at_us=AT_US,
            summary="disks",
            extends="m-1",
            by="ops",
            evidence="plan",
        ),
        {
            "type": "maintenance",
            "id": "m-2",
            "services": ["portal", "shop"],
            "partners": ["acme"],
            "start": AT,
            "end": LATER,
            "at": AT,
            "summary": "disks",
            "extends": "m-1",
            "by": "ops",
            "evidence": "plan",
        },
    ),
    (
        facts.Notice(
            maintenance="m-1", partner="acme", at_us=AT_US, channel="email", by="ops", receipt="250 ok", evidence="log"
        ),
        {
            "type": "notice",
            "maintenance": "m-1",
            "partner": "acme",
            "at": AT,
            "channel": "email",
            "by": "ops",
            "receipt": "250 ok",
            "evidence": "log",
        },
    ),
    (
        facts.MaintenanceFinished(maintenance="m-1", at_us=AT_US, by="ops", evidence="log"),
        {"type": "maintenance_finished", "maintenance": "m-1", "at": AT, "by": "ops", "evidence": "log"},
    ),
    (
        facts.MaintenanceCancelled(maintenance="m-1", at_us=AT_US, by="ops", evidence="log"),
        {"type": "maintenance_cancelled", "maintenance": "m-1", "at": AT, "by": "ops", "evidence": "log"},
    ),
    (
        facts.Exclusion(
            id="x-1",
            reason=ExclusionReason.THIRD_PARTY,
            services=("portal",),
            partners=("acme",),
            start_us=AT_US,
            end_us=LATER_US,
            at_us=AT_US,
            by="ops",
            evidence="mail",
        ),
        {
            "type": "exclusion",
            "id": "x-1",
            "reason": "third_party",
            "services": ["portal"],
            "partners": ["acme"],
            "start": AT,
            "end": LATER,
            "at": AT,
            "by": "ops",
            "evidence": "mail",
        },
    ),
    (
        facts.Reversal(of="x-1", at_us=AT_US, by="ops", note="wrong"),
        {"type": "reversal", "of": "x-1", "at": AT, "by": "ops", "note": "wrong"},
    ),
    (
        facts.Adjudication(
            id="j-1",
            service="portal",
            start_us=AT_US,
            end_us=LATER_US,
            verdict=Ruling.UNKNOWN,
            agreed_by="acme",
            at_us=AT_US,
            by="ops",
            evidence="logs",
            note="n",
        ),
        {
            "type": "adjudication",
            "id": "j-1",
            "service": "portal",
            "start": AT,
            "end": LATER,
            "verdict": "unknown",
            "agreed_by": "acme",
            "at": AT,
            "by": "ops",
            "evidence": "logs",
            "note": "n",
        },
    ),
    (
        facts.Annulment(
            id="a-1",
            service="portal",
            check="login",
            location="jkt-1",
            start_us=AT_US,
            end_us=LATER_US,
            at_us=AT_US,
            by="ops",
            note="ours",
        ),
        {
            "type": "annulment",
            "id": "a-1",
            "service": "portal",
            "check": "login",
            "location": "jkt-1",
            "start": AT,
            "end": LATER,
            "at": AT,
            "by": "ops",
            "note": "ours",
        },
    ),
    (
        facts.Claim(partner="acme", service="portal", month="2026-04", at_us=AT_US, by="acme"),
        {"type": "claim", "partner": "acme", "service": "portal", "month": "2026-04", "at": AT, "by": "acme"},
    ),
    (
        facts.CreditApplied(partner="acme", service="portal", month="2026-04", invoice="INV-7", at_us=AT_US, by="sari"),
        {
            "type": "credit_applied",
            "partner": "acme",
            "service": "portal",
            "month": "2026-04",
            "invoice": "INV-7",
            "at": AT,
            "by": "sari",
        },
    ),
    (
        facts.TermsAdopted(
            contract="mitra", effective_from_us=AT_US, terms={"a": [1, None, True, {"b": "c"}]}, agreed="yes"
        ),
        {
            "type": "terms",
            "contract": "mitra",
            "effective_from": AT,
            "terms": {"a": [1, None, True, {"b": "c"}]},
            "agreed": "yes",
        },
    ),
    (
        facts.Subscribed(
            partner="acme",
            service="portal",
            contract="mitra",
            from_us=AT_US,
            until_us=LATER_US,
            fee=Fee(currency="IDR", amount=Decimal(12500000)),
        ),
        {
            "type": "subscription",
            "partner": "acme",
            "service": "portal",
            "contract": "mitra",
            "from": AT,
            "until": LATER,
            "fee": FEE,
        },
    ),
    (
        facts.Retired(service="portal", check="db", at_us=AT_US, by="ops"),
        {"type": "retired", "service": "portal", "check": "db", "at": AT, "by": "ops"},
    ),
    (
        facts.Outage(id="o-1", service="portal", start_us=AT_US, end_us=LATER_US, at_us=LATER_US, failing="3/5"),
        {"type": "outage", "id": "o-1", "service": "portal", "start": AT, "end": LATER, "at": LATER, "failing": "3/5"},
    ),
    (
        facts.Close(
            partner="acme",
            service="portal",
            month="2026-04",
            version=2,
            digest="sha256:00",
            at_us=AT_US,
            inputs={"software": "jaga 0.1"},
            by="ops",
            reason="late evidence",
            credit_delta="100",
        ),
        {
            "type": "close",
            "partner": "acme",
            "service": "portal",
            "month": "2026-04",
            "version": 2,
            "digest": "sha256:00",
            "at": AT,
            "inputs": {"software": "jaga 0.1"},
            "by": "ops",
            "reason": "late evidence",
            "credit_delta": "100",
        },
    ),
    (
        facts.Sealed(hour_us=AT_US, segments=2, runs=300, root="sha256:00", at_us=AT_US),
        {"type": "sealed", "hour": AT, "segments": 2, "runs": 300, "root": "sha256:00", "at": AT},
    ),
    (
        facts.ClockStep(at_us=AT_US, delta_us=-61_000_000, location="jkt-1"),
        {"type": "clock_step", "at": AT, "delta_us": -61_000_000, "location": "jkt-1"},
    ),
    (
        Incident(
            id="i-1",
            event=IncidentEvent.OPENED,
            at_us=AT_US,
            service="portal",
            priority=Priority.P1,
            partner="acme",
            cause=Cause.REPORT,
            outage="o-1",
            found_us=AT_US,
            summary="orders fail",
            channel="helpdesk",
            reporter="personal:" + 64 * "1",
            pieces={"actual": "error 500"},
            missing=("steps",),
            attachments=(Attachment(name="a.png", media_type="image/png", size_bytes=7, digest="sha256:02"),),
            assignee="dewi",
            clock=ClockName.RESOLUTION,
            level=2,
            reason=EscalationReason.SHARE_USED,
            due_us=LATER_US,
            owners=("escalation-manager",),
            by="ops",
            note="all fields at once",
        ),
        {
            "type": "incident",
            "id": "i-1",
            "event": "opened",
            "at": AT,
            "service": "portal",
            "priority": "P1",
            "partner": "acme",
            "cause": "report",
            "outage": "o-1",
            "found": AT,
            "summary": "orders fail",
            "channel": "helpdesk",
            "reporter": "personal:" + 64 * "1",
            "pieces": {"actual": "error 500"},
            "missing": ["steps"],
            "attachments": [{"name": "a.png", "media_type": "image/png", "bytes": 7, "digest": "sha256:02"}],
            "assignee": "dewi",
            "clock": "resolution",
            "level": 2,
            "reason": "share_used",
            "due": LATER,
            "owners": ["escalation-manager"],
            "by": "ops",
            "note": "all fields at once",
        },
    ),
    (
        Delivery(key="k", kind="escalation", channel="log", to="ops", at_us=AT_US, receipt="logged"),
        {
            "type": "delivery",
            "key": "k",
            "kind": "escalation",
            "channel": "log",
            "to": "ops",
            "at": AT,
            "receipt": "logged",
        },
    ),
    (
        facts.KeyAdopted(
            key=PETER,
            why=facts.KeyReason.ROTATED,
            at_us=AT_US,
            replaces=PETER,
            endorsed=POEM,
            by="ops",
            note="a year is over",
        ),
        {
            "type": "key",
            "key": PETER,
            "why": "rotated",
            "at": AT,
            "replaces": PETER,
            "endorsed": POEM,
            "by": "ops",
            "note": "a year is over",
        },
    ),
    (facts.CheckpointSigned(note=SOFA, at_us=AT_US), {"type": "checkpoint", "at": AT, "note": SOFA}),
    (
        facts.PersonalErased(of="personal:" + "0f" * 32, at_us=AT_US, by="ops", note="asked for by letter"),
        {"type": "erasure", "of": "personal:" + "0f" * 32, "at": AT, "by": "ops", "note": "asked for by letter"},
    ),
    (
        facts.LossAccepted(at_us=AT_US, entries=7, arrival=90, checkpoint=SOFA, by="ops", note="the disk died"),
        {
            "type": "loss",
            "at": AT,
            "entries": 7,
            "arrival": 90,
            "checkpoint": SOFA,
            "by": "ops",
            "note": "the disk died",
        },
    ),
]
BY_TYPE = {written["type"]: written for _, written in FULL}
OPTIONAL = {
    "checks": {"by", "note"},
    "maintenance": {"partners", "summary", "extends", "by", "evidence"},
    "notice": {"by", "receipt", "evidence"},
    "maintenance_finished": {"by", "evidence"},
    "maintenance_cancelled": {"by", "evidence"},
    "exclusion": {"partners", "by", "evidence"},
    "reversal": {"by", "note"},
    "adjudication": {"agreed_by", "by", "evidence", "note"},
    "annulment": {"by", "note"},
    "claim": {"by"},
    "credit_applied": {"by"},
    "terms": {"agreed"},
    "subscription": {"from", "until"},
    "retired": {"check", "by"},
    "outage": {"end", "failing"},
    "close": {"by", "reason", "credit_delta"},
    "sealed": set(),
    "clock_step": {"location"},
    # Of these an opening needs some: see below.
    "incident": {
        "partner",
        "outage",
        "found",
        "channel",
        "reporter",
        "pieces",
        "missing",
        "attachments",
        "assignee",
        "clock",
        "level",
        "reason",
        "due",
        "owners",
        "by",
        "note",
    },
    "delivery": {"receipt"},
    "key": {"replaces", "endorsed", "by", "note"},
    "checkpoint": set(),
    "loss": {"checkpoint", "by", "note"},
    "erasure": {"by", "note"},
}


def test_the_table_above_is_whole() -> None:
    assert {type(fact) for fact, _ in FULL} == set(get_args(Fact))
    assert set(TYPES) == {"header", "run", "spans", *BY_TYPE}


@pytest.mark.parametrize(("fact", "written"), FULL, ids=list(BY_TYPE))
def test_every_fact_is_written_and_read_alike(fact: Fact, written: dict[str, Any]) -> None:
    assert write_fact(fact) == written
    assert list(write_fact(fact)) == list(written)
    assert read_fact(written) == fact


@pytest.mark.parametrize("written", BY_TYPE.values(), ids=list(BY_TYPE))
def test_every_field_is_required_or_has_its_default(written: dict[str, Any]) -> None:
    optional = OPTIONAL[written["type"]]
    for name in set(written) - {"type"} - optional:
        with pytest.raises(FactError, match=rf'^field "{name}" is missing(: an incident is not opened without it)?$'):
            read_fact({field: value for field, value in written.items() if field != name})
    bare = {name: value for name, value in written.items() if name not in optional}
    again = write_fact(read_fact(bare))
    shown_empty = {"partners": None, "agreed_by": None, "summary": ""}
    assert again == bare | {name: value for name, value in shown_empty.items() if name in optional}
    assert read_fact(again) == read_fact(bare)
    nulls = dict.fromkeys(optional - {"summary"}, None)
    assert read_fact(bare | nulls) == read_fact(bare)


@pytest.mark.parametrize("written", [*BY_TYPE.values(), RUN, SPANS], ids=[*BY_TYPE, "run", "spans"])
def test_an_unknown_field_is_named_with_what_was_meant(written: dict[str, Any]) -> None:
    readers: dict[str, Callable[[dict[str, Any]], object]] = {"run": read_run, "spans": read_spans}
    read = readers.get(written["type"], read_fact)
    name = list(written)[-1]
    with pytest.raises(FactError, match=rf'^field "{name}x" is unknown; did you mean "{name}"\?$'):
        read(written | {name + "x": 1})
    misspelt = {k if k != "at" else "att": v for k, v in written.items()}
    if "at" in written:
        with pytest.raises(FactError, match=r'^field "att" is unknown; did you mean "at"\?$'):
            read(misspelt)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("clam", "type 'clam' is unknown; did you mean \"claim\"?"),
        ("zzz", "type 'zzz' is unknown"),
        (None, "type None is unknown"),
        ([1], "type [1] is unknown"),
    ],
)
def test_an_unknown_type(kind: object, message: str) -> None:
    with pytest.raises(FactError) as wrong:
        read_fact({"type": kind})
    assert str(wrong.value) == message


DEEP: Any = 1
for _ in range(MAX_DEPTH):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("kind", "field", "value", "message"),
    [
        ("claim", "by", 7, "is 7, expected a text"),
        ("claim", "by", "x" * (MAX_TEXT + 1), f"has {MAX_TEXT + 1} characters, the limit is {MAX_TEXT}"),
        ("claim", "by", "half \udc00", "is 'half \\udc00', expected a text of whole characters, not half a surrogate pair"),
        ("claim", "partner", "", "is '', expected an id: 1 to 200 printable characters"),
        ("claim", "partner", "a\nb", "is 'a\\nb', expected an id: 1 to 200 printable characters"),
        ("claim", "partner", "a" * 201, "is '" + "a" * 59 + "…, expected an id: 1 to 200 printable characters"),
        ("claim", "partner", None, "is null, expected a text"),
        ("claim", "month", "2026-13", "is '2026-13', expected a month such as 2026-04"),
        ("claim", "month", "2026-4", "is '2026-4', expected a month such as 2026-04"),
        ("claim", "month", "\uff12026-04", "expected a month such as 2026-04"),
        ("claim", "month", 202604, "is 202604, expected a month such as 2026-04"),
        ("claim", "at", 1, "is 1, expected an instant, RFC 3339 with an offset"),
        ("claim", "at", "2026-04-01T00:00:00", "cannot be read: '2026-04-01T00:00:00' is no instant; expected RFC 3339"),
        ("claim", "at", "2" * 61, "is '" + "2" * 59 + "…, expected an instant"),
        ("maintenance", "services", [], "is [], expected a list of ids, not empty"),
        ("maintenance", "services", "portal", "is 'portal', expected a list of ids, not empty"),
        ("maintenance", "services", [1], "is 1, expected a text"),
        ("maintenance", "partners", [], "is [], expected a list of ids, not empty"),
        ("exclusion", "reason", "attacks", "is 'attacks', expected one of maintenance, force_majeure, partner_side, partner_act, "
         'third_party, attack; did you mean "attack"?'),
        ("exclusion", "reason", ["attack"], "is ['attack'], expected one of"),
        ("adjudication", "verdict", "pass", "is 'pass', expected one of up, down, unknown"),
        ("close", "version", -1, "is -1, expected a whole number, 0 or more"),
        ("close", "version", True, "is true, expected a whole number below 2^53"),
        ("close", "version", Decimal("1.0"), "is 1.0, expected a whole number below 2^53"),
        ("clock_step", "delta_us", 2**53, f"is {2**53}, expected a whole number below 2^53"),
        ("clock_step", "delta_us", "5", "is '5', expected a whole number below 2^53"),
        ("close", "inputs", [], "is [], expected an object"),
        ("erasure", "of", "personal:1", "is 'personal:1', expected a reference to personal data"),
        ("key", "key", "a+b", "cannot be read: a key is NAME+ID+BASE64 of an Ed25519 key"),
        ("key", "endorsed", "text", "cannot be read: a note is a text, an empty line, and lines with signatures"),
        ("checkpoint", "note", POEM, "cannot be read: a checkpoint has three lines, origin, size and root; this has 2"),
        ("terms", "terms", {"a": [1.5]}, "is 1.5, expected a whole number or a text: the record holds no floating point"),
        ("terms", "terms", {"a": Decimal(1)}, "the record holds no floating point"),
        ("terms", "terms", {"a": {"b": 2**53}}, f"is {2**53}, expected a whole number below 2^53"),
        ("terms", "terms", {"\ud800": 1}, "expected a text of whole characters"),
        ("terms", "terms", {"a": ["\ud800"]}, "expected a text of whole characters"),
        ("terms", "terms", {"a": DEEP}, f"is nested more than {MAX_DEPTH} deep"),
        ("subscription", "fee", "IDR 5", "is 'IDR 5', expected a fee: {\"currency\": \"IDR\", \"amount\": \"12500000\"}"),
        ("subscription", "fee", {"currency": "IDR"}, "expected a fee"),
        ("subscription", "fee", FEE | {"currency": "idr"}, "is 'idr', expected a currency code of three capitals"),
        ("subscription", "fee", FEE | {"currency": "I1R"}, "is 'I1R', expected a currency code of three capitals"),
        ("subscription", "fee", FEE | {"currency": 1}, "is 1, expected a currency code of three capitals"),
        *(
            ("subscription", "fee", FEE | {"amount": amount}, f"is {amount!r}, expected a decimal amount as a text, 0 or more")
            for amount in (5, "-1", "1e5", "NaN", "Infinity", "1_000", "٣", "", "1" * 19, "0.1234567")
        ),
        *(
            ("checks", "timeout_s", seconds, "expected a positive number of seconds, microseconds at the finest")
            for seconds in (True, None, "", "-1", "1e3", "NaN", "0.0000001", Decimal("1E+99"), Decimal("sNaN"), 10**30, -5)
        ),
        ("checks", "timeout_s", 0, "is 0, expected a positive number of seconds below 2^53 microseconds"),
        ("checks", "timeout_s", 10**10, "expected a positive number of seconds below 2^53 microseconds"),
        ("checks", "checks", {}, 'is {}, expected a list of checks: [{"id": "login", "network": "public"}]'),
        ("checks", "checks", [7], "is 7, expected an object"),
        ("checks", "checks", [{"id": "a"}, {"id": "b"}, {"id": "a"}], "names the check 'a' 2 times"),
        ("checks", "checks", [{"id": "a", "network": "intern"}], "\"network\" is 'intern', expected one of public, internal; did you mean"),
        ("checks", "checks", [{"network": "public"}], 'field "id" is missing'),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_was_expected(kind: str, field: str, value: object, message: str) -> None:
    with pytest.raises(FactError) as wrong:
        read_fact(BY_TYPE[kind] | {field: value})
    assert str(wrong.value).startswith(f'"{field}" ')
    assert message in str(wrong.value)


@pytest.mark.parametrize("kind", ["exclusion", "adjudication", "annulment"])
def test_a_span_ends_after_it_starts(kind: str) -> None:
    for end in (AT, "2026-03-31T00:00:00Z"):
        with pytest.raises(FactError, match=f'"end" 2026-0.* is not after "start" {AT.replace("+", ".")}'):
            read_fact(BY_TYPE[kind] | {"end": end})


def test_windows_and_outages_are_read_whatever_their_edges() -> None:
    for kind in ("maintenance", "outage"):
        fact = read_fact(BY_TYPE[kind] | {"end": AT})
        assert isinstance(fact, facts.Maintenance | facts.Outage)
        assert fact.end_us == AT_US


@pytest.mark.parametrize(("seconds", "duration_us"), [(60, 60_000_000), ("0.000001", 1), (Decimal("2.50"), 2_500_000)])
def test_seconds_are_exact(seconds: object, duration_us: int) -> None:
    fact = read_fact(CHECKS | {"interval_s": seconds})
    assert isinstance(fact, facts.ChecksAdopted)
    assert fact.list.interval_us == duration_us
    assert read_fact(write_fact(fact)) == fact


@given(st.integers(1, 2**53 - 1))
def test_any_duration_survives(duration_us: int) -> None:
    given_list = CheckList(
        service="a", at_us=0, interval_us=duration_us, timeout_us=1, stale_after_us=duration_us, checks=()
    )
    if duration_us < 10**18:
        fact = facts.ChecksAdopted(list=given_list)
        assert read_fact(write_fact(fact)) == fact


def test_a_run_is_written_and_read() -> None:
    run = Run(
        service="portal",
        check="login",
        location="jkt-1",
        start_us=AT_US,
        outcome=Outcome.FAIL,
        duration_us=5,
        attempts=2,
        reason="timeout",
        step="log in",
        message="no answer",
    )
    written = RUN | {
        "outcome": "fail",
        "duration_us": 5,
        "attempts": 2,
        "reason": "timeout",
        "step": "log in",
        "message": "no answer",
    }
    assert write_run(run) == written
    assert list(write_run(run)) == list(written)
    assert read_run(written) == run
    bare = read_run(RUN, origin=Origin.IMPORTED)
    assert (bare.duration_us, bare.attempts, bare.reason, bare.origin) == (0, 1, None, Origin.IMPORTED)
    assert write_run(bare) == RUN | {"duration_us": 0, "attempts": 1}
    assert run.key == RunKey("portal", "login", "jkt-1", AT_US)
    assert run.source == bare.source == SourceKey("portal", "login", "jkt-1")
    assert run.same_content(read_run(written))
    assert not run.same_content(bare)


@pytest.mark.parametrize("outcome", Outcome)
def test_a_reason_is_of_its_outcomes_list(outcome: Outcome) -> None:
    allowed = {Outcome.FAIL: FAIL_REASONS, Outcome.INCONCLUSIVE: INCONCLUSIVE_REASONS, Outcome.PASS: ()}[outcome]
    for reason in (*FAIL_REASONS, *INCONCLUSIVE_REASONS):
        written = RUN | {"outcome": outcome.value, "reason": reason}
        if reason in allowed:
            assert read_run(written).reason == reason
        else:
            listed = ", ".join(allowed) or "none"
            with pytest.raises(FactError, match=f"^\"reason\" is '{reason}', expected for outcome {outcome}: {listed}"):
                read_run(written)
    assert read_run(RUN | {"outcome": outcome.value, "reason": None}).reason is None


def test_stated_spans_are_written_and_read() -> None:
    span = StatedSpan(
        service="portal", check="login", location="jkt-1", start_us=AT_US, end_us=LATER_US, outcome=Outcome.FAIL
    )
    assert write_spans(span) == SPANS
    assert read_spans(SPANS) == span
    assert span.source == SourceKey("portal", "login", "jkt-1")
    with pytest.raises(FactError, match=r'^"to" .* is not after "from"'):
        read_spans(SPANS | {"to": AT})


def test_the_place_of_an_entry_is_written_and_read() -> None:
    entry = seal(FULL[9][0], head=Head(), origin=Origin.OWN, now_us=AT_US)
    written = write_place(entry)
    assert written == {
        "seq": 1,
        "recorded_at": AT,
        "origin": "own",
        "prev": entry.prev,
        "hash": entry.hash,
        "epoch": 0,
    }
    assert read_place(written) == {
        "seq": 1,
        "recorded_at_us": AT_US,
        "origin": Origin.OWN,
        "prev": entry.prev,
        "hash": entry.hash,
        "epoch": 0,
    }
    with pytest.raises(FactError, match="is 7, expected an object"):
        read_place(7)
    with pytest.raises(FactError, match=r"\"origin\" is 'mine', expected one of own"):
        read_place(written | {"origin": "mine"})


def test_what_facts_say_of_their_spans() -> None:
    for fact, _ in FULL:
        if isinstance(fact, facts.Maintenance | facts.Exclusion | facts.Adjudication | facts.Annulment):
            assert fact.span == Span(AT_US, LATER_US)
        if isinstance(fact, facts.ChecksAdopted):
            assert fact.at_us == AT_US


def test_which_check_list_is_in_force() -> None:
    lists = [
        CheckList(service=str(n), at_us=at_us, interval_us=1, timeout_us=1, stale_after_us=1, checks=())
        for n, at_us in enumerate((10, 20, 20))
    ]
    assert list_in_force(lists, 9) is None
    assert [list_in_force(lists, at_us) for at_us in (10, 19)] == [lists[0], lists[0]]
    assert list_in_force(lists, 20) is list_in_force(lists, 99) is lists[2]
    assert default_stale_after_us(60, 10) == 190


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pieces": ["steps"]}, "\"pieces\" is ['steps'], expected an object of texts"),
        ({"pieces": {"": "x"}}, "an id"),
        ({"attachments": {}}, "a list of attachments"),
        ({"attachments": [{"name": "a"}]}, 'field "media_type" is missing'),
        ({"level": 4}, '"level" is 4, expected a level: 1, 2, 3'),
        ({"level": True}, "expected a level"),
        ({"event": "open"}, 'did you mean "opened"'),
        ({"event": "paused", "note": None}, 'field "note" is missing: an incident is not paused without it'),
        ({"service": None}, 'field "service" is missing: an incident is not opened without it'),
    ],
)
def test_an_incident_is_read_strictly(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(FactError) as caught:
        read_fact(BY_TYPE["incident"] | changed)
    assert said in str(caught.value)


def test_an_event_is_written_with_what_it_has_alone() -> None:
    fixed = Incident(id="i-1", event=IncidentEvent.FIXED, at_us=AT_US)
    assert write_fact(fixed) == {"type": "incident", "id": "i-1", "event": "fixed", "at": AT}
    assert read_fact(write_fact(fixed)) == fixed

"""A bad file names its lines and changes nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.entry import Head
from monitor.core.fact import Claim, Maintenance
from monitor.core.instant import parse_instant
from monitor.ledger.interchange import UNFINISHED_IMPORT, import_
from monitor.ledger.interchange.incoming import MAX_PROBLEMS, ImportRefusedError, Incoming, Known
from monitor.ledger.interchange.lines import LineError, parse_line
from monitor.storage import Unit
from monitor.storage.sqlite import open_store
from monitor.storage.writing import SqlStore

NOW = parse_instant("2026-05-02T00:00:00+07:00")
HEADER = '{"type":"header","format":"jaga-ledger/1"}'
AT = '"at":"2026-04-08T00:00:00+07:00"'
WINDOW = '"start":"2026-04-11T01:00:00+07:00","end":"2026-04-11T03:00:00+07:00"'
RUN = (
    '{"type":"run","service":"portal","check":"login","location":"jkt-1","at":"2026-04-01T00:00:00Z","outcome":"pass"}'
)
MAINTENANCE = '{"type":"maintenance","id":"m-1","services":["portal"],' + WINDOW + "," + AT + "}"
EXCLUSION = '{"type":"exclusion","id":"x-1","reason":"attack","services":["portal"],' + WINDOW + "," + AT + "}"
NOTICE = '{"type":"notice","maintenance":"m-1","partner":"acme","channel":"email",' + AT + "}"
CLAIM = '{"type":"claim","partner":"acme","service":"portal","month":"2026-04",' + AT + "}"
CLOSE = (
    '{"type":"close","partner":"acme","service":"portal","month":"2026-03","version":1,"digest":"a","inputs":{},'
    + AT
    + "}"
)


def terms_line(**written: Any) -> str:  # noqa: ANN401 - the terms as somebody wrote them
    fact = {"type": "terms", "contract": "mitra", "effective_from": "2026-01-01T00:00:00+07:00", "terms": written}
    return json.dumps(fact)


SUBSCRIPTION = (
    '{"type":"subscription","partner":"acme","service":"portal","contract":"mitra","from":"2026-01-01T00:00:00Z",'
    '"fee":{"currency":"IDR","amount":"1"}}'
)
OUTAGE = '{"type":"outage","id":"o-1","service":"portal","start":"2026-04-08T00:00:00Z",' + AT + "}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(tmp_path / "ledger.db")
    yield opened
    opened.close()


def refused(store: SqlStore, *lines: str | bytes) -> list[str]:
    """The problems of a file; it must leave no trace."""
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n"
    before = store.head(), store.counts().runs, store.sources()
    with pytest.raises(ImportRefusedError) as told:
        import_(store, io.BytesIO(data), now_us=NOW, rebuild=lambda *_: None)
    assert (store.head(), store.counts().runs, store.sources()) == before
    assert store.mark(UNFINISHED_IMPORT) is None
    return [str(problem) for problem in told.value.problems]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"type":"claim"', "is no JSON: Expecting ',' delimiter at character 16"),
        (b"", None),
        (b"null", "is 'null', expected one JSON object"),
        (b"[1]", "is '[1]', expected one JSON object"),
        (b"{} {}", "is no JSON: Extra data at character 4"),
        (b"{'a': 1}", "is no JSON: Expecting property name enclosed in double quotes at character 2"),
        (b'{"a": NaN}', "holds NaN, which is no JSON number"),
        (b'{"a": -Infinity}', "holds -Infinity, which is no JSON number"),
        (b'{"a": 12345678901234567}', "holds the number 12345678901234567…: whole numbers lie below 2^53"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "holds the number 99999999999999999999…: whole"),
        (b'{"a": 1e400}', "holds the number 1e400: write it out"),
        (b'{"a": 0.' + b"0" * 100 + b"}", "write it out, with at most 6 decimals"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "gives 'c' twice"),
        (b"[" * 500_000, "is nested more than 64 deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "is nested more than 64 deep"),
        (b'{"a": "\xff"}', "is no UTF-8: byte 0xff at position 8"),
        (b'{"a": "' + b"x" * 2**24 + b'"}', "has more than 16777216 bytes"),
        (b'{"a": "\n', "is no JSON: Unterminated string"),
    ],
)
def test_a_line_that_is_no_object(store: SqlStore, line: bytes, message: str | None) -> None:
    if message is None:
        assert parse_line(line) is None
        return
    (problem, *_) = refused(store, HEADER, line, CLAIM)
    assert problem.startswith("line 2: ")
    assert message in problem


def test_brackets_within_texts_are_no_depth() -> None:
    assert parse_line(b'{"a": "' + b"[{" * 100 + b'\\"[[[["}') is not None


def test_a_line_beyond_the_limit_is_one_problem_and_the_next_is_read(store: SqlStore) -> None:
    long = b'{"a": "' + b"x" * (3 * 2**24) + b'"}'
    problems = refused(store, HEADER, long, '{"type":"clam"}')
    assert problems[0] == "line 2: has more than 16777216 bytes"
    assert problems[1].startswith("line 3: type 'clam' is unknown; did you mean \"claim\"")
    assert len(problems) == 2


def test_an_endless_line_is_read_in_pieces(store: SqlStore) -> None:
    data = HEADER.encode() + b"\n" + b"x" * (5 * 2**24)
    with pytest.raises(ImportRefusedError, match="line 2: has more than 16777216 bytes"):
        import_(store, io.BytesIO(data), now_us=NOW, rebuild=lambda *_: None)


def test_a_file_that_was_cut_off_says_so(store: SqlStore) -> None:
    data = f"{HEADER}\n{CLAIM}\n{CLAIM[:50]}".encode()
    with pytest.raises(ImportRefusedError, match=r"line 3: is no JSON: .*the file ends here: it was cut off"):
        import_(store, io.BytesIO(data), now_us=NOW, rebuild=lambda *_: None)
    assert store.head() == Head()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), 'line 1: the file holds no header; its first line is {"type":"header","format":"jaga-ledger/1"}'),
        (("\ufeff",), "line 1: the file holds no header"),
        ((CLAIM,), "line 1: comes before the header; the first line is"),
        ((HEADER, CLAIM, HEADER), "line 3: is a second header, or one that is not the first line"),
        ((CLAIM, HEADER), "line 1: comes before the header"),
        (
            ('{"type":"header","format":"jaga-ledger/2"}',),
            "line 1: \"format\" is 'jaga-ledger/2', this program reads 'jaga-ledger/1'",
        ),
        (('{"type":"header"}',), "line 1: \"format\" is 'None'"),
        (('{"type":"header","format":"jaga-ledger/1","more":1}',), 'line 1: field "more" is unknown in the header'),
        ((HEADER.encode("utf-16"),), "line 1: is UTF-16: write the file as UTF-8"),
    ],
)
def test_the_header_is_the_first_line_and_the_only_one(store: SqlStore, lines: tuple[str, ...], message: str) -> None:
    assert refused(store, *lines)[0].startswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"service":"portal"}', 'field "type" is missing'),
        ('{"type":["run"]}', "type ['run'] is unknown"),
        ('{"type":"runs"}', "type 'runs' is unknown; did you mean \"run\"?"),
        (RUN.replace('"check"', '"chek"'), 'field "chek" is unknown; did you mean "check"?'),
        (RUN.replace(',"outcome":"pass"', ""), 'field "outcome" is missing'),
        (
            RUN.replace('"pass"', '"passed"'),
            '"outcome" is \'passed\', expected one of pass, fail, inconclusive; did you mean "pass"?',
        ),
        (
            RUN.replace("2026-04-01T00:00:00Z", "2026-04-01T00:00:00"),
            "\"at\" cannot be read: '2026-04-01T00:00:00' is no instant",
        ),
        (
            RUN.replace("2026-04-01", "2026-02-30"),
            "\"at\" cannot be read: '2026-02-30T00:00:00Z' is no instant: day is out of range",
        ),
        (RUN.replace("}", ',"duration_us":1.5}'), '"duration_us" is 1.5, expected a whole number'),
        (
            RUN.replace("}", ',"duration_us":9007199254740992}'),
            '"duration_us" is 9007199254740992, expected a whole number below 2^53',
        ),
        (RUN.replace("}", ',"message":"\\ud800"}'), "\"message\" is '\\ud800', expected a text of whole characters"),
        (RUN.replace("}", ',"counts":0}'), '"counts" is neither true nor false'),
        (RUN.replace("}", ',"entry":{}}'), 'field "entry" is unknown'),
        (CLAIM.replace("}", ',"counts":true}'), 'field "counts" is unknown'),
        (CLAIM.replace("}", ',"entry":{"seq":1}}'), 'field "recorded_at" is missing'),
        (CLAIM.replace("}", ',"entry":7}'), "is 7, expected an object"),
        (CLAIM.replace("}", ',"recorded_at":"2026-04-01T00:00:00Z"}'), 'field "recorded_at" is unknown'),
        (
            CLAIM.replace("2026-04-08", "2026-05-09"),
            '"at" 2026-05-08T17:00:00+00:00 is after now, 2026-05-01T17:00:00+00:00',
        ),
        (RUN.replace("2026-04-01", "2027-04-01"), '"at" 2027-04-01T00:00:00+00:00 is after now'),
        (
            '{"type":"spans","service":"a","check":"b","location":"c","from":"2026-04-01T00:00:00Z","to":"2027-04-01T00:00:00Z","outcome":"pass"}',
            '"to" 2027-04-01T00:00:00+00:00 is after now',
        ),
        (NOTICE, "\"maintenance\" names 'm-1', which is no maintenance of this file or the ledger"),
        (
            MAINTENANCE.replace("}", ',"extends":"m-0"}'),
            '"extends" names \'m-0\', which is no maintenance of this file or the ledger; did you mean "m-1"?',
        ),
        (
            '{"type":"reversal","of":"x-9",' + AT + "}",
            "\"of\" names 'x-9', which is no exclusion or adjudication or annulment of this file or the ledger",
        ),
        (
            terms_line(credits=[{"below": "95%", "credit": "10%"}, {"below": "97%", "credit": "25%"}]),
            "terms of mitra: tiers overlap: below 97 stands after below 95",
        ),
        (
            terms_line(credits=[{"below": "90%", "credit": "25%"}]),
            "terms of mitra: tiers leave a hole: the highest is below 90, the guarantee is 95",
        ),
        (terms_line(timezone="Mars/Olympus"), "terms of mitra: 'Mars/Olympus' is no time zone such as Asia/Jakarta"),
        (terms_line(timezone="../../etc/passwd"), "is no time zone such as Asia/Jakarta"),
        (terms_line().replace("2026-", "0026-"), '"effective_from" 0025-12-31T17:00:00+00:00 lies outside the years'),
        (
            SUBSCRIPTION.replace("2026-", "9998-"),
            '"from" 9998-01-01T00:00:00+00:00 lies outside the years 1684 to 2255',
        ),
        (terms_line(grace="3 days"), "terms of mitra: '3 days' is no duration"),
        (
            '{"type":"exclusion","id":"x-1","reason":"attack","services":["portal"],"partners":null,'
            '"start":"2026-04-02T00:00:00Z","end":"2026-04-01T00:00:00Z",' + AT + "}",
            '"end" 2026-04-01T00:00:00.000000+00:00 is not after "start"',
        ),
    ],
)
def test_a_line_that_says_what_cannot_be(store: SqlStore, line: str, message: str) -> None:
    problems = refused(store, HEADER, CLAIM, line)
    assert len(problems) == 1
    assert problems[0].startswith("line 3: ")
    assert message in problems[0]


def test_a_reference_to_a_decision_of_another_kind(store: SqlStore) -> None:
    reversal = '{"type":"reversal","of":"m-1",' + AT + "}"
    problems = refused(store, HEADER, reversal, NOTICE.replace("m-1", "x-1"), MAINTENANCE, EXCLUSION)
    assert problems == [
        "line 2: \"of\" names 'm-1', a maintenance: it is cancelled or finished, not reversed",
        "line 3: \"maintenance\" names 'x-1', which is an exclusion, expected a maintenance",
    ]


def test_what_refers_to_a_wrong_line_is_not_wrong_itself(store: SqlStore) -> None:
    problems = refused(store, HEADER, NOTICE, MAINTENANCE.replace('["portal"]', "[]"))
    assert problems == ['line 3: "services" is [], expected a list of ids, not empty']


def test_one_id_with_two_contents_names_both_lines(store: SqlStore) -> None:
    other = MAINTENANCE.replace('"m-1"', '"x-1"')
    problems = refused(store, HEADER, EXCLUSION, EXCLUSION, other, EXCLUSION.replace("attack", "partner_act"))
    shared = "one id is one decision (maintenance, exclusions, adjudications and annulments share their ids)"
    assert problems == [
        f"line 4: \"id\" 'x-1' stands with other content at line 2; {shared}",
        f"line 5: \"id\" 'x-1' stands with other content at line 2; {shared}",
    ]


def test_one_outage_and_one_close_with_two_contents(store: SqlStore) -> None:
    problems = refused(store, HEADER, OUTAGE, CLOSE, OUTAGE.replace("portal", "shop"), CLOSE.replace('"a"', '"b"'))
    assert problems == [
        "line 4: \"id\" 'o-1' stands with other content at line 2",
        "line 5: closes version 1 of 2026-03 for acme, portal with other content than line 3",
    ]


def test_an_id_that_stands_in_the_ledger_with_another_content(store: SqlStore) -> None:
    window = Maintenance(id="m-1", services=("portal",), start_us=1, end_us=2, at_us=1)
    claim = Claim(partner="acme", service="portal", month="2026-04", at_us=1)
    store.commit(Unit(recorded_at_us=1, facts=[claim, window]))
    (problem,) = refused(store, HEADER, MAINTENANCE)
    assert "line 2: \"id\" 'm-1' stands with other content at entry 2 of the ledger" in problem


def test_a_reference_into_the_ledger_is_found(store: SqlStore) -> None:
    import_(store, io.BytesIO(f"{HEADER}\n{MAINTENANCE}\n".encode()), now_us=NOW, rebuild=lambda *_: None)
    report = import_(store, io.BytesIO(f"{HEADER}\n{NOTICE}\n".encode()), now_us=NOW, rebuild=lambda *_: None)
    assert report.facts == 1


def test_problems_are_collected_up_to_a_limit(store: SqlStore) -> None:
    problems = refused(store, HEADER, *[RUN.replace("pass", f"p{n}") for n in range(5)])
    assert [problem.split(":")[0] for problem in problems] == [f"line {n}" for n in range(2, 7)]
    data = "\n".join([HEADER, *["{"] * 50]).encode()
    with pytest.raises(ImportRefusedError) as told:
        import_(store, io.BytesIO(data), now_us=NOW, rebuild=lambda *_: None)
    assert len(told.value.problems) == MAX_PROBLEMS
    assert told.value.more
    assert str(told.value).splitlines()[-1] == "… and perhaps more"


def test_a_problem_on_the_last_line_of_a_long_file_leaves_nothing(store: SqlStore) -> None:
    runs = [RUN.replace("00:00Z", f"00:00.{n:06d}Z") for n in range(6000)]
    assert len(refused(store, HEADER, MAINTENANCE, *runs, '{"type":"clam"}')) == 1
    assert store.head() == Head()


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    incoming = Incoming(Known(), NOW)
    try:
        incoming.take(1, HEADER.encode())
        incoming.take(2, data)
        incoming.finish()
    except ImportRefusedError as error:
        assert str(error)  # noqa: PT017 - any refusal is fine, as long as it is one


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_value_breaks_the_reader(value: object) -> None:
    for line in (MAINTENANCE, RUN, CLAIM, CLOSE, OUTAGE, NOTICE):
        given_line = json.loads(line)
        for name in list(given_line):
            incoming = Incoming(Known(), NOW)
            incoming.take(1, HEADER.encode())
            try:
                incoming.take(2, json.dumps(given_line | {name: value}).encode())
                incoming.finish()
            except (ImportRefusedError, LineError) as error:
                assert str(error)  # noqa: PT017

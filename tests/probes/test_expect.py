"""Assertions and extraction over plain facts: what holds, what is said when it does not, what is bounded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import jsonpath
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from probes import OwnFault, ProbeError
from probes._answer import Answer, NotJsonError, plain_steps
from probes._judge import Judge, same
from probes.template import Expander
from probes.transaction import SpecError, parse
from tests.probes.asking import reset_peak, resident_bytes, turns

BODY = json.dumps(
    {
        "token": "abc",
        "n": 7,
        "f": 7.0,
        "neg": -1.5,
        "flag": True,
        "none": None,
        "list": [1, 2, 3],
        "items": [{"id": 1, "state": "active"}, {"id": 2, "state": "gone"}],
        "deep": {"a": {"b": ["x"]}},
    }
).encode()


def facts(body: bytes = BODY, *, status: int = 200, kind: bytes = b"application/json") -> dict[str, Any]:
    headers = [(b"Content-Type", kind), (b"X-Many", b"1"), (b"x-many", b"2"), (b"X-Id", b"r-42")]
    return {"status": status, "headers": headers, "body": body, "size": len(body), "duration_ns": 50_000_000}


async def judged(expect: dict[str, Any], came: dict[str, Any] | None = None, **variables: object) -> list[str]:
    wanted = parse({"http": {"get": "http://a.test/"}, "expect": expect}).steps[0].expect
    judge = Judge("s", Answer(came or facts()), Expander(lambda _: "secret", variables), lambda text: text)
    await judge.judge(wanted)
    return [f"{failed.id}: {failed.message}" for failed in judge.failed]


HOLDS: list[dict[str, Any]] = [
    {},
    {"status": 200},
    {"status": "2xx"},
    {"status": "200-204"},
    {"status": [404, 200]},
    {"status": ["5xx", "2xx"]},
    {"headers": {"content-type": "application/json"}},
    {"headers": {"X-MANY": "1, 2"}},
    {"headers": {"x-id": {"matches": r"^r-\d+$"}}},
    {"headers": {"x-none": {"exists": False}}},
    {"headers": {"x-id": {"exists": True}}},
    {"body": {"contains": "abc"}},
    {"body": {"contains": ["abc", "gone"], "not_contains": ["error", "fatal"]}},
    {"body": {"matches": r'"n": \d'}},
    {"json": {"$.token": "abc"}},
    {"json": {"$.n": 7}},
    {"json": {"$.n": 7.0}},
    {"json": {"$.f": 7}},
    {"json": {"$.flag": True}},
    {"json": {"$.none": None}},
    {"json": {"$.none": {"type": "null"}}},
    {"json": {"$.list": [1, 2, 3]}},
    {"json": {"$.list[2]": 3}},
    {"json": {"$.deep.a": {"equals": {"b": ["x"]}}}},
    {"json": {"$.n": {"type": "integer", "min": 7, "max": 7}}},
    {"json": {"$.f": {"type": "integer"}}},
    {"json": {"$.neg": {"type": "number", "max": 0}}},
    {"json": {"$.deep": {"type": "object"}}},
    {"json": {"$.list": {"type": "array"}}},
    {"json": {"$.missing": {"exists": False}}},
    {"json": {"$.items[*].id": {"type": "integer"}}},
    {"json": {"$.items[?@.state == 'active'].id": 1}},
    {"json": {"$['token']": {"matches": "^a"}}},
    {"json": {"$.n": {"matches": "^7$"}}},
    {"json": {"$": {"type": "object"}}},
    {"json": {"$..b[0]": "x"}},
    {"json": {"$.token": "{{ token }}"}},
    {"json": {"$.n": "{{ n }}"}},
    {"schema": {"type": "object", "required": ["token"], "properties": {"n": {"type": "integer"}}}},
    {"schema": {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"token": {"pattern": "^a.c$"}}}}}},
    {"schema": True},
    {"time": "< 51ms"},
    {"time": "<= 50ms"},
    {"size": "> 10B"},
    {"size": "<= 10KiB"},
]


@pytest.mark.parametrize("expect", HOLDS)
async def test_it_holds(expect: dict[str, Any]) -> None:
    wanted = (
        parse(
            {
                "steps": [
                    {"name": "a", "http": {"get": "http://a.test/"}, "extract": {"token": "$.t", "n": "$.n"}},
                    {"name": "s", "http": {"get": "http://a.test/"}, "expect": expect},
                ]
            }
        )
        .steps[1]
        .expect
    )
    judge = Judge("s", Answer(facts()), Expander(lambda _: "", {"token": "abc", "n": 7}), lambda text: text)
    await judge.judge(wanted)
    assert judge.failed == []


FAILS: list[tuple[dict[str, Any], str]] = [
    ({"status": 201}, "s.status: expected status 201, got 200: {"),
    ({"status": ["3xx", 404, "500-503"]}, "s.status: expected status 3xx or 404 or 500-503, got 200"),
    ({"headers": {"X-Id": "r-43"}}, 's.headers.x-id: header X-Id: expected "r-43", got "r-42"'),
    ({"headers": {"x-none": "1"}}, "s.headers.x-none: header x-none: expected it to exist, it does not"),
    ({"body": {"contains": ["abc", "xyz"]}}, "s.body.contains: body: expected to contain 'xyz', got {"),
    ({"body": {"not_contains": "abc"}}, "s.body.not_contains: body: expected not to contain 'abc'"),
    ({"body": {"matches": "^x"}}, "s.body.matches: body: expected to match '^x', got {"),
    ({"json": {"$.token": "abd"}}, 's.json.$.token: json $.token: expected "abd", got "abc"'),
    ({"json": {"$.n": "7"}}, 's.json.$.n: json $.n: expected "7", got 7'),
    ({"json": {"$.n": True}}, "s.json.$.n: json $.n: expected true, got 7"),
    ({"json": {"$.flag": 1}}, "s.json.$.flag: json $.flag: expected 1, got true"),
    ({"json": {"$.list": [1, 2]}}, "s.json.$.list: json $.list: expected [1, 2], got [1, 2, 3]"),
    ({"json": {"$.no": 1}}, "s.json.$.no: json $.no: expected it to exist, it does not"),
    ({"json": {"$.none": {"exists": False}}}, "s.json.$.none: json $.none: expected nothing there, got null"),
    ({"json": {"$.flag": {"type": "number"}}}, "s.json.$.flag: json $.flag: expected type number, got true"),
    ({"json": {"$.n": {"min": 8}}}, "s.json.$.n: json $.n: expected at least 8, got 7"),
    ({"json": {"$.n": {"max": 6}}}, "s.json.$.n: json $.n: expected at most 6, got 7"),
    ({"json": {"$.token": {"min": 6}}}, 's.json.$.token: json $.token: expected a number, got "abc"'),
    (
        {"json": {"$.items[*].state": "active"}},
        's.json.$.items[*].state: json $.items[*].state: expected "active", got',
    ),
    ({"schema": {"required": ["no"]}}, 's.schema: schema: at $: "no" is a required property'),
    (
        {"schema": {"properties": {"items": {"items": {"properties": {"id": {"maximum": 1}}}}}}},
        "s.schema: schema: at $.items[1].id: 2 is greater than the maximum of 1",
    ),
    ({"time": "< 50ms"}, "s.time: time: expected < 50ms, took 50.0ms"),
    ({"size": "< 10B"}, "s.size: size: expected < 10B, got"),
]


@pytest.mark.parametrize(("expect", "words"), FAILS)
async def test_it_fails_and_says_expected_against_came(expect: dict[str, Any], words: str) -> None:
    (said,) = await judged(expect)
    assert said.startswith(words), said
    assert len(said) < 600


async def test_no_expectation_still_expects_success() -> None:
    assert await judged({}, facts(status=204)) == []
    assert (await judged({}, facts(status=404)))[0].startswith("s.status: expected status 2xx, got 404")
    assert await judged({"status": "4xx"}, facts(status=404)) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "the body is no JSON: Expecting value at line 1 column 1"),
        (b'{"a": NaN}', "NaN is no JSON value"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 100_000, "it cannot be decoded"),
        (b"\xff\xfe\xff", "it cannot be decoded"),
        (b" " * ((4 << 20) + 1), "longer than the 4 MiB"),
    ],
)
async def test_what_is_no_json_is_said(body: bytes, words: str) -> None:
    (said,) = await judged({"json": {"$.a": 1}}, facts(body))
    assert words in said
    with pytest.raises(NotJsonError):
        _ = Answer(facts(body)).json


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        (b"text/plain; charset=iso-8859-1", b"\xfc", "ü"),
        (b'text/plain; charset="utf-16-le"', "ü".encode("utf-16-le"), "ü"),
        (b"text/plain; charset=rot13", b"abc", "abc"),
        (b"text/plain; charset=nonsense", "ü".encode(), "ü"),
        (b"text/plain", b"a\xffb", "a\N{REPLACEMENT CHARACTER}b"),
        (b"text/plain; charset=idna", b"xn--" + b"a" * 100, "xn--" + "a" * 100),
        (b"text/plain; charset=punycode", b"Mnchen-3ya", "Mnchen-3ya"),  # takes time by the square of the length
        (b"text/plain; charset=unicode_escape", b"\\u00fc", "\\u00fc"),
        (b"text/plain; charset=utf-7", b"+AOk-", "+AOk-"),
    ],
)
def test_text_is_decoded_as_it_says(kind: bytes, body: bytes, text: str) -> None:
    assert Answer(facts(body, kind=kind)).text == text


_KINDS = ("", *(f"text/html; charset={name}" for name in ("utf-8", "latin-1", "utf-16", "utf-7", "shift_jis", "nope")))


@given(
    kind=st.sampled_from(_KINDS),
    text=st.text(st.sampled_from("wel+AOk-\N{SNOWMAN}\\~"), min_size=1, max_size=6),
    body=st.lists(
        st.sampled_from([b"well", b"w", b"e", b"l", b"\0", b"\xff", b"\xe2", b"\x81", b"+AO-", b"~"]), max_size=8
    ),
    status=st.sampled_from([200, 299, 404]),
)
@example(kind=_KINDS[5], text="w", body=[b"\x81", b"w"], status=200)  # one letter, and no w
@example(kind=_KINDS[3], text="w", body=[b"\0", b"w"], status=200)
def test_what_is_plainly_met_is_met_when_it_is_looked_at(kind: str, text: str, body: list[bytes], status: int) -> None:
    came = facts(b"".join(body), status=status, kind=kind.encode())
    for wish in ("contains", "not_contains"):
        expect = {"body": {wish: [text]}}
        wanted = parse({"http": {"get": "http://a.test/"}, "expect": expect}).steps[0].expect
        failed = asyncio.run(judged(expect, came))
        if wanted.plainly_met(came):
            assert not failed
        elif text.isascii() and (not kind or kind.endswith("utf-8")):
            assert failed, "most answers need no second look"


_RECORDS = st.lists(st.sampled_from(["192.0.2.7", "A.test", "a.test", "B.test", "{x}", "ss", "ß"]), max_size=3)


@given(wanted=_RECORDS, came=_RECORDS)
def test_records_that_are_plainly_met_are_met_when_they_are_looked_at(wanted: list[str], came: list[str]) -> None:
    answer = {"rcode": "NOERROR", "records": tuple(came), "body": b"", "size": 0, "duration_ns": 1}
    check = {"dns": {"query": "a.test", "server": "127.0.0.1:53"}, "expect": {"records": wanted}}
    expect = parse(check).steps[0].expect
    judge = Judge("dns", Answer(answer), Expander(str, {}), str)
    asyncio.run(judge.judge(expect))
    failed = judge.failed
    assert not (expect.plainly_met(answer) and failed)
    assert expect.plainly_met(answer) or failed or "{x}" in wanted, "most answers need no second look"


@pytest.mark.parametrize("size", [26, 100_000])
async def test_a_pattern_that_never_ends_is_our_own_fault_and_blocks_nobody(size: int) -> None:
    """FAULTS 2.D: `(a+)+$` froze the loop for 3.4 s on 26 characters."""
    with turns() as watch, pytest.raises(OwnFault, match="backtracking"):
        await judged({"body": {"matches": r"^(?:a|a|aa)+$"}}, facts(b"a" * size + b"b"))
    assert watch.longest_s < 0.25


async def test_messages_hold_foreign_text_on_one_line_and_bounded() -> None:
    body = b"line\r\nline\x1b[31m\x00\xe2\x80\xae" + b"y" * 100_000
    (said,) = await judged({"status": 201}, facts(body))
    assert said.isprintable()
    assert len(said) < 300


async def test_an_unknown_variable_is_said() -> None:
    wanted = (
        parse(
            {
                "steps": [
                    {"name": "a", "http": {"get": "http://a.test/"}, "extract": {"x": "$.x"}},
                    {"name": "b", "http": {"get": "http://a.test/"}, "expect": {"json": {"$.n": "{{ x }}"}}},
                ]
            }
        )
        .steps[1]
        .expect
    )
    with pytest.raises(ProbeError, match="was not extracted"):
        await Judge("s", Answer(facts()), Expander(lambda _: "", {}), str).judge(wanted)


names = st.from_regex(r"[a-c]", fullmatch=True)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
paths = st.lists(names.map(lambda n: f".{n}") | st.integers(0, 3).map(lambda i: f"[{i}]"), max_size=4).map(
    lambda steps: "$" + "".join(steps)
)


@given(documents, paths)
def test_plain_paths_answer_as_the_library_does(document: Any, path: str) -> None:  # noqa: ANN401 - JSON
    assert plain_steps(path) is not None
    ours = asyncio.run(Answer({"body": json.dumps(document).encode()}).query(path))
    assert ours == jsonpath.JSONPathEnvironment(strict=True).findall(path, document)


@pytest.mark.parametrize("path", ["$.a-b", "$['a']", "$[-1]", "$[01]", "$..a", "$.*", "$.a[0:1]", "$ .a", "$.1a", "a"])
def test_other_paths_are_left_to_the_library(path: str) -> None:
    assert plain_steps(path) is None


@given(documents, documents)
def test_sameness_is_that_of_json(a: object, b: object) -> None:
    assert same(a, b) == (json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True))


async def test_a_path_into_an_answer_nested_too_deeply_is_said_of_the_answer() -> None:
    (said,) = await judged({"json": {"$..x": {"exists": False}}}, facts(b'{"a":' * 300 + b"1" + b"}" * 300))
    assert said == "s.json.$..x: json $..x: the body is JSON nested too deeply for $..x"


@pytest.mark.parametrize("path", ["$..*..*..*..*", "$[*][?@[*]]..*..*"])
async def test_a_path_that_visits_too_much_is_our_own_fault_and_blocks_nobody(path: str) -> None:
    body = b"[" * 90 + b"1" + b"]" * 90
    body = b"[" + b",".join([body] * 30) + b"]"
    assert len(body) < 8_192, "small enough to be looked at on the loop"
    with turns() as watch, pytest.raises(OwnFault, match="visits over 100000 values"):
        await judged({"json": {path: {"exists": True}}}, facts(body))
    assert watch.longest_s < 0.05


async def test_a_path_visits_as_much_as_a_large_answer_holds() -> None:
    body = json.dumps({"items": [{"id": n, "state": "active"} for n in range(20_000)]}).encode()
    assert await judged({"json": {"$..id": {"type": "integer"}}}, facts(body)) == []
    assert await judged({"json": {"$.items[?@.id == 19999].state": "active"}}, facts(body)) == []


async def test_of_an_answer_that_is_wrong_everywhere_the_first_place_is_said() -> None:
    body = b"[" + b"[]," * 100_000 + b"[]]"
    _ = Answer(facts(body)).json
    reset_peak()
    before = resident_bytes()
    (said,) = await judged({"schema": {"type": "array", "items": {"type": "object"}}}, facts(body))
    assert said.startswith("s.schema: schema: at $[0]: [] is not of type")
    assert resident_bytes(peak=True) - before < 64 << 20, "all 100,001 were listed"


async def test_half_a_character_in_an_answer_is_no_fault_of_ours() -> None:
    half = facts(rb'{"a": "\ud800"}')
    (said,) = await judged({"schema": {"properties": {"a": {"type": "integer"}}}}, half)
    assert said.startswith("s.schema: schema: at $: does not meet the schema")
    assert await judged({"schema": {"properties": {"a": {"type": "string"}}}}, half) == []
    (said,) = await judged({"json": {"$.a": "x"}}, half)
    assert said == 's.json.$.a: json $.a: expected "x", got "\N{REPLACEMENT CHARACTER}"'


# Markup.

PAGE = b"""<!doctype html><html><head><title> Portal  of Acme </title></head><body>
<ul id=orders><li class="row new">one</li><li class=row>two</li></ul><a href="/x?a=1&amp;b=2">x</a></body></html>"""
FEED = (
    b"""<?xml version="1.0"?><feed><entry id="7"><total currency="IDR">12500000</total></entry><entry id="8"/></feed>"""
)

MARKUP: list[tuple[bytes, bytes, dict[str, Any], str | None]] = [
    (PAGE, b"text/html", {"css": {"title": "Portal of Acme", "#orders li.row.new": "one"}}, None),
    (PAGE, b"text/html", {"css": {"li.row": {"matches": "^(one|two)$"}, "form": {"exists": False}}}, None),
    (PAGE, b"text/html", {"xpath": {"count(//li)": 2, "//a/@href": "/x?a=1&b=2", "//li = 'two'": True}}, None),
    (
        PAGE,
        b"text/html",
        {"xpath": {"count(//li)": {"min": 1, "max": 9}, "string(//title)": {"matches": "Acme"}}},
        None,
    ),
    (PAGE, b"text/html", {"css": {"li": "one"}}, 's.css.li: css li: expected "one", got "two"'),
    (PAGE, b"text/html", {"css": {"form": "x"}}, "s.css.form: css form: expected it to exist, it does not"),
    (PAGE, b"text/html", {"xpath": {"count(//li)": 3}}, "s.xpath.count(//li): xpath count(//li): expected 3, got 2"),
    (PAGE, b"text/html", {"xpath": {"$nobody": 1}}, "s.xpath.$nobody: xpath $nobody: the expression cannot be"),
    (FEED, b"application/xml", {"xpath": {"/feed/entry[@id='7']/total": "12500000", "//total/@currency": "IDR"}}, None),
    (FEED, b"application/atom+xml", {"css": {"entry total": "12500000"}}, None),
    (
        b"<a><b></a>",
        b"text/xml",
        {"xpath": {"/a": "x"}},
        "s.xpath./a: xpath /a: the body is no XML: Opening and ending",
    ),
    (b"", b"text/html", {"xpath": {"/a": "x"}}, "s.xpath./a: xpath /a: the body"),
    (b"x" * ((1 << 20) + 1), b"text/html", {"css": {"a": "x"}}, "s.css.a: css a: the body is longer than the 1 MiB"),
    (PAGE + b" " * 9000, b"text/html", {"css": {"title": "Portal of Acme"}}, None),
    # Charsets: of the header, else of the document, else UTF-8 where the body is that.
    ("<p>Gr\u00fc\u00df</p>".encode(), b"text/html; charset=utf-8", {"css": {"p": "Gr\u00fc\u00df"}}, None),
    ("<p>Gr\u00fc\u00df</p>".encode(), b"text/html", {"css": {"p": "Gr\u00fc\u00df"}}, None),
    (
        "<p>Gr\u00fc\u00df</p>".encode("cp1252"),
        b"text/html; charset=windows-1252",
        {"css": {"p": "Gr\u00fc\u00df"}},
        None,
    ),
    ("<p>Gr\u00fc\u00df</p>".encode("latin-1"), b"text/html", {"css": {"p": "Gr\u00fc\u00df"}}, None),
    (
        '<meta charset="iso-8859-7"><p>\u03a9</p>'.encode("iso-8859-7"),
        b"text/html",
        {"css": {"p": "\u03a9"}},
        None,
    ),
    ("<p>\u03a9</p>".encode("utf-16"), b"text/html", {"css": {"p": "\u03a9"}}, None),
    ("<a>\u00fc</a>".encode("latin-1"), b"text/xml; charset=iso-8859-1", {"xpath": {"/a": "\u00fc"}}, None),
    (
        '<?xml version="1.0" encoding="iso-8859-1"?><a>\u00fc</a>'.encode("latin-1"),
        b"text/xml",
        {"xpath": {"/a": "\u00fc"}},
        None,
    ),
    ("<p>Gr\u00fc\u00df</p>".encode(), b"text/html; charset=punycode", {"css": {"p": "Gr\u00fc\u00df"}}, None),
    # What is no number keeps no limit.
    (
        b"<a>x</a>",
        b"text/xml",
        {"xpath": {"number(/a)": {"max": 3}}},
        's.xpath.number(/a): xpath number(/a): expected a number, got "NaN"',
    ),
    (b"<a/>", b"text/xml", {"xpath": {"1 div 0": {"min": 3}}}, "s.xpath.1 div 0: xpath 1 div 0: expected a number"),
    # Nodes that are no elements.
    (
        b'<a xmlns:q="urn:q"><!-- note --><?go on?>t</a>',
        b"text/xml",
        {"xpath": {"//comment()": "note", "//processing-instruction()": "on", "/a": "t"}},
        None,
    ),
    (b'<a xmlns:q="urn:q"/>', b"text/xml", {"xpath": {"//namespace::q": "urn:q"}}, None),
]


@pytest.mark.parametrize(("body", "kind", "expect", "words"), MARKUP)
async def test_markup(body: bytes, kind: bytes, expect: dict[str, Any], words: str | None) -> None:
    said = await judged(expect, facts(body, kind=kind))
    assert [text[: len(words or "")] for text in said] == ([] if words is None else [words])


async def test_xml_reads_no_file_and_no_entity_grows(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("c4n4ry", encoding="ascii")
    leaking = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}">]><a>&x;</a>'.encode()
    said = await judged({"xpath": {"string(/a)": "c4n4ry"}}, facts(leaking, kind=b"text/xml"))
    assert len(said) == 1
    assert "c4n4ry" not in said[0].rpartition("got")[2]
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    laughs = f'<!DOCTYPE a [<!ENTITY l0 "ha">{levels}]><a>&l9;</a>'.encode()
    (refused,) = await judged({"xpath": {"string-length(/a)": {"min": 0}}}, facts(laughs, kind=b"text/xml"))
    assert "amplification" in refused


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({"xpath": {"//[": 1}}, "is no XPath"),
        ({"css": {"a[": 1}}, "is no CSS selector"),
        ({"schema": 7}, "a JSON Schema is a mapping"),
        ({"schema": {"type": "strnig"}}, "no JSON Schema"),
        ({"schema": {"$ref": "https://example.com/schema.json"}}, "remote reference"),
        ({"schema": {"$ref": "file:///etc/passwd"}}, "remote reference"),
        ({"schema": {"pattern": "(a)\\1"}}, "no JSON Schema"),
        ({"certificate": {"valid_for": "14d"}}, None),
        ({"certificate": {}}, "expects nothing"),
        ({"records": ["x"]}, "http has no records to expect"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_read(expect: dict[str, Any], words: str | None) -> None:
    if words is None:
        parse({"http": {"get": "https://a.test/"}, "expect": expect})
        return
    with pytest.raises(SpecError, match=words):
        parse({"http": {"get": "https://a.test/"}, "expect": expect})


async def test_a_pattern_of_a_schema_takes_linear_time() -> None:
    body = json.dumps({"a": "a" * 50_000 + "!"}).encode()  # with backtracking it would never end
    (said,) = await judged({"schema": {"properties": {"a": {"pattern": "^(a+)+$"}}}}, facts(body))
    assert said.startswith("s.schema: schema: at $.a:")


# Records.


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        (["192.0.2.1", "192.0.2.2"], None),
        (["192.0.2.2", "192.0.2.1"], None),
        ({"contains": "192.0.2.1", "not_contains": "192.0.2.9", "min": 2, "max": 2, "matches": r"^192\.0\.2\."}, None),
        (["192.0.2.1"], "s.records.equals: records: expected 192.0.2.1, got 192.0.2.1, 192.0.2.2"),
        ([], "s.records.equals: records: expected , got 192.0.2.1, 192.0.2.2"),
        ({"contains": ["192.0.2.1", "192.0.2.3"]}, "s.records.contains: records: expected '192.0.2.3' among them"),
        ({"not_contains": "192.0.2.1"}, "s.records.not_contains: records: expected no '192.0.2.1'"),
        ({"matches": "1$"}, "s.records.matches: records: expected each to match '1$', got '192.0.2.2'"),
        ({"min": 3}, "s.records.min: records: expected at least 3, got 2"),
        ({"max": 1}, "s.records.max: records: expected at most 1, got 2"),
    ],
)
async def test_records(expect: object, words: str | None) -> None:
    step = parse({"dns": {"query": "a.test", "server": "192.0.2.53"}, "expect": {"records": expect}}).steps[0]
    came = {"records": ("192.0.2.1", "192.0.2.2"), "duration_ns": 1}
    judge = Judge("s", Answer(came), Expander(lambda _: "", {}), lambda text: text)
    await judge.judge(step.expect)
    said = [f"{failed.id}: {failed.message}" for failed in judge.failed]
    assert [text[: len(words or "")] for text in said] == ([] if words is None else [words])
    assert {failed.id for failed in judge.failed} <= set(step.expect.ids("s", with_status=False))


async def test_a_pattern_sees_the_records_as_the_server_wrote_them() -> None:
    """Names are compared without regard to case; what a pattern says of case, it means."""
    wanted = {"matches": "^v=DMARC1", "contains": "V=dmarc1; P=none"}
    step = parse({"dns": {"query": "a", "server": "192.0.2.1"}, "expect": {"records": wanted}}).steps[0]
    said: list[tuple[str, str]] = []
    for record in ("v=DMARC1; p=none", "v=dmarc1; p=none"):
        judge = Judge("s", Answer({"records": (record,), "duration_ns": 1}), Expander(str, {}), str)
        await judge.judge(step.expect)
        said += [(failed.id, failed.message.partition(", ")[2]) for failed in judge.failed]
    assert said == [("s.records.matches", "got 'v=dmarc1; p=none'")]


@pytest.mark.parametrize("expect", [{}, {"min": 2, "max": 1}, {"min": -1}])
def test_records_that_expect_nothing_or_the_impossible(expect: object) -> None:
    with pytest.raises(SpecError, match="records"):
        parse({"dns": {"query": "a.test", "server": "192.0.2.53"}, "expect": {"records": expect}})

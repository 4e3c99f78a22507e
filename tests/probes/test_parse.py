"""What the configuration says: accepted as meant, refused with the place and what was meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import TlsPolicy, kinds, load
from probes._fields import byte_size, duration_us
from probes.transaction import Spec, SpecError, parse, schema

URL = "https://api.example.id/x"


def problems(data: object, *, also: frozenset[str] = frozenset()) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(SpecError) as raised:
        parse(data, also=also)
    return [(problem.path, problem.message) for problem in raised.value.problems]


def http(**settings: object) -> dict[str, Any]:
    return {"http": {"get": URL} | settings}


BAD: list[tuple[Any, tuple[str | int, ...], str]] = [
    ([], (), "a check is a mapping"),
    ({}, (), "names no kind: give exactly one of"),
    ({"htp": {"get": URL}}, ("htp",), 'did you mean "http"?'),
    ({"steps": []}, ("steps",), "at least one step"),
    ({"finally": [{"http": {"get": URL}}]}, (), "steps is a list of at least one step"),
    ({"steps": [3]}, ("steps", 0), "a step is a mapping"),
    ({"steps": [{"name": "a", "http": {"get": URL}, "tcp": {"connect": "a:1"}}]}, ("steps", 0), "has http and tcp"),
    ({"steps": [{"nme": "a", "http": {"get": URL}}]}, ("steps", 0, "nme"), 'did you mean "name"?'),
    ({"steps": [{"name": "a\nb", "http": {"get": URL}}]}, ("steps", 0, "name"), "a text on one line"),
    ({"http": None}, ("http",), "is a mapping"),
    ({"http": {"pots": URL}}, ("http", "pots"), 'did you mean "post"?'),
    ({"http": {}}, ("http",), "names no method"),
    (http(post=URL), ("http",), "has get and post: give exactly one"),
    (http(get="api.example.id"), ("http", "get"), "no absolute URL"),
    (http(get="//api.example.id"), ("http", "get"), "no absolute URL"),
    (http(get="file:///etc/passwd"), ("http", "get"), "unknown scheme 'file'"),
    (http(get="gopher://a/"), ("http", "get"), "unknown scheme 'gopher'"),
    (http(get="data:text/html,x"), ("http", "get"), "no absolute URL"),
    (http(get="https://"), ("http", "get"), "names no host"),
    (http(get="https://a b/"), ("http", "get"), "names no host"),
    (http(get="https://u:p@a.test/"), ("http", "get"), "use basic:"),
    # IPv4 and IPv6 do not mix: at run time this would be a name that does not exist, the target's fault.
    (http(get="http://192.0.2.1/", family="ipv6"), ("http",), "the target is an IPv4 address, and family is ipv6"),
    (
        http(get="http://[2001:db8::1]:81/", family="ipv4"),
        ("http",),
        "the target is an IPv6 address, and family is ipv4",
    ),
    (http(get="http://192.0.2.1/", source="::1"), ("http",), "the target is an IPv4 address, and source is ::1"),
    (http(family="ipv6", source="192.0.2.1"), ("http", "source"), "192.0.2.1 is an IPv4 address, and family is ipv6"),
    (
        http(family="ipv6", resolve={"api.example.id": "192.0.2.1"}),
        ("http", "resolve", "api.example.id"),
        "192.0.2.1 is an IPv4 address, and family is ipv6",
    ),
    (
        {"tcp": {"connect": "a.test:1", "source": "::1", "resolve": {"a.test": "192.0.2.1"}}},
        ("tcp", "resolve", "a.test"),
        "192.0.2.1 is an IPv4 address, and source is ::1",
    ),
    (
        {"tls": {"connect": "[::1]:443", "family": "ipv4"}},
        ("tls",),
        "the target is an IPv6 address, and family is ipv4",
    ),
    ({"dns": {"query": "a", "server": "::1", "source": "192.0.2.1"}}, ("dns",), "and source is 192.0.2.1"),
    ({"icmp": {"ping": "::1", "family": "ipv4"}}, ("icmp",), "the target is an IPv6 address, and family is ipv4"),
    (http(get="https://a.test:0/"), ("http", "get"), "port 0"),
    (http(get="https://a.test:99999/"), ("http", "get"), "is no URL"),
    (http(get="https://a.test/\r\nX: 1"), ("http", "get"), "control character"),
    (http(get="http://169.254.169.254/"), ("http", "get"), "cloud metadata"),
    (http(get="http://[::ffff:169.254.169.254]/"), ("http", "get"), "cloud metadata"),
    (http(get="https://a.test/{{ a.b }}"), ("http", "get"), "is no variable"),
    (http(get="https://a.test/${}"), ("http", "get"), "is no reference"),
    (http(get=3), ("http", "get"), "is a text, not a number"),
    (http(headers={"X-A": "a\nb"}), ("http", "headers", "X-A"), "control character"),
    (http(headers={"X A": "a"}), ("http", "headers", "X A"), "no header name"),
    (http(headers={"Content-Length": "3"}), ("http", "headers", "Content-Length"), "set by the engine"),
    (http(headers={"a": "1", "A": "2"}), ("http",), "header a is given twice"),
    (http(headers={"a": None}), ("http", "headers", "a"), "a text or a number"),
    (http(json={"a": "{{ b c }}"}), ("http",), "is no variable"),
    (http(json=1, body="x"), ("http",), "more than one body: json and body"),
    (http(basic={"user": "a"}), ("http", "basic"), "password is missing"),
    (http(bearer="x", headers={"Authorization": "y"}), ("http",), "more than one login"),
    (http(redirects=21), ("http", "redirects"), "from 0 (do not follow) to 20"),
    (http(redirects="5"), ("http", "redirects"), "is a whole number, not a text"),
    (http(max_body=1048576), ("http", "max_body"), "needs a unit: 1048576 of what?"),
    (http(max_body="1GiB"), ("http", "max_body"), "from 1B to 8 MiB"),
    (http(max_body="1 parsec"), ("http", "max_body"), "unknown unit 'parsec'"),
    (http(tls={"verify": False}), ("http", "tls"), "needs why_unverified"),
    (http(tls={"verify": "no"}), ("http", "tls", "verify"), "is true or false, not a text"),
    (http(tls={"verfy": False}), ("http", "tls", "verfy"), 'did you mean "verify"?'),
    (http(tls={"client_key": "k"}), ("http", "tls"), "client_key needs client_cert"),
    (http(family="ipv5"), ("http", "family"), "ipv4"),
    (http(resolve={"a": "b"}), ("http", "resolve", "a"), "no IP address"),
    (http() | {"expect": {"status": 99}}, ("expect", "status"), "no status code"),
    (http() | {"expect": {"status": "2x"}}, ("expect", "status"), "write a code (200), a range (2xx, 200-204)"),
    (http() | {"expect": {"status": []}}, ("expect", "status"), "never be met"),
    (http() | {"expect": {"status": True}}, ("expect", "status"), "no status"),
    (http() | {"expect": {"time": "800ms"}}, ("expect", "time"), 'write it like "< 800ms"'),
    (http() | {"expect": {"time": "> 800ms"}}, ("expect", "time"), 'write it like "< 800ms"'),
    (http() | {"expect": {"time": "< 800"}}, ("expect", "time"), "no duration"),
    (http() | {"expect": {"time": 800}}, ("expect", "time"), 'write it like "< 800ms"'),
    (http() | {"expect": {"size": "1KiB"}}, ("expect", "size"), "write it like"),
    (http() | {"expect": {"jsn": {}}}, ("expect", "jsn"), 'did you mean "json"?'),
    (http() | {"expect": {"json": {"token": 1}}}, ("expect", "json", "token"), 'begins with "$"'),
    (http() | {"expect": {"json": {"$.a[": 1}}}, ("expect", "json", "$.a["), "no JSONPath"),
    (http() | {"expect": {"json": {"$[?match(@.a, 'x')]": 1}}}, ("expect", "json", "$[?match(@.a, 'x')]"), "match"),
    (http() | {"expect": {"json": {"$.a": {"typ": "string"}}}}, ("expect", "json", "$.a"), 'did you mean "type"?'),
    (http() | {"expect": {"json": {"$.a": {"type": "text"}}}}, ("expect", "json", "$.a"), "unknown type 'text'"),
    (http() | {"expect": {"json": {"$.a": {"min": "3"}}}}, ("expect", "json", "$.a"), "min is a number"),
    (http() | {"expect": {"json": {"$.a": {}}}}, ("expect", "json", "$.a"), "asks for nothing"),
    (http() | {"expect": {"json": {"$.a": {"exists": False, "min": 1}}}}, ("expect", "json", "$.a"), "no other wish"),
    (http() | {"expect": {"body": {"matches": "("}}}, ("expect", "body", "matches"), "no regular expression"),
    (http() | {"expect": {"headers": {"a": {"type": "x"}}}}, ("expect", "headers", "a"), "exists, equals, matches"),
    (http() | {"expect": {"body": {"contains": "{{ a b }}"}}}, ("expect", "body", "contains", 0), "is no variable"),
    (http() | {"extract": {"a": "token"}}, ("extract", "a"), 'begins with "$"'),
    (http() | {"extract": {"a b": "$.x"}}, ("extract", "a b"), "no name for a variable"),
    (http() | {"extract": {"a": {"heder": "x"}}}, ("extract", "a"), 'did you mean "header"?'),
    (http() | {"extract": {"a": {"regex": "abc"}}}, ("extract", "a"), "has 0 groups"),
    (http() | {"extract": {"a": {"regex": "(a)(b)"}}}, ("extract", "a"), "has 2 groups"),
    (http(bearer="{{ tokn }}"), ("http",), "extracted by no earlier step"),
    ({"tcp": {"connect": "db"}}, ("tcp", "connect"), "no host:port"),
    ({"tcp": {"connect": "db:0"}}, ("tcp", "connect"), "no host:port"),
    ({"tcp": {"connect": "::1:80"}}, ("tcp", "connect"), "names no host"),
    ({"tcp": {"connect": "169.254.169.254:80"}}, ("tcp", "connect"), "cloud metadata"),
    ({"tcp": {"connect": "db:1", "dialogue": [{}]}}, ("tcp", "dialogue", 0), "a turn is one of"),
    ({"tcp": {"connect": "db:1", "dialogue": [{"expect": "("}]}}, ("tcp", "dialogue", 0, "expect"), "no regular"),
    ({"tcp": {"connect": "db:1"}, "expect": {"status": 200}}, ("expect", "status"), "tcp has no status to expect"),
]


def test_ways_that_lead_somewhere_are_accepted() -> None:
    parse(http(family="ipv6", source="2001:db8::1", resolve={"api.example.id": "2001:db8::2"}))
    parse(http(get="http://192.0.2.1/", family="ipv6", resolve={"192.0.2.1": "2001:db8::2"}))
    parse(http(get="http://a.test:8080/", family="ipv4"))
    parse({"icmp": {"ping": "192.0.2.1", "source": "192.0.2.2", "family": "ipv4"}})


@pytest.mark.parametrize(("data", "path", "words"), BAD)
def test_a_mistake_is_named_with_its_place(data: object, path: tuple[str | int, ...], words: str) -> None:
    found = problems(data)
    assert any(where == path and words in message for where, message in found), found
    assert len(found) == 1, found


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("http://a.test/", "a.test:80"),
        ("https://A.test/", "a.test:443"),
        ("http://[2001:db8::1]:81/", "[2001:db8::1]:81"),
        ("http://[fe80::1%25eth0]/", "[fe80::1%eth0]:80"),
        ("http://{{ host }}/", "variable"),
    ],
)
def test_a_target_is_labelled_by_host_and_port(url: str, label: str) -> None:
    first = {"http": {"get": "http://a.test/"}, "extract": {"host": "$.host"}}
    step = parse({"steps": [first, {"name": "it", **http(get=url)}]}).steps[1]
    assert load("http").target(step.spec) == label


def test_all_mistakes_at_once() -> None:
    data = {
        "steps": [
            {"name": "a", "http": {"pots": URL}, "expct": {}},
            {"name": "a", "http": {"get": "ftp://x"}, "expect": {"status": 9, "jsn": 1}},
        ],
        "finaly": [],
    }
    assert [path for path, _ in problems(data)] == [
        ("finaly",),
        ("steps", 0, "expct"),
        ("steps", 0, "http", "pots"),
        ("steps", 1, "http", "get"),
        ("steps", 1, "expect", "status"),
        ("steps", 1, "expect", "jsn"),
    ]


def test_names_are_unique_and_variables_known() -> None:
    step = {"name": "a", "http": {"get": URL}, "extract": {"token": "$.t"}}
    later = {"name": "a", "http": {"get": "https://a.test/{{ tokn }}"}}
    assert problems({"steps": [step], "finally": [later]}) == [
        (("finally", 0, "name"), "two steps are called 'a': each needs a name of its own"),
        (("finally", 0), '{{ tokn }} is extracted by no earlier step, did you mean "token"?'),
    ]
    assert problems({"steps": [later, step | {"name": "b"}]})[0][0] == ("steps", 0)


def test_the_callers_keys_are_passed_over_and_offered() -> None:
    assert isinstance(parse(http() | {"network": "internal"}, also=frozenset({"network"})), Spec)
    assert problems(http() | {"netwrk": "internal"}, also=frozenset({"network"})) == [
        (("netwrk",), "unknown key 'netwrk', did you mean \"network\"?")
    ]


def test_the_same_settings_are_equal_and_marks_stay_unreplaced() -> None:
    data = http(bearer="${TOKEN}", tls={"ca_file": "/ca.pem"}) | {"expect": {"status": ["2xx", 404]}}
    assert parse(data) == parse(data)
    spec = parse(data).steps[0].spec
    assert spec.bearer == "${TOKEN}"
    assert spec.made.trust == TlsPolicy(ca_file="/ca.pem", alpn=("http/1.1",))
    assert parse(data).steps[0].expect.status == ((200, 299), (404, 404))


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("800ms", 800_000),
        ("10s", 10_000_000),
        ("5m", 300_000_000),
        ("1h", 3_600_000_000),
        ("2d", 172_800_000_000),
        ("1.5s", 1_500_000),
        ("0.000001s", 1),
        (" 3 s ", 3_000_000),
        ("250us", 250),
    ],
)
def test_durations(text: str, us: int) -> None:
    assert duration_us(text) == us


@pytest.mark.parametrize(
    "bad", [10, 1.5, True, None, "", "10", "s", "-1s", "1e3s", "10 sec", "0.0000001s", "1m30s", []]
)
def test_durations_without_a_clear_unit_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"like 800ms|finer than|unknown unit"):
        duration_us(bad)


def test_sizes() -> None:
    assert [byte_size(t) for t in ("1MiB", "64KiB", "1kB", "3 B", "0.5KiB")] == [1 << 20, 65_536, 1000, 3, 512]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=20)
        | st.sampled_from([URL, "${A}", "{{ b }}", "$.a", "< 5s", "1MiB", "2xx", "a:1"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "steps",
                        "finally",
                        "name",
                        "http",
                        "tcp",
                        "get",
                        "post",
                        "headers",
                        "json",
                        "expect",
                        "status",
                        "extract",
                        "tls",
                        "body",
                        "connect",
                        "dialogue",
                        "time",
                        "resolve",
                        "query",
                        "x",
                    ]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=20,
    )
)
def test_any_data_is_a_spec_or_problems_with_places(data: object) -> None:
    try:
        spec = parse(data)
    except SpecError as error:
        found = error.problems
    else:
        assert spec.steps
        return
    assert found
    for problem in found:
        assert problem.message
        assert leads_somewhere(data, problem.path[:-1])


def leads_somewhere(data: Any, path: tuple[str | int, ...]) -> bool:  # noqa: ANN401 - plain YAML data
    """Whether a path can be followed; it may go on inside a value that stands for a list of one."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return not isinstance(data, dict | list)
    return True


def test_the_schema_is_json_and_knows_every_kind() -> None:
    text = json.dumps(schema())
    for kind in kinds():
        assert f'"{kind}"' in text
        assert load(kind).EXPECTS


def test_what_a_check_is_called_is_known_without_its_request_being_made() -> None:
    """A number that JSON has not is found when the request is made, as the monitor's own fault of that run."""
    check = {"http": {"post": "http://a.test:81/", "json": {"a": float("nan")}, "resolve": {"a.test": "192.0.2.1"}}}
    assert parse(check).target == "a.test:81"

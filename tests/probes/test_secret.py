"""References are looked up, values are taken out of whatever is shown, marks are replaced once."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import FailReason, InconclusiveReason, OwnFault, ProbeError, template
from probes.secret import MASK, Scrubber, SecretError, lookup


def test_lookups(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    assert lookup("NAME", {"NAME": "value"}) == "value"
    assert lookup(f"file:{file}", {}) == "s3cret"
    with pytest.raises(SecretError, match="the environment has no NOBODY"):
        lookup("NOBODY", {})
    with pytest.raises(SecretError, match="No such file"):
        lookup(f"file:{tmp_path}/none", {})
    file.write_bytes(b"\xff")
    with pytest.raises(SecretError, match="not UTF-8"):
        lookup(f"file:{file}", {})
    file.write_bytes(b"x" * 70_000)
    with pytest.raises(SecretError, match="larger than"):
        lookup(f"file:{file}", {})


@given(st.text(min_size=4, max_size=40), st.text(max_size=10), st.text(max_size=10))
def test_no_form_of_a_secret_survives(secret: str, before: str, after: str) -> None:
    scrubber = Scrubber(str)
    scrubber.remember(secret)
    raw = secret.encode("utf-8", "surrogatepass") if not secret.isprintable() else secret.encode()
    forms = [
        secret,
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        repr(secret),
        html.escape(secret),
        raw.hex(),
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
        base64.b64encode(raw).decode(),
    ]
    for form in forms:
        inner = form.strip("\"'")
        if len(inner) >= 4 and inner not in before + MASK + after:
            assert inner not in scrubber.scrub(f"{before}{form}{after}")


@given(st.binary(min_size=8, max_size=30).filter(bytes.isascii), st.binary(max_size=5), st.binary(max_size=5))
def test_a_secret_inside_longer_base64_is_found(secret: bytes, before: bytes, after: bytes) -> None:
    scrubber = Scrubber(str)
    scrubber.remember(secret.decode())
    shown = scrubber.scrub(base64.b64encode(before + secret + after).decode())
    assert MASK in shown


def test_a_missing_secret_is_our_own_fault() -> None:
    with pytest.raises(OwnFault, match="the environment has no NAME") as raised:
        Scrubber(lambda name: lookup(name, {})).lookup("NAME")
    assert raised.value.reason is InconclusiveReason.INTERNAL


def test_short_values_are_masked_only_where_they_stand_alone() -> None:
    scrubber = Scrubber(str)
    scrubber.remember("80")
    scrubber.remember("")
    assert scrubber.scrub("port 80, code 8080, '80'") == "port ***, code 8080, '***'"


def test_a_longer_secret_goes_first() -> None:
    scrubber = Scrubber(str)
    scrubber.remember("pass")
    scrubber.remember("password")
    assert scrubber.scrub("password pass") == "*** ***"


def test_marks_are_replaced_once() -> None:
    known = {"A": "{{ b }}${C}", "file:/x/y": "F"}
    expander = template.Expander(known.__getitem__, {"b": "${A}", "n": 7, "o": {"x": [1, None]}})
    assert expander.text("${A}|{{ b }}|{{n}}|${file:/x/y}|$${A}|{ }|}}") == "{{ b }}${C}|${A}|7|F|${A}|{ }|}}"
    assert expander.text("{{ o }}") == '{"x": [1, null]}'
    assert expander.value({"k{{ n }}": ["{{ o }}", "{{ n }}", "<{{ n }}>", 3]}) == {
        "k7": [{"x": [1, None]}, 7, "<7>", 3]
    }
    assert template.references(["${A}", {"${file:/x}": "{{ b }}"}]) == {"A", "file:/x"}
    assert template.variables(["${A}", {"x": "{{ b }}{{c}}"}]) == {"b", "c"}


@pytest.mark.parametrize(
    "bad", ["{{ a.b }}", "{{ 7*7 }}", "{{}}", "{{ a|upper }}", "${a b}", "${}", "${file:x}", "${1}"]
)
def test_there_is_no_language_in_it(bad: str) -> None:
    with pytest.raises(ValueError, match=r"is no variable|is no reference"):
        template.parse(bad)


def test_an_unknown_variable_names_the_nearest() -> None:
    with pytest.raises(ProbeError, match='did you mean "token"') as raised:
        template.Expander(str, {"token": 1}).text("{{ tokn }}")
    assert raised.value.reason is FailReason.SCRIPT


def test_half_a_character_from_an_answer_is_masked_and_sent_nowhere() -> None:
    scrubber = Scrubber(str)
    scrubber.remember("t0ken\ud800")
    assert scrubber.scrub("got t0ken\ud800.") == f"got {MASK}."
    expander = template.Expander(lambda _: "s\udcff", {"token": "t0ken\ud800", "deep": {"a": ["\udc00"]}})
    for name in ("token", "deep"):
        with pytest.raises(ProbeError, match=f"{{{{ {name} }}}} holds half a character") as caught:
            expander.text(f"Bearer {{{{ {name} }}}}")
        assert caught.value.reason is FailReason.SCRIPT
    with pytest.raises(OwnFault, match=r"\$\{NAME\}: not UTF-8 text"):
        expander.text("${NAME}")
    assert expander.value("{{ token }}") == "t0ken\ud800", "JSON can write it"

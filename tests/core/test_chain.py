"""Canonical bytes as RFC 8785 wants them, and the digest over them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.chain import GENESIS, canonical, digest

PLAIN = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text("ab\u20ac\U0001f600"), inner))


def test_the_example_of_the_rfc_without_its_floats() -> None:
    value = {
        "literals": [None, True, False],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "numbers": [333333333, 4, 2],
    }
    assert canonical(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333,4,2],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_names_are_sorted_by_utf16_units() -> None:
    # RFC 8785 3.2.3: the emoji's first unit 0xd83d sorts before U+FB33.
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = [name for name, _ in json.loads(canonical(dict.fromkeys(names, 0)), object_pairs_hook=list)]
    assert ordered == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@given(st.dictionaries(st.text("abc"), VALUES))
def test_what_is_read_back_is_what_was_written_whatever_the_order(value: dict[str, object]) -> None:
    data = canonical(value)
    assert json.loads(data) == value
    assert canonical(dict(reversed(value.items()))) == data


@pytest.mark.parametrize("value", [{"a": 1.0}, {"a": [1, {"b": 0.5}]}, {"a": (1, 2.0)}])
def test_floats_are_a_fault_of_the_program(value: dict[str, object]) -> None:
    with pytest.raises(AssertionError, match="no floats in the record"):
        canonical(value)


@pytest.mark.parametrize("value", [2**53, -(2**53), "\ud800"])
def test_what_canonical_bytes_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"exceeds|UTF-8|surrogate"):
        canonical({"a": value})


def test_a_digest_is_sha256_in_hex() -> None:
    assert digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert len(GENESIS) == len(digest(b""))

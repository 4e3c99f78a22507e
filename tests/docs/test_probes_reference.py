"""docs/probes.md is the reference: every kind and key stands in it and nothing else, and its examples are accepted."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from probes import InconclusiveReason, kinds, load
from probes._fields import Tls
from probes._oauth2 import Oauth2
from probes.expect import Body, Certificate, Expect, Records
from probes.transaction import parse

TEXT = (Path(__file__).parents[2] / "docs" / "probes.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
# Those of this tree: other tests install kinds of their own.
KINDS = tuple(kind for kind in kinds() if load(kind).__name__ == f"probes.{kind}")
SHARED = {"family", "source", "resolve", "resolver"}
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def rows(section: str) -> dict[str, str]:
    """The keys of a section's table, each with its row."""
    found: dict[str, str] = {}
    for line in SECTIONS[section].splitlines():
        first = re.match(r"\| ((?:`[^`]+` ?)+)\|", line)
        if first:
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", first[1]), line)
    return found


def names(settings: type) -> set[str]:
    return {entry.name for entry in fields(settings)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_kind_is_listed_and_no_other(kind: str) -> None:
    assert set(rows(kind)) == names(load(kind).Spec) - SHARED
    assert names(load(kind).Spec) >= SHARED


def test_the_shared_keys_and_those_of_trust() -> None:
    assert set(rows("Keys that every kind has")) == SHARED
    assert set(rows("tls: whom to trust")) == names(Tls)


def test_every_expectation_is_listed_with_the_kinds_that_have_it() -> None:
    listed = rows("expect")
    assert set(listed) == names(Expect)
    for key, row in listed.items():
        having = {kind for kind in KINDS if key in load(kind).EXPECTS}
        said = row.split("|")[2].strip()
        assert (set(KINDS) if said == "all" else set(said.split(", "))) == having, key


@pytest.mark.parametrize(
    ("settings", "section", "key"),
    [
        (Body, "expect", "body"),
        (Records, "expect", "records"),
        (Certificate, "expect", "certificate"),
        (Oauth2, "http", "oauth2"),
    ],
)
def test_nested_keys_stand_in_their_row(settings: type, section: str, key: str) -> None:
    row = rows(section)[key]
    assert [name for name in names(settings) if f"`{name}`" not in row] == []


def test_every_reason_is_explained() -> None:
    assert set(rows("Whose fault it is")) == {reason.value for reason in InconclusiveReason}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_are_accepted(example: str) -> None:
    parse(yaml.safe_load(example))


def test_every_kind_has_an_example() -> None:
    seen = {step.kind for example in EXAMPLES for step in parse(yaml.safe_load(example)).steps}
    assert seen == set(KINDS)

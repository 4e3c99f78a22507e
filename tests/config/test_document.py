"""YAML read strictly: what it gives, where everything stood, and what is refused (FAULTS 2.D, YAML)."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.config.document import MAX_BYTES, MAX_DEPTH, parse, read
from monitor.config.problems import ConfigError


def problem(text: str | bytes) -> str:
    """The one thing that stops the reading of a text."""
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ConfigError) as caught:
        parse(raw, "f.yaml")
    (only,) = caught.value.problems
    return str(only)


def walked(text: str) -> list[str]:
    """What the walk found without having to stop."""
    return [str(found) for found in parse(text.encode(), "f.yaml").problems]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("1:30", "1:30"),
        ("08:00", "08:00"),
        ("2026-01-01", "2026-01-01"),
        ("1e3", "1e3"),
        (".5", ".5"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-17", -17),
        ("9223372036854775807", 2**63 - 1),
        ("99.9", 99.9),
        ('"0777"', "0777"),
        ("'12_000'", "12_000"),
        ("007a", "007a"),
    ],
)
def test_a_value_is_what_it_looks_like(written: str, meant: object) -> None:
    document = parse(f"key: {written}\n".encode(), "f.yaml")
    assert document.data == {"key": meant}
    assert type(document.data["key"]) is type(meant)
    assert not document.problems


@pytest.mark.parametrize("number", ["0777", "0o17", "0x1F", "0b11", "12_000", "-007"])
def test_a_number_that_readers_disagree_on_is_refused(number: str) -> None:
    (said,) = walked(f"a:\n  b: {number}\n")
    assert said.startswith(f"f.yaml:2:6: a.b: {number} means different numbers to different readers")


def test_a_number_with_more_digits_than_kept_is_refused() -> None:
    assert "has more digits than a number keeps" in walked(f"a: {'1' * 25}\n")[0]
    assert "has more digits than a number keeps" in walked(f"a: 0.{'1' * 31}\n")[0]


def test_every_duplicate_key_is_named_with_its_first_place() -> None:
    assert walked("a: 1\nb: {c: 1, c: 2}\na: 3\n") == [
        "f.yaml:2:11: b.c: duplicate key, first at 2:5",
        "f.yaml:3:1: a: duplicate key, first at 1:1",
    ]


def test_merge_keys_and_keys_that_are_no_texts_are_refused() -> None:
    assert walked("a: {<<: {b: 1}}\n") == ["f.yaml:1:5: a.<<: merge keys are not allowed: write the values out"]
    assert walked('a: {"<<": 1}\n') == []
    assert walked("? [x]\n: 1\n") == ["f.yaml:1:3: a key is a text"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\nb: *x\n", "f.yaml:1:4: an anchor is not allowed: write the value out"),
        ("a: *x\n", "f.yaml:1:4: an alias is not allowed: write the value out"),
        ("a: !!python/object:os.system {}\n", "the tag tag:yaml.org,2002:python/object:os.system is not allowed"),
        ("a: !x 1\n", "the tag !x is not allowed"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document; one file holds one"),
        ("a: [1\n", "is no YAML"),
        ("a: 1\n b: 2\n", "f.yaml:2:3: is no YAML"),
        ("a: \x07\n", "is no YAML"),
        (b"a: 1\nb: \xff\n", "f.yaml:2:1: is not UTF-8 text"),
        ("[" * (MAX_DEPTH + 1), f"is nested deeper than {MAX_DEPTH}"),
    ],
)
def test_what_stops_the_reading(text: str | bytes, said: str) -> None:
    assert said in problem(text)


def test_bombs_are_refused_at_once() -> None:
    """200,000 brackets crash the C parser's composer; nine levels of aliases are half a million nodes."""
    assert "is nested deeper" in problem("[" * 200_000)
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 10))
    assert "an anchor is not allowed" in problem("l0: &l0 x\n" + levels)
    assert f"is larger than {MAX_BYTES} bytes" in problem(b"#" * (MAX_BYTES + 1))
    assert parse(b"#" * MAX_BYTES, "f.yaml").data is None


def test_a_path_that_is_not_in_the_file_is_placed_at_the_nearest_above() -> None:
    document = parse(b"a:\n  b:\n    c: 1\n", "f.yaml")
    assert (document.problem(("a", "b", "x"), "m").line, document.problem(("a", "b", "x"), "m").column) == (3, 5)
    assert str(document.problem(("a", "b", "c"), "m", key=True)) == "f.yaml:3:5: a.b.c: m"
    assert str(document.problem(("a", "b", "c"), "m")) == "f.yaml:3:8: a.b.c: m"


def test_a_file_that_is_not_there_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file or directory; write one with: jaga init"):
        read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory$"):
        read(tmp_path)
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(tmp_path / "bom.yaml").data == {"a": 1}

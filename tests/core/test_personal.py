"""What stands in an entry in place of a person: a commitment to the data and its salt, and the way back to it."""

from __future__ import annotations

import hashlib
import json

from monitor.core.personal import Personal, references

SARI = {"name": "Sari Dewi", "email": "sari@example.id"}


def commitment(kind: str, data: dict[str, str], salt: bytes) -> str:
    """The reference by hand: for texts like these, canonical JSON is sorted and without spaces."""
    committed = {"kind": kind, "data": data, "salt": salt.hex()}
    text = json.dumps(committed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "personal:" + hashlib.sha256(text.encode()).hexdigest()


def test_a_reference_commits_to_kind_data_and_salt() -> None:
    told = [
        ("reporter", SARI, b"\x00\x01"),
        ("contact", SARI, b"\x00\x01"),
        ("reporter", SARI | {"name": "Sari Déwi"}, b"\x00\x01"),
        ("reporter", SARI, b"\x00\x02"),
    ]
    made = [Personal(*one).reference for one in told]
    assert made == [commitment(*one) for one in told]
    assert len(set(made)) == len(told)


def test_the_references_of_an_entry_are_found_wherever_they_stand() -> None:
    first, second = (Personal("reporter", SARI, salt).reference for salt in (b"1", b"2"))
    stored = json.dumps({"by": first, "note": f"as {second} said, and {first}; not personal:abc"}).encode()
    assert references(stored) == {first, second}
    assert references(b'{"by":"sari"}') == set()

"""How a fact is sealed after a head, and read back from its bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from monitor.core.chain import GENESIS
from monitor.core.entry import Head, head_after, open_entry, seal
from monitor.core.fact import Claim, Exclusion, ExclusionReason, Notice
from monitor.core.run import Origin
from monitor.core.wire import FactError

CLAIM = Claim(partner="acme", service="portal", month="2026-04", at_us=1_000_000)


def test_the_first_entry_follows_genesis() -> None:
    entry = seal(CLAIM, head=Head(), origin=Origin.OWN, now_us=7)
    assert entry.data == (
        b'{"epoch":0,"fact":{"at":"1970-01-01T00:00:01.000000+00:00","month":"2026-04","partner":"acme",'
        b'"service":"portal","type":"claim"},"origin":"own","prev":"'
        + GENESIS.encode()
        + b'","recorded_at_us":7,"seq":1}'
    )
    assert entry.hash == "sha256:" + hashlib.sha256(entry.data).hexdigest()
    assert (entry.seq, entry.prev, entry.type, entry.recorded_at_us) == (1, GENESIS, "claim", 7)
    assert head_after(entry) == Head(seq=1, hash=entry.hash, epoch=0, recorded_at_us=7)


@pytest.mark.parametrize(("now_us", "expected_us"), [(100, 100), (51, 51), (50, 51), (7, 51)])
def test_entry_times_only_grow(now_us: int, expected_us: int) -> None:
    head = Head(seq=3, hash="sha256:aa", epoch=4, recorded_at_us=50)
    entry = seal(CLAIM, head=head, origin=Origin.AGENT, now_us=now_us)
    assert entry.recorded_at_us == expected_us
    assert (entry.seq, entry.prev, entry.epoch) == (4, "sha256:aa", 4)
    assert json.loads(entry.data)["recorded_at_us"] == expected_us


def test_the_time_of_an_import_stays_outside_the_hash() -> None:
    one, other = (seal(CLAIM, head=Head(), origin=Origin.IMPORTED, now_us=now_us) for now_us in (7, 8))
    assert one.hash == other.hash
    assert (one.recorded_at_us, other.recorded_at_us) == (7, 8)
    assert one.hash != seal(CLAIM, head=Head(), origin=Origin.OWN, now_us=7).hash


@pytest.mark.parametrize("origin", Origin)
def test_what_was_sealed_opens_again(origin: Origin) -> None:
    entry = seal(CLAIM, head=Head(recorded_at_us=5), origin=origin, now_us=9)
    assert open_entry(json.loads(entry.data), data=entry.data, recorded_at_us=9) == entry


def test_an_own_time_is_read_from_the_bytes_not_the_column() -> None:
    entry = seal(CLAIM, head=Head(), origin=Origin.OWN, now_us=9)
    assert open_entry(json.loads(entry.data), data=entry.data, recorded_at_us=1) == entry
    imported = seal(CLAIM, head=Head(), origin=Origin.IMPORTED, now_us=9)
    assert open_entry(json.loads(imported.data), data=imported.data, recorded_at_us=1) == replace(
        imported, recorded_at_us=1
    )


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        (
            Notice(maintenance="m", partner="p", at_us=1, channel="mail", receipt="x" * 5000),
            '"receipt" has 5000 characters',
        ),
        (
            Exclusion(id="x", reason=ExclusionReason.ATTACK, services=("a",), start_us=2, end_us=1, at_us=1),
            '"end" .* is not after "start"',
        ),
        (Claim(partner="", service="portal", month="2026-04", at_us=1), "\"partner\" is '', expected an id"),
    ],
)
def test_what_could_not_be_read_back_is_not_recorded(fact: Notice | Exclusion | Claim, message: str) -> None:
    with pytest.raises(FactError, match=message):
        seal(fact, head=Head(), origin=Origin.OWN, now_us=1)

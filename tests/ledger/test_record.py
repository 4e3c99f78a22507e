"""The record carried on from reading to reading says what a reading of the whole says, and reads only what is new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from monitor.core.instant import DAY_US
from monitor.ledger.command import CloseMonth
from monitor.ledger.record import RecordKeeper, read_record
from monitor.storage.reading import SqlReader
from tests.ledger.keeping import AGREEMENTS, CLOSING, kept, watched_april


def test_it_equals_a_whole_reading_and_reads_only_what_is_new(tmp_path: Path) -> None:
    keeping = RecordKeeper()
    with kept(tmp_path) as keeper:
        assert keeping.read(keeper.store, AGREEMENTS) == read_record(keeper.store, AGREEMENTS)
        watched_april(keeper, [(0, 50)])
        assert keeping.read(keeper.store, AGREEMENTS) == read_record(keeper.store, AGREEMENTS)
        keeper.given(CloseMonth(partner="acme", service="portal", month="2026-04"))
        keeper.adopt("login", "order", at_us=CLOSING + DAY_US)
        whole = read_record(keeper.store, AGREEMENTS)
        seen: list[int] = []
        entries = SqlReader.entries

        def watched(self: SqlReader, *, after: int = 0, **rest: object) -> object:
            seen.append(after)
            return entries(self, after=after, **rest)  # type: ignore[arg-type]

        with patch.object(SqlReader, "entries", watched):
            found = keeping.read(keeper.store, AGREEMENTS)
            assert keeping.read(keeper.store, AGREEMENTS) is found, "nothing new, nothing folded"
        assert found == whole
        assert min(seen) > 0


def test_other_agreements_are_another_record(tmp_path: Path) -> None:
    keeping = RecordKeeper()
    with kept(tmp_path) as keeper:
        watched_april(keeper)
        renamed = replace(AGREEMENTS, partner_names=(("acme", "Acme Baru"),))
        keeping.read(keeper.store, AGREEMENTS)
        assert keeping.read(keeper.store, renamed) == read_record(keeper.store, renamed)


def test_a_reader_that_is_frozen_gets_the_record_of_its_state_whoever_asked_before(tmp_path: Path) -> None:
    with kept(tmp_path) as keeper:
        watched_april(keeper)
        keeping = RecordKeeper()
        with keeper.store.snapshot() as early:
            then = read_record(early, AGREEMENTS)
            assert keeping.read(early, AGREEMENTS) == then
            keeper.given(CloseMonth(partner="acme", service="portal", month="2026-04"))
            with keeper.store.snapshot() as late:
                now = read_record(late, AGREEMENTS)
                assert now.size > then.size
                assert keeping.read(late, AGREEMENTS) == now
                assert keeping.read(early, AGREEMENTS) == then, "not what another saw after it was frozen"
                assert keeping.read(late, AGREEMENTS) == now
        assert keeping.read(keeper.store, AGREEMENTS) == now

"""The statements of every batch, compiled once for an engine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, Insert, Update, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from monitor.storage.rows import RUN_COLUMNS
from monitor.storage.schema import CONTESTED, ENTRIES, LEDGER, MARKS, OUTBOX, RUNS, SOURCES, SPANS, STATED

LEDGER_COLUMNS = ("arrival", "seq", "hash", "epoch", "recorded_at_us", "first_own_seq", "cold_until_us")
"""Where the ledger stands, as its row says it."""


class Statements:
    """The statements of every batch, compiled once for an engine and bound by position, which drivers run fastest."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        runs, stated, spans, marks, outbox, contested, sources = (
            _insert(dialect, table) for table in (RUNS, STATED, SPANS, MARKS, OUTBOX, CONTESTED, SOURCES)
        )
        self.insert_run = self._compiled(
            runs.on_conflict_do_nothing(index_elements=["source", "start_us"]),
            (*RUN_COLUMNS, "crc"),
        )
        self.insert_stated = self._compiled(
            stated.on_conflict_do_nothing(),
            ("source", "start_us", "end_us", "outcome", "recorded_at_us", "crc"),
        )
        self.insert_contested = self._compiled(
            contested.on_conflict_do_nothing(),
            ("source", "start_us", "digest", "arrival", "origin", "recorded_at_us", "content", "crc"),
        )
        self.upsert_span = self._compiled(
            spans.on_conflict_do_update(
                index_elements=["source", "start_us"],
                set_={name: spans.excluded[name] for name in ("end_us", "outcome", "crc")},
            ),
            ("source", "start_us", "end_us", "outcome", "crc"),
        )
        self.upsert_mark = self._compiled(
            marks.on_conflict_do_update(
                index_elements=["name"],
                set_={name: marks.excluded[name] for name in ("value", "recorded_at_us", "crc")},
            ),
            ("name", "value", "recorded_at_us", "crc"),
        )
        self.insert_outbox = self._compiled(
            outbox.on_conflict_do_nothing(index_elements=["key"]),
            ("key", "channel", "kind", "payload", "at_us"),
        )
        self.insert_entry = self._compiled(
            insert(ENTRIES),
            ("seq", "type", "origin", "recorded_at_us", "epoch", "prev", "hash", "data", "crc"),
        )
        self.insert_source = sources.on_conflict_do_nothing()
        stands = select(*(LEDGER.c[name] for name in LEDGER_COLUMNS)).with_for_update()
        self.lock_ledger = str(stands.compile(dialect=dialect))
        self.save_ledger = self._compiled(update(LEDGER), (*LEDGER_COLUMNS, "crc"))

    def _compiled(self, statement: Insert | Update, columns: tuple[str, ...]) -> str:
        compiled = statement.compile(dialect=self.dialect, column_keys=list(columns))
        assert tuple(getattr(compiled, "positiontup", ())) == columns, "the parameters of a batch are bound by position"
        return str(compiled)


def _insert(dialect: Dialect, table: Any) -> Any:  # noqa: ANN401 - the two dialects' inserts share what is used here
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect.name](table)

"""The schema of a store: made where there is none, accepted where it is ours, brought up to date where it is older,
refused where it is newer or foreign.

Every step of a migration is one transaction that also moves the version on: data definition is transactional on both
engines as they are set up here, so whoever dies in the middle leaves the schema of the step before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    Table,
    UniqueConstraint,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.schema import CreateColumn, CreateTable

from monitor.core.entry import Head
from monitor.storage import StoreError
from monitor.storage.schema import (
    CONTESTED,
    ENTRIES,
    LEDGER,
    MARKS,
    METADATA,
    PACKS,
    RUNS,
    SCHEMA_VERSION,
    SEGMENTS,
    SOURCES,
    SPANS,
    STATED,
)

_log = structlog.get_logger("jaga.storage")


def make_or_accept(connection: Connection, target: str) -> None:
    """Within the caller's transaction, make the schema or accept the one that is there."""
    if not _tables(connection):
        METADATA.create_all(connection)
        head = Head()
        connection.execute(
            insert(LEDGER).values(
                id=1,
                schema_version=SCHEMA_VERSION,
                arrival=0,
                seq=head.seq,
                hash=head.hash,
                epoch=head.epoch,
                recorded_at_us=head.recorded_at_us,
                first_own_seq=None,
                cold_until_us=0,
            ),
        )
        return
    accept(connection, target)


def accept(connection: Connection, target: str) -> None:
    """Refuse what this version of the program cannot read: StoreError with the reason and the remedy."""
    found = _tables(connection)
    if not found:
        raise StoreError("open", target, "there is no ledger yet", "start the daemon once, or import a ledger")
    version = _version(connection, target, found)
    if version < SCHEMA_VERSION:
        cause = f"its schema is version {version}, this program needs {SCHEMA_VERSION}"
        raise StoreError("open", target, cause, "start the daemon once: it brings the ledger up to date")


def migrate(
    engine: Engine,
    target: str,
    *,
    copy: Callable[[int], str],
    lock: Callable[[Connection], None],
    steps: Mapping[int, Callable[[Connection], None]] | None = None,
    newest: int = SCHEMA_VERSION,
) -> None:
    """Take an older schema to the newest version, step by step, in order, with a copy before each.

    `copy` makes one and says where, or why there is none; `lock` keeps others out for one transaction. A store without
    tables is left alone.
    """
    while True:
        with engine.begin() as connection:
            lock(connection)
            found = _tables(connection)
            version = newest if not found else _version(connection, target, found, newest=newest)
        if version >= newest:
            return
        _log.warning("migrating the ledger", store=target, version=version + 1, copy=copy(version))
        with engine.begin() as connection:
            lock(connection)
            if _version(connection, target, _tables(connection), newest=newest) == version:
                (steps or STEPS)[version + 1](connection)
                connection.execute(update(LEDGER).values(schema_version=version + 1))


def _version(connection: Connection, target: str, found: list[str], *, newest: int = SCHEMA_VERSION) -> int:
    if LEDGER.name not in found:
        hint = 'name another one under "store", or import a file into a new one'
        raise StoreError("open", target, "it holds tables, but none of a ledger", hint)
    version = connection.execute(select(LEDGER.c.schema_version)).scalar()
    if version is None or version < 1:
        raise StoreError(
            "open", target, "its ledger row is missing", "restore a backup: the record was changed by hand"
        )
    if version > newest:
        cause = f"its schema is version {version}, this program knows up to {newest}"
        raise StoreError("open", target, cause, "upgrade the program; nothing was changed")
    return int(version)


def _tables(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names()


# The steps, by the version they lead to. A step speaks of the tables as they were then: once a later step changes what
# an earlier one made, the earlier one gets its own copy of the definition.


def _seal_and_sum(connection: Connection) -> None:
    """Version 2: hours are sealed into segments, and rows carry check sums."""
    _add_column(connection, LEDGER.c.cold_until_us)
    for table in (LEDGER, ENTRIES, SOURCES, RUNS, CONTESTED, STATED, SPANS, MARKS):
        _add_column(connection, table.c.crc)
    connection.execute(CreateTable(_segments_of_version_2()))


def _pack_bodies(connection: Connection) -> None:
    """Version 3: the bodies of segments that are sealed together stand in packs."""
    connection.execute(CreateTable(PACKS))
    for column in _PACKED:
        _add_column(connection, column)


_PACKED = (SEGMENTS.c.pack, SEGMENTS.c.body_at, SEGMENTS.c.body_size)


def _segments_of_version_2() -> Table:
    """As they were made then."""
    added = {column.name for column in _PACKED}
    kept = [Column(c.name, c.type, primary_key=c.primary_key, nullable=c.nullable) for c in SEGMENTS.c]
    key = UniqueConstraint("service", "hour_us", "number")
    former = MetaData(naming_convention=METADATA.naming_convention)
    return Table(SEGMENTS.name, former, *(column for column in kept if column.name not in added), key)


def _add_column(connection: Connection, column: Column[Any]) -> None:
    written = CreateColumn(column).compile(dialect=connection.dialect)
    connection.execute(text(f"ALTER TABLE {column.table.name} ADD COLUMN {written}"))


STEPS: Mapping[int, Callable[[Connection], None]] = {2: _seal_and_sum, 3: _pack_bodies}

"""Check sums over rows, and the search for rows that disagree with theirs.

The chain guards decisions against people; runs become part of it when their hour is sealed, spans and marks are made
of both.
These sums guard all rows against what is no person: a flipped bit on a disk that answers as if nothing were.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Table, select

from monitor.core.run import Origin
from monitor.storage.schema import CONTESTED, ENTRIES, LEDGER, MARKS, RUNS, SOURCES, SPANS, STATED

PAGE_ROWS = 1000
TABLES = (LEDGER, ENTRIES, SOURCES, RUNS, CONTESTED, STATED, SPANS, MARKS)

# An entry's bytes have their hash, and a migration changes the schema's version: the sums cover what is beside them.
_LEFT_OUT = {ENTRIES.name: {"crc", "data"}, LEDGER.name: {"crc", "schema_version"}}


def checksum(row: Sequence[object]) -> int:
    """The CRC-32 of a row of integers, texts, bytes and nulls, in the order of its columns."""
    # ascii, not repr: what counts as printable changes from one Python to the next.
    return zlib.crc32(ascii(tuple(row)).encode())


def covered(table: Table) -> list[Column[Any]]:
    """The columns of a table that its rows' sums are made of, in order."""
    left_out = _LEFT_OUT.get(table.name, {"crc"})
    return [column for column in table.columns if column.name not in left_out]


def wrong_rows(connection: Connection, pause: Callable[[], None]) -> Iterator[str]:
    """Every row that disagrees with its sum, in words; `pause` is called every thousand rows."""
    for table in TABLES:
        summed = covered(table)
        key = [column.name for column in table.primary_key.columns]
        query = select(*summed, table.c.crc).where(table.c.crc.is_not(None))
        if table is ENTRIES:
            # What stands beside an own entry's bytes stands in them too; the walk over the chain compares it.
            query = query.where(ENTRIES.c.origin == Origin.IMPORTED.value)
        for page in connection.execute(query.execution_options(yield_per=PAGE_ROWS)).partitions():
            pause()
            for *values, held in page:
                if checksum(values) != held:
                    named = dict(zip([column.name for column in summed], values, strict=True))
                    place = ", ".join(f"{name} {named[name]!r}" for name in key)
                    yield f"{table.name}: the row at {place} disagrees with its check sum"

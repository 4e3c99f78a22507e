"""The tables of the ledger, once for SQLite and PostgreSQL, and the statements that are run for every batch.

Times are BIGINT microseconds UTC. Flags and counts are small integers, so that both engines hold the same values.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 3

# Named constraints: a later migration can only alter what has a name.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    },
)

# A key that SQLite keeps as its rowid: no second tree for it.
_KEY = BigInteger().with_variant(Integer(), "sqlite")


def _check_sum() -> Column[int]:
    """`storage.checksum` over the row's other columns; null in rows that were written before there was one."""
    return Column("crc", BigInteger)


# One row: the schema's version, the end of the chain and the last arrival number. Whoever writes locks it first.
LEDGER = Table(
    "ledger",
    METADATA,
    Column("id", _KEY, primary_key=True, autoincrement=False),
    Column("schema_version", Integer, nullable=False),
    Column("arrival", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("recorded_at_us", BigInteger, nullable=False),
    # The first entry that this ledger or an agent made: from it on, imported facts count for nothing.
    Column("first_own_seq", BigInteger),
    # Before it a run may have been sealed and its row gone: a run stamped earlier is looked up in the segments.
    Column("cold_until_us", BigInteger, nullable=False, server_default="0"),
    _check_sum(),
)

ENTRIES = Table(
    "entries",
    METADATA,
    Column("seq", _KEY, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("recorded_at_us", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("prev", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    _check_sum(),
    Index("ix_entries_type_seq", "type", "seq"),
)

# `counts` 0 holds evidence that was imported after the ledger had entries of its own: a source beside the real one, so
# that nothing read for a figure can meet it.
SOURCES = Table(
    "sources",
    METADATA,
    Column("id", _KEY, primary_key=True),
    Column("service", Text, nullable=False),
    Column("check", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("counts", SmallInteger, nullable=False),
    _check_sum(),
    UniqueConstraint("service", "check", "location", "counts"),
)

# In order of arrival, which only grows: new rows go to the end, and the detector's cursor is a range.
RUNS = Table(
    "runs",
    METADATA,
    Column("arrival", _KEY, primary_key=True, autoincrement=False),
    Column("source", _KEY, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("slot_us", BigInteger),
    Column("outcome", Text, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("reason", Text),
    Column("step", Text),
    Column("message", Text),
    Column("tainted", SmallInteger, nullable=False),
    Column("steps", LargeBinary),
    Column("origin", Text, nullable=False),
    Column("recorded_at_us", BigInteger, nullable=False),
    Column("contested", SmallInteger, nullable=False),
    _check_sum(),
    # With `arrival`, which SQLite's indexes hold anyway: late arrivals in a month are found in the index alone.
    UniqueConstraint("source", "start_us", postgresql_include=["arrival"]),
)

# Every content that was ever given for a contested key. The run itself reads inconclusive(conflict). `arrival` is the
# number under which a content was the run until then, null for those that never were.
CONTESTED = Table(
    "contested",
    METADATA,
    Column("source", _KEY, primary_key=True),
    Column("start_us", BigInteger, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("arrival", BigInteger),
    Column("origin", Text, nullable=False),
    Column("recorded_at_us", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    _check_sum(),
)

STATED = Table(
    "stated",
    METADATA,
    Column("source", _KEY, primary_key=True),
    Column("start_us", BigInteger, primary_key=True),
    Column("end_us", BigInteger, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("recorded_at_us", BigInteger, nullable=False),
    _check_sum(),
)

SPANS = Table(
    "spans",
    METADATA,
    Column("source", _KEY, primary_key=True),
    Column("start_us", BigInteger, primary_key=True),
    Column("end_us", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    _check_sum(),
    sqlite_with_rowid=False,
)

# The runs of one service and hour, compressed (docs/interchange.md). `state` 0: its runs are rows too; 1: the rows
# went; 2: expired, the body went too, and its digest stands in `body_digest`. `gone` counts rows that went. The body
# stands in `body`, or in a pack: `body_size` bytes of it from `body_at`.
SEGMENTS = Table(
    "segments",
    METADATA,
    Column("id", _KEY, primary_key=True),
    Column("service", Text, nullable=False),
    Column("hour_us", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("runs", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("gone", Integer, nullable=False),
    Column("first_arrival", BigInteger, nullable=False),
    Column("last_arrival", BigInteger, nullable=False),
    Column("through", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("body", LargeBinary),
    Column("body_digest", Text),
    Column("pack", BigInteger),
    Column("body_at", Integer),
    Column("body_size", Integer),
    UniqueConstraint("service", "hour_us", "number"),
)

# Bodies of segments that were sealed together, one after the other: a large value fills its pages, small ones leave a
# third of theirs empty.
PACKS = Table(
    "packs",
    METADATA,
    Column("id", _KEY, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

MARKS = Table(
    "marks",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("recorded_at_us", BigInteger, nullable=False),
    _check_sum(),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", _KEY, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

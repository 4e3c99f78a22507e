"""A ledger in PostgreSQL, through psycopg: the same schema and queries, writers taking turns at one locked row."""

from __future__ import annotations

from sqlalchemy import URL, Connection, Engine, create_engine, text

from monitor.storage import StoreError
from monitor.storage.asking import Backend
from monitor.storage.errors import mapped
from monitor.storage.reading import SqlReader
from monitor.storage.setup import accept, make_or_accept, migrate
from monitor.storage.writing import SqlStore

OLDEST_SERVER = 15
CONNECT_TIMEOUT_S = 5
READERS = 4

# Whoever makes or changes the schema holds this advisory lock ("jaga" in ASCII).
_SCHEMA_LOCK = 0x6A616761

_NO_COPY = "none: back the database up first (pg_dump); each step is one transaction of the server"

# An acknowledged run is on disk whatever the server's default is; nothing waits for ever.
_OPTIONS = " ".join(
    f"-c {setting}"
    for setting in (
        "synchronous_commit=on",
        "statement_timeout=60s",
        "lock_timeout=10s",
        "idle_in_transaction_session_timeout=10min",
    )
)


def open_store(url: URL) -> SqlStore:
    """Write the ledger in the database that `url` names, making its tables where there are none."""
    target = shown(url)
    writer = _engine(url, size=1, options=_OPTIONS)
    try:
        with mapped("open", target):
            with writer.connect() as connection:
                name = _server(connection, target)
            migrate(writer, target, copy=lambda _version: _NO_COPY, lock=_lock_schema)
            with writer.begin() as connection:
                _lock_schema(connection)
                make_or_accept(connection, target)
    except BaseException:
        writer.dispose()
        raise
    return SqlStore(writer, _reading(url), _backend(name, target), release=lambda: None)


def open_reader(url: URL) -> SqlReader:
    """Read the ledger in the database that `url` names; StoreError where there is none to read."""
    target = shown(url)
    readers = _reading(url)
    try:
        with mapped("open", target), readers.connect() as connection:
            name = _server(connection, target)
            accept(connection, target)
    except BaseException:
        readers.dispose()
        raise
    return SqlReader(readers, _backend(name, target))


def _lock_schema(connection: Connection) -> None:
    """Whoever comes second waits, and finds the work done."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})


def shown(url: URL) -> str:
    """The address without user, password and options: what messages may show."""
    place = url.host or url.query.get("host") or "localhost"
    return f"postgresql://{place}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def _engine(url: URL, *, size: int, options: str) -> Engine:
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            paramstyle="format",
            pool_size=size,
            max_overflow=0,
            pool_timeout=30,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": options, "application_name": "jaga"},
        )
    except ImportError as error:
        hint = "install the extra: pip install 'jaga[postgres]'"
        raise StoreError("open", shown(url), "its driver psycopg is not installed", hint) from error


def _reading(url: URL) -> Engine:
    return _engine(url, size=READERS, options=_OPTIONS + " -c default_transaction_read_only=on")


def _server(connection: Connection, target: str) -> str:
    version = connection.exec_driver_sql("SHOW server_version").scalar_one()
    major = int(str(version).split(".", maxsplit=1)[0].split(" ", maxsplit=1)[0])
    if major < OLDEST_SERVER:
        raise StoreError("open", target, f"the server is PostgreSQL {version}", f"use version {OLDEST_SERVER} or later")
    return f"PostgreSQL {version}"


def _backend(name: str, target: str) -> Backend:
    def size_bytes(connection: Connection) -> int:
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())

    return Backend(
        name=name,
        target=target,
        size_bytes=size_bytes,
        snapshot_options={"isolation_level": "REPEATABLE READ"},
    )

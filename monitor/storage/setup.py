"""The schema of a store: made where there is none, accepted where it is ours, refused where it is newer or foreign."""

from __future__ import annotations

from sqlalchemy import Connection, insert, inspect, select

from monitor.core.entry import Head
from monitor.storage import StoreError
from monitor.storage.schema import LEDGER, METADATA, SCHEMA_VERSION


def make_or_accept(connection: Connection, target: str) -> None:
    """Within the caller's transaction, make the schema or accept the one that is there.

    Data definition is transactional on both engines as they are set up here: a step that fails leaves nothing behind.
    """
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
            ),
        )
        return
    accept(connection, target)


def accept(connection: Connection, target: str) -> None:
    """Refuse what this version of the program cannot read: StoreError with the reason and the remedy."""
    found = _tables(connection)
    if not found:
        raise StoreError("open", target, "there is no ledger yet", "start the daemon once, or import a ledger")
    if LEDGER.name not in found:
        hint = 'name another one under "store", or import a file into a new one'
        raise StoreError("open", target, "it holds tables, but none of a ledger", hint)
    version = connection.execute(select(LEDGER.c.schema_version)).scalar()
    if version is None or version < 1:
        raise StoreError(
            "open", target, "its ledger row is missing", "restore a backup: the record was changed by hand"
        )
    if version > SCHEMA_VERSION:
        cause = f"its schema is version {version}, this program knows up to {SCHEMA_VERSION}"
        raise StoreError("open", target, cause, "upgrade the program; nothing was changed")


def _tables(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names()

"""The PostgreSQL ledger where it differs: two writers, a server that goes away, and what its errors become."""

from __future__ import annotations

import threading
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from monitor.core.fact import Claim
from monitor.core.run import Outcome, Run, SourceKey
from monitor.core.span import Span
from monitor.ledger.verify import verify
from monitor.storage import HeadMovedError, StoreError, Unit
from monitor.storage.errors import store_error
from monitor.storage.opening import open_reader, open_store

pytestmark = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)

BASE = Path("/")
LOGIN = SourceKey("portal", "login", "jkt-1")


def unit(n: int, **more: object) -> Unit:
    run = Run(**LOGIN._asdict(), start_us=n, outcome=Outcome.PASS)
    claim = Claim(partner="acme", service="portal", month="2026-04", at_us=n)
    return Unit(recorded_at_us=n, runs=(run,), facts=(claim,), **more)  # type: ignore[arg-type]


def test_the_server_is_named(store_url: str) -> None:
    store = open_store(store_url, base=BASE)
    assert store.engine_name.startswith("PostgreSQL 1")
    store.close()


def test_an_acknowledged_commit_is_flushed_whatever_the_server_defaults_to(store_url: str) -> None:
    with psycopg.connect(store_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {make_url(store_url).database} SET synchronous_commit = off")
    store = open_store(store_url, base=BASE)
    with store._writer.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    store.close()


def test_two_writers_take_turns_and_make_one_chain(store_url: str) -> None:
    stores = [open_store(store_url, base=BASE) for _ in range(2)]
    failed: list[BaseException] = []

    def write(place: int) -> None:
        try:
            for n in range(40):
                stores[place].commit(unit(2 * n + place))
        except BaseException as error:  # noqa: BLE001 - told by the assertion below
            failed.append(error)

    threads = [threading.Thread(target=write, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed
    assert verify(stores[0]).holds
    assert stores[0].head().seq == 80
    arrivals = [arrival for arrival, _ in stores[1].runs_after(0, 1000)]
    assert arrivals == list(range(1, 81))
    for store in stores:
        store.close()


def test_a_writer_that_was_overtaken_is_told_by_the_head_it_expects(store_url: str) -> None:
    first, second = (open_store(store_url, base=BASE) for _ in range(2))
    head = first.commit(unit(1)).head
    second.commit(unit(2, expected_head=head))
    with pytest.raises(HeadMovedError):
        first.commit(unit(3, expected_head=head))
    assert first.commit(unit(3, expected_head=first.head())).head.seq == 3
    first.close()
    second.close()


def test_a_connection_that_was_cut_is_told_and_made_again(store_url: str) -> None:
    store = open_store(store_url, base=BASE)
    store.commit(unit(1))
    kill = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    """
    with pytest.raises(StoreError) as refused, store._writer.begin() as connection:  # noqa: PT012 - cut in the middle
        with psycopg.connect(store_url, autocommit=True) as admin:
            admin.execute(kill)
        from_driver = _mapped(connection)
        raise from_driver
    assert "shutting down" in refused.value.cause or "cannot be reached" in refused.value.cause
    assert len(store.commit(unit(2)).fresh) == 1
    assert [run.start_us for run in store.runs(LOGIN, Span(0, 9))] == [1, 2]
    store.close()


def _mapped(connection: object) -> StoreError:
    with pytest.raises(DBAPIError) as cut:
        connection.exec_driver_sql("SELECT 1")  # type: ignore[attr-defined]
    return store_error("commit to", "the store", cut.value.orig)


def test_a_foreign_lock_is_told_within_its_limit(store_url: str) -> None:
    store = open_store(store_url, base=BASE)
    with psycopg.connect(store_url) as foreign:
        foreign.execute("SELECT * FROM ledger FOR UPDATE")
        with store._writer.begin() as connection:
            connection.exec_driver_sql("SET SESSION lock_timeout = '50ms'")
        with pytest.raises(StoreError, match="locked by another program"):
            store.commit(unit(1))
    assert store.commit(unit(1)).fresh
    store.close()


def test_a_database_that_is_not_there_is_told(store_url: str) -> None:
    url = make_url(store_url).set(database="no_such_ledger").render_as_string(hide_password=False)
    for opening in (open_store, open_reader):
        with pytest.raises(StoreError, match="there is no such database") as refused:
            opening(url, base=BASE)
        assert "createdb" in refused.value.hint


def test_a_role_that_is_not_there_is_told(store_url: str) -> None:
    url = make_url(store_url).set(username="nobody_known").render_as_string(hide_password=False)
    with pytest.raises(StoreError, match="the server refused the login"):
        open_store(url, base=BASE)


def test_a_role_without_rights_is_told(store_url: str) -> None:
    open_store(store_url, base=BASE).close()
    with psycopg.connect(store_url, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS jaga_guest")
        admin.execute("CREATE ROLE jaga_guest LOGIN")
    url = make_url(store_url).set(username="jaga_guest").render_as_string(hide_password=False)
    with pytest.raises(StoreError, match="permission denied") as refused:
        open_store(url, base=BASE)
    assert "grant" in refused.value.hint
    with psycopg.connect(store_url, autocommit=True) as admin:
        admin.execute("DROP ROLE jaga_guest")


def test_a_standby_is_told(store_url: str) -> None:
    store = open_store(store_url, base=BASE)
    with store._writer.begin() as connection:
        connection.exec_driver_sql("SET SESSION default_transaction_read_only = on")
    with pytest.raises(StoreError, match="the server may only be read"):
        store.commit(unit(1))
    store.close()


def test_a_reader_finds_no_ledger(store_url: str) -> None:
    with psycopg.connect(store_url, autocommit=True) as admin:
        admin.execute("DROP SCHEMA public CASCADE")
        admin.execute("CREATE SCHEMA public")
    with pytest.raises(StoreError, match="there is no ledger yet"):
        open_reader(store_url, base=BASE)
    open_store(store_url, base=BASE).close()
    open_reader(store_url, base=BASE).close()

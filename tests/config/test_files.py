"""The files that come with the program: the schema is current, the starter and the example are accepted, and what
`check --explain` prints is a configuration again, without a secret in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from monitor.config import AlreadyThereError, ConfigError, explain, initialise, load, schema_text, shipped
from monitor.config.schema import NAME
from monitor.config.zones import ZoneError, zone
from probes import kinds
from tests.config.conftest import ENVIRONMENT, Read


def test_the_schema_that_is_checked_in_is_current() -> None:
    """Of a process of its own: other tests install kinds of probe in this one."""
    written = "import sys; from monitor.config import schema_text; sys.stdout.write(schema_text())"
    done = subprocess.run([sys.executable, "-c", written], capture_output=True, text=True, check=True, timeout=200)
    assert shipped(NAME).read_text(encoding="utf-8") == done.stdout


def test_the_schema_knows_every_kind_of_probe_and_every_top_key() -> None:
    schema = json.loads(schema_text())
    assert set(kinds()) <= set(schema["$defs"]["Check"]["properties"])
    assert {"store", "location", "web", "contracts", "services", "partners"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_the_example_is_accepted() -> None:
    loaded = load(shipped("jaga.yaml"), environment={})
    assert [len(service.checks) for service in loaded.settings.services] == [4]


def test_the_starter_is_accepted_and_never_overwrites(tmp_path: Path) -> None:
    written = initialise(tmp_path)
    assert [path.name for path in written] == ["jaga.yaml", NAME]
    assert load(written[0], environment={}).settings.services
    written[0].write_text("mine")
    with pytest.raises(AlreadyThereError, match="is there already; it is not overwritten"):
        initialise(tmp_path)
    assert written[0].read_text() == "mine"


def test_what_is_explained_reads_as_the_same_configuration(read: Read, tmp_path: Path) -> None:
    settings = read().settings
    again = tmp_path / "again.yaml"
    again.write_text(explain(settings), encoding="utf-8")
    assert load(again, environment=ENVIRONMENT).settings == settings


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("${PROBE_PASSWORD}", "canary-5e1f"),
        ("Bearer {{ token }}", "Bearer canary-5e1f"),
        ("http://127.0.0.1:8080/orders", "http://127.0.0.1:8080/orders?api_key=canary-5e1f"),
        ("store: sqlite:///var/ledger.db", "store: postgresql://u:canary-5e1f@127.0.0.1/jaga"),
        ("{type: string}", "{equals: canary-5e1f}"),
    ],
)
def test_what_is_explained_tells_no_secret(changed: Callable[..., Path], old: str, new: str) -> None:
    path = changed((old, new))
    assert "canary-5e1f" not in explain(load(path, environment=ENVIRONMENT).settings)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("postgresql://u:${DB_PASSWORD}@db.example.id/jaga", "postgresql://u:p%40ss%2Fw%3A%25@db.example.id/jaga"),
        ("${DSN}", "postgresql://u:p%40ss@db.example.id/jaga"),
        ("sqlite:////srv/${PLACE}/ledger.db", "sqlite:////srv/a/b/ledger.db"),
    ],
)
def test_the_store_may_refer_to_secrets(changed: Callable[..., Path], written: str, found: str) -> None:
    known = {"DB_PASSWORD": "p@ss/w:%", "DSN": "postgresql://u:p%40ss@db.example.id/jaga", "PLACE": "a/b"}
    path = changed(("store: sqlite:///var/ledger.db", f'store: "{written}"'))
    settings = load(path, environment={**ENVIRONMENT, **known}).settings
    assert settings.store == found
    assert yaml.safe_load(explain(settings))["store"] == written, "shown as it is written"
    assert not any(value in repr(settings) for value in known.values() if len(value) > 3)


@pytest.mark.parametrize(
    ("value", "why"), [(None, "the environment has no DSN"), ("mysql://x", "what it refers to is no")]
)
def test_a_store_that_refers_to_nothing_of_use_is_told(
    changed: Callable[..., Path], value: str | None, why: str
) -> None:
    path = changed(("store: sqlite:///var/ledger.db", 'store: "${DSN}"'))
    known = {} if value is None else {"DSN": value}
    with pytest.raises(ConfigError) as told:
        load(path, environment={**ENVIRONMENT, **known})
    assert why in str(told.value)
    assert "mysql" not in str(told.value)


def test_zones_come_from_the_package_and_no_path_leads_out_of_it() -> None:
    assert zone("Asia/Jakarta").key == "Asia/Jakarta"
    for name in ("Asia/Nowhere", "../../etc/passwd", "", "Asia", "tzdata.zoneinfo"):
        with pytest.raises(ZoneError):
            zone(name)

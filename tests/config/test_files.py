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

from monitor.config import AlreadyThereError, explain, initialise, load, schema_text, shipped
from monitor.config.schema import NAME
from monitor.config.zones import ZoneError, zone
from probes import kinds
from tests.config.conftest import ENVIRONMENT, Read


def test_the_schema_that_is_checked_in_is_current() -> None:
    """Of a process of its own: other tests install kinds of probe in this one."""
    written = "import sys; from monitor.config import schema_text; sys.stdout.write(schema_text())"
    done = subprocess.run([sys.executable, "-c", written], capture_output=True, text=True, check=True, timeout=60)
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


def test_zones_come_from_the_package_and_no_path_leads_out_of_it() -> None:
    assert zone("Asia/Jakarta").key == "Asia/Jakarta"
    for name in ("Asia/Nowhere", "../../etc/passwd", "", "Asia", "tzdata.zoneinfo"):
        with pytest.raises(ZoneError):
            zone(name)

"""The import rules hold, and each of them can fail: a forbidden import is planted for every contract.

The plantings go into a skeleton (every module the contracts name, empty), so that they do not depend on what the
product happens to look like; the first test checks the product itself.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

import pytest

import probes

LINT_EACH = Path(__file__).with_name("lint_each.py")
CONTRACT = "importlinter:contract:"

MORE_MODULES = [
    *(f"monitor/notify/{name}.py" for name in ("webhook", "email")),
    *(f"monitor/transport/{name}.py" for name in ("local", "nats")),
    *(f"probes/{name}.py" for name in ("_net", "egress", "expect", "http", "tcp", "nats")),
]


@dataclass(frozen=True)
class Planting:
    """One line of code in one module, and the contracts (their ids) that must break by it, no others."""

    module: str
    line: str
    broken: frozenset[str]

    def __str__(self) -> str:
        return f"{self.module}: {self.line}"


def planted(module: str, line: str, *broken: str) -> Planting:
    return Planting(module, line, frozenset(broken))


FORBIDDEN = [
    planted("monitor/core/__init__.py", "import monitor.clock", "layers"),
    planted("monitor/clock/__init__.py", "import monitor.telemetry", "layers"),
    planted("monitor/telemetry/__init__.py", "import monitor.locale", "layers"),
    planted("monitor/locale/__init__.py", "import monitor.reports", "layers"),
    planted("monitor/storage/__init__.py", "import monitor.ledger", "layers"),
    planted("monitor/storage/__init__.py", "import monitor.transport", "layers"),
    planted("monitor/runner/__init__.py", "import monitor.ledger", "layers"),
    planted("monitor/ledger/__init__.py", "import monitor.detector", "layers"),
    planted("monitor/recorder/__init__.py", "from monitor import detector", "layers"),
    planted("monitor/scheduler/__init__.py", "def f():\n    import monitor.web", "layers"),
    planted("monitor/web/__init__.py", "import monitor.config", "layers"),
    planted("monitor/config/__init__.py", "import monitor.app", "layers"),
    planted("monitor/app/__init__.py", "import monitor.demo", "layers"),
    planted("monitor/demo/__init__.py", "import monitor.cli", "layers"),
    planted("monitor/utils.py", "", "layers"),
    planted("probes/http.py", "import monitor.clock", "leaf"),
    planted(
        "probes/_net.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import monitor.core.run", "leaf"
    ),
    planted("monitor/audit/__init__.py", "import monitor.core.chain", "audit"),
    planted("monitor/audit/__init__.py", "import probes", "audit"),
    planted("monitor/core/month.py", "import monitor.core.statement", "core"),
    planted("monitor/core/credit.py", "import monitor.core.month", "core"),
    planted("monitor/core/availability.py", "import monitor.core.credit", "core"),
    planted("monitor/core/verdict.py", "import monitor.core.exclusion", "core"),
    planted("monitor/core/entry.py", "import monitor.core.verdict", "core"),
    planted("monitor/core/terms.py", "import monitor.core.check", "core"),
    planted("monitor/core/calendar.py", "import monitor.core.terms", "core"),
    planted("monitor/core/span.py", "import monitor.core.calendar", "core"),
    planted("monitor/core/helpers.py", "", "core"),
    planted("probes/http.py", "import probes.tcp", "kinds"),
    planted("probes/_net.py", "from probes import http", "kinds"),
    planted("monitor/notify/email.py", "from monitor.notify import webhook", "channels"),
    planted("monitor/web/__init__.py", "import yaml", "door-yaml"),
    planted("probes/http.py", "import yaml", "door-yaml"),
    planted("monitor/ledger/__init__.py", "from sqlalchemy.dialects import sqlite", "door-sqlalchemy"),
    planted("monitor/core/entry.py", "import rfc8785", "door-rfc8785"),
    planted("monitor/transport/local.py", "import nats", "door-nats"),
    planted("probes/tcp.py", "import nats", "door-nats"),
    planted("monitor/core/chain.py", "from cryptography.hazmat import primitives", "door-cryptography"),
    planted("monitor/notify/webhook.py", "import tenacity", "door-tenacity"),
    planted("monitor/web/pages.py", "import bcrypt", "door-bcrypt"),
    planted("monitor/web/__init__.py", "import prometheus_client", "door-prometheus"),
    *(
        planted("monitor/core/span.py", f"import {library}", "pure", *doors)
        for library, doors in {
            "aiohttp": (),
            "asyncio": (),
            "io": (),
            "logging": (),
            "os": (),
            "random": (),
            "socket": (),
            "sqlalchemy": ("door-sqlalchemy",),
            "structlog": (),
            "time": (),
            "yaml": ("door-yaml",),
            "zoneinfo": (),
            "probes": (),
        }.items()
    ),
]

ALLOWED = [
    planted(
        "monitor/cli/__init__.py", "import monitor.app, monitor.audit, monitor.config, monitor.core.statement, probes"
    ),
    planted("monitor/config/__init__.py", "import yaml, monitor.web, monitor.runner, probes"),
    planted("monitor/storage/__init__.py", "import sqlalchemy, monitor.core.entry, monitor.telemetry"),
    planted("monitor/telemetry/__init__.py", "import prometheus_client, monitor.clock"),
    planted("monitor/dispatcher/__init__.py", "import tenacity"),
    planted("monitor/sealing/__init__.py", "import cryptography"),
    planted("monitor/transport/nats.py", "import nats, tenacity"),
    planted("monitor/audit/__init__.py", "import hashlib, json, decimal"),
    planted("monitor/core/chain.py", "import rfc8785, hashlib"),
    planted("monitor/core/statement.py", "import monitor.core.month, monitor.core.span"),
    planted("probes/http.py", "import probes, probes._net, probes.egress, probes.expect, cryptography, asyncio"),
    planted("probes/nats.py", "import nats"),
]


def lint(*folders: Path, root: Path) -> dict[str, list[str]]:
    """The names of the broken contracts of each tree."""
    done = subprocess.run(
        [sys.executable, str(LINT_EACH), *map(str, folders)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    verdicts: dict[str, list[str]] = json.loads(done.stdout)
    return verdicts


def rules(project_root: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read(project_root / ".importlinter")
    return parser


def contracts(project_root: Path) -> dict[str, str]:
    """The contracts' names by their ids, as `.importlinter` has them."""
    parser = rules(project_root)
    return {s.removeprefix(CONTRACT): parser[s]["name"] for s in parser.sections() if s.startswith(CONTRACT)}


def layered(project_root: Path, contract: str) -> list[str]:
    """The modules that a layers contract names, without their container."""
    return re.findall(r"[\w.]+", rules(project_root)[CONTRACT + contract]["layers"])


def skeleton(project_root: Path) -> list[str]:
    """The files of a product where every module of the contracts exists."""
    packages = [f"monitor/{name}/__init__.py" for name in ["audit", *layered(project_root, "layers")]]
    inner = [f"monitor/core/{name}.py" for name in layered(project_root, "core")]
    return ["monitor/__init__.py", "probes/__init__.py", *packages, *inner, *MORE_MODULES]


def build_skeleton(folder: Path, project_root: Path, planting: Planting) -> Path:
    for module in {*skeleton(project_root), planting.module}:
        path = folder / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / planting.module).write_text(planting.line + "\n")
    shutil.copy(project_root / ".importlinter", folder)
    return folder


@pytest.fixture(scope="module")
def broken_by(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> dict[Planting, frozenset[str]]:
    """What each planting broke (ids), all linted by one process."""
    base = tmp_path_factory.mktemp("plantings")
    folders = {
        planting: build_skeleton(base / str(index), project_root, planting)
        for index, planting in enumerate([*FORBIDDEN, *ALLOWED])
    }
    found = lint(*folders.values(), root=base)
    ids = {name: id_ for id_, name in contracts(project_root).items()}
    return {planting: frozenset(ids[name] for name in found[str(folder)]) for planting, folder in folders.items()}


def test_the_product_keeps_every_contract(project_root: Path) -> None:
    assert lint(project_root, root=project_root) == {str(project_root): []}


@pytest.mark.parametrize("planting", FORBIDDEN, ids=str)
def test_a_forbidden_import_breaks_its_contract(broken_by: dict[Planting, frozenset[str]], planting: Planting) -> None:
    assert broken_by[planting] == planting.broken


@pytest.mark.parametrize("planting", ALLOWED, ids=str)
def test_an_allowed_import_breaks_none(broken_by: dict[Planting, frozenset[str]], planting: Planting) -> None:
    assert broken_by[planting] == frozenset()


def test_every_contract_is_tried(project_root: Path) -> None:
    assert frozenset().union(*(planting.broken for planting in FORBIDDEN)) == contracts(project_root).keys()


def test_what_probes_share_is_no_kind(project_root: Path) -> None:
    """The list of shared modules must not become the way around the contract."""
    shared = re.findall(r"-> probes\.(\w+)", rules(project_root)[CONTRACT + "kinds"]["ignore_imports"])
    assert shared
    assert not set(shared) & set(probes.kinds())

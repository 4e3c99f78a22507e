"""Rules of DESIGN that imports alone do not show: only one module reads the clock; the audit needs no library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest


def banned(module: str, code: str, root: Path) -> bool:
    """Whether ruff, as it is set up for the project, refuses `code` in `module` for reading or waiting on the clock."""
    ruff = Path(sys.executable).parent / "ruff"
    done = subprocess.run(
        [ruff, "check", "--no-cache", "--select", "TID251", "--stdin-filename", root / module, "-"],
        cwd=root,
        input=code,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode == 1


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.time()",
        "from time import time_ns\ntime_ns()",
        "import time\ntime.monotonic_ns()",
        "import time as t\nt.sleep(1)",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "from datetime import date\ndate.today()",
        "import asyncio\nasyncio.sleep(1)",
    ],
)
@pytest.mark.parametrize("module", ["monitor/runner.py", "monitor/core/span.py", "probes/http.py"])
def test_only_the_clock_reads_the_clock(project_root: Path, module: str, code: str) -> None:
    assert banned(module, code + "\n", project_root)
    assert not banned("monitor/clock.py", code + "\n", project_root)


def foreign_imports(source: str) -> set[str]:
    """The top-level names that a module imports from outside the standard library."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or "").partition(".")[0])
    return names - sys.stdlib_module_names


def test_the_audit_uses_the_standard_library_only(project_root: Path) -> None:
    package = project_root / "monitor" / "audit"
    modules = (
        list(package.rglob("*.py"))
        if package.is_dir()
        else [path for path in [package.with_suffix(".py")] if path.exists()]
    )
    assert {path.name: foreign_imports(path.read_text()) for path in modules} == {path.name: set() for path in modules}


def test_an_import_of_a_library_or_of_a_neighbour_is_noticed() -> None:
    source = (
        "import json\ndef f():\n    import orjson.x\nfrom . import chain\nfrom rfc8785 import dumps\nimport os.path\n"
    )
    assert foreign_imports(source) == {"orjson", ".", "rfc8785"}

"""The wheel that is built is the thing that is tested: what is in it, and that it runs without the checkout."""

from __future__ import annotations

import configparser
import email.parser
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_is_pure_python_for_any_machine(wheel: Path) -> None:
    assert wheel.name == "jaga-0.1.0-py3-none-any.whl"


def test_it_holds_the_packages_and_nothing_else(names: set[str], project_root: Path) -> None:
    assert {name.partition("/")[0] for name in names} == {"monitor", "probes", "jaga-0.1.0.dist-info"}
    modules = {
        str(path.relative_to(project_root))
        for package in ("monitor", "probes")
        for path in (project_root / package).rglob("*.py")
    }
    assert modules <= names
    assert not [name for name in names if "__pycache__" in name]


def test_the_configuration_files_ride_along(names: set[str], project_root: Path) -> None:
    config = project_root / "config"
    shipped = {
        f"monitor/shipped/{p.relative_to(config)}" for p in config.rglob("*") if p.suffix in {".yaml", ".yml", ".json"}
    }
    assert shipped
    assert shipped <= names


def test_its_metadata_names_the_command_and_the_licence(wheel: Path, names: set[str], project_root: Path) -> None:
    info = "jaga-0.1.0.dist-info"
    assert f"{info}/licenses/LICENSE" in names
    with zipfile.ZipFile(wheel) as archive:
        points = configparser.ConfigParser()
        points.read_string(archive.read(f"{info}/entry_points.txt").decode())
        metadata = email.parser.Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    assert dict(points["console_scripts"]) == {"jaga": "monitor.cli:main"}
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload() == (project_root / "README.md").read_text()


def test_it_runs_from_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    """The whole demo runs from there too: tests/e2e/test_demo.py."""
    assert "0.1.0" in run(installed / "bin" / "jaga", "--version", cwd=tmp_path)
    where = run(
        installed / "bin" / "python",
        "-c",
        "import monitor, probes; print(monitor.__file__, probes.__file__)",
        cwd=tmp_path,
    )
    assert all(path.startswith(str(installed)) for path in where.split())
    run(installed / "bin" / "jaga", "init", "new", cwd=tmp_path)
    assert "accepted" in run(installed / "bin" / "jaga", "check", "--config", "new/config/jaga.yaml", cwd=tmp_path)

"""The wheel that is built is the thing that is tested: what is in it, and that it runs without the checkout."""

from __future__ import annotations

import configparser
import email.parser
import os
import subprocess
import sys
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
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=project_root)
    (built,) = folder.glob("*.whl")
    return built


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


def test_it_runs_from_an_empty_environment(wheel: Path, tmp_path: Path, project_root: Path) -> None:
    venv = tmp_path / "venv"
    uv = Path(sys.executable).parent / "uv"
    run(uv, "venv", "--quiet", "--no-project", "--python", sys.executable, venv, cwd=tmp_path)
    lock = project_root / "requirements.lock"
    run(uv, "pip", "install", "--quiet", "--python", venv, "--require-hashes", "-r", lock, cwd=tmp_path)
    run(uv, "pip", "install", "--quiet", "--python", venv, "--no-deps", "--offline", wheel, cwd=tmp_path)
    assert "0.1.0" in run(venv / "bin" / "jaga", "--version", cwd=tmp_path)
    where = run(
        venv / "bin" / "python", "-c", "import monitor, probes; print(monitor.__file__, probes.__file__)", cwd=tmp_path
    )
    assert all(path.startswith(str(venv)) for path in where.split())

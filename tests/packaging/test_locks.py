"""The lock files: whole, pinned by hash, without addresses, and one story with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ("bootstrap.lock", "requirements.lock", "dev.lock")
TARGETS = ("3.11", "3.12")


def pins(text: str) -> dict[str, list[tuple[Requirement, int]]]:
    """Each locked package, with the number of hashes per line (one package may have a line per Python version)."""
    found: dict[str, list[tuple[Requirement, int]]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        requirement = Requirement(line.partition("--hash")[0].strip())
        hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", line))
        found.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashes))
    return found


def pinned_version(pinned: list[tuple[Requirement, int]], python: str) -> str | None:
    """The version for Linux and one Python version."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    for requirement, _ in pinned:
        if requirement.marker is None or requirement.marker.evaluate(environment):
            return str(requirement.specifier).removeprefix("==")
    return None


def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def wanted(root: Path, lock: str) -> list[Requirement]:
    """The requirements of pyproject.toml that a lock answers."""
    settings = project(root)
    groups = settings["dependency-groups"]
    extras = [r for extra in settings["project"]["optional-dependencies"].values() for r in extra]
    asked: dict[str, list[str]] = {
        "bootstrap.lock": groups["bootstrap"],
        "requirements.lock": settings["project"]["dependencies"],
        "dev.lock": [*settings["project"]["dependencies"], *extras, *groups["dev"]],
    }
    return [Requirement(text) for text in asked[lock]]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_one_exact_version_with_its_hashes(project_root: Path, lock: str) -> None:
    for name, pinned in pins((project_root / lock).read_text()).items():
        for requirement, hashes in pinned:
            assert [specifier.operator for specifier in requirement.specifier] == ["=="], name
            assert hashes > 0, name
            assert requirement.url is None, name


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_address_or_an_index(project_root: Path, lock: str) -> None:
    text = (project_root / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--\S*(index|find-links|trusted-host))", text, re.MULTILINE)


@pytest.mark.parametrize("python", TARGETS)
@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_answers_what_pyproject_asks(project_root: Path, lock: str, python: str) -> None:
    locked = pins((project_root / lock).read_text())
    for requirement in wanted(project_root, lock):
        version = pinned_version(locked.get(canonicalize_name(requirement.name), []), python)
        assert version is not None, f"{requirement.name} is not in {lock}"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} against {version} in {lock}"


@pytest.mark.parametrize("python", TARGETS)
def test_the_locks_agree_with_each_other(project_root: Path, python: str) -> None:
    bootstrap, runtime, dev = (pins((project_root / lock).read_text()) for lock in LOCKS)
    for name in runtime:
        assert pinned_version(dev[name], python) == pinned_version(runtime[name], python), name
    for name in bootstrap.keys() & dev.keys():
        assert pinned_version(dev[name], python) == pinned_version(bootstrap[name], python), name


def test_only_one_requirement_has_an_upper_bound(project_root: Path) -> None:
    """A library that caps what its users install is a nuisance; python-dateutil is the one exception, with a reason."""
    bounded = [r.name for r in wanted(project_root, "dev.lock") if re.search(r"<|~=|==", str(r.specifier))]
    assert bounded == ["python-dateutil"]

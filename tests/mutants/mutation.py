"""Puts a mutant in the place of the real core: in this process by an import hook, or for a process tree by a copy."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from tests.mutants.catalogue import Mutant

ROOT = Path(__file__).resolve().parents[2]
CORE = Path("monitor") / "core"


class StaleMutantError(AssertionError):
    """The text a mutant exchanges is not in its file exactly once: the code has moved on, the catalogue must follow."""


def mutated_source(mutant: Mutant) -> str:
    """The mutant's file with its one line exchanged."""
    path = ROOT / CORE / mutant.file
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise StaleMutantError(
            f"mutant {mutant.name}: {path.name} has its text {source.count(mutant.old)} times, expected once: "
            f"{mutant.old!r}",
        )
    return source.replace(mutant.old, mutant.new)


def install(mutant: Mutant) -> None:
    """Make this process import the mutated module. Nothing of `monitor` may have been imported before."""
    loaded = [name for name in sys.modules if name == "monitor" or name.startswith("monitor.")]
    assert not loaded, f"the mutant comes too late: {', '.join(loaded)} are imported"
    sys.meta_path.insert(0, _Finder(mutant))


def tree(mutant: Mutant, folder: Path) -> Path:
    """A copy of the program with the mutant in it, for whole process trees: put `folder` first on PYTHONPATH."""
    for package in ("monitor", "probes", "config"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / CORE / mutant.file).write_text(mutated_source(mutant), encoding="utf-8")
    return folder


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one module; its loader compiles the mutated source and leaves no bytecode behind."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = f"monitor.core.{mutant.file.removesuffix('.py')}"
        self._path = str(ROOT / CORE / mutant.file)
        self._source = mutated_source(mutant)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        loader = _Loader(self._name, self._path, self._source)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


class _Loader(importlib.abc.SourceLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str | bytes) -> bytes:
        return self._source.encode()

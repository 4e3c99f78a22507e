"""The files that the `tls` of a check names: whether they are there, told when the configuration is read.

At run time a missing one is the monitor's own fault and says nothing of the target, for as long as nobody looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

from monitor.config.problems import Path

_KEYS = frozenset({"ca_file", "client_cert", "client_key"})


def missing_files(data: Any, path: Path) -> Iterator[tuple[Path, str]]:  # noqa: ANN401 - plain YAML data
    """(place, what is wrong) of each file that cannot be read now."""
    if isinstance(data, dict):
        for key, item in data.items():
            if key == "tls" and isinstance(item, dict):
                yield from _of(item, (*path, key))
            else:
                yield from missing_files(item, (*path, key))
    elif isinstance(data, list):
        for n, item in enumerate(data):
            yield from missing_files(item, (*path, n))


def _of(tls: dict[Any, Any], path: Path) -> Iterator[tuple[Path, str]]:
    for key in _KEYS & tls.keys():
        if isinstance(tls[key], str) and (cause := _cause(tls[key])):
            yield (*path, key), f"{tls[key]}: {cause}; until it can be read, every run is inconclusive(internal)"
    if "tls" in tls:  # the probe kind of that name, which has its settings of trust one level down
        yield from missing_files({"tls": tls["tls"]}, path)


def _cause(name: str) -> str:
    """Why a file cannot be read; "" if it can."""
    file = File(name)
    try:
        with file.open("rb"):
            return ""
    except OSError as error:
        return (error.strerror or "cannot be read") + ("" if file.is_absolute() else f" (looked for in {File.cwd()})")
    except ValueError:
        return "is no name of a file"

"""Time zones from the tzdata package alone, so that two hosts judge alike, and the version that was used."""

from __future__ import annotations

import functools
import importlib.resources
import zoneinfo
from typing import IO

import tzdata  # type: ignore[import-untyped]  # a data package: one constant is read

TZ_VERSION: str = tzdata.IANA_VERSION


class ZoneError(LookupError):
    """No zone of that name in the zone database."""


@functools.cache
def zone(name: str) -> zoneinfo.ZoneInfo:
    """The zone of an IANA name, read from tzdata and never from the host's own (older) files; ZoneError otherwise."""
    parts = name.split("/")
    if not all(part.replace("_", "a").replace("-", "a").replace("+", "a").isalnum() for part in parts):
        raise ZoneError(f"{name!r} is no time zone; write it like Asia/Jakarta")
    package = ".".join(["tzdata", "zoneinfo", *parts[:-1]])
    try:
        with _resource(package, parts[-1]) as file:
            return zoneinfo.ZoneInfo.from_file(file, key=name)
    except (OSError, ModuleNotFoundError, ValueError):
        raise ZoneError(f"there is no time zone {name!r}; write it like Asia/Jakarta") from None


def _resource(package: str, name: str) -> IO[bytes]:
    return importlib.resources.files(package).joinpath(name).open("rb")

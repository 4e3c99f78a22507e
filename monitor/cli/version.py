"""Which Jaga this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The version of the installed distribution."""
    return metadata.version("jaga")


def software() -> str:
    """How statements name the program that computed them."""
    return f"jaga {version()}"

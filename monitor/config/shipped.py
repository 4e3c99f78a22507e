"""Data that comes with the program: inside an installed wheel at `monitor/shipped/`, in a checkout at `config/`."""

from __future__ import annotations

from pathlib import Path


def shipped(relative: str) -> Path:
    """The path of a data file; FileNotFoundError where neither place has it."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "shipped", package.parent / "config"):
        if (folder / relative).exists():
            return folder / relative
    raise FileNotFoundError(f"{relative} came neither with the package nor with the checkout")

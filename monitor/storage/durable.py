"""What makes files and their names durable, one call after another (FAULTS, rule 3)."""

from __future__ import annotations

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """What was written to a file is on disk. OSError as of the system."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Names made, changed or removed in a folder are on disk, which fsync of a file does not do. OSError as above."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

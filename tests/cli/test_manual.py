"""docs/cli.md is what the program says of itself today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from monitor.cli import _VERBS


def test_the_manual_is_current(project_root: Path) -> None:
    command = [sys.executable, "-m", "monitor.cli.manual"]
    # Whatever the terminal of whoever writes it.
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "40", "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    written = subprocess.run(
        command, cwd=project_root, env=environment, capture_output=True, text=True, check=True, timeout=200
    ).stdout
    assert (project_root / "docs/cli.md").read_text(encoding="utf-8") == written, (
        "write it anew: .venv/bin/python -m monitor.cli.manual > docs/cli.md"
    )
    assert all(f"\n### `jaga {verb}`\n" in written for verb in _VERBS)
    assert "\n#### `jaga ledger verify`\n" in written
    assert "-h, --help" in written

"""docs/tutorial.md as a reader follows it: every command in one folder, at the times given, and what it prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(
    r"^<!-- clock: (?P<clock>[^>]+?) -->$|^```(?P<kind>\w+)(?P<fails> fails)?\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Step:
    """Commands that run together at a time of day, whether the last must say no, and the lines they must print."""

    clock: str
    commands: str
    fails: bool
    printed: tuple[str, ...]


def steps() -> Iterator[Step]:
    clock, step = "", None
    for found in BLOCK.finditer(TUTORIAL.read_text(encoding="utf-8")):
        if found["clock"]:
            clock = found["clock"]
        elif found["kind"] == "sh":
            if step is not None:
                yield step
            step = Step(clock, found["body"], bool(found["fails"]), ())
        elif found["kind"] == "text":
            assert step is not None, "output follows commands"
            step = Step(step.clock, step.commands, step.fails, tuple(found["body"].splitlines()))
    assert step is not None
    yield step


def is_printed(line: str, output: str) -> bool:
    """Whether some line of the output says this one, `…` standing for anything and blanks for blanks."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in line.strip().split("…")]
    return re.search(r"\s*.*?".join(parts), output) is not None


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A folder of a reader's own, with `jaga` on its PATH as a program whose clock can be set."""
    if shutil.which("faketime") is None:
        pytest.skip("the tutorial's month needs faketime (Debian package faketime)")
    program = tmp_path / "bin" / "jaga"
    program.parent.mkdir()
    started = f'exec faketime "$CLOCK" {sys.executable} -c "from monitor.cli import main; main()" "$@"'
    program.write_text(f"#!/bin/sh\n{started}\n")
    program.chmod(0o755)
    folder = tmp_path / "reader"
    folder.mkdir()
    return folder


@pytest.mark.slow
def test_the_tutorial_is_true_line_by_line(reader: Path) -> None:
    path = f"{reader.parent / 'bin'}:{os.environ['PATH']}"
    told = dict(os.environ) | {"PATH": path, "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONPATH": str(TUTORIAL.parents[1])}
    told.pop("JAGA_CONFIG", None)
    count = 0
    for step in steps():
        command = ["sh", "-ec", step.commands]
        place = told | {"CLOCK": step.clock}
        done = subprocess.run(command, cwd=reader, env=place, capture_output=True, text=True, timeout=280, check=False)
        output = done.stdout + done.stderr
        assert done.returncode == (1 if step.fails else 0), f"{step.commands}\n{output}"
        for line in step.printed:
            assert is_printed(line, output), f"{step.commands}\nmust print: {line}\nprinted:\n{output}"
        count += step.commands.count("jaga ")
    assert count >= 25
    page = (reader / "october" / "SLA-2026-10-acme-portal-v2.html").read_text(encoding="utf-8")
    assert "Laporan Layanan Oktober 2026" in page


def test_a_line_that_is_not_printed_is_noticed() -> None:
    assert is_printed("a … c", "x\na b   c\n")
    assert is_printed("version 2, digest sha256:…", "  version 2, digest sha256:12ab\n")
    assert not is_printed("a … d", "a b c")

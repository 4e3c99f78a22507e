"""What is wrong with a configuration: every problem with its place, and the error that carries them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitor.telemetry.escaping import escape

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong (or, as a warning, worth a look) at a place of a file; `path` are the keys down to it."""

    file: str
    line: int
    column: int
    path: Path
    message: str

    def __str__(self) -> str:
        """`jaga.yaml:5:5: services.portal.intervall: unknown key, did you mean "interval"?`."""
        where = f"{path_text(self.path)}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {escape(where)}{escape(self.message)}"


class ConfigError(Exception):
    """A configuration that is not accepted; `problems` says everything at once, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column, problem.message)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def path_text(path: Path) -> str:
    """`services.portal.checks.login.steps[0].http`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def unknown(name: str, known: Iterable[str], what: str = "key") -> str:
    """`unknown key, did you mean "interval"?`, or which there are."""
    options = sorted(known)
    near = difflib.get_close_matches(name, options, n=1)
    if near:
        return f'unknown {what}, did you mean "{near[0]}"?'
    return f"unknown {what}; there are {', '.join(options)}" if options else f"unknown {what}; there are none"

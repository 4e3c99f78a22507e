"""Runs a Python command on a mutated core: `python -m tests.mutants.under NAME -m monitor.cli statement …`.

After the mutant's name stands what would stand after `python`: `-m MODULE`, `-c CODE` or a file, and its arguments.
Only this process is changed; a command that starts others needs `tests.mutants.mutation.tree`.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tests.mutants.catalogue import named
from tests.mutants.mutation import install


def main(arguments: list[str]) -> None:
    name, *command = arguments
    if not command:
        sys.exit("usage: python -m tests.mutants.under NAME (-m MODULE | -c CODE | FILE) [ARGUMENT]…")
    install(named(name))
    match command:
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            exec(compile(code, "<command>", "exec"), {"__name__": "__main__"})  # noqa: S102 - as `python -c` does
        case [file, *rest]:
            sys.argv = [file, *rest]
            sys.path.insert(0, str(Path(file).parent))
            runpy.run_path(file, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])

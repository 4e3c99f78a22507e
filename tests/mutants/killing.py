"""Runs tests on mutated cores, each mutant in a process of its own forked from one that has imported all the rest.

`python -m tests.mutants.killing` prints a JSON line a mutant: its name, whether its own witness (the golden month or
test named in the catalogue) noticed it, and if not, whether the whole fast set did; of the core as it is, whether any
witness noticed something. Names may follow; `--cases` prints for each which golden months notice it, to choose a
witness by.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import selectors
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import pytest

from tests.mutants.catalogue import EQUIVALENT, MUTANTS, Mutant, named
from tests.mutants.mutation import ROOT, install

GOLDEN = "tests/ledger/test_cases.py"
PROPERTIES = "tests/core/test_properties.py"
FAST = (GOLDEN, f"{PROPERTIES}::test_the_verdict_of_every_second_is_the_oracle_s")
WITNESSES = (GOLDEN, *sorted({mutant.test for mutant in MUTANTS if mutant.test}))
"""Every test that is named as a witness: on the core as it is they must pass."""
# What a test session on the core imports besides the program itself, pytest's plugins among it: once, before forking.
COMMON = (
    "_hypothesis_pytestplugin",
    "anyio.pytest_plugin",
    "dateutil.rrule",
    "hypothesis.strategies",
    "orjson",
    "pydantic",
    "pytest_asyncio.plugin",
    "pytest_cov.plugin",
    "pytest_timeout",
    "rfc8785",
    "rich.console",
    "schemathesis.pytest.plugin",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "structlog",
    "xdist.plugin",
    "yaml",
)
UNMUTATED = "unmutated"
WORKERS = 2
NOTICED, SURVIVED = pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.OK

# What a child answers: a JSON object.
Fate = dict[str, Any]


class _Failures:
    """Remembers which tests failed."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.names.append(report.nodeid)


def witness(mutant: Mutant) -> str | None:
    """The node id of the test that must notice it; None for a change that is no mistake."""
    return f"{GOLDEN}::test_golden_month[{mutant.case}]" if mutant.case else mutant.test


def fate(mutant: Mutant | None) -> Fate:
    """Try a mutant that is in place (None: the core as it is). The fast set runs where the witness notices nothing."""
    name = UNMUTATED if mutant is None else mutant.name
    special = witness(mutant) if mutant else None
    if special is not None and _tests("-x", special)[0] == NOTICED:
        return {"name": name, "by_witness": True, "by_fast_set": True}
    code, _failed = _tests("-x", *(FAST if mutant else WITNESSES))
    assert code in {NOTICED, SURVIVED}, f"the tests could not be run: {code}"
    return {"name": name, "by_witness": False, "by_fast_set": code == NOTICED}


def noticing_cases(mutant: Mutant | None) -> Fate:
    """The golden months that notice a mutant."""
    _code, failed = _tests(GOLDEN, "-k", "test_golden_month")
    cases = [name.partition("[")[2].removesuffix("]") for name in failed]
    return {"name": UNMUTATED if mutant is None else mutant.name, "cases": cases}


def _tests(*arguments: str) -> tuple[int, list[str]]:
    failures = _Failures()
    seen = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"  # by the process this was forked from
    left = "ignore::pytest.PytestUnraisableExceptionWarning"  # what a test that fails leaves open is no verdict
    usual = ("-q", "-p", "no:cacheprovider", "--no-header", "--tb=line", "--hypothesis-seed=20260401")
    # A folder of its own: in the one that all share, others number and remove theirs while this one looks through them.
    with tempfile.TemporaryDirectory() as folder:
        place = f"--basetemp={folder}/tests"
        code = pytest.main([*usual, "-W", seen, "-W", left, place, *arguments], plugins=[failures])
    return int(code), failures.names


def each(mutants: Iterable[Mutant | None], judge: Callable[[Mutant | None], Fate] = fate) -> Iterator[Fate]:
    """`judge` on every mutant, each in a process of its own, WORKERS at a time; answers in the order of their coming.

    This process starts no thread: a forked child would inherit the locks its threads held.
    """
    for name in COMMON:
        importlib.import_module(name)
    gc.freeze()  # a child's collector, which pytest calls at its end, looks at what is the child's own
    waiting = iter(mutants)
    with selectors.DefaultSelector() as running:
        for _ in range(WORKERS):
            _start_next(waiting, judge, running)
        while running.get_map():
            for key, _events in running.select():
                yield _answer(key, running)
                _start_next(waiting, judge, running)


def _start_next(
    waiting: Iterator[Mutant | None],
    judge: Callable[[Mutant | None], Fate],
    running: selectors.BaseSelector,
) -> None:
    for mutant in waiting:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            _child(mutant, judge, writer)
        os.close(writer)
        running.register(os.fdopen(reader), selectors.EVENT_READ, pid)
        return


def _answer(key: selectors.SelectorKey, running: selectors.BaseSelector) -> Fate:
    """The answer of a child that has begun to give it."""
    stream = key.fileobj
    assert not isinstance(stream, int), "registered as a stream"
    running.unregister(stream)
    found: Fate = json.load(_readable(stream))
    os.waitpid(key.data, 0)
    assert "by_fast_set" in found or "cases" in found, f"no judgement: {found}"
    return found


def _readable(stream: Any) -> IO[str]:  # noqa: ANN401 - what was registered
    opened: IO[str] = stream
    return opened


def _child(mutant: Mutant | None, judge: Callable[[Mutant | None], Fate], writer: int) -> None:
    """Never returns: what is left of the parent's work is not the child's."""
    output = io.StringIO()
    found: Fate = {}
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            if mutant is not None:
                install(mutant)
            found = judge(mutant)
    except BaseException as error:  # noqa: BLE001 - told to the parent, which judges it
        output.write(f"{type(error).__name__}: {error}")
    finally:
        with os.fdopen(writer, "w") as answer:
            json.dump(found | {"said": output.getvalue()[-2000:]}, answer)
        os._exit(0)


def main(arguments: list[str]) -> None:
    os.chdir(ROOT)
    names = [name for name in arguments if name != "--cases"]
    chosen: list[Mutant | None] = [named(name) for name in names] if names else [None, *MUTANTS, *EQUIVALENT]
    for found in each(chosen, noticing_cases if "--cases" in arguments else fate):
        print(json.dumps(found), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main(sys.argv[1:])

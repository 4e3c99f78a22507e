"""The mode in which a skipped test is a failure, tried on a suite of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PASSES = "def test_passes(): pass\n"
SKIPS = "import pytest\n\ndef test_skips(): pytest.skip('no server here')\n"
SKIPS_AS_MODULE = "import pytest\n\npytest.importorskip('no_such_module_at_all')\n"
XFAILS = "import pytest\n\n@pytest.mark.xfail(strict=True)\ndef test_xfails(): assert False\n"


def run_suite(folder: Path, project_root: Path, source: str, *arguments: str, strict: str | None) -> tuple[int, str]:
    shutil.copy(project_root / "tests" / "conftest.py", folder / "conftest.py")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_sample.py").write_text(PASSES + source)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAGA_", "PYTEST_", "COV_"))}
    if strict is not None:
        environment["JAGA_TEST_STRICT"] = strict
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("source", [SKIPS, SKIPS_AS_MODULE])
def test_a_skip_fails_the_strict_session_by_name(tmp_path: Path, project_root: Path, source: str) -> None:
    code, output = run_suite(tmp_path, project_root, source, strict="1")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 skipped, and JAGA_TEST_STRICT is set" in output
    assert "test_sample.py" in output.partition("a skip is a failure")[2]


def test_a_skip_on_a_worker_fails_the_strict_session_too(tmp_path: Path, project_root: Path) -> None:
    code, output = run_suite(tmp_path, project_root, SKIPS, "-n", "1", strict="1")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "test_sample.py::test_skips: Skipped: no server here" in output


@pytest.mark.parametrize("strict", [None, "0"])
def test_a_skip_is_only_shown_without_it(tmp_path: Path, project_root: Path, strict: str | None) -> None:
    code, output = run_suite(tmp_path, project_root, SKIPS, strict=strict)
    assert code == pytest.ExitCode.OK
    assert "1 passed, 1 skipped" in output


def test_an_expected_failure_is_no_skip(tmp_path: Path, project_root: Path) -> None:
    code, output = run_suite(tmp_path, project_root, XFAILS, strict="1")
    assert code == pytest.ExitCode.OK
    assert "1 passed, 1 xfailed" in output

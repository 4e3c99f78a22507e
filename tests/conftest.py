"""What every test has: the checkout's folder, the built wheel and an environment of it alone, patient property tests,
and a mode where a skip is a failure.

`JAGA_TEST_STRICT=1` (CI sets it) turns each skipped test into a failure at the end, by name: on a machine that has
everything, nothing may be left out in silence. An expected failure (`xfail`) is no skip. Property tests draw the same
examples each time then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

STRICT = "JAGA_TEST_STRICT"
SLOW_LIMIT_S = 600
"""Of a test that is marked slow and names no limit of its own."""


def _is_strict() -> bool:
    return os.environ.get(STRICT, "0") not in {"", "0"}


# A loaded machine is no failure: the time limit of a test is pytest's. Whoever develops draws other examples each time,
# a gate draws the same ones: what failed in it fails again, and a change is not held up by a find about another one.
settings.register_profile(
    "patient",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=_is_strict(),
    database=None if _is_strict() else settings().database,
)
settings.load_profile("patient")


class SkipsAreFailures:
    """Remembers what was skipped and makes the session fail for it."""

    def __init__(self) -> None:
        self._skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._remember(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._remember(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._skipped and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._skipped:
            return
        terminalreporter.section(f"{len(self._skipped)} skipped, and {STRICT} is set: a skip is a failure", red=True)
        for line in self._skipped:
            terminalreporter.write_line(line, red=True)

    def _remember(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        self._skipped.append(f"{report.nodeid or 'collection'}: {reason}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long where nothing else runs takes several times as long on a machine that is busy. Where several
    processes share the files, those that take long come first: begun last, one of them would keep the others waiting.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    for item in slow:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT_S))
    if hasattr(config, "workerinput"):
        files = {item.path for item in slow}
        items.sort(key=lambda item: item.path not in files)


def pytest_configure(config: pytest.Config) -> None:
    if _is_strict():
        config.pluginmanager.register(SkipsAreFailures(), "jaga-skips-are-failures")


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout's folder."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=project_root, check=True, capture_output=True, timeout=280)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    """An environment with the wheel and what its lock names, and nothing else; nothing of the checkout is in it."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    uv = Path(sys.executable).with_name("uv")
    lock = project_root / "requirements.lock"
    for arguments in (
        ("venv", "--quiet", "--no-project", "--python", sys.executable, venv),
        ("pip", "install", "--quiet", "--python", venv, "--require-hashes", "-r", lock),
        ("pip", "install", "--quiet", "--python", venv, "--no-deps", "--offline", wheel),
    ):
        subprocess.run([uv, *arguments], cwd=venv.parent, check=True, capture_output=True, timeout=280)
    return venv

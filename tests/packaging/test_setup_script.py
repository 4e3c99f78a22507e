"""`./jaga`: what it makes on first use, what it leaves alone later, what it says when the machine lacks something.

Most tests put a small fake `uv` on a PATH of their own, so that the script's decisions are seen without a network; the
last one sets a copy of the checkout up for real.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOOLS = [
    "cat",
    "cksum",
    "dirname",
    "env",
    "flock",
    "mkdir",
    "mv",
    "readlink",
    "rm",
    "sed",
    "sh",
    "sleep",
    "timeout",
    "touch",
]
INPUTS = ("jaga", "pyproject.toml", "bootstrap.lock", "requirements.lock", "dev.lock")

# Writes what it was asked to a log; `venv` makes a program that shows how it was started.
FAKE_UV = r"""#!/bin/sh
echo "$*" >>"$FAKE_LOG"
case "$*" in
"venv "*)
    while [ "$1" != -- ]; do shift; done
    mkdir -p "$2/bin"
    echo "chatter of uv"
    printf '%s\n' '#!/bin/sh' 'exit 0' >"$2/bin/python"
    printf '%s\n' '#!/bin/sh' 'echo "pid $$"' 'echo "in $PWD"' 'echo "bytecode ${PYTHONDONTWRITEBYTECODE-on}"' \
        'for a in "$@"; do echo "argument <$a>"; done' 'case "${1-}" in exit) exit "$2";; wait) exec sleep 60;; esac' \
        >"$2/bin/jaga"
    cp "$0" "$2/bin/uv"
    chmod +x "$2/bin/python" "$2/bin/jaga"
    ;;
"pip sync "*)
    if [ -n "${FAKE_KILL-}" ]; then kill -9 "$PPID"; exit 1; fi
    while [ -n "${FAKE_HOLD-}" ] && [ -e "${FAKE_HOLD-}" ]; do sleep 0.05; done
    exit "${FAKE_EXIT-0}"
    ;;
esac
"""


class Checkout:
    """A copy of the script and its inputs, and a PATH with nothing on it but what a test puts there."""

    def __init__(self, base: Path, project_root: Path) -> None:
        self.base = base
        self.root = base / "a checkout"
        self.path = base / "bin"
        self.log = base / "uv.log"
        self.started: list[subprocess.Popen[str]] = []
        self.root.mkdir()
        self.path.mkdir()
        for name in INPUTS:
            shutil.copy(project_root / name, self.root)
        for tool in (*TOOLS, "chmod", "cp"):
            found = shutil.which(tool)
            assert found, f"{tool} is missing on this machine"
            (self.path / tool).symlink_to(found)

    def put(self, name: str, script: str) -> None:
        file = self.path / name
        file.write_text(script)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": str(self.path), "HOME": str(self.base), "FAKE_LOG": str(self.log)} | more

    def start(self, *arguments: str, cwd: Path | None = None, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(self.root / "jaga"), *arguments],
            cwd=cwd or self.base,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Leave no process behind, whatever a test expected."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def run(self, *arguments: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, cwd=cwd, **more)
        stdout, stderr = process.communicate(timeout=280)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def calls(self, beginning: str) -> int:
        return sum(line.startswith(beginning) for line in self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def bare(tmp_path: Path, project_root: Path) -> Iterator[Checkout]:
    """A checkout on a machine that has neither uv nor Python."""
    made = Checkout(tmp_path, project_root)
    yield made
    made.end()


@pytest.fixture
def checkout(bare: Checkout) -> Checkout:
    """A checkout on a machine that has uv."""
    bare.put("uv", FAKE_UV)
    return bare


def test_without_python_it_names_the_package_and_exits_3(bare: Checkout) -> None:
    done = bare.run("demo")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "jaga: Python 3.11 or newer is missing: apt install python3 python3-venv"


def test_without_venv_it_names_the_package_and_exits_3(bare: Checkout) -> None:
    bare.put("python3", '#!/bin/sh\ncase "$2" in *ensurepip*) echo "No module named ensurepip" >&2; exit 1;; esac\n')
    done = bare.run("demo")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.splitlines()[1:] == ["jaga: python3-venv is missing: apt install python3-venv"]


def test_a_python_that_is_too_old_is_passed_over(bare: Checkout) -> None:
    bare.put("python3", "#!/bin/sh\nexit 1\n")
    bare.put("python3.12", '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n')
    assert "python3-venv is missing" in bare.run("demo").stderr


def test_the_first_call_sets_up_and_the_second_starts_at_once(checkout: Checkout) -> None:
    first, second = checkout.run("status"), checkout.run("status")
    assert first.returncode == second.returncode == 0
    assert "setting up" in first.stderr
    assert second.stderr == ""
    assert (checkout.calls("venv"), checkout.calls("pip sync"), checkout.calls("pip install")) == (1, 1, 1)


def test_only_the_program_speaks_on_stdout(checkout: Checkout) -> None:
    first = checkout.run("status")
    assert first.stdout.startswith("pid ")
    assert "chatter" not in first.stdout


def test_pid_folder_and_arguments_are_the_callers(checkout: Checkout) -> None:
    folder = checkout.base / "some where"
    folder.mkdir()
    for _ in ("cold", "warm"):
        process = checkout.start("exit", "7", "two words", "", cwd=folder, PYTHONDONTWRITEBYTECODE="1")
        stdout, _ = process.communicate(timeout=280)
        assert process.returncode == 7
        assert stdout.splitlines() == [
            f"pid {process.pid}",
            f"in {folder}",
            "bytecode on",
            "argument <exit>",
            "argument <7>",
            "argument <two words>",
            "argument <>",
        ]


def test_a_signal_reaches_the_program_and_the_exit_is_its_own(checkout: Checkout) -> None:
    process = checkout.start("wait")
    assert process.stdout is not None
    assert process.stdout.readline() == f"pid {process.pid}\n"
    process.terminate()
    process.communicate(timeout=280)
    assert process.returncode == -signal.SIGTERM


def test_two_first_calls_make_one_environment(checkout: Checkout) -> None:
    """The set-up that came first is held until the others have said that they wait for it."""
    held = checkout.base / "held"
    held.touch()
    calls = [checkout.start("status", FAKE_HOLD=str(held)) for _ in range(3)]
    said = [_first_words(call) for call in calls]
    held.unlink()
    for call in calls:
        call.communicate(timeout=280)
    assert [call.returncode for call in calls] == [0, 0, 0]
    assert checkout.calls("venv") == 1
    assert sum("another set-up of this checkout is running" in line for line in said) == 2
    assert sum("setting up" in line for line in said) == 1


def _first_words(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


def test_an_environment_killed_half_way_is_made_anew(checkout: Checkout) -> None:
    assert checkout.run("status", FAKE_KILL="1").returncode == -signal.SIGKILL
    assert (checkout.root / ".venv" / "bin" / "jaga").exists()
    (checkout.root / ".venv" / "leftover").touch()
    assert checkout.run("status").returncode == 0
    assert checkout.calls("venv") == 2
    assert not (checkout.root / ".venv" / "leftover").exists()


def test_an_update_killed_half_way_is_made_anew(checkout: Checkout) -> None:
    checkout.run("status")
    with (checkout.root / "requirements.lock").open("a") as file:
        file.write("\n# changed\n")
    checkout.run("status", FAKE_KILL="1")
    assert checkout.run("status").returncode == 0
    assert checkout.calls("venv") == 2


def test_a_failed_installation_says_so_and_is_tried_again(checkout: Checkout) -> None:
    failed = checkout.run("status", FAKE_EXIT="1")
    assert failed.returncode == 3
    assert failed.stderr.splitlines()[-1] == "jaga: could not install requirements.lock: the reason is above"
    assert checkout.run("status").returncode == 0


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml", "bootstrap.lock"])
def test_a_changed_input_is_installed_into_the_same_environment(checkout: Checkout, changed: str) -> None:
    checkout.run("status")
    with (checkout.root / changed).open("a") as file:
        file.write("\n# changed\n")
    assert checkout.run("status").returncode == 0
    assert (checkout.calls("venv"), checkout.calls("pip sync")) == (1, 2)


def test_a_moved_checkout_is_set_up_anew(checkout: Checkout) -> None:
    checkout.run("status")
    checkout.root = checkout.root.rename(checkout.base / "moved")
    assert checkout.run("status").returncode == 0
    assert checkout.calls("venv") == 2


def test_an_upgraded_interpreter_means_a_new_environment(checkout: Checkout) -> None:
    checkout.run("status")
    interpreter = checkout.root / ".venv" / "bin" / "python"
    interpreter.rename(interpreter.with_name("python3.13"))
    interpreter.symlink_to("python3.13")
    assert checkout.run("status").returncode == 0
    assert checkout.calls("venv") == 2
    interpreter.unlink()
    assert checkout.run("status").returncode == 0
    assert checkout.calls("venv") == 3


def test_the_tests_get_their_tools_and_keep_them(checkout: Checkout) -> None:
    checkout.run("status")
    assert checkout.run("test", "-q").returncode == 0
    assert checkout.calls("venv") == 1
    with (checkout.root / "requirements.lock").open("a") as file:
        file.write("\n# changed\n")
    checkout.run("status")
    installed = [
        line.rsplit("/", 1)[-1] for line in checkout.log.read_text().splitlines() if line.startswith("pip sync")
    ]
    assert installed == ["requirements.lock", "dev.lock", "dev.lock"]


@pytest.mark.slow
def test_a_real_first_use_on_a_bare_machine(tmp_path: Path, project_root: Path) -> None:
    """No uv, an empty home, a bare environment: with this interpreter and the registry the program answers."""
    root = tmp_path / "a fresh clone"
    ignored = shutil.ignore_patterns(".venv", ".git", "__pycache__", ".*_cache", "var", "tests", "docs")
    shutil.copytree(project_root, root, ignore=ignored)
    home = tmp_path / "home"
    home.mkdir()
    interpreter = os.path.realpath(sys.executable)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "JAGA_PYTHON": interpreter, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [str(root / "jaga"), "--version"],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "0.1.0" in done.stdout
    assert any((root / ".venv").rglob("click/__pycache__/*.pyc")), "bytecode was not compiled"

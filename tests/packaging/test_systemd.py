"""The unit and its drop-ins, judged by systemd itself: no unknown key, nothing missing, and the stated exposure holds.

`systemd-analyze` reads them in a root of their own, with the machine's own units around them; no manager has to run.
What only a running manager shows (the sandbox at work, the watchdog's SIGABRT, credentials) is not shown here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from monitor.cli.drop_ins import DROP_INS

UNIT = "jaga.service"
PLACES = "etc/systemd/system"
EXPOSURE = re.compile(r"Overall exposure level for jaga\.service: ([0-9.]+)")
STATED = re.compile(r"Exposure by `systemd-analyze security --offline=true`: ([0-9.]+)")

Root = Callable[..., Path]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={"LC_ALL": "C.UTF-8"},
    )


@pytest.fixture(scope="module")
def units() -> Path:
    """The units that the machine's systemd brings along."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("not installed: systemd")
    return next(path for path in map(Path, ("/usr/lib/systemd/system", "/lib/systemd/system")) if path.is_dir())


@pytest.fixture
def root(tmp_path: Path, units: Path, project_root: Path) -> Root:
    """A root with the unit and the drop-ins of some kinds, and what the unit names."""

    def made(kinds: Sequence[str] = (), *, change: tuple[str, str] = ("", "")) -> Path:
        folder = tmp_path / "root"
        shutil.copytree(units, folder / "usr/lib/systemd/system", symlinks=True)
        for program in ("opt/jaga/bin/jaga", "bin/kill"):
            (folder / program).parent.mkdir(parents=True, exist_ok=True)
            (folder / program).write_text("#!/bin/sh\n")
            (folder / program).chmod(0o755)
        placed = folder / PLACES
        (placed / f"{UNIT}.d").mkdir(parents=True)
        text = (project_root / "systemd" / UNIT).read_text()
        assert change[0] in text
        (placed / UNIT).write_text(text.replace(*change) if change[0] else text)
        for kind in kinds:
            shutil.copy(project_root / "systemd" / f"{kind}.conf", placed / f"{UNIT}.d")
        return folder

    return made


def problems(root: Path) -> list[str]:
    """What `verify` says of our unit."""
    said = analyze(f"--root={root}", "--man=no", "--recursive-errors=no", "verify", f"{root}/{PLACES}/{UNIT}")
    return [line for line in (said.stdout + said.stderr).splitlines() if "jaga" in line]


def exposure(root: Path) -> float:
    said = analyze("security", "--offline=true", "--no-pager", f"--root={root}", UNIT)
    match = EXPOSURE.search(said.stdout)
    assert match is not None, said.stdout + said.stderr
    return float(match[1])


def stated(path: Path) -> float:
    match = STATED.search(path.read_text())
    assert match is not None, path
    return float(match[1])


@pytest.mark.parametrize("kinds", [(), *((kind,) for kind in DROP_INS), tuple(DROP_INS)], ids=" ".join)
def test_systemd_finds_nothing_wrong(root: Root, kinds: Sequence[str]) -> None:
    assert problems(root(kinds)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("Type=notify", "Typ=notify"), "Typ"),
        (("ProtectHome=yes", "ProtectHome=maybe"), "protect home"),
        (("/opt/jaga/bin/jaga", "/opt/jaga/bin/jagaa"), "jagaa"),
        (("@privileged", "@priviledged"), "priviledged"),
    ],
)
def test_it_would_find_a_slip(root: Root, change: tuple[str, str], said: str) -> None:
    assert said in " ".join(problems(root(change=change)))


def test_the_exposure_is_at_most_what_is_asked(root: Root) -> None:
    assert exposure(root()) <= 1.2


def test_a_right_more_is_seen(root: Root) -> None:
    assert exposure(root(change=("PrivateDevices=yes", "PrivateDevices=no"))) > 1.2


@pytest.mark.parametrize("name", [UNIT, *(f"{kind}.conf" for kind in DROP_INS)])
def test_the_exposure_is_the_one_stated(root: Root, project_root: Path, name: str) -> None:
    kinds = () if name == UNIT else (name.removesuffix(".conf"),)
    # Versions of systemd weigh a little differently: never more than is stated, and not far below it.
    said = stated(project_root / "systemd" / name)
    assert said - 0.15 < exposure(root(kinds)) <= said


def test_check_knows_every_drop_in_there_is(project_root: Path) -> None:
    assert set(DROP_INS) == {path.stem for path in (project_root / "systemd").glob("*.conf")}

"""The image, without an engine: the Dockerfile's own steps in a bare Debian, and the result run as a container would.

Each RUN, COPY and ENV is read from the Dockerfile and carried out in a root made by debootstrap, which the base image
`debian:bookworm-slim` is made with too (that one leaves out documentation). Then its ENTRYPOINT, CMD, HEALTHCHECK,
USER and STOPSIGNAL are used in mount, pid, user, network and ipc namespaces: a read-only root with a read-only /tmp, a
volume at /var/lib/jaga, no capabilities. What only an engine does is not shown: layers, how the labels get into the
image, when the health check is asked.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import Debian

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]

BASE_IMAGE = "debian:bookworm-slim"
WAIT_S = 120

CONFIGURATION = """\
store: sqlite:////var/lib/jaga/ledger.db
location: {id: box-1}
web: {listen: 0.0.0.0:9464}
contracts:
  mitra:
    terms:
      - effective_from: 2026-01-01
        timezone: Asia/Jakarta
        guarantee: 95%
        objective: 99.9%
        credits: [{below: 95%, credit: 10%}]
        maintenance_notice: 48h
        claim_within: 30d
services:
  itself:
    name: The daemon's own pages
    interval: 1s
    timeout: 500ms
    checks:
      healthy:
        steps:
          - {name: ask, http: {get: "http://127.0.0.1:9464/-/healthy"}, expect: {status: 200}}
partners:
  acme: {name: Yayasan Acme, contract: mitra, services: {itself: {fee: IDR 12500000}}}
"""


# The Dockerfile.


@dataclass
class Stage:
    """What one FROM begins: where its root is from, its steps, and what the image would say of itself."""

    source: str
    name: str | None
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, keyword: str) -> str:
        return [value for step, value in self.steps if step == keyword][-1]

    def pairs(self, keyword: str) -> dict[str, str]:
        parts = [part for step, value in self.steps if step == keyword for part in shlex.split(value)]
        return dict(part.split("=", 1) for part in parts)


KEYWORDS = {"RUN", "COPY", "ENV", "WORKDIR", "USER", "LABEL", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"} | {
    "ENTRYPOINT",
    "CMD",
}


def read_dockerfile(text: str) -> list[Stage]:
    """The stages in their order. Only what this test knows how to carry out: anything else fails it."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    stages: list[Stage] = []
    for step in "\n".join(lines).replace("\\\n", " ").splitlines():
        keyword, _, value = step.partition(" ")
        if keyword == "FROM":
            source, _, name = value.partition(" AS ")
            stages.append(Stage(source, name or None))
        else:
            assert keyword in KEYWORDS, step
            stages[-1].steps.append((keyword, value.strip()))
    return stages


@pytest.fixture(scope="module")
def stages(project_root: Path) -> list[Stage]:
    return read_dockerfile((project_root / "Dockerfile").read_text())


def test_it_says_what_it_is_and_starts_without_a_shell(stages: list[Stage], project_root: Path) -> None:
    final = stages[-1]
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    labels = final.pairs("LABEL")
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert labels["org.opencontainers.image.description"] == project["description"]
    assert labels["org.opencontainers.image.base.name"] == f"docker.io/library/{BASE_IMAGE}"
    assert json.loads(final.last("ENTRYPOINT")) == ["jaga"]
    assert json.loads(final.last("CMD"))[0] == "run"
    assert json.loads(final.last("HEALTHCHECK").partition("CMD ")[2])[0] == "jaga"
    assert final.last("USER") == "65532:65532"
    assert final.last("STOPSIGNAL") == "SIGTERM"


def test_what_it_copies_is_let_through_and_little_else(stages: list[Stage], project_root: Path) -> None:
    ignore = (project_root / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_through = {rule.removeprefix("!") for rule in rules[1:] if rule.startswith("!")}
    copied = {
        source
        for stage in stages
        for keyword, value in stage.steps
        if keyword == "COPY" and not value.startswith("--from")
        for source in value.split()[:-1]
    }
    assert copied == let_through
    assert all((project_root / name).exists() for name in copied)


# Its steps.


class Build:
    """Carries the stages out in copies of a bare Debian."""

    def __init__(self, debian: Debian, context: Path, folder: Path) -> None:
        self._context = context
        self._folder = folder
        self.roots: dict[str, Debian] = {BASE_IMAGE: debian}

    def carry_out(self, stage: Stage, name: str) -> Path:
        system = self.roots[stage.source].copy(self._folder / name)
        environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        folder = "/"
        for keyword, value in stage.steps:
            if keyword == "RUN":
                system.run("/bin/sh", "-c", f"cd {folder} && {value}", environ=environ)
                if (system.root / "etc/ssl/certs/ca-certificates.crt").exists():
                    system.trust_what_the_machine_trusts()
            elif keyword == "ENV":
                environ |= dict(part.split("=", 1) for part in shlex.split(value))
            elif keyword == "WORKDIR":
                folder = value
                (system.root / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif keyword == "COPY":
                self._copy(value.split(), system.root, folder)
        self.roots[stage.name or name] = system
        return system.root

    def _copy(self, words: list[str], root: Path, folder: str) -> None:
        source_root = self._context
        if words[0].startswith("--from="):
            source_root = self.roots[words.pop(0).removeprefix("--from=")].root
        *sources, target = words
        into = root / os.path.join(folder, target)[1:]  # noqa: PTH118 - an absolute target replaces the folder
        for name in sources:
            source = source_root / name.lstrip("/")
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__") if source_root == self._context else None
                shutil.copytree(source, into, symlinks=True, ignore=ignored)
            else:
                shutil.copy(source, into / source.name if target.endswith("/") else into)


@pytest.fixture(scope="module")
def image(
    debian: Debian, stages: list[Stage], project_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("image")
    build = Build(debian, project_root, folder)
    built = [build.carry_out(stage, stage.name or "final") for stage in stages]
    yield built[-1]
    shutil.rmtree(folder)


def test_the_image_holds_the_program_and_no_tools_to_build_it(image: Path) -> None:
    assert (image / "opt/jaga/bin/jaga").is_file()
    assert not (image / "build").exists()
    assert not list((image / "opt/jaga").glob("lib/python3*/site-packages/uv*"))
    assert not list((image / "opt/jaga").glob("lib/python3*/site-packages/pip*"))
    # Compiled when it is built: a read-only root could never keep it.
    assert list((image / "opt/jaga").glob("lib/python3*/site-packages/monitor/__pycache__/clock.*.pyc"))
    assert not list((image / "var/lib/apt/lists").iterdir())


# The result, run.

# As an engine would: $1 the root, $2 the volume, $3 the configuration; the rest is the command. Starts when its user
# namespace has been given its users (a line on stdin).
CONTAINER = """
read -r _
{mounts}
mkdir -p "$1/etc/jaga"
mount --bind "$2" "$1/var/lib/jaga"
mount --bind "$3" "$1/etc/jaga"
mount -o remount,bind,ro "$1/etc/jaga"
mount -o remount,bind,ro "$1"
"$4" -c "$5"
cd "$1"
shift 5
# The old root is put over the new one and let go of: nothing of the machine is left to reach.
pivot_root . .
umount -l .
exec "$@"
"""

# The loopback device of a new network namespace is down: ioctl SIOCSIFFLAGS with IFF_UP | IFF_RUNNING.
LOOPBACK_UP = """
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 0x41))
"""

CONFINED = ["--reuid=65532", "--regid=65532", "--clear-groups", "--no-new-privs"]
CONFINED += ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]


@dataclass
class Container:
    """A container under way: `pid` is its first process, as the machine sees it."""

    process: subprocess.Popen[bytes]
    pid: int
    environ: list[str]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Another command in it, as its user: what an engine does for a health check."""
        spaces = ["--user", "--mount", "--pid", "--net", "--ipc", "--uts"]
        return subprocess.run(
            ["nsenter", "--target", str(self.pid), *spaces, "--", "setpriv", *CONFINED, *self.environ, *command],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

    def status(self) -> dict[str, str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def until(what: str, answer: Callable[[], object], within_s: float = WAIT_S) -> None:
    """Ask until the answer is yes."""
    deadline = time.monotonic() + within_s
    while not answer():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        select.select([], [], [], 0.05)


def start(mounts: str, image: Path, stage: Stage, folder: Path) -> Container:
    """The container's command, in `folder`: its volume, its configuration and what it says are there."""
    spaces = ["--user", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=KILL"]
    environ = ["env", "-i", f"--chdir={stage.last('WORKDIR')}"]
    environ += [f"{name}={value}" for name, value in stage.pairs("ENV").items()]
    command = [*environ, *json.loads(stage.last("ENTRYPOINT")), *json.loads(stage.last("CMD"))]
    given = ["sh", str(image), str(folder / "volume"), str(folder / "etc"), sys.executable, LOOPBACK_UP]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            ["unshare", *spaces, "sh", "-ec", CONTAINER.format(mounts=mounts), *given, "setpriv", *CONFINED, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    own = Path("/proc/self/ns/user").readlink()
    until("a user namespace", lambda: Path(f"/proc/{process.pid}/ns/user").readlink() != own)
    for table in ("uid_map", "gid_map"):
        Path(f"/proc/{process.pid}/{table}").write_text("0 0 65536\n")
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until("a first process", lambda: children.read_text().split())
    return Container(process, int(children.read_text().split()[0]), environ)


@pytest.fixture(scope="module")
def container(
    debian: Debian, image: Path, stages: list[Stage], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("container")
    (folder / "etc").mkdir()
    (folder / "etc/jaga.yaml").write_text(CONFIGURATION)
    # An engine makes a new volume after the folder in the image, with its owner and mode.
    kept = (image / "var/lib/jaga").stat()
    (folder / "volume").mkdir()
    os.chown(folder / "volume", kept.st_uid, kept.st_gid)
    (folder / "volume").chmod(kept.st_mode & 0o7777)
    running = start(debian.mounts, image, stages[-1], folder)
    try:
        log = folder / "log"
        until("ready", lambda: b'"ready"' in log.read_bytes() or running.process.poll() is not None)
        assert running.process.poll() is None, log.read_text()
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait(WAIT_S)


def test_it_runs_as_a_number_without_any_right(container: Container) -> None:
    status = container.status()
    assert set(status["Uid"].split()) == {"65532"}
    assert set(status["Gid"].split()) == {"65532"}
    assert status["Groups"] == ""
    assert {status[f"Cap{which}"] for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("folder", ["/", "/tmp", "/opt/jaga", "/etc/jaga"])  # noqa: S108 - it may not be written to
def test_it_can_write_nowhere_but_to_its_volume(container: Container, folder: str) -> None:
    refused = container.run("touch", f"{folder}/new")
    assert refused.returncode == 1
    assert "Read-only file system" in refused.stderr
    assert container.run("touch", "/var/lib/jaga/new").returncode == 0


def test_the_health_check_is_the_programs_own_answer(container: Container, stages: list[Stage]) -> None:
    command = json.loads(stages[-1].last("HEALTHCHECK").partition("CMD ")[2])
    healthy = container.run(*command)
    assert (healthy.returncode, healthy.stderr) == (0, "")


def test_it_watches_and_records(container: Container) -> None:
    def standing() -> dict[str, str]:
        asked = container.run("jaga", "status", "--json")
        assert asked.returncode == 0, asked.stderr
        found: dict[str, str] = json.loads(asked.stdout)["services"][0]
        return found

    until("the service is up", lambda: standing()["verdict"] == "up")


def test_its_stop_signal_ends_it_in_order(container: Container, stages: list[Stage]) -> None:
    """The last one: it ends the container."""
    command = json.loads(stages[-1].last("HEALTHCHECK").partition("CMD ")[2])
    os.kill(container.pid, signal.Signals[stages[-1].last("STOPSIGNAL")])
    assert container.process.wait(WAIT_S) == 0
    assert container.run(*command).returncode != 0

"""A bare Debian in a folder, and how commands are run with it as their root: in namespaces of their own, by `unshare`.

Debian is fetched once a session (`debootstrap`, some 30 s); tests take copies. Without root, debootstrap or unshare the
tests are skipped, visibly.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SUITE = "bookworm"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}

UNSHARE = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]

# What a root needs before programs run in it; $1 is the root. Devices are the machine's own: not all may make some.
MOUNTS = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc -o nosuid,nodev,noexec proc "$1/proc"
mount -t tmpfs -o mode=755,nosuid dev "$1/dev"
for device in null zero full random urandom; do
    touch "$1/dev/$device"
    mount --bind "/dev/$device" "$1/dev/$device"
done
ln -s /proc/self/fd "$1/dev/fd"
"""

_CHROOT = MOUNTS + 'root=$1; shift; exec chroot "$root" "$@"'


class Debian:
    """A Debian in a folder."""

    mounts = MOUNTS
    """The shell's part that makes a root fit to run programs in."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def copy(self, root: Path) -> Debian:
        """Another one like it."""
        subprocess.run(["cp", "-a", "--reflink=auto", self.root, root], check=True, timeout=280)
        return Debian(root)

    def run(self, *command: str, environ: Mapping[str, str] = ENVIRONMENT, timeout_s: float = 200) -> str:
        """Run a command in it, as root, with the machine's network; what it printed."""
        variables = [f"{name}={value}" for name, value in environ.items()]
        done = subprocess.run(
            [*UNSHARE, "sh", "-c", _CHROOT, "sh", str(self.root), "env", "-i", *variables, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def trust_what_the_machine_trusts(self) -> None:
        """A machine behind an authority of its own passes it on, as one does in an image that is built there."""
        shutil.copyfile("/etc/ssl/certs/ca-certificates.crt", self.root / "etc/ssl/certs/ca-certificates.crt")


@pytest.fixture(scope="session")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    """A bare Debian, to be copied. Workers of one run share it; the last one clears it away."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a Debian root")
    missing = [tool for tool in ("debootstrap", "unshare", "nsenter", "setpriv") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    root = folder / "debian"
    # Two locks: whoever uses it holds the one until the end of its session, and must not keep others from looking.
    with (folder / "debian.making").open("w") as making, (folder / "debian.using").open("w") as using:
        fcntl.flock(making, fcntl.LOCK_EX)
        if not root.exists():
            _bootstrap(root)
        fcntl.flock(using, fcntl.LOCK_SH)
        fcntl.flock(making, fcntl.LOCK_UN)
        yield Debian(root)
        fcntl.flock(making, fcntl.LOCK_EX)
        try:
            fcntl.flock(using, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(root)


def _bootstrap(root: Path) -> None:
    command = ["debootstrap", "--variant=minbase", SUITE, f"{root}.part"]
    mirror = os.environ.get("JAGA_TEST_DEBIAN_MIRROR")
    done = subprocess.run(
        [*command, mirror] if mirror else command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    for name in ("resolv.conf", "hosts"):
        shutil.copyfile(f"/etc/{name}", f"{root}.part/etc/{name}")
    Path(f"{root}.part").rename(root)

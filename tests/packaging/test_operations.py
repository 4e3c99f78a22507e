"""docs/operations.md as written: its shell blocks are run, each kind where it belongs.

`plain` blocks run as one script in a scratch folder, in their order; only the starter configuration is pointed at a
page of the test's own on the way. `root` blocks run in a bare Debian, where a small `systemctl` stands in for the
manager that cannot run there: it only sees that what it is told to start exists (test_systemd.py judges the unit).
`postgresql` is run in tests/conformance/storage. What needs a container engine is read for its syntax alone.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import random
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import Debian

pytestmark = [pytest.mark.slow, pytest.mark.timeout(750)]

KINDS = {"plain", "root", "pipx", "checkout", "engine", "postgresql"}

# One day of a check that always passed, in the starter's service.
HISTORY = """\
{"type":"header","format":"jaga-ledger/1"}
{"type":"checks","service":"shop","at":"2026-03-01T00:00:00+07:00","interval_s":60,"timeout_s":10,"stale_after_s":190,\
"checks":[{"id":"page","network":"public"}]}
{"type":"spans","service":"shop","check":"page","location":"here","from":"2026-03-01T00:00:00+07:00",\
"to":"2026-03-02T00:00:00+07:00","outcome":"pass"}
"""

SYSTEMCTL = """\
#!/bin/sh
# Stands in for the manager's: whatever is started must be there.
echo "systemctl $*" >>/systemctl.log
case "$1" in
enable|restart|disable)
    for last; do :; done
    [ "$last" != jaga ] || [ -f /etc/systemd/system/jaga.service ] || exit 5
esac
"""


def blocks(text: str) -> list[tuple[str, str]]:
    """Kind and script of each shell block, in order."""
    return re.findall(r"^```sh ?([a-z]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page(project_root: Path) -> str:
    return (project_root / "docs/operations.md").read_text(encoding="utf-8")


@pytest.fixture
def release(tmp_path: Path, wheel: Path, project_root: Path) -> Path:
    """A folder with what a release is."""
    folder = tmp_path / "release"
    folder.mkdir()
    for path in (wheel, project_root / "requirements.lock"):
        shutil.copy(path, folder)
    shutil.copytree(project_root / "systemd", folder / "systemd")
    (folder / "history.jsonl").write_text(HISTORY)
    return folder


@pytest.fixture
def site() -> Iterator[str]:
    """What the starter configuration watches here."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the test's output is the script's."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def run(script: str, folder: Path, **environment: str) -> str:
    """What a script says, line by line with its commands; none of them may fail."""
    log = folder / "said.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-euxo", "pipefail", "-c", script],
            cwd=folder,
            env=os.environ | {"PIP_NO_COMPILE": "1"} | environment,  # bytecode is made at the first import instead
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        try:
            code = process.wait(timeout=650)
        finally:
            # What it left in the background goes with it.
            subprocess.run(["kill", "-KILL", "--", f"-{process.pid}"], check=False, capture_output=True, timeout=10)
            process.wait(60)
    said = log.read_text()
    assert code == 0, said[-4000:]
    return said


def of_kind(page: str, kind: str) -> list[str]:
    return [script for found, script in blocks(page) if found == kind]


def test_every_shell_block_is_of_a_kind_that_is_run(page: str) -> None:
    assert {kind for kind, _ in blocks(page)} == KINDS
    assert len(blocks(page)) == page.count("```sh")


def test_the_wheel_is_the_one_that_is_built(page: str, wheel: Path) -> None:
    assert set(re.findall(r"jaga-[0-9.]+-py3-none-any\.whl", page)) == {wheel.name}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_block_is_a_shell_script(page: str, kind: str, tmp_path: Path) -> None:
    for script in of_kind(page, kind):
        run(f"bash -n <<'EOF'\n{script}\nEOF", tmp_path)


def test_the_plain_blocks_run_as_they_stand(page: str, release: Path, site: str) -> None:
    changes = {
        "https://shop.example.com/": site,
        "127.0.0.1:9464": f"127.0.0.1:{free_port()}",
        "interval: 60s": "interval: 1s",
        "timeout: 10s": "timeout: 400ms",
    }
    pointed = "".join(f"sed -i 's|{old}|{new}|' config/jaga.yaml\n" for old, new in changes.items())
    # One day for the whole script, also over midnight: a file is named by the day, and found by it later.
    script = 'date() { command date --date=2026-11-05 "$@"; }\n' + "\n".join(of_kind(page, "plain"))
    assert script.count("jaga init .\n") == 1
    said = run(script.replace("jaga init .\n", f"jaga init .\n{pointed}"), release, LC_ALL="C.UTF-8")
    for piece in ("jaga 0.1.0", "accepted: 1 service", "1 facts, 0 runs and 1 stated spans are new", "backed up to"):
        assert piece in said, piece
    assert said.count("restored ") == 2
    assert said.count("The chain holds") == 2
    assert "Traceback" not in said + (release / "jaga.log").read_text()
    assert list((release / "config/var/jaga").glob("ledger.db.before-restore-*"))


def free_port() -> str:
    """One on which nobody listens: `web.listen` has to be known before the daemon starts. It lies below those that the
    kernel hands out by itself, so nobody gets it by chance meanwhile.
    """
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(first // 2, first)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return str(port)


def test_the_checkout_block_runs(page: str, project_root: Path, tmp_path: Path) -> None:
    (script,) = of_kind(page, "checkout")
    said = run(f"cd {project_root}\n{script}", tmp_path)
    assert "jaga 0.1.0" in said


def test_pipx_installs_it(page: str, release: Path) -> None:
    if shutil.which("pipx") is None:
        pytest.skip("not installed: pipx")
    (script,) = of_kind(page, "pipx")
    homes = {"PIPX_HOME": str(release / "pipx"), "PIPX_BIN_DIR": str(release / "bin")}
    said = run(script, release, PATH=f"{release}/bin:{os.environ['PATH']}", **homes)
    assert "jaga 0.1.0" in said
    assert (release / "bin/jaga").exists()


def test_the_root_blocks_run_in_a_bare_debian_and_leave_nothing(page: str, release: Path, debian: Debian) -> None:
    machine = debian.copy(release.parent / "machine")
    (machine.root / "usr/bin/systemctl").write_text(SYSTEMCTL)
    (machine.root / "usr/bin/systemctl").chmod(0o755)
    shutil.copytree(release, machine.root / "srv/release")
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    # A machine behind an authority of its own passes it on.
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", machine.root / "srv/trusted.crt")
    environ["PIP_CERT"] = "/srv/trusted.crt"
    *install, uninstall = of_kind(page, "root")

    def carry_out(script: str) -> str:
        return machine.run(
            "bash", "-euxo", "pipefail", "-c", f"cd /srv/release\n{script}", environ=environ, timeout_s=500
        )

    machine.run("apt-get", "-q", "update", environ=environ)
    said = carry_out("\n".join(install))
    assert "accepted: 1 service" in said
    assert (machine.root / "systemctl.log").read_text().splitlines()[1] == "systemctl enable --now jaga"
    assert (machine.root / "etc/systemd/system/jaga.service.d/icmp.conf").is_file()
    # As the unit would: as the daemon's user, where it may write.
    as_jaga = "runuser -u jaga -- /opt/jaga/bin/jaga --config /etc/jaga/jaga.yaml"
    carry_out(
        f"{as_jaga} ledger import history.jsonl && {as_jaga} ledger verify && {as_jaga} backup /var/lib/jaga/b.db"
    )
    carry_out(uninstall)
    for left in (
        "opt/jaga",
        "etc/jaga",
        "var/lib/jaga",
        "etc/systemd/system/jaga.service",
        "etc/systemd/system/jaga.service.d",
    ):
        assert not (machine.root / left).exists(), left
    assert "jaga" not in (machine.root / "etc/passwd").read_text()
    archived = carry_out("tar -tzf jaga-archive.tar.gz")
    assert "var/lib/jaga/ledger.db" in archived
    shutil.rmtree(machine.root)

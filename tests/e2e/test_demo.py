"""`jaga demo` without a terminal, in full and interrupted: it tells its story and leaves nothing behind.

In full it runs from the built wheel, with nothing of the checkout in reach.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import JAGA, PATIENCE_S, Process, environment


def _left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_story_in_full_from_the_built_wheel(tmp_path: Path, installed: Path) -> None:
    done = subprocess.run(
        [installed / "bin/jaga", "demo"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    told = re.sub(r"\s+", " ", done.stdout)
    for piece in (
        "2 of 4 checks fail; exactly half is not downtime",
        "3 of 4 checks fail; more than half: down",
        "but excluded: maintenance",
        "Guarantee 99.999% MISSED",
        "credit 10% = IDR 1,250,000",
        "scheduled maintenance m-1",
        "m-2 notice 00:00:03 before start, 00:00:10 needed",
        "The arithmetic",
        "credit = IDR 12500000 x 10 % = IDR 1250000",
        "jaga init",
    ):
        assert piece in told
    assert told.count("Counted 0 s") == 1
    assert _left_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = Process.start([str(JAGA), "demo"], tmp_path, read="stdout")
    try:
        process.line(lambda line: " UP " in line)
        ports = [urlsplit(url).port for url in re.findall(r"http://\S+", "".join(process.lines))]
        assert process.stop(number) == 130
    finally:
        process.end()
    assert _left_in(tmp_path) == []
    assert len(ports) == 3
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port or 0), PATIENCE_S)


def test_keep_keeps_a_ledger_that_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = Process.start([str(JAGA), "demo", "--keep"], tmp_path, read="stdout")
    try:
        process.line(lambda line: " UP " in line)
        process.child.send_signal(signal.SIGINT)
        kept = process.line(lambda line: line.startswith("Kept in ")).removeprefix("Kept in ").split(";")[0]
    finally:
        process.child.wait(PATIENCE_S)
        process.end()
    done = subprocess.run(
        [JAGA, "--config", f"{kept}/jaga.yaml", "ledger", "verify"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert "The chain holds" in done.stdout


def test_on_a_terminal_there_is_a_live_picture(tmp_path: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TMPDIR=str(tmp_path), TERM="xterm", COLUMNS="120", LINES="40")
        os.execv(JAGA, [str(JAGA), "demo"])  # noqa: S606 - the program itself
    shown = b""
    until = time.monotonic() + PATIENCE_S
    try:
        while b"more than half needed" not in shown and time.monotonic() < until:
            shown += os.read(terminal, 65536)
        os.write(terminal, b"\x03")
        try:
            while rest := os.read(terminal, 65536):
                shown += rest
        except OSError:
            pass  # the other side closed: it ended
    finally:
        _pid, status = os.waitpid(child, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    for piece in (b"list-servers", b"month so far", b"open outage", b"/metrics"):
        assert piece in shown
    assert _left_in(tmp_path) == []

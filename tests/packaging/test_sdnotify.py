"""The notify protocol against a real notify socket: what arrives, byte by byte, and what garbage does."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.sdnotify import MAX_MESSAGE_BYTES, Notifier


class Manager:
    """The service manager's side: a datagram socket that messages come to."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.settimeout(60)
        self.sock.bind("\0" + address[1:] if address.startswith("@") else address)

    def heard(self) -> str:
        return self.sock.recv(2 * MAX_MESSAGE_BYTES).decode()

    def notifier(self, **more: str) -> Notifier:
        return Notifier.from_environment({"NOTIFY_SOCKET": self.address, **more}, pid=os.getpid())


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    name = f"@jaga-test-{secrets.token_hex(8)}"
    listening = Manager(str(tmp_path_factory.mktemp("n") / "notify") if request.param == "path" else name)
    yield listening
    listening.sock.close()


def test_each_message_arrives_as_the_protocol_writes_it(manager: Manager) -> None:
    notifier = manager.notifier()
    assert notifier.ready() is None
    assert manager.heard() == "READY=1"
    assert notifier.reloading(81_234_567) is None
    assert manager.heard() == "RELOADING=1\nMONOTONIC_USEC=81234567"
    assert notifier.status("4 checks, 1 service down") is None
    assert manager.heard() == "STATUS=4 checks, 1 service down"
    assert notifier.watchdog() is None
    assert manager.heard() == "WATCHDOG=1"
    assert notifier.stopping() is None
    assert manager.heard() == "STOPPING=1"


def test_a_status_is_one_line_whatever_stands_in_it(manager: Manager) -> None:
    manager.notifier().status("down\nREADY=1\0\x1b[31m\u2028end")
    assert manager.heard() == "STATUS=down READY=1  [31m end"


def test_a_status_that_is_too_long_is_cut_between_characters(manager: Manager) -> None:
    manager.notifier().status("é" * MAX_MESSAGE_BYTES)
    heard = manager.sock.recv(2 * MAX_MESSAGE_BYTES)
    assert len(heard) in {MAX_MESSAGE_BYTES - 1, MAX_MESSAGE_BYTES}
    assert set(heard.decode().removeprefix("STATUS=")) == {"é"}


@pytest.mark.parametrize("owner", [{}, {"WATCHDOG_PID": str(os.getpid())}, {"WATCHDOG_PID": ""}])
def test_the_watchdog_is_ours_when_it_names_us_or_nobody(manager: Manager, owner: dict[str, str]) -> None:
    notifier = manager.notifier(WATCHDOG_USEC="30000000", **owner)
    assert (notifier.watchdog_interval_us, notifier.fault) == (30_000_000, None)


def test_the_watchdog_of_another_process_is_not_ours(manager: Manager) -> None:
    notifier = manager.notifier(WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid() + 1))
    assert (notifier.watchdog_interval_us, notifier.fault) == (None, None)


@pytest.mark.parametrize("interval", ["0", "-5", "1e6", "soon", " 7", "+7", "1_000", "٣", "9" * 5000])
def test_a_watchdog_that_is_no_number_is_told_and_not_fed(manager: Manager, interval: str) -> None:
    notifier = manager.notifier(WATCHDOG_USEC=interval)
    assert notifier.watchdog_interval_us is None
    assert notifier.fault is not None
    assert notifier.fault.startswith("WATCHDOG_USEC=")
    assert "whole number" in notifier.fault
    # All else goes on.
    assert notifier.ready() is None
    assert manager.heard() == "READY=1"


def test_a_watchdog_pid_that_is_no_number_is_told(manager: Manager) -> None:
    notifier = manager.notifier(WATCHDOG_USEC="1000", WATCHDOG_PID="me")
    assert notifier.watchdog_interval_us is None
    assert notifier.fault == "WATCHDOG_PID='me' is no whole number above 0: the watchdog is not fed"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("run/notify", "absolute path"),
        ("vsock:2:1234", "absolute path"),
        ("/", "names no socket"),
        ("@", "names no socket"),
        ("/run/\0notify", "NUL"),
        ("/" + "n" * 107, "107 bytes"),
        ("@" + "é" * 54, "107 bytes"),
    ],
)
def test_an_address_that_cannot_be_is_told_and_nobody_is_spoken_to(address: str, reason: str) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"}, pid=1)
    assert notifier.fault is not None
    assert reason in notifier.fault
    assert notifier.address is None
    assert notifier.watchdog_interval_us is None
    assert notifier.ready() is None


def test_the_longest_address_there_can_be_works(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = str(tmp_path_factory.mktemp("n"))
    longest = Manager(folder + "/" + "n" * (107 - len(folder) - 1))
    assert longest.notifier().ready() is None
    assert longest.heard() == "READY=1"
    longest.sock.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"WATCHDOG_USEC": "1000"}])
def test_without_a_manager_nothing_is_said(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environ, pid=1)
    assert notifier == Notifier()
    assert [notifier.ready(), notifier.status("up"), notifier.watchdog(), notifier.stopping()] == [None] * 4


def test_a_manager_that_is_gone_is_a_reason_and_no_error(tmp_path: Path) -> None:
    notifier = Notifier(address=str(tmp_path / "none"))
    assert notifier.ready() == f"READY=1 not sent to {tmp_path / 'none'}: No such file or directory"
    file = tmp_path / "file"
    file.touch()
    assert Notifier(address=str(file)).watchdog() == f"WATCHDOG=1 not sent to {file}: Connection refused"


def test_a_manager_that_does_not_read_holds_nobody_up(manager: Manager) -> None:
    notifier = manager.notifier()
    refused = next(why for why in (notifier.watchdog() for _ in range(100_000)) if why is not None)
    assert refused == f"WATCHDOG=1 not taken by {manager.address}: the service manager is too busy"
    assert notifier.reloading(1) == f"RELOADING=1 not taken by {manager.address}: the service manager is too busy"
    assert manager.heard() == "WATCHDOG=1"
    assert notifier.ready() is None

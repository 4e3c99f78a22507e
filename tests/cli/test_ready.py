"""`jaga status --ready` asks the daemon itself: yes, no and why, nobody there, somebody else there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monitor.cli.exits import WrongUseError
from monitor.cli.ready import why_not_ready
from tests.probes.asking import nobody_listens


@contextmanager
def answering(answer: bytes, host: str = "127.0.0.1") -> Iterator[tuple[int, list[bytes]]]:
    """A server that gives this one answer to one request; its port, and what was asked."""
    asked: list[bytes] = []
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        listening.settimeout(60)

        def serve() -> None:
            connection, _address = listening.accept()
            with connection:
                asked.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1], asked
        thread.join(60)


@pytest.mark.parametrize(("listens", "asked_at"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")])  # noqa: S104
def test_a_ready_daemon_is_ready_wherever_it_listens(listens: str, asked_at: str) -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n", asked_at) as (port, asked):
        assert why_not_ready((listens, port)) is None
    assert asked[0].startswith(b"GET /-/ready HTTP/1.1\r\n")


def test_the_reason_is_the_daemons_own() -> None:
    body = b"not ready: it is starting: replay\n"
    answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with answering(answer) as (port, _asked):
        assert why_not_ready(("127.0.0.1", port)) == "not ready: it is starting: replay"


def test_an_answer_without_a_reason_is_a_no_too() -> None:
    with answering(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n") as (port, _asked):
        assert why_not_ready(("127.0.0.1", port)) == f"127.0.0.1:{port} answers 500"


def test_somebody_else_there_is_a_no() -> None:
    with answering(b"SSH-2.0-OpenSSH_9.2p1\r\n") as (port, _asked):
        assert why_not_ready(("127.0.0.1", port)) == f"what answers at 127.0.0.1:{port} is no jaga"


def test_nobody_there_is_a_no() -> None:
    with nobody_listens() as port:
        assert why_not_ready(("127.0.0.1", port)) == f"no answer at 127.0.0.1:{port}: Connection refused"


def test_a_port_that_changes_cannot_be_asked() -> None:
    with pytest.raises(WrongUseError, match="port 0"):
        why_not_ready(("127.0.0.1", 0))

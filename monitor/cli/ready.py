"""Whether the daemon of a configuration is ready: what it says itself, at `/-/ready` (`jaga status --ready`)."""

from __future__ import annotations

import http.client
import ipaddress
from http import HTTPStatus

from monitor.cli.exits import WrongUseError

PATIENCE_S = 5.0
ANSWER_BYTES = 4096


def why_not_ready(listen: tuple[str, int]) -> str | None:
    """Why the daemon whose pages are at `web.listen` is not ready; None if it is."""
    host, port = listen
    if port == 0:
        raise WrongUseError("web.listen: port 0 is another one at every start; name one to ask the daemon there")
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/-/ready")
        answer = connection.getresponse()
        text = answer.read(ANSWER_BYTES).decode(errors="replace")
    except OSError as error:
        return f"no answer at {host}:{port}: {error.strerror or error}"
    except http.client.HTTPException:
        return f"what answers at {host}:{port} is no jaga"
    finally:
        connection.close()
    if answer.status == HTTPStatus.OK:
        return None
    return " ".join(text.split()) or f"{host}:{port} answers {answer.status}"


def _reachable(host: str) -> str:
    """Where to ask a daemon that listens on `host`; "any address" is one to listen on, not one to ask."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004 - IPv4

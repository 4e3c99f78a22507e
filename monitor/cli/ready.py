"""Whether the daemon of a configuration is ready: what it says itself, at `/-/ready` (`jaga status --ready`)."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from http import HTTPStatus

from monitor.cli.exits import WrongUseError

PATIENCE_S = 5.0
ANSWER_BYTES = 4096


def why_not_ready(listen: tuple[str, int], *, secured: bool = False) -> str | None:
    """Why the daemon whose pages are at `web.listen` (`secured` by TLS) is not ready; None if it is.

    The certificate is not looked at: it is made for the daemon's name, and nothing secret is asked here.
    """
    host, port = listen
    if port == 0:
        raise WrongUseError("web.listen: port 0 is another one at every start; name one to ask the daemon there")
    connection = _connection(_reachable(host), port, secured=secured)
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


def _connection(host: str, port: int, *, secured: bool) -> http.client.HTTPConnection:
    if not secured:
        return http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=context)


def _reachable(host: str) -> str:
    """Where to ask a daemon that listens on `host`; "any address" is one to listen on, not one to ask."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004 - IPv4

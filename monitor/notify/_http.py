"""How channels speak HTTP: one POST, no redirects, bounded answers, each address judged before the connect.

A receiver is written in the configuration and may be anywhere but at cloud metadata (probes.egress). A redirect is not
followed, as the answer would choose an address then: it is a mistake in the configuration and is told as one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from monitor.core.instant import SECOND_US, from_datetime
from monitor.notify import DELIVERY_TIMEOUT_S, DeliveryError
from probes import egress

MAX_ANSWER_BYTES = 4096
SHOWN_CHARACTERS = 2000
"""More than anybody reads: it is cut where it is made safe, as half a secret is not recognised any more."""
_TRY_AGAIN = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered: its status and the beginning of its body."""

    status: int
    text: str


class _Guarded(AbstractResolver):
    """Names resolved by the system, without the addresses that the egress guard refuses."""

    def __init__(self) -> None:
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        allowed = [address for address in found if egress.refusal(address["host"], public_only=False) is None]
        if not allowed:
            raise DeliveryError(f"{host} leads to addresses that nothing may reach", retryable=False)
        return allowed

    async def close(self) -> None:
        await self._system.close()


async def post(
    url: str, body: bytes, headers: Mapping[str, str], *, method: str = "POST", also_taken: frozenset[int] = frozenset()
) -> Answer:
    """Send a body; its answer where that is 2xx (or one of `also_taken`), DeliveryError otherwise. No more than a URL's
    host is ever named.
    """
    try:
        target = URL(url)
    except ValueError:
        raise DeliveryError("its URL cannot be read", retryable=False) from None
    if target.scheme not in {"http", "https"} or not target.host:
        raise DeliveryError("its URL is no http:// or https:// address", retryable=False)
    _judge_literal(target.host)
    try:
        async with asyncio.timeout(DELIVERY_TIMEOUT_S):
            answer, said = await _exchange(target, body, headers, method)
    except TimeoutError:
        raise DeliveryError(f"{target.host} did not answer in {DELIVERY_TIMEOUT_S:g} s", retryable=True) from None
    except aiohttp.ClientError as error:
        raise DeliveryError(f"{target.host}: {_cause(error)}", retryable=True) from None
    if not 200 <= answer.status < 300 and answer.status not in also_taken:  # noqa: PLR2004 - the statuses of success
        raise _refused(target, answer, said)
    return answer


async def _exchange(
    target: URL, body: bytes, headers: Mapping[str, str], method: str
) -> tuple[Answer, Mapping[str, str]]:
    unlimited = aiohttp.ClientTimeout(total=None)  # the deadline is ours
    connector = aiohttp.TCPConnector(resolver=_Guarded(), force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=unlimited, auto_decompress=False) as session,
        session.request(method, target, data=body, headers=dict(headers), allow_redirects=False) as response,
    ):
        start = await response.content.read(MAX_ANSWER_BYTES)
        return Answer(response.status, start.decode("utf-8", "replace")), response.headers


def _refused(target: URL, answer: Answer, headers: Mapping[str, str]) -> DeliveryError:
    status = answer.status
    if 300 <= status < 400:  # noqa: PLR2004 - redirects
        said = f"{target.host} answered {status}, a redirect, which is not followed: name the address itself"
        return DeliveryError(said, retryable=False)
    again = status >= 500 or status in _TRY_AGAIN  # noqa: PLR2004 - the receiver's own fault
    words = " ".join(answer.text.split())[:SHOWN_CHARACTERS]
    said = f"{target.host} answered {status}" + (f": {words}" if words else "")
    return DeliveryError(said, retryable=again, retry_after_us=_retry_after_us(headers))


def _retry_after_us(headers: Mapping[str, str]) -> int | None:
    """Retry-After as seconds or as a date, which is read against the receiver's own clock (its Date)."""
    written = headers.get("Retry-After", "").strip()
    if written.isdecimal():
        return int(written[:9]) * SECOND_US
    try:
        until, now = parsedate_to_datetime(written), parsedate_to_datetime(headers.get("Date", ""))
        return from_datetime(until) - from_datetime(now)
    except (ValueError, TypeError, AssertionError):
        return None


def _judge_literal(host: str) -> None:
    """An address in the URL itself never passes the resolver."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return
    why = egress.refusal(host, public_only=False)
    if why is not None:
        raise DeliveryError(why, retryable=False)


def _cause(error: Any) -> str:  # noqa: ANN401 - aiohttp's errors carry an OSError or nothing
    inner = getattr(error, "os_error", None)
    words = getattr(inner, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(words).split())[:SHOWN_CHARACTERS]

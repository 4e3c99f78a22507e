"""The listener over a real ledger: two partners, two services, one outage, and a token of each kind."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from monitor.core.instant import HOUR_US, parse_instant
from monitor.core.terms import Agreements, Fee, Subscription, Terms, Tier
from monitor.ledger.evidence import rebuild
from monitor.ledger.interchange import import_
from monitor.ledger.record import Basis
from monitor.storage import opening
from monitor.web.pages import Listening, listen
from monitor.web.public import Handed
from monitor.web.tokens import Scope
from tests.web.desk import LedgerDesk

API_NOW_US = parse_instant("2026-04-15T12:00:00+07:00")
SERVICES = ("portal", "billing")


def _subscription(partner: str, service: str, fee: int) -> Subscription:
    return Subscription(
        partner=partner, service=service, contract="mitra", fee=Fee(currency="IDR", amount=Decimal(fee))
    )


API_AGREEMENTS = Agreements(
    terms=(
        Terms(
            contract="mitra",
            effective_from_us=parse_instant("2026-01-01T00:00:00+07:00"),
            guarantee=Fraction(95),
            objective=None,
            tiers=(Tier(below=Fraction(95), credit=Fraction(10)), Tier(below=Fraction(90), credit=Fraction(25))),
        ),
    ),
    subscriptions=(_subscription("acme", "portal", 12_500_000), _subscription("bumi", "billing", 7_000_001)),
)


def _lines() -> Iterator[dict[str, Any]]:
    yield {"type": "header", "format": "jaga-ledger/1"}
    for service in SERVICES:
        yield {
            "type": "checks",
            "service": service,
            "at": "2026-03-01T00:00:00+07:00",
            "interval_s": 60,
            "timeout_s": 10,
            "stale_after_s": 190,
            "checks": [{"id": "a", "network": "public"}],
        }
    for service in SERVICES:
        for start, end, outcome in (
            ("2026-03-01T00:00:00+07:00", "2026-04-10T00:00:00+07:00", "pass"),
            ("2026-04-10T00:00:00+07:00", "2026-04-12T00:00:00+07:00", "fail"),
            ("2026-04-12T00:00:00+07:00", "2026-04-15T11:00:00+07:00", "pass"),
        ):
            source = {"service": service, "check": "a", "location": "jkt-1"}
            yield {"type": "spans", **source, "from": start, "to": end, "outcome": outcome}


async def _metrics(_accept: str) -> tuple[bytes, str]:
    return b"# none\n", "text/plain"


async def _status() -> Mapping[str, Any]:
    return {"at": "2026-04-15T05:00:00+00:00", "services": []}


@dataclass(slots=True, kw_only=True)
class Api:
    """The listener under test, and the tokens that were made for it."""

    desk: LedgerDesk
    listening: Listening
    http: aiohttp.ClientSession
    not_ready: list[str] = field(default_factory=list)

    async def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        **more: Any,  # noqa: ANN401 - aiohttp's
    ) -> tuple[int, Any]:
        """Status and document (text where it is no JSON)."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        headers |= more.pop("headers", {})
        async with self.http.request(method, path, headers=headers, **more) as answer:
            raw = await answer.read()
            if answer.status >= 400:
                assert answer.content_type == "application/problem+json", raw
                assert json.loads(raw)["status"] == answer.status
            return answer.status, json.loads(raw) if "json" in answer.content_type else raw.decode()


@pytest.fixture
def api_desk(tmp_path: Path) -> Iterator[LedgerDesk]:
    store = opening.open_store("sqlite:///ledger.db", base=tmp_path)
    lines = b"".join(json.dumps(line).encode() + b"\n" for line in _lines())
    import_(store, io.BytesIO(lines), now_us=API_NOW_US - HOUR_US, rebuild=rebuild)
    basis = Basis(agreements=API_AGREEMENTS, zone=ZoneInfo, software="jaga test")
    yield LedgerDesk(store, basis, tmp_path / "ledger.tokens", API_NOW_US)
    store.close()


@pytest.fixture
async def api(api_desk: LedgerDesk) -> AsyncIterator[Api]:
    reasons: list[str] = []
    handed = Handed(
        version="0.1.0",
        not_ready=lambda: reasons[0] if reasons else None,
        metrics=_metrics,
        status=_status,
        checkpoint=lambda: "jaga/test\n1\nroot\n",
    )
    listening = await listen(handed, api_desk, "127.0.0.1", 0)
    async with aiohttp.ClientSession(listening.url, timeout=aiohttp.ClientTimeout(total=60)) as http:
        yield Api(desk=api_desk, listening=listening, http=http, not_ready=reasons)
    await listening.stop()


@pytest.fixture
def admin(api_desk: LedgerDesk) -> str:
    return api_desk.token(Scope.ADMIN, id_="root")

"""A statement with everything a page has to show, in the shape of INTERFACES."""

from __future__ import annotations

from typing import Any


def statement() -> dict[str, Any]:
    return {
        "schema": "jaga-statement/1",
        "statement": "2026-11/acme/portal",
        "version": 1,
        "status": "provisional",
        "partner": {"id": "acme", "name": "Yayasan Acme"},
        "service": {"id": "portal", "name": "Portal and API"},
        "contract": {"id": "mitra", "effective_from": "2026-01-01T00:00:00+07:00"},
        "period": {
            "month": "2026-11",
            "timezone": "Asia/Jakarta",
            "start": "2026-11-01T00:00:00+07:00",
            "end": "2026-12-01T00:00:00+07:00",
            "seconds": "2592000.000000",
        },
        "availability": {"percent": "94.213000", "numerator_us": "2442000960000", "denominator_us": "2592000000000"},
        "worst_case": {"percent": "94.000000"},
        "coverage": {"percent": "99.900000", "unknown_seconds": "60.000000"},
        "downtime": {
            "seconds": "149999.040000",
            "excluded_seconds": "3600.000000",
            "observed_seconds": "153599.040000",
        },
        "excluded": [{"reason": "maintenance", "id": "m-1", "seconds": "3600.000000"}],
        "rejected": [{"id": "m-2", "why": "notice 47:59:59 before start, 48:00:00 needed"}],
        "outages": [
            {
                "start": "2026-11-03T13:05:00+07:00",
                "end": "2026-11-05T06:44:59.040000+07:00",
                "seconds": "149999.040000",
                "counted_seconds": "149999.040000",
                "excluded": [],
                "peak_failing": "3/4",
                "first_failure": "order at jkt-1: http_status in 'order': expected 201, got 500",
            },
            {
                "start": "2026-11-30T23:00:00+07:00",
                "end": None,
                "seconds": "3600.000000",
                "counted_seconds": "0.000000",
                "excluded": [
                    {
                        "reason": "maintenance",
                        "id": "m-1",
                        "start": "2026-11-30T23:00:00+07:00",
                        "end": "2026-12-01T00:00:00+07:00",
                    },
                ],
                "peak_failing": "4/4",
                "first_failure": None,
            },
        ],
        "guarantee": {"percent": "95", "met": False},
        "objective": {"percent": "99.9", "met": False},
        "credit": {"percent": "10", "fee": {"currency": "IDR", "amount": "12500000"}, "amount": "1250000"},
        "claim": {"deadline": "2026-12-31T00:00:00+07:00", "status": "open", "filed_at": None},
        "decisions": [
            {
                "type": "adjudication",
                "id": "j-1",
                "service": "portal",
                "start": "2026-11-10T00:00:00+07:00",
                "end": "2026-11-10T00:01:00+07:00",
                "verdict": "up",
                "at": "2026-11-11T00:00:00+07:00",
                "by": "sari",
                "evidence": "<b>access log</b>",
            },
        ],
        "imported": False,
        "issued_at": None,
        "checkpoint": None,
        "restates": None,
        "incidents": [],
        "method": {
            "rule": "A service is down while more than half of its synthetic transactions fail.",
            "checks": [
                {
                    "at": "2026-10-30T00:00:00+00:00",
                    "interval_s": 60,
                    "timeout_s": 10,
                    "stale_after_s": 190,
                    "checks": [{"id": "login", "network": "public"}, {"id": "order", "network": "public"}],
                },
            ],
            "locations": ["jkt-1"],
            "software": "jaga 0.1.0",
            "holidays": "id",
        },
        "ledger": {"entries": 12, "head": "sha256:" + "ab" * 32},
        "digest": None,
    }

"""Sealing as the daemon does it, without waiting for it."""

from __future__ import annotations

from monitor.ledger.hours import SEALED_MARK, Sealer, cool, due
from monitor.ledger.month import Months
from monitor.ledger.retention import expire
from monitor.storage import Store, Unit


def seal(store: Store, now_us: int) -> int:
    """Seal all that is due; how many hours were sealed."""
    sealed = 0
    while True:
        found = due(store, now_us)
        sealer = Sealer(store)
        for hour_us, services in found.hours:
            unit = sealer.seal(hour_us, services, now_us)
            if unit is not None:
                store.commit(unit)
                sealed += 1
        if found.mark is None:
            return sealed
        store.commit(Unit(recorded_at_us=now_us, marks={SEALED_MARK: dict(found.mark)}))


def cool_all(store: Store, now_us: int) -> None:
    """Let the rows of all old hours go."""
    while (unit := cool(store, now_us)) is not None:
        store.commit(unit)


def expire_all(store: Store, months: Months, retention_us: int) -> list[tuple[str, int]]:
    """Let all runs go that may; of which hours."""
    gone: list[tuple[str, int]] = []
    while (unit := expire(months, retention_us, at_once=500)) is not None:
        store.commit(unit)
        gone += unit.expired
    return gone

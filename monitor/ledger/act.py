"""Deciding and recording in one step, for whoever owns the store: the same code in the daemon and without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from monitor.core.entry import Entry, Head, head_after, seal
from monitor.core.fact import Fact
from monitor.core.run import Origin
from monitor.ledger.command import Command
from monitor.ledger.decide import Decided, Refused, decide
from monitor.ledger.evidence import Evidence
from monitor.ledger.month import Months
from monitor.ledger.record import Basis
from monitor.storage import Committed, Reader, Store, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A command with who gives it, when, and by which zone database. `over_closed` lets it touch closed months."""

    command: Command
    by: str
    now_us: int
    tz_version: str
    over_closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command records, and remarks for whoever gave it."""

    entries: tuple[Entry, ...]
    remarks: tuple[str, ...]


def prepare(store: Reader, basis: Basis, order: Order) -> tuple[Unit | None, Done | Refused]:
    """The unit that carries a decision out (its facts and the derived spans they change), and what to answer.

    None with a refusal. The unit holds only at the head it was prepared for: it names it.
    """
    head = store.head()
    now_us = max(order.now_us, head.recorded_at_us + 1)
    decided = decide(
        Months(store, basis, now_us),
        order.command,
        by=order.by,
        tz_version=order.tz_version,
        over_closed=order.over_closed,
    )
    if not isinstance(decided, Decided):
        return None, decided
    entries = tuple(_sealed(decided.facts, head, now_us))
    unit = Unit(
        recorded_at_us=now_us,
        facts=decided.facts,
        origin=Origin.OWN,
        spans=Evidence(store).apply(Committed(head=head, entries=entries)),
        outbox=decided.outbox,
        expected_head=head,
    )
    return unit, Done(entries=entries, remarks=decided.remarks)


def act(store: Store, basis: Basis, order: Order) -> Done | Refused:
    """Decide and commit, in one transaction; StoreError where the store cannot."""
    unit, outcome = prepare(store, basis, order)
    if unit is not None:
        store.commit(unit)
    return outcome


def _sealed(facts: Sequence[Fact], head: Head, now_us: int) -> Iterator[Entry]:
    """The entries as the store will seal them, so that what follows from them goes into the same unit."""
    for fact in facts:
        entry = seal(fact, head=head, origin=Origin.OWN, now_us=now_us)
        head = head_after(entry)
        yield entry

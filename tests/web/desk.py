"""A desk over a real ledger in the test's own process, at an instant that the test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from monitor.core.run import Run
from monitor.core.terms import Agreements
from monitor.ledger.act import Done, Order, act
from monitor.ledger.command import Command
from monitor.ledger.decide import Refused
from monitor.ledger.month import Months
from monitor.ledger.preview import Effect, effects
from monitor.ledger.record import Basis
from monitor.storage import Store, opening
from monitor.storage.personal import PersonalFiles
from monitor.web.tokens import Scope, Tokens, Wish

T = TypeVar("T")


class LedgerDesk:
    """`monitor.web.desk.Desk` without a daemon: the same code on the store itself."""

    def __init__(self, store: Store, basis: Basis, tokens: Path, now_us: int) -> None:
        self.tokens = Tokens(tokens)
        self.store = store
        self.persons = PersonalFiles(tokens.with_suffix(".personal"))
        self.basis = basis
        self.at_us = now_us
        self.runs: dict[tuple[str, str], Run | None] = {}
        self.reloads = 0
        self.why_not_reloaded: str | None = None

    def now_us(self) -> int:
        return self.at_us

    async def read(self, call: Callable[[Months], T]) -> T:
        return call(Months(self.store, self.basis, self.at_us))

    def _order(self, command: Command, by: str, *, over_closed: bool) -> Order:
        return Order(command=command, by=by, now_us=self.at_us, tz_version="test", over_closed=over_closed)

    async def decide(self, command: Command, *, by: str, over_closed: bool) -> Done | Refused:
        return act(self.store, self.basis, self._order(command, by, over_closed=over_closed))

    async def preview(self, command: Command, *, by: str, over_closed: bool) -> list[Effect] | Refused:
        return effects(self.store, self.basis, self._order(command, by, over_closed=over_closed))

    async def reload(self) -> str | tuple[str, ...]:
        self.reloads += 1
        return self.why_not_reloaded or ("billing",)

    async def keep_person(self, who: Mapping[str, str]) -> str:
        return self.persons.keep("reporter", who)

    async def forget_person(self, reference: str) -> None:
        self.persons.erase(reference)

    def services_of(self, partner: str) -> frozenset[str]:
        return frozenset(service for owner, service in self.basis.agreements.pairs() if owner == partner)

    def latest(self, service: str, check: str) -> Run | None:
        return self.runs[service, check]

    def token(
        self, *scopes: Scope, partner: str | None = None, expires_us: int | None = None, id_: str | None = None
    ) -> str:
        wish = Wish(id=id_, scopes=frozenset(scopes), partner=partner, expires_us=expires_us)
        _token, text = self.tokens.create(wish, by="test", now_us=self.at_us)
        return text


def empty_desk(folder: Path) -> LedgerDesk:
    """Over a ledger without anything in it."""
    store = opening.open_store("sqlite:///desk.db", base=folder)
    basis = Basis(agreements=Agreements(), zone=ZoneInfo, software="jaga test")
    return LedgerDesk(store, basis, folder / "desk.tokens", 1_790_000_000_000_000)

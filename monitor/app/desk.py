"""The daemon as the API sees it: what may be read of the ledger, what may be decided, and who may read what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from monitor.app.adopt import Insistence
from monitor.app.commands import Decides
from monitor.app.process import Reread
from monitor.app.views import Views
from monitor.core.check import default_stale_after_us
from monitor.core.run import Run, SourceKey
from monitor.ledger.act import Done, Order
from monitor.ledger.command import Command
from monitor.ledger.decide import Refused
from monitor.ledger.month import Months
from monitor.ledger.preview import Effect, effects
from monitor.plan import Plan
from monitor.storage.opening import personal_files
from monitor.storage.personal import PersonalFiles
from monitor.web.tokens import Tokens

T = TypeVar("T")


class ApiDesk:
    """`monitor.web.desk.Desk` of a running daemon, over its views."""

    def __init__(
        self,
        views: Views,
        tokens: Tokens,
        *,
        decide: Decides,
        reread: Callable[[Insistence | None], Awaitable[Reread]],
    ) -> None:
        self.tokens = tokens
        self._views = views
        self._decide = decide
        self._reread = reread

    def now_us(self) -> int:
        """The clock's now."""
        return self._views.clock.now_us()

    async def read(self, call: Callable[[Months], T]) -> T:
        """Ask the ledger, all from one committed state."""
        now_us = self.now_us()

        def asked() -> T:
            with self._views.store.snapshot() as frozen:
                return call(self._views.months(now_us, frozen))

        answer: T = await self._views.read(asked)
        return answer

    async def decide(self, command: Command, *, by: str, over_closed: bool) -> Done | Refused:
        """Carry a decision out."""
        return await self._decide(command, by=by, over_closed=over_closed)

    async def preview(self, command: Command, *, by: str, over_closed: bool) -> list[Effect] | Refused:
        """What a decision would do to the months."""
        options = self._views.options
        order = Order(
            command=command,
            by=by,
            now_us=self.now_us(),
            tz_version=options.tz_version,
            over_closed=over_closed,
        )

        def asked() -> list[Effect] | Refused:
            with self._views.store.snapshot() as frozen:
                return effects(frozen, options.basis, order)

        found: list[Effect] | Refused = await self._views.read(asked)
        return found

    async def reload(self) -> str | tuple[str, ...]:
        """Read the configuration again; why the old one holds, or which services keep their list while not UP."""
        done = await self._reread(None)
        return done.kept if done.why is None else done.why

    async def keep_person(self, who: Mapping[str, str]) -> str:
        """Keep who reports, beside the chain."""
        reference: str = await self._views.read(lambda: self._files().keep("reporter", who))
        return reference

    async def forget_person(self, reference: str) -> None:
        """Erase what no entry refers to."""
        await self._views.read(lambda: self._files().erase(reference))

    def _files(self) -> PersonalFiles:
        return personal_files(self._views.options.store, base=self._views.options.base)

    def services_of(self, partner: str) -> frozenset[str]:
        """What a partner subscribes, by the configuration in force."""
        pairs = self._views.options.basis.agreements.pairs()
        return frozenset(service for owner, service in pairs if owner == partner)

    def latest(self, service: str, check: str) -> Run | None:
        """The newest run of a check from here while it holds, None where it is stale; KeyError for no such check."""
        options = self._views.options
        plan = {(plan.service, plan.check): plan for plan in options.plans}[service, check]
        counts = self._views.detector.counts.get(SourceKey(service, check, options.location))
        if counts is None or counts.last is None:
            return None
        return counts.last if self.now_us() < counts.last.start_us + self._stale_after_us(plan) else None

    def _stale_after_us(self, plan: Plan) -> int:
        stated = {entry.service: entry.stale_after_us for entry in self._views.options.lists}
        if plan.sla and plan.service in stated:
            return stated[plan.service]
        return default_stale_after_us(plan.interval_us, plan.timeout_us)

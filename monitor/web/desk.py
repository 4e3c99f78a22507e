"""What the API asks of the daemon, and who may ask for whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Protocol, TypeVar

from aiohttp import web

from monitor.core.run import Run
from monitor.ledger.act import Done
from monitor.ledger.command import Command
from monitor.ledger.decide import Refused
from monitor.ledger.month import Months
from monitor.ledger.preview import Effect
from monitor.web.access import CALLER
from monitor.web.problems import ProblemError
from monitor.web.tokens import Tokens

T = TypeVar("T")


class Desk(Protocol):
    """The daemon, as the API sees it. StoreError where the store cannot."""

    tokens: Tokens

    def now_us(self) -> int:
        """The clock's now."""

    async def read(self, call: Callable[[Months], T]) -> T:
        """Ask the ledger as it stands, off the event loop."""

    async def decide(self, command: Command, *, by: str, over_closed: bool) -> Done | Refused:
        """Carry a decision out; durable when this returns."""

    async def preview(self, command: Command, *, by: str, over_closed: bool) -> list[Effect] | Refused:
        """What a decision would do to the months; nothing is recorded."""

    async def reload(self) -> str | tuple[str, ...]:
        """Read the configuration again; why the old one holds, or which services keep their list while not UP."""

    async def keep_person(self, who: Mapping[str, str]) -> str:
        """Keep who reports, beside the chain; the reference to it."""

    async def forget_person(self, reference: str) -> None:
        """Erase what no entry refers to."""

    def services_of(self, partner: str) -> frozenset[str]:
        """What a partner ever subscribed."""

    def latest(self, service: str, check: str) -> Run | None:
        """The newest run of a check, while it holds (CONTRACT 2.2); KeyError where no such check is configured."""


DESK = web.AppKey("desk", Desk)


def own_partner(request: web.Request, asked: str | None) -> str | None:
    """The partner a request is about: a partner's token is about its own, and may not ask for another."""
    own = request[CALLER].partner
    if own is not None and asked not in {None, own}:
        raise ProblemError(HTTPStatus.FORBIDDEN, f"token {request[CALLER].id} is for {own}, not for {asked}")
    return asked if own is None else own


def refuse_foreign_service(request: web.Request, service: str) -> None:
    """A partner's token sees the services that its partner subscribed."""
    own = request[CALLER].partner
    if own is not None and service not in request.app[DESK].services_of(own):
        raise ProblemError(HTTPStatus.FORBIDDEN, f"token {request[CALLER].id} is for {own}, who has no such service")

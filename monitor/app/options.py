"""From settings to what the daemon's parts are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

from monitor.app.channels import Book
from monitor.config import TZ_VERSION, ChannelSettings, Settings, secret, zone
from monitor.config.holidays import business_clock, describe
from monitor.controls import Control, parse_control
from monitor.core.check import CheckList
from monitor.ledger.record import Basis
from monitor.ledger.retention import RETENTION_US
from monitor.messages.routing import OPERATORS, Manners
from monitor.opening import Opening
from monitor.plan import Plan
from monitor.sealing.checkpoints import Place, place_of
from monitor.web.tls import Web
from monitor.web.tokens import tokens_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One configuration of the daemon.

    `store` is its URL, relative to `base`. `plans` are all checks to run, in the configuration's order; `lists` the SLA
    checks of each service as configured (their `at_us` is set when they are adopted). `basis` holds the configured
    agreements. `secret` looks a reference up at run time.
    """

    store: str
    base: Path
    location: str
    controls: tuple[Control, ...]
    plans: tuple[Plan, ...]
    lists: tuple[CheckList, ...]
    basis: Basis
    listen: tuple[str, int]
    expose_money: bool
    sealing: Place
    tokens: Path
    web: Web = field(default_factory=Web)
    opening: Opening = field(default_factory=Opening)
    manners: Manners = field(default_factory=Manners)
    channels: tuple[ChannelSettings, ...] = ()
    book: Book = field(default_factory=lambda: Book(contacts={OPERATORS: ()}))
    secret: Callable[[str], str] = secret
    tz_version: str = TZ_VERSION
    retention_us: int = RETENTION_US

    @staticmethod
    def of(settings: Settings) -> Options:
        """What the settings say."""
        return Options(
            store=settings.store,
            base=settings.base,
            location=settings.location,
            controls=tuple(parse_control(text) for text in settings.controls),
            plans=settings.plans(),
            lists=settings.check_lists(),
            basis=basis_of(settings),
            listen=settings.listen,
            expose_money=settings.expose_money,
            retention_us=settings.retention_us,
            sealing=place_of(settings.store, base=settings.base, key=settings.signing_key, origin=settings.origin),
            tokens=tokens_path(settings.store, base=settings.base),
            web=settings.web,
            opening=settings.opening,
            manners=settings.manners,
            channels=settings.channels,
            book=Book.of(settings),
        )

    def keeping(self, old: Options, services: frozenset[str]) -> Options:
        """These options, but for `services`, which keep the checks and the list that `old` has for them."""
        if not services:
            return self
        return replace(
            self,
            plans=(
                *(plan for plan in self.plans if plan.service not in services),
                *(plan for plan in old.plans if plan.service in services),
            ),
            lists=(
                *(entry for entry in self.lists if entry.service not in services),
                *(entry for entry in old.lists if entry.service in services),
            ),
        )


def version() -> str:
    """The version of the installed distribution."""
    return metadata.version("jaga")


def basis_of(settings: Settings) -> Basis:
    """What figures need from outside the record."""
    return Basis(
        agreements=settings.agreements(),
        zone=zone,
        software=f"jaga {version()}",
        holidays=describe,
        business=business_clock,
    )

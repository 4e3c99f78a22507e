"""A configuration that was accepted: frozen values, and what the daemon and the figures take from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from monitor.config.models import CHANNEL_KINDS, ChannelModel, Contact, Provider
from monitor.core.check import Check, CheckList, Network, default_stale_after_us
from monitor.core.instant import DAY_US
from monitor.core.terms import Agreements, Subscription, Terms
from monitor.messages.routing import Manners
from monitor.opening import Opening
from monitor.plan import Plan
from monitor.web.tls import Web
from probes.secret import lookup
from probes.transaction import Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """A check: its transaction (secrets as references), and how it is run. Durations in microseconds."""

    id: str
    transaction: Spec = field(repr=False)  # may hold literal credentials
    name: str
    network: Network
    sla: bool
    attempts: int
    timeout_us: int
    interval_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """A service and its checks, in the order of the file."""

    id: str
    name: str
    interval_us: int
    timeout_us: int
    stale_after_us: int
    checks: tuple[CheckSettings, ...]

    def check_list(self, at_us: int = 0) -> CheckList:
        """The list of its SLA checks, as a fact from `at_us` on."""
        return CheckList(
            service=self.id,
            at_us=at_us,
            interval_us=self.interval_us,
            timeout_us=self.timeout_us,
            stale_after_us=self.stale_after_us,
            checks=tuple(Check(id=c.id, network=c.network, attempts=c.attempts) for c in self.checks if c.sla),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """A channel: its kind with the settings of it, and its routing. `fault` says what of it cannot be used; the daemon
    starts all the same, and the channel fails until the file is put right.
    """

    id: str
    model: ChannelModel = field(repr=False)  # may hold literal credentials
    fault: str | None = None

    @property
    def kind(self) -> str | None:
        """Which of the kinds it is; None where it says none."""
        return next((kind for kind in CHANNEL_KINDS if getattr(self.model, kind) is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. `base` is the folder of its file, which relative paths start from."""

    base: Path
    store: str = field(repr=False)  # may hold a password
    retention_us: int = 400 * DAY_US
    location: str
    controls: tuple[str, ...]
    listen: tuple[str, int]
    expose_money: bool
    terms: tuple[Terms, ...]
    services: tuple[ServiceSettings, ...]
    subscriptions: tuple[Subscription, ...]
    partner_names: tuple[tuple[str, str], ...]
    opening: Opening = field(default_factory=Opening)
    manners: Manners = field(default_factory=Manners)
    channels: tuple[ChannelSettings, ...] = ()
    provider: Provider = field(default_factory=Provider, repr=False)  # personal data
    contacts: tuple[tuple[str, tuple[Contact, ...]], ...] = field(default=(), repr=False)  # as above, by partner
    signing_key: str | None = None
    origin: str | None = None
    web_file: str | None = None
    web: Web = field(default_factory=Web, repr=False)
    store_as_written: str | None = field(default=None, repr=False)  # with its references, for showing

    def agreements(self) -> Agreements:
        """Who owes what to whom, as configured."""
        return Agreements(
            terms=self.terms,
            subscriptions=self.subscriptions,
            service_names=tuple((service.id, service.name) for service in self.services),
            partner_names=self.partner_names,
        )

    def check_lists(self, at_us: int = 0) -> tuple[CheckList, ...]:
        """The SLA checks of every service, as facts from `at_us` on."""
        return tuple(service.check_list(at_us) for service in self.services)

    def plans(self) -> tuple[Plan, ...]:
        """All checks as they are run, in the order of the file."""
        return tuple(
            Plan(
                service=service.id,
                check=check.id,
                transaction=check.transaction,
                interval_us=check.interval_us,
                timeout_us=check.timeout_us,
                attempts=check.attempts,
                sla=check.sla,
            )
            for service in self.services
            for check in service.checks
        )


def secret(reference: str, environment: Mapping[str, str] = os.environ) -> str:
    """The value of a reference (`NAME`, `file:/path`) at run time; probes.secret.SecretError where there is none."""
    return lookup(reference, environment)


def stale_after_us(stated_us: int | None, interval_us: int, timeout_us: int) -> int:
    """The stated staleness, or the contract's default (CONTRACT 2.2)."""
    return default_stale_after_us(interval_us, timeout_us) if stated_us is None else stated_us

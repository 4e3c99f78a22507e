"""A ledger kept as the daemon keeps it: runs committed with the spans they change, decisions through the one door."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

from monitor.core.calendar import Month
from monitor.core.check import Check, CheckList
from monitor.core.fact import (
    ChecksAdopted,
    Claim,
    Exclusion,
    ExclusionReason,
    Fact,
    Maintenance,
    Notice,
    Reversal,
)
from monitor.core.instant import DAY_US, HOUR_US, SECOND_US
from monitor.core.run import Outcome, Run
from monitor.core.terms import Agreements, Subscription
from monitor.ledger.act import Done, Order, act
from monitor.ledger.command import CloseMonth, Command
from monitor.ledger.decide import Refused
from monitor.ledger.evidence import Evidence
from monitor.ledger.month import Months, Statement
from monitor.ledger.record import Basis
from monitor.storage import Store, Unit
from monitor.storage.opening import open_store
from tests.core.examples import at, rupiah, subscription, terms
from tests.ledger.sealing import cool_all, seal

APRIL = Month(2026, 4)
START, END = at("2026-04-01T00:00:00"), at("2026-05-01T00:00:00")
CLOSING = END + 4 * DAY_US
AGREEMENTS = Agreements(
    terms=(terms(),),
    subscriptions=(subscription(),),
    service_names=(("portal", "Portal and API"),),
    partner_names=(("acme", "Yayasan Acme"),),
)
LONG = HOUR_US  # one run an hour: a month of evidence is 720 runs


class Keeper:
    """Owns a store; `now_us` is the clock."""

    def __init__(self, store: Store, agreements: Agreements = AGREEMENTS) -> None:
        self.store = store
        self.now_us = START - 2 * DAY_US
        self.basis = Basis(agreements=agreements, zone=ZoneInfo, software="jaga test")

    def put(self, *, runs: Sequence[Run] = (), facts: Sequence[Fact] = ()) -> None:
        """Commit, then the derived spans."""
        evidence = Evidence(self.store)
        committed = self.store.commit(Unit(recorded_at_us=self.now_us, runs=runs, facts=facts))
        self.store.commit(Unit(recorded_at_us=self.now_us, spans=evidence.apply(committed)))

    def adopt(self, *checks: str, at_us: int = START - 2 * DAY_US) -> None:
        """The check list from an instant on, stale after two hours."""
        adopted = CheckList(
            service="portal",
            at_us=at_us,
            interval_us=LONG,
            timeout_us=10 * SECOND_US,
            stale_after_us=2 * LONG,
            checks=tuple(Check(id=name) for name in checks or ("login",)),
        )
        self.put(facts=[ChecksAdopted(list=adopted)])

    def watch(self, start_us: int, end_us: int, outcome: str = "pass", location: str = "jkt-1") -> None:
        """Hourly runs of login."""
        self.put(runs=[run(stamp, outcome, location) for stamp in range(start_us, end_us, LONG)])

    def months(self) -> Months:
        """The months as the ledger stands."""
        return Months(self.store, self.basis, self.now_us)

    def statement(self, version: int | None = None, month: Month = APRIL) -> Statement:
        """Acme's statement of a month."""
        (found,) = self.months().statements(month, "acme", "portal", version)
        return found

    def give(self, command: Command, *, by: str = "sari", over_closed: bool = False) -> Done | Refused:
        """A command through the door."""
        self.now_us += 1
        return act(
            self.store,
            self.basis,
            Order(command=command, by=by, now_us=self.now_us, tz_version="2026a", over_closed=over_closed),
        )

    def given(self, command: Command, *, over_closed: bool = False) -> tuple[Fact, ...]:
        """The facts of a command that must be followed."""
        done = self.give(command, over_closed=over_closed)
        assert isinstance(done, Done), done
        return tuple(entry.fact for entry in done.entries)

    def refused(self, command: Command, *, by: str = "sari") -> str:
        """Why a command is not followed; the ledger must be as it was."""
        before = self.store.head()
        refusal = self.give(command, by=by)
        assert isinstance(refusal, Refused), refusal
        assert self.store.head() == before
        return refusal.reason


def run(start_us: int, outcome: str = "pass", location: str = "jkt-1", check: str = "login") -> Run:
    return Run(
        service="portal",
        check=check,
        location=location,
        start_us=start_us,
        outcome=Outcome(outcome),
        reason="timeout" if outcome == "fail" else None,
        message=f"no answer at {start_us}" if outcome == "fail" else None,
    )


@contextmanager
def kept(folder: Path, agreements: Agreements = AGREEMENTS) -> Iterator[Keeper]:
    """An empty ledger in a folder."""
    store = open_store("sqlite:///ledger.db", base=folder)
    try:
        yield Keeper(store, agreements)
    finally:
        store.close()


def watched_april(keeper: Keeper, down: Iterable[tuple[int, int]] = ()) -> None:
    """April from two days before to a day after it, hourly, failing in the given hours of the month."""
    keeper.adopt()
    failing = {START + hour * HOUR_US for first, last in down for hour in range(first, last)}
    stamps = range(START - DAY_US, END + DAY_US, LONG)
    keeper.put(runs=[run(stamp, "fail" if stamp in failing else "pass") for stamp in stamps])
    keeper.now_us = CLOSING


BOTH = Agreements(
    terms=(terms(),),
    subscriptions=(
        *AGREEMENTS.subscriptions,
        Subscription(partner="zeta", service="mail", contract="mitra", fee=rupiah(99)),
        Subscription(partner="zeta", service="portal", contract="mitra", fee=rupiah(77)),
    ),
    service_names=(("portal", "Portal"), ("mail", "Mail")),
    partner_names=(("acme", "Yayasan Acme"), ("zeta", "Zeta and Sons")),
)


def _exclusion(name: str, partners: tuple[str, ...] | None, services: tuple[str, ...] = ("portal",)) -> Exclusion:
    return Exclusion(
        id=name,
        reason=ExclusionReason.THIRD_PARTY,
        services=services,
        partners=partners,
        start_us=START + 100 * HOUR_US,
        end_us=START + 101 * HOUR_US,
        at_us=START + 200 * HOUR_US,
    )


@contextmanager
def two_partners(folder: Path, before_close: Callable[[Keeper], object] = lambda _keeper: None) -> Iterator[Keeper]:
    """April for two partners and two services, sealed, closed, with decisions for one, the other and both."""
    with kept(folder, BOTH) as keeper:
        watched_april(keeper, [(100, 115), (300, 302)])
        mail = CheckList(
            service="mail",
            at_us=START - DAY_US,
            interval_us=HOUR_US,
            timeout_us=10 * SECOND_US,
            stale_after_us=2 * HOUR_US,
            checks=(Check(id="smtp"),),
        )
        hidden = [run(at, "fail", check="smtp") for at in range(START, END, 6 * HOUR_US)]
        other = Maintenance(id="m-zeta", services=("mail",), start_us=START, end_us=END, at_us=START)
        keeper.put(
            facts=[
                ChecksAdopted(list=mail),
                other,
                Notice(maintenance="m-zeta", partner="zeta", at_us=START, channel="email"),
                _exclusion("x-both", None),
                _exclusion("x-acme", ("acme",)),
                _exclusion("x-zeta", ("zeta",)),
                Reversal(of="x-zeta", at_us=END),
                Claim(partner="zeta", service="portal", month="2026-03", at_us=END),
            ],
            runs=[replace(one, service="mail") for one in hidden],
        )
        seal(keeper.store, CLOSING)
        cool_all(keeper.store, CLOSING)
        before_close(keeper)
        for partner, service in (("acme", "portal"), ("zeta", "portal")):
            keeper.given(CloseMonth(partner=partner, service=service, month=str(APRIL)))
        yield keeper

"""What of a configuration becomes fact, and what is refused because it would act backwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from monitor.app.adopt import AdoptionError, adoptions
from monitor.config import zone
from monitor.core.check import Check, CheckList
from monitor.core.fact import ChecksAdopted, Fact, Retired, Subscribed, TermsAdopted
from monitor.core.instant import parse_instant
from monitor.core.terms import Agreements, Fee, Subscription, Terms, Tier
from monitor.ledger.record import Basis

NOW = parse_instant("2026-04-10T12:00:00+07:00")
MAY = parse_instant("2026-05-01T00:00:00+07:00")
TERMS = Terms(
    contract="mitra",
    effective_from_us=parse_instant("2026-01-01T00:00:00+07:00"),
    tiers=(Tier(below=Fraction(95), credit=Fraction(10)),),
)
ACME = Subscription(
    partner="acme", service="portal", contract="mitra", fee=Fee(currency="IDR", amount=Decimal(12_500_000))
)
PORTAL = CheckList(
    service="portal",
    at_us=0,
    interval_us=60_000_000,
    timeout_us=10_000_000,
    stale_after_us=190_000_000,
    checks=(Check(id="login", attempts=2), Check(id="order", attempts=2)),
)


def adopt(
    recorded: Sequence[Fact] = (),
    *,
    terms: tuple[Terms, ...] = (TERMS,),
    subscriptions: tuple[Subscription, ...] = (ACME,),
    lists: tuple[CheckList, ...] = (PORTAL,),
) -> list[Fact]:
    basis = Basis(agreements=Agreements(terms=terms, subscriptions=subscriptions), zone=zone, software="test")
    return adoptions(recorded, basis, lists, NOW)


FIRST = adopt()


def test_the_first_adoption_takes_in_what_has_always_held() -> None:
    terms, subscription, checks = FIRST
    assert isinstance(terms, TermsAdopted)
    assert terms.effective_from_us == TERMS.effective_from_us
    assert isinstance(subscription, Subscribed)
    assert (subscription.fee, subscription.from_us) == (ACME.fee, None)
    assert checks == ChecksAdopted(list=replace(PORTAL, at_us=NOW))


def test_the_same_again_is_no_fact() -> None:
    assert adopt(FIRST) == []


def test_a_changed_list_holds_from_now_and_what_left_it_is_retired() -> None:
    login = replace(PORTAL, checks=PORTAL.checks[:1])
    assert adopt(FIRST, lists=(login,)) == [
        ChecksAdopted(list=replace(login, at_us=NOW)),
        Retired(service="portal", check="order", at_us=NOW),
    ]
    slower = replace(PORTAL, interval_us=120_000_000)
    assert adopt(FIRST, lists=(slower,)) == [ChecksAdopted(list=replace(slower, at_us=NOW))]


def test_a_service_that_left_the_configuration_is_retired_once() -> None:
    gone = adopt(FIRST, lists=())
    assert gone == [
        ChecksAdopted(list=replace(PORTAL, at_us=NOW, checks=())),
        Retired(service="portal", at_us=NOW),
    ]
    assert adopt([*FIRST, *gone], lists=()) == []
    assert adopt([*FIRST, *gone]) == [ChecksAdopted(list=replace(PORTAL, at_us=NOW))], "and may come back"


def test_terms_that_hold_cannot_be_changed_backwards() -> None:
    stricter = replace(TERMS, guarantee=Fraction(96), tiers=(Tier(below=Fraction(96), credit=Fraction(10)),))
    dearer = replace(ACME, fee=Fee(currency="IDR", amount=Decimal(99)))
    with pytest.raises(AdoptionError) as refused:
        adopt(FIRST, terms=(stricter,), subscriptions=(dearer,))
    assert len(refused.value.problems) == 2
    assert all("2026-04-30T17:00:00+00:00 or later" in problem for problem in refused.value.problems)
    earlier = replace(TERMS, effective_from_us=NOW)
    with pytest.raises(AdoptionError, match="the month has begun"):
        adopt(FIRST, terms=(TERMS, earlier))


def test_new_versions_may_begin_with_the_next_month() -> None:
    later = replace(TERMS, effective_from_us=MAY, guarantee=Fraction(95))
    dearer = replace(ACME, fee=Fee(currency="IDR", amount=Decimal(99)), from_us=MAY)
    found = adopt(FIRST, terms=(TERMS, later), subscriptions=(ACME, dearer))
    assert [type(fact) for fact in found] == [TermsAdopted, Subscribed]
    with pytest.raises(AdoptionError):
        adopt(FIRST, terms=(TERMS, replace(later, effective_from_us=MAY - 1)))


def test_a_new_partner_is_a_first_adoption_of_its_own() -> None:
    other = replace(ACME, partner="beta")
    (found,) = adopt(FIRST, subscriptions=(ACME, other))
    assert isinstance(found, Subscribed)
    assert found.partner == "beta"

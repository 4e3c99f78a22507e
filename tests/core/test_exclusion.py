"""Which time is excluded for whom, notice to the microsecond, and what is rejected with its reason (CONTRACT 2.5)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from monitor.core import fact as facts
from monitor.core.entry import Entry, Head, head_after, seal
from monitor.core.exclusion import Book, Excluded, Rejected, excluded_for
from monitor.core.fact import ExclusionReason, Fact, Ruling
from monitor.core.instant import HOUR_US, SECOND_US
from monitor.core.run import Origin, SourceKey
from monitor.core.span import Span
from tests.core.examples import at

NEEDED = 48 * HOUR_US
START, END = at("2026-04-10T23:00:00"), at("2026-04-11T01:00:00")
DEADLINE = START - NEEDED
LATE = START + 100 * HOUR_US


def sealed(*said: tuple[Fact, int] | Fact, origin: Origin = Origin.OWN) -> list[Entry]:
    """Facts as entries; with an instant, recorded at it."""
    head, found = Head(), []
    for item in said:
        fact, now_us = item if isinstance(item, tuple) else (item, head.recorded_at_us)
        entry = seal(fact, head=head, origin=origin, now_us=now_us)
        found.append(entry)
        head = head_after(entry)
    return found


def window(name: str = "m-1", *, start: int = START, end: int = END, **more: object) -> facts.Maintenance:
    values: dict[str, object] = {"id": name, "services": ("portal",), "start_us": start, "end_us": end, "at_us": 0}
    return facts.Maintenance(**{**values, **more})  # type: ignore[arg-type]


def notice(at_us: int, partner: str = "acme", maintenance: str = "m-1", evidence: str | None = None) -> facts.Notice:
    return facts.Notice(maintenance=maintenance, partner=partner, at_us=at_us, channel="email", evidence=evidence)


def exclusion(name: str = "x-1", start: int = START, end: int = END, **more: object) -> facts.Exclusion:
    values: dict[str, object] = {
        "id": name,
        "reason": ExclusionReason.THIRD_PARTY,
        "services": ("portal",),
        "start_us": start,
        "end_us": end,
        "at_us": 0,
    }
    return facts.Exclusion(**{**values, **more})  # type: ignore[arg-type]


def judged(
    entries: Iterable[Entry], partner: str = "acme", service: str = "portal"
) -> tuple[list[tuple[str, Span]], dict[str, str]]:
    excluded, rejected = excluded_for(Book.of(entries), partner, service, NEEDED)
    return [(entry.id, entry.span) for entry in excluded], {entry.id: entry.why for entry in rejected}


# Notice.


@pytest.mark.parametrize(
    ("notice_us", "why"),
    [
        (DEADLINE - 1, None),
        (DEADLINE, None),  # exactly 48 h qualifies
        (DEADLINE + 1, "notice 47:59:59.999999 before start, 48:00:00 needed"),
        (DEADLINE + SECOND_US, "notice 47:59:59 before start, 48:00:00 needed"),
        (START, "notice 00:00:00 before start, 48:00:00 needed"),
        (START + SECOND_US, "notice 00:00:01 after start, 48:00:00 needed"),
    ],
)
def test_notice_to_the_microsecond(notice_us: int, why: str | None) -> None:
    told = sealed(window(), (notice(notice_us), notice_us))
    excluded, rejected = judged(told)
    assert rejected == ({} if why is None else {"m-1": why})
    assert excluded == ([("m-1", Span(START, END))] if why is None else [])


def test_announcing_alone_is_no_notice() -> None:
    assert judged(sealed(window(at_us=DEADLINE - HOUR_US)))[1] == {
        "m-1": "no notice to acme on record, 48:00:00 before start needed"
    }


def test_an_imported_window_without_notices_takes_its_own_instant() -> None:
    assert judged(sealed(window(at_us=DEADLINE), origin=Origin.IMPORTED))[1] == {}
    assert "m-1" in judged(sealed(window(at_us=DEADLINE + 1), origin=Origin.IMPORTED))[1]


def test_an_imported_window_with_any_notice_has_only_its_notices() -> None:
    told = sealed(window(at_us=DEADLINE), notice(DEADLINE, "beta"), origin=Origin.IMPORTED)
    assert judged(told, "beta")[1] == {}
    assert judged(told, "acme")[1] == {"m-1": "no notice to acme on record, 48:00:00 before start needed"}


def test_the_earliest_notice_counts() -> None:
    for order in ((DEADLINE, LATE), (LATE, DEADLINE)):
        told = sealed(window(), *(notice(given) for given in order), origin=Origin.IMPORTED)
        assert judged(told)[1] == {}


def test_a_message_cannot_be_dated_back() -> None:
    told = sealed(window(), (notice(DEADLINE), DEADLINE + 1))
    assert "47:59:59.999999" in judged(told)[1]["m-1"]


def test_a_stated_instant_counts_with_its_evidence() -> None:
    assert judged(sealed(window(), (notice(DEADLINE, evidence="registered letter 17"), LATE)))[1] == {}


def test_an_own_notice_from_the_future_counts_from_then() -> None:
    assert "m-1" in judged(sealed(window(), (notice(DEADLINE + 1), DEADLINE - HOUR_US)))[1]


def test_another_partner_s_notice_is_not_mine() -> None:
    told = sealed(window(), (notice(DEADLINE, "beta"), DEADLINE))
    assert judged(told, "acme")[0] == []
    assert judged(told, "beta")[0] == [("m-1", Span(START, END))]


# Windows: who, and what was said of them later.


def test_a_window_for_other_partners_or_services_is_not_even_rejected() -> None:
    told = sealed(window(partners=("beta",)), (notice(DEADLINE, "beta"), DEADLINE))
    assert judged(told, "acme") == ([], {})
    assert judged(sealed(window(services=("mail",)))) == ([], {})


def test_an_extension_is_judged_as_a_whole_by_its_own_notice() -> None:
    more = window("m-2", start=END, end=END + HOUR_US, extends="m-1")
    told = sealed(
        window(),
        more,
        (notice(DEADLINE), DEADLINE),
        (notice(DEADLINE + HOUR_US, maintenance="m-2"), DEADLINE + HOUR_US),
    )
    assert judged(told)[0] == [("m-1", Span(START, END)), ("m-2", Span(END, END + HOUR_US))]
    late = sealed(window(), more, (notice(DEADLINE), DEADLINE), (notice(START, maintenance="m-2"), START))
    assert judged(late)[0] == [("m-1", Span(START, END))]
    assert judged(late)[1] == {"m-2": "notice 02:00:00 before start, 48:00:00 needed"}


def finished(at_us: int, of: str = "m-1") -> facts.MaintenanceFinished:
    return facts.MaintenanceFinished(maintenance=of, at_us=at_us)


def cancelled(at_us: int, of: str = "m-1") -> facts.MaintenanceCancelled:
    return facts.MaintenanceCancelled(maintenance=of, at_us=at_us)


@pytest.mark.parametrize(
    ("said", "span"),
    [
        ((finished(START + HOUR_US),), Span(START, START + HOUR_US)),
        ((finished(END + HOUR_US),), Span(START, END)),  # an overrun counts
        ((finished(START - HOUR_US),), Span(START, START)),
        ((finished(START + 20), finished(START + 10)), Span(START, START + 10)),  # nothing after the actual end
        ((cancelled(START + 10),), Span(START, START + 10)),  # after the start it can only be finished
        ((cancelled(START),), Span(START, START)),
        ((cancelled(START + 10), finished(START + 20)), Span(START, START + 10)),
    ],
)
def test_what_a_finish_or_a_late_cancel_leaves(said: tuple[Fact, ...], span: Span) -> None:
    told = sealed(window(), (notice(DEADLINE), DEADLINE), *((fact, LATE) for fact in said))
    assert judged(told) == ([("m-1", span)], {})


def test_cancelled_before_its_start_nothing_is_excluded() -> None:
    told = sealed(window(), (notice(DEADLINE), DEADLINE), (cancelled(START - 1), LATE))
    assert judged(told) == ([], {"m-1": "cancelled at 2026-04-10T15:59:59.999999+00:00, before its start"})


def test_a_window_that_ends_before_it_starts_does_not_qualify() -> None:
    assert judged(sealed(window(end=START, at_us=DEADLINE), origin=Origin.IMPORTED))[1] == {
        "m-1": "it ends before it starts"
    }


def test_an_import_may_speak_of_a_window_before_announcing_it() -> None:
    told = sealed(finished(START + 5), notice(DEADLINE), window(), window(end=END + 9), origin=Origin.IMPORTED)
    assert judged(told) == ([("m-1", Span(START, START + 5))], {})


# Other exclusions.


def test_an_exclusion_covers_all_partners_or_those_named() -> None:
    told = sealed(exclusion("x-1"), exclusion("x-2", partners=("beta",)), exclusion("x-3", services=("mail",)))
    assert [name for name, _span in judged(told, "acme")[0]] == ["x-1"]
    assert [name for name, _span in judged(told, "beta")[0]] == ["x-1", "x-2"]
    assert [name for name, _span in judged(told, "beta", "mail")[0]] == ["x-3"]


def test_a_reversed_exclusion_stays_visible_and_excludes_nothing() -> None:
    reversal = facts.Reversal(of="x-1", at_us=at("2026-05-02T09:00:00"), note="the cloud was up")
    told = sealed(exclusion(), reversal)
    assert judged(told) == ([], {"x-1": "reversed at 2026-05-02T02:00:00+00:00: the cloud was up"})
    plain = sealed(exclusion(), facts.Reversal(of="x-1", at_us=0))
    assert judged(plain)[1] == {"x-1": "reversed at 1970-01-01T00:00:00+00:00"}


def test_maintenance_is_not_excluded_by_a_decision_afterwards() -> None:
    excluded, rejected = judged(sealed(exclusion(reason=ExclusionReason.MAINTENANCE)))
    assert excluded == []
    assert "announced window" in rejected["x-1"]


def test_the_earliest_recorded_comes_first_then_by_id() -> None:
    imported = sealed(
        exclusion("x-b", at_us=5),
        exclusion("x-c", at_us=1),
        exclusion("x-a", at_us=5),
        window("m-1", at_us=DEADLINE),
        origin=Origin.IMPORTED,
    )
    assert [name for name, _span in judged(imported)[0]] == ["x-c", "x-a", "x-b", "m-1"]
    own = sealed((exclusion("x-b", at_us=9), 10), (exclusion("x-a", at_us=1), 20))
    assert [name for name, _span in judged(own)[0]] == ["x-b", "x-a"]


def test_exclusions_come_with_their_reason() -> None:
    excluded, rejected = excluded_for(
        Book.of(sealed((exclusion(reason=ExclusionReason.ATTACK), 7))), "acme", "portal", NEEDED
    )
    assert excluded == (Excluded(7, "x-1", ExclusionReason.ATTACK, Span(START, END)),)
    assert rejected == ()
    assert Rejected("a", "b", Span(0, 1)).why == "b"


# The book.


def annulment(name: str) -> facts.Annulment:
    return facts.Annulment(id=name, service="portal", check="web", location="jkt-1", start_us=1, end_us=2, at_us=0)


def adjudication(name: str, service: str = "portal") -> facts.Adjudication:
    return facts.Adjudication(id=name, service=service, start_us=1, end_us=2, verdict=Ruling.UP, at_us=0)


def test_annulments_and_rulings_stand_until_reversed() -> None:
    source = SourceKey("portal", "web", "jkt-1")
    book = Book.of(sealed(annulment("a-1"), annulment("a-2"), adjudication("j-1"), adjudication("j-2", "mail")))
    assert book.annulled(source) == (Span(1, 2), Span(1, 2))
    assert book.annulled(source._replace(check="api")) == ()
    assert Book().annulled(source) == ()
    assert [ruling.fact.id for ruling in book.rulings("portal")] == ["j-1"]
    back: list[Fact] = [
        annulment("a-1"),
        adjudication("j-1"),
        *(facts.Reversal(of=of, at_us=0) for of in ("a-1", "j-1")),
    ]
    assert Book.of(sealed(*back)).annulled(source) == ()
    assert Book.of(sealed(*back)).rulings("portal") == ()


def test_a_decision_is_found_by_its_id() -> None:
    book = Book.of(sealed(exclusion(), annulment("a-1"), adjudication("j-1"), window()))
    for name in ("x-1", "a-1", "j-1"):
        found = book.decision(name)
        assert found is not None
        assert found.id == name
    assert book.decision("m-1") is None  # a window is cancelled or finished


def test_the_first_of_an_id_stands() -> None:
    book = Book.of(sealed(exclusion(end=END), exclusion(end=END + 1)))
    assert book.exclusions["x-1"].fact.end_us == END


def test_imports_count_only_while_the_ledger_has_nothing_of_its_own() -> None:
    first = seal(exclusion("x-1"), head=Head(), origin=Origin.IMPORTED, now_us=5)
    own = seal(exclusion("x-2"), head=head_after(first), origin=Origin.AGENT, now_us=6)
    late = seal(exclusion("x-3"), head=head_after(own), origin=Origin.IMPORTED, now_us=7)
    book = Book.of([first, own, late])
    assert [name for name, _span in judged([first, own, late])[0]] == ["x-1", "x-2"]
    assert book.imported
    assert book.first_own_seq == 2
    assert not Book.of([own]).imported


def test_other_facts_pass_by() -> None:
    claim = facts.Claim(partner="acme", service="portal", month="2026-04", at_us=0)
    applied = facts.CreditApplied(partner="acme", service="portal", month="2026-04", invoice="INV-7", at_us=0)
    book = Book.of(sealed(claim, applied, facts.ClockStep(at_us=0, delta_us=1)))
    assert [recorded.fact for recorded in book.claims] == [claim]
    assert [recorded.fact for recorded in book.applied] == [applied]
    assert book.exclusions == {}

"""Random little worlds of one service for the oracle, and the same worlds as the facts and runs that the core reads."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from monitor.core import fact as facts
from monitor.core.availability import Account, account
from monitor.core.check import Check, CheckList, Network
from monitor.core.entry import Entry, Head, head_after, seal
from monitor.core.evidence import outcome_spans
from monitor.core.exclusion import Book, excluded_for
from monitor.core.fact import ExclusionReason, Fact, Ruling
from monitor.core.instant import SECOND_US
from monitor.core.run import Origin, Outcome, OutcomeSpan, Run, SourceKey, StatedSpan
from monitor.core.span import Span
from monitor.core.verdict import VerdictSpan, judge
from tests.core import oracle

SERVICE = "portal"
PARTNERS = ("acme", "beta")
CHECKS = ("a", "b", "c")
LOCATIONS = ("x", "y", "z")
HORIZON = 24
NOTICE = 5
LATE = 10**6  # where own facts are recorded: after all that they speak of

_second = st.integers(0, HORIZON)
_outcome = st.sampled_from(["pass", "pass", "fail", "fail", "fail", "inconclusive"])
_partners = st.sampled_from([None, None, ("acme",), ("beta",), ("acme", "beta")])


def _spans(shortest: int = 1) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(_second, st.integers(shortest, HORIZON)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@st.composite
def _lists(draw: st.DrawFn) -> tuple[oracle.Listing, ...]:
    starts = draw(st.lists(st.integers(0, HORIZON), max_size=2, unique=True))
    starts = [draw(st.sampled_from([0, 0, 0, 3])), *starts]
    found = []
    for at in dict.fromkeys(starts):
        ids = draw(st.lists(st.sampled_from(CHECKS), max_size=3, unique=True) if at else st.permutations(CHECKS))
        publics = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
        found.append(oracle.Listing(at, draw(st.integers(1, 12)), tuple(zip(ids, publics, strict=True))))
    return tuple(found)


@st.composite
def _windows(draw: st.DrawFn, own: bool) -> tuple[oracle.Window, ...]:
    found = []
    for number in range(draw(st.integers(0, 3))):
        start, end = draw(_spans(-2))
        notices = draw(st.lists(st.tuples(st.sampled_from(PARTNERS), st.integers(-8, HORIZON)), max_size=3))
        found.append(
            oracle.Window(
                id=f"m-{number}",
                start=start,
                end=end,
                announced=LATE + 10 * number if own else draw(st.integers(-9, 9)),
                imported=not own,
                partners=draw(_partners),
                notices=tuple(notices),
                finished=draw(st.none() | _second),
                cancelled=draw(st.none() | st.none() | _second),
            ),
        )
    return tuple(found)


@st.composite
def _exclusions(draw: st.DrawFn, own: bool) -> tuple[oracle.Exclusion, ...]:
    found = []
    for number in range(draw(st.integers(0, 3))):
        start, end = draw(_spans())
        recorded = LATE + 10 * number + 5 if own else draw(st.integers(-9, 9))
        reason = draw(st.sampled_from(["third_party", "attack", "force_majeure", "maintenance"]))
        found.append(oracle.Exclusion(f"x-{number}", start, end, recorded, reason, draw(_partners)))
    return tuple(found)


@st.composite
def worlds(draw: st.DrawFn) -> oracle.World:
    """A world of up to three checks from up to three places over `HORIZON` seconds, with every kind of decision."""
    own = draw(st.booleans())
    place = st.tuples(st.sampled_from(CHECKS), st.sampled_from(LOCATIONS))
    runs = draw(st.lists(st.tuples(place, _second, _outcome, st.sampled_from([0, 0, 0, 1])), max_size=30))
    stated = draw(st.lists(st.tuples(place, _spans(), _outcome), max_size=3))
    annulled = draw(st.lists(st.tuples(place, _spans()), max_size=2))
    rulings = draw(st.lists(st.tuples(_spans(), st.sampled_from(["up", "down", "unknown"]), st.booleans()), max_size=4))
    world = oracle.World(
        lists=draw(_lists()),
        runs=tuple(oracle.RunItem(*where, at, said, tag) for where, at, said, tag in runs),
        stated=tuple(oracle.Stated(*where, *span, said) for where, span, said in stated),
        annulled=tuple(oracle.Annulled(*where, *span, f"a-{n}") for n, (where, span) in enumerate(annulled)),
        windows=draw(_windows(own)),
        exclusions=draw(_exclusions(own)),
        adjudications=tuple(
            oracle.Adjudication(f"j-{n}", *span, verdict, agreed) for n, (span, verdict, agreed) in enumerate(rulings)
        ),
        notice=NOTICE,
    )
    ids = [*(x.id for x in world.exclusions), *(j.id for j in world.adjudications), *(a.id for a in world.annulled)]
    taken_back = frozenset(draw(st.lists(st.sampled_from(ids), max_size=2, unique=True))) if ids else frozenset()
    return changed(world, reversed=taken_back)


# The same world as the core reads it. `unit_us` is how long one second of the oracle is.


def check_lists(world: oracle.World, unit_us: int = SECOND_US) -> list[CheckList]:
    return [
        CheckList(
            service=SERVICE,
            at_us=listing.at * unit_us,
            interval_us=unit_us,
            timeout_us=unit_us,
            stale_after_us=listing.stale_after * unit_us,
            checks=tuple(
                Check(id=name, network=Network.PUBLIC if public else Network.INTERNAL)
                for name, public in listing.checks
            ),
        )
        for listing in sorted(world.lists, key=lambda listing: listing.at)
    ]


def runs_of(world: oracle.World, unit_us: int = SECOND_US) -> list[Run]:
    """One run a key, as a store keeps them: repetitions once, two contents as a conflict."""
    kept: dict[tuple[str, str, int], Run] = {}
    for item in world.runs:
        key = (item.check, item.location, item.at)
        run = as_run(item, unit_us)
        held = kept.get(key)
        if held is None or held.same_content(run):
            kept[key] = run
        else:
            kept[key] = as_run(oracle.RunItem(*key, "inconclusive"), unit_us)
    return sorted(kept.values(), key=lambda run: run.key)


def as_run(item: oracle.RunItem, unit_us: int = SECOND_US) -> Run:
    return Run(
        service=SERVICE,
        check=item.check,
        location=item.location,
        start_us=item.at * unit_us,
        outcome=Outcome(item.outcome),
        duration_us=item.tag,
    )


def stated_of(world: oracle.World, unit_us: int = SECOND_US) -> list[StatedSpan]:
    spans = {
        StatedSpan(
            service=SERVICE,
            check=span.check,
            location=span.location,
            start_us=span.start * unit_us,
            end_us=span.end * unit_us,
            outcome=Outcome(span.outcome),
        )
        for span in world.stated
    }
    return sorted(spans, key=lambda span: (span.start_us, span.end_us, span.outcome))


def decisions(world: oracle.World, unit_us: int = SECOND_US) -> list[tuple[int, Fact]]:
    """Every decision with the second at which it is recorded."""
    found: list[tuple[int, Fact]] = []
    for window in world.windows:
        found += _window_facts(window, unit_us)
    for exclusion in world.exclusions:
        fact: Fact = facts.Exclusion(
            id=exclusion.id,
            reason=ExclusionReason(exclusion.reason),
            services=(SERVICE,),
            partners=exclusion.partners,
            start_us=exclusion.start * unit_us,
            end_us=exclusion.end * unit_us,
            at_us=exclusion.recorded * unit_us,
        )
        found.append((exclusion.recorded, fact))
    for number, ruling in enumerate(world.adjudications):
        fact = facts.Adjudication(
            id=ruling.id,
            service=SERVICE,
            start_us=ruling.start * unit_us,
            end_us=ruling.end * unit_us,
            verdict=Ruling(ruling.verdict),
            agreed_by="the partner's letter" if ruling.agreed else None,
            at_us=number * unit_us,
        )
        found.append((2 * LATE + number, fact))
    for void in world.annulled:
        fact = facts.Annulment(
            id=void.id,
            service=SERVICE,
            check=void.check,
            location=void.location,
            start_us=void.start * unit_us,
            end_us=void.end * unit_us,
            at_us=0,
        )
        found.append((3 * LATE, fact))
    found += [(4 * LATE, facts.Reversal(of=of, at_us=0)) for of in sorted(world.reversed)]
    return found


def _window_facts(window: oracle.Window, unit_us: int) -> Iterable[tuple[int, Fact]]:
    announced = facts.Maintenance(
        id=window.id,
        services=(SERVICE,),
        partners=window.partners,
        start_us=window.start * unit_us,
        end_us=window.end * unit_us,
        at_us=window.announced * unit_us,
    )
    yield window.announced, announced
    for partner, at in window.notices:
        told = facts.Notice(
            maintenance=window.id,
            partner=partner,
            at_us=at * unit_us,
            channel="letter",
            evidence="the letter",
        )
        yield window.announced + 1, told
    if window.finished is not None:
        fact = facts.MaintenanceFinished(maintenance=window.id, at_us=window.finished * unit_us)
        yield window.announced + 2, fact
    if window.cancelled is not None:
        yield window.announced + 2, facts.MaintenanceCancelled(maintenance=window.id, at_us=window.cancelled * unit_us)


def is_own(world: oracle.World) -> bool:
    """Whether its decisions are the ledger's own, recorded when they are; else they are imported, in any order."""
    return any(recorded >= LATE for recorded in (*(w.announced for w in world.windows), *_recorded(world)))


def _recorded(world: oracle.World) -> Iterable[int]:
    return (exclusion.recorded for exclusion in world.exclusions)


def entries_of(world: oracle.World, unit_us: int = SECOND_US, *, seed: int | None = None) -> list[Entry]:
    """The decisions sealed. Own ones in the order of their recording, imported ones in any (`seed`)."""
    order = decisions(world, unit_us)
    own = is_own(world)
    if own:
        order.sort(key=lambda pair: pair[0])
    elif seed is not None:
        random.Random(seed).shuffle(order)
    origin = Origin.OWN if own else Origin.IMPORTED
    head, sealed = Head(), []
    for recorded, fact in order:
        entry = seal(fact, head=head, origin=origin, now_us=max(0, recorded) * unit_us if own else 0)
        sealed.append(entry)
        head = head_after(entry)
    return sealed


def evidence_of(world: oracle.World, book: Book, unit_us: int = SECOND_US) -> dict[SourceKey, list[OutcomeSpan]]:
    lists = check_lists(world, unit_us)
    runs, stated = runs_of(world, unit_us), stated_of(world, unit_us)
    return {
        source: list(
            outcome_spans(
                (run for run in runs if run.source == source),
                (span for span in stated if span.source == source),
                lists,
                book.annulled(source),
            ),
        )
        for source in sorted({*(run.source for run in runs), *(span.source for span in stated)})
    }


def verdicts_of(world: oracle.World, book: Book, within: Span, unit_us: int = SECOND_US) -> list[VerdictSpan]:
    return judge(check_lists(world, unit_us), evidence_of(world, book, unit_us), within)


def account_of(
    world: oracle.World,
    partner: str,
    period: tuple[int, int],
    *,
    as_of: int | None = None,
    unit_us: int = SECOND_US,
    seed: int | None = None,
) -> Account:
    """The core's account of a period (in seconds) for a partner, through book, evidence, verdicts and exclusions."""
    book = Book.of(entries_of(world, unit_us, seed=seed))
    span = Span(period[0] * unit_us, period[1] * unit_us)
    as_of_us = span.end_us if as_of is None else as_of * unit_us
    excluded, _rejected = excluded_for(book, partner, SERVICE, world.notice * unit_us)
    rulings = book.rulings(SERVICE)
    agreed = [ruling.fact.id for ruling in rulings if ruling.fact.agreed_by]
    verdicts = verdicts_of(world, book, Span(span.start_us, max(span.start_us, min(span.end_us, as_of_us))), unit_us)
    return account(verdicts, span, as_of_us, excluded, rulings, agreed)


def second_by_second(spans: Sequence[VerdictSpan], horizon: int, unit_us: int = SECOND_US) -> list[str]:
    """The verdict of each second, from spans that cover them."""
    return [
        next(span.verdict.value for span in spans if span.start_us <= second * unit_us < span.end_us)
        for second in range(horizon)
    ]


def changed(world: oracle.World, **parts: object) -> oracle.World:
    """The same world with some parts exchanged."""
    return dataclasses.replace(world, **parts)  # type: ignore[arg-type]

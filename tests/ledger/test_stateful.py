"""Whatever is decided, seen, lost and corrected, in whatever order: the ledger says what a naive second reading says.

The machine drives a real SQLite ledger as the daemon does (runs and decisions committed, the detector after them), and
keeps the same story as an oracle's world. One unit of the oracle's time is a day, so that two whole months can be
judged one unit at a time after every step.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from monitor.core import fact as facts
from monitor.core.availability import account, floor_text
from monitor.core.calendar import Month
from monitor.core.check import Check, CheckList, Network
from monitor.core.exclusion import excluded_for
from monitor.core.fact import ExclusionReason, Ruling
from monitor.core.instant import DAY_US
from monitor.core.month import Figures
from monitor.core.run import Outcome, Run
from monitor.core.span import Span
from monitor.core.statement import digest_of
from monitor.core.terms import Agreements, Subscription
from monitor.detector import Detector
from monitor.ledger import command as ask
from monitor.ledger.act import Done, Order, prepare
from monitor.ledger.decide import Refused
from monitor.ledger.evidence import ALWAYS, derive
from monitor.ledger.month import Months
from monitor.ledger.record import Basis
from monitor.storage import Committed, Store, Unit
from monitor.storage.opening import open_store
from tests.core import oracle
from tests.core.examples import at, rupiah, terms

ZERO_US = at("2026-01-29T00:00:00")
FEBRUARY, MARCH = (3, 31), (31, 62)  # in days from ZERO_US
PERIODS = {"2026-02": FEBRUARY, "2026-03": MARCH}
GRACE, CLAIM_DAYS, NOTICE = 3, 30, 2
FEES = {"acme": 12_500_001, "beta": 777_777}
PARTNERS, CHECKS, LOCATIONS = ("acme", "beta"), ("a", "b", "c"), ("x", "y")
VIEWS = {"status", "claim"}
BASIS = Basis(
    agreements=Agreements(
        terms=(terms(),),
        subscriptions=tuple(
            Subscription(partner=partner, service="portal", contract="mitra", fee=rupiah(fee))
            for partner, fee in FEES.items()
        ),
    ),
    zone=ZoneInfo,
    software="jaga test",
)


back = st.integers(0, 12)
lengths = st.sampled_from([1, 1, 1, 2, 3, 6])
outcomes = st.sampled_from(["pass", "pass", "fail", "fail", "inconclusive"])
covered = st.sampled_from([None, None, ("acme",), ("beta",)])
sources = st.tuples(st.sampled_from(CHECKS), st.sampled_from(LOCATIONS))
months = st.sampled_from(list(PERIODS))


@dataclass(slots=True)
class Issued:
    """A closed version: the world it was computed from, its bytes and its digest, when it was issued and its credit."""

    world: oracle.World
    document: bytes
    day: Fraction
    credit: int
    raised: bool


@dataclass(slots=True)
class Kept:
    """What the model remembers beside the world."""

    versions: dict[tuple[str, str], list[Issued]] = field(default_factory=dict)
    claims: list[tuple[str, str, Fraction]] = field(default_factory=list)
    agreed_by: dict[str, str | None] = field(default_factory=dict)


def us(day: float | Fraction) -> int:
    return ZERO_US + int(day * DAY_US)


def day_of(at_us: int) -> Fraction:
    return Fraction(at_us - ZERO_US, DAY_US)


class Provider(RuleBasedStateMachine):
    """A provider's months. `now` is the clock in days from ZERO_US."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = 0
        self.world = oracle.World(notice=NOTICE)
        self.kept = Kept()
        self.recorded = 0
        self.open()

    def open(self) -> None:
        self.store: Store = open_store("sqlite:///ledger.db", base=Path(self.folder.name))
        self.detector = Detector(self.store, BASIS.agreements)
        self.detector.open(us(self.now))

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    # Writing, as the recorder does.

    def commit(self, unit: Unit, *, crash: bool = False) -> Committed:
        """A unit, and what the detector makes of it: lost if it crashes between the two."""
        committed = self.store.commit(unit)
        if crash:
            self.restart()
            return committed
        follows = self.detector.take(committed, us(self.now), {})
        while follows is not None:
            follows = self.detector.take(self.store.commit(follows), us(self.now), {})
        assert not self.detector.stats.failures
        return committed

    def put(self, items: Sequence[oracle.RunItem], *, crash: bool = False) -> None:
        if items:
            self.commit(Unit(recorded_at_us=us(self.now), runs=[_run(item) for item in items]), crash=crash)
            self.change(runs=(*self.world.runs, *items))

    def change(self, **parts: Any) -> None:  # noqa: ANN401 - parts of a world
        self.world = replace(self.world, **parts)

    def give(self, command: ask.Command, *, possible: bool, touches: Sequence[tuple[int, int, Any]]) -> Done | None:
        """A command through the one door. It is followed iff the model says so; a closed month it touches must be named
        and asks for `over_closed`; a refusal changes nothing.
        """
        closed = {
            f"{month}/{partner}/portal"
            for start, end, partners in touches
            for (partner, month) in self.kept.versions
            if (partners is None or partner in partners) and max(start, PERIODS[month][0]) < min(end, PERIODS[month][1])
        }
        head = self.store.head()
        outcome = self._act(command, over_closed=False)
        if closed and possible:
            assert isinstance(outcome, Refused)
            assert all(name in outcome.reason for name in closed), (closed, outcome.reason)
            assert "--restate" in outcome.reason
            assert self.store.head() == head
            outcome = self._act(command, over_closed=True)
        if not possible:
            assert isinstance(outcome, Refused), (command, outcome)
            assert self.store.head() == head
            return None
        assert isinstance(outcome, Done), (command, outcome)
        self.recorded += 1
        return outcome

    def _act(self, command: ask.Command, *, over_closed: bool) -> Done | Refused:
        order = Order(command=command, by="sari", now_us=us(self.now), tz_version="2026a", over_closed=over_closed)
        unit, outcome = prepare(self.store, BASIS, order)
        if unit is not None:
            self.commit(unit)
        return outcome

    # The passing of time, evidence and what may happen to it.

    @initialize(checks=st.lists(st.booleans(), min_size=1, max_size=3), stale=st.integers(1, 3))
    def adopt_first(self, checks: list[bool], stale: int) -> None:
        self._adopt(tuple(zip(CHECKS, checks, strict=False)), stale)

    @rule(days=st.integers(1, 4))
    def wait(self, days: int) -> None:
        self.now += days
        follows = self.detector.take(None, us(self.now), {})
        if follows is not None:
            self.commit(follows)

    @precondition(lambda self: self.now < FEBRUARY[1] + GRACE)
    @rule()
    def until_february_may_close(self) -> None:
        self.wait(FEBRUARY[1] + GRACE - self.now)

    @precondition(lambda self: self.now > max(entry.at for entry in self.world.lists) + 1)
    @precondition(lambda self: self.store.head().recorded_at_us <= us(self.now - 1))
    @rule()
    def clock_steps_back(self) -> None:
        """By a day in which nothing was decided: else the ledger's own clock, which never goes back, is ahead of it."""
        self.now -= 1
        self.commit(Unit(recorded_at_us=us(self.now), facts=[facts.ClockStep(at_us=us(self.now), delta_us=-DAY_US)]))

    @rule(shape=st.lists(st.tuples(outcomes, st.sampled_from(CHECKS)), min_size=1, max_size=9))
    def live(self, shape: list[tuple[str, str]]) -> None:
        """Days go by, every check seen from one place on each; one check may say something of its own."""
        for outcome, check in shape:
            self.now += 1
            usual = "fail" if outcome == "fail" and check == CHECKS[0] else "pass"
            self.put([oracle.RunItem(c, "x", self.now, outcome if c == check else usual) for c in CHECKS])

    @rule(
        seen=st.lists(st.tuples(sources, back, outcomes, st.sampled_from([0, 0, 0, 1])), max_size=8),
        crash=st.booleans(),
    )
    def runs_arrive(self, seen: list[tuple[tuple[str, str], int, str, int]], crash: bool) -> None:
        """Late, out of order, repeated, contradicting each other; perhaps the process dies before it looked at them."""
        items = [oracle.RunItem(*source, max(0, self.now - ago), said, tag) for source, ago, said, tag in seen]
        self.put(items, crash=crash)

    @rule(seen=st.lists(st.tuples(sources, back, outcomes), min_size=1, max_size=4))
    def a_dispute_is_imported(self, seen: list[tuple[tuple[str, str], int, str]]) -> None:
        """Evidence from elsewhere, after the ledger's own: kept, and counts for nothing."""
        runs = [_run(oracle.RunItem(*source, max(0, self.now - ago), said)) for source, ago, said in seen]
        self.commit(Unit(recorded_at_us=us(self.now), runs=runs, disputed=True))

    @rule(again=st.integers(0, 5))
    def the_same_runs_again(self, again: int) -> None:
        items = self.world.runs[-again:]
        self.commit(Unit(recorded_at_us=us(self.now), runs=[_run(item) for item in reversed(items)]))

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.open()

    @precondition(lambda self: self.now > max(entry.at for entry in self.world.lists))
    @rule(checks=st.lists(st.tuples(st.sampled_from(CHECKS), st.booleans()), max_size=3, unique_by=lambda c: c[0]),
          stale=st.integers(1, 3))  # fmt: skip
    def adopt(self, checks: list[tuple[str, bool]], stale: int) -> None:
        self._adopt(tuple(checks), stale)

    def _adopt(self, checks: tuple[tuple[str, bool], ...], stale: int) -> None:
        adopted = CheckList(
            service="portal",
            at_us=us(self.now),
            interval_us=DAY_US,
            timeout_us=DAY_US,
            stale_after_us=stale * DAY_US,
            checks=tuple(
                Check(id=name, network=Network.PUBLIC if public else Network.INTERNAL) for name, public in checks
            ),
        )
        self.commit(Unit(recorded_at_us=us(self.now), facts=[facts.ChecksAdopted(list=adopted)]))
        self.change(lists=(*self.world.lists, oracle.Listing(self.now, stale, checks)))

    # Windows.

    @rule(ahead=st.integers(-4, 6), length=st.sampled_from([-1, 0, 1, 2, 4]), partners=covered, proof=st.booleans())
    def announce(self, ahead: int, length: int, partners: tuple[str, ...] | None, proof: bool) -> None:
        start = self.now + ahead
        self._announce(start, start + length, partners, proof, extends=None)

    @precondition(lambda self: self.world.windows)
    @rule(longer=st.integers(1, 3), proof=st.booleans(), data=st.data())
    def extend(self, longer: int, proof: bool, data: st.DataObject) -> None:
        window = data.draw(st.sampled_from(self.world.windows))
        self._announce(window.end, window.end + longer, window.partners, proof, extends=window.id)

    def _announce(
        self, start: int, end: int, partners: tuple[str, ...] | None, proof: bool, extends: str | None
    ) -> None:
        command = ask.AnnounceMaintenance(
            services=("portal",),
            start_us=us(start),
            end_us=us(end),
            summary="work",
            partners=partners,
            extends=extends,
            evidence="the letter" if proof else None,
        )
        done = self.give(
            command, possible=end > start and (start > self.now or proof), touches=[(start, end, partners)]
        )
        if done is not None:
            (window,) = (entry.fact for entry in done.entries)
            assert isinstance(window, facts.Maintenance)
            known = oracle.Window(window.id, start, end, announced=self.recorded, partners=partners)
            self.change(windows=(*self.world.windows, known))

    @precondition(lambda self: self.world.windows)
    @rule(
        partner=st.sampled_from(PARTNERS),
        late_us=st.sampled_from([0, 0, 1, DAY_US]),
        proof=st.booleans(),
        data=st.data(),
    )
    def notify(self, partner: str, late_us: int, proof: bool, data: st.DataObject) -> None:
        """Told exactly in time, a microsecond late, or now; without proof only what the ledger itself saw counts."""
        window = data.draw(st.sampled_from(self.world.windows))
        said_us = min(us(window.start - NOTICE) + late_us, us(self.now))
        notified = ask.Notified(partner=partner, at_us=said_us, evidence="mail" if proof else None)
        possible = (window.partners is None or partner in window.partners) and (proof or said_us == us(self.now))
        # Another unit may have been recorded at this very instant: then the ledger's clock is a little ahead.
        possible = possible and (proof or self.store.head().recorded_at_us < us(self.now))
        done = self.give(
            ask.NotifyMaintenance(maintenance=window.id, notified=notified),
            possible=possible,
            touches=[(window.start, window.end, window.partners)],
        )
        if done is not None:
            self.amend(window, notices=(*window.notices, (partner, day_of(said_us))))

    @precondition(lambda self: self.world.windows)
    @rule(ago=st.integers(-1, 3), data=st.data())
    def finish(self, ago: int, data: st.DataObject) -> None:
        window = data.draw(st.sampled_from(self.world.windows))
        ended = self.now - ago
        over = window.finished is not None or (window.cancelled is not None and window.cancelled < window.start)
        done = self.give(
            ask.FinishMaintenance(maintenance=window.id, at_us=us(ended)),
            possible=window.start < ended <= self.now + Fraction(self.ahead_us, DAY_US) and not over,
            touches=[(window.start, window.end, window.partners)],
        )
        if done is not None:
            self.amend(window, finished=ended)

    @property
    def ahead_us(self) -> int:
        """How far the ledger's clock is ahead of ours: each entry needs an instant of its own."""
        return max(0, self.store.head().recorded_at_us + 1 - us(self.now))

    @precondition(lambda self: self.world.windows)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        window = data.draw(st.sampled_from(self.world.windows))
        now = self.now + Fraction(self.ahead_us, DAY_US)
        done = self.give(
            ask.CancelMaintenance(maintenance=window.id),
            possible=window.cancelled is None and now < window.start,
            touches=[(window.start, window.end, window.partners)],
        )
        if done is not None:
            self.amend(window, cancelled=self.now)

    def amend(self, window: oracle.Window, **parts: Any) -> None:  # noqa: ANN401 - parts of a window
        changed = replace(window, **parts)
        self.change(windows=tuple(changed if known == window else known for known in self.world.windows))

    # Decisions on spans.

    @rule(ago=back, length=lengths, partners=covered, reason=st.sampled_from(["third_party", "attack", "maintenance"]))
    def exclude(self, ago: int, length: int, partners: tuple[str, ...] | None, reason: str) -> None:
        start, end = self.now - ago, self.now - ago + length
        command = ask.Exclude(
            reason=ExclusionReason(reason),
            services=("portal",),
            start_us=us(start),
            end_us=us(end),
            evidence="report",
            partners=partners,
        )
        done = self.give(command, possible=reason != "maintenance", touches=[(start, end, partners)])
        if done is not None:
            known = oracle.Exclusion(_id(done), start, end, self.recorded, reason, partners)
            self.change(exclusions=(*self.world.exclusions, known))

    @rule(ago=back, length=lengths, verdict=st.sampled_from(["up", "down", "unknown"]),
          agreed_by=st.sampled_from([None, "acme", "beta", "both, by letter"]))  # fmt: skip
    def adjudicate(self, ago: int, length: int, verdict: str, agreed_by: str | None) -> None:
        start, end = self.now - ago, self.now - ago + length
        measured = {oracle.measured(self.world, day) for day in range(max(0, start), end)}
        unknown = "unknown" in measured or start < 0
        command = ask.Adjudicate(
            service="portal",
            start_us=us(start),
            end_us=us(end),
            verdict=Ruling(verdict),
            evidence="log",
            agreed_by=agreed_by,
        )
        possible = end <= self.now and "down" not in measured and unknown
        done = self.give(command, possible=possible, touches=[(start, end, None)])
        if done is not None:
            self.kept.agreed_by[_id(done)] = agreed_by
            ruling = oracle.Adjudication(_id(done), start, end, verdict)
            self.change(adjudications=(*self.world.adjudications, ruling))

    @rule(source=sources, ago=back, length=lengths)
    def annul(self, source: tuple[str, str], ago: int, length: int) -> None:
        start, end = self.now - ago, self.now - ago + length
        command = ask.Annul(
            service="portal", check=source[0], location=source[1], start_us=us(start), end_us=us(end), note="our fault"
        )
        known = {(run.check, run.location) for run in self.world.runs}
        done = self.give(command, possible=end <= self.now and source in known, touches=[(start, end, None)])
        if done is not None:
            self.change(annulled=(*self.world.annulled, oracle.Annulled(*source, start, end, _id(done))))

    @rule(data=st.data())
    def reverse(self, data: st.DataObject) -> None:
        decided: dict[str, tuple[int, int, Any]] = {
            **{x.id: (x.start, x.end, x.partners) for x in self.world.exclusions},
            **{j.id: (j.start, j.end, None) for j in self.world.adjudications},
            **{a.id: (a.start, a.end, None) for a in self.world.annulled},
        }
        windows = [window.id for window in self.world.windows]
        of = data.draw(st.sampled_from([*decided, *windows, "x-999"]))
        possible = of in decided and of not in self.world.reversed
        done = self.give(
            ask.Reverse(of=of, note="withdrawn"), possible=possible, touches=[decided[of]] if of in decided else []
        )
        if done is not None:
            self.change(reversed=self.world.reversed | {of})

    # The life of a month.

    @rule(partner=st.sampled_from(PARTNERS), month=months)
    def close(self, partner: str, month: str) -> None:
        self._close(partner, month, None, possible=(partner, month) not in self.kept.versions)

    @precondition(lambda self: self.kept.versions)
    @rule(data=st.data())
    def restate(self, data: st.DataObject) -> None:
        partner, month = data.draw(st.sampled_from(sorted(self.kept.versions)))
        self._close(partner, month, "new evidence", possible=True)

    def _close(self, partner: str, month: str, reason: str | None, *, possible: bool) -> None:
        start, end = PERIODS[month]
        world = self.world_of(partner)
        may = self.now + Fraction(self.ahead_us, DAY_US) >= end + GRACE
        sums = oracle.account(world, partner, start, end) if may else oracle.Sums()
        decided = oracle.tier(end - start, sums.counted) == oracle.tier(end - start, sums.worst)
        command = ask.CloseMonth(partner=partner, service="portal", month=month, restate_reason=reason)
        done = self.give(command, possible=possible and may and decided, touches=[])
        if done is None:
            return
        (fact,) = (entry.fact for entry in done.entries)
        assert isinstance(fact, facts.Close)
        before = self.kept.versions.setdefault((partner, month), [])
        assert fact.version == len(before) + 1
        credit = oracle.credit(FEES[partner], oracle.tier(end - start, sums.counted))
        if before:
            assert fact.credit_delta == str(credit - before[-1].credit)
        document = self.document(partner, month, None)
        assert document["digest"] == fact.digest
        raised = bool(before) and credit > before[-1].credit
        issued = Issued(world, _without_views(document), day_of(done.entries[0].recorded_at_us), credit, raised)
        before.append(issued)

    @rule(partner=st.sampled_from(PARTNERS), month=months)
    def claim(self, partner: str, month: str) -> None:
        now = self.now + Fraction(self.ahead_us, DAY_US)
        versions = self.kept.versions.get((partner, month), [])
        since, deadline = Fraction(-1), Fraction(PERIODS[month][1] + CLAIM_DAYS)
        reopened = [version.day for version in versions if version.raised]
        if reopened:
            since, deadline = reopened[-1], Fraction(int(reopened[-1]) + CLAIM_DAYS + 1)
        claimed = any(c[:2] == (partner, month) and c[2] >= since for c in self.kept.claims)
        nothing = bool(versions) and versions[-1].credit == 0
        possible = now >= PERIODS[month][0] and now < deadline and not claimed and not nothing
        done = self.give(ask.FileClaim(partner=partner, service="portal", month=month), possible=possible, touches=[])
        if done is not None:
            (fact,) = (entry.fact for entry in done.entries)
            assert isinstance(fact, facts.Claim)
            self.kept.claims.append((partner, month, day_of(fact.at_us)))

    # What must always hold.

    def world_of(self, partner: str) -> oracle.World:
        """The world as one partner's account is judged: another partner's consent does not bind it."""
        others = set(PARTNERS) - {partner}
        agreed = {ruling: bool(who) and who not in others for ruling, who in self.kept.agreed_by.items()}
        rulings = (replace(j, agreed=agreed[j.id]) for j in self.world.adjudications)
        return replace(self.world, adjudications=tuple(rulings))

    def ledger(self) -> Months:
        return Months(self.store, BASIS, us(self.now))

    def document(self, partner: str, month: str, version: int | None) -> dict[str, Any]:
        (found,) = self.ledger().statements(Month.parse(month), partner, "portal", version)
        return found.document

    @invariant()
    def the_figures_are_the_oracle_s(self) -> None:
        if not self.world.lists:
            return
        ledger = self.ledger()
        for partner in PARTNERS:
            for month, (start, end) in PERIODS.items():
                found = ledger.figures(Month.parse(month), partner, "portal")
                assert found is not None
                versions = self.kept.versions.get((partner, month))
                world = versions[-1].world if versions else self.world_of(partner)
                as_of = end if versions else max(start, min(end, self.now))
                _same(found, oracle.account(world, partner, start, as_of), (start, end, as_of), FEES[partner])

    @invariant()
    def the_days_add_up_to_the_month(self) -> None:
        if not self.world.lists or self.now <= FEBRUARY[0]:
            return
        ledger = self.ledger()
        for partner in PARTNERS:
            if (partner, "2026-02") in self.kept.versions:
                continue
            figures = ledger.figures(Month(2026, 2), partner, "portal")
            assert figures is not None
            excluded, _rejected = excluded_for(ledger.record.book, partner, "portal", NOTICE * DAY_US)
            _evidence, verdicts = ledger.sweep("portal", figures.account.period)
            rulings = ledger.record.book.rulings("portal")
            days = [
                account(verdicts, Span(us(day), us(day + 1)), us(self.now), excluded, rulings)
                for day in range(*FEBRUARY)
            ]
            assert sum(day.down_us for day in days) == figures.account.down_us
            assert sum(day.unknown_us for day in days) == figures.account.unknown_us

    @invariant()
    def closed_versions_are_the_same_bytes(self) -> None:
        for (partner, month), versions in self.kept.versions.items():
            for number, issued in enumerate(versions, 1):
                document = self.document(partner, month, number)
                assert _without_views(document) == issued.document
                assert digest_of(document) == document["digest"]
                assert document["status"] == ("final" if number == len(versions) else "superseded")

    @invariant()
    def the_kept_spans_are_a_rebuild(self) -> None:
        evidence_of = {}
        ledger = self.ledger()
        for source in self.store.sources():
            lists, annulled = ledger.record.lists.get("portal", []), ledger.record.book.annulled(source)
            evidence_of[source] = list(derive(self.store, source, lists, annulled))
            assert self.store.spans_of(source, ALWAYS) == evidence_of[source], source


def _same(found: Figures, wanted: oracle.Sums, days: tuple[int, int, int], fee: int) -> None:
    start, end, as_of = days
    total, books = end - start, found.account
    assert (books.up_us, books.observed_us, books.unknown_us, books.down_us) == (
        wanted.up * DAY_US, wanted.down * DAY_US, wanted.unknown * DAY_US, wanted.counted * DAY_US,
    )  # fmt: skip
    assert books.up_us + books.observed_us + books.unknown_us == books.elapsed_us == (as_of - start) * DAY_US
    assert found.availability == Fraction(100 * (total - wanted.counted), total)
    assert floor_text(found.availability) == oracle.floored(total - wanted.counted, total)
    assert books.worst_case == Fraction(100 * (total - wanted.worst), total)
    shares = {share.excluded.id: share.seconds_us for share in books.shares if share.seconds_us}
    assert shares == {name: seconds * DAY_US for name, seconds in wanted.shares.items()}
    assert found.credit.amount == oracle.credit(fee, oracle.tier(total, wanted.counted))
    assert found.undecided == (oracle.tier(total, wanted.counted) != oracle.tier(total, wanted.worst))


def _run(item: oracle.RunItem) -> Run:
    return Run(
        service="portal",
        check=item.check,
        location=item.location,
        start_us=us(item.at),
        outcome=Outcome(item.outcome),
        duration_us=item.tag,
    )


def _id(done: Done) -> str:
    (fact,) = (entry.fact for entry in done.entries)
    named: str = getattr(fact, "id")  # noqa: B009 - every fact asked for here has one
    return named


def _without_views(document: Mapping[str, Any]) -> bytes:
    covered = {name: value for name, value in document.items() if name not in VIEWS}
    return json.dumps([covered, document["claim"]["deadline"]]).encode()


TestProvider = Provider.TestCase
TestProvider.settings = hypothesis.settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
# Thousands of fsynced transactions: under load it takes several times the 18 s of an idle machine.
TestProvider.pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # type: ignore[attr-defined]

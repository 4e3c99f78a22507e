"""From committed runs and the passing of time to what follows: spans, outage facts, totals, counters.

It acts on what is durable only, and what it finds is written in one transaction with how far it got: after a crash it
goes on there and repeats nothing. A verdict is settled once no evidence before it is still to come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from monitor.core.agreement import adopted
from monitor.core.exclusion import Excluded, excluded_for
from monitor.core.fact import Annulment, ChecksAdopted, ClockStep, Fact, Outage, Reversal
from monitor.core.instant import SECOND_US
from monitor.core.run import Origin, Run, SourceKey
from monitor.core.span import Span
from monitor.core.terms import Agreements, Terms
from monitor.detector.counts import CheckCounts, read_counts, write_counts
from monitor.detector.herald import Herald
from monitor.detector.incidents import IncidentWatch
from monitor.detector.watch import Watch, excluded_for_all, outage_id
from monitor.ledger.evidence import ALWAYS, CURSOR_MARK, Evidence, rebuild, rederive
from monitor.storage import Committed, OutboxRow, SpanChange, Store, Unit
from monitor.telemetry.snapshot import ServiceTotals

__all__ = ["CheckCounts", "Detector", "DetectorStats", "Watch", "outage_id"]

SAVE_US = 60 * SECOND_US
"""How often totals and counters are kept: what a start after a crash derives again at most."""

IDLE_US = 5 * SECOND_US
"""A service whose evidence says what it said is judged this often, and when some of it becomes stale: between the two
nothing can change its verdict. Of many such services a turn judges its share: all at once they would hold up the loop.
"""

REPLAY_RUNS = 5_000
COUNTS_MARK = "totals"
WATCH_MARK = "watch/"

_log = structlog.get_logger("jaga.detector")


@dataclass(slots=True)
class DetectorStats:
    """What telemetry reads: the instant of the last evaluation of all services, and evaluations that broke."""

    evaluated_us: int | None = None
    failures: int = 0


@dataclass(slots=True)
class Detector:
    """The detector over an owned store. `open`, then `take` after each committed unit and as time passes.

    Both are called where the store is spoken to; the figures may be read from anywhere. `configured` are the agreements
    that apply where none are adopted; `allowance_us` is how long a service's evidence from elsewhere may be under way.
    Without `incidents` none are opened and none escalate, without `herald` nobody is told.
    """

    store: Store
    configured: Agreements
    allowance_us: Mapping[str, int] = field(default_factory=dict)
    incidents: IncidentWatch | None = None
    herald: Herald | None = None
    stats: DetectorStats = field(default_factory=DetectorStats)
    watches: dict[str, Watch] = field(default_factory=dict)
    counts: dict[SourceKey, CheckCounts] = field(default_factory=dict)
    _evidence: Evidence | None = None
    _agreements: Agreements = field(default_factory=Agreements)
    _excluded: dict[str, tuple[Excluded, ...]] = field(default_factory=dict)
    _arrival: int = 0
    _seq: int = 0
    _saved_us: int = 0
    _turned_us: int = 0
    _news_us: dict[str, int] = field(default_factory=dict)
    _stale_us: dict[str, int] = field(default_factory=dict)

    def open(self, at_us: int) -> None:
        """Read where the last transaction left off, and catch up with what was committed after it."""
        cursor = self.store.mark(CURSOR_MARK) or self._first_cursor(at_us)
        self._arrival, self._seq = cursor["arrival"], cursor["seq"]
        self._rederive_after(self._seq, at_us)
        evidence = Evidence(self.store)
        kept = self.store.mark(COUNTS_MARK) or {"arrival": 0, "sources": []}
        self.counts = read_counts(kept["sources"])
        self._replay(evidence, kept["arrival"], at_us)
        for run in self.store.latest_runs():
            self.counts.setdefault(run.source, CheckCounts()).show(run)
        self._seq = self.store.head().seq
        self._evidence = evidence
        self._news_us, self._stale_us = {}, {}
        self._saved_us = at_us
        self._read_agreements(evidence)
        self.watches = self._watches(evidence, at_us)
        if self.incidents is not None:
            self.incidents.open(self.store)
        if self.herald is not None:
            self.herald.open(self.store)
        # By a clock that was put back while nobody looked.
        facts = [fact for watch in self.watches.values() for fact in watch.rewind(at_us, at_us)]
        self.store.commit(Unit(recorded_at_us=at_us, facts=facts, marks=self.marks()))

    def take(self, committed: Committed | None, at_us: int, open_since: Mapping[str, int]) -> Unit | None:
        """What follows from a committed unit, or from the passing of time alone (None): to be written before the next.

        An evaluation that breaks is counted, told, and begun again from the record at the next turn.
        """
        try:
            if self._evidence is None:
                self.open(at_us)
                committed = None  # it is in the record that was just read
            assert self._evidence is not None
            unit = self._take(self._evidence, committed, at_us, open_since)
        except Exception:  # noqa: BLE001 - whatever broke: the figures rest on the record, not on this evaluation
            self._evidence = None
            self.stats.failures += 1
            _log.exception("evaluation failed")
            return None
        self.stats.evaluated_us = at_us
        return unit

    def forget(self) -> None:
        """What was found may not be what stands: begin at the next turn where the record says."""
        self._evidence = None

    def marks(self) -> dict[str, Any]:
        """Everything that is kept over restarts, as it stands."""
        return {
            CURSOR_MARK: self._cursor(),
            COUNTS_MARK: {"arrival": self._arrival, "sources": write_counts(self.counts)},
            **{WATCH_MARK + service: watch.document() for service, watch in self.watches.items()},
        }

    def totals(self, service: str, at_us: int) -> ServiceTotals:
        """What was found of a service so far; zeros for one that was never watched."""
        watch = self.watches.get(service)
        return ServiceTotals() if watch is None else watch.totals(self._rejected(service, at_us))

    def _take(
        self, evidence: Evidence, committed: Committed | None, at_us: int, open_since: Mapping[str, int]
    ) -> Unit | None:
        changes: tuple[SpanChange, ...] = ()
        if committed is not None:
            changes = tuple(change for change in evidence.apply(committed) if change.deleted or change.written)
            self._news_us |= dict.fromkeys(evidence.turned, at_us)
            self._note(evidence, committed)
        rewound = self._rewound(committed, at_us)
        facts, marks = self._settle(evidence, at_us, open_since)
        facts[:0] = rewound
        outbox: list[OutboxRow] = []
        if self.incidents is not None:
            followed, outbox = self.incidents.turn(self.watches, facts, at_us, evidence.book, self._agreements)
            facts += followed
            marks |= self.incidents.paces.marks(at_us)
            if self.herald is not None:
                counter = self.incidents.counter(evidence.book, self._agreements)
                told, told_marks = self.herald.turn(
                    self.watches, facts, self.incidents.book, counter, self.store, at_us
                )
                outbox += told
                marks |= told_marks
        if changes:
            marks[CURSOR_MARK] = self._cursor()
        if at_us - self._saved_us >= SAVE_US:
            self._saved_us = at_us
            marks |= self.marks()
        if not (changes or facts or marks or outbox):
            return None
        return Unit(recorded_at_us=at_us, facts=facts, spans=changes, marks=marks, outbox=outbox)

    def _rewound(self, committed: Committed | None, at_us: int) -> list[Fact]:
        """The outages that end because the clock was put back; their time is judged again from there."""
        steps = [entry.fact for entry in committed.entries if isinstance(entry.fact, ClockStep)] if committed else []
        back = [step.at_us for step in steps if step.delta_us < 0]
        if back:
            self._news_us = dict.fromkeys(self.watches, at_us)
        return [fact for to_us in back for watch in self.watches.values() for fact in watch.rewind(to_us, at_us)]

    def _note(self, evidence: Evidence, committed: Committed) -> None:
        """Count the runs of a unit, and take in what its decisions change."""
        for run in committed.fresh:
            self._count(run)
            if self.incidents is not None:
                self.incidents.paces.take(run)
        self._arrival, self._seq = max(self._arrival, committed.last_arrival), committed.head.seq
        if any(not isinstance(entry.fact, Outage) for entry in committed.entries):
            self._read_agreements(evidence)
        if self.incidents is not None:
            self.incidents.take(committed.entries)
        if self.herald is not None:
            self.herald.take(committed.entries)
        for entry in committed.entries:
            if isinstance(entry.fact, ChecksAdopted) and entry.fact.list.service not in self.watches:
                service = entry.fact.list.service
                self.watches[service] = Watch(service, entry.fact.at_us)

    def _settle(
        self, evidence: Evidence, at_us: int, open_since: Mapping[str, int]
    ) -> tuple[list[Fact], dict[str, Any]]:
        """Judge each service up to where nothing more is to come; outages, and the marks that go with them.

        News of a service is what its evidence says anew: it is judged until it is settled beyond the instant at which
        that was learnt. A run that says what the one before it said is none.
        """
        facts: list[Fact] = []
        marks: dict[str, Any] = {}
        share = max(1, -(len(self.watches) * (self._turned_us - at_us) // IDLE_US))
        self._turned_us = at_us
        for service, watch in self.watches.items():
            stale_us = self._stale_us.get(service, ALWAYS.start_us)
            if at_us <= stale_us and at_us - watch.settled_us < IDLE_US and service not in self._news_us:
                continue  # as of most: what follows is for those that may have something to be judged
            until_us = min(at_us - self.allowance_us.get(service, 0), open_since.get(service, at_us))
            news_us = self._news_us.get(service)
            quiet = news_us is None and until_us <= stale_us
            if quiet:
                if share == 0 or until_us - watch.settled_us < IDLE_US:
                    continue
                share -= 1
            tail = evidence.tail(service, watch.settled_us)
            lists = evidence.lists.get(service, [])
            found = watch.advance(lists, tail, until_us, self._excluded_of(service, evidence), at_us)
            ends_us = (spans[-1].end_us for spans in tail.values() if spans and spans[-1].end_us >= watch.settled_us)
            self._stale_us[service] = min(ends_us, default=ALWAYS.end_us)
            if news_us is not None and watch.settled_us > news_us:
                del self._news_us[service]
            if found:
                facts += found
                marks[WATCH_MARK + service] = watch.document()
        return facts, marks

    def _count(self, run: Run) -> None:
        held = self.counts.get(run.source)
        if held is None:
            held = self.counts[run.source] = CheckCounts()
        held.take(run)

    def _cursor(self) -> dict[str, int]:
        return {"arrival": self._arrival, "seq": self._seq}

    # Starting.

    def _first_cursor(self, at_us: int) -> dict[str, int]:
        """Where a ledger without a detector's marks stands: what it holds was imported, and its spans are derived."""
        rebuild(self.store)
        stands = self.store.commit(Unit(recorded_at_us=at_us))
        return {"arrival": stands.last_arrival, "seq": stands.head.seq}

    def _rederive_after(self, seq: int, at_us: int) -> None:
        """Decisions whose consequences the last transaction before a crash did not hold: derive them again."""
        later = {entry.seq: entry.fact for entry in self.store.entries(after=seq)}
        if not any(isinstance(fact, ChecksAdopted | Annulment | Reversal) for fact in later.values()):
            return
        known = Evidence(self.store)
        for source in self.store.sources():
            spans = [span for fact in later.values() if (span := _touched(fact, source)) is not None]
            if spans:
                within = Span(min(span.start_us for span in spans), ALWAYS.end_us)
                lists = known.lists.get(source.service, ())
                change = rederive(self.store, source, within, lists, known.book.annulled(source))
                self.store.commit(Unit(recorded_at_us=at_us, spans=(change,)))

    def _replay(self, evidence: Evidence, counted: int, at_us: int) -> None:
        """Runs committed after the cursor, page by page: counted if they were not, and their spans written."""
        arrival = min(counted, self._arrival)
        while page := self.store.runs_after(arrival, REPLAY_RUNS):
            for number, run in page:
                if number > counted:
                    self._count(run)
            fresh = tuple(run for number, run in page if number > self._arrival)
            arrival = page[-1][0]
            if fresh:
                changes = evidence.apply(Committed(head=self.store.head(), fresh=fresh, last_arrival=arrival))
                self._arrival = arrival
                marks = {CURSOR_MARK: self._cursor()}
                self.store.commit(Unit(recorded_at_us=at_us, spans=changes, marks=marks))

    def _watches(self, evidence: Evidence, at_us: int) -> dict[str, Watch]:
        """Each service's watch as it was kept. One that is not kept yet begins where this ledger adopted the service,
        and now where its history was imported.
        """
        begun: dict[str, int] = {}
        for entry in self.store.entries(types=(ChecksAdopted.TYPE,)):
            if isinstance(entry.fact, ChecksAdopted) and entry.origin is not Origin.IMPORTED:
                begun.setdefault(entry.fact.list.service, entry.fact.at_us)
        watches: dict[str, Watch] = {}
        for service in evidence.lists:
            kept = self.store.mark(WATCH_MARK + service)
            watches[service] = Watch.of(service, kept) if kept else Watch(service, begun.get(service, at_us))
        return watches

    # Exclusions, as far as they are known when time settles.

    def _read_agreements(self, evidence: Evidence) -> None:
        first_own = evidence.book.first_own_seq
        counted = (
            entry.fact
            for entry in self.store.entries(types=("terms", "subscription"))
            if entry.origin is not Origin.IMPORTED or first_own is None or entry.seq < first_own
        )
        self._agreements = adopted(counted, self.configured)
        self._excluded = {}

    def _excluded_of(self, service: str, evidence: Evidence) -> tuple[Excluded, ...]:
        held = self._excluded.get(service)
        if held is None:
            by_partner = [
                excluded_for(evidence.book, partner, service, terms.maintenance_notice_us)[0]
                for partner, terms in self._partners(service)
            ]
            held = self._excluded[service] = excluded_for_all(by_partner)
        return held

    def _partners(self, service: str) -> list[tuple[str, Terms]]:
        """The partners of a service, each with the newest terms of its contract."""
        newest = {terms.contract: terms for terms in self._agreements.terms}
        subscribed = {s.partner: s.contract for s in self._agreements.subscriptions if s.service == service}
        return [(partner, newest[contract]) for partner, contract in sorted(subscribed.items()) if contract in newest]

    def _rejected(self, service: str, at_us: int) -> dict[str, int]:
        """How many windows that have begun do not qualify for some partner, by why."""
        evidence = self._evidence
        found = {"notice_late": 0, "notice_missing": 0}
        partners = self._partners(service)
        for window in list(evidence.book.windows.values()) if evidence else ():
            if service not in window.fact.services or window.cancelled_in_time or window.fact.start_us > at_us:
                continue
            covered = [(partner, terms) for partner, terms in partners if window.covers(partner, service)]
            notices = [(window.notice_us(partner), terms.maintenance_notice_us) for partner, terms in covered]
            if any(notice_us is None for notice_us, _needed_us in notices):
                found["notice_missing"] += 1
            elif any(window.fact.start_us - (notice_us or 0) < needed_us for notice_us, needed_us in notices):
                found["notice_late"] += 1
        return found


def _touched(fact: Fact, source: SourceKey) -> Span | None:
    """The time of a source whose derivation a decision may change."""
    if isinstance(fact, ChecksAdopted):
        return Span(fact.at_us, ALWAYS.end_us) if fact.list.service == source.service else None
    if isinstance(fact, Annulment):
        return fact.span if SourceKey(fact.service, fact.check, fact.location) == source else None
    return ALWAYS if isinstance(fact, Reversal) else None

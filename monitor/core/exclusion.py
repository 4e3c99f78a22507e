"""Which time is excluded for whom, and which windows do not qualify and why (CONTRACT 2.5).

Decisions are facts, never edits. A `Book` is the fold of all of them; what a partner is owed is read from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

from monitor.core import fact as facts
from monitor.core.entry import Entry
from monitor.core.instant import format_hms, format_instant
from monitor.core.run import Origin, SourceKey
from monitor.core.span import Span


class Excluded(NamedTuple):
    """A span that is not counted. Of several that overlap the earliest recorded names the time, then by id."""

    recorded_us: int
    id: str
    reason: facts.ExclusionReason
    span: Span


class Rejected(NamedTuple):
    """A window or decision that excludes nothing, and the reason in words."""

    id: str
    why: str
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A notice as it counts: to whom and from when."""

    partner: str
    counts_from_us: int
    fact: facts.Notice
    recorded_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A maintenance window with everything that was said of it later."""

    fact: facts.Maintenance
    recorded_us: int
    imported: bool
    notices: tuple[Given, ...] = ()
    finished_us: int | None = None
    cancelled_us: int | None = None

    @property
    def cancelled_in_time(self) -> bool:
        """Whether it was cancelled before its start; after the start it can only be finished."""
        return self.cancelled_us is not None and self.cancelled_us < self.fact.start_us

    @property
    def ends_us(self) -> int:
        """When it ended or will: its end, or the actual end where that came first. An overrun counts.

        A cancellation that came after the start says that the work is over: it ends the window like a finish.
        """
        stops = [stop for stop in (self.finished_us, self.cancelled_us) if stop is not None]
        return max(self.fact.start_us, min([self.fact.end_us, *stops]))

    def covers(self, partner: str, service: str) -> bool:
        """Whether it was announced for this partner and service."""
        return service in self.fact.services and (self.fact.partners is None or partner in self.fact.partners)

    def notice_us(self, partner: str) -> int | None:
        """From when this partner had notice: its earliest one. Only an imported window without any takes its `at`."""
        if self.imported and not self.notices:
            return self.fact.at_us
        given = [notice.counts_from_us for notice in self.notices if notice.partner == partner]
        return min(given, default=None)


_F = TypeVar("_F", facts.Exclusion, facts.Adjudication, facts.Annulment, facts.Claim, facts.CreditApplied)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded(Generic[_F]):
    """A decision with when it was recorded (for an imported one: when it says it was made)."""

    fact: _F
    recorded_us: int
    seq: int
    imported: bool = False


Amendment = facts.Notice | facts.MaintenanceFinished | facts.MaintenanceCancelled


@dataclass(slots=True, kw_only=True)
class Book:
    """All decisions of a ledger up to an entry, folded. `first_own_seq` is where imports stopped to count."""

    windows: dict[str, Window] = field(default_factory=dict)
    exclusions: dict[str, Recorded[facts.Exclusion]] = field(default_factory=dict)
    adjudications: dict[str, Recorded[facts.Adjudication]] = field(default_factory=dict)
    annulments: dict[str, Recorded[facts.Annulment]] = field(default_factory=dict)
    claims: list[Recorded[facts.Claim]] = field(default_factory=list)
    applied: list[Recorded[facts.CreditApplied]] = field(default_factory=list)
    reversals: dict[str, facts.Reversal] = field(default_factory=dict)
    first_own_seq: int | None = None
    imported: bool = False
    _amendments: dict[str, list[tuple[Entry, Amendment]]] = field(default_factory=dict)

    @staticmethod
    def of(entries: Iterable[Entry]) -> Book:
        """The book of entries in their order."""
        book = Book()
        for entry in entries:
            book.take(entry)
        return book

    def take(self, entry: Entry) -> None:  # noqa: C901 - one branch a kind of fact
        """Fold one more entry. An import counts only while the ledger holds no own or agent entry."""
        if entry.origin is not Origin.IMPORTED:
            self.first_own_seq = self.first_own_seq or entry.seq
        elif self.first_own_seq is not None:
            return
        else:
            self.imported = True
        fact = entry.fact
        match fact:
            case facts.Maintenance():
                self._announce(entry, fact)
            case facts.Notice() | facts.MaintenanceFinished() | facts.MaintenanceCancelled():
                self._amend(entry, fact)
            case facts.Exclusion():
                self.exclusions.setdefault(fact.id, _recorded(entry, fact))
            case facts.Adjudication():
                self.adjudications.setdefault(fact.id, _recorded(entry, fact))
            case facts.Annulment():
                self.annulments.setdefault(fact.id, _recorded(entry, fact))
            case facts.Claim():
                self.claims.append(_recorded(entry, fact))
            case facts.CreditApplied():
                self.applied.append(_recorded(entry, fact))
            case facts.Reversal():
                self.reversals.setdefault(fact.of, fact)
            case _:
                pass

    def _announce(self, entry: Entry, fact: facts.Maintenance) -> None:
        if fact.id in self.windows:
            return
        window = Window(fact=fact, recorded_us=_counted_us(entry, fact.at_us), imported=_imported(entry))
        for said in self._amendments.get(fact.id, ()):
            window = _amended(window, *said)
        self.windows[fact.id] = window

    def _amend(self, entry: Entry, fact: Amendment) -> None:
        self._amendments.setdefault(fact.maintenance, []).append((entry, fact))
        if fact.maintenance in self.windows:  # an import may say it before the window itself
            self.windows[fact.maintenance] = _amended(self.windows[fact.maintenance], entry, fact)

    def decision(self, of: str) -> facts.Exclusion | facts.Adjudication | facts.Annulment | None:
        """The decision of an id that a reversal may take back; None if there is none."""
        for kind in (self.exclusions, self.adjudications, self.annulments):
            if of in kind:
                return kind[of].fact
        return None

    def annulled(self, source: SourceKey) -> tuple[Span, ...]:
        """The spans of a source whose runs were the monitor's own fault."""
        if not self.annulments:
            return ()
        standing = (r.fact for r in self.annulments.values() if r.fact.id not in self.reversals)
        return tuple(fact.span for fact in standing if SourceKey(fact.service, fact.check, fact.location) == source)

    def rulings(self, service: str) -> tuple[Recorded[facts.Adjudication], ...]:
        """Standing adjudications of a service in the order in which they were recorded."""
        return tuple(
            recorded
            for recorded in self.adjudications.values()
            if recorded.fact.service == service and recorded.fact.id not in self.reversals
        )


def _counted_us(entry: Entry, at_us: int) -> int:
    """Imported facts count by what they say of themselves, own ones by when they were recorded."""
    return at_us if entry.origin is Origin.IMPORTED else entry.recorded_at_us


def _imported(entry: Entry) -> bool:
    return entry.origin is Origin.IMPORTED


def _recorded(entry: Entry, fact: _F) -> Recorded[_F]:
    return Recorded(fact=fact, recorded_us=_counted_us(entry, fact.at_us), seq=entry.seq, imported=_imported(entry))


def _amended(window: Window, entry: Entry, fact: Amendment) -> Window:
    if isinstance(fact, facts.MaintenanceFinished):
        return replace(window, finished_us=_earlier(window.finished_us, fact.at_us))
    if isinstance(fact, facts.MaintenanceCancelled):
        return replace(window, cancelled_us=_earlier(window.cancelled_us, fact.at_us))
    given = Given(
        partner=fact.partner,
        counts_from_us=notice_counts_from_us(entry, fact),
        fact=fact,
        recorded_us=entry.recorded_at_us,
    )
    return replace(window, notices=(*window.notices, given))


def _earlier(known_us: int | None, at_us: int) -> int:
    return at_us if known_us is None else min(known_us, at_us)


def notice_counts_from_us(entry: Entry, notice: facts.Notice) -> int:
    """From when a notice counts. A stated instant with evidence, or an imported one, counts as stated; what this
    daemon sent counts from max(at, recorded_at), so that nobody can date a message back (CONTRACT 2.5.2).
    """
    if entry.origin is Origin.IMPORTED or notice.evidence:
        return notice.at_us
    return max(notice.at_us, entry.recorded_at_us)


def excluded_for(
    book: Book,
    partner: str,
    service: str,
    notice_needed_us: int,
) -> tuple[tuple[Excluded, ...], tuple[Rejected, ...]]:
    """What is excluded for a partner and service, in the order in which it names time, and what is not and why.

    `notice_needed_us` is the contract's notice for maintenance. Both lists cover all time; the month clips them.
    """
    excluded: list[Excluded] = []
    rejected: list[Rejected] = []
    for window in book.windows.values():
        if window.covers(partner, service):
            why = rejection(window, partner, notice_needed_us)
            if why is None:
                span = Span(window.fact.start_us, window.ends_us)
                reason = facts.ExclusionReason.MAINTENANCE
                excluded.append(Excluded(window.recorded_us, window.fact.id, reason, span))
            else:
                rejected.append(Rejected(window.fact.id, why, window.fact.span))
    for recorded in book.exclusions.values():
        fact = recorded.fact
        if service not in fact.services or (fact.partners is not None and partner not in fact.partners):
            continue
        why = _void(book, fact)
        if why is None:
            excluded.append(Excluded(recorded.recorded_us, fact.id, fact.reason, fact.span))
        else:
            rejected.append(Rejected(fact.id, why, fact.span))
    return tuple(sorted(excluded)), tuple(sorted(rejected))


def rejection(window: Window, partner: str, notice_needed_us: int) -> str | None:
    """Why a window does not qualify for a partner, None if it does. Exactly the notice needed qualifies."""
    fact = window.fact
    if fact.end_us <= fact.start_us:
        return "it ends before it starts"
    if window.cancelled_in_time:
        assert window.cancelled_us is not None, "cancelled in time says so"
        return f"cancelled at {format_instant(window.cancelled_us)}, before its start"
    notice_us = window.notice_us(partner)
    needed = format_hms(notice_needed_us)
    if notice_us is None:
        return f"no notice to {partner} on record, {needed} before start needed"
    ahead_us = fact.start_us - notice_us
    if ahead_us >= notice_needed_us:
        return None
    side = "before" if ahead_us >= 0 else "after"
    return f"notice {format_hms(ahead_us)} {side} start, {needed} needed"


def _void(book: Book, fact: facts.Exclusion) -> str | None:
    if fact.id in book.reversals:
        reversal = book.reversals[fact.id]
        note = f": {reversal.note}" if reversal.note else ""
        return f"reversed at {format_instant(reversal.at_us)}{note}"
    if fact.reason is facts.ExclusionReason.MAINTENANCE:
        return "maintenance is excluded by an announced window with its notice, not by a decision afterwards"
    return None

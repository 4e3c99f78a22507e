"""Keeps the derived outcome spans of every source in step with the runs that were committed (CONTRACT 2.2).

A run newer than all before it costs constant time; a late one re-derives its neighbourhood from the store. What comes
out always equals a rebuild from the runs: `rebuild` is the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from monitor.core.check import CheckList
from monitor.core.entry import Entry
from monitor.core.evidence import extend, merged, outcome_spans, run_item
from monitor.core.exclusion import Book
from monitor.core.fact import (
    Adjudication,
    Annulment,
    ChecksAdopted,
    Exclusion,
    Maintenance,
    MaintenanceCancelled,
    MaintenanceFinished,
    Notice,
    Reversal,
)
from monitor.core.instant import HOUR_US
from monitor.core.run import Origin, OutcomeSpan, Run, SourceKey, StatedSpan
from monitor.core.segment import Piece
from monitor.core.span import Span
from monitor.storage import Committed, Reader, SpanChange, Store

ALWAYS = Span(-(2**53), 2**53)
CURSOR_MARK = "cursor"
"""The store's document that says up to which `arrival` and entry `seq` a daemon has derived the spans."""
_READ = tuple(
    fact.TYPE
    for fact in (
        Adjudication,
        Annulment,
        ChecksAdopted,
        Exclusion,
        Maintenance,
        MaintenanceCancelled,
        MaintenanceFinished,
        Notice,
        Reversal,
    )
)


def check_lists(book_or_entries: Iterable[object]) -> dict[str, list[CheckList]]:
    """The check lists of every service, ordered by their instants, from facts in their recorded order."""
    lists: dict[str, list[CheckList]] = {}
    for fact in book_or_entries:
        if isinstance(fact, ChecksAdopted):
            lists.setdefault(fact.list.service, []).append(fact.list)
    for known in lists.values():
        known.sort(key=lambda entry: entry.at_us)
    return lists


@dataclass(slots=True)
class _Tail:
    """The end of a source's spans: the stamp of its newest item, and its spans that end at `kept_from_us` or later."""

    newest_us: int
    kept_from_us: int
    spans: list[OutcomeSpan]

    def precedes(self, start_us: int) -> bool:
        """Whether a run stamped then can be put at the end. The last span may begin after the newest item's stamp,
        where an annulment left a hole in a stated span; and what ended before `kept_from_us` may not be held, though
        a run stamped earlier than that could go on with it.
        """
        last_us = self.spans[-1].start_us if self.spans else ALWAYS.start_us
        return self.kept_from_us <= start_us and self.newest_us < start_us and last_us < start_us


@dataclass(slots=True)
class Evidence:
    """The spans of all sources of a store, as its owner keeps them.

    The changes of one `apply` must be committed before the next; if that fails, `forget` and apply again from the last
    committed arrival. `turned` are the services of which the last `apply` changed what their evidence says, and not
    only for how long it says so.
    """

    store: Reader
    lists: dict[str, list[CheckList]] = field(init=False)
    turned: set[str] = field(init=False, default_factory=set)
    _book: Book = field(init=False)
    _tails: dict[SourceKey, _Tail] = field(init=False, default_factory=dict)
    _by_service: dict[str, set[SourceKey]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Read the decisions and check lists that stand: a few of a record that is mostly seals and checkpoints."""
        with self.store.snapshot() as frozen:
            entries, first_own = list(frozen.entries(types=_READ)), frozen.first_own_entry()
        self._book = Book.of(
            entry
            for entry in entries
            if entry.origin is not Origin.IMPORTED or first_own is None or entry.seq < first_own
        )
        self._book.first_own_seq = first_own
        self.lists = check_lists(entry.fact for entry in entries)
        for source in self.store.sources():
            self._by_service.setdefault(source.service, set()).add(source)

    @property
    def book(self) -> Book:
        """All decisions on time, folded; claims are none."""
        return self._book

    def forget(self) -> None:
        """Drop what is held in memory; it is read again from the store when needed."""
        self._tails.clear()

    def apply(self, committed: Committed) -> tuple[SpanChange, ...]:
        """The spans that a committed unit changed: by its runs, contested keys, check lists and annulments."""
        self.turned = set()
        touched: dict[SourceKey, Span] = {}
        for entry in committed.entries:
            self._take(entry.fact, touched)
            self._book.take(entry)
        for key in committed.contested:
            _touch(touched, SourceKey(*key[:3]), Span(key.start_us, key.start_us + 1))
        by_source: dict[SourceKey, list[Run]] = {}
        for run in committed.fresh:
            by_source.setdefault(run.source, []).append(run)
        appended: list[SpanChange] = []
        for source, runs in by_source.items():
            known = self._by_service.setdefault(source.service, set())
            if source not in known:  # nothing of it stands in the store but these runs: nothing has to be read for it
                known.add(source)
                self._tails[source] = _Tail(ALWAYS.start_us, ALWAYS.start_us, [])
            runs.sort(key=lambda run: run.start_us)
            tail = self._tails.get(source)
            if tail is None or source in touched or not tail.precedes(runs[0].start_us):
                _touch(touched, source, Span(runs[0].start_us, runs[-1].start_us + 1))
            else:
                appended.append(self._append(source, tail, runs))
        self.turned |= {source.service for source in touched}
        return (*appended, *(self._rederive(source, within) for source, within in touched.items()))

    def tail(self, service: str, from_us: int) -> Mapping[SourceKey, Sequence[OutcomeSpan]]:
        """The spans of a service's sources that end after `from_us`; earlier ones are let go of.

        Callers ask with instants that go back only after a start, when the first runs were taken in before time was
        settled so far: then the store is read again.
        """
        found: dict[SourceKey, Sequence[OutcomeSpan]] = {}
        self._load_all(service, from_us)
        for source in self._by_service.get(service, ()):
            tail = self._tail(source, from_us)
            self._reach_back(source, tail, from_us)
            while len(tail.spans) > 1 and tail.spans[0].end_us < from_us:
                del tail.spans[0]
            tail.kept_from_us = from_us
            found[source] = tail.spans
        return found

    def _load_all(self, service: str, from_us: int) -> None:
        """Read what is held of none of a service's sources yet at once: after a start that is all of them."""
        if not self._by_service.get(service, set()).isdisjoint(self._tails):
            return
        for source, (newest_us, spans) in self.store.ends(service, from_us - 1).items():
            newest = ALWAYS.start_us if newest_us is None else newest_us
            self._tails[source] = _Tail(newest, from_us, spans)

    def _reach_back(self, source: SourceKey, tail: _Tail, from_us: int) -> None:
        """Read the spans before those that are held. A change still to be committed touches none of them."""
        if from_us >= tail.kept_from_us:
            return
        held = {span.start_us for span in tail.spans}
        earlier = self.store.spans_of(source, Span(from_us, tail.kept_from_us))
        tail.spans[:0] = [span for span in earlier if span.start_us not in held and span.end_us < tail.kept_from_us]

    def _take(self, fact: object, touched: dict[SourceKey, Span]) -> None:
        if isinstance(fact, ChecksAdopted):
            known = self.lists.setdefault(fact.list.service, [])
            known.append(fact.list)
            known.sort(key=lambda entry: entry.at_us)
            for source in self._by_service.get(fact.list.service, ()):
                _touch(touched, source, Span(fact.at_us, ALWAYS.end_us))
        elif isinstance(fact, Annulment):
            _touch(touched, SourceKey(fact.service, fact.check, fact.location), fact.span)
        elif isinstance(fact, Reversal) and fact.of in self._book.annulments:
            undone = self._book.annulments[fact.of].fact
            _touch(touched, SourceKey(undone.service, undone.check, undone.location), undone.span)

    def _append(self, source: SourceKey, tail: _Tail, runs: Sequence[Run]) -> SpanChange:
        """Put ordered runs, newer than all before them, at the end of their source's spans."""
        lists, annulled = self.lists.get(source.service, ()), self._book.annulled(source)
        written: dict[int, OutcomeSpan] = {}
        for run in runs:
            before = tail.spans[-1] if tail.spans else None
            last, begun = extend(before, run_item(run, lists, annulled))
            if last is not None and before is not None and last != before:
                tail.spans[-1] = written[last.start_us] = last
                if last.end_us < before.end_us:
                    self.turned.add(source.service)
            if begun is not None:
                tail.spans.append(begun)
                written[begun.start_us] = begun
                self.turned.add(source.service)
        tail.newest_us = runs[-1].start_us
        return SpanChange(source=source, written=tuple(written.values()))

    def _tail(self, source: SourceKey, from_us: int) -> _Tail:
        tail = self._tails.get(source)
        if tail is None:
            tail = self._load(source, from_us)
            self._tails[source] = tail
        return tail

    def _load(self, source: SourceKey, from_us: int) -> _Tail:
        # One that ends at the instant is continued by a run stamped there.
        spans = self.store.spans_of(source, Span(from_us - 1, ALWAYS.end_us))
        newest = self.store.run_before(source, ALWAYS.end_us)
        stamps = [span.start_us for span in self.store.stated(source, ALWAYS)]
        stamps += [newest.start_us] if newest else []
        return _Tail(max(stamps, default=ALWAYS.start_us), from_us, spans)

    def _rederive(self, source: SourceKey, within: Span) -> SpanChange:
        """The spans of a source around `within`, from its runs, merged with what stands on either side."""
        lists = self.lists.get(source.service, ())
        change = rederive(self.store, source, within, lists, self._book.annulled(source))
        gone = {*change.deleted, *(span.start_us for span in change.written)}
        tail = self._load(source, min([within.start_us, *gone]))
        tail.spans = sorted([*(span for span in tail.spans if span.start_us not in gone), *change.written])
        self._tails[source] = tail
        return change


def _touch(touched: dict[SourceKey, Span], source: SourceKey, span: Span) -> None:
    known = touched.get(source, span)
    touched[source] = Span(min(known.start_us, span.start_us), max(known.end_us, span.end_us))


def rederive(
    store: Reader,
    source: SourceKey,
    within: Span,
    lists: Sequence[CheckList],
    annulled: Sequence[Span],
) -> SpanChange:
    """What changes in a source's stored spans when the evidence in `within` is read again from the store."""
    before = store.run_before(source, within.start_us)
    after = store.run_after(source, within.end_us)
    stated = list(store.stated(source, ALWAYS))
    reach_us = _reach_us(lists)
    kept_from_us = min([within.start_us - reach_us, *([before.start_us] if before else [])])
    kept = list(store.kept(source, Span(kept_from_us, after.start_us + 1 if after else ALWAYS.end_us)))
    from_us = before.start_us if before else min([within.start_us, *(s.start_us for s in stated)])
    # Where the runs have gone, what they said reaches back to the start of its piece.
    from_us = min([from_us, *(p.start_us for p in kept if p.start_us < within.start_us and p.end_us >= from_us)])
    to_us = after.start_us if after else ALWAYS.end_us
    region = Span(from_us, to_us)
    derived = outcome_spans(
        store.runs(source, Span(from_us, to_us + 1)),
        (span for span in stated if span.start_us >= from_us),
        lists,
        annulled,
        (piece for piece in kept if from_us <= piece.start_us <= to_us),
    )
    inside = [piece for span in derived if (piece := _clip(span, region)) is not None]
    standing = store.spans_of(source, Span(from_us - 1, to_us + 1))
    left = [p for span in standing if (p := _clip(span, Span(ALWAYS.start_us, from_us))) is not None]
    right = [p for span in standing if (p := _clip(span, Span(to_us, ALWAYS.end_us))) is not None]
    whole = tuple(merged([*left, *inside, *right]))
    starts = {span.start_us for span in whole}
    gone = tuple(span.start_us for span in standing if span.start_us not in starts)
    known = set(standing)
    return SpanChange(source=source, deleted=gone, written=tuple(span for span in whole if span not in known))


def _reach_us(lists: Sequence[CheckList]) -> int:
    """How long before its end a piece of an expired hour can begin, at most."""
    return HOUR_US + max((entry.stale_after_us for entry in lists), default=0)


def _clip(span: OutcomeSpan, to: Span) -> OutcomeSpan | None:
    part = Span(span.start_us, span.end_us).clip(to)
    return OutcomeSpan(part.start_us, part.end_us, span.outcome) if part.length_us else None


def derive(
    reader: Reader,
    source: SourceKey,
    lists: Sequence[CheckList],
    annulled: Sequence[Span],
) -> Iterable[OutcomeSpan]:
    """All spans of a source from its retained runs: the batch truth."""
    runs, stated, kept = reader.runs(source, ALWAYS), reader.stated(source, ALWAYS), reader.kept(source, ALWAYS)
    return outcome_spans(runs, stated, lists, annulled, kept)


def reached_from_us(reader: Reader, service: str, at_us: int, lists: Sequence[CheckList]) -> int:
    """The stamp from which on a run can say something about what a service's kept spans say at an instant or later."""
    from_us, there = at_us, Span(at_us, at_us + 1)
    for source in reader.sources(service):
        from_us = min([from_us, *(span.start_us for span in reader.spans_of(source, there))])
        from_us = min([from_us, *(span.start_us for span in reader.stated(source, there))])
    return from_us - max((entry.stale_after_us for entry in lists), default=0)


def derive_known(
    reader: Reader,
    source: SourceKey,
    within: Span,
    arrival: int,
    lists: Sequence[CheckList],
    annulled: Sequence[Span],
) -> list[OutcomeSpan]:
    """The spans of a source that overlap `within`, unclipped, from the runs known when `arrival` was the last.

    It reads back to where the first of them begins, twice as far each time.
    """
    stale_us = max((entry.stale_after_us for entry in lists), default=0)
    stated = list(reader.stated(source, ALWAYS))
    begun = [span.start_us for span in stated if span.start_us < within.start_us < span.end_us]
    from_us = min([within.start_us, *begun]) - max(stale_us, 1)
    while True:
        runs = reader.runs_known(source, Span(from_us, within.end_us), arrival)
        reaching = (span for span in stated if span.start_us >= from_us)
        kept = list(reader.kept(source, Span(from_us - _reach_us(lists), within.end_us)))
        left = (piece for piece in kept if piece.start_us >= from_us)
        derived = outcome_spans(runs, reaching, lists, annulled, left)
        spans = [span for span in derived if Span(span.start_us, span.end_us).overlaps(within)]
        whole = not spans or spans[0].start_us - stale_us > from_us
        if whole or not _has_before(reader, source, from_us, [*stated, *kept]):
            return spans
        from_us -= within.start_us - from_us


def _has_before(reader: Reader, source: SourceKey, at_us: int, beside: Iterable[StatedSpan | Piece]) -> bool:
    return reader.run_before(source, at_us) is not None or any(span.start_us < at_us for span in beside)


def rebuild(store: Store, sources: Iterable[SourceKey] | None = None) -> int:
    """Derive the spans of the sources (None: all) anew and store them; how many sources were written."""
    entries = list(store.entries())
    book, lists = Book.of(entries), check_lists(entry.fact for entry in entries)
    chosen = list(store.sources() if sources is None else sources)
    for source in chosen:
        store.rewrite_spans(source, derive(store, source, lists.get(source.service, ()), book.annulled(source)))
    return len(chosen)


def differing(reader: Reader, *, progress: Callable[[int, int], None] | None = None) -> list[SourceKey]:
    """The sources whose stored spans are not what a rebuild from the retained runs and pieces gives: there are none, or
    somebody else changed them.

    A daemon makes runs durable first and derives after (DESIGN, "One straight line"): what it has yet to derive of the
    newest is no difference, where the spans are what the record up to its cursor says.
    """
    wrong = []
    with reader.snapshot() as frozen:
        entries = list(frozen.entries())
        book, lists = Book.of(entries), check_lists(entry.fact for entry in entries)
        cursor = frozen.mark(CURSOR_MARK)
        sources = frozen.sources()
        for number, source in enumerate(sources, 1):
            derived = derive(frozen, source, lists.get(source.service, ()), book.annulled(source))
            stored = frozen.spans_of(source, ALWAYS)
            if list(derived) != stored and (cursor is None or _derived_by(frozen, source, entries, cursor) != stored):
                wrong.append(source)
            if progress is not None:
                progress(number, len(sources))
    return wrong


def _derived_by(
    reader: Reader, source: SourceKey, entries: Sequence[Entry], cursor: Mapping[str, int]
) -> list[OutcomeSpan]:
    """The spans of a source from what a daemon had read when its cursor stood there."""
    then = [entry for entry in entries if entry.seq <= cursor["seq"]]
    lists = check_lists(entry.fact for entry in then).get(source.service, ())
    runs = reader.runs_known(source, ALWAYS, cursor["arrival"])
    stated, kept = reader.stated(source, ALWAYS), reader.kept(source, ALWAYS)
    return list(outcome_spans(runs, stated, lists, Book.of(then).annulled(source), kept))

"""What a decision would do to the months: the figures with and without it, side by side; nothing is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from monitor.core.availability import floor_text
from monitor.core.calendar import Month, month_of
from monitor.core.entry import Entry
from monitor.core.fact import Close
from monitor.core.month import Figures
from monitor.core.run import OutcomeSpan, SourceKey
from monitor.core.span import Span
from monitor.core.terms import percent_text
from monitor.ledger.act import Order, prepare
from monitor.ledger.close import reach
from monitor.ledger.decide import Refused
from monitor.ledger.month import Months
from monitor.ledger.record import Basis
from monitor.storage import Reader, SpanChange


class Effect(NamedTuple):
    """A month whose figures would change, as they are and as they would be."""

    statement: str
    availability_before: str
    availability_after: str
    credit_before: str
    credit_after: str


def effects(reader: Reader, basis: Basis, order: Order) -> list[Effect] | Refused:
    """The months that a command would change, in their order; or why it would be refused."""
    unit, outcome = prepare(reader, basis, order)
    if unit is None or isinstance(outcome, Refused):
        assert isinstance(outcome, Refused), "only a refusal has nothing to record"
        return outcome
    before = Months(reader, basis, order.now_us)
    # The overlay stands in where only entries and spans are asked for.
    after = Months(_Overlay(reader, outcome.entries, unit.spans), basis, order.now_us)
    found: list[Effect] = []
    for month, partner, service in _touched(after, outcome.entries):
        was = before.figures(month, partner, service)
        becomes = after.figures(month, partner, service)
        if was is not None and becomes is not None and _shown(was) != _shown(becomes):
            name = f"{month}/{partner}/{service}"
            (share, credit), (share_then, credit_then) = _shown(was), _shown(becomes)
            found.append(Effect(name, share, share_then, credit, credit_then))
    return found


def _shown(figures: Figures) -> tuple[str, str]:
    credit = figures.credit
    percent = f"{floor_text(figures.availability)} %"
    return percent, f"{percent_text(credit.percent)} % = {credit.fee.currency} {credit.amount}"


def _touched(months: Months, entries: Sequence[Entry]) -> Iterator[tuple[Month, str, str]]:
    """Each month, partner and service within reach of the facts."""
    for entry in entries:
        if isinstance(entry.fact, Close):
            yield Month.parse(entry.fact.month), entry.fact.partner, entry.fact.service
    reached = [found for entry in entries if (found := reach(months, entry.fact)) is not None]
    for partner, service in months.record.agreements.pairs():
        spans = [
            span
            for span, services, partners in reached
            if service in services and (partners is None or partner in partners)
        ]
        contracts = {s.contract for s in months.record.agreements.subscriptions if s.partner == partner}
        zones = [terms.zone for terms in months.record.agreements.terms if terms.contract in contracts]
        if not spans or not zones:
            continue
        zone = months.basis.zone(zones[-1])
        month = month_of(min(span.start_us for span in spans), zone)
        last = month_of(max(span.end_us - 1 for span in spans), zone)
        while month <= last:
            yield month, partner, service
            month = month.next()


class _Overlay:
    """A reader that answers as if further entries and spans stood in the ledger."""

    def __init__(self, reader: Reader, entries: Sequence[Entry], spans: Sequence[SpanChange]) -> None:
        self._reader = reader
        self._entries = entries
        self._changes: Mapping[SourceKey, SpanChange] = {change.source: change for change in spans}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else the reader has
        return getattr(self._reader, name)

    def entries(self, *, after: int = 0, types: Sequence[str] | None = None) -> Iterator[Entry]:
        yield from self._reader.entries(after=after, types=types)
        for entry in self._entries:
            if entry.seq > after and (types is None or entry.type in types):
                yield entry

    def spans(self, service: str, within: Span) -> dict[SourceKey, list[OutcomeSpan]]:
        return {
            source: self._changed(source, spans, within)
            for source, spans in self._reader.spans(service, within).items()
        }

    def _changed(self, source: SourceKey, spans: list[OutcomeSpan], within: Span) -> list[OutcomeSpan]:
        change = self._changes.get(source)
        if change is None:
            return spans
        gone = {*change.deleted, *(span.start_us for span in change.written)}
        kept = [span for span in spans if span.start_us not in gone]
        fresh = [span for span in change.written if Span(span.start_us, span.end_us).overlaps(within)]
        return sorted([*kept, *fresh])

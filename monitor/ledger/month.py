"""A month's figures: facts and evidence in, statements out. Every view of a month is a view of what this computes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from operator import attrgetter
from typing import Any

from monitor.core.availability import account
from monitor.core.calendar import Month, claim_deadline_us, deadline_from_us
from monitor.core.check import CheckList, list_in_force
from monitor.core.exclusion import excluded_for
from monitor.core.fact import Adjudication, Annulment, ChecksAdopted, Exclusion, Ruling
from monitor.core.instant import DAY_US, format_instant
from monitor.core.month import Claims, Figures, Status, claim_status
from monitor.core.run import Outcome, OutcomeSpan, Run, SourceKey
from monitor.core.span import Span
from monitor.core.statement import Setting, document
from monitor.core.terms import Agreements
from monitor.core.verdict import VerdictSpan, judge
from monitor.core.wire import write_fact
from monitor.ledger.evidence import ALWAYS, derive_known, reached_from_us
from monitor.ledger.ground import Ground, ground_now, ground_of
from monitor.ledger.incidents.view import contractual
from monitor.ledger.kept import FigureKeeper
from monitor.ledger.record import Basis, Record, read_record
from monitor.storage import Reader

# (statements made, statements to be made)
Progress = Callable[[int, int], None]
RECENT_US = 63 * DAY_US
"""As far back as the month before this one can begin, in any zone."""

_start_us, _end_us = attrgetter("start_us"), attrgetter("end_us")

Evidence = Mapping[SourceKey, Sequence[OutcomeSpan]]


class NoSuchVersionError(LookupError):
    """A version of a statement that was never issued; says which there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement: what it stands on, its figures, and the JSON object in its promised order."""

    ground: Ground
    figures: Figures
    document: dict[str, Any]


@dataclass(slots=True)
class Months:
    """The months of a ledger as it stands at `now_us`. Sweeps are made once a service and month.

    `recorded` reads the decisions: whole each time, or by a RecordKeeper. With a FigureKeeper the evidence of a service
    is read once for all that is asked of its last months, and what did not change is not computed again.
    """

    reader: Reader
    basis: Basis
    now_us: int
    recorded: Callable[[Reader, Agreements], Record] = read_record
    figures_kept: FigureKeeper | None = None
    record: Record = field(init=False)
    _recent: dict[str, Evidence] = field(init=False, default_factory=dict)
    _all_recent: Mapping[str, Evidence] | None = field(init=False, default=None)
    _swept: dict[tuple[str, Span, int | None, int], tuple[Evidence, list[VerdictSpan]]] = field(
        init=False,
        default_factory=dict,
    )

    def __post_init__(self) -> None:
        """Read the decisions."""
        self.record = self.recorded(self.reader, self.basis.agreements)

    def statements(
        self,
        month: Month,
        partner: str | None = None,
        service: str | None = None,
        version: int | None = None,
        *,
        progress: Progress | None = None,
    ) -> list[Statement]:
        """The statements of a month, of all partners and services or of those named, ordered by their ids.

        A closed month gives its newest version, or the `version` asked for (NoSuchVersionError if it was never
        issued); an open one its provisional figures. There is none for a month wholly outside a subscription, nor
        where no terms are in force in it.
        """
        found: list[Statement] = []
        pairs = self.record.agreements.pairs()
        chosen = [pair for pair in pairs if partner in {None, pair[0]} and service in {None, pair[1]}]
        for number, (owner, of) in enumerate(chosen, 1):
            ground = self.ground(month, owner, of, version)
            if ground is not None:
                found.append(self.statement(ground))
            if progress is not None:
                progress(number, len(chosen))
        return found

    def ground(self, month: Month, partner: str, service: str, version: int | None = None) -> Ground | None:
        """What a statement stands on: the close of its version, or the ledger as it stands for an open month."""
        closes = self.record.closes(partner, service, str(month))
        if version is None and not closes:
            return ground_now(self.record, self.basis, month, partner, service)
        newest = len(closes)
        wanted = newest if version is None else version
        for entry, close in closes:
            if close.version == wanted:
                return ground_of(self.record, entry, close, latest=wanted == newest)
        msg = f"{month} of {service} for {partner} has no version {version}; issued: {newest or 'none'}"
        raise NoSuchVersionError(msg)

    def statement(self, ground: Ground) -> Statement:
        """The statement of a ground."""
        figures = self.figures_of(ground)
        return Statement(ground=ground, figures=figures, document=self._document(ground, figures))

    def figures(self, month: Month, partner: str, service: str) -> Figures | None:
        """The figures of a month in its newest version; None outside a subscription or without terms."""
        version = len(self.record.closes(partner, service, str(month)))
        if version and self.figures_kept is not None:
            known = self.figures_kept.closed(partner, service, str(month), version)
            if known is not None:
                return known
        ground = self.ground(month, partner, service)
        figures = None if ground is None else self.figures_of(ground)
        if version and self.figures_kept is not None and figures is not None:
            self.figures_kept.close(figures, version)
        return figures

    def figures_of(self, ground: Ground) -> Figures:
        """The figures of a ground."""
        book = ground.record.book
        excluded, rejected = excluded_for(book, ground.partner, ground.service, ground.terms.maintenance_notice_us)
        rulings = book.rulings(ground.service)
        consented = [r.fact.id for r in rulings if _consented(ground.record, r.fact, ground.partner)]
        _evidence, verdicts = self._sweep_of(ground)
        as_of_us = self.now_us if ground.issued_us is None else max(ground.issued_us, ground.period.end_us)
        return Figures(
            month=ground.month,
            partner=ground.partner,
            service=ground.service,
            terms=ground.terms,
            subscription=ground.subscription,
            account=account(verdicts, ground.period, as_of_us, excluded, rulings, consented),
            rejected=tuple(entry for entry in rejected if _touches(entry.span, ground.period)),
        )

    def sweep(self, service: str, period: Span) -> tuple[Evidence, list[VerdictSpan]]:
        """The evidence of a service in a period, and its verdicts up to now."""
        return self._swept_once(service, period, None, self.record)

    def read_ahead(self) -> None:
        """The evidence of every service in one question: for whoever asks of all of them."""
        if self.figures_kept is not None and self._all_recent is None:
            self._all_recent = self.reader.spans_by_service(self._recently)

    @property
    def _recently(self) -> Span:
        return Span(self.now_us - RECENT_US, self.now_us + 1)

    def spans(self, service: str, within: Span) -> Evidence:
        """Derived outcome spans that overlap the span (unclipped), by source, by start."""
        recent = self._recently
        if self.figures_kept is None or within.start_us < recent.start_us or within.end_us > recent.end_us:
            return self.reader.spans(service, within)
        if self._all_recent is not None:
            return _overlapping(self._all_recent.get(service, {}), within)
        if service not in self._recent:
            self._recent[service] = self.reader.spans(service, recent)
        return _overlapping(self._recent[service], within)

    def _sweep_of(self, ground: Ground) -> tuple[Evidence, list[VerdictSpan]]:
        return self._swept_once(ground.service, ground.period, ground.arrival, ground.record)

    def _swept_once(
        self,
        service: str,
        period: Span,
        arrival: int | None,
        record: Record,
    ) -> tuple[Evidence, list[VerdictSpan]]:
        key = (service, period, arrival, record.size)
        if key not in self._swept:
            until = Span(period.start_us, max(period.start_us, min(period.end_us, self.now_us)))
            lists = record.lists.get(service, [])
            if arrival is None or not self._changed_since(service, period, arrival, record):
                evidence = self.spans(service, until)
            else:
                evidence = self._known_then(service, until, arrival, record)
            if self.figures_kept is None or arrival is not None:
                verdicts = judge(lists, evidence, until)
            else:
                verdicts = self.figures_kept.verdicts(service, period, lists, evidence, until)
            self._swept[key] = (evidence, verdicts)
        return self._swept[key]

    def _changed_since(self, service: str, period: Span, arrival: int, record: Record) -> bool:
        """Whether the derived spans of a closed month may have changed since: late runs, new annulments, new lists."""
        now, then = self.record, record
        annulled = now.book.annulments.keys() != then.book.annulments.keys()
        reversed_since = now.book.reversals.keys() != then.book.reversals.keys()
        lists = now.lists.get(service, [])
        if annulled or reversed_since or lists != then.lists.get(service, []):
            return True
        reached = Span(reached_from_us(self.reader, service, period.start_us, lists), period.end_us)
        return self.reader.arrived_after(service, reached, arrival)

    def _known_then(self, service: str, until: Span, arrival: int, record: Record) -> Evidence:
        """The evidence of a service from the runs that had arrived by a close, by the decisions of then."""
        lists = record.lists.get(service, [])
        known = {
            source: derive_known(self.reader, source, until, arrival, lists, record.book.annulled(source))
            for source in self.reader.sources(service)
        }
        return {source: spans for source, spans in known.items() if spans}

    def _document(self, ground: Ground, figures: Figures) -> dict[str, Any]:
        evidence, _verdicts = self._sweep_of(ground)
        period, record = ground.period, ground.record
        zone = self.basis.zone(figures.terms.zone)
        claims = Claims(
            filed_us=self.claims(ground),
            deadline_us=self.claim_deadline_us(ground),
            final=ground.version > 0,
            applied=self.applied(ground) is not None,
        )
        claim, filed_us = claim_status(figures, claims, self.now_us)
        status = figures.status if not ground.version else Status.FINAL if ground.latest else Status.SUPERSEDED
        return document(
            figures,
            Setting(
                partner_name=ground.partner_name,
                service_name=ground.service_name,
                zone=zone,
                version=max(1, ground.version),
                status=status,
                claim=claim.value,
                claim_filed_us=filed_us,
                claim_deadline_us=claims.deadline_us,
                decisions=_decisions(record, ground.partner, ground.service, period),
                imported=_imported(record, ground.partner, ground.service, period),
                issued_us=ground.issued_us,
                checkpoint=record.checkpoint,
                restates=ground.restates,
                incidents=self._incidents(ground, zone),
                check_lists=[_written(entry, zone) for entry in _lists_in(record, ground.service, period)],
                locations=sorted({source.location for source in evidence}),
                software=ground.software,
                holidays=ground.holidays,
                entries=record.size,
                head=record.head,
                first_failures=[self._first_failure(ground, outage.span) for outage in figures.account.outages],
            ),
        )

    def _incidents(self, ground: Ground, zone: tzinfo) -> Sequence[Mapping[str, Any]]:
        """The partner's incidents as they are, or as a close recorded them: their instants rest on holiday tables."""
        if ground.incidents is not None:
            return ground.incidents
        as_of_us = self.now_us if ground.issued_us is None else ground.issued_us
        record, period = ground.record, ground.period
        return contractual(record, self.basis, ground.partner, ground.service, period, as_of_us, zone)

    def claim_deadline_us(self, ground: Ground) -> int:
        """The instant from which a claim is late. A restatement that raises the credit reopens the period from its
        issue, for the difference (CONTRACT 2.7); one after it that does not raise it again takes nothing of that back.
        """
        zone = self.basis.zone(ground.terms.zone)
        reopened_us = self._reopened_us(ground)
        if reopened_us is not None:
            return deadline_from_us(reopened_us, ground.terms.claim_within_days, zone)
        return claim_deadline_us(ground.month, ground.terms.claim_within_days, zone)

    def claims(self, ground: Ground) -> tuple[int, ...]:
        """When the month's credit was claimed; after a restatement that raised it, only claims of the difference."""
        since_us = self._reopened_us(ground) or ALWAYS.start_us
        ours = (ground.partner, ground.service, str(ground.month))
        claims = (r.fact for r in self.record.book.claims)
        return tuple(c.at_us for c in claims if (c.partner, c.service, c.month) == ours and c.at_us >= since_us)

    def applied(self, ground: Ground) -> str | None:
        """The invoice against which the month's credit was set off; after a restatement that raised it, the
        difference. None where it was not.
        """
        since_us = self._reopened_us(ground) or ALWAYS.start_us
        ours = (ground.partner, ground.service, str(ground.month))
        facts = (r.fact for r in self.record.book.applied)
        found = (f.invoice for f in facts if (f.partner, f.service, f.month) == ours and f.at_us >= since_us)
        return next(found, None)

    def _reopened_us(self, ground: Ground) -> int | None:
        """The issue of the newest version up to this one that raised the credit; None where none did."""
        if _raises((ground.restates or {}).get("credit_delta")):
            return ground.issued_us
        closes = self.record.closes(ground.partner, ground.service, str(ground.month))
        raised = (c.at_us for _entry, c in closes if c.version < ground.version and _raises(c.credit_delta))
        return max(raised, default=None)

    def _first_failure(self, ground: Ground, outage: Span) -> str | None:
        """The earliest failing run behind an outage, in words; None where only a ruling made it."""
        evidence, _verdicts = self._sweep_of(ground)
        in_force = list_in_force(ground.record.lists.get(ground.service, []), outage.start_us)
        counted = frozenset(check.id for check in in_force.checks) if in_force else frozenset()
        stated: list[str] = []
        first: Run | None = None
        for span, source in sorted(_failing_at(evidence, outage.start_us, counted)):
            if first is not None and (first.start_us, first.source) <= (span.start_us, source):
                break  # no run of a span that comes later is earlier
            run = self._failing_run(source, span, ground.arrival)
            if run is None:
                stated.append(f"{source.check} at {source.location}: failed, as stated by an imported history")
            elif first is None or (run.start_us, run.source) < (first.start_us, first.source):
                first = run
        return min(stated, default=None) if first is None else failure_text(first)

    def _failing_run(self, source: SourceKey, within: Span, arrival: int | None) -> Run | None:
        if arrival is None:
            run = self.reader.first_failure(source, within)
        else:
            known = self.reader.runs_known(source, within, arrival)
            run = next((run for run in known if run.outcome is Outcome.FAIL), None)
        # Where the runs have gone, the one that a failing piece began with was kept.
        kept = next((piece.first for piece in self.reader.kept(source, within) if piece.first is not None), None)
        return min(filter(None, (run, kept)), key=lambda found: found.start_us, default=None)


def _overlapping(evidence: Evidence, within: Span) -> Evidence:
    """The part of wider evidence that overlaps a span: what a reader gives for it."""
    found: dict[SourceKey, Sequence[OutcomeSpan]] = {}
    if within.end_us <= within.start_us:
        return found
    for source, spans in evidence.items():
        # Spans of a source are disjoint and in order, so their ends are in order too.
        first = bisect_right(spans, within.start_us, key=_end_us)
        last = bisect_left(spans, within.end_us, key=_start_us)
        if first < last:
            found[source] = spans[first:last]
    return found


def _failing_at(evidence: Evidence, at_us: int, checks: Container[str]) -> Iterable[tuple[Span, SourceKey]]:
    """The spans in which a source of one of the checks fails at an instant."""
    for source, spans in evidence.items():
        if source.check not in checks:
            continue
        position = bisect_right(spans, at_us, key=lambda span: span.start_us) - 1
        if position >= 0 and spans[position].outcome is Outcome.FAIL and at_us < spans[position].end_us:
            yield Span(spans[position].start_us, spans[position].end_us), source


def _raises(credit_delta: str | None) -> bool:
    """Whether the change in credit that a version brings (None: it is no restatement) raised it."""
    delta = credit_delta or "0"
    return not delta.startswith("-") and any(digit in delta for digit in "123456789")


def _consented(record: Record, ruling: Adjudication, partner: str) -> bool:
    """Whether this partner agreed that the time stays unknown. Another partner's consent does not bind it."""
    others = {owner for owner, _service in record.agreements.pairs()} - {partner}
    return ruling.verdict is Ruling.UNKNOWN and bool(ruling.agreed_by) and ruling.agreed_by not in others


def _lists_in(record: Record, service: str, period: Span) -> list[CheckList]:
    """The check lists in force at some time of the period."""
    lists = record.lists.get(service, [])
    last_before = max((entry.at_us for entry in lists if entry.at_us <= period.start_us), default=period.start_us)
    return [entry for entry in lists if last_before <= entry.at_us < period.end_us]


def _decisions(record: Record, partner: str, service: str, period: Span) -> list[dict[str, Any]]:
    """Adjudications and annulments that touch the month, and the reversals of anything that does. What was decided for
    another partner alone is none of this one's business.
    """
    book = record.book
    rulings = [r.fact for r in book.adjudications.values() if r.fact.service == service]
    annulments = [r.fact for r in book.annulments.values() if r.fact.service == service]
    exclusions = [r.fact for r in book.exclusions.values() if _covers(r.fact, partner, service, period)]
    decisions: list[Adjudication | Annulment | Exclusion] = [*rulings, *annulments, *exclusions]
    touching = [fact for fact in decisions if fact.span.overlaps(period)]
    ids = {fact.id for fact in touching}
    reversals = [reversal for of, reversal in book.reversals.items() if of in ids]
    return [write_fact(fact) for fact in (*touching, *reversals) if not isinstance(fact, Exclusion)]


def _imported(record: Record, partner: str, service: str, period: Span) -> bool:
    """Whether a statement of this partner, service and month rests on imported facts."""
    book = record.book
    lists = {entry.at_us for entry in _lists_in(record, service, period)}
    touching = [
        w.imported for w in book.windows.values() if w.covers(partner, service) and _touches(w.fact.span, period)
    ]
    touching += [r.imported for r in book.exclusions.values() if _covers(r.fact, partner, service, period)]
    touching += [r.imported for r in book.rulings(service) if r.fact.span.overlaps(period)]
    return bool(lists & record.imported_at.get(service, frozenset())) or any(touching)


def _covers(fact: Exclusion, partner: str, service: str, period: Span) -> bool:
    """Whether an exclusion speaks of this partner's service and month."""
    whose = fact.partners is None or partner in fact.partners
    return whose and service in fact.services and fact.span.overlaps(period)


def _touches(span: Span, period: Span) -> bool:
    """Whether it shares time with the period, or (where it is empty or reversed) starts in it."""
    return span.overlaps(period) or period.contains(span.start_us)


def _written(entry: CheckList, zone: tzinfo) -> dict[str, Any]:
    written = write_fact(ChecksAdopted(list=entry)) | {"at": format_instant(entry.at_us, zone)}
    return {name: value for name, value in written.items() if name not in {"type", "service"}}


def failure_text(run: Run) -> str:
    """A failing run in one line: check, location, reason, step, message."""
    step = f" in {run.step!r}" if run.step else ""
    said = f": {run.message}" if run.message else ""
    return f"{run.check} at {run.location}: {run.reason or 'failed'}{step}{said}"


def closed_grounds(record: Record) -> Iterable[Ground]:
    """The grounds of the newest version of every closed month."""
    newest: dict[tuple[str, str, str], Ground] = {}
    for entry, close in record.all_closes():
        newest[close.partner, close.service, close.month] = ground_of(record, entry, close, latest=True)
    return newest.values()

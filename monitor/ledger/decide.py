"""The one door for decisions: a command in, facts to record or a refusal with its reason out (CONTRACT 2.4-2.7).

Nothing is written here. The command line, the daemon and later the API call `decide` and commit what it gives; a
preview is the same call whose facts are not committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitor.core import fact as facts
from monitor.core.availability import floor_text
from monitor.core.calendar import Month, MonthError
from monitor.core.exclusion import Window
from monitor.core.fact import ExclusionReason, Fact
from monitor.core.incident import Illegal
from monitor.core.instant import format_instant, format_seconds
from monitor.core.month import ClaimStatus
from monitor.core.span import Span, intersect, measure_us
from monitor.core.verdict import Verdict
from monitor.ledger.close import Closed, close, restate, touched_months
from monitor.ledger.command import (
    Adjudicate,
    AnnounceMaintenance,
    Annul,
    ApplyCredit,
    CancelMaintenance,
    CloseMonth,
    Command,
    Exclude,
    FileClaim,
    FinishMaintenance,
    Notified,
    NotifyMaintenance,
    Reverse,
)
from monitor.ledger.ground import Ground, notice_needed_us
from monitor.ledger.incidents.command import IncidentCommand, OpenIncident
from monitor.ledger.incidents.decide import decide_incident
from monitor.ledger.month import Months
from monitor.ledger.recurrence import RecurrenceError, expand
from monitor.storage import OutboxRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The facts to record, in order, and remarks for whoever decided: what will not qualify and why.

    `outbox` are the messages they call for, in the same transaction.
    """

    facts: tuple[Fact, ...]
    remarks: tuple[str, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why a command is not followed and what would make it so. An expected outcome, not an error of the program."""

    reason: str


def decide(
    months: Months,
    command: Command,
    *,
    by: str,
    tz_version: str = "",
    over_closed: bool = False,
) -> Decided | Refused:
    """The facts of a command at `months.now_us`, or why not. `by` is who decides.

    A decision that touches a closed month is refused unless `over_closed` is given: it then stands on record for the
    next version, and changes no closed one (CONTRACT 2.7).
    """
    if not by.strip():
        return Refused(reason="a decision needs its author")
    desk = _Desk(months, by, tz_version)
    try:
        decided = desk.handle(command)
    except _RefusedError as refusal:
        return Refused(reason=str(refusal))
    closed = touched_months(months, decided.facts)
    if closed and not over_closed:
        return Refused(
            reason=f"it touches closed months: {', '.join(closed)}; --restate records it for their next version",
        )
    return decided


class _RefusedError(Exception):
    """Ends a command inside this module only."""


def _refuse(reason: str) -> _RefusedError:
    return _RefusedError(reason)


class _Desk:
    """Follows one command; every method either gives facts or refuses."""

    def __init__(self, months: Months, by: str, tz_version: str) -> None:
        self.months = months
        self.book = months.record.book
        self.now_us = months.now_us
        self.by = by
        self.tz_version = tz_version

    def handle(self, command: Command) -> Decided:  # noqa: C901 - one line a command
        match command:
            case AnnounceMaintenance():
                return self.announce(command)
            case NotifyMaintenance():
                window = self.window(command.maintenance)
                return Decided(facts=(self.notice(window.fact, command.notified),))
            case FinishMaintenance():
                return self.finish(command)
            case CancelMaintenance():
                return self.cancel(command)
            case Exclude():
                return self.exclude(command)
            case Reverse():
                return self.reverse(command)
            case Adjudicate():
                return self.adjudicate(command)
            case Annul():
                return self.annul(command)
            case FileClaim():
                return self.claim(command)
            case ApplyCredit():
                return self.apply_credit(command)
            case CloseMonth():
                return self.close(command)
            case _:
                return self.incident(command)

    def incident(self, command: IncidentCommand) -> Decided:
        if isinstance(command, OpenIncident):
            self.services((command.service,))
            self.partners(None if command.partner is None else (command.partner,))
        decided = decide_incident(self.months, command, by=self.by)
        if isinstance(decided, Illegal):
            raise _refuse(decided.reason)
        return Decided(facts=decided.facts, remarks=decided.remarks, outbox=decided.outbox)

    def announce(self, command: AnnounceMaintenance) -> Decided:
        first = self.span(command.start_us, command.end_us)
        self.services(command.services)
        self.partners(command.partners)
        if command.start_us <= self.now_us and not (command.evidence or "").strip():
            raise _refuse("the window has already begun; a window in the past needs evidence of what was agreed when")
        if command.extends is not None:
            self.window(command.extends)
        id_ = self.free_id("m", command.id)
        spans = (first,) if command.rule is None else self.recurring(command.rule, first)
        decided: list[Fact] = []
        remarks: list[str] = []
        for number, span in enumerate(spans, 1):
            window = facts.Maintenance(
                id=id_ if command.rule is None else self.free_id("m", f"{id_}.{number}"),
                services=command.services,
                partners=command.partners,
                start_us=span.start_us,
                end_us=span.end_us,
                at_us=self.now_us,
                summary=command.summary,
                extends=command.extends,
                by=self.by,
                evidence=command.evidence,
            )
            decided += [window, *(self.notice(window, notified) for notified in command.notified)]
            remarks += self.short_notice(window, command.notified)
        return Decided(facts=tuple(decided), remarks=tuple(remarks))

    def recurring(self, rule: str, first: Span) -> tuple[Span, ...]:
        zones = {terms.zone for terms in self.months.record.agreements.terms}
        if len(zones) != 1:
            raise _refuse(f"a recurring window needs one contract zone to be read in; there are {len(zones)}")
        try:
            return expand(rule, first, self.months.basis.zone(zones.pop()))
        except RecurrenceError as error:
            raise _refuse(str(error)) from error

    def short_notice(self, window: facts.Maintenance, notified: Sequence[Notified]) -> Iterable[str]:
        """Which partners cannot have their notice in time any more, unless it was given before."""
        told_us = {told.partner: told.at_us for told in notified}
        agreements = self.months.record.agreements
        for partner, service in agreements.pairs():
            covered = window.partners is None or partner in window.partners
            if service not in window.services or not covered:
                continue
            needed_us = notice_needed_us(self.months.record, self.months.basis, partner, service, window.start_us)
            latest_us = min(self.now_us, told_us.get(partner, self.now_us))
            if needed_us is not None and window.start_us - latest_us < needed_us:
                left = format_seconds(max(0, window.start_us - self.now_us))
                yield (
                    f"{window.id}, {partner}: {left} s remain before its start, {format_seconds(needed_us)} s of "
                    "notice are needed: it will not be excluded unless notice was given earlier"
                )

    def notice(self, window: facts.Maintenance, notified: Notified) -> facts.Notice:
        self.partners((notified.partner,))
        if window.partners is not None and notified.partner not in window.partners:
            raise _refuse(f"window {window.id} does not cover partner {notified.partner}")
        if notified.at_us > self.now_us:
            raise _refuse(f"a notice at {format_instant(notified.at_us)} lies in the future")
        if notified.at_us < self.now_us and not (notified.evidence or "").strip():
            raise _refuse("a notice given earlier needs its evidence: a receipt, a message id, a letter")
        return facts.Notice(
            maintenance=window.id,
            partner=notified.partner,
            at_us=notified.at_us,
            channel=notified.channel,
            by=self.by,
            evidence=notified.evidence,
        )

    def finish(self, command: FinishMaintenance) -> Decided:
        window = self.window(command.maintenance)
        at_us = self.now_us if command.at_us is None else command.at_us
        if at_us > self.now_us:
            raise _refuse(f"an end at {format_instant(at_us)} lies in the future")
        if window.cancelled_in_time:
            raise _refuse(f"{command.maintenance} was cancelled before its start")
        if at_us < window.fact.start_us:
            raise _refuse(f"{command.maintenance} has not begun: before its start it can only be cancelled")
        if window.finished_us is not None:
            raise _refuse(f"{command.maintenance} was finished at {format_instant(window.finished_us)}")
        return Decided(facts=(facts.MaintenanceFinished(maintenance=command.maintenance, at_us=at_us, by=self.by),))

    def cancel(self, command: CancelMaintenance) -> Decided:
        window = self.window(command.maintenance)
        if window.cancelled_us is not None:
            raise _refuse(f"{command.maintenance} was cancelled at {format_instant(window.cancelled_us)}")
        if self.now_us >= window.fact.start_us:
            raise _refuse(f"{command.maintenance} has begun: after its start it can only be finished")
        fact = facts.MaintenanceCancelled(maintenance=command.maintenance, at_us=self.now_us, by=self.by)
        return Decided(facts=(fact,))

    def exclude(self, command: Exclude) -> Decided:
        self.span(command.start_us, command.end_us)
        self.services(command.services)
        self.partners(command.partners)
        self.told(command.evidence, "an exclusion needs its evidence")
        if command.reason is ExclusionReason.MAINTENANCE:
            raise _refuse("maintenance is excluded by an announced window with its notice: maintenance announce")
        exclusion = facts.Exclusion(
            id=self.free_id("x", command.id),
            reason=command.reason,
            services=command.services,
            partners=command.partners,
            start_us=command.start_us,
            end_us=command.end_us,
            at_us=self.now_us,
            by=self.by,
            evidence=command.evidence,
        )
        return Decided(facts=(exclusion,))

    def reverse(self, command: Reverse) -> Decided:
        self.told(command.note, "a reversal needs its reason")
        if command.of in self.book.reversals:
            raise _refuse(f"{command.of} is already reversed")
        if self.book.decision(command.of) is None:
            windows = " (a window is cancelled or finished instead)" if command.of in self.book.windows else ""
            raise _refuse(f"there is no exclusion, adjudication or annulment {command.of}{windows}")
        if command.of in self.book.annulments:
            undone = self.book.annulments[command.of].fact
            self.retained(undone.service, undone.span)
        return Decided(facts=(facts.Reversal(of=command.of, at_us=self.now_us, by=self.by, note=command.note),))

    def adjudicate(self, command: Adjudicate) -> Decided:
        span = self.span(command.start_us, command.end_us)
        self.services((command.service,))
        self.told(command.evidence, "an adjudication needs its evidence")
        self.past(span)
        _evidence, verdicts = self.months.sweep(command.service, span)
        known = measure_us(intersect([v.span for v in verdicts if v.verdict is Verdict.DOWN], [span]))
        unknown = measure_us(intersect([v.span for v in verdicts if v.verdict is Verdict.UNKNOWN], [span]))
        if known:
            raise _refuse(
                f"{format_seconds(known)} s of the span are DOWN: an adjudication speaks only for unknown time; "
                "down time changes by an exclusion or an annulment",
            )
        if not unknown:
            raise _refuse("no time of the span is unknown")
        ruling = facts.Adjudication(
            id=self.free_id("j", command.id),
            service=command.service,
            start_us=command.start_us,
            end_us=command.end_us,
            verdict=command.verdict,
            at_us=self.now_us,
            agreed_by=command.agreed_by,
            by=self.by,
            evidence=command.evidence,
        )
        return Decided(facts=(ruling,), remarks=(f"{format_seconds(unknown)} s of unknown time are ruled on",))

    def annul(self, command: Annul) -> Decided:
        span = self.span(command.start_us, command.end_us)
        self.told(command.note, "an annulment needs its reason")
        self.past(span)
        locations = {(s.check, s.location) for s in self.months.reader.sources(command.service)}
        if (command.check, command.location) not in locations:
            known = ", ".join(sorted(f"{check} at {location}" for check, location in locations)) or "none"
            raise _refuse(
                f"{command.service} has no evidence of {command.check} at {command.location}; there is {known}",
            )
        self.retained(command.service, span)
        annulment = facts.Annulment(
            id=self.free_id("a", command.id),
            service=command.service,
            check=command.check,
            location=command.location,
            start_us=command.start_us,
            end_us=command.end_us,
            at_us=self.now_us,
            by=self.by,
            note=command.note,
        )
        return Decided(facts=(annulment,))

    def retained(self, service: str, span: Span) -> None:
        """An annulment speaks of runs: those that have expired can neither be voided nor be given back."""
        for held in self.months.reader.segments(service, within=span, hot=False, bodies=False):
            if held.expired:
                hour = format_instant(held.segment.key.hour_us)
                raise _refuse(f"the runs of {service} stamped in the hour from {hour} have expired")

    def claim(self, command: FileClaim) -> Decided:
        at_us = self.now_us if command.at_us is None else command.at_us
        month = self.month(command.month)
        ground = self.months.ground(month, command.partner, command.service)
        if ground is None:
            raise _refuse(f"{command.partner} has no subscription of {command.service} in {month}")
        if at_us > self.now_us:
            raise _refuse(f"a claim at {format_instant(at_us)} lies in the future")
        if at_us < ground.period.start_us:
            raise _refuse(f"a claim at {format_instant(at_us)} lies before {month} began")
        if self.now_us < ground.period.end_us:
            raise _refuse(f"{month} has not ended: it ends at {format_instant(ground.period.end_us)}")
        self.claimable(command, ground)
        zone = self.months.basis.zone(ground.terms.zone)
        deadline_us = self.months.claim_deadline_us(ground)
        if at_us >= deadline_us:
            raise _refuse(f"the claim is late: its deadline was {format_instant(deadline_us, zone)}")
        fact = facts.Claim(partner=command.partner, service=command.service, month=str(month), at_us=at_us, by=self.by)
        return Decided(facts=(fact,))

    def claimable(self, command: FileClaim, ground: Ground) -> None:
        """Refuse a second claim of the same credit, and one for a closed month that earns nothing."""
        if self.months.claims(ground):
            raise _refuse(f"{command.partner} has already claimed {command.month} of {command.service}")
        figures = self.months.figures_of(ground)
        if ground.version and not figures.earns:
            share, fee = floor_text(figures.availability), figures.credit.fee
            why = (
                f"its share of {fee.currency} {fee.amount:f} is nothing"
                if figures.credit.percent
                else "no tier applies"
            )
            raise _refuse(f"{command.month} closed at {share} %: {why}, nothing is owed")

    def apply_credit(self, command: ApplyCredit) -> Decided:
        at_us = self.now_us if command.at_us is None else command.at_us
        month = self.month(command.month)
        self.told(command.invoice, "a credit is set off against an invoice: name it")
        if at_us > self.now_us:
            raise _refuse(f"an invoice at {format_instant(at_us)} lies in the future")
        ground = self.months.ground(month, command.partner, command.service)
        if ground is None:
            raise _refuse(f"{command.partner} has no subscription of {command.service} in {month}")
        status = self.months.statement(ground).document["claim"]["status"]
        if status == ClaimStatus.APPLIED:
            raise _refuse(f"the credit of {month} was set off against {self.months.applied(ground)} already")
        if status != ClaimStatus.GRANTED:
            raise _refuse(f"the claim of {month} is {status}: only a granted one is set off, after the month's close")
        applied = facts.CreditApplied(
            partner=command.partner,
            service=command.service,
            month=str(month),
            invoice=command.invoice,
            at_us=at_us,
            by=self.by,
        )
        return Decided(facts=(applied,))

    def close(self, command: CloseMonth) -> Decided:
        month = self.month(command.month)
        ours = (self.months, month, command.partner, command.service)
        if command.restate_reason is None:
            done = close(*ours, by=self.by, tz_version=self.tz_version)
        else:
            done = restate(*ours, by=self.by, reason=command.restate_reason, tz_version=self.tz_version)
        if not isinstance(done, Closed):
            raise _refuse(f"{done.month} of {done.service} for {done.partner}: {done.reason}")
        return Decided(facts=(done.fact,), remarks=(f"version {done.fact.version}, digest {done.fact.digest}",))

    def month(self, text: str) -> Month:
        try:
            return Month.parse(text)
        except MonthError as error:
            raise _refuse(str(error)) from error

    def window(self, maintenance: str) -> Window:
        window = self.book.windows.get(maintenance)
        if window is None:
            known = ", ".join(sorted(self.book.windows)) or "none"
            raise _refuse(f"there is no window {maintenance}; known: {known}")
        return window

    def span(self, start_us: int, end_us: int) -> Span:
        if end_us <= start_us:
            raise _refuse(f"it ends at {format_instant(end_us)}, not after its start {format_instant(start_us)}")
        return Span(start_us, end_us)

    def past(self, span: Span) -> None:
        if span.end_us > self.now_us:
            raise _refuse(f"it ends at {format_instant(span.end_us)}, in the future")

    def told(self, text: str, otherwise: str) -> None:
        if not text.strip():
            raise _refuse(otherwise)

    def services(self, services: Sequence[str]) -> None:
        record = self.months.record
        known = {*record.lists, *(service for _partner, service in record.agreements.pairs())}
        self.known("service", services, known)

    def partners(self, partners: Sequence[str] | None) -> None:
        self.known("partner", partners or (), {p for p, _service in self.months.record.agreements.pairs()})

    def known(self, kind: str, names: Sequence[str], known: set[str]) -> None:
        for name in names:
            if name not in known:
                raise _refuse(f"there is no {kind} {name}; known: {', '.join(sorted(known)) or 'none'}")

    def free_id(self, prefix: str, wanted: str | None) -> str:
        """`wanted`, or the next of its prefix; all decisions share one space of ids."""
        book = self.book
        taken = {*book.windows, *book.exclusions, *book.adjudications, *book.annulments}
        if wanted is not None:
            if wanted in taken:
                raise _refuse(f"the id {wanted} is taken")
            return wanted
        number = 1
        while f"{prefix}-{number}" in taken:
            number += 1
        return f"{prefix}-{number}"

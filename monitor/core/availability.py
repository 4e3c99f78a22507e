"""A month's account of one service for one partner: down, excluded, unknown, and the exact share (CONTRACT 2.4-2.6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from monitor.core.exclusion import Excluded, Recorded
from monitor.core.fact import Adjudication, Ruling
from monitor.core.span import Span, intersect, measure_us, subtract, union
from monitor.core.verdict import Verdict, VerdictSpan, merged

PERCENT_PLACES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """What adjudications make of unknown time, each set disjoint from the others."""

    up: tuple[Span, ...] = ()
    down: tuple[Span, ...] = ()
    agreed_unknown: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How much of an outage or a month one decision excluded, overlaps given to the earliest recorded."""

    excluded: Excluded
    spans: tuple[Span, ...]

    @property
    def seconds_us(self) -> int:
        """The excluded time in microseconds."""
        return measure_us(self.spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageAccount:
    """One outage inside the month. `open` is true while it has not ended by the instant the account is made."""

    span: Span
    counted_us: int
    shares: tuple[Share, ...]
    peak_failing: int
    peak_total: int
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The month in microseconds. `total_us` is the whole calendar month and never reduced; `elapsed_us` how much of it
    has passed. up + observed down + unknown = elapsed.
    """

    period: Span
    as_of_us: int
    observed: tuple[Span, ...]
    counted: tuple[Span, ...]
    unknown: tuple[Span, ...]
    worst: tuple[Span, ...]
    shares: tuple[Share, ...]
    outages: tuple[OutageAccount, ...]

    @property
    def total_us(self) -> int:
        """T: the whole calendar month."""
        return self.period.length_us

    @property
    def elapsed_us(self) -> int:
        """How much of the month has passed."""
        return elapsed_span(self.period, self.as_of_us).length_us

    @property
    def observed_us(self) -> int:
        """Down, exclusions not yet taken off."""
        return measure_us(self.observed)

    @property
    def down_us(self) -> int:
        """D: down minus the union of exclusions."""
        return measure_us(self.counted)

    @property
    def excluded_us(self) -> int:
        """Down that is not counted."""
        return self.observed_us - self.down_us

    @property
    def unknown_us(self) -> int:
        """Time without a verdict, rulings applied."""
        return measure_us(self.unknown)

    @property
    def up_us(self) -> int:
        """The rest of the elapsed time."""
        return self.elapsed_us - self.observed_us - self.unknown_us

    @property
    def availability(self) -> Fraction:
        """(T - D) / T in percent: the best case while the month runs, the figure when it is over."""
        return percent(self.total_us - self.down_us, self.total_us)

    @property
    def worst_case(self) -> Fraction:
        """The same with unknown time counted as down, exclusions still taken off."""
        return percent(self.total_us - measure_us(self.worst), self.total_us)

    @property
    def to_date(self) -> Fraction:
        """Over the elapsed time only, for information; 100 before the month begins."""
        return percent(self.elapsed_us - self.down_us, self.elapsed_us)

    @property
    def coverage(self) -> Fraction:
        """100 x (elapsed - unknown) / elapsed; 100 before the month begins."""
        return percent(self.elapsed_us - self.unknown_us, self.elapsed_us)


def percent(part_us: int, whole_us: int) -> Fraction:
    """An exact percentage; of nothing it is 100."""
    return Fraction(100 * part_us, whole_us) if whole_us else Fraction(100)


def floor_text(share: Fraction, places: int = PERCENT_PLACES) -> str:
    """A percentage floored, never rounded, to `places` decimals: 94.999999, not 95.00 (CONTRACT 2.6)."""
    scaled = share.numerator * 10**places // share.denominator
    sign = "-" if scaled < 0 else ""
    whole, rest = divmod(abs(scaled), 10**places)
    return f"{sign}{whole}.{rest:0{places}d}"


def elapsed_span(period: Span, as_of_us: int) -> Span:
    """The part of the month that has passed at `as_of_us`."""
    return Span(period.start_us, max(period.start_us, min(period.end_us, as_of_us)))


def rule_on(unknown: Sequence[Span], rulings: Sequence[Recorded[Adjudication]], agreed: Iterable[str]) -> Ruled:
    """Apply adjudications to unknown time; of overlapping ones the last recorded holds (CONTRACT 2.4).

    `agreed` are the ids of `unknown` rulings to which this partner consented. Imported rulings count by when they say
    they were made, whatever their order in the file.
    """
    consented = frozenset(agreed)
    left: tuple[Span, ...] = union(unknown)
    up: list[Span] = []
    down: list[Span] = []
    agreed_unknown: list[Span] = []
    for recorded in sorted(rulings, key=lambda r: (r.recorded_us, r.seq), reverse=True):
        part = intersect(left, [recorded.fact.span])
        left = subtract(left, part)
        if recorded.fact.verdict is Ruling.UP:
            up.extend(part)
        elif recorded.fact.verdict is Ruling.DOWN:
            down.extend(part)
        elif recorded.fact.id in consented:
            agreed_unknown.extend(part)
    return Ruled(up=union(up), down=union(down), agreed_unknown=union(agreed_unknown))


def share_out(down: Sequence[Span], excluded: Sequence[Excluded]) -> tuple[Share, ...]:
    """Which decision excludes which part of down time: overlaps go to the earliest recorded, then by id."""
    left = union(down)
    shares: list[Share] = []
    for decision in sorted(excluded):
        part = intersect(left, [decision.span])
        left = subtract(left, part)
        shares.append(Share(excluded=decision, spans=part))
    return tuple(shares)


def account(
    verdicts: Sequence[VerdictSpan],
    period: Span,
    as_of_us: int,
    excluded: Sequence[Excluded],
    rulings: Sequence[Recorded[Adjudication]] = (),
    agreed: Iterable[str] = (),
) -> Account:
    """The account of a month from the verdicts of a service, what is excluded for a partner, and the rulings.

    `verdicts` cover at least the elapsed part of `period`; what lies outside is clipped, so that an outage across a
    month's edge gives each month its part.
    """
    elapsed = elapsed_span(period, as_of_us)
    cut = ((verdict, verdict.span.clip(elapsed)) for verdict in verdicts)
    clipped = [v._replace(start_us=part.start_us, end_us=part.end_us) for v, part in cut if part.length_us]
    unknown = union(v.span for v in clipped if v.verdict is Verdict.UNKNOWN)
    ruled = rule_on(unknown, rulings, agreed)
    left_unknown = subtract(unknown, (*ruled.up, *ruled.down))
    observed = union([*(v.span for v in clipped if v.verdict is Verdict.DOWN), *ruled.down])
    taken = union(decision.span for decision in excluded)
    shares = share_out(observed, [e for e in excluded if e.span.overlaps(period)])
    return Account(
        period=period,
        as_of_us=as_of_us,
        observed=observed,
        counted=subtract(observed, taken),
        unknown=left_unknown,
        worst=subtract(union((*observed, *subtract(left_unknown, ruled.agreed_unknown))), taken),
        shares=shares,
        outages=tuple(_outage(span, clipped, shares, elapsed, period) for span in observed),
    )


def _outage(
    span: Span,
    verdicts: Sequence[VerdictSpan],
    shares: Sequence[Share],
    elapsed: Span,
    period: Span,
) -> OutageAccount:
    inside = [v._replace(verdict=Verdict.DOWN) for v in verdicts if v.span.overlaps(span)]
    peak = merged(inside)[0]
    ours = [Share(excluded=share.excluded, spans=intersect(share.spans, [span])) for share in shares]
    ours = [share for share in ours if share.spans]
    return OutageAccount(
        span=span,
        counted_us=span.length_us - sum(share.seconds_us for share in ours),
        shares=tuple(ours),
        peak_failing=peak.failing,
        peak_total=peak.total,
        open=span.end_us == elapsed.end_us and elapsed.end_us < period.end_us,
    )

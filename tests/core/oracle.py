"""A naive second reading of the contract: every second judged alone, by brute force, from plain tuples.

Written from the agreement's own sentences (CONTRACT 2.1.5, 2.2 to 2.6) and sharing no line with `monitor`: no span
arithmetic, no sweep, no sorting tricks. Time is whole seconds from the world's zero. It is slow and meant to be read.
"""

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class RunItem:
    """One run: its stamp, what it said, and a tag that stands for the rest of its content."""

    check: str
    location: str
    at: int
    outcome: str  # pass, fail, inconclusive
    tag: int = 0


@dataclass(frozen=True, slots=True)
class Stated:
    """A span imported as such: evidence for exactly [start, end), without staleness."""

    check: str
    location: str
    start: int
    end: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The SLA checks in force from `at` on: (id, public?) each, and the staleness of runs stamped meanwhile."""

    at: int
    stale_after: int
    checks: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Annulled:
    """Runs of this check and location stamped in [start, end) say nothing."""

    check: str
    location: str
    start: int
    end: int
    id: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """A maintenance window. `notices` are (partner, instant) pairs; `announced` counts only if imported without any."""

    id: str
    start: int
    end: int
    announced: int
    imported: bool = False
    partners: tuple[str, ...] | None = None
    notices: tuple[tuple[str, int], ...] = ()
    finished: int | None = None
    cancelled: int | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Another reason not to count [start, end), decided at `recorded`."""

    id: str
    start: int
    end: int
    recorded: int
    reason: str = "third_party"
    partners: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Adjudication:
    """What the parties' decision makes of unknown time; later in the world's tuple = later recorded."""

    id: str
    start: int
    end: int
    verdict: str  # up, down, unknown
    agreed: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """Everything known about one service."""

    lists: tuple[Listing, ...] = ()
    runs: tuple[RunItem, ...] = ()
    stated: tuple[Stated, ...] = ()
    annulled: tuple[Annulled, ...] = ()
    windows: tuple[Window, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    adjudications: tuple[Adjudication, ...] = ()
    reversed: frozenset[str] = frozenset()
    notice: int = 48 * 3600


@dataclass
class Sums:
    """Seconds of one span for one partner."""

    up: int = 0
    down: int = 0
    unknown: int = 0
    counted: int = 0
    worst: int = 0
    shares: dict[str, int] = field(default_factory=dict)


def in_force(world: World, second: int) -> Listing | None:
    """The list recorded latest, at or before this second."""
    known = [listing for listing in world.lists if listing.at <= second]
    return max(known, key=lambda listing: listing.at) if known else None


def run_outcome(world: World, mine: list[RunItem], stamp: int) -> str | None:
    """What the run of this stamp says: a contested or annulled one is inconclusive; None when there is none."""
    same = {r for r in mine if r.at == stamp}
    if not same:
        return None
    if len(same) > 1:
        return "inconclusive"
    only = same.pop()
    return "inconclusive" if voided(world, only.check, only.location, stamp) else only.outcome


def voided(world: World, check: str, location: str, second: int) -> bool:
    """Whether a standing annulment names this second: of a run its stamp, of a stated span its parts (a reading)."""
    return any(
        a.id not in world.reversed and (a.check, a.location) == (check, location) and a.start <= second < a.end
        for a in world.annulled
    )


def source_outcome(world: World, check: str, location: str, second: int) -> str | None:
    """pass, fail, or None (no evidence) of one check from one location, CONTRACT 2.2."""
    mine = [r for r in world.runs if (r.check, r.location) == (check, location)]
    told = [s for s in world.stated if (s.check, s.location) == (check, location)]
    for start in range(second, -1, -1):  # the item with the latest start governs, whether or not it has ended
        said = run_outcome(world, mine, start)
        if said is not None:
            listing = in_force(world, start)
            if listing is None or second >= start + listing.stale_after:
                return None
            return None if said == "inconclusive" else said
        spans = {s for s in told if s.start == start}
        if len(spans) > 1:
            return None
        if spans:
            (only,) = spans
            if second >= only.end or only.outcome == "inconclusive" or voided(world, check, location, second):
                return None
            return only.outcome
    return None


def check_verdict(world: World, check: str, second: int) -> str:
    """pass, fail or unknown: the majority of the locations that have evidence, CONTRACT 2.2."""
    places = {r.location for r in world.runs} | {s.location for s in world.stated}
    said = [source_outcome(world, check, place, second) for place in places]
    failing, passing = said.count("fail"), said.count("pass")
    if failing + passing == 0:
        return "unknown"
    return "fail" if 2 * failing > failing + passing else "pass"


def service_verdict(votes: list[tuple[str, bool]]) -> str:
    """up, down or unknown of (verdict, public?) pairs, CONTRACT 2.3."""

    def count(which: str, *, public: bool = False) -> int:
        return sum(1 for verdict, is_public in votes if verdict == which and (is_public or not public))

    fail, unknown, total = count("fail"), count("unknown"), len(votes)
    if total == 0:
        return "unknown"
    if 2 * fail > total:
        majority = "down"
    elif 2 * (fail + unknown) <= total:
        majority = "up"
    else:
        majority = "unknown"
    reach = "up"
    publics = sum(1 for _, is_public in votes if is_public)
    if publics < total and publics > 0:  # some check is internal: the second rule applies
        out, dark = count("fail", public=True), count("unknown", public=True)
        if out == publics:
            reach = "down"
        elif out + dark == publics and dark > 0:
            reach = "unknown"
    if "down" in (majority, reach):
        return "down"
    return "up" if majority == reach == "up" else "unknown"


def measured(world: World, second: int) -> str:
    """The verdict that the evidence alone gives for this second."""
    listing = in_force(world, second)
    if listing is None:
        return "unknown"
    return service_verdict([(check_verdict(world, check, second), public) for check, public in listing.checks])


def settled(world: World, second: int) -> tuple[str, bool]:
    """The verdict after adjudication, and whether unknown time was agreed to leave the worst case, CONTRACT 2.4."""
    verdict = measured(world, second)
    if verdict != "unknown":
        return verdict, False
    for j in reversed(world.adjudications):
        if j.id not in world.reversed and j.start <= second < j.end:
            return (j.verdict, False) if j.verdict != "unknown" else ("unknown", j.agreed)
    return "unknown", False


def window_excludes(world: World, window: Window, partner: str, second: int) -> bool:
    """Whether this maintenance takes this second off this partner's account, CONTRACT 2.5.2."""
    if window.partners is not None and partner not in window.partners:
        return False
    if window.cancelled is not None and window.cancelled < window.start:
        return False
    told = [at for who, at in window.notices if who == partner]
    if not window.notices and window.imported:
        told = [window.announced]
    if not told or min(told) > window.start - world.notice:
        return False
    stops = [stop for stop in (window.finished, window.cancelled) if stop is not None]  # a late cancel is a finish
    return window.start <= second < min([window.end, *stops])


def excluding(world: World, partner: str, second: int) -> list[tuple[int, str]]:
    """(recorded, id) of everything that excludes this second for this partner; the first is the one named."""
    found = [(w.announced, w.id) for w in world.windows if window_excludes(world, w, partner, second)]
    found += [
        (x.recorded, x.id)
        for x in world.exclusions
        if x.id not in world.reversed
        and x.reason != "maintenance"  # a window with its notice excludes maintenance, a decision afterwards does not
        and (x.partners is None or partner in x.partners)
        and x.start <= second < x.end
    ]
    return sorted(found)


def account(world: World, partner: str, start: int, end: int) -> Sums:
    """The seconds of [start, end), one at a time."""
    sums = Sums()
    for second in range(start, end):
        verdict, agreed = settled(world, second)
        if verdict == "up":
            sums.up += 1
            continue
        names = excluding(world, partner, second)
        if verdict == "down":
            sums.down += 1
            if names:
                sums.shares[names[0][1]] = sums.shares.get(names[0][1], 0) + 1
            else:
                sums.counted += 1
                sums.worst += 1
        else:
            sums.unknown += 1
            if not names and not agreed:
                sums.worst += 1
    return sums


def tier(total: int, downtime: int) -> int:
    """Per cent of the fee under the agreement's own table (CONTRACT 2.6), by whole-number comparison."""
    up = 100 * (total - downtime)
    if up < 85 * total:
        return 50
    if up < 90 * total:
        return 25
    return 10 if up < 95 * total else 0


def floored(part: int, whole: int) -> str:
    """100 x part / whole with six places, cut and never rounded."""
    units = 100 * 10**6 * part // whole
    return f"{units // 10**6}.{units % 10**6:06d}"


def credit(fee: int, per_cent: int) -> int:
    """The credit in whole rupiah, half a rupiah going up."""
    exact = Fraction(fee * per_cent, 100)
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)

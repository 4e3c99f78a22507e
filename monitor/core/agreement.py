"""The written form of terms, and what of the agreement is in force once facts are adopted (CONTRACT 2.6, 7.2).

A terms fact carries the same words as the configuration: `95%`, `48h`, `30d`. Where the ledger holds no adopted terms
for a month, the configuration's apply (INTERFACES, interchange).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from monitor.core.calendar import Hours
from monitor.core.fact import Fact, Subscribed, TermsAdopted
from monitor.core.instant import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from monitor.core.priority import (
    AGREED_LEVELS,
    AGREED_TARGETS,
    LEVELS,
    Level,
    Priority,
    Served,
    Target,
)
from monitor.core.span import Span
from monitor.core.terms import (
    Agreements,
    CreditBase,
    Subscription,
    Terms,
    TermsError,
    Tier,
    check_tiers,
    percent_text,
    terms_in_force,
)

UNITS_US = {"ms": 1000, "s": SECOND_US, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US}
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,12})?)%", re.ASCII)
_CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)", re.ASCII)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_KEYS = frozenset(
    {
        "timezone",
        "guarantee",
        "objective",
        "credits",
        "maintenance_notice",
        "claim_within",
        "grace",
        "credit_base",
        "hours",
        "holidays",
        "collective_leave",
        "priorities",
        "levels",
    },
)
_TARGET_KEYS = ("response", "resolution", "hours", "escalate_at", "level_2_after", "level_3_after")


def parse_duration(text: object) -> int:
    """Microseconds of `800ms`, `10s`, `5m`, `48h`, `30d`; TermsError otherwise. A bare number is not guessed at."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        msg = f"{text!r} is no duration; write a whole number and a unit: 800ms, 10s, 5m, 48h, 30d"
        raise TermsError(msg)
    return int(match[1]) * UNITS_US[match[2]]


def duration_text(duration_us: int) -> str:
    """A duration in its largest unit that divides it: 172800000000 -> `48h` (days only from `d` on whole days)."""
    for unit in ("h", "m", "s", "ms"):
        if duration_us % UNITS_US[unit] == 0:
            return f"{duration_us // UNITS_US[unit]}{unit}"
    msg = f"{duration_us} us is no whole number of milliseconds"
    raise TermsError(msg)


def parse_percent(text: object) -> Fraction:
    """The exact share of `95%` or `99.9%`, in percent; TermsError otherwise, with what was meant for a bare number."""
    match = _PERCENT.fullmatch(text) if isinstance(text, str) else None
    if match is None or Fraction(match[1]) > 100:  # noqa: PLR2004 - percent
        meant = f'; did you mean "{text}%"?' if isinstance(text, int | float | Decimal) else ""
        msg = f"{text!r} is no percentage from 0% to 100%, such as 95% or 99.9%{meant}"
        raise TermsError(msg)
    return Fraction(match[1])


def parse_clock(text: object) -> int:
    """Minutes after midnight of `09:00`, up to `24:00`; TermsError otherwise."""
    match = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    minutes = int(match[1]) * 60 + int(match[2]) if match else -1
    if not 0 <= minutes <= 24 * 60:
        msg = f'{text!r} is no time of day, such as "09:00"'
        raise TermsError(msg)
    return minutes


def write_terms(terms: Terms) -> dict[str, Any]:
    """The written form of terms, every value said, none left to a default that may change."""
    return {
        "timezone": terms.zone,
        "guarantee": percent_text(terms.guarantee) + "%",
        "objective": None if terms.objective is None else percent_text(terms.objective) + "%",
        "credits": [
            {"below": percent_text(tier.below) + "%", "credit": percent_text(tier.credit) + "%"} for tier in terms.tiers
        ],
        "maintenance_notice": duration_text(terms.maintenance_notice_us),
        "claim_within": f"{terms.claim_within_days}d",
        "grace": duration_text(terms.grace_us),
        "credit_base": terms.credit_base.value,
        "hours": {
            "days": [_WEEKDAYS[day - 1] for day in terms.hours.weekdays],
            "open": _clock_text(terms.hours.open_minute),
            "close": _clock_text(terms.hours.close_minute),
        },
        "holidays": terms.holidays,
        "collective_leave": terms.collective_leave,
        "priorities": {priority.value: _write_target(target) for priority, target in sorted(terms.priorities.items())},
        "levels": {
            str(number): {"owners": list(level.owners), "channels": list(level.channels)}
            for number, level in sorted(terms.levels.items())
        },
    }


def _write_target(target: Target) -> dict[str, Any]:
    def length(duration_us: int | None) -> str | None:
        return None if duration_us is None else duration_text(duration_us)

    return {
        "response": duration_text(target.response_us),
        "resolution": length(target.resolution_us),
        "hours": target.hours.value,
        "escalate_at": percent_text(target.escalate_at) + "%",
        "level_2_after": length(target.level_2_after_us),
        "level_3_after": length(target.level_3_after_us),
    }


def read_terms(contract: str, effective_from_us: int, written: Mapping[str, Any]) -> Terms:
    """The terms of a written form; what it leaves out has its default. TermsError names the key at fault."""
    unknown = sorted(set(written) - _KEYS)
    if unknown:
        msg = f'terms of {contract}: "{unknown[0]}" is unknown; there are {", ".join(sorted(_KEYS))}'
        raise TermsError(msg)
    terms = Terms(contract=contract, effective_from_us=effective_from_us)
    try:
        terms = replace(terms, **{name: value for key in written for name, value in _read(key, written[key])})
        check_tiers(terms.tiers, terms.guarantee)
    except TermsError as error:
        msg = f"terms of {contract}: {error}"
        raise TermsError(msg) from error
    return terms


def _read(key: str, value: Any) -> Iterable[tuple[str, Any]]:  # noqa: ANN401, C901, PLR0912 - one branch a key of the written form
    match key:
        case "timezone":
            yield "zone", _one(value, str, "a time zone such as Asia/Jakarta")
        case "guarantee":
            yield "guarantee", parse_percent(value)
        case "objective":
            yield "objective", None if value is None else parse_percent(value)
        case "credits":
            tiers = _one(value, list, "a list of tiers")
            yield "tiers", tuple(_read_tier(tier) for tier in tiers)
        case "maintenance_notice":
            yield "maintenance_notice_us", parse_duration(value)
        case "claim_within":
            yield "claim_within_days", _whole_days(value)
        case "grace":
            yield "grace_us", parse_duration(value)
        case "credit_base":
            if value not in tuple(CreditBase):
                msg = f"credit_base is {value!r}, expected total or service"
                raise TermsError(msg)
            yield "credit_base", CreditBase(value)
        case "hours":
            yield "hours", _read_hours(value)
        case "holidays":
            yield "holidays", _one(value, str, "the name of a holiday table")
        case "priorities":
            yield "priorities", _read_priorities(value)
        case "levels":
            yield "levels", _read_levels(value)
        case _:
            yield "collective_leave", _one(value, bool, "true or false")


def _one(value: Any, wanted: type, said: str) -> Any:  # noqa: ANN401 - JSON in, the wanted type out
    if not isinstance(value, wanted):
        msg = f"{value!r}: expected {said}"
        raise TermsError(msg)
    return value


def _read_tier(written: object) -> Tier:
    if not isinstance(written, dict) or set(written) != {"below", "credit"}:
        msg = f'{written!r} is no tier; expected {{"below": "95%", "credit": "10%"}}'
        raise TermsError(msg)
    return Tier(below=parse_percent(written["below"]), credit=parse_percent(written["credit"]))


def _read_hours(written: object) -> Hours:
    if not isinstance(written, dict) or set(written) != {"days", "open", "close"}:
        msg = f'{written!r}: expected {{"days": ["mon", …], "open": "09:00", "close": "17:00"}}'
        raise TermsError(msg)
    days = written["days"]
    if not isinstance(days, list) or not days or any(day not in _WEEKDAYS for day in days):
        msg = f"days are {days!r}, expected some of {', '.join(_WEEKDAYS)}"
        raise TermsError(msg)
    opening, closing = parse_clock(written["open"]), parse_clock(written["close"])
    if closing <= opening:
        msg = f"hours close at {written['close']}, not after they open at {written['open']}"
        raise TermsError(msg)
    weekdays = tuple(sorted({_WEEKDAYS.index(day) + 1 for day in days}))
    return Hours(weekdays=weekdays, open_minute=opening, close_minute=closing)


def _read_priorities(written: object) -> dict[Priority, Target]:
    """Targets by priority; one that is not written is the agreement's."""
    given = _keyed(written, tuple(Priority), "a priority")
    return {**AGREED_TARGETS, **{Priority(name): _read_target(target) for name, target in given.items()}}


def _read_target(written: object) -> Target:
    given = _keyed(written, _TARGET_KEYS, "a key of a target")
    if "response" not in given or given.get("hours") not in tuple(Served):
        msg = f"a target is {written!r}, expected at least response and hours (24x7 or business)"
        raise TermsError(msg)

    def length(key: str) -> int | None:
        return None if given.get(key) is None else parse_duration(given[key])

    share = parse_percent(given.get("escalate_at", "75%"))
    check_share(share)
    return Target(
        response_us=parse_duration(given["response"]),
        resolution_us=length("resolution"),
        hours=Served(given["hours"]),
        escalate_at=share,
        level_2_after_us=length("level_2_after"),
        level_3_after_us=length("level_3_after"),
    )


def check_share(share: Fraction) -> None:
    """A share of the resolution time at which level 2 is reached: some of it, at most all."""
    if not share:
        raise TermsError("escalate_at is 0%: level 2 would come before the incident; write a share such as 75%")


def _read_levels(written: object) -> dict[int, Level]:
    """Levels by number; one that is not written is the agreement's."""
    given = _keyed(written, tuple(map(str, LEVELS)), "a level")
    return {**AGREED_LEVELS, **{int(number): _read_level(level) for number, level in given.items()}}


def _read_level(written: object) -> Level:
    given = _keyed(written, ("owners", "channels"), "a key of a level")
    owners, channels = given.get("owners"), given.get("channels", ["log"])
    for names in (owners, channels):
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            msg = f"a level is {written!r}, expected owners and channels, each a list of names"
            raise TermsError(msg)
    assert isinstance(owners, list), "checked above"
    return Level(owners=tuple(owners), channels=tuple(channels))


def _keyed(written: object, known: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(written, dict):
        msg = f"{written!r} is no mapping by {', '.join(known)}"
        raise TermsError(msg)
    for key in written:
        if key not in known:
            msg = f"{key!r} is not {what}; there are {', '.join(known)}"
            raise TermsError(msg)
    return written


def _whole_days(value: object) -> int:
    duration_us = parse_duration(value)
    if duration_us % DAY_US:
        msg = f"claim_within is {value!r}, expected whole days such as 30d"
        raise TermsError(msg)
    return duration_us // DAY_US


def _clock_text(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def adopted(facts: Iterable[Fact], configured: Agreements) -> Agreements:
    """The agreements that the figures follow: adopted terms and subscriptions, the configuration's where none are.

    Adopted terms come after the configured ones in the sequence, so that at equal instants they hold; a contract with
    any adopted version uses configured ones only for the time before its first. A pair with an adopted subscription
    has no configured one.
    """
    terms: list[Terms] = []
    subscriptions: list[Subscription] = []
    for fact in facts:
        if isinstance(fact, TermsAdopted):
            terms.append(read_terms(fact.contract, fact.effective_from_us, fact.terms))
        elif isinstance(fact, Subscribed):
            subscriptions.append(
                Subscription(
                    partner=fact.partner,
                    service=fact.service,
                    contract=fact.contract,
                    fee=fact.fee,
                    from_us=fact.from_us,
                    until_us=fact.until_us,
                ),
            )
    first = {t.contract: min(o.effective_from_us for o in terms if o.contract == t.contract) for t in terms}
    pairs = {(s.partner, s.service) for s in subscriptions}
    return replace(
        configured,
        terms=(
            *(t for t in configured.terms if t.contract not in first or t.effective_from_us < first[t.contract]),
            *terms,
        ),
        subscriptions=(
            *(s for s in configured.subscriptions if (s.partner, s.service) not in pairs),
            *subscriptions,
        ),
    )


def subscription_of_month(agreements: Agreements, partner: str, service: str, period: Span) -> Subscription | None:
    """The subscription whose fee and contract a month goes by: that of its first instant (CONTRACT 2.6), or the first
    to begin within it; None for a month wholly outside.
    """
    at_start = agreements.subscription(partner, service, period.start_us)
    if at_start is not None:
        return at_start
    begins = [
        s.from_us
        for s in agreements.subscribed(partner, service)
        if s.from_us is not None and period.contains(s.from_us)
    ]
    return agreements.subscription(partner, service, min(begins)) if begins else None


def terms_of_month(agreements: Agreements, contract: str, period: Span) -> Terms | None:
    """The terms in force at the month's start (CONTRACT 7.2), or the first to come into force within it."""
    at_start = terms_in_force(agreements.terms, contract, period.start_us)
    if at_start is not None:
        return at_start
    later = [
        t.effective_from_us for t in agreements.terms if t.contract == contract and period.contains(t.effective_from_us)
    ]
    return terms_in_force(agreements.terms, contract, min(later)) if later else None

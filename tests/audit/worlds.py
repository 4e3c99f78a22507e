"""Random worlds for the audit: a seed gives an interchange file with which a month of some contract is computed.

Times are drawn from a coarse raster, now and then a microsecond off it, so that edges meet: a window that begins where
an outage ends, a notice of exactly the time needed, two decisions over the same minutes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

SECOND = 10**6
HOUR = 3600 * SECOND
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Line = dict[str, Any]
STEP = 2 * HOUR
"""Between two runs of a source: seldom enough that a month can be audited in a blink."""

ZONES = ("Asia/Jakarta", "Asia/Jakarta", "Asia/Jakarta", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu")
REASONS = ("force_majeure", "partner_side", "partner_act", "third_party", "attack", "maintenance")
TIERS = (
    [{"below": "95%", "credit": "10%"}, {"below": "90%", "credit": "25%"}, {"below": "85%", "credit": "50%"}],
    [{"below": "99.9%", "credit": "5%"}, {"below": "97.5%", "credit": "12.5%"}, {"below": "50%", "credit": "100%"}],
)


def text(us: int) -> str:
    """RFC 3339 in UTC."""
    return (EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds")


def month_of(year: int, month: int, zone: str) -> tuple[int, int]:
    edges = (
        datetime(year, month, 1, tzinfo=ZoneInfo(zone)),
        datetime(year + month // 12, month % 12 + 1, 1, tzinfo=ZoneInfo(zone)),
    )
    start, end = ((edge.astimezone(UTC) - EPOCH) // timedelta(microseconds=1) for edge in edges)
    return start, end


@dataclass(frozen=True, slots=True)
class World:
    """A month with its file. `later` are facts of the ledger's own, recorded after the import at the given instants."""

    seed: int
    year: int
    month: int
    now_us: int
    lines: tuple[Line, ...]
    later: tuple[tuple[int, Line], ...]
    after_close: tuple[tuple[int, Line], ...]


class Maker:
    """Draws one world."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        r = self.random
        self.zone = r.choice(ZONES)
        self.year, self.month = r.choice(
            [(2026, 1), (2026, 2), (2026, 3), (2026, 4), (2026, 10), (2025, 12), (2024, 2)]
        )
        self.start, self.end = month_of(self.year, self.month, self.zone)
        self.services = ["portal", "mail"][: r.choice([1, 1, 2])]
        self.partners = ["acme", "beta", "ceda"][: r.choice([1, 2, 3])]
        self.locations = ["jkt-1", "sby-1", "sin-1"][: r.choice([1, 1, 2, 3])]
        self.checks = {name: r.choice(["public", "public", "internal"]) for name in "abcdef"[: r.randint(1, 6)]}
        self.ids = 0
        self.known: list[str] = []
        self.told_at = self.start - 20 * DAY
        self.known_decisions: list[str] = []

    # Draws.

    def some(self, of: Sequence[Any]) -> list[Any]:
        """One or more of them."""
        return [each for each in of if self.random.random() < 0.6] or [self.random.choice(of)]

    def instant(self, first: int | None = None, last: int | None = None) -> int:
        """On the raster of half an hour, seldom a microsecond off."""
        r = self.random
        first, last = self.start - DAY if first is None else first, self.end + DAY if last is None else last
        raster = HOUR // 2
        drawn = r.randint(first // raster, max(first // raster, last // raster)) * raster
        return drawn + r.choice([0] * 12 + [-1, 1])

    def span(self, longest: int) -> tuple[int, int]:
        start = self.instant()
        if self.random.random() < 0.15:
            start = self.random.choice([self.start, self.end, self.start - HOUR, self.end - HOUR])
        return start, start + self.random.randint(1, max(1, longest // (HOUR // 2))) * (HOUR // 2)

    def id(self, prefix: str) -> str:
        self.ids += 1
        return f"{prefix}-{self.ids}"

    def decided_at(self) -> int:
        """No two facts are decided at one instant, but some are decided out of their order in the file."""
        self.told_at += self.random.randint(1, 10**6) * SECOND // 10
        return self.told_at

    # Parts of the file.

    def agreement(self) -> Iterator[Line]:
        r = self.random
        for since in [self.start - 400 * DAY, *([self.instant()] if r.random() < 0.4 else [])]:
            terms: Line = {
                "timezone": self.zone,
                "objective": r.choice(["99.9%", "99%"]),
                "credits": r.choice(TIERS),
                "maintenance_notice": r.choice(["48h", "48h", "24h", "90m"]),
                "claim_within": r.choice(["30d", "45d"]),
            }
            terms["guarantee"] = terms["credits"][0]["below"]
            terms["credit_base"] = "service"
            yield {"type": "terms", "contract": "mitra", "effective_from": text(since), "terms": terms}
        for partner in self.partners:
            for service in self.some(self.services):
                currency, fee = r.choice(
                    [("IDR", str(r.randint(10**6, 10**8))), ("USD", f"{r.randint(100, 10**5)}.{r.randint(0, 99):02d}")]
                )
                line: Line = {"type": "subscription", "partner": partner, "service": service, "contract": "mitra"}
                change = self.instant() if r.random() < 0.4 else None
                late = r.random() < 0.2
                if change and not late:
                    yield line | {"until": text(change), "fee": {"currency": currency, "amount": fee}}
                    fee = str(r.randint(10**6, 10**7))
                yield line | ({"from": text(change)} if change else {}) | {"fee": {"currency": currency, "amount": fee}}

    def lists(self, service: str) -> Iterator[Line]:
        r = self.random
        times = sorted({self.start - 3 * DAY, *(self.instant() for _n in range(r.choice([0, 0, 1, 2])))})
        for number, at in enumerate(times):
            names = list(self.checks) if number == 0 else [] if r.random() < 0.1 else self.some(list(self.checks))
            yield {
                "type": "checks",
                "service": service,
                "at": text(at),
                "interval_s": STEP // SECOND,
                "timeout_s": 10,
                "stale_after_s": r.choice([3600, 7200, 10810, 86400]),
                "checks": [{"id": name, "network": self.checks[name]} for name in names],
            }

    def evidence(self, service: str) -> Iterator[Line]:
        """Each source tells stretches of runs, stated spans and silence, with one mood for all of them at a time."""
        r = self.random
        moods = []
        at = self.start - 2 * DAY
        while at < self.end + DAY:
            moods.append((at, r.choice([0.0, 0.0, 0.02, 0.5, 0.95, 1.0])))
            at += r.randint(1, 160) * (HOUR // 2)
        for check in self.checks:
            for location in self.locations:
                source: Line = {"service": service, "check": check, "location": location}
                at = self.start - 2 * DAY + r.randint(0, 3) * 600 * SECOND
                while at < self.end + DAY:
                    length = r.randint(2, 300) * HOUR // 2
                    mood = next(chance for since, chance in reversed(moods) if since <= at)
                    yield from self.stretch(source, at, at + length, mood)
                    at += length + r.choice([0, 0, 0, 0, HOUR, 7 * HOUR])

    def stretch(self, source: Line, start: int, end: int, mood: float) -> Iterator[Line]:
        r = self.random
        if r.random() < 0.6:
            outcome = "fail" if r.random() < mood else "pass"
            # Spans may overlap what comes after them.
            end = min(end + r.choice([0, 0, 0, HOUR, 4 * HOUR]), self.end + 3 * DAY)
            line = {"type": "spans"} | source | {"from": text(start), "to": text(end), "outcome": outcome}
            yield line
            if r.random() < 0.05:
                yield line | {"outcome": "fail" if outcome == "pass" else "pass"}
            return
        for at in range(start, min(end, self.end + 3 * DAY), STEP):
            outcome = "inconclusive" if r.random() < 0.03 else "fail" if r.random() < mood else "pass"
            line = {"type": "run"} | source | {"at": text(at), "outcome": outcome}
            if outcome == "fail":
                line |= {"reason": "timeout", "step": "log in", "message": "no answer"}
            elif outcome == "inconclusive":
                line["reason"] = "late"
            yield line
            if r.random() < 0.02 and outcome != "inconclusive":
                yield {"type": "run"} | source | {"at": text(at), "outcome": "pass" if outcome == "fail" else "fail"}

    def decision(self, at: int) -> list[Line]:
        """A window with what follows it, an exclusion, a ruling, an annulment, or one taken back."""
        kind = self.random.choice(
            ["window", "window", "exclusion", "exclusion", "ruling", "ruling", "annulment", "reversal"]
        )
        return list(getattr(self, f"_{kind}")(at))

    def _for(self) -> Line:
        partners = None if self.random.random() < 0.5 else self.some([*self.partners, "zeta"])
        return {"services": self.some(self.services), "partners": partners}

    def _window(self, at: int) -> Iterator[Line]:
        r = self.random
        start, end = self.span(30 * HOUR)
        name = self.id("m")
        ahead = r.choice(
            [48 * HOUR, 48 * HOUR - 1, 48 * HOUR + 1, 24 * HOUR, 24 * HOUR - SECOND, 90 * 60 * SECOND, 10 * DAY, -HOUR]
        )
        window = {"type": "maintenance", "id": name} | self._for()
        if r.random() < 0.3 and self.known:
            window["extends"] = r.choice(self.known)
        self.known.append(name)
        yield window | {"start": text(start), "end": text(end), "at": text(min(at, start - ahead)), "summary": "work"}
        if r.random() < 0.7:
            for partner in self.some(self.partners):
                for told in {start - ahead, start - r.choice([ahead, HOUR, 72 * HOUR])}:
                    yield {
                        "type": "notice",
                        "maintenance": name,
                        "partner": partner,
                        "at": text(told),
                        "channel": "email",
                    }
        ended = r.choice([start - HOUR, start, start + (end - start) // 2, end, end + HOUR])
        if r.random() < 0.3:
            yield {
                "type": r.choice(["maintenance_finished", "maintenance_cancelled"]),
                "maintenance": name,
                "at": text(ended),
            }

    def _exclusion(self, at: int) -> Iterator[Line]:
        start, end = self.span(40 * HOUR)
        name = self.id("x")
        self.known_decisions.append(name)
        fact = {"type": "exclusion", "id": name, "reason": self.random.choice(REASONS)} | self._for()
        yield fact | {"start": text(start), "end": text(end), "at": text(at), "by": "sari", "evidence": "a report"}

    def _ruling(self, at: int) -> Iterator[Line]:
        r = self.random
        start, end = self.span(90 * HOUR)
        name = self.id("j")
        self.known_decisions.append(name)
        verdict = r.choice(["up", "down", "unknown"])
        agreed = r.choice([None, "a letter", *self.partners]) if verdict == "unknown" else None
        fact = {
            "type": "adjudication",
            "id": name,
            "service": r.choice(self.services),
            "start": text(start),
            "end": text(end),
        }
        yield fact | {"verdict": verdict, "agreed_by": agreed, "at": text(at), "by": "sari", "evidence": "a log"}

    def _annulment(self, at: int) -> Iterator[Line]:
        r = self.random
        start, end = self.span(20 * HOUR)
        name = self.id("a")
        self.known_decisions.append(name)
        fact = {
            "type": "annulment",
            "id": name,
            "service": r.choice(self.services),
            "check": r.choice(list(self.checks)),
        }
        spoken = {"location": r.choice(self.locations), "start": text(start), "end": text(end)}
        yield fact | spoken | {"at": text(at), "by": "sari", "note": "our own line"}

    def _reversal(self, at: int) -> Iterator[Line]:
        if self.known_decisions:
            of = self.known_decisions.pop(self.random.randrange(len(self.known_decisions)))
            yield {"type": "reversal", "of": of, "at": text(at), "by": "sari", "note": "withdrawn"}

    def make(self) -> World:
        r = self.random
        lines: list[Line] = list(self.agreement())
        for service in self.services:
            lines += self.lists(service)
            lines += self.evidence(service)
        for _number in range(r.randint(0, 9)):
            lines += self.decision(self.decided_at())
        r.shuffle(lines)
        now = self.end + r.choice([4, 8, 20]) * DAY
        later, after = [], []
        for number in range(r.randint(0, 3)):
            later += [(now + number * HOUR, line) for line in self.decision(now + number * HOUR)]
        for number in range(r.randint(0, 3)):
            at = now + DAY + number * HOUR
            after += [(at, line) for line in self.decision(at)]
        header = {"type": "header", "format": "jaga-ledger/1"}
        return World(self.seed, self.year, self.month, now, (header, *lines), tuple(later), tuple(after))


def world(seed: int) -> World:
    """The world of a seed."""
    return Maker(seed).make()

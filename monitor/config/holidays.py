"""Tables of public holidays, from files with the decree they follow, and the business calendar made of them.

Files are shipped as `holidays/<name>-<year>.yaml`; the table `none` has no holidays. A year without a file has working
days only, and all of them are unconfirmed: what is counted over them is provisional (CONTRACT 2.8).
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, tzinfo
from pathlib import Path

from pydantic import Field, StrictBool, StrictInt, StrictStr, ValidationError

from monitor.config.document import read
from monitor.config.models import Day, Model, Name
from monitor.config.problems import ConfigError, unknown
from monitor.config.shipped import shipped
from monitor.core.calendar import Calendar, Hours
from monitor.core.terms import Terms

NONE = "none"
_FILE = re.compile(r"([a-z][a-z0-9-]*)-([0-9]{4})\.yaml")


class HolidayError(LookupError):
    """No table of holidays of that name."""


@dataclass(frozen=True, slots=True)
class Decree:
    """What a table rests on: the numbers under which it was issued, its date, and what it changed."""

    numbers: tuple[str, ...]
    issued: date
    note: str = ""

    def __str__(self) -> str:
        return f"{', '.join(self.numbers)} ({self.issued.isoformat()}{': ' if self.note else ''}{self.note})"


@dataclass(frozen=True, slots=True, kw_only=True)
class HolidayTable:
    """The free days of some years. `unconfirmed` are dates in it that a later decree may still move.

    `digest` is the SHA-256 of the resolved dates, independent of how the files are written; `text` says name, years and
    digest in one line, for a statement.
    """

    name: str
    years: tuple[int, ...]
    decrees: tuple[Decree, ...] = ()
    national: Mapping[date, str] = field(default_factory=dict)
    collective_leave: Mapping[date, str] = field(default_factory=dict)
    unconfirmed: frozenset[date] = frozenset()

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hexadecimal digits."""
        days = {
            kind: [[day.isoformat(), name, day not in self.unconfirmed] for day, name in sorted(dates.items())]
            for kind, dates in (("national", self.national), ("collective_leave", self.collective_leave))
        }
        resolved = {"name": self.name, "years": self.years} | days
        canonical = json.dumps(resolved, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"

    @property
    def text(self) -> str:
        """`id 2025-2027 sha256:…`; of the table without holidays, `none`."""
        if not self.years:
            return self.name
        first, last = self.years[0], self.years[-1]
        whole = self.years == tuple(range(first, last + 1))
        spoken = ",".join(map(str, self.years)) if not whole else str(first) if first == last else f"{first}-{last}"
        return f"{self.name} {spoken} {self.digest}"


def names() -> tuple[str, ...]:
    """The names of all tables there are."""
    return tuple(sorted({NONE, *_files()}))


def table(name: str, years: Iterable[int] | None = None) -> HolidayTable:
    """The table of a name over `years`, or over all that it has; years without a file are not in it.

    HolidayError where there is no such table; ConfigError where a file is broken.
    """
    if name == NONE:
        return HolidayTable(name=NONE, years=())
    files = _files()
    if name not in files:
        raise HolidayError(unknown(name, names(), "table of holidays"))
    wanted = sorted(files[name]) if years is None else sorted(set(years) & set(files[name]))
    return _joined(name, tuple(_year(files[name][year], year) for year in wanted))


def describe(name: str) -> str:
    """The table a contract goes by, in words for its statement; HolidayError as `table`."""
    return table(name).text


def calendar(hours: Hours, zone: tzinfo, name: str, *, collective_leave: bool) -> Calendar:
    """Business hours less the holidays of a table and, where the terms say so, its collective leave."""
    found = table(name)
    return Calendar(
        zone=zone,
        hours=hours,
        holidays=found.national,
        collective_leave=found.collective_leave,
        use_collective_leave=collective_leave,
        unconfirmed=frozenset() if name == NONE else Unconfirmed(found.unconfirmed, frozenset(found.years)),
    )


def business_clock(terms: Terms, zone: tzinfo) -> Calendar:
    """The business clock of terms, in their zone."""
    return calendar(terms.hours, zone, terms.holidays, collective_leave=terms.collective_leave)


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """The dates of uncertain status: those a table names, and every date of a year that has no table."""

    dates: frozenset[date]
    years: frozenset[int]

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and (day in self.dates or day.year not in self.years)


class _Holiday(Model):
    date: Day
    name: Name
    confirmed: StrictBool = True


class _Decree(Model):
    numbers: tuple[StrictStr, ...] = Field(min_length=1)
    date: Day
    note: StrictStr = ""


class _Year(Model):
    year: StrictInt
    decrees: tuple[_Decree, ...] = Field(min_length=1)
    national: tuple[_Holiday, ...]
    collective_leave: tuple[_Holiday, ...]


def _files() -> dict[str, dict[int, Path]]:
    """The files there are, by table and year."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted(shipped("holidays").iterdir()):
        match = _FILE.fullmatch(path.name)
        if match:
            found.setdefault(match[1], {})[int(match[2])] = path
    return found


@functools.lru_cache(maxsize=256)
def _year(path: Path, year: int) -> _Year:
    """One file, checked: its dates lie in its year, each stands once. ConfigError with the place otherwise."""
    document = read(path, path.name)
    problems = list(document.problems)
    try:
        found = _Year.model_validate(document.data)
    except ValidationError as error:
        problems += [document.problem(tuple(e["loc"]), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        raise ConfigError(problems) from None
    if found.year != year:
        problems.append(document.problem(("year",), f"the file is named after {year}"))
    seen: set[date] = set()
    for key in ("national", "collective_leave"):
        for n, holiday in enumerate(getattr(found, key)):
            if holiday.date.year != year:
                problems.append(document.problem((key, n, "date"), f"is no date of {year}"))
            if holiday.date in seen:
                problems.append(document.problem((key, n, "date"), "stands twice"))
            seen.add(holiday.date)
    if problems:
        raise ConfigError(problems)
    return found


def _joined(name: str, years: tuple[_Year, ...]) -> HolidayTable:
    decrees = (decree for year in years for decree in year.decrees)
    days = [day for year in years for day in (*year.national, *year.collective_leave)]
    return HolidayTable(
        name=name,
        years=tuple(year.year for year in years),
        decrees=tuple(Decree(decree.numbers, decree.date, decree.note) for decree in decrees),
        national={day.date: day.name for year in years for day in year.national},
        collective_leave={day.date: day.name for year in years for day in year.collective_leave},
        unconfirmed=frozenset(day.date for day in days if not day.confirmed),
    )

"""How figures, dates and money are written in Indonesian and in English. Takes exact texts, gives texts; no rounding.

Percentages and seconds come as the decimal strings of a statement, instants as its RFC 3339 texts, in the zone of the
contract.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from monitor.core.instant import SECOND_US

_MONTHS_ID = (
    "Januari", "Februari", "Maret", "April", "Mei", "Juni",
    "Juli", "Agustus", "September", "Oktober", "November", "Desember",
)  # fmt: skip
_MONTHS_EN = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_ZONES = {"Asia/Jakarta": "WIB", "Asia/Pontianak": "WIB", "Asia/Makassar": "WITA", "Asia/Jayapura": "WIT", "UTC": "UTC"}
_SIGNS = {"IDR": "Rp"}
_UNITS_US = (86_400 * SECOND_US, 3600 * SECOND_US, 60 * SECOND_US)
_MIN_PLACES = 3


class Lang(enum.StrEnum):
    """The languages a statement is written in."""

    ID = "id"
    EN = "en"


def money(amount: str, currency: str, lang: Lang) -> str:
    """`Rp1.234.567` in Indonesian, `IDR 1,234,567` in English."""
    if lang is Lang.ID:
        return f"{_SIGNS.get(currency, currency + ' ')}{number(amount, lang)}"
    return f"{currency} {number(amount, lang)}"


def number(text: str, lang: Lang) -> str:
    """A decimal string with the language's thousands and decimal marks, digits unchanged."""
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, _, decimals = digits.partition(".")
    grouped = f"{int(whole):,}"
    if lang is Lang.ID:
        grouped = grouped.replace(",", ".")
    mark = "," if lang is Lang.ID else "."
    return f"{sign}{grouped}{mark + decimals if decimals else ''}"


def percent(text: str, lang: Lang, places: int = _MIN_PLACES) -> str:
    """`94.213000` as `94,213%`: zeros at the end are dropped down to `places` decimals, nothing else is."""
    whole, _, decimals = text.partition(".")
    kept = decimals.rstrip("0")
    kept += decimals[len(kept) : places]
    mark = "," if lang is Lang.ID else "."
    return f"{whole}{mark + kept if kept else ''}%"


def date(instant: str, lang: Lang) -> str:
    """`01 November 2026`."""
    return _date(datetime.fromisoformat(instant), lang)


def moment(instant: str, zone: str, lang: Lang) -> str:
    """`01 November 2026 13.05.00 WIB` in Indonesian, `01 November 2026 13:05:00 WIB` in English.

    Microseconds are shown only where there are any; an unnamed zone shows its offset.
    """
    at = datetime.fromisoformat(instant)
    mark = "." if lang is Lang.ID else ":"
    clock = at.strftime(f"%H{mark}%M{mark}%S")
    decimals = f"{',' if lang is Lang.ID else '.'}{at.microsecond:06d}" if at.microsecond else ""
    name = _ZONES.get(zone) or f"UTC{at.strftime('%z')[:3]}:{at.strftime('%z')[3:5]}"
    return f"{_date(at, lang)} {clock}{decimals} {name}"


def _date(at: datetime, lang: Lang) -> str:
    names = _MONTHS_ID if lang is Lang.ID else _MONTHS_EN
    return f"{at.day:02d} {names[at.month - 1]} {at.year}"


def month(text: str, lang: Lang) -> str:
    """`2026-10` as `Oktober 2026`."""
    year, _, number_of = text.partition("-")
    names = _MONTHS_ID if lang is Lang.ID else _MONTHS_EN
    return f"{names[int(number_of) - 1]} {year}"


def duration(seconds: str, lang: Lang) -> str:
    """`129600.000000` as `1 hari 12 jam` or `1 d 12 h`: every unit that is not zero, decimals of seconds where any."""
    whole, _, decimals = seconds.lstrip("-").partition(".")
    left_us = int(whole) * SECOND_US + int((decimals or "0").ljust(6, "0"))
    names = ("hari", "jam", "menit", "detik") if lang is Lang.ID else ("d", "h", "min", "s")
    parts: list[str] = []
    for unit_us, name in zip(_UNITS_US, names, strict=False):
        count, left_us = divmod(left_us, unit_us)
        if count:
            parts.append(f"{count} {name}")
    if left_us or not parts:
        exact = format(Decimal(left_us) / SECOND_US, "f")
        exact = exact.rstrip("0").rstrip(".") if "." in exact else exact
        parts.append(f"{number(exact, lang)} {names[-1]}")
    return ("-" if seconds.startswith("-") else "") + " ".join(parts)


_ONES_ID = ("nol", "satu", "dua", "tiga", "empat", "lima", "enam", "tujuh", "delapan", "sembilan", "sepuluh", "sebelas")
_SCALES_ID = ((10**12, "triliun"), (10**9, "miliar"), (10**6, "juta"))
_ONES_EN = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS_EN = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES_EN = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"))
_CURRENCY_WORDS = {("IDR", Lang.ID): "rupiah", ("IDR", Lang.EN): "rupiah"}


def in_words(amount: str, currency: str, lang: Lang) -> str:
    """The amount in words (*terbilang*): `1250000` as `satu juta dua ratus lima puluh ribu rupiah`."""
    whole, _, decimals = amount.partition(".")
    spell = terbilang if lang is Lang.ID else spelled
    words = spell(int(whole))
    if decimals.strip("0"):
        mark = "koma" if lang is Lang.ID else "point"
        words += f" {mark} " + " ".join(spell(int(digit)) for digit in decimals)
    return f"{words} {_CURRENCY_WORDS.get((currency, lang), currency)}"


def terbilang(value: int) -> str:
    """A whole number of at least 0 in Indonesian words."""
    assert value >= 0, "amounts in words are not negative"
    if value < len(_ONES_ID):
        return _ONES_ID[value]
    if value < 20:  # noqa: PLR2004 - the teens
        return f"{_ONES_ID[value - 10]} belas"
    if value < 100:  # noqa: PLR2004 - the tens
        return _joined(f"{_ONES_ID[value // 10]} puluh", value % 10, terbilang)
    if value < 200:  # noqa: PLR2004 - "seratus", not "satu ratus"
        return _joined("seratus", value - 100, terbilang)
    if value < 1000:  # noqa: PLR2004 - the hundreds
        return _joined(f"{_ONES_ID[value // 100]} ratus", value % 100, terbilang)
    if value < 2000:  # noqa: PLR2004 - "seribu", not "satu ribu"
        return _joined("seribu", value - 1000, terbilang)
    for scale, name in (*_SCALES_ID, (1000, "ribu")):
        if value >= scale:
            return _joined(f"{terbilang(value // scale)} {name}", value % scale, terbilang)
    raise AssertionError(value)


def spelled(value: int) -> str:
    """A whole number of at least 0 in English words."""
    assert value >= 0, "amounts in words are not negative"
    if value < len(_ONES_EN):
        return _ONES_EN[value]
    if value < 100:  # noqa: PLR2004 - the tens
        return _TENS_EN[value // 10] + (f"-{_ONES_EN[value % 10]}" if value % 10 else "")
    if value < 1000:  # noqa: PLR2004 - the hundreds
        return _joined(f"{_ONES_EN[value // 100]} hundred", value % 100, spelled)
    for scale, name in _SCALES_EN:
        if value >= scale:
            return _joined(f"{spelled(value // scale)} {name}", value % scale, spelled)
    raise AssertionError(value)


def _joined(head: str, rest: int, spell: Callable[[int], str]) -> str:
    return f"{head} {spell(rest)}" if rest else head

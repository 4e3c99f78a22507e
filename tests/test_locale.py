"""Indonesian and English figures, against written-out expectations."""

from __future__ import annotations

import pytest

from monitor.locale import Lang, date, duration, in_words, moment, money, month, number, percent, spelled, terbilang


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "nol"),
        (10, "sepuluh"),
        (11, "sebelas"),
        (15, "lima belas"),
        (20, "dua puluh"),
        (99, "sembilan puluh sembilan"),
        (100, "seratus"),
        (111, "seratus sebelas"),
        (1000, "seribu"),
        (1999, "seribu sembilan ratus sembilan puluh sembilan"),
        (2000, "dua ribu"),
        (11_000, "sebelas ribu"),
        (100_000, "seratus ribu"),
        (1_000_000, "satu juta"),
        (1_250_000, "satu juta dua ratus lima puluh ribu"),
        (1_000_001_001, "satu miliar seribu satu"),
        (3_000_000_000_000, "tiga triliun"),
    ],
)
def test_terbilang(value: int, words: str) -> None:
    assert terbilang(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (21, "twenty-one"),
        (100, "one hundred"),
        (1_250_000, "one million two hundred fifty thousand"),
    ],
)
def test_spelled(value: int, words: str) -> None:
    assert spelled(value) == words


def test_money_and_numbers() -> None:
    assert money("1234567", "IDR", Lang.ID) == "Rp1.234.567"
    assert money("1234567", "IDR", Lang.EN) == "IDR 1,234,567"
    assert money("1234.50", "USD", Lang.ID) == "USD 1.234,50"
    assert number("-1234.50", Lang.EN) == "-1,234.50"
    assert in_words("0", "IDR", Lang.ID) == "nol rupiah"
    assert in_words("12.50", "USD", Lang.EN) == "twelve point five zero USD"


@pytest.mark.parametrize(
    ("text", "places", "shown"),
    [
        ("94.213000", 3, "94,213%"),
        ("94.999999", 3, "94,999999%"),
        ("95.000000", 3, "95,000%"),
        ("100.000000", 0, "100%"),
        ("95", 0, "95%"),
        ("99.9", 0, "99,9%"),
    ],
)
def test_percent_is_never_rounded(text: str, places: int, shown: str) -> None:
    assert percent(text, Lang.ID, places) == shown


def test_dates_and_times() -> None:
    assert date("2026-11-01T00:00:00+07:00", Lang.ID) == "01 November 2026"
    assert date("2026-08-17T00:00:00+07:00", Lang.ID) == "17 Agustus 2026"
    assert moment("2026-11-01T13:05:00+07:00", "Asia/Jakarta", Lang.ID) == "01 November 2026 13.05.00 WIB"
    assert (
        moment("2026-11-01T13:05:00.250000+08:00", "Asia/Makassar", Lang.EN) == "01 November 2026 13:05:00.250000 WITA"
    )
    assert moment("2026-11-01T13:05:00-03:30", "America/St_Johns", Lang.EN) == "01 November 2026 13:05:00 UTC-03:30"
    assert month("2026-10", Lang.ID) == "Oktober 2026"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        ("0.000000", "0 s"),
        ("0.000001", "0.000001 s"),
        ("59.500000", "59.5 s"),
        ("129600.000000", "1 d 12 h"),
        ("3600.000000", "1 h"),
        ("3661.000000", "1 h 1 min 1 s"),
        ("-60.000000", "-1 min"),
    ],
)
def test_duration(seconds: str, shown: str) -> None:
    assert duration(seconds, Lang.EN) == shown

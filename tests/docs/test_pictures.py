"""What the pictures' tool makes of answers: units, thresholds, tables and holes, each by Grafana's rule."""

from __future__ import annotations

import math

import pytest

from docs.tools.frames import Series, Table, _matrix, _merged, _organized, spans
from docs.tools.values import COLOURS, colour, shown


@pytest.mark.parametrize(
    ("value", "defaults", "said"),
    [
        (0.98750, {"unit": "percentunit", "decimals": 3}, "98.750%"),
        (0.0, {"unit": "s"}, "0 s"),
        (-29_808.0, {"unit": "s"}, "-8.28 hours"),
        (0.0025, {"unit": "s"}, "2.50 ms"),
        (1536.0, {"unit": "bytes"}, "1.50 KiB"),
        (1_796_058_000_000.0, {"unit": "dateTimeAsIso"}, "2026-12-01 00:00:00"),
        (1.0, {"mappings": [{"type": "value", "options": {"1": {"text": "yes", "color": "green"}}}]}, "yes"),
        (1.0, {"unit": "bool_yes_no"}, "Yes"),
        (math.nan, {"unit": "s"}, "NaN"),
        (12.0, {}, "12"),
    ],
)
def test_a_value_in_its_unit(value: float, defaults: dict[str, object], said: str) -> None:
    assert shown(value, defaults) == said


def test_a_unit_that_is_not_known_is_an_error_and_no_bare_number() -> None:
    with pytest.raises(ValueError, match="'furlong' is not one"):
        shown(1.0, {"unit": "furlong"})


def test_a_threshold_counts_from_its_value_on() -> None:
    steps = [{"color": "red", "value": None}, {"color": "orange", "value": 0}, {"color": "green", "value": 10}]
    defaults = {"thresholds": {"mode": "absolute", "steps": steps}}
    found = [colour(value, defaults) for value in (-0.1, 0.0, 9.9, 10.0)]
    assert found == [COLOURS[name] for name in ("red", "orange", "orange", "green")]


def test_rows_are_merged_by_the_columns_that_all_have() -> None:
    by_name = Table(["__name__", "partner", "Value #A"], [{"__name__": "a", "partner": "acme", "Value #A": 1.0}])
    other = Table(["__name__", "partner", "Value #B"], [{"__name__": "b", "partner": "acme", "Value #B": 2.0}])
    assert len(_merged([by_name, other]).rows) == 2, "as in Grafana: names of metrics keep rows apart"
    one = [
        Table(frame.columns[1:], [{k: v for k, v in frame.rows[0].items() if k != "__name__"}])
        for frame in (by_name, other)
    ]
    assert _merged(one).rows == [{"partner": "acme", "Value #A": 1.0, "Value #B": 2.0}]


def test_columns_are_left_out_ordered_and_renamed() -> None:
    found = Table(["Time", "a", "b"], [{"Time": 1.0, "a": "x", "b": "y"}, {"Time": 1.0, "a": "z"}])
    options = {"excludeByName": {"Time": True}, "indexByName": {"b": 0, "a": 1}, "renameByName": {"a": "A"}}
    assert _organized(found, options) == Table(["b", "A"], [{"b": "y", "A": "x"}, {"A": "z"}])


def test_long_rows_become_a_matrix() -> None:
    rows = [{"month": m, "who": w, "Value": v} for m, w, v in (("01", "a", 1.0), ("01", "b", 2.0), ("02", "a", 3.0))]
    found = _matrix(
        Table(["month", "who", "Value"], rows), {"rowField": "month", "columnField": "who", "valueField": "Value"}
    )
    assert found.columns == ["month\\who", "a", "b"]
    assert found.rows == [{"month\\who": "01", "a": 1.0, "b": 2.0}, {"month\\who": "02", "a": 3.0}]


def test_equal_neighbours_are_one_span_and_a_hole_ends_it() -> None:
    series = Series({}, "s", [(0, 1.0), (1, 1.0), (2, 0.0), (3, 0.0), (9, 0.0)])
    assert list(spans(series, 1.0)) == [(0, 2, 1.0), (2, 4.0, 0.0), (9, 9, 0.0)]

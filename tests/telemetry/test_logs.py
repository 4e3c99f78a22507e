"""Log lines: one event is one line, whatever is in it."""

from __future__ import annotations

import base64
import io
import json
import logging
from urllib.parse import quote

import pytest
import structlog

from monitor.telemetry.escaping import escape
from monitor.telemetry.logs import LogFormat, set_up
from monitor.telemetry.scrubbing import MAX_VALUES, Scrubber

NOW_US = 1_775_000_000_000_000

pytestmark = pytest.mark.usefixtures("restore_logging")


def _lines(log_format: LogFormat, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    set_up(now_us=lambda: NOW_US, log_format=log_format, level=level, stream=stream)
    return stream


def test_logfmt_has_time_level_event_first() -> None:
    stream = _lines(LogFormat.LOGFMT)
    structlog.get_logger().info("run failed", service="portal", check="login", took_us=12, ok=False, step=None)
    assert stream.getvalue() == (
        "time=2026-03-31T23:33:20.000000+00:00 level=info "
        'event="run failed" service=portal check=login took_us=12 ok=false step=\n'
    )


def test_json_lines_parse() -> None:
    stream = _lines(LogFormat.JSON)
    structlog.get_logger().warning("run failed", failing=("a", "b"), nested={"x": 1})
    assert json.loads(stream.getvalue()) == {
        "time": "2026-03-31T23:33:20.000000+00:00",
        "level": "warning",
        "event": "run failed",
        "failing": ["a", "b"],
        "nested": {"x": 1},
    }


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_hostile_text_stays_on_its_line(log_format: LogFormat) -> None:
    stream = _lines(log_format)
    hostile = 'a\nlevel=critical event="forged"\r\x1b[2J\u202egnp.exe\u2028\x00'
    structlog.get_logger().info(hostile, target=hostile, deep={"k\n": [hostile, {"x": hostile}]}, **{"ke y\n=": "v"})
    written = stream.getvalue()
    assert written.endswith("\n")
    assert len(written[:-1].splitlines()) == 1
    assert not {"\x1b", "\u202e", "\u2028", "\x00", "\r"} & set(written)


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_traceback_is_one_line(log_format: LogFormat) -> None:
    stream = _lines(log_format)
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        structlog.get_logger().exception("task died")
    assert len(stream.getvalue().splitlines()) == 1
    assert "ZeroDivisionError" in stream.getvalue()


def test_the_standard_library_goes_the_same_way() -> None:
    stream = _lines(LogFormat.JSON)
    logging.getLogger("aiohttp.server").error("bad %s", "request\nline", extra={"peer": "127.0.0.1"})
    line = json.loads(stream.getvalue())
    assert (line["level"], line["event"], line["peer"]) == ("error", "bad request\\nline", "127.0.0.1")


def test_levels_below_are_neither_written_nor_counted() -> None:
    stream = io.StringIO()
    counts = set_up(now_us=lambda: NOW_US, level="warning", stream=stream)
    log = structlog.get_logger()
    log.info("quiet")
    log.warning("heard")
    logging.getLogger("x").info("quiet")
    logging.getLogger("x").error("heard")
    assert dict(counts.by_level) == {"warning": 1, "error": 1}
    assert len(stream.getvalue().splitlines()) == 2


def test_setting_up_again_replaces() -> None:
    first = _lines(LogFormat.JSON)
    second = _lines(LogFormat.LOGFMT)
    structlog.get_logger().info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def test_long_text_is_cut_and_says_so() -> None:
    assert escape("x" * 5000).endswith("… (5000 characters)")
    assert escape("Rp1.234.567 – ya") == "Rp1.234.567 – ya"


@pytest.mark.parametrize(
    ("value", "written"),
    [('say "hi"', r'v="say \"hi\""'), ("a\\ b", r'v="a\\ b"'), ("a=b", 'v="a=b"'), ("plain", "v=plain"), ("", 'v=""')],
)
def test_logfmt_quotes_what_needs_it(value: str, written: str) -> None:
    stream = _lines(LogFormat.LOGFMT)
    structlog.get_logger().info("x", v=value)
    assert written in stream.getvalue()


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_no_line_holds_a_secret_in_any_form(log_format: LogFormat) -> None:
    stream = io.StringIO()
    scrubber = Scrubber()
    secret = "r4hasia besar+\n§"
    assert scrubber.watch(lambda _reference: secret)("NAME") == secret
    set_up(now_us=lambda: NOW_US, log_format=log_format, stream=stream, scrub=scrubber.scrub)
    log = structlog.get_logger()
    log.info(secret, target=quote(secret), deep={secret: [secret, {"x": secret}]}, other=ValueError(secret))
    log.info("long", body="x" * 4086 + secret)
    logging.getLogger("library").error("refused %s", base64.b64encode(secret.encode()).decode())
    try:
        int(f"password={secret}")
    except ValueError:
        log.exception("task died")
    written = stream.getvalue()
    assert len(written.splitlines()) == 4
    assert "***" in written
    for form in ("r4hasia", "besar", base64.b64encode(secret.encode()).decode()[:8]):
        assert form not in written


def test_what_is_masked_is_bounded_and_not_every_letter() -> None:
    scrubber = Scrubber()
    scrubber.remember("on")
    assert scrubber.scrub("monitor is on") == "monitor is on"
    for number in range(MAX_VALUES + 1):
        scrubber.remember(f"s{number:05}")
    assert scrubber.scrub("s00000 s00001") == "s00000 ***"

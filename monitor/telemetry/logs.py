"""Log lines: one event, one line, on stderr, as logfmt or JSON; the standard library's loggers go the same way.

Text from outside (targets, headers, errors) may hold line breaks, terminal escapes or bidirectional marks: every string
is written with those escaped, so that no event can pose as two or as another.
"""

from __future__ import annotations

import enum
import logging
import sys
from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import orjson
import structlog

from monitor.core.instant import format_instant_us
from monitor.telemetry.escaping import escape

_MAX_DEPTH = 4

_Event = MutableMapping[str, Any]


class LogFormat(enum.StrEnum):
    """How a line is written."""

    LOGFMT = "logfmt"
    JSON = "json"


@dataclass(slots=True)
class LogCounts:
    """How many records were emitted, by level: `sla_log_messages_total`."""

    by_level: Counter[str] = field(default_factory=Counter)

    def __call__(self, _logger: object, _method: str, event: _Event) -> _Event:
        """A processor that counts and passes on."""
        self.by_level[str(event.get("level", "info"))] += 1
        return event


def set_up(
    *,
    now_us: Callable[[], int],
    log_format: LogFormat = LogFormat.LOGFMT,
    level: str = "info",
    stream: TextIO | None = None,
    scrub: Callable[[str], str] = str,
) -> LogCounts:
    """Route structlog and the standard library's loggers to `stream` (stderr); the counts go on from here.

    Replaces what was set up before. `now_us` stamps the lines, in UTC. `level` is the lowest that is written. `scrub`
    takes secrets out of a text.
    """
    counts = LogCounts()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        counts,
        _Stamp(now_us),
        structlog.processors.format_exc_info,
        _Safe(scrub),
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(log_format)],
        ),
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return counts


class _Stamp:
    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us

    def __call__(self, _logger: object, _method: str, event: _Event) -> _Event:
        event["time"] = format_instant_us(self._now_us())
        return event


def _renderer(log_format: LogFormat) -> Callable[[Any, str, _Event], str]:
    if log_format is LogFormat.JSON:
        return _as_json
    return _as_logfmt


def _as_json(_logger: object, _method: str, event: _Event) -> str:
    return orjson.dumps(_ordered(event), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _as_logfmt(_logger: object, _method: str, event: _Event) -> str:
    return " ".join(f"{_key(key)}={_value(value)}" for key, value in _ordered(event).items())


def _ordered(event: _Event) -> dict[str, Any]:
    """The fields a reader looks for first, then the rest as they were bound."""
    first = {key: event[key] for key in ("time", "level", "event") if key in event}
    return {**first, **{str(key): value for key, value in event.items() if key not in first}}


def _key(key: str) -> str:
    return "".join("_" if letter in ' ="' else letter for letter in key) or "_"


def _value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = value if isinstance(value, str) else str(value)
    if text and not any(letter in ' ="\\' for letter in text):
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


class _Safe:
    """A processor: every text on one line and without secrets, whatever it is wrapped in."""

    def __init__(self, scrub: Callable[[str], str]) -> None:
        self._scrub = scrub

    def __call__(self, _logger: object, _method: str, event: _Event) -> _Event:
        return {
            self._text(str(key)): self._cleaned(value, 0) if key[:1] != "_" else value for key, value in event.items()
        }

    def _text(self, text: str) -> str:
        # Scrubbed before it is cut at a bound: half a secret is none that would be known.
        return escape(self._scrub(text))

    def _cleaned(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self._text(value)
        if depth < _MAX_DEPTH:
            if isinstance(value, dict):
                return {self._text(str(key)): self._cleaned(item, depth + 1) for key, item in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [self._cleaned(item, depth + 1) for item in value]
        return self._text(str(value))

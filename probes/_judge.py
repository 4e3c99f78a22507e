"""Holds the assertions of a step against what came, and words what does not hold.

A sentence says what was expected against what came. Foreign text in it is scrubbed first and cut then: the other way
round, half a secret would remain.
"""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probes import FailReason
from probes import _certificate as certificate
from probes._answer import Answer, NotJsonError, search
from probes._json_schema import JsonSchema
from probes._markup import NotMarkupError, compile_css, compile_xpath
from probes._poller import give_way
from probes.expect import SUCCESS, Body, Certificate, Expect, Matcher, Ranges, Records, given
from probes.template import Expander

MAX_SHOWN = 200
_MAX_SCRUBBED = 4096
_AT_A_TIME = 4096  # values compared in one turn of the loop


@dataclass(frozen=True, slots=True)
class Failed:
    """An assertion that did not hold: its id, its reason and the sentence."""

    id: str
    reason: FailReason
    message: str


class Judge:
    """One step's assertions over one answer. `failed` collects what does not hold, in order."""

    def __init__(self, step: str, answer: Answer, expander: Expander, scrub: Callable[[str], str]) -> None:
        self._step, self._answer, self._expander, self._scrub = step, answer, expander, scrub
        self.failed: list[Failed] = []

    async def judge(self, wanted: Expect) -> None:
        """Every assertion of `wanted`; ProbeError(SCRIPT) for an unknown variable, OwnFault for a pattern too slow."""
        if "status" in self._answer.facts:
            self._status(wanted.status or SUCCESS)
        if wanted.headers:  # most checks have few of these wishes: what is not wished for costs nothing
            await self._headers(wanted)
        if wanted.body is not None:
            await self._body(wanted.body)
        if wanted.json:
            await self._json(wanted)
        if wanted.schema is not None:
            await self._schema(wanted.schema)
        if wanted.xpath or wanted.css:
            await self._markup("xpath", wanted.xpath)
            await self._markup("css", wanted.css)
        if wanted.records is not None:
            await self._records(wanted.records)
        if wanted.certificate is not None:
            await self._certificate(wanted.certificate)
        self._bounds(wanted, self._answer.facts)

    def _fail(self, key: str, message: str, reason: FailReason = FailReason.ASSERTION) -> None:
        self.failed.append(Failed(f"{self._step}.{key}", reason, message))

    def _status(self, wanted: Ranges) -> None:
        came = self._answer.facts["status"]
        if not any(low <= came <= high for low, high in wanted):
            body = f": {self._shown(self._answer.text)}" if self._answer.body else ""
            self._fail("status", f"expected status {_ranges_text(wanted)}, got {came}{body}", FailReason.HTTP_STATUS)

    async def _headers(self, wanted: Expect) -> None:
        for name, wish in wanted.headers.items():
            value = self._answer.header(name)
            problem = await self._unmet(wish, [] if value is None else [value])
            if problem:
                self._fail(f"headers.{name.lower()}", f"header {name}: {problem}")

    async def _body(self, wanted: Body) -> None:
        text = self._answer.text
        missing = [t for t in map(self._expander.text, wanted.contains) if t not in text]
        if missing:
            self._fail(
                "body.contains", f"body: expected to contain {self._quoted(missing[0])}, got {self._shown(text)}"
            )
        unwanted = [t for t in map(self._expander.text, wanted.not_contains) if t in text]
        if unwanted:
            self._fail("body.not_contains", f"body: expected not to contain {self._quoted(unwanted[0])}")
        for wish in wanted.matches:
            if await search(wish, text) is None:
                self._fail("body.matches", f"body: expected to match {self._quoted(wish)}, got {self._shown(text)}")
                break

    async def _json(self, wanted: Expect) -> None:
        for path, wish in wanted.json.items():
            try:
                problem = await self._unmet(wish, await self._answer.query(path))
            except NotJsonError as error:
                problem = str(error)
            if problem:
                self._fail(f"json.{path}", f"json {path}: {problem}")

    async def _schema(self, schema: JsonSchema) -> None:
        try:
            unmet = await self._answer.unmet(schema)
        except NotJsonError as error:
            self._fail("schema", f"schema: {error}")
            return
        if unmet is not None:
            place, why = unmet
            self._fail("schema", f"schema: at {self._shown(place)}: {self._shown(why)}")

    async def _markup(self, language: str, wishes: Mapping[str, Matcher]) -> None:
        for text, wish in wishes.items():
            compiled = compile_xpath(text) if language == "xpath" else compile_css(text)
            try:
                problem = await self._unmet(wish, await self._answer.markup.query(compiled))
            except NotMarkupError as error:
                problem = self._shown(str(error))
            if problem:
                self._fail(f"{language}.{text}", f"{language} {text}: {problem}")

    async def _records(self, wanted: Records) -> None:
        came: Sequence[str] = self._answer.facts.get("records", ())
        lowered = [record.lower() for record in came]

        def shown() -> str:
            return self._shown(", ".join(came) or "none")

        def texts(values: Sequence[str]) -> list[str]:
            return [self._expander.text(value).lower() for value in values]

        if wanted.equals is not None and sorted(texts(wanted.equals)) != sorted(lowered):
            self._fail("records.equals", f"records: expected {self._shown(', '.join(wanted.equals))}, got {shown()}")
        if missing := [text for text in texts(wanted.contains) if text not in lowered]:
            self._fail("records.contains", f"records: expected {self._quoted(missing[0])} among them, got {shown()}")
        if unwanted := [text for text in texts(wanted.not_contains) if text in lowered]:
            self._fail("records.not_contains", f"records: expected no {self._quoted(unwanted[0])}, got {shown()}")
        if wanted.matches is not None:
            for record in came:
                if await search(wanted.matches, record) is None:
                    self._fail(
                        "records.matches",
                        f"records: expected each to match {self._quoted(wanted.matches)}, got {self._quoted(record)}",
                    )
                    break
        self._how_many(wanted, len(came))

    def _how_many(self, wanted: Records, came: int) -> None:
        if wanted.min is not None and came < wanted.min:
            self._fail("records.min", f"records: expected at least {wanted.min}, got {came}")
        if wanted.max is not None and came > wanted.max:
            self._fail("records.max", f"records: expected at most {wanted.max}, got {came}")

    async def _certificate(self, wanted: Certificate) -> None:
        facts = self._answer.facts
        chain: tuple[bytes, ...] = facts.get("chain", ())
        leaf = certificate.read(chain[0]) if chain else None
        if leaf is None:
            self._fail(f"certificate.{given(wanted)[0]}", "certificate: expected one, none was presented")
            return
        if wanted.valid_for is not None:
            left_us = (facts["cert_not_after_s"] or 0) * 1_000_000 - facts["wall_us"]
            if left_us < wanted.valid_for:
                short = f"expected at least {_days(wanted.valid_for)}, the chain expires in {_days(left_us)}"
                self._fail("certificate.valid_for", f"certificate: {short}")
        names = [self._expander.text(name) for name in wanted.names]
        if missing := [name for name in names if not leaf.is_for(name)]:
            came = self._shown(", ".join(leaf.names) or "no names")
            self._fail(
                "certificate.names", f"certificate: expected it for {self._quoted(missing[0])}, it is for {came}"
            )
        for key, wish, text in (("issuer", wanted.issuer, leaf.issuer), ("subject", wanted.subject, leaf.subject)):
            problem = None if wish is None else await self._unmet(wish, [text])
            if problem:
                self._fail(f"certificate.{key}", f"certificate: {key}: {problem}")

    def _bounds(self, wanted: Expect, facts: Mapping[str, Any]) -> None:
        size = facts.get("size", 0)
        if wanted.size is not None and not wanted.size.holds(size):
            self._fail("size", f"size: expected {wanted.size.text}, got {size} bytes")
        spent_ns = facts["duration_ns"]
        if wanted.time is not None and not wanted.time.holds(spent_ns / 1_000):
            self._fail("time", f"time: expected {wanted.time.text}, took {spent_ns / 1e6:.1f}ms")

    async def _unmet(self, wish: Matcher, values: list[Any]) -> str | None:
        """Why the values at one place do not meet the wish: there must be one, and each must meet it."""
        if not wish.exists:
            return f"expected nothing there, got {self._json_text(values[0])}" if values else None
        if not values:
            return "expected it to exist, it does not"
        for number, value in enumerate(values, 1):
            if number % _AT_A_TIME == 0:
                await give_way()
            problem = await self._unmet_by(wish, value)
            if problem:
                return problem
        return None

    async def _unmet_by(self, wish: Matcher, value: Any) -> str | None:  # noqa: ANN401 - a JSON value
        if "type" in wish.given and not is_type(value, wish.type or ""):
            return f"expected type {wish.type}, got {self._json_text(value)}"
        if "equals" in wish.given:
            wanted = self._expander.value(wish.equals)
            if not same(wanted, value):
                return f"expected {self._json_text(wanted)}, got {self._json_text(value)}"
        if "min" in wish.given or "max" in wish.given:
            problem = _out_of_bounds(wish, value)
            if problem:
                return f"expected {problem}, got {self._json_text(value)}"
        if wish.matches is not None:
            text = value if isinstance(value, str) else json_format.dumps(value, ensure_ascii=False)
            if await search(wish.matches, text) is None:
                return f"expected to match {self._quoted(wish.matches)}, got {self._json_text(value)}"
        return None

    def _json_text(self, value: Any) -> str:  # noqa: ANN401 - a JSON value
        return self._shown(json_format.dumps(value, ensure_ascii=False))

    def _quoted(self, text: str) -> str:
        return f"{self._shown(text)!r}"

    def _shown(self, text: str) -> str:
        return shown(text, self._scrub)


def shown(text: str, scrub: Callable[[str], str]) -> str:
    """Foreign text in a message: scrubbed, on one line, without control characters, bounded."""
    kept = scrub(text[:_MAX_SCRUBBED])
    line = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in kept)
    line = " ".join(line.split())
    return line[:MAX_SHOWN] + "…" if len(line) > MAX_SHOWN else line


def _days(duration_us: int) -> str:
    days, rest_us = divmod(abs(duration_us), 86_400_000_000)
    sign = "-" if duration_us < 0 else ""
    return f"{sign}{days} d {rest_us // 3_600_000_000} h"


def _ranges_text(ranges: Ranges) -> str:
    def one(low: int, high: int) -> str:
        if low == high:
            return str(low)
        return f"{low // 100}xx" if low % 100 == 0 and high == low + 99 else f"{low}-{high}"

    return " or ".join(one(low, high) for low, high in ranges)


def _out_of_bounds(wish: Matcher, value: Any) -> str | None:  # noqa: ANN401 - a JSON value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "a number"
    if wish.min is not None and value < wish.min:
        return f"at least {wish.min}"
    if wish.max is not None and value > wish.max:
        return f"at most {wish.max}"
    return None


def same(wanted: Any, came: Any) -> bool:  # noqa: ANN401 - JSON values
    """Equality as JSON has it: 1 and 1.0 are one number, true is no number, "200" is none either."""
    if isinstance(wanted, bool) or isinstance(came, bool):
        return wanted is came
    if isinstance(wanted, dict) and isinstance(came, dict):
        return wanted.keys() == came.keys() and all(same(wanted[key], came[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(came, list):
        return len(wanted) == len(came) and all(same(w, c) for w, c in zip(wanted, came, strict=True))
    return bool(wanted == came)


def is_type(value: Any, name: str) -> bool:  # noqa: ANN401 - a JSON value
    """True if a JSON value is of the JSON type `name`; `integer` is a number without a fraction."""
    if isinstance(value, bool):
        return name == "boolean"
    match name:
        case "integer":
            return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        case "number":
            return isinstance(value, int | float)
        case "null":
            return value is None
        case _:
            return isinstance(value, {"string": str, "object": dict, "array": list}.get(name, ()))

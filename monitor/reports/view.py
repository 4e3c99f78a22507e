"""A statement laid out for reading: the verdict first, then sections of pairs and tables, in one language.

Text and HTML are set from the same layout, so they cannot say different things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitor import locale
from monitor.locale import Lang
from monitor.reports import Document
from monitor.reports.strip import Strip, Window, strip
from monitor.reports.words import word
from monitor.telemetry.escaping import escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns and rows of text; `empty` is said where there are no rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled part: label and value pairs, then tables, then remarks."""

    title: str
    pairs: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A day of the month in the strip: `up`, `down` (some counted downtime) or `excluded`."""

    number: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The whole statement. `verdict` stands first; `met` says whether the guarantee was kept; `tiles` are the figures
    of the first page, each with its label and what stands below it.
    """

    title: str
    verdict: str
    met: bool
    tiles: tuple[tuple[str, str, str], ...]
    sections: tuple[Section, ...]
    days: tuple[Day, ...]
    strip: Strip


def layout(document: Document, lang: Lang, windows: Sequence[Window] = ()) -> Layout:
    """The statement `document` (INTERFACES, Statement) in `lang`, with the windows that touch its month."""
    show = _Show(document, lang, windows)
    return Layout(
        title=f"{show.word('title')} {locale.month(document['period']['month'], lang)}",
        verdict=show.verdict(),
        met=document["guarantee"]["met"],
        tiles=show.tiles(),
        sections=(
            show.header(),
            show.figures(),
            show.outages(),
            show.exclusions(),
            show.incidents(),
            show.money(),
            show.claim(),
            show.method(),
        ),
        days=days(document),
        strip=strip(document, windows),
    )


def days(document: Document) -> tuple[Day, ...]:
    """Each day of the month: whether an outage with counted time touches it, or only an excluded one."""
    start = datetime.fromisoformat(document["period"]["start"])
    end = datetime.fromisoformat(document["period"]["end"])
    spans = [
        (
            datetime.fromisoformat(outage["start"]),
            datetime.fromisoformat(outage["end"]) if outage["end"] else None,
            "excluded" if _is_zero(outage["counted_seconds"]) else "down",
        )
        for outage in document["outages"]
    ]
    found: list[Day] = []
    while start < end:
        after = start + timedelta(days=1)
        states = {state for begin, finish, state in spans if begin < after and (finish is None or finish > start)}
        found.append(Day(number=start.day, state="down" if "down" in states else min(states, default="up")))
        start = after
    return tuple(found)


def _is_zero(seconds: str) -> bool:
    return not seconds.strip("0.")


class _Show:
    """The sections of one statement in one language."""

    def __init__(self, document: Document, lang: Lang, windows: Sequence[Window]) -> None:
        self._doc = document
        self._lang = lang
        self._windows = windows
        self._announced = {window["id"]: window["announced"] for window in windows}

    def word(self, key: str) -> str:
        return word(key, self._lang)

    def _moment(self, instant: str) -> str:
        return locale.moment(instant, self._doc["period"]["timezone"], self._lang)

    def _percent(self, text: str) -> str:
        """A floored figure."""
        return locale.percent(text, self._lang)

    def _agreed(self, text: str) -> str:
        """A percentage as the contract has it."""
        return locale.percent(text, self._lang, 0)

    def _span(self, seconds: str) -> str:
        return f"{locale.duration(seconds, self._lang)} ({locale.number(seconds, self._lang)} s)"

    def _money(self, amount: str) -> str:
        return locale.money(amount, self._doc["credit"]["fee"]["currency"], self._lang)

    def verdict(self) -> str:
        doc = self._doc
        kept = self.word("kept" if doc["guarantee"]["met"] else "missed")
        said = f"{self.word('guarantee')} {self._agreed(doc['guarantee']['percent'])} {kept}"
        if doc["status"] == "provisional":
            said += f" ({self.word('so_far')})"
        said += f": {self.word('availability').lower()} {self._percent(doc['availability']['percent'])}, "
        credit = doc["credit"]
        return (
            f"{said}{self.word('credit').lower()} {self._agreed(credit['percent'])} = {self._money(credit['amount'])}"
        )

    def tiles(self) -> tuple[tuple[str, str, str], ...]:
        """The four figures that a reader looks for first."""
        doc = self._doc
        credit, down = doc["credit"], doc["downtime"]
        guarantee = f"{self.word('guarantee')} {self._target(doc['guarantee'])}"
        excluded = f"{self.word('excluded')} {locale.duration(down['excluded_seconds'], self._lang)}"
        share = f"{self._agreed(credit['percent'])} × {self._money(credit['fee']['amount'])}"
        unknown = f"{self.word('unknown')} {locale.duration(doc['coverage']['unknown_seconds'], self._lang)}"
        return (
            (self.word("availability"), self._percent(doc["availability"]["percent"]), guarantee),
            (self.word("counted_short"), locale.duration(down["seconds"], self._lang), excluded),
            (self.word("coverage"), self._percent(doc["coverage"]["percent"]), unknown),
            (self.word("credit"), self._money(credit["amount"]), share),
        )

    def header(self) -> Section:
        doc = self._doc
        issued = self._moment(doc["issued_at"]) if doc["issued_at"] else self.word("not_issued")
        terms = f"{self.word('effective_from')} {locale.date(doc['contract']['effective_from'], self._lang)}"
        pairs = [
            (self.word("number"), f"{doc['statement']}, {self.word('version')} {doc['version']}"),
            (self.word("status"), self.word(f"status.{doc['status']}")),
            (self.word("partner"), _named(doc["partner"])),
            (self.word("service"), _named(doc["service"])),
            (self.word("contract"), f"{doc['contract']['id']}, {terms}"),
            (self.word("period"), f"{doc['period']['start']} {self.word('until')} {doc['period']['end']}"),
            (self.word("issued"), issued),
            (self.word("imported"), self.word("yes" if doc["imported"] else "no")),
        ]
        if doc["restates"] is not None:
            restates = doc["restates"]
            why = f"{restates['version']}: {restates['reason']} ({restates['by']}), "
            why += f"{self.word('delta')} {self._money(restates['credit_delta'])}"
            pairs.append((self.word("restates"), why))
        return Section(title=self.word("title"), pairs=tuple(pairs))

    def figures(self) -> Section:
        doc = self._doc
        down, share = doc["downtime"], doc["availability"]
        integers = f"{locale.number(share['numerator_us'], self._lang)} / "
        integers += f"{locale.number(share['denominator_us'], self._lang)} µs"
        return Section(
            title=self.word("figures"),
            pairs=(
                (self.word("seconds_in_month"), self._span(doc["period"]["seconds"])),
                (self.word("observed"), self._span(down["observed_seconds"])),
                (self.word("excluded"), self._span(down["excluded_seconds"])),
                (self.word("counted"), self._span(down["seconds"])),
                (self.word("unknown"), self._span(doc["coverage"]["unknown_seconds"])),
                (self.word("availability"), f"{self._percent(share['percent'])} = (T - D) / T = {integers}"),
                (self.word("worst_case"), self._percent(doc["worst_case"]["percent"])),
                (self.word("coverage"), self._percent(doc["coverage"]["percent"])),
                (self.word("guarantee"), self._target(doc["guarantee"])),
                (self.word("objective"), self._target(doc["objective"])),
            ),
        )

    def _target(self, target: Mapping[str, Any] | None) -> str:
        if target is None:
            return self.word("no_objective")
        return f"{self._agreed(target['percent'])} {self.word('kept' if target['met'] else 'missed')}"

    def outages(self) -> Section:
        rows = tuple(
            (
                str(number),
                self._moment(outage["start"]),
                self._moment(outage["end"]) if outage["end"] else self.word("open"),
                locale.duration(outage["seconds"], self._lang),
                locale.duration(outage["counted_seconds"], self._lang),
                ", ".join(self._exclusion(part) for part in outage["excluded"]) or "–",
                outage["peak_failing"],
                escape(outage["first_failure"] or "–"),
            )
            for number, outage in enumerate(self._doc["outages"], 1)
        )
        columns = ("start", "end", "duration", "counted_part", "excluded_part", "peak", "first_failure")
        table = Table(columns=("#", *map(self.word, columns)), rows=rows, empty=self.word("no_outages"))
        return Section(title=self.word("outages"), tables=(table,))

    def _exclusion(self, part: Mapping[str, Any]) -> str:
        said = f"{self.word(part['reason'])} {part['id']}"
        told = self._announced.get(part["id"])
        return f"{said} ({self.word('announced')} {self._moment(told)})" if told else said

    def exclusions(self) -> Section:
        doc = self._doc
        excluded = Table(
            columns=(self.word("reason"), self.word("id"), self.word("duration")),
            rows=tuple(
                (self.word(part["reason"]), part["id"], locale.duration(part["seconds"], self._lang))
                for part in doc["excluded"]
            ),
            empty=self.word("no_exclusions"),
        )
        tables = [excluded]
        if self._windows:
            tables.append(self._calendar())
        if doc["rejected"]:
            rows = tuple((entry["id"], entry["why"]) for entry in doc["rejected"])
            tables.append(Table(columns=(self.word("rejected"), self.word("why")), rows=rows))
        if doc["decisions"]:
            tables.append(self._decisions())
        return Section(title=self.word("exclusions"), tables=tuple(tables))

    def _calendar(self) -> Table:
        """Every window and exclusion of the month with when it lies and when it was announced, qualifying or not."""
        rows = tuple(
            (
                window["id"],
                self.word(window["reason"]),
                self._moment(window["start"]),
                self._moment(window["end"]),
                self._moment(window["announced"]) if window["announced"] else self.word("never"),
                self.word("yes" if window["qualifies"] else "no"),
            )
            for window in self._windows
        )
        columns = ("id", "reason", "start", "end", "announced_or_decided", "qualifies")
        return Table(columns=tuple(map(self.word, columns)), rows=rows)

    def _decisions(self) -> Table:
        rows = tuple(
            (
                self.word(entry["type"]),
                entry.get("id") or entry.get("of") or "–",
                self._moment(entry["at"]),
                entry.get("by") or "–",
                escape(entry.get("note") or entry.get("evidence") or "–"),
            )
            for entry in self._doc["decisions"]
        )
        return Table(columns=(self.word("decisions"), *map(self.word, ("id", "when", "who", "why"))), rows=rows)

    def incidents(self) -> Section:
        rows = tuple(
            (
                str(entry["id"]),
                str(entry["priority"]),
                self._moment(entry["reported"]),
                self._clock(entry["response"]),
                self._clock(entry["resolution"]),
                escape(entry["summary"]),
            )
            for entry in self._doc["incidents"]
        )
        columns = ("id", "priority", "reported", "response", "resolution", "summary")
        table = Table(columns=tuple(map(self.word, columns)), rows=rows, empty=self.word("no_incidents"))
        return Section(title=self.word("incidents"), tables=(table,))

    def _clock(self, clock: Mapping[str, Any] | None) -> str:
        """How a clock stands, against what was due; of one that nothing was promised for, so much."""
        if clock is None:
            return self.word("no_clock")
        stands = self.word("clock." + clock["state"])
        return f"{stands}, {self.word('due')} {self._moment(clock['due'])}"

    def money(self) -> Section:
        credit = self._doc["credit"]
        currency = credit["fee"]["currency"]
        return Section(
            title=self.word("money"),
            pairs=(
                (self.word("fee"), self._money(credit["fee"]["amount"])),
                (self.word("share"), self._agreed(credit["percent"])),
                (self.word("credit"), self._money(credit["amount"])),
                (self.word("words"), locale.in_words(credit["amount"], currency, self._lang)),
                (self.word("rounding"), self.word("half_up")),
            ),
            remarks=(self.word("against"), self.word("no_tax")),
        )

    def claim(self) -> Section:
        claim = self._doc["claim"]
        filed = self._moment(claim["filed_at"]) if claim["filed_at"] else "–"
        return Section(
            title=self.word("claim"),
            pairs=(
                (self.word("status"), self.word(f"claim.{claim['status']}")),
                (self.word("deadline"), self._moment(claim["deadline"])),
                (self.word("filed"), filed),
                (self.word("how"), self.word("claim_how")),
            ),
        )

    def method(self) -> Section:
        doc, method = self._doc, self._doc["method"]
        ledger = f"{doc['ledger']['entries']} {self.word('entries')}, {self.word('head')} {doc['ledger']['head']}"
        return Section(
            title=self.word("method"),
            pairs=(
                (self.word("rule"), method["rule"]),
                *((self.word("checks"), _check_list(entry)) for entry in method["checks"]),
                (self.word("locations"), ", ".join(method["locations"]) or "–"),
                (self.word("zone"), doc["period"]["timezone"]),
                (self.word("software"), method["software"]),
                (self.word("holidays"), method["holidays"]),
                (self.word("ledger"), ledger),
                (self.word("digest"), doc["digest"] or self.word("no_digest")),
                (self.word("verify"), f"jaga explain {doc['partner']['id']} {doc['period']['month']}"),
            ),
        )


def _named(party: Mapping[str, str]) -> str:
    return party["id"] if party["name"] == party["id"] else f"{escape(party['name'])} ({party['id']})"


def _check_list(entry: Mapping[str, Any]) -> str:
    names = ", ".join(str(check["id"]) for check in entry["checks"])
    return f"{entry['at']}: {names}; {entry['interval_s']} s"

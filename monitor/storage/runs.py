"""Questions about runs, wherever they lie: rows while they are hot, sealed segments once they are cold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import Select, and_, func, select

from monitor.core.body import Arrived
from monitor.core.instant import HOUR_US
from monitor.core.run import Outcome, Run, SourceKey
from monitor.core.segment import hour_of
from monitor.core.span import Span
from monitor.storage import StoredRun
from monitor.storage.asking import PAGE_ROWS, Asking, in_one_state
from monitor.storage.cold import (
    COLD,
    EXPIRED,
    HOT,
    PAGE_HOURS,
    hours_query,
    of_hours,
    segments_query,
)
from monitor.storage.questions import FIRST_FAILURE, SOURCE_COLUMNS, stamped
from monitor.storage.rows import RUN_COLUMNS, content_row, read_run
from monitor.storage.schema import CONTESTED, RUNS, SEGMENTS, SOURCES

_EVER = Span(-(2**62), 2**62)
_RUN = tuple(RUNS.c[name] for name in RUN_COLUMNS)


class RunReader(Asking):
    """The runs of a store: rows, and what segments hold where rows have gone. A contested run is always a row."""

    @in_one_state
    def runs_after(self, arrival: int, limit: int) -> list[tuple[int, Run]]:
        """Up to `limit` runs that arrived after the arrival number, in arrival order, with their numbers."""
        query = (
            select(*_RUN, *SOURCE_COLUMNS)
            .join(SOURCES, SOURCES.c.id == RUNS.c.source)
            .where(RUNS.c.arrival > arrival, SOURCES.c.counts == 1)
            .order_by(RUNS.c.arrival)
            .limit(limit)
        )
        found = {row[0]: _joined_run(row) for row in self._tuples(query)}
        self._add_cold_after(arrival, limit, found)
        return sorted(found.items())[:limit]

    def _add_cold_after(self, arrival: int, limit: int, found: dict[int, Run]) -> None:
        query = (
            segments_query()
            .where(SEGMENTS.c.state == COLD, SEGMENTS.c.last_arrival > arrival)
            .order_by(None)
            .order_by(SEGMENTS.c.first_arrival, SEGMENTS.c.id)
        )
        taken = 0
        while rows := self._tuples(query.limit(PAGE_HOURS).offset(taken)):
            for row in rows:
                if len(found) >= limit and row.first_arrival > sorted(found)[limit - 1]:
                    return
                hour = Span(row.hour_us, row.hour_us + HOUR_US)
                superseded = self._contested_keys(row.service, hour)
                for held in self._decoded.runs(row, None, target=self.target):
                    if held.arrival > arrival and held.run.key not in superseded:
                        found[held.arrival] = held.run
            taken += len(rows)

    def _contested_keys(self, service: str, within: Span) -> set[tuple[str, str, str, int]]:
        """Keys that hold two contents: what they read is a row, whatever a segment held."""
        query = (
            select(*SOURCE_COLUMNS, CONTESTED.c.start_us)
            .join(SOURCES, SOURCES.c.id == CONTESTED.c.source)
            .where(*stamped(CONTESTED, service, within))
        )
        return {(row[0], row[1], row[2], row[3]) for row in self._tuples(query)}

    def runs(self, source: SourceKey, within: Span, *, disputed: bool = False) -> Iterator[Run]:
        """Runs of a source stamped in the span, by start; a contested one reads as inconclusive(conflict)."""
        held = self._source_id(source, disputed=disputed)
        if held is not None:
            for page, _ in self._pages(held, source, within, sealed=not disputed):
                yield from page.values()

    def runs_known(self, source: SourceKey, within: Span, arrival: int) -> Iterator[Run]:
        """Runs of a source stamped in the span as they were known when `arrival` was the last to have arrived."""
        held = self._source_id(source)
        if held is None:
            return
        for known, span in self._pages(held, source, within, sealed=True, arrival=arrival):
            # Asked after the page: a run that becomes contested in between is then in either or both, never in neither.
            former = {run.start_us: run for run in self._contested_since(source, held, span, arrival)}
            whole = known | former
            for start_us in sorted(whole):
                yield whole[start_us]

    def _contested_since(self, source: SourceKey, held: int, within: Span, arrival: int) -> Iterator[Run]:
        query = (
            select(CONTESTED.c.start_us, CONTESTED.c.origin, CONTESTED.c.content)
            .join(RUNS, and_(RUNS.c.source == CONTESTED.c.source, RUNS.c.start_us == CONTESTED.c.start_us))
            .where(
                CONTESTED.c.source == held,
                CONTESTED.c.start_us >= within.start_us,
                CONTESTED.c.start_us < within.end_us,
                CONTESTED.c.arrival <= arrival,
                RUNS.c.arrival > arrival,
            )
        )
        for start_us, origin, data in self._tuples(query):
            yield read_run(content_row(data, source=held, start_us=start_us, origin=origin), source)

    @in_one_state
    def arrived_after(self, service: str, within: Span, arrival: int) -> bool:
        """Whether any run of a service stamped in the span arrived (or became contested) after the number."""
        query = (
            select(RUNS.c.source)
            .join(SOURCES, SOURCES.c.id == RUNS.c.source)
            .where(*stamped(RUNS, service, within), RUNS.c.arrival + 0 > arrival)
        )
        return bool(self._tuples(query.limit(1))) or self._cold_arrived_after(service, within, arrival)

    def _cold_arrived_after(self, service: str, within: Span, arrival: int) -> bool:
        query = segments_query().where(
            SEGMENTS.c.service == service,
            SEGMENTS.c.hour_us > within.start_us - HOUR_US,
            SEGMENTS.c.hour_us < within.end_us,
            SEGMENTS.c.last_arrival > arrival,
            SEGMENTS.c.state != HOT,
        )
        for row in self._tuples(query):
            whole = within.start_us <= row.hour_us and row.hour_us + HOUR_US <= within.end_us
            # Where the runs have gone nothing can be told apart: what comes of it is computed from what stays.
            if whole or row.state == EXPIRED:
                return True
            held = self._decoded.within([row], None, within, target=self.target)
            if any(one.arrival > arrival for one in held):
                return True
        return False

    def run_before(self, source: SourceKey, at_us: int) -> Run | None:
        """The latest run of a source stamped before the instant."""
        # The newest of a source is always a row: most ask for that one.
        newest = self._one_run(source, lambda query: query.order_by(RUNS.c.start_us.desc()))
        if newest is None or newest.start_us < at_us:
            return newest
        return self._run_before(source, at_us)

    @in_one_state
    def _run_before(self, source: SourceKey, at_us: int) -> Run | None:
        row = self._one_run(source, lambda query: query.where(RUNS.c.start_us < at_us).order_by(RUNS.c.start_us.desc()))
        # A run whose row went is stamped before the latest row, but for the hour of that one.
        within = Span(hour_of(row.start_us) if row else _EVER.start_us, at_us)
        sealed = next(self._cold(source, within, latest_first=True), None)
        return max(filter(None, (sealed, row)), key=lambda run: run.start_us, default=None)

    @in_one_state
    def run_after(self, source: SourceKey, at_us: int) -> Run | None:
        """The earliest run of a source stamped after the instant."""
        row = self._one_run(source, lambda query: query.where(RUNS.c.start_us > at_us).order_by(RUNS.c.start_us))
        return next(self._cold(source, Span(at_us + 1, row.start_us if row else _EVER.end_us)), row)

    def _cold(self, source: SourceKey, within: Span, *, latest_first: bool = False) -> Iterator[Run]:
        """The runs of a source stamped in the span whose rows went, by start or the other way round."""
        while within.end_us > within.start_us:
            hours = self._scalars(hours_query(source.service, within, (COLD,), latest_first=latest_first))
            if not hours:
                return
            first, last = min(hours), max(hours) + HOUR_US
            page = Span(first, last).clip(within)
            found = self._cold_in(source, page, sorted(hours))
            yield from (held.run for held in (reversed(found) if latest_first else found))
            within = Span(within.start_us, page.start_us) if latest_first else Span(page.end_us, within.end_us)

    def _cold_in(self, source: SourceKey, within: Span, hours: Sequence[int]) -> list[Arrived]:
        """The runs of a source stamped in the span whose rows went, of these hours; contested ones are rows."""
        if not hours:
            return []
        rows = [row for row in self._tuples(of_hours(source.service, hours)) if row.state == COLD]
        found = self._decoded.within(rows, source, within, target=self.target)
        superseded = self._contested_keys(source.service, within) if found else set()
        return [held for held in found if held.run.key not in superseded]

    def latest_runs(self, service: str | None = None) -> list[Run]:
        """The latest run of each source, by source."""
        newest = (
            select(func.max(RUNS.c.start_us)).where(RUNS.c.source == SOURCES.c.id).correlate(SOURCES).scalar_subquery()
        )
        query = (
            select(*_RUN, *SOURCE_COLUMNS)
            .select_from(SOURCES)
            .join(RUNS, and_(RUNS.c.source == SOURCES.c.id, RUNS.c.start_us == newest))
            .where(SOURCES.c.counts == 1)
        )
        if service is not None:
            query = query.where(SOURCES.c.service == service)
        return sorted((_joined_run(row) for row in self._tuples(query)), key=lambda run: run.source)

    @in_one_state
    def first_failure(self, source: SourceKey, within: Span) -> Run | None:
        """The earliest failing run of a source stamped in the span."""
        held = self._source_id(source)
        asked = {"held": held, "first": within.start_us, "last": within.end_us}
        rows = self._tuples(FIRST_FAILURE, asked) if held is not None else []
        row = read_run(rows[0], source) if rows else None
        earlier = Span(within.start_us, row.start_us if row else within.end_us)
        return next((run for run in self._cold(source, earlier) if run.outcome is Outcome.FAIL), row)

    def arrived_in(self, service: str, hour_us: int) -> list[Arrived]:
        """The rows of a service's runs stamped in an hour, as they stand."""
        query = (
            select(*_RUN, *SOURCE_COLUMNS)
            .join(SOURCES, SOURCES.c.id == RUNS.c.source)
            .where(*stamped(RUNS, service, Span(hour_us, hour_us + HOUR_US)))
        )
        return [Arrived(row[0], _joined_run(row), bool(row[14])) for row in self._tuples(query)]

    def unsealed_hours(self, *, after_us: int, before_us: int, arrival: int) -> list[tuple[str, int]]:
        """The hours (service, start) with runs that may be in no segment, in order."""
        hour = (RUNS.c.start_us - RUNS.c.start_us % HOUR_US).label("hour_us")
        query = (
            select(SOURCES.c.service, hour)
            .distinct()
            .join(RUNS, RUNS.c.source == SOURCES.c.id)
            .where(SOURCES.c.counts == 1)
        )
        fresh = query.where(RUNS.c.start_us >= after_us, RUNS.c.start_us < before_us)
        late = query.where(RUNS.c.arrival > arrival, RUNS.c.start_us < min(after_us, before_us))
        found = {(row[0], int(row[1])) for part in (fresh, late) for row in self._tuples(part)}
        return sorted(found, key=lambda held: (held[1], held[0]))

    def rows(self, source: SourceKey, *, disputed: bool = False) -> Iterator[StoredRun]:
        """What is held of a source as rows, by start."""
        held = self._source_id(source, disputed=disputed)
        start_us = _EVER.start_us
        while held is not None:
            query = self._runs_of(held).where(RUNS.c.start_us >= start_us).order_by(RUNS.c.start_us).limit(PAGE_ROWS)
            page = self._tuples(query)
            for row in page:
                contents = self._contents(held, row[2]) if row[14] else ()
                arrived = Arrived(row[0], read_run(row, source), bool(row[14]))
                yield StoredRun(arrived=arrived, recorded_at_us=row[13], contents=contents)
            if len(page) < PAGE_ROWS:
                return
            start_us = page[-1][2] + 1

    def _contents(self, held: int, start_us: int) -> tuple[tuple[str, int | None, str, int, str], ...]:
        columns = (CONTESTED.c.digest, CONTESTED.c.arrival, CONTESTED.c.origin, CONTESTED.c.recorded_at_us)
        query = (
            select(*columns, CONTESTED.c.content)
            .where(CONTESTED.c.source == held, CONTESTED.c.start_us == start_us)
            .order_by(CONTESTED.c.digest)
        )
        return tuple((*row[:4], bytes(row[4]).decode()) for row in self._tuples(query))

    def first_row_us(self, *, after_us: int) -> int | None:
        """The earliest stamp of a run held as a row, at or after the instant."""
        first = (
            select(func.min(RUNS.c.start_us))
            .where(RUNS.c.source == SOURCES.c.id, RUNS.c.start_us >= after_us)
            .correlate(SOURCES)
            .scalar_subquery()
        )
        found = [at_us for at_us in self._scalars(select(first).where(SOURCES.c.counts == 1)) if at_us is not None]
        return min(found, default=None)

    def contested(self, source: SourceKey, start_us: int) -> list[dict[str, Any]]:
        """Every content that was given for a contested key, in no order of arrival; empty for any other."""
        held = self._source_id(source)
        query = (
            select(CONTESTED.c.origin, CONTESTED.c.content)
            .where(CONTESTED.c.source == held, CONTESTED.c.start_us == start_us)
            .order_by(CONTESTED.c.digest)
        )
        return [orjson.loads(data) | {"origin": origin} for origin, data in self._tuples(query)]

    def _pages(
        self, held: int, source: SourceKey, within: Span, *, sealed: bool, arrival: int | None = None
    ) -> Iterator[tuple[dict[int, Run], Span]]:
        """One source's runs stamped in the span by their starts, in order, and the part of it that a page covers; with
        `arrival`, those that had arrived by then as they stand now.
        """
        start_us = within.start_us
        while start_us < within.end_us:
            page, end_us = self._page(held, source, Span(start_us, within.end_us), sealed=sealed, arrival=arrival)
            yield page, Span(start_us, end_us)
            start_us = end_us

    @in_one_state
    def _page(
        self, held: int, source: SourceKey, within: Span, *, sealed: bool, arrival: int | None
    ) -> tuple[dict[int, Run], int]:
        hours = self._scalars(hours_query(source.service, within, (COLD,))) if sealed else []
        end_us = min(hours[-1] + HOUR_US, within.end_us) if len(hours) == PAGE_HOURS else within.end_us
        narrow = self._runs_of(held).where(RUNS.c.start_us >= within.start_us, RUNS.c.start_us < end_us)
        if arrival is not None:
            # `arrival + 0`: the index by start is the one to walk, not the one by arrival.
            narrow = narrow.where(RUNS.c.arrival + 0 <= arrival)
        rows = self._tuples(narrow.order_by(RUNS.c.start_us).limit(PAGE_ROWS))
        if len(rows) == PAGE_ROWS:
            end_us = rows[-1][2] + 1
        cold = self._cold_in(source, Span(within.start_us, end_us), [hour for hour in hours if hour < end_us])
        found = {one.run.start_us: one.run for one in cold if arrival is None or one.arrival <= arrival}
        found |= {row[2]: read_run(row, source) for row in rows}
        return (dict(sorted(found.items())) if cold else found), end_us

    def _runs_of(self, held: int) -> Select[Any]:
        return select(*_RUN).where(RUNS.c.source == held)

    def _one_run(self, source: SourceKey, narrow: Callable[[Select[Any]], Select[Any]]) -> Run | None:
        held = self._source_id(source)
        if held is None:
            return None
        rows = self._tuples(narrow(self._runs_of(held)).limit(1))
        return read_run(rows[0], source) if rows else None


def _joined_run(row: Any) -> Run:  # noqa: ANN401 - a row of RUN_COLUMNS, then the source's three
    return read_run(row[:15], SourceKey(*row[15:]))

"""How fast the checks answer, as the record has it: what is usual for each, and since when it is degraded (SLA 2.1).

The detector keeps the state of each check and location when it changes, and every few minutes; the latest run comes
from the record. So a daemon and a verb beside it say the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import orjson

from monitor.core.baseline import Judged, Pace, response_us
from monitor.core.instant import MINUTE_US
from monitor.core.run import Run, SourceKey
from monitor.storage import Reader

STATE_MARK = "pace-state/"

SPEAKS_US = 30 * MINUTE_US
"""How long the last answer of a check speaks for its pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceStanding:
    """The pace of a check at a location since an instant, as its last answer left it: the one at `at_us`, which took
    `duration_us` and was held against the median of `samples` runs (`usual_us`, None while nothing is usual yet).
    """

    pace: Pace
    since_us: int
    at_us: int
    duration_us: int
    usual_us: int | None
    samples: int

    @classmethod
    def judged(cls, judged: Judged, at_us: int, duration_us: int) -> PaceStanding:
        """After a run."""
        return cls(
            pace=judged.pace,
            since_us=judged.since_us,
            at_us=at_us,
            duration_us=duration_us,
            usual_us=judged.baseline_us,
            samples=judged.samples,
        )

    def document(self) -> dict[str, str | int | None]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def of(cls, kept: object) -> PaceStanding | None:
        """What `document` gave; None for anything else."""
        try:
            return cls(**(kept | {"pace": Pace(kept["pace"])}))  # type: ignore[index,operator]
        except (TypeError, KeyError, ValueError):
            return None

    def holds(self, at_us: int) -> bool:
        """Whether the last answer still speaks for the pace."""
        return at_us - self.at_us <= SPEAKS_US


def state_mark(source: SourceKey) -> str:
    """The name under which the state of a check and location is kept."""
    return STATE_MARK + "/".join(source)


def states(reader: Reader, service: str | None = None) -> dict[SourceKey, PaceStanding]:
    """The states (of a service) as they were kept last; what cannot be read is none."""
    prefix = STATE_MARK if service is None else f"{STATE_MARK}{service}/"
    read = (
        (SourceKey(*name.removeprefix(STATE_MARK).split("/")), PaceStanding.of(orjson.loads(value)))
        for name, value in reader.marks(prefix).items()
    )
    return {source: standing for source, standing in read if standing is not None}


def paces(reader: Reader, runs: Iterable[Run]) -> dict[SourceKey, PaceStanding]:
    """The states of those whose latest `runs` these are, each with its last answer. Without a state it has no place."""
    latest = {run.source: run for run in runs}
    kept: dict[SourceKey, PaceStanding] = {}
    for service in {source.service for source in latest}:
        kept |= states(reader, service)
    return {source: _with(kept[source], run) for source, run in latest.items() if source in kept}


def degraded(reader: Reader, now_us: int, service: str | None = None) -> dict[SourceKey, PaceStanding]:
    """The checks and locations (of a service) that are degraded at an instant, by source."""
    slow = {source: kept for source, kept in states(reader, service).items() if kept.pace is Pace.DEGRADED}
    for name in {source.service for source in slow}:
        for run in reader.latest_runs(name):
            if run.source in slow:
                slow[run.source] = _with(slow[run.source], run)
    return {source: kept for source, kept in sorted(slow.items()) if kept.holds(now_us)}


def _with(standing: PaceStanding, run: Run) -> PaceStanding:
    """With a later run, if it says how long the service takes: a state is not kept anew at every run."""
    duration_us = response_us(run)
    if duration_us is None or run.start_us <= standing.at_us:
        return standing
    return replace(standing, at_us=run.start_us, duration_us=duration_us)

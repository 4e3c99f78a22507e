"""How fast the checks of a service answer against what is usual for them: since when a service is much slower.

The baseline of each check and location, fed with committed runs, kept over restarts now and then and whenever the pace
changes. What a crash loses of it are samples of minutes in a window of days. The state is kept beside each baseline,
so that whoever reads the record sees it (`monitor.ledger.pace`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monitor.core.baseline import DEFAULT, Baseline, Judged, Pace, Policy, response_us
from monitor.core.instant import MINUTE_US
from monitor.core.run import Run, SourceKey
from monitor.ledger.pace import SPEAKS_US, PaceStanding, state_mark

MARK = "pace/"
KEEP_US = 10 * MINUTE_US
"""How often the baselines are kept; each is 4 KiB."""


@dataclass(slots=True)
class Paces:
    """The baselines of all checks and locations, under one policy."""

    policy: Policy = DEFAULT
    baselines: dict[SourceKey, Baseline] = field(default_factory=dict)
    _last: dict[SourceKey, tuple[Judged, int, int]] = field(default_factory=dict)  # with its stamp and duration
    _slow: dict[SourceKey, tuple[int, int]] = field(default_factory=dict)  # since when, and the last answer
    _changed: set[SourceKey] = field(default_factory=set)
    _kept_us: int = 0

    def take(self, run: Run) -> None:
        """A committed run: what it took counts, if it says how long the service takes."""
        duration_us = response_us(run)
        if duration_us is None:
            return
        source = run.source
        baseline = self.baselines.get(source)
        if baseline is None:
            baseline = self.baselines[source] = Baseline(self.policy)
        judged = baseline.take(run.start_us, duration_us)
        self._last[source] = judged, run.start_us, duration_us
        if judged.changed:
            self._changed.add(source)
        if judged.pace is Pace.DEGRADED:
            self._slow[source] = (judged.since_us, run.start_us)
        else:
            self._slow.pop(source, None)

    def adopt(self, policy: Policy) -> None:
        """Judge by another policy from now on; of what is known stays what its window takes."""
        if policy != self.policy:
            self.policy = policy
            self.baselines = {
                source: Baseline.load(baseline.dump(), policy) for source, baseline in self.baselines.items()
            }

    def slow(self, at_us: int) -> dict[str, int]:
        """For each service some check of which is above its baseline times the factor, since when."""
        found: dict[str, int] = {}
        for source, (since_us, last_us) in self._slow.items():
            if at_us - last_us <= SPEAKS_US:
                found[source.service] = min(found.get(source.service, since_us), since_us)
        return found

    def marks(self, at_us: int) -> dict[str, Any]:
        """What is to be kept now: everything from time to time, and between two times what changed its pace."""
        due = self.baselines.keys() if at_us - self._kept_us >= KEEP_US else self._changed
        if not due:
            return {}
        marks: dict[str, Any] = {MARK + "/".join(source): written(self.baselines[source]) for source in due}
        for source in due & self._last.keys():
            marks[state_mark(source)] = PaceStanding.judged(*self._last[source]).document()
        if due is not self._changed:
            self._kept_us = at_us
        self._changed = set()
        return marks

    def load(self, source: SourceKey, kept: Mapping[str, Any], state: PaceStanding | None) -> None:
        """What was kept of a source; what cannot be read begins anew."""
        try:
            baseline = Baseline.load(base64.b64decode(kept["baseline"], validate=True), self.policy)
        except (ValueError, KeyError):
            baseline = Baseline(self.policy)
        self.baselines[source] = baseline
        self._slow.pop(source, None)
        if state is not None and state.pace is baseline.pace is Pace.DEGRADED:
            self._slow[source] = (state.since_us, state.at_us)


def written(baseline: Baseline) -> dict[str, str]:
    """A baseline as it is kept."""
    return {"baseline": base64.b64encode(baseline.dump()).decode()}

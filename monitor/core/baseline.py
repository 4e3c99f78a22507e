"""What a check usually takes, and whether it takes much longer now: the baseline of SLA 2.1 ("above 3x its baseline").

The baseline of a check at a location is the median duration of its runs at the same hour of the day over the days
before. It is constant within an hour and never rests on the hour it judges, so that a slow hour does not excuse itself.
Memory is bounded whatever the interval: of each ten minutes the first run stands for all (at most 4 KiB a check and
location for 7 days). Degraded is a state of a check beside its outcome; it is never a failure by itself.
"""

from __future__ import annotations

import enum
import struct
from array import array
from dataclasses import dataclass
from typing import NamedTuple

from monitor.core.instant import HOUR_US, MINUTE_US
from monitor.core.run import Outcome, Run

SLOT_US = 10 * MINUTE_US
"""Of each slot the first run is kept: 42 samples for an hour of the day over a week put the median within a few
percentiles, which a threshold of three times the median does not notice."""

_SLOTS_AN_HOUR = HOUR_US // SLOT_US
_HOURS_A_DAY = 24
MAX_WINDOW_DAYS = 31
"""A month: 18 KiB a check and location."""

_LONGEST_US = (1 << 32) - 1  # 71 minutes; longer runs are kept as this
_HEAD = struct.Struct("<BBBBqqq")  # form, days, pace, streak, newest slot, streak begun, pace since
_FORM = 1
_MAX_RUNS = 100


class Pace(enum.StrEnum):
    """How a check goes at a location: as usual, much slower than usual, or nobody knows yet what is usual."""

    UNKNOWN = "unknown"
    NORMAL = "normal"
    DEGRADED = "degraded"


_PACES = tuple(Pace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What counts as usual and as much slower.

    A run is slow when it takes more than `factor` times the median of `window_days`, at the same hour of the day unless
    `by_hour` is false. `runs` slow ones in a row make a check degraded, as many usual ones in a row make it normal
    again: a single slow answer is no incident. Below `min_samples` at the same hour the whole window counts, and below
    as many in the window nothing is known.
    """

    window_days: int = 7
    factor: int = 3
    by_hour: bool = True
    runs: int = 3
    min_samples: int = 12

    def __post_init__(self) -> None:
        """Bounds, so that what is kept is bounded too."""
        if not 1 <= self.window_days <= MAX_WINDOW_DAYS:
            raise ValueError(f"a window of {self.window_days} days: from 1 to {MAX_WINDOW_DAYS}")
        if self.factor < 2:  # noqa: PLR2004 - half of all runs are above the median itself
            raise ValueError(f"a factor of {self.factor}: at least 2, as half of all runs are above their median")
        if not 1 <= self.runs <= _MAX_RUNS:
            raise ValueError(f"{self.runs} runs in a row: from 1 to {_MAX_RUNS}")
        if self.min_samples < 1:
            raise ValueError(f"at least {self.min_samples} samples: one is the least")


DEFAULT = Policy()


class Judged(NamedTuple):
    """What one run says of the pace. `since_us` is the stamp of the first run of the streak that made `pace`;
    `changed` is true for the run that completed it. `slow` is of this run alone. `baseline_us` is None while nothing
    is known, and the pace is unknown then; else it is the median of `samples` runs.
    """

    pace: Pace
    since_us: int
    changed: bool
    slow: bool
    baseline_us: int | None
    samples: int = 0


def response_us(run: Run) -> int | None:
    """The duration of a run that says how long the service takes; None for all others.

    A failure has no response time, a stalled loop measured its own, and with a second attempt the duration is that of
    both with the controls between them.
    """
    if run.outcome is not Outcome.PASS or run.tainted or run.attempts != 1:
        return None
    return run.duration_us


class Baseline:
    """The baseline and the pace of one check at one location.

    Runs are taken in the order of their stamps; one that comes late fills a gap and displaces nothing. A run at `t`
    is held against the hours before the one that `t` is in. `pace` is what the latest run left; how long a run speaks
    for is the caller's (`stale_after`).
    """

    __slots__ = (
        "_begun_us",
        "_level",
        "_level_hour",
        "_level_samples",
        "_newest",
        "_samples",
        "_since_us",
        "_streak",
        "pace",
        "policy",
    )

    def __init__(self, policy: Policy = DEFAULT) -> None:
        self.policy = policy
        self.pace = Pace.UNKNOWN
        # A ring over slots, the current hour beside the window; 0 is no sample.
        self._samples = array("I", bytes(4 * (policy.window_days * _HOURS_A_DAY + 1) * _SLOTS_AN_HOUR))
        self._newest = 0
        self._level: int | None = None
        self._level_samples = 0
        self._level_hour = -1
        self._streak = 0  # runs in a row that speak for the other pace, …
        self._begun_us = 0  # … and the stamp of the first of them
        self._since_us = 0

    def take(self, at_us: int, duration_us: int) -> Judged:
        """Judge a run by what is usual at its instant, then let it count for what is usual later."""
        baseline_us = self.level_us(at_us)
        slow = baseline_us is not None and duration_us > self.policy.factor * baseline_us
        if baseline_us is None:
            changed = self._turn(Pace.UNKNOWN, at_us)
        else:
            changed = self._count(Pace.DEGRADED if slow else Pace.NORMAL, at_us)
        self._keep(at_us // SLOT_US, duration_us)
        return Judged(self.pace, self._since_us, changed, slow, baseline_us, self._level_samples)

    def level_us(self, at_us: int) -> int | None:
        """The usual duration at an instant, in microseconds; None while too little is known."""
        hour = at_us // HOUR_US
        if hour != self._level_hour:
            (self._level, self._level_samples), self._level_hour = self._median_before(hour), hour
        return self._level

    def dump(self) -> bytes:
        """All of it in at most `4 KiB * window_days / 7` and a little, for the store."""
        head = _HEAD.pack(
            _FORM,
            self.policy.window_days,
            _PACES.index(self.pace),
            self._streak,
            self._newest,
            self._begun_us,
            self._since_us,
        )
        return head + struct.pack(f"<{len(self._samples)}I", *self._samples)

    @classmethod
    def load(cls, data: bytes, policy: Policy = DEFAULT) -> Baseline:
        """What `dump` wrote, under a policy that may have changed since; ValueError for anything else."""
        loaded = cls(policy)
        if len(data) < _HEAD.size or data[0] != _FORM:
            raise ValueError("no baseline: the form is unknown")
        _, days, pace, loaded._streak, newest, loaded._begun_us, loaded._since_us = _HEAD.unpack_from(data)
        size = (days * _HOURS_A_DAY + 1) * _SLOTS_AN_HOUR
        if pace >= len(_PACES) or len(data) != _HEAD.size + 4 * size:
            raise ValueError("no baseline: it is damaged")
        samples = struct.unpack_from(f"<{size}I", data, _HEAD.size)
        loaded.pace = _PACES[pace]
        for slot in range(newest - size + 1, newest + 1):
            if samples[slot % size]:
                loaded._keep(slot, samples[slot % size])
        return loaded

    def _count(self, towards: Pace, at_us: int) -> bool:
        """Count a run towards a pace; whether it made it the pace. What was unknown is normal with the first usual run:
        there is nothing to come back from.
        """
        if towards is self.pace:
            self._streak = 0
            return False
        if self._streak == 0:
            self._begun_us = at_us
        self._streak += 1
        if towards is Pace.NORMAL and self.pace is Pace.UNKNOWN:
            return self._turn(towards, at_us)
        return self._streak >= self.policy.runs and self._turn(towards, self._begun_us)

    def _turn(self, towards: Pace, since_us: int) -> bool:
        """Take a pace that began at `since_us`; whether it is another than before."""
        self._streak = 0
        if towards is self.pace:
            return False
        self.pace, self._since_us = towards, since_us
        return True

    def _keep(self, slot: int, duration_us: int) -> None:
        """Let a run count, if it is the first of its slot and not older than the window."""
        size = len(self._samples)
        if slot == self._newest and self._samples[slot % size]:
            return  # as most runs are: not the first of their slot
        for passed in range(max(self._newest, slot - size) + 1, slot + 1):
            self._samples[passed % size] = 0
        self._newest = max(self._newest, slot)
        if slot > self._newest - size and not self._samples[slot % size]:
            self._samples[slot % size] = min(max(duration_us, 1), _LONGEST_US)

    def _median_before(self, hour: int) -> tuple[int | None, int]:
        """The median of what counts for an hour, and of how many; (None, 0) while that is too little."""
        same_hour, whole_window = range(_HOURS_A_DAY, self._hours + 1, _HOURS_A_DAY), range(1, self._hours + 1)
        for hours_ago in (same_hour, whole_window) if self.policy.by_hour else (whole_window,):
            found = sorted(sample for ago in hours_ago for sample in self._of_hour(hour - ago))
            if len(found) >= self.policy.min_samples:
                return (found[(len(found) - 1) // 2] + found[len(found) // 2]) // 2, len(found)
        return None, 0

    @property
    def _hours(self) -> int:
        return self.policy.window_days * _HOURS_A_DAY

    def _of_hour(self, hour: int) -> list[int]:
        """The samples of an hour that are still kept."""
        size = len(self._samples)
        slots = range(hour * _SLOTS_AN_HOUR, (hour + 1) * _SLOTS_AN_HOUR)
        kept = (slot for slot in slots if self._newest - size < slot <= self._newest and slot >= 0)
        return [sample for slot in kept if (sample := self._samples[slot % size])]

"""What became of messages, over restarts: attempts and failures by channel, trials of what waits, what was given up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitor.storage import OutboxRow
from monitor.telemetry.snapshot import NOTIFICATION_BOUNDS_US, Histogram

MARK = "messages/tally"
MAX_TRIALS = 1_000
MAX_GIVEN_UP = 1_000
MAX_ERROR = 300


@dataclass(slots=True)
class Tally:
    """Counts since the ledger began. `trials` are the attempts at messages that still wait, by key."""

    attempted: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    last_success_us: dict[str, int] = field(default_factory=dict)
    durations: dict[str, Histogram] = field(default_factory=dict)
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)
    given_up: list[dict[str, Any]] = field(default_factory=list)

    def succeeded(self, channel: str, kind: str, took_us: int, now_us: int, keys: Sequence[str]) -> None:
        """A delivery was accepted."""
        self._attempt(channel, kind, took_us)
        self.last_success_us[channel] = now_us
        for key in keys:
            self.trials.pop(key, None)

    def failed(self, channel: str, kind: str, took_us: int) -> None:
        """A delivery was not accepted, after its retries."""
        self._attempt(channel, kind, took_us)
        self.failures[channel] += 1

    def _attempt(self, channel: str, kind: str, took_us: int) -> None:
        self.attempted[channel, kind] += 1
        self.durations.setdefault(channel, Histogram(NOTIFICATION_BOUNDS_US)).observe(took_us)

    def trial(self, key: str, error: str, now_us: int) -> None:
        """A message waits on, and why."""
        tried = self.trials.pop(key, {"count": 0})["count"] + 1
        self.trials[key] = {"count": tried, "last_us": now_us, "error": error[:MAX_ERROR]}
        while len(self.trials) > MAX_TRIALS:
            del self.trials[next(iter(self.trials))]

    def give_up(self, row: OutboxRow, error: str, now_us: int) -> None:
        """A message leaves the outbox without having been delivered."""
        tried = self.trials.pop(row.key, {"count": 0})["count"]
        gone = {"key": row.key, "channel": row.channel, "kind": row.kind, "at_us": row.at_us, "given_up_us": now_us}
        self.given_up = [*self.given_up, {**gone, "count": tried, "error": error[:MAX_ERROR]}][-MAX_GIVEN_UP:]

    def document(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "attempted": [[channel, kind, count] for (channel, kind), count in self.attempted.items()],
            "failures": dict(self.failures),
            "last_success_us": dict(self.last_success_us),
            "durations": {name: [held.counts, held.sum_us] for name, held in self.durations.items()},
            "trials": self.trials,
            "given_up": self.given_up,
        }

    @staticmethod
    def of(document: Mapping[str, Any] | None) -> Tally:
        """The tally that `document` was written of; an empty one of nothing."""
        if document is None:
            return Tally()
        return Tally(
            attempted=Counter({(channel, kind): count for channel, kind, count in document["attempted"]}),
            failures=Counter(document["failures"]),
            last_success_us=dict(document["last_success_us"]),
            durations={
                name: Histogram(NOTIFICATION_BOUNDS_US, list(counts), sum_us)
                for name, (counts, sum_us) in document["durations"].items()
            },
            trials=dict(document["trials"]),
            given_up=list(document["given_up"]),
        )

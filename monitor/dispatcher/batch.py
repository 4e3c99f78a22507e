"""Which messages of a channel leave now, and which of them together (FAULTS F31).

What operators are told of their services is grouped: the first message leaves at once, what follows within the group
interval waits for its end and is one message then. Acts of the contract leave one by one. Both keep to the channel's
rate, and what is told of one outage, incident or window keeps its order: a message that waits holds back what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from monitor.core.instant import MINUTE_US, SECOND_US
from monitor.locale import Lang
from monitor.messages import OPERATIONAL, Kind
from monitor.messages.links import Links
from monitor.storage import OutboxRow

MAX_GROUP = 100
"""The largest digest; what exceeds it is the next one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How messages go over a channel: in which language, at most how many a minute, grouped over how long (0: each by
    itself), and where those who run the services read on.
    """

    lang: Lang = Lang.EN
    per_minute: int = 30
    group_us: int = 30 * SECOND_US
    links: Links = field(default_factory=Links)


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that leave as one."""

    rows: tuple[OutboxRow, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Their keys, in order."""
        return tuple(row.key for row in self.rows)

    @property
    def kind(self) -> str:
        """What it counts as."""
        return self.rows[0].kind if len(self.rows) == 1 else Kind.DIGEST.value


@dataclass(slots=True)
class Pace:
    """What a channel has let through lately."""

    tokens: float = -1.0
    filled_us: int = 0
    grouped_us: int | None = None

    def allows(self, now_us: int, manner: Manner) -> bool:
        """Whether one more may leave now, which is then counted."""
        if self.tokens < 0:
            self.tokens, self.filled_us = float(manner.per_minute), now_us
        gained = (now_us - self.filled_us) * manner.per_minute / MINUTE_US
        self.tokens, self.filled_us = min(self.tokens + gained, float(manner.per_minute)), now_us
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def about(row: OutboxRow) -> str:
    """What a message tells of: an outage, an incident, a window; itself where it says nothing."""
    return str(row.payload.get("about") or row.payload.get("incident") or row.key)


def batches(
    rows: Sequence[OutboxRow], manner: Manner, pace: Pace, now_us: int, held: Callable[[OutboxRow], bool]
) -> Iterator[Batch]:
    """What may leave at `now_us`, in order. `held` says of a message that it is not to be tried yet.

    Asked for the next batch only after the one before it left: one that failed is `held` by then.
    """
    blocked: set[str] = set()
    group: list[OutboxRow] = []
    grouping = pace.grouped_us is None or now_us - pace.grouped_us >= manner.group_us
    for row in rows:
        lane = about(row)
        if lane in blocked or held(row):
            blocked.add(lane)
        elif row.kind in OPERATIONAL and manner.group_us:
            if grouping and len(group) < MAX_GROUP:
                group.append(row)
            else:
                blocked.add(lane)
        else:
            if any(about(other) == lane for other in group):
                yield from _together(group, pace, now_us)
                blocked.update(about(other) for other in group if held(other))
                group, grouping = [], False
            if lane not in blocked:
                yield Batch((row,))
            if held(row):
                blocked.add(lane)
    if group:
        yield from _together(group, pace, now_us)


def _together(group: Sequence[OutboxRow], pace: Pace, now_us: int) -> Iterator[Batch]:
    """A group. The interval begins anew only once it was sent, which is when the next batch is asked for."""
    yield Batch(tuple(group))
    pace.grouped_us = now_us

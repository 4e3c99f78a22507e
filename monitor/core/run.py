"""A run: one execution of a check from one location, as the ledger keeps it (CONTRACT 2.1)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def _record(cls: type[_T]) -> type[_T]:
    """A frozen dataclass to the type checker, and hashed as one. At run time its fields could be set: refusing that
    makes each of them three times dearer to fill, and of these some are made for every run.
    """
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)


class Outcome(enum.StrEnum):
    """What a run says. `inconclusive` is the monitor's own fault and never a failure (CONTRACT 2.1.1)."""

    PASS = "pass"  # noqa: S105 - an outcome, no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


FAIL_REASONS = ("dns", "connect", "tls", "timeout", "http_status", "assertion", "protocol", "script")
INCONCLUSIVE_REASONS = ("own_network", "own_resolver", "late", "stalled", "internal", "conflict")


class Origin(enum.StrEnum):
    """Who put it into the ledger: this process, an agent through the transport, or an import."""

    OWN = "own"
    AGENT = "agent"
    IMPORTED = "imported"


class SourceKey(NamedTuple):
    """Where evidence comes from: one check of one service, seen from one location."""

    service: str
    check: str
    location: str


class RunKey(NamedTuple):
    """The identity of a run. The same key with the same content changes nothing (DESIGN, Identity)."""

    service: str
    check: str
    location: str
    start_us: int


@_record
class StepRecord:
    """One step of a run as kept for evidence and metrics: phases in microseconds, nothing secret."""

    name: str
    duration_us: int
    phases_us: tuple[tuple[str, int], ...] = ()
    target: str = ""
    http_status: int | None = None
    cert_not_after_s: int | None = None
    failed_assertions: tuple[str, ...] = ()
    error: str | None = None
    final: bool = False


@_record
class Run:
    """One run. Its stamp `start_us` is the start of its first attempt; `duration_us` ends with its last.

    `slot_us` is the slot it was planned for (None for imported runs); `reason` is one of FAIL_REASONS or
    INCONCLUSIVE_REASONS as the outcome asks, None for a pass; `attempts` is how many were made.
    """

    service: str
    check: str
    location: str
    start_us: int
    outcome: Outcome
    duration_us: int = 0
    attempts: int = 1
    slot_us: int | None = None
    reason: str | None = None
    step: str | None = None
    message: str | None = None
    tainted: bool = False
    steps: tuple[StepRecord, ...] = ()
    origin: Origin = Origin.OWN

    @property
    def key(self) -> RunKey:
        """Its identity."""
        return RunKey(self.service, self.check, self.location, self.start_us)

    @property
    def source(self) -> SourceKey:
        """Where it comes from."""
        return SourceKey(self.service, self.check, self.location)

    def same_content(self, other: Run) -> bool:
        """Whether two runs of one key say the same; if not, the key is a conflict and inconclusive (CONTRACT 2.2)."""
        return (self.outcome, self.reason, self.duration_us, self.attempts, self.step, self.message) == (
            other.outcome,
            other.reason,
            other.duration_us,
            other.attempts,
            other.step,
            other.message,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedSpan:
    """An outcome that an imported history states for the whole of `[start_us, end_us)`, without staleness."""

    service: str
    check: str
    location: str
    start_us: int
    end_us: int
    outcome: Outcome

    @property
    def source(self) -> SourceKey:
        """Where it comes from."""
        return SourceKey(self.service, self.check, self.location)


class OutcomeSpan(NamedTuple):
    """Derived: over `[start_us, end_us)` this source's evidence said `outcome` (pass or fail; silence is no span)."""

    start_us: int
    end_us: int
    outcome: Outcome

"""The facts and decisions of the record: immutable, and none of them acts.

Each has `at_us`, when it happened or was decided; when it was *recorded* belongs to its entry. `by` is who, `evidence`
what it rests on. Spans are half-open microseconds UTC.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from monitor.core.check import CheckList
from monitor.core.incident_fact import Delivery, Incident
from monitor.core.span import Span
from monitor.core.terms import Fee


class ExclusionReason(enum.StrEnum):
    """Why time is not counted (CONTRACT 5.3)."""

    MAINTENANCE = "maintenance"
    FORCE_MAJEURE = "force_majeure"
    PARTNER_SIDE = "partner_side"
    PARTNER_ACT = "partner_act"
    THIRD_PARTY = "third_party"
    ATTACK = "attack"


class Ruling(enum.StrEnum):
    """What an adjudication says of unknown time (CONTRACT 2.4)."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksAdopted:
    """The SLA checks of a service from an instant on."""

    TYPE: ClassVar[str] = "checks"
    list: CheckList
    by: str | None = None
    note: str | None = None

    @property
    def at_us(self) -> int:
        """When the list came into force."""
        return self.list.at_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """A planned window. `partners` None covers every partner; `extends` names the window it prolongs."""

    TYPE: ClassVar[str] = "maintenance"
    id: str
    services: tuple[str, ...]
    start_us: int
    end_us: int
    at_us: int
    partners: tuple[str, ...] | None = None
    summary: str = ""
    extends: str | None = None
    by: str | None = None
    evidence: str | None = None

    @property
    def span(self) -> Span:
        """The announced window."""
        return Span(self.start_us, self.end_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A channel accepted the announcement to a partner at `at_us`, or a stated instant with its evidence."""

    TYPE: ClassVar[str] = "notice"
    maintenance: str
    partner: str
    at_us: int
    channel: str
    by: str | None = None
    receipt: str | None = None
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceFinished:
    """The work ended at `at_us`; nothing after it is excluded."""

    TYPE: ClassVar[str] = "maintenance_finished"
    maintenance: str
    at_us: int
    by: str | None = None
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceCancelled:
    """Cancelled before its start: nothing is excluded."""

    TYPE: ClassVar[str] = "maintenance_cancelled"
    maintenance: str
    at_us: int
    by: str | None = None
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A decision not to count a span, for all partners (None) or named ones."""

    TYPE: ClassVar[str] = "exclusion"
    id: str
    reason: ExclusionReason
    services: tuple[str, ...]
    start_us: int
    end_us: int
    at_us: int
    partners: tuple[str, ...] | None = None
    by: str | None = None
    evidence: str | None = None

    @property
    def span(self) -> Span:
        """The excluded span."""
        return Span(self.start_us, self.end_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """Takes back an exclusion, an adjudication or an annulment by its id; the fact itself stays."""

    TYPE: ClassVar[str] = "reversal"
    of: str
    at_us: int
    by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjudication:
    """A ruling on unknown time (CONTRACT 2.4). `agreed_by` is the partner's written consent."""

    TYPE: ClassVar[str] = "adjudication"
    id: str
    service: str
    start_us: int
    end_us: int
    verdict: Ruling
    at_us: int
    agreed_by: str | None = None
    by: str | None = None
    evidence: str | None = None
    note: str | None = None

    @property
    def span(self) -> Span:
        """The span it speaks of."""
        return Span(self.start_us, self.end_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annulment:
    """The runs of a check and location stamped in the span were the monitor's own fault (CONTRACT 2.1.5)."""

    TYPE: ClassVar[str] = "annulment"
    id: str
    service: str
    check: str
    location: str
    start_us: int
    end_us: int
    at_us: int
    by: str | None = None
    note: str | None = None

    @property
    def span(self) -> Span:
        """Runs stamped in it are inconclusive."""
        return Span(self.start_us, self.end_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A partner claims the credit of a month (`2026-04`) of a service."""

    TYPE: ClassVar[str] = "claim"
    partner: str
    service: str
    month: str
    at_us: int
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditApplied:
    """The granted credit of a month was set off against an invoice, named in `invoice` (CONTRACT 5.2)."""

    TYPE: ClassVar[str] = "credit_applied"
    partner: str
    service: str
    month: str
    invoice: str
    at_us: int
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsAdopted:
    """A version of a contract's terms in its written form, effective from an instant, agreed by both parties."""

    TYPE: ClassVar[str] = "terms"
    contract: str
    effective_from_us: int
    terms: Mapping[str, Any]
    agreed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """A partner's subscription of a service, with its fee, over `[from_us, until_us)` (None: open)."""

    TYPE: ClassVar[str] = "subscription"
    partner: str
    service: str
    contract: str
    fee: Fee
    from_us: int | None = None
    until_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A check (or, with `check` None, a whole service) is watched no more; its history stays."""

    TYPE: ClassVar[str] = "retired"
    service: str
    at_us: int
    check: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The detector opened (`end_us` None) or closed an outage, as first detected; never corrected."""

    TYPE: ClassVar[str] = "outage"
    id: str
    service: str
    start_us: int
    at_us: int
    end_us: int | None = None
    failing: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """A month of a partner and service closed as `version` with the digest of its statement (CONTRACT 2.7).

    `inputs` are what a recomputation needs and the world may change: names, fee, terms, resolved month edges, holiday
    table digest, tz version, software. `reason` and `credit_delta` stand on a restatement.
    """

    TYPE: ClassVar[str] = "close"
    partner: str
    service: str
    month: str
    version: int
    digest: str
    at_us: int
    inputs: Mapping[str, Any] = field(default_factory=dict)
    by: str | None = None
    reason: str | None = None
    credit_delta: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The runs stamped in an hour (UTC) were sealed: `root` is the Merkle root over the leaves of `segments` segments
    with `runs` runs in all, in the order of their services and numbers. An hour is sealed again when runs come late.
    """

    TYPE: ClassVar[str] = "sealed"
    hour_us: int
    segments: int
    runs: int
    root: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStep:
    """The wall clock was seen to step by `delta_us` against the time base."""

    TYPE: ClassVar[str] = "clock_step"
    at_us: int
    delta_us: int
    location: str | None = None


class KeyReason(enum.StrEnum):
    """Why a key signs from here on: the first of a ledger, the next by the word of the one before, or after a loss."""

    FIRST = "first"
    ROTATED = "rotated"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAdopted:
    """From here on checkpoints are signed with `key` (its public line). `replaces` is the line of the key before;
    `endorsed` the note by which that key names this one, None for a first key and after a loss.
    """

    TYPE: ClassVar[str] = "key"
    key: str
    why: KeyReason
    at_us: int
    replaces: str | None = None
    endorsed: str | None = None
    by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSigned:
    """A signed checkpoint over all entries before this one, as its note (`core.checkpoint`)."""

    TYPE: ClassVar[str] = "checkpoint"
    note: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LossAccepted:
    """An older state was put back, and goes on from here: what came after it and was acknowledged or signed is lost.

    `entries` and `arrival` are what had been acknowledged, `checkpoint` the newest that had been signed, as its note.
    """

    TYPE: ClassVar[str] = "loss"
    at_us: int
    entries: int
    arrival: int
    checkpoint: str | None = None
    by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalErased:
    """The personal data that entries refer to as `of` is erased; the reference stays, and says nothing any more."""

    TYPE: ClassVar[str] = "erasure"
    of: str
    at_us: int
    by: str | None = None
    note: str | None = None


Fact = (
    ChecksAdopted
    | Maintenance
    | Notice
    | MaintenanceFinished
    | MaintenanceCancelled
    | Exclusion
    | Reversal
    | Adjudication
    | Annulment
    | Claim
    | CreditApplied
    | TermsAdopted
    | Subscribed
    | Retired
    | Outage
    | Close
    | Sealed
    | ClockStep
    | Incident
    | Delivery
    | KeyAdopted
    | CheckpointSigned
    | LossAccepted
    | PersonalErased
)

"""What a writing request may say: strict shapes of JSON, each the command that it asks for.

Instants are texts (RFC 3339 with an offset); no number is read, so none can lose a digit. NaN and deep nesting are
refused by the parser.
"""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, WithJsonSchema

from monitor.core.fact import ExclusionReason, Maintenance
from monitor.core.instant import parse_instant
from monitor.ledger.command import (
    AnnounceMaintenance,
    CancelMaintenance,
    Exclude,
    FileClaim,
    FinishMaintenance,
    Notified,
    NotifyMaintenance,
    Reverse,
)

MAX_NAMED = 100
MAX_TEXT = 2000
ID_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
INSTANT_PATTERN = r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})$"
MONTH_PATTERN = r"^[0-9]{4}-(0[1-9]|1[0-2])$"


def _instant(value: Any) -> int:  # noqa: ANN401 - anything from JSON
    if not isinstance(value, str):
        raise ValueError("is a text: RFC 3339 with an offset")  # noqa: TRY004 - pydantic reports ValueErrors
    return parse_instant(value)


def _told(text: str) -> str:
    if not text.strip() or any(not (letter.isprintable() or letter in "\n\t") for letter in text):
        raise ValueError("is a text of printable characters, with something in it")
    return text


INSTANT_SCHEMA = {"type": "string", "format": "date-time", "examples": ["2026-10-20T23:00:00+07:00"]}

Instant = Annotated[int, BeforeValidator(_instant), WithJsonSchema(INSTANT_SCHEMA)]
Id = Annotated[StrictStr, Field(pattern=ID_PATTERN)]
Text = Annotated[StrictStr, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_told)]
Ids = Annotated[tuple[Id, ...], Field(min_length=1, max_length=MAX_NAMED)]
Reason = Annotated[
    ExclusionReason,
    WithJsonSchema(
        {"type": "string", "enum": [r.value for r in ExclusionReason if r is not ExclusionReason.MAINTENANCE]},
    ),
]


class Body(BaseModel):
    """Every key known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoticeBody(Body):
    """A partner was told of a window by other means."""

    partner: Id
    at: Instant = Field(description="When a channel accepted it.")
    channel: Text = Field(default="stated", description="email, phone, letter …")
    evidence: Text = Field(description="A receipt, a message id, a letter.")

    def notified(self) -> Notified:
        """As commands have it."""
        return Notified(partner=self.partner, at_us=self.at, channel=self.channel, evidence=self.evidence)

    def command(self, window: str) -> NotifyMaintenance:
        """For a known window."""
        return NotifyMaintenance(maintenance=window, notified=self.notified())


class AnnounceBody(Body):
    """A maintenance window. Its notices are queued; by itself it is no notice (CONTRACT 2.5.2)."""

    services: Ids
    start: Instant
    end: Instant
    summary: Text = Field(description="What is done, for the partners.")
    partners: Ids | None = Field(default=None, description="Only these partners. Default: all.")
    id: Id | None = Field(default=None, description="Its id. Default: the next free m-N.")
    evidence: Text | None = Field(default=None, description="What proves a window in the past.")
    notified: Annotated[tuple[NoticeBody, ...], Field(max_length=MAX_NAMED)] = ()

    def command(self) -> AnnounceMaintenance:
        """The announcement."""
        return AnnounceMaintenance(
            services=self.services,
            start_us=self.start,
            end_us=self.end,
            summary=self.summary,
            partners=self.partners,
            id=self.id,
            evidence=self.evidence,
            notified=tuple(notice.notified() for notice in self.notified),
        )


class ExtendBody(Body):
    """A window takes longer: a maintenance of its own, judged by its own notice."""

    end: Instant
    summary: Text = Field(description="Why, for the partners.")
    notified: Annotated[tuple[NoticeBody, ...], Field(max_length=MAX_NAMED)] = ()

    def command(self, window: Maintenance) -> AnnounceMaintenance:
        """For a known window."""
        return AnnounceMaintenance(
            services=window.services,
            start_us=window.end_us,
            end_us=self.end,
            summary=self.summary,
            partners=window.partners,
            extends=window.id,
            notified=tuple(notice.notified() for notice in self.notified),
        )


class FinishBody(Body):
    """The work of a running window ended."""

    at: Instant | None = Field(default=None, description="When it ended. Default: now.")

    def command(self, window: str) -> FinishMaintenance:
        """For a known window."""
        return FinishMaintenance(maintenance=window, at_us=self.at)


class CancelBody(Body):
    """A window is called off before its start. Nothing is to be said beside it."""

    def command(self, window: str) -> CancelMaintenance:
        """For a known window."""
        return CancelMaintenance(maintenance=window)


class ExcludeBody(Body):
    """A span that is not counted (CONTRACT 5.3)."""

    reason: Reason
    services: Ids
    start: Instant
    end: Instant
    evidence: Text = Field(description="What it rests on.")
    partners: Ids | None = Field(default=None, description="Only for these partners. Default: all.")
    id: Id | None = Field(default=None, description="Its id. Default: the next free x-N.")

    def command(self) -> Exclude:
        """The exclusion."""
        return Exclude(
            reason=self.reason,
            services=self.services,
            start_us=self.start,
            end_us=self.end,
            evidence=self.evidence,
            partners=self.partners,
            id=self.id,
        )


class ReverseBody(Body):
    """An exclusion is taken back."""

    note: Text = Field(description="Why.")

    def command(self, of: str) -> Reverse:
        """For a known exclusion."""
        return Reverse(of=of, note=self.note)


class ClaimBody(Body):
    """A partner claims the credit of a month of a service."""

    partner: Id
    service: Id
    month: Annotated[StrictStr, Field(pattern=MONTH_PATTERN)]

    def command(self) -> FileClaim:
        """The claim, made now."""
        return FileClaim(partner=self.partner, service=self.service, month=self.month)


def read_json(raw: bytes) -> Any:  # noqa: ANN401 - any JSON
    """The document of a body; ValueError where it is none, NaN and bottomless nesting among it."""
    return orjson.loads(raw)
